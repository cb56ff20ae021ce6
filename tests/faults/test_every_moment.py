# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C and a lost connection at twenty moments of each module's run: it ends what it has begun, or has not begun.

A module without an engine, as a process that hears the signals; and with one, as a play over SSH that is cut off in earnest. What is killed by force is
test_kill.py's and test_interrupted.py's. The module C(rekey) works in the background and is interrupted in test_rotation_interrupted.py and
test_rotation_kill.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faults.calls import Call, Forked, read, signalled
from faults.processes import everything
from support.hosts import Host
from support.stack import KEY, Play, Stack, playbook, set_env, small, succeed, tree, until, without
from testbed._base import clean_environ

MOMENTS = 20
MODULES: Mapping[str, Mapping[str, Any]] = {
    "security": {"encryption_key": {}, "https": {"force": "true"}, "console_access": {"root_only": "true"}},
    "encryption_key": {},
    "https": {"force": "true", "certificate_email": "ops@example.com"},
    "console_access": {"root_only": "false", "emails": ["ada@example.com"]},
    "env": {"variables": {"_APP_DOMAIN": "appwrite.example.com"}},
}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    found = Forked(tmp_path_factory.mktemp("forks"), *MODULES)
    yield found
    found.end()


class Run:
    """One module on a project without an engine. A new key is another one each time, so the file is known by whether the key is there."""

    def __init__(self, name: str, template: Path, scratch: Path, forks: Forked) -> None:
        self._name, self._forks, self._number, self._scratch = name, forks, 0, scratch
        self._found = scratch / "found"
        self._found.mkdir()
        for file in (".env", "docker-compose.yml"):
            shutil.copyfile(template / file, self._found / file)
        if "encryption_key" in (name, *MODULES[name]):
            without(self._found, KEY)
        else:
            set_env(self._found, _APP_OPTIONS_FORCE_HTTPS="disabled")
        self._old = (self._found / ".env").read_bytes()
        directory, log = self._fresh(), scratch / "log"
        assert forks.run(name, self._arguments(directory), "strace", "-qq", "-o", str(log)) == 0
        self._new = self._without_key((directory / ".env").read_bytes())
        assert self._new != self._without_key(self._old)
        self.calls = list(read(log))

    def interrupt(self, call: Call, number: signal.Signals) -> int:
        """The status of a run that hears the signal before this call; and looks at what is left, and at the next run."""
        directory = self._fresh()
        status = self._forks.run(self._name, self._arguments(directory), *signalled(call, number.name))
        left = (directory / ".env").read_bytes()
        assert left == self._old if status else self._without_key(left) == self._new
        assert {path.name for path in directory.iterdir()} <= {".env", "docker-compose.yml", *self._lasting(directory)}
        assert self._forks.succeed(self._name, self._arguments(directory))["changed"] == bool(status)
        files = tree(directory)
        assert self._without_key((directory / ".env").read_bytes()) == self._new
        assert not self._forks.succeed(self._name, self._arguments(directory))["changed"]
        assert tree(directory) == files
        shutil.rmtree(directory)
        return status

    def _lasting(self, directory: Path) -> set[str]:
        """The backup, which holds the whole old file."""
        found = [path for path in directory.glob(".env.*.bak") if path.read_bytes() == self._old]
        assert len(found) <= 1
        return {path.name for path in found}

    def _fresh(self) -> Path:
        self._number += 1
        return Path(shutil.copytree(self._found, self._scratch / f"project{self._number}"))

    def _arguments(self, directory: Path) -> dict[str, Any]:
        return {"project_src": str(directory), **MODULES[self._name]}

    @staticmethod
    def _without_key(text: bytes) -> list[bytes]:
        return [line.partition(b"=")[0] if line.startswith(KEY.encode()) else line for line in text.splitlines()]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "security" else [pytest.mark.nightly("security")]) for name in MODULES],
)
def test_interrupted(name, _template, tmp_path, forks):
    run = Run(name, _template, tmp_path, forks)
    step = len(run.calls) / MOMENTS
    moments = [run.calls[int(number * step)] for number in range(MOMENTS)]
    signals = (signal.SIGHUP, signal.SIGINT)
    ended = [run.interrupt(call, signals[number % 2]) == 0 for number, call in enumerate(moments)]
    print(f"interrupted at {len(ended)} moments, of which {ended.count(True)} went on to the end")
    assert ended.count(True) >= MOMENTS - 2, "before it has begun it may end at once"


# --- plays over SSH ---


def secure(stack: Stack, host: Host) -> Play:
    """The file is written, and applied in the same task."""
    return _play("selfhost.appwrite.secure", stack, host)


def apply(stack: Stack, host: Host) -> Play:
    return _play(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - selfhost.appwrite.apply: {project_src: '{{ appwrite_project_src }}'}\n",
        stack,
        host,
    )


def _play(source: str, stack: Stack, host: Host) -> Play:
    return playbook(
        source,
        {**host.variables(), "appwrite_project_src": str(stack.directory)},
        environ={**clean_environ(), "ANSIBLE_PIPELINING": "false"},
    )


def ctrl_c(_host: Host) -> None:
    """As a terminal does it: everything in the foreground hears of it."""
    for process in everything():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGINT)


def lost_connection(host: Host) -> None:
    host.disconnect()


_WHOLE: dict[Callable[..., Play], tuple[float, set[str]]] = {}
"""How long a play takes if nothing happens, in seconds, and the variables that it changes"""


def _changed(stack: Stack, old: Mapping[str, str]) -> set[str]:
    new = stack.env()
    return {name for name in {*old, *new} if old.get(name) != new.get(name)}


def _undisturbed(stack: Stack, host: Host, work: Callable[..., Play]) -> tuple[float, set[str]]:
    if work not in _WHOLE:
        with stack.kept():
            old = _prepared(stack, work)
            started = time.monotonic()
            assert work(stack, host).rc == 0
            _WHOLE[work] = time.monotonic() - started, _changed(stack, old)
    return _WHOLE[work]


def _prepared(stack: Stack, work: Callable[..., Play]) -> Mapping[str, str]:
    if work is apply:
        set_env(stack.directory, _APP_DOMAIN="appwrite.example.com", _APP_LOCALE="de")
    return stack.env()


@small("interrupted")
@pytest.mark.parametrize(
    ("work", "blow", "moment"),
    [
        pytest.param(
            work,
            blow,
            moment,
            id=f"{work.__name__}-{blow.__name__}-{moment}",
            marks=[]
            if (work, blow, moment) == (secure, lost_connection, 12)
            else [pytest.mark.nightly("another moment")],
        )
        for work in (secure, apply)
        for blow in (ctrl_c, lost_connection)
        for moment in range(MOMENTS)
    ],
)
def test_cut_off(stack, host, work, blow, moment):
    """Without another run: the file is the old one and nothing was touched, or it is the new one and all runs on it."""
    seconds, wanted = _undisturbed(stack, host, work)
    old, ids = _prepared(stack, work), stack.ids()
    with ThreadPoolExecutor() as pool:
        playing, started = pool.submit(work, stack, host), time.monotonic()
        while not playing.done() and time.monotonic() - started < seconds * moment / MOMENTS:
            time.sleep(0.02)
        blow(host)
        play = playing.result()
    until(lambda: not host.at_work())
    until(lambda: set(stack.project.ps().values()) <= {"running", "healthy"})
    changed = _changed(stack, old)
    print(
        f"{seconds * moment / MOMENTS:.1f} of {seconds:.1f} s: status {play.rc}, {'changed' if changed or stack.ids() != ids else 'as before'}"
    )
    assert changed in (set(), wanted)
    assert not list(stack.directory.glob(".selfhost-appwrite-*"))
    if changed or stack.ids() != ids:
        stack.assert_in_force()
    assert work(stack, host).rc == 0
    assert _changed(stack, old) == wanted
    stack.assert_in_force()
    assert succeed("apply", stack.arguments)["changed"] is False


@small("interrupted")
@pytest.mark.nightly("test_cut_off")
def test_goes_back_though_nobody_listens(stack, host):
    """A service does not come up on the new file, so the old one is put back, but for the key."""
    stack.project.fail("appwrite-worker-mails")
    old = stack.env()
    with ThreadPoolExecutor() as pool:
        playing = pool.submit(secure, stack, host)
        until(lambda: stack.env() != old)
        host.disconnect()
        assert playing.result().rc != 0
    until(lambda: not host.at_work())
    assert _changed(stack, old) == {KEY}
