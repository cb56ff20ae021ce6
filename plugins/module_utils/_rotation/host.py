# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a rotation works on: its containers, its C(.env), the database and its dump, Redis. What is done when is C(procedure)'s to say.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import gzip
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import IO, Any, Callable, Collection, Mapping, Sequence, cast

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.connections import patiently
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import DATABASES
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import document_of, opened_with
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import Examination, Report
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import PAIRS, Journal
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import LOCKING
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import (
    Disk,
    Holder,
    Unreachable,
    Waivers,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.reseal import Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.standstill import (
    Others,
    Redis,
    Stillness,
    start,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stored import (
    READING,
    Uploads,
    files_in,
    store_of,
    uploads_of,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Store
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.mariadb import WritableMariaDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import WritableStore
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.mongodb import WritableMongoDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.objects import (
    ObjectSuccessors,
    traffic,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.postgresql import (
    WritablePostgreSQL,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.successors import Successors

WRITING = {"mariadb": WritableMariaDB, "postgresql": WritablePostgreSQL, "mongodb": WritableMongoDB}
_STARTED = 0.3
"""seconds that each container takes to be made and started (29 of 1.9.6 in 9 s)"""
_COMPLAINT = 4096
"""Bytes that are read of what a dump complains, from its end."""
_SILENCE, _DUMPING = 300, 24 * 3600
"""Seconds that a dump may say nothing, and that it may take in all."""


class Host:
    """A C(procedure.Host). env_file and journal: read and locked, as long as this is used. writes: whether its database takes changes."""

    def __init__(self, instance: Instance, env_file: EnvFile, journal: Journal, tell: Tell, writes: bool) -> None:
        self._instance = instance
        self._env_file = env_file
        self._journal = journal
        self._tell = tell
        self._writes = writes
        self.path = env_file.path
        self.directory = env_file.directory
        self.noted = os.path.join(journal.path, PAIRS)
        self.environment: Mapping[str, str] = instance.compose.environment
        self.warnings = instance.warnings

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def read(self) -> bytes | None:
        self._env_file.read()
        return self._env_file.data if self._env_file.exists else None

    def document(self) -> Document:
        self._env_file.read()
        return document_of(self._env_file, self._instance)

    def replace(self, data: bytes, backup: bool) -> str | None:
        return self._env_file.replace(data, backup)

    def writable(self) -> bool:
        return os.access(self.directory, os.W_OK | os.X_OK)

    def start(self, ids: Collection[str]) -> None:
        if not self._instance.checked:
            self._instance.load(self.document(), self._env_file.data)
        self._instance.forget_containers()
        start(
            self._instance,
            [
                container
                for container in self._instance.containers()
                if container.id in ids and container.status != "running"
            ],
            self._tell,
        )

    def open(self, data: bytes, keys: tuple[str, str]) -> Project:
        opened_with(self._instance, data)
        if self._journal.phase not in LOCKING:
            check_line(self._instance)
        self._instance.compose.mask.add(keys)
        return Project(self._instance, self._journal, keys, self._tell, self._writes)


def check_line(instance: Instance) -> None:
    """Raises AppwriteError if the key comes from elsewhere than from its own line of .env, the only one that a rotation changes.

    instance: loaded.
    """
    line = instance.key_line()
    if line == catalogue.KEY:
        return
    service = next(name for name in instance.appwrite_services() if catalogue.KEY in instance.listed(name))
    place = instance.written.place(service, catalogue.KEY)
    raise AppwriteError(
        "%s of %s comes from %s%s, and a rotation changes its own line of .env alone. First write the same key into .env as the line %s=…, then "
        "write `%s` in the compose file instead, for every service that has it (docker compose up -d has nothing to recreate then), and run again"
        % (
            catalogue.KEY,
            service,
            "the line %s of .env" % line if line else "elsewhere than .env",
            " (%s)" % str(place) if place else "",
            catalogue.KEY,
            place.bare if place else "- " + catalogue.KEY,
        )
    )


class Project:
    """A C(procedure.Project). instance: loaded."""

    def __init__(self, instance: Instance, journal: Journal, keys: tuple[str, str], tell: Tell, writes: bool) -> None:
        self._instance = instance
        self._journal = journal
        self._keys = keys
        self._tell = tell
        self._writes = writes
        self._stillness = Stillness(instance, keys, tell)
        self.release = instance.release

    def container_keys(self) -> Mapping[str, Sequence[str]]:
        self._instance.forget_containers()
        return self._instance.container_keys()

    def up(self) -> set[str]:
        return {
            container.service
            for container in self._instance.containers()
            if container.status == "running" or container.status == "exited" and not container.exit_code
        }

    def holders(self) -> list[Holder]:
        return [
            Holder(holder.id, holder.is_on, self._stillness.has_new(holder)) for holder in self._stillness.holders()
        ]

    def remove(self) -> None:
        self._stillness.remove()

    def start_needed(self) -> None:
        start(
            self._instance,
            [
                container
                for container in self._instance.containers()
                if container.status != "running" and self._stillness.is_needed(container)
            ],
            self._tell,
        )

    def expected(self) -> tuple[float, float, float]:
        return (*self._stillness.expected(), _STARTED * len(self._instance.containers()))

    def started(self) -> Mapping[str, float]:
        return self._stillness.started()

    def connect(self, patience: float) -> Connection:
        """C(patience) is in seconds, for a database that is starting. Raises Unreachable after that."""
        deadline = time.monotonic() + patience
        uploads, ciphers = uploads_of(self._instance), (Cipher(self._keys[0]), Cipher(self._keys[1]))
        while True:
            try:
                return Connection(
                    self._instance,
                    self._journal,
                    self._keys[0],
                    ciphers,
                    self._tell,
                    self._stillness,
                    uploads,
                    Redis(self._instance),
                    self._primary(),
                )
            except AppwriteError as error:
                if time.monotonic() >= deadline:
                    raise Unreachable(str(error)) from None
            self._tell("connecting", 0, 0, "the database and Redis")
            time.sleep(1)
            self._instance.forget_containers()

    def _primary(self) -> Store:
        store: Store = store_of(self._instance, progress=self._tell, stores=WRITING if self._writes else READING)
        if store.is_replica():
            store.close()
            raise AppwriteError(
                "the database is a replica, which takes no changes, or a proxy that has replicas answer: have Appwrite use the primary (_APP_DB_HOST)"
            )
        return store


class Connection:
    """A C(procedure.Connected)."""

    def __init__(
        self,
        instance: Instance,
        journal: Journal,
        old: str,
        ciphers: tuple[Cipher, Cipher],
        tell: Tell,
        stillness: Stillness,
        uploads: Uploads,
        redis: Redis,
        store: Store,
    ) -> None:
        self._instance = instance
        self._journal = journal
        self._ciphers = ciphers
        self._tell = tell
        self._stillness = stillness
        self._uploads = uploads
        self._redis = redis
        self.store = store
        self.others = Others(instance, store, old, not isinstance(uploads, str))
        self.forget_documents = redis.forget_documents
        self.builds = stillness.builds
        self.close = store.close

    def examination(self, waivers: Waivers) -> Examination:
        return Examination(self.store, files_in(self._uploads), *self._ciphers, waivers, self._tell)

    def rotation(self, waivers: Waivers) -> Rotation:
        store = cast(WritableStore, self.store)  # only a run that writes asks for this
        uploads, journal = self._uploads, (self._journal.handle, PAIRS)
        files = Successors(uploads, *journal) if isinstance(uploads, str) else ObjectSuccessors(*uploads, *journal)
        return Rotation(store, files, *self._ciphers, waivers, self._tell)

    def disks(self) -> tuple[Disk | None, Disk | None]:
        data = _data_of(self._instance)
        return _disk(self._uploads) if isinstance(self._uploads, str) else None, _disk(data) if data else None

    def traffic(self, report: Report) -> dict[str, Any] | None:
        return None if isinstance(self._uploads, str) else traffic(report, self._uploads.bucket)

    def dump(self, name: str) -> None:
        dump(self._instance, self.store, self._journal, name, self._tell)

    def stranded(self, leave: Sequence[str]) -> str:
        return self._stillness.stranded(self._redis, leave)

    def make_still(
        self, drain_timeout: int, leave: Sequence[str], closing_api: Callable[[], None], alone: bool = True
    ) -> list[str]:
        return self._stillness.make(self._redis, drain_timeout, leave, closing_api, alone)


def _disk(path: str) -> Disk:
    with words(path, "looked at"):
        return Disk(path, shutil.disk_usage(path).free, os.stat(path).st_dev)


def _data_of(instance: Instance) -> str | None:
    """Where the database's files are on this host, if that can be told."""
    identity = instance.database()[1]
    sources = [
        source
        for container in instance.containers()
        if container.id == identity
        for source, target, _writable in container.mounts
        if any(target in database.data for database in DATABASES)
    ]
    if sources and not os.path.isabs(sources[0]):
        sources = instance.compose.docker(
            ["volume", "inspect", "--format", "{{.Mountpoint}}", sources[0]], tolerate=True
        ).stdout.split("\n")
    return sources[0] if sources and os.path.isdir(sources[0]) else None


def dump(instance: Instance, store: Store, journal: Journal, name: str, tell: Tell) -> None:
    """A copy of the database for its owner alone beside C(.env), checked for its last line.

    Raises AppwriteError if it cannot be made; what there is of it is removed.
    """
    _service, container = instance.database()
    script, last = store.DUMP

    def attempt() -> None:
        try:
            with words(os.path.join(journal.directory, name), "written"):
                problem = _dumped(instance, container, script, journal.beside, name, last, tell)
            if problem:
                raise AppwriteError(problem)
        except AppwriteError:
            journal.remove_beside(name)
            raise

    try:
        patiently(attempt, tell)
    except AppwriteError as error:
        raise AppwriteError(
            "the dump of the database failed: %s. Nothing was changed. If you make a backup of your own, set dump to false"
            % error
        ) from None


def _begun(instance: Instance, container: str, script: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command keeps it all
        ["docker", "exec", container, "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=log,
        stdin=subprocess.DEVNULL,
        env=instance.compose.environment,
        bufsize=0,
    )


def _dumped(instance: Instance, container: str, script: str, directory: int, name: str, last: bytes, tell: Tell) -> str:
    """What went wrong, if anything."""
    tail, size, deadline = b"", 0, time.monotonic() + _DUMPING
    with _files.made(directory, name) as handle, open(
        handle, "wb", closefd=False
    ) as raw, tempfile.TemporaryFile() as log, _begun(instance, container, script, log) as process:
        stream: Any = process.stdout
        try:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1) as packed:
                while True:
                    patience = min(_SILENCE, deadline - time.monotonic())
                    if patience <= 0:
                        return "it did not end within %d seconds" % _DUMPING
                    if not select.select([stream], [], [], patience)[0]:
                        if patience == _SILENCE:
                            return "the database sent nothing for %d seconds; it may be paused" % _SILENCE
                        continue
                    block = stream.read(1 << 20)
                    if not block:
                        break
                    packed.write(block)
                    tail, size = (tail + block)[-4096:], size + len(block)
                    tell("dumping", size >> 20, 0)
            status = process.wait(_SILENCE)
        except subprocess.TimeoutExpired:
            return "its program did not end"
        finally:
            process.kill()  # otherwise it would be waited for
        log.seek(max(0, log.seek(0, os.SEEK_END) - _COMPLAINT))
        said = instance.compose.mask(log.read(_COMPLAINT).decode("utf-8", "replace")).strip().split("\n")[-1]
    if status:
        return "exit code %d (%s)" % (status, said or "its program gave no reason")
    return "" if size and last in tail else "it is not complete"
