# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The files of Appwrite's buckets on the managed host.

A file is never changed: it gets a successor beside it, under a name that the journal has on disk before the file exists. Which of the two is in
use is for the file's row to say.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from contextlib import contextmanager
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.selfhost.appwrite.plugins.module_utils._cipher import METHOD, NEITHER, OLD, PLAIN, VERSION, Exchange
from ansible_collections.selfhost.appwrite.plugins.module_utils._env_file import reason
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores._model import Row

_UPLOADS = "/storage/uploads/"
"""where the containers have it"""
_SUFFIX = re.compile(r"-[0-9a-f]{16}$")
_PAIRS = 20000
"""entries of the journal in memory at a time"""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Look(NamedTuple):
    """What a row's file is found to be."""

    verdict: str
    size: int = 0
    reason: str = ""
    """in words, where the verdict is C(NEITHER)"""


class _Unusable(Exception):
    """There is no such file, or not where files are."""


class Files:
    """root: the directory that the containers have as /storage/uploads. journal: a file of ours, in a directory that exists."""

    def __init__(self, root: str, journal: str) -> None:
        self._root = root
        self._journal = journal
        self._handle: Optional[int] = None
        if not os.path.isdir(root):
            raise AppwriteError("the uploads: %s is no directory; it must be what the containers have as %s" % (root, _UPLOADS.rstrip("/")))

    def look(self, row: Row, exchange: Exchange) -> Look:
        """Reads the file of a row, where the row says that it is whole and sealed."""
        return self._open(row, exchange)[0]

    def prepare(self, row: Row, exchange: Exchange) -> Dict[str, str]:
        """Writes the successor of a file that the old key opens, and returns what belongs in its row then. Both are on disk when this returns."""
        look, plain, status = self._open(row, exchange)
        if look.verdict != OLD or status is None:
            return {}
        path = _text(row, "path")
        successor = _successor(path)
        text, iv, tag = exchange.new.encrypt(plain)
        digest = hashlib.sha256(plain).digest()
        self._note(path, successor)
        try:
            self._write(successor, text, status)
            del plain, text  # a file may have 20 MB, and there are several forms of it here
            opened = exchange.new.decrypt(self._read(successor)[0], iv, tag)
        except _Unusable as problem:
            raise AppwriteError("file %s: %s" % (successor, problem)) from None
        if opened is None or hashlib.sha256(opened).digest() != digest:
            raise AppwriteError("file %s: what was written reads back as something else; the disk may be failing" % successor)
        return {"path": successor, "openSSLIV": iv, "openSSLTag": tag}

    def _open(self, row: Row, exchange: Exchange) -> Tuple[Look, bytes, Optional[os.stat_result]]:
        values = row.values
        if not values["openSSLCipher"] or values["chunksTotal"] != values["chunksUploaded"]:
            return Look(PLAIN), b"", None
        try:
            text, status = self._read(_text(row, "path"))
        except _Unusable as problem:
            return Look(NEITHER, reason=str(problem)), b"", None
        if (values["openSSLCipher"], values["openSSLVersion"]) != (METHOD, VERSION):
            return Look(NEITHER, status.st_size, "it is sealed in another way"), b"", None
        verdict, plain = exchange.try_keys(text, _text(row, "openSSLIV"), _text(row, "openSSLTag"))
        return Look(verdict, status.st_size, "no key opens it" if verdict == NEITHER else ""), plain, status

    def remove(self, path: str) -> None:
        """Removes a file that may be gone already."""
        try:
            with self._place(path) as (directory, name):
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
        except (FileNotFoundError, _Unusable):
            pass
        except OSError as error:
            raise _failed(path, "be removed", error) from None

    # --- the journal ---

    def pairs(self) -> Iterator[List[Tuple[str, str]]]:
        """The paths of files and successors that were ever noted, some at a time. The last entry of a run that died may be half there: its file is not."""
        try:
            with open(self._journal, encoding="utf-8", errors="surrogateescape") as stream:
                some: List[Tuple[str, str]] = []
                for line in stream:
                    try:
                        old, new = json.loads(line)
                    except ValueError:
                        continue
                    some.append((old, new))
                    if len(some) == _PAIRS:
                        yield some
                        some = []
                if some:
                    yield some
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _failed(self._journal, "be read", error) from None

    def forget(self) -> None:
        """Removes the journal, when of each pair one file is left."""
        try:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None
            os.unlink(self._journal)
            _sync(os.path.dirname(self._journal))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _failed(self._journal, "be removed", error) from None

    def _note(self, old: str, new: str) -> None:
        try:
            if self._handle is None:
                self._handle = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                _sync(os.path.dirname(self._journal))
            _write_all(self._handle, ("\n%s\n" % json.dumps([old, new])).encode("ascii"))
            os.fsync(self._handle)
        except OSError as error:
            raise _failed(self._journal, "be written", error) from None

    # --- the tree ---

    @contextmanager
    def _place(self, path: str) -> Iterator[Tuple[int, str]]:
        """The open directory of a file and its name there. No symbolic link is followed below the root."""
        parts = [part for part in path[len(_UPLOADS):].split("/") if part] if path.startswith(_UPLOADS) else []
        if not parts or not {".", ".."}.isdisjoint(parts) or "\0" in path:
            raise _Unusable("its path does not lead to where files are")
        directory = os.open(self._root, _DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                os.close(directory)
                directory = inner
            yield directory, parts[-1]
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise _Unusable("its path leads over a symbolic link or a file") from None
            raise
        finally:
            os.close(directory)

    def _read(self, path: str) -> Tuple[bytes, os.stat_result]:
        try:
            with self._place(path) as (directory, name):
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    os.close(handle)
                    raise _Unusable("it is no regular file")
                with os.fdopen(handle, "rb") as stream:
                    return stream.read(), status
        except FileNotFoundError:
            raise _Unusable("it is missing") from None
        except OSError as error:
            raise _failed(path, "be read", error) from None

    def _write(self, path: str, text: bytes, like: os.stat_result) -> None:
        """A new file with another's owner and mode, on disk when this returns."""
        try:
            with self._place(path) as (directory, name):
                handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
                try:
                    _write_all(handle, text)
                    if (os.fstat(handle).st_uid, os.fstat(handle).st_gid) != (like.st_uid, like.st_gid):
                        os.fchown(handle, like.st_uid, like.st_gid)
                    os.fchmod(handle, stat.S_IMODE(like.st_mode))
                    os.fsync(handle)
                finally:
                    os.close(handle)
                os.fsync(directory)
        except OSError as error:
            raise _failed(path, "be written", error) from None


def _text(row: Row, name: str) -> str:
    value = row.values[name]
    return value if isinstance(value, str) else ""


def _successor(path: str) -> str:
    """In the same directory, with the same extension. A suffix of ours is replaced, so that names do not grow."""
    stem, extension = os.path.splitext(path)
    return "%s-%s%s" % (_SUFFIX.sub("", stem), secrets.token_hex(8), extension)


def _failed(path: str, what: str, error: OSError) -> AppwriteError:
    return AppwriteError("file %s cannot %s: %s" % (path, what, reason(error)))


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left):]


def _sync(directory: str) -> None:
    handle = os.open(directory, _DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
