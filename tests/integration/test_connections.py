# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that have no connection left: waited for, and then told of with the remedy."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from support.stack import KEY, Kind, Stack, alone, on, set_env, succeed
from testbed import images
from testbed._base import run
from testbed.dataset import Dataset

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import connections as _connections
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import DATABASES
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import env_file_of, opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.host import dump
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import Journal
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stored import store_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import mariadb, mongodb, postgresql
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Store, StoreError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import Session

KINDS = [alone(database) for database in ("mariadb", "postgresql")]
REHEARSED = Kind(database="postgresql", services=("appwrite", "redis", "postgresql"), room="rehearsal")
WORD = "NotARealEncryptionKey1"
COMMANDS = {"mariadb": ["mysqld", "--max-connections=10"], "postgresql": ["postgres", "-c", "max_connections=8"]}
CLIENTS = {
    "mariadb": (mariadb.MariaDB.client, "%s;", "SELECT '%s'"),
    "postgresql": (postgresql.PostgreSQL.client, "COPY (%s) TO STDOUT;", "SELECT '%s'"),
}
NAMES = {"mariadb": "MariaDB", "postgresql": "PostgreSQL"}
# As a MongoDB whose net.maxIncomingConnections are in use: it accepts and closes.
CLOSES = 'require("net").createServer((socket) => socket.destroy()).listen(27017); new Promise(() => 0)'


class Crowd:
    """A database with few connections, which others may hold."""

    def __init__(self, stack: Stack) -> None:
        self.database = stack.kind.database
        self.name = NAMES[self.database]
        stack.override(self.database, command=COMMANDS[self.database])
        stack.project.up()
        stack.project.wait()
        self._client, statement, query = CLIENTS[self.database]
        self._print = statement % query
        self._container = stack.ids()[self.database]
        self.instance = Instance(str(stack.directory), None, [], None, [], None, True)
        opened(self.instance, env_file_of(self.instance))

    @contextlib.contextmanager
    def full(self, seconds: float | None = None) -> Iterator[None]:
        """All that are left are in use, for so many seconds or to the end. A health check may have had one at first."""
        held, refusals = [], 0
        try:
            while refusals < 3:
                session = Session(self._client(self._container), self.name, self._print, r"(?m)^ERROR (\d+)", {}, None)
                try:
                    session.ask("")
                    held.append(session)
                except StoreError:
                    refusals += 1
                    time.sleep(0.5)
            assert held
            release = threading.Timer(seconds or 0, lambda: [session.close() for session in held])
            if seconds:
                release.start()
            yield
            release.cancel()
        finally:
            for session in held:
                session.close()


@pytest.fixture
def crowd(stack: Stack) -> Crowd:
    return Crowd(stack)


def dumped(crowd: Crowd, store: Store, path) -> str:
    journal = Journal(EnvFile(str(path.with_name(".env"))))
    with journal.locked(create=True):
        dump(crowd.instance, store, journal, path.name, SILENT)
    return gzip.decompress(path.read_bytes()).decode()


@on(KINDS[1], nightly=KINDS[:1])
@pytest.mark.nightly("test_connections.py of _project, test_none_that_is_freed")
def test_one_that_is_freed(crowd, tmp_path):
    """For the store, for the question whether there is data, and for the dump, while the store keeps its own."""
    told = []
    with crowd.full(2):
        store = store_of(crowd.instance, progress=lambda phase, *_numbers: told.append(phase))
    with contextlib.closing(store):
        assert store.size() > 0 and set(told) == {"connecting"}
        with crowd.full(2):
            assert "dump" in dumped(crowd, store, tmp_path / "dump.gz").lower()
    with crowd.full(2):
        evidence = crowd.instance.holds_data()
    assert evidence.state == "no" and "nobody has signed up" in evidence.reason


@on(KINDS[1], nightly=KINDS[:1])
def test_none_that_is_freed(crowd, tmp_path, monkeypatch):
    words = f"{crowd.name}: all of its connections are in use.*raise max_connections"
    with contextlib.closing(store_of(crowd.instance)) as store, crowd.full():
        monkeypatch.setattr(_connections, "PATIENCE", 1)
        with pytest.raises(AppwriteError, match=f"^{words}"):
            store_of(crowd.instance)
        with pytest.raises(AppwriteError, match=f"^the dump of the database failed: {words}.*Nothing was changed"):
            dumped(crowd, store, tmp_path / "dump.gz")
        assert not (tmp_path / "dump.gz").exists()
        evidence = crowd.instance.holds_data()
        assert evidence.state == "unknown" and "all of its connections are in use" in evidence.reason
        assert store.size() > 0, "the connection that is held goes on"


@on(REHEARSED)
@pytest.mark.nightly("test_host.py, test_one_that_is_freed")
def test_rehearsal(stack):
    set_env(stack.directory, **{KEY: WORD})
    crowd = Crowd(stack)
    Dataset.make(seed=11, key=WORD, database="postgresql").load(stack.project)
    with crowd.full(5):
        assert (
            succeed("rekey", {**stack.arguments, "scope": "values"}, check=True, secrets=[WORD])["phase"] == "rehearsed"
        )


@pytest.fixture
def closing_server():
    try:
        image = images.DATABASES["mongodb"]()
    except images.Unavailable as error:
        pytest.skip(str(error))  # "Go is not at hand" or "npm is not at hand": it makes MongoDB's client
    container = run(
        "docker",
        "run",
        "--detach",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "mongosh",
        image,
        "--quiet",
        "--norc",
        "--nodb",
        "--eval",
        CLOSES,
    ).strip()
    asked = [
        "docker",
        "exec",
        container,
        "mongosh",
        "--quiet",
        "--norc",
        "mongodb://127.0.0.1:27017/?serverSelectionTimeoutMS=3000",
    ]
    try:
        answers = (subprocess.run(asked, capture_output=True, text=True, check=False).stderr for _attempt in range(10))
        assert any("ECONNREFUSED" not in answer for answer in answers), "it does not listen"
        yield container
    finally:
        run("docker", "rm", "--force", container)


@pytest.mark.nightly
def test_mongodb_that_closes(closing_server, monkeypatch, tmp_path):
    monkeypatch.setattr(_connections, "PATIENCE", 0)
    database = next(each for each in DATABASES if each.service == "mongodb")
    for connect in (
        lambda: mongodb.MongoDB(mongodb.MongoDB.client(closing_server)),
        lambda: Compose(str(tmp_path)).execute(closing_server, database.question, database.script),
    ):
        with pytest.raises(
            AppwriteError, match="^MongoDB: all of its connections are in use.*raise net.maxIncomingConnections"
        ):
            _connections.patiently(connect)
    said = run("docker", "exec", closing_server, "sh", "-c", f"({mongodb.MongoDB.DUMP[0]}) 2>&1 || true")
    assert said.strip() == "MongoDB: TooManyConnections"
