# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases and files as Appwrite leaves them, sealed by PHP, and the proof that nothing of them was lost.

    data = Dataset.make(seed=1, key="NotARealEncryptionKey1", database="mariadb")
    data.load(project)
    data.write_files(root)              # what the containers have as /storage/uploads
    ...
    assert not data.check(project, root, key="NotARealEncryptionKey2").found
    data.reset(project, root)

The same arguments give the same bytes. Rows are made anew whenever they are asked for, so that a million of them need no memory.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import shutil
import subprocess
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ._base import clean_environ
from ._servers import SERVERS, Server
from ._shapes import COMMON, CONSOLE, FILES, METADATA, PERMISSIONS, PROJECT, TRAFFIC, USER, VANISHED, Column, Row, Table
from .project import Project

STORAGE = "/storage/uploads"
OTHER_KEY = "NotARealForeignKey1"
_PHP = Path(__file__).with_name("seal.php")
_BATCH = 2000
_OVERHEAD = len('{"data":"","method":"aes-128-gcm","iv":"","tag":"","version":"1"}') + 24 + 32
_SEALED_FILE = {"path", "openSSLTag", "openSSLIV"}
"""What a rotation changes in the row of a file."""


class Cell(NamedTuple):
    """Where a sealed value is."""

    table: str
    """as Appwrite names it"""
    tenant: Any
    uid: str
    column: str
    index: int | None = None


class File(NamedTuple):
    """A row of a bucket, and what is on the disk for it."""

    path: str
    plain: bytes
    sealed: bool
    gzip: bool
    values: dict[str, Any]


# --- PHP ---


class _Php:
    """One PHP process that seals and opens."""

    def __init__(self, key: str, seed: object) -> None:
        self._process = subprocess.Popen(
            ["php", "-n", str(_PHP)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environ()
        )
        self._ask({"key": key, "other": OTHER_KEY, "seed": str(seed)})

    def seal(self, values: Sequence[Any]) -> list[Any]:
        return self._ask({"seal": values})

    def open(self, pairs: Sequence[Any]) -> list[str]:
        return self._ask({"open": pairs})

    def seal_files(self, files: Sequence[Any]) -> list[Any]:
        return self._ask({"seal_files": files})

    def open_files(self, files: Sequence[Any]) -> list[str]:
        return self._ask({"open_files": files})

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> _Php:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


# --- the result of a check ---


@dataclass
class Differences:
    """What check() found. The values and files that were opened by PHP and are as they were are only counted."""

    values: int = 0
    files: int = 0
    found: list[tuple[str, str]] = field(default_factory=list)
    """what and where: V(closed) no longer opens with the key, V(another) opens as something else, V(lost) is gone,
    V(changed) was never sealed and has other bytes, V(added) was not there"""

    def add(self, what: str, *where: object) -> None:
        self.found.append((what, " ".join(str(word) for word in where if word is not None)))


# --- the generator ---


class Dataset:
    def __init__(
        self, seed: int, key: str, values: int, database: str, strangers: int, file_bytes: int, files: int
    ) -> None:
        self.seed, self.key, self.database, self.strangers = seed, key, database, strangers
        self._server_type = SERVERS[database]
        self.tables = self._tables()
        self.directory = Path(tempfile.mkdtemp(prefix="appwrite-dataset-"))
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        with _Php(key, f"{seed}/decoys") as php:
            looks = [
                "NotARealDecoyWord1",
                {"other": "NotARealDecoyWord2"},
                {"json": {"password": "NotARealDecoyWord3"}},
            ]
            self._decoys = [
                *php.seal(looks),
                '{"data":"bm90","method":"aes-128-gcm","iv":"not","tag":"real","version":"1"}',
            ]
            self.files = self._make_files(php, file_bytes, files)
        self._more: Counter[int] = Counter()
        self._spread(values - sum(1 for _cell in self.cells()))

    @classmethod
    def make(
        cls,
        seed: int,
        key: str,
        values: int = 0,
        *,
        database: str = "mariadb",
        strangers: int = 0,
        file_bytes: int = 1_000_000,
        files: int = 0,
    ) -> Dataset:
        """A data set with so many sealed values, or about 200 where fewer are asked for.

        strangers: how many of the values are under OTHER_KEY, and so open with no key that anybody has.
        file_bytes: the size of the largest file. files: how many more there are of that size.
        """
        return cls(seed, key, values, database, strangers, file_bytes, files)

    # - tables -

    def _tables(self) -> list[Table]:
        sequence, name = self._server_type.sequence, self._server_type.table_name
        numbers = itertools.count(1)
        found: list[Table] = []

        def add(
            namespace: str, uid: str, columns: tuple[Column, ...], tenants: Iterable[Any] = (None,), **parts: Any
        ) -> Table:
            sealed = {tenant: tuple(column for column in columns if column.sealed) for tenant in tenants}
            parts = {"sealed": sealed, "number": next(numbers), **parts}
            found.append(Table(namespace, uid, name(namespace, uid), columns, **parts))
            return found[-1]

        def add_all(
            namespace: str, collections: Mapping[str, tuple[Column, ...]], tenants: Iterable[Any] = (None,)
        ) -> None:
            add(namespace, "_metadata", METADATA, tenants)
            for uid, columns in collections.items():
                add(namespace, uid, columns, tenants)

        def user_table(number: int) -> str:
            return f"database_{sequence(number)}_collection_{sequence(number + 1)}"

        one, two, many = f"_{sequence(1)}", f"_{sequence(2)}", self._server_type.shared_namespace
        add_all("_console", CONSOLE)
        for namespace in (one, two):
            add_all(namespace, PROJECT)
        add(one, user_table(2), USER)
        add(one, f"bucket_{sequence(4)}", FILES)
        add(two, user_table(2), USER, listed=(VANISHED,))
        add(two, f"bucket_{sequence(1)}", FILES)
        add(one, "abandoned", USER, sealed={None: ()})
        for uid in (user_table(2), f"bucket_{sequence(4)}"):
            if self.database != "mongodb":
                add(one, f"{uid}_perms", PERMISSIONS, sealed={None: ()})
        tenants = sequence(3), sequence(4)
        shared = {uid: PROJECT[uid] for uid in ("users", "sessions", "teams", "memberships", "variables")}
        add_all(many, shared, tenants)
        half = tuple(column for column in USER if column.name in ("order", "Geheim-Nr"))
        whole = tuple(column for column in USER if column.sealed)
        add(many, user_table(5), USER, sealed={tenants[0]: whole, tenants[1]: half})
        add(many, user_table(7), USER, sealed={tenants[0]: (), tenants[1]: whole})
        add(many, f"bucket_{sequence(9)}", FILES, tenants)
        for namespace in ("_console", one, many) if self.database != "mongodb" else ():
            add(namespace, "sessions_perms", PERMISSIONS, sealed={None: ()})
        return found

    def _metadata(self, table: Table) -> Iterator[Row]:
        """A row a collection, and in shared tables a row for each tenant of a collection that users made."""
        number = itertools.count(1)

        def row(uid: str, tenant: Any, columns: Iterable[Column]) -> Row:
            attributes = json.dumps([column.attribute() for column in columns], separators=(",", ":"))
            values = {"name": uid, "attributes": attributes, "indexes": "[]", "documentSecurity": True}
            return self._row(next(number), uid, tenant, (), values)

        for other in self.tables:
            if other.namespace != table.namespace or other.uid in ("_metadata", "abandoned") or other.bare:
                continue
            made_by_users = other.columns in (USER, FILES)
            for tenant in other.sealed if other.shared and made_by_users else (None,):
                listed = other.sealed.get(tenant)
                columns = (
                    column if not column.sealed or listed is None or column in listed else column._replace(filters=())
                    for column in other.columns
                )
                yield row(other.uid, tenant, (*columns, *other.listed))
        if not table.shared:
            yield row("database_99_collection_99", None, USER)

    # - rows -

    def rows(self, table: Table) -> Iterator[Row]:
        """All rows, in the order of their ids, with what is to be sealed not yet sealed."""
        if table.uid == "_metadata":
            return self._metadata(table)
        if table.holds_files:
            return self._file_rows(table)
        return self._data(table)

    def _row(self, number: int, uid: str, tenant: Any, sealed: tuple[Column, ...], values: dict[str, Any]) -> Row:
        return Row(self._server_type.row_id(number), uid, tenant, sealed, values)

    def _data(self, table: Table) -> Iterator[Row]:
        tenants = list(table.sealed)
        corners = 5 if table.columns is USER else 2
        strangers = self.strangers if table.collection == self.tables[1].collection else 0
        prefix = hashlib.sha256(f"{self.seed}:{table.collection}".encode()).hexdigest()[:12]
        for number in range(1, corners * len(tenants) + strangers + self._more[table.number] + 1):
            which = (number - 1) // len(tenants)
            tenant = tenants[(number - 1) % len(tenants)]
            sealed = table.sealed[tenant]
            values: dict[str, Any] = {}
            for position, column in enumerate(table.columns):
                turn = table.number * 7 + number * 3 + position
                if column not in sealed:
                    values[column.name] = self._open_value(column, turn)
                elif which < corners:
                    values[column.name] = _corner(column, turn)
                elif number > corners * len(tenants) + strangers:
                    values[column.name] = _usual(column, number)
                else:
                    values[column.name] = {"other": f"NotARealLostWord{number}"} if column.name == "password" else None
            yield self._row(number, f"{prefix}{which:08x}", tenant, sealed, values)

    def _open_value(self, column: Column, turn: int) -> Any:
        """Of a column that is not sealed, though what is in it may look so."""
        if column.type == "datetime":
            return (None, f"2026-01-{turn % 28 + 1:02} 03:04:05.{turn % 90 + 10}{turn % 9 + 1}")[turn % 5 > 0]
        if column.type == "integer":
            return (None, turn)[turn % 5 > 0]
        if column.type == "boolean":
            return turn % 2 > 0
        decoy = self._decoys[turn % len(self._decoys)]
        if column.array:
            return (None, [], ["label/𝒳", 'two "words"'], [decoy] if column.size >= 256 else ["one"])[turn % 4]
        if "json" in column.filters:
            return ("{}", json.dumps({"theme": "dark/light", "kept": decoy}))[turn % 2]
        if column.size < 256:
            return ("", None, "a\tb\nc\\d'e\"f𝒳", "NULL", "\\N")[turn % 5]
        return ("", None, decoy, "Ada 𝒳 Łovelace \\N", decoy)[turn % 5]

    def _spread(self, more: int) -> None:
        """Further rows, over the tables that are large in a real installation."""
        large = [
            table
            for table in self.tables
            if table.columns in (COMMON["sessions"], COMMON["users"], USER) and table.sealed.get(None)
        ]
        for left, table in zip(range(len(large), 0, -1), large):
            each = sum(2 if column.array else 1 for column in table.sealed[None])
            self._more[table.number] = max(0, more) // left // each
            more -= self._more[table.number] * each
        self._more[next(table.number for table in self.tables if table.uid == "tokens")] = max(0, more)

    def cells(self) -> Iterator[tuple[Cell, Any]]:
        """Every sealed value of the database with what was sealed: a text, or seal.php's spelling of anything else."""
        for table in self.tables:
            for row in self.rows(table):
                for column in row.sealed:
                    value = row.values[column.name]
                    cell = Cell(table.collection, row.tenant, row.uid, column.name)
                    if column.array:
                        yield from (
                            (cell._replace(index=index), inner)
                            for index, inner in enumerate(value or ())
                            if inner is not None
                        )
                    elif value is not None:
                        yield cell, value

    @functools.cached_property
    def plain(self) -> dict[Cell, Any]:
        return dict(self.cells())

    # - files -

    def _make_files(self, php: _Php, file_bytes: int, more: int) -> dict[int, list[File]]:
        """Table number to the files of that bucket."""
        text = "Straße/𝒳 and so on, and on. ".encode()
        noise = b"".join(
            hashlib.sha256(f"{self.seed}:{number}".encode()).digest() for number in range(file_bytes // 32)
        )
        kinds: list[
            tuple[str, bytes, bool, bool, int]
        ] = [  # name, content, sealed, compressed, chunks that are missing
            ("small.txt", text, True, False, 0),
            ("page.html", text * 200, True, True, 0),
            ("large.bin", noise, True, False, 0),
            ("empty.bin", b"", True, False, 0),
            ("README", text, True, False, 0),
            ("Bild 𝒳.p'n g", noise[:5000], True, True, 0),
            ("open.txt", text, False, False, 0),
            ("video.mp4", noise[:7000], False, False, 0),
            ("half.mp4", noise[:300], False, False, 1),
            *[("more.bin", noise, True, False, 0)] * more,
        ]
        found: dict[int, list[File]] = {}
        for table in self.tables:
            if not table.holds_files:
                continue
            chosen = kinds if not found else [kinds[number] for number in (0, 1, 6, 8)]
            files = [
                self._file(table, tenant, number, *kind)
                for number, kind in enumerate(chosen)
                for tenant in table.sealed
            ]
            plain = self.directory / "plain"
            for file in files:
                place = self._place(file.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                if file.sealed:
                    plain.write_bytes(file.plain)
                    file.values.update(
                        php.seal_files([{"path": str(place), "plain": str(plain), "gzip": file.gzip}])[0]
                    )
                    plain.unlink()
                elif file.values["chunksUploaded"] == file.values["chunksTotal"]:
                    place.write_bytes(file.plain)
                else:
                    (place.parent / f"tmp_{place.name}").mkdir()
                    (place.parent / f"tmp_{place.name}" / f"{place.name}.part.1").write_bytes(file.plain)
            found[table.number] = files
        return found

    def _file(
        self, table: Table, tenant: Any, number: int, name: str, plain: bytes, sealed: bool, gzip: bool, missing: int
    ) -> File:
        uid = hashlib.sha256(f"{self.seed}:{table.collection}:{tenant}:{number}".encode()).hexdigest()[:20]
        deep = "".join(f"/{letter}" for letter in uid[:4]) if number % 2 else ""  # as older releases laid files out
        path = f"{STORAGE}/app-{tenant or table.namespace.strip('_')}/{table.uid}{deep}/{uid}.{name.rpartition('.')[2] if '.' in name else ''}"
        values = {
            "bucketId": table.uid,
            "name": name,
            "path": path,
            "signature": hashlib.md5(plain).hexdigest(),
            "mimeType": "text/plain",
            "sizeOriginal": len(plain),
            "algorithm": "gzip" if gzip else "none",
            "openSSLVersion": "1" if sealed else None,
            "openSSLCipher": "aes-128-gcm" if sealed else ("" if number % 2 else None),
            "openSSLTag": None,
            "openSSLIV": None,
            "chunksTotal": 2 + missing,
            "chunksUploaded": 2,
        }
        return File(path, plain, sealed, gzip, values)

    def _file_rows(self, table: Table) -> Iterator[Row]:
        tenants = itertools.cycle(table.sealed)
        for number, (file, tenant) in enumerate(zip(self.files[table.number], tenants), 1):
            yield self._row(number, Path(file.path).stem, tenant, (), file.values)

    def _place(self, path: str, root: Path | None = None) -> Path:
        return Path(f"{root or self.directory / 'uploads'}{path.removeprefix(STORAGE)}")

    def write_files(self, root: Path | str) -> None:
        """Makes a directory what the containers have as /storage/uploads."""
        shutil.copytree(self.directory / "uploads", root, dirs_exist_ok=True)

    # - in the database -

    def load(self, project: Project) -> None:
        """Puts everything into the project's database, and a copy beside it where there is not too much."""
        server = self._server(project)
        server.create(self.tables)
        with _Php(self.key, self.seed) as php:
            for table in self.tables:
                for rows in _batches(self.rows(table)):
                    server.insert(table, self._stored(php, server, table, rows))
        server.end()
        if sum(self._more.values()) < 10_000:
            server.keep(self.tables)

    def reset(self, project: Project, root: Path | str) -> None:
        """Database and files as load() and write_files() left them, quickly."""
        self._server(project).restore(self.tables)
        root, pristine = Path(root), self.directory / "uploads"
        wanted = {path.relative_to(pristine): path for path in pristine.rglob("*") if path.is_file()}
        for path in root.rglob("*"):
            if not _is_traffic(path.relative_to(root)) and (
                path.is_symlink() or path.is_file() and path.relative_to(root) not in wanted
            ):
                path.unlink()
        for name, path in wanted.items():
            if not (root / name).is_file() or (root / name).read_bytes() != path.read_bytes():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, root / name)

    def _server(self, project: Project) -> Server:
        return self._server_type.of(project)

    def _stored(self, php: _Php, server: Server, table: Table, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Rows as the database has them."""
        asked = [
            {"list": row.values[column.name]}
            if column.array and row.values[column.name] is not None
            else row.values[column.name]
            for row in rows
            for column in row.sealed
        ]
        answers = iter(php.seal(asked) if asked else ())
        return [self._wire(server, table, row, {column.name: next(answers) for column in row.sealed}) for row in rows]

    def _wire(self, server: Server, table: Table, row: Row, sealed: Mapping[str, Any]) -> dict[str, Any]:
        values = {column.name: sealed.get(column.name, row.values[column.name]) for column in table.columns}
        return server.document(table, row, values)

    # - the check -

    def check(self, project: Project, root: Path | str, key: str) -> Differences:
        """Reads everything back but what traffic.py wrote, opens with PHP what was sealed, and compares the rest byte for byte."""
        result, server = Differences(), self._server(project)
        referenced: set[Path] = set()
        with _Php(key, "") as php:
            opener = _Opener(php, result)
            found = server.names()
            for name in found - {table.name for table in self.tables}:
                if not name.startswith(f"{TRAFFIC}_"):
                    result.add("added", name)
            for table in self.tables:
                if table.name not in found:
                    result.add("lost", table.collection)
                    continue
                for row, stored in _paired(self.rows(table), server.read(table), server.id_of):
                    if stored is None:
                        result.add("lost", table.collection, row.uid)
                    elif row is None:
                        result.add("added", table.collection, server.id_of(stored))
                    else:
                        self._compare(server, opener, table, row, stored)
                        if table.holds_files:
                            referenced |= self._compare_file(opener, table, row, stored, Path(root))
            opener.flush()
        for path in Path(root).rglob("*"):
            if path.is_file() and path not in referenced and not _is_traffic(path.relative_to(root)):
                result.add("added", path.relative_to(root))
        return result

    def _compare(self, server: Server, opener: _Opener, table: Table, row: Row, stored: Mapping[str, Any]) -> None:
        sealed = {server.column(column.name) for column in row.sealed}
        for column in row.sealed:
            cell = Cell(table.collection, row.tenant, row.uid, column.name)
            opener.value(cell, server.value(stored, column), row.values[column.name])
        skipped = sealed | (_SEALED_FILE if table.holds_files and row.values["openSSLCipher"] else set())
        wanted = self._wire(server, table, row, {})
        for name in sorted((wanted.keys() | stored.keys()) - skipped):
            if wanted.get(name, _ABSENT) != stored.get(name, _ABSENT):
                opener.result.add("changed", table.collection, row.uid, name)

    def _compare_file(
        self, opener: _Opener, table: Table, row: Row, stored: Mapping[str, Any], root: Path
    ) -> set[Path]:
        """Returns the files that belong to the row."""
        file = next(file for file in self.files[table.number] if file.values is row.values)
        place, pristine = self._place(str(stored["path"]), root), self._place(file.path)
        if file.sealed:
            if not place.is_file():
                opener.result.add("lost", table.collection, row.uid, "file")
            elif place.parent != self._place(file.path, root).parent or place.suffix != Path(file.path).suffix:
                opener.result.add("changed", table.collection, row.uid, "path")
            else:
                opener.file(
                    f"{table.collection} {row.uid}",
                    {
                        "path": str(place),
                        "iv": stored["openSSLIV"],
                        "tag": stored["openSSLTag"],
                        "gzip": file.gzip,
                        "hash": hashlib.sha256(file.plain).hexdigest(),
                    },
                )
            return {place}
        belonging = [pristine] if pristine.is_file() else list((pristine.parent / f"tmp_{pristine.name}").iterdir())
        for path in belonging:
            now = root / path.relative_to(self.directory / "uploads")
            if not now.is_file():
                opener.result.add("lost", table.collection, row.uid, "file")
            elif now.read_bytes() != path.read_bytes():
                opener.result.add("changed", table.collection, row.uid, "file")
        return {root / path.relative_to(self.directory / "uploads") for path in belonging}


class _Opener:
    """Collects what PHP is to open, and sees what it says."""

    def __init__(self, php: _Php, result: Differences) -> None:
        self._php, self.result = php, result
        self._cells: list[Cell] = []
        self._pairs: list[Any] = []

    def value(self, cell: Cell, stored: Any, wanted: Any) -> None:
        if isinstance(wanted, list) and isinstance(stored, list):
            if len(stored) != len(wanted):
                self.result.add("lost", *cell)
            for index, (inner, text) in enumerate(zip(stored, wanted)):
                self.value(cell._replace(index=index), inner, text)
        elif wanted is None or stored is None:
            if stored != wanted:
                self.result.add("lost" if stored is None else "changed", *cell)
        else:
            self._cells.append(cell)
            self._pairs.append([stored if isinstance(stored, str) else "", wanted])
            if len(self._pairs) >= _BATCH:
                self.flush()

    def flush(self) -> None:
        for cell, verdict in zip(self._cells, self._php.open(self._pairs) if self._pairs else ()):
            if verdict == "same":
                self.result.values += 1
            else:
                self.result.add(verdict, *cell)
        self._cells, self._pairs = [], []

    def file(self, where: str, asked: Mapping[str, Any]) -> None:
        verdict = self._php.open_files([asked])[0]
        if verdict == "same":
            self.result.files += 1
        else:
            self.result.add(verdict, where, "file")


# --- values ---


_ABSENT = object()
_TEXTS = (
    "NotARealWord1",
    None,
    "",
    "𝒳 🔐 日本語 Łódź\u2028.",
    "room",
    '{"data":"bm90","method":"aes-128-gcm","iv":"AA","version":"1"}',
    "tab\tline\r\nquote'\"back\\slash\\N %s ${x} \x00\x7f",
    "0",
    "blank  ",
    "null",
    "long",
)
_OBJECTS = (
    {"host": "smtp.example.com/𝒳", "username": 'a"b\\c', "password": "NotARealMailWord1", "port": 587, "secure": None},
    None,
    [],
    {"inner": {"list": [1, 2.5, True, {"path": "/a/b//c"}]}},
    {"empty": "", "long": "NotARealLongWord1/" * 40},
)
_LEGACY = (
    {
        "githubAppid": "not/real",
        "githubSecret": {"nested": "NotARealLegacyWord1/𝒳"},
        "githubEnabled": True,
        "mockSecret": {"nested": ""},
        "googleSecret": "NotARealWord2",
    },
    {"appleAppid": "", "appleSecret": {"nested": '{"p8":"NotARealLegacyWord2/","keyID":"A"}'}},
)
_USUAL = tuple(f"NotARealUsualWord{number}/" + "abcdefgh" * (number % 8) for number in range(50))


def _corner(column: Column, turn: int) -> Any:
    """A value as they are seldom, to be sealed."""
    if column.array:
        return (
            None,
            [],
            [_text(column, turn), None, _text(column, turn + 3)],
            [None],
            ["", _text(column, 3), _text(column, turn)],
        )[turn % 5]
    if column.name == "oAuthProviders":
        return {"json": _LEGACY[turn % len(_LEGACY)]}
    if "json" in column.filters:
        value = _OBJECTS[turn % len(_OBJECTS)]
        return None if value is None else {"json": value}
    return _text(column, turn)


def _text(column: Column, turn: int) -> Any:
    text = _TEXTS[turn % len(_TEXTS)]
    if text == "long" and column.size > 16_000:
        return "NotARealLongWord1/𝒳" * 500
    if text in ("room", "long"):
        # With as many slashes as such a value has on average it ends one character before the limit.
        size = min(column.size, 512)
        fours = next(number for number in range(size, 0, -1) if _OVERHEAD + number * 4 + number // 16 < size)
        return {"room": size, "text": ("NotARealRoomyWord1" * 40)[: fours * 3]}
    if text is not None and column.size < 512 and len(text.encode()) > 60:
        return "NotARealWord3"
    return text


def _usual(column: Column, number: int) -> Any:
    text = _USUAL[number % len(_USUAL)]
    return [text, "NotARealCode1"] if column.array else {"json": {"word": text}} if "json" in column.filters else text


def _is_traffic(path: Path) -> bool:
    """Of a file of the project that traffic.py writes to."""
    return path.parts[0] == f"app{TRAFFIC.replace('_', '-')}"


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while batch := list(itertools.islice(waiting, _BATCH)):
        yield batch


def _paired(wanted: Iterator[Row], stored: Iterator[Any], id_of: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
    """Rows of the same id together; both come in the order of their ids."""
    row, found = next(wanted, None), next(stored, None)
    while row is not None or found is not None:
        if found is None or row is not None and row.id < id_of(found):
            yield row, None
            row = next(wanted, None)
        elif row is None or id_of(found) < row.id:
            yield None, found
            found = next(stored, None)
        else:
            yield row, found
            row, found = next(wanted, None), next(stored, None)
