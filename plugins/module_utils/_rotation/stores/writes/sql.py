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
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Value
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    FILE_COLUMNS,
    SEALS,
    Row,
    StoreError,
    Table,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sql import SqlStore
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import (
    Change,
    WritableStore,
)

_REQUEST = 1 << 20
"""bytes of new values sent at a time"""
_TAKEN = 2000
"""rows of files, about, that are taken at a time"""


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
    def _take(self, table: Table, keys: str) -> str:
        """Statements that set those columns of a row, of which the SHA-256 in the stage is that of their text, and print how many rows they changed.

        If the table C(stages_files): that set C(SEALS), with a condition on the row's C(_digest). keys: the condition on C(s.id) and C(t._id).
        """

    @abstractmethod
    def _sha256(self, text: str) -> str:
        """Of the bytes of a text, in hexadecimal digits."""

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
        key, digest, text = self.STAGED
        if table.stages_files:
            kinds = {"was": digest, "becomes": digest, **{"v%d" % number: text for number in range(len(SEALS))}}
            rows = map(self._written_file, changes)
        else:
            kinds = {}
            for number in range(len(table.columns)):
                kinds.update({"h%d" % number: digest, "v%d" % number: text})
            rows = (self._written(table.columns, change) for change in changes)
        if changes and table not in self._batches_staged:
            self._session.ask(
                "CREATE TEMPORARY TABLE %s (id %s PRIMARY KEY, %s)%s;"
                % (self._stage(table), key, ", ".join("%s %s" % each for each in kinds.items()), self.STAGE_OPTIONS)
            )
            self._batches_staged[table] = []
        last = 0
        for batch in _requests(rows):
            self._session.ask(
                "INSERT INTO %s (id, %s) VALUES %s;" % (self._stage(table), ", ".join(kinds), ",\n".join(batch))
            )
            last += len(batch)
            batches, count = self._batches_staged[table], len(batch)
            if table.stages_files and batches and batches[-1][1] < _TAKEN:  # few came at a time, and all are small
                count += batches.pop()[1]
            batches.append((changes[last - 1].row.key, count))

    def unstage(self, table: Table, paths: Sequence[str]) -> None:
        if table in self._batches_staged:
            self._session.ask(
                "DELETE FROM %s WHERE v%d IN (%s);"
                % (self._stage(table), SEALS.index("path"), ", ".join(map(self._literal, paths)))
            )

    def take(self, table: Table) -> Iterator[tuple[int, int]]:
        """From one key MariaDB concludes nothing about the other if that is shorter, as in tables of Appwrite 1.7.4 and before (C(int), in
        utopia-php/database 0.69.5), and would go through the whole table each time.
        """
        after = 0
        for last, count in self._batches_staged.get(table, ()):
            keys = " AND ".join("{0} > {1} AND {0} <= {2}".format(key, after, last) for key in ("s.id", "t._id"))
            yield count, int(self._session.ask(self._take(table, keys))[0][0])
            after = last

    def taken(self, table: Table) -> int:
        if not table.stages_files or table not in self._batches_staged:
            return 0
        place = self._place(table.space, table.name)
        return int(self._query("SELECT COUNT(*) FROM %s AS t WHERE %s" % (place, self._is_taken(table)))[0][0])

    def beside(self, table: Table) -> Iterator[list[Row]]:
        if not table.stages_files:
            return self.rows(table)
        where = "%s(t.%s) > 0" % (self.LENGTH, self._quoted("openSSLCipher"))
        return self._all_rows(
            table, where + (" AND NOT " + self._is_taken(table) if table in self._batches_staged else "")
        )

    def take_back(self) -> None:
        self._session.ask("ROLLBACK;")

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
            for rows in _requests(self._written(names, change) for change in changes)
        )

    def _is_taken(self, table: Table) -> str:
        """Of a row C(t)."""
        return "EXISTS (SELECT 1 FROM %s AS s WHERE s.id = t._id AND s.becomes = %s)" % (
            self._stage(table),
            self._digest(),
        )

    def _digest(self) -> str:
        """That of C(_digest_of), of a row C(t)."""
        texts = [self._text("t.%s" % self._quoted(name)) for name in FILE_COLUMNS]
        return self._sha256(
            "CONCAT(%s)"
            % ", ".join(
                "CASE WHEN {0} IS NULL THEN '-' ELSE CONCAT({1}({0}), ':', {0}) END".format(text, self.LENGTH)
                for text in texts
            )
        )

    def _written_file(self, change: Change) -> str:
        becomes = {
            **change.row.raw,
            **{name: _text_of(value).encode("utf-8", "surrogateescape") for name, value in change.values.items()},
        }
        fields = [str(change.row.key), "'%s'" % _digest_of(change.row.raw), "'%s'" % _digest_of(becomes)]
        return "(%s)" % ", ".join(fields + [self._literal(_text_of(change.values[name])) for name in SEALS])

    def _written(self, names: Sequence[str], change: Change) -> str:
        fields = [str(change.row.key)]
        for name in names:
            if name not in change.values:
                fields += ["NULL", "NULL"]
                continue
            fields += [
                "'%s'" % hashlib.sha256(change.row.raw[name]).hexdigest(),
                self._literal(_text_of(change.values[name])),
            ]
        return "(%s)" % ", ".join(fields)


def _requests(rows: Iterable[str]) -> Iterator[list[str]]:
    """As many as one request takes."""
    size = 0
    batch: list[str] = []
    for row in rows:
        if batch and size + len(row) > _REQUEST:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row)
    if batch:
        yield batch


def _text_of(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _digest_of(raw: Mapping[str, Any]) -> str:
    """Of all columns of a file's row, each with its length, so that no other row has the same text."""
    texts = [raw.get(name) for name in FILE_COLUMNS]
    return hashlib.sha256(
        b"".join(b"-" if text is None else b"%d:%s" % (len(text), text) for text in texts)
    ).hexdigest()
