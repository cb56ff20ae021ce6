# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message tells to do can be done by who uses the role: each option in it is a variable there, and marked so that the variable takes its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._secured import NESTED_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import WRITING_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._words import PROJECT, variables

ROOT = Path(__file__).parents[3]
ROOMS = ("_settings", "_project", "_env", "_apply.py", "_secured.py", "_locked_out.py")
OPTIONS = {*WRITING_OPTIONS, *(option for nested in NESTED_OPTIONS.values() for option in nested["options"])}
MARKED = re.compile(r"`(?:[a-z_]+\.)?([a-z_]+)`")
UNMARKED = re.compile(
    r"\b(?:[Ss]et|[Gg]ive|[Ll]eave|[Nn]ame|with|or) ([a-z_]+)\b|\b([a-z_]+)=[a-z]|\((?:env|https)\.([a-z_]+)\)"
)
DONE_BY_THE_ROLE = {"create"}


def messages(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named(form: re.Pattern[str]) -> dict[str, str]:
    """Option to a message that names it in that form."""
    found = {}
    for room in ROOMS:
        path = ROOT / "plugins" / "module_utils" / room
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            for text in messages(ast.parse(file.read_text("utf-8"))):
                for words in form.finditer(text) if " " in text else ():
                    option = next(filter(None, words.groups()))
                    if option in OPTIONS:
                        found[option] = text
    return found


@pytest.mark.parametrize("option", sorted(named(MARKED)))
def test_reachable_from_the_role(option):
    assert option in DONE_BY_THE_ROLE or option in variables("appwrite_security"), named(MARKED)[option]


def test_messages_are_found():
    assert {"placeholder", "unknown", "project_name", "appwrite_version", "mode"} <= set(named(MARKED))
    assert not named(UNMARKED)


def test_all_options_of_the_project_are_handed_on():
    assert {"project_src", *PROJECT} == set(PROJECT_OPTIONS)
    for tasks in sorted(ROOT.glob("roles/*/tasks/*.yml")):
        text = tasks.read_text()
        for task in re.findall(
            r"^ +selfhost\.appwrite\.(?:security|apply|rekey|stored_info|audit_info):.*\n(.*)", text, re.M
        ):
            assert re.search(r"<<: [&*](project|rekey|security)|: \*rekey|project_src:", task) or "register" in task
            assert all(f"{option}: " in text for option in PROJECT), tasks


def test_a_cluster_is_rotated_with_all_options_of_a_host():
    def handed_on(file: str) -> set[str]:
        """All that any task of the file gives the module that reads and seals."""
        found: set[str] = set()
        blocks = [yaml.safe_load((ROOT / "roles" / "appwrite_rotation" / "tasks" / file).read_text("utf-8"))]
        while blocks:
            for task in blocks.pop():
                blocks += [task["block"]] if "block" in task else []
                found |= set(task.get("selfhost.appwrite.rekey", ()))
        return found

    assert handed_on("main.yml") <= handed_on("cluster.yml")
