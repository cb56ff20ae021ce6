# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-lint's strictest profile on everything; mypy's strictest mode on the pure rooms; ruff's layout, order of imports and names that are not there;
the schema of GitHub's workflows, and by night actionlint.
"""

from __future__ import annotations

import re
import shutil

import pytest
from support.checkers import BIN, ROOT, check
from support.rooms import PURE
from testbed import tools


def test_ansible_lint(collection_copy, checker_environment):
    check(
        "ansible-lint",
        "--offline",
        "--strict",
        "--profile",
        "production",
        "--nocolor",
        cwd=collection_copy,
        env=checker_environment,
    )


def test_format():
    check("ruff", "format", "--check", ".", cwd=ROOT)
    check("ruff", "check", ".", cwd=ROOT)


def test_types():
    rooms = [
        f"--package=ansible_collections.selfhost.appwrite.plugins.{'' if room.startswith('plugin_utils.') else 'module_utils.'}{room}"
        for room in PURE
    ]
    check("mypy", *rooms, cwd=ROOT)


WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))


def test_workflows():
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS, cwd=ROOT)


@pytest.mark.nightly("test_workflows")  # it takes minutes to build
@pytest.mark.skipif(not shutil.which("go"), reason="Go is not at hand: it builds actionlint")
def test_actionlint():
    check(tools.actionlint(), "-shellcheck", BIN / "shellcheck", "-pyflakes", "", *WORKFLOWS, cwd=ROOT)


def test_actions_are_pinned():
    """What a workflow uses is named by its commit, which nobody can change afterwards."""
    used = [line for path in WORKFLOWS for line in path.read_text().splitlines() if " uses: " in line]
    assert used and all(re.search(r"@[0-9a-f]{40}  # v[0-9.]+$", line) for line in used)
