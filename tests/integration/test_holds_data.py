# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an installation holds data, asked of real databases."""

from __future__ import annotations

from pathlib import Path

import pytest
import testbed
import yaml
from support.stack import Stack, every_kind, on, refuse, small, succeed
from testbed._base import run

DATABASES = tuple(
    kind
    for kind in every_kind()
    if (kind.release, kind.database, kind.topology)
    in [("1.9.6", "mariadb", "combined"), ("2.4.0", "postgresql", "combined"), ("1.9.6", "mongodb", "combined")]
)
PROGRAMS = Path(testbed.__file__).parent / "programs"


def holds_data(directory: Path, **options: str) -> tuple[str, str]:
    told = succeed("instance_info", {"project_src": str(directory), **options})
    return told["holds_data"], told["holds_data_reason"]


def make_console(stack: Stack) -> None:
    """The console's tables, as Appwrite's first start makes them."""
    texts = {
        name: (PROGRAMS / name / file).read_text()
        for name, file in (("mariadb", "console.sql"), ("postgresql", "console.sql"), ("mongodb", "console.js"))
    }
    texts["postgresql"] = 'SET search_path TO "{schema}";\n' + texts["postgresql"]
    stack.project.query(**texts)


@on(*DATABASES)
def test_console_table(stack):
    stack.project.empty_console()
    assert holds_data(stack.directory)[0] == "no"
    stack.project.sign_up("ada@example.com")
    state, reason = holds_data(stack.directory)
    assert (state, stack.project.name in reason) == ("yes", True)
    stack.project.drop_console()
    try:
        assert holds_data(stack.directory)[0] == "no"
    finally:
        make_console(stack)


@on(*DATABASES)
def test_database_stopped(stack):
    stack.project.compose("stop", stack.kind.database)
    state, reason = holds_data(stack.directory)
    assert state == "unknown"
    assert f"docker compose up -d {stack.kind.database}" in reason


@pytest.mark.parametrize("database", testbed.DATABASES)
def test_nothing_started(tmp_path, database):
    """The volume decides, not the image, so the database is not needed for it."""
    compose = {
        "services": {
            "appwrite": {"image": "appwrite/appwrite:1.9.6"},
            database: {"image": database, "volumes": ["data:/data"]},
        },
        "volumes": {"data": {}},
    }
    (tmp_path / "docker-compose.yml").write_text(yaml.safe_dump(compose))
    (tmp_path / ".env").write_text(f"_APP_DB_HOST={database}\n")
    assert holds_data(tmp_path) == (
        "no",
        f"the database of project {tmp_path.name.replace('[', '').replace(']', '')} has no volume yet",
    )


@small("apply")
def test_wrong_credentials(stack):
    root = (
        "docker",
        "exec",
        "--interactive",
        stack.ids()["mariadb"],
        "sh",
        "-c",
        'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec mariadb --user=root',
    )
    change = "ALTER USER user@'%%' IDENTIFIED BY '%s';"
    run(*root, input=change % "another-password")
    try:
        state, reason = holds_data(stack.directory)
    finally:
        run(*root, input=change % "password")
    assert state == "unknown"
    assert "Access denied" in reason


@small("apply")
def test_another_project_name(stack):
    message = refuse("instance_info", {**stack.arguments, "project_name": "another"})
    assert stack.project.name in message and message.startswith("project_name: ")


@small("apply")
def test_database_elsewhere(stack):
    path = stack.directory / ".env"
    path.write_text(path.read_text().replace('_APP_DB_HOST="mariadb"', '_APP_DB_HOST="db.example.com"'))
    state, reason = holds_data(stack.directory)
    assert (state, "db.example.com" in reason) == ("unknown", True)


def test_bind_mount(directory):
    path = directory / "docker-compose.yml"
    content = yaml.safe_load(path.read_text())
    content["services"]["mariadb"]["volumes"] = ["./data:/var/lib/mysql"]
    path.write_text(yaml.safe_dump(content))
    assert holds_data(directory)[0] == "no"
    (directory / "data").mkdir()
    assert holds_data(directory)[0] == "no"
    (directory / "data" / "ibdata1").touch()
    state, reason = holds_data(directory)
    assert (state, "is not running" in reason) == ("unknown", True)
