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
import re
import secrets
import threading
from abc import abstractmethod
from contextlib import suppress
from typing import Any, Iterator, NamedTuple, Tuple

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
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Look, Row
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import (
    SealedFiles,
    Unusable,
    text_of,
    words_of,
)

LONGEST_NAME = 255
"""bytes, in almost every file system"""
_MADE = 200000
"""Files that are remembered with their successors; what is beyond is looked at again."""
_PAIRS = 20000
"""entries of the journal in memory at a time"""
_LONGEST_PATH = 2048
"""characters, in the column of a row"""
_SUFFIX = re.compile(r"-[0-9a-f]{16}$")


Seals = Tuple[str, str, str]
"""path, IV and tag, as a row has them"""


class Made(NamedTuple):
    """A file with a successor, or that one."""

    look: Look
    values: dict[str, str]
    """what belongs in the row that has the file; empty for a successor"""
    path: str
    signature: Any
    """of C(_signature)"""
    successor: Seals = ("", "", "")


class Sealing(SealedFiles):
    """A C(model.WritableFiles). journal: the open directory for a file of ours with this name, which remembers files and their successors."""

    def __init__(self, journal: int, name: str) -> None:
        self._directory = journal
        self._journal = name
        self._handle: int | None = None
        self._noting = threading.Lock()
        self._made: dict[Seals, Made] = {}

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
    def _stands(self, made: Made) -> bool:
        """Whether a file is as it was. Raises OSError or Unusable if that cannot be told."""

    def look(self, row: Row, exchange: Exchange) -> Look:
        known = self._known(row)
        return known.look if known else super().look(row, exchange)

    def prepare(self, row: Row, exchange: Exchange) -> tuple[Look, dict[str, str]]:
        """How a file looks, and the values of its row once it is sealed anew beside the old one.

        Raises AppwriteError if that cannot be written or read back.
        """
        known = self._known(row)
        if known:
            return known.look, known.values
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
        values = {"path": successor, "openSSLIV": iv, "openSSLTag": tag}
        if self.remembers:
            self._made[_seals(row)] = Made(look, values, path, self._signature(status), (successor, iv, tag))
            self._made[successor, iv, tag] = Made(Look(NEW, len(written)), {}, successor, self._signature(stands))
        return look, values

    def _known(self, row: Row) -> Made | None:
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
            return known if all(map(self._stands, filter(None, (known, self._made.get(known.successor))))) else None
        except (OSError, Unusable):
            return None

    @property
    def remembers(self) -> bool:
        return len(self._made) < _MADE

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
        with self._noting, words_of(self._journal, "written"):
            if self._handle is None:
                self._handle = _files.open_plain(self._journal, self._directory, _files.APPEND)
                _files.sync(self._directory)
            _files.append(self._handle, ("\n%s\n" % json.dumps([old, new])).encode("ascii"))


def successor_of(path: str, longest: int) -> str:
    """In the same directory, with the same extension, so far as the file system has room for it. A suffix of ours is replaced, so that names do not grow.

    longest: bytes that a name may have.
    """
    above, slash, name = path.rpartition("/")
    stem, extension = posixpath.splitext(name)
    token = "-" + secrets.token_hex(8)
    stem = _SUFFIX.sub("", stem)
    while stem and _is_too_long(above, stem + token + extension, longest):
        stem = stem[:-1]
    while extension and _is_too_long(above, stem + token + extension, longest):
        extension = extension[:-1]
    return above + slash + stem + token + extension


def _is_too_long(above: str, name: str, longest: int) -> bool:
    return len(name.encode("utf-8", "surrogateescape")) > longest or len(above) + 1 + len(name) > _LONGEST_PATH


def _seals(row: Row) -> Seals:
    return text_of(row, "path"), text_of(row, "openSSLIV"), text_of(row, "openSSLTag")
