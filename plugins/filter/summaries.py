# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles tell the operator in the end, made from what their modules returned. See the C(.yml) of each filter's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_UNDER_WAY = "unknown: a rotation is under way"
_SHOWN = 10
"""names at most, so that a summary fits a screen of 24 lines of 80 characters"""
_OPENED = {
    "old": "open with the key in force",
    "new": "open with the new key",
    "neither": "open with neither key",
    "plain": "are not sealed",
}
"""What C(rekey) counts, in words."""


def security_summary(secured: Mapping[str, Any], check_mode: bool) -> dict[str, str]:
    key = secured["key"]
    what, _space, done = key["state"].replace("placeholder_", "public default ").rpartition(" ")
    escrow = (secured.get("escrow") or {}).get("state", "off")
    return {
        "encryption_key": ", ".join(
            [
                " ".join(filter(None, [what, "would be" if check_mode and done != "kept" else "", done])),
                *([f"fingerprint {key['fingerprint']}"] if key.get("fingerprint") else []),
                f"{key['effective_bits']} effective bits",
            ]
        ),
        "escrow": "would be written" if check_mode and escrow == "written" else escrow,
        "changed_variables": _listed([change["name"] for change in secured["changes"]], _SHOWN),
        "recreated_services": _listed(secured.get("recreated", [])),
    }


def rehearsal_summary(rehearsed: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    report = rehearsed.get("report")
    if report:
        lost = ["/".join((one["collection"], one["id"], one["column"])) for one in report["undecryptable"]]
        size = _bytes(sum(one["bytes"] for one in report["collections"]))
        found = {
            "values": _told(report["collections"], "values"),
            "files": f"{_told(report['collections'], 'files')} ({size})",
            "opened_by_neither_key": _listed(lost, _SHOWN, report.get("undecryptable_count")),
            "will_stop_working": "; ".join(rehearsed["stops_working"]),
            "expected_downtime": _downtime(rehearsed.get("expected_downtime") or _UNDER_WAY),
            "disk_needed": ", ".join(
                f"{_bytes(size)} for the {name}" for name, size in rehearsed["disk_needed"].items()
            )
            if rehearsed.get("disk_needed")
            else _UNDER_WAY,
        }
        traffic = rehearsed.get("bucket_traffic")
        if traffic:
            found["bucket_traffic"] = f"{traffic['requests']} requests, {_bytes(traffic['bytes'])}" + (
                "; every version of a replaced object is removed" if traffic["versioned"] else ""
            )
    if rehearsed.get("console"):
        found["sessions_to_end"] = f"{rehearsed['end_sessions']}: {rehearsed['ended_sessions']}"
        found["console"] = ", ".join(
            f"{kind['count']} {name.replace('_', ' ')}" for name, kind in rehearsed["console"].items()
        )
    if found:
        found["more"] = "each collection, value and session is in the result of the rehearsal, which -v shows"
    return found


def rotation_summary(rotated: Mapping[str, Any], ended: Any, scope: str) -> dict[str, str]:
    last = ended if ended and "phase" in ended else rotated
    untold = "none" if scope == "tokens" else "unknown"
    return {
        "phase": last["phase"],
        "old_key": rotated["key"]["fingerprint"],
        "new_key": rotated["new_key"]["fingerprint"],
        "downtime": _downtime(last.get("downtime") or untold),
        "ended_sessions": str(last.get("ended_sessions", untold)),
        "does_not_work_any_more": "; ".join(last.get("stops_working", [untold])),
        "remains": last.get("remains", untold),
    }


def _told(collections: Sequence[Mapping[str, Any]], kind: str) -> str:
    """How many there are, and what opens them."""
    tallies = [one[kind] for one in collections]
    counts = {verdict: sum(tally.get(verdict, 0) for tally in tallies) for verdict in _OPENED}
    said = [f"{count} {_OPENED[verdict]}" for verdict, count in counts.items() if count]
    return f"{sum(counts.values())}, of which {', '.join(said)}" if said else "none"


def _listed(names: Sequence[str], most: int | None = None, count: int | None = None) -> str:
    """count: how many there are, if these are not all."""
    count = len(names) if count is None else count
    shown = names[:most]
    more = [f"{count - len(shown)} more"] if count > len(shown) else []
    return f"{count}: {', '.join([*shown, *more])}" if count else "none"


def _downtime(seconds: Mapping[str, int] | str) -> str:
    if isinstance(seconds, str):
        return seconds
    return "API {api} s, background work {background} s, the rotation as a whole {whole} s".format(**seconds)


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "security_summary": security_summary,
            "rehearsal_summary": rehearsal_summary,
            "rotation_summary": rotation_summary,
        }
