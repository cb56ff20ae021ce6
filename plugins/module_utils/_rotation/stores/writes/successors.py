# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of Appwrite's buckets on the managed host, sealed anew, each beside the old one.

Only who seals everything anew reaches this; whoever reads has C(files).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.files import Files, parts_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import Unusable, words_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.sealing import (
    LONGEST_NAME,
    Sealing,
    successor_of,
)


class Successors(Sealing, Files):
    """C(model.WritableFiles) of the local volume."""

    def __init__(self, root: str, journal: int, name: str) -> None:
        Files.__init__(self, root)
        Sealing.__init__(self, journal, name)

    def remove(self, path: str, before: float | None = None) -> None:
        with words_of(path, "removed"), suppress(FileNotFoundError, Unusable), self._place(path) as (directory, name):
            if before is None or os.stat(name, dir_fd=directory, follow_symlinks=False).st_ctime < before:
                _files.remove(directory, name)
                _files.sync(directory)

    def _try(self, directory: int, name: bytes) -> None:
        """By a file that is made and is gone again."""
        like = os.stat(name, dir_fd=directory, follow_symlinks=False)
        with _files.nameless(directory) as handle:
            _files.write(handle, b"\0")
            _dress(handle, like)

    def _successor(self, path: str) -> str:
        with words_of(path, "read"), self._place(path) as (directory, _name):
            return successor_of(path, min(LONGEST_NAME, os.fpathconf(directory, "PC_NAME_MAX")))

    def _write(self, path: str, text: bytes, like: os.stat_result) -> None:
        """A new file with another's owner and mode, on disk when this returns."""
        with words_of(path, "written"), self._place(path) as (directory, name):
            with _files.made(directory, name) as handle:
                _files.write(handle, text)
                _dress(handle, like)
            _files.sync(directory)

    def _signature(self, status: os.stat_result) -> list[int]:
        """Also if somebody puts another file in its place."""
        return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]

    def _stands(self, path: str, signature: Any) -> bool:
        """Nothing is opened, and a link on the way leads to this very file or to another, so that one step does, of which there may be millions."""
        status = os.stat(b"/".join(parts_of(path)), dir_fd=self._root, follow_symlinks=False)
        return self._signature(status) == signature


def _dress(handle: int, like: os.stat_result) -> None:
    """Gives an open file the owner and mode of another."""
    _files.dress(handle, like)
    os.fchmod(handle, stat.S_IMODE(like.st_mode))
