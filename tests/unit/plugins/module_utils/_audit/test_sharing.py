# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of itself, and which others have a database in common with it. What is made of that are cases of C(cases_encryption.py)."""

from __future__ import annotations

import json

import pytest
from support.observations import KEY, NOT_A_KEY, secured

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint, used_bytes
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    LOCAL,
    Holder,
    Server,
    Stored,
    Unseen,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.sharing import holder_of, peers_of, public

UNSEEN = Unseen("the database does not run")
REDIS = Server("Redis", "cache.internal:6379", LOCAL, "this machine")


@pytest.mark.parametrize(
    "key", [NOT_A_KEY, "WeakWords1", "your-secret-key", ""], ids=["strong", "weak", "public", "none"]
)
def test_nothing_from_which_the_key_could_be_guessed_leaves_the_host(key):
    said = public(holder_of(secured(values={KEY: key}, stored=Stored(1, 1, "x", {"0" * 16: True, "1" * 16: False}))))
    assert said == {
        "fingerprint": fingerprint(key) if key == NOT_A_KEY else None,
        "opens": {"0" * 16: True, "1" * 16: False},
        "unseen": "",
        "outside": False,
        "release": "1.9.6",
    }
    assert not key or used_bytes(key).decode() not in json.dumps(said)


def test_what_was_not_looked_at():
    found = holder_of(secured(stored=UNSEEN, env=Unseen("there is none"), servers=UNSEEN, release_is_known=False))
    assert public(found) == {
        "fingerprint": None,
        "opens": None,
        "unseen": UNSEEN.reason,
        "outside": True,
        "release": "",
    }


def test_a_key_that_was_not_seen_is_not_another_key():
    looked = secured(stored=Stored(1, 0, "", {"0" * 16: True}), env=Unseen("there is none"))
    assert holder_of(looked).values == Unseen("there is none")


@pytest.mark.parametrize(
    ("servers", "outside"),
    [((), False), ((REDIS,), False), (UNSEEN, True), ((REDIS, Server("MongoDB", "db.internal:27017", UNSEEN)), True)],
)
def test_whether_others_may_have_the_database(servers, outside):
    assert holder_of(secured(servers=servers)).outside is outside


def test_peers():
    """Three on one database, two on another, one alone, one that did not look. Two of the three have no value in common, since rows came between."""
    given = {"a": "12", "b": "23", "c": "34", "d": "8", "e": "89", "f": "7"}
    holders = [Holder(name, None, dict.fromkeys(values, True)) for name, values in given.items()]
    found = peers_of([*holders, Holder("g", None, UNSEEN)])
    assert [[peer.host for peer in peers] for peers in found] == [["b"], ["a", "c"], ["b"], ["e"], ["d"], [], []]


def test_peers_of_a_large_fleet_are_found_by_their_values():
    """In as many steps as there are values, and not as there are pairs of hosts."""
    holders = [Holder(f"h{number}", None, {f"{number}-{value}": True for value in range(200)}) for number in range(500)]
    assert peers_of(holders) == [()] * 500
