# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-lint's strictest profile on everything; mypy's strictest mode on the pure rooms."""

from __future__ import annotations

from unit.plugins.test_rooms import PURE

from sanity.support import ROOT, check


def test_ansible_lint(collection_copy, checker_environment):
    check(
        "ansible-lint", "--offline", "--strict", "--profile", "production", "--nocolor",
        cwd=collection_copy, env=checker_environment,
    )


def test_types():
    rooms = [f"--package=ansible_collections.selfhost.appwrite.plugins.{room if '.' in room else 'module_utils.' + room}" for room in PURE]
    check("mypy", *rooms, cwd=ROOT)
