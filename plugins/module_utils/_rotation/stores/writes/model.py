# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a rotation may do: write sealed values, and successors of files. Whoever only reads reaches nothing in this package.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Container, Iterable, Iterator, Protocol, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Exchange, Value
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    Look,
    Row,
    Store,
    StoredFiles,
    Table,
)


@dataclass(frozen=True)
class Change:
    """New values for some of a row's columns."""

    row: Row
    values: dict[str, Value]


class WritableStore(Store):
    """One database, whose sealed values can be written."""

    @abstractmethod
    def begin(self) -> None:
        """From here on nothing is in force before C(commit), if the database can do that."""

    @abstractmethod
    def change(self, table: Table, changes: Sequence[Change]) -> int:
        """Writes a row if every changed column still is as it was read, byte for byte; returns how many rows that were."""

    def stage(self, table: Table, changes: Sequence[Change]) -> None:
        """Keeps new values for C(take()), in this session alone, and before C(begin). Each row is staged once, in the order of rows.

        They are of sealed columns, or, if it C(stages_files), C(SEALS). A store that cannot do so forgets them.
        """

    def unstage(self, table: Table, paths: Sequence[str]) -> None:
        """Forgets what is staged for the rows of files whose successors have these paths. Only of a table that C(stages_files)."""

    def take(self, table: Table) -> Iterator[tuple[int, int]]:
        """Writes the values that are staged for this table; yields how many rows were gone through, and how many of them were changed.

        Each value only if the old one still is as it was read, and those of a file if all of its columns are.
        """
        return iter(())

    def taken(self, table: Table) -> int:
        """How many rows of files are, to the byte, what they were staged to become. 0 unless it C(stages_files)."""
        return 0

    def beside(self, table: Table) -> Iterator[list[Row]]:
        """As C(rows), without those that C(taken) counts, and those of files that say themselves that they are not sealed."""
        return self.rows(table)

    def take_back(self) -> None:
        """Undoes all since C(begin), where that can be; what is staged stays so."""

    @abstractmethod
    def clear(self, table: Table) -> None:
        """Removes every document, and what says who may read it."""

    @abstractmethod
    def commit(self) -> None:
        """Returns when the changes are on disk. An error leaves open whether they are: look again."""


class WritableFiles(StoredFiles, Protocol):
    """The same, each of which can get a successor; a journal remembers both. Each method raises AppwriteError if the disk refuses."""

    def prepare(self, row: Row, exchange: Exchange) -> tuple[Look, dict[str, str]]:
        """What a row's file is, and, if the old key opens it, what belongs in the row for its successor, which is on disk then.

        It may be called long before it is needed: called again, it finds the successor, unless the row or the file has changed since.
        """

    def fallen(self) -> Iterator[str]:
        """The paths of the successors so far that are not as they were made, or whose files are not as they were then."""

    def kept(self, paths: Iterable[str]) -> Container[str]:
        """These paths, which may be millions: on the disk, if it takes them."""

    def remove(self, path: str, before: float | None = None) -> None:
        """Removes a file that may be gone already, unless somebody has written it at that time (seconds since 1970) or later."""

    def noted(self) -> int:
        """How long the journal is, in bytes."""

    def pairs(self, start: int = 0) -> Iterator[list[tuple[str, str]]]:
        """The paths of files and successors that were noted from there on (in bytes), some at a time.

        The last entry of a run that died may be half there: its file is not.
        """

    def forget(self) -> None:
        """Removes the journal, when of each pair one file is left."""
