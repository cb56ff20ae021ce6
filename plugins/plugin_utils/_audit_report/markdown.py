# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Markdown, for a ticket, a wiki or a terminal: what is to be done first, and what passes only as a number.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import counts

_COLUMNS = (*SEVERITIES, "unknown", "waived", "pass")
_OURS = frozenset(control.id for control in CONTROLS)
_SHARED = ("severity", "id", "title", "rationale", "reference")


def markdown(report: Mapping[str, Any]) -> str:
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield "# Security audit of self-hosted Appwrite"
    yield ""
    yield (
        "Generated at %s. Failing findings by severity; what could not be observed is unknown, and never counts as passed."
        % report["generated_at"]
    )
    yield ""
    yield _row("host", "release", "score", *_COLUMNS)
    yield _row("---", "---", *["--:"] * (1 + len(_COLUMNS)))
    for host in report["hosts"]:
        found = counts(host)
        yield _row(
            _escaped(host["host"]), _escaped(host["release"]), host["score"], *[found[name] for name in _COLUMNS]
        )
    for severity in SEVERITIES:
        yield from _section(report, "Failing, %s" % severity, "fail", severity)
    yield from _section(report, "Unknown", "unknown")
    yield from _waived(report)


def _section(report: Mapping[str, Any], heading: str, status: str, severity: str | None = None) -> Iterator[str]:
    """One control after the other, with the hosts that it concerns by what mends them. Of another auditor's tests, which are many, a line for each host."""
    controls: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
    for host, finding in _findings(report, status):
        if severity in (None, finding["severity"]):
            controls.setdefault(tuple(finding[name] for name in _SHARED), []).append((host, finding))
    if controls:
        yield from ("", "## %s" % heading)
    ordered = sorted(controls, key=lambda shared: (SEVERITIES.index(shared[0]), *shared))
    for shared in (each for each in ordered if each[1] in _OURS):
        _severity, name, title, rationale, reference = map(_escaped, shared)
        yield from ("", "### %s: %s" % (name, title), "", "Why: %s" % rationale)
        for remedy in sorted({finding["remedy"] for _host, finding in controls[shared]}):
            yield ""
            yield from (
                "- **%s**: %s" % (_escaped(host), _escaped(finding["evidence"]))
                for host, finding in controls[shared]
                if finding["remedy"] == remedy
            )
            yield from ("", *_code(remedy))
        yield from ("", "Reference: %s" % reference)
    others = [(host, finding) for shared in ordered if shared[1] not in _OURS for host, finding in controls[shared]]
    if others:
        yield from ("", "### Of other auditors", "")
        yield from (
            "- **%s**: %s, %s: %s. %s"
            % tuple(map(_escaped, (host, *(finding[name] for name in ("id", "title", "evidence", "remedy")))))
            for host, finding in others
        )


def _waived(report: Mapping[str, Any]) -> Iterator[str]:
    found = list(_findings(report, "waived"))
    if found:
        yield from (
            "",
            "## Waived",
            "",
            _row("host", "control", "severity", "until", "justification", "evidence"),
            _row(*["---"] * 6),
        )
    for host, finding in found:
        waiver = finding["waiver"]
        yield _row(
            *map(
                _escaped,
                (
                    host,
                    finding["id"],
                    finding["severity"],
                    waiver["expires"],
                    waiver["justification"],
                    finding["evidence"],
                ),
            )
        )


def _findings(report: Mapping[str, Any], status: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return (
        (host["host"], finding)
        for host in report["hosts"]
        for finding in host["findings"]
        if finding["status"] == status
    )


def _row(*cells: Any) -> str:
    return "| %s |" % " | ".join(map(str, cells))


def _escaped(text: str) -> str:
    """On one line, of which it is never the beginning, and nothing in it is markup."""
    return re.sub(r"([\\`*_\[\]<>#|~&$]|:(?=//)|(?<=www)\.)", r"\\\1", " ".join(text.split()))


def _code(text: str) -> list[str]:
    """A block whose fence is longer than any that is in the text."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return [fence, *text.split("\n"), fence]
