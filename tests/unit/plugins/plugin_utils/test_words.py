# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever reads a message finds what they have typed in it: a role's variable, or a module's option."""

from __future__ import annotations

import json

import pytest
import yaml
from support.stack import CHECKOUT

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._words import PROJECT, ROLES, variables, worded, words

MESSAGE = "timeout: is 0\n- env_file: is away; mode: is odd; encryption_key.escrowed: is another; set `force`, or leave `content` or `escrow_file` out"


@pytest.mark.parametrize(
    ("role", "said"),
    [
        (
            "appwrite_security",
            "appwrite_security_apply_timeout: is 0\n- appwrite_project_env_file: is away; appwrite_security_env_mode: is odd; "
            "appwrite_security_safe_key: is another; set appwrite_security_force_https, "
            "or leave appwrite_security_env_template or appwrite_security_escrow_file out",
        ),
        (
            "appwrite_rotation",
            "timeout: is 0\n- appwrite_project_env_file: is away; mode: is odd; encryption_key.escrowed: is another; "
            "set appwrite_security_force_https, or leave appwrite_security_env_template or appwrite_rotation_escrow_file out",
        ),
        ("my_role", MESSAGE),
        ("", MESSAGE),
    ],
)
def test_words_of_the_caller(role, said):
    assert words(MESSAGE, role) == said


@pytest.mark.parametrize("role", ROLES)
def test_the_directory_by_the_variable_that_was_given(role):
    assert words("project_src: is away", role) == "appwrite_project_src: is away"
    assert words("project_src: is away", role, [f"{role}_project_src"]) == f"{role}_project_src: is away"


def test_what_is_no_option_stays():
    said = "note: the key: is odd, and mode: too; write that under `for`, add `env_file: .env`, see force and `$force`"
    assert words(said, "appwrite_security") == said


@pytest.mark.parametrize("warnings", [["mode: is odd", "set `force`"], [{"event": {"msg": "mode: is odd"}}]])
def test_what_a_module_printed(warnings):
    """Its messages and warnings, as older and newer releases of ansible-core print them, and nothing else."""
    printed = {"evidence": "timeout: 0", "msg": 'its log:\t{"msg": "mode: x"}\n- key: is odd', "warnings": warnings}
    said = json.loads(worded(json.dumps(printed), "appwrite_security"))
    assert said["evidence"] == "timeout: 0"
    assert said["msg"] == 'its log:\t{"msg": "mode: x"}\n- appwrite_security_encryption_key: is odd'
    assert "appwrite_security_env_mode: is odd" in json.dumps(said["warnings"]) and "`" not in json.dumps(said)
    assert json.loads(worded(json.dumps(printed), "my_role")) == printed


def test_what_no_json_has_stays():
    printed = '{"msg": "\\x mode: is odd", "warnings": ["mode: is odd'
    assert worded(printed, "appwrite_security") == printed


@pytest.mark.parametrize("role", ROLES)
def test_each_is_a_variable_of_the_role(role):
    specification = yaml.safe_load((CHECKOUT / "roles" / role / "meta" / "argument_specs.yml").read_text("utf-8"))
    known = {name for entry in specification["argument_specs"].values() for name in entry["options"]}
    known |= {"appwrite_project_src", "appwrite_security_cluster", *PROJECT.values()}
    found = variables(role)
    assert {*found.values()} <= known
    assert found.items() >= {**PROJECT, "project_src": "appwrite_project_src"}.items()
