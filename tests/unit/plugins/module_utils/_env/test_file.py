# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file is locked, replaced whole or not at all, and backed up: on real files, by real processes."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import time

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _errors, _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._env import file as _env_file
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile, is_backup
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

BEFORE, AFTER = b"# ours\r\n_APP_ENV=production\r\n\xff\n", b"_APP_ENV=development\n"
BACKUP = re.compile(r"\.env\.\d{8}T\d{6}Z(-\d+)?\.bak")
NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "project" / ".env"
    found.parent.mkdir()
    found.write_bytes(BEFORE)
    found.chmod(0o640)
    return found


def replace(path, data=AFTER, backup=True):
    env_file = EnvFile(str(path))
    with env_file.locked():
        env_file.read()
        return env_file.replace(data, backup)


def refused(path, part):
    """What is there stays there, byte for byte, and nothing comes beside it."""
    before = {entry.name: (entry.lstat(), entry.is_file() and entry.read_bytes()) for entry in path.parent.iterdir()}
    with pytest.raises(AppwriteError) as caught:
        replace(path)
    assert str(caught.value).startswith("env_file: ") and part in str(caught.value)
    after = {entry.name: (entry.lstat(), entry.is_file() and entry.read_bytes()) for entry in path.parent.iterdir()}
    assert {name: data for name, (_status, data) in after.items()} == {
        name: data for name, (_status, data) in before.items()
    }
    assert all(after[name][0].st_ino == status.st_ino for name, (status, _data) in before.items())


# --- replaced ---


def test_replaced_with_a_backup(path):
    backup = replace(path)
    assert path.read_bytes() == AFTER
    assert BACKUP.fullmatch(os.path.basename(backup)) and os.path.dirname(backup) == str(path.parent)
    with open(backup, "rb") as stream:
        assert stream.read() == BEFORE
    assert stat.S_IMODE(os.stat(backup).st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == sorted([".env", os.path.basename(backup)])


def test_replaced_without_a_backup(path):
    assert replace(path, backup=False) is None
    assert os.listdir(path.parent) == [".env"]


def test_backups_of_one_second_do_not_meet(path, monkeypatch):
    monkeypatch.setattr(_env_file.time, "strftime", lambda *_unused: "20261124T030000Z")
    made = [os.path.basename(replace(path, b"_APP_LOCALE=%d\n" % number)) for number in range(3)]
    assert made == [".env.20261124T030000Z.bak", ".env.20261124T030000Z-1.bak", ".env.20261124T030000Z-2.bak"]
    assert (path.parent / made[0]).read_bytes() == BEFORE and (path.parent / made[2]).read_bytes() == b"_APP_LOCALE=1\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_mode_is_kept(path, mode):
    path.chmod(mode)
    replace(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_narrower_mode_is_never_wider_on_its_way(path, monkeypatch):
    path.chmod(0o644)
    seen, real = [], os.fchmod
    monkeypatch.setattr(_files.os, "fchmod", lambda handle, mode: seen.append(mode) or real(handle, mode))
    env_file = EnvFile(str(path))
    with env_file.locked():
        env_file.read()
        env_file.replace(AFTER, False, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seen and not any(mode & 0o077 for mode in seen)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_owner_is_kept(path):
    os.chown(path, NOBODY, 12345)
    replace(path)
    [backup] = path.parent.glob(".env.*.bak")
    for each in (path, backup):
        assert (each.stat().st_uid, each.stat().st_gid) == (NOBODY, 12345)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_extended_attributes_are_kept(path):
    try:
        os.setxattr(path, "user.note", b"ours")
    except OSError as error:
        assert error.errno == errno.ENOTSUP  # this file system has none, and then there is nothing to keep
        return
    replace(path)
    assert os.getxattr(path, "user.note") == b"ours"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_new_file_is_for_its_owner_alone(path, umask):
    path.unlink()
    old = os.umask(umask)
    try:
        assert replace(path) is None
    finally:
        os.umask(old)
    assert path.read_bytes() == AFTER and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [".env"]


def test_symbolic_link_stays_a_link(path, tmp_path):
    real = tmp_path / "secrets" / "appwrite.env"
    real.parent.mkdir()
    path.rename(real)
    path.symlink_to("../secrets/appwrite.env")
    backup = replace(path)
    assert path.is_symlink() and os.readlink(path) == "../secrets/appwrite.env" and real.read_bytes() == AFTER
    assert os.path.dirname(backup) == str(real.parent) and os.listdir(path.parent) == [".env"]


def test_symbolic_link_to_nothing_makes_its_target(path):
    path.unlink()
    path.symlink_to("other.env")
    replace(path)
    assert path.is_symlink() and (path.parent / "other.env").read_bytes() == AFTER


def test_another_file_and_not_another_content(path):
    """A reader that has the old file open reads the old file to its end."""
    with open(path, "rb") as reader:
        replace(path)
        assert reader.read() == BEFORE


def test_leftovers_of_a_killed_run_are_swept(path):
    (path.parent / ".selfhost-appwrite-abc123").mkdir()
    (path.parent / ".selfhost-appwrite-abc123" / "candidate").write_bytes(b"half")
    (path.parent / "theirs").write_bytes(b"stays")
    env_file = EnvFile(str(path))
    with env_file.locked():
        env_file.sweep()
    assert sorted(os.listdir(path.parent)) == [".env", "theirs"]


# --- refused ---


def test_hard_link(path):
    os.link(path, path.parent / "other")
    refused(path, "2 hard links")


def test_directory(path):
    path.unlink()
    path.mkdir()
    refused(path, "not a regular file")


def test_fifo(path):
    path.unlink()
    os.mkfifo(path)
    refused(path, "not a regular file")


def test_circle_of_links(path):
    path.unlink()
    path.symlink_to(".env")
    refused(path, "circle")


def test_missing_directory(tmp_path):
    with pytest.raises(
        AppwriteError,
        match="^env_file: the directory .* cannot be opened: it, or a directory on the way to it, does not exist",
    ):
        replace(tmp_path / "nowhere" / ".env")


def test_file_as_directory(path):
    with pytest.raises(AppwriteError, match="^env_file: the directory .* cannot be opened: .*not a directory"):
        replace(path / ".env")


def test_changed_by_somebody_else_meanwhile(path, monkeypatch):
    theirs = b"_APP_ENV=theirs\n"
    monkeypatch.setattr(EnvFile, "_dress", lambda *_unused: path.write_bytes(theirs))
    with pytest.raises(AppwriteError, match="^env_file: somebody else changed .*nothing was written"):
        replace(path)
    assert path.read_bytes() == theirs
    assert os.listdir(path.parent) == [".env"], "nothing was written, so no backup either"


def _meanwhile(monkeypatch, meddle, supported=True):
    """Lets somebody else in at the last moment, between the look at the file and the step that replaces it."""
    real, late = _files.renameat2, [meddle]

    def rename(*arguments):
        if late:
            late.pop()()
        return supported and real(*arguments)

    monkeypatch.setattr(_files, "renameat2", rename)


@pytest.mark.parametrize("supported", [True, False])
def test_replaced_by_what_cannot_be_read(path, monkeypatch, supported):
    """It is theirs all the same: it is put back, and not thrown away with the private directory."""
    _meanwhile(monkeypatch, lambda: path.unlink() or os.mkfifo(path), supported)
    with pytest.raises(AppwriteError, match="somebody else changed .*nothing was written"):
        replace(path)
    assert stat.S_ISFIFO(path.stat().st_mode) and os.listdir(path.parent) == [".env"]


@pytest.mark.parametrize(
    "meddle",
    [
        lambda path: path.write_bytes(b"_APP_ENV=theirs\n"),
        lambda path: path.with_name("new").write_bytes(b"_APP_ENV=theirs\n") and path.with_name("new").rename(path),
        lambda path: path.chmod(0o644),
        lambda path: path.unlink() or path.symlink_to("elsewhere"),
        lambda path: path.unlink(),
    ],
    ids=["written", "replaced", "mode", "link", "removed"],
)
def test_changed_in_the_last_moment(path, monkeypatch, meddle):
    _meanwhile(monkeypatch, lambda: meddle(path))
    with pytest.raises(AppwriteError, match="somebody else changed .*nothing was written"):
        replace(path)
    assert not path.exists() or path.read_bytes() in (BEFORE, b"_APP_ENV=theirs\n")
    assert os.listdir(path.parent) in ([".env"], []), "theirs alone, without a backup"


def test_appeared_in_the_last_moment(path, monkeypatch):
    path.unlink()
    _meanwhile(monkeypatch, lambda: path.write_bytes(BEFORE))
    with pytest.raises(AppwriteError, match="somebody else changed"):
        replace(path)
    assert path.read_bytes() == BEFORE


def test_without_an_exchange_in_one_step(path, monkeypatch):
    """Some file systems cannot exchange two files: there the last look comes before the replacement."""
    _meanwhile(monkeypatch, lambda: None, supported=False)
    replace(path)
    assert path.read_bytes() == AFTER
    _meanwhile(monkeypatch, lambda: path.write_bytes(BEFORE), supported=False)
    with pytest.raises(AppwriteError, match="somebody else changed"):
        replace(path)
    assert path.read_bytes() == BEFORE


# --- pruned ---


def prune(path, keep, needed=lambda _data: False):
    env_file = EnvFile(str(path))
    with env_file.locked():
        env_file.prune(keep, needed)
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


@pytest.fixture
def backups(path):
    names = [
        ".env.20261124T030000Z.bak",
        ".env.20261124T030000Z-2.bak",
        ".env.20261124T030000Z-10.bak",
        ".env.20270101T000000Z.bak",
    ]
    for number, name in enumerate(names):
        (path.parent / name).write_bytes(b"%d" % number)
    return names


@pytest.mark.parametrize("keep", [1, 2, 4, 9])
def test_oldest_backups_go(path, backups, keep):
    assert prune(path, keep) == sorted(backups[-keep:])


def test_needed_backups_stay(path, backups):
    assert prune(path, 1, lambda data: data == b"1") == sorted([backups[1], backups[3]])


def test_files_that_are_not_ours_stay(path, backups):
    others = [
        ".env.backup",
        ".env.1700000000.backup",
        ".env.20261124T030000Z.bak.old",
        "x.env.20261124T030000Z.bak",
        ".env.20261124.bak",
    ]
    for name in others:
        (path.parent / name).touch()
    (path.parent / ".env.20200101T000000Z.bak").mkdir()
    assert prune(path, 1) == sorted([*others, ".env.20200101T000000Z.bak", backups[-1]])


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize(
    "clock", ["20200101T000000Z", "20261124T030000Z", "20270101T000000Z"], ids=["behind", "between", "the same"]
)
def test_a_new_backup_is_the_last_whatever_the_clock_says(path, backups, monkeypatch, clock, keep):
    monkeypatch.setattr(_env_file.time, "gmtime", lambda: time.strptime(clock, "%Y%m%dT%H%M%SZ"))
    env_file, made = EnvFile(str(path)), []
    with env_file.locked():
        for number in range(2):
            env_file.read()
            made.append(os.path.basename(env_file.replace(b"_APP_LOCALE=%d\n" % number, True)))
            env_file.prune(keep, lambda _data: False)
            assert made[-1] in os.listdir(path.parent)
    assert made == [".env.20270101T000000Z-1.bak", ".env.20270101T000000Z-2.bak"]
    assert sorted(os.listdir(path.parent)) == sorted([".env", *made[-keep:]])


def test_a_clock_that_is_right_again(path, backups):
    """The names go on from the last one that is there."""
    (path.parent / ".env.20990101T000000Z-9.bak").touch()
    assert os.path.basename(replace(path)) == ".env.20990101T000000Z-10.bak"


def test_what_this_run_made_stays_though_somebody_made_a_later_one(path):
    env_file = EnvFile(str(path))
    with env_file.locked():
        env_file.read()
        made = env_file.replace(AFTER, True)
        (path.parent / ".env.20990101T000000Z.bak").touch()
        env_file.prune(1, lambda _data: False)
    assert os.path.exists(made)


@pytest.mark.parametrize("removed", [True, False])
def test_appeared_or_removed_meanwhile(path, monkeypatch, removed):
    if not removed:
        path.unlink()
    monkeypatch.setattr(EnvFile, "_dress", lambda *_unused: path.unlink() if removed else path.write_bytes(b""))
    with pytest.raises(AppwriteError, match="somebody else changed"):
        replace(path, backup=False)
    assert os.listdir(path.parent) == ([] if removed else [".env"])


@pytest.mark.parametrize(
    "swapped",
    [
        pytest.param(
            True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away"), id="swapped"
        ),
        pytest.param(False, id="removed"),
    ],
)
def test_directory_for_the_new_file_is_swapped_or_removed(path, monkeypatch, swapped):
    """Whoever may write beside the file may do so with the directory that the new one is made in."""
    real = os.mkdir

    def mkdir(name, mode, dir_fd):
        real(name, mode, dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
        if swapped:
            real(name, mode, dir_fd=dir_fd)
            os.chown(name, NOBODY, NOBODY, dir_fd=dir_fd)

    monkeypatch.setattr(_env_file.os, "mkdir", mkdir)
    with pytest.raises(AppwriteError, match="somebody else changed"):
        replace(path, backup=False)
    assert path.read_bytes() == BEFORE


@pytest.mark.parametrize("call", ["fsync", "fchmod", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EPERM, errno.EBUSY])
def test_the_system_says_no(path, monkeypatch, call, number):
    """A full or broken disk cannot be had in a unit test, so the one call that would report it does."""

    def fail(*_unused, **_directories):
        raise OSError(number, "text of the system that holds /a/path")

    monkeypatch.setattr(*((_files, "renameat2") if call == "rename" else (_files.os, call)), fail)
    with pytest.raises(AppwriteError) as caught:
        replace(path, backup=False)
    assert str(caught.value) == f"env_file: {path} cannot be replaced: {_errors._REASONS[number]}. It is as it was"
    assert path.read_bytes() == BEFORE and os.listdir(path.parent) == [".env"]


def test_no_backup_stays_of_a_replacement_that_failed(path, monkeypatch):
    def fail(*_unused, **_directories):
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(_files.os, "rename", fail)
    with pytest.raises(AppwriteError):
        replace(path)
    assert os.listdir(path.parent) == [".env"]


def test_what_fails_after_the_replacement_is_not_called_a_failed_replacement(path, monkeypatch):
    """The file is the new one by then; only whether it would outlive a power cut is open."""
    real = os.fsync

    def fail(handle):
        if path.read_bytes() == AFTER:
            raise OSError(errno.EIO, "")
        real(handle)

    monkeypatch.setattr(_files.os, "fsync", fail)
    with pytest.raises(AppwriteError, match="was replaced, but it is not certain"):
        replace(path)
    assert path.read_bytes() == AFTER and [name for name in os.listdir(path.parent) if BACKUP.fullmatch(name)]


# --- another user ---


def as_nobody(work):
    """The answer of C(work) run in a child process that has given up root; None for success, else the message."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
        except AppwriteError as error:
            os.write(writer, str(error).encode())
        except BaseException as error:  # pylint: disable=broad-exception-caught  # the parent asserts it
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said or None


@pytest.fixture
def open_path(path):
    """A path that a stranger can walk to; pytest makes its directories for their owner alone."""
    for directory in [path.parent, *path.parents]:
        if directory.stat().st_uid != os.geteuid() or str(directory) == "/tmp":
            break
        if "pytest" in str(directory):
            directory.chmod(0o755)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_file_that_the_user_may_not_read(open_path):
    open_path.chmod(0o600)
    message = as_nobody(lambda: EnvFile(str(open_path)).read())
    assert (
        message
        == f"env_file: {open_path} cannot be read: permission denied; run the task as the file's owner or with become"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_directory_that_the_user_may_not_write(open_path):
    open_path.chmod(0o644)
    message = as_nobody(lambda: replace(open_path))
    assert message.startswith(f"env_file: {open_path} cannot be replaced: permission denied; ") and message.endswith(
        ". It is as it was"
    )
    assert open_path.read_bytes() == BEFORE and os.listdir(open_path.parent) == [".env"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_directory_that_the_user_may_not_open(open_path):
    open_path.parent.chmod(0o700)
    assert "cannot be opened: permission denied" in as_nobody(lambda: replace(open_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_file_of_another_owner_in_a_directory_that_is_writable(open_path):
    """A user who may write the directory but cannot give the file its owner back must not take it over."""
    open_path.chmod(0o644)
    open_path.parent.chmod(0o777)
    assert "cannot be replaced" in as_nobody(lambda: replace(open_path, backup=False))
    assert (
        open_path.stat().st_uid == 0 and open_path.read_bytes() == BEFORE and os.listdir(open_path.parent) == [".env"]
    )


# --- the lock ---

LOCK = ".selfhost-appwrite-lock"
HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(path):
    """Another process that holds the lock until it ends."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, str(path.parent / LOCK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_lock_held_by_another_run(path, holder, monkeypatch):
    monkeypatch.setattr(_env_file, "LOCK_TIMEOUT", 0.1)
    refused(path, "another run has held the lock")


def test_lock_is_waited_for(path, holder, monkeypatch):
    monkeypatch.setattr(_env_file.time, "sleep", lambda _unused: holder.communicate())
    replace(path)
    assert path.read_bytes() == AFTER


def test_whoever_has_waited_knows(path, holder, monkeypatch):
    """What it has seen before may be other by now."""
    monkeypatch.setattr(_env_file.time, "sleep", lambda _unused: holder.communicate())
    for was_busy in (True, False):
        file = EnvFile(str(path))
        with file.opened(for_writing=True):
            assert file.was_busy is was_busy


def test_a_holder_that_is_killed_lets_go(path, holder):
    holder.kill()
    holder.wait()
    replace(path)
    assert path.read_bytes() == AFTER


def test_lock_is_let_go_after_a_failure(path):
    for _unused in range(2):
        with pytest.raises(ZeroDivisionError), EnvFile(str(path)).locked():
            raise ZeroDivisionError
    assert os.listdir(path.parent) == [".env"]


def test_lock_is_not_inherited_by_a_process_that_outlives_the_run(path, monkeypatch):
    monkeypatch.setattr(_env_file, "LOCK_TIMEOUT", 0.1)
    env_file = EnvFile(str(path))
    with env_file.locked():
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with EnvFile(str(path)).locked():
            pass
    finally:
        child.kill()
        child.wait()


# --- read ---


def test_read_nothing(path):
    path.unlink()
    env_file = EnvFile(str(path))
    env_file.read()
    assert (env_file.data, env_file.exists, env_file.mode) == (b"", False, None)


def test_read_bytes_as_they_are(path):
    env_file = EnvFile(str(path))
    env_file.read()
    assert (env_file.data, env_file.exists, env_file.mode) == (BEFORE, True, 0o640)


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/a/.env.20261101T120000Z.bak", True),
        ("/a/.env.20261101T120000Z-3.bak", True),
        ("/a/.env.20261101T120000Z.bak\n", False),
        ("/a/.env.1763971200.backup", False),
        ("/b/.env.20261101T120000Z.bak", False),
        ("/a/.env", False),
    ],
)
def test_what_counts_as_a_backup(path, expected):
    assert is_backup(path, "/a/.env") is expected
