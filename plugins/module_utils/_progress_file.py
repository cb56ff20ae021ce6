# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job in the background is, for whoever waits for it on the controller: C(plugin_utils/_watched.py) reads what is written here.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from contextlib import suppress

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files

_BEAT = 5.0
_OFTEN = 0.5
"""Seconds that lie between two writings at least"""
_LONGEST = 200
"""Characters of what is waited for."""


class Progress:
    """Tells it in a file that somebody else may read at any time: phase, done, total, how often it was written, and what is waited for, in one line.
    The file goes with the process.

    The fourth goes on rising while a step takes long, so that a run that has died can be told from one that is slow.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._said = "starting", 0, 0, ""
        self._beats = 0
        self._last = 0.0
        self._lock = threading.Lock()
        if path is not None:
            self._write()
            threading.Thread(target=self._beat, daemon=True).start()
            atexit.register(self._end)

    def __call__(self, phase: str, done: int, total: int, waiting: str = "") -> None:
        self._said = phase, done, total, waiting
        if self._path is not None and time.monotonic() - self._last >= _OFTEN:
            self._write()

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT)
            self._write()

    def _end(self) -> None:
        with self._lock, suppress(OSError):
            path, self._path = str(self._path), None
            os.unlink(path)

    def _write(self) -> None:
        with self._lock, suppress(OSError):  # a disk that is full may have room the next time
            path = self._path
            if path is None:
                return
            self._last = time.monotonic()
            self._beats += 1
            phase, done, total, waiting = self._said
            waiting = "".join(character if " " <= character <= "~" else "?" for character in waiting[:_LONGEST])
            line = ("%s %d %d %d %s" % (phase, done, total, self._beats, waiting)).rstrip().encode("ascii") + b"\n"
            with _files.beside(path) as (directory, name):
                _files.replace(directory, {name: line}, lasting=False)
