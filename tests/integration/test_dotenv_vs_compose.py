# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``_dotenv`` against docker compose itself: the recorded table, and whole files made by Hypothesis.

``DOTENV_FILES`` is the number of generated files (default 300); each that compose accepts is also edited and read again. They
are others each day, made from ``SEED``, which pytest's first lines tell.
Files that are accepted go to compose in batches; those that are refused, and some of the others, one by one.
"""

from __future__ import annotations

import functools
import os
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from integration.compose import Answer, Compose, Environ, Rejected, Values
from support.dotenv import READ, VALUES

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import (
    Document,
    DotenvError,
    encode,
    parse,
    quote,
)

BATCH = 60
ALONE = 10  # of the accepted files, every tenth is asked for by itself
FILES = int(os.environ.get("DOTENV_FILES", "300"))
SHARD = 1000


def read(text: str, environ: Environ) -> Document | DotenvError:
    try:
        return parse(text, environ)
    except DotenvError as exc:
        return exc


def names(document: Document) -> set[str]:
    return {one.name for one in document.assignments}


def expected(document: Document, environ: Environ) -> Values:
    """What compose should answer: the shell's value before the file's, and a character for each foreign byte."""
    values = {name: environ.get(name, document.values.get(name)) for name in {*names(document), "A"}}
    return {name: value and encode(value).decode("utf-8", "replace") for name, value in values.items()}


def difference(compose: Compose, text: str, environ: Environ) -> str | None:
    """How compose's answer on this file differs from ours, None where it does not."""
    ours = read(text, environ)
    answer = compose.ask(text, names(ours) if isinstance(ours, Document) else (), environ)
    if isinstance(ours, Document):
        wanted: Answer = expected(ours, environ)
        same = answer == wanted
    else:
        wanted = Rejected(str(ours))
        if isinstance(answer, Rejected):
            same = same_rejection(text, ours, answer)
        else:
            same = any(reason in ours.reason for reason in compose.lenient)
    return None if same else "%r\ncompose: %r\nwe: %r" % (text, answer, wanted)


def same_rejection(text: str, ours: DotenvError, theirs: Rejected) -> bool:
    """Whether both name the same line, where compose names one."""
    if "unterminated" in theirs.message:  # here compose names the last line, we where the quote opens
        return "does not end" in ours.reason
    if "line " not in theirs.message:
        return True
    # before compose-go 2.3 a line with nothing but a name was not counted
    uncounted = sum("=" not in line and ":" not in line for line in text.split("\n")[: ours.line - 1])
    return any("line %d:" % line in theirs.message for line in range(ours.line - uncounted, ours.line + 1))


@pytest.fixture(scope="session")
def composes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Compose, Compose]:
    """Two that can be asked at the same time."""
    return Compose(tmp_path_factory.mktemp("compose")), Compose(tmp_path_factory.mktemp("compose"))


def differences(composes: tuple[Compose, ...], texts: t.Sequence[str], environ: Environ) -> list[str]:
    """Those of the files that compose reads otherwise than we; most of the accepted ones go in one call, the rest alone."""
    documents = {text: read(text, environ) for text in texts}
    accepted = [document for document in documents.values() if isinstance(document, Document)]
    together = [document for number, document in enumerate(accepted) if number % ALONE]
    answers = composes[0].ask_all([(document.text, names(document)) for document in together], environ)
    same = set()
    if not isinstance(answers, Rejected):
        same = {one.text for one, answer in zip(together, answers) if answer == expected(one, environ)}
    alone = [text for text in documents if text not in same]

    def ask(number: int) -> list[str]:
        return [text for text in alone[number :: len(composes)] if difference(composes[number], text, environ)]

    with ThreadPoolExecutor(len(composes)) as pool:
        return [text for found in pool.map(ask, range(len(composes))) for text in found]


def check(composes: tuple[Compose, ...], texts: t.Sequence[str], environ: Environ) -> None:
    for start in range(0, len(texts), BATCH):
        found = differences(composes, texts[start : start + BATCH], environ)
        assert not found, shrunk(found[0], composes[0], environ)


def test_table(composes: tuple[Compose, Compose]) -> None:
    assert len(READ) >= 150
    for environ in {tuple(case.environ.items()): case.environ for case in READ.values()}.values():
        check(composes, [case.text for case in READ.values() if case.environ == environ], environ)


def test_quoted_values(composes: tuple[Compose, Compose]) -> None:
    texts = ["A=%s\nB=1\n" % quote(value) for value in VALUES]
    assert [parse(text).values for text in texts] == [{"A": value, "B": "1"} for value in VALUES]
    check(composes, texts, {})


NAMES = ("A", "B", "C", "D", "_APP_X", "a1")
ENVIRONS: tuple[Environ, ...] = ({}, {"C": "shell", "D": "", "a1": "$A"})

PIECES = (
    "x",
    "word",
    " ",
    "  ",
    " #",
    "#",
    " # ",
    "\t",
    "\t#",
    "\\",
    "\\\\",
    "\\n",
    "\\t",
    "\\c",
    "\\x41",
    "\\0101",
    "\\0",
    "\\0377",
    "\\08",
    "\\$",
    "\\`",
    "`",
    "$",
    "$$",
    "$1",
    "$(",
    ")",
    "{",
    "}",
    "=",
    ":",
    "A=1",
    "%",
    "!",
    "\r",
    "\xa0",
    "\u3000",
    "\x85",
    "\x1f",
    "é",
    "🔑",
    "\u2028",
    "\ufeff",
    "\udcff",
    "\x01",
    "export ",
    "-",
    "?",
    "+",
    "'",
    '"',
)
LINES = ("\n", "\r\n", "\nB=2\n", "\n# C=3\n", "\nexport D: 4\n", "\n\n", "\nA\n")
ODD = ("prose", "a b", "?", "=", '"', "=1", "A/B=1", "A C=1", "\ufeffA=1", "A\0=1", "")
BROKEN = ("${A", "${}", "${1}", "${A }", "${A:x}", "${A:-x} ${B", "$\u212a")

_names = st.sampled_from(NAMES)
_characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
_written = st.one_of(st.sampled_from(VALUES[:-1]), st.text(_characters, max_size=20))


@functools.cache
def _weighted(kinds: tuple[str, ...], weights: tuple[int, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from([kind for kind, weight in zip(kinds, weights) for unused in range(weight)])


@functools.cache
def _some(pieces: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(pieces), max_size=6)


def _pick(draw: st.DrawFn, **weights: int) -> str:
    return draw(_weighted(tuple(weights), tuple(weights.values())))


def _reference(draw: st.DrawFn, depth: int) -> str:
    kind = _pick(draw, name=5, braces=5, conditional=8, unset=2, broken=1)
    if kind == "broken":
        return draw(st.sampled_from(BROKEN))
    name = "unset" if kind == "unset" else draw(_names)
    if kind != "conditional":
        return ("$%s" if kind == "name" else "${%s}") % name
    operator = _pick(draw, **{":-": 4, "-": 3, ":+": 3, "+": 3, ":?": 1, "?": 1})
    return "${%s%s%s}" % (name, operator, _pieces(draw, depth + 1, *PIECES))


def _pieces(draw: st.DrawFn, depth: int, *pieces: str) -> str:
    """Up to six pieces, a third of them references where those are not too deep."""
    parts = draw(_some(pieces + ("",) * (len(pieces) // 2 if depth < 3 else 0)))
    return "".join(part or _reference(draw, depth) for part in parts)


def _quoted(quotes: str, text: str) -> str:
    return quotes + text.replace(quotes, "").replace("\0", "\\" + quotes) + quotes


def _value(draw: st.DrawFn) -> str:
    kind = _pick(draw, bare=8, single=5, double=8, written=3, text=2, huge=1)
    if kind == "single":
        return _quoted("'", _pieces(draw, 0, *LINES, *PIECES, "\0"))
    if kind == "double":
        return _quoted('"', _pieces(draw, 0, *LINES, *PIECES, "\0"))
    if kind == "text":
        return draw(st.text(_characters, max_size=20)).replace("\n", "")
    if kind == "written":
        return quote(draw(_written))
    value = _pieces(draw, 0, *PIECES)
    if kind == "huge":  # without references: compose takes minutes for thousands of them
        value += "".join(draw(_some(PIECES))).replace("A", "").replace("${", "{") * draw(
            st.sampled_from((100, 1000, 5000))
        )
    return value


def _statement(draw: st.DrawFn) -> str:
    kind = _pick(draw, assignment=40, inherited=4, comment=4, blank=3, odd=1)
    if kind == "blank":
        return draw(st.sampled_from(("", " ", "\t", "\xa0", "export")))
    if kind == "odd":
        return draw(st.sampled_from(ODD)) or _pieces(draw, 0, *PIECES)
    start = _pick(draw, **{"": 6, "export ": 2, "  ": 1, "export\t": 1, " export  ": 1})
    name = draw(_names)
    if kind == "inherited":
        return start + name + draw(st.sampled_from(("", "", " ", "\t")))
    if kind == "comment":
        return "# %s%s=%s" % (start, name, _pieces(draw, 0, *PIECES))
    name = _pick(draw, **{name: 20, "A.B": 1, "A-B": 1, "A[0]": 1, "1A": 1, "Ä中": 1, "A\tB": 1})
    separator = _pick(draw, **{"=": 8, " = ": 2, ":": 1, ": ": 2, "= ": 1, " =": 1, "=\t": 1, "\xa0=\xa0": 1, "=\r": 1})
    end = _pick(draw, **{"": 9, " ": 1, " # c": 1, "#c": 1, " # A=1": 1, "\t#": 1, " B=2": 1, "D='4' ": 1, " C": 1})
    return start + name + separator + _value(draw) + end


@st.composite
def _files(draw: st.DrawFn) -> str:
    start = _pick(draw, **{"": 12, "\ufeff": 2, "\ufeff ": 1, "\ufeff\ufeff": 1})
    newline = _pick(draw, **{"\n": 2, "\r\n": 1})
    count = draw(st.integers(0, 7))
    return start + newline.join(_statement(draw) for unused in range(count)) + _pick(draw, **{newline: 12, "": 1})


_edits = st.dictionaries(_names, st.one_of(_written, _written, _written, st.none()), min_size=1, max_size=3)


def edited(document: Document, changes: t.Mapping[str, str | None]) -> str | None:
    """The edited text after a look at what it should say; None where the change is refused."""
    try:
        text = document.edit(changes, lambda name: NAMES)
    except DotenvError as exc:
        assert "after this change" in exc.reason
        return None
    again = parse(text, document._environ)
    assert again.edit(changes, lambda name: NAMES) == text
    moved = {user for name in changes for one in (document, again) for user in one.references(name)}
    kept = {name: value for name, value in document.values.items() if name not in moved and name not in changes}
    wanted = {**kept, **{name: value for name, value in changes.items() if value is not None}}
    assert {name: value for name, value in again.values.items() if name in changes or name not in moved} == wanted
    return text


def generated(count: int, shard: int) -> list[tuple[str, dict[str, str | None], Environ]]:
    files: dict[str, tuple[str, dict[str, str | None], Environ]] = {}

    @seed("%s %d" % (os.environ["SEED"], shard))
    @settings(
        max_examples=2 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_files(), _edits, st.sampled_from(ENVIRONS))
    def collect(text: str, changes: dict[str, str | None], environ: Environ) -> None:
        files.setdefault(text, (text, changes, environ))

    collect()  # a third of what it makes, it makes twice
    return list(files.values())[:count]


def shrunk(text: str, compose: Compose, environ: Environ) -> str:
    """The difference on a short part of a text that compose reads otherwise than we."""
    size = len(text) // 2
    while size:
        start = 0
        while start < len(text):
            shorter = text[:start] + text[start + size :]
            if difference(compose, shorter, environ):
                text = shorter
            else:
                start += size
        size //= 2
    return difference(compose, text, environ) or "it no longer differs"


@pytest.mark.parametrize("shard", range(-(-FILES // SHARD)))
def test_generated_files(composes: tuple[Compose, Compose], shard: int) -> None:
    files = generated(min(SHARD, FILES - shard * SHARD), shard)
    refused = kept = 0
    for environ in ENVIRONS:
        texts = []
        for text, changes, its_environ in files:
            if its_environ is environ:
                document = read(text, environ)
                texts.append(text)
                if isinstance(document, Document):
                    changed = edited(document, changes)
                    kept += changed is None
                    texts.append(changed or text)
                else:
                    refused += 1
        check(composes, texts, environ)
    print("%d files, %d refused; %d edits, %d refused" % (len(files), refused, len(files) - refused, kept))
