# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the tests has recorded, and how two runs differ."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from covered import PIECES, ROOT
from covered.source import Item, Source

Kept = Mapping[str, Mapping[str, Mapping[str, list[int]]]]
"""File to scope to text to the number of test files that cover it, at each place where the text stands there."""


class Run:
    """The last run on this checkout: which tests cover each statement and branch."""

    def __init__(self) -> None:
        self._sources = {
            name: Source(name)
            for path in sorted(ROOT.glob("plugins/**/*.py"))
            for name in [str(path.relative_to(ROOT))]
        }
        self.items = [item for found in self._sources.values() for item in found.items]
        self._numbers = {item: number for number, item in enumerate(self.items)}
        self._tests: list[set[str]] = [set() for _item in self.items]
        ran = cache(self._ran)
        for path in PIECES.glob("*"):
            if path.suffix:  # its process was killed while it wrote
                continue
            test, arcs = json.loads(zlib.decompress(path.read_bytes()))
            for name, pairs in arcs.items():
                for start, end in pairs:
                    for number in ran(name, start, end):
                        self._tests[number].add(test)

    def _ran(self, name: str, start: int, end: int) -> list[int]:
        found = self._sources.get(name)
        return [self._numbers[item] for item in found.ran(start, end)] if found else []

    def tests(self, item: Item) -> set[str]:
        """Those that cover it; an empty name stands for the collecting of the tests."""
        return self._tests[self._numbers[item]]

    def only(self, is_meant: Callable[[str], bool]) -> list[Item]:
        """What some of these tests cover and nothing else does."""
        return [
            item
            for item in self.items
            if self.tests(item) and all(test and is_meant(test) for test in self.tests(item))
        ]

    def kept(self) -> Kept:
        found: dict[str, dict[str, dict[str, list[int]]]] = {}
        for item in self.items:
            places = found.setdefault(item.file, {}).setdefault(item.scope, {}).setdefault(item.text, [])
            places.append(len({test.partition("::")[0] for test in self.tests(item)}))
        return found


def lost(before: Kept, after: Kept) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """File, scope and text of what is covered before and not after: first what is still there, then what has no like any more.

    What has moved is looked for by its scope and text, then by its text alone, among what is new in its place.
    """
    moved: dict[tuple[str, ...], list[int]] = {}
    for (file, scope, text), counts in _places(after):
        if text not in before.get(file, {}).get(scope, {}):
            for key in ((scope, text), (text,)):
                moved.setdefault(key, []).extend(counts)
    uncovered, gone = [], []
    for (file, scope, text), was in _places(before):
        now = after.get(file, {}).get(scope, {}).get(text) or moved.get((scope, text)) or moved.get((text,))
        if any(was):
            if not now:
                gone.append((file, scope, text))
            elif (
                any(had and not has for had, has in zip(was, now))
                if len(was) == len(now)
                else now.count(0) > was.count(0)
            ):
                uncovered.append((file, scope, text))
    return uncovered, gone


def _places(kept: Kept) -> Iterable[tuple[tuple[str, str, str], list[int]]]:
    return (
        ((file, scope, text), counts)
        for file, scopes in kept.items()
        for scope, texts in scopes.items()
        for text, counts in texts.items()
    )


def read(path: Path) -> Kept:
    """Raises OSError, or ValueError where it is no record."""
    found: Kept = json.loads(path.read_text("utf-8"))
    return found


def table(run: Run) -> Iterator[str]:
    """A line for each file: statements and branches, how many of them are covered, and how many by one test file alone."""
    rows = [["file", "lines", "covered", "branches", "covered", "by one test file alone"]]
    names = sorted({item.file for item in run.items})
    for name in [*names, "all"]:
        items = [item for item in run.items if name in (item.file, "all")]
        row = [name]
        for kind in ([item for item in items if not item.target], [item for item in items if item.target]):
            covered = sum(bool(run.tests(item)) for item in kind)
            row += [str(len(kind)), f"{covered / len(kind):.1%}" if kind else ""]
        row.append(
            str(
                sum(
                    len({test.partition("::")[0] for test in run.tests(item)}) == 1 and "" not in run.tests(item)
                    for item in items
                )
            )
        )
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            [row[0].ljust(widths[0]), *(word.rjust(width) for word, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()


def listing(items: Iterable[Item]) -> Iterator[str]:
    return (f"  {item.file}:{item.line}: {item.scope}: {item.text}" for item in items)
