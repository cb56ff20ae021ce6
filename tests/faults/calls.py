# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system calls of a module, which say when something is to happen to it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support.absent import NO_DOCKER
from support.forks import Forks
from support.stack import UNCACHED
from testbed._base import clean_environ

CHANGES = {
    "mkdirat",
    "write",
    "fsync",
    "fchown",
    "fchmod",
    "fsetxattr",
    "fremovexattr",
    "renameat",
    "renameat2",
    "unlinkat",
}
_CALL = re.compile(r"(\w+)\((.*)")


class Call(NamedTuple):
    name: str
    ordinal: int
    """among the calls of this name, from 1"""
    arguments: str

    @property
    def changes(self) -> bool:
        return self.name in CHANGES or self.name == "openat" and "O_CREAT" in self.arguments


def read(log: Path) -> Iterator[Call]:
    """All that strace has written."""
    seen: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        if found := _CALL.match(line):
            seen[found[1]] += 1
            yield Call(found[1], seen[found[1]], found[2])


def signalled(call: Call, name: str, *also: str, traced: str = "") -> list[str]:
    """The command that has a run hear a signal before this call.

    also: more options of strace. traced: what it looks at besides, for their sake.
    """
    inject = f"inject={call.name}:signal={name}:when={call.ordinal}"
    return ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call.name}{traced}", *also, "-e", inject]


class Forked:
    """Runs modules in forks of one process, where there is no docker."""

    def __init__(self, scratch: Path, *names: str) -> None:
        self.answer = str(scratch / "answer")
        self._forks = Forks.of_modules(
            *names, also=["faults.quick"], prefix=NO_DOCKER, environ={**clean_environ(), **UNCACHED}
        )

    def run(self, name: str, arguments: Mapping[str, Any], *strace: str) -> int:
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        return self._forks.run(
            "support.forks:module", name, given, self.answer, "", None, "", bool(strace), strace=strace
        )

    def succeed(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert self.run(name, arguments) == 0, Path(self.answer).read_text()
        result: dict[str, Any] = json.loads(Path(self.answer).read_text())
        return result

    def end(self) -> None:
        self._forks.end()
