# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles say in the end, and whether they fail."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.filter.audited import audited
from ansible_collections.selfhost.appwrite.plugins.filter.summaries import (
    audit_verdict,
    rehearsal_summary,
    rotation_summary,
    security_summary,
)

REPORT = {
    "path": "/r/report.html",
    "hosts": {name: {"score": 90} for name in "abcd"},
    "failing": {"a": ["x.one"], "c": ["x.one", "x.two"]},
}


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
def test_audit_verdict(host, hosts, batch, said):
    assert audit_verdict(REPORT, host, list(hosts), list(batch)) == {
        "passed": said is None,
        "msg": (said or "Score 90 of 100. ") + "The report is /r/report.html",
    }


SECURED = {
    "key": {"state": "generated", "fingerprint": "f", "sealed": "not-a-real-envelope"},
    "changes": [{"name": "_APP_ENV"}],
    "recreates": ["appwrite", "worker"],
}


@pytest.mark.parametrize(("more", "services"), [({"recreated": ["worker"]}, ["worker"]), ({}, [])])
def test_security_summary(more, services):
    assert security_summary({**SECURED, **more}) == {
        "encryption_key": {"state": "generated", "fingerprint": "f"},
        "escrow": "off",
        "changed_variables": ["_APP_ENV"],
        "recreated_services": services,
    }
    assert security_summary({**SECURED, "escrow": {"state": "kept"}})["escrow"] == "kept"


def test_rehearsal_summary():
    report = {"state": "old", "collections": [], "undecryptable": []}
    rehearsed = {"report": report, "stops_working": ["links"]}
    under_way = "unknown: a rotation is under way"
    assert rehearsal_summary(rehearsed) == {
        **report,
        "will_stop_working": ["links"],
        "expected_downtime_in_seconds": under_way,
        "disk_needed_in_bytes": under_way,
    }
    told = rehearsal_summary(
        {
            **rehearsed,
            "expected_downtime": {"whole": 3},
            "disk_needed": {"files": 0},
            "console": {"sessions": {}},
            "end_sessions": "console",
            "ended_sessions": 2,
        }
    )
    assert (told["expected_downtime_in_seconds"], told["disk_needed_in_bytes"]) == ({"whole": 3}, {"files": 0})
    assert (told["sessions_to_end"], told["console"]) == ("console: 2", {"sessions": {}})
    assert rehearsal_summary({}) == {}


ROTATED = {"phase": "written", "key": {"fingerprint": "old"}, "new_key": {"fingerprint": "new"}}


@pytest.mark.parametrize(
    ("ended", "scope", "phase", "downtime", "sessions"),
    [
        ({"phase": "finished", "downtime": {"whole": 3}, "ended_sessions": 0}, "values", "finished", {"whole": 3}, 0),
        ({"skipped": True}, "values", "written", "unknown", "unknown"),
        ({"skipped": True}, "tokens", "written", "none", "none"),
    ],
)
def test_rotation_summary(ended, scope, phase, downtime, sessions):
    found = rotation_summary(ROTATED, ended, scope)
    assert (found["phase"], found["old_key"], found["new_key"]) == (phase, "old", "new")
    assert (found["downtime_in_seconds"], found["ended_sessions"]) == (downtime, sessions)


def test_audited():
    """What each host answered, was refused with, or did not get to."""
    waivers = [{"control": "host.observed"}]
    hostvars = {
        "answered": {"__appwrite_audit_settled": {"waivers": waivers}, "__appwrite_audit_audited": {"score": 1}},
        "refused": {"__appwrite_audit_settled": {"failed": True, "msg": "no"}},
        "stopped": {"__appwrite_audit_settled": {"waivers": waivers}},
        "never": {},
    }
    assert audited(list(hostvars), hostvars) == [
        {"host": "answered", "audit": {"score": 1}, "waivers": waivers},
        {"host": "refused", "audit": {"failed": True, "msg": "no"}, "waivers": []},
        {"host": "stopped", "audit": {}, "waivers": waivers},
        {"host": "never", "audit": {}, "waivers": []},
    ]
