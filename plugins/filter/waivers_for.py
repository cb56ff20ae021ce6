# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Picks the waivers that are for a host. See C(waivers_for.yml)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import waiver_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

_KEYS = ("control", "hosts", "justification", "expires")


def waivers_for(waivers: Any, host: str, group_names: list[str]) -> list[dict[str, str]]:
    """Raises AnsibleFilterError if the waivers are not what audit_info takes."""
    if waivers is None:
        return []
    if not isinstance(waivers, list):
        raise AnsibleFilterError(
            "waivers_for: the waivers are no list; write each as an entry with %s" % ", ".join(_KEYS)
        )
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
        unknown = (
            ", ".join(sorted(map(str, set(entry) - set(_KEYS)))) if isinstance(entry, Mapping) else "no dictionary"
        )
        raise AnsibleFilterError("%s has %s; write %s" % (where, unknown, ", ".join(_KEYS)))
    patterns = [entry["hosts"]] if isinstance(entry.get("hosts"), str) else entry.get("hosts")
    if not isinstance(patterns, list) or not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise AnsibleFilterError(
            "%s: hosts has to be a name or pattern of hosts or groups, or a list of them; write `all` for all hosts"
            % where
        )
    try:
        waiver = waiver_of(entry, where + ": ")
    except AppwriteError as error:
        raise AnsibleFilterError(str(error)) from None
    return patterns, {
        "control": waiver.control,
        "justification": waiver.justification,
        "expires": waiver.expires.isoformat(),
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"waivers_for": waivers_for}
