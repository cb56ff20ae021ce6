# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file is written, and something dies before its containers run on it: the play goes back, or the next one ends what this one began."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.processes import everything, runs
from support.stack import HTTPS, KEY, Play, Stack, read_env, small, succeed
from testbed._base import run

pytestmark = pytest.mark.usefixtures("plays_are_programs")
WRITE = "Secure the .env"


# --- what dies ---


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each module is a file, as it is by default, and so has a name among the processes."""
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")


def compose(_stack: Stack) -> set[int]:
    """docker compose up, which is docker and its plugin."""
    return {process for process in everything() if runs(process, "compose", "\0up\0")}


def at_work(stack: Stack) -> bool:
    """Whether a docker compose up of this project runs, whoever began it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if runs(int(process.name), "compose", "\0up\0") and (process / "cwd").samefile(stack.directory):
                return True
    return False


def module(_stack: Stack) -> set[int]:
    return {process for process in everything() if runs(process, "AnsiballZ_security")}


def all_but_compose(stack: Stack) -> set[int]:
    return everything() - compose(stack)


# --- when ---


def written(stack: Stack) -> Callable[[], bool]:
    """The file has changed, and no container has."""
    old = (stack.directory / ".env").read_bytes()
    return lambda: (stack.directory / ".env").read_bytes() != old


def in_up(stack: Stack) -> Callable[[], bool]:
    """compose has made a new container."""
    old = _ids(stack)
    return lambda: not _ids(stack) <= old


def in_wait(stack: Stack) -> Callable[[], bool]:
    """compose is done, and its containers are not up yet."""
    begun = in_up(stack)
    return lambda: begun() and not compose(stack)


# --- what happens, and what is left ---


def _ids(stack: Stack) -> set[str]:
    """Of every container; in the middle of things a service has two."""
    return set(
        run(
            "docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={stack.project.name}"
        ).split()
    )


def interrupted(stack: Stack, moment: Callable[[], bool], blow: Callable[[], object]) -> tuple[Play, str]:
    """A play that is dealt a blow at a moment, and the key that it had generated."""
    with ThreadPoolExecutor() as pool:
        playing = pool.submit(stack.secure)
        while not moment():
            assert not playing.done(), playing.result().output
            time.sleep(0.02)
        key = stack.env()[KEY]
        blow()
        print("interruptions: 1")
        return playing.result(), key


def assert_old_but_for_the_key(stack: Stack, old: Mapping[str, str], key: str) -> None:
    assert stack.env() == {**old, KEY: key}
    assert set(stack.project.ps().values()) <= {"running", "healthy"}
    assert len(_ids(stack)) == len(stack.project.ps())
    stack.assert_in_force()


def kill(stack: Stack, victims: Callable[[Stack], set[int]]) -> None:
    found = victims(stack)
    assert found
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def assert_converges(stack: Stack, key: str) -> None:
    """The next run ends what was begun, with the key of then, and leaves nothing to do."""
    play = stack.secure()
    assert play.rc == 0, play.output
    assert stack.env()[KEY] == key
    assert stack.env()[HTTPS] == "enabled"
    assert set(stack.project.ps().values()) <= {"running", "healthy"}
    assert len(_ids(stack)) == len(stack.project.ps())
    stack.assert_in_force()
    assert succeed("apply", stack.arguments)["changed"] is False


@small("interrupted")
@pytest.mark.nightly("test_service_that_exits")
def test_compose_dies(stack):
    """The old file is put back but for the key, and the old values run again."""
    old = stack.env()
    play, key = interrupted(stack, in_up(stack), lambda: kill(stack, compose))
    assert play.rc == 2, play.output
    assert "was put back and applied" in play.result(WRITE)["msg"]
    assert_old_but_for_the_key(stack, old, key)


@small("interrupted")
def test_module_dies(stack):
    """Nothing is left that could go back, so it goes on; and the play says so."""
    play, key = interrupted(stack, in_up(stack), lambda: kill(stack, module))
    assert play.rc == 2, play.output
    assert "run the same again, which goes on from there" in play.result(WRITE)["msg"]
    assert_converges(stack, key)


@small("interrupted")
@pytest.mark.nightly("test_secured.py")
def test_backup_is_gone(stack):
    """Nothing is said to have been put back that was not."""
    stack.project.fail("appwrite-worker-mails")
    play, _key = interrupted(
        stack, in_up(stack), lambda: [path.unlink() for path in stack.directory.glob(".env.*.bak")]
    )
    assert play.rc == 2, play.output
    reason = play.result(WRITE)["msg"]
    assert (
        "the service appwrite-worker-mails" in reason
        and "Going back failed too: rollback_file: " in reason
        and "was put back" not in reason
    )
    assert stack.env()[HTTPS] == "enabled"


MOMENTS = {
    "between write and apply": (written, everything),
    "in up, compose goes on": (in_up, all_but_compose),
    "in the wait": (in_wait, everything),
}


@small("interrupted")
@pytest.mark.parametrize(
    ("moment", "victims"),
    [
        pytest.param(
            *MOMENTS[name], id=name, marks=[pytest.mark.nightly("the other moments")] if name == "in the wait" else []
        )
        for name in MOMENTS
    ],
)
@pytest.mark.nightly("test_cut_off, test_module_dies, test_secured.py")
def test_play_dies(stack, moment, victims):
    play, key = interrupted(stack, moment(stack), lambda: kill(stack, victims))
    assert play.rc == -signal.SIGKILL
    assert_converges(stack, key)


def anew(number: int) -> Callable[[Stack], Callable[[], bool]]:
    """compose has made so many new containers."""

    def moment(stack: Stack) -> Callable[[], bool]:
        old = _ids(stack)
        return lambda: len(_ids(stack) - old) >= number

    return moment


@small("interrupted")
@pytest.mark.nightly("test_play_dies, test_cut_off")
def test_next_run_waits_for_what_a_dead_one_began(stack):
    """compose keeps the lock of the run that began it."""
    play, key = interrupted(stack, anew(1)(stack), lambda: kill(stack, all_but_compose))
    assert play.rc == -signal.SIGKILL
    assert at_work(stack)
    succeed("console_access", {**stack.arguments, "root_only": True})
    assert not at_work(stack)
    assert_converges(stack, key)


@small("interrupted")
@pytest.mark.nightly("test_play_dies, test_containers_that_ran_are_gone")
def test_play_dies_and_the_project_is_taken_down(stack):
    """No container shows any more that the key has run."""
    _play, key = interrupted(stack, in_up(stack), lambda: kill(stack, everything))
    stack.project.compose("down")
    assert_converges(stack, key)


@small("interrupted")
@pytest.mark.nightly("test_secured.py, test_play_dies")
def test_containers_that_ran_are_gone(stack):
    """What they stored is sealed with a key that no container shows any more."""
    backup = Path(succeed("security", {**stack.arguments, "encryption_key": {}})["backup_file"]).name
    key = stack.env()[KEY]
    stack.project.up("appwrite")
    stack.project.compose("rm", "--stop", "--force", "appwrite")
    result = succeed("apply", {**stack.arguments, "rollback_file": str(stack.directory / backup)})
    assert f"{KEY} is not rolled back: containers may have run" in "".join(result["warnings"])
    assert_old_but_for_the_key(stack, read_env(stack.directory, backup), key)


# --- the engine and the host ---


@pytest.mark.xdist_group("machine")
@pytest.mark.nightly("test_apply.py of module_utils, test_play_dies")
def test_engine_dies(machine):
    """The old file is back though nothing can be applied, and the key that may have run stays."""
    engine, stack = machine
    old = stack.env()
    play, key = interrupted(stack, in_up(stack), engine.kill)
    assert play.rc == 2, play.output
    reason = play.result(WRITE)["msg"]
    assert reason.count("the Docker Engine does not answer") == 2
    assert "was put back" in reason and "could not be applied" in reason and "may have run with the new key" in reason
    assert stack.env() == {**old, KEY: key}
    engine.start()
    # What it found running it has stopped. Without the database nobody can say whether another key would do harm.
    stack.project.compose("up", "--detach", "--wait", "mariadb")
    assert_converges(stack, key)


@pytest.mark.xdist_group("machine")
@pytest.mark.parametrize("moment", [pytest.param(written, marks=pytest.mark.nightly("test_play_dies")), in_up])
@pytest.mark.nightly("test_play_dies")
def test_host_reboots(machine, moment):
    engine, stack = machine

    def power_off() -> None:
        kill(stack, everything)
        engine.power_off()

    play, key = interrupted(stack, moment(stack), power_off)
    assert play.rc == -signal.SIGKILL
    engine.start()
    assert_converges(stack, key)
