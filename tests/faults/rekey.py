# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module C(rekey) that is stopped or killed at one of the moments where it changes something outside itself, and what is found then.

Such a moment is before or after a call of the operating system that changes something about files, before or after a program that changes something,
and just after the start of such a program, which then goes on alone. Run as a program, this forks a module's run for each line that it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.selfhost.appwrite.plugins.module_utils import _env_file
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import encryption_key
from integration.support import assert_no_leak, read_env, set_env
from testbed._base import Failed, clean_environ, run
from testbed.dataset import Dataset, Differences
from testbed.project import Project

KEY = encryption_key.NAME
KEYS = ("NotARealEncryptionKey1", "AnotherUnrealEncryptionKey2")
CACHED = "default-cache-_console:users:1"
"""a key of Redis with a decrypted row"""
KILLED, STOPPED = -9, -19
UNFINISHED = "a rotation of the encryption key is unfinished"
_CALLS = ("open", "mkdir", "write", "fsync", "chown", "fchown", "chmod", "fchmod", "setxattr", "rename", "replace", "unlink", "rmdir")
_PLACES = (("/.appwrite-rotation/files", "journal"), ("/.appwrite-rotation", "state"), ("appwrite-before-rotation-", "dump"), (".bak", "backup"),
           ("/uploads", "uploads"), ("/_data", "uploads"))
_PROGRAMS = (("stop", "stop"), ("start", "start"), ("rm", "rm"), ("redis-cli", "redis-cli"), ("--interactive", "client"), ("exec", "dump"))
_WRITES = re.compile(rb"(DELETE|CREATE|START|COMMIT)\b|.*?\"what\": ?\"(change)\"")
_HERE = Path(__file__).parents[1]


class Point(NamedTuple):
    run: int
    """0 up to the new key in C(.env), 1 after the start of the project"""
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
        name = os.path.join(os.readlink(f"/proc/self/fd/{directory}") if directory is not None else "", os.fsdecode(path))
    return next((place for part, place in _PLACES if part in name), ".env")


class _Moments:
    """Has every call announced to C(seen), before and after."""

    def __init__(self, seen: Callable[[str, int, str], None]) -> None:
        self._seen = seen
        self._ordinals: Counter[str] = Counter()
        for name in _CALLS:
            setattr(os, name, self._wrap(name, getattr(os, name), self._label))
        setattr(_env_file, "_rename", self._wrap("exchange", getattr(_env_file, "_rename"), self._label))
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
        subprocess.Popen = Popen  # type: ignore[misc]

    def next(self, label: str) -> Callable[[str], None]:
        self._ordinals[label] += 1
        ordinal = self._ordinals[label]
        return lambda side: self._seen(label, ordinal, side)

    def _wrap(self, name: str, real: Callable[..., Any], label: Callable[..., str]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            what = label(name, *arguments, **options)
            if not what:
                return real(*arguments, **options)
            announce = self.next(what)
            announce("before")
            result = real(*arguments, **options)
            announce("after")
            return result
        return call

    @staticmethod
    def _label(name: str, *arguments: Any, dir_fd: int | None = None, **_options: Any) -> str:
        first = arguments[0]
        if name == "open" and not arguments[1] & os.O_CREAT:
            return ""
        if name == "write" and os.readlink(f"/proc/self/fd/{first}").startswith("pipe:"):
            word = _WRITES.match(bytes(arguments[1][:200]))
            return f"ask {(word[1] or word[2]).decode()}" if word else ""
        return f"{name} {_place(arguments[1] if name in ('rename', 'exchange') else first, dir_fd)}"


def _program(command: list[str], stdin: Any) -> str:
    """Of one that changes something."""
    found = next((label for word, label in _PROGRAMS if word in command), "")
    if found == "redis-cli" and not os.pread(stdin.fileno(), 6, 0).startswith(b"UNLINK"):
        return ""
    return f"docker {found}" if found else ""


def _perform(name: str, given: str, answer: str, point: list[Any] | None, blow: str, log: str) -> None:
    written: list[list[Any]] = []

    def seen(*moment: Any) -> None:
        written.append(list(moment))
        if list(moment) == point:
            os.kill(os.getpid(), getattr(signal, blow))

    sys.stdin = open(given)
    os.dup2(os.open(answer, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    _Moments(seen)
    try:
        runpy.run_path(str(_HERE.parent / "plugins" / "modules" / f"{name}.py"), run_name="__main__")
    finally:
        Path(log).write_text(json.dumps(written))


def _serve() -> None:
    """Answers each line with the status of a child, and goes on with a stopped one at the next line."""
    from ansible_collections.selfhost.appwrite.plugins.modules import apply, rekey  # noqa: F401  # to have them ready
    encryption_key._ROUNDS = 1  # slow on purpose, and it touches no file
    stopped = 0
    for line in sys.stdin:
        child = stopped or os.fork()
        if stopped:
            os.kill(child, signal.SIGCONT)
        elif not child:
            _perform(*json.loads(line))
        status = os.waitpid(child, os.WUNTRACED)[1]
        stopped = child if os.WIFSTOPPED(status) else 0
        print(STOPPED if stopped else os.waitstatus_to_exitcode(status), flush=True)


# --- in the tests ---


@dataclass
class Host:
    """A running project with data, and the forks that rotate its key. From one rotation to the next it goes from one key to the other."""

    project: Project
    database: str
    data: Dataset
    root: Path
    scratch: Path
    key: str = KEYS[0]
    results: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        path = os.pathsep.join(map(str, (_HERE, _HERE.parent / ".work" / "import")))
        self._forks = subprocess.Popen(
            [sys.executable, "-m", "faults.rekey"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(self.scratch / "errors").open("w"), text=True,
            bufsize=1, env={**clean_environ(), "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(_HERE.parent / ".work" / "pycache")})

    @classmethod
    def make(cls, project: Project, database: str, scratch: Path, root: Path | None = None) -> Host:
        """root: what the containers have as /storage/uploads, by default a volume."""
        data = Dataset.make(1, KEYS[0], database=database, file_bytes=20_000)
        set_env(project.directory, **{KEY: KEYS[0]})
        project.up()
        project.wait()
        root = root or Path(run("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{project.name}_appwrite-uploads").strip())
        data.load(project)
        data.write_files(root)
        return cls(project, database, data, root, scratch)

    def end(self) -> None:
        self._forks.communicate()

    @property
    def other(self) -> str:
        return KEYS[self.key == KEYS[0]]

    @property
    def env(self) -> bytes:
        return (self.project.directory / ".env").read_bytes()

    @property
    def is_guarded(self) -> bool:
        return encryption_key.GUARD.encode() in self.env

    def redis(self, *words: str) -> str:
        return self.project.compose("exec", "-T", "redis", "redis-cli", *words).strip()

    # - modules -

    def perform(self, name: str, point: Point | None = None, blow: str = "SIGKILL", **options: Any) -> dict[str, Any]:
        """A module's result in another process, with C(rc), up to the point."""
        given = self.scratch / "given"
        given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"project_src": str(self.project.directory), **options}}))
        return self._answer(json.dumps([name, str(given), str(self.scratch / "answer"), point and point[1:], blow, str(self.scratch / "log")]))

    def go_on(self) -> dict[str, Any]:
        """With one that was stopped."""
        return self._answer("")

    def _answer(self, request: str) -> dict[str, Any]:
        assert self._forks.stdin and self._forks.stdout
        self._forks.stdin.write(request + "\n")
        status = int(self._forks.stdout.readline())
        if status in (KILLED, STOPPED):
            return {"rc": status, "msg": ""}
        said = (self.scratch / "answer").read_text()
        assert_no_leak(said, KEYS)
        result = json.loads(said)
        assert "internal error" not in result.get("msg", ""), said
        assert bool(status) == bool(result.get("failed")), said
        return {"msg": "", **result, "rc": status}

    def rekey(self, point: Point | None = None, blow: str = "SIGKILL", **options: Any) -> dict[str, Any]:
        # mongodump can be had neither from Debian nor as a Go module.
        return self.perform("rekey", point, blow, **{"scope": "values", "new_key": self.other, "dump": self.database != "mongodb", **options})

    def abort(self) -> dict[str, Any]:
        return self.rekey(new_key=None, abort=True)

    def apply(self) -> None:
        result = self.perform("apply")
        assert not result["rc"], result["msg"]

    def moments(self, run: int) -> list[Point]:
        """Of the last module that has ended by itself."""
        return [Point(run, *moment) for moment in json.loads((self.scratch / "log").read_text())]

    # - what is found -

    def check(self, key: str, finished: bool = True) -> Differences:
        """By PHP: every value and file is what it was. Until a rotation has ended there may be files that no row uses."""
        found = self.data.check(self.project, self.root, key)
        if not finished:
            found.found = [each for each in found.found if each[0] != "added"]
        return found

    def holders(self) -> dict[str, str]:
        """The id of every container that holds a key, to the key."""
        while True:
            with contextlib.suppress(Failed):  # one of them is just being removed
                ids = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project.name}").split()
                found = json.loads(run("docker", "container", "inspect", *ids))
                break
        return {each["Id"]: entry.partition("=")[2] for each in found for entry in each["Config"]["Env"] if entry.startswith(f"{KEY}=")}

    def assert_nothing_mixed(self) -> None:
        """Whatever starts now or later finds nothing but what its key opens."""
        holders = set(self.holders().values())
        if not self.is_guarded:
            key = read_env(self.project.directory)[KEY]
            assert holders <= {key}
            self._count(self.check(key, finished=False))
            return
        for words in (("up", "--detach"), ("ps",)):
            with pytest.raises(Failed, match=UNFINISHED):
                self.project.compose(*words)
        if holders:
            assert holders == {self.key}
            self._count(self.check(self.key, finished=False))
        elif self.database != "mongodb":
            found = [self.check(key, finished=False) for key in (self.key, self.other)]
            self._count(min(found, key=lambda each: len(each.found)))

    def _count(self, found: Differences) -> None:
        self.results["values compared"] += found.values
        self.results["files compared"] += found.files
        self.results["losses"] += len(found.found)
        assert not found.found, found.found[:5]
        assert (found.values, found.files) == (len(self.data.plain), sum(file.sealed for files in self.data.files.values() for file in files))

    def recover(self, forward: bool) -> None:
        """As a user does. Afterwards everything runs with one key, which opens everything."""
        way = "forward" if forward else self._back()
        if way == "forward":
            self._forward()
            assert self.redis("exists", CACHED) == "0"
        else:
            self.apply()
        self.results[way] += 1
        self.assert_whole(dumps=way == "forward" and self.database != "mongodb")

    def _back(self) -> str:
        """Which way it went."""
        result = self.abort()
        if not result["rc"]:
            assert result["phase"] == "aborted"
            return "back"
        assert re.search("no rotation is under way|there is no way back", result["msg"]), result["msg"]
        begun = read_env(self.project.directory).get(KEY) != self.key
        return "forward" if begun else "back"

    def _forward(self) -> None:
        for _part in range(3):
            result = self.rekey()
            if result["rc"]:  # it was killed after its very last step
                assert "is the key that is in force already" in result["msg"], result["msg"]
            if result["rc"] or result["phase"] == "finished":
                self.key = self.other
                return
            assert result["phase"] == "written"
            self.apply()
        raise AssertionError("it does not end")

    def assert_whole(self, dumps: int) -> None:
        """Everything runs with the key, which opens everything, and nothing is left over but copies of C(.env) and so many dumps."""
        self._count(self.check(self.key))
        assert read_env(self.project.directory)[KEY] == self.key and set(self.holders().values()) == {self.key}
        assert set(self.project.ps().values()) <= {"running", "healthy"}
        directory = (self.project.directory / ".env").resolve().parent
        left = [path for path in directory.iterdir() if path.name.startswith((".appwrite-rotation", ".selfhost-appwrite-", "appwrite-before-", ".env."))]
        made = [path for path in left if path.name.startswith("appwrite-before-")]
        assert len(made) == dumps, made
        assert all(path.suffix == ".bak" for path in left if path not in made), left
        for path in left:
            path.unlink()


if __name__ == "__main__":
    _serve()
