# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What MariaDB and PostgreSQL share: one session of their own client over pipes, and Appwrite's tables in SQL.

The session holds a lock of the server's as long as it lives. Whoever gets it next knows that the transaction of the one before has ended, however
that one died.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Value
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    BUCKET,
    FILE_COLUMNS,
    SHOWN,
    Row,
    Store,
    StoreError,
    Table,
    clean,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import Session

_PAGE = 500
"""rows read at a time"""
_LONG = 8192
"""bytes of a value from which on it is read by itself"""
_SLICES = 50
"""places of a table that a sample is taken from"""
_COLLECTIONS = 20
"""rows of metadata read at a time"""
_CREATED = "_createdAt"
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"0": b"\0", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
Place = Tuple[str, str]
"""of a table: its database (PostgreSQL: schema) and its name there"""


class _Shape(NamedTuple):
    kinds: dict[str, str]
    """column to the type that the server has it in"""
    listed: dict[str, dict[str, bool]]
    """tenant, or empty for all, to the sealed columns of its metadata, and whether they are arrays"""


class SqlStore(Store):
    """Appwrite's tables, asked in SQL. A subclass says what its dialect does differently."""

    transactional = True
    NAME: str
    PRINT: str
    """the statement that prints a query's rows, fields parted by tabs, with all in them escaped that could be taken for something else"""
    SIZE: str
    """the query for the bytes of all data"""
    LENGTH: str
    """the function that counts bytes"""
    QUOTE: str
    """around names"""
    REPLICA: str
    """the query whose answer is 1 on a replica"""
    READ_ONLY: str
    """the statement after which the server refuses every change in this session; empty if it is to take them"""
    ERROR: str
    REASONS: Mapping[str, str]

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """command: starts the client, reading statements from standard input; C(client()) of a container. environ: for it."""
        self._shapes: dict[Table, _Shape] = {}
        self._session = Session(command, self.NAME, self.PRINT % "SELECT '%s'", self.ERROR, self.REASONS, environ)
        try:
            self._session.ask("")
            self._open()
            if self.READ_ONLY:
                self._session.ask(self.READ_ONLY)
        except StoreError:
            self.close()
            raise

    # --- what a dialect says ---

    @staticmethod
    @abstractmethod
    def client(container: str) -> list[str]:
        """Starts the client in the database's container, with the credentials of its environment."""

    @abstractmethod
    def _open(self) -> None:
        """Makes the session exact and patient, and takes the lock."""

    @abstractmethod
    def _literal(self, value: str) -> str:
        """A value in a statement."""

    def _text(self, name: str) -> str:
        """A column as the text that is compared."""
        return name

    def _server_name(self, name: str) -> str:
        """The name that a table has on the server."""
        return name

    # --- Store ---

    def tables(self) -> list[Table]:
        if not self._shapes:
            self._find_tables()
        return list(self._shapes)

    def forget_tables(self) -> None:
        self._shapes = {}

    def count(self, table: Table) -> int:
        return int(self._query("SELECT COUNT(*) FROM %s" % self._place(table.space, table.name))[0][0])

    def size(self) -> int:
        return int(self._query(self.SIZE)[0][0])

    def is_replica(self) -> bool:
        return self._query(self.REPLICA) == [[b"1"]]

    def rows(self, table: Table, sample: int | None = None) -> Iterator[list[Row]]:
        return self._all_rows(table) if sample is None else self._some_rows(table, sample)

    def newest(self, table: Table, fields: Sequence[str], limit: int) -> list[dict[str, str]]:
        present = self._columns_of((table.space, table.name), [*fields, _CREATED])
        texts = [
            "COALESCE(LEFT(%s, %d), '')" % (self._text(self._quoted(name)), SHOWN) if name in present else "''"
            for name in fields
        ]
        order = "{0} IS NULL, {0} DESC, ".format(self._quoted(_CREATED)) if _CREATED in present else ""
        return [
            dict(zip(fields, map(text_of, row)))
            for row in self._query(
                "SELECT %s FROM %s ORDER BY %s_id DESC LIMIT %d"
                % (", ".join(texts), self._place(table.space, table.name), order, limit)
            )
        ]

    def close(self) -> None:
        self._session.close()

    # --- tables ---

    def _find_tables(self) -> None:
        collections: dict[Place, str] = {}
        listed: dict[Place, dict[str, dict[str, bool]]] = {}
        buckets: set[Place] = set()
        for place, columns in sorted(
            self._present(["_id", "_uid", "_tenant", "attributes"], "RIGHT(table_name, 10) = '__metadata'").items()
        ):
            if {"_id", "_uid", "attributes"} <= columns.keys():
                for tenant, uid, sealed in self._metadata(place, columns):
                    if sealed or BUCKET.match(uid):
                        whole = place[1][: -len("__metadata")] + "_" + clean(uid)
                        found = place[0], self._server_name(whole)
                        collections[found] = whole
                        listed.setdefault(found, {}).setdefault(tenant, {}).update(sealed)
                        if BUCKET.match(uid):
                            buckets.add(found)
        present = (
            self._present(
                {
                    "_id",
                    "_uid",
                    "_tenant",
                    *FILE_COLUMNS,
                    *(name for each in listed.values() for tenant in each.values() for name in tenant),
                },
                "table_schema IN (%s)" % ", ".join(sorted({self._literal(space) for space, _name in listed})),
            )
            if listed
            else {}
        )
        for place in sorted(listed):
            kinds = present.get(place, {})
            sealed_here = sorted({name for tenant in listed[place].values() for name in tenant} & kinds.keys())
            if not {"_id", "_uid"} <= kinds.keys():
                continue  # Appwrite is about to make it, or has not done away with it wholly
            missing = sorted(set(FILE_COLUMNS) - kinds.keys())
            if place in buckets and missing:
                raise StoreError(
                    "%s: %s.%s describes files, but has no column %s; its release is not known here"
                    % (self.NAME, *place, missing[0])
                )
            if sealed_here or place in buckets:
                table = Table(place[0], place[1], collections[place], tuple(sealed_here), place in buckets)
                self._shapes[table] = _Shape(kinds, listed[place])

    def _present(self, names: Iterable[str], where: str) -> dict[Place, dict[str, str]]:
        """Tables with those of their columns that have one of these names, and the columns' types."""
        found: dict[Place, dict[str, str]] = {}
        for space, table, column, kind in self._query(
            "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns WHERE column_name IN (%s) AND %s"
            % (", ".join(map(self._literal, sorted(names))), where)
        ):
            found.setdefault((text_of(space), text_of(table)), {})[text_of(column)] = text_of(kind)
        return found

    def _columns_of(self, place: Place, names: Iterable[str]) -> dict[str, str]:
        return self._present(
            names, "table_schema = %s AND table_name = %s" % (self._literal(place[0]), self._literal(place[1]))
        ).get(place, {})

    def _metadata(self, place: Place, columns: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, bool]]]:
        """Tenant and collection, and its sealed columns with whether they are arrays; only those that may matter."""
        last = 0
        while True:
            page = self._query(
                "SELECT _id, %s, _uid, attributes FROM %s WHERE _id > %d AND (attributes LIKE '%%encrypt%%' OR _uid LIKE 'bucket%%') ORDER BY _id LIMIT %d"
                % ("_tenant" if "_tenant" in columns else "NULL", self._place(*place), last, _COLLECTIONS)
            )
            for key, tenant, uid, attributes in page:
                last = int(key)
                try:
                    found = [
                        each for each in json.loads(text_of(attributes)) if "encrypt" in (each.get("filters") or ())
                    ]
                    sealed = {clean(each["$id"]): bool(each.get("array")) for each in found}
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    raise StoreError(
                        "%s: the attributes of the collection %s in %s.%s cannot be read, so it is not known which of its columns are sealed"
                        % (self.NAME, text_of(uid), *place)
                    ) from None
                yield text_of(tenant) if tenant.isdigit() else "", text_of(uid), sealed
            if len(page) < _COLLECTIONS:
                return

    def _place(self, space: str, name: str) -> str:
        return "%s.%s" % (self._quoted(space), self._quoted(name))

    def _quoted(self, name: str) -> str:
        return self.QUOTE + name.replace(self.QUOTE, self.QUOTE * 2) + self.QUOTE

    def _query(self, query: str) -> list[list[bytes]]:
        return self._session.ask(self.PRINT % query)

    # --- rows ---

    def _all_rows(self, table: Table, where: str = "TRUE") -> Iterator[list[Row]]:
        """The next page is asked for before this one is worked on. where: a condition on a row C(t)."""
        asked = self._session.post(self._page(table, None, _PAGE, where))
        try:
            while asked:
                page = self._session.collect(asked)
                asked = (
                    self._session.post(self._page(table, int(page[-1][0]), _PAGE, where)) if len(page) == _PAGE else 0
                )
                yield from self._batches(table, page)
        finally:
            if asked:
                self._session.forget(asked)

    def _some_rows(self, table: Table, sample: int) -> Iterator[list[Row]]:
        ends = self._query("SELECT MIN(_id), MAX(_id) FROM %s" % self._place(table.space, table.name))[0]
        if not ends[0].isdigit():
            return
        slices = min(_SLICES, sample)
        last = int(ends[0]) - 1
        for number in range(slices):
            start = int(ends[0]) + (int(ends[1]) - int(ends[0]) + 1) * number // slices - 1
            page = self._session.ask(self._page(table, max(start, last), -(-sample // slices)))
            yield from self._batches(table, page)
            last = int(page[-1][0]) if page else last

    def _page(self, table: Table, after: int | None, limit: int, where: str = "TRUE") -> str:
        """Asks for key, id and tenant of rows, then length and text of each column; no text if it is long."""
        texts = [self._text(self._quoted(name)) for name in _columns(table)]
        tenant = "_tenant" if "_tenant" in self._shapes[table].kinds else "NULL"
        fields = ["_id", "_uid", tenant] + [
            "{0}({1}), CASE WHEN {0}({1}) <= {2} THEN {1} END".format(self.LENGTH, text, _LONG) for text in texts
        ]
        return (
            self.PRINT
            % "SELECT %s FROM %s AS t WHERE %s%s ORDER BY _id LIMIT %d"
            % (
                ", ".join(fields),
                self._place(table.space, table.name),
                where,
                "" if after is None else " AND _id > %d" % after,
                limit,
            )
        )

    def _batches(self, table: Table, page: Sequence[list[bytes]]) -> Iterator[list[Row]]:
        """The rows of a page; one with a long value is alone."""
        short: list[Row] = []
        for fields in page:
            lengths = [int(field) if field.isdigit() else 0 for field in fields[3::2]]
            if max(lengths) <= _LONG:
                short.append(self._row(table, fields))
                continue
            if short:
                yield short
                short = []
            for number, (name, length) in enumerate(zip(_columns(table), lengths)):
                if length > _LONG:
                    text = self._text(self._quoted(name))
                    found = self._query(
                        "SELECT %s(%s), %s FROM %s WHERE _id = %d"
                        % (self.LENGTH, text, text, self._place(table.space, table.name), int(fields[0]))
                    )
                    if not found:
                        break  # a rehearsal reads while others write
                    fields[3 + 2 * number : 5 + 2 * number] = found[0]
            else:
                yield [self._row(table, fields)]
        if short:
            yield short

    def _row(self, table: Table, fields: Sequence[bytes]) -> Row:
        listed = self._shapes[table].listed
        arrays = dict(listed.get("", {}), **listed.get(fields[2].decode(), {}))
        values: dict[str, Value] = {}
        raw: dict[str, bytes | None] = {}
        for name, length, field in zip(_columns(table), fields[3::2], fields[4::2]):
            if name in arrays or table.holds_files and name in FILE_COLUMNS:
                text = _plain(field) if length.isdigit() else None
                if text is not None and len(text) != int(length):
                    raise StoreError(
                        "%s: a value of %d bytes arrived as %d: column %s of %s.%s"
                        % (self.NAME, int(length), len(text), name, table.space, table.name)
                    )
                raw[name] = text
                values[name] = None if text is None else _value(text, arrays.get(name, False))
        return Row(int(fields[0]), text_of(fields[1]), values, raw)


def _columns(table: Table) -> tuple[str, ...]:
    return table.columns + FILE_COLUMNS if table.holds_files else table.columns


def _plain(field: bytes) -> bytes:
    """Without the escapes of a client's output."""
    if b"\\" not in field:
        return field
    if field.count(b"\\") == 2 * field.count(b"\\\\"):  # as in any array of sealed values
        return field.replace(b"\\\\", b"\\")
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match.group(1), match.group(1)), field)


def text_of(field: bytes) -> str:
    """A field of an answer."""
    return _plain(field).decode("utf-8", "surrogateescape")


def _value(text: bytes, is_array: bool) -> Value:
    whole = text.decode("utf-8", "surrogateescape")
    if is_array:
        try:
            found = json.loads(whole)
        except (ValueError, RecursionError):
            return whole
        if isinstance(found, list) and all(each is None or isinstance(each, str) for each in found):
            return found
    return whole
