# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit's timer is called, and what is believed of the configuration that a host has."""

from __future__ import annotations

import base64
import json
import os
import re

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.selfhost.appwrite.plugins.filter.timer import cron_time, timer_configuration, unit_name

PATHS = st.text(
    alphabet=st.one_of(st.sampled_from("/a1-_.2d5f "), st.characters(exclude_characters="\0")), max_size=20
).map("/{}".format)
OLD = {"fingerprint": "0f1e2d3c4b5a6978", "proved": "2026-11-01"}


def told(escrow, configuration):
    """What the host is told of the escrow, if the controller knows the one and the host has the other."""
    settled = {"project": {}, "escrow": {"state": escrow, "project_src": "/opt/appwrite"}, "waivers": []}
    return timer_configuration({}, settled, {}, configuration, "x.prom")["audit"]["escrow"]


def slurped(value) -> str:
    return base64.b64encode((value if isinstance(value, str) else json.dumps(value)).encode()).decode()


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/opt/appwrite", "opt-appwrite"),
        ("/opt/appwrite/", "opt-appwrite"),
        ("//opt/./appwrite", "opt-appwrite"),
        ("/", "-"),
        ("/opt/app-1", "-opt-app_2d1"),
        ("/opt/app_1", "-opt-app_5f1"),
        ("/opt/app/1", "opt-app-1"),
        ("/srv/größe", "-srv-gr_c3_b6_c3_9fe"),
        ("~/appwrite", "_7e-appwrite"),
        ("/~/appwrite", "-_7e-appwrite"),
    ],
)
def test_unit_name(directory, name):
    assert unit_name(directory) == name


@given(PATHS, PATHS)
@example("/opt/app-1", "/opt/app_1")
@example("/opt/app-1", "/opt/app-2d1")
@example("/" + "a/" * 200, "/" + "a/" * 199)
def test_no_two_directories_have_the_same_name(one, other):
    assert (unit_name(one) == unit_name(other)) == (
        os.path.normpath(one).lstrip("/") == os.path.normpath(other).lstrip("/")
    )


@given(PATHS)
@example("/" + "ö" * 5000)
def test_cron_and_systemd_take_the_name(directory):
    """run-parts, by whose rules cron goes, takes no other characters, and a name of a unit has 255 at most."""
    assert re.fullmatch("[A-Za-z0-9_-]{1,150}", unit_name(directory))


@pytest.mark.parametrize("directory", ["", "opt/appwrite", "../appwrite", None, 1, ["/opt"]])
def test_what_is_no_absolute_path_has_no_name(directory):
    with pytest.raises(AnsibleFilterError, match="is not an absolute path; give the whole path"):
        unit_name(directory)


GARBAGE = [
    "",
    "%",
    "\x00",
    None,
    {},
    1,
    slurped("{"),
    slurped("[]"),
    slurped("null"),
    slurped({"audit": []}),
    slurped("[" * 100_000),
    slurped("9" * 9999),
    base64.b64encode(b"\xff\xfe").decode(),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_configuration_that_is_none(garbage):
    for known in (OLD, {"unseen": "no vault secret"}):
        assert told(known, garbage) == known


def test_configuration():
    settled = {
        "project": {"project_name": "shop"},
        "escrow": {"state": OLD, "project_src": "/opt/a"},
        "waivers": [{"control": "c"}],
    }
    made = {"escrow": OLD, "waivers": [{"control": "c"}], "third_parties": []}
    parameters = {"project_src": "/opt/a", "files": ["stack.yml"], "third_parties": ["lynis"]}
    assert timer_configuration({"parameters": parameters}, settled, {}, "", "x.prom") == {
        "audit": {**parameters, **made},
        "textfile": "x.prom",
    }
    for failed in ({"failed": True}, {"parameters": "{{ 1 / 0 }}"}, None):
        assert timer_configuration(failed, settled, {"host": "h"}, "", "x.prom")["audit"] == {
            "project_src": "/opt/a",
            "project_name": "shop",
            "endpoint": {"host": "h"},
            **made,
        }


@pytest.mark.parametrize(
    ("schedule", "time"),
    [("*-*-* 03:17:00", "17 3"), ("*-*-* 3:07", "7 3"), ("*-*-* 23:59", "59 23"), ("*-*-* 00:00:00", "0 0")],
)
def test_cron_time(schedule, time):
    assert cron_time(schedule) == time


@pytest.mark.parametrize(
    "schedule", ["daily", "Mon *-*-* 03:17:00", "*-*-* 24:00", "*-*-* 03:17:00\n* * * * * root x", None]
)
def test_schedule_that_cron_cannot_keep(schedule):
    with pytest.raises(
        AnsibleFilterError, match="(?s)appwrite_audit_timer_schedule: this host has no systemd.* Give one such as"
    ):
        cron_time(schedule)


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (OLD, {**OLD, "proved": "2026-11-08"}, True),
        (OLD, {**OLD, "proved": "2026-11-09"}, False),
        (OLD, {"unseen": "no vault secret"}, True),
        (OLD, {"fingerprint": None}, False),
        (OLD, {}, False),
        (OLD, {**OLD, "fingerprint": "f" * 16}, False),
        ({**OLD, "proved": "2999-01-01"}, OLD, False),
        ({**OLD, "proved": "{{ 1 / 0 }}"}, {"unseen": "x"}, False),
        ({**OLD, "fingerprint": "{{ 1 / 0 }}"}, {"unseen": "x"}, False),
        ({**OLD, "fingerprint": 1}, {"unseen": "x"}, False),
        ("x", OLD, False),
    ],
)
def test_kept_proof(before, now, kept):
    assert told(now, slurped({"audit": {"escrow": before}})) == (before if kept else now)


def test_nothing_but_a_proof_is_taken_over():
    """Text from a host goes no further."""
    assert told({"unseen": "x"}, slurped({"audit": {"escrow": {**OLD, "more": "{{ 1 / 0 }}"}}})) == OLD
