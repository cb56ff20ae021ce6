# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How values are written in SQL: staged in a temporary table or changed at once, and only where the old one still is as it was read.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import Iterator, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import StoreError, Table
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sql import SqlStore
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import (
    Change,
    WritableStore,
)

_REQUEST = 1 << 20
"""bytes of new values sent at a time"""


class WritableSqlStore(SqlStore, WritableStore):
    """Goes before the dialect's own class among a subclass's bases."""

    READ_ONLY = ""
    STAGED: tuple[str, str, str]
    """types for a row's key, the SHA-256 of a text, and a text"""
    STAGE_OPTIONS = ""
    """of the temporary table that they are in"""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self._batches_staged: dict[Table, list[tuple[int, int]]] = {}
        """the last key of each batch, and how many rows it has"""
        super().__init__(command, environ)

    # --- what a dialect says ---

    @abstractmethod
    def _update(self, table: Table, names: Sequence[str], kinds: Sequence[str], rows: Sequence[str]) -> str:
        """Statements that set columns in all rows whose columns' texts have these SHA-256, and print in how many rows they did.

        rows: each is the key, then for each column the hash and the new value, in parentheses.
        """

    @abstractmethod
    def _stage(self, table: Table) -> str:
        """The place of the temporary table for what is staged of this one."""

    @abstractmethod
    def _take(self, table: Table) -> str:
        """The statement that sets those columns of a row, of which the SHA-256 in the stage is that of their text, without its condition on the key C(s.id)."""

    @abstractmethod
    def _settle(self) -> None:
        """After a commit, which some servers are set up to report before it is on disk: waits until it is."""

    # --- WritableStore ---

    def begin(self) -> None:
        self._session.ask("START TRANSACTION;")

    def change(self, table: Table, changes: Sequence[Change]) -> int:
        groups: dict[tuple[str, ...], list[Change]] = {}
        for change in changes:
            groups.setdefault(tuple(sorted(change.values)), []).append(change)
        return sum(self._change(table, names, group) for names, group in groups.items())

    def stage(self, table: Table, changes: Sequence[Change]) -> None:
        numbers = range(len(table.columns))
        if changes and table not in self._batches_staged:
            key, digest, text = self.STAGED
            self._session.ask(
                "CREATE TEMPORARY TABLE %s (id %s PRIMARY KEY, %s)%s;"
                % (
                    self._stage(table),
                    key,
                    ", ".join("h%d %s, v%d %s" % (number, digest, number, text) for number in numbers),
                    self.STAGE_OPTIONS,
                )
            )
            self._batches_staged[table] = []
        last = 0
        for batch in self._requests(table.columns, changes):
            self._session.ask(
                "INSERT INTO %s (id, %s) VALUES %s;"
                % (
                    self._stage(table),
                    ", ".join("h%d, v%d" % (number, number) for number in numbers),
                    ",\n".join(batch),
                )
            )
            last += len(batch)
            self._batches_staged[table].append((changes[last - 1].row.key, len(batch)))

    def take(self, table: Table) -> Iterator[int]:
        after = 0
        for last, count in self._batches_staged.get(table, ()):
            self._session.ask("%s AND s.id > %d AND s.id <= %d;" % (self._take(table), after, last))
            after = last
            yield count

    def clear(self, table: Table) -> None:
        permissions = table.space, self._server_name(table.collection + "_perms")
        for place in [(table.space, table.name)] + [permissions] * bool(self._columns_of(permissions, ["_document"])):
            self._session.ask("DELETE FROM %s;" % self._place(*place))

    def commit(self) -> None:
        """Raises StoreError if it is not known whether the transaction was committed."""
        try:
            self._session.ask("COMMIT;")
        except StoreError as error:
            raise StoreError(
                "%s. It was about to commit, and may or may not have done so: run again, and what is stored will show which"
                % error
            ) from None
        self._settle()

    # --- changes ---

    def _change(self, table: Table, names: tuple[str, ...], changes: Sequence[Change]) -> int:
        kinds = [self._shapes[table].kinds[name] for name in names]
        return sum(
            int(self._session.ask(self._update(table, names, kinds, rows))[0][0])
            for rows in self._requests(names, changes)
        )

    def _requests(self, names: Sequence[str], changes: Sequence[Change]) -> Iterator[list[str]]:
        """Rows as C(_update()) gets them, as many as one request takes."""
        size = 0
        batch: list[str] = []
        for change in changes:
            row = self._written(names, change)
            if batch and size + len(row) > _REQUEST:
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += len(row)
        if batch:
            yield batch

    def _written(self, names: Sequence[str], change: Change) -> str:
        fields = [str(change.row.key)]
        for name in names:
            if name not in change.values:
                fields += ["NULL", "NULL"]
                continue
            value = change.values[name]
            fields += [
                "'%s'" % hashlib.sha256(change.row.raw[name]).hexdigest(),
                self._literal(value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))),
            ]
        return "(%s)" % ", ".join(fields)
