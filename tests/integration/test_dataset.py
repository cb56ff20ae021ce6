# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data set that rotations are proved on has every shape, comes back whole, and its check sees every kind of damage."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Container
from typing import Any

import pytest
from support.stack import Kind, on
from testbed import DATABASES
from testbed._servers import MongoDB
from testbed._shapes import Table
from testbed.dataset import _OVERHEAD, OTHER_KEY, Dataset, _Php

KEY = "NotARealEncryptionKey1"
KINDS = [Kind("1.9.6", database, services=(database,), room="rotation") for database in DATABASES]


@pytest.fixture(autouse=True)
def _tools(request: pytest.FixtureRequest) -> None:
    if not shutil.which("php"):
        pytest.skip("php is not at hand: tests/faults/tools.sh installs it where that is allowed")
    if (
        "stack" in request.fixturenames
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker Engine answers: make engine")


@pytest.mark.parametrize("database", DATABASES)
def test_shapes(database):
    data = Dataset.make(3, KEY, 1000, database=database, strangers=3)
    assert len(data.plain) == 1000
    sealed = {column.name for table in data.tables for columns in table.sealed.values() for column in columns}
    assert sealed >= {
        "password",
        "mfaRecoveryCodes",
        "secret",
        "data",
        "token",
        "code",
        "providerAccessToken",
        "secrets",
        "credentials",
        "smtp",
        "oAuthProviders",
        "httpPass",
        "personalAccessToken",
        "value",
        "Geheim-Nr",
        "pin.code",
    }
    found = list(data.plain.values())
    assert sum(isinstance(value, dict) and "other" in value for value in found) == 3
    assert "" in found and any(isinstance(value, str) and "🔐" in value for value in found)
    assert any("nested" in str(value) for value in found)
    rows = [(row, table) for table in data.tables for row in data.rows(table)]
    assert any(row.values[column.name] is None for row, _table in rows for column in row.sealed)
    assert any(
        None in row.values[column.name]
        for row, _table in rows
        for column in row.sealed
        if column.array and row.values[column.name]
    )
    shared = [
        table
        for table in data.tables
        if table.shared and len({tuple(columns) for columns in table.sealed.values()}) > 1
    ]
    assert len(shared) == 2
    assert {table.name != table.collection for table in data.tables} == {False, database == "postgresql"}
    roomy = [value for value in found if isinstance(value, dict) and "room" in value]
    with _Php(KEY, 1) as php:
        assert all(value["room"] - len(text) in (0, 1) and "\\/" in text for value, text in zip(roomy, php.seal(roomy)))
        assert len(php.seal([""])[0]) == _OVERHEAD


def test_the_same_again():
    first, second, other = (Dataset.make(seed, KEY) for seed in (1, 1, 2))
    assert (first.plain, first.files) == (second.plain, second.files)
    assert first.plain.keys() != other.plain.keys()
    with _Php(KEY, 1) as one, _Php(KEY, 1) as two:
        assert one.seal(["NotARealWord1"] * 3) == two.seal(["NotARealWord1"] * 3)


def _damage_sql(quote: str, place: tuple[str, ...], one: str, user: Table, last: int) -> str:
    def name(*words: str) -> str:
        return ".".join(f"{quote}{word}{quote}" for word in words)

    return f"""
        UPDATE {name(*place, "_console_keys")} SET secret = (SELECT {name("httpPass")} FROM {name(*place, "_console_webhooks")} WHERE _id = 1);
        UPDATE {name(*place, "_console_devKeys")} SET secret = REPLACE(secret, 'data', 'date');
        UPDATE {name(*place, f"{one}_challenges")} SET token = NULL WHERE _id = 2;
        DELETE FROM {name(*place, f"{one}_variables")} WHERE _id = 2;
        UPDATE {name(*place, user.collection)} SET notes = REPLACE(notes, ' ', '  ') WHERE notes IS NOT NULL;
        UPDATE {name(*place, user.collection)} SET {name("Geheim-Nr")} = '[]' WHERE _id = {last};
        CREATE TABLE {name(*place, "_1_unknown")} (_id INT);"""


def _damage_mongodb(server: MongoDB, data: Dataset, one: str, user: Table, last: str) -> None:
    tables = {table.collection: table for table in data.tables}

    def write(collection: str, column: str, value: Callable[[dict[str, Any]], Any], ids: Container[str]) -> None:
        server.command(
            "appwrite",
            update=collection,
            updates=[
                {"q": {"_id": row["_id"]}, "u": {"$set": {column: value(row)}}}
                for row in server.read(tables[collection])
                if row["_id"] in ids and row.get(column)
            ],
        )

    every = [server.row_id(number) for number in range(1, 10)]
    password = next(server.read(tables["_console_webhooks"]))["httpPass"]
    write("_console_keys", "secret", lambda row: password, every)
    write("_console_devKeys", "secret", lambda row: row["secret"].replace("data", "date"), every)
    write(f"{one}_challenges", "token", lambda row: None, every[1:2])
    server.command(
        "appwrite", delete=f"{one}_variables", deletes=[{"q": {"_id": every[1]}, "limit": {"$numberInt": "1"}}]
    )
    write(user.collection, "notes", lambda row: row["notes"].replace(" ", "  "), every)
    write(user.collection, "Geheim-Nr", lambda row: [], [last])
    server.command("appwrite", create="_1_unknown")


@on(*KINDS)
def test_check(stack, tmp_path):
    database, project, root = stack.kind.database, stack.project, tmp_path / "uploads"
    data = Dataset.make(5, KEY, database=database, strangers=1)
    data.load(project)
    data.write_files(root)
    sealed_files = sum(file.sealed for files in data.files.values() for file in files)

    def assert_whole() -> None:
        result = data.check(project, root, KEY)
        assert (result.found, result.values, result.files) == ([], len(data.plain), sealed_files)

    assert_whole()
    assert {what for what, _where in data.check(project, root, OTHER_KEY).found} == {"closed"}

    one = next(table.namespace for table in data.tables if table.uid == "variables")
    bucket = next(table.collection for table in data.tables if table.holds_files)
    user = next(table for table in data.tables if table.uid.startswith("database_"))
    last = max(data.rows(user), key=lambda row: row.id)

    if database == "mongodb":
        _damage_mongodb(MongoDB.of(project), data, one, user, last.id)
    else:
        project.query(
            mariadb=_damage_sql("`", (), one, user, last.id),
            postgresql=_damage_sql('"', ("appwrite",), one, user, last.id),
        )
    by_name = {
        file.values["name"]: root / file.path.removeprefix("/storage/uploads/")
        for file in reversed(sum(data.files.values(), []))
    }
    by_name["small.txt"].unlink()
    by_name["page.html"].write_bytes(b"A" * by_name["page.html"].stat().st_size)
    by_name["open.txt"].write_bytes(b"")
    by_name["video.mp4"].with_suffix(".new").touch()

    found = [(what, where.split()) for what, where in data.check(project, root, KEY).found]
    places = {(what, words[0], words[-1]) for what, words in found}
    assert {
        ("another", "_console_keys", "secret"),
        ("closed", "_console_devKeys", "secret"),
        ("lost", f"{one}_challenges", "token"),
        ("changed", user.collection, "notes"),
        ("added", "_1_unknown", "_1_unknown"),
        ("lost", bucket, "file"),
        ("closed", bucket, "file"),
        ("changed", bucket, "file"),
    } <= places
    assert ("lost", [user.collection, last.uid, "Geheim-Nr"]) in found
    assert ["lost", f"{one}_variables"] in [[what, words[0]] for what, words in found if len(words) == 2]
    assert [words for what, words in found if what == "added" and words[0].endswith(".new")]

    if database == "mongodb":
        MongoDB.of(project).command("appwrite", drop="_1_unknown")
    else:
        project.query(mariadb="DROP TABLE _1_unknown;", postgresql='DROP TABLE "appwrite"."_1_unknown";')
    data.reset(project, root)
    assert_whole()
