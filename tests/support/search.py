# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a secret is looked for in a text: whole or in pieces, in every usual spelling."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
import urllib.parse
import zlib
from collections.abc import Callable, Iterable, Iterator

PIECE = 8
"""Characters of a secret that are one, too. Fixture secrets are made of parts that no ordinary text has."""


def _dotenv(text: str) -> str:
    return re.sub(r'([\\"$])', r"\\\1", text)


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _raw_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _python(text: str) -> str:
    return text.encode("unicode_escape").decode()


def _octal(text: str) -> str:
    """As strace, and the shell's $'…'."""
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\{byte:o}" for byte in _raw_json(text).encode())


def _percent(safe: str) -> Callable[[str], str]:
    return lambda text: urllib.parse.quote(text, safe=safe)


_ESCAPES: dict[str, Callable[[str], str]] = {
    "raw": str,
    "dotenv": _dotenv,
    "compose": lambda text: text.replace("$", "$$"),
    "json": _json,
    "utf-8 json": _raw_json,
    "python": _python,
    "python, single quotes": lambda text: _python(text).replace("'", "\\'"),
    "yaml": lambda text: text.replace("'", "''"),
    "shell": lambda text: text.replace("'", "'\"'\"'"),
    "shell, backslash": lambda text: text.replace("'", "'\\''"),
    "shell, word": lambda text: re.sub(r"([^\w@%+=:,./-])", r"\\\1", text, flags=re.ASCII),
    "octal": _octal,
    "url": _percent("/"),
    "url, strict": _percent(""),
    "form": urllib.parse.quote_plus,
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
}
_ONCE_MORE: dict[str, Callable[[str], str]] = {"": str, "json": _json, "xml": html.escape}
"""A message may be printed inside another one."""


def _base64(text: str) -> Iterator[str]:
    """What is in the encoding of whatever holds the text, wherever it stands in that."""
    data = text.encode()
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(data)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + data).decode()[first:last]


@functools.cache
def forms(piece: str) -> frozenset[str]:
    """A text as programs print it."""
    spelt = {again(escape(piece)) for escape in _ESCAPES.values() for again in _ONCE_MORE.values()}
    return frozenset(spelt.union(_base64(piece) if len(piece) >= PIECE else ()))


@functools.cache
def pieces(secret: str) -> frozenset[str]:
    """Every form of every piece."""
    windows = {secret[start : start + PIECE] for start in range(max(1, len(secret) - PIECE + 1))}
    return frozenset(form for window in windows for form in forms(window))


@functools.cache
def fast_hashes(secret: str) -> frozenset[str]:
    """The first eight digits of what is quickly made from a secret, and so quickly searched through."""
    data = secret.encode()
    digests = [
        hashlib.new(name, data).hexdigest()
        for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")
    ]
    return frozenset(digest[:PIECE] for digest in (*digests, f"{zlib.crc32(data):08x}", f"{zlib.adler32(data):08x}"))


class Search:
    """Finds any of many texts in one pass."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self._starts: dict[str, set[str]] = {}
        self._short = set()
        for text in wanted:
            if len(text) < PIECE:
                self._short.add(text)
            else:
                self._starts.setdefault(text[:PIECE], set()).add(text)
        self.count = len(self._short) + sum(map(len, self._starts.values()))

    def __call__(self, text: str) -> list[str]:
        heads = {
            head for start in range(len(text) - PIECE + 1) if (head := text[start : start + PIECE]) in self._starts
        }
        return sorted(
            wanted
            for wanted in {*self._short, *(each for head in heads for each in self._starts[head])}
            if wanted in text
        )


@functools.lru_cache(maxsize=64)
def search(secrets: frozenset[str]) -> Search:
    return Search({piece for secret in secrets for piece in pieces(secret)})


def hashes_in(text: str, secrets: Iterable[str]) -> list[str]:
    words = {word[:PIECE].lower() for word in re.findall(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8,}", text)}
    return sorted(words & {digits for secret in secrets for digits in fast_hashes(secret)})
