# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SARIF 2.1.0, which code scanning and security dashboards read: a control is a rule, a finding on one host a result.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}
"""The middle of each range that code scanning knows by that name."""
_CONTROLS = {control.id: control for control in CONTROLS}
_LINK = re.compile(r"\[(?=[^\[\]]*\]\()")
_KINDS = {"fail": "fail", "waived": "fail", "unknown": "review", "pass": "pass", "not_applicable": "notApplicable"}


def sarif(report: Mapping[str, Any]) -> str:
    ids = sorted({finding["id"] for host in report["hosts"] for finding in host["findings"]})
    index = {name: number for number, name in enumerate(ids)}
    run = {
        "tool": {
            "driver": {
                "name": "selfhost.appwrite audit",
                "informationUri": "https://github.com/ansible-collections/selfhost.appwrite",
                "rules": [_rule(name) for name in index],
            }
        },
        "automationDetails": {"id": "selfhost.appwrite/audit/"},
        "invocations": [{"executionSuccessful": True, "endTimeUtc": report["generated_at"]}],
        "originalUriBaseIds": {
            "HOSTS": {"description": {"text": "One directory for each host: the project directory of its Appwrite."}}
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(host, locations, finding, index[finding["id"]])
            for host in report["hosts"]
            for locations in [_locations(host["host"])]
            for finding in host["findings"]
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(name: str) -> dict[str, Any]:
    """By what is known here alone: all hosts share the rules. Another auditor's test is only known from what they say."""
    control = _CONTROLS.get(name)
    if control is None:
        group, _dot, test = name.partition(".")
        text = _text("What %s says of %s" % (group, test))
        return {
            "id": name,
            "shortDescription": {"text": text},
            "fullDescription": {"text": text},
            "help": {"text": text},
            "properties": {"tags": ["security", group]},
        }
    advice = "%s\n\nRemedy: %s\n\nReference: %s" % (control.rationale, control.remedy, control.reference)
    return {
        "id": name,
        "shortDescription": {"text": _text(control.title)},
        "fullDescription": {"text": _text(control.rationale)},
        "help": {"text": _text(advice)},
        "defaultConfiguration": {"level": _LEVELS[control.severity]},
        "properties": {"security-severity": _SCORES[control.severity], "tags": ["security", control.group]},
    }


def _locations(host: str) -> list[dict[str, Any]]:
    return [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": quote(host, safe="") + "/.env", "uriBaseId": "HOSTS"},
                "region": {"startLine": 1},
            },
            "logicalLocations": [{"name": host, "kind": "resource"}],
        }
    ]


def _result(
    host: Mapping[str, Any], locations: list[dict[str, Any]], finding: Mapping[str, Any], rule: int
) -> dict[str, Any]:
    kind = _KINDS[finding["status"]]
    suppressed = {"kind": "external", "status": "accepted"}
    if finding["status"] == "waived":
        suppressed["justification"] = "%s (until %s)" % (
            finding["waiver"]["justification"],
            finding["waiver"]["expires"],
        )
    return {
        "ruleId": finding["id"],
        "ruleIndex": rule,
        "kind": kind,
        "level": _LEVELS[finding["severity"]] if kind == "fail" else "none",
        "message": {
            "text": _text(
                "%s: %s. Remedy: %s" % (host["host"], finding["evidence"], finding["remedy"])
                if kind == "fail"
                else "%s: %s" % (host["host"], finding["evidence"])
            )
        },
        "locations": locations,
        "partialFingerprints": {
            "hostAndControl/v1": hashlib.sha256(("%s\n%s" % (host["host"], finding["id"])).encode()).hexdigest()
        },
        "suppressions": [suppressed] if finding["status"] == "waived" else [],
        "properties": {
            "host": host["host"],
            "release": host["release"],
            "severity": finding["severity"],
            "group": finding["group"],
            "status": finding["status"],
        },
    }


def _text(text: str) -> str:
    """In a message braces make placeholders, and brackets before a parenthesis a link, unless they are escaped."""
    text = text.replace("{", "{{").replace("}", "}}")
    return _LINK.sub(r"\\[", text) if "](" in text else text
