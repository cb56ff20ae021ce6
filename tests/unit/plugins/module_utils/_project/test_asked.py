# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions at work side by side: each begins at once, and its answer or its error is had where it is wanted."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.asked import Asked


def test_side_by_side():
    """Neither could be answered if it had to wait for the other."""
    both = threading.Barrier(2, timeout=60)
    first, second = Asked(both.wait), Asked(both.wait)
    assert {first.answer(), second.answer()} == {0, 1}


def test_error_is_raised_where_the_answer_is_wanted():
    asked = Asked(lambda: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        asked.answer()


def test_nobody_waits_for_an_answer_that_nobody_wants():
    assert Asked(threading.Event().wait)._thread.daemon
