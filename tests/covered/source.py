# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements and branches of a file of plugins/, under names that stay when it moves or is laid out anew."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

import coverage
from coverage.python import PythonFileReporter

from covered import ROOT


class Item(NamedTuple):
    """A statement, or a branch: from one to the next, or out of the function."""

    file: str
    """path from the root of the collection"""
    scope: str
    """function or class with those around it; nothing at the top of the file"""
    text: str
    """the statement without what it encloses; of a branch, both, with an arrow between them"""
    line: int
    target: int = 0
    """the line that a branch leads to, as C(coverage) numbers it; 0 of a statement"""


class Source:
    """One file."""

    def __init__(self, name: str) -> None:
        path = ROOT / name
        reporter = PythonFileReporter(str(path), coverage.Coverage(data_file=None, config_file=False))
        self._reporter = reporter
        self._names: dict[int, tuple[str, str]] = {}
        self._read(ast.parse(path.read_text("utf-8")), ())
        exits = reporter.exit_counts()
        whole = reporter.no_branch_lines()
        self._lines = {line: Item(name, *self._name(line), line) for line in reporter.lines()}
        self._branches = {
            (start, end): Item(
                name,
                self._name(start)[0],
                f"{self._name(start)[1]} → {self._name(end)[1] if end > 0 else 'exit'}",
                start,
                end,
            )
            for start, end in reporter.arcs()
            if exits.get(start, 0) > 1 and start not in whole
        }

    @property
    def items(self) -> list[Item]:
        return sorted([*self._lines.values(), *self._branches.values()], key=lambda item: (item.line, item.target))

    def ran(self, start: int, end: int) -> Iterator[Item]:
        """What has run where C(coverage) saw one line after another."""
        for line in self._reporter.translate_lines(number for number in (start, end) if number > 0):
            if line in self._lines:
                yield self._lines[line]
        for each in self._reporter.translate_arcs([(start, end)]):
            if each in self._branches:
                yield self._branches[each]

    def _name(self, line: int) -> tuple[str, str]:
        return self._names.get(line) or ("", f"line {line}")

    def _read(self, node: ast.AST, scope: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = scope
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = (*scope, child.name)
                for decorator in child.decorator_list:
                    self._names.setdefault(decorator.lineno, (".".join(scope), f"@{ast.unparse(decorator)}"))
            if isinstance(child, (ast.stmt, ast.ExceptHandler)):
                self._names.setdefault(child.lineno, (".".join(scope), _alone(child)))
            self._read(child, inner)


def _alone(node: ast.AST) -> str:
    """In one line, without the statements that it encloses."""
    bare = copy.copy(node)
    for field in ("body", "orelse", "finalbody", "handlers", "decorator_list", "cases"):
        if isinstance(getattr(bare, field, None), list):
            setattr(bare, field, [])
    return " ".join(ast.unparse(bare).split())
