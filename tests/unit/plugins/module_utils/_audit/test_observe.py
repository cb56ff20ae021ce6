# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be looked at is told of, and hides nothing else."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import observe as _observe
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Answer, Owned, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.probe import PATH, get, loops
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import instance_of


def test_what_nobody_foresaw_is_unseen_and_quotes_nothing():
    seen = _observe._try(lambda: {}["not-a-real-secret"])
    assert isinstance(seen, Unseen) and "KeyError" in seen.reason and "secret" not in seen.reason


@pytest.mark.parametrize("line", ["", "ping ", "ping", "   "])
def test_answers_that_say_nothing(line):
    inside = _observe._answered(f"reach database yes\n{line}\nvolume uploads yes no 7\n")
    assert (inside.reachable["database"], inside.volumes["uploads"]) == (True, (True, False, 7))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("appwrite.notarealcompany.com", True),
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("a..b", False),
        ("x" * 64 + ".com", False),
        (".", False),
        ("", False),
    ],
)
def test_names_that_can_be_looked_up(name, known):
    assert _observe._is_name(name) is known


@pytest.mark.parametrize("location", ["http://[x", "https://[::1"])
def test_redirect_to_no_address(location):
    assert loops("appwrite.notarealcompany.com", Answer(301, location, None)) is False


# --- who may write the project ---


@pytest.fixture
def project(tmp_path):
    for name, mode in (("docker-compose.yml", 0o644), ("docker-compose.override.yml", 0o664), (".env", 0o600)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    tmp_path.chmod(0o1777)
    return tmp_path


def look(directory):
    return _observe._project(
        instance_of(
            {name: option.get("default") for name, option in PROJECT_OPTIONS.items()} | {"project_src": str(directory)}
        )
    )


def test_directory_and_compose_files(project):
    found, me = look(project), os.geteuid()
    names = (("", 0o1777), ("/docker-compose.yml", 0o644), ("/docker-compose.override.yml", 0o664))
    assert found.entries == tuple(Owned(f"{project}{name}", me, mode) for name, mode in names)
    assert found.owner == me


def test_directory_that_the_env_file_really_is_in(project):
    (project / "elsewhere").mkdir(mode=0o700)
    (project / ".env").rename(project / "elsewhere" / ".env")
    (project / ".env").symlink_to("elsewhere/.env")
    assert Owned(f"{project}/elsewhere", os.geteuid(), 0o700) in look(project).entries


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_owner_of_the_env_file(project):
    os.chown(project / ".env", 12345, -1)
    assert look(project).owner == 12345
    (project / ".env").unlink()
    os.chown(project, 23456, -1)
    assert look(project).owner == 23456


def test_no_project(tmp_path):
    with pytest.raises(AppwriteError, match="is not a compose project"):
        look(tmp_path)


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("secret")], ids=["pipe", "link"])
def test_a_copy_that_becomes_something_else_is_not_followed_or_waited_for(tmp_path, monkeypatch, put):
    """Between the look at a file and its opening."""
    (tmp_path / "secret").write_text("NotARealSecretAtAll")
    path, real = tmp_path / "copy", os.lstat
    path.write_text("nothing")

    def lstat(name):
        status = real(name)
        if str(name) == str(path) and path.is_file() and not path.is_symlink():
            path.unlink()
            put(path)
        return status

    monkeypatch.setattr(_observe.os, "lstat", lstat)
    monkeypatch.setattr(_observe.os.path, "realpath", str)
    found = list(_observe._copies(str(tmp_path), str(tmp_path / ".env"), {"SECRET": b"NotARealSecretAtAll"}))
    assert [file.path for file in found] == [str(tmp_path / "secret")]


@pytest.mark.parametrize("host", [".notarealcompany.com", "a..b", "a" * 70])
def test_names_that_tls_cannot_ask_for(host):
    """Whatever listens there: the handshake fails before it begins."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert isinstance(get(host, "127.0.0.1", server.getsockname()[1], PATH, True), Unseen)
