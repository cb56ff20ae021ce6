# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All sealed values and files of an installation, from one encryption key to another.

Which key opens a value is found by trying, so nothing has to be remembered from one run to the next but the names of new files. Nobody may write
meanwhile: the services that hold the key are gone.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import zip_longest
from operator import itemgetter
from typing import Collection, Container, Iterator, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT, Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    NEITHER,
    NEW,
    OLD,
    PLAIN,
    Cipher,
    Value,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.console import NONE, end_sessions
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import (
    FILES,
    MIXED,
    Examination,
    Report,
    Tally,
    nests,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Look, Row, Table
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import (
    Change,
    WritableFiles,
    WritableStore,
)

_FALLEN = 500
"""paths that the store is told at a time"""


class Rotation(Examination):
    """Writes, too."""

    def __init__(
        self,
        store: WritableStore,
        files: WritableFiles,
        old: Cipher,
        new: Cipher,
        waived: Collection[tuple[str, str, str]] = (),
        progress: Tell = SILENT,
    ) -> None:
        super().__init__(store, files, old, new, waived, progress)
        self._writable = store
        self._successors = files
        self._noted: int | None = None
        """how long the list of successors was before the first of this rotation"""
        self._staged = 0
        """rows of which the store keeps new values"""
        self._fallen: Future[list[str]] | None = None
        self._taken: dict[Table, int] = {}
        """while they are in the transaction: of tables that may stage files, how many rows are as they were staged, which are known without another look"""

    def prepare(self) -> None:
        """While others write: stages all values and makes the successors of all files, so that C(rotate()) is left with what has changed since.

        What is staged goes with the store's session, and C(sweep()) removes the successors again.
        """
        self._begin()
        for table, rows in self._walk("prepare", some=lambda table: table.holds_files or self._store.transactional):
            changes = []
            files = self._succeed(rows) if table.holds_files else []
            for row, file in zip_longest(rows, files):
                values = {
                    column: value
                    for column, value, _verdicts in self._resealed(table, row)
                    if value != row.values[column]
                }
                if file and table.stages_files:
                    _look, seals = file
                    values.update(seals)
                if values:
                    changes.append(Change(row, values))
            self._writable.stage(table, changes)
            self._staged += len(changes)

    def look_again(self) -> Future[list[str]]:
        """When the API is being closed: whether what was prepared is as it was. It is looked at beside whatever is done until C(rotate) is about to commit.

        What still works meanwhile makes new files and removes some, and never writes into one whose row has seals (Appwrite of August 2026).
        """
        pool = ThreadPoolExecutor(1)
        self._fallen = pool.submit(lambda: list(self._successors.fallen()))
        pool.shutdown(wait=False)
        return self._fallen

    def rotate(self, sweep: bool = True, ending: str = NONE) -> Report:
        """Everything that the old key opens is under the new one when this returns. Returns what was found before.

        The files that are replaced are removed last, or left for C(sweep()). ending: whose sessions end with it (C(console)), after all else.

        Raises AppwriteError if that cannot be. If the store is transactional everything is as it was then, unless the message says otherwise,
        and the store is closed.
        """
        if self._noted is None:
            self._begin()
        self._store.forget_tables()
        self._rows = 0
        if not self._store.transactional:
            self._refuse(self._examine("read"))
        try:
            fallen = self._fallen or self.look_again()
            report = self._seal_all()
            paths = fallen.result() if self._taken else []
            if paths:  # few, and seldom any
                self._writable.take_back()
                for start in range(0, len(paths), _FALLEN):
                    for table in self._taken:
                        self._writable.unstage(table, paths[start : start + _FALLEN])
                report = self._seal_all()
            end_sessions(self._writable, ending)
        except BaseException:
            if self._store.transactional:
                self._store.close()
                with suppress(AppwriteError):  # what stays now goes with the next run
                    self._discard(self._noted or 0)
            raise
        finally:
            self._taken = {}
        self._writable.commit()
        self._noted = None
        left = self.sweep() if sweep else []
        if left:
            raise AppwriteError(
                "everything is sealed with the new key, but some files sealed with the old one could not be removed: %s. Run again"
                % left[0]
            )
        return report

    def undo(self) -> str:
        """After an interruption, or after the whole rotation: all that is under the new key goes back to the old one. C(sweep()) is left to be done.

        Only with a store and files that are opened for it: what they know since C(prepare) or C(rotate) was true on the way there.
        """
        state = self.state()
        if state in (NEW, MIXED):
            Rotation(
                self._writable, self._successors, self._exchange.new, self._exchange.old, self._waivers, self._progress
            ).rotate(sweep=False)
            return OLD
        return state

    def sweep(self, replaced: bool = True, before: float | None = None) -> list[str]:
        """After C(rotate()), or after an interruption: of each file and its successor, removes the one that no row uses.

        Without a row that uses its successor, no old file is removed. Returns what could not be removed and why; that stays noted. replaced: whether old
        files are removed at all. before: seconds since 1970; an old file that somebody has written since then is somebody's again, and stays.
        """
        left: list[str] = []
        waits = False
        used: Container[str] = ()
        for part, pairs in enumerate(self._successors.pairs()):
            used = used if part else self._successors.kept(self._paths())
            succeeded = {path for pair in pairs for path in pair if path in used}
            for old, new in reversed(pairs):
                if new in succeeded:  # or its own successor is in use, if an earlier sweep could not remove it
                    succeeded.add(old)
            doomed: list[tuple[tuple[str, float | None], ...]] = []
            for old, new in pairs:
                is_old = old not in used and new in succeeded
                waits = waits or is_old and not replaced
                is_new = new not in used and (replaced or new not in succeeded)
                doomed.append(((new, None),) * is_new + ((old, before),) * (is_old and replaced))
            for start in range(0, len(doomed), FILES):
                some = doomed[start : start + FILES]
                left += filter(None, self._successors.each(self._removed, some))
                self._progress("remove", start + len(some), len(pairs))
        if not left and not waits:
            self._successors.forget()
        return left

    # --- steps ---

    def _paths(self) -> Iterator[str]:
        """That rows use."""
        for table in self._store.tables():
            for rows in self._store.rows(table) if table.holds_files else ():
                yield from (path for row in rows for path in [row.values["path"]] if isinstance(path, str))

    def _begin(self) -> None:
        """Removes what an earlier run has begun and not ended. The files that it has replaced stay until the end."""
        self._store.forget_tables()
        self.sweep(replaced=False)
        self._noted = self._successors.noted()

    def _refuse(self, report: Report) -> None:
        if not report.unwaived_count:
            return
        if report.elsewhere and not any(self._taken.values()):  # which are where they should be, and not in the report
            raise AppwriteError("%s. Nothing was written" % report.elsewhere)
        first = next((each for each in report.undecryptable if "/".join(each[:3]) not in self._waived), None)
        raise AppwriteError(
            "%d sealed values or files cannot be opened with the old key%s. If it is the right one they are lost already: waive each to leave them "
            "as they are. Nothing was written"
            % (report.unwaived_count, ", the first one in %s: %s, column %s (%s)" % first if first else "")
        )

    def _seal_all(self) -> Report:
        """What was staged, and then all else, in one transaction. Returns what was found before."""
        self._writable.begin()
        self._take()
        report = Report()
        for table, rows in self._walk("seal"):
            self._seal(table, rows, report)
        self._refuse(report)
        self._verify(report)
        for table, number in filter(itemgetter(1), self._taken.items()):
            report.collections.setdefault(table.collection, Tally()).files[NEW] += number
        return report

    def _take(self) -> None:
        """Puts into force what was staged."""
        done = 0
        for table in self._store.tables():
            changed = 0
            for count, changes in self._writable.take(table):
                done, changed = done + count, changed + changes
                self._progress("switch", done, max(done, self._staged))
            if table.stages_files:
                self._taken[table] = changed

    def _passed(self, table: Table) -> int:
        return self._taken.get(table, 0)

    def _rows_of(self, table: Table, sample: int | None) -> Iterator[list[Row]]:
        return self._writable.beside(table) if table in self._taken else super()._rows_of(table, sample)

    def _resealed(self, table: Table, row: Row) -> Iterator[tuple[str, Value, list[str]]]:
        """Each column of this row with its new value, and the verdicts on the old one."""
        for column in table.columns:
            if column in row.values:
                yield (column, *self._exchange.reseal(row.values[column], nests(table, column)))

    def _succeed(self, rows: list[Row]) -> list[tuple[Look, dict[str, str]]]:
        return list(self._successors.each(lambda row: self._successors.prepare(row, self._exchange), rows))

    def _seal(self, table: Table, rows: list[Row], report: Report) -> None:
        changes = []
        tally = report.collections.setdefault(table.collection, Tally())
        found = self._succeed(rows) if table.holds_files else []
        for row, file in zip_longest(rows, found):
            values: dict[str, Value] = {}
            for column, value, verdicts in self._resealed(table, row):
                self._count(table, row, column, verdicts, tally, report)
                if value != row.values[column]:
                    values[column] = value
            if file:
                look, successor = file
                self._count_file(table, row, look, tally, report)
                values.update(successor)
            if values:
                changes.append(Change(row, values))
        if changes and self._writable.change(table, changes) != len(changes):
            raise AppwriteError(
                "somebody else has changed %s in the meantime: a service of Appwrite still runs. %s"
                % (table.collection, "Nothing was changed" if self._store.transactional else "Stop it and run again")
            )

    def _verify(self, before: Report) -> None:
        """Reads back what was written since it was read: what one key opened the new one opens now, and nothing else has become of anything.

        What was staged is written only if the digest of the old value is still the same, and is read with all else after that; of the rows of files the
        database compares the digest of what they are now.
        """
        moved = [table for table, number in self._taken.items() if self._writable.taken(table) != number]
        written = {name for name, tally in before.collections.items() if tally.values[OLD] or tally.files[OLD]}
        after = self._examine("verify", some=lambda table: table.collection in written)
        for name, tally in after.collections.items():
            was = before.collections[name]
            for now, then in ((tally.values, was.values), (tally.files, was.files)):
                if (
                    now[OLD]
                    or now[NEW] != then[OLD] + then[NEW]
                    or (now[NEITHER], now[PLAIN]) != (then[NEITHER], then[PLAIN])
                ):
                    raise self._not_everything(name)
        if moved:
            raise self._not_everything(moved[0].collection)

    def _not_everything(self, name: str) -> AppwriteError:
        return AppwriteError(
            "not everything in %s can be opened with the new key after it was sealed with it%s"
            % (name, ", so nothing was changed" if self._store.transactional else "")
        )

    def _removed(self, those: Sequence[tuple[str, float | None]]) -> str:
        """Why not all could be, if that is so."""
        try:
            for path, before in those:
                self._successors.remove(path, before)
        except AppwriteError as error:
            return str(error)
        return ""

    def _discard(self, noted: int) -> None:
        """Removes the successors that were noted from there on, when it is certain that no row uses one."""
        for pairs in self._successors.pairs(noted):
            for start in range(0, len(pairs), FILES):
                new = [successor for _old, successor in pairs[start : start + FILES]]
                list(self._successors.each(self._successors.remove, new))
        if not noted:
            self._successors.forget()
