# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The encryption key itself: which one is in force, what AES makes of it, and what may be said of it.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import string
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import quote
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

NAME = catalogue.KEY
CIPHER_BYTES = 16
"""AES-128 takes the first 16 bytes of the key and no more (Appwrite 1.4.14 to 1.9.6)."""
ALPHANUMERIC = string.ascii_letters + string.digits
"""Of what is made up here: nothing that a DSN, a shell or C(.env) would read otherwise."""
_ALPHABETS = (
    string.digits,
    string.digits + "abcdef",
    string.digits + "ABCDEF",
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.digits + string.ascii_lowercase,
    string.digits + string.ascii_uppercase,
    ALPHANUMERIC,
    ALPHANUMERIC + "-_",
    ALPHANUMERIC + "+/=",
    ALPHANUMERIC + string.punctuation + " ",
)
"""From which keys are usually drawn, smallest first."""
_WEAK = 64
"""Bits below which a key is warned of, and its fingerprint is not shown."""
_ROUNDS = 200_000
_SALT = b"selfhost.appwrite fingerprint, version 1"

GUARD = (
    '%s="${ROTATION_UNFINISHED:?a rotation of the encryption key is unfinished, and until it ends nothing may start: '
    'run ansible-playbook selfhost.appwrite.rotate again}"' % NAME
)
"""What stands in C(.env) for the key while data may be sealed with either of two. Every command of compose fails with its message."""
MARK = "TheGuardOfARotationStandsHere"
"""A key in the place of the guard, where the rest of the file is to be read all the same, or where the guard is to be put."""


@dataclass(frozen=True)
class Key:
    """What is said about an encryption key in public."""

    state: str
    fingerprint: str | None
    effective_bits: int
    sealed: str | None = None
    """the key itself, for the one who asked for it with a password"""

    def public(self) -> dict[str, Any]:
        sealed = {} if self.sealed is None else {"sealed": self.sealed}
        return {"state": self.state, "fingerprint": self.fingerprint, "effective_bits": self.effective_bits, **sealed}


def describe(state: str, key: str) -> Key:
    return Key(state, shown_fingerprint(key), effective_bits(key))


def in_force(values: Mapping[str, str]) -> str:
    """The key that Appwrite takes from these variables."""
    return catalogue.given(values, NAME)


def is_public(key: str) -> bool:
    """Whether anyone may know it: a default of Appwrite's installer, or a placeholder that a template put in its place."""
    return catalogue.is_public_default(NAME, key)


def public_keys() -> tuple[str, ...]:
    """Those defaults."""
    variable = catalogue.get(NAME)
    return variable.public_defaults if variable else ()


def used_bytes(key: str) -> bytes:
    """The part of the key that AES sees."""
    return key.encode("utf-8", "surrogateescape")[:CIPHER_BYTES]


def cipher_key(key: str) -> bytes:
    """The key that AES is given: a shorter one is padded with zeros."""
    return used_bytes(key).ljust(CIPHER_BYTES, b"\0")


def same_cipher(left: str, right: str) -> bool:
    """Whether both keys open the same stored values."""
    return cipher_key(left) == cipher_key(right)


@lru_cache(maxsize=None)
def fingerprint(value: str) -> str:
    """16 hex digits that tell values apart and are slow to guess from: PBKDF2-HMAC-SHA256, 200,000 rounds, a fixed salt.

    With one salt for all, one table would do for every weak value: what leaves this process is C(shown_fingerprint()).
    """
    return hashlib.pbkdf2_hmac("sha256", value.encode("utf-8", "surrogateescape"), _SALT, _ROUNDS, 8).hex()


def shown_fingerprint(value: str) -> str | None:
    """The fingerprint of a value that cannot be guessed; C(None) for any other."""
    return fingerprint(value) if effective_bits(value) >= _WEAK else None


def told(key: str) -> str:
    """A key, or another secret, in a message."""
    if not key:
        return "no key"
    if is_public(key):
        return "the public default" if key in public_keys() else "a placeholder"
    shown = shown_fingerprint(key)
    return "fingerprint %s" % shown if shown else "a weak one, of about %d bits" % effective_bits(key)


def effective_bits(key: str) -> int:
    """Bits of strength that AES gets: the first 16 bytes, by the alphabet seen in them; 0 for a public default."""
    used = used_bytes(key)
    if not used or is_public(key):
        return 0
    seen = set(used.decode("latin-1"))
    if len(seen) == 1:
        return 0
    alphabet = next((alphabet for alphabet in _ALPHABETS if seen <= set(alphabet)), None)
    return int(len(used) * math.log(len(alphabet) if alphabet else 256, 2))


def weakness(key: str) -> str | None:
    """A sentence if the key is there, is not public, and is weak."""
    bits = effective_bits(key)
    if not key or bits >= _WEAK or is_public(key):
        return None
    return "%s is weak: AES uses its first 16 bytes, which hold about %d bits" % (NAME, bits)


def check(key: str, option: str) -> None:
    """Raises AppwriteError if an option's value will not do as a new key."""
    public = AppwriteError("%s: is a public placeholder; leave it out to have one generated" % option)
    if key in public_keys():
        raise public
    if len(used_bytes(key)) < CIPHER_BYTES:
        raise AppwriteError(
            "%s: is shorter than 16 bytes, the length of an AES-128 key; pass a longer one or leave it out to have one generated"
            % option
        )
    if is_public(key):
        raise public
    try:
        quote(key)
    except AppwriteError as error:
        raise AppwriteError("%s: cannot be written into .env: %s" % (option, error)) from None


def generate(length: int) -> str:
    """So many letters and digits from the system's cryptographic generator: a key, or another secret."""
    return "".join(secrets.choice(ALPHANUMERIC) for _unused in range(length))
