# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells what records which test is running. conftest.py loads this under `make coverage` alone."""

from __future__ import annotations

import os

import pytest

from covered import HOME, PIECES
from covered.process import RECORDER, TEST

_NOT_UNDER = ("tests/sanity/",)
"""Checkers run no code of plugins/, and copies of it are changed there."""
_running = HOME / f"test-{os.getpid()}"

PIECES.mkdir(parents=True, exist_ok=True)
PIECES.chmod(0o1777)  # some tests become another user
_running.touch()
os.environ[TEST] = str(_running)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    test = f"{item.location[0]}::{item.location[2]}"
    RECORDER.switch(test)
    _running.write_text(test, "utf-8")
    with pytest.MonkeyPatch.context() as environment:
        if test.startswith(_NOT_UNDER):
            environment.delenv("SELFHOST_COVERAGE")
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    RECORDER.save()
    _running.unlink(missing_ok=True)
