# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook audit.yml on a fleet of which not all is well, and the reports that it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import subprocess

import jsonschema
import pytest
import yaml
from support.stack import CHECKOUT, Play, _secrets_in, assert_no_leak, playbook, set_env, small, tree

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES

FORMATS = ("report.html", "report.json", "report.junit.xml", "report.md", "report.sarif")
AUDIT, REPORT, VERDICT = "Audit the installation", "Write the report", "Fail if a finding"
SCHEMA = json.loads((CHECKOUT / "docs" / "audit-report.schema.json").read_text())
SERIAL = """\
- hosts: fleet
  gather_facts: false
  serial: 2
  tasks:
    - ansible.builtin.fail:
      when: inventory_hostname == 'stopped'
    - ansible.builtin.import_role:
        name: selfhost.appwrite.appwrite_audit
"""


class Fleet:
    """An inventory of hosts with their project directories, and what the audit says of them."""

    def __init__(self, directory, hosts):
        self.inventory = directory / "inventory.yml"
        self.reports = directory / "appwrite-audit"
        self.hosts = hosts
        self.secrets = set()
        listed = {
            name: {
                "ansible_connection": "local",
                **(host if isinstance(host, dict) else {"appwrite_audit_project_src": str(host)}),
            }
            for name, host in hosts.items()
        }
        directory.mkdir(exist_ok=True)
        self.inventory.write_text(json.dumps({"fleet": {"hosts": listed}}))

    def audit(self, *flags: str, source: str = "selfhost.appwrite.audit", **variables: object) -> Play:
        for host in self.hosts.values():
            self.secrets |= set() if isinstance(host, dict) else _secrets_in(host)
        extra = {
            "appwrite_hosts": "fleet",
            "appwrite_audit_third_parties": [],
            **{f"appwrite_audit_{name}": value for name, value in variables.items()},
        }
        return playbook(source, extra, "--inventory", str(self.inventory), *flags, secrets=self.secrets)

    def report(self, reports=None):
        """Host to its part of report.json, which keeps to the schema and holds no secret, nor does any other format."""
        directory = reports or self.reports
        assert sorted(path.name for path in directory.iterdir()) == ["history", *FORMATS]
        for path in directory.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
            if path.is_file():
                assert_no_leak(path.read_text(), self.secrets)
        found = json.loads((directory / "report.json").read_text())
        jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
            found
        )
        return {host["host"]: host for host in found["hosts"]}


def failing(host, *severities):
    """The failing findings of these severities, or of all."""
    return sorted(
        finding["id"]
        for finding in host["findings"]
        if finding["status"] == "fail" and finding["severity"] in (severities or SEVERITIES)
    )


def statuses(host):
    return {finding["id"]: finding["status"] for finding in host["findings"]}


def recaps(play):
    """Host to its numbers."""
    return {
        line.split()[0]: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}
        for line in play.output.partition("PLAY RECAP")[2].splitlines()
        if "ok=" in line
    }


def messages(play):
    """Host to what it was told in the end."""
    last = play.output.rpartition(f"TASK [selfhost.appwrite.appwrite_audit : {VERDICT}")[2]
    return {
        host: json.JSONDecoder().raw_decode(last, found.end())[0]["msg"]
        for found in re.finditer(r"^\w+: \[([^]]*)\](?:: FAILED!)? => ", last, re.MULTILINE)
        for host in [found[1]]
    }


def without_time(path):
    """The text of a report, less when it was made."""
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|\+00:00)?", "", path.read_text())


@small("audit")
@pytest.mark.nightly("test_audit_report.py, test_fail_on_and_waivers")
def test_fleet(stack, tmp_path):
    """Not secured, secured, half installed, not there, and down: each is in the report, each is judged, nothing is changed."""
    half = tmp_path / "half"
    half.mkdir()
    (half / "docker-compose.yml").write_text("services:\n  appwrite:\n    image: appwrite/appwrite:1.9.6\n")
    fleet = Fleet(
        tmp_path / "controller",
        {
            "down": {
                "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1",
                "ansible_port": 1,
                "appwrite_audit_project_src": "/opt/appwrite",
            },
            "half": half,
            "lost": tmp_path / "none",
            "real": stack.directory,
        },
    )
    files, ids = tree(stack.directory), stack.ids()
    play = fleet.audit()
    assert play.rc == 2, play.output
    before = fleet.report()
    assert list(before) == ["down", "half", "lost", "real"]
    assert {
        name: (numbers["changed"], numbers["failed"], numbers["unreachable"]) for name, numbers in recaps(play).items()
    } == dict.fromkeys(before, (0, 1, 0))
    for name in ("down", "lost"):
        assert (failing(before[name]), before[name]["score"]) == (["host.observed"], 0)
    assert (
        "Connection refused" in before["down"]["findings"][0]["evidence"]
        and "does not exist" in before["lost"]["findings"][0]["evidence"]
    )
    assert "host.observed" in failing(before["half"], "high")
    assert {"encryption.key_not_public", "https.api_forced"} <= set(failing(before["real"], "critical", "high")), (
        failing(before["real"])
    )
    told = messages(play)
    for name, host in before.items():
        assert told[name].endswith(f" The report is {fleet.reports}/report.html")
        assert sorted(re.findall(r"\w+\.\w+", told[name].partition(": ")[2].partition(". The report")[0])) == failing(
            host, "critical", "high"
        )
    assert (tree(stack.directory), stack.ids()) == (files, ids), "an audit changes nothing"

    assert stack.secure().rc == 0
    first, second = tmp_path / "first", tmp_path / "second"
    play = fleet.audit("--limit", "real,down", fail_on="never", report_dir=str(first))
    assert play.rc == 0, play.output
    after = fleet.report(first)
    assert list(after) == ["down", "real"] and after["real"]["score"] > before["real"]["score"]
    assert not {"encryption.key_not_public", "https.api_forced"} & set(failing(after["real"]))
    play = fleet.audit("--check", "--diff", "--limit", "real,down", fail_on="never", report_dir=str(second))
    assert play.rc == 0 and play.recap["changed"] == 0
    assert fleet.report(second) == after
    for name in FORMATS:
        assert without_time(first / name) == without_time(second / name), name


def test_fail_on_and_waivers(directory, tmp_path):
    """A project that was never started. What it fails for is waived, then the waivers expire."""
    set_env(directory, _APP_DOMAIN="{{ 1 / 0 }}<b>x")
    fleet = Fleet(tmp_path / "controller", {"one": directory})
    play = fleet.audit(fail_on="never")
    assert play.rc == 0, play.output
    before = fleet.report()["one"]
    assert any("{{ 1 / 0 }}<b>x" in finding["evidence"] for finding in before["findings"])
    assert "{{ 1 / 0 }}&lt;b&gt;x" in (fleet.reports / "report.html").read_text()
    bad = failing(before, "critical", "high")
    assert failing(before, "critical") and failing(before, "medium", "low")

    waivers = tmp_path / "waivers.yml"
    waivers.write_text(
        yaml.safe_dump(
            [
                {"control": name, "hosts": "fl*", "justification": "Not started <yet>", "expires": "2999-12-31"}
                for name in failing(before, "critical")
            ]
        )
    )
    play = fleet.audit(fail_on="critical", waivers_file=str(waivers))
    assert play.rc == 0 and messages(play)["one"].startswith("Score "), play.output
    waived = fleet.report()["one"]
    assert {name for name, status in statuses(waived).items() if status == "waived"} == set(failing(before, "critical"))
    assert before["score"] < waived["score"] < 70, "a waiver lifts the limit, and does not make it safer"
    assert "Not started &lt;yet&gt;" in (fleet.reports / "report.html").read_text()
    assert "Not started \\<yet\\>" in (fleet.reports / "report.md").read_text()

    waivers.write_text(waivers.read_text().replace("2999", "1999"))
    play = fleet.audit(waivers_file=str(waivers))
    assert play.rc == 2 and failing(fleet.report()["one"], "critical", "high") == bad
    assert (
        all(name in messages(play)["one"] for name in bad)
        and "expired on 1999-12-31" in (fleet.reports / "report.md").read_text()
    )


def test_bad_variables(tmp_path):
    """They stop the play before anything is audited, on whatever host they are for."""
    fleet = Fleet(tmp_path / "controller", {"one": tmp_path / "none", "two": tmp_path / "none"})
    waivers = tmp_path / "waivers.yml"
    waivers.write_text("- {control: host.observed, hosts: other, expires: 2027-03-31}\n")
    play = fleet.audit(waivers_file=str(waivers), fail_on="hihg")
    assert play.rc == 2 and "entry 1: justification: is missing; say why" in play.output and AUDIT not in play.output
    assert "value of appwrite_audit_fail_on must be one of: critical, high" in play.output
    assert not fleet.reports.exists()


@pytest.mark.nightly("test_fleet")
def test_serial(tmp_path):
    """A batch of which every host fails would end the play, so the last batch answers for all. A host that stopped before is reported too."""
    fleet = Fleet(tmp_path / "controller", dict.fromkeys(("a", "stopped", "b", "c"), tmp_path / "none"))
    play = fleet.audit(source=SERIAL)
    assert play.rc == 2 and {name: numbers["failed"] for name, numbers in recaps(play).items()} == {
        "a": 0,
        "stopped": 1,
        "b": 1,
        "c": 1,
    }, play.output
    assert {name: set(re.findall(r"(\w+): host\.observed", text)) for name, text in messages(play).items()} == {
        "b": {"a", "b"},
        "c": {"c"},
    }
    found = fleet.report()
    assert {name: failing(host) for name, host in found.items()} == dict.fromkeys(
        ["a", "b", "c", "stopped"], ["host.observed"]
    )
    assert {name for name, host in found.items() if "did not get to the audit" in host["findings"][0]["evidence"]} == {
        "stopped"
    }
    assert len(list((fleet.reports / "history").iterdir())) == 1, "half a report is no point in a trend"


def test_hosts_that_answer_nonsense(tmp_path):
    """Each for itself: it fails, and what is said of the others is as if it were not there."""
    good = {
        "changed": False,
        "release": "1.9.6",
        "score": 100,
        "findings": [
            {
                "id": one.id,
                "title": one.title,
                "severity": one.severity,
                "group": one.group,
                "status": "pass",
                "evidence": "fine",
                "rationale": one.rationale,
                "remedy": one.remedy,
                "reference": one.reference,
            }
            for one in CONTROLS
        ],
    }
    first, *others = good["findings"]
    answers = {
        "fine": good,
        "escapes": {**good, "findings": [{**first, "severity": "\x1b[2Jodd\u202e\0"}, *others]},
        "liar": {**good, "findings": [{**one, "severity": "low", "status": "fail"} for one in good["findings"]]},
        "list": {**good, "findings": {}},
        "nested": {**good, "findings": [{**first, "evidence": "NEST"}, *others]},
        "waived": {
            **good,
            "findings": [
                {**first, "status": "waived", "waiver": {"justification": "x", "expires": "tomorrow"}},
                *others,
            ],
        },
    }
    hosts = {}
    for name, answer in answers.items():
        hosts[name] = {"appwrite_audit_project_src": "/opt/appwrite", "answers_by": str(tmp_path / name)}
        (tmp_path / f"{name}.json").write_text(json.dumps(answer).replace('"NEST"', "[" * 400 + "]" * 400))
        (tmp_path / name).write_text(f"#!/bin/sh\ncat {tmp_path}/{name}.json\n")
        (tmp_path / name).chmod(0o755)
    fleet = Fleet(tmp_path / "controller", hosts)
    python = "--extra-vars", json.dumps({"ansible_python_interpreter": "{{ answers_by }}"})
    play = fleet.audit(*python)
    assert play.rc == 2 and {name: numbers["failed"] for name, numbers in recaps(play).items()} == {
        **dict.fromkeys(answers, 1),
        "fine": 0,
    }, play.output
    tasks = {name: sum(numbers[kind] for kind in ("ok", "failed", "skipped")) for name, numbers in recaps(play).items()}
    assert tasks == {**dict.fromkeys(answers, 4), "fine": 5}, (
        "each task is a process for each host; the report is the first one's"
    )
    found = fleet.report()
    for said in (
        play.output.partition("Write the report")[2],
        *((fleet.reports / name).read_text() for name in FORMATS),
    ):
        assert not {"\x1b", "\u202e", "\0"} & set(said)
    assert (
        failing(found["fine"]) == []
        and found["fine"]["score"] == 100
        and {one["evidence"] for one in found["fine"]["findings"]} == {"fine"}
    )
    assert failing(found["liar"], "critical"), "the severity is ours"
    alone = {name: host["findings"][0]["evidence"] for name, host in found.items() if len(host["findings"]) == 1}
    assert alone.keys() == {"escapes", "list", "nested", "waived"} and all(
        "host.observed" in messages(play)[name] for name in alone
    )
    assert "findings[0].severity is '?[2Jodd??', none of critical" in alone["escapes"]
    assert fleet.audit(*python, "--limit", "fine").rc == 0
    assert fleet.report() == {"fine": found["fine"]}


# --- the action alone ---

WRITE = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Write
      selfhost.appwrite.audit_report:
        report_dir: "{{ where }}"
        hosts: [{host: !unsafe "<b>{{ 1 / 0 }}", audit: {failed: true, msg: !unsafe "{{ 1 / 0 }} <script>"}}]
        keep: 3
"""
ACTION = (
    WRITE
    + """\
    - name: Damage
      ansible.builtin.copy: {content: "{", dest: "{{ where }}/history/20260101T000000Z.json", mode: "0600"}
    - name: Keep less
      selfhost.appwrite.audit_report:
        report_dir: "{{ where }}"
        hosts: [{host: one, audit: {failed: true, msg: x}}, {host: two}]
        keep: 2
        fail_on: medium
    - name: Refuse a place
      selfhost.appwrite.audit_report: {report_dir: "{{ where }}/report.json", hosts: []}
      ignore_errors: true
    - name: Refuse a number
      selfhost.appwrite.audit_report: {report_dir: "{{ where }}", hosts: [], keep: -1}
      ignore_errors: true
    - name: Refuse an option
      selfhost.appwrite.audit_report: {report_dir: "{{ where }}", hosts: [{name: one}]}
      ignore_errors: true
"""
)


def test_action(tmp_path):
    where = tmp_path / "reports"
    (where / "history").mkdir(parents=True)
    own = where / "history" / "notes.json"
    own.write_text("not a report")
    kept = [where / "history" / f"2026010{day}T000000Z.json" for day in (1, 2, 3)]
    for path in kept:
        path.write_text(json.dumps({"generated_at": "2026-01-01T00:00:00Z", "hosts": []}))
    play = playbook(ACTION, {"where": str(where)})
    assert play.rc == 0, play.output
    first, second = play.result("Write")["report"], play.result("Keep less")
    assert first["path"] == str(where / "report.html") and first["pending"] == []
    assert second["changed"] is False and second["report"]["hosts"]["two"]["high"] == 1
    assert second["report"]["failing"] == {name: ["host.observed"] for name in ("one", "two")}
    assert "20260101T000000Z.json is damaged and left out of the trend; remove it" in " ".join(play.output.split())
    stay = sorted(path.name for path in (where / "history").iterdir())
    assert own.name in stay and len(stay) == 3 and not {path.name for path in kept[:2]} & set(stay)
    assert (
        "report_dir: " in play.result("Refuse a place")["msg"]
        and "name another place" in play.result("Refuse a place")["msg"]
    )
    assert "keep: must be at least 0, got -1" in play.result("Refuse a number")["msg"]
    assert "name" in play.result("Refuse an option")["msg"] and play.states["Refuse an option"] == "fatal"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_disk_full(tmp_path):
    """Nothing is replaced before all is on disk."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=True)
    try:
        where = tmp_path / "reports"
        assert playbook(WRITE, {"where": str(where)}).rc == 0
        before = tree(where)
        with contextlib.suppress(OSError), open(tmp_path / "filler", "wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        os.truncate(tmp_path / "filler", (tmp_path / "filler").stat().st_size - 32768)
        play = playbook(WRITE, {"where": str(where)})
        assert (
            play.rc == 2 and f"report_dir: {where} cannot be written: the disk is full" in play.result("Write")["msg"]
        )
        assert tree(where) == before
    finally:
        subprocess.run(["umount", tmp_path], check=True)
