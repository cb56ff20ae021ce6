# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every control, on every case of C(cases_*.py).

C(CASES) of such a file: the control's id, then the status, then the case's name, to an observation, or to an observation and texts that
the evidence or the remedy must hold. A control without a failing and a passing case is refused.

C(WITHOUT_DOCKER): controls that pass though docker could not be asked. C(ABOUT_THE_RELEASE): those that a release fails by what it is.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
from support.observations import secured

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS, audit
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    GROUPS,
    SEVERITIES,
    STATUSES,
    Observation,
    Unseen,
)

RELEASES = catalogue.RELEASES
GROUP_FILES = [
    importlib.import_module(f"unit.plugins.module_utils._audit.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("cases_*.py"))
]
BY_ID = {control.id: control for control in CONTROLS}
CASES = [
    (control, status, name, *(case if isinstance(case, tuple) else (case,)))
    for file in GROUP_FILES
    for control, statuses in file.CASES.items()
    for status, cases in statuses.items()
    for name, case in cases.items()
]
WITHOUT_DOCKER = {control for file in GROUP_FILES for control in getattr(file, "WITHOUT_DOCKER", ())}
ABOUT_THE_RELEASE = {control for file in GROUP_FILES for control in getattr(file, "ABOUT_THE_RELEASE", ())}
PUBLIC = {
    default for name in catalogue.names() if (variable := catalogue.get(name)) for default in variable.public_defaults
}
UNSEEN = Unseen("it was not looked at")
PARTS = (
    "env",
    "config",
    "containers",
    "drift",
    "inside",
    "endpoint",
    "escrow",
    "stored",
    "bucket",
    "servers",
    "project",
    "given",
    "others",
)
TYPED = re.compile(
    r"(^|[:;,] |[(])(appwrite_(security|audit)_[a-z_]+: \S|(ansible-playbook|apt-get|aws|chmod|chown|docker|echo|git|mv|openssl|rm|systemctl|unset) \S)"
)
"""A variable of a role with its value, or a command: at the beginning, or where words have led up to it."""
BLIND = replace(secured(), release_is_known=False, **{part: UNSEEN for part in PARTS})


def statuses(observation: Observation) -> dict[str, str]:
    return {finding.id: finding.status for finding in audit(observation)}


def is_one_line(text: str) -> bool:
    return text == text.strip() != "" and text.isprintable() and len(text) < 2000


def secret_pieces(observation: Observation) -> set[str]:
    """What would give a secret away: any eight characters of one, and a shorter one whole; of a URL, its password, or those behind its scheme."""
    given = [] if isinstance(observation.env, Unseen) else [observation.env.values]
    given += (
        []
        if isinstance(observation.containers, Unseen)
        else [container.environment for container in observation.containers]
    )
    given += (
        []
        if isinstance(observation.config, Unseen)
        else [
            {name: str(value or "") for name, value in (service.get("environment") or {}).items()}
            for service in (observation.config.get("services") or {}).values()
        ]
    )
    secrets = {secret for values in [*given, observation.shell] for secret in catalogue.secrets_of(values)} - PUBLIC
    secrets = {re.sub(r"^\w+://(?:[^@:]*:)?([^@]+)(@.*)?$", r"\1", secret) for secret in secrets}
    pieces = {secret[start : start + 8] for secret in secrets for start in range(max(1, len(secret) - 7))}
    return {piece for piece in pieces if len(piece) > 3 and piece != "NotAReal"}


# --- the cases ---


@pytest.mark.parametrize(
    ("control", "status", "observation", "texts"),
    [(control, status, seen, texts) for control, status, _name, seen, *texts in CASES],
    ids=[f"{control}-{status}-{name}" for control, status, name, *_rest in CASES],
)
def test_case(control, status, observation, texts):
    assert control in BY_ID, f"no control has the id {control}"
    found = next(finding for finding in audit(observation) if finding.id == control)
    assert found.status == status, found.evidence
    said = f"{found.evidence}\n{found.remedy}"
    assert [text for text in texts if text not in said] == [], said
    assert TYPED.search(found.remedy)


def test_no_finding_of_any_case_gives_a_secret_away_or_breaks_its_line():
    for control, _status, name, observation, *_texts in CASES:
        said = {finding.id: (finding.evidence, finding.remedy) for finding in audit(observation)}
        broken = [
            told
            for told, (evidence, remedy) in said.items()
            if not (is_one_line(evidence) and is_one_line(remedy)) or evidence.endswith(".")
        ]
        whole = "\n".join(text for texts in said.values() for text in texts)
        given_away = [piece for piece in secret_pieces(observation) if piece in whole]
        assert (broken, given_away) == ([], []), f"in {control}-{name}"


def test_every_control_has_a_failing_and_a_passing_case():
    have = {case[:2] for case in CASES}
    assert [
        (control.id, status) for control in CONTROLS for status in ("fail", "pass") if (control.id, status) not in have
    ] == []


def test_every_case_name_of_a_status_is_one():
    assert [what for what, count in Counter(case[:3] for case in CASES).items() if count > 1] == []
    assert {case[1] for case in CASES} <= set(STATUSES)


# --- what is written about a control ---


def test_ids_are_unique():
    assert len(BY_ID) == len(CONTROLS)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_words(control):
    assert re.fullmatch(r"[a-z]+\.[a-z0-9]+(_[a-z0-9]+)*", control.id)
    assert control.group in GROUPS
    assert control.severity in SEVERITIES
    for text in (control.title, control.rationale, control.remedy, control.reference):
        assert is_one_line(text)
    assert control.title[0].isupper() and not control.title.endswith(".")
    assert re.match(r"[A-Z_]", control.rationale) and control.rationale.endswith(".")
    assert TYPED.search(control.remedy)


# --- a whole installation ---


@pytest.mark.parametrize("release", RELEASES)
def test_a_secured_installation_has_no_finding(release):
    bad = {
        finding.id: finding.evidence
        for finding in audit(secured(release))
        if finding.status not in ("pass", "not_applicable")
    }
    assert {control: evidence for control, evidence in bad.items() if control not in ABOUT_THE_RELEASE} == {}


@pytest.mark.parametrize(("release", "status"), [(catalogue.NEWEST, "fail"), ("9.9.0", "unknown")])
def test_what_a_newer_release_may_have_renamed_is_no_fault(release, status):
    control, name = "https.api_forced", "_APP_OPTIONS_FORCE_HTTPS"
    found = next(finding for finding in audit(secured(release, {name: None})) if finding.id == control)
    assert found.status == status and f"no service receives {name}" in found.evidence


def test_nothing_passes_unseen():
    found = statuses(BLIND)
    assert [control for control, status in found.items() if status == "pass"] == []
    assert set(found.values()) <= {"unknown", "fail", "not_applicable"}


def test_without_docker_only_what_needs_none_passes():
    found = statuses(replace(secured(), **{part: UNSEEN for part in PARTS if part not in ("env", "escrow")}))
    assert {control for control, status in found.items() if status == "pass"} == WITHOUT_DOCKER


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("release", ["1.4.14", "1.9.6"])
def test_one_part_unseen_is_told(release, part):
    found = audit(replace(secured(release), **{part: UNSEEN}))
    assert [
        finding.id for finding in found if finding.status == "unknown" and UNSEEN.reason not in finding.evidence
    ] == []


@pytest.mark.parametrize("config", [{}, {"services": {}}, {"services": None}, {"services": {"appwrite": {}}}])
@pytest.mark.parametrize("release", ["1.4.14", "1.9.6"])
def test_a_half_installed_project_yields_findings(release, config):
    empty = secured(release)
    found = audit(replace(empty, config=config, containers=(), env=replace(empty.env, values={}), drift=()))
    assert [finding.id for finding in found] == [control.id for control in CONTROLS]


def test_the_parts_are_all_that_can_be_unseen():
    assert {field.name for field in fields(Observation) if str(field.type).startswith("Seen[")} == set(PARTS)


@pytest.mark.parametrize("release", RELEASES)
def test_the_same_state_gives_the_same_findings_in_the_order_of_the_groups(release):
    first, second = audit(secured(release)), audit(secured(release))
    assert first == second
    order = [GROUPS.index(finding.group) for finding in first]
    assert order == sorted(order)
