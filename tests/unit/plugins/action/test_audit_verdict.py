# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host is told in the end, and that it costs the same however many hosts there are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.action import audit_verdict

REPORT = {
    "path": "/r/report.html",
    "hosts": {name: {"score": 90} for name in "abcd"},
    "failing": {"a": ["x.one"], "c": ["x.one", "x.two"]},
    "pending": [],
}


class Counted(dict):
    """A dictionary that knows what was read of it."""

    def __init__(self, *given):
        super().__init__(*given)
        self.read = []

    def __getitem__(self, name):
        self.read.append(name)
        return super().__getitem__(name)

    def __iter__(self):
        raise AssertionError("read as a whole")

    items = values = keys = __iter__


def judge(report, host, hosts, batch, **arguments):
    task = SimpleNamespace(args=arguments, check_mode=False, async_val=0, action="selfhost.appwrite.audit_verdict")
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    action = audit_verdict.ActionModule(task, connection, SimpleNamespace(), None, None, None)
    return action.run(
        task_vars={
            "__appwrite_audit_reported": {"report": report},
            "__appwrite_audit_settled": {"escrow": {"host": host}},
            "ansible_play_hosts": list(hosts),
            "ansible_play_batch": list(batch),
        }
    )


@pytest.mark.parametrize(
    ("host", "hosts", "batch", "said"),
    [
        ("a", "abcd", "abcd", "a: x.one. "),
        ("b", "abcd", "abcd", None),
        ("c", "abcd", "cd", "c: x.one, x.two. a: x.one. "),
        ("c", "bcd", "cd", "c: x.one, x.two. "),
        ("d", "abcd", "cd", None),
        ("d", "abcd", "d", "a: x.one. c: x.one, x.two. "),
    ],
    ids=["fails", "passes", "first of the last batch", "earlier one left", "not the first", "passes but answers"],
)
def test_verdict(host, hosts, batch, said):
    found = judge(REPORT, host, hosts, batch)
    assert (found["failed"], found["changed"]) == (said is not None, False)
    assert found["msg"] == (said or "Score 90 of 100. ") + "The report is /r/report.html"
    assert found["_ansible_verbose_always"], "it is shown to whoever passes, too"


def test_options():
    with pytest.raises(AnsibleActionFail, match="fail_on"):
        judge(REPORT, "a", "a", "a", fail_on="high")


@pytest.mark.parametrize("number", [10, 50])
def test_only_the_hosts_own_is_read(number):
    hosts = [f"host-{one}" for one in range(number)]
    for host in hosts:
        scores = Counted({name: {"score": 90} for name in hosts})
        failing = Counted({name: ["x.one"] for name in hosts[1::2]})
        found = judge({**REPORT, "hosts": scores, "failing": failing}, host, hosts, hosts)
        assert found["failed"] is (host in failing)
        assert set(scores.read + failing.read) == {host}
