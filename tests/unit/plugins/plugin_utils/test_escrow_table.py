# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from what the escrow holds and what the host says, row by row; each table answers every situation, and no row stands in vain."""

from __future__ import annotations

import itertools
import string
from types import SimpleNamespace

import pytest

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow_table import (
    ESCROW,
    ESCROWED_KEY,
    LEARNED_KEY,
    NEW_KEY,
    OLD_KEY,
    ROTATED,
    Do,
    Ended,
    File,
    Opens,
    Place,
    State,
    decide,
    new_key,
    old_key,
)

OLD, NEW, OTHER = ("%s-not-a-real-key-of-the-tests" % (letter * 16) for letter in ("aB3", "cD4", "eF5"))
TAIL = OLD[:16] + "-not-a-real-tail"
PUBLIC, SHORT = "your-secret-key", "16-bytes-unreal!"
BOTH = (True, False)
TABLES = {
    "old key": (OLD_KEY, (BOTH, Place, BOTH, BOTH, BOTH, Opens, BOTH)),
    "new key": (NEW_KEY, (BOTH,) * 6),
    "rotated": (ROTATED, (BOTH, BOTH, Ended, BOTH)),
    "escrow": (ESCROW, (BOTH, File, BOTH)),
    "escrowed key": (ESCROWED_KEY, (BOTH,) * 3),
    "learned key": (LEARNED_KEY, (BOTH,) * 4),
}


@pytest.mark.parametrize(("table", "columns"), TABLES.values(), ids=TABLES)
def test_every_situation_has_an_answer_and_every_row_a_situation(table, columns):
    assert {decide(table, *facts) for facts in itertools.product(*columns)} == set(table)


@pytest.mark.parametrize("row", [row for table, _columns in TABLES.values() for row in table], ids=lambda row: row.why)
def test_rows_have_reasons_and_refusals_words(row):
    assert row.why.endswith(".") and bool(row.refusal) == (row.do is Do.REFUSE)
    names = {
        name
        for _text, name, _spec, _conversion in string.Formatter().parse(
            row.refusal.replace("%(", "{").replace(")s", "}")
        )
        if name
    }
    assert names <= {"file", "escrow_key", "host_key", "host_new", "trouble", "missing", "safe_key"}
    assert "%" not in row.refusal % dict.fromkeys(names, "x") and row.refusal.partition(":")[0] in (
        "",
        "escrow_file",
        "scope",
        "cluster",
        "escrow",
        "encryption_key.escrowed",
        "key",
    )


def test_more_or_fewer_facts_than_columns():
    with pytest.raises(ValueError, match="argument"):
        decide(ESCROW, True, File.UNNAMED)


# --- the facts of a rotation ---


def held(*keys, pending=None):
    key = keys[0] if keys else None
    return SimpleNamespace(key=key, others=[*keys[1:], *([pending] if pending else [])], pending=pending)


RUNS = {
    "the last run was cut off from here": (held(OLD, pending=NEW), State("none", NEW, None), {}, Do.REPORT),
    "it was, with a public key before": (held(pending=NEW), State("none", NEW, None), {}, Do.REPORT),
    "it was, and the tokens are asked for now": (
        held(OLD, pending=NEW),
        State("none", NEW, None),
        {"scope": "tokens"},
        Do.ADOPT,
    ),
    "it was that of the tokens": (held(OLD, pending=TAIL), State("none", TAIL, None), {"scope": "tokens"}, Do.REPORT),
    "it was that of the tokens, and the values are asked for now": (
        held(OLD, pending=TAIL),
        State("none", TAIL, None),
        {},
        Do.ADOPT,
    ),
    "it was, and it is to go back": (held(OLD, pending=NEW), State("none", NEW, None), {"abort": True}, Do.ADOPT),
    "the pending key, while something is under way": (
        held(OLD, pending=NEW),
        State("guarded", NEW, OTHER),
        {},
        Do.GO_ON,
    ),
    "agreed": (held(OLD), State("none", OLD, None), {}, Do.GO_ON),
    "agreed, with a key noted": (held(OLD, pending=NEW), State("staged", OLD, NEW), {}, Do.GO_ON),
    "the first escrow": (held(), State("none", OLD, None), {}, Do.ADOPT),
    "the first escrow, of a public key": (held(), State("none", PUBLIC, None), {}, Do.GO_ON),
    "a new escrow, in the middle": (held(), State("sealed", OLD, NEW), {}, Do.ADOPT),
    "a new escrow, in the middle, from a public key": (held(), State("sealed", PUBLIC, NEW), {}, Do.GO_ON),
    "a key that was given up is all there is": (
        SimpleNamespace(key=None, others=[OLD], pending=None),
        State("none", OLD, None),
        {},
        Do.ADOPT,
    ),
    "in the middle, by another controller": (held(OTHER), State("sealed", OLD, NEW), {}, Do.REFUSE),
    "in the middle, by another controller, with no key noted": (
        held(OTHER),
        State("guarded", OLD, None),
        {},
        Do.REFUSE,
    ),
    "in the middle, to a key that is history": (held(OTHER, NEW), State("sealed", OLD, NEW), {}, Do.GO_ON),
    "in the middle, to the key in force": (held(NEW), State("written", OLD, NEW), {}, Do.GO_ON),
    "in the middle, from a public key": (held(OTHER), State("guarded", PUBLIC, NEW), {}, Do.GO_ON),
    "in the middle, from a key that is history": (held(NEW, OLD), State("sealed", OLD, OTHER), {}, Do.GO_ON),
    "another key": (held(OTHER), State("none", OLD, None), {}, Do.TRY),
    "another key that is history": (held(OTHER, OLD), State("none", OLD, None), {}, Do.TRY),
    "a public key again": (held(OTHER), State("none", PUBLIC, None), {}, Do.TRY),
    "another key, with a new one noted": (held(OTHER), State("staged", OLD, NEW), {}, Do.TRY),
    "another key, which opens": (held(OTHER), State("none", OLD, None), {"opens": Opens.YES}, Do.REFUSE),
    "another key, which opens nothing": (held(OTHER), State("none", OLD, None), {"opens": Opens.NO}, Do.REFUSE),
    "another key, which cannot be tried": (held(OTHER), State("none", OLD, None), {"opens": Opens.UNTRIED}, Do.REFUSE),
    "a key of before, which opens": (held(OTHER, OLD), State("none", OLD, None), {"opens": Opens.YES}, Do.ADOPT),
    "a key of before, which opens nothing": (
        held(OTHER, OLD),
        State("none", OLD, None),
        {"opens": Opens.NO},
        Do.REFUSE,
    ),
    "a key of before, which cannot be tried": (
        held(OTHER, OLD),
        State("none", OLD, None),
        {"opens": Opens.UNTRIED},
        Do.REFUSE,
    ),
}


@pytest.mark.parametrize(("escrow", "host", "asked", "do"), RUNS.values(), ids=RUNS)
def test_old_key(escrow, host, asked, do):
    assert old_key(escrow, host, **{"scope": "values", "abort": False, "opens": Opens.UNASKED, **asked}).do is do


def test_no_row_is_left_out():
    asked = {"scope": "values", "abort": False, "opens": Opens.UNASKED}
    assert {old_key(escrow, host, **{**asked, **more}) for escrow, host, more, _do in RUNS.values()} == set(OLD_KEY)
    assert {new_key(escrow, host, *more) for escrow, host, more, _do in WAYS.values()} == set(NEW_KEY)


@pytest.mark.parametrize(
    ("opens", "words"),
    [
        (Opens.YES, "opens what is stored. Run"),
        (Opens.NO, "opens nothing of what is stored. Remove the line"),
        (Opens.UNTRIED, "neither could be tried"),
    ],
)
def test_old_key_refused(opens, words):
    assert words in old_key(held(OTHER), State("none", OLD, None), "values", False, opens).refusal


WAYS = {
    "tokens, back": (held(OLD), State("none", OLD, None), ("tokens", True), Do.REFUSE),
    "tokens of a public key": (held(), State("none", PUBLIC, None), ("tokens", False), Do.REFUSE),
    "tokens of a key of 16 bytes": (held(SHORT), State("none", SHORT, None), ("tokens", False), Do.REFUSE),
    "tokens": (held(OLD), State("none", OLD, None), ("tokens", False), Do.LENGTHEN),
    "tokens, whatever is noted": (held(OLD), State("staged", OLD, NEW), ("tokens", False), Do.LENGTHEN),
    "tokens, cut off": (held(OLD, pending=TAIL), State("none", OLD, None), ("tokens", False), Do.TAKE_PENDING),
    "tokens, while a key for the values is pending": (
        held(OLD, pending=NEW),
        State("none", OLD, None),
        ("tokens", False),
        Do.LENGTHEN,
    ),
    "back, nothing begun": (held(OLD, pending=NEW), State("none", OLD, None), ("values", True), Do.FORGET_AND_GO_BACK),
    "back, a key noted": (held(OLD, pending=NEW), State("staged", OLD, NEW), ("values", True), Do.GO_BACK),
    "back, from the middle": (held(OLD, pending=NEW), State("guarded", OLD, NEW), ("values", True), Do.GO_BACK),
    "noted by this controller": (held(OLD, pending=NEW), State("staged", OLD, NEW), ("values", False), Do.TAKE_NOTED),
    "noted by another controller": (
        held(OLD, pending=NEW),
        State("staged", OLD, OTHER),
        ("values", False),
        Do.TAKE_NOTED,
    ),
    "cut off before the host was told": (
        held(OLD, pending=NEW),
        State("none", OLD, None),
        ("values", False),
        Do.TAKE_PENDING,
    ),
    "a pending key for the tokens": (held(OLD, pending=TAIL), State("none", OLD, None), ("values", False), Do.GENERATE),
    "the beginning": (held(OLD), State("none", OLD, None), ("values", False), Do.GENERATE),
    "the beginning, from a public key": (held(), State("none", PUBLIC, None), ("values", False), Do.GENERATE),
}


@pytest.mark.parametrize(("escrow", "host", "asked", "do"), WAYS.values(), ids=WAYS)
def test_new_key(escrow, host, asked, do):
    assert new_key(escrow, host, *asked).do is do


# --- the others, whose columns are plain ---


@pytest.mark.parametrize(
    ("facts", "do"),
    [
        ((False, False, Ended.ABORTED, True), Do.GIVE_UP),
        ((True, False, Ended.ABORTED, False), Do.GIVE_UP),
        ((True, False, Ended.FINISHED, False), Do.LEAVE),
        ((True, False, Ended.FAILED, False), Do.LEAVE),
        ((False, False, Ended.REFUSED, True), Do.DISCARD),
        ((False, False, Ended.REFUSED, False), Do.LEAVE),
        ((False, False, Ended.FINISHED, True), Do.PROMOTE),
        ((False, True, Ended.FINISHED, False), Do.PROMOTE),
        ((False, True, Ended.UNFINISHED, True), Do.PROMOTE),
        ((False, False, Ended.UNFINISHED, True), Do.LEAVE),
        ((False, True, Ended.FAILED, True), Do.LEAVE),
        ((False, False, Ended.FAILED, True), Do.LEAVE),
    ],
    ids=str,
)
def test_rotated(facts, do):
    assert decide(ROTATED, *facts).do is do


@pytest.mark.parametrize(
    ("facts", "do"),
    [
        ((True, File.UNNAMED, False), Do.REFUSE),
        ((True, File.UNNAMED, True), Do.REFUSE),
        ((False, File.UNWANTED, True), Do.REFUSE),
        ((False, File.UNNAMED, True), Do.REFUSE),
        ((False, File.UNWANTED, False), Do.SECURE),
        ((False, File.UNNAMED, False), Do.SECURE),
        ((True, File.NO_SECRET, False), Do.REFUSE),
        ((True, File.NO_SECRET, True), Do.REFUSE),
        ((False, File.NO_SECRET, True), Do.REFUSE),
        ((False, File.NO_SECRET, False), Do.SECURE_AND_WARN),
        ((True, File.AT_HAND, True), Do.OPEN),
        ((False, File.AT_HAND, False), Do.OPEN),
    ],
    ids=str,
)
def test_escrow(facts, do):
    assert decide(ESCROW, *facts).do is do


@pytest.mark.parametrize(
    ("facts", "do"),
    [
        ((True, True, True), Do.REFUSE),
        ((True, False, False), Do.REFUSE),
        ((False, True, True), Do.GIVE),
        ((False, True, False), Do.GIVE),
        ((False, False, True), Do.FORESEE),
        ((False, False, False), Do.LEARN),
    ],
    ids=str,
)
def test_escrowed_key(facts, do):
    assert decide(ESCROWED_KEY, *facts).do is do


@pytest.mark.parametrize(
    ("facts", "do"),
    [
        ((True, False, True, False), Do.PASS_ON),
        ((False, False, True, False), Do.SECURE),
        ((False, False, False, True), Do.SECURE),
        ((False, True, True, False), Do.REFUSE),
        ((False, True, True, True), Do.SAVE_AND_CONFIRM),
        ((False, True, False, True), Do.SAVE_AND_CONFIRM),
        ((False, True, False, False), Do.SAVE_AND_GIVE),
    ],
    ids=str,
)
def test_learned_key(facts, do):
    assert decide(LEARNED_KEY, *facts).do is do
