# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File systems of a test's own, and full ones."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def mounted(image: Path, size: str, *mkfs: str) -> Iterator[Path]:
    run("truncate", "-s", size, image)
    run(*mkfs, image)
    place = image.with_suffix("")
    place.mkdir()
    run("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        run("umount", place)
        image.unlink()


@contextlib.contextmanager
def full(disk: Path, room: int) -> Iterator[None]:
    """Leaves C(room) kilobytes."""
    with open(disk / "filler", "wb") as stream:
        for step in (1 << 16, 1 << 10):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(stream.fileno(), os.fstat(stream.fileno()).st_size, step)
        os.ftruncate(stream.fileno(), os.fstat(stream.fileno()).st_size - (room << 10))
        os.fsync(stream.fileno())
    try:
        yield
    finally:
        (disk / "filler").unlink()
