# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AES makes of an encryption key, and what may be said of it."""

from __future__ import annotations

import re

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

PUBLIC = "your-secret-key"


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        ("", 0),
        (PUBLIC, 0),
        ("a" * 64, 0),
        ("0123456789abcdef" * 4, 64),
        ("0123456789ABCDEF", 64),
        ("0246813579" * 7, 53),
        ("aB3" * 22, 95),
        ("aB3-" * 16, 96),
        ("aB3", 17),
        ("é" * 32, 128),
    ],
)
def test_effective_bits(value, bits):
    assert _key.effective_bits(value) == bits


def test_only_the_first_sixteen_bytes_count(key):
    assert _key.same_cipher("0123456789abcdef", "0123456789abcdef-and-a-tail")
    assert _key.same_cipher("short", "short\0\0")
    assert not _key.same_cipher("0123456789abcdeF", "0123456789abcdef")
    assert _key.effective_bits("aB3aB3aB3aB3aB3a" + "----") == _key.effective_bits("aB3aB3aB3aB3aB3a")


def test_fingerprint(key):
    """Slow to guess from, the same every time, and nothing of the key in it."""
    assert _key._ROUNDS == 200_000
    first = _key.fingerprint(key())
    assert re.fullmatch("[0-9a-f]{16}", first) and first == _key.fingerprint(key()) != _key.fingerprint(key("b"))


def test_public_description(key):
    assert _key.describe("absent", "").public() == {"state": "absent", "fingerprint": None, "effective_bits": 0}
    assert set(_key.describe("kept", key()).public()) == {"state", "fingerprint", "effective_bits"}


@pytest.mark.parametrize(
    ("values", "key"),
    [({}, ""), ({_key.NAME: ""}, ""), ({_key.NAME: "0"}, ""), ({_key.NAME: "00"}, "00"), ({_key.NAME: PUBLIC}, PUBLIC)],
)
def test_in_force(values, key):
    assert _key.in_force(values) == key


@pytest.mark.parametrize(
    ("value", "is_weak"),
    [("", False), (PUBLIC, False), ("short", True), ("0" * 64, True), ("0123456789abcdef" * 4, False)],
)
def test_weakness(value, is_weak):
    said = _key.weakness(value)
    assert bool(said) == is_weak and (not said or value not in said)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (PUBLIC, "is a public placeholder"),
        ("", "is shorter than 16 bytes"),
        ("x" * 15, "is shorter than 16 bytes"),
        ("é" * 7, "is shorter than 16 bytes"),
        ("not-a-real-key\0with-a-nul", "cannot be written into .env: .*NUL"),
        ("not-a-real-key-\udcff-of-bytes", "cannot be written into .env: .*Unicode"),
    ],
    ids=["placeholder", "empty", "15 bytes", "14 bytes", "NUL", "not UTF-8"],
)
def test_check(given, why):
    with pytest.raises(AppwriteError, match="^new_key: " + why) as caught:
        _key.check(given, "new_key")
    assert not given or given == PUBLIC or given not in str(caught.value)


def test_check_of_a_key_that_will_do(key):
    _key.check(key(), "new_key")
