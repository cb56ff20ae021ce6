# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key is the old one, the new one and the pending one, and who is told which: by what the escrow holds and what the host says.

Tables alone. The actions C(security) and C(rekey) gather the facts, and carry out what the first row says whose facts are these.
This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    CIPHER_BYTES,
    is_public,
    same_cipher,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import LOCKING


class Do(Enum):
    """What an action carries out."""

    REFUSE = auto()
    GO_ON = auto()
    ADOPT = auto()
    """Put the host's key in force in the escrow, with the one before as history, and look again."""
    REPORT = auto()
    """As ADOPT, and end: what was asked for has been done."""
    TRY = auto()
    """Ask the host whether its key opens what is stored, and look again."""

    GO_BACK = auto()
    FORGET_AND_GO_BACK = auto()
    TAKE_NOTED = auto()
    TAKE_PENDING = auto()
    GENERATE = auto()
    LENGTHEN = auto()
    """Generate all but the bytes that AES uses."""

    PROMOTE = auto()
    """Put the new key in force in the escrow."""
    GIVE_UP = auto()
    """Keep the new key as history that was never in force."""
    DISCARD = auto()
    LEAVE = auto()

    SECURE = auto()
    """Secure the host without an escrow."""
    SECURE_AND_WARN = auto()
    OPEN = auto()
    FORESEE = auto()
    LEARN = auto()
    """Ask the host in check mode which key it has, or would get."""
    GIVE = auto()
    """Tell the host the key of the escrow, which it puts back if it has none."""
    SAVE_AND_CONFIRM = auto()
    """Save the host's key, then tell it the key as the one that it has to have."""
    SAVE_AND_GIVE = auto()
    """Save the host's key, then tell it the key as that of the escrow."""
    PASS_ON = auto()


class Place(Enum):
    """Where the key that the host has is in the escrow."""

    IN_FORCE = auto()
    PENDING = auto()
    HISTORY = auto()
    NOWHERE = auto()


class Opens(Enum):
    """Whether the host's key opens what is stored there."""

    UNASKED = auto()
    YES = auto()
    NO = auto()
    UNTRIED = auto()
    """The host could not find out."""


class File(Enum):
    """What there is of an escrow file."""

    UNWANTED = auto()
    UNNAMED = auto()
    NO_SECRET = auto()
    """There is neither a file nor a vault secret to write one with."""
    AT_HAND = auto()


class Ended(Enum):
    """How a run of the rotation on the host ended."""

    ABORTED = auto()
    REFUSED = auto()
    """before the host noted the new key"""
    FINISHED = auto()
    FAILED = auto()
    UNFINISHED = auto()


class Row(NamedTuple):
    """What to do if the facts are these, in the order of the table's columns. C(...) stands for any."""

    facts: tuple[Any, ...]
    do: Do
    why: str
    refusal: str = ""
    """The message, with what C(%) fills in, of REFUSE."""


class Keys(Protocol):
    """What an escrow holds."""

    @property
    def key(self) -> str | None: ...

    @property
    def others(self) -> list[str]: ...

    @property
    def pending(self) -> str | None: ...


class State(NamedTuple):
    """What the host says, without having looked at any data."""

    phase: str
    key: str
    """that what is stored was sealed with before the rotation"""
    new: str | None
    """that the journal of a rotation names"""


OLD_KEY = (
    # under way, the host's key is, the escrow has one in force, the host's is public, the new one is in the escrow, opens, the run that ended was this one
    Row(
        (False, Place.PENDING, ..., ..., ..., ..., True),
        Do.REPORT,
        "The last run ended on the host, and was cut off from here.",
    ),
    Row(
        (False, Place.PENDING, ..., ..., ..., ..., False),
        Do.ADOPT,
        "The same, but something else is asked for now, which comes next.",
    ),
    Row((False, Place.IN_FORCE, ..., ..., ..., ..., ...), Do.GO_ON, "Both agree."),
    Row((..., ..., False, True, ..., ..., ...), Do.GO_ON, "Nobody has to keep a key that the whole world knows."),
    Row(
        (..., ..., False, False, ..., ..., ...),
        Do.ADOPT,
        "It is the first key in the escrow, or the first since the controller was lost.",
    ),
    Row(
        (True, Place.NOWHERE, True, False, False, ..., ...),
        Do.REFUSE,
        "Another controller has begun this, and it alone has both keys.",
        "escrow_file: a rotation is unfinished on the host, from the key with %(host_key)s to the one with %(host_new)s, and %(file)s holds neither. "
        "Run this on the controller where it was begun, or with that controller's escrow file. Nothing was changed",
    ),
    Row(
        (True, ..., True, ..., ..., ..., ...),
        Do.GO_ON,
        "It was begun with this escrow. The journal says which key seals the data, and it is the better source.",
    ),
    Row(
        (False, ..., True, ..., ..., Opens.UNASKED, ...),
        Do.TRY,
        "They disagree while no rotation is under way, and only the data can tell which is right.",
    ),
    Row(
        (False, Place.HISTORY, True, ..., ..., Opens.YES, ...),
        Do.ADOPT,
        "The machine was put back to a time before an earlier rotation.",
    ),
    Row(
        (False, ..., True, ..., ..., Opens.YES, ...),
        Do.REFUSE,
        "A key that only the host has is saved only if somebody passes it.",
        "escrow_file: %(file)s holds another key (%(escrow_key)s) than the one in force (%(host_key)s), and the one in force opens what is stored. Run "
        "selfhost.appwrite.secure with that key as appwrite_security_encryption_key, which saves it, and rotate then. Nothing was changed",
    ),
    Row(
        (False, ..., True, ..., ..., Opens.NO, ...),
        Do.REFUSE,
        "The host has a wrong key, which no rotation may begin from.",
        "escrow_file: %(file)s holds another key (%(escrow_key)s) than the one in force (%(host_key)s), and the one in force opens nothing of what is stored. "
        "Remove the line of _APP_OPENSSL_KEY_V1 from .env and run selfhost.appwrite.secure, which tries the escrow's keys. Nothing was changed",
    ),
    Row(
        (False, ..., True, ..., ..., Opens.UNTRIED, ...),
        Do.REFUSE,
        "Nothing can tell which key is right.",
        "escrow_file: %(file)s holds another key (%(escrow_key)s) than the one in force (%(host_key)s), and neither could be tried (%(trouble)s). Start the "
        "database, and run again. Nothing was changed",
    ),
)

NEW_KEY = (
    # tokens, abort, the host's key is longer than what AES uses and no public one, the journal is empty, it names a new key, the pending key is of this scope
    Row(
        (True, True, ..., ..., ..., ...),
        Do.REFUSE,
        "The tokens' key changes in one step, which has no middle.",
        "scope: a rotation with `scope`: tokens is one step, which cannot be aborted; leave `abort` out. Nothing was changed",
    ),
    Row(
        (True, False, False, ..., ..., ...),
        Do.REFUSE,
        "There is nothing to change that data does not depend on, or nothing that is secret.",
        "scope: no part of the key in force can change without the data; rotate the whole key with `scope`: values. Nothing was changed",
    ),
    Row(
        (False, True, ..., True, ..., ...), Do.FORGET_AND_GO_BACK, "No host was told the pending key, or it refused it."
    ),
    Row((False, True, ..., False, ..., ...), Do.GO_BACK, "The journal says how to go on."),
    Row(
        (False, False, ..., ..., True, ...),
        Do.TAKE_NOTED,
        "The host takes no other key until this rotation has ended, whichever controller began it.",
    ),
    Row(
        (..., False, ..., ..., ..., True),
        Do.TAKE_PENDING,
        "A run that was cut off may have told the host this key, and data may be under it.",
    ),
    Row((False, False, ..., ..., False, False), Do.GENERATE, "A new rotation begins."),
    Row(
        (True, False, True, ..., ..., False),
        Do.LENGTHEN,
        "A new rotation begins, which leaves the part of the key that data is under as it is.",
    ),
)

ROTATED = (
    # abort, tokens, how it ended, the new key was not in the escrow before
    Row(
        (..., ..., Ended.ABORTED, ...),
        Do.GIVE_UP,
        "The new key was never in force, but a backup of meanwhile may need it.",
    ),
    Row((True, ..., ..., ...), Do.LEAVE, "It did not go back, so the journal still says which keys there are."),
    Row((False, ..., Ended.REFUSED, True), Do.DISCARD, "No host was told this key."),
    Row((False, ..., Ended.REFUSED, False), Do.LEAVE, "An earlier run may have told the host this key."),
    Row((False, ..., Ended.FINISHED, ...), Do.PROMOTE, "All data was opened with the new key."),
    Row(
        (False, True, Ended.UNFINISHED, ...),
        Do.PROMOTE,
        "The new key stands in .env, and all data opens with it as with the old one.",
    ),
    Row(
        (False, ..., ..., ...),
        Do.LEAVE,
        "Data may be under either key: the new one stays pending, until the host says that it has ended.",
    ),
)

ESCROW = (
    # escrow=required, the file is, the hosts of a cluster would each get a key of its own
    Row(
        (True, File.UNNAMED, ...),
        Do.REFUSE,
        "Without a file there is none to keep the key in.",
        "escrow_file: is missing; name a file on the controller, or leave `escrow` out",
    ),
    Row(
        (..., File.UNWANTED, True),
        Do.REFUSE,
        "They could not read each other's data.",
        "cluster: its hosts need one key, and without an escrow each would get one of its own; or pass the key. Nothing was changed",
    ),
    Row(
        (..., File.UNNAMED, True),
        Do.REFUSE,
        "They could not read each other's data.",
        "cluster: its hosts need one key, and without `escrow_file` each would get one of its own; name the file, or pass the key. Nothing was changed",
    ),
    Row((..., File.UNWANTED, False), Do.SECURE, "It was turned off."),
    Row((False, File.UNNAMED, False), Do.SECURE, "Nobody asked for an escrow."),
    Row(
        (True, File.NO_SECRET, ...),
        Do.REFUSE,
        "It was asked for in any case.",
        "escrow: %(missing)s. Nothing was changed",
    ),
    Row(
        (False, File.NO_SECRET, True),
        Do.REFUSE,
        "They could not read each other's data.",
        "cluster: its hosts need one key, and %(missing)s; or pass the key. Nothing was changed",
    ),
    Row(
        (False, File.NO_SECRET, False),
        Do.SECURE_AND_WARN,
        "A .env that is safe in every other respect is better than none.",
    ),
    Row(
        (..., File.AT_HAND, ...),
        Do.OPEN,
        "Also without a vault secret if there is a file: it may hold the key that is missing on the host.",
    ),
)

ESCROWED_KEY = (
    # another safe's key is not the one in force, the key that is to be in force is there, check mode
    Row(
        (True, ..., ...),
        Do.REFUSE,
        "Two safes that disagree cannot both be right.",
        "encryption_key.escrowed: is another key (%(safe_key)s) than the one in the escrow file %(file)s (%(escrow_key)s). Use only one of the two safes: set "
        "`escrow` to off, or leave `escrowed` out. Nothing was changed",
    ),
    Row((False, True, ...), Do.GIVE, "There is nothing to save, so one task on the host will do."),
    Row((False, False, True), Do.FORESEE, "Nothing may be saved, but it can be said what would be."),
    Row((False, False, False), Do.LEARN, "The key has to be here before the host has it."),
)

LEARNED_KEY = (
    # the host refused, it has or would get a key that is not public, the escrow has another one in force, the host has the key already
    Row((True, ..., ..., ...), Do.PASS_ON, "Nothing would be changed, so there is nothing to save."),
    Row((False, False, ..., ...), Do.SECURE, "A public default is not worth saving, and could never be put back."),
    Row(
        (False, True, True, False),
        Do.REFUSE,
        "Neither the host nor the escrow confirms the key that was passed, and it may be a mistake.",
        "key: the escrow %(file)s holds another key (%(escrow_key)s) than the one that was passed (%(host_key)s), and the host has neither. "
        "Leave `key` out, or move the escrow file away if it belongs to another installation. Nothing was changed",
    ),
    Row(
        (False, True, ..., True), Do.SAVE_AND_CONFIRM, "The host has it; should it have another one by now, it refuses."
    ),
    Row(
        (False, True, False, False),
        Do.SAVE_AND_GIVE,
        "From now on the escrow says which key it is, also if this is cut off before the host has it.",
    ),
)


def decide(table: tuple[Row, ...], *facts: Any) -> Row:
    """The first row whose facts are these."""
    return next(
        row for row in table if all(wanted in (..., found) for wanted, found in zip(row.facts, facts, strict=True))
    )


def old_key(escrow: Keys, host: State, scope: str, abort: bool, opens: Opens) -> Row:
    """Of OLD_KEY: whether the escrow and the host agree on the key that a rotation goes from, and what follows if they do not."""
    place = (
        Place.IN_FORCE
        if host.key == escrow.key
        else Place.PENDING
        if host.key == escrow.pending
        else Place.HISTORY
        if host.key in escrow.others
        else Place.NOWHERE
    )
    return decide(
        OLD_KEY,
        host.phase in LOCKING,
        place,
        escrow.key is not None,
        is_public(host.key),
        host.new in escrow.others or host.new == escrow.key,
        opens,
        not abort and _is_of(scope, escrow.key or "", host.key),
    )


def new_key(escrow: Keys, host: State, scope: str, abort: bool) -> Row:
    """Of NEW_KEY: which key a rotation goes to, or whether it goes back."""
    has_tail = not is_public(host.key) and len(host.key.encode("utf-8", "surrogateescape")) > CIPHER_BYTES
    return decide(
        NEW_KEY,
        scope == "tokens",
        abort,
        has_tail,
        host.phase == "none",
        host.new is not None,
        escrow.pending is not None and _is_of(scope, host.key, escrow.pending),
    )


def _is_of(scope: str, old: str, new: str) -> bool:
    """Whether a rotation of this scope leads from one key to the other: that of the tokens leaves what data is under."""
    return same_cipher(old, new) == (scope == "tokens")
