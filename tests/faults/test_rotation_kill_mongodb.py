# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation in MongoDB, where every change is one of its own, that dies at any moment: the next run goes on or back, and PHP opens everything.

C(KILL_POINTS=all) kills at 330 points over the whole rotation, or a few more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from faults.rotation import Point, Victim
from support.forks import STOPPED
from support.stack import Kind, Stack, on
from testbed._base import run

ALL = os.environ.get("KILL_POINTS") == "all"
KIND = Kind("1.9.6", "mongodb", services=("mongodb",), room="rotation")
# The client is known by its environment, as it knows others of its kind.
_KILL_CLIENT = "for process in /proc/[0-9]*; do grep -qs SELFHOST_APPWRITE_STORE= $process/environ && kill -9 ${process#/proc/}; done; true"
pytestmark = on(KIND)


@pytest.fixture(scope="module")
def _victim(_running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Victim, list[Point]]]:
    """Loading takes longer than a rotation."""
    found = Victim.make(_running.project, "mongodb", tmp_path_factory.mktemp("victim"))
    yield found, [point for point in found.points() if point.call != "read on"]
    found.end()


@pytest.fixture
def points(_victim: tuple[Victim, list[Point]]) -> list[Point]:
    return _victim[1]


@pytest.fixture
def victim(_victim: tuple[Victim, list[Point]]) -> Iterator[Victim]:
    yield _victim[0]
    print(dict(_victim[0].results))


def test_killed(victim, points):
    chosen = (
        points[:: len(points) // 330] if ALL else points[len(points) // 3 :: len(points) // 8]
    )  # the first third only reads
    begun = time.monotonic()
    for number, point in enumerate(chosen):
        assert victim.rotate(point) == -9, (point, victim.errors)
        victim.recover(forward=number % 2 == 0)
        if number % 50 == 49:
            print(
                f"{number + 1} of {len(chosen)} points, {time.monotonic() - begun:.0f} s: {dict(victim.results)}",
                flush=True,
            )
    print(f"{len(points)} points, killed at {len(chosen)} of them in {time.monotonic() - begun:.0f} s")
    assert victim.results["forward from mixed"] and victim.results["back from mixed"]


def _server(victim: Victim) -> None:
    run("docker", "kill", victim.container)


def _client(victim: Victim) -> None:
    run("docker", "exec", victim.container, "sh", "-c", _KILL_CLIENT)


@pytest.mark.parametrize("kill", [_server, _client])
def test_others_killed(victim, points, kill: Callable[[Victim], None]):
    """The rotation says so in words. What it had done stays, and the next run ends it."""
    middle = [point for point in points if point.call == "write" and point.side == "before"]
    assert victim.rotate(middle[len(middle) * 6 // 10], "SIGSTOP") == STOPPED, victim.errors
    container = victim.container
    kill(victim)
    said = len(victim.errors)
    assert victim.go_on() == 1
    assert "MongoDB: the connection was lost" in victim.errors[said:]
    run("docker", "start", container)
    victim.project.wait()
    assert victim.recover(forward=True) == "mixed"
