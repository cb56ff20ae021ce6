# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles say in the end, and whether they fail."""

from __future__ import annotations

import json

import pytest

from ansible_collections.selfhost.appwrite.plugins.filter.summaries import (
    rehearsal_summary,
    rotation_summary,
    security_summary,
)

SECURED = {
    "key": {"state": "generated", "fingerprint": "f", "effective_bits": 95, "sealed": "not-a-real-envelope"},
    "changes": [{"name": "_APP_ENV"}],
    "recreates": ["appwrite", "worker"],
}


@pytest.mark.parametrize(
    ("more", "check", "services"),
    [({"recreated": ["appwrite", "worker"]}, True, "2: appwrite, worker"), ({}, False, "none")],
)
def test_security_summary(more, check, services):
    assert security_summary({**SECURED, **more}, check) == {
        "encryption_key": "%sgenerated, fingerprint f, 95 effective bits" % ("would be " if check else ""),
        "escrow": "off",
        "changed_variables": "1: _APP_ENV",
        "recreated_services": services,
    }
    for state, said in (("kept", "kept"), ("written", "would be written" if check else "written")):
        assert security_summary({**SECURED, "escrow": {"state": state}}, check)["escrow"] == said


@pytest.mark.parametrize(
    ("state", "check", "said"),
    [
        ("placeholder_replaced", True, "public default would be replaced"),
        ("placeholder_replaced", False, "public default replaced"),
        ("placeholder_kept", True, "public default kept"),
        ("kept", True, "kept"),
    ],
)
def test_what_becomes_of_the_key(state, check, said):
    key = {"state": state, "effective_bits": 95}
    assert security_summary({**SECURED, "key": key}, check)["encryption_key"] == f"{said}, 95 effective bits"


def test_many_names_fit_a_screen():
    changes = [{"name": f"_APP_{number}"} for number in range(150)]
    said = security_summary({**SECURED, "changes": changes}, False)["changed_variables"]
    assert said.startswith("150: _APP_0, ") and said.endswith("_APP_9, 140 more")


def test_rehearsal_summary():
    lost = [{"collection": "_1_users", "id": str(number), "column": "password"} for number in range(12)]
    collections = [
        {"collection": "_1_users", "values": {"old": 7, "neither": 400, "plain": 2}, "files": {}, "bytes": 0},
        {"collection": "_1_bucket_1", "values": {}, "files": {"old": 3, "new": 1}, "bytes": 12_345_678},
    ]
    report = {"state": "mixed", "collections": collections, "undecryptable": lost, "undecryptable_count": 400}
    rehearsed = {"report": report, "stops_working": ["links", "images"]}
    under_way = "unknown: a rotation is under way"
    found = rehearsal_summary(rehearsed)
    shown = ", ".join(f"_1_users/{number}/password" for number in range(10))
    more = found.pop("more")
    assert "-v" in more
    assert found == {
        "values": "409, of which 7 open with the key in force, 400 open with neither key, 2 are not sealed",
        "files": "4, of which 3 open with the key in force, 1 open with the new key (12.3 MB)",
        "opened_by_neither_key": f"400: {shown}, 390 more",
        "will_stop_working": "links; images",
        "expected_downtime": under_way,
        "disk_needed": under_way,
    }
    told = rehearsal_summary(
        {
            **rehearsed,
            "expected_downtime": {"api": 1, "background": 2, "whole": 3},
            "disk_needed": {"files": 0, "database": 1500, "dump": 2_000_000_000},
            "bucket_traffic": {"requests": 21, "bytes": 1500, "versioned": True},
            "console": {"sessions": {"count": 2}, "api_keys": {"count": 0}},
            "end_sessions": "console",
            "ended_sessions": 2,
        }
    )
    assert told["expected_downtime"] == "API 1 s, background work 2 s, the rotation as a whole 3 s"
    assert told["disk_needed"] == "0 bytes for the files, 1.5 kB for the database, 2.0 GB for the dump"
    assert told["bucket_traffic"] == "21 requests, 1.5 kB; every version of a replaced object is removed"
    assert (told["sessions_to_end"], told["console"]) == ("console: 2", "2 sessions, 0 api keys")
    assert len(json.dumps(told, indent=4)) < 24 * 80
    empty = {"state": "empty", "collections": [], "undecryptable": [], "undecryptable_count": 0}
    nothing = rehearsal_summary({**rehearsed, "report": empty})
    assert (nothing["values"], nothing["opened_by_neither_key"]) == ("none", "none")
    assert rehearsal_summary({}) == {}


ROTATED = {"phase": "written", "key": {"fingerprint": "old"}, "new_key": {"fingerprint": "new"}}


@pytest.mark.parametrize(
    ("ended", "scope", "phase", "downtime", "sessions"),
    [
        (
            {"phase": "finished", "downtime": {"api": 1, "background": 2, "whole": 3}, "ended_sessions": 0},
            "values",
            "finished",
            "API 1 s, background work 2 s, the rotation as a whole 3 s",
            "0",
        ),
        ({"skipped": True}, "values", "written", "unknown", "unknown"),
        ({"skipped": True}, "tokens", "written", "none", "none"),
    ],
)
def test_rotation_summary(ended, scope, phase, downtime, sessions):
    found = rotation_summary(ROTATED, ended, scope)
    assert (found["phase"], found["old_key"], found["new_key"]) == (phase, "old", "new")
    assert (found["downtime"], found["ended_sessions"]) == (downtime, sessions)
