# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database's client that does not answer is ended, however much it says meanwhile."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import session as _session
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import StoreError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import Session


def session(program: str) -> Session:
    return Session(["sh", "-c", program], "MariaDB", "%s", r"ERROR (\d+)", {}, None)


@pytest.mark.parametrize(
    "program", ["exec sleep 1000", "while printf x; do sleep 0.05; done", "while printf x >&2; do sleep 0.05; done"]
)
def test_answer_that_never_ends(monkeypatch, program):
    monkeypatch.setattr(_session, "_ANSWER_TIMEOUT", 1)
    found = session(program)
    with pytest.raises(StoreError, match="^MariaDB did not answer within 1 seconds$"):
        found.ask("SELECT 1")
    assert found._process.returncode is not None
    with pytest.raises(StoreError, match="its client has ended"):
        found.ask("SELECT 1")


def test_last_words_that_never_end(monkeypatch):
    monkeypatch.setattr(_session, "_LAST_WORDS", 1)
    found = session("exec >&-; while printf 'ERROR 5\n' >&2; do sleep 0.05; done")
    with pytest.raises(StoreError, match="^MariaDB cannot be asked: ERROR 5$"):
        found.ask("SELECT 1")
    assert found._process.returncode is not None
