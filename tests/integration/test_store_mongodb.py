# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed values in MongoDB: found by the metadata, read whole, and written only where they still are as they were read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.stack import Kind, Stack, assert_no_leak, on
from testbed._base import run
from testbed._servers import MongoDB
from testbed.dataset import Dataset, _Php

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import console as _console
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import Examination
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.reseal import Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import mongodb
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.files import Files
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    FILE_COLUMNS,
    Row,
    StoreError,
    Table,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import Change
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.mongodb import WritableMongoDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.successors import Successors

KEY = "NotARealEncryptionKey1"
WORD = "NotARealReplacementWord1"
KIND = Kind("1.9.6", "mongodb", services=("mongodb",), room="store")
pytestmark = on(KIND)


@pytest.fixture(scope="module")
def data(_running: Stack) -> Dataset:
    made = Dataset.make(7, KEY, database="mongodb", file_bytes=10_000)
    made.load(_running.project)
    return made


@pytest.fixture(scope="module")
def server(_running: Stack) -> MongoDB:
    return MongoDB.of(_running.project)


@pytest.fixture(scope="module")
def container(_running: Stack) -> str:
    return _running.ids()["mongodb"]


@pytest.fixture(scope="module")
def _store(container: str, data: Dataset) -> Iterator[WritableMongoDB]:
    store = WritableMongoDB(WritableMongoDB.client(container))
    yield store
    store.close()


@pytest.fixture
def store(_store: WritableMongoDB, data: Dataset, _running: Stack, tmp_path: Path) -> Iterator[WritableMongoDB]:
    yield _store
    data.reset(_running.project, tmp_path)


def table(store: WritableMongoDB, end: str) -> Table:
    return next(each for each in store.tables() if each.name.endswith(end))


def keep(server: MongoDB, value: object) -> None:
    """What another program writes."""
    server.command(
        "appwrite", update="_console_keys", updates=[{"q": {}, "u": {"$set": {"secret": value}}, "multi": True}]
    )


def parts(sealed: str) -> tuple[bytes, str, str]:
    found = json.loads(sealed)
    return found["data"].encode(), found["iv"], found["tag"]


def rows(store: WritableMongoDB, each: Table, sample: int | None = None) -> list[Row]:
    return [row for batch in store.rows(each, sample) for row in batch]


def test_tables(store, data):
    found = {each.name: each for each in store.tables()}
    wanted = {
        each.name for each in data.tables if each.uid != "abandoned" and (each.holds_files or any(each.sealed.values()))
    }
    assert found.keys() == wanted
    assert {name for name, each in found.items() if each.holds_files} == {
        each.name for each in data.tables if each.holds_files
    }
    user = next(each for each in data.tables if each.uid.startswith("database_"))
    assert found[user.name].columns == ("Geheim-Nr", "order", "pin__dot__code", "ssn")
    assert list(found.values()) == sorted(found.values(), key=lambda each: (each.space, each.name))
    assert all(
        store.count(found[each.name]) == sum(1 for _row in data.rows(each))
        for each in data.tables
        if each.name in found
    )


@pytest.mark.parametrize(("page", "size"), [(500, 1 << 20), (2, 300)])
def test_every_value_is_read(store, data, monkeypatch, page, size):
    monkeypatch.setattr(mongodb, "_PAGE", page)
    monkeypatch.setattr(mongodb, "REQUEST", size)
    with _Php(KEY, "") as php:
        pairs = []
        for wanted in data.tables:
            if not any(each.name == wanted.name for each in store.tables()):
                continue
            read = rows(store, table(store, wanted.name))
            made = list(data.rows(wanted))
            assert [row.key for row in read] == [row.id for row in made]
            for row, known in zip(read, made):
                names = {column.name.replace(".", "__dot__"): column for column in known.sealed}
                assert row.uid == known.uid and row.values.keys() - set(FILE_COLUMNS) - {"vanished"} == names.keys()
                assert not wanted.holds_files or row.values["chunksTotal"] == str(known.values["chunksTotal"])
                for name, column in names.items():
                    stored, value = row.values[name], known.values[column.name]
                    assert (stored is None) == (value is None)
                    if stored is not None:
                        found = list(zip(stored, value, strict=True)) if column.array else [(stored, value)]
                        assert all((inner is None) == (text is None) for inner, text in found)
                        pairs += [pair for pair in found if pair[0] is not None]
        assert len(pairs) == len(data.plain)
        assert set(php.open(pairs)) == {"same"}


def test_sample(store):
    users = table(store, "_console_sessions")
    everything = {row.key for row in rows(store, users)}
    assert {row.key for row in rows(store, users, 1000)} == everything
    assert len(rows(store, users, 1)) == 1


def test_ids_of_other_types(store, server):
    server.command(
        "appwrite",
        insert="_console_keys",
        documents=[{"_id": {"$oid": f"{number:024x}"}, "_uid": f"old{number}", "secret": "x"} for number in range(3)],
    )
    keys = table(store, "_console_keys")
    found = [row for row in rows(store, keys) if row.uid.startswith("old")]
    assert len(found) == 3
    assert store.change(keys, [Change(row, {"secret": WORD}) for row in found]) == 3
    assert [row.values["secret"] for row in rows(store, keys) if row.uid.startswith("old")] == [WORD] * 3
    server.command(
        "appwrite", insert="_console_keys", documents=[{"_id": {"$numberInt": "7"}, "_uid": "odd", "secret": "x"}]
    )
    with pytest.raises(StoreError, match="_console_keys has documents whose ids are neither texts nor object ids"):
        rows(store, keys)


def test_change(store, data, _running, tmp_path):
    store.begin()
    users = table(store, "_console_users")
    first, *others = rows(store, users)
    codes = [WORD, None, ""]
    changes = [
        Change(first, {"password": WORD, "mfaRecoveryCodes": codes}),
        *(Change(row, {"password": WORD}) for row in others),
    ]
    assert store.change(users, changes) == len(changes)
    store.commit()
    read = rows(store, users)
    assert (read[0].values["password"], read[0].values["mfaRecoveryCodes"]) == (WORD, codes)
    assert [row.values["password"] for row in read] == [WORD] * len(read)
    found = data.check(_running.project, tmp_path, KEY).found
    assert {where.split()[0] for what, where in found if what != "lost" or "file" not in where} == {"_console_users"}
    assert {
        where.split()[3 if "None" in where else 2] for _what, where in found if where.startswith("_console_users")
    } <= {"password", "mfaRecoveryCodes"}


def test_changed_by_others(store, server):
    keys = table(store, "_console_keys")
    for now, raw in (
        ("another", "old"),
        ("Old", "old"),
        ("old ", "old"),
        (None, "old"),
        (["old"], "old"),
        ({"$numberInt": "7"}, "7"),
        ("a", ["a"]),
        (["a", "b"], ["a"]),
        (["b", "a"], ["a", "b"]),
        (["a", None], ["a", ""]),
        ([], [None]),
        ([["a"]], ["a"]),
    ):
        keep(server, now)
        read = rows(store, keys)
        assert store.change(keys, [Change(replace(row, raw={"secret": raw}), {"secret": WORD}) for row in read]) == 0, (
            now,
            raw,
        )
        assert rows(store, keys) == read
    keep(server, "old")
    first, second = rows(store, keys)
    assert (
        store.change(
            keys,
            [Change(replace(first, raw={"secret": "another"}), {"secret": WORD}), Change(second, {"secret": WORD})],
        )
        == 1
    )
    assert [row.values["secret"] for row in rows(store, keys)] == ["old", WORD]


def test_neither_text_nor_list(store, server):
    for odd in ({"data": "bm90", "version": "1"}, True, [["x"]]):
        keep(server, odd)
        assert {row.values["secret"] for row in rows(store, table(store, "_console_keys"))} == {
            "(neither a text nor a list of texts)"
        }


def test_documents_of_somebody_hostile(store, server, data, _running, tmp_path):
    """Names and values of every type: nothing ends in a traceback, what a key opens is sealed anew, and what is none of ours stays as it is."""
    old, new = Cipher(KEY), Cipher(WORD)
    (tmp_path / "uploads").mkdir()
    sealed = old.seal(b"a word")
    # FerretDB takes neither decimals, nor what is no number, nor NUL, nor odd names of fields.
    odd: list[Any] = [
        {"$numberDouble": "1.7976931348623157e+308"},
        {"$numberLong": "9223372036854775807"},
        {"$date": {"$numberLong": "0"}},
        True,
        None,
        [],
        [[sealed]],
        {"a": {"b": [sealed]}},
        [sealed, {"$numberInt": "1"}],
        {"$regularExpression": {"pattern": "a", "options": ""}},
        {"$binary": {"base64": "AAAA", "subType": "00"}},
        "x" * 100_000,
        "\u2028\t\n'\"`\\${a}\U0001d4b3",
        "/storage/uploads/../../etc/passwd",
    ]
    attributes = [
        {"$id": "toString", "filters": ["encrypt"]},
        {"$id": "hasOwnProperty", "filters": ["encrypt"]},
        {"$id": "constructor", "filters": ["encrypt"]},
        {"$id": "c", "filters": "nothing"},
        {"$id": "n", "filters": None},
    ]
    names = [each["$id"] for each in attributes[:3]]
    space = "appwrite"
    metadata = [
        {"_id": f"odd{number}", "_uid": uid, "attributes": text}
        for number, (uid, text) in enumerate(
            [
                ("a.b'\"$c\U0001d4b3", json.dumps(attributes)),
                ("bucket_99", json.dumps(attributes)),
                ({"a": {"$numberInt": "1"}}, "[]"),
                ({"$numberInt": "5"}, json.dumps(attributes)),
            ]
        )
    ]
    server.command(space, insert="_9__metadata", documents=metadata)
    file: dict[str, Any] = {"chunksTotal": {"$numberInt": "1"}, "chunksUploaded": {"$numberDouble": "1.0"}}
    named = (*names, "_uid", "_tenant", "path", "openSSLVersion", "openSSLIV", "openSSLTag")
    rows_of = [
        {"_id": f"odd{number}", "openSSLCipher": value or "aes-128-gcm", **file, **{name: value for name in named}}
        for number, value in enumerate(odd)
    ]
    rows_of.append({"_id": "good", "_uid": "good", **{name: sealed for name in names}})
    places = ["_9_abc", "_9_bucket_99", "_9_5"]
    for place in places:
        server.command(space, insert=place, documents=rows_of)
    store._listed.clear()
    try:
        report = Examination(store, Files(str(tmp_path / "uploads")), old, new).rehearse()
        found = [each for each in report.undecryptable if each.collection in places]
        assert any(each.reason == "its path does not lead to where files are" for each in found)
        bucket = next(each for each in store.tables() if each.name == "_9_bucket_99")
        kept = {row.key: row.raw for row in rows(store, bucket)}
        journal = os.open(tmp_path, os.O_RDONLY)
        waivers = [each[:3] for each in report.undecryptable]
        Rotation(store, Successors(str(tmp_path / "uploads"), journal, "journal"), old, new, waivers).rotate()
        for row in rows(store, bucket):
            for name, value in row.raw.items():
                if row.key == "good" and name in names:
                    assert new.decrypt(*parts(value)) == b"a word"
                else:
                    assert value == kept[row.key][name], (row.key, name)
    finally:
        for place in (*places, "_9__metadata"):
            server.command(space, drop=place)
        store._listed.clear()


@pytest.mark.parametrize("name", ["$where", "", "_id", "a\0b"])
def test_field_that_none_can_be(store, server, monkeypatch, name):
    server.command(
        "appwrite",
        insert="_9__metadata",
        documents=[{"_id": "odd", "_uid": "odd", "attributes": json.dumps([{"$id": name, "filters": ["encrypt"]}])}],
    )
    monkeypatch.setattr(store, "_listed", {})
    try:
        with pytest.raises(
            StoreError,
            match="the collection odd in appwrite._9__metadata lists a sealed field whose name no field of Appwrite's can have",
        ):
            store.tables()
    finally:
        server.command("appwrite", drop="_9__metadata")


@pytest.mark.parametrize("identity", [{"$timestamp": {"t": 1, "i": 1}}, {"a": 1}, True])
def test_id_of_any_other_type(store, server, identity):
    """A document that was passed over would stay under the old key."""
    server.command("appwrite", insert="_console_keys", documents=[{"_id": identity, "_uid": "odd", "secret": "x"}])
    with pytest.raises(StoreError, match="_console_keys has documents whose ids are neither texts nor object ids"):
        rows(store, table(store, "_console_keys"))


def test_sessions(store, server):
    """Our own is none. What FerretDB does not say is said to be unknown."""
    found = store.sessions()
    assert found.blind or all(each.address for each in found.seen)


def test_listed(store, server):
    """Whatever a stranger wrote there, of any type."""
    hostile = "NULL\t\n\x1b[2J\\N'\"\u202e\U0001d4b3" + "\U0001d4b3" * 300
    newest = {
        "_createdAt": {"$date": {"$numberLong": "1770091506789"}},
        "userId": "ada",
        "ip": None,
        "clientName": {"$numberInt": "7"},
        "userAgent": hostile,
        "provider": ["server"],
        "countryCode": {"a": "b"},
    }
    first = rows(store, table(store, "_console_sessions"))[0]
    server.command("appwrite", update="_console_sessions", updates=[{"q": {"_id": first.key}, "u": {"$set": newest}}])
    found = _console.listed(store)
    assert {kind: each["count"] for kind, each in found.items()} == {
        kind: store.count(table(store, f"_console_{name}"))
        for kind, name in (
            ("accounts", "users"),
            ("sessions", "sessions"),
            ("api_keys", "keys"),
            ("dev_keys", "devKeys"),
        )
    }
    session = found["sessions"]["newest"][0]
    assert [session[name] for name in ("user", "created", "ip", "client", "user_agent", "provider")] == [
        "ada",
        "2026-02-03T04:05:06Z",
        None,
        "7",
        hostile[:200],
        "server",
    ]
    assert all(each["created"] == "2026-01-02T03:04:05Z" for each in found["api_keys"]["newest"])


@pytest.mark.parametrize("which", ["console", "all", "none"])
def test_sessions_that_end(store, data, _running, tmp_path, which):
    """After everything is sealed, and with the tokens that become sessions; nothing else goes."""
    data.write_files(tmp_path / "uploads")
    files = Successors(str(tmp_path / "uploads"), os.open(tmp_path, os.O_RDONLY), "journal")
    rotation = Rotation(store, files, Cipher(KEY), Cipher(WORD))
    rotation.rotate(ending=which)
    rotation.rotate(ending=which)
    ended = [
        each
        for each in data.tables
        if each.uid in ("sessions", "tokens")
        and (which == "all" or which == "console" and each.namespace == "_console")
    ]
    lost = sorted(("lost", f"{each.collection} {row.uid}") for each in ended for row in data.rows(each))
    assert bool(lost) == (which != "none")
    assert sorted(data.check(_running.project, tmp_path / "uploads", WORD).found) == lost


@pytest.mark.parametrize(
    "text",
    [
        "[encrypt",
        '["encrypt"]',
        "[" * 5000 + "encrypt",
        {"encrypt": {"$numberInt": "1"}},
        ["encrypt"],
        '{"encrypt": 1}',
    ],
)
def test_metadata_unreadable(store, server, monkeypatch, text):
    server.command(
        "appwrite", update="_console__metadata", updates=[{"q": {"_uid": "users"}, "u": {"$set": {"attributes": text}}}]
    )
    monkeypatch.setattr(store, "_listed", {})
    with pytest.raises(
        StoreError, match="attributes of the collection users in appwrite._console__metadata are not JSON"
    ):
        store.tables()


def _client(container: str, **environment: str) -> list[str]:
    command = WritableMongoDB.client(container)
    return [
        *command[:3],
        *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
        *command[3:],
    ]


# What follows opens sessions of its own, of which there is one at a time.


def test_wrong_password(container, _store):
    _store.close()
    with pytest.raises(StoreError, match="it refuses the user and password") as failed:
        WritableMongoDB(_client(container, MONGO_INITDB_ROOT_PASSWORD="NotARealPassword1")).tables()
    assert_no_leak(str(failed.value), ["NotARealPassword1"])


def test_answer_cut_short(container, data, monkeypatch):
    """As MongoDB does at 16 MB, and FerretDB does not."""
    assert "batchSize: limit" in mongodb._SCRIPT
    monkeypatch.setattr(mongodb, "_SCRIPT", mongodb._SCRIPT.replace("batchSize: limit", "batchSize: 1"))
    other = WritableMongoDB(WritableMongoDB.client(container))
    for wanted in data.tables:
        if wanted.uid in ("users", "sessions"):
            assert [row.key for row in rows(other, table(other, wanted.name))] == [row.id for row in data.rows(wanted)]
    other.close()


def test_no_value_in_an_error(container, data):
    other = WritableMongoDB(WritableMongoDB.client(container))
    keys = table(other, "_console_keys")
    row = rows(other, keys)[0]
    with pytest.raises(StoreError, match="MongoDB: error ") as failed:
        other.change(keys, [Change(replace(row, raw={"_id": row.key}), {"_id": WORD})])
    assert_no_leak(repr(failed.value), [WORD])
    with pytest.raises(StoreError):
        other.tables()
        other.count(keys)


def test_another_session(container, data, monkeypatch):
    """One at a time, so that what a killed one still has in hand is over before the next begins."""
    first = WritableMongoDB(WritableMongoDB.client(container))
    first.tables()
    monkeypatch.setattr(mongodb, "_SCRIPT", mongodb._SCRIPT.replace(f"{mongodb.LOCK_TIMEOUT} * 10", "1"))
    with pytest.raises(StoreError, match="another session of this collection has been working on it"):
        WritableMongoDB(WritableMongoDB.client(container))
    monkeypatch.undo()
    second = subprocess.Popen(WritableMongoDB.client(container), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert second.stdin and second.stdout
    second.stdin.write(b'"ready"\n')
    second.stdin.flush()
    os.kill(
        first._session._process.pid, signal.SIGKILL
    )  # the engine's program here; the client itself is in the container
    assert second.stdout.readline() == b"ready\n"
    second.communicate()


def test_server_gone(container, data, _running):
    other = WritableMongoDB(WritableMongoDB.client(container))
    keys = table(other, "_console_keys")
    run("docker", "kill", container)
    with pytest.raises(StoreError, match="the connection was lost"):
        other.count(keys)
    with pytest.raises(StoreError, match="MongoDB cannot be asked: .*is not running"):
        WritableMongoDB(WritableMongoDB.client(container))
    _running.project.up()
    _running.project.wait()
