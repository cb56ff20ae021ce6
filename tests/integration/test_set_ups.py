# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set-ups as people have them: values that come from elsewhere than the line of that name in .env."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

import pytest
import yaml
from integration.tls_server import serve
from support.stack import HTTPS, KEY, SMALL, Stack, module, playbook, read_env, refuse, set_env, succeed
from testbed import Project

BARE = (
    "_APP_OPENSSL_KEY_V1",
    "_APP_OPTIONS_FORCE_HTTPS",
    "_APP_OPTIONS_ROUTER_FORCE_HTTPS",
    "_APP_CONSOLE_WHITELIST_ROOT",
    "_APP_ENV",
    "_APP_DOMAIN",
    "_APP_EMAIL_CERTIFICATES",
    "_APP_DB_PASS",
)
WISHES = {
    "https": {"certificate_email": "ops@notarealcompany.com"},
    "console_access": {"root_only": True},
    "encryption_key": {},
    "env": {"replace_default_secrets": True},
}
DOMAIN = "_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n"


def written(directory, entries, env, file="docker-compose.yml"):
    """A project of Appwrite and its database that was never started, under a name of its own."""
    lines = "".join(f"      - {entry}\n" for entry in entries)
    text = (
        f"services:\n  appwrite:\n    image: appwrite/appwrite:1.9.6\n    environment:\n{lines}"
        "  mariadb:\n    image: mariadb:10.11\n    environment:\n      - MYSQL_PASSWORD=${_APP_DB_PASS}\n"
        "    volumes: ['data:/var/lib/mysql']\nvolumes:\n  data:\n"
    )
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_text(text)
    (directory / ".env").write_text(f"_APP_DB_HOST=mariadb\n{DOMAIN}{env}")
    (directory / ".env").chmod(0o600)


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / f"never-{secrets.token_hex(4)}"
    directory.mkdir()
    return directory


def secured(directory):
    """Checks, runs, and runs again, which must change nothing."""
    arguments = {"project_src": str(directory), **WISHES}
    foreseen, done = module("security", arguments, check=True), succeed("security", arguments)
    assert [each["name"] for each in foreseen["changes"]] == [each["name"] for each in done["changes"]]
    assert foreseen["recreates"] == done["recreates"]
    assert succeed("security", arguments)["changed"] is False
    return done


def test_key_that_is_absent_under_another_name(project):
    written(project, ("_APP_OPENSSL_KEY_V1=${SHOP_KEY:-your-secret-key}", *BARE[1:]), "")
    assert secured(project)["key"]["state"] == "placeholder_replaced"
    values = read_env(project)
    assert len(values["SHOP_KEY"]) == 64 and "_APP_OPENSSL_KEY_V1" not in values


def test_public_key_in_the_compose_file(project):
    written(project, ("_APP_OPENSSL_KEY_V1=your-secret-key", *BARE[1:]), "")
    message = refuse("security", {"project_src": str(project), **WISHES})
    assert f"{project / 'docker-compose.yml'}, line 5" in message
    assert "Write `- _APP_OPENSSL_KEY_V1` there instead" in message


def test_secrets_of_a_template(project):
    written(
        project,
        BARE,
        "_APP_OPENSSL_KEY_V1=change_this_to_a_long_random_secret\n_APP_DB_PASS=change_db_password\n"
        "_APP_DB_ROOT_PASS=rootsecretpassword\n_APP_SMTP_PASSWORD=password\n",
    )
    changed = {change["name"] for change in secured(project)["changes"]}
    assert changed >= {"_APP_OPENSSL_KEY_V1", "_APP_DB_PASS"}
    assert not changed & {"_APP_DB_ROOT_PASS", "_APP_SMTP_PASSWORD"}, (
        "one reaches no service, the other is not ours to choose"
    )


@pytest.mark.parametrize(
    "entry", ["  - stack/compose.yml\n", "  - path: stack/compose.yml\n    project_directory: .\n"]
)
def test_included_file(project, entry):
    written(project, BARE, "_APP_OPENSSL_KEY_V1=your-secret-key\n", "stack/compose.yml")
    (project / "docker-compose.yml").write_text("include:\n" + entry)
    assert secured(project)["key"]["state"] == "placeholder_replaced"


def _by_another_name(service):
    environment = service["environment"]
    environment[environment.index(KEY)] = KEY + "=${SHOP_KEY}"
    environment[environment.index(HTTPS)] = HTTPS + "=${FORCE_HTTPS:-disabled}"


LITERAL = f"not-a-real-key-{secrets.token_hex(16)}"


def _literally(service):
    environment = service["environment"]
    environment[environment.index(KEY)] = f"{KEY}={LITERAL}"


def _by_env_file(service):
    service["environment"] = [entry for entry in service["environment"] if "=" in entry]
    service["env_file"] = ".env"


@pytest.mark.parametrize("change", [_by_another_name, _literally, _by_env_file])
def test_life_of_a_set_up(directory, change, tmp_path):
    """Secured, applied, found unchanged, seen by the drill, and told what a rotation needs."""
    file = directory / "docker-compose.yml"
    project = yaml.safe_load(file.read_text())
    for service in project["services"].values():
        if KEY in (service.get("environment") or ()) and HTTPS in service["environment"]:
            change(service)
        elif KEY in (service.get("environment") or ()):
            service["environment"].remove(KEY)
    file.write_text(yaml.safe_dump(project, sort_keys=False))
    key = "not-a-real-key-" + secrets.token_hex(16)
    set_env(directory, **{KEY: key})
    if change is _by_another_name:
        set_env(directory, SHOP_KEY=key, **{KEY: None})
    elif change is _literally:
        set_env(directory, **{KEY: None})
    stack = Stack(SMALL, Project(directory))
    password = tmp_path / "vault-password"
    password.write_text("not a real vault password\n")
    flags = (f"--vault-password-file={password}",)
    escrow = str(tmp_path / "escrow.yml")
    try:
        first = stack.secure(*flags, escrow_file=escrow)
        assert first.rc == 0, first.output
        assert first.result("Secure the .env")["key"]["state"] == "kept"
        assert stack.secure(*flags, escrow_file=escrow).recap["changed"] == 0
        for service, options in stack.project.config()["services"].items():
            if HTTPS in (options.get("environment") or {}):
                assert stack.project.container_env(service)[HTTPS] == "enabled"
        assert (KEY in read_env(directory)) == (change is _by_env_file)
        info = succeed("instance_info", stack.arguments)
        assert (info["key"]["state"], len(info["container_keys"])) == ("present", 1)
        drill = playbook(
            "selfhost.appwrite.drill",
            {"appwrite_security_project_src": str(directory), "appwrite_security_escrow_file": escrow},
            *flags,
        )
        assert drill.rc == 0, drill.output
        if change is not _by_env_file:
            message = refuse("rekey", {**stack.arguments, "scope": "values"}, check=True)
            assert "First write the same key into .env" in message and key not in json.dumps(message)
    finally:
        stack.project.down()


def test_users_who_would_be_redirected_for_ever(tmp_path):
    """What ends TLS answers until Appwrite forces HTTPS, and from then on sends everybody back to where they are: the role goes back."""
    kind = replace(SMALL, services=(*SMALL.services, "traefik"))
    directory = kind.create(tmp_path, f"loop-{secrets.token_hex(4)}").directory
    stack = Stack(kind, Project(directory))
    with serve(loops=lambda: stack.project.container_env("appwrite")[HTTPS] == "enabled") as served:
        file = directory / "docker-compose.yml"
        project = yaml.safe_load(file.read_text())
        traefik = project["services"]["traefik"]
        del traefik["ports"], traefik["networks"]
        traefik["network_mode"] = "host"
        traefik["command"].append(f"--entrypoints.appwrite_websecure.address=:{served.https_port}")
        file.write_text(yaml.safe_dump(project, sort_keys=False))
        set_env(directory, **{HTTPS: "disabled", "_APP_DOMAIN": served.host, KEY: f"not-a-key-{secrets.token_hex(16)}"})
        try:
            stack.project.up()
            stack.project.wait()
            before = stack.env()
            play = stack.secure(escrow="off")
            assert play.rc and play.recap["failed"] == 1, play.output
            for part in (f"https://{served.host} redirects to itself for ever", "appwrite_security_force_https"):
                assert part in play.result("Fail with the reason")["msg"]
            assert stack.env() == before
            stack.assert_in_force()
            assert set(stack.project.ps().values()) <= {"running", "healthy"}
            assert stack.secure(escrow="off", force_https=False).rc == 0
        finally:
            stack.project.down()
