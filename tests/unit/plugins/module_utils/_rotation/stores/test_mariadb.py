# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What MariaDB's store makes of several servers behind one name, by a conversation in place of the client's; a real one is in tests/integration."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import sql as _sql
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.mariadb import MariaDB

ONE, OTHER = [[b"one/3306/1"]], [[b"other/3306/2"]]


class Conversation:
    """With servers, of which one answers within a transaction, and the others by turns besides."""

    def __init__(self, readers: list[Any], **answers: Any) -> None:
        self.asked: list[str] = []
        self.answers = {"GET_LOCK": [[b"1"]], "read_only": [[b"0"]], "own": [[b""]], "PROCESS": [[b"1"]], **answers}
        self._readers = readers
        self._writes = False

    def ask(self, statements: str) -> Any:
        self.asked.append(statements)
        self._writes = statements.startswith("START") or self._writes and not statements.startswith("ROLLBACK")
        if "@@hostname" in statements:
            self._readers = [*self._readers[1:], self._readers[0]]
            return ONE if self._writes else self._readers[0]
        if "id = CONNECTION_ID()" in statements:
            return self.answers["own"]
        return next((answer for part, answer in self.answers.items() if part in statements), [])

    def close(self) -> None:
        pass


@pytest.fixture
def store(monkeypatch):
    def made(readers: Any = (ONE,), **answers: Any) -> tuple[MariaDB, Conversation]:
        found = Conversation(list(readers), **answers)
        monkeypatch.setattr(_sql, "Session", lambda *_arguments: found)
        return MariaDB(["client"]), found

    return made


@pytest.mark.parametrize(
    ("readers", "read_only", "is_replica"),
    [([ONE], b"0", False), ([ONE], b"1", True), ([OTHER], b"0", True), ([ONE, OTHER], b"0", True)],
    ids=["the server itself", "a replica", "a proxy before another", "a proxy before several"],
)
def test_replica(store, readers, read_only, is_replica):
    """A proxy may have a server answer that does not have yet what was committed: files in use would be taken for left over."""
    found, conversation = store(readers, read_only=[[read_only]])
    assert found.is_replica() == is_replica
    left = [each for each in conversation.asked if each.startswith(("START", "ROLLBACK"))]
    assert left in ([], ["START TRANSACTION READ WRITE;", "ROLLBACK;"])


@pytest.mark.parametrize(
    ("answers", "waits", "blind"),
    [
        ({}, False, ""),
        ({"wsrep_sync_wait": [[b"wsrep_sync_wait", b"0"]], "wsrep_cluster_size": [[b"x", b"0"]]}, True, ""),
        (
            {"wsrep_sync_wait": [[b"wsrep_sync_wait", b"0"]], "wsrep_cluster_size": [[b"x", b"3"]]},
            True,
            r"the database shows only the sessions at one of the 3 servers of its Galera cluster",
        ),
        (
            {"PROCESS": [[b"0"]], "wsrep_cluster_size": [[b"x", b"3"]]},
            False,
            r"the database shows only the sessions of the user .* PROCESS, and only the sessions at one of the 3 servers .*",
        ),
    ],
    ids=["no Galera", "not in use", "three servers", "and few rights"],
)
def test_galera(store, answers, waits, blind):
    """What another of its servers has committed is waited for, and who is connected there is not seen."""
    found, conversation = store(**answers)
    assert ("SET SESSION wsrep_sync_wait = 7;" in conversation.asked) == waits
    assert re.fullmatch(blind, found.sessions().blind)


@pytest.mark.parametrize(
    ("own", "seen"),
    [
        ("10.0.0.7:4711", ["appwrite at 127.0.0.1:2", "admin at 10.0.0.8:3"]),
        ("", ["rdsadmin at localhost:1", "appwrite at 127.0.0.1:2", "admin at 10.0.0.8:3"]),
    ],
    ids=["a server elsewhere", "the project's own"],
)
def test_program_of_a_provider(store, own, seen):
    """It is on the server's machine and chooses no database."""
    sessions = [
        [b"rdsadmin", b"localhost:1", b""],
        [b"appwrite", b"127.0.0.1:2", b"appwrite"],
        [b"admin", b"10.0.0.8:3", b""],
        [b"app", b"10.0.0.8:4", b"shop"],
    ]
    spaces = [[b"appwrite", b"_console__metadata"]]
    found, _conversation = store(**{"own": [[own.encode()]], "'Daemon'": sessions, "__metadata": spaces})
    found.tables = lambda: [type("Table", (), {"space": "appwrite"})]
    assert [f"{each.user} at {each.address}" for each in found.sessions().seen] == seen
