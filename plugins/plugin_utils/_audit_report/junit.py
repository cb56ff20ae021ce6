# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit's XML, which every CI system shows: a host is a suite, a control a test case.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

_ELEMENTS = {
    "fail": "failure",
    "unknown": "error",
    "waived": "skipped",
    "not_applicable": "skipped",
    "pass": "system-out",
}
"""What could not be observed is an error, since a skipped case would hide it."""


def junit(report: Mapping[str, Any]) -> str:
    root = ElementTree.Element(
        "testsuites",
        {
            "name": "selfhost.appwrite audit",
            **_numbers(
                [finding for host in report["hosts"] for finding in host["findings"]], "tests", "failures", "errors"
            ),
        },
    )
    for host in report["hosts"]:
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            {
                "name": host["host"],
                **_numbers(host["findings"], "tests", "failures", "errors", "skipped"),
                "timestamp": report["generated_at"],
                "hostname": host["host"],
            },
        )
        for finding in host["findings"]:
            _case(suite, host["host"], finding)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n%s\n' % ElementTree.tostring(root, "unicode")


def _numbers(findings: list[Mapping[str, Any]], *names: str) -> dict[str, str]:
    elements = [_ELEMENTS[finding["status"]] for finding in findings]
    found = {
        "tests": len(elements),
        "failures": elements.count("failure"),
        "errors": elements.count("error"),
        "skipped": elements.count("skipped"),
    }
    return {name: str(found[name]) for name in names}


def _case(suite: ElementTree.Element, host: str, finding: Mapping[str, Any]) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"name": "%s: %s" % (finding["id"], finding["title"]), "classname": "%s.%s" % (host, finding["group"])},
    )
    if finding["status"] == "pass":
        ElementTree.SubElement(case, "system-out").text = finding["evidence"]
        return
    message = finding["evidence"]
    if finding["status"] == "waived":
        message = "waived until %s: %s (%s)" % (
            finding["waiver"]["expires"],
            finding["waiver"]["justification"],
            message,
        )
    element = ElementTree.SubElement(
        case, _ELEMENTS[finding["status"]], {"type": finding["severity"], "message": message}
    )
    if finding["status"] != "not_applicable":
        element.text = "%s\nRemedy: %s\nReference: %s" % (finding["rationale"], finding["remedy"], finding["reference"])
