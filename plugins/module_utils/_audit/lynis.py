# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lynis, which audits a host: its report file in, findings out.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Finding, Unobserved
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.others import Program

PROGRAM = Program("lynis", "lynis", "the host as a whole", ("lynis",), "lynis audit system")
_SEVERITY = {"warning[]": "medium", "suggestion[]": "low"}
_NOTHING = ("", "-")


def read(report: str) -> list[Finding]:
    """Raises Unobserved, without words, if the report is not complete. Each of lynis' tests is one finding, however much it says."""
    lines = [(name, value) for name, _equals, value in (line.partition("=") for line in report.split("\n"))]
    values = dict(lines)
    if values.get("finish") != "true":
        raise Unobserved()
    version = values.get("lynis_version", "")
    tests: dict[str, list[tuple[str, str, str, str]]] = {}
    for kind, severity in _SEVERITY.items():
        for value in (value for name, value in lines if name == kind):
            test, message, details, solution = (value.split("|") + [""] * 3)[:4]
            tests.setdefault(test, []).append((severity, message, details, solution))
    return [PROGRAM.ran(version)] + [_finding(version, test, said) for test, said in sorted(tests.items())]


def _finding(version: str, test: str, said: list[tuple[str, str, str, str]]) -> Finding:
    severity, title = said[0][:2]
    evidence = [
        message if details in _NOTHING else "%s (%s)" % (message, details)
        for _severity, message, details, _solution in said
    ]
    solutions = dict.fromkeys(
        _without_kind(solution) for _severity, _message, _details, solution in said if solution not in _NOTHING
    )
    remedy = "; ".join(solutions) or "%s, and then for what it looked at: lynis show details %s" % (
        PROGRAM.by_hand,
        test,
    )
    return PROGRAM.finding(version, test, "fail", severity, title, evidence, remedy)


def _without_kind(solution: str) -> str:
    kind, _colon, text = solution.partition(":")
    return text if kind in ("text", "url") else solution
