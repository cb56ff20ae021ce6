# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in memory for the procedure of a rotation: containers, C(.env), journal and store, on which a run can be killed or fail at any of its calls."""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from support.rotation import NEW, OLD, SESSIONS, WORD, Place

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import GUARD, NAME, in_force
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.programs import API, TASK, WORKER
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import Examination
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import _checked
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.member import Member
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    LOCKING,
    NONE,
    STAGED,
    STILL,
    WRITE,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import (
    Disk,
    Holder,
    Options,
    Procedure,
    Unreachable,
    Waivers,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.reseal import Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.successors import Successors

KEYS = OLD_KEY, NEW_KEY = "NotARealOldKey12", "NotARealNewKey12"
ENV = "# ours\n_APP_ENV=production\n%s=%s\n_APP_DOMAIN=appwrite.example.com\n"
TASKS, FRONT, WORKERS = "appwrite-task-maintenance", "appwrite", "appwrite-worker-mails"
SERVICES = {"mariadb": False, TASKS: True, FRONT: True, WORKERS: True}
"""and whether they are given the key"""


READS = {
    "store": ("tables", "forget_tables", "count", "size", "rows", "newest"),
    "files": ("each", "look", "doubt", "pairs", "noted", "fallen"),
    "host": ("now", "monotonic", "read", "document", "writable", "open"),
    "project": ("container_keys", "up", "holders", "expected", "started"),
    "connected": ("examination", "rotation", "disks", "traffic", "stranded", "builds"),
    "others": ("holders", "sessions", "unseen", "require_none"),
}
"""What is only looked at: to be killed then is to be killed after the last change."""


class Killed(BaseException):
    """Nothing catches it."""


class Moments:
    """Is told of each call before and after it, and kills or fails the run at one of them. A run that was killed does nothing any more."""

    def __init__(self, at: str = "", fault: Callable[[str], BaseException] = Killed, since: str = "") -> None:
        """since: the moment from which on all is safe again, where somebody else has had a hand in it."""
        self._at = at
        self._since = since
        self._fault = fault
        self._dead = False
        self._ordinals: Counter[str] = Counter()
        self.watch: Callable[[str], object] = lambda moment: None
        self.seen: list[str] = []

    def __call__(self, call: str, changed: bool = True) -> None:
        """changed: whether anything may have been since the last moment."""
        if self._dead:
            raise Killed
        self._ordinals[call] += 1
        moment = f"{call} {self._ordinals[call]}"
        self.seen.append(moment)
        if changed and (not self._since or self._since in self.seen):
            self.watch(moment)
        if moment == self._at:
            self._dead = self._fault is Killed
            raise self._fault(moment)


class Announced:
    """Another object, each call of whose methods is a moment."""

    def __init__(self, name: str, real: Any, moments: Moments) -> None:
        self._name = name
        self._real = real
        self._moments = moments

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._real, attribute)
        if not callable(value):
            return value

        if attribute in READS.get(self._name, ()):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                self._moments(f"before {self._name}.{attribute}", changed=False)
            except AppwriteError:
                if self._name == "store":
                    self._real.ended = True
                raise
            result = value(*arguments, **options)
            if attribute == "take":
                return self._each(result)
            self._moments(f"after {self._name}.{attribute}")
            return result

        return call

    def _each(self, steps: Iterator[int]) -> Iterator[int]:
        for each in steps:
            self._moments(f"after a row of {self._name}.take")
            yield each


class Failures:
    """Of many moments, by name."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def attempt(self, moment: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (Exception, pytest.fail.Exception) as error:
            self.found[moment] = f"{type(error).__name__}: {str(error)[:300]}"

    def show(self) -> None:
        assert not self.found, "\n".join(
            [f"{len(self.found)} moments:", *(f"- {moment}: {error}" for moment, error in self.found.items())]
        )


@dataclass
class Box:
    """A container."""

    service: str
    key: str | None
    is_on: bool = True


class World:
    """What outlives a run."""

    def __init__(self, directory: Path, transactional: bool, first: World | None = None) -> None:
        """first: the one that has the database which this one shares."""
        directory.mkdir()
        if first:
            self.place, self.cluster = first.place, first.cluster
        else:
            self.place, self.cluster = Place(directory, transactional), []
            self.place.store.closed = True
            self.place.store.content[SESSIONS] = [{"secret": OLD.seal(WORD)}]
        self.cluster.append(self)
        self.env: bytes | None = (ENV % (NAME, OLD_KEY)).encode()
        self.backups: list[bytes] = []
        self.dumps: dict[str, bool] = {}
        """and whether they are whole"""
        self.notes = "" if first else json.dumps({"phase": STAGED, "new": NEW_KEY})
        self.boxes: dict[str, Box] = {}
        self.cached = True
        self.clock = time.time() + 60
        """later than the files were made"""
        self.strangers = ""
        self._made = 0
        self._directory = directory
        self._root = str(self.place.root)
        self._verdicts: dict[tuple[str, ...], set[str]] = {}
        self.up()

    def close(self) -> None:
        self.place.close()
        for world in self.cluster:
            shutil.rmtree(world._directory)

    def run(self, options: Options, moments: Moments) -> dict[str, Any]:
        """One run of the module. All that a dead one had open is closed, and what it had not committed is undone."""
        moments.watch = self.assert_safe
        opened: list[Successors] = []
        journal = Announced("journal", _Journal(self), moments)
        try:
            part = Member if options.step in (STILL, WRITE) else Procedure
            return part(options, Announced("host", _Host(self, moments, opened), moments), journal).run()
        except AppwriteError:
            assert self.place.store.closed or not opened, "the store is open still"
            raise
        except Killed:
            self.place.store.close()
            raise
        finally:
            for each in opened:
                each.lay_down()
            assert self.place.store.closed or not opened, "the store is open still"

    def up(self) -> None:
        """As a user does: compose starts nothing with a guard, and gives each container the key that C(.env) has."""
        if self.is_guarded:
            return
        key = self.env_key
        for service, is_holder in SERVICES.items():
            wanted = key if is_holder else None
            same = [name for name, box in self.boxes.items() if box.service == service and box.key == wanted]
            for name in [name for name, box in self.boxes.items() if box.service == service and name not in same]:
                del self.boxes[name]
            if not same:
                self._made += 1
                self.boxes[f"{service}-{self._made}"] = Box(service, wanted)
        for box in self.boxes.values():
            box.is_on = True

    def power_cut(self) -> None:
        """The machine starts anew. What could come up with it has been looked at already; behind the guard not even the database does, nor can anybody
        start it."""
        for box in self.boxes.values():
            box.is_on = not box.key and not (self.is_guarded and self.phase in LOCKING)

    # - what is found -

    @property
    def is_guarded(self) -> bool:
        return GUARD.encode() in (self.env or b"")

    @property
    def env_key(self) -> str:
        return _key_in(self.env or b"")

    @property
    def phase(self) -> str:
        return str(json.loads(self.notes or "{}").get("phase", NONE))

    def under(self) -> set[str]:
        """The keys that are needed to open all that is in force in the store, and its files."""
        found: set[str] = set()
        for table, rows in self.place.store.content.items():
            for row in rows:
                if table.holds_files:
                    path = row["path"].replace("/storage/uploads", self._root, 1)
                    assert os.path.exists(path), f"{path} is lost"
                    found |= self._opens(
                        (path, row["openSSLIV"], row["openSSLTag"]),
                        lambda cipher, *words: cipher.decrypt(Path(words[0]).read_bytes(), words[1], words[2]),
                    )
                else:
                    values = [value for each in row.values() for value in (each if isinstance(each, list) else [each])]
                    for value in filter(None, values):
                        found |= self._opens((value,), lambda cipher, *words: cipher.decrypt(*_parts(words[0])))
        return found

    def _opens(self, what: tuple[str, ...], decrypt: Callable[..., bytes | None]) -> set[str]:
        if what not in self._verdicts:
            self._verdicts[what] = {key for key, cipher in zip(KEYS, (OLD, NEW)) if decrypt(cipher, *what) is not None}
            assert len(self._verdicts[what]) == 1, "no key opens it"
        return self._verdicts[what]

    def assert_safe(self, moment: str) -> None:
        """Whatever has a key, or would get it from C(.env), finds nothing that another one has sealed, whether it runs or is only there."""
        keys: set[str] = set()
        for world in self.cluster:
            assert world.is_guarded or world.env_key, f"{moment}: .env has neither a key nor the guard"
            keys |= {box.key for box in world.boxes.values() if box.key}
            keys |= set() if world.is_guarded else {world.env_key}
        under = self.under()
        assert all(under <= {key} for key in keys), (
            f"{moment}: there are the keys {sorted(map(str, keys))} and data under {sorted(under)}"
        )

    def assert_whole(self, key: str, dumps: Collection[str]) -> None:
        """Everything runs with this key, which opens everything, and nothing is left over but these dumps."""
        self.place.assert_all_under(OLD if key == OLD_KEY else NEW)
        assert self.env == (ENV % (NAME, key)).encode()
        assert {box.service: (box.key, box.is_on) for box in self.boxes.values()} == {
            service: (key if is_holder else None, True) for service, is_holder in SERVICES.items()
        }
        assert self.phase == NONE and not self.notes
        assert {name: True for name in dumps} == self.dumps
        assert all(GUARD.encode() not in backup for backup in self.backups)
        assert bool(self.place.store.content[SESSIONS]) == (key == OLD_KEY)
        assert key == OLD_KEY or not self.cached


@lru_cache(maxsize=None)
def _key_in(env: bytes) -> str:
    return in_force(parse(decode(env)).values)


def _parts(text: str) -> tuple[bytes, str, str]:
    fields = json.loads(text)
    return fields["data"].encode(), fields["iv"], fields["tag"]


class _Journal:
    def __init__(self, world: World) -> None:
        self._world = world
        self.path = "/project/.appwrite-rotation"
        self.content: dict[str, Any] = json.loads(world.notes or "{}")

    @property
    def phase(self) -> str:
        return str(self.content.get("phase", NONE))

    @property
    def env(self) -> bytes:
        return base64.b64decode(self.content["env"])

    def save(self, **changes: Any) -> None:
        self.replace({**self.content, **changes})

    def replace(self, content: dict[str, Any]) -> None:
        _checked(copy.deepcopy(content))  # or the next run would not believe it
        self._world.notes = json.dumps(content)
        self.content = content

    def end(self) -> None:
        self._world.notes = ""
        self.content = {}

    def remove_beside(self, name: str) -> None:
        self._world.dumps.pop(name, None)


class _Host:
    path, directory, noted = "/project/.env", "/project", "/project/.appwrite-rotation/files"

    def __init__(self, world: World, moments: Moments, opened: list[Any]) -> None:
        self._world = world
        self._moments = moments
        self._opened = opened
        self.environment: dict[str, str] = {}
        self.warnings: list[str] = []

    def now(self) -> float:
        self._world.clock += 1
        return self._world.clock

    def monotonic(self) -> float:
        return self.now()

    def read(self) -> bytes | None:
        return self._world.env

    def document(self) -> Document:
        return parse(decode(self._world.env or b""))

    def replace(self, data: bytes, backup: bool) -> str | None:
        if backup and self._world.env is not None:
            self._world.backups.append(self._world.env)
            self._moments("after a backup was made")
        self._world.env = data
        return "/project/.env.%d.bak" % len(self._world.backups) if backup else None

    def writable(self) -> bool:
        return True

    def start(self, ids: Collection[str]) -> None:
        for name in ids:
            if name in self._world.boxes:
                self._world.boxes[name].is_on = True
                self._moments(f"after {self._world.boxes[name].service} was started")

    def open(self, data: bytes, keys: tuple[str, str]) -> Any:
        parse(decode(data))
        return Announced("project", _Project(self._world, self._moments, self._opened, keys), self._moments)


class _Project:
    release = "2.4.0"

    def __init__(self, world: World, moments: Moments, opened: list[Any], keys: tuple[str, str]) -> None:
        self._world = world
        self._moments = moments
        self._opened = opened
        self._keys = keys

    def container_keys(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for box in self._world.boxes.values():
            if box.key:
                found.setdefault(box.key, []).append(box.service)
        return found

    def up(self) -> set[str]:
        return {box.service for box in self._world.boxes.values() if box.is_on}

    def holders(self) -> list[Holder]:
        return [Holder(name, box.is_on, box.key == self._keys[1]) for name, box in self._world.boxes.items() if box.key]

    def remove(self) -> None:
        for holder in self.holders():
            service = self._world.boxes.pop(holder.id).service
            self._moments(f"after {service} was removed")

    def start_needed(self) -> None:
        for box in self._world.boxes.values():
            box.is_on = box.is_on or not box.key

    def expected(self) -> tuple[float, float, float]:
        return 5.0, 9.0, 1.0

    def started(self) -> dict[str, float]:
        return dict.fromkeys((TASK, API, WORKER), self._world.clock)

    def connect(self, patience: float) -> Any:
        needed = [box for world in (self._world, self._world.cluster[0]) for box in world.boxes.values() if not box.key]
        if not needed or not all(box.is_on for box in needed):
            raise Unreachable("the database is not a running container; start it (docker compose up -d mariadb)")
        store = self._world.place.store
        if not (store.closed or store.ended):
            raise Unreachable("another session of this collection has been working on it for 60 seconds")
        store.draft, store.staged, store.listed, store.closed, store.ended = None, {}, [], False, False
        return Announced("connected", _Connected(self._world, self._moments, self._opened, self._keys), self._moments)


class _Successors(Successors):
    """With the moments inside of what it makes."""

    def __init__(self, place: Place, moments: Moments) -> None:
        super().__init__(str(place.root), place._directory, "journal")
        self.moments = moments

    def _note(self, old: str, new: str) -> None:
        super()._note(old, new)
        self.moments("after a successor was noted")

    def _write(self, path: str, text: bytes, like: Any) -> None:
        super()._write(path, text, like)
        self.moments("after a successor was written")

    def lay_down(self) -> None:
        """As the end of a process does."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class _Connected:
    def __init__(self, world: World, moments: Moments, opened: list[Any], keys: tuple[str, str]) -> None:
        self._world = world
        self._moments = moments
        self._opened = opened
        self._keys = keys
        self.store: Any = Announced("store", world.place.store, moments)
        self.others = Announced("others", _Others(world), moments)

    def examination(self, waivers: Waivers) -> Examination:
        return self.rotation(waivers)

    def rotation(self, waivers: Waivers) -> Rotation:
        successors = _Successors(self._world.place, self._moments)
        self._opened.append(successors)
        announced: Any = Announced("files", successors, self._moments)
        return Rotation(self.store, announced, Cipher(self._keys[0]), Cipher(self._keys[1]), waivers)

    def disks(self) -> tuple[Disk, Disk | None]:
        return Disk("/uploads", 1 << 40, 1), Disk("/database", 1 << 40, 2)

    def traffic(self, report: Any) -> None:
        return None

    def dump(self, name: str) -> None:
        self._world.dumps[name] = False
        self._moments("after a dump was begun")
        self._world.dumps[name] = True

    def stranded(self, leave: Sequence[str]) -> str:
        return ""

    def builds(self) -> str:
        return ""

    def make_still(
        self, drain_timeout: int, leave: Sequence[str], closing_api: Callable[[], None], alone: bool = True
    ) -> list[str]:
        for service in (TASKS, FRONT, WORKERS):
            if service == FRONT:
                closing_api()
            for box in self._world.boxes.values():
                if box.service == service:
                    box.is_on = False
            self._moments(f"after {service} was stopped")
        return []

    def forget_documents(self) -> None:
        self._world.cached = False

    def close(self) -> None:
        self._world.place.store.close()


class _Others:
    def __init__(self, world: World) -> None:
        self._world = world

    def holders(self) -> str:
        return ""

    def sessions(self, running: bool = False) -> str:
        others = [world for world in self._world.cluster if world is not self._world]
        if any(box.key and box.is_on for world in others for box in world.boxes.values()):
            return "other sessions are open at the database"
        return self._world.strangers

    def unseen(self) -> list[str]:
        return []

    def require_none(self) -> None:
        if self.sessions():
            raise AppwriteError(self.sessions())
