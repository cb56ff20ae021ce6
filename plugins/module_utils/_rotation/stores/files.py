# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The files of Appwrite's buckets on the managed host.

A file is never changed: it gets a successor beside it, under a name that the journal has on disk before the file exists. Which of the two is in
use is for the file's row to say. Rows are somebody else's word: their paths are not followed out of the root, and nothing is opened but regular files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
import weakref
from contextlib import contextmanager, suppress
from typing import ContextManager, Iterator, NamedTuple, Tuple

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, reason, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    METHOD,
    NEITHER,
    NEW,
    OLD,
    PLAIN,
    VERSION,
    Exchange,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Row

_UPLOADS = "/storage/uploads/"
"""where the containers have it"""
_SUFFIX = re.compile(r"-[0-9a-f]{16}$")
_PAIRS = 20000
"""entries of the journal in memory at a time"""
_MADE = 200000
"""Files that are remembered with their successors; what is beyond is looked at again."""
_LARGEST = 28_000_000
"""Appwrite seals files of up to 20,000,000 bytes; this is their base64 text, and some room for what compresses badly."""
_LONGEST_NAME = 255
"""bytes, in almost every file system"""
_LONGEST_PATH = 2048
"""characters, in the column of a row"""
_NO_FILE = {
    errno.ENOTDIR: "its path leads over a symbolic link or a file",
    errno.ELOOP: "its path leads over a symbolic link or a file",
    errno.ENAMETOOLONG: "its path is too long",
    errno.EINVAL: "its path is not valid on this host",
    errno.ENOENT: "it is missing",
}
"""What is wrong with the path, and not with the disk."""


Seals = Tuple[str, str, str]
"""path, IV and tag, as a row has them"""


class Look(NamedTuple):
    """What a row's file is found to be."""

    verdict: str
    size: int = 0
    reason: str = ""
    """in words, where the verdict is C(NEITHER)"""


class _Made(NamedTuple):
    """A file with a successor, or that one."""

    look: Look
    values: dict[str, str]
    """what belongs in the row that has the file; empty for a successor"""
    path: str
    signature: tuple[int, ...]
    successor: Seals = ("", "", "")


class _Unusable(Exception):
    """There is no such file, or not where files are."""


class Files:
    """Reads. root: the directory that the containers have as /storage/uploads."""

    def __init__(self, root: str) -> None:
        self._root = _open_root(root)
        weakref.finalize(self, os.close, self._root)
        self._tried: set[str] = set()

    def look(self, row: Row, exchange: Exchange) -> Look:
        """Reads the file of a row, where the row says that it is whole and sealed."""
        return self._open(row, exchange)[0]

    def doubt(self, row: Row) -> str:
        """Why no successor of a row's file could be written, each directory's once; empty where nothing speaks against it."""
        path = _text(row, "path")
        above = path.rpartition("/")[0]
        if above in self._tried:
            return ""
        self._tried.add(above)
        try:
            with self._place(path) as (directory, name):
                self._try(directory, name)
        except FileNotFoundError:
            return ""  # what has become of the file is said of the file
        except _Unusable:
            return ""
        except OSError as error:
            return "%s: %s" % (above, reason(error))
        return ""

    def _try(self, directory: int, name: bytes) -> None:
        """Raises OSError where a file could not be made, as far as that can be told without making one."""
        owner = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
        if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, "")
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory) or os.geteuid() not in (0, owner):
            raise OSError(errno.EACCES, "")

    def _open(self, row: Row, exchange: Exchange) -> tuple[Look, bytes, os.stat_result | None]:
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

    @contextmanager
    def _place(self, path: str) -> Iterator[tuple[int, bytes]]:
        """The open directory of a file and its name there. No symbolic link is followed below the root."""
        try:
            parts = (
                [part for part in path[len(_UPLOADS) :].encode("utf-8", "surrogateescape").split(b"/") if part]
                if path.startswith(_UPLOADS)
                else []
            )
        except UnicodeEncodeError:
            parts = []
        if not parts or not {b".", b".."}.isdisjoint(parts) or "\0" in path:
            raise _Unusable("its path does not lead to where files are")
        directory = os.dup(self._root)
        try:
            for part in parts[:-1]:
                inner = _files.open_directory(part, directory)
                os.close(directory)
                directory = inner
            yield directory, parts[-1]
        except OSError as error:
            if error.errno in _NO_FILE and error.errno != errno.ENOENT:
                raise _Unusable(_NO_FILE[error.errno]) from None
            raise
        finally:
            os.close(directory)

    def _read(self, path: str) -> tuple[bytes, os.stat_result]:
        """A device is not even opened, since that alone may do something."""
        with _words(path, "read"):
            try:
                with self._place(path) as (directory, name):
                    _require_file(os.stat(name, dir_fd=directory, follow_symlinks=False))
                    with open(_files.open_plain(name, directory), "rb") as stream:
                        status = os.fstat(stream.fileno())
                        _require_file(status)
                        return stream.read(status.st_size + 1), status
            except FileNotFoundError:
                raise _Unusable(_NO_FILE[errno.ENOENT]) from None


class Successors(Files):
    """Writes, too. journal: the open directory for a file of ours with this name, which remembers files and their successors."""

    def __init__(self, root: str, journal: int, name: str) -> None:
        super().__init__(root)
        self._directory = journal
        self._journal = name
        self._handle: int | None = None
        self._made: dict[Seals, _Made] = {}

    def look(self, row: Row, exchange: Exchange) -> Look:
        known = self._known(row)
        return known.look if known else super().look(row, exchange)

    def prepare(self, row: Row, exchange: Exchange) -> tuple[Look, dict[str, str]]:
        """What a row's file is, and, where the old key opens it, what belongs in the row for its successor, which is on disk then.

        It may be called long before it is needed: called again, it finds the successor, unless the row or the file has changed since.
        """
        known = self._known(row)
        if known:
            return known.look, known.values
        look, plain, status = self._open(row, exchange)
        if look.verdict != OLD or status is None:
            return look, {}
        path = _text(row, "path")
        text, iv, tag = exchange.new.encrypt(plain)
        digest = hashlib.sha256(plain).digest()
        try:
            successor = self._successor(path)
            self._note(path, successor)
            self._write(successor, text, status)
            del plain, text  # a file may have 20 MB, and there are several forms of it here
            written, stands = self._read(successor)
            opened = exchange.new.decrypt(written, iv, tag)
        except _Unusable as problem:
            raise AppwriteError("file %s: %s" % (path, problem)) from None
        except AppwriteError:
            gone = super().look(row, exchange)  # with its directory, as where somebody deletes a bucket
            if gone.verdict != NEITHER:
                raise
            return gone, {}
        if opened is None or hashlib.sha256(opened).digest() != digest:
            raise AppwriteError(
                "file %s: what was read back differs from what was written; the disk may be failing" % successor
            )
        values = {"path": successor, "openSSLIV": iv, "openSSLTag": tag}
        if self.remembers:
            self._made[_seals(row)] = _Made(look, values, path, _signature(status), (successor, iv, tag))
            self._made[successor, iv, tag] = _Made(Look(NEW, stands.st_size), {}, successor, _signature(stands))
        return look, values

    def _known(self, row: Row) -> _Made | None:
        """What was found out of it before, if nothing speaks of a change."""
        values = row.values
        known = self._made.get(_seals(row))
        if (
            not known
            or (values["openSSLCipher"], values["openSSLVersion"]) != (METHOD, VERSION)
            or values["chunksTotal"] != values["chunksUploaded"]
        ):
            return None
        try:
            for each in filter(None, (known, self._made.get(known.successor))):
                with self._place(each.path) as (directory, name):
                    if _signature(os.stat(name, dir_fd=directory, follow_symlinks=False)) != each.signature:
                        return None
        except (OSError, _Unusable):
            return None
        return known

    @property
    def remembers(self) -> bool:
        """Whether a successor that is made now will be found again."""
        return len(self._made) < _MADE

    def remove(self, path: str, before: float | None = None) -> None:
        """Removes a file that may be gone already, unless somebody has written it at that time (seconds since 1970) or later."""
        with _words(path, "removed"), suppress(FileNotFoundError, _Unusable), self._place(path) as (directory, name):
            if before is None or os.stat(name, dir_fd=directory, follow_symlinks=False).st_ctime < before:
                _files.remove(directory, name)
                _files.sync(directory)

    def _try(self, directory: int, name: bytes) -> None:
        """By a file that is made and is gone again."""
        like = os.stat(name, dir_fd=directory, follow_symlinks=False)
        with _files.nameless(directory) as handle:
            _files.write(handle, b"\0")
            _dress(handle, like)

    # --- the journal ---

    def noted(self) -> int:
        """How long the journal is."""
        with _words(self._journal, "read"), suppress(FileNotFoundError):
            return os.stat(self._journal, dir_fd=self._directory, follow_symlinks=False).st_size
        return 0

    def pairs(self, start: int = 0) -> Iterator[list[tuple[str, str]]]:
        """The paths of files and successors that were noted from there on, some at a time. The last entry of a run that died may be half there: its file
        is not."""
        with _words(self._journal, "read"), suppress(FileNotFoundError), open(
            _files.open_plain(self._journal, self._directory), "rb"
        ) as stream:
            stream.seek(start)
            some: list[tuple[str, str]] = []
            for line in stream:
                try:
                    old, new = json.loads(line)
                except (ValueError, TypeError):
                    continue
                some.append((str(old), str(new)))
                if len(some) == _PAIRS:
                    yield some
                    some = []
            if some:
                yield some

    def forget(self) -> None:
        """Removes the journal, when of each pair one file is left."""
        with _words(self._journal, "removed"):
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None
            _files.remove(self._directory, self._journal)
            _files.sync(self._directory)

    def _note(self, old: str, new: str) -> None:
        with _words(self._journal, "written"):
            if self._handle is None:
                self._handle = _files.open_plain(self._journal, self._directory, _files.APPEND)
                _files.sync(self._directory)
            _files.append(self._handle, ("\n%s\n" % json.dumps([old, new])).encode("ascii"))

    # --- the tree ---

    def _successor(self, path: str) -> str:
        with _words(path, "read"), self._place(path) as (directory, _name):
            return _successor(path, min(_LONGEST_NAME, os.fpathconf(directory, "PC_NAME_MAX")))

    def _write(self, path: str, text: bytes, like: os.stat_result) -> None:
        """A new file with another's owner and mode, on disk when this returns."""
        with _words(path, "written"), self._place(path) as (directory, name):
            with _files.made(directory, name) as handle:
                _files.write(handle, text)
                _dress(handle, like)
            _files.sync(directory)


def _open_root(root: str) -> int:
    """Once, since who owns a directory on the way may put a link in its place at any time."""
    with words("the uploads: %s" % root, "opened"):
        try:
            way = _files.walk(root, "the uploads", inside=True)[0]
            try:
                return _files.open_directory(".", way)
            finally:
                os.close(way)
        except (FileNotFoundError, NotADirectoryError):
            raise AppwriteError(
                "the uploads: %s is not a directory; it must be what the containers have as %s"
                % (root, _UPLOADS.rstrip("/"))
            ) from None


def _require_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unusable(_NO_FILE[errno.ELOOP] if stat.S_ISLNK(status.st_mode) else "it is not a regular file")
    if status.st_size > _LARGEST:
        raise _Unusable("it is larger than anything that Appwrite seals")


def _seals(row: Row) -> Seals:
    return _text(row, "path"), _text(row, "openSSLIV"), _text(row, "openSSLTag")


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """What is another one as soon as somebody writes to the file, or puts another one in its place."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _text(row: Row, name: str) -> str:
    value = row.values[name]
    return value if isinstance(value, str) else ""


def _successor(path: str, longest: int) -> str:
    """In the same directory, with the same extension, so far as the file system has room for it. A suffix of ours is replaced, so that names do not grow."""
    above, slash, name = path.rpartition("/")
    stem, extension = os.path.splitext(name)
    token = "-" + secrets.token_hex(8)
    stem = _SUFFIX.sub("", stem)
    while stem and _is_too_long(above, stem + token + extension, longest):
        stem = stem[:-1]
    while extension and _is_too_long(above, stem + token + extension, longest):
        extension = extension[:-1]
    return above + slash + stem + token + extension


def _is_too_long(above: str, name: str, longest: int) -> bool:
    return len(name.encode("utf-8", "surrogateescape")) > longest or len(above) + 1 + len(name) > _LONGEST_PATH


def _dress(handle: int, like: os.stat_result) -> None:
    """Gives an open file the owner and mode of another."""
    _files.dress(handle, like)
    os.fchmod(handle, stat.S_IMODE(like.st_mode))


def _words(path: str, done: str) -> ContextManager[None]:
    return words("file %s" % path, done)
