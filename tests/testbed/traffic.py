# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a project's API that write, read and upload all the time, whatever happens to it, and know what it has acknowledged.

with Traffic(project) as traffic:
    ...
assert not traffic.check()
print(traffic)
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ._base import Failed
from ._servers import SERVERS
from ._shapes import FILES, METADATA, TRAFFIC, TRAFFIC_ROWS, Column, Row, Table
from .project import Project

_CLIENTS = 4
_REACH, _PATIENCE = 0.25, 5
"""Seconds that a connection and a request may take."""
_GUESSES = 16
"""What a document may be at most before it is left alone."""
_PAUSE = 0.2
"""Seconds between two attempts while nobody answers."""
_DOCUMENTS = "/v1/databases/1/collections/1/documents"
_FILES = "/v1/storage/buckets/1/files"
_CACHE = "default-cache-*"


class _Answer(NamedTuple):
    status: int
    content: bytes = b""


_NOT_SENT, _UNANSWERED = _Answer(-1), _Answer(0)


class Traffic:
    """From entering to leaving it, clients send requests. What a project has of it before is forgotten when it is entered.

    project: a running one. Its API answers 501 to all but reading its version on MongoDB, so nothing is acknowledged there.
    rate: requests a second. A usage job for each is queued, of which a worker does ten a second.
    """

    def __init__(self, project: Project, rate: float = 5) -> None:
        self.requests = 0
        """that were answered"""
        self.errors = 0
        """those that were not, or with a server's error, since the API was away"""
        self.away = 0.0
        """seconds of the longest time without an answer"""
        self._project, self._rate = project, rate
        self._clients = [_Client(self, number) for number in range(_CLIENTS)]
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._answered = 0.0
        self._address: str | None = None

    def __str__(self) -> str:
        known = sum(len(client.documents) + len(client.files) for client in self._clients)
        return f"{self.requests} requests answered, {self.errors} errors, API away for at most {self.away:.1f} s, {known} documents and files known"

    def __enter__(self) -> Traffic:
        self._make_tables()
        self._answered = time.monotonic()
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        for client in self._clients:
            client.join()
        self.away = max(self.away, time.monotonic() - self._answered)

    def check(self) -> list[str]:
        """What was acknowledged and is missing, empty or different, as the API gives it now. Raises Failed where it is away.

        Everything is read twice: as it is, and with an empty cache.
        """
        wrong = [each for client in self._clients for each in client.wrong]
        for _time in range(2):
            for client in self._clients:
                wrong += client.read_all()
            if cached := self._project.redis("--scan", "--pattern", _CACHE).split():
                self._project.redis("unlink", *cached)
        return wrong

    def request(self, method: str, target: str, body: bytes | None = None, mode: str = "default") -> _Answer:
        """The API's answer, or _NOT_SENT or _UNANSWERED."""
        lost = _NOT_SENT
        try:
            connection = http.client.HTTPConnection(self._address or self._find(), timeout=_REACH)
            with closing(connection):
                connection.connect()
                connection.sock.settimeout(_PATIENCE)
                lost = _UNANSWERED
                connection.request(
                    method, target, body, {"X-Appwrite-Project": TRAFFIC.strip("_"), "X-Appwrite-Mode": mode}
                )
                with connection.getresponse() as response:
                    return _Answer(response.status, response.read())
        except (OSError, http.client.HTTPException, Failed):
            self._address = None
            return lost

    def _find(self) -> str:
        with self._lock:
            if self._address is None:
                self._address = self._project.address()
            return self._address

    def counted(self, answer: _Answer) -> bool:
        """Whether the API has answered, if only that it can't do that at all."""
        good = 0 < answer.status < 500 or answer.status == 501
        with self._lock:
            if good:
                now = time.monotonic()
                self.requests, self.away, self._answered = self.requests + 1, max(self.away, now - self._answered), now
            else:
                self.errors += 1
        return good

    def pace(self, begun: float) -> None:
        """Waits for a client's share of the rate, since it has begun to ask."""
        self._ending.wait(max(0.0, begun + _CLIENTS / self._rate - time.monotonic()))

    def pause(self) -> None:
        self._ending.wait(_PAUSE)

    @property
    def ending(self) -> bool:
        return self._ending.is_set()

    def _make_tables(self) -> None:
        database = self._project.database
        if database == "mongodb":
            return
        server = SERVERS[database].of(self._project)
        kinds: dict[str, tuple[Column, ...]] = {
            "_metadata": METADATA,
            "database_1_collection_1": TRAFFIC_ROWS,
            "bucket_1": FILES,
        }
        tables = [
            Table(TRAFFIC, uid, server.table_name(TRAFFIC, uid), columns, {None: ()}, 1000 + number)
            for number, (uid, columns) in enumerate(kinds.items())
        ]
        server.add(tables)
        rows = []
        for number, table in enumerate(tables[1:], 1):
            attributes = json.dumps([column.attribute() for column in table.columns])
            row = Row(server.row_id(number), table.uid, None, (), {})
            rows.append(
                server.document(
                    tables[0],
                    row,
                    {"name": table.uid, "attributes": attributes, "indexes": "[]", "documentSecurity": True},
                )
            )
        server.insert(tables[0], rows)
        server.end()


class _Client(threading.Thread):
    """Its documents and files are nobody else's, so that it knows what must be there."""

    def __init__(self, traffic: Traffic, number: int) -> None:
        super().__init__(name=f"traffic-{number}", daemon=True)
        self._traffic = traffic
        self._random = random.Random(number)
        self.documents: dict[str, list[dict[str, Any]]] = {}
        """an acknowledged document's id to what it may be: the last acknowledged, and what was sent since without an answer"""
        self.files: dict[str, str] = {}
        """an acknowledged file's id to the hash of its content"""
        self.wrong: list[str] = []

    def run(self) -> None:
        steps = [self._create, self._read, self._update, self._upload, self._read, self._update, self._download]
        while True:
            for step in steps:
                begun = time.monotonic()
                if self._traffic.ending:
                    return
                if step():
                    self._traffic.pace(begun)
                else:
                    self._traffic.pause()

    def read_all(self) -> list[str]:
        """Without a job for each."""
        found = [self._judge_document(uid, self._certain(f"{_DOCUMENTS}/{uid}")) for uid in self.documents]
        found += [self._judge_file(uid, self._certain(f"{_FILES}/{uid}/download")) for uid in self.files]
        return list(filter(None, found))

    # - each gives whether the API answered -

    def _create(self) -> bool:
        uid, values = secrets.token_hex(10), self._values()
        answer = self._traffic.request("POST", _DOCUMENTS, json.dumps({"documentId": uid, "data": values}).encode())
        if answer.status == 201:
            self.documents[uid] = [values]
        return self._traffic.counted(answer)

    def _update(self) -> bool:
        sure = [uid for uid, guesses in self.documents.items() if len(guesses) < _GUESSES]
        if not sure:
            return self._version()
        uid = self._random.choice(sure)
        changed = self._random.choice(list(TRAFFIC_ROWS)).name
        change = {changed: self._values()[changed]}
        wanted = [{**values, **change} for values in self.documents[uid]]
        answer = self._traffic.request("PATCH", f"{_DOCUMENTS}/{uid}", json.dumps({"data": change}).encode())
        if answer.status == 200:
            self.documents[uid] = wanted
        elif answer is _UNANSWERED or answer.status >= 500:
            self.documents[uid] += wanted
        elif answer is not _NOT_SENT:
            self.wrong.append(f"document {uid}: {answer.status} at its update")
        return self._traffic.counted(answer)

    def _read(self) -> bool:
        return self._get(self.documents, f"{_DOCUMENTS}/%s", self._judge_document)

    def _upload(self) -> bool:
        uid, content = secrets.token_hex(10), self._random.randbytes(self._random.randrange(1, 20_000))
        options = {"fileId": uid, "name": "a file.bin", "algorithm": self._random.choice(("none", "gzip"))}
        answer = self._traffic.request("POST", f"{_FILES}?{urlencode(options)}", content)
        if answer.status == 201:
            self.files[uid] = hashlib.sha256(content).hexdigest()
        return self._traffic.counted(answer)

    def _download(self) -> bool:
        return self._get(self.files, f"{_FILES}/%s/download", self._judge_file)

    def _get(self, known: Mapping[str, object], target: str, judge: Callable[[str, _Answer], str]) -> bool:
        """One of those that are known."""
        if not known:
            return self._version()
        uid = self._random.choice(list(known))
        answer = self._traffic.request("GET", target % uid)
        if (counted := self._traffic.counted(answer)) and (wrong := judge(uid, answer)):
            self.wrong.append(f"{wrong}, while the project ran")
        return counted

    def _version(self) -> bool:
        return self._traffic.counted(self._traffic.request("GET", "/v1/health/version"))

    # - what is right -

    def _values(self) -> dict[str, Any]:
        word = f"NotARealWord {self._random.random()} 𝒳/"
        return {
            "title": word,
            "ssn": word,
            "notes": word * self._random.randrange(1, 50),
            "codes": [word, ""],
            "count": self._random.randrange(1000),
        }

    def _judge_document(self, uid: str, answer: _Answer) -> str:
        if answer.status != 200:
            return f"document {uid}: {answer.status}"
        found = json.loads(answer.content)
        found = {**found, "count": int(found["count"])}
        if any(found == {"$id": uid, **values} for values in self.documents[uid]):
            return ""
        wanted = self.documents[uid][-1]
        return f"document {uid}: " + ", ".join(
            f"{name} is {'different' if found.get(name) else 'empty'}"
            for name, value in wanted.items()
            if found.get(name) != value
        )

    def _judge_file(self, uid: str, answer: _Answer) -> str:
        if answer.status != 200:
            return f"file {uid}: {answer.status}"
        return "" if hashlib.sha256(answer.content).hexdigest() == self.files[uid] else f"file {uid}: another content"

    def _certain(self, target: str) -> _Answer:
        for _attempt in range(100):
            answer = self._traffic.request("GET", target, mode="admin")
            if 0 < answer.status < 500:
                return answer
            time.sleep(_PAUSE)
        raise Failed("the API does not answer")
