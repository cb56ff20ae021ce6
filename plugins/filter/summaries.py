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


def failure_reason(
    applied: Mapping[str, Any], secured: Mapping[str, Any], rolled_back: Any, wanted: bool, check_mode: bool
) -> str:
    return f"{str(applied['msg']).rstrip('.')}. {_way_back(secured, rolled_back or {}, wanted, check_mode)}"


def _way_back(secured: Mapping[str, Any], rolled_back: Mapping[str, Any], wanted: bool, check_mode: bool) -> str:
    if not wanted:
        return "The .env file was not rolled back."
    if rolled_back.get("failed"):
        return f"Going back failed too: {rolled_back['msg']}"
    if not rolled_back.get("skipped"):
        return "The old .env file was put back and applied."
    if secured["changes"] and not check_mode:
        return (
            "There is no earlier .env file to go back to: this run made it, or changed it without a backup. "
            "Mend this and run again."
        )
    return (
        "This run had not changed the .env file, so there was nothing to roll back. If an earlier run was interrupted after it had "
        "changed the file, the newest .env.*.bak is the file of before."
    )


def security_summary(secured: Mapping[str, Any], applied: Any, apply_wanted: bool, check_mode: bool) -> dict[str, Any]:
    foreseen = secured["recreates"] if check_mode and apply_wanted else []
    return {
        "encryption_key": {name: value for name, value in secured["key"].items() if name != "sealed"},
        "escrow": (secured.get("escrow") or {}).get("state", "off"),
        "changed_variables": [change["name"] for change in secured["changes"]],
        "recreated_services": sorted({*((applied or {}).get("recreated") or []), *foreseen}),
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
            "failure_reason": failure_reason,
            "security_summary": security_summary,
            "rehearsal_summary": rehearsal_summary,
            "rotation_summary": rotation_summary,
        }
