# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed at any system call leaves the old file or the new one, and the next run ends what it began.

A point is the moment before one call: its name, its number among the calls of that name, and the scenario. C(KILL_POINTS=all) kills before
every system call that a module makes once it is loaded, whatever it is about.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults.calls import CHANGES, Call, Forked, read, signalled
from support.stack import KEY, NOT_A_KEY, module, read_env, set_env, succeed, tree, without
from testbed._base import clean_environ

ALL = os.environ.get("KILL_POINTS") == "all"
_SIGKILLED = -9
_LOOKS = {"openat", "read"}
_BACKUP = ".env.2026010%dT000000Z.bak"


class Whole:
    """Runs a module as Ansible does, with docker compose."""

    answer = "1<pipe:"

    def run(self, name: str, arguments: Mapping[str, Any], *strace: str) -> int:
        try:
            return int(module(name, arguments, prefix=strace)["rc"])
        except json.JSONDecodeError:  # no answer
            return _SIGKILLED

    def succeed(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return succeed(name, arguments)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    found = Forked(tmp_path_factory.mktemp("forks"), "security")
    yield found
    found.end()


# --- what a run finds ---


@dataclass(frozen=True)
class Scenario:
    options: Mapping[str, Any]
    prepare: Callable[[Path], object]
    strace: tuple[str, ...] = ()
    """a fault besides the kill"""


def _no_key(directory: Path) -> None:
    without(directory, KEY)
    (directory / ".env").chmod(0o644)


def _odd(directory: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may give a file away")
    set_env(directory, **{KEY: NOT_A_KEY})
    os.chown(directory / ".env", 12345, 54321)
    (directory / ".env").chmod(0o440)
    subprocess.run(["setfacl", "-m", "u:23456:r", directory / ".env"], check=True)
    os.setxattr(directory / ".env", "trusted.note", b"ours")


def _open_to_all(directory: Path) -> None:
    set_env(directory, **{KEY: NOT_A_KEY})
    (directory / ".env").chmod(0o644)


def _many_backups(directory: Path) -> None:
    """The oldest has another key, and so has to stay."""
    set_env(directory, **{KEY: NOT_A_KEY[::-1]})
    for number in range(1, 5):
        shutil.copyfile(directory / ".env", directory / (_BACKUP % number))
        (directory / (_BACKUP % number)).chmod(0o600)
        set_env(directory, **{KEY: NOT_A_KEY})


def _link(directory: Path) -> None:
    _no_key(directory)
    (directory / "secrets").mkdir()
    (directory / ".env").rename(directory / "secrets" / "appwrite.env")
    (directory / ".env").symlink_to("secrets/appwrite.env")


def _killed_before(directory: Path) -> None:
    _no_key(directory)
    left = directory / ".selfhost-appwrite-abcdefgh"
    left.mkdir(0o700)
    for name in ("candidate", "backup"):
        shutil.copyfile(directory / ".env", left / name)


def _no_file(directory: Path) -> None:
    (directory / ".env").unlink()


_SECURE = {"encryption_key": {}, "https": {}, "console_access": {"root_only": True}}
_FILE = {"encryption_key": {}, "env": {"content": "_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n"}}
_NO_EXCHANGE = ("-e", "inject=renameat2:error=EINVAL")
SCENARIOS = {
    "no key": Scenario(_SECURE, _no_key),
    "odd owner, mode and ACL": Scenario(_SECURE, _odd),
    "no file": Scenario(_FILE, _no_file),
    "narrower mode": Scenario({**_SECURE, "mode": "0600"}, _open_to_all),
    "backups to prune": Scenario({**_SECURE, "backup_keep": 2}, _many_backups),
    "symbolic link": Scenario(_SECURE, _link),
    "killed before": Scenario(_SECURE, _killed_before),
    "no exchange": Scenario(_SECURE, _no_key, _NO_EXCHANGE),
    "no exchange, no file": Scenario(_FILE, _no_file, _NO_EXCHANGE),
}
BY_DAY = ("no key",)


# --- what is left ---


class State(NamedTuple):
    text: bytes
    mode: int
    owner: tuple[int, int]
    attributes: Mapping[str, bytes]

    @classmethod
    def of(cls, path: Path) -> State | None:
        if not path.exists():
            return None
        status = path.stat()
        return cls(
            path.read_bytes(),
            status.st_mode,
            (status.st_uid, status.st_gid),
            {name: os.getxattr(path, name) for name in os.listxattr(path)},
        )


def _key(state: State | None) -> bytes | None:
    found = state and re.search(rb"^_APP_OPENSSL_KEY_V1=(.+)", state.text, re.MULTILINE)
    return found[1] if found else None


def _exposed(directory: Path) -> Iterator[Path]:
    """What others may read."""
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        if path.is_dir() and not path.is_symlink():
            if mode & 0o011:
                yield from _exposed(path)
        elif mode & 0o044:
            yield path


class Victim:
    """A scenario, with what an undisturbed run makes of it."""

    def __init__(self, scenario: Scenario, template: Path, scratch: Path, runner: Forked | Whole) -> None:
        self._scenario, self._scratch, self._runner = scenario, scratch, runner
        self._number, self._found = 0, scratch / "found"
        self._found.mkdir()
        for name in (".env", "docker-compose.yml"):
            shutil.copyfile(template / name, self._found / name)
        scenario.prepare(self._found)
        self.directory = self._fresh()
        self._old = State.of(self.directory / ".env")
        self._exposed = {path.name for path in _exposed(self.directory)}
        log = scratch / "log"
        assert (
            runner.run(
                "security", self._arguments(self.directory), "strace", *scenario.strace, "-qq", "-y", "-o", str(log)
            )
            == 0
        )
        self._new = self._comparable(State.of(self.directory / ".env"))
        assert self._new not in (None, self._old)
        self.calls = list(read(log))

    def concerned(self) -> list[Call]:
        """The calls that change, open or read something of the project, from the first change to the answer: outside there is nothing to undo."""
        mine = [
            call
            for call in self.calls
            if str(self.directory) in call.arguments or self._runner.answer in call.arguments
        ]
        first = next(number for number, call in enumerate(mine) if call.changes)
        last = next(
            number for number, call in enumerate(mine) if call.name == "write" and self._runner.answer in call.arguments
        )
        return [call for call in mine[first : last + 1] if call.name in CHANGES | _LOOKS]

    def kill(self, call: Call) -> bool:
        """Whether the run was killed; if so, looks at what is left and runs again."""
        directory = self._fresh()
        before = tree(directory)
        fault = self._scenario.strace if call.name != "renameat2" else ()
        threads = ("-f", "-b", "execve") if call.name == "wait4" else ()  # they wait for programs, which are left alone
        strace = signalled(call, "SIGKILL", *threads, *fault, traced=",renameat2" if fault else "")
        status = self._runner.run("security", self._arguments(directory), *strace)
        if status == _SIGKILLED:
            self._check_left(directory, before)
            self._check_next(directory)
        shutil.rmtree(directory)
        return status == _SIGKILLED

    def _fresh(self) -> Path:
        self._number += 1
        directory = self._scratch / f"project{self._number}"
        subprocess.run(["cp", "--archive", self._found, directory], check=True)
        return directory

    def _arguments(self, directory: Path) -> dict[str, Any]:
        return {"project_src": str(directory), **self._scenario.options}

    def _comparable(self, state: State | None) -> State | None:
        """A generated key is another one each time."""
        if state is None or _key(self._old):
            return state
        return state._replace(
            text=re.sub(rb"^(_APP_OPENSSL_KEY_V1=)[\w-]{64}$", rb"\1generated", state.text, flags=re.MULTILINE)
        )

    def _check_left(self, directory: Path, before: Mapping[str, tuple[int, bytes]]) -> None:
        assert self._comparable(State.of(directory / ".env")) in (self._old, self._new)
        assert {path.name for path in _exposed(directory)} <= self._exposed
        for path in directory.rglob("*.bak"):
            assert path.stat().st_mode & 0o7777 == 0o600
            assert path.read_bytes() == (before[path.name][1] if path.name in before else self._old and self._old.text)
        for lock in directory.rglob(".selfhost-appwrite-lock"):
            assert lock.stat().st_mode & 0o7777 == 0o600
            with lock.open("r+") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _check_next(self, directory: Path) -> None:
        left = State.of(directory / ".env")
        assert self._runner.succeed("security", self._arguments(directory))["changed"] == (
            self._comparable(left) != self._new
        )
        assert self._comparable(State.of(directory / ".env")) == self._new
        assert (directory / ".env").read_text().count(f"{KEY}=") == 1
        assert (_key(left) or b"").decode() in ("", read_env(directory)[KEY]), "a key that is there is never replaced"
        assert not list(directory.rglob(".selfhost-appwrite-*"))
        if self._scenario.prepare is _many_backups:
            assert (directory / (_BACKUP % 1)).exists(), "it holds the only copy of another key"
        if isinstance(self._runner, Whole):  # it takes a second
            return
        files = tree(directory)
        assert not self._runner.succeed("security", self._arguments(directory))["changed"]
        assert tree(directory) == files


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, id=name, marks=[] if name in BY_DAY else pytest.mark.nightly("test_disk.py, test_file.py"))
        for name, each in SCENARIOS.items()
    ],
)
def test_killed(scenario, _template, tmp_path, forks):
    victim = Victim(scenario, _template, tmp_path, forks)
    points = victim.calls if ALL else victim.concerned()
    reached = [call for call in points if victim.kill(call)]
    print(
        f"killed at {len(reached)} points, {sum(call.changes for call in points)} of them before a change of the disk"
    )
    assert len(reached) == len(points) or ALL, "memory is asked for at other moments each time, files are not"


@pytest.mark.nightly("test_killed")
def test_with_compose(_template, tmp_path):
    """Killed as a user's run would be, from its start; also while it waits for compose, which outlives it and must not keep the lock."""
    victim = Victim(SCENARIOS["no key"], _template, tmp_path, Whole())
    changes = [call for call in victim.concerned() if call.name in CHANGES]
    points = [Call("wait4", 1, ""), *(changes if ALL else changes[:: len(changes) // 3])]
    assert sum(bool(victim.kill(call)) for call in points) == len(points)
    print(f"killed at {len(points)} points with compose")


@pytest.mark.parametrize(
    "point", ["renameat:signal=SIGKILL:when=1", "renameat2:signal=SIGKILL:when=1", "fsync:signal=SIGKILL:when=4"]
)
def test_rollback(directory, tmp_path, point):
    """Without an engine nothing can be applied, so the next run puts the file back and then fails."""
    path, backup = directory / ".env", tmp_path / "backup"
    shutil.copyfile(path, backup)
    set_env(directory, _APP_DOMAIN="appwrite.example.com")
    texts = path.read_bytes(), backup.read_bytes()
    options = {"environ": {**clean_environ(), "DOCKER_HOST": "unix:///nonexistent"}}
    arguments = {"project_src": str(directory), "rollback_file": str(backup)}
    with pytest.raises(json.JSONDecodeError):  # no answer
        module(
            "apply",
            arguments,
            prefix=(
                "strace",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                f"trace={point.partition(':')[0]}",
                "-e",
                f"inject={point}",
            ),
            **options,
        )
    assert path.read_bytes() in texts
    assert "the Docker Engine does not answer" in module("apply", arguments, **options)["msg"]
    assert path.read_bytes() == texts[1] and not list(directory.glob(".selfhost-appwrite-*"))


@pytest.mark.parametrize("name", ["odd owner, mode and ACL", "no exchange"])
def test_on_disk_before_it_is_told(name, _template, tmp_path, forks):
    victim = Victim(SCENARIOS[name], _template, tmp_path, forks)

    def moments(call: str, argument: str) -> list[int]:
        return [
            number for number, found in enumerate(victim.calls) if found.name == call and argument in found.arguments
        ]

    (whole_backup,) = moments("fsync", "/backup>")
    (named_backup,) = moments("renameat", '"backup", ')
    (whole_candidate,) = moments("fsync", "/candidate>")
    switch = moments("renameat" if name == "no exchange" else "renameat2", '"candidate", ')[-1]
    told = moments("write", forks.answer)[0]
    recorded = moments("fsync", f"<{victim.directory}>")
    assert whole_backup < named_backup < recorded[0] < switch and whole_candidate < switch < recorded[-1] < told
    dressed = [number for call in ("write", "fchown", "fsetxattr", "fchmod") for number in moments(call, "/candidate")]
    assert len(dressed) >= 2 and max(dressed) < whole_candidate
