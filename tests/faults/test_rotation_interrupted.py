# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key rotation that is interrupted on its host: nothing starts on data under two keys, and the next run ends what this one began, either way.

C(KILL_POINTS=all) kills at about 150 moments of the whole rotation.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence

import pytest
from integration.support import Kind, Stack, on

from faults.rekey import CACHED, KILLED, Host, Point

ALL = os.environ.get("KILL_POINTS") == "all"
MARIADB, *OTHERS = KINDS = [
    Kind(database=name, services=("appwrite", "appwrite-worker-mails", "redis", name), room="interrupt") for name in ("mariadb", "postgresql", "mongodb")]
pytestmark = pytest.mark.skipif(not shutil.which("php"), reason="php is not at hand: tests/faults/tools.sh installs it where that is allowed")


@pytest.fixture(scope="module")
def _host(_running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Loading takes longer than a rotation."""
    found = Host.make(_running.project, _running.kind.database, tmp_path_factory.mktemp("host"))
    yield found
    found.end()


@pytest.fixture
def host(_host: Host) -> Iterator[Host]:
    yield _host
    print(dict(_host.results))


def points(host: Host) -> list[Point]:
    """Of a rotation that is not disturbed."""
    found = []
    for number, phase in enumerate(("written", "finished")):
        result = host.rekey()
        assert (result["rc"], result.get("phase")) == (0, phase), result["msg"]
        found += host.moments(number)
        if not number:
            host.apply()
    host.key = host.other
    host.assert_whole(dumps=host.database != "mongodb")
    return found


def evenly(found: Sequence[Point], count: int) -> list[Point]:
    return [found[number * len(found) // count] for number in range(min(count, len(found)))]


def chosen(found: list[Point], database: str) -> list[Point]:
    """A sample of the sequence, with what parts it; of what happens to each row and file only a few, since that is another test's."""
    outer = [point for point in found if not point.what.startswith("ask ") and point.what.split()[-1] not in ("journal", "uploads")]
    inner = [point for point in found if point not in outer]
    if ALL:
        return sorted({*evenly(outer, 120), *evenly(inner, 30)}, key=found.index)
    sealing = [point for point in inner if not point.run]
    parting = [Point(0, "docker rm", 1, "begun"), sealing[len(sealing) // 2], Point(0, "exchange .env", 2, "after")]
    if database != "mariadb":
        return parting
    parting += [Point(0, "exchange .env", 1, "before"), Point(0, "exchange .env", 1, "after"), inner[-4], Point(1, "unlink state", 1, "after")]
    return [*parting, *evenly([point for point in outer if point not in parting], 5)]


@on(*KINDS)
def test_killed(host):
    found = points(host)
    begun, picked = time.monotonic(), chosen(found, host.database)
    for number, point in enumerate(picked):
        print(point, time.monotonic() - begun)
        host.redis("set", CACHED, "{}")
        if point.run:
            host.rekey()
            host.apply()
        assert host.rekey(point)["rc"] == KILLED, point
        host.assert_nothing_mixed()
        host.recover(forward=number % 2 == 0)
    print(f"killed at {len(picked)} of {len(found)} moments in {time.monotonic() - begun:.0f} s")
