# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report is made of if its task names no hosts. What is done with it is in C(plugin_utils/test_audit_report.py)."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from ansible_collections.selfhost.appwrite.plugins.action import audit_report
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS

SETTLED, AUDITED = "__appwrite_audit_settled", "__appwrite_audit_audited"
FINDINGS = [
    {
        "id": one.id,
        "title": one.title,
        "severity": one.severity,
        "group": one.group,
        "status": "pass",
        "evidence": "{{ 1 / 0 }}",
        "rationale": one.rationale,
        "remedy": one.remedy,
        "reference": one.reference,
    }
    for one in CONTROLS
]
ANSWER = {"release": "1.9.6", "score": 100, "findings": FINDINGS}
WAIVERS = [{"control": CONTROLS[0].id, "justification": "Known", "expires": "2999-12-31"}]


class HostVars:
    """The variables of the hosts of a play, as they are, and how often each host's were asked for."""

    def __init__(self, hosts):
        self.hosts, self.asked = hosts, Counter()

    def raw_get(self, host):
        self.asked[host] += 1
        return self.hosts[host]


@pytest.fixture
def write(tmp_path):
    def run(hosts, **more):
        arguments = {"report_dir": str(tmp_path / "reports"), "fail_on": "high"}
        task = SimpleNamespace(args=arguments, check_mode=False, async_val=0, action="selfhost.appwrite.audit_report")
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        action = audit_report.ActionModule(task, connection, SimpleNamespace(), None, None, None)
        hostvars = HostVars(hosts)
        names = {
            "ansible_play_hosts_all": list(hosts),
            "ansible_play_batch": list(hosts),
            "ansible_play_hosts": list(hosts),
        }
        summary = action.run(task_vars={"hostvars": hostvars, **names, **more})["report"]
        report = json.loads((tmp_path / "reports" / "report.json").read_text())
        return hostvars, summary, {host["host"]: host for host in report["hosts"]}

    return run


def test_what_the_role_registered(write):
    """What each host answered, was refused with, or did not get to."""
    waived = {**FINDINGS[0], "status": "waived", "waiver": {"justification": "Known", "expires": "2999-12-31"}}
    settled = {"waivers": WAIVERS}
    _hostvars, summary, found = write(
        {
            "answered": {SETTLED: settled, AUDITED: {**ANSWER, "findings": [waived, *FINDINGS[1:]]}},
            "not its own": {SETTLED: {"waivers": []}, AUDITED: {**ANSWER, "findings": [waived, *FINDINGS[1:]]}},
            "refused": {SETTLED: {"failed": True, "msg": "no"}},
            "stopped": {SETTLED: settled},
            "never": {},
        }
    )
    assert found["answered"]["findings"][0]["status"] == "waived" and found["answered"]["findings"][1] == FINDINGS[1]
    assert found["not its own"]["findings"][0]["status"] == "fail"
    assert {name: found[name]["findings"][0]["evidence"] for name in ("refused", "stopped", "never")} == {
        "refused": "the audit failed: no",
        **dict.fromkeys(
            ("stopped", "never"), "the play did not get to the audit of this host, or got no answer that it could read"
        ),
    }
    assert summary["failing"] == {
        "not its own": [FINDINGS[0]["id"]],
        **dict.fromkeys(("refused", "stopped", "never"), ["host.observed"]),
    }
    assert summary["pending"] == []


def test_later_batches(write):
    hosts = {"first": {SETTLED: {}, AUDITED: ANSWER}, "second": {}}
    assert write(hosts, ansible_play_batch=["first"])[1]["pending"] == ["second"]


@pytest.mark.parametrize("number", [10, 50])
def test_each_host_is_asked_for_once(write, number):
    hosts = {f"host-{one}": {SETTLED: {"waivers": []}, AUDITED: ANSWER} for one in range(number)}
    hostvars, summary, found = write(hosts)
    assert hostvars.asked == dict.fromkeys(hosts, 1) and list(summary["hosts"]) == list(hosts) and len(found) == number
