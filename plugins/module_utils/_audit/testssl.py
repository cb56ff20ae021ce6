# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""testssl.sh, which audits a TLS endpoint: its JSON (C(--jsonfile-pretty)) in, findings out.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Finding, Unobserved
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.others import Program

PROGRAM = Program(
    "testssl", "testssl.sh", "a TLS endpoint from outside", ("testssl", "testssl.sh"), "testssl https://…"
)
_SEVERITY = {"CRITICAL": "critical", "HIGH": "high", "MEDIUM": "medium", "LOW": "low", "WARN": "low"}
_UNTOLD = ("sessionresumption_", "cipher-")
"""It fails to try to resume a session now and then, and has nothing against either answer; single ciphers are told by their category."""


def read(report: str) -> list[Finding]:
    """Raises Unobserved if the report is not complete, in words if it says why."""
    try:
        answer = json.loads(report, strict=False)
        version = answer["version"].split()[0]
        problems = [each["finding"] for each in answer["scanResult"] if each.get("severity") in ("WARN", "FATAL")]
        if problems or not isinstance(answer["scanTime"], int):
            raise Unobserved("; ".join(problems))
        (endpoint,) = (each for each in answer["scanResult"] if "targetHost" in each)
        return [PROGRAM.ran(version)] + _findings(version, endpoint)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Unobserved() from None


def _findings(version: str, endpoint: Mapping[str, Any]) -> list[Finding]:
    entries = [entry for part in endpoint.values() if isinstance(part, list) for entry in part]
    ends = {_certificate(entry["id"]): entry["finding"] for entry in entries if entry["id"].startswith("cert_notAfter")}
    tests: dict[str, list[Mapping[str, str]]] = {}
    for entry in entries:
        if entry["severity"] in _SEVERITY and not entry["id"].startswith(_UNTOLD):
            # Of several certificates each has its entry, with the certificate's number behind the test's name.
            tests.setdefault(entry["id"].partition(" ")[0], []).append({**entry, "finding": _lasting(entry, ends)})
    remedy = (
        "change it where TLS ends (Appwrite's Traefik, or a proxy before it); this shows it: testssl https://%s:%s"
        % (endpoint["targetHost"], endpoint["port"])
    )
    return [_finding(version, test, said, remedy) for test, said in sorted(tests.items())]


def _finding(version: str, test: str, said: list[Mapping[str, str]], remedy: str) -> Finding:
    worst = min((entry["severity"] for entry in said), key=list(_SEVERITY).index)
    return PROGRAM.finding(
        version,
        test,
        "unknown" if worst == "WARN" else "fail",
        _SEVERITY[worst],
        "%s: %s" % (test, said[0]["finding"]),
        [entry["finding"] for entry in said],
        remedy,
        said[0].get("cve", ""),
    )


def _certificate(name: str) -> str:
    return name.partition(" ")[2]


def _lasting(entry: Mapping[str, str], ends: Mapping[str, str]) -> str:
    """What it found, with the day on which a certificate ends in place of the days left, which are others tomorrow."""
    found = "none" if entry["finding"] == "--" else entry["finding"]
    if not entry["id"].startswith("cert_expirationStatus"):
        return found
    return "%s, its end: %s UTC" % (re.sub(r" \(\d+\)$", "", found), ends[_certificate(entry["id"])])
