# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation must know of each file, of which there may be millions: on the disk, with some 20 bytes of memory for each.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import os
import weakref
from array import array
from contextlib import ExitStack, suppress
from typing import Any, Callable, Hashable, Iterator, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import words

_PLACE = 40
"""bits of a place in the file"""
_BLOCK, _ONE = 1 << 16, 1 << 10
"""bytes that are read at a time: of all records, and of one"""


class Records:
    """Anything that JSON can say, found by its keys. They are in a file without a name, which goes with this, or in memory as soon as the disk refuses.

    directory: an open one. keys: of a record, as JSON gives it back. What reads them raises AppwriteError if the disk does not give them back.
    """

    def __init__(self, directory: int, keys: Callable[[Any], Sequence[Hashable]]) -> None:
        held = ExitStack()
        weakref.finalize(self, held.close)
        self._handle = -1
        with suppress(OSError):
            self._handle = held.enter_context(_files.nameless(directory))
        self._keys = keys
        self._refused: list[Any] = []
        """records that the disk did not take"""
        self._refused_by: dict[Hashable, Any] = {}
        self._end = self._full = 0
        self._slots = array("Q", bytes(8 << 10))
        """a hash table with open addresses: the place of a record and one more, and above that some bits of a key's hash"""

    def add(self, record: Any) -> None:
        line = json.dumps(record).encode("ascii") + b"\n"
        record = json.loads(line)
        keys = self._keys(record)
        if self._refused or not self._written(line):
            self._refused.append(record)
            self._refused_by.update((key, record) for key in keys)
            return
        if 2 * (self._full + len(keys)) > len(self._slots):
            self._slots = array("Q", bytes(16 * len(self._slots)))
            self._full = 0
            for place, each in self._placed():
                self._enter(place, self._keys(each))
        else:
            self._enter(self._end, keys)
        self._end += len(line)

    def _written(self, line: bytes) -> bool:
        try:
            _files.write(self._handle, line)
            return True
        except OSError:
            with suppress(OSError):  # what there is of it is in nobody's way behind the last whole one
                os.ftruncate(self._handle, self._end)
            return False

    def find(self, key: Hashable) -> Any:
        """The last record that has this key, C(None) if there is none."""
        if key in self._refused_by:
            return self._refused_by[key]
        found = None
        digest, slot = self._slot(key)
        while self._slots[slot]:
            if self._slots[slot] >> _PLACE == digest:
                record = self._at((self._slots[slot] & (1 << _PLACE) - 1) - 1)
                found = record if key in self._keys(record) else found
            slot = (slot + 1) % len(self._slots)
        return found

    def __contains__(self, key: Hashable) -> bool:
        return self.find(key) is not None

    def __iter__(self) -> Iterator[Any]:
        """In the order in which they were added."""
        yield from (record for _place, record in self._placed())
        yield from self._refused

    def _slot(self, key: Hashable) -> tuple[int, int]:
        number = hash(key) & (1 << 64) - 1
        return number >> _PLACE, number % len(self._slots)

    def _enter(self, place: int, keys: Sequence[Hashable]) -> None:
        for key in keys:
            digest, slot = self._slot(key)
            while self._slots[slot]:
                slot = (slot + 1) % len(self._slots)
            self._slots[slot] = digest << _PLACE | place + 1
        self._full += len(keys)

    def _placed(self) -> Iterator[tuple[int, Any]]:
        place, left = 0, b""
        while True:
            block = self._read(_BLOCK, place + len(left)) if self._handle >= 0 else b""
            if not block:
                return
            *lines, left = (left + block).split(b"\n")
            for line in lines:
                yield place, json.loads(line)
                place += len(line) + 1

    def _at(self, place: int) -> Any:
        size = _ONE
        while True:
            line, end, _more = self._read(size, place).partition(b"\n")
            if end:
                return json.loads(line)
            size *= 2

    def _read(self, size: int, place: int) -> bytes:
        with words("what was noted of the files, beside .env,", "read"):
            return os.pread(self._handle, size, place)
