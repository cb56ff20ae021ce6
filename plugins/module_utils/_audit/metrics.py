# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of an audit as metrics, in the text format that Prometheus reads. Pure.

Every sample carries the project's directory, which tells installations of one host apart whether docker answers or not.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
from typing import Any, Iterator, Mapping, Tuple

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.encryption import PROOF_HOLDS

VALUES = {"pass": 0, "waived": 1, "unknown": 2, "fail": 3}
"""The higher, the worse, so that a maximum says what is worst. V(not_applicable) has no sample."""
METRICS = {
    "appwrite_audit_success": "Whether the audit could be made: 1 if so. While it is 0 nothing is known of any control.",
    "appwrite_audit_last_run_timestamp_seconds": "When the audit last ran, in seconds since 1970.",
    "appwrite_audit_info": "The audited release of Appwrite and its compose project, always 1.",
    "appwrite_audit_score": "0 to 100: the share of the applicable controls that pass, by weight.",
    "appwrite_audit_control_status": (
        "What was found: 0 the control passes, 1 it is waived, 2 it could not be observed, 3 it fails. "
        "No sample if it does not apply."
    ),
    "appwrite_audit_certificate_expiry_timestamp_seconds": (
        "When the certificate of the HTTPS endpoint ends, in seconds since 1970. No sample if it was not seen."
    ),
    "appwrite_audit_escrow_proof_expiry_timestamp_seconds": (
        "Until when it counts as proved that the escrow holds the encryption key in force, in seconds since 1970. "
        "No sample if the escrow does not hold it."
    ),
}

_Sample = Tuple[str, Mapping[str, str], int]


def text(directory: str, now: int, result: Mapping[str, Any] | None) -> str:
    """C(result) is what C(_audit.examine) returns, C(None) if it could not be made."""
    samples: list[_Sample] = [
        ("appwrite_audit_success", {}, int(result is not None)),
        ("appwrite_audit_last_run_timestamp_seconds", {}, now),
    ]
    samples += [] if result is None else _samples(result)
    lines: list[str] = []
    for name, explanation in METRICS.items():
        found = [
            _line(name, {"directory": directory, **labels}, value)
            for sampled, labels, value in samples
            if sampled == name
        ]
        if found:
            lines += ["# HELP %s %s" % (name, explanation), "# TYPE %s gauge" % name] + found
    return "".join(line + "\n" for line in lines)


def _samples(result: Mapping[str, Any]) -> Iterator[_Sample]:
    yield "appwrite_audit_info", {"project": result["project"], "release": result["release"]}, 1
    yield "appwrite_audit_score", {}, result["score"]
    for finding in result["findings"]:
        if finding["status"] in VALUES:
            labels = {
                "control": finding["id"],
                "group": finding["group"],
                "severity": finding["severity"],
                "title": finding["title"],
            }
            yield "appwrite_audit_control_status", labels, VALUES[finding["status"]]
    if result["certificate_expires"]:
        yield (
            "appwrite_audit_certificate_expiry_timestamp_seconds",
            {},
            _seconds(result["certificate_expires"], "%Y-%m-%dT%H:%M:%SZ"),
        )
    if result["escrow_proved"]:
        # It holds to the end of its last day.
        yield (
            "appwrite_audit_escrow_proof_expiry_timestamp_seconds",
            {},
            _seconds(result["escrow_proved"], "%Y-%m-%d", PROOF_HOLDS + datetime.timedelta(days=1)),
        )


def _seconds(moment: str, form: str, later: datetime.timedelta = datetime.timedelta()) -> int:
    return int((datetime.datetime.strptime(moment, form).replace(tzinfo=datetime.timezone.utc) + later).timestamp())


def _line(name: str, labels: Mapping[str, str], value: int) -> str:
    return "%s{%s} %d" % (
        name,
        ",".join('%s="%s"' % (label, _escaped(content)) for label, content in labels.items()),
        value,
    )


def _escaped(content: str) -> str:
    return content.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
