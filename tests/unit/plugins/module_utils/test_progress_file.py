# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job tells while it works."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _progress_file
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress_file import Progress


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_from_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(_progress_file, "_OFTEN", 0)
    path = tmp_path / "progress"
    tell = Progress(str(path))
    assert path.read_text() == "starting 0 0 1\n" and stat.S_IMODE(path.stat().st_mode) == 0o600
    tell("read", 5, 10)
    assert path.read_text() == "read 5 10 2\n" and os.listdir(tmp_path) == ["progress"]
    tell("stopping", 1, 3, "appwrite-worker-mails, redis")
    assert path.read_text() == "stopping 1 3 3 appwrite-worker-mails, redis\n"


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        ("a\nb\r\x1b[2J\u2028\u202eb", "a?b??[2J??b"),
        ("wörker \udcff", "w?rker ?"),
        ("x" * 1_000_000, "x" * 200),
        ("\x00" * 300, "?" * 200),
    ],
)
def test_hostile_name(tmp_path, monkeypatch, waiting, told):
    """A service has the name that somebody gave it, and a queue any."""
    monkeypatch.setattr(_progress_file, "_OFTEN", 0)
    path = tmp_path / "progress"
    Progress(str(path))("waiting", 0, 1, waiting)
    assert path.read_bytes() == b"waiting 0 1 2 %s\n" % told.encode()


def test_goes_on_in_a_step_that_tells_nothing(tmp_path, monkeypatch):
    """So that one that is slow is not taken for one that has died; a full disk stops it only as long as it is full."""
    monkeypatch.setattr(_progress_file, "_BEAT", 0.01)
    path = tmp_path / "progress"
    Progress(str(path))
    until(lambda: int(path.read_text().split()[3]) > 3)
    directory = tmp_path.with_name("elsewhere")
    tmp_path.rename(directory)
    time.sleep(0.05)
    directory.rename(tmp_path)
    seen = int(path.read_text().split()[3])
    until(lambda: int(path.read_text().split()[3]) > seen)


def test_follows_no_link(tmp_path):
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "progress.new").symlink_to("kept")
    (tmp_path / "progress").symlink_to("kept")
    Progress(str(tmp_path / "progress"))
    assert (tmp_path / "kept").read_text() == "kept" and (tmp_path / "progress").read_text() == "starting 0 0 1\n"


def test_keeps_nobody_alive_and_ends_with_him(tmp_path):
    path = tmp_path / "progress"
    code = (
        "import os, sys; sys.path[:0] = %r; from ansible_collections.selfhost.appwrite.plugins.module_utils._progress_file import Progress; Progress(%r);"
        "print(os.path.exists(%r))" % (sys.path, str(path), str(path))
    )
    assert (
        subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True).stdout == b"True\n"
    )
    assert not path.exists()
