# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""Settings: one file per wish. Each has C(OPTIONS), an argument spec, and C(plan(installation, options)), a pure function."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import Callable, Collection, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import Key, same_cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

ALPHABET = string.ascii_letters + string.digits
"""Of what is made up here: nothing that a DSN, a shell or C(.env) would read otherwise."""


def generate(length: int) -> str:
    """From the system's cryptographic generator."""
    return "".join(secrets.choice(ALPHABET) for _unused in range(length))


class Refusal(AppwriteError):
    """The wish cannot be granted safely; the message says what was found, why it stops and what to do."""


@dataclass(frozen=True)
class Evidence:
    """Whether an installation holds data, and how that is known."""

    state: str
    """V(yes), V(no) or V(unknown)"""
    reason: str
    never_started: bool = False
    """not even the database has been created, so its own credentials are free too"""
    remedy: str = "Start the database alone, wait until it answers, and run again"
    """what to do if it is V(unknown)"""
    stopped: str = ""
    """the service of the database, if it is V(unknown) since that does not run"""
    starting: str = ""
    """the service of the database, if it is V(unknown) since that runs but does not answer, or not yet"""
    elsewhere: bool = False
    """whether it is V(unknown) since the database is no service of the project: nothing here reaches it, so nothing here has sealed anything in it anew"""


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
    """What the proxy of the project publishes, as far as HTTPS is concerned. C(None) if there is no proxy to look at."""

    ports: Mapping[int, int]
    """container port to host port"""
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Installation:
    """What a setting may know: plain values, and questions that are only asked if the answer matters."""

    release: str
    values: Mapping[str, str]
    """what C(.env) says now, as compose reads it"""
    holds_data: Callable[[], Evidence]
    container_keys: Callable[[], Mapping[str, tuple[str, ...]]]
    """encryption key to the services whose containers were created with it; the empty string if they have none"""
    opens: Callable[[Sequence[str]], Opening]
    """tries keys on a sample of what is stored; raises AppwriteError if that cannot be done"""
    published: Published | None = None
    exists: bool = True
    """whether there is a C(.env) at all"""
    databases: tuple[str, ...] = ()
    """the database services of the project"""
    directory: str = ""
    """of the project"""
    given_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """encryption key to the services that the project as it is written would start with it"""
    names: Callable[[], Collection[str]] = frozenset
    """the variables that the project itself looks up, and those of the file that is there"""
    passed: Callable[[str], bool] = lambda _name: True
    """whether the project hands a variable to any service"""


@dataclass
class Plan:
    """What a setting wants: the values that must be in force afterwards (C(None) for no such variable)."""

    changes: dict[str, str | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    key: Key | None = None
    content: str | None = None
    """a whole new file, in which C(changes) are then made"""
    kept: dict[str, str | None] = field(default_factory=dict)
    """what of the old file outlives C(content); another setting may still change it"""
    optional: set[str] = field(default_factory=set)
    """those of C(changes) that nobody asked for: what cannot be had is left out with a note, and refused if it was asked for"""
