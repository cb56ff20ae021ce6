# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret on its way from a module to the controller. Results are printed, logged and cached, so it must not be in them in clear.

The controller makes up a password for one task, and the module seals its answer with it: HMAC-SHA256 in counter mode, then an
HMAC-SHA256 over what came out. Python's standard library, which is all that a managed host must have, holds no cipher.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

_BLOCK = hashlib.sha256().digest_size
_SHORTEST = 32


def new_password() -> str:
    return secrets.token_hex(_BLOCK)


def check_password(password: str | None) -> None:
    """Raises AppwriteError if what a task was given to seal with is too short to protect a secret."""
    if password is not None and len(password) < _SHORTEST:
        raise AppwriteError(
            "seal: must be at least %d characters long; give a random password made for this task" % _SHORTEST
        )


def seal(secret: str, password: str) -> str:
    nonce = secrets.token_bytes(_BLOCK)
    body = nonce + _crypt(secret.encode("utf-8", "surrogateescape"), password, nonce)
    return base64.b64encode(_hmac(password, b"tag", body) + body).decode("ascii")


def unseal(sealed: str, password: str) -> str:
    """Raises AppwriteError if this is not what was sealed with the password."""
    try:
        data = base64.b64decode(sealed, validate=True)
    except binascii.Error:
        data = b""
    tag, body = data[:_BLOCK], data[_BLOCK:]
    if not hmac.compare_digest(tag, _hmac(password, b"tag", body)):
        raise AppwriteError(
            "the managed host sent a secret that cannot be opened; another version of the collection may run there"
        )
    return _crypt(body[_BLOCK:], password, body[:_BLOCK]).decode("utf-8", "surrogateescape")


def _crypt(data: bytes, password: str, nonce: bytes) -> bytes:
    blocks = (_hmac(password, b"block", nonce + number.to_bytes(8, "big")) for number in range(-(-len(data) // _BLOCK)))
    return bytes(left ^ right for left, right in zip(data, b"".join(blocks)))


def _hmac(password: str, purpose: bytes, data: bytes) -> bytes:
    return hmac.new(password.encode(), purpose + b":" + data, hashlib.sha256).digest()
