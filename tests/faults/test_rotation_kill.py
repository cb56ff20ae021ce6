# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation of the encryption key that dies at any moment loses nothing: PHP opens every value and file after the next run, whichever way that goes.

C(KILL_POINTS=all) kills at 330 points over the whole rotation, or a few more, and at all around the commit; C(KILL_POINTS=every) at each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.rotation import Point, Victim
from support.forks import STOPPED
from support.stack import Kind, Stack, needs_php, on
from testbed._base import run

KILL_POINTS = os.environ.get("KILL_POINTS")
KINDS = [Kind(database=database, services=(database,), room="rotation") for database in ("mariadb", "postgresql")]
_SAMPLE = 8
_KILLED = -9
pytestmark = needs_php
_victims: dict[str, Victim] = {}


@pytest.fixture(scope="module")
def _victims_end() -> Iterator[None]:
    yield
    for found in _victims.values():
        found.end()


@pytest.fixture
def victim(stack: Stack, tmp_path_factory: pytest.TempPathFactory, _victims_end: None) -> Iterator[Victim]:
    """One for each database, since loading takes long. Put back because the stack's own cleaning empties the console."""
    name = stack.project.name
    if name not in _victims:
        _victims[name] = Victim.make(stack.project, stack.kind.database, tmp_path_factory.mktemp("victim"))
    _victims[name].reset()
    yield _victims[name]
    print(dict(_victims[name].results))


def chosen(points: list[Point]) -> list[Point]:
    """An even sample, and those around the commit."""
    first, commit = (points.index(Point(f"write {word}", 1, "before")) for word in ("START", "COMMIT"))
    if KILL_POINTS == "every":
        return points
    if KILL_POINTS == "all":
        return [*points[:: len(points) // 330], *points[commit - 5 : commit + 5]]
    certain = [point for point in points[first:] if not point.call.startswith("read")]
    return [*points[commit : commit + 2], *certain[:: len(certain) // _SAMPLE]]


@on(KINDS[1], nightly=KINDS[:1])
def test_killed(victim):
    points = victim.points()
    picked = chosen(points)
    begun, killed = time.monotonic(), 0
    for number, point in enumerate(picked):
        status = victim.rotate(point)
        assert status == _KILLED or status == 0 and point.call.startswith("read"), (point, victim.errors)
        killed += status == _KILLED
        victim.recover(forward=number % 2 == 0)
        if number % 50 == 49:
            print(
                f"{number + 1} of {len(picked)} points, {time.monotonic() - begun:.0f} s: {dict(victim.results)}",
                flush=True,
            )
    print(f"killed at {killed} of {len(points)} points in {time.monotonic() - begun:.0f} s")
    results = victim.results
    assert (
        results["back from old"]
        and results["back from new"]
        and results["forward from old"]
        and results["forward from new"]
    )


def kill_server(victim: Victim) -> None:
    run("docker", "kill", victim.container)


def kill_client(victim: Victim) -> None:
    """In the container, where it is another process than the one that the rotation has started."""
    run(
        "docker",
        "exec",
        victim.container,
        "killall",
        "-9",
        {"mariadb": "mariadb", "postgresql": "psql"}[victim.database],
    )


@on(KINDS[1], nightly=KINDS[:1])
@pytest.mark.parametrize("blow", [kill_client, kill_server])
def test_database_dies(victim, blow):
    """The rotation ends by itself, and cleans up where it may."""
    points = victim.points()
    commit = points.index(Point("write COMMIT", 1, "before"))
    middle = next(point for point in points[len(points) // 2 :] if not point.call.startswith("read"))
    for number, point in enumerate([middle, points[commit], points[commit + 1]]):
        assert victim.rotate(point, "SIGSTOP") == STOPPED
        blow(victim)
        assert victim.go_on() == 1, "it must not be thought to have succeeded"
        assert "the connection was lost" in victim.errors
        if blow is kill_server:
            victim.project.up()
            victim.project.wait()
        state = victim.recover(forward=number % 2 == 0)
        assert state == "old" or point == points[commit + 1]


@on(KINDS[1], nightly=KINDS[:1])
def test_two_at_once(victim):
    """The second one waits until the first one's transaction is over, however that ends, and goes on from there."""
    points = victim.points()
    assert victim.rotate(points[points.index(Point("write COMMIT", 1, "before"))], "SIGSTOP") == STOPPED
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(victim.recover, forward=True)
        time.sleep(1)
        assert not waiting.done()
        assert victim.go_on() == 0, victim.errors
        assert waiting.result() == "new"
