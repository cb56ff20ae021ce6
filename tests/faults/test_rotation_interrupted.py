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
from collections.abc import Iterator

import pytest
from integration.support import Kind, Stack, on

from faults.rekey import KILLED, Host, Point

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
    result = host.rekey()
    assert (result["rc"], result.get("phase")) == (0, "written"), result["msg"]
    found = host.moments(0)
    host.apply()
    result = host.rekey()
    assert (result["rc"], result.get("phase")) == (0, "finished"), result["msg"]
    found += host.moments(1)
    host.key = host.other
    host.assert_whole(dumps=host.database != "mongodb")
    return found


def test_points(_host):
    t=time.monotonic()
    for point in points(_host): print(*point)
    print(time.monotonic()-t)

test_points = on(*KINDS)(test_points)
