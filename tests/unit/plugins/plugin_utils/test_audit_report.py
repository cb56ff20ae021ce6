# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: its form, its formats by their official schemas, and names and values that want to be more than text."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cmarkgfm
import jsonschema
import pytest
import xmlschema
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._model import SEVERITIES, STATUSES
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import counts, outline, report, visible
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.junit import junit
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.markdown import markdown
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.sarif import sarif
from testbed import schemas

SCHEMA = json.loads((Path(__file__).parents[4] / "docs" / "audit-report.schema.json").read_text())
NOW, LATER = "2026-11-24T03:17:00Z", "2026-11-25T03:17:00Z"
WAIVER = {"justification": "Replaced in spring", "expires": "2027-03-31"}
HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "&lt;b&gt; &amp; &#60;", "]]> --> <![CDATA[", "**bold** _x_ `code` ~~gone~~ $x$",
    "[click](https://example.com/) ![x](https://example.com/x.png)", "<https://example.com/>", "https://example.com/ www.example.com",
    "| a | b |\n|---|---|\n| c |", "```\n# heading\n```",
    "{0} {{ 1 / 0 }} {% x %} {}", "\x1b[31mred\x07\x00\x7f\x85", "left\u202etfel \u2066x\u2069 \u200bzero\ufeff", "lone \udcff \ufffe\uffff", "🔑 clé \u00a0 名",
    "../../etc/passwd", "a,b;c'd\"e\\f%20", "x" * 300, " ", ""]


def finding(number, status, severity="medium", **more):
    found = {"id": f"https.control_{number:02}", "title": "The thing is so", "severity": severity, "group": "https", "status": status,
             "evidence": "It is this way", "rationale": "Else all is lost.", "remedy": "appwrite_security_force_https: true", "reference": "Appwrite 1.9.6"}
    return {**found, **({"waiver": WAIVER} if status == "waived" else {}), **more}


def audit(findings, score=70):
    return {"release": "1.9.6", "project": "appwrite", "score": score, "findings": findings, "failed": False, "changed": False, "warnings": ["x"]}


EVERY = [finding(10 * row + column, status, severity) for row, status in enumerate(STATUSES) for column, severity in enumerate(SEVERITIES)]
FLEET = [
    {"host": "two", "audit": audit([*EVERY, finding(90, "fail", "low", waiver={"justification": "was so", "expires": "2026-01-01"})])},
    {"host": "one", "audit": audit([finding(1, "pass")], 100)},
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
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(found)
    return found


# --- the dictionary ---


def test_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["finding"]["properties"]["severity"]["enum"] == list(SEVERITIES)
    assert set(SCHEMA["$defs"]["finding"]["properties"]["status"]["enum"]) == set(STATUSES)
    for spoil in ({"generated_at": NOW}, {"generated_at": "today", "hosts": []}, {"generated_at": NOW, "hosts": [], "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            valid(spoil)


def test_form():
    found = valid(report(FLEET, NOW))
    assert [host["host"] for host in found["hosts"]] == ["down", "late", "one", "two"]
    assert list(found["hosts"][2]) == ["host", "release", "score", "findings"] and found["hosts"][2]["score"] == 100
    assert found["hosts"][3]["findings"] == FLEET[0]["audit"]["findings"], "in the order of the controls, and with every text"
    assert report(reversed(FLEET), NOW) == found


@pytest.mark.parametrize(("result", "why"), [
    ({"unreachable": True, "msg": "Failed to connect:\r\n  timed out "}, "the host cannot be reached: Failed to connect: timed out"),
    ({"failed": True, "msg": "project_src: /x does not exist"}, "the audit failed: project_src: /x does not exist"),
    ({"failed": True, "msg": "\x1b[0mx" * 300, "findings": []}, "the audit failed: \\u{001b}[0mx"),
    ({"skipped": True, "changed": False}, "the audit was skipped"),
    ({"changed": False}, "the audit returned no findings"),
    ({}, "the play did not get to the audit of this host"),
    (None, "the play did not get to the audit of this host"),
])
def test_host_that_was_not_audited(result, why):
    [host] = valid(report([{"host": "one", "audit": result}], NOW))["hosts"]
    [found] = host["findings"]
    control = next(control for control in CONTROLS if control.id == "host.observed")
    assert (host["release"], host["score"], found["status"], found["severity"]) == ("", 0, "fail", "high")
    assert found["evidence"].startswith(why) and len(found["evidence"]) < 5000
    assert [found[name] for name in ("id", "title", "rationale", "remedy", "reference")] == [
        control.id, control.title, control.rationale, control.remedy, control.reference]


def test_counts():
    [down, _late, one, two] = report(FLEET, NOW)["hosts"]
    assert counts(one) == {"critical": 0, "high": 0, "medium": 0, "low": 0, "unknown": 0, "waived": 0, "pass": 1, "not_applicable": 0}
    assert counts(two) == {"critical": 1, "high": 1, "medium": 1, "low": 2, "unknown": 4, "waived": 4, "pass": 4, "not_applicable": 4}
    assert counts(down)["high"] == 1


@pytest.mark.parametrize("form", [json.dumps, sarif, junit, markdown], ids=["json", "sarif", "junit", "markdown"])
def test_only_the_time_differs(form):
    first, again, later = (form(report(hosts, when)) for hosts, when in ((FLEET, NOW), (FLEET[::-1], NOW), (FLEET, LATER)))
    assert first == again != later
    assert later == first.replace(NOW, LATER)


def test_visible():
    assert visible("a\x1b\u202e\udcff\ufffe\u00ad") == "a\\u{001b}\\u{202e}\\u{dcff}\\u{fffe}\\u{00ad}"
    assert visible("👩\u200d🚒 clé\u00a0名\n\tx") == "👩\u200d🚒 clé\u00a0名\n\tx"


# --- what the trend needs of older reports ---


def test_outline():
    whole = report(FLEET, NOW)
    small = outline(json.dumps(whole))
    assert [(host["host"], host["score"]) for host in small["hosts"]] == [(host["host"], host["score"]) for host in whole["hosts"]]
    assert [counts(host) for host in small["hosts"]] == [counts(host) for host in whole["hosts"]]
    assert small["generated_at"] == NOW and set(small["hosts"][0]["findings"][0]) == {"id", "severity", "group", "status"}


@pytest.mark.parametrize("spoil", [
    lambda whole: "", lambda whole: "[]", lambda whole: "null", lambda whole: json.dumps(whole)[:-9], lambda whole: json.dumps({**whole, "hosts": 1}),
    lambda whole: json.dumps({**whole, "generated_at": "yesterday"}), lambda whole: json.dumps({**whole, "hosts": [{"host": "one"}]}),
    lambda whole: json.dumps({**whole, "hosts": [{**whole["hosts"][0], "score": "70"}]}),
    lambda whole: json.dumps({**whole, "hosts": [{**whole["hosts"][0], "findings": [{**whole["hosts"][0]["findings"][0], "severity": "odd"}]}]}),
])
def test_outline_of_what_is_none(spoil):
    with pytest.raises(ValueError):
        outline(spoil(report(FLEET, NOW)))


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
        by_status.setdefault(result["properties"]["status"], set()).add((result["kind"], result["level"], bool(result["suppressions"])))
    assert by_status == {
        "fail": {("fail", "error", False), ("fail", "warning", False), ("fail", "note", False)},
        "waived": {("fail", "error", True), ("fail", "warning", True), ("fail", "note", True)},
        "unknown": {("review", "none", False)}, "pass": {("pass", "none", False)}, "not_applicable": {("notApplicable", "none", False)}}
    [justification] = {result["suppressions"][0]["justification"] for result in results if result["suppressions"]}
    assert justification == "Replaced in spring (until 2027-03-31)"
    assert {rule["properties"]["security-severity"] for rule in rules} == {"9.5", "8.0", "5.5", "2.0"}
    assert rules[-1]["help"]["text"] == "Else all is lost.\n\nRemedy: appwrite_security_force_https: true\n\nReference: Appwrite 1.9.6"
    assert run["invocations"][0]["endTimeUtc"] == NOW


def test_sarif_fingerprints_stay():
    """They tell code scanning that a finding is the one of yesterday, whatever else is there, and what it says."""
    def fingerprint(hosts):
        [run] = json.loads(sarif(report(hosts, NOW)))["runs"]
        return {(result["properties"]["host"], result["ruleId"]): result["partialFingerprints"] for result in run["results"]}

    before = fingerprint([{"host": "one", "audit": audit([finding(2, "fail")])}])
    after = fingerprint([{"host": "a", "audit": None}, {"host": "one", "audit": audit([finding(1, "pass"), finding(2, "unknown", evidence="other")])}])
    assert before.items() <= after.items()


# --- JUnit ---


def test_junit(official_junit):
    text = junit(report(FLEET, NOW))
    official_junit.validate(text)
    root = ElementTree.fromstring(text)
    assert root.attrib == {"name": "selfhost.appwrite audit", "tests": "24", "failures": "7", "errors": "4"}
    suites = {suite.get("name"): suite for suite in root}
    assert {name: [suite.get(count) for count in ("tests", "failures", "errors", "skipped")] for name, suite in suites.items()} == {
        "down": ["1", "1", "0", "0"], "late": ["1", "1", "0", "0"], "one": ["1", "0", "0", "0"], "two": ["21", "5", "4", "8"]}
    assert {suite.get("timestamp") for suite in root} == {NOW}
    assert [suite.findall("testcase")[0].get("classname") for suite in root] == ["down.host", "late.host", "one.https", "two.https"]
    skipped = {case.get("message") for case in suites["two"].iter("skipped")}
    assert skipped == {"waived until 2027-03-31: Replaced in spring (It is this way)", "It is this way"}
    [failure] = suites["down"].iter("failure")
    assert failure.get("type") == "high" and failure.get("message") == "the host cannot be reached: No route to host" and "Remedy: " in failure.text


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
    return Page(cmarkgfm.github_flavored_markdown_to_html(markdown(report(hosts, NOW)), cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE))


def test_markdown():
    text = markdown(report(FLEET, NOW))
    assert "| two | 1.9.6 | 70 | 1 | 1 | 1 | 2 | 4 | 4 | 4 |" in text
    headings = re.findall(r"^#+ .*", text, re.MULTILINE)
    assert headings[:4] == ["# Security audit of self-hosted Appwrite", "## Failing, critical", r"### https.control\_00: The thing is so", "## Failing, high"]
    assert [heading for heading in headings if heading.startswith("## ")][-2:] == ["## Unknown", "## Waived"]
    assert "| two | https.control\\_20 | critical | 2027-03-31 | Replaced in spring | It is this way |" in text
    assert "- **down**: the host cannot be reached: No route to host\n- **late**: the play did not" in text
    page = rendered(FLEET)
    assert page.tags == {"h1", "h2", "h3", "p", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert "appwrite_security_force_https: true\n" in page.blocks


def test_markdown_of_nothing_wrong():
    assert re.findall(r"^#+ .*", markdown(report(FLEET[1:2], NOW)), re.MULTILINE) == ["# Security audit of self-hosted Appwrite"]


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
    assert {result["locations"][0]["logicalLocations"][0]["name"] for result in log["runs"][0]["results"]} == {visible(text), "down"}
    xml = junit(found)
    official_junit.validate(xml)
    root = ElementTree.fromstring(xml.encode())
    assert {suite.get("name") for suite in root} == {visible(text), "down"}
    assert {element.tag for element in root.iter()} == {"testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"}
    evidence = next(element.text for element in root.iter("system-out"))
    assert evidence == visible(text) or evidence is None and text == ""


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_in_markdown(text):
    page = rendered(hostile_fleet(text))
    assert page.tags <= {"h1", "h2", "h3", "p", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert page.text.count("Why:") == 3 and page.text.count("Reference:") == 3
    assert on_one_line(text) in " ".join(page.text.split()) and any(block.rstrip("\n") == visible(text).rstrip("\n") for block in page.blocks)


def test_hostile_in_sarif_messages():
    """Braces would be placeholders, and brackets a link."""
    [run] = json.loads(sarif(report([{"host": "one", "audit": audit([finding(1, "fail", evidence="{0} [x](https://example.com/) [y] {}")])}], NOW)))["runs"]
    assert run["results"][0]["message"]["text"].startswith("one: {{0}} \\[x](https://example.com/) [y] {{}}. Remedy: ")
