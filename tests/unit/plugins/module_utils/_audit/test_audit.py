# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the controls' outcomes: findings, waivers, the score."""

from __future__ import annotations

import datetime

import pytest
from support.observations import KEY, TODAY, secured

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS, audit, score, worst
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES, Finding, Unseen, Waiver

CONTROL = "encryption.key_not_public"
PUBLIC = secured(values={KEY: "your-secret-key"})
DAY = datetime.timedelta(1)


def finding(status: str = "pass", severity: str = "medium", group: str = "console", name: str = "any") -> Finding:
    return Finding(
        f"{group}.{name}",
        "Any",
        severity,
        group,
        status,
        "it was seen",
        "It matters.",
        "docker compose up -d",
        "a manual",
    )


def waiver(expires: datetime.date = TODAY, control: str = CONTROL, justification: str = "it is a demo") -> Waiver:
    return Waiver(control, justification, expires)


def found(*waivers: Waiver, observation=PUBLIC, control: str = CONTROL) -> Finding:
    return next(each for each in audit(observation, waivers) if each.id == control)


# --- findings ---


def test_every_control_gives_one_finding_with_its_own_words():
    for control, each in zip(CONTROLS, audit(PUBLIC), strict=True):
        assert (each.id, each.title, each.severity, each.group, each.rationale, each.reference) == (
            control.id,
            control.title,
            control.severity,
            control.group,
            control.rationale,
            control.reference,
        )


def test_what_could_not_be_observed_is_unknown_and_says_why():
    each = found(observation=secured(escrow=Unseen("nobody told of one")), control="encryption.key_escrowed")
    assert (each.status, each.evidence) == ("unknown", "nobody told of one")


def test_findings_of_others_stand_last_in_a_fixed_order():
    others = [
        finding("fail", group="testssl", name="a"),
        finding("fail", group="lynis", name="b"),
        finding("fail", group="lynis", name="a"),
    ]
    assert [each.id for each in audit(PUBLIC, others=others)][len(CONTROLS) :] == ["lynis.a", "lynis.b", "testssl.a"]


def test_public_is_what_a_report_holds():
    assert list(found().public()) == [
        "id",
        "title",
        "severity",
        "group",
        "status",
        "evidence",
        "rationale",
        "remedy",
        "reference",
    ]
    assert found(waiver()).public()["waiver"] == {"justification": "it is a demo", "expires": "2026-11-24"}


# --- waivers ---


def test_a_waiver_holds_until_the_end_of_its_last_day():
    assert found(waiver(TODAY)).status == "waived"
    assert found(waiver(TODAY + DAY)).status == "waived"
    expired = found(waiver(TODAY - DAY))
    assert expired.status == "fail"
    assert expired.evidence == f"{found().evidence} (a waiver of this expired on 2026-11-23)"
    assert expired.waiver == waiver(TODAY - DAY)


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_waivers_the_longest_counts(order):
    several = [waiver(TODAY - DAY), waiver(TODAY + DAY, justification="the last"), waiver(TODAY)][::order]
    assert found(*several).status == "waived"
    assert found(*several).waiver.justification == "the last"


def test_a_waiver_is_of_one_control_alone():
    before, after = audit(PUBLIC), audit(PUBLIC, [waiver()])
    assert [each.id for each, other in zip(before, after, strict=True) if each != other] == [CONTROL]
    assert audit(PUBLIC, [waiver(control="encryption"), waiver(control="encryption.*")]) == before


def test_a_waiver_shows_on_nothing_that_passes_or_does_not_apply():
    for control, observation in ((CONTROL, secured()), ("encryption.key_strong", PUBLIC)):
        for expires in (TODAY, TODAY - DAY):
            assert found(waiver(expires, control), observation=observation, control=control).waiver is None


def test_what_is_unknown_can_be_waived_and_is_unknown_again():
    blind = secured(escrow=Unseen("nobody told of one"))
    control = "encryption.key_escrowed"
    assert found(waiver(TODAY, control), observation=blind, control=control).status == "waived"
    assert found(waiver(TODAY - DAY, control), observation=blind, control=control).status == "unknown"


def test_findings_of_others_are_waived_like_any():
    other = finding("fail", group="lynis", name="SSH-7408")
    assert audit(PUBLIC, [waiver(control="lynis.SSH-7408")], [other])[-1].status == "waived"


# --- score ---


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], 0),
        ([finding()], 100),
        ([finding(severity=severity) for severity in SEVERITIES], 100),
        ([finding("pass", "critical"), finding("fail", "low")], 90),
        ([finding("pass", "high"), finding("fail", "medium")], 71),
        ([finding("pass", "critical")] * 99 + [finding("fail", "critical")], 39),
        ([finding("pass", "critical")] * 99 + [finding("fail", "high")], 69),
        ([finding("pass", "critical")] * 99 + [finding("fail", "medium")], 99),
        ([finding("fail", "critical")] * 3 + [finding("pass", "critical")], 10),
        ([finding("pass", "critical")] * 99 + [finding("waived", "critical")], 99),
        ([finding("not_applicable", "critical")], 0),
    ],
)
def test_score(findings, expected):
    assert score(findings) == expected


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_blind_spot_is_no_better_than_a_failure_and_a_waiver_is_not_as_good_as_a_pass(severity):
    failing, unknown, waived, passing = (
        score([finding()] * 9 + [finding(status, severity)]) for status in ("fail", "unknown", "waived", "pass")
    )
    assert failing == unknown <= waived < passing


@pytest.mark.parametrize("severity", SEVERITIES)
def test_what_does_not_apply_or_comes_from_others_does_not_count(severity):
    rest = [finding("pass", "high"), finding("fail", "low")]
    neutral = [
        finding("not_applicable", severity),
        *(finding(status, severity, group) for status in ("fail", "pass") for group in ("lynis", "testssl")),
    ]
    assert score([*rest, *neutral]) == score(rest)


def test_worst_is_of_what_fails():
    assert worst([]) == "none"
    assert worst([finding(status, "critical") for status in ("pass", "unknown", "waived", "not_applicable")]) == "none"
    assert worst([finding("fail", "low"), finding("fail", "high"), finding("pass", "critical")]) == "high"
    assert worst([finding("fail", "medium", "lynis")]) == "medium"
