# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that maps the lines of Appwrite's doctor to controls."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS

PAGE = (
    next(parent for parent in Path(__file__).parents if (parent / "galaxy.yml").exists())
    / "docs/docsite/rst/audit_doctor.rst"
)
ROWS = [
    [" ".join(cell.split()) for cell in re.split(r"\n     - ", row)]
    for row in re.split(
        r"\n   \* - ", PAGE.read_text().partition(".. list-table::")[2].partition("\n\nWhat doctor does not check")[0]
    )[2:]
]


def test_every_row_names_a_line_releases_controls_and_a_difference():
    assert len(ROWS) == 23
    for line, releases, controls, difference in ROWS:
        assert line.startswith("``") and difference.endswith(".")
        assert re.fullmatch(r"1\.\d+\.\d+( to 1\.\d+\.\d+)?", releases)
        assert re.fullmatch(r"(``[a-z_.]+``(, |$))+", controls)


def test_every_control_exists():
    named = {control for row in ROWS for control in re.findall(r"``([a-z_.]+)``", row[2])}
    assert named - {control.id for control in CONTROLS} == set()
