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

from ansible_collections.selfhost.appwrite.plugins.filter.timer import audits_project, kept_proof, unit_name

PATHS = st.text(
    alphabet=st.one_of(st.sampled_from("/a1-_.2d5f "), st.characters(exclude_characters="\0")), max_size=20
).map("/{}".format)
OLD = {"fingerprint": "0f1e2d3c4b5a6978", "proved": "2026-11-01"}


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


@given(PATHS, PATHS)
def test_no_other_directory_had_the_name_in_1_0_0(one, other):
    name = unit_name(one)
    earlier = re.sub("/+", "-", re.sub("[^A-Za-z0-9/]", "_", re.sub("^/+|/+$", "", os.path.normpath(other))))
    assert (
        name != earlier
        or os.path.normpath(one).lstrip("/") == os.path.normpath(other).lstrip("/")
        or name == earlier == ""
    )


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
    assert not audits_project(garbage, "/opt/appwrite")
    assert kept_proof(OLD, garbage) == OLD and kept_proof({"unseen": "no vault secret"}, garbage) == {
        "unseen": "no vault secret"
    }


def test_audits_project():
    config = slurped({"audit": {"project_src": "/opt/app-1/"}, "textfile": "x"})
    assert audits_project(config, "/opt/app-1") and not audits_project(config, "/opt/app_1")
    assert not audits_project(slurped({"audit": {"project_src": ["/opt/app-1"]}}), "/opt/app-1")


@pytest.mark.parametrize(
    ("known", "told", "kept"),
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
def test_kept_proof(known, told, kept):
    assert kept_proof(told, slurped({"audit": {"escrow": known}})) == (known if kept else told)


def test_nothing_but_a_proof_is_taken_over():
    """Text from a host goes no further."""
    assert kept_proof({"unseen": "x"}, slurped({"audit": {"escrow": {**OLD, "more": "{{ 1 / 0 }}"}}})) == OLD
