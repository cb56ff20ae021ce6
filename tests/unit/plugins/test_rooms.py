# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go one way. A room knows those below it in this list, and what is pure knows nothing of the world."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

import graphlib
import pytest
from support.rooms import PURE

PLUGINS = Path(__file__).parents[3] / "plugins"
PREFIX = "ansible_collections.selfhost.appwrite.plugins."
ORDER = (
    "modules",
    "action",
    "lookup",
    "filter",
    "plugin_utils",
    "_secured",
    "_apply",
    "_locked_out",
    "_audit",
    "_instance_info",
    "_settings",
    "_module",
    "_rotation",
    "_project",
    "_appwrite",
    "_env",
    "_envelope",
    "_options",
    "_progress_file",
    "_progress",
    "_files",
    "_errors",
    "_zipped",
)
WORLD = {
    "os",
    "subprocess",
    "socket",
    "ssl",
    "shutil",
    "tempfile",
    "pathlib",
    "fcntl",
    "select",
    "urllib",
    "http",
    "ansible",
}
WRITERS = {
    "_apply",
    "_secured",
    "_rotation.procedure",
    "_rotation.member",
    "_rotation.reseal",
    "_rotation.rekey",
    "_rotation.stores.writes.objects",
    "_rotation.stores.writes.sealing",
    "_rotation.stores.writes.successors",
    "_settings.transaction",
}
FILES = sorted(
    path
    for path in PLUGINS.rglob("*.py")
    if path.parts[len(PLUGINS.parts)] != "doc_fragments" and path.read_text().strip()
)


def name_of(path: Path) -> str:
    return ".".join(
        part for part in path.relative_to(PLUGINS).with_suffix("").parts if part != "__init__"
    ).removeprefix("module_utils.")


def room_of(name: str) -> str:
    """The entry of ORDER that a module belongs to."""
    return name.partition(".")[0]


def imported(path: Path) -> set[str]:
    return imported_by(ast.parse(path.read_text()))


def imported_by(tree: ast.AST) -> set[str]:
    """Whole names, those of this collection as in ORDER."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = {
                name
                for name in inner
                if (PLUGINS / name.removeprefix(PREFIX).replace(".", "/")).with_suffix(".py").exists()
            }
            found |= submodules or {node.module}
    return {name.removeprefix(PREFIX).removeprefix("module_utils.") for name in found}


def beginning(path: Path) -> ast.Module:
    """A file's imports that are done when it is loaded."""
    return ast.Module([node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)], [])


IMPORTS = {name_of(path): imported(path) for path in FILES}


def closure(name: str, imports: Mapping[str, Set[str]] = IMPORTS) -> set[str]:
    """What a module reaches by any import: of a file's beginning, of a function, and of what these reach in turn."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        more = imports.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def is_in(name: str, rooms: Iterable[str]) -> bool:
    return f"{name}.".startswith(tuple(f"{room}." for room in rooms))


@pytest.mark.parametrize("name", IMPORTS)
def test_only_downwards(name):
    above = ORDER[: ORDER.index(room_of(name))]
    assert not {each for each in IMPORTS[name] if each in IMPORTS and room_of(each) in above}


def test_no_circle():
    tuple(graphlib.TopologicalSorter({name: found & IMPORTS.keys() for name, found in IMPORTS.items()}).static_order())


@pytest.mark.parametrize("name", [name for name in IMPORTS if is_in(name, PURE)])
def test_pure(name):
    """Neither itself nor by any import."""
    assert not {each.partition(".")[0] for each in closure(name) - {"urllib.parse"}} & WORLD


@pytest.mark.parametrize(
    "name",
    [
        "_audit.examine",
        "_audit.program",
        "_audit.observe",
        "_rotation.stored_info",
        "modules.audit_info",
        "modules.stored_info",
    ],
)
def test_only_reads(name):
    """Whoever looks at stored data reaches no code that writes any, by no import."""
    assert not {each for each in closure(name) if is_in(each, WRITERS)}


def test_only_who_writes_settings_loads_the_transaction():
    at_once = {name_of(path): imported_by(beginning(path)) for path in FILES}
    modules = {name for name in at_once if room_of(name) == "modules"}
    assert {name for name in modules if "_settings.transaction" in closure(name, at_once)} == {
        f"modules.{name}" for name in ("console_access", "encryption_key", "env", "https", "security")
    }


def test_every_room_is_there():
    assert {room_of(name_of(path)) for path in FILES} == set(ORDER)


WRITES = {
    "os": {
        "rename",
        "replace",
        "renames",
        "fsync",
        "fdatasync",
        "O_CREAT",
        "O_EXCL",
        "O_TRUNC",
        "O_APPEND",
        "O_TMPFILE",
        "link",
        "truncate",
    },
    "fcntl": {"flock", "lockf"},
    "tempfile": {"mkstemp", "mktemp", "NamedTemporaryFile"},
}
SCRATCH = {"_audit.third_parties"}
"""Writes into a directory of its own that goes with it, for programs of others to read."""


@pytest.mark.parametrize("path", [path for path in FILES if name_of(path) not in {"_files", *SCRATCH}], ids=name_of)
def test_only_one_room_writes_files(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in WRITES.get(node.value.id, ()), (
                f"line {node.lineno}: {node.value.id}.{node.attr} is for _files alone"
            )
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "open"
            and isinstance(node.args[0], (ast.Name, ast.Attribute))
        ):
            mode = next((argument.value for argument in node.args[1:2] if isinstance(argument, ast.Constant)), "r")
            by_handle = any(keyword.arg == "closefd" for keyword in node.keywords)
            assert by_handle or not set(str(mode)) & set("wax+"), f"line {node.lineno}: a file is opened for writing"
