# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation that was never started gets secrets of its own before it is; one that holds data gets those that are free."""

from __future__ import annotations

import pytest
from support.stack import KEY, SMALL, Kind, Stack, made, official, playbook, read_env, refuse, set_env, succeed
from testbed import Project

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue

COMBINED = Kind(
    "2.4.0",
    "postgresql",
    services=("appwrite", "appwrite-worker", "appwrite-geo", "clickhouse", "redis", "postgresql"),
    room="fresh",
)
PUBLIC = {
    "_APP_OPENSSL_KEY_V1": "your-secret-key",
    "_APP_DB_PASS": "password",
    "_APP_DB_ROOT_PASS": "rootsecretpassword",
    "_APP_EXECUTOR_SECRET": "your-secret-key",
}
STAND_IN = ("_APP_IMAGE", "_APP_HTTP_PORT", "_APP_HTTPS_PORT", "_APP_MQTT_PORT", "_APP_MQTT_WSS_PORT")


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        (COMBINED, "the installer's"),
        *(pytest.param(kind, "none", marks=pytest.mark.nightly) for kind in (SMALL, COMBINED, *official())),
    ],
    ids=str,
)
def test_from_the_start(tmp_path, kind, file):
    """The database itself is created with the new passwords, and everything runs."""
    stack = made(kind, tmp_path)
    directory, public = stack.directory, PUBLIC.keys()
    if kind.database == "postgresql":
        public -= {"_APP_DB_ROOT_PASS"}  # which it has not
    own = STAND_IN if kind.file else STAND_IN[:1]  # without Traefik no port is published
    stand_in = {name: value for name, value in stack.env().items() if name in own}
    if file == "none":
        (directory / ".env").unlink()
    else:
        set_env(directory, **PUBLIC)
    variables = {
        "appwrite_security_project_src": str(directory),
        "appwrite_security_variables": {**stand_in, "_APP_VERSION": kind.release},
        "appwrite_project_version": kind.release,  # which the missing file would have told
    }
    try:
        play = playbook("selfhost.appwrite.secure", variables)
        assert play.rc == 0, play.output
        values = read_env(directory)
        assert not [name for name in public if values[name] == PUBLIC[name]]
        assert len({values[name] for name in public}) == len(public)
        documented = {name for name in catalogue.names(kind.release) if catalogue.documented(name, kind.release)}
        assert file != "none" or documented <= set(values)
        stack.assert_in_force()
        stack.project.sign_up("ada@example.com")
        assert playbook("selfhost.appwrite.secure", variables).recap["changed"] == 0
        set_env(directory, _APP_EXECUTOR_SECRET="your-secret-key")
        play = playbook("selfhost.appwrite.secure", variables)
        assert [change["name"] for change in play.result("Secure the .env")["changes"]] == ["_APP_EXECUTOR_SECRET"]
        assert {**read_env(directory), "_APP_EXECUTOR_SECRET": ""} == {**values, "_APP_EXECUTOR_SECRET": ""}
        assert succeed("apply", stack.arguments)["changed"] is False
    finally:
        stack.project.down()


def test_file_of_a_database_that_exists(directory):
    """A lost .env is not made up again: it would not fit the database."""
    stack = Stack(SMALL, Project(directory))
    try:
        stack.project.up("mariadb")
        (directory / ".env").unlink()
        assert "there is no .env, but this installation was started before" in refuse(
            "security", {**stack.arguments, "encryption_key": {}, "env": {"create": True}}
        )
        assert not (directory / ".env").exists()
    finally:
        stack.project.down()


def test_without_replacing(directory):
    set_env(directory, **PUBLIC)
    play = Stack(SMALL, Project(directory)).secure(apply=False, replace_default_secrets=False)
    assert play.rc == 0, play.output
    assert read_env(directory)[KEY] != PUBLIC[KEY] and read_env(directory)["_APP_DB_PASS"] == PUBLIC["_APP_DB_PASS"]
