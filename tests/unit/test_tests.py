# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No test imports a test: what several rooms of tests share is in C(support) and C(testbed), what the files of one room share is a module there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOMS = sorted(path.name for path in TESTS.iterdir() if path.is_dir() and any(path.rglob("*.py")))
SHARED = {"support", "testbed"}
_PREFIX = "ansible_collections.selfhost.appwrite.tests."


def imported(path: Path) -> set[str]:
    """The modules of tests that a file names, from C(tests) on."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    names = {name.removeprefix(_PREFIX).removeprefix("tests.") for name in found}
    return {name for name in names if name.partition(".")[0] in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_imports(room: str) -> None:
    allowed = {room, "testbed"} if room in SHARED else {room, *SHARED}
    wrong = []
    for path in (TESTS / room).rglob("*.py"):
        for name in imported(path):
            is_test = any(part.startswith("test_") for part in name.split("."))
            if name.partition(".")[0] not in allowed or is_test:
                wrong.append(f"{path.relative_to(TESTS)} imports {name}")
    assert wrong == []


def test_the_testbed_needs_no_other_room() -> None:
    assert {name.partition(".")[0] for path in (TESTS / "testbed").rglob("*.py") for name in imported(path)} == {
        "testbed"
    }


def test_each_room_has_its_tests_named() -> None:
    """The table in tests/README.md has what there is, and names what there is."""
    section = (TESTS / "README.md").read_text("utf-8").partition("## Which test is for what")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
    rooms = {name for room, *_tests in rows for name in re.findall("`([^`]+)`", room)}
    plugins = TESTS.parent / "plugins"
    assert {
        path.name
        for kind in ("module_utils", "plugin_utils")
        for path in (plugins / kind).glob("_*")
        if path.name not in ("__init__.py", "__pycache__")
    } <= rooms
    for _room, *columns in rows:
        for directory, tests in zip(("integration", "faults"), columns):
            for name in re.findall("`([^`]+)`", tests):
                assert (TESTS / directory / name).is_file(), name
