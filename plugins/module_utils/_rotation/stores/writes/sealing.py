# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files sealed anew, wherever they are: each gets a successor beside it, whose name is in the journal before it exists.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import secrets
import threading
from abc import abstractmethod
from contextlib import suppress
from typing import Any, Container, Iterable, Iterator, NamedTuple, Sequence, Tuple

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    METHOD,
    NEITHER,
    NEW,
    OLD,
    VERSION,
    Exchange,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import SEALS, Look, Row
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import (
    SealedFiles,
    Unusable,
    text_of,
    words_of,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.records import Records

LONGEST_NAME = 255
"""bytes, in almost every file system"""
_PAIRS = 20000
"""entries of the journal in memory at a time"""
_LONGEST_PATH = 2048
"""characters, in the column of a row"""

Seals = Tuple[str, str, str]
"""path, IV and tag, as a row has them (C(SEALS))"""


class File(NamedTuple):
    """One that was sealed or opened."""

    seals: Seals
    size: int
    signature: Any
    """of C(_signature), as JSON gives it back"""


class Made(NamedTuple):
    """A file and its successor, as they were when that was made."""

    file: File
    successor: File


class Sealing(SealedFiles):
    """A C(model.WritableFiles). journal: the open directory for a file of ours with this name, which remembers files and their successors."""

    def __init__(self, journal: int, name: str) -> None:
        self._directory = journal
        self._journal = name
        self._handle: int | None = None
        self._turn = threading.Lock()
        """of files that are worked on side by side, to note something"""
        self._made: Records | None = None
        """a C(Made) for each successor"""

    @abstractmethod
    def _successor(self, path: str) -> str:
        """A path for the successor of a file, which nothing has yet. Raises Unusable."""

    @abstractmethod
    def _write(self, path: str, text: bytes, like: Any) -> None:
        """A new file with what it takes over from another, which was read as C(like). It is there for good when this returns."""

    @abstractmethod
    def _signature(self, status: Any) -> Any:
        """What is another one as soon as the file that was read as C(status) is."""

    @abstractmethod
    def _stands(self, path: str, signature: Any) -> bool:
        """Whether a file is as it was. Raises OSError or Unusable if that cannot be told."""

    def look(self, row: Row, exchange: Exchange) -> Look:
        return (self._known(row) or (super().look(row, exchange),))[0]

    def prepare(self, row: Row, exchange: Exchange) -> tuple[Look, dict[str, str]]:
        """How a file looks, and the values of its row once it is sealed anew beside the old one.

        Raises AppwriteError if that cannot be written or read back.
        """
        known = self._known(row)
        if known:
            return known
        look, plain, status = self._open(row, exchange)
        if look.verdict != OLD or status is None:
            return look, {}
        path = text_of(row, "path")
        text, iv, tag = exchange.new.encrypt(plain)
        digest = hashlib.sha256(plain).digest()
        try:
            successor = self._successor(path)
            self._note(path, successor)
            self._write(successor, text, status)
            del plain, text  # a file may have 20 MB, and there are several forms of it here
            written, stands = self._read(successor)
            opened = exchange.new.decrypt(written, iv, tag)
        except (AppwriteError, Unusable) as problem:
            gone = super().look(row, exchange)  # with its directory, as where somebody deletes a bucket
            if gone.verdict == NEITHER:
                return gone, {}
            if isinstance(problem, AppwriteError):
                raise
            raise AppwriteError("file %s: %s" % (path, problem)) from None
        if opened is None or hashlib.sha256(opened).digest() != digest:
            raise AppwriteError(
                "file %s: what was read back differs from what was written; the disk or the store may be failing"
                % successor
            )
        seals = successor, iv, tag
        made = Made(
            File(_seals(row), look.size, self._signature(status)), File(seals, len(written), self._signature(stands))
        )
        with self._turn:
            self._made = self._made or Records(self._directory, _keys_of)
            self._made.add(made)
        return look, dict(zip(SEALS, seals))

    def fallen(self) -> Iterator[str]:
        for files in self._made or ():
            if not self._all_stand(files):
                yield files[1][0][0]

    def kept(self, paths: Iterable[str]) -> Container[str]:
        found = Records(self._directory, lambda path: (path,))
        for path in paths:
            found.add(path)
        return found

    def _known(self, row: Row) -> tuple[Look, dict[str, str]] | None:
        """What C(prepare) found and made before, if nothing speaks of a change."""
        values, seals = row.values, _seals(row)
        if (values["openSSLCipher"], values["openSSLVersion"]) != (METHOD, VERSION) or values["chunksTotal"] != values[
            "chunksUploaded"
        ]:
            return None
        with self._turn:
            found = self._made.find(seals) if self._made else None
        if found is None:
            return None
        made = _made_of(found)
        if seals == made.successor.seals:
            return (Look(NEW, made.successor.size), {}) if self._all_stand(made[1:]) else None
        look = Look(OLD, made.file.size), dict(zip(SEALS, made.successor.seals))
        return look if self._all_stand(made) else None

    def _all_stand(self, files: Iterable[tuple[Sequence[str], int, Any]]) -> bool:
        """files: as C(File), or as JSON gives it back."""
        try:
            return all(self._stands(path, signature) for (path, _iv, _tag), _size, signature in files)
        except (OSError, Unusable):
            return False

    def noted(self) -> int:
        with words_of(self._journal, "read"), suppress(FileNotFoundError):
            return os.stat(self._journal, dir_fd=self._directory, follow_symlinks=False).st_size
        return 0

    def pairs(self, start: int = 0) -> Iterator[list[tuple[str, str]]]:
        with words_of(self._journal, "read"), suppress(FileNotFoundError), open(
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
        with words_of(self._journal, "removed"):
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None
            _files.remove(self._directory, self._journal)
            _files.sync(self._directory)

    def _note(self, old: str, new: str) -> None:
        with self._turn, words_of(self._journal, "written"):
            if self._handle is None:
                self._handle = _files.open_plain(self._journal, self._directory, _files.APPEND)
                _files.sync(self._directory)
            _files.append(self._handle, ("\n%s\n" % json.dumps([old, new])).encode("ascii"))


def _made_of(record: Any) -> Made:
    file, successor = (File((path, iv, tag), size, signature) for (path, iv, tag), size, signature in record)
    return Made(file, successor)


def _keys_of(record: Any) -> tuple[Seals, ...]:
    return tuple(each.seals for each in _made_of(record))


def successor_of(path: str, longest: int) -> str:
    """In the same directory, with the same extension, so far as the file system has room for it, and as long: a row that grows costs MariaDB three
    times as much. Only a name with less before its extension than we add to it grows, once.

    longest: bytes that a name may have.
    """
    above, slash, name = path.rpartition("/")
    stem, extension = posixpath.splitext(name)
    token = "-" + secrets.token_hex(8)
    if len(stem) >= len(token):
        stem = stem[: -len(token)]
    while stem and _is_too_long(above, stem + token + extension, longest):
        stem = stem[:-1]
    while extension and _is_too_long(above, stem + token + extension, longest):
        extension = extension[:-1]
    return above + slash + stem + token + extension


def _is_too_long(above: str, name: str, longest: int) -> bool:
    return len(name.encode("utf-8", "surrogateescape")) > longest or len(above) + 1 + len(name) > _LONGEST_PATH


def _seals(row: Row) -> Seals:
    path, iv, tag = (text_of(row, name) for name in SEALS)
    return path, iv, tag
