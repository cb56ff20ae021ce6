# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of a cluster that has not answered, or not in this play, has proved nothing; and all of them must have the same."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.filter.cluster import cluster_differences, cluster_trouble

HOSTS = ["a", "b"]
GUARDED = {"phase": "guarded", "changed": True}
LOOKED = {
    "phase": "none",
    "release": "1.9.6",
    "key": {"fingerprint": "0011", "public": False},
    "database": ["x", "y"],
    "clock": [-0.5, 0.5],
}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (GUARDED, None),
        (None, "b has not answered that it is guarded"),
        ({"skipped": True, "changed": False}, "b has not answered"),
        ({"unreachable": True, "msg": "no route"}, "b: no route"),
        ({"failed": True, "msg": "it is full", "phase": "guarded"}, "b: it is full"),
        ({"phase": "prepared"}, "b has not answered"),
        (["guarded"], "b has not answered"),
    ],
)
def test_trouble(answer, words):
    found = cluster_trouble(HOSTS, {"a": {"r": GUARDED}, "b": {"r": answer} if answer else {}}, HOSTS, "r", ["guarded"])
    assert [each[: len(words)] for each in found] == [words] if words else found == []


def test_answer_of_an_earlier_play():
    """One that has failed since is not in the batch."""
    hostvars = {name: {"r": GUARDED} for name in HOSTS}
    assert cluster_trouble(HOSTS, hostvars, ["a"], "r", ["guarded"]) == ["b has failed or cannot be reached"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({}, []),
        ({"clock": [3.0, 4.0]}, []),
        ({"database": ["y", "z"]}, []),
        ({"phase": "guarded", "database": None, "release": None, "key": {"fingerprint": "9"}}, []),
        ({"release": "1.9.5"}, ["the releases of Appwrite differ: b and a do not have the same"]),
        ({"key": {"fingerprint": None, "public": True}}, ["the encryption keys differ"]),
        ({"database": []}, ["b and a do not share a database"]),
        ({"part": "member"}, []),
        ({"clock": [11.0, 11.5]}, ["the clocks of b and a are 10 seconds apart"]),
        ({"clock": [-40.0, -39.0]}, ["the clocks of a and b are 38 seconds apart"]),
    ],
)
def test_differences(other, words):
    found = cluster_differences(HOSTS, {"a": {"r": LOOKED}, "b": {"r": {**LOOKED, **other}}}, "r")
    assert len(found) == len(words) and all(each.startswith(one) for each, one in zip(found, words, strict=True)), found


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["conductor", "member"], []),
        (["member", None], ["another host than a conducts"]),
        (["member", "conductor"], ["b conducts"]),
        ([None, "conductor"], ["b conducts"]),
    ],
)
def test_order_of_the_inventory(parts, words):
    hostvars = {name: {"r": {**LOOKED, "part": part}} for name, part in zip(HOSTS, parts, strict=True)}
    found = cluster_differences(HOSTS, hostvars, "r")
    assert [each[: len(one)] for each, one in zip(found, words, strict=True)] == words


def test_nothing_is_stored_anywhere():
    hostvars = {name: {"r": {**LOOKED, "database": []}} for name in HOSTS}
    assert cluster_differences(HOSTS, hostvars, "r") == []
    assert cluster_differences(HOSTS, {"a": {}, "b": {}}, "r") == []
