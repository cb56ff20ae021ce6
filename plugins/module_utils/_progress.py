# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How somebody is told what is being done.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Iterable, Protocol

_NAMED = 3


class Tell(Protocol):
    """Is told what is being done, as often as one likes.

    waiting: what is waited for, in words: services, a queue. Of what is longer than 200 characters the rest is cut off.
    """

    def __call__(self, phase: str, done: int, total: int, waiting: str = "") -> None:
        """phase is one word. total is 0 if nobody knows it."""


def _nobody(phase: str, done: int, total: int, waiting: str = "") -> None:
    """Tells nobody."""


SILENT: Tell = _nobody


def some_of(names: Iterable[str]) -> str:
    """The first ones by name, and how many more there are."""
    found = sorted(set(names))
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (" and %d more" % more if more > 0 else "")
