# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in memory and files on disk, with values that are sealed: what a rotation works on where no database is needed."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher, _parts
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.reseal import Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    Row,
    Sessions,
    StoreError,
    Table,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import (
    Change,
    WritableFiles,
    WritableStore,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.successors import Successors

OLD, NEW, OTHER = Cipher("NotARealOldKey12"), Cipher("NotARealNewKey12"), Cipher("NotARealOtherKey")
WORD = b"NotARealStoredWord1"
USERS = Table("appwrite", "_console_users", "_console_users", ("codes", "password"))
PROJECTS = Table("appwrite", "_console_projects", "_console_projects", ("oAuthProviders",))
SESSIONS = Table("appwrite", "_console_sessions", "_console_sessions", ("secret",))
BUCKET = Table("appwrite", "_1_bucket_4", "_1_bucket_4", (), holds_files=True)


def opened(cipher: Cipher, sealed: str) -> bytes | None:
    parts = _parts(sealed)
    assert parts is not None
    return cipher.decrypt(*parts)


def sealed_file(path: str, tag: str, iv: str) -> dict[str, Any]:
    """Columns of the row of a file that is sealed whole."""
    return {
        "path": path,
        "openSSLVersion": "1",
        "openSSLCipher": "aes-128-gcm",
        "openSSLTag": tag,
        "openSSLIV": iv,
        "chunksTotal": "1",
        "chunksUploaded": "1",
    }


class Memory(WritableStore):
    """C(fail) is told of each call, and may raise."""

    def __init__(self, content: dict[Table, list[dict[str, Any]]], transactional: bool = True) -> None:
        self.transactional = transactional
        self.content = content
        self.draft: dict[Table, list[dict[str, Any]]] | None = None
        self.fail: Callable[[str], object] = lambda call: None
        self.closed = False
        self.ended = False
        """whether its client has, as it does at the first error"""
        self.staged: dict[Table, list[Change]] = {}
        self.listed: list[Table] = []
        """as it is until it is forgotten"""

    @property
    def now(self) -> dict[Table, list[dict[str, Any]]]:
        return self.content if self.draft is None else self.draft

    def tables(self) -> list[Table]:
        self._require()
        self.listed = self.listed or list(self.content)
        return self.listed

    def forget_tables(self) -> None:
        self.listed = []

    def count(self, table: Table) -> int:
        return len(self.content[table])

    def _require(self) -> None:
        if self.ended:
            raise StoreError("its client has ended")

    def size(self) -> int:
        return sum(map(len, self.content.values()))

    def sessions(self) -> Sessions:
        raise NotImplementedError

    def is_replica(self) -> bool:
        return False

    def rows(self, table: Table, sample: int | None = None) -> Iterator[list[Row]]:
        assert not self.closed
        self._require()
        for start in range(0, len(self.now[table]), 2):
            yield [
                Row(number, f"{table.name}{number}", values, dict(values))
                for number, values in enumerate(self.now[table][start : start + 2], start)
            ]

    def begin(self) -> None:
        self.fail("begin")
        if self.transactional:
            self.draft = copy.deepcopy(self.content)

    def change(self, table: Table, changes: Sequence[Change]) -> int:
        self.fail("change")
        changed = 0
        for each in changes:
            row = self.now[table][each.row.key]
            if all(row[name] == each.row.raw[name] for name in each.values):
                self.now[table][each.row.key] = {**row, **each.values}
                changed += 1
        return changed

    def stage(self, table: Table, changes: Sequence[Change]) -> None:
        assert self.draft is None
        if self.transactional:
            self.staged.setdefault(table, []).extend(changes)

    def take(self, table: Table) -> Iterator[tuple[int, int]]:
        self.fail("take")
        for each in self.staged.get(table, []):
            row = self.now[table][each.row.key] if each.row.key < len(self.now[table]) else {}
            same = {name for name, value in row.items() if value == each.row.raw[name]}
            if not table.stages_files or same == each.row.raw.keys():
                row.update({name: value for name, value in each.values.items() if name in same})
            yield 1, int(row == {**each.row.raw, **each.values})

    def take_back(self) -> None:
        self.fail("take back")
        self.draft = None

    def unstage(self, table: Table, paths: Sequence[str]) -> None:
        self.staged[table] = [each for each in self.staged.get(table, []) if each.values["path"] not in paths]

    def _is_taken(self, table: Table, number: int) -> bool:
        row = self.now[table][number]
        return any(
            each.row.key == number and row == {**each.row.raw, **each.values} for each in self.staged.get(table, [])
        )

    def taken(self, table: Table) -> int:
        return sum(self._is_taken(table, number) for number in range(len(self.now[table])))

    def beside(self, table: Table) -> Iterator[list[Row]]:
        for rows in self.rows(table):
            yield [row for row in rows if row.values["openSSLCipher"] and not self._is_taken(table, row.key)]

    def newest(self, table: Table, fields: Sequence[str], limit: int) -> list[dict[str, str]]:
        return []  # nobody is in here

    def clear(self, table: Table) -> None:
        self.fail("clear")
        self.now[table] = []

    def commit(self) -> None:
        self.fail("commit")
        if self.draft is not None:
            self.content, self.draft = self.draft, None
        self.fail("committed")

    def close(self) -> None:
        self.draft, self.closed = None, True


class Place:
    """A store and files, with three of each sealed."""

    def __init__(self, directory: Path, transactional: bool = True) -> None:
        self.root = directory / "uploads"
        self.root.mkdir()
        self.journal = directory / "journal"
        self._directory = os.open(directory, os.O_RDONLY)
        users: list[dict[str, Any]] = [
            {"password": OLD.seal(WORD), "codes": [OLD.seal(WORD), None]},
            {"password": None, "codes": None},
            {"password": OLD.seal(b""), "codes": []},
        ]
        self.store = Memory(
            {USERS: users, BUCKET: [self.file(f"file{number}.txt", WORD * number) for number in range(3)]},
            transactional,
        )

    def close(self) -> None:
        os.close(self._directory)

    def file(self, name: str, plain: bytes, cipher: Cipher = OLD, **values: Any) -> dict[str, Any]:
        text, iv, tag = cipher.encrypt(plain)
        path = self.root / "app-1" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        path.chmod(0o640)
        return {**sealed_file(f"/storage/uploads/app-1/{name}", tag, iv), **values}

    def successors(self) -> WritableFiles:
        return Successors(str(self.root), self._directory, "journal")

    def rotation(self, *waived: tuple[str, str, str], **options: Any) -> Rotation:
        self.store.closed, self.store.ended, self.store.draft, self.store.listed, self.store.staged = (
            False,
            False,
            None,
            [],
            {},
        )
        return Rotation(self.store, self.successors(), OLD, NEW, waived, **options)

    def undo(self) -> str:
        rotation = self.rotation()
        state = rotation.undo()
        assert rotation.sweep() == []
        return state

    def finish(self) -> str:
        """After an interruption: takes back what was only begun, and ends what was done in part. Returns the state that everything is in then."""
        state = self.rotation().state()
        if state == "mixed":
            self.rotation().rotate()
            return "new"
        self.rotation().sweep()
        return state

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def assert_all_under(self, cipher: Cipher) -> None:
        users = self.store.content[USERS]
        assert [
            opened(cipher, users[0]["password"]),
            opened(cipher, users[0]["codes"][0]),
            opened(cipher, users[2]["password"]),
        ] == [WORD, WORD, b""]
        assert (
            users[0]["codes"][1:] == [None]
            and users[1] == {"password": None, "codes": None}
            and users[2]["codes"] == []
        )
        rows = self.store.content[BUCKET]
        for number, row in enumerate(rows):
            assert cipher.decrypt(self.sealed(row), row["openSSLIV"], row["openSSLTag"]) == WORD * number
        assert self.files == sorted(row["path"].partition("storage/uploads/")[2] for row in rows)
        assert not self.journal.exists()

    def sealed(self, row: dict[str, Any]) -> bytes:
        """The file of a row, which is as it was made."""
        path = self.root / row["path"].removeprefix("/storage/uploads/")
        assert path.stat().st_mode & 0o777 == 0o640 and path.suffix == ".txt"
        return path.read_bytes()
