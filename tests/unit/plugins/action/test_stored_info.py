# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key a host is asked about, and what an escrow with a rotation under way adds to the answer."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.action import stored_info
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import EscrowError, Owner

OLD, NEW, OTHER = ("%s-not-a-real-key-of-the-tests" % (letter * 16) for letter in ("aB3", "cD4", "eF5"))


@pytest.fixture
def run(controller):
    def make(*given, **arguments):
        return controller.run(stored_info, *given, **{"escrow_file": str(controller.path), **arguments})

    return make


def test_the_key_in_force(run, controller):
    """In the background, since it is handed no key."""
    run({}, escrow_file=None, sample=0)
    [call] = controller.calls
    assert call.background and call.arguments == {
        "project_src": "/opt/appwrite",
        "sample": 0,
        "progress_file": call.arguments["progress_file"],
    }


@pytest.mark.parametrize("options", [{"escrow_file": None, "key": OLD}, {}], ids=["by name", "of the escrow"])
def test_a_key_is_not_left_in_the_background(run, controller, options):
    controller.keep(OLD, OTHER)
    assert run({"proved": True, "verdict": "opens"}, data=False, **options) == {"proved": True, "verdict": "opens"}
    assert [(call.arguments, call.background) for call in controller.calls] == [
        ({"project_src": "/opt/appwrite", "data": False, "key": OLD}, False)
    ]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"proved": False, "verdict": "another one"}, True),
        ({"proved": True, "verdict": "opens"}, False),
        ({"failed": True, "verdict": "x"}, False),
    ],
)
def test_a_rotation_is_under_way(run, controller, answer, told):
    controller.keep(OLD, pending=NEW)
    assert run(answer)["verdict"].endswith("run ansible-playbook selfhost.appwrite.rotate") == told


def test_cluster(run, controller):
    controller.keep(OLD, owner=Owner("", "shop"))
    assert run({"proved": True}, cluster="shop")["proved"]
    with pytest.raises(EscrowError, match="holds the key of the cluster shop"):
        run()


def test_no_key_in_force(run, controller):
    with pytest.raises(AnsibleActionFail, match="does not exist"):
        run()
    controller.keep(pending=NEW)
    with pytest.raises(AnsibleActionFail, match="under way or ending; run ansible-playbook selfhost.appwrite.rotate"):
        run()
    found = controller.escrow
    with found.locked():
        found.unstage()
    with pytest.raises(
        AnsibleActionFail, match="holds no key that is in force; run ansible-playbook selfhost.appwrite.secure"
    ):
        run()
    assert not controller.calls


@pytest.mark.parametrize(
    ("options", "words"),
    [({"key": OLD}, "^key: is given together with `escrow_file`"), ({"escrow_file": {"a": 1}}, "escrow_file")],
)
def test_refused(run, controller, options, words):
    with pytest.raises(AnsibleActionFail, match=words):
        run(**options)
    assert not controller.calls
