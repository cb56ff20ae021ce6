# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet: one plain dictionary, C(docs/audit-report.schema.json), of which each file beside this one makes a format.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS, score
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES, STATUSES, Finding
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.answer import (
    NotAReport,
    checked,
    shortened,
    visible,
)

WHEN = "%Y-%m-%dT%H:%M:%SZ"
OBSERVED = "host.observed"
_LONGEST_REASON = 500
_MOST_READ = 5000


def report(hosts: Iterable[Mapping[str, Any]], generated_at: str) -> dict[str, Any]:
    """C(hosts) have C(host), C(audit), the result of C(audit_info), or empty if there is none, and the C(waivers) that it was given.

    The texts can be shown as they are. What one host answers changes nothing of what is said of another.
    """
    today = datetime.datetime.strptime(generated_at, WHEN).date()
    found = [{"host": visible(one["host"]), **_host(one.get("audit"), one.get("waivers"), today)} for one in hosts]
    return {"generated_at": generated_at, "hosts": sorted(found, key=lambda host: host["host"])}


def fails(finding: Mapping[str, Any]) -> bool:
    """Whether the host is to fail for it. One whose answer is none must not get off better than one that is down."""
    return finding["status"] == "fail" or finding["id"] == OBSERVED and finding["status"] == "unknown"


def outline(text: str) -> dict[str, Any]:
    """What the trend needs of an older C(report.json). Raises ValueError if the text is none."""
    found = json.loads(text)
    try:
        datetime.datetime.strptime(found["generated_at"], WHEN)
        hosts = [
            {
                "host": host["host"],
                "release": host["release"],
                "score": host["score"],
                "findings": [
                    {name: finding[name] for name in ("id", "severity", "group", "status")}
                    for finding in host["findings"]
                ],
            }
            for host in found["hosts"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    for host in hosts:
        if (
            not isinstance(host["host"], str)
            or not isinstance(host["score"], int)
            or isinstance(host["score"], bool)
            or not 0 <= host["score"] <= 100
        ):
            raise ValueError("a host has no name or no score")
        if any(
            finding["severity"] not in SEVERITIES or finding["status"] not in STATUSES for finding in host["findings"]
        ):
            raise ValueError("a finding has no severity or no status")
    return {"generated_at": found["generated_at"], "hosts": hosts}


def counts(host: Mapping[str, Any]) -> dict[str, int]:
    """How many findings of a host fail, by severity, and how many have which other status."""
    found = Counter(
        finding["severity"] if finding["status"] == "fail" else finding["status"] for finding in host["findings"]
    )
    return {name: found[name] for name in (*SEVERITIES, *STATUSES) if name != "fail"}


def _host(audit: Any, waivers: Any, today: datetime.date) -> dict[str, Any]:
    if (
        not audit
        or isinstance(audit, Mapping)
        and (audit.get("failed") or audit.get("unreachable") or "findings" not in audit)
    ):
        return _blind("fail", _why(audit))
    try:
        if not isinstance(audit, Mapping):
            raise NotAReport("it is not a dictionary")
        release, findings = checked(audit, waivers, today)
    except NotAReport as error:
        return _blind("unknown", "the host's answer is not a report: %s" % error)
    return {"release": release, "score": score(findings), "findings": [finding.public() for finding in findings]}


def _blind(status: str, evidence: str) -> dict[str, Any]:
    control = next(control for control in CONTROLS if control.id == OBSERVED)
    finding = Finding(
        control.id,
        control.title,
        control.severity,
        control.group,
        status,
        shortened(" ".join(evidence.split()), _LONGEST_REASON),
        control.rationale,
        control.remedy,
        control.reference,
    )
    return {"release": "", "score": 0, "findings": [finding.public()]}


def _why(audit: Any) -> str:
    if not audit:
        return "the play did not get to the audit of this host, or got no answer that it could read"
    said = audit.get("msg")
    message = (
        said[:_MOST_READ].removeprefix("Task failed: ") if isinstance(said, str) else "it does not say why"
    )  # ansible-core 2.19 adds that
    if audit.get("unreachable"):
        return "the host cannot be reached: %s" % message
    if audit.get("failed"):
        return "the audit failed: %s" % message
    return "the audit was skipped" if audit.get("skipped") else "the audit returned no findings"
