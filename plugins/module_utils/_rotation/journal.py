# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation of the encryption key must not forget, and the lock that it is for everybody else until it ends.

It is in clear for its owner alone, as C(.env) is, in a directory beside that file. The directory around it may be somebody else's, who could put
anything in its place: its owner is looked at before a word of it is believed, and all is done by open directories.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import shlex
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Callable, Iterator

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    LOCKING,
    NONE,
    PREPARED,
    STAGED,
    WRITTEN,
)

PAIRS = "files"
"""the file's name, in the same directory, that remembers files and their successors"""
_MOMENTS = ("begun", "stopped", "closed", "sealed")
"""Seconds since 1970: when the rotation began, the first service was stopped, the API was closed, and all was sealed."""
UNFINISHED = "a rotation of the encryption key is unfinished; run ansible-playbook selfhost.appwrite.rotate"
_DIRECTORY = ".appwrite-rotation"
_FILE, _LOCK = "state.json", "lock"
_ENDING = 0.2
"""Seconds that are left to a rotation that is ending."""
_LONGEST = 16 << 20
_TEXTS: dict[str, Callable[[str], Any]] = {
    "old": bool,
    "new": bool,
    "env": lambda text: base64.b64decode(text, validate=True),
    "dump_file": re.compile(r"appwrite-before-rotation-\d{8}T\d{6}Z\.gz").fullmatch,
    "backup_file": re.compile(r"[^/\0]+\.bak").fullmatch,
    "end_sessions": re.compile(r"console|all|none").fullmatch,
}
"""What is known of a name's text: a false answer, or a ValueError, is damage."""
_NEEDED = {STAGED: ("new",), PREPARED: ("old", "new", "env")}
_NEEDED_BY_MEMBER = {WRITTEN: ("old", "new", "env"), PREPARED: ("old", "env")}
"""of a host that does not conduct the rotation, and is told the new key when everything is sealed"""


class Journal:
    """env_file: the one that the rotation is of."""

    def __init__(self, env_file: EnvFile) -> None:
        self._env_file = env_file
        self.directory = env_file.directory
        self.path = os.path.join(self.directory, _DIRECTORY)
        self.content: dict[str, Any] = {}
        self.handle = self.beside = -1
        """While it is locked: the open directory of the journal, and the one around it."""

    @contextmanager
    def locked(self, create: bool) -> Iterator[None]:
        """One rotation at a time. The directory goes again if nothing is left to remember. The lock of C(.env) is taken inside, since it is waited for.

        Raises AppwriteError if another rotation runs, or the journal cannot be read.
        """
        with self._env_file.in_directory() as self.beside, ExitStack() as held:
            if create:
                with words(self.path, "made"), suppress(FileExistsError):
                    os.mkdir(_DIRECTORY, 0o700, dir_fd=self.beside)
            handle = _inside(self.beside, self.path)
            if handle is None:
                if create:
                    raise _ended()
                yield
                return
            self.handle = handle
            held.callback(self._leave, create)
            self._lock(create, held)
            self.content = _read(handle, self.path)
            yield

    def _lock(self, create: bool, held: ExitStack) -> None:
        """Without C(create) nothing is made, and nobody holds a lock that is not there."""
        with words(self.path, "locked"):
            try:
                taken = held.enter_context(_files.locked(self.handle, _LOCK, self.path, _ENDING, create))
            except FileNotFoundError:
                raise _ended() from None
            except _files.Busy:
                raise AppwriteError("another rotation of this project is running; wait for it to end") from None
            if create and not taken:
                raise OSError(errno.EACCES, "")
        if not _files.is_at(self.beside, _DIRECTORY, self.handle):
            raise _ended()
        if create:
            held.callback(self._clear)

    def _clear_drafts(self) -> None:
        """What a run that was killed has left, with both keys in it."""
        for name in os.listdir(self.handle):
            if name.startswith(_files.TEMPORARY):
                _files.remove(self.handle, name)

    def _clear(self) -> None:
        """Removes what tells nothing, if there is nothing else. The lock goes by itself."""
        with suppress(OSError):
            found = set(os.listdir(self.handle)) - {_LOCK}
            if not {_FILE, PAIRS} & found:
                for name in found:
                    _files.remove(self.handle, name)

    def _leave(self, create: bool) -> None:
        """After the lock is closed, since NFS keeps the name of a file that is open."""
        if create:
            with suppress(OSError):  # there is something in it
                os.rmdir(_DIRECTORY, dir_fd=self.beside)
        os.close(self.handle)
        self.handle = -1

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

    def replace(self, content: dict[str, Any]) -> None:
        """On disk when it returns."""
        with words(self.path, "written"):
            self._clear_drafts()
            _files.replace(self.handle, {_FILE: json.dumps(content, sort_keys=True).encode("ascii")})
        self.content = content

    def end(self) -> None:
        with words(self.path, "cleared"):
            _files.remove(self.handle, _FILE)
            _files.sync(self.handle)
        self.content = {}

    def remove_beside(self, name: str) -> None:
        """A file in the directory of C(.env), which may be gone already."""
        with words(os.path.join(self.directory, name), "removed"):
            _files.remove(self.beside, name)


def remembered(env_file: EnvFile) -> dict[str, Any]:
    """What the rotation of this C(.env) file has noted, empty if there is none. Reads only, and waits for nobody.

    Raises AppwriteError if that is damaged, cannot be read, or may be somebody else's word.
    """
    with env_file.in_directory() as beside:
        path = os.path.join(env_file.directory, _DIRECTORY)
        handle = _inside(beside, path)
        if handle is None:
            return {}
        try:
            return _read(handle, path)
        finally:
            os.close(handle)


def refuse_unfinished(env_file: EnvFile, key: str | None = None) -> None:
    """Raises AppwriteError while data may be sealed with either of two keys, unless this is the new one and nothing is left to do but to start with it."""
    content = remembered(env_file)
    if content.get("phase") in LOCKING and not (content["phase"] == WRITTEN and content["new"] == key):
        raise AppwriteError(UNFINISHED)


def _inside(beside: int, path: str) -> int | None:
    """The journal's open directory, C(None) if there is none."""
    with words(path, "opened"):
        try:
            handle = _files.open_directory(_DIRECTORY, beside)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise AppwriteError(
                "%s: this user may not look into it, and a rotation that root or another user has begun may be unfinished there. Run as root (become) or as "
                "that user; if nothing is in it, which cannot be told from here, sudo rmdir %s removes it"
                % (path, shlex.quote(path))
            ) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise _foreign(path, "is not a directory") from None
            raise
    try:
        _check(os.fstat(handle), path)
    except AppwriteError:
        os.close(handle)
        raise
    return handle


def _read(directory: int, path: str) -> dict[str, Any]:
    path = os.path.join(path, _FILE)
    with words(path, "read"):
        try:
            status = os.stat(_FILE, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise _foreign(path, "is not a regular file")
            handle = _files.open_plain(_FILE, directory)
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
            "ansible-playbook selfhost.appwrite.rotate. Until then nothing is written or started" % path
        ) from None


def _checked(content: Any) -> dict[str, Any]:
    """Raises ValueError, KeyError or TypeError if this is not what a rotation notes."""
    phase, needed = content["phase"], _NEEDED_BY_MEMBER if content.get("member") else _NEEDED
    for name in needed.get(phase, needed[PREPARED]):
        if name not in content:
            raise KeyError(name)
    for name, known in _TEXTS.items():
        if content.get(name) is not None and not (isinstance(content[name], str) and known(content[name])):
            raise ValueError
    if phase not in (STAGED, PREPARED, *LOCKING) or not all(
        isinstance(content.get(name, 0), (int, float)) for name in (*_MOMENTS, "ended_sessions")
    ):
        raise ValueError
    for name in ("ran", "stops_working"):
        if not isinstance(content.get(name, []), list) or not all(
            isinstance(each, str) for each in content.get(name, [])
        ):
            raise ValueError
    return dict(content)


def _check(status: os.stat_result, path: str) -> None:
    """What others could have written is not believed."""
    if status.st_uid not in (0, os.geteuid()):
        raise _foreign(path, "belongs to the user %d" % status.st_uid)
    if status.st_mode & 0o077:
        raise _foreign(path, "is accessible to users other than its owner (mode %04o)" % stat.S_IMODE(status.st_mode))


def _foreign(path: str, what: str) -> AppwriteError:
    return AppwriteError(
        "%s: %s, which no rotation begun by this user or root would leave, so nothing in it is trusted. If another user has begun one, run as that "
        "user; if nobody has, remove it" % (path, what)
    )


def _ended() -> AppwriteError:
    return AppwriteError("another rotation of this project has just ended; run again")
