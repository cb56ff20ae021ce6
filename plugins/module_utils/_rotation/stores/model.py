# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where sealed values live: one file for each database, and one for the files. Nothing here knows a key.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import re
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Protocol, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Exchange, Value

BUCKET = re.compile(r"bucket_[A-Za-z0-9-]+$")
"""collections whose rows describe files"""
FILE_COLUMNS = ("path", "openSSLVersion", "openSSLCipher", "openSSLTag", "openSSLIV", "chunksTotal", "chunksUploaded")
SEALS = ("path", "openSSLIV", "openSSLTag")
"""those of them that are others for a file that was sealed anew"""


SHOWN = 200
"""characters of a field that is read to be shown"""


class StoreError(AppwriteError):
    """The database said no, or is gone. The message has no value of it."""


@dataclass(frozen=True)
class Table:
    """One table (MongoDB: collection) with sealed columns, or with the rows of files."""

    space: str
    """the database (PostgreSQL: the schema) that it is in"""
    name: str
    """as the database knows it; PostgreSQL's long names are hashed"""
    collection: str
    """as Appwrite knows it, with its namespace, for example V(_1_users)"""
    columns: tuple[str, ...]
    """the sealed columns, by the collection's metadata"""
    holds_files: bool = False
    """whether its rows describe files (V(bucket_…)); then C(FILE_COLUMNS) are read too"""

    @property
    def stages_files(self) -> bool:
        """Whether its rows can be staged with the seals of their files: Appwrite seals nothing else of a bucket."""
        return self.holds_files and not self.columns


@dataclass(frozen=True)
class Row:
    """One row, with the columns that were asked for."""

    key: Any
    """what the database finds it by"""
    uid: str
    """the document's id, for reports"""
    values: Mapping[str, Value]
    """only columns that are listed for this row's tenant"""
    raw: Mapping[str, Any]
    """the same as the database has it, to compare with"""


class Look(NamedTuple):
    """What a row's file is found to be."""

    verdict: str
    size: int = 0
    reason: str = ""
    """in words, if the verdict is C(NEITHER)"""


class Seen(NamedTuple):
    """A session of somebody else's."""

    user: str
    address: str
    space: str
    """the database that it is at, empty if that is not said"""


class Sessions(NamedTuple):
    """What is known of who else is connected."""

    seen: list[Seen]
    blind: str = ""
    """in words, which ones cannot be seen"""
    address: str = ""
    """that the database sees ours come from, and everything else on this host too if that is between them; empty if it is asked in its own container"""


class Store(ABC):
    """One database, asked through its own client in a container, over pipes. Each method raises StoreError if that refuses, or is gone."""

    transactional: bool
    """whether all changes become so at once, when they are committed"""
    DUMP: tuple[str, bytes]
    """a script for that container that prints a dump, and what a whole one ends with"""

    @abstractmethod
    def tables(self) -> list[Table]:
        """Every table with sealed columns or files, by every C(__metadata) of the server; always in the same order."""

    @abstractmethod
    def forget_tables(self) -> None:
        """Has them looked for again, since whoever may write may make and remove some."""

    @abstractmethod
    def count(self, table: Table) -> int:
        """How many rows it has."""

    @abstractmethod
    def size(self) -> int:
        """About how many bytes all data has on the disk."""

    @abstractmethod
    def rows(self, table: Table, sample: int | None = None) -> Iterator[list[Row]]:
        """All rows in batches, or about C(sample) of them from all over the table. The memory needed does not grow with the table."""

    @abstractmethod
    def sessions(self) -> Sessions:
        """Every session of another client that could change what is stored here."""

    @abstractmethod
    def is_replica(self) -> bool:
        """Whether it follows another one, and takes no changes of its own, or something that does may answer in its place."""

    @abstractmethod
    def newest(self, table: Table, fields: Sequence[str], limit: int) -> list[dict[str, str]]:
        """The documents that were made last, the very last one first: of these fields the first C(SHOWN) characters, nothing if one is not set."""

    @abstractmethod
    def close(self) -> None:
        """Ends the client; what was not committed is undone."""


class StoredFiles(Protocol):
    """The files of the rows in tables that describe files."""

    def look(self, row: Row, exchange: Exchange) -> Look:
        """Reads the file of a row, if the row says that it is whole and sealed."""

    def each(self, work: Callable[[Any], Any], those: Sequence[Any]) -> Iterable[Any]:
        """What C(work) makes of each, in their order, where it asks for files and for nothing else. They may be at work side by side.

        Raises what the first of them raises, when none is at work any more.
        """

    def doubt(self, row: Row) -> str:
        """Why no successor of a row's file could be written, each directory's once; empty if nothing speaks against it."""


def clean(name: str) -> str:
    """Appwrite leaves these out of the names of tables and columns."""
    return re.sub(r"[^A-Za-z0-9_-]", "", name)


def legible(text: str) -> str:
    """What somebody else wrote, as text that can be sent on."""
    return text.encode("utf-8", "backslashreplace").decode()


def md5(data: bytes) -> Any:
    """As others have it made; no secret depends on it, so that a system with FIPS lets it pass (from Python 3.9 on)."""
    options: dict[str, Any] = {"usedforsecurity": False} if sys.version_info >= (3, 9) else {}
    return hashlib.new("md5", data, **options)
