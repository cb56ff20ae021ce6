# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that were written here outlive Appwrite's own upgrade, three times over, or are warned of."""

from __future__ import annotations

import json
import random
import string

import pytest
from integration.compose import Compose
from integration.installer import BUNDLED, OVERWRITTEN, Installer
from support.stack import KEY, read_env, succeed

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import upgrade as _upgrade
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import encode, parse

SAFE = string.ascii_letters + string.digits + "_./:@%+,=-"
ODD = SAFE + " #'&;!()[]{}~*?<>|^\tä🔑"
BREAKING = ODD + '"\\$`\n\r'
FILES = 2
SHAPES = ("%s=", "%s = ", "export %s=", "%s: ", "%s=first\n%s=", "#%s=\n%s=")


def _values(generator: random.Random, names) -> dict[str, str]:
    def value() -> str:
        alphabet = generator.choices((SAFE, ODD, BREAKING), (4, 3, 2))[0]
        return "".join(generator.choices(alphabet, k=generator.choice((0, 1, 2, 3, 20, 64))))

    found = {name: value() for name in names}
    return {**found, "_APP_DB_ADAPTER": generator.choice(list(BUNDLED))}


def _file(generator: random.Random, names, plain: bool) -> str:
    def line(name: str) -> str:
        shape = SHAPES[0] if plain else generator.choice(SHAPES)
        return shape.replace("%s", name) + "old\n"

    return "".join(map(line, names))


def _readings(text: str, names, release: str, compose: Compose) -> list[dict[str, str | None]]:
    """What compose gives the containers, in the installer's own shell and later in the operator's, after each of three upgrades.

    Empty where it rejects the file: up to 1.8.1 the first line of a value of several spoils the whole.
    """
    found = []
    for _round in range(3):
        text, shell = Installer(release).upgrade(text)
        for environ in (shell, {}):
            answer = compose.ask(text, names, environ)
            found.append(answer if isinstance(answer, dict) else {})
    return found


@pytest.mark.parametrize("release", ["1.6.2", "1.8.1", "1.9.0", "1.9.6", "2.0.0", "2.4.0"])
def test_kept_or_told(release, tmp_path):
    """No value is lost in silence, and no warning is idle. A file of an earlier release may meet later kinds of installer."""
    compose = Compose(tmp_path)
    installers = [release, *(later for later in ("1.9.6", catalogue.NEWEST) if later[:3] > release[:3])]
    names = [name for name in catalogue.names() if all(catalogue.documented(name, one) for one in installers)]
    told = kept = 0
    for number in range(FILES):
        generator = random.Random(f"{release} {number}")
        values = _values(generator, names)
        document = parse(parse(_file(generator, names, plain=number % 2 == 0)).edit(values, catalogue.kin))
        readings = [
            reading for installer in installers for reading in _readings(document.text, names, installer, compose)
        ]
        assert all(readings) or any("\n" in value for value in values.values())
        for name in names:
            reason = _upgrade.loss(name, values[name], document.text, release)
            wanted = encode(values[name]).decode()
            changed = [
                reading.get(name) for reading in readings if (reading or reason) and (reading.get(name) or "") != wanted
            ]
            if name in OVERWRITTEN | {"_APP_DB_HOST", "_APP_DB_PORT"}:
                continue
            assert bool(changed) == bool(reason), (name, values[name], changed[:2], reason)
            told, kept = told + bool(reason), kept + (not reason)
    assert told > 50 and kept > 50


@pytest.mark.parametrize(
    "name, value, release",
    [
        ("_APP_EXECUTOR_HOST", "http://mine/v1", "1.8.1"),
        ("_APP_DB_HOST", "db.example.com", "1.9.6"),
        ("_APP_CONSOLE_DOMAIN", "c.example.com", "1.9.6"),
        ("MINE", "1", "1.9.6"),
    ],
)
def test_names_that_the_upgrade_sets_or_drops(name, value, release):
    text = f"{name}={value}\n"
    assert Installer(release).upgrade(text)[1].get(name) != value
    assert _upgrade.loss(name, value, text, release)


@pytest.mark.parametrize("host, port", BUNDLED.values())
def test_the_bundled_database_is_nothing_to_tell_of(host, port):
    text = f"_APP_DB_HOST={host}\n_APP_DB_PORT={port}\n"
    assert not list(_upgrade.warnings({"_APP_DB_HOST": host, "_APP_DB_PORT": port}, text, "1.9.6"))


def test_module_warns(directory):
    """What is written is told of once, by name; a value that stays as it was is not."""
    options = {
        "project_src": str(directory),
        "variables": {"_APP_SMTP_PASSWORD": "not-a-real$password", "_APP_LOCALE": "de"},
    }
    told = [one for one in succeed("env", options)["warnings"] if "upgrade" in one]
    assert (
        len(told) == 1
        and "_APP_SMTP_PASSWORD" in told[0]
        and "_APP_LOCALE" not in told[0]
        and "$password" not in told[0]
    )
    assert not [one for one in succeed("env", options)["warnings"] if "upgrade" in one]


def test_what_is_generated_outlives_every_upgrade(directory):
    """The key, and all that the modules write of themselves."""
    arguments = {
        "project_src": str(directory),
        "encryption_key": {},
        "https": {"force": True, "certificate_email": "ops@example.com"},
        "console_access": {
            "root_only": False,
            "emails": ["ada@example.com", "bob@example.com"],
            "ips": ["10.1.2.3", "::1"],
        },
    }
    result = succeed("security", arguments)
    assert not [one for one in result["warnings"] if "upgrade" in one]
    before, text = read_env(directory), (directory / ".env").read_text()
    for _round in range(3):
        text, shell = Installer("1.9.6").upgrade(text)
        for change in result["changes"]:
            assert parse(text).values[change["name"]] == shell[change["name"]] == before[change["name"]]
    assert KEY in {change["name"] for change in result["changes"]}


USAGE = ("_APP_USAGE_PASS", "_APP_CONNECTIONS_DB_USAGE", "_APP_CONNECTIONS_DB_EXECUTIONS")
NEW_SECRETS = ("_APP_JOBS_SECRET", "_APP_GEO_SECRET", "_APP_NOTIFICATIONS_TRACKING_SECRET")
THEIR_CONTROLS = [f"secrets.{name}" for name in ("jobs_secret", "geo_secret", "tracking_secret", "usage_password")]


def _newest_files(directory) -> None:
    """The compose file of the newest release, by the catalogue, and what its installer makes of C(.env)."""
    listed: dict[str, list[str]] = {}
    for name in catalogue.names(catalogue.NEWEST):
        for service in catalogue.services(name, catalogue.NEWEST):
            listed.setdefault(service, []).append(name)
    images = dict.fromkeys(listed, f"appwrite/appwrite:{catalogue.NEWEST}")
    others = {
        "appwrite-geo": ("appwrite/geo:0.3.2", "GEO_SECRET=$_APP_GEO_SECRET"),
        "clickhouse": (
            "clickhouse/clickhouse-server:26.4.3-alpine",
            "CLICKHOUSE_PASSWORD=${_APP_USAGE_PASS:-appwrite}",
        ),
        "openruntimes-executor": ("openruntimes/executor:0.29.0", "OPR_EXECUTOR_SECRET=$_APP_EXECUTOR_SECRET"),
        "mariadb": ("mariadb:10.11", "MYSQL_PASSWORD=${_APP_DB_PASS}", "MYSQL_ROOT_PASSWORD=${_APP_DB_ROOT_PASS}"),
    }
    for service, (image, *entries) in others.items():
        listed[service], images[service] = entries, image
    services = {name: {"image": images[name], "environment": entries} for name, entries in listed.items()}
    (directory / "docker-compose.yml").write_text(json.dumps({"services": services}))
    text = Installer(catalogue.NEWEST).upgrade((directory / ".env").read_text())[0]
    text = text.replace("local://localhost", "")  # a default that is no secret, though its kind is one
    dsn = "http://appwrite:appwrite@clickhouse:8123/appwrite"
    text += "".join(f'{name}="{value}"\n' for name, value in zip(USAGE, ("appwrite", dsn, dsn)))
    (directory / ".env").write_text(text)


def test_from_1_9_6_to_the_newest(directory):
    """The key and all choices are as they were; what 2.x brings with a public value is found, and replaced by the next run."""
    arguments = {
        "project_src": str(directory),
        "encryption_key": {},
        "https": {"force": "true", "certificate_email": "ops@notarealcompany.com"},
        "console_access": {"root_only": "false", "emails": ["ada@notarealcompany.com"]},
        "env": {
            "replace_default_secrets": True,
            "variables": {"_APP_DOMAIN": "a.notarealcompany.com", "_APP_SMTP_PASSWORD": "not'a\"real #one"},
        },
    }
    succeed("security", arguments)
    secured = read_env(directory)
    _newest_files(directory)
    upgraded = read_env(directory)
    assert {name: upgraded[name] for name in secured.keys() & upgraded.keys()} == {
        name: value for name, value in secured.items() if name in upgraded
    }
    assert {name for name in upgraded if catalogue.is_public_default(name, upgraded[name])} == {*USAGE, *NEW_SECRETS}
    assert [_found(directory)[control] for control in THEIR_CONTROLS] == ["fail"] * 4
    result = succeed("security", arguments)
    assert result["key"]["state"] == "kept" and result["release"] == catalogue.NEWEST
    assert {change["name"] for change in result["changes"]} == {*USAGE, *NEW_SECRETS}
    assert "fail" not in [_found(directory)[control] for control in THEIR_CONTROLS]
    assert not succeed("security", arguments)["changed"]


def _found(directory) -> dict[str, str]:
    findings = succeed("audit_info", {"project_src": str(directory)})["findings"]
    return {finding["id"]: finding["status"] for finding in findings}
