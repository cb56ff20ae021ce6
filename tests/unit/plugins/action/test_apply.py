# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When applying is watched, and when it is one call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.selfhost.appwrite.plugins.action.apply import ActionModule


def run(check: bool = False, **arguments: Any) -> str:
    """How the module was run, which is handed everything."""
    task = SimpleNamespace(args={"project_src": "/opt/appwrite", **arguments}, check_mode=check, action="selfhost.appwrite.apply")
    action = ActionModule(task, SimpleNamespace(), SimpleNamespace(), None, SimpleNamespace(), None)
    action.ask = lambda module, given: ("asked", module, given)
    action.watch = lambda module, given, lost: ("watched", module, given, "run the same command again" in lost)
    how, module, given, *words = action.work()
    assert module == "selfhost.appwrite.apply" and given == task.args and words in ([], [True])
    return str(how)


@pytest.mark.parametrize(("arguments", "check", "how"), [
    ({}, False, "asked"), ({"progress": False}, False, "asked"), ({"progress": "no"}, False, "asked"), ({"progress": True}, False, "watched"),
    ({"progress": "yes"}, False, "watched"), ({"progress": True}, True, "asked"),
])
def test_progress(arguments, check, how):
    assert run(check, **arguments) == how


def test_progress_of_another_type():
    with pytest.raises(AnsibleActionFail, match="progress"):
        run(progress="perhaps")
