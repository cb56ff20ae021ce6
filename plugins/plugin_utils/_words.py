# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages in the words of whoever called: the role's variables if it was a role of ours, or the module's own options.

A message begins with an option and a colon, and so does each line of a list and what follows a semicolon; anywhere else an option is in backticks.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS

_ROLES = Path(__file__).parents[2] / "roles"
ROLES = ("appwrite_audit", "appwrite_rotation", "appwrite_security")
CLUSTER = "appwrite_security_cluster"
PROJECT_SRC = "appwrite_project_src"
PROJECT = {
    option: "appwrite_project_" + re.sub("^(appwrite|project)_", "", option)
    for option in PROJECT_OPTIONS
    if option != "project_src"
}
"""Each option that says how the project is started, to the variable that all roles take it from: they must not look at different projects."""
_SETTLED = {"file": "%s_escrow_file", "state": "%s_escrow", "cluster": CLUSTER, "project_src": PROJECT_SRC}
"""What C(role_settings) returns of the escrow, and where it comes from."""
_GIVEN = re.compile(r"\b(?P<own>appwrite_\w+)|\w+_settled\.(?P<part>\w+)(?:\.(?P<name>\w+))?")
"""in the template of an option"""
_LEADING = re.compile(r"(?:^|(?<=\n- )|(?<=; ))(?:\w+\.)?(\w+)(?=: )")
_MARKED = re.compile(r"`(?:\w+\.)?(\w+)`")
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_SAID = re.compile(r'"(?:msg|warnings)": (?:%s|\[(?:%s(?:, )?)*\])' % (_TEXT, _TEXT))
"""The messages and warnings in what a module printed"""


def words(text: str, role: str, given: Container[str] = ()) -> str:
    """A message as the caller reads it.

    role: that of the task, an empty text for none.
    given: the variables that the host has.
    """
    if role not in ROLES or not (_LEADING.search(text) or _MARKED.search(text)):
        return text
    own = variables(role)
    if "%s_project_src" % role in given:
        own = {**own, "project_src": "%s_project_src" % role}
    anywhere = {**variables("appwrite_security"), **own}  # whose settings the others advise, too
    text = _LEADING.sub(lambda match: own.get(match[1], match[0]), text)
    return _MARKED.sub(lambda match: anywhere.get(match[1], match[0]), text)


def worded(printed: str, role: str, given: Container[str] = ()) -> str:
    """What a module printed, with its messages and warnings as the caller reads them."""

    def each(match: re.Match[str]) -> str:
        try:
            return json.dumps(words(json.loads(match[0]), role, given))
        except ValueError:  # no text of JSON, which Ansible will refuse
            return match[0]

    def said(match: re.Match[str]) -> str:
        name, colon, value = match[0].partition(": ")
        return name + colon + re.sub(_TEXT, each, value)

    return _SAID.sub(said, printed) if role in ROLES else printed


@functools.cache
def variables(role: str) -> Mapping[str, str]:
    """Option to the variable that the role's tasks hand it."""
    files = sorted(_ROLES.joinpath(role, "tasks").glob("*.yml"), key=lambda path: path.name == "main.yml")
    return dict(pair for path in files for pair in _handed(yaml_load(path.read_text("utf-8")), role))


def _handed(tasks: list[dict[str, Any]], role: str) -> Iterator[tuple[str, str]]:
    for task in tasks:
        yield from _handed(task.get("block", []), role)
        for module, options in task.items():
            if module.startswith("selfhost.appwrite.") and not module.endswith(".role_settings"):
                yield from _in_options(options or {}, role)


def _in_options(options: Mapping[str, Any], role: str) -> Iterator[tuple[str, str]]:
    for option, value in options.items():
        if isinstance(value, Mapping):
            yield from _in_options(value, role)
        elif isinstance(value, str) and (found := _GIVEN.search(value)):
            part, name = found["part"], found["name"]
            if found["own"]:
                yield option, found["own"]
            elif part == "project":
                yield option, PROJECT[name]
            elif part == "escrow":
                yield option, _SETTLED[name].replace("%s", role)
            else:
                yield option, "%s_%s" % (role, name or part + "_file")
