# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions of antsibull-nox, each in an environment of its own in .work/nox."""

from __future__ import annotations

import re

import pytest
from support.checkers import WORK, check

SESSIONS = (
    "antsibull-nox-config",
    "formatters",
    "codeqa",
    "yamllint",
    "typing",
    "license-check",
    "extra-checks",
    "docs-check",
    "build-import-check",
)


@pytest.mark.parametrize("session", SESSIONS)
def test_session(session, collection_copy, checker_environment):
    """Its environment is made anew where the settings, which pin what goes into it, are no longer those that it was made with."""
    settings = (collection_copy / "antsibull-nox.toml").read_text()
    made_with = WORK / "nox" / f"{session}.toml"
    reuse = (
        ["--reuse-existing-virtualenvs", "--no-install"]
        if made_with.exists() and made_with.read_text() == settings
        else []
    )
    printed = check(
        "nox", "--envdir", WORK / "nox", *reuse, "--session", session, cwd=collection_copy, env=checker_environment
    )
    made_with.write_text(settings)
    assert not re.search(r"(?im)^nox > skip|non-fatal", printed), printed
