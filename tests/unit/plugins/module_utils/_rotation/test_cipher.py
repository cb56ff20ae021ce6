# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from support.rotation import opened

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import cipher as _cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    NEITHER,
    NEW,
    OLD,
    PLAIN,
    Cipher,
    Exchange,
)

KEY = "NotARealKey"
WORD = "NotARealPassword1 / 𝒳 //"
# What PHP 8.2.36 makes of a word and of nothing: json_encode of openssl_encrypt(..., 'aes-128-gcm', $key, 0, $iv, $tag).
PHP = [
    (
        KEY,
        WORD,
        r'{"data":"2sEUVY38pTiKTM\/xMzNzcMvac5qejaXKIOot","method":"aes-128-gcm","iv":"3bfc269594ef649228e9a74b",'
        '"tag":"ab4d68f7a8c8b04e26631a37fb825acb","version":"1"}',
    ),
    (
        KEY,
        "",
        '{"data":"","method":"aes-128-gcm","iv":"fb04dcb6970e4c3d1873de51","tag":"e604e7df51284db8bfd8827dac5a3874","version":"1"}',
    ),
    (
        "",
        WORD,
        r'{"data":"fSwYA\/0FsBvxNUr6KZso9RcrvW5xFBVb29x3","method":"aes-128-gcm","iv":"e0d2747b9ab7abb6eb65e037",'
        '"tag":"6a946a2b3e9feefa528a5a9ced58c481","version":"1"}',
    ),
    (
        "NotARealEncryptionKeyLongerThan16",
        WORD,
        '{"data":"oyD4ns7Gv2tcUavoT8t3cyU5xKpZWZjMWTMr","method":"aes-128-gcm",'
        '"iv":"ee8616502dd081f3f250cdef","tag":"3ae4a477010d91c26effcedee1eb04f2","version":"1"}',
    ),
    (
        "NichtEchtÄÖÜß𝒳Schlüssel",
        WORD,
        '{"data":"kFkTVNPJV3tIaKKE2RVe2LlUYTpRQ0ekRlUF","method":"aes-128-gcm",'
        '"iv":"22a706ae67234e9fce89f07d","tag":"6c3ea91efc829ff55a483162f5a837ca","version":"1"}',
    ),
]
SEALED = PHP[0][2]


def changed(**fields: object) -> str:
    return json.dumps({**json.loads(SEALED), **fields})


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(Cipher(KEY), Cipher("NotARealNewKey12"))


# --- one key ---


@pytest.mark.parametrize(
    ("key", "word", "sealed"), PHP, ids=["short key", "nothing", "no key", "long key", "key in UTF-8"]
)
def test_opens_what_php_sealed(key, word, sealed):
    cipher = Cipher(key)
    assert opened(cipher, sealed) == word.encode()
    assert opened(cipher, cipher.seal(word.encode())) == word.encode()
    assert opened(Cipher(key + "x"), sealed) == (word.encode() if len(key.encode()) >= 16 else None)


def test_shape():
    sealed = Cipher(KEY).seal(b"NotARealPassword1" * 100)
    fields = json.loads(sealed)
    assert list(fields) == ["data", "method", "iv", "tag", "version"]
    assert sealed == json.dumps(fields, separators=(",", ":")), (
        "slashes are bare, and nothing else is written otherwise"
    )
    assert len(bytes.fromhex(fields["iv"])) == 12 and len(bytes.fromhex(fields["tag"])) == 16
    assert Cipher(KEY).seal(b"") != Cipher(KEY).seal(b""), "an IV is never used twice"


def test_never_longer_than_php_writes_it():
    for length in range(0, 300, 7):
        assert len(Cipher(KEY).seal(bytes(length))) == len(PHP[1][2]) + -(-length // 3) * 4, (
            "PHP's has a backslash more for each slash"
        )


@pytest.mark.parametrize("data", ["padding", "newline", "junk"])
def test_reads_base64_as_php_does(data):
    """PHP 8.2.36 opens all of these."""
    whole = Cipher(KEY).seal(b"NotARealPassword1")
    text = json.loads(whole)["data"]
    assert text.endswith("=")
    spelled = {"padding": text.rstrip("="), "newline": text[:4] + "\n" + text[4:], "junk": text[:4] + "!*" + text[4:]}[
        data
    ]
    assert opened(Cipher(KEY), whole.replace(text, json.dumps(spelled)[1:-1])) == b"NotARealPassword1"


def test_without_cryptography(monkeypatch):
    monkeypatch.setattr(_cipher, "_MISSING", True)
    with pytest.raises(AppwriteError, match="install python3-cryptography"):
        Cipher(KEY)


# --- two keys ---


@pytest.mark.parametrize("others", [("", "\0\0"), ("sixteen-bytes-it", "sixteen-bytes-it-is"), ("same", "same")])
def test_keys_that_open_the_same(others):
    with pytest.raises(AppwriteError, match="begin with the same 16 bytes"):
        Exchange(*map(Cipher, others))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (None, PLAIN),
        ("", PLAIN),
        ("NotARealPassword1", PLAIN),
        ("{}", PLAIN),
        ("{", PLAIN),
        ('{"data":[]', NEITHER),
        ("[" * 100_000, PLAIN),
        ('{"a":' * 100_000, PLAIN),
        ('{"data":' * 100_000, NEITHER),
        ('{"name":"Ada","version":"1"}', PLAIN),
        ("\udcff", PLAIN),
        (SEALED, OLD),
        (SEALED.replace(",", ", "), OLD),
        (f" {SEALED}\n", OLD),
        (changed(version=1), OLD),
        (json.dumps(dict(reversed(json.loads(SEALED).items()))), OLD),
        (changed(iv="3BFC269594EF649228E9A74B"), OLD),
        (SEALED[:-1], NEITHER),
        (SEALED[:100], NEITHER),
        (changed(data=False), NEITHER),
        (changed(data="AAAA"), NEITHER),
        (changed(data="é"), NEITHER),
        (changed(data="A"), NEITHER),
        (changed(iv="00"), NEITHER),
        (changed(iv="xy"), NEITHER),
        (changed(iv=None), NEITHER),
        (changed(tag=""), NEITHER),
        (changed(tag="ab4d68f7a8c8b04e26631a37"), NEITHER),
        (changed(tag="0" * 32), NEITHER),
        (changed(version="2"), NEITHER),
        (changed(method="aes-256-gcm"), NEITHER),
    ],
)
def test_verdict(exchange, value, verdict):
    assert exchange.verdicts(value) == [verdict]
    if verdict != OLD:
        assert exchange.reseal(value)[0] == value
    else:
        assert exchange.verdicts(exchange.reseal(value)[0]) == [NEW]
        assert opened(exchange.new, exchange.reseal(value)[0]) == WORD.encode()


def test_array(exchange):
    value = [SEALED, None, "", "plain", exchange.new.seal(b"x"), changed(tag="0" * 32)]
    assert exchange.verdicts(value) == [OLD, NEW, NEITHER]
    resealed = exchange.reseal(value)[0]
    assert resealed[1:] == value[1:]
    assert opened(exchange.new, resealed[0]) == WORD.encode()
    assert exchange.verdicts([]) == exchange.verdicts([None]) == [PLAIN]


def test_nothing_is_resealed_twice(exchange):
    once = exchange.reseal([SEALED, exchange.old.seal(b"two")])[0]
    assert exchange.reseal(once)[0] == once
    assert exchange.verdicts(once) == [NEW, NEW]


# --- sealed values inside of sealed values ---


def nested(exchange: Exchange, *secrets: str) -> str:
    """As PHP writes it: slashes escaped, and more in it that must stay."""
    parts = "".join(f',"provider{number}Secret":{secret}' for number, secret in enumerate(secrets))
    return r'{"githubAppid":"a\/b {c}","note":"{\"p8\":\"{\\\"data\\\":1}\"}"%s,"githubEnabled":true}' % parts


def test_nested(exchange):
    inner = [
        SEALED,
        json.dumps(SEALED),
        SEALED.replace("/", "\\/"),
        exchange.new.seal(b"new"),
        changed(tag="0" * 32),
        '"plain"',
        "{}",
    ]
    text = nested(exchange, *inner)
    value = exchange.old.seal(text.encode())
    assert sorted(exchange.verdicts(value, nested=True)) == sorted([OLD, OLD, OLD, OLD, NEW, NEITHER])
    assert exchange.verdicts(value) == [OLD]
    resealed = exchange.reseal(value, nested=True)[0]
    assert sorted(exchange.verdicts(resealed, nested=True)) == sorted([NEW, NEW, NEW, NEW, NEW, NEITHER])
    whole = opened(exchange.new, resealed).decode()
    found = [json.loads(whole)[f"provider{number}Secret"] for number in range(len(inner))]
    assert (
        opened(exchange.new, json.dumps(found[0]))
        == opened(exchange.new, found[1])
        == opened(exchange.new, json.dumps(found[2]))
        == WORD.encode()
    )
    again = [
        json.dumps(found[0], separators=(",", ":")),
        json.dumps(found[1]),
        json.dumps(found[2], separators=(",", ":")),
        *inner[3:],
    ]
    assert whole == nested(exchange, *again), "byte for byte, but for what was sealed"
    assert exchange.reseal(resealed, nested=True)[0] == resealed


def test_nested_under_another_key_than_around_it(exchange):
    """As an interrupted run of another tool might leave it."""
    value = exchange.new.seal(nested(exchange, SEALED).encode())
    assert exchange.verdicts(value, nested=True) == [NEW, OLD]
    assert exchange.verdicts(exchange.reseal(value, nested=True)[0], nested=True) == [NEW, NEW]


def test_user_data_that_looks_nested_stays(exchange):
    text = nested(exchange, SEALED).encode()
    assert opened(exchange.new, exchange.reseal(exchange.old.seal(text))[0]) == text
