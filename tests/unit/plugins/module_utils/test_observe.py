# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be looked at is told of, and hides nothing else."""

from __future__ import annotations

import pytest
from ansible_collections.selfhost.appwrite.plugins.module_utils import _observe
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._model import Answer, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._probe import _loops


def test_what_nobody_foresaw_is_unseen_and_quotes_nothing():
    seen = _observe._try(lambda: {}["not-a-real-secret"])
    assert isinstance(seen, Unseen) and "KeyError" in seen.reason and "secret" not in seen.reason


@pytest.mark.parametrize("line", ["", "ping ", "ping", "   "])
def test_answers_that_say_nothing(line):
    inside = _observe._answered(f"reach database yes\n{line}\nvolume uploads yes no 7\n")
    assert (inside.reachable["database"], inside.volumes["uploads"]) == (True, (True, False, 7))


@pytest.mark.parametrize(("name", "known"), [
    ("appwrite.notarealcompany.com", True), ("192.0.2.1", True), ("2001:db8::1", True), ("a..b", False), ("x" * 64 + ".com", False), (".", False), ("", False)])
def test_names_that_can_be_looked_up(name, known):
    assert _observe._is_name(name) is known


@pytest.mark.parametrize("location", ["http://[x", "https://[::1"])
def test_redirect_to_no_address(location):
    assert _loops("appwrite.notarealcompany.com", Answer(301, location, None)) is False
