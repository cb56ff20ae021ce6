# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit: an observed installation in, findings out. Controls stand by group, one file each; all of this is pure.

To add a control: a C(Control) in the file of its group, and a failing and a passing case in
C(tests/unit/plugins/module_utils/_audit/), whose tests refuse a control without both.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import (
    console,
    containers,
    encryption,
    host,
    https,
    platform,
    secrets,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    GROUPS,
    SEVERITIES,
    THIRD_PARTIES,
    Control,
    Finding,
    Observation,
    Outcome,
    Unobserved,
    Waiver,
    day,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

CONTROLS: tuple[Control, ...] = tuple(
    control for group in (encryption, secrets, https, console, platform, containers, host) for control in group.CONTROLS
)

_WEIGHT = {"critical": 10, "high": 5, "medium": 2, "low": 1}
_CAP = {"critical": 40, "high": 70}
"""The most that an installation can score while a control of that severity fails or is unknown."""
_IDS = [control.id for control in CONTROLS]


def audit(observation: Observation, waivers: Sequence[Waiver] = (), others: Iterable[Finding] = ()) -> list[Finding]:
    """Every control's finding, and those of C(others), with the waivers applied; always in the same order."""
    found = [_apply(control, observation) for control in CONTROLS]
    found += sorted(others, key=lambda finding: (GROUPS.index(finding.group), finding.id))
    return [waived(finding, waivers, observation.today) for finding in found]


def is_control(name: str) -> bool:
    """Whether a finding may have that id. What other programs test for is not known here."""
    return name in _IDS or name.startswith(tuple(program + "." for program in THIRD_PARTIES))


def waiver_of(entry: Mapping[str, Any], where: str) -> Waiver:
    """Raises AppwriteError, which names the field behind C(where), if an entry is no waiver."""
    name, justification = entry.get("control"), entry.get("justification")
    if not isinstance(name, str) or not is_control(name):
        near = get_close_matches(str(name), _IDS, 1)
        raise AppwriteError(
            "%scontrol: there is no control %r; %s"
            % (where, name, "is %s meant?" % near[0] if near else "take the id from a finding")
        )
    if not isinstance(justification, str) or not justification.strip():
        raise AppwriteError("%sjustification: is missing; say why this finding is accepted" % where)
    return Waiver(name, justification.strip(), day(entry.get("expires"), where + "expires"))


def score(findings: Iterable[Finding]) -> int:
    """0 to 100: the share of the applicable controls that pass, by weight.

    A control weighs 10, 5, 2 or 1 by its severity. What fails, is waived or could not be observed counts as not passed, since a waiver
    and a blind spot do not make an installation safer. While a critical control fails or is unknown the whole is worth 40 points at most,
    while a high one does or is, 70. Findings of other programs do not count: which of them run differs from host to host.
    """
    counted = [
        finding for finding in findings if finding.group not in THIRD_PARTIES and finding.status != "not_applicable"
    ]
    total = sum(_WEIGHT[finding.severity] for finding in counted)
    reached = sum(_WEIGHT[finding.severity] for finding in counted if finding.status == "pass")
    most = min(
        [100] + [_CAP.get(finding.severity, 100) for finding in counted if finding.status in ("fail", "unknown")]
    )
    return most * reached // total if total else 0


def worst(findings: Iterable[Finding]) -> str:
    """The severity of the worst finding that fails, or V(none)."""
    failing = {finding.severity for finding in findings if finding.status == "fail"}
    return next((severity for severity in SEVERITIES if severity in failing), "none")


def _apply(control: Control, observation: Observation) -> Finding:
    return finding_of(control, lambda: control.check(observation))


def finding_of(control: Control, judge: Callable[[], Outcome]) -> Finding:
    """judge: may raise Unobserved."""
    try:
        outcome = judge()
    except Unobserved as missing:
        outcome = Outcome("unknown", str(missing))
    return Finding(
        control.id,
        control.title,
        control.severity,
        control.group,
        outcome.status,
        outcome.evidence,
        control.rationale,
        outcome.remedy or control.remedy,
        control.reference,
    )


def waived(finding: Finding, waivers: Sequence[Waiver], today: datetime.date) -> Finding:
    """The finding, if it fails or is unknown, with the waiver that is for it."""
    if finding.status not in ("fail", "unknown"):
        return finding
    matching = sorted((waiver for waiver in waivers if waiver.control == finding.id), key=lambda waiver: waiver.expires)
    if not matching:
        return finding
    waiver = matching[-1]
    if waiver.expires < today:
        return replace(
            finding, evidence="%s (a waiver of this expired on %s)" % (finding.evidence, waiver.expires), waiver=waiver
        )
    return replace(finding, status="waived", waiver=waiver)
