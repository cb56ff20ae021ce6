# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets words of its own, and every byte on disk stays as it was."""

from __future__ import annotations

import os
import socket
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.absent import NO_CLIENT, NO_DOCKER, NO_PLUGIN
from support.stack import NOT_A_KEY, read_env, refuse, set_env, small, succeed, without
from testbed._base import clean_environ

from ansible_collections.selfhost.appwrite.plugins.doc_fragments.project import ModuleDocFragment

# Root's own files, but without root's right to everybody's: what an ordinary user is to files that he may not read.
ORDINARY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
PLUGINS = "ansible_collections.selfhost.appwrite.plugins"
WISHES = {
    "encryption_key": {},
    "https": {},
    "console_access": {"root_only": False},
    "env": {"variables": {"_APP_DOMAIN": "a.example.com"}},
    "security": {"encryption_key": {}, "console_access": {"root_only": True}},
}
WRITERS = ("encryption_key", "env", "security")
"""The others are the same transaction with another setting; what is their own is tested for each."""
ALL = (*WRITERS, "apply", "instance_info")


@pytest.mark.parametrize("name", ALL)
def test_not_a_directory(directory, name):
    message = refuse(name, {"project_src": str(directory / "docker-compose.yml")})
    assert message.startswith("project_src: ") and "is not a directory" in message


@pytest.mark.parametrize("name", ALL)
def test_missing_directory(tmp_path, name):
    message = refuse(name, {"project_src": str(tmp_path / "missing")})
    assert message.startswith("project_src: ") and "does not exist" in message


@pytest.mark.parametrize("name", ALL)
def test_not_a_compose_project(tmp_path, name):
    (tmp_path / ".env").write_text("_APP_ENV=production\n")
    message = refuse(name, {"project_src": str(tmp_path)})
    assert message.startswith("project_src: ") and "is not a compose project" in message


@pytest.mark.parametrize("name", (*WRITERS, "apply"))
def test_no_env(directory, name):
    (directory / ".env").unlink()
    message = refuse(name, {"project_src": str(directory)})
    assert message.startswith("env_file: ") and "does not exist" in message and "installer" in message


@pytest.mark.parametrize("name", ALL)
def test_env_that_compose_rejects(directory, name):
    path = directory / ".env"
    lines = path.read_text().count("\n")
    path.write_text(path.read_text() + 'BROKEN="not-a-real-secret\n')
    message = refuse(name, {"project_src": str(directory)}, secrets=["not-a-real-secret"])
    assert message.startswith("env_file: ") and f"line {lines + 1}" in message


@pytest.mark.parametrize("name", ALL)
def test_compose_file_that_is_no_yaml(directory, name):
    path = directory / "docker-compose.yml"
    path.write_text("services:\n  appwrite:\n    image: [\n")
    message = refuse(name, {"project_src": str(directory)})
    assert "docker compose" in message and "rejects" in message and "line 3" in message.replace("line 4", "line 3")


@pytest.mark.parametrize("name", ALL)
def test_unknown_service(directory, name):
    path = directory / "docker-compose.yml"
    content = yaml.safe_load(path.read_text())
    content["services"]["appwrite"]["depends_on"] = ["no-such-service"]
    path.write_text(yaml.safe_dump(content))
    message = refuse(name, {"project_src": str(directory)})
    assert "docker compose" in message and "no-such-service" in message


def test_docker_is_not_installed(directory):
    """A file can be prepared without docker; what needs it says so."""
    arguments = {"project_src": str(directory)}
    message = refuse("apply", arguments, prefix=NO_DOCKER)
    assert "docker" in message and "not installed" in message
    for name, wish in WISHES.items():
        succeed(name, {**arguments, **wish, "backup": False}, prefix=NO_DOCKER)
    assert len(read_env(directory)["_APP_OPENSSL_KEY_V1"]) == 64
    assert succeed("instance_info", arguments, prefix=NO_DOCKER)["holds_data"] == "no"


def test_docker_was_here(directory):
    """An engine's socket or volumes without its client prove nothing about the data."""
    message = refuse("encryption_key", {"project_src": str(directory)}, prefix=NO_CLIENT)
    assert "an engine is or was here" in message


def test_docker_is_not_on_path(directory):
    """A task's short PATH must not make a machine look as if nothing ran on it."""
    told = succeed(
        "instance_info", {"project_src": str(directory)}, environ={**clean_environ(), "PATH": "/nonexistent"}
    )
    assert told["project"] == directory.name


def test_compose_is_not_installed(directory, tmp_path):
    """The client alone, without its plugin."""
    options = {"prefix": NO_PLUGIN, "environ": {**clean_environ(), "DOCKER_CONFIG": str(tmp_path)}}
    arguments = {"project_src": str(directory)}
    message = refuse("apply", arguments, **options)
    assert "compose" in message and "not installed" in message
    succeed("https", arguments, **options)


def test_engine_down(directory):
    environ = {**clean_environ(), "DOCKER_HOST": f"unix://{directory}/no.sock"}
    arguments = {"project_src": str(directory)}
    for name in ("apply", "encryption_key"):
        message = refuse(name, arguments, environ=environ)
        assert "the Docker Engine does not answer" in message, name
    told = succeed("instance_info", arguments, environ=environ)
    assert (told["holds_data"], set(told["services"].values())) == ("unknown", {"unknown"})
    succeed("https", arguments, environ=environ)


@pytest.fixture
def closed_socket():
    """The engine's socket, as a user sees it who may not use it."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listening:
        path = Path(directory) / "docker.sock"
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        yield path


def test_engine_denied(directory, closed_socket):
    environ = {**clean_environ(), "DOCKER_HOST": f"unix://{closed_socket}"}
    for name in ("apply", "encryption_key"):
        message = refuse(name, {"project_src": str(directory)}, environ=environ, prefix=ORDINARY)
        assert "may not talk to the Docker Engine" in message and "become" in message


@pytest.mark.parametrize("name", ALL)
def test_env_denied(directory, name):
    (directory / ".env").chmod(0)
    message = refuse(name, {"project_src": str(directory)}, prefix=ORDINARY)
    assert message.startswith("env_file: ") and "permission denied" in message and "become" in message


@pytest.mark.parametrize("name", WRITERS)
def test_directory_read_only(directory, name):
    if name == "security":
        set_env(directory, _APP_CONSOLE_WHITELIST_ROOT="disabled")
    directory.chmod(0o555)
    try:
        message = refuse(name, {"project_src": str(directory), **WISHES[name]}, prefix=ORDINARY)
    finally:
        directory.chmod(0o755)
    assert message.startswith("env_file: ") and "permission denied" in message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("release", ["latest", "1.9", "v1.9.6"])
def test_release(directory, name, release):
    message = refuse(name, {"project_src": str(directory), "appwrite_version": release})
    assert message.startswith("appwrite_version: ") and release in message


def test_unreadable_release(directory):
    path = directory / ".env"
    path.write_text(path.read_text().replace('_APP_VERSION="1.9.6"', '_APP_VERSION="latest"'))
    assert any(
        "Set `appwrite_version`" in warning for warning in succeed("https", {"project_src": str(directory)})["warnings"]
    )


WRONG = {
    "env_file": "missing/.env",
    "files": ["missing.yml"],
    "project_name": "Not A Name",
    "clean_environment": "maybe",
    "backup": "maybe",
    "progress": "maybe",
    "key": "short",
    "length": 5,
    "placeholder": "replace",
    "force": "maybe",
    "force_router": "maybe",
    "certificate_email": "nobody",
    "root_only": "maybe",
    "emails": ["*@example.com"],
    "ips": ["10.0.0.0/8"],
    "variables": {"_APP_NO_SUCH": "x"},
    "content": "BROKEN='",
    "unknown": "perhaps",
    "apply": "maybe",
    "rollback": "maybe",
    "verify": "maybe",
    "timeout": "soon",
    "pull": "sometimes",
    "rollback_file": "/nonexistent/.env.bak",
    "mode": "rw",
    "profiles": {"a": 1},
    "backup_keep": 0,
    "escrowed": "short",
    "pending": "short",
    "candidates": {"a": 1},
    "seal": "short",
    "create": "maybe",
    "replace_default_secrets": "maybe",
    "escrow": "maybe",
    # For text instead of a dict Ansible's own message names no option.
    **{setting: {"no_such": 1} for setting in ("encryption_key", "https", "console_access", "env")},
}
TESTED_ABOVE = {"project_src", "appwrite_version"}
OF_THE_ACTION = {"progress_file", "escrow_file", "cluster"}
"""What the module itself leaves alone: tests/unit/plugins/action has wrong ones."""


def test_looking_at_a_missing_file(directory):
    (directory / ".env").unlink()
    told = succeed("instance_info", {"project_src": str(directory)})
    assert any(warning.startswith("env_file: ") for warning in told["warnings"])


def _options(name: str) -> dict[str, Any]:
    """What the module documents, with what it shares with the others where they are tested by it."""
    documentation = yaml.safe_load(import_module(f"{PLUGINS}.modules.{name}").DOCUMENTATION)
    found = dict(documentation.get("options", {}))
    for fragment in (
        documentation["extends_documentation_fragment"] if name in ("security", "apply", "instance_info") else ()
    ):
        part = fragment.partition(".project.")[2].upper() or "DOCUMENTATION"
        found.update(yaml.safe_load(getattr(ModuleDocFragment, part)).get("options", {}))
    return found


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name in (*WISHES, "apply", "instance_info")
        for option in _options(name)
        if option not in TESTED_ABOVE | OF_THE_ACTION
    ],
)
def test_wrong_value(directory, name, option):
    if option == "key":
        without(directory, "_APP_OPENSSL_KEY_V1", "_APP_OPENSSL_KEY_V1=\n")
    message = refuse(name, {"project_src": str(directory), option: WRONG[option]}, secrets=[NOT_A_KEY])
    assert option in message


@small("apply")
@pytest.mark.parametrize("timeout", [0, -5])
def test_timeout(stack, timeout):
    assert refuse("apply", {**stack.arguments, "timeout": timeout}).startswith("timeout: ")
