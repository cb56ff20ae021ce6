# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' own checker of metrics and rules, taken once into .work/testbed/ from Debian's package, which is not installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from ._base import WORK, locked
from .images import _unpack


def promtool() -> Path:
    target = WORK / "prometheus" / "promtool"
    with locked("prometheus"):
        if not target.exists():
            root = target.with_name("root")
            shutil.rmtree(root, ignore_errors=True)
            _unpack(["prometheus"], root)
            (root / "usr/bin/promtool").rename(target)
            shutil.rmtree(root)
    return target
