# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How values are written in MariaDB.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.mariadb import MariaDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import SEALS, Table
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.sql import WritableSqlStore

_STAGE = "selfhost_appwrite_stage"


class WritableMariaDB(WritableSqlStore, MariaDB):
    """Its changes go to a temporary table first, from which one statement takes them over."""

    STAGED = "BIGINT UNSIGNED", "VARBINARY(64)", "LONGTEXT CHARACTER SET utf8mb4"
    STAGE_OPTIONS = " ENGINE = Aria TRANSACTIONAL = 0"  # InnoDB's temporary tablespace gives no room back before the server is restarted

    def begin(self) -> None:
        """A temporary table commits nothing, neither when it is made nor when it is emptied."""
        tables = self.tables()
        if tables:
            key, digest, text = self.STAGED
            columns = ", ".join(
                "h%d %s, v%d %s" % (number, digest, number, text)
                for number in range(max([len(table.columns) for table in tables] + [3]))
            )
            self._session.ask(
                "CREATE OR REPLACE TEMPORARY TABLE %s (id %s NOT NULL, %s);"
                % (self._place(tables[0].space, _STAGE), key, columns)
            )
        super().begin()

    def _stage(self, table: Table) -> str:
        return self._place(table.space, "%s_%s" % (_STAGE, hashlib.sha256(table.name.encode()).hexdigest()[:16]))

    def _take(self, table: Table, keys: str) -> str:
        """What is updated comes first: MariaDB puts the changes of any other table of a join aside, and makes them when it is through."""
        form = "t.{0} = s.v{1}" if table.stages_files else "t.{0} = IF(SHA2(t.{0}, 256) = s.h{1}, s.v{1}, t.{0})"
        return "UPDATE %s AS t STRAIGHT_JOIN %s AS s ON s.id = t._id SET %s WHERE %s%s;\nSELECT ROW_COUNT();" % (
            self._place(table.space, table.name),
            self._stage(table),
            ", ".join(
                form.format(self._quoted(name), number)
                for number, name in enumerate(SEALS if table.stages_files else table.columns)
            ),
            self._digest() + " = s.was AND " if table.stages_files else "",
            keys,
        )

    def _sha256(self, text: str) -> str:
        return "SHA2(%s, 256)" % text

    def _update(self, table: Table, names: Sequence[str], kinds: Sequence[str], rows: Sequence[str]) -> str:
        stage = self._place(self.tables()[0].space, _STAGE)
        numbered = list(enumerate(map(self._quoted, names)))
        fill = "DELETE FROM %s;\nINSERT INTO %s (id, %s) VALUES %s;" % (
            stage,
            stage,
            ", ".join("h%d, v%d" % (number, number) for number, _name in numbered),
            ",\n".join(rows),
        )
        take = "UPDATE %s AS s STRAIGHT_JOIN %s AS t ON t._id = s.id SET %s WHERE %s;" % (
            stage,
            self._place(table.space, table.name),
            ", ".join("t.%s = s.v%d" % (name, number) for number, name in numbered),
            " AND ".join("SHA2(t.%s, 256) = s.h%d" % (name, number) for number, name in numbered),
        )
        return "%s\n%s\nSELECT ROW_COUNT();" % (fill, take)

    def _settle(self) -> None:
        if self._query("SELECT @@innodb_flush_log_at_trx_commit") != [[b"1"]]:
            time.sleep(2)  # it writes once a second then
            os.sync()
