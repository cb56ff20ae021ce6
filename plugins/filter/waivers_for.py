# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Picks the waivers that are for a host. See C(waivers_for.yml)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._controls import CONTROLS

_KEYS = ("control", "hosts", "justification", "expires")
_IDS = [control.id for control in CONTROLS]


def waivers_for(waivers: Any, host: str, group_names: list[str]) -> list[dict[str, str]]:
    if waivers is None:
        return []
    if not isinstance(waivers, list):
        raise AnsibleFilterError("waivers_for: the waivers are no list; write each as an entry with %s" % ", ".join(_KEYS))
    names = ("all", host, *group_names)
    found = []
    for number, entry in enumerate(waivers, 1):
        patterns, waiver = _checked(entry, "waivers_for: entry %d" % number)
        if any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
            found.append(waiver)
    return found


def _checked(entry: Any, where: str) -> tuple[list[str], dict[str, str]]:
    """The host patterns of an entry, and what C(audit_info) takes of it."""
    if not isinstance(entry, Mapping) or not set(entry) <= set(_KEYS):
        unknown = ", ".join(sorted(map(str, set(entry) - set(_KEYS)))) if isinstance(entry, Mapping) else "no dictionary"
        raise AnsibleFilterError("%s has %s; write %s" % (where, unknown, ", ".join(_KEYS)))
    patterns = [entry["hosts"]] if isinstance(entry.get("hosts"), str) else entry.get("hosts")
    if not isinstance(patterns, list) or not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise AnsibleFilterError("%s: hosts has to be a name or pattern of hosts or groups, or a list of them; write `all` for all hosts" % where)
    justification = entry.get("justification")
    if not isinstance(justification, str) or not justification.strip():
        raise AnsibleFilterError("%s: justification is missing; say why this finding is lived with" % where)
    return patterns, {"control": _control(entry.get("control"), where), "justification": str(justification), "expires": _day(entry.get("expires"), where)}


def _control(name: Any, where: str) -> str:
    if isinstance(name, str) and (name in _IDS or name.startswith(("lynis.", "testssl."))):
        return str(name)
    near = get_close_matches(str(name), _IDS, 1)
    raise AnsibleFilterError("%s: control %r is none; %s" % (where, name, "do you mean %s?" % near[0] if near else "take the id from a report"))


def _day(value: Any, where: str) -> str:
    """YAML makes a date of what looks like one, unless it is in quotes."""
    try:
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return value.isoformat()
        return datetime.datetime.strptime(value, "%Y-%m-%d").date().isoformat()
    except (TypeError, ValueError):
        raise AnsibleFilterError("%s: expires is %r; give the last day on which it holds, such as 2027-01-31" % (where, value)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"waivers_for": waivers_for}
