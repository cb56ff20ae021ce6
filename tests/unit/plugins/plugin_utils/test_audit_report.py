# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: its form, its formats by their official schemas, and names and values that want to be more than text."""

from __future__ import annotations

import datetime
import functools
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cmarkgfm
import jsonschema
import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st
from testbed import schemas

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES, STATUSES, Waiver
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import (
    counts,
    fails,
    outline,
    report,
    visible,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.junit import junit
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.markdown import markdown
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.page import page
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.sarif import sarif

SCHEMA = json.loads((Path(__file__).parents[4] / "docs" / "audit-report.schema.json").read_text())
IDS = [control.id for control in CONTROLS]
NOW, LATER = "2026-11-24T03:17:00Z", "2026-11-25T03:17:00Z"
WAIVER = {"justification": "Replaced in spring", "expires": "2027-03-31"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt; &amp; &#60;",
    "]]> --> <![CDATA[",
    "**bold** _x_ `code` ~~gone~~ $x$",
    "[click](https://example.com/) ![x](https://example.com/x.png)",
    "<https://example.com/>",
    "https://example.com/ www.example.com",
    "| a | b |\n|---|---|\n| c |",
    "```\n# heading\n```",
    "{0} {{ 1 / 0 }} {% x %} {}",
    "\x1b[31mred\x07\x00\x7f\x85",
    "left\u202etfel \u2066x\u2069 \u200bzero\ufeff",
    "lone \udcff \ufffe\uffff",
    "🔑 clé \u00a0 名",
    "../../etc/passwd",
    "a,b;c'd\"e\\f%20",
    "x" * 300,
    " ",
    "",
]


def control(name, status="pass", **more):
    """What a host says of one of our controls."""
    [one] = (one for one in CONTROLS if one.id == name)
    found = {
        "id": name,
        "title": one.title,
        "severity": one.severity,
        "group": one.group,
        "status": status,
        "evidence": "It is this way",
        "rationale": one.rationale,
        "remedy": one.remedy,
        "reference": one.reference,
    }
    return {**found, **({"waiver": WAIVER} if status == "waived" else {}), **more}


def finding(number, status, severity="medium", **more):
    """What a host says of another auditor's test."""
    found = {
        "id": f"lynis.CTRL-{number:02}",
        "title": "The thing is so",
        "severity": severity,
        "group": "lynis",
        "status": status,
        "evidence": "It is this way",
        "rationale": "Else all is lost.",
        "remedy": "appwrite_security_force_https: true",
        "reference": "Appwrite 1.9.6",
    }
    return {**found, **({"waiver": WAIVER} if status == "waived" else {}), **more}


def audit(findings=()):
    """An answer, in which all of our controls pass that are not among the findings."""
    said = {one["id"] for one in findings}
    ours = {one["id"]: one for one in findings if one["group"] != "lynis"}
    return {
        "release": "1.9.6",
        "project": "appwrite",
        "score": 70,
        "failed": False,
        "changed": False,
        "warnings": ["x"],
        "findings": [ours.get(one.id) or control(one.id) for one in CONTROLS]
        + [one for one in findings if one["id"] in said - ours.keys()],
    }


EVERY = [
    finding(10 * row + column, status, severity)
    for row, status in enumerate(STATUSES)
    for column, severity in enumerate(SEVERITIES)
]
FLEET = [
    {
        "host": "two",
        "audit": audit(
            [*EVERY, finding(90, "fail", "low", waiver={"justification": "was so", "expires": "2026-01-01"})]
        ),
    },
    {"host": "one", "audit": audit([finding(1, "pass")])},
    {"host": "down", "audit": {"unreachable": True, "changed": False, "msg": "No route\r\n to host"}},
    {"host": "late", "audit": None},
]


@pytest.fixture(scope="module")
def official():
    """The validator of SARIF 2.1.0."""
    if not shutil.which("go"):
        pytest.skip("Go is not at hand: it fetches the schema of SARIF")
    schema = schemas.sarif()
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


@pytest.fixture(scope="module")
def official_junit():
    return xmlschema.XMLSchema(schemas.junit())


def valid(found):
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        found
    )
    return found


# --- the dictionary ---


def test_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["finding"]["properties"]["severity"]["enum"] == list(SEVERITIES)
    assert set(SCHEMA["$defs"]["finding"]["properties"]["status"]["enum"]) == set(STATUSES)
    for spoil in (
        {"generated_at": NOW},
        {"generated_at": "today", "hosts": []},
        {"generated_at": NOW, "hosts": [], "more": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            valid(spoil)


def test_form():
    found = valid(report(FLEET, NOW))
    assert [host["host"] for host in found["hosts"]] == ["down", "late", "one", "two"]
    assert list(found["hosts"][2]) == ["host", "release", "score", "findings"] and found["hosts"][2]["score"] == 100
    assert found["hosts"][3]["findings"] == FLEET[0]["audit"]["findings"], (
        "in the order of the controls, and with every text"
    )
    assert [finding["id"] for finding in found["hosts"][2]["findings"]] == [*IDS, "lynis.CTRL-01"]
    assert report(reversed(FLEET), NOW) == found


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (
            {"unreachable": True, "msg": "Failed to connect:\r\n  timed out "},
            "the host cannot be reached: Failed to connect: timed out",
        ),
        ({"failed": True, "msg": "project_src: /x does not exist"}, "the audit failed: project_src: /x does not exist"),
        ({"failed": True, "msg": "\x1b[0mx" * 300, "findings": []}, "the audit failed: \\u{001b}[0mx"),
        ({"skipped": True, "changed": False}, "the audit was skipped"),
        ({"changed": False}, "the audit returned no findings"),
        ({"failed": True, "msg": ["x"] * 1000}, "the audit failed: it does not say why"),
        ({"failed": 1, "unreachable": 1, "findings": [], "msg": 1}, "the host cannot be reached: it does not say why"),
        ({}, "the play did not get to the audit of this host"),
        (None, "the play did not get to the audit of this host"),
        ([], "the play did not get to the audit of this host"),
    ],
)
def test_host_that_was_not_audited(result, why):
    [host] = valid(report([{"host": "one", "audit": result}], NOW))["hosts"]
    [found] = host["findings"]
    assert (host["release"], host["score"], found["status"], found["severity"]) == ("", 0, "fail", "high")
    assert found["evidence"].startswith(why) and len(found["evidence"]) <= 500
    assert found == control("host.observed", "fail", evidence=found["evidence"]) and fails(found)


def test_counts():
    [down, _late, one, two] = report(FLEET, NOW)["hosts"]
    ours = len(IDS)
    assert counts(one) == {
        "critical": 0,
        "high": 0,
        "medium": 0,
        "low": 0,
        "unknown": 0,
        "waived": 0,
        "pass": ours + 1,
        "not_applicable": 0,
    }
    assert counts(two) == {
        "critical": 1,
        "high": 1,
        "medium": 1,
        "low": 2,
        "unknown": 4,
        "waived": 4,
        "pass": ours + 4,
        "not_applicable": 4,
    }
    assert counts(down)["high"] == 1


@pytest.mark.parametrize("form", [json.dumps, sarif, junit, markdown], ids=["json", "sarif", "junit", "markdown"])
def test_only_the_time_differs(form):
    first, again, later = (
        form(report(hosts, when)) for hosts, when in ((FLEET, NOW), (FLEET[::-1], NOW), (FLEET, LATER))
    )
    assert first == again != later
    assert later == first.replace(NOW, LATER)


def test_visible():
    assert visible("a\x1b\u202e\udcff\ufffe\u00ad") == "a\\u{001b}\\u{202e}\\u{dcff}\\u{fffe}\\u{00ad}"
    assert visible("👩\u200d🚒 clé\u00a0名\n\tx") == "👩\u200d🚒 clé\u00a0名\n\tx"


# --- what the trend needs of older reports ---


def test_outline():
    whole = report(FLEET, NOW)
    small = outline(json.dumps(whole))
    assert [(host["host"], host["score"]) for host in small["hosts"]] == [
        (host["host"], host["score"]) for host in whole["hosts"]
    ]
    assert [counts(host) for host in small["hosts"]] == [counts(host) for host in whole["hosts"]]
    assert small["generated_at"] == NOW and set(small["hosts"][0]["findings"][0]) == {
        "id",
        "severity",
        "group",
        "status",
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: "",
        lambda whole: "[]",
        lambda whole: "null",
        lambda whole: json.dumps(whole)[:-9],
        lambda whole: json.dumps({**whole, "hosts": 1}),
        lambda whole: json.dumps({**whole, "generated_at": "yesterday"}),
        lambda whole: json.dumps({**whole, "hosts": [{"host": "one"}]}),
        lambda whole: json.dumps({**whole, "hosts": [{**whole["hosts"][0], "score": "70"}]}),
        lambda whole: json.dumps(
            {
                **whole,
                "hosts": [{**whole["hosts"][0], "findings": [{**whole["hosts"][0]["findings"][0], "severity": "odd"}]}],
            }
        ),
    ],
)
def test_outline_of_what_is_none(spoil):
    with pytest.raises(ValueError):
        outline(spoil(report(FLEET, NOW)))


# --- an answer is checked before anything is made of it ---


NEST = functools.reduce(lambda inner, _number: [inner], range(10_000), [])
ODD = [
    None,
    True,
    False,
    1.5,
    float("nan"),
    10**5000,
    -1,
    101,
    [],
    ["pass"],
    {},
    {"a": 1},
    NEST,
    b"x",
    "",
    "odd",
    "\0\ud800\u202e",
    "x" * 10**6,
]


def spoiled(path, value):
    """A good answer with another value at one place."""
    answer = json.loads(json.dumps(audit([finding(1, "waived"), control(IDS[0], "fail")])))
    place = answer
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return answer


def beside(answers, **more):
    """What is said of the hosts of these answers, whose neighbours they must not touch, in any format."""
    one, three = ({"host": name, "audit": audit([control(IDS[0], "fail")])} for name in ("one", "three"))
    found = valid(
        report(
            [
                one,
                *({"host": f"two-{number:02}", "audit": answer, **more} for number, answer in enumerate(answers)),
                three,
            ],
            NOW,
        )
    )
    without = report([one, three], NOW)
    assert [host for host in found["hosts"] if not host["host"].startswith("two-")] == without["hosts"]
    rules, alone = (
        {rule["id"]: rule for rule in json.loads(sarif(log).encode())["runs"][0]["tool"]["driver"]["rules"]}
        for log in (found, without)
    )
    assert rules.items() >= alone.items()
    suites, alone = (
        [
            ElementTree.tostring(suite).strip()
            for suite in ElementTree.fromstring(junit(log).encode())
            if suite.get("name") in ("one", "three")
        ]
        for log in (found, without)
    )
    assert suites == alone
    assert markdown(found).encode() and json.dumps(found).encode()
    return found, [host for host in found["hosts"] if host["host"].startswith("two-")]


def alone(answer, **more):
    _report, [host] = beside([answer], **more)
    return host


def complaint(answer):
    """Why an answer is none."""
    host = alone(answer)
    [found] = host["findings"]
    assert (host["release"], host["score"]) == ("", 0)
    assert found == control("host.observed", "unknown", evidence=found["evidence"]), (
        "and nothing else of it is from the host"
    )
    assert fails(found), "nonsense is no way around fail_on"
    said, _colon, why = found["evidence"].partition(": ")
    assert said == "the host's answer is not a report" and len(why) < 300 and why.isprintable()
    return why


PLACES = [
    ("release",),
    ("score",),
    ("findings",),
    ("findings", 3),
    *[("findings", 3, name) for name in ("id", "title", "severity", "group", "status", "evidence")],
    ("findings", -1, "waiver"),
    ("findings", -1, "waiver", "expires"),
    ("findings", -1, "waiver", "justification"),
    ("findings", -1, "id"),
]


@pytest.mark.parametrize("path", PLACES, ids=str)
def test_a_value_that_is_odd(path):
    """Wherever it stands: either it will do, or the host alone is unknown."""
    found, hosts = beside([spoiled(path, value) for value in ODD])
    assert page(found, []).encode()
    for host in hosts:
        unknown = host["findings"][0]["evidence"].startswith("the host's answer is not a report: ") and fails(
            host["findings"][0]
        )
        assert len(host["findings"]) == 1 if unknown else {one["id"] for one in host["findings"]} >= set(IDS)
    assert (
        path[-1] in ("release", "title", "evidence", "justification")
        or sum(len(host["findings"]) == 1 for host in hosts) > len(ODD) // 2
    )


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("release",), 1, "release is of the kind number, not a text"),
        (("score",), True, "score is of the kind yes or no, not a whole number from 0 to 100"),
        (("score",), "70", "score is '70', not a whole number"),
        (("findings",), {"a": 1}, "findings is of the kind dictionary, not a list"),
        (("findings", 3), "x", "findings[3] is 'x', not a dictionary"),
        (
            ("findings", 3, "severity"),
            "odd\x1b[31m",
            "findings[3].severity is 'odd\\u{001b}[31m', none of critical, high, medium, low",
        ),
        (("findings", 3, "status"), "x" * 99, f"findings[3].status is '{'x' * 39}…', none of fail, unknown"),
        (("findings", 3, "group"), "host", "findings[3].group is not the first part of its id"),
        (("findings", 3, "evidence"), None, "findings[3].evidence is missing"),
        (
            ("findings", 3, "id"),
            "encryption.invented",
            "findings[3].id is 'encryption.invented', which is not a control",
        ),
        (("findings", 3, "id"), IDS[0], f"findings[3].id is {IDS[0]}, which an earlier finding has already"),
        (("findings", 3, "more"), 1, "findings[3] has fields that no"),
        (("findings", -1, "id"), "lynis.with space", "is not a control"),
        (("findings", -1, "waiver"), None, "].waiver is missing"),
        (("findings", -1, "waiver", "expires"), "2027-2-30", "].waiver.expires is '2027-2-30', which is not a date"),
        (("findings", -1, "waiver", "more"), "x", "].waiver must have a justification and a day"),
    ],
)
def test_a_bad_answer_says_what_is_wrong_with_it(path, value, why):
    assert why in complaint(spoiled(path, value))


def test_an_answer_of_another_size():
    assert complaint({**audit(), "findings": [{}] * 10**6}) == "there are 1000000 findings, more than 1000"
    assert (
        complaint(audit([finding(number, "fail", evidence="x" * 20_000) for number in range(101)]))
        == "its texts are longer than 2000000 characters"
    )
    [cut] = [
        one
        for one in alone(audit([finding(1, "fail", evidence="\0" * 10**6)]))["findings"]
        if one["id"] == "lynis.CTRL-01"
    ]
    assert len(cut["evidence"]) == 20_000 and cut["evidence"].endswith("…")
    assert complaint("x" * 10**6) == complaint([1]) == "it is not a dictionary"


def test_what_this_collection_says_of_a_control_is_not_the_hosts():
    """Only how it is there, and how it is mended there, of which the paths are the host's."""
    lies = {"title": "Fine\x1b[2J", "severity": "low", "rationale": "none", "reference": "https://example.com/"}
    host = alone(
        audit(
            [
                control(IDS[0], "fail", remedy="rm \u202e'x'", **lies),
                control(IDS[1], "unknown", remedy="curl example.com | sh", **lies),
            ]
        )
    )
    assert host["findings"][0] == control(IDS[0], "fail", remedy="rm \\u{202e}'x'")
    assert host["findings"][1] == control(IDS[1], "unknown")


def test_a_control_that_the_answer_leaves_out_is_unknown():
    for findings in ([], [control(IDS[2])]):
        host = alone({**audit(), "score": 100, "findings": findings})
        assert [one["id"] for one in host["findings"]] == IDS and host["score"] < 10
        [observed] = [one for one in host["findings"] if one["id"] == "host.observed"]
        assert observed["status"] == "unknown" and fails(observed)
        assert counts(host)["unknown"] == len(IDS) - len(findings)


def test_the_score_is_made_here():
    assert alone({**audit([control(IDS[0], "fail")]), "score": 100})["score"] <= 40


def test_a_waiver_counts_that_the_host_was_given():
    name = IDS[0]
    given = Waiver(name, WAIVER["justification"], datetime.date.fromisoformat(WAIVER["expires"]))
    expired = Waiver(name, "was so", datetime.date(2026, 1, 1))

    def first(waivers, status="waived", **more):
        return alone(audit([control(name, status, **more)]), waivers=waivers)["findings"][0]

    assert first([given])["status"] == first(None)["status"] == "waived" and first([given])["waiver"] == WAIVER
    for waivers in (
        [],
        [replace(given, control=IDS[1])],
        [replace(given, justification="another")],
        [replace(given, expires=datetime.date(2027, 4, 1))],
    ):
        assert (first(waivers)["status"], "waiver" in first(waivers)) == ("fail", False)
    was = {"justification": "was so", "expires": "2026-01-01"}
    assert (first([expired], waiver=was)["status"], first([expired], waiver=was)["waiver"]) == ("fail", was), (
        "the clock of the host is not this one"
    )
    assert first([expired], "unknown", waiver=was)["waiver"] == was and "waiver" not in first(
        [given], "pass", waiver=WAIVER
    )


# --- hosts that share a database ---

ONE_KEY, ONE_RELEASE = "encryption.one_key_for_all", "containers.one_release_for_all"
MINE, THEIRS = "a" * 16, "b" * 16
TEXTS = {"unseen": "", "release": "1.9.6"}


def telling(fingerprint, values, **more):
    """An answer of a host that was compared with nobody yet."""
    told = {"fingerprint": fingerprint, "opens": values, "unseen": "", "outside": True, "release": "1.9.6", **more}
    return {**audit([control(ONE_KEY, "not_applicable"), control(ONE_RELEASE, "not_applicable")]), "compared": told}


def shared(answers, about=ONE_KEY, **waivers):
    """Host to what the report says of its key, or of its release."""
    hosts = [{"host": name, "audit": answer, "waivers": waivers.get(name)} for name, answer in answers.items()]
    found = valid(report(hosts, NOW))["hosts"]
    return {host["host"]: one for host in found for one in host["findings"] if one["id"] == about}


def test_hosts_that_share_a_database_have_one_key():
    first, second, third = "0" * 16, "1" * 16, "2" * 16
    found = shared(
        {
            "one": telling(MINE, {first: True, second: True}),
            "two": telling(THEIRS, {second: False, third: False}),
            "three": telling(MINE, {first: True}),
            "alone": telling(THEIRS, {"3" * 16: True}),
            "blind": telling(MINE, None, unseen="the image mariadb:10.11 is not on this host"),
            "bundled": telling(MINE, None, unseen="the database does not run", outside=False),
            "older": audit([control(ONE_KEY, "pass")]),
        }
    )
    assert {name: one["status"] for name, one in found.items()} == {
        "one": "fail",
        "two": "fail",
        "three": "pass",
        "alone": "not_applicable",
        "blind": "unknown",
        "bundled": "not_applicable",
        "older": "pass",
    }
    assert found["one"]["evidence"].startswith(
        "two has sealed values with this host, and another key; the key of this host opens all"
    )
    assert found["two"]["evidence"].startswith(
        "one has sealed values with this host, and another key; the key of this host opens none"
    )
    assert "mariadb:10.11" in found["blind"]["evidence"]


def test_hosts_that_share_a_database_run_one_release():
    values = {"0" * 16: True}
    answers = {name: telling(MINE, values, release=release) for name, release in (("one", "1.9.5"), ("two", "1.9.6"))}
    found = shared({**answers, "three": telling(MINE, {"1" * 16: True})}, ONE_RELEASE)
    assert [found[name]["status"] for name in ("one", "two", "three")] == ["fail", "fail", "not_applicable"]
    assert found["one"]["evidence"].startswith("two (1.9.6) has sealed values with this host")


def test_one_host_is_compared_with_nobody():
    assert shared({"one": telling(MINE, None)})["one"]["status"] == "not_applicable"


def test_a_difference_can_be_waived_where_it_is_found():
    values = {"0" * 16: True}
    given = Waiver(ONE_KEY, WAIVER["justification"], datetime.date.fromisoformat(WAIVER["expires"]))
    found = shared({"one": telling(MINE, values), "two": telling(THEIRS, values)}, one=[given])
    assert [found[name]["status"] for name in ("one", "two")] == ["waived", "fail"]
    assert found["one"]["waiver"] == WAIVER


def test_who_does_not_have_the_values_changes_nothing_of_another():
    """Neither by a fingerprint, nor by values of its own, nor by none; and its difference counts for its own score."""
    good = {"one": telling(MINE, {"0" * 16: True}), "two": telling(MINE, {"0" * 16: True})}
    known = shared(good)
    for lie in ({"f" * 16: False}, {}, None):
        found = shared({**good, "liar": telling(THEIRS, lie)})
        assert {name: found[name] for name in good} == known
    differing = {"one": telling(MINE, {"0" * 16: True}), "two": telling(THEIRS, {"0" * 16: False})}
    scores = {
        host["host"]: host["score"]
        for host in report([{"host": name, "audit": answer} for name, answer in differing.items()], NOW)["hosts"]
    }
    assert max(scores.values()) <= 70


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "compared is of the kind list, not a dictionary"),
        ({"fingerprint": "key"}, "compared.fingerprint is 'key', not a fingerprint"),
        ({"opens": None}, "compared.unseen is missing"),
        ({"unseen": "", "release": 1}, "compared.release is of the kind number, not a release"),
        ({"unseen": "", "release": "1.9.6). Run: curl"}, "compared.release is '1.9.6). Run: curl', not a release"),
        ({"opens": [1], **TEXTS}, "compared.opens is not a dictionary"),
        (
            {"opens": {str(number): True for number in range(1001)}, **TEXTS},
            "compared.opens is not a dictionary of at most 1000",
        ),
        ({"opens": {"secret": True}, **TEXTS}, "compared.opens has what is no digest"),
        ({"opens": {"0" * 16: "yes"}, **TEXTS}, "compared.opens has what is no digest"),
    ],
)
def test_what_is_no_comparison(told, why):
    assert complaint({**audit(), "compared": told}).startswith(why)


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.sampled_from([*IDS, *SEVERITIES, *STATUSES]),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from(
                    [
                        "release",
                        "score",
                        "findings",
                        "failed",
                        "msg",
                        "waiver",
                        "justification",
                        "expires",
                        *control(IDS[0]),
                    ]
                ),
                inner,
                max_size=12,
            ),
        ),
        max_leaves=40,
    )
)
def test_what_passes_also_passes_the_schema(answer):
    found = valid(report([{"host": "one", "audit": answer}, {"host": "two", "audit": audit()}], NOW))
    assert found["hosts"][1]["score"] == 100 and found["hosts"][0]["findings"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                **{name: st.text(max_size=9) for name in ("title", "evidence", "rationale", "remedy", "reference")},
                "severity": st.sampled_from(SEVERITIES),
                "status": st.sampled_from(STATUSES),
                "group": st.just("lynis"),
                "id": st.from_regex(r"lynis\.[!-~]{1,9}", fullmatch=True),
                "waiver": st.fixed_dictionaries({"justification": st.text(max_size=9), "expires": st.dates().map(str)}),
            }
        ),
        max_size=5,
        unique_by=lambda one: one["id"],
    )
)
def test_a_good_answer_passes_the_schema_too(findings):
    found = valid(report([{"host": "one", "audit": {**audit(), "findings": findings}}], NOW))
    assert len(found["hosts"][0]["findings"]) == len(IDS) + len(findings)
    assert markdown(found) and ElementTree.fromstring(junit(found).encode()) is not None and json.loads(sarif(found))


def test_another_auditors_words_of_one_host_are_not_those_of_another():
    """Of its tests only the hosts speak."""
    lie, truth = (
        {"host": name, "audit": audit([finding(1, "fail", title=name, rationale=f"{name} why", remedy=f"{name} how")])}
        for name in ("a lie", "the truth")
    )
    found = report([lie, truth], NOW)
    lines = [line for line in markdown(found).splitlines() if "lynis.CTRL-01" in line]
    assert lines == [
        "- **%s**: lynis.CTRL-01, %s: It is this way. %s how" % ((name,) * 3) for name in ("a lie", "the truth")
    ]
    assert not [
        rule for rule in json.loads(sarif(found))["runs"][0]["tool"]["driver"]["rules"] if "a lie" in json.dumps(rule)
    ]


def test_one_hosts_remedy_is_not_everybodys():
    """On the page, where a control has one remedy: if the hosts differ it is the collection's own, and each says its own beside it."""
    hosts = [{"host": name, "audit": audit([control(IDS[0], "fail", remedy=f"mend {name}")])} for name in ("a", "b")]
    [own] = (one.remedy for one in CONTROLS if one.id == IDS[0])
    head = Page(page(report(hosts, NOW), [])).blocks
    assert head[:3] == ["mend a", "mend b", own] and Page(page(report(hosts[:1], NOW), [])).blocks[0] == "mend a"


# --- SARIF ---


def test_sarif(official):
    log = json.loads(sarif(report(FLEET, NOW)))
    official.validate(log)
    [run] = log["runs"]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert [rule["id"] for rule in rules] == sorted({result["ruleId"] for result in results})
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in results)
    assert len({json.dumps(result["partialFingerprints"]) for result in results}) == len(results)
    by_status = {}
    for result in results:
        by_status.setdefault(result["properties"]["status"], set()).add(
            (result["kind"], result["level"], bool(result["suppressions"]))
        )
    assert by_status == {
        "fail": {("fail", "error", False), ("fail", "warning", False), ("fail", "note", False)},
        "waived": {("fail", "error", True), ("fail", "warning", True), ("fail", "note", True)},
        "unknown": {("review", "none", False)},
        "pass": {("pass", "none", False)},
        "not_applicable": {("notApplicable", "none", False)},
    }
    ours = {rule["id"]: rule for rule in rules if rule["id"] in IDS}
    assert ours.keys() == set(IDS) and {rule["properties"]["security-severity"] for rule in ours.values()} == {
        "9.5",
        "8.0",
        "5.5",
        "2.0",
    }
    assert {rule["help"]["text"] for rule in rules if rule["id"] == "lynis.CTRL-01"} == {"What lynis says of CTRL-01"}
    [justification] = {result["suppressions"][0]["justification"] for result in results if result["suppressions"]}
    assert justification == "Replaced in spring (until 2027-03-31)"
    one = CONTROLS[0]
    assert (
        "%s\n\nRemedy: %s\n\nReference: %s" % (one.rationale, one.remedy, one.reference) == ours[one.id]["help"]["text"]
    )
    assert run["invocations"][0]["endTimeUtc"] == NOW


def test_sarif_fingerprints_stay():
    """They tell code scanning that a finding is the one of yesterday, whatever else is there, and what it says."""

    def fingerprint(hosts):
        [run] = json.loads(sarif(report(hosts, NOW)))["runs"]
        return {
            (result["properties"]["host"], result["ruleId"]): result["partialFingerprints"] for result in run["results"]
        }

    before = fingerprint([{"host": "one", "audit": audit([finding(2, "fail")])}])
    after = fingerprint(
        [
            {"host": "a", "audit": None},
            {"host": "one", "audit": audit([finding(1, "pass"), finding(2, "unknown", evidence="other")])},
        ]
    )
    assert before.items() <= after.items()


# --- JUnit ---


def test_junit(official_junit):
    text = junit(report(FLEET, NOW))
    official_junit.validate(text)
    root = ElementTree.fromstring(text)
    ours = len(IDS)
    assert root.attrib == {
        "name": "selfhost.appwrite audit",
        "tests": str(24 + 2 * ours),
        "failures": "7",
        "errors": "4",
    }
    suites = {suite.get("name"): suite for suite in root}
    assert {
        name: [suite.get(count) for count in ("tests", "failures", "errors", "skipped")]
        for name, suite in suites.items()
    } == {
        "down": ["1", "1", "0", "0"],
        "late": ["1", "1", "0", "0"],
        "one": [str(1 + ours), "0", "0", "0"],
        "two": [str(21 + ours), "5", "4", "8"],
    }
    assert {suite.get("timestamp") for suite in root} == {NOW}
    assert [suite.findall("testcase")[0].get("classname") for suite in root] == [
        "down.host",
        "late.host",
        "one.encryption",
        "two.encryption",
    ]
    skipped = {case.get("message") for case in suites["two"].iter("skipped")}
    assert skipped == {"waived until 2027-03-31: Replaced in spring (It is this way)", "It is this way"}
    [failure] = suites["down"].iter("failure")
    assert (
        failure.get("type") == "high"
        and failure.get("message") == "the host cannot be reached: No route to host"
        and "Remedy: " in failure.text
    )


# --- Markdown ---


class Page(HTMLParser):
    """The elements of a page, its text, and the texts of its code blocks."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.blocks, self._stack = set(), "", [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._stack.append(tag)
        if tag == "pre":
            self.blocks.append("")

    def handle_endtag(self, tag):
        while self._stack.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data
        if "pre" in self._stack:
            self.blocks[-1] += data


def rendered(hosts):
    """As GitHub renders it, less what it removes for safety."""
    return Page(
        cmarkgfm.github_flavored_markdown_to_html(markdown(report(hosts, NOW)), cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE)
    )


def test_markdown():
    text = markdown(report(FLEET, NOW))
    assert f"| two | 1.9.6 | 100 | 1 | 1 | 1 | 2 | 4 | 4 | {4 + len(IDS)} |" in text
    headings = re.findall(r"^#+ .*", text, re.MULTILINE)
    assert headings[:4] == [
        "# Security audit of self-hosted Appwrite",
        "## Failing, critical",
        "### Of other auditors",
        "## Failing, high",
    ]
    assert [heading for heading in headings if heading.startswith("## ")][-2:] == ["## Unknown", "## Waived"]
    assert "| two | lynis.CTRL-20 | critical | 2027-03-31 | Replaced in spring | It is this way |" in text
    assert "- **down**: the host cannot be reached: No route to host\n- **late**: the play did not" in text
    page = rendered(FLEET)
    assert page.tags == {
        "h1",
        "h2",
        "h3",
        "p",
        "ul",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
        "code",
    }
    assert any(block.startswith("ansible-playbook selfhost.appwrite.audit --become") for block in page.blocks)
    assert (
        "- **two**: lynis.CTRL-00, The thing is so: It is this way. appwrite\\_security\\_force\\_https: true\n" in text
    )


def test_markdown_of_nothing_wrong():
    assert re.findall(r"^#+ .*", markdown(report(FLEET[1:2], NOW)), re.MULTILINE) == [
        "# Security audit of self-hosted Appwrite"
    ]


# --- hostile names and values ---


def hostile_fleet(text):
    texts = {name: text for name in ("title", "evidence", "rationale", "remedy", "reference")}
    findings = [finding(number, status, **texts) for number, status in enumerate(STATUSES)]
    findings[STATUSES.index("waived")]["waiver"] = {"justification": text, "expires": "2027-03-31"}
    return [{"host": text, "audit": audit(findings)}, {"host": "down", "audit": {"failed": True, "msg": text}}]


def on_one_line(text):
    return " ".join(visible(text).split())


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile(text, official, official_junit):
    found = valid(report(hostile_fleet(text), NOW))
    again = json.loads(json.dumps(found, ensure_ascii=False).encode())
    assert again == found and [host["host"] for host in again["hosts"]] == sorted([visible(text), "down"])
    log = json.loads(sarif(found).encode())
    official.validate(log)
    assert {result["locations"][0]["logicalLocations"][0]["name"] for result in log["runs"][0]["results"]} == {
        visible(text),
        "down",
    }
    xml = junit(found)
    official_junit.validate(xml)
    root = ElementTree.fromstring(xml.encode())
    assert {suite.get("name") for suite in root} == {visible(text), "down"}
    assert {element.tag for element in root.iter()} == {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
    }
    [*_ours, evidence] = [
        element.text for suite in root if suite.get("name") != "down" for element in suite.iter("system-out")
    ]
    assert evidence == visible(text) or evidence is None and text == ""


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_in_markdown(text):
    ours = audit([control(IDS[1], "fail", evidence=text, remedy=text)])
    page = rendered([*hostile_fleet(text), {"host": "ours", "audit": ours}])
    assert page.tags <= {
        "h1",
        "h2",
        "h3",
        "p",
        "ul",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
        "code",
    }
    assert page.text.count("Why:") == page.text.count("Reference:") == 2
    assert on_one_line(text) in " ".join(page.text.split()) and any(
        block.rstrip("\n") == visible(text).rstrip("\n") for block in page.blocks
    )


def test_hostile_in_sarif_messages():
    """Braces would be placeholders, and brackets a link."""
    [run] = json.loads(
        sarif(
            report(
                [
                    {
                        "host": "one",
                        "audit": audit([finding(1, "fail", evidence="{0} [x](https://example.com/) [y] {}")]),
                    }
                ],
                NOW,
            )
        )
    )["runs"]
    assert run["results"][-1]["message"]["text"].startswith("one: {{0}} \\[x](https://example.com/) [y] {{}}. Remedy: ")
