# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How values are written in PostgreSQL.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import os
from typing import Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import SEALS, Table
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.postgresql import PostgreSQL
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.sql import WritableSqlStore


class WritablePostgreSQL(WritableSqlStore, PostgreSQL):
    """Its changes are part of the statement that makes them."""

    STAGED = "bigint", "text", "text"

    def _update(self, table: Table, names: Sequence[str], kinds: Sequence[str], rows: Sequence[str]) -> str:
        numbered = list(zip(range(len(names)), map(self._quoted, names), kinds))
        update = "UPDATE %s AS t SET %s FROM (VALUES %s) AS s (id, %s) WHERE t._id = s.id AND %s" % (
            self._place(table.space, table.name),
            ", ".join("%s = %s" % (name, _new(number, kind)) for number, name, kind in numbered),
            ",\n".join(rows),
            ", ".join("h%d, v%d" % (number, number) for number, _name, _kind in numbered),
            " AND ".join(self._is_as_read(number, name) for number, name, _kind in numbered),
        )
        return self._counted(update)

    def _is_as_read(self, number: int, name: str) -> str:
        return "%s = s.h%d" % (self._sha256("t." + self._text(name)), number)

    def _sha256(self, text: str) -> str:
        return "encode(sha256(convert_to(%s, 'UTF8')), 'hex')" % text

    def _stage(self, table: Table) -> str:
        return (
            "pg_temp.selfhost_appwrite_%s"
            % hashlib.sha256(self._place(table.space, table.name).encode()).hexdigest()[:16]
        )

    def _take(self, table: Table, keys: str) -> str:
        if table.stages_files:
            columns = ["%s = s.v%d" % (self._quoted(name), number) for number, name in enumerate(SEALS)]
        else:
            columns = [
                "{0} = CASE WHEN {1} THEN {2} ELSE t.{0} END".format(
                    self._quoted(name),
                    self._is_as_read(number, self._quoted(name)),
                    _new(number, self._shapes[table].kinds[name]),
                )
                for number, name in enumerate(table.columns)
            ]
        return self._counted(
            "UPDATE %s AS t SET %s FROM %s AS s WHERE t._id = s.id AND %s%s"
            % (
                self._place(table.space, table.name),
                ", ".join(columns),
                self._stage(table),
                self._digest() + " = s.was AND " if table.stages_files else "",
                keys,
            )
        )

    def _counted(self, update: str) -> str:
        """The statement that prints how many rows an update changed."""
        return self.PRINT % ("WITH changed AS (%s RETURNING 1) SELECT COUNT(*) FROM changed" % update)

    def _settle(self) -> None:
        """Appwrite's own compose file switches fsync off, and then only the system itself can be asked."""
        if self._query("SELECT current_setting('fsync')") != [[b"on"]]:
            os.sync()


def _new(number: int, kind: str) -> str:
    return "s.v%d%s" % (number, "::jsonb" if kind == "jsonb" else "")
