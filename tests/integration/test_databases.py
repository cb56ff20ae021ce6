# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases as people have them: on another host, under another name, with passwords in files; asked for real."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testbed
import yaml
from support.stack import before_docker, read_env, succeed, until
from testbed import images
from testbed._base import Failed, run

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import DATABASES

PROGRAMS = Path(testbed.__file__).parent / "programs"
RELEASE = "1.9.6"
DIRECTORIES = {"mariadb": "/var/lib/mysql", "postgresql": "/var/lib/postgresql"}
PORTS = {"mariadb": "3306", "postgresql": "5432"}
SIGN_UP = {
    "mariadb": "INSERT INTO appwrite._console_users (_uid, name, email) VALUES ('ada', '', 'ada@example.com');",
    "postgresql": """INSERT INTO appwrite."_console_users" ("_uid", name, email) VALUES ('ada', '', 'ada@example.com');""",
}
CLIENTS = {
    "mariadb": 'MYSQL_PWD="$(cat /run/word)" exec mariadb --user=owner appwrite',
    "postgresql": "exec psql --quiet -v ON_ERROR_STOP=1 -U owner -d appwrite",
}
NAMES = {
    "mariadb": (
        "MYSQL_PASSWORD",
        {"MYSQL_DATABASE": "appwrite", "MYSQL_USER": "owner", "MYSQL_ROOT_PASSWORD": "of-root"},
    ),
    "postgresql": ("POSTGRES_PASSWORD", {"POSTGRES_DB": "appwrite", "POSTGRES_USER": "owner"}),
}
WISHES = {
    "https": {"certificate_email": "ops@notarealcompany.com"},
    "console_access": {"root_only": True},
    "encryption_key": {},
}


def database_service(database: str, directory: Path) -> dict[str, Any]:
    """Its password is in a file alone: what is executed in the container has no other, as with the official image."""
    password, more = NAMES[database]
    start = f'export {password}="$(cat /run/word)"; exec docker-entrypoint.sh {"mysqld" if database == "mariadb" else "postgres"}'
    return {
        "image": images.DATABASES[database](),
        "entrypoint": ["sh", "-c", start.replace("$", "$$")],
        "environment": {**more, f"{password}_FILE": "/run/word"},
        "volumes": [f"{directory}/word:/run/word:ro", f"data:{DIRECTORIES[database]}"],
    }


class Shop:
    """A project of Appwrite's API under its usual name, whose database has another."""

    def __init__(self, directory: Path, database: str) -> None:
        self.directory, self.database = directory, database
        self.word = secrets.token_hex(12)
        (directory / "word").write_text(self.word)

    def write(self, host: str, services: dict[str, Any], networks: dict[str, Any]) -> None:
        names = ["_APP_OPENSSL_KEY_V1", "_APP_ENV", "_APP_OPTIONS_FORCE_HTTPS", "_APP_OPTIONS_ROUTER_FORCE_HTTPS"]
        names += ["_APP_CONSOLE_WHITELIST_ROOT", "_APP_DOMAIN", "_APP_EMAIL_CERTIFICATES", "_APP_DB_PASS"]
        given = {
            "HOST": host,
            "PORT": PORTS[self.database],
            "SCHEMA": "appwrite",
            "USER": "owner",
            "ADAPTER": self.database,
        }
        api = {
            "image": images.stand_in(RELEASE),
            "environment": [*names, *(f"_APP_DB_{name}={value}" for name, value in given.items())],
            "networks": list(networks) or ["default"],
        }
        content = {"services": {"appwrite": api, **services}, "networks": networks, "volumes": {"data": {}}}
        (self.directory / "docker-compose.yml").write_text(yaml.safe_dump(content))
        (self.directory / ".env").write_text(
            "_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n_APP_OPENSSL_KEY_V1=your-secret-key\n"
            f"_APP_DB_HOST=mariadb\n_APP_DB_PASS={self.word}\n"
        )
        (self.directory / ".env").chmod(0o600)

    def compose(self, *arguments: str) -> None:
        run("docker", "compose", *arguments, cwd=self.directory)

    def secure(self, **options: Any) -> dict[str, Any]:
        return succeed("security", {"project_src": str(self.directory), **WISHES}, **options)

    def holds_data(self) -> tuple[str, str]:
        told = succeed("instance_info", {"project_src": str(self.directory)})
        assert self.word not in str(told)
        return told["holds_data"], told["holds_data_reason"]


def statements(container: str, database: str, text: str) -> None:
    """Once the database takes any."""

    def done() -> bool:
        command = ["docker", "exec", "--interactive", container, "sh", "-c", CLIENTS[database]]
        return subprocess.run(command, input=text, text=True, capture_output=True, check=False).returncode == 0

    until(done)


def console(database: str) -> str:
    text = (PROGRAMS / database / "console.sql").read_text()
    return (
        text
        if database == "mariadb"
        else "CREATE SCHEMA IF NOT EXISTS appwrite;\nSET search_path TO appwrite;\n" + text
    )


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Callable[[str], Shop]]:
    directory = tmp_path / f"shop-{secrets.token_hex(4)}"
    directory.mkdir()
    yield lambda database: Shop(directory, database)
    with contextlib.suppress(Failed):
        run("docker", "compose", "down", "--volumes", "--timeout", "0", cwd=directory)


@pytest.mark.parametrize(
    "database",
    [pytest.param(each, marks=[] if each == "mariadb" else pytest.mark.nightly("mariadb")) for each in PORTS],
)
def test_elsewhere(shop, database, tmp_path):
    """What HTTPS and the console need is set whatever is known of the data; without the database's client the key waits until Appwrite can be asked."""
    shop = shop(database)
    other = tmp_path / f"elsewhere-{secrets.token_hex(4)}"
    other.mkdir()
    service = {**database_service(database, shop.directory), "hostname": "db.internal"}
    service["networks"] = {"default": {"aliases": ["db.internal"]}}
    (other / "docker-compose.yml").write_text(yaml.safe_dump({"services": {"store": service}, "volumes": {"data": {}}}))
    shop.write("db.internal", {}, {"outer": {"external": True, "name": f"{other.name}_default"}})
    try:
        run("docker", "compose", "up", "--detach", cwd=other)
        store = run("docker", "compose", "ps", "--quiet", cwd=other).strip()
        statements(store, database, console(database))
        client = next(each.client_image for each in DATABASES if each.service == database)
        lacking = before_docker(tmp_path, f'case " $* " in " image inspect "*" {client} "*) exit 1;; esac')
        done = shop.secure(environ=lacking)
        values = read_env(shop.directory)
        assert (done["key"]["state"], values["_APP_OPENSSL_KEY_V1"]) == ("placeholder_kept", "your-secret-key")
        assert (values["_APP_OPTIONS_FORCE_HTTPS"], values["_APP_CONSOLE_WHITELIST_ROOT"]) == ("enabled", "enabled")
        assert any("docker compose up -d" in warning for warning in done["warnings"])
        assert shop.secure(environ=lacking)["changed"] is False
        shop.compose("up", "--detach")
        assert shop.holds_data() == (
            "no",
            "nobody has signed up to the console yet, as the database at db.internal says",
        )
        statements(store, database, SIGN_UP[database])
        assert shop.holds_data() == ("yes", "a console account exists in the database at db.internal")
        kept = shop.secure()
        assert kept["key"]["state"] == "placeholder_kept" and any("rotate" in warning for warning in kept["warnings"])
        statements(store, database, SIGN_UP[database].partition(" (")[0].replace("INSERT INTO", "DELETE FROM") + ";")
        assert shop.secure()["key"]["state"] == "placeholder_replaced"
        run("docker", "compose", "stop", "--timeout", "0", cwd=other)
        state, reason = shop.holds_data()
        assert state == "unknown" and "did not answer: docker exec failed: SQLSTATE" in reason
    finally:
        shop.compose("down", "--volumes", "--timeout", "0")
        run("docker", "compose", "down", "--volumes", "--timeout", "0", cwd=other)


@pytest.mark.parametrize("database", PORTS)
def test_renamed_and_with_its_password_in_a_file(shop, database):
    shop = shop(database)
    service = database_service(database, shop.directory)
    shop.write("shop-db", {"shop-db": service}, {})
    assert shop.holds_data()[0] == "no"
    shop.compose("up", "--detach", "shop-db")
    store = run("docker", "compose", "ps", "--quiet", "shop-db", cwd=shop.directory).strip()
    statements(store, database, console(database))
    assert shop.holds_data()[0] == "no"
    statements(store, database, SIGN_UP[database])
    assert shop.holds_data()[0] == "yes"
    told = succeed("stored_info", {"project_src": str(shop.directory)})
    assert shop.word not in str(told)


def test_disk_that_was_just_made(shop):
    shop = shop("mariadb")
    service = {**database_service("mariadb", shop.directory), "volumes": ["./disk:/var/lib/mysql"]}
    shop.write("mariadb", {"mariadb": service}, {})
    (shop.directory / "disk" / "lost+found").mkdir(parents=True)
    assert shop.holds_data()[0] == "no"
    assert shop.secure()["key"]["state"] == "placeholder_replaced"


def test_release_and_services_of_an_image_of_ones_own(shop):
    """Its name says nothing: it is told, and its release, by what Appwrite's own image sets."""
    shop = shop("mariadb")
    shop.write("mariadb", {}, {})
    image = f"shop-{secrets.token_hex(4)}/backend"
    run("docker", "tag", images.stand_in(RELEASE), image)
    try:
        path = shop.directory / "docker-compose.yml"
        content = yaml.safe_load(path.read_text())
        content["services"] = {"backend": {"image": image}, "store": {"image": images.stand_in()}}
        path.write_text(yaml.safe_dump(content))
        told = succeed("instance_info", {"project_src": str(shop.directory)})
        assert told["release"] == RELEASE and not told["warnings"], told
    finally:
        run("docker", "image", "rm", image)
