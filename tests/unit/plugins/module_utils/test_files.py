# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are replaced whole or not at all, and locked, on a real file system. What test_env_file.py and the fault tests say of C(.env) is not said again."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files


@pytest.fixture
def directory(tmp_path):
    with _files.entered(str(tmp_path)) as found:
        yield found


# --- replaced ---


@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("lasting", [True, False])
def test_replaced(directory, tmp_path, mode, lasting):
    (tmp_path / "below").mkdir()
    (tmp_path / "one").write_text("old")
    _files.replace(directory, {"one": b"1", "below/two": b"2" * 300_000}, mode, lasting)
    assert (tmp_path / "one").read_bytes() == b"1" and (tmp_path / "below" / "two").read_bytes() == b"2" * 300_000
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == mode
    assert sorted(os.listdir(tmp_path)) == ["below", "one"] and os.listdir(tmp_path / "below") == ["two"]


def test_a_link_in_the_place_is_replaced_and_not_followed(directory, tmp_path):
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "one").symlink_to("kept")
    _files.replace(directory, {"one": b"1"})
    assert (tmp_path / "kept").read_text() == "kept" and not (tmp_path / "one").is_symlink()


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_none_is_replaced_before_all_are_written(directory, tmp_path, monkeypatch, call):
    """A full disk cannot be had in a unit test, so the second of the calls that would report it does."""
    (tmp_path / "one").write_text("old")
    real, calls = getattr(os, call), []

    def fail(*arguments, **options):
        calls.append(call)
        if len(calls) == 2 or call == "rename":
            raise OSError(errno.ENOSPC, "")
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="28"):
        _files.replace(directory, {"one": b"1", "two": b"2"})
    assert os.listdir(tmp_path) == ["one"] and (tmp_path / "one").read_text() == "old"


def test_it_is_on_disk_before_it_gets_its_name_and_its_name_before_the_end(directory, tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "rename"):
        monkeypatch.setattr(
            os,
            name,
            lambda *arguments, _name=name, _real=getattr(os, name), **options: (
                calls.append(_name),
                _real(*arguments, **options),
            ),
        )
    _files.replace(directory, {"one": b"1", "two": b"2"})
    assert calls == ["fsync", "fsync", "rename", "rename", "fsync"]
    calls.clear()
    (tmp_path / "below").mkdir()
    _files.replace(directory, {"below/one": b"1", "two": b"2"})
    assert calls == ["fsync", "fsync", "rename", "rename", "fsync", "fsync"]


def test_the_system_takes_some_at_a_time(directory, tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    _files.replace(directory, {"one": b"0123456789"})
    assert (tmp_path / "one").read_bytes() == b"0123456789"


def test_made_is_new(directory, tmp_path):
    (tmp_path / "one").symlink_to("elsewhere")
    with pytest.raises(FileExistsError), _files.made(directory, "one"):
        pass
    assert os.listdir(tmp_path) == ["one"]


def test_moved(tmp_path):
    (tmp_path / "one").write_text("1")
    _files.move(str(tmp_path / "one"), str(tmp_path / "two"))
    assert os.listdir(tmp_path) == ["two"]


@pytest.mark.parametrize("number", [None, errno.EOPNOTSUPP])
def test_nameless(directory, tmp_path, monkeypatch, number):
    """NFS and overlays have no files without a name."""
    real = os.open

    def old(name, flags, *rest, **options):
        if number and flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, "")
        return real(name, flags, *rest, **options)

    monkeypatch.setattr(os, "open", old)
    with _files.nameless(directory) as handle:
        _files.write(handle, b"1")
        assert os.fstat(handle).st_nlink == 0
    assert os.listdir(tmp_path) == []


# --- opened ---


def test_no_link_is_opened_and_no_pipe_waited_for(directory, tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="40"):
        _files.open_plain("link", directory)
    handle = _files.open_plain("pipe", directory)
    assert stat.S_ISFIFO(os.fstat(handle).st_mode)
    os.close(handle)
    (tmp_path / "way").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        _files.open_directory("way", directory)


def test_beside_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with _files.beside("one") as (directory, name):
        _files.replace(directory, {name: b"1"})
    assert os.listdir(tmp_path) == ["one"]


# --- the lock ---


def lock(directory, timeout=0.0, make=True):
    return _files.locked(directory, "lock", "option: /a/path", timeout, make)


def test_one_at_a_time(directory, tmp_path):
    with lock(directory) as taken:
        assert taken and stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
        with pytest.raises(
            _files.Busy,
            match="^option: /a/path: another run has held the lock for 0 seconds; wait for it to end and try again$",
        ), lock(directory):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("left", [True, False])
def test_who_changes_nothing_makes_no_lock_and_removes_none(directory, tmp_path, left):
    if left:
        (tmp_path / "lock").touch(0o600)
    with lock(directory, make=False) as taken:
        assert taken == left
    assert (tmp_path / "lock").exists() == left


def test_a_lock_that_was_removed_meanwhile_is_made_anew(directory, tmp_path, monkeypatch):
    """Its holder has ended between the opening and the locking."""
    real, late = fcntl.flock, [(tmp_path / "lock").unlink]

    def flock(handle, how):
        if late:
            late.pop()()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock(directory, timeout=5) as taken:
        assert taken and (tmp_path / "lock").exists()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(directory, tmp_path, monkeypatch, number):
    def flock(_handle, _how):
        raise OSError(number, "")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError) as caught, lock(directory):
        pass
    assert caught.value.errno == errno.ENOLCK and os.listdir(tmp_path) == []
