# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else C(up) recreates, and what a container that is made now would get."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import (
    Prediction,
    followers,
    restarted,
    service_environment,
)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((2, 26, 1), {"appwrite", "worker"}),
        ((2, 29, 3), {"appwrite", "worker"}),
        ((2, 29, 4), set()),
        ((5, 0, 0), set()),
    ],
)
def test_followers_by_dependence(version, expected):
    services = {
        "redis": {},
        "appwrite": {"depends_on": {"redis": {}}},
        "worker": {"depends_on": {"appwrite": {}}},
        "other": {},
    }
    assert followers(services, ["redis"], version) == expected


def test_followers_by_sharing():
    services = {"a": {}, "b": {"network_mode": "service:a"}, "c": {"volumes_from": ["b:ro"]}, "d": {"ipc": "host"}}
    assert followers(services, ["a"], (5, 0, 0)) == {"b", "c"}
    assert followers(services, ["d"], (5, 0, 0)) == set()


def test_service_environment():
    assert service_environment(
        {"services": {"a": {"environment": {"N": 1, "E": "", "NULL": None}}, "b": {"environment": None}, "c": {}}}
    ) == {"a": {"N": "1", "E": ""}, "b": {}, "c": {}}
    assert service_environment({}) == {}


def test_restarted_by_dependence():
    services = {
        "a": {},
        "b": {"depends_on": {"a": {"condition": "service_started", "restart": True}}},
        "c": {"depends_on": {"b": {"restart": True}}},
        "d": {"depends_on": {"a": {}}},
        "f": {"links": ["a:alias"]},
    }
    assert followers(services, ["a"], (2, 26, 1)) == {"b", "c", "d", "f"}
    assert restarted(services, ["a"], (5, 0, 0)) == {"b"}
    assert restarted(services, ["a"], (2, 29, 3)) == set(), "it is recreated"


def test_what_a_checked_change_recreates():
    found = Prediction({"a": "because"}, ("b", "c")).with_foreseen(["b", "a"])
    assert (sorted(found.recreated), found.recreated["a"], found.started) == (["a", "b"], "because", ("c",))
    assert Prediction({}, ("c",)).with_foreseen([]) == Prediction({}, ("c",))
