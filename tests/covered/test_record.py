# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is covered keeps its name when it moves, and what is lost is told."""

from __future__ import annotations

import pytest
from testbed._base import run

import covered
from covered.record import lost
from covered.source import Source

BEFORE = {"plugins/a.py": {"f": {"return x": [2], "x = 1": [1, 1]}, "g": {"y()": [0]}}}
PROGRAM = """\
@cached
def outer(given):
    def inner():
        return given
    if (given
            and inner()):
        return sorted(
            given)
    return None
"""


@pytest.mark.parametrize(
    ("after", "uncovered", "gone"),
    [
        (BEFORE, [], []),
        ({"plugins/a.py": {"f": {"return x": [0], "x = 1": [1, 0]}}}, ["return x", "x = 1"], []),
        ({"plugins/a.py": {"f": {"return x": [1], "x = 1": [1, 1, 0]}}}, ["x = 1"], []),
        ({"plugins/b/c.py": {"f": {"return x": [1], "x = 1": [1, 1]}}}, [], []),
        ({"plugins/b/c.py": {"f": {"return x": [0], "x = 1": [1, 1]}}}, ["return x"], []),
        ({"plugins/b/c.py": {"Class.h": {"return x": [0], "x = 1": [1, 1]}}}, ["return x"], []),
        ({"plugins/a.py": {"f": {"return x": [1]}}}, [], ["x = 1"]),
        ({"plugins/a.py": {"f": {"return x": [1]}, "g": {"y()": [0], "x = 1": [0, 0]}}}, ["x = 1"], []),
    ],
)
def test_lost(after, uncovered, gone):
    assert [[text for _file, _scope, text in found] for found in lost(BEFORE, after)] == [uncovered, gone]


def test_names(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr("covered.source.ROOT", tmp_path)
    source = Source("program.py")
    condition = "if given and inner():"
    assert [(item.scope, item.text) for item in source.items] == [
        ("", "@cached"),
        ("", "def outer(given):"),
        ("outer", "def inner():"),
        ("outer.inner", "return given"),
        ("outer", condition),
        ("outer", f"{condition} → return sorted(given)"),
        ("outer", f"{condition} → return None"),
        ("outer", "return sorted(given)"),
        ("outer", "return None"),
    ]
    assert [item.text for item in source.ran(6, 7)] == [
        condition,
        "return sorted(given)",
        f"{condition} → return sorted(given)",
    ]


def test_starts_nothing_by_itself():
    """A Python of .venv is as any other unless it is told to record."""
    code = "import sys; sys.exit('coverage' in sys.modules)"
    run(covered.ROOT / ".venv" / "bin" / "python", "-c", code, environ={})
