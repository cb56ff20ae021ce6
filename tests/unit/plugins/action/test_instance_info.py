# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules without an action of their own run as they are, but for what Ansible would act on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.action import instance_info

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("check", [True, False])
def test_what_the_host_says_is_data(controller, check):
    said = {"release": "1.9.6", "ansible_facts": {"inventory_hostname": "two"}, "msg": "a\x1b[31mb"}
    assert controller.run(instance_info, said, check=check) == {"release": "1.9.6", "msg": "a?[31mb"}
    [call] = controller.calls
    assert (call.module, call.arguments, call.check) == (
        "selfhost.appwrite.instance_info",
        {"project_src": "/opt/appwrite"},
        check,
    )


def test_fact_in_the_place_of_a_variable(controller):
    with pytest.raises(AnsibleActionFail, match="a fact of this host has the name"):
        controller.run(instance_info, facts={"inventory_hostname": "two"})
    assert not controller.calls


def test_python_that_was_found_is_kept(controller):
    """It is the controller's own finding, without which each task would look again."""
    result = controller.run(instance_info, {}, found=("discovered_interpreter_python", "/usr/bin/python3"))
    assert result == {"ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3"}}


def test_every_module_of_a_host_has_an_action():
    """Either its own, or this one by C(meta/runtime.yml)."""
    routed = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["plugin_routing"]["modules"]
    assert {entry["action_plugin"] for entry in routed.values()} == {"selfhost.appwrite.instance_info"}
    modules, actions = (
        {path.stem for path in (ROOT / "plugins" / kind).glob("*.py")} for kind in ("modules", "action")
    )
    assert actions & routed.keys() == set() and actions | routed.keys() == modules
