# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found out about an installation before anything is decided: whether it holds data, which key opens that, and what its proxy publishes.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import same_cipher


@dataclass(frozen=True)
class Evidence:
    """Whether an installation holds data, and how that is known."""

    state: str
    """V(yes), V(no) or V(unknown)"""
    reason: str
    never_started: bool = False
    """not even the database has been created, so its own credentials are free too"""
    remedy: str = "Start the database alone, wait until it answers, and run again"
    """what to do where it is V(unknown)"""
    stopped: str = ""
    """the service of the database, where it is V(unknown) since that does not run"""
    starting: str = ""
    """the service of the database, where it is V(unknown) since that runs but does not answer, or not yet"""
    elsewhere: bool = False
    """whether the database is no service of the project: Appwrite alone reaches it, so nothing here has sealed anything in it anew"""


@dataclass(frozen=True)
class Opening:
    """What each of several keys opens of a sample of the sealed values."""

    looked: int
    """how many values there are in the sample"""
    opened: Mapping[str, int]
    """key to how many of them it opens"""
    bygone: Sequence[str] = ()
    """those of the keys that nothing here has any more: what they open is left from before"""

    def proves(self, key: str) -> bool:
        """Whether this key opens some, and no other one does. What is bygone, or was sealed while there was no key, proves nothing against it."""
        return self.opened[key] > 0 and not any(
            count
            for other, count in self.opened.items()
            if other and other not in self.bygone and not same_cipher(other, key)
        )


@dataclass(frozen=True)
class Published:
    """What the proxy of the project publishes, as far as HTTPS is concerned. C(None) where there is no proxy to look at."""

    ports: Mapping[int, int]
    """container port to host port"""
    arguments: tuple[str, ...]
