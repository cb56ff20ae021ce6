# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appwrite's sealed values: which key opens this one, and how it is sealed anew.

A sealed value is JSON with ciphertext (base64), IV and tag (hexadecimal digits) of AES-128-GCM. A file's content is the ciphertext alone,
its IV and tag are in its row.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import binascii
import json
import re
import secrets
from typing import Any, List, Match, Optional, Sequence, Tuple, Union

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import cipher_key
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    _MISSING = False
except Exception:  # pylint: disable=broad-exception-caught  # one that is broken is no better than none
    _MISSING = True

OLD, NEW, NEITHER, PLAIN = "old", "new", "neither", "plain"
"""Which key opens a value; C(PLAIN) is one that nobody sealed: null, empty, or other text."""

Value = Union[str, List[Optional[str]], None]
"""of a column; a list if the column is an array"""
Parts = Tuple[bytes, str, str]
"""ciphertext (base64), IV and tag (hexadecimal digits) of a sealed value"""

METHOD, VERSION = "aes-128-gcm", "1"
_IV, _TAG = 12, 16
"""in bytes"""
_SEALED = '{"data":"%s","method":"' + METHOD + '","iv":"%s","tag":"%s","version":"' + VERSION + '"}'
_USUAL = re.compile(
    r'\{"data":"([A-Za-z0-9+/=\\]*)","method":"%s","iv":"([0-9a-f]{%d})","tag":"([0-9a-f]{%d})","version":"%s"\}'
    % (METHOD, 2 * _IV, 2 * _TAG, VERSION)
)
"""as PHP and C(Cipher.seal) write it; a general reader of JSON takes several times as long"""
_BEGINNING = re.compile(r'\s*\{\s*"data"\s*:')
_INNERMOST = re.compile(rb"\{[^{}]*\}")


def at_hand() -> bool:
    """Whether this Python can open values."""
    return not _MISSING


class Cipher:
    """One encryption key, as PHP's openssl takes it."""

    def __init__(self, key: str) -> None:
        if _MISSING:
            raise AppwriteError(
                "the Python of this host lacks the package cryptography, which opens and seals values; install python3-cryptography there"
            )
        self._key = cipher_key(key)
        self._gcm = AESGCM(self._key)

    def opens_the_same(self, other: Cipher) -> bool:
        return self._key == other._key

    def decrypt(self, data: bytes, iv: str, tag: str) -> bytes | None:
        """What was encrypted to this base64 text; C(None) if this key does not open it."""
        try:
            nonce, end = binascii.unhexlify(iv), binascii.unhexlify(tag)
            sealed = binascii.a2b_base64(data + b"=" * (-len(data) % 4)) + end  # PHP does not insist on the padding
            return self._gcm.decrypt(nonce, sealed, None) if (len(nonce), len(end)) == (_IV, _TAG) else None
        except (ValueError, InvalidTag):
            return None

    def encrypt(self, plain: bytes) -> tuple[bytes, str, str]:
        """The base64 text, the IV and the tag."""
        iv = secrets.token_bytes(_IV)
        sealed = self._gcm.encrypt(iv, plain, None)
        return binascii.b2a_base64(memoryview(sealed)[:-_TAG], newline=False), iv.hex(), sealed[-_TAG:].hex()

    def seal(self, plain: bytes) -> str:
        """The slashes of the base64 text are not escaped, unlike PHP's: never longer than before, so it fits where the old value was."""
        data, iv, tag = self.encrypt(plain)
        return _SEALED % (data.decode("ascii"), iv, tag)


class Exchange:
    """Two keys, and what becomes of a value on the way from the first to the second."""

    def __init__(self, old: Cipher, new: Cipher) -> None:
        if old.opens_the_same(new):
            raise AppwriteError(
                "both keys begin with the same 16 bytes, and AES uses only those: what is sealed with one is sealed with the other already"
            )
        self.old, self.new = old, new
        self._order = ((OLD, old), (NEW, new))

    def verdicts(self, value: Value, nested: bool = False) -> list[str]:
        """One for each sealed value in it, or C(PLAIN) alone.

        nested: whether what it opens to may hold sealed values itself.
        """
        found = []
        for each in _elements(value):
            verdict, plain = self._look(each)
            found.append(verdict)
            if nested and verdict in (OLD, NEW):
                found += [inner for _text, inner in map(self._inner, _INNERMOST.finditer(plain))]
        return _told(found)

    def reseal(self, value: Value, nested: bool = False) -> tuple[Value, list[str]]:
        """The value with all that the old key opens under the new one, and the rest as it is; with the verdicts on what it was."""
        found: list[str] = []
        if isinstance(value, list):
            return [self._reseal(each, nested, found) for each in value], _told(found)
        return self._reseal(value, nested, found), _told(found)

    def _reseal(self, text: str | None, nested: bool, found: list[str]) -> str | None:
        verdict, plain = self._look(text)
        found.append(verdict)
        if nested and verdict in (OLD, NEW):
            inner = [self._inner(match) for match in _INNERMOST.finditer(plain)]
            found += [each for _text, each in inner]
            texts = iter(inner)
            whole = _INNERMOST.sub(lambda _match: next(texts)[0], plain)
            if whole != plain:
                verdict, plain = OLD, whole
        return self.new.seal(plain) if verdict == OLD else text

    def try_keys(self, data: bytes, iv: str, tag: str) -> tuple[str, bytes]:
        """Which key opens it, and the plaintext. Values come in long runs of the same key, so the one that opened the last is tried first."""
        for verdict, cipher in self._order:
            plain = cipher.decrypt(data, iv, tag)
            if plain is not None:
                if verdict != self._order[0][0]:
                    self._order = self._order[::-1]
                return verdict, plain
        return NEITHER, b""

    def _look(self, text: str | None) -> tuple[str, bytes]:
        if not text:
            return PLAIN, b""
        parts = _parts(text)
        if parts:
            return self.try_keys(*parts)
        return NEITHER if _looks_sealed(text) else PLAIN, b""

    def _inner(self, match: Match[bytes]) -> tuple[bytes, str]:
        """What takes the place of an object inside a plaintext, if it may be a text of its own, and the verdict on it."""
        raw = match.group()
        text = raw.decode("utf-8", "surrogateescape")
        if '\\"' in text:
            try:
                text = json.loads('"%s"' % text)
            except ValueError:
                return raw, PLAIN
        verdict, plain = self._look(text)
        if verdict != OLD:
            return raw, verdict
        sealed = self.new.seal(plain)
        return (json.dumps(sealed)[1:-1] if b'\\"' in raw else sealed).encode("ascii"), verdict


def parts_of(value: Value) -> list[Parts | None]:
    """The parts of each sealed value in it; C(None) for one that no key can open."""
    found: list[Parts | None] = []
    for text in _elements(value):
        parts = _parts(text) if text else None
        if parts and (len(parts[1]), len(parts[2])) != (2 * _IV, 2 * _TAG):
            found.append(None)
        elif text and (parts or _looks_sealed(text)):
            found.append(parts)
    return found


def _told(verdicts: Sequence[str]) -> list[str]:
    return [verdict for verdict in verdicts if verdict != PLAIN] or [PLAIN]


def _elements(value: Value) -> Sequence[str | None]:
    return value if isinstance(value, list) else [value]


def _looks_sealed(text: str) -> bool:
    return _BEGINNING.match(text) is not None or _fields(text).keys() >= {"data", "iv", "tag"}


def _fields(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text.lstrip()[:1] == "{" else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parts(sealed: str) -> Parts | None:
    """Ciphertext, IV and tag, where Appwrite's reader would look for the key of version 1."""
    usual = _USUAL.fullmatch(sealed)
    if usual:
        data, iv, tag = usual.groups()
        data = data.replace("\\/", "/")
        if "\\" not in data:
            return data.encode("ascii"), iv, tag
    fields = _fields(sealed)
    data, iv, tag = fields.get("data"), fields.get("iv"), fields.get("tag")
    if not (isinstance(data, str) and isinstance(iv, str) and isinstance(tag, str)):
        return None
    if fields.get("method") != METHOD or str(fields.get("version")) != VERSION or not (data + iv + tag).isascii():
        return None
    return data.encode("ascii"), iv, tag
