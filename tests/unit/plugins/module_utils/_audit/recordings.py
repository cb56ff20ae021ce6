# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of other programs, recorded with the options that we run them with, and shortened.

Each is named by program, release and system, day, and what it looked at. The three lines at its head are ours.
"""

from __future__ import annotations

from pathlib import Path


def recorded(name: str) -> str:
    return (Path(__file__).with_name("recorded") / f"{name}.txt").read_text("utf-8").split("\n", 3)[3]
