# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are taken out of what programs print before anybody sees it.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode, urlsafe_b64encode
from typing import Callable, Iterable
from urllib.parse import quote, quote_plus

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.placeholder import is_word

_MASKED = 4
"""A shorter text is no secret, and to mask it would make every message unreadable."""
_PIECE = 8
"""So many characters of a secret are one, too."""


class Mask:
    """Replaces every known secret in free text, and every piece of one: programs shorten and wrap what they print.

    A piece that is a common word, or a part of what the project itself is made of, is no secret and stays, so that names can be read.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._names: set[str] = set()
        self._starts: dict[str, set[str]] | None = None
        self._called: Callable[[], Iterable[str]] = tuple
        self._lock = threading.Lock()

    def spare(self, called: Callable[[], Iterable[str]]) -> None:
        """called: gives the names that the project has for its parts. It is asked if something is masked."""
        with self._lock:
            self._called, self._starts = called, None

    def add(self, secrets: Iterable[str], names: Iterable[str] = ()) -> None:
        """C(names) are variables that a secret seems to refer to: pieces of it, which compose prints in quotation marks."""
        with self._lock:
            self._names |= {form for name in names for form in ('"%s"' % name, '\\"%s\\"' % name)}
            self._secrets |= {part for secret in secrets for part in [secret, secret.strip()] + secret.splitlines()}
            self._starts = None

    def __call__(self, text: str) -> str:
        starts = self._known()
        shown, end = [], 0
        for start, character in enumerate(text):
            found = [
                len(piece) for piece in starts.get(text[start : start + _MASKED], ()) if text.startswith(piece, start)
            ]
            if start >= end:
                shown.append("********" if found else character)
            end = max([end] + [start + length for length in found])
        return "".join(shown)

    def _known(self) -> dict[str, set[str]]:
        """The first characters of each piece to the pieces."""
        with self._lock:
            if self._starts is None:
                self._starts, called = {}, "\n".join(self._called()).lower()
                for piece in self._names.union(*(_pieces(secret) for secret in self._secrets if not is_word(secret))):
                    if len(piece) >= _MASKED and not is_word(piece) and piece.lower() not in called:
                        self._starts.setdefault(piece[:_MASKED], set()).add(piece)
            return self._starts


def _pieces(text: str) -> set[str]:
    found: set[str] = set()
    for start in range(max(1, len(text) - _PIECE + 1)):
        found |= _spellings(text[start : start + _PIECE])
    return found


def _spellings(text: str) -> set[str]:
    """A text as compose, the engine and what runs in containers may print it."""
    data = text.encode("utf-8", "surrogateescape")
    written = text.replace("\\", "\\\\").replace('"', '\\"')
    found = {
        text,
        text.replace("$", "$$"),
        written.replace("$", "\\$"),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        json.dumps(written.replace("$", "\\$"))[1:-1],
        text.replace("\\", "\\\\").replace("'", "\\'"),
        quote(data),
        quote(data, safe=""),
        quote_plus(data),
    }
    if len(text) >= _PIECE:
        for before in range(3):
            first, last = -(-8 * before // 6), 8 * (before + len(data)) // 6
            found |= {
                encode(bytes(before) + data).decode("ascii")[first:last] for encode in (b64encode, urlsafe_b64encode)
            }
    return found
