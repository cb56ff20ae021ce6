# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation has noted keeps everybody else from writing, and nobody else's word passes for it."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import journal as _journal
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import (
    Journal,
    refuse_unfinished,
    remembered,
)

OLD, NEW = "NotARealOldKey12", "NotARealNewKey12"
DUMP = "appwrite-before-rotation-20260102T030405Z.gz"
WHOLE = {"phase": "guarded", "old": OLD, "new": NEW, "env": base64.b64encode(f"{_key.NAME}={OLD}\n".encode()).decode()}


def plant(project: Path, content: Any, mode: int = 0o600) -> Path:
    """A journal, as one that has died leaves it; bytes as they are."""
    directory = project / ".appwrite-rotation"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / "state.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    path.chmod(mode)
    return path


def env_of(project: Path) -> EnvFile:
    return EnvFile(str(project / ".env"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(env_of(tmp_path))
    with found.locked(create=True):
        yield found


# --- what is noted ---


def test_kept_for_the_owner_alone(journal, tmp_path):
    journal.replace(dict(WHOLE))
    journal.save(phase="sealed", dump_file=DUMP)
    inside = tmp_path / ".appwrite-rotation"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (inside, inside / "state.json")] == [0o700, 0o600]
    assert sorted(os.listdir(inside)) == ["lock", "state.json"]
    assert remembered(env_of(tmp_path)) == {**WHOLE, "phase": "sealed", "dump_file": DUMP} == journal.content
    assert journal.env == f"{_key.NAME}={OLD}\n".encode()
    journal.end()
    assert remembered(env_of(tmp_path)) == {} and journal.phase == "none"


@pytest.mark.parametrize("left", [None, "state.json", "files"])
def test_directory_goes_with_the_last_of_it(tmp_path, left):
    journal = Journal(env_of(tmp_path))
    with journal.locked(create=True):
        (tmp_path / ".appwrite-rotation" / "state.new").write_text("of one that was killed")
        if left:
            (tmp_path / ".appwrite-rotation" / left).touch(mode=0o600)
            (tmp_path / ".appwrite-rotation" / left).write_text(json.dumps(WHOLE))
    assert (tmp_path / ".appwrite-rotation").exists() == bool(left)
    with journal.locked(create=True):
        assert bool(journal.content) == (left == "state.json")


def test_one_at_a_time(journal, tmp_path):
    with pytest.raises(AppwriteError, match="^another rotation of this project is running; wait for it to end$"):
        with Journal(env_of(tmp_path)).locked(create=True):
            pass
    assert (tmp_path / ".appwrite-rotation").exists(), "the other one's directory"
    assert remembered(env_of(tmp_path)) == {}, "to read it nobody is waited for"


def test_reading_makes_nothing(tmp_path):
    with Journal(env_of(tmp_path)).locked(create=False):
        assert remembered(env_of(tmp_path)) == {}
    assert list(tmp_path.iterdir()) == []


def test_ended_meanwhile(tmp_path, monkeypatch):
    """The lock of a directory that is gone keeps nobody out."""
    real = fcntl.flock

    def slow(handle: int, how: int) -> None:
        (tmp_path / ".appwrite-rotation").rename(tmp_path / "elsewhere")
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with pytest.raises(AppwriteError, match="has just ended; run again"):
        with Journal(env_of(tmp_path)).locked(create=True):
            pass


def test_ended_before_it_was_opened(tmp_path, monkeypatch):
    """The other one's directory was there when this run would have made its own."""

    def exists(*_unused: Any, **_options: Any) -> None:
        raise FileExistsError

    monkeypatch.setattr(os, "mkdir", exists)
    with pytest.raises(AppwriteError, match="has just ended; run again"), Journal(env_of(tmp_path)).locked(create=True):
        pass


def test_lock_on_nfs(tmp_path, monkeypatch):
    """It gives an exclusive lock only to who may write, and keeps the name of a file that is open."""
    real, rmdir = fcntl.flock, os.rmdir

    def flock(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "")
        real(handle, how)

    def empty(name: str, **options: Any) -> None:
        if any(
            ".appwrite-rotation/" in os.readlink(handle)
            for handle in Path("/proc/self/fd").iterdir()
            if handle.is_symlink()
        ):
            raise OSError(errno.ENOTEMPTY, "")
        rmdir(name, **options)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(os, "rmdir", empty)
    with Journal(env_of(tmp_path)).locked(create=True):
        with pytest.raises(AppwriteError, match="^another rotation of this project is running"), Journal(
            env_of(tmp_path)
        ).locked(create=True):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["open", "flock"])
def test_lock_that_cannot_be_had_leaves_nothing(tmp_path, monkeypatch, call):
    def refuse(first: Any, *arguments: Any, **options: Any) -> Any:
        if call == "flock" or first == "lock":
            raise OSError(errno.ENOSPC if call == "open" else errno.ENOLCK, "")
        return real(first, *arguments, **options)

    module = os if call == "open" else fcntl
    real = getattr(module, call)
    monkeypatch.setattr(module, call, refuse)
    with pytest.raises(AppwriteError, match=f"^{tmp_path}/.appwrite-rotation cannot be locked: "), Journal(
        env_of(tmp_path)
    ).locked(create=True):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [[], ["lock"], ["lock", "state.new"]])
def test_killed_before_the_first_note(tmp_path, left):
    """The next run takes that away; check mode changes nothing."""
    inside = tmp_path / ".appwrite-rotation"
    inside.mkdir(mode=0o700)
    for name in left:
        (inside / name).touch(mode=0o600)
    with Journal(env_of(tmp_path)).locked(create=False):
        assert remembered(env_of(tmp_path)) == {}
    assert sorted(os.listdir(inside)) == left
    with Journal(env_of(tmp_path)).locked(create=True):
        pass
    assert not inside.exists()


# --- the lock for everybody else ---


@pytest.mark.parametrize(
    ("phase", "key", "is_free"),
    [
        ("staged", None, True),
        ("prepared", None, True),
        ("guarded", None, False),
        ("sealed", NEW, False),
        ("written", None, False),
        ("written", OLD, False),
        ("written", NEW, True),
    ],
)
def test_phases(tmp_path, phase, key, is_free):
    plant(tmp_path, {**WHOLE, "phase": phase})
    if is_free:
        refuse_unfinished(env_of(tmp_path), key)
    else:
        with pytest.raises(
            AppwriteError,
            match="^a rotation of the encryption key is unfinished; run ansible-playbook selfhost.appwrite.rotate$",
        ):
            refuse_unfinished(env_of(tmp_path), key)


MODULES = {
    "encryption_key": {},
    "https": {"certificate_email": "ops@example.com"},
    "console_access": {"root_only": True},
    "env": {"variables": {"_APP_LOCALE": "de"}},
    "security": {"https": {}},
    "env with a template": {"content": "_APP_ENV=production\n"},
}


@pytest.mark.parametrize("case", MODULES)
@pytest.mark.parametrize("check", [True, False])
def test_every_writing_module_refuses(run_module, project, without_docker, case, check):
    """Somebody has put a backup of C(.env) back, so that the file itself says nothing of it."""
    plant(project, {**WHOLE, "phase": "sealed"})
    before = (project / ".env").read_bytes()
    result = run_module(case.split()[0], check=check, **MODULES[case])
    assert result["failed"] and result["msg"] == _journal.UNFINISHED
    assert (project / ".env").read_bytes() == before and sorted(os.listdir(project)) == [
        ".appwrite-rotation",
        ".env",
        "docker-compose.yml",
    ]


@pytest.mark.parametrize("options", [{}, {"rollback_file": "BACKUP"}])
@pytest.mark.parametrize("phase", ["guarded", "sealed", "written"])
def test_nothing_is_started(run_module, project, phase, options):
    """Of a key that is not the one that data is under now."""
    plant(project, {**WHOLE, "phase": phase})
    (project / ".env").write_text(f"{_key.NAME}={NEW if options else OLD}\n")
    (project / "backup").write_text(f"{_key.NAME}={OLD}\n")
    result = run_module("apply", **{name: str(project / "backup") for name in options})
    assert result["failed"] and result["msg"] == _journal.UNFINISHED


def test_tail_of_the_key_stays(run_module, project):
    plant(project, WHOLE)
    assert run_module("rekey", scope="tokens", new_key=NEW + "-tail")["msg"] == _journal.UNFINISHED


# --- what is not believed ---

DAMAGE: dict[str, Any] = {
    "half of it": json.dumps(WHOLE).encode()[:40],
    "nothing": b"",
    "no text": b"\xff",
    "a list": [],
    "a number": 5,
    "no phase": {"new": NEW},
    "an unknown phase": {**WHOLE, "phase": "begun"},
    "a phase of another type": {**WHOLE, "phase": ["guarded"]},
    "no old key": {**WHOLE, "old": ""},
    "a key of another type": {**WHOLE, "new": 5},
    "no file": {name: value for name, value in WHOLE.items() if name != "env"},
    "a file that is no text": {**WHOLE, "env": "????"},
    "a time of another type": {**WHOLE, "stopped": "now"},
    "a dump that is none": {**WHOLE, "dump_file": "/etc/passwd"},
    "a dump above": {**WHOLE, "dump_file": "../.env"},
    "a dump of another type": {**WHOLE, "dump_file": ["a"]},
    "a backup that is none": {**WHOLE, "backup_file": "/etc/shadow"},
    "an end of unknown sessions": {**WHOLE, "end_sessions": "everybody"},
    "a count of another type": {**WHOLE, "ended_sessions": "12"},
    "depth": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_damaged(run_module, project, without_docker, content):
    path = plant(project, content)
    before = path.read_bytes()
    for name, options in (
        ("encryption_key", {}),
        ("rekey", {"scope": "values", "abort": True}),
        ("rekey", {"scope": "values", "step": "state"}),
    ):
        message = run_module(name, **options)["msg"]
        assert message.startswith(f"{path}: is damaged, so it is not known which key stored data is under")
    assert path.read_bytes() == before


@pytest.fixture
def others(project: Path) -> Path:
    """A file that root may remove, and whoever owns the project may not."""
    directory = project.parent / "root"
    directory.mkdir(mode=0o700)
    path = directory / DUMP
    path.write_text("of root")
    return path


def assert_foreign(run_module: Any, project: Path, words: str) -> None:
    for name, options in (
        ("encryption_key", {}),
        ("rekey", {"scope": "values", "abort": True}),
        ("rekey", {"scope": "values", "new_key": NEW}),
    ):
        assert words in run_module(name, **options)["msg"]


def test_dump_elsewhere_stays(run_module, project, without_docker, others):
    """A journal that names any file as its dump is none of ours."""
    plant(project, {**WHOLE, "phase": "prepared", "dump_file": str(others)})
    assert "is damaged" in run_module("rekey", scope="values", abort=True)["msg"]
    assert others.exists() and (project / ".appwrite-rotation" / "state.json").exists()


def test_drafts_of_a_killed_run_go(tmp_path):
    """They hold both keys."""
    journal = Journal(env_of(tmp_path))
    with journal.locked(create=True):
        draft = tmp_path / ".appwrite-rotation" / f"{_files.TEMPORARY}0123456789abcdef"
        draft.write_text("cut off")
        journal.replace(dict(WHOLE))
        assert not draft.exists() and remembered(env_of(tmp_path))["phase"] == WHOLE["phase"]


def test_link_instead_of_the_directory(run_module, project, without_docker, others):
    plant(others.parent, WHOLE)
    (project / ".appwrite-rotation").symlink_to(others.parent / ".appwrite-rotation")
    assert_foreign(run_module, project, "is not a directory, which no rotation begun by this user or root would leave")
    assert others.exists() and (others.parent / ".appwrite-rotation" / "state.json").exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_something_else_instead_of_the_file(run_module, project, without_docker, others, kind):
    path = plant(project, WHOLE)
    path.unlink()
    path.symlink_to(others) if kind == "link" else os.mkfifo(path)
    assert_foreign(run_module, project, "is not a regular file, which no rotation")
    assert others.read_text() == "of root"


@pytest.mark.parametrize("inner", [False, True])
def test_open_to_others(run_module, project, without_docker, inner):
    path = plant(project, WHOLE, 0o600 | inner * 0o020)
    path.parent.chmod(0o700 | (not inner) * 0o005)
    assert_foreign(
        run_module, project, "is accessible to users other than its owner (mode %s)" % ("0620" if inner else "0705")
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize("inner", [False, True])
def test_belongs_to_another(run_module, project, without_docker, others, inner):
    path = plant(project, {**WHOLE, "phase": "prepared", "dump_file": str(others)})
    os.chown(path if inner else path.parent, 12345, 12345)
    assert_foreign(
        run_module, project, "belongs to the user 12345, which no rotation begun by this user or root would leave"
    )
    assert others.exists() and path.exists()
