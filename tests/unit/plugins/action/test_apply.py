# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When applying is watched, and when it is one call."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.action import apply


@pytest.mark.parametrize(
    ("arguments", "check", "watched"),
    [
        ({}, False, False),
        ({"progress": False}, False, False),
        ({"progress": "no"}, False, False),
        ({"progress": True}, False, True),
        ({"progress": "yes"}, False, True),
        ({"progress": True}, True, False),
    ],
)
def test_progress(controller, arguments, check, watched):
    """The module is handed everything, and where to say how far it is if that is watched."""
    assert controller.run(apply, {"changed": True}, check=check, **arguments) == {"changed": True}
    [call] = controller.calls
    assert (call.module, call.check, call.background) == ("selfhost.appwrite.apply", check, watched)
    assert {**call.arguments, "progress_file": None} == {
        "project_src": "/opt/appwrite",
        **arguments,
        "progress_file": None,
    }
    assert ("progress_file" in call.arguments) == watched


def test_progress_of_another_type(controller):
    with pytest.raises(AnsibleActionFail, match="progress"):
        controller.run(apply, progress="perhaps")
    assert not controller.calls
