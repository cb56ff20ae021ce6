# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What templates, guides and hurried hands put in the place of a secret: "change me", "your secret here", a keyboard's row. Pure.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Callable, Iterable

_WORDS = frozenset(
    """
    a above abc access account admin administrator ae aes after all an and any api app application apps appwrite are as at auth
    authentication aw backend bar base baz be below bit bits byte bytes by certificate change changed changeit changeme char
    character characters chars cipher click client code complex config configure console container cookie credential credentials
    crypto custom data database db default demo deploy development dev digits do docker domain dont dummy edit email enc encrypt
    encryption end enter env environment etc example executor file fill fix fixme foo for from func function functions gen generate
    generated generator geo go goes hash hello here hex hidden home host id in insecure insert install installation instance into
    is it jobs jwt keep key keyhere keys length letmein letters local localhost long lorem ipsum mail main make mariadb master me
    min mongo mongodb must my mysql name need needs new no none not notasecret notification notifications now null number of on one
    only openssl option or our own owner pass passphrase passwd password passwords paste path phrase place placeholder please
    postgres postgresql private prod production project provide public put pw pwd quick rand random randomly redacted redis
    remove replace replaced replaceme required root run runtime safe salt sample secret secretkey secrets secure security seed self
    selfhost selfhosted server service session set setup sha shared should sign signing site some something source staging storage
    store string strong super supersecret symbols system tbd temp template temporary test testing text that the then this three to
    todo token tokens true two type undefined unique unsafe unset update usage use used user username value var variable vault
    very web github gitea gitlab webhook webhooks welcome what with word words world write yes you your yours
    dragon monkey football baseball master sunshine princess iloveyou trustno shadow superman batman hunter summer winter spring
    autumn january february march april may june july august september october november december monday friday love
    correct horse battery staple
    """.split()
)
"""Lower case. A text that is nothing but these, put together in whatever way, was not drawn at random."""
_TELLTALES = re.compile(
    "chang|your|here|secret|password|passwd|passphrase|example|placeholder|replac|redact|todo|tbd|fixme|random|default|dummy|test"
    "|sample|insert|generat|lorem|letmein|welcome|admin|insecure|hello|foobar|demo|insecure|correcthorse|iloveyou"
    "|dragon|monkey|football|baseball|sunshine|princess|superman|batman"
)
"""A text of words alone may be a phrase of somebody's own. One of these, and it says of itself that it is none."""
_ROWS = (
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1234567890" * 2,
)
_COUNTED = (string.ascii_lowercase, string.digits * 2, "0123456789abcdef" * 2)
_NAME = re.compile(r"<[\w -]+>|\$\{\w+\}|\$[A-Z_]{4,}|_APP_[A-Z0-9_]+")
"""Of a variable, or of what is to be put there."""
_NUMBER = re.compile("v1|16|24|32|48|64|128|256|512|19[0-9][0-9]|20[0-9][0-9]")
_LEET = str.maketrans("013457@$!", "oleastasi")
_SEPARATORS = re.compile(r"[\W_]+")
_LONGEST_WORD = max(map(len, _WORDS))
_LIMIT = 512


def is_word(text: str) -> bool:
    """Whether a text is one of the words that any message may have."""
    return text.lower() in _WORDS


@lru_cache(maxsize=256)
def is_placeholder(value: str) -> bool:
    """Whether a text stands in the place of a secret: words of the kind that templates have, one of which gives it away, or runs of
    the keyboard, in whatever case and with whatever between them.

    No key that is drawn at random from a usual alphabet is one, if it is as long as Appwrite's cipher needs: 16 characters.
    """
    if value.lstrip().startswith("#"):
        return False  # a comment that compose reads as the value, and that its author may never have seen in force
    if _NAME.fullmatch(value.strip()):
        return True
    bare = _SEPARATORS.sub("", value.lower())[:_LIMIT]
    if not bare:
        return bool(value.strip())
    spellings = {bare, _SEPARATORS.sub("", value.lower().translate(_LEET))[:_LIMIT]}
    spellings |= {text.rstrip(string.digits) for text in spellings} - {""}
    return any(
        set(text) == {"x"} or _is_made_of(text, _keyboard) or _TELLTALES.search(text) and _is_made_of(text, _pieces)
        for text in spellings
    )


def _is_made_of(text: str, pieces: Callable[[str], set[int]]) -> bool:
    ends = {0}
    for start in range(len(text)):
        if start in ends:
            ends |= {start + length for length in pieces(text[start:])}
    return len(text) in ends


def _runs(text: str, runs: Iterable[str], shortest: int) -> set[int]:
    """The lengths of the runs, forwards or backwards and of so many characters at least, that a text begins with."""
    found: set[int] = set()
    for run in runs:
        for direction in (run, run[::-1]):
            if len(text) >= shortest and text[:shortest] in direction:
                longest = next(size for size in range(min(len(text), len(run)), 0, -1) if text[:size] in direction)
                found |= set(range(shortest, longest + 1))
    return found


def _keyboard(text: str) -> set[int]:
    return _runs(text, _ROWS, 4)


def _pieces(text: str) -> set[int]:
    """The lengths of the words, runs, repetitions and numbers that a text begins with."""
    found = {length for length in range(1, min(len(text), _LONGEST_WORD) + 1) if text[:length] in _WORDS}
    found |= set(range(3, len(text) - len(text.lstrip(text[0])) + 1))
    return found | _runs(text, _ROWS + _COUNTED, 3) | {match.end() for match in [_NUMBER.match(text)] if match}
