# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of README.md's table: what goes wrong with lineinfile and with a template, and does not with the collection."""

from __future__ import annotations

import re

import pytest
import yaml
from support.stack import CHECKOUT, HTTPS, KEY, NOT_A_KEY, playbook, read_env, refuse, set_env, small, succeed
from testbed import Project

SMTP = "_APP_SMTP_PASSWORD"
DOLLAR = "not-real-pa$word-#1"
BY_HAND = ("lineinfile", "template")


def by_hand(tool, directory, name, value, *flags):
    """The task that people write, with the line that they write; the template is the file as it was, with that line."""
    line = f"{name}={value}"
    if tool == "lineinfile":
        task = {"ansible.builtin.lineinfile": {"path": f"{directory}/.env", "regexp": f"^{name}=", "line": line}}
    else:
        text = re.sub(rf"^{name}=.*\n", "", (directory / ".env").read_text(), flags=re.MULTILINE) + line + "\n"
        task = {"ansible.builtin.copy": {"dest": f"{directory}/.env", "content": text}}
    return playbook(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), {}, *flags)


def received(directory, name):
    """What compose gives the service appwrite."""
    return Project(directory).config()["services"]["appwrite"]["environment"][name].replace("$$", "$")


@pytest.mark.parametrize("tool", BY_HAND)
def test_value_with_a_dollar(directory, tool):
    assert by_hand(tool, directory, SMTP, DOLLAR).rc == 0
    assert received(directory, SMTP) != DOLLAR
    succeed("env", {"project_src": str(directory), "variables": {SMTP: DOLLAR}})
    assert received(directory, SMTP) == DOLLAR


@pytest.mark.parametrize("tool", BY_HAND)
def test_key_of_a_server_that_had_one(directory, tool):
    """The line that somebody wrote for a new server reaches an old one."""
    set_env(directory, **{KEY: NOT_A_KEY})
    assert by_hand(tool, directory, KEY, "one-that-the-vault-has-for-new-servers").rc == 0
    assert read_env(directory)[KEY] != NOT_A_KEY
    set_env(directory, **{KEY: NOT_A_KEY})
    assert "so it stays" in refuse(
        "encryption_key", {"project_src": str(directory), "key": "one-that-the-vault-has-for-new-servers"}
    )
    assert (
        succeed("encryption_key", {"project_src": str(directory)})["key"]["state"] == "kept"
        and read_env(directory)[KEY] == NOT_A_KEY
    )


@pytest.mark.parametrize("tool", BY_HAND)
def test_variable_that_no_container_gets(directory, tool):
    name = "_APP_INTERVAL_DOMAIN_VERIFICATION"
    assert by_hand(tool, directory, name, "120").rc == 0
    services = Project(directory).config()["services"].values()
    assert not [service for service in services if name in service.get("environment", ())]
    assert f"{name} would reach no service" in refuse(
        "env", {"project_src": str(directory), "variables": {name: "120"}}
    )


@pytest.mark.parametrize("tool", BY_HAND)
def test_secret_in_a_difference(directory, tool):
    secret = "UnrealSecret7Vb2Lm9K"
    assert secret in by_hand(tool, directory, SMTP, secret, "--diff", "--check").output
    assert secret not in str(
        succeed("env", {"project_src": str(directory), "variables": {SMTP: secret}}, check=True, diff=True)
    )


@small("apply")
@pytest.mark.nightly("test_apply.py of module_utils")
def test_containers_that_run_on(stack):
    """The file says it, no container has it, and nothing tells."""
    before = stack.project.container_env("appwrite")[HTTPS]
    for tool in BY_HAND:
        set_env(stack.directory, **{HTTPS: before})
        assert before != "enabled" and by_hand(tool, stack.directory, HTTPS, "enabled").rc == 0
        assert stack.env()[HTTPS] == "enabled" and stack.project.container_env("appwrite")[HTTPS] == before
    assert {
        (one["service"], one["name"], one["kind"]) for one in succeed("instance_info", stack.arguments)["drift"]
    } >= {("appwrite", HTTPS, "stale")}
    assert stack.secure().rc == 0
    stack.assert_in_force()


@small("apply")
@pytest.mark.nightly("test_rollback")
def test_service_that_does_not_come_up(stack):
    before = (stack.directory / ".env").read_bytes()
    stack.project.fail("appwrite")
    for tool in BY_HAND:
        assert by_hand(tool, stack.directory, HTTPS, "enabled").rc == 0
        assert stack.env()[HTTPS] == "enabled"
        (stack.directory / ".env").write_bytes(before)
    play = stack.secure(escrow="off")
    assert play.rc == 2 and "appwrite" in play.result("Secure the .env")["msg"]
    assert stack.env()[HTTPS] == "disabled"


def test_table_of_the_readme():
    rows = set(re.findall(r"\| `(test_\w+)` \|$", (CHECKOUT / "README.md").read_text(), re.MULTILINE))
    assert rows == {name for name in globals() if name.startswith("test_")} - {"test_table_of_the_readme"}
