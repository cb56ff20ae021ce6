# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gathers what the hosts of a play answered to their audits. See C(audited.yml)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def audited(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"host": host, **_answered(hostvars[host])} for host in hosts]


def _answered(variables: Mapping[str, Any]) -> dict[str, Any]:
    """One that was refused on the controller was not asked."""
    settled = variables.get("__appwrite_audit_settled") or {}
    answer = variables.get("__appwrite_audit_audited") or (settled if settled.get("failed") else {})
    return {"audit": answer, "waivers": settled.get("waivers") or []}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"audited": audited}
