# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: one file per wish. Each has C(OPTIONS), an argument spec, and C(plan(installation, options)), a pure function.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import Callable, Collection, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence, Opening, Published
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import Key
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError


class Refusal(AppwriteError):
    """The wish cannot be granted safely; the message says what was found, why it stops and what to do."""


@dataclass(frozen=True)
class Installation:
    """What a setting may know: plain values, and questions that are only asked if the answer matters."""

    release: str
    values: Mapping[str, str]
    """what C(.env) says now, as compose reads it"""
    holds_data: Callable[[], Evidence]
    container_keys: Callable[[], Mapping[str, tuple[str, ...]]]
    """encryption key to the services whose containers were created with it; the empty string if they have none"""
    opens: Callable[[Sequence[str]], Opening]
    """tries keys on a sample of what is stored; raises AppwriteError if that cannot be done"""
    published: Published | None = None
    """C(None) if there is no compose to ask"""
    exists: bool = True
    """whether there is a C(.env) at all"""
    databases: Mapping[str, str] = field(default_factory=dict)
    """database service of the project to the kind of database"""
    directory: str = ""
    """of the project"""
    given_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """encryption key to the services that the project as it is written would start with it"""
    names: Callable[[], Collection[str]] = frozenset
    """the variables that the project itself looks up, and those of the file that is there"""
    passed: Callable[[str], bool] = lambda _name: True
    """whether the project hands a variable to any service"""
    never_started: Callable[[], bool] = lambda: False
    """whether not even the database has been created"""
    is_new: Callable[[str], bool] = lambda _kind: False
    """whether the project has services of this image, and none of them was ever started"""


@dataclass
class Plan:
    """What a setting wants: the values that must be in force afterwards (C(None) for no such variable)."""

    changes: dict[str, str | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    key: Key | None = None
    content: str | None = None
    """a whole new file, in which C(changes) are then made"""
    kept: dict[str, str | None] = field(default_factory=dict)
    """what of the old file outlives C(content); another setting may still change it"""
    optional: set[str] = field(default_factory=set)
    """those of C(changes) that nobody asked for: what cannot be had is left out with a note, and refused if it was asked for"""
    together: list[frozenset[str]] = field(default_factory=list)
    """those of C(optional) of which none is changed if one cannot be"""
    generated: set[str] = field(default_factory=set)
    """values that are made anew each time, so that a check knows none of them"""


def rotation_of(directory: str = "") -> str:
    """The command that rotates the key of a project in this directory, or of the one that is set, as a shell and then Ansible take it."""
    name = "appwrite_rotation_project_src"
    value = (
        "%s=%s" % (name, directory)
        if shlex.quote(directory) == directory
        else shlex.quote(json.dumps({name: directory}))
    )
    return "ansible-playbook selfhost.appwrite.rotate" + (" -e " + value if directory else "")
