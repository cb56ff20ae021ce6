# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database all of whose connections are in use is waited for, and where that is in vain the words name the remedy."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import connections as _connections
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.connections import patiently
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import Session

# MariaDB 10.11, PostgreSQL 15, and mongosh before a server that closes what it accepts, recorded 2026-11-29; error 1203 as MariaDB documents it.
_SOCKET = 'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: FATAL:  '
SAID = [
    ("MariaDB", "ERROR 1040 (08004): Too many connections"),
    ("MariaDB", 'mariadb-dump: Got error: 1040: "Too many connections" when trying to connect'),
    ("MariaDB", "ERROR 1226 (42000): User 'u2' has exceeded the 'max_user_connections' resource (current value: 1)"),
    ("MariaDB", "ERROR 1203 (42000): User user already has more than 'max_user_connections' active connections"),
    ("PostgreSQL", f"psql: error: {_SOCKET}sorry, too many clients already"),
    ("PostgreSQL", f"pg_dump: error: {_SOCKET}sorry, too many clients already"),
    (
        "PostgreSQL",
        f"psql: error: {_SOCKET}remaining connection slots are reserved for non-replication superuser connections",
    ),
    (
        "PostgreSQL",
        f"psql: error: {_SOCKET}remaining connection slots are reserved for roles with the SUPERUSER attribute",
    ),
    ("PostgreSQL", f'psql: error: {_SOCKET}too many connections for role "user"'),
    ("MongoDB", "MongoServerSelectionError: connection <monitor> to 127.0.0.1:27017 closed"),
    ("MongoDB", "MongoServerSelectionError: read ECONNRESET"),
    ("MongoDB", "ERROR TooManyConnections"),
    ("MongoDB", "MongoDB: TooManyConnections"),
]
LIMITS = {
    "MariaDB": "raise max_connections",
    "PostgreSQL": "raise max_connections",
    "MongoDB": "raise net.maxIncomingConnections",
}
REFUSED = "MariaDB cannot be asked: ERROR 1045 (28000): Access denied for user 'user'@'localhost'"


class Clock:
    """One that only moves where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(_connections, "time", found)
    return found


def failing(text, times=10**6):
    def connect():
        connect.attempts += 1
        if connect.attempts <= times:
            raise AppwriteError(text)
        return "connected"

    connect.attempts = 0
    return connect


@pytest.mark.parametrize(("name", "said"), SAID)
def test_remedy(clock, name, said):
    with pytest.raises(AppwriteError) as caught:
        patiently(failing(f"docker exec failed: {said}"))
    words = str(caught.value)
    assert (
        words.startswith(f"{name}: all of its connections are in use")
        and LIMITS[name] in words
        and "Stop a worker" in words
    )
    assert "user'" not in words, "what the server says is not repeated"
    assert clock.now == 1000 + _connections.PATIENCE


def test_quickly_at_first(clock):
    told = []
    assert patiently(failing(SAID[0][1], 6), lambda *each: told.append(each)) == "connected"
    assert clock.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    waiting = "a free connection of MariaDB"
    assert told[0] == ("connecting", 0, 60, waiting) and told[-1] == ("connecting", 3, 60, waiting)


def test_another_failure_is_not_waited_for(clock):
    connect = failing(REFUSED)
    with pytest.raises(AppwriteError, match="Access denied"):
        patiently(connect)
    assert (connect.attempts, clock.slept) == (1, [])


def test_a_client_that_is_refused(clock, tmp_path):
    """As a session of a store tells it; the third attempt gets through."""
    (tmp_path / "left").write_text("xx")
    program = f"cd {tmp_path}; if grep -q x left; then sed -i 's/x//' left; echo 'ERROR 1040 (08004): Too many connections' >&2; exit 1; fi; exec cat"

    def connect():
        session = Session(["sh", "-c", program], "MariaDB", "%s", r"(?m)^ERROR (\d+)", {}, None)
        session.ask("")
        return session

    patiently(connect).close()
    assert clock.slept == [0.1, 0.2]
