# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a row says of its file, and which key opens that, wherever files are.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, ContextManager, Iterable, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import words
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    METHOD,
    NEITHER,
    PLAIN,
    VERSION,
    Exchange,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Look, Row

LARGEST = 28_000_000
"""Appwrite seals files of up to 20,000,000 bytes; this is their base64 text, and some room for what compresses badly."""
MISSING = "it is missing"
TOO_LARGE = "it is larger than anything that Appwrite seals"


class Unusable(Exception):
    """There is no such file, or not where files are."""


class SealedFiles(ABC):
    """A C(model.StoredFiles)."""

    def look(self, row: Row, exchange: Exchange) -> Look:
        return self._open(row, exchange)[0]

    def each(self, work: Callable[[Any], Any], those: Sequence[Any]) -> Iterable[Any]:
        """As C(model.StoredFiles) has it, one after another."""
        return map(work, those)

    @abstractmethod
    def doubt(self, row: Row) -> str:
        """As C(model.StoredFiles) has it."""

    @abstractmethod
    def _read(self, path: str) -> tuple[bytes, Any]:
        """All of a file, and what a successor takes over from it. Raises Unusable."""

    def _open(self, row: Row, exchange: Exchange) -> tuple[Look, bytes, Any]:
        """How a file looks, and if a key opens it the plaintext, and what a successor takes over from it."""
        values = row.values
        if not values["openSSLCipher"] or values["chunksTotal"] != values["chunksUploaded"]:
            return Look(PLAIN), b"", None
        try:
            text, status = self._read(text_of(row, "path"))
        except Unusable as problem:
            return Look(NEITHER, reason=str(problem)), b"", None
        size = len(text)
        if (values["openSSLCipher"], values["openSSLVersion"]) != (METHOD, VERSION):
            return Look(NEITHER, size, "it is sealed in another way"), b"", None
        verdict, plain = exchange.try_keys(text, text_of(row, "openSSLIV"), text_of(row, "openSSLTag"))
        return Look(verdict, size, "no key opens it" if verdict == NEITHER else ""), plain, status


def text_of(row: Row, name: str) -> str:
    value = row.values[name]
    return value if isinstance(value, str) else ""


def words_of(path: str, done: str) -> ContextManager[None]:
    """C(_errors.words) for a file as its row, or we, name it."""
    return words("file %s" % path, done)
