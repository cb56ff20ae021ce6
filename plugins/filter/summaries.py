# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles tell the operator in the end, made from what their modules returned. See the C(.yml) of each filter's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_UNDER_WAY = "unknown: a rotation is under way"


def audit_verdict(
    report: Mapping[str, Any], host: str, play_hosts: Sequence[str], batch: Sequence[str]
) -> dict[str, Any]:
    # With `serial`, a batch of which every host fails would end the play: the first host of the last one answers for the earlier batches.
    earlier = [one for one in play_hosts if one not in batch] if batch and host == batch[0] else []
    failing = {one: report["failing"][one] for one in (host, *earlier) if one in report["failing"]}
    said = [f"{one}: {', '.join(controls)}. " for one, controls in failing.items()]
    if not failing:
        said = [f"Score {report['hosts'][host]['score']} of 100. "]
    return {"passed": not failing, "msg": f"{''.join(said)}The report is {report['path']}"}


def security_summary(secured: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "encryption_key": {name: value for name, value in secured["key"].items() if name != "sealed"},
        "escrow": (secured.get("escrow") or {}).get("state", "off"),
        "changed_variables": [change["name"] for change in secured["changes"]],
        "recreated_services": secured.get("recreated", []),
    }


def rehearsal_summary(rehearsed: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    report = rehearsed.get("report")
    if report:
        found = {
            "state": report["state"],
            "collections": report["collections"],
            "undecryptable": report["undecryptable"],
            "will_stop_working": rehearsed["stops_working"],
            "expected_downtime_in_seconds": rehearsed.get("expected_downtime") or _UNDER_WAY,
            "disk_needed_in_bytes": rehearsed.get("disk_needed", _UNDER_WAY),
        }
    if rehearsed.get("console"):
        found["sessions_to_end"] = f"{rehearsed['end_sessions']}: {rehearsed['ended_sessions']}"
        found["console"] = rehearsed["console"]
    return found


def rotation_summary(rotated: Mapping[str, Any], ended: Any, scope: str) -> dict[str, Any]:
    last = ended if ended and "phase" in ended else rotated
    untold = "none" if scope == "tokens" else "unknown"
    return {
        "phase": last["phase"],
        "old_key": rotated["key"]["fingerprint"],
        "new_key": rotated["new_key"]["fingerprint"],
        "downtime_in_seconds": last.get("downtime") or untold,
        "ended_sessions": last.get("ended_sessions", untold),
        "does_not_work_any_more": last.get("stops_working", untold),
        "remains": last.get("remains", untold),
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "audit_verdict": audit_verdict,
            "security_summary": security_summary,
            "rehearsal_summary": rehearsal_summary,
            "rotation_summary": rotation_summary,
        }
