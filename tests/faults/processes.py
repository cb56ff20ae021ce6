# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play, as processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def _parents() -> dict[int, int]:
    """Every process with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return found


def runs(process: int, *words: str) -> bool:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{process}/cmdline").read_text()
        return all(word in command for word in words)
    return False


def everything(*_stack: object) -> set[int]:
    """ansible-playbook, started by this process, and all that it started."""
    parents = _parents()
    found = {
        process for process, parent in parents.items() if parent == os.getpid() and runs(process, "ansible-playbook")
    }
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found
