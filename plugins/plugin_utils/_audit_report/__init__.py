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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import (
    CONTROLS,
    finding_of,
    score,
    waived,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    SEVERITIES,
    STATUSES,
    Finding,
    Holder,
    Outcome,
    Waiver,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.sharing import COMPARED, peers_of
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.answer import (
    NotAReport,
    checked,
    holder_in,
    shortened,
    visible,
)

WHEN = "%Y-%m-%dT%H:%M:%SZ"
OBSERVED = "host.observed"
_LONGEST_REASON = 500
_MOST_READ = 5000


def report(hosts: Iterable[Mapping[str, Any]], generated_at: str) -> dict[str, Any]:
    """C(hosts) have C(host), C(audit), the result of C(audit_info), or empty if there is none, and the C(waivers) that it was given.

    The texts can be shown as they are. What one host answers changes nothing of what is said of another, but that hosts which have sealed values in common
    are compared by them.
    """
    today = datetime.datetime.strptime(generated_at, WHEN).date()
    looked = [_looked(visible(one["host"]), one.get("audit"), one.get("waivers"), today) for one in hosts]
    _compare(looked, today)
    found = [
        {
            "host": one.host,
            "release": one.release,
            "score": score(one.findings) if one.is_seen else 0,
            "findings": [finding.public() for finding in one.findings],
        }
        for one in looked
    ]
    return {"generated_at": generated_at, "hosts": sorted(found, key=lambda host: str(host["host"]))}


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


@dataclass
class _Looked:
    """A host as the report says it, before it is compared with others. C(holder) is C(None) if it cannot be."""

    host: str
    release: str
    findings: list[Finding]
    waivers: Sequence[Waiver] = ()
    holder: Holder | None = None
    is_seen: bool = True


def _looked(host: str, audit: Any, waivers: Any, today: datetime.date) -> _Looked:
    if (
        not audit
        or isinstance(audit, Mapping)
        and (audit.get("failed") or audit.get("unreachable") or "findings" not in audit)
    ):
        return _blind(host, "fail", _why(audit))
    try:
        if not isinstance(audit, Mapping):
            raise NotAReport("it is not a dictionary")
        release, findings = checked(audit, waivers, today)
        return _Looked(host, release, findings, waivers or (), holder_in(audit, host))
    except NotAReport as error:
        return _blind(host, "unknown", "the host's answer is not a report: %s" % error)


def _compare(looked: Iterable[_Looked], today: datetime.date) -> None:
    """Puts in place what no host knows of itself. One that did not say by what it can be compared keeps what it says."""
    having = [(one, one.holder) for one in looked if one.holder is not None]
    if len(having) < 2:
        return
    for (one, own), peers in zip(having, peers_of([own for _one, own in having])):
        found = {
            name: waived(finding_of(control, partial(judge, own, peers)), one.waivers, today)
            for name, (control, judge) in COMPARED.items()
        }
        one.findings = [found.get(finding.id, finding) for finding in one.findings]


def _blind(host: str, status: str, evidence: str) -> _Looked:
    reason = shortened(" ".join(evidence.split()), _LONGEST_REASON)
    control = next(control for control in CONTROLS if control.id == OBSERVED)
    return _Looked(host, "", [finding_of(control, lambda: Outcome(status, reason))], is_seen=False)


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
