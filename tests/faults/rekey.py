# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module C(rekey) that is stopped or killed at one of the moments where it changes something outside itself, and what is found then.

Such a moment is before or after a call of the operating system that changes something about files, before or after a program that changes something,
and just after the start of such a program, which then goes on alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.forks import STOPPED, Forks, module
from support.stack import Play, assert_no_leak, playbook, read_env, set_env
from testbed._base import Failed, clean_environ, run
from testbed.dataset import Dataset, Differences
from testbed.project import Project

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key

KEY = _key.NAME
KEYS = ("UnrealHj4Vw8Sd2LmKq6Pz", "NotRealTx9Bc3Gn7RfYe5Ua")
CACHED = "default-cache-_console:users:1"
"""a key of Redis with a decrypted row"""
KILLED = -9
FORWARD, END, BACK = range(3)
UNFINISHED = "a rotation of the encryption key is unfinished"
_CALLS = (
    "open",
    "mkdir",
    "write",
    "fsync",
    "chown",
    "fchown",
    "chmod",
    "fchmod",
    "setxattr",
    "rename",
    "replace",
    "unlink",
    "rmdir",
)
_PLACES = (
    ("/.appwrite-rotation/files", "journal"),
    ("/.appwrite-rotation", "state"),
    ("appwrite-before-rotation-", "dump"),
    (".bak", "backup"),
    ("/_data", "uploads"),
)
_PROGRAMS = (
    ("stop", "stop"),
    ("start", "start"),
    ("rm", "rm"),
    ("redis-cli", "redis-cli"),
    ("--interactive", "client"),
    ("exec", "dump"),
)
_WRITES = re.compile(rb"(DELETE|CREATE|INSERT|UPDATE|START|COMMIT)\b|COPY \((WITH)\b|.*?\"what\": ?\"(change|clear)\"")


class Point(NamedTuple):
    run: int
    """V(FORWARD) up to the new key in C(.env), V(END) after the start of the project, or V(BACK)"""
    what: str
    """the call or program, and what it is about"""
    ordinal: int
    """among the calls of this name, from 1"""
    side: str
    """V(before), V(begun) or V(after)"""


# --- in the process that is killed ---


def _place(path: Any, directory: int | None = None) -> str:
    """What a path or open file is about."""
    if isinstance(path, int):
        name = os.readlink(f"/proc/self/fd/{path}")
    else:
        name = os.path.join(
            os.readlink(f"/proc/self/fd/{directory}") if directory is not None else "", os.fsdecode(path)
        )
    return next((place for part, place in _PLACES if part in name), ".env")


class _Moments:
    """Has every call announced to C(seen), before and after."""

    def __init__(self, seen: Callable[[str, int, str], None]) -> None:
        self._seen = seen
        self._ordinals: Counter[str] = Counter()
        for name in _CALLS:
            setattr(os, name, self._wrap(name, getattr(os, name)))
        setattr(_files, "renameat2", self._wrap("exchange", _files.renameat2))
        moments = self

        class Popen(subprocess.Popen):  # type: ignore[type-arg]  # of text or of bytes
            def __init__(self, command: list[str], **options: Any) -> None:
                label = _program(command, options.get("stdin"))
                self._announce = moments.next(label) if label else None
                if self._announce:
                    self._announce("before")
                super().__init__(command, **options)
                if self._announce:
                    self._announce("begun")

            def wait(self, timeout: float | None = None) -> int:
                status = super().wait(timeout)
                if self._announce:
                    self._announce("after")
                    self._announce = None
                return status

        setattr(subprocess, "Popen", Popen)

    def next(self, label: str) -> Callable[[str], None]:
        self._ordinals[label] += 1
        ordinal = self._ordinals[label]
        return lambda side: self._seen(label, ordinal, side)

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            what = self._label(name, *arguments, **options)
            if not what:
                return real(*arguments, **options)
            announce = self.next(what)
            announce("before")
            result = real(*arguments, **options)
            announce("after")
            return result

        return call

    @staticmethod
    def _label(
        name: str, *arguments: Any, dir_fd: int | None = None, dst_dir_fd: int | None = None, **_options: Any
    ) -> str:
        first = arguments[0]
        if name == "open" and not arguments[1] & os.O_CREAT:
            return ""
        if name == "write" and os.readlink(f"/proc/self/fd/{first}").startswith("pipe:"):
            word = _WRITES.match(bytes(arguments[1][:200]))
            return f"ask {word[word.lastindex or 0].decode()}" if word else ""
        return f"{name} {_place(arguments[1] if name in ('rename', 'exchange') else first, dst_dir_fd if dir_fd is None else dir_fd)}"


def _program(command: list[str], stdin: Any) -> str:
    """Of one that changes something."""
    found = next((label for word, label in _PROGRAMS if word in command), "")
    if found == "redis-cli" and not os.pread(stdin.fileno(), 6, 0).startswith(b"UNLINK"):
        return ""
    return f"docker {found}" if found else ""


def perform(name: str, given: str, answer: str, point: list[Any] | None, blow: str, log: str) -> None:
    """A module's run, up to the point; the moments that it has come to are in the log."""
    written: list[list[Any]] = []

    def seen(*moment: Any) -> None:
        written.append(list(moment))
        if list(moment) == point:
            os.kill(os.getpid(), getattr(signal, blow))

    _Moments(seen)
    try:
        module(name, given, answer)
    finally:
        Path(log).write_text(json.dumps(written))


# --- in the tests ---


@dataclass
class Host:
    """A running project with data, and the forks that rotate its key. From one rotation to the next it goes from one key to the other."""

    project: Project
    database: str
    data: Dataset
    root: Path
    scratch: Path
    key: str
    other: str
    """the next one"""
    mark: str = field(default_factory=lambda: f"SELFHOST_TEST={secrets.token_hex(8)}")
    results: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._forks = Forks.of_modules(
            *("apply", "encryption_key", "https", "rekey"),
            also=["faults.quick", __name__],
            environ=clean_environ(),
            errors=self.scratch / "errors",
        )

    @classmethod
    def make(cls, project: Project, database: str, scratch: Path) -> Host:
        tail = hashlib.sha256(project.name.encode()).hexdigest()[
            :12
        ]  # the key of another project on this engine stops a rotation
        key, other = (each + tail for each in KEYS)
        data = Dataset.make(1, key, database=database, file_bytes=20_000)
        set_env(project.directory, **{KEY: key})
        quick = {"services": {"appwrite": {"healthcheck": {"interval": "300ms"}}}}  # it is waited for at every start
        (project.directory / "docker-compose.override.yml").write_text(json.dumps(quick))
        project.up()
        project.wait()
        root = project.uploads()
        data.load(project)
        data.write_files(root)
        return cls(project, database, data, root, scratch, key, other)

    def end(self) -> None:
        self._forks.end()

    def turn(self) -> None:
        """A rotation has ended."""
        self.key, self.other = self.other, self.key

    @property
    def is_guarded(self) -> bool:
        return _key.GUARD in (self.project.directory / ".env").read_text()

    @property
    def state(self) -> dict[str, Any]:
        """What a rotation has noted of itself."""
        found: dict[str, Any] = json.loads((self._beside / ".appwrite-rotation" / "state.json").read_text())
        return found

    def successors(self) -> list[str]:
        """The paths of new files that it has noted."""
        lines = (self._beside / ".appwrite-rotation" / "files").read_text().splitlines()
        return [json.loads(line)[1] for line in lines if line]

    @property
    def _beside(self) -> Path:
        return (self.project.directory / ".env").resolve().parent

    def redis(self, *words: str) -> str:
        return self.project.redis(*words)

    # - modules -

    def perform(self, name: str, point: Point | None = None, blow: str = "SIGKILL", **options: Any) -> dict[str, Any]:
        """A module's result in another process, with C(rc), up to the point."""
        given = json.dumps({"ANSIBLE_MODULE_ARGS": {"project_src": str(self.project.directory), **options}})
        paths = [str(self.scratch / name) for name in ("answer", "log")]
        status = self._forks.run(f"{__name__}:perform", name, given, paths[0], point and point[1:], blow, paths[1])
        return self._result(status)

    def go_on(self) -> dict[str, Any]:
        """With one that was stopped."""
        return self._result(self._forks.go_on())

    def _result(self, status: int) -> dict[str, Any]:
        if status in (KILLED, STOPPED):
            return {"rc": status, "msg": ""}
        said = (self.scratch / "answer").read_text()
        assert_no_leak(said, [self.key, self.other])
        result = json.loads(said)
        assert "internal error" not in result.get("msg", ""), said
        assert bool(status) == bool(result.get("failed")), said
        return {"msg": "", **result, "rc": status}

    def rekey(self, point: Point | None = None, blow: str = "SIGKILL", **options: Any) -> dict[str, Any]:
        return self.perform("rekey", point, blow, **{"scope": "values", "new_key": self.other, "sample": 0, **options})

    def abort(self, point: Point | None = None) -> dict[str, Any]:
        return self.rekey(point, new_key=None, abort=True)

    def apply(self) -> None:
        result = self.perform("apply")
        assert not result["rc"], result["msg"]

    def moments(self, run: int) -> list[Point]:
        """Of the last module that has ended by itself."""
        return [Point(run, *moment) for moment in json.loads((self.scratch / "log").read_text())]

    def play(self) -> Play:
        """The playbook, with a controller that keeps keys."""
        password = self.scratch / "password"
        password.write_text("NotARealVaultWord1" * 3)
        extra = {
            "project_src": str(self.project.directory),
            "confirm": "localhost",
            "escrow_file": str(self.scratch / "escrow.yml"),
            "sample": 0,
        }
        return playbook(
            "selfhost.appwrite.rotate",
            {f"appwrite_rotation_{name}": value for name, value in extra.items()},
            "--vault-password-file",
            str(password),
            secrets=[self.key, self.other],
            environ={**clean_environ(), **dict([self.mark.split("=")])},
        )

    def processes(self) -> set[int]:
        """Of a play, those in the background too."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark in (process / "environ").read_text(errors="replace").split("\0"):
                    found.add(int(process.name))
        return found

    def blocked(self) -> contextlib.AbstractContextManager[Callable[[], bool]]:
        return blocked(self.project, self.data)

    # - what is found -

    def check(self, key: str, finished: bool = True) -> Differences:
        """By PHP: every value and file is what it was. Until a rotation has ended there may be files that no row uses."""
        found = self.data.check(self.project, self.root, key)
        if not finished:
            found.found = [each for each in found.found if each[0] != "added"]
        return found

    def holders(self) -> dict[str, str]:
        """The id of every container that holds a key, to the key."""
        for left in reversed(range(10)):
            ids = run(
                "docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project.name}"
            ).split()
            try:
                found = json.loads(run("docker", "container", "inspect", *ids)) if ids else []
                break
            except Failed:  # one of them is just being removed
                if not left:
                    raise
        return {
            each["Id"]: entry.partition("=")[2]
            for each in found
            for entry in each["Config"]["Env"]
            if entry.startswith(f"{KEY}=")
        }

    def assert_nothing_mixed(self) -> None:
        """Whatever starts now or later finds nothing but what its key opens."""
        holders = self.holders()
        keys = set(holders.values())
        if not self.is_guarded:
            key = read_env(self.project.directory)[KEY]
            assert keys <= {key}
            self._count(self.check(key, finished=False))
            return
        for words in (("up", "--detach"), ("ps",)):
            with pytest.raises(Failed, match=UNFINISHED):
                self.project.compose(*words)
        assert self.holders().keys() <= holders.keys()
        old, new = (self.check(self.state[name], finished=False) for name in ("old", "new"))
        assert not set(old.found) & set(new.found), "something opens with neither key"
        if keys:
            assert keys == {self.key}
            self._count(old)
        elif self.database != "mongodb":
            self._count(min(old, new, key=lambda each: len(each.found)))

    def _count(self, found: Differences) -> None:
        self.results["values compared"] += found.values
        self.results["files compared"] += found.files
        self.results["losses"] += len(found.found)
        assert not found.found, found.found[:5]
        assert (found.values, found.files) == (
            len(self.data.plain),
            sum(file.sealed for files in self.data.files.values() for file in files),
        )

    def recover(self, forward: bool) -> None:
        """As a user does. Afterwards everything runs with one key, which opens everything."""
        way = "forward" if forward else self._back()
        if way == "forward":
            self._forward()
            assert self.redis("exists", CACHED) == "0"
        else:
            self.apply()
        self.results[way] += 1
        self.assert_whole(dumps=way == "forward")

    def _back(self) -> str:
        """Which way it went."""
        result = self.abort()
        if not result["rc"]:
            assert result["phase"] == "aborted"
            return "back"
        if "no rotation is under way" in result["msg"] and read_env(self.project.directory)[KEY] == self.key:
            return "back"
        assert re.search("no rotation is under way|there is no way back", result["msg"]), result["msg"]
        return "forward"

    def _forward(self) -> None:
        for _part in range(3):
            result = self.rekey()
            if result["rc"]:  # it was killed after its very last step
                assert "is the key that is in force already" in result["msg"], result["msg"]
            if result["rc"] or result["phase"] == "finished":
                self.turn()
                return
            assert result["phase"] == "written"
            self.apply()
        raise AssertionError("it does not end")

    def assert_whole(self, dumps: int) -> None:
        """Everything runs with the key, which opens everything, and nothing is left over but copies of C(.env) and so many dumps."""
        self._count(self.check(self.key))
        assert read_env(self.project.directory)[KEY] == self.key and set(self.holders().values()) == {self.key}
        assert set(self.project.ps().values()) <= {"running", "healthy"}
        left = [
            path
            for path in self._beside.iterdir()
            if path.name.startswith((".appwrite-rotation", ".selfhost-appwrite-", "appwrite-before-", ".env."))
        ]
        made = [path for path in left if path.name.startswith("appwrite-before-")]
        assert len(made) == dumps, made
        assert all(path.suffix == ".bak" for path in left if path not in made), left
        for path in left:
            path.unlink()


@contextlib.contextmanager
def blocked(project: Project, data: Dataset) -> Iterator[Callable[[], bool]]:
    """Nobody can change the last files' rows in a project's MariaDB. Gives whether a rotation waits for that, in the middle of its transaction."""
    table = [table.name for table in data.tables if table.holds_files][-1]
    container = project.container("mariadb")
    client = [
        "docker",
        "exec",
        "--interactive",
        container,
        "sh",
        "-c",
        'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec mariadb --user=root --batch --unbuffered --skip-column-names "$MYSQL_DATABASE"',
    ]
    with subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as session:

        def ask(statement: str) -> str:
            assert session.stdin and session.stdout
            session.stdin.write(f"{statement};\n")
            return session.stdout.readline().strip()

        ask(
            f"SET GLOBAL innodb_lock_wait_timeout = 600; BEGIN; SELECT COUNT(*) FROM (SELECT _id FROM `{table}` FOR UPDATE) AS locked"
        )
        yield lambda: ask("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'") != "0"
