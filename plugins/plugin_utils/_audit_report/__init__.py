# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""The report of a fleet: one plain dictionary, C(docs/audit-report.schema.json), of which each file beside this one makes a format."""

from __future__ import annotations

import datetime
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._model import SEVERITIES, STATUSES

WHEN = "%Y-%m-%dT%H:%M:%SZ"
_FIELDS = ("id", "title", "severity", "group", "status", "evidence", "rationale", "remedy", "reference")
_LONGEST_REASON = 500


def report(hosts: Iterable[Mapping[str, Any]], generated_at: str) -> dict[str, Any]:
    """C(hosts) have C(host) and C(audit), the result of C(audit_info), or empty where there is none. The texts can be shown as they are."""
    return {"generated_at": generated_at, "hosts": sorted((_host(one["host"], one.get("audit")) for one in hosts), key=lambda host: host["host"])}


def outline(text: str) -> dict[str, Any]:
    """What the trend needs of an older C(report.json). Raises ValueError where the text is none."""
    found = json.loads(text)
    try:
        datetime.datetime.strptime(found["generated_at"], WHEN)
        hosts = [{"host": host["host"], "release": host["release"], "score": host["score"], "findings": [
            {name: finding[name] for name in ("id", "severity", "group", "status")} for finding in host["findings"]]} for host in found["hosts"]]
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    for host in hosts:
        if not isinstance(host["host"], str) or not isinstance(host["score"], int):
            raise ValueError("a host has no name or no score")
        if any(finding["severity"] not in SEVERITIES or finding["status"] not in STATUSES for finding in host["findings"]):
            raise ValueError("a finding has no severity or no status")
    return {"generated_at": found["generated_at"], "hosts": hosts}


def counts(host: Mapping[str, Any]) -> dict[str, int]:
    """How many findings of a host fail, by severity, and how many have which other status."""
    found = Counter(finding["severity"] if finding["status"] == "fail" else finding["status"] for finding in host["findings"])
    return {name: found[name] for name in (*SEVERITIES, *STATUSES) if name != "fail"}


def visible(text: Any) -> str:
    """The same with every character that shows nothing, or turns the text around it, written as its number. XML takes what is left."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() or char in "\n\t\u200d" or unicodedata.category(char) == "Zs" else "\\u{%04x}" % ord(char) for char in shown)


def _host(name: str, audit: Any) -> dict[str, Any]:
    if isinstance(audit, Mapping) and "findings" in audit and not audit.get("failed"):
        return {"host": visible(name), "release": visible(audit["release"]), "score": int(audit["score"]),
                "findings": [_finding(finding) for finding in audit["findings"]]}
    control = next(control for control in CONTROLS if control.id == "host.observed")
    evidence = visible(" ".join(_why(audit).split())[:_LONGEST_REASON])
    blind = {"status": "fail", "evidence": evidence, **{name: getattr(control, name) for name in _FIELDS if name not in ("status", "evidence")}}
    return {"host": visible(name), "release": "", "score": 0, "findings": [{name: blind[name] for name in _FIELDS}]}


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: visible(finding[name]) for name in _FIELDS}
    if finding.get("waiver"):
        found["waiver"] = {name: visible(finding["waiver"][name]) for name in ("justification", "expires")}
    return found


def _why(audit: Any) -> str:
    if not isinstance(audit, Mapping) or not audit:
        return "the play did not get to the audit of this host"
    message = str(audit.get("msg")).removeprefix("Task failed: ")  # which ansible-core 2.19 adds
    if audit.get("unreachable"):
        return "the host cannot be reached: %s" % message
    if audit.get("failed"):
        return "the audit failed: %s" % message
    return "the audit was skipped" if audit.get("skipped") else "the audit returned no findings"
