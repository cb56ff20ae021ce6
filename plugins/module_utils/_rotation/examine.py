# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored, read value by value and file by file: which key opens it. Nothing here can write.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any, Callable, Collection, Counter, Iterator, NamedTuple, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT, Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    NEITHER,
    NEW,
    OLD,
    Cipher,
    Exchange,
    Parts,
    Value,
    parts_of,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    SEALS,
    Look,
    Row,
    Store,
    StoredFiles,
    Table,
    legible,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import MISSING

MIXED, EMPTY = "mixed", "empty"
_ROW = 100
"""bytes of a value's row, and of the digest beside it"""
FILES = 32
"""files that are worked on at a time"""
_TOLD = 10000
"""undecryptable values that are told one by one"""
_FIRST_ROWS, _FIRST_VALUES = 5, 200
"""of each table of the console, and of all: by these a database is known again"""


class NothingSealed(AppwriteError):
    """There is no table of Appwrite's that could hold a sealed value."""


class Undecryptable(NamedTuple):
    """A sealed value that no key opens, or a file (column C(path)) that none opens or that is missing."""

    collection: str
    id: str
    column: str
    reason: str


@dataclass
class Tally:
    """Of one collection."""

    values: Counter[str] = field(default_factory=Counter)
    """verdict to how many sealed values have it"""
    files: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    """of the files as they are on the disk"""


@dataclass
class Report:
    """What was found, never a value."""

    collections: dict[str, Tally] = field(default_factory=dict)
    undecryptable: list[Undecryptable] = field(default_factory=list)
    """the first of them"""
    undecryptable_count: int = 0
    unwaived_count: int = 0
    missing: int = 0
    """sealed files that are not where their rows say"""
    unwritable: list[str] = field(default_factory=list)
    """directories that cannot take the successors of their files, and why; not part of what is made public"""
    seconds: float = 0.0
    """that files took, whose successors are made while others write"""
    sealed: int = 0
    """bytes, by and large, of all values that are to be sealed anew, and of what the rows of files get"""

    def count(self, verdict: str) -> int:
        """Values and files with that verdict."""
        return sum(tally.values[verdict] + tally.files[verdict] for tally in self.collections.values())

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(tally.bytes for tally in self.collections.values())

    @property
    def state(self) -> str:
        """C(old), C(new), C(mixed), or C(empty): which keys open what the report is about."""
        if self.count(OLD):
            return MIXED if self.count(NEW) else OLD
        return NEW if self.count(NEW) else EMPTY

    @property
    def elsewhere(self) -> str:
        """What speaks for another place than the one that was looked at, if anything does: files are rarely lost all at once."""
        files = sum(tally.files[verdict] for tally in self.collections.values() for verdict in (OLD, NEW, NEITHER))
        if not 1 < files == self.missing:
            return ""
        return (
            "each of the %d sealed files is missing, which is far more often another bucket, or another volume, than a loss. See whether Appwrite itself "
            "still gives out any; if not, correct _APP_STORAGE_DEVICE and what belongs to it, or put back the volume that was at /storage/uploads"
            % files
        )

    def public(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "collections": [
                {"collection": name, "values": dict(tally.values), "files": dict(tally.files), "bytes": tally.bytes}
                for name, tally in sorted(self.collections.items())
                if tally.values or tally.files
            ],
            "undecryptable": [each._asdict() for each in self.undecryptable],
            "undecryptable_count": self.undecryptable_count,
            "unwaived_count": self.unwaived_count,
        }


class Examination:
    """Reads. waived: collection, id and column of undecryptable values that stay as they are. progress: told phase, rows done and rows in all, often."""

    def __init__(
        self,
        store: Store,
        files: StoredFiles,
        old: Cipher,
        new: Cipher,
        waived: Collection[tuple[str, str, str]] = (),
        progress: Tell = SILENT,
    ) -> None:
        self._store = store
        self._files = files
        self._exchange = Exchange(old, new)
        self._waivers = waived
        self._waived = frozenset(
            "/".join(each) for each in waived
        )  # as they were given, since an id may have a slash, too
        self._progress = progress
        self._foresees = False
        self._rows = 0
        """in all tables, once they are counted"""

    def rehearse(self, sample: int | None = None, foresee: bool = False) -> Report:
        """Opens everything, or about C(sample) rows of each table, and changes nothing. foresee: tries whether the files could get successors, too."""
        self._foresees = foresee
        try:
            return self._examine("read", sample)
        finally:
            self._foresees = False

    def state(self) -> str:
        """C(old), C(new), C(mixed) or C(empty), by all values and files. Raises AppwriteError if there are sealed ones, and no key opens any."""
        report = self._examine("read")
        if report.state == EMPTY and report.unwaived_count:
            raise AppwriteError(
                "neither key opens any of the %d sealed values and files: both are wrong" % report.undecryptable_count
            )
        return report.state

    def _walk(
        self, phase: str, sample: int | None = None, some: Callable[[Table], bool] | None = None
    ) -> Iterator[tuple[Table, list[Row]]]:
        """All rows, or those of some tables; those of files few at a time since each may take long."""
        tables = self._store.tables()
        if not any(table.collection.startswith("_console_") for table in tables):
            raise NothingSealed(
                "the database holds no sealed columns of Appwrite's console, which every installation has: it is another one, "
                "or the user that asks it does not see everything"
            )
        if some is not None:
            tables = list(filter(some, tables))
        elif sample is None and not self._rows:
            self._rows = sum(map(self._store.count, tables))
        total = (
            sum(map(self._store.count, tables))
            if some is not None
            else self._rows
            if sample is None
            else sample * len(tables)
        )
        done = 0
        self._progress(phase, done, total)
        for table in tables:
            done += self._passed(table)
            for batch in self._rows_of(table, sample):
                step = FILES if table.holds_files else len(batch)
                for start in range(0, len(batch), step):
                    rows = batch[start : start + step]
                    yield table, rows
                    done += len(rows)
                    self._progress(phase, done, max(done, total))

    def _passed(self, _table: Table) -> int:
        """Rows that need not be looked at."""
        return 0

    def _rows_of(self, table: Table, sample: int | None) -> Iterator[list[Row]]:
        """The others."""
        return self._store.rows(table, sample)

    def _examine(self, phase: str, sample: int | None = None, some: Callable[[Table], bool] | None = None) -> Report:
        report = Report()
        for table, rows in self._walk(phase, sample, some):
            tally = report.collections.setdefault(table.collection, Tally())
            began = time.monotonic()
            looks = list(self._files.each(self._look, rows)) if table.holds_files else []
            report.seconds += time.monotonic() - began
            for row, look in zip_longest(rows, looks):
                self._judge(table, row, look, tally, report)
        return report

    def _look(self, row: Row) -> Look:
        return self._files.look(row, self._exchange)

    def _judge(self, table: Table, row: Row, look: Look | None, tally: Tally, report: Report) -> None:
        for column in table.columns:
            if column in row.values:
                self._count(
                    table, row, column, self._exchange.verdicts(row.values[column], nests(table, column)), tally, report
                )
        if look:
            self._count_file(table, row, look, tally, report)
            doubt = self._files.doubt(row) if self._foresees and look.verdict == OLD else ""
            if doubt:
                report.unwritable.append(doubt)

    def _count(self, table: Table, row: Row, column: str, verdicts: list[str], tally: Tally, report: Report) -> None:
        for verdict in verdicts:
            tally.values[verdict] += 1
        if OLD in verdicts:
            report.sealed += _ROW + _length(row.values[column])
        if NEITHER in verdicts:
            self._tell(report, Undecryptable(table.collection, row.uid, column, "no key opens it"))

    def _count_file(self, table: Table, row: Row, look: Look, tally: Tally, report: Report) -> None:
        tally.files[look.verdict] += 1
        tally.bytes += look.size
        if look.verdict == OLD:
            report.sealed += sum(_ROW + _length(row.values[name]) for name in SEALS)
        if look.verdict == NEITHER:
            report.missing += look.reason.startswith(MISSING)
            self._tell(report, Undecryptable(table.collection, row.uid, "path", look.reason))

    def _tell(self, report: Report, found: Undecryptable) -> None:
        found = Undecryptable(*map(legible, found))  # whoever wrote the row chose its id
        report.undecryptable_count += 1
        report.unwaived_count += "/".join(found[:3]) not in self._waived
        if len(report.undecryptable) < _TOLD:
            report.undecryptable.append(found)


def _length(value: Value) -> int:
    return len(value) if isinstance(value, str) else sum(len(each or "") for each in value or ())


def sealed(store: Store, tables: Sequence[Table], sample: int | None) -> Iterator[Parts | None]:
    """The parts of each sealed value of about C(sample) rows of each table, or of all; C(None) for one that no key can open."""
    for table in tables:
        for rows in store.rows(table, sample):
            for row in rows:
                for column in table.columns:
                    yield from parts_of(row.values.get(column))


def first_values(store: Store) -> list[Parts]:
    """The first sealed values of the console, which every installation has."""
    tables = [table for table in store.tables() if table.columns and table.collection.startswith("_console_")]
    return list(islice(filter(None, sealed(store, tables, _FIRST_ROWS)), _FIRST_VALUES))


def digest(parts: Parts) -> str:
    """By which a value is known again: what seals it is random each time, and neither that nor the value can be told from this."""
    return hashlib.sha256(("%s %s" % parts[1:]).encode()).hexdigest()[:16]


def nests(table: Table, column: str) -> bool:
    """Before 0.7 the secrets in here were sealed one by one, and so they still are, inside what is sealed now."""
    return column == "oAuthProviders" and table.collection.endswith("_projects")
