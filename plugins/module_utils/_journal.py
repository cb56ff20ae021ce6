# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""What a rotation of the encryption key must not forget, and the lock that it is for everybody else until it ends.

It is in clear for its owner alone, as C(.env) is, in a directory beside that file. The directory around it may be somebody else's, who could put
anything in its place: its owner is looked at before a word of it is believed, and all is done by open directories.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import re
import stat
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional

from ansible_collections.selfhost.appwrite.plugins.module_utils._env_file import reason
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

NONE, STAGED, PREPARED, GUARDED, SEALED, WRITTEN = "none", "staged", "prepared", "guarded", "sealed", "written"
PAIRS = "files"
"""the file's name, in the same directory, that remembers files and their successors"""
LOCKING = (GUARDED, SEALED, WRITTEN)
"""The phases in which data may be under either key; before them nothing has happened."""
UNFINISHED = "a rotation of the encryption key is unfinished; run ansible-playbook selfhost.appwrite.rotate"
_DIRECTORY = ".appwrite-rotation"
_FILE, _DRAFT = "state.json", "state.new"
_LONGEST = 16 << 20
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TEXTS: Dict[str, Callable[[str], Any]] = {
    "old": bool, "new": bool, "env": lambda text: base64.b64decode(text, validate=True),
    "dump_file": re.compile(r"appwrite-before-rotation-\d{8}T\d{6}Z\.gz").fullmatch, "backup_file": re.compile(r"[^/\0]+\.bak").fullmatch}
"""What is known of a name's text: a false answer, or a ValueError, is damage."""
_NEEDED = {STAGED: ("new",), PREPARED: ("old", "new", "env")}


class Journal:
    """directory: the one that C(.env) is in."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, _DIRECTORY)
        self.content: Dict[str, Any] = {}
        self.handle = self.beside = -1
        """While it is locked: the open directory of the journal, and the one around it."""

    @contextmanager
    def locked(self, create: bool) -> Iterator[None]:
        """One rotation at a time. The directory goes again where nothing is left to remember."""
        with _opened(self.directory) as self.beside:
            if create:
                with words(self.path):
                    try:
                        os.mkdir(_DIRECTORY, 0o700, dir_fd=self.beside)
                    except FileExistsError:
                        pass
            handle = _inside(self.beside, self.path)
            if handle is None:
                yield
                return
            try:
                self.handle = handle
                self._lock()
                try:
                    self.content = _read(handle, self.path)
                    yield
                finally:
                    if create:
                        self._leave()
            finally:
                os.close(handle)
                self.handle = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.stat(_DIRECTORY, dir_fd=self.beside, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise AppwriteError("cannot lock %s: %s" % (self.path, reason(error))) from None
            raise AppwriteError("another rotation of this project is running; wait for it to end") from None
        if found is None or not os.path.samestat(found, os.fstat(self.handle)):
            raise AppwriteError("another rotation of this project has just ended; run again")

    def _leave(self) -> None:
        try:
            if not {_FILE, PAIRS} & set(os.listdir(self.handle)):
                for name in os.listdir(self.handle):
                    os.unlink(name, dir_fd=self.handle)
                os.rmdir(_DIRECTORY, dir_fd=self.beside)
        except OSError:
            pass  # an empty directory tells nothing

    @property
    def phase(self) -> str:
        return str(self.content.get("phase", NONE))

    @property
    def env(self) -> bytes:
        """The C(.env) file of before."""
        return base64.b64decode(self.content["env"])

    def save(self, **changes: Any) -> None:
        """On disk when it returns."""
        self.replace({**self.content, **changes})

    def replace(self, content: Dict[str, Any]) -> None:
        """On disk when it returns."""
        with words(self.path):
            _remove(_DRAFT, self.handle)
            handle = os.open(_DRAFT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.handle)
            try:
                left = json.dumps(content, sort_keys=True).encode("ascii")
                while left:
                    left = left[os.write(handle, left):]
                os.fsync(handle)
            finally:
                os.close(handle)
            os.rename(_DRAFT, _FILE, src_dir_fd=self.handle, dst_dir_fd=self.handle)
            os.fsync(self.handle)
        self.content = content

    def end(self) -> None:
        with words(self.path):
            _remove(_FILE, self.handle)
            os.fsync(self.handle)
        self.content = {}

    def remove_beside(self, name: str) -> None:
        """A file in the directory of C(.env), which may be gone already."""
        with words(os.path.join(self.directory, name)):
            _remove(name, self.beside)


def remembered(directory: str) -> Dict[str, Any]:
    """What the rotation of the C(.env) file in this directory has noted, empty where there is none. Reads only, and waits for nobody.

    Raises AppwriteError where that is damaged, cannot be read, or may be somebody else's word.
    """
    if not os.path.isdir(directory):
        return {}
    with _opened(directory) as beside:
        path = os.path.join(directory, _DIRECTORY)
        handle = _inside(beside, path)
        if handle is None:
            return {}
        try:
            return _read(handle, path)
        finally:
            os.close(handle)


def refuse_unfinished(directory: str, key: Optional[str] = None) -> None:
    """Raises AppwriteError while data may be sealed with either of two keys, unless this is the new one and nothing is left to do but to start with it."""
    content = remembered(directory)
    if content.get("phase") in LOCKING and not (content["phase"] == WRITTEN and content["new"] == key):
        raise AppwriteError(UNFINISHED)


@contextmanager
def words(path: str) -> Iterator[None]:
    """An error of the operating system inside is told of this path."""
    try:
        yield
    except OSError as error:
        raise AppwriteError("%s: %s" % (path, reason(error))) from None


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    with words(directory):
        handle = os.open(directory, _OPEN)
    try:
        yield handle
    finally:
        os.close(handle)


def _inside(beside: int, path: str) -> Optional[int]:
    """The journal's open directory, C(None) where there is none."""
    try:
        handle = os.open(_DIRECTORY, _OPEN | os.O_NOFOLLOW, dir_fd=beside)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _foreign(path, "is no directory") from None
        raise AppwriteError("%s: %s" % (path, reason(error))) from None
    try:
        _check(os.fstat(handle), path)
    except AppwriteError:
        os.close(handle)
        raise
    return handle


def _read(directory: int, path: str) -> Dict[str, Any]:
    path = os.path.join(path, _FILE)
    with words(path):
        try:
            status = os.stat(_FILE, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise _foreign(path, "is no regular file")
            handle = os.open(_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return {}
        with os.fdopen(handle, "rb") as stream:
            _check(os.fstat(handle), path)
            data = stream.read(_LONGEST)
    try:
        return _checked(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AppwriteError(
            "%s: is damaged, so it is not known which key stored data is under; put it back from a backup of this host, and run "
            "ansible-playbook selfhost.appwrite.rotate. Until then nothing is written or started" % path) from None


def _checked(content: Any) -> Dict[str, Any]:
    """Raises ValueError, KeyError or TypeError where this is not what a rotation notes."""
    phase = content["phase"]
    for name in _NEEDED.get(phase, _NEEDED[PREPARED]):
        content[name]
    for name in ("dump_file", "backup_file"):
        if content.get(name) is not None:
            content[name] = os.path.basename(content[name])  # 1.0.0 noted whole paths
    for name, known in _TEXTS.items():
        if content.get(name) is not None and not (isinstance(content[name], str) and known(content[name])):
            raise ValueError
    if phase not in (STAGED, PREPARED, *LOCKING) or not isinstance(content.get("stopped", 0.0), (int, float)):
        raise ValueError
    if not isinstance(content.get("ran", []), list) or not all(isinstance(each, str) for each in content.get("ran", [])):
        raise ValueError
    return dict(content)


def _check(status: os.stat_result, path: str) -> None:
    """What others could have written is not believed."""
    if status.st_uid not in (0, os.geteuid()):
        raise _foreign(path, "belongs to the user %d" % status.st_uid)
    if status.st_mode & 0o077:
        raise _foreign(path, "is open to others (mode %04o)" % stat.S_IMODE(status.st_mode))


def _foreign(path: str, what: str) -> AppwriteError:
    return AppwriteError(
        "%s: %s, which no rotation that this user or root has begun would leave, so nothing in it is believed. If another user has begun one, run as that "
        "user; if nobody has, remove it" % (path, what))


def _remove(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
