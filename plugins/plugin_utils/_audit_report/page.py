# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that people look at: one HTML file with all that it needs, which asks no other host for anything.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS, score
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import GROUPS, SEVERITIES, STATUSES
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import WHEN

_HERE = Path(__file__).parent
_REMEDIES = {control.id: control.remedy for control in CONTROLS}
_TO_MEND = ("fail", "unknown", "waived")
_SPARK = 20
"""as many of the latest reports as a host's own line shows"""
_SOON = timedelta(days=30)


def page(report: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """The HTML of a report. C(history) are older ones of the same form, the oldest first. The same input makes the same bytes."""
    hosts = sorted(report["hosts"], key=_order)
    reports = _trend([*history, report])
    lines = [
        [
            (x, 100 - one["scores"][host["host"]])
            for x, one in enumerate(reports[-_SPARK:])
            if host["host"] in one["scores"]
        ]
        for host in hosts
    ]
    by_name = sorted(range(len(hosts)), key=lambda number: hosts[number]["host"])
    findings = [(number, finding) for number in by_name for finding in hosts[number]["findings"]]
    present = {finding["group"] for _number, finding in findings}
    groups = [group for group in GROUPS if group in present] + sorted(present.difference(GROUPS))
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    items = [Markup('<li data-h="%d">%s</li>') % (number, host["host"]) for number, host in enumerate(hosts)]
    style, script = (Markup((_HERE / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        severities=SEVERITIES,
        statuses=STATUSES,
        counted=[status for status in STATUSES if status != "not_applicable"],
        to_mend=_TO_MEND,
        groups=groups,
        spark=_SPARK,
        listed=lambda numbers: Markup().join(items[number] for number in numbers),
        hosts=[
            {**host, "cells": [_cell(host, group) for group in groups], "line": line}
            for host, line in zip(hosts, lines)
        ],
        releases=sorted({host["release"] for host in hosts if host["release"]}),
        histogram=[sum(1 for host in hosts if min(host["score"] // 5, 19) == step) for step in range(20)],
        reports=reports,
        now=reports[-1],
        before=reports[-2] if len(reports) > 1 else None,
        counts=Counter((finding["severity"], finding["status"]) for _number, finding in findings),
        controls=_controls(findings, reports[-1]["when"].date()),
        how=inspect.cleandoc(score.__doc__ or "").replace("\n\n", " "),
    )


def _order(host: dict[str, Any]) -> tuple[Any, ...]:
    """The least safe host first."""
    found = Counter((finding["status"], finding["severity"]) for finding in host["findings"])
    return host["score"], *(-found[status, severity] for severity in SEVERITIES for status in _TO_MEND), host["host"]


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _trend(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each report says of the hosts of the last one, which alone may be compared."""
    present = {host["host"] for host in reports[-1]["hosts"]}
    found = []
    for report in reports:
        hosts = [host for host in report["hosts"] if host["host"] in present]
        failing = [
            (host["host"], finding) for host in hosts for finding in host["findings"] if finding["status"] == "fail"
        ]
        scores = {host["host"]: host["score"] for host in hosts}
        found.append(
            {
                "when": datetime.strptime(report["generated_at"], WHEN).replace(tzinfo=timezone.utc),
                "scores": scores,
                "score": sum(scores.values()) // max(len(scores), 1),
                "lowest": min(scores.values(), default=0),
                "highest": max(scores.values(), default=0),
                "failing": {(host, finding["id"]) for host, finding in failing},
                "by_severity": Counter(finding["severity"] for _host, finding in failing),
            }
        )
    return [one for one in found[:-1] if one["scores"]] + found[-1:]


def _cell(host: dict[str, Any], group: str) -> dict[str, Any]:
    """One field of the heat map: how many findings of each status, and what it shows of them."""
    found = [finding for finding in host["findings"] if finding["group"] == group]
    counts = Counter(finding["status"] for finding in found)
    failing = {finding["severity"] for finding in found if finding["status"] == "fail"}
    kinds = [severity for severity in SEVERITIES if severity in failing] + [
        status for status in ("unknown", "waived", "pass") if counts[status]
    ]
    return {"group": group, "counts": counts, "kind": kinds[0] if kinds else "empty"}


def _controls(findings: Iterable[tuple[int, dict[str, Any]]], today: date) -> list[dict[str, Any]]:
    """The findings by control, with the text that they share once, the worst first."""
    found: dict[tuple[str, ...], list[tuple[int, dict[str, Any]]]] = {}
    shared = ("id", "title", "severity", "group", "rationale", "reference")
    for number, finding in findings:
        found.setdefault(tuple(finding[name] for name in shared), []).append((number, finding))
    controls = []
    for key, members in found.items():
        control: dict[str, Any] = dict(zip(shared, key))
        control["remedy"] = _remedy(control["id"], [finding for _number, finding in members])
        control["counts"] = Counter(finding["status"] for _number, finding in members)
        control["rows"] = _rows(members, control["remedy"], today)
        controls.append(control)
    controls.sort(
        key=lambda control: (
            SEVERITIES.index(control["severity"]),
            [-control["counts"][status] for status in STATUSES],
            *(control[name] for name in shared),
        )
    )
    names: Counter[str] = Counter()
    for control in controls:
        names[control["id"]] += 1
        control["anchor"] = control["id"] + "-%d" % names[control["id"]] * (names[control["id"]] > 1)
    return controls


def _remedy(control: str, findings: list[dict[str, Any]]) -> str | None:
    """What all hosts say that are to be mended. If they differ none of them speaks for all, and each of their rows says its own."""
    remedies = {
        status: {finding["remedy"] for finding in findings if finding["status"] == status} for status in _TO_MEND
    }
    likely = remedies["fail"] or remedies["waived"] or remedies["unknown"]
    return next(iter(likely), None) if len(likely) < 2 else _REMEDIES.get(control, "")


def _rows(members: Iterable[tuple[int, dict[str, Any]]], remedy: str | None, today: date) -> list[dict[str, Any]]:
    """The hosts of one control of which the same is said, together."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, finding in members:
        waiver = finding.get("waiver") or {}
        own = finding["remedy"] if finding["status"] in ("fail", "waived") and finding["remedy"] != remedy else None
        key = (STATUSES.index(finding["status"]), finding["evidence"], own or "", *waiver.values())
        row = rows.setdefault(
            key,
            {"status": finding["status"], "evidence": finding["evidence"], "remedy": own, "waiver": None, "hosts": []},
        )
        if waiver:
            left = date.fromisoformat(waiver["expires"]) - today
            row["waiver"] = {
                **waiver,
                "state": "expired" if left < timedelta(0) else "soon" if left <= _SOON else "holds",
            }
        row["hosts"].append(number)
    return [rows[key] for key in sorted(rows, key=lambda key: (key[0], -len(rows[key]["hosts"]), key[1:]))]
