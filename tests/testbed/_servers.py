# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of a project as Appwrite uses them: how tables and rows are spelled, and reading and writing many of them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ._base import Failed, run
from ._shapes import Column, Row, Table
from .project import Project

_PRISTINE = "testbed_pristine"
_CREATED = "2026-01-02 03:04:05.678"


class Server(ABC):
    """One kind of database, and a client of one project's."""

    shared_namespace = "shared"

    def __init__(self, project: Project, client: str, *arguments: str) -> None:
        service = next(name for name, kind in SERVERS.items() if isinstance(self, kind))
        labels = (
            f"label=com.docker.compose.{name}={value}"
            for name, value in (("project", project.name), ("service", service))
        )
        container = run("docker", "ps", "--quiet", *(word for label in labels for word in ("--filter", label))).strip()
        self._command = ["docker", "exec", "--interactive", container, "sh", "-c", client, *arguments]

    @classmethod
    @abstractmethod
    def of(cls, project: Project) -> Server: ...

    @staticmethod
    def sequence(number: int) -> Any:
        """Appwrite's own number of a project, database, bucket, …"""
        return number

    @staticmethod
    def table_name(namespace: str, uid: str) -> str:
        return f"{namespace}_{uid}"

    @staticmethod
    def row_id(number: int) -> Any:
        return number

    @staticmethod
    def column(name: str) -> str:
        """The name as the database has it."""
        return name.replace(".", "")

    @abstractmethod
    def create(self, tables: Sequence[Table]) -> None:
        """Makes the tables, and nothing else is there."""

    @abstractmethod
    def add(self, tables: Sequence[Table]) -> None:
        """Makes the tables anew, and leaves others."""

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows as document() spells them. They are there after end()."""

    @abstractmethod
    def end(self) -> None: ...

    @abstractmethod
    def keep(self, tables: Sequence[Table]) -> None:
        """Makes a copy to restore from, where no other program looks for anything."""

    @abstractmethod
    def restore(self, tables: Sequence[Table]) -> None: ...

    @abstractmethod
    def names(self) -> set[str]:
        """Of all tables."""

    @abstractmethod
    def read(self, table: Table) -> Iterator[dict[str, Any]]:
        """All rows in the order of their ids."""

    @abstractmethod
    def document(self, table: Table, row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
        """The row as read() gives it."""

    @abstractmethod
    def value(self, stored: Mapping[str, Any], column: Column) -> Any:
        """A text, a list of texts, or None."""

    @abstractmethod
    def id_of(self, stored: Mapping[str, Any]) -> Any:
        """What row_id() gave."""


class _Sql(Server):
    """Every value is text here, or None."""

    types: Mapping[str, str]
    booleans: tuple[str, str]
    quote = '"'
    marker: str
    """a statement that prints a line of this word"""

    def __init__(self, project: Project, client: str) -> None:
        super().__init__(project, client)
        self._loading: subprocess.Popen[bytes] | None = None
        self._reading: subprocess.Popen[bytes] | None = None

    @staticmethod
    @abstractmethod
    def array(value: Sequence[Any]) -> str:
        """A list as the database returns it."""

    @abstractmethod
    def _create(self, table: Table) -> Iterator[str]:
        """Statements."""

    @abstractmethod
    def _select(self, table: Table) -> str: ...

    @abstractmethod
    def _cell(self, text: str) -> str | None:
        """Of a line that the statement printed."""

    # - rows -

    def document(self, table: Table, row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
        if table.bare:
            return {"_id": str(row.id), "_type": "read", "_permission": 'user("a/𝒳")', "_document": row.uid}
        tenant = {"_tenant": None if row.tenant is None else str(row.tenant)} if table.shared else {}
        return {
            "_id": str(row.id),
            "_uid": row.uid,
            "_createdAt": _CREATED,
            "_updatedAt": None,
            "_permissions": '["read(\\"any\\")"]',
            **tenant,
            **{self.column(name): self._text(value) for name, value in values.items()},
        }

    def _text(self, value: Any) -> str | None:
        if isinstance(value, bool):
            return self.booleans[value]
        if isinstance(value, list):
            return self.array(value)
        return None if value is None else str(value)

    def value(self, stored: Mapping[str, Any], column: Column) -> Any:
        text = stored[self.column(column.name)]
        if not column.array or text is None:
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text

    def id_of(self, stored: Mapping[str, Any]) -> Any:
        return int(stored["_id"])

    # - tables -

    def _columns(self, table: Table) -> dict[str, str]:
        """Name to type, less those that every document has."""
        return {self.column(column.name): self._type(column) for column in table.columns}

    def _type(self, column: Column) -> str:
        if column.array:
            return self.types["array"]
        if column.type != "string":
            return self.types[column.type]
        return (
            f"VARCHAR({column.size})"
            if column.size <= 16383
            else self.types["text" if column.size <= 65535 else "large"]
        )

    def _names(self, table: Table) -> list[str]:
        own = (
            []
            if table.bare
            else ["_uid", "_createdAt", "_updatedAt", "_permissions", *(["_tenant"] if table.shared else [])]
        )
        return ["_id", *own, *self._columns(table)]

    def _quoted(self, names: Iterable[str]) -> str:
        return ", ".join(f"{self.quote}{name}{self.quote}" for name in names)

    def create(self, tables: Sequence[Table]) -> None:
        self._ask(*(f"DROP TABLE {self._quoted([name])}" for name in sorted(self.names())))
        self.add(tables)

    def add(self, tables: Sequence[Table]) -> None:
        self._ask(
            *(f"DROP TABLE IF EXISTS {self._quoted([table.name])}" for table in tables),
            *(statement for table in tables for statement in self._create(table)),
        )

    def restore(self, tables: Sequence[Table]) -> None:
        self._ask(
            "BEGIN",
            *(
                statement
                for table in tables
                for statement in (
                    f"DELETE FROM {self._quoted([table.name])}",
                    f"INSERT INTO {self._quoted([table.name])} SELECT * FROM {_PRISTINE}.t{table.number}",
                )
            ),
            "COMMIT",
        )

    # - the client -

    def _ask(self, *statements: str) -> str:
        return run(*self._command, input="".join(f"{statement};\n" for statement in statements))

    def _feed(self, statement: str) -> None:
        if self._loading is None:
            self._loading = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        assert self._loading.stdin
        self._loading.stdin.write(statement.encode())

    def end(self) -> None:
        assert self._loading
        _out, said = self._loading.communicate()
        if self._loading.returncode:
            raise Failed(f"loading failed: {said.decode()[-500:]}")
        self._loading = None

    def read(self, table: Table) -> Iterator[dict[str, Any]]:
        if self._reading is None:  # one for all tables, since each takes a tenth of a second to start
            self._reading = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            weakref.finalize(self, self._reading.kill)
        assert self._reading.stdin and self._reading.stdout
        self._reading.stdin.write(f"{self._select(table)};\n{self.marker}\n".encode())
        self._reading.stdin.flush()
        names = self._names(table)
        for line in self._reading.stdout:
            if line == b"end\n":
                return
            yield dict(zip(names, map(self._cell, line.decode().rstrip("\n").split("\t"))))
        raise Failed(f"reading {table.name} failed")


class _MariaDB(_Sql):
    types = {
        "array": "JSON",
        "text": "TEXT",
        "large": "MEDIUMTEXT",
        "integer": "BIGINT",
        "boolean": "TINYINT(1)",
        "datetime": "DATETIME(3)",
    }
    booleans = ("0", "1")
    quote = "`"
    marker = "SELECT 'end';"

    @classmethod
    def of(cls, project: Project) -> _MariaDB:
        return cls(
            project,
            'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec mariadb --user=root --batch --raw --unbuffered --skip-column-names'
            ' --default-character-set=utf8mb4 "$MYSQL_DATABASE"',
        )

    @staticmethod
    def array(value: Sequence[Any]) -> str:
        return json.dumps(value, separators=(",", ":")).replace("/", "\\/")

    def add(self, tables: Sequence[Table]) -> None:
        self._ask("ALTER DATABASE CHARACTER SET utf8mb4")
        super().add(tables)

    def _create(self, table: Table) -> Iterator[str]:
        every = (
            ""
            if table.bare
            else (
                "_uid VARCHAR(255) NOT NULL, _createdAt DATETIME(3), _updatedAt DATETIME(3), _permissions MEDIUMTEXT, "
            )
        )
        if table.shared:
            every += "_tenant INT(11) UNSIGNED, UNIQUE KEY _uid (_uid, _tenant), KEY _tenant_id (_tenant, _id), "
        elif not table.bare:
            every += "UNIQUE KEY _uid (_uid), "
        own = ", ".join(f"`{name}` {kind} DEFAULT NULL" for name, kind in self._columns(table).items())
        key = "INT(11)" if table.number % 2 else "BIGINT"  # as up to Appwrite 1.7.4, and as since then
        yield f"CREATE TABLE `{table.name}` (_id {key} UNSIGNED NOT NULL AUTO_INCREMENT, {every}PRIMARY KEY (_id), {own})"

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        names = self._names(table)
        for start in range(0, len(rows), 500):
            values = ",".join(
                f"({','.join(self._literal(row[name]) for name in names)})" for row in rows[start : start + 500]
            )
            self._feed(f"INSERT INTO `{table.name}` ({self._quoted(names)}) VALUES {values};\n")

    @staticmethod
    def _literal(text: str | None) -> str:
        return "NULL" if text is None else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def keep(self, tables: Sequence[Table]) -> None:
        self._ask(
            f"DROP DATABASE IF EXISTS {_PRISTINE}",
            f"CREATE DATABASE {_PRISTINE} CHARACTER SET utf8mb4",
            *(
                statement
                for table in tables
                for statement in (
                    f"CREATE TABLE {_PRISTINE}.t{table.number} LIKE `{table.name}`",
                    f"INSERT INTO {_PRISTINE}.t{table.number} SELECT * FROM `{table.name}`",
                )
            ),
        )

    def names(self) -> set[str]:
        return set(self._ask("SHOW TABLES").splitlines())

    def _select(self, table: Table) -> str:
        columns = ", ".join(f"HEX(CONCAT(`{name}`))" for name in self._names(table))
        return f"SELECT {columns} FROM `{table.name}` ORDER BY _id"

    def _cell(self, text: str) -> str | None:
        return None if text == "NULL" else bytes.fromhex(text).decode()


class _PostgreSQL(_Sql):
    types = {
        "array": "JSONB",
        "text": "TEXT",
        "large": "TEXT",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "datetime": "TIMESTAMP(3)",
    }
    booleans = ("f", "t")
    marker = "\\echo end"
    shared_namespace = "shared_tables_of_all_tenants_in_one_place"
    _escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
    _letters = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

    @classmethod
    def of(cls, project: Project) -> _PostgreSQL:
        return cls(
            project,
            'PGOPTIONS="-c search_path=$POSTGRES_DB,public -c client_min_messages=error" exec psql --quiet --no-align'
            ' --tuples-only --no-psqlrc -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"',
        )

    @staticmethod
    def table_name(namespace: str, uid: str) -> str:
        """A name that is too long for the server is hashed, and keeps what follows its last underscore."""
        name = f"{namespace}_{uid}"
        return name if len(name) <= 63 else f"{hashlib.md5(name.encode()).hexdigest()}_{name.rpartition('_')[2]}"

    @staticmethod
    def array(value: Sequence[Any]) -> str:
        return json.dumps(value, ensure_ascii=False)

    def add(self, tables: Sequence[Table]) -> None:
        self._ask(
            "CREATE COLLATION IF NOT EXISTS public.utf8_ci_ai (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
        )
        super().add(tables)

    def _create(self, table: Table) -> Iterator[str]:
        tenant = ", _tenant" if table.shared else ""
        every = (
            ""
            if table.bare
            else (
                f'_uid VARCHAR(255) NOT NULL{tenant and tenant + " INTEGER"}, "_createdAt" TIMESTAMP(3), "_updatedAt" TIMESTAMP(3), _permissions TEXT, '
            )
        )
        own = ", ".join(f'"{name}" {kind}' for name, kind in self._columns(table).items())
        yield f'CREATE TABLE "{table.name}" (_id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, {every}{own})'
        if not table.bare:
            yield f'CREATE UNIQUE INDEX ON "{table.name}" (_uid COLLATE public.utf8_ci_ai{tenant})'

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        names = self._names(table)
        lines = "".join("\t".join(self._field(row[name]) for name in names) + "\n" for row in rows)
        self._feed(f'COPY "{table.name}" ({self._quoted(names)}) FROM STDIN;\n{lines}\\.\n')

    def _field(self, text: str | None) -> str:
        return "\\N" if text is None else re.sub(r"[\\\t\n\r]", lambda found: self._escapes[found[0]], text)

    def keep(self, tables: Sequence[Table]) -> None:
        self._ask(
            f"DROP SCHEMA IF EXISTS {_PRISTINE} CASCADE",
            f"CREATE SCHEMA {_PRISTINE}",
            *(f'CREATE TABLE {_PRISTINE}.t{table.number} AS SELECT * FROM "{table.name}"' for table in tables),
        )

    def names(self) -> set[str]:
        return set(self._ask("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").splitlines())

    def _select(self, table: Table) -> str:
        return f'COPY (SELECT {self._quoted(self._names(table))} FROM "{table.name}" ORDER BY _id) TO STDOUT'

    def _cell(self, text: str) -> str | None:
        return None if text == "\\N" else re.sub(r"\\(.)", lambda found: self._letters.get(found[1], found[1]), text)


_ANSWER_ALL = """
const answerAll = async () => {
  const name = encodeURIComponent(process.env.MONGO_INITDB_ROOT_USERNAME), word = encodeURIComponent(process.env.MONGO_INITDB_ROOT_PASSWORD);
  const client = await Mongo(`mongodb://${name}:${word}@127.0.0.1:27017/?directConnection=true&authSource=admin`);
  const find = async (database, collection) => await client.getDB(database).getCollection(collection).find({}).sort({_id: 1});
  const all = async (database, collection) => await (await find(database, collection)).toArray();
  const spelled = (document) => EJSON.stringify(document, {relaxed: false});
  let reading;
  const does = {
    command: async ({database, command}) => await client.getDB(database).runCommand(EJSON.parse(command, {relaxed: false})),
    read: async ({database, collection}) => { reading = await find(database, collection); },
    next: async () => {
      const found = [];
      while (found.length < 1000 && await reading.hasNext()) { found.push(await reading.next()); }
      return found;
    },
    restore: async ({database, from}) => {
      const kept = new Map();
      for (const {collection, row} of await all(from, "rows")) {
        if (!kept.has(collection)) { kept.set(collection, new Map()); }
        kept.get(collection).set(spelled(row._id), row);
      }
      for (const [name, wanted] of kept) {
        const target = client.getDB(database).getCollection(name);
        for (const each of await all(database, name)) {
          const id = spelled(each._id), good = wanted.get(id);
          wanted.delete(id);
          if (good === undefined) { await target.deleteOne({_id: each._id}); }
          else if (spelled(good) !== spelled(each)) { await target.replaceOne({_id: each._id}, good); }
        }
        if (wanted.size) { await target.insertMany([...wanted.values()]); }
      }
    },
  };
  for await (const line of require("readline").createInterface({input: process.stdin})) {
    const asked = JSON.parse(line);
    let answer;
    try { answer = {done: await does[asked.what](asked)}; } catch (error) { answer = {failed: String(error)}; }
    process.stdout.write(spelled(answer) + "\\n");
  }
};
answerAll();
"""


class MongoDB(Server):
    """Values are in extended JSON here. The client takes a second to start, so one is kept for each project."""

    _kept: dict[str, MongoDB] = {}
    _database = "appwrite"

    def __init__(self, project: Project) -> None:
        super().__init__(project, 'exec mongosh --quiet --norc --nodb --eval "$0"', _ANSWER_ALL)
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        weakref.finalize(self, self._process.kill)

    @classmethod
    def of(cls, project: Project) -> MongoDB:
        kept = cls._kept.get(project.name)
        if kept is None or not kept._answers():
            kept = cls._kept[project.name] = cls(project)
        return kept

    def _answers(self) -> bool:
        try:
            return bool(self.command("admin", ping=1)["ok"])
        except (Failed, OSError):
            self._process.communicate()
            return False

    @staticmethod
    def sequence(number: int) -> Any:
        return f"0197c0de-0000-7000-8000-{number:012x}"

    @staticmethod
    def row_id(number: int) -> Any:
        return f"0197c0df-0000-7000-8000-{number:012x}"

    @staticmethod
    def column(name: str) -> str:
        return name.replace(".", "__dot__")

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failed": "mongosh ended"}
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer.get("done")

    def command(self, database: str, **command: Any) -> Any:
        """The answer to a database command, in extended JSON as the command."""
        return self._ask(what="command", database=database, command=json.dumps(command))

    def create(self, tables: Sequence[Table]) -> None:
        for name in sorted(self.names()):  # the first row makes a collection
            self.command(self._database, drop=name)

    def add(self, tables: Sequence[Table]) -> None:
        names = self.names()
        for table in tables:
            if table.name in names:
                self.command(self._database, drop=table.name)

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(rows), 1000):
            self.command(self._database, insert=table.name, documents=rows[start : start + 1000])

    def end(self) -> None:
        pass

    def keep(self, tables: Sequence[Table]) -> None:
        self.command(_PRISTINE, dropDatabase=1)
        for table in tables:
            self.command(
                _PRISTINE, insert="rows", documents=[{"collection": table.name, "row": row} for row in self.read(table)]
            )

    def restore(self, tables: Sequence[Table]) -> None:
        self._ask(what="restore", database=self._database, **{"from": _PRISTINE})

    def names(self) -> set[str]:
        answer = self.command(
            self._database, listCollections=1, nameOnly=True, cursor={"batchSize": {"$numberInt": "10000"}}
        )
        return {each["name"] for each in answer["cursor"]["firstBatch"]}

    def read(self, table: Table) -> Iterator[dict[str, Any]]:
        self._ask(what="read", database=self._database, collection=table.name)
        while found := self._ask(what="next"):
            yield from found

    def document(self, table: Table, row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
        types = {column.name: column.type for column in table.columns}
        # Appwrite leaves a null out when it makes a document, and writes it when it changes one.
        changed = row.id[-1] in "02468ace"
        return {
            "_id": row.id,
            "_uid": row.uid,
            "_createdAt": self._spelled(_CREATED, "datetime"),
            "_permissions": ['read("any")'],
            **({"_tenant": row.tenant} if table.shared else {}),
            **{
                self.column(name): self._spelled(value, types[name])
                for name, value in values.items()
                if changed or value is not None
            },
        }

    @staticmethod
    def _spelled(value: Any, kind: str) -> Any:
        if kind == "integer" and value is not None:
            return {"$numberInt": str(value)}
        if kind == "datetime" and value is not None:
            moment = datetime.fromisoformat(value).replace(tzinfo=timezone.utc)
            return {"$date": {"$numberLong": str(round(moment.timestamp() * 1000))}}
        return value

    def value(self, stored: Mapping[str, Any], column: Column) -> Any:
        return stored.get(self.column(column.name))

    def id_of(self, stored: Mapping[str, Any]) -> Any:
        return str(stored["_id"])


SERVERS: dict[str, type[Server]] = {"mariadb": _MariaDB, "postgresql": _PostgreSQL, "mongodb": MongoDB}
