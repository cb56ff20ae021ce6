# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How values are written in MongoDB: each document by itself, where it still has the old ones.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import StoreError, Table
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.mongodb import REQUEST, MongoDB, whole
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import (
    Change,
    WritableStore,
)


class WritableMongoDB(MongoDB, WritableStore):
    """What is changed is so at once, and on disk when C(change()) returns."""

    REQUESTS = r"""
    change: async ({place, changes}) => {
      const same = (old) => Array.isArray(old) ? old : {$eq: old, $not: {$type: "array"}};
      const writes = changes.map(([id, old, fresh]) => ({updateOne: {
        filter: {_id: read(id), ...Object.fromEntries(Object.entries(old).map(([field, value]) => [field, same(value)]))}, update: {$set: fresh}}}));
      return (await at(place).bulkWrite(writes, {ordered: false, writeConcern: {w: "majority", j: true}})).matchedCount;
    },
    clear: async ({place}) => (await at(place).deleteMany({}, {writeConcern: {w: "majority", j: true}})).deletedCount,
"""

    def begin(self) -> None:
        """Raises StoreError if this is not the primary."""
        if self.is_replica():
            raise StoreError("%s: %s" % (self.NAME, self.REASONS["NotWritablePrimary"]))

    def change(self, table: Table, changes: Sequence[Change]) -> int:
        changed, size = 0, 0
        batch: list[Any] = []
        for change in changes:
            old = {name: change.row.raw[name] for name in change.values}
            batch.append([change.row.key, old, change.values])
            size += sum(len(str(value)) for value in (*old.values(), *change.values.values()))
            if size > REQUEST:
                changed += self._change(table, batch)
                batch, size = [], 0
        return changed + self._change(table, batch)

    def clear(self, table: Table) -> None:
        """Its permissions are in the document."""
        self._ask("clear", table)

    def commit(self) -> None:
        """Nothing is left to do: every change was journaled before it was told."""

    def _change(self, table: Table, batch: Sequence[Any]) -> int:
        return whole(self._ask("change", table, changes=batch)) if batch else 0
