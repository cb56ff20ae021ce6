# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation that is stopped or killed at one of the moments where it touches the world, and what is found then.

Such a moment is before or after a call of the operating system that changes something about files, or writes to the database's client or reads from
it. It is counted where Python calls it: the modules that rotate use C(os) for all of that.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from support.forks import Forks
from support.stores import KEYS, ROOMS, rotation
from testbed._base import clean_environ, run
from testbed.dataset import Dataset, Differences
from testbed.project import Project

_CALLS = ("open", "write", "read", "fsync", "fchmod", "unlink", "sync")
_SQL = re.compile(rb"(SELECT|DELETE|COPY|CREATE|INSERT|UPDATE|SET|START|COMMIT)\b")


class Point(NamedTuple):
    call: str
    """its name; of a request to a database also its first word, and V(read on) for one that follows another read"""
    ordinal: int
    """among the calls of this name, from 1"""
    side: str
    """V(before) or V(after)"""


# --- in the process that is killed ---


def _count(seen: Callable[[str, int, str], None]) -> None:
    """Has every call announced to C(seen), before and after."""
    ordinals: Counter[str] = Counter()
    last = ""

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal last
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            word = _SQL.match(bytes(arguments[1][:20])) if name == "write" else None
            label = f"write {word.group().decode()}" if word else "read on" if name == last == "read" else name
            last = name
            ordinals[label] += 1
            ordinal = ordinals[label]
            seen(label, ordinal, "before")
            result = real(*arguments, **options)
            seen(label, ordinal, "after")
            return result

        return call

    for name in _CALLS:
        setattr(os, name, wrap(name, getattr(os, name)))


def rotate(what: dict[str, str], point: list[Any] | None, blow: str, log: str) -> None:
    """A rotation, up to the point; the moments that it has come to are in the log."""
    written: list[list[Any]] = []

    def seen(*moment: Any) -> None:
        written.append(list(moment))
        if list(moment) == point:
            os.kill(os.getpid(), getattr(signal, blow))

    _count(seen)
    try:
        found = rotation(**what)[1]
        found.prepare()
        found.rotate()
    finally:
        Path(log).write_text(json.dumps(written))


# --- in the tests ---


@dataclass
class Victim:
    """A project's database and files. From one rotation to the next the data goes from one key to the other."""

    project: Project
    database: str
    data: Dataset
    scratch: Path
    key: str = KEYS[0]
    results: Counter[str] = field(default_factory=Counter)
    _points: list[Point] = field(default_factory=list)

    @classmethod
    def make(cls, project: Project, database: str, scratch: Path) -> Victim:
        data = Dataset.make(1, KEYS[0], database=database, file_bytes=50_000)
        data.load(project)
        data.write_files(scratch / "uploads")
        return cls(project, database, data, scratch)

    def reset(self) -> None:
        """All as it was loaded."""
        self.key = KEYS[0]
        self.data.reset(self.project, self.scratch / "uploads")
        (self.scratch / "journal").unlink(missing_ok=True)

    @functools.cached_property
    def _forks(self) -> Forks:
        rooms = ("_rotation.reseal", "_rotation.stores.writes.mariadb", "_rotation.stores.writes.postgresql")
        return Forks(
            *(f"{ROOMS}.{room}" for room in rooms), __name__, environ=clean_environ(), errors=self.scratch / "errors"
        )

    def end(self) -> None:
        self._forks.end()

    @property
    def other(self) -> str:
        return KEYS[self.key == KEYS[0]]

    @functools.cached_property
    def container(self) -> str:
        return run(
            "docker",
            "ps",
            "--quiet",
            "--filter",
            f"label=com.docker.compose.project={self.project.name}",
            "--filter",
            f"label=com.docker.compose.service={self.database}",
        ).strip()

    @property
    def _what(self) -> dict[str, str]:
        return {
            "database": self.database,
            "container": self.container,
            "root": str(self.scratch / "uploads"),
            "journal": str(self.scratch / "journal"),
            "old": self.key,
            "new": self.other,
        }

    @property
    def errors(self) -> str:
        return (self.scratch / "errors").read_text()

    def rotate(self, point: Point | None = None, blow: str = "SIGKILL") -> int:
        """The exit status of a rotation in another process, up to the point."""
        return self._forks.run(f"{__name__}:rotate", self._what, point, blow, str(self.scratch / "log"))

    def go_on(self) -> int:
        return self._forks.go_on()

    def points(self) -> list[Point]:
        """Of a rotation that is not disturbed. Answers come in other pieces each time, so some reads may not be reached in another one."""
        if not self._points:
            assert self.rotate() == 0, self.errors
            self.key = self.other
            self.check()
            self._points = [Point(*moment) for moment in json.loads((self.scratch / "log").read_text())]
        return self._points

    @contextlib.contextmanager
    def rotation(self) -> Iterator[Any]:
        store, found = rotation(**self._what)
        try:
            yield found
        finally:
            store.close()

    def recover(self, forward: bool) -> str:
        """As the next run does. Afterwards all is under one key. Returns the state that the interrupted run has left."""
        with self.rotation() as found:
            states: list[str] = []
            look = found.state
            found.state = lambda: states.append(look()) or states[0]
            if not forward:
                assert found.undo() == "old"
                assert found.sweep() == []
            elif found.state() == "new":
                found.sweep()
            else:
                found.rotate()
        if forward:
            self.key = self.other
        self.results[f"{'forward' if forward else 'back'} from {states[0]}"] += 1
        self.check()
        return states[0]

    def check(self) -> Differences:
        """By PHP: every value and file is what it was, nothing else has changed, and no file is left over or lost."""
        found = self.data.check(self.project, self.scratch / "uploads", self.key)
        self.results["values compared"] += found.values
        self.results["files compared"] += found.files
        self.results["losses"] += len(found.found)
        assert not found.found, found.found[:5]
        assert (found.values, found.files) == (
            len(self.data.plain),
            sum(file.sealed for files in self.data.files.values() for file in files),
        )
        assert not (self.scratch / "journal").exists()
        return found
