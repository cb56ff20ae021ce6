# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go one way. A room knows those below it in this list, and what is pure knows nothing of the world."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from support.rooms import PURE

PLUGINS = Path(__file__).parents[3] / "plugins"
PREFIX = "ansible_collections.selfhost.appwrite.plugins."
ORDER = (
    "modules",
    "action",
    "lookup",
    "filter",
    "plugin_utils._audit_report",
    "plugin_utils._escrow_action",
    "plugin_utils._watched",
    "plugin_utils._action",
    "plugin_utils._escrow",
    "plugin_utils._escrow_table",
    "_audit.program",
    "_audit.examine",
    "_audit.observe",
    "_audit.third_parties",
    "_audit.probe",
    "_rotation.rekey",
    "_rotation.tokens",
    "_rotation.host",
    "_rotation.stored_info",
    "_apply",
    "_instance_info",
    "_settings.transaction",
    "_module",
    "_rotation.standstill",
    "_rotation.stored",
    "_rotation.procedure",
    "_rotation.reseal",
    "_rotation.examine",
    "_rotation.console",
    "_rotation.stores.successors",
    "_rotation.stores.mariadb",
    "_rotation.stores.postgresql",
    "_rotation.stores.sql",
    "_rotation.stores.mongodb",
    "_rotation.stores.session",
    "_rotation.stores.files",
    "_rotation.stores.model",
    "_rotation.cipher",
    "_project.opened",
    "_project.instance",
    "_project.written",
    "_project.connections",
    "_project.databases.elsewhere",
    "_project.databases.known",
    "_project.databases.mariadb",
    "_project.databases.mongodb",
    "_project.databases.postgresql",
    "_project.databases.model",
    "_project.compose",
    "_project.mask",
    "_project.drift",
    "_project.container",
    "_rotation.journal",
    "_project.backups",
    "_env.file",
    "_audit.controls",
    "_audit.metrics",
    "_audit.lynis",
    "_audit.testssl",
    "_audit.others",
    "_audit.console",
    "_audit.containers",
    "_audit.encryption",
    "_audit.host",
    "_audit.https",
    "_audit.platform",
    "_audit.secrets",
    "_audit.releases",
    "_audit.model",
    "_settings.console_access",
    "_settings.encryption_key",
    "_settings.https",
    "_settings.variables",
    "_settings.model",
    "_appwrite.upgrade",
    "_envelope",
    "_appwrite.evidence",
    "_appwrite.key",
    "_env.dotenv",
    "_project.origin",
    "_appwrite.variables",
    "_appwrite.placeholder",
    "_appwrite.kinds",
    "_appwrite.images",
    "_appwrite.programs",
    "_progress",
    "_rotation.phases",
    "_files",
    "_errors",
)
WORLD = {"os", "subprocess", "socket", "ssl", "shutil", "tempfile", "pathlib", "fcntl", "urllib", "http", "ansible"}
WRITERS = {
    "_apply",
    "_rotation.procedure",
    "_rotation.reseal",
    "_rotation.rekey",
    "_rotation.stores.successors",
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
    """The most particular entry of ORDER that a module belongs to."""
    return max((room for room in ORDER if name == room or name.startswith(room + ".")), key=len)


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


def reached(path: Path) -> set[str]:
    """The rooms of this collection that are loaded with this one, but for what is imported by a function when it is called."""
    found, waiting = set(), [path]
    while waiting:
        top = ast.Module(
            [node for node in ast.parse(waiting.pop().read_text()).body if isinstance(node, ast.ImportFrom)], []
        )
        for name in imported_by(top) - found:
            found.add(name)
            waiting += [file for file in FILES if name_of(file) == name]
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_downwards(path):
    room = room_of(name_of(path))
    for name in imported(path):
        if (
            name.startswith(("_", "plugin_utils", "modules"))
            and name not in sys.stdlib_module_names
            and room_of(name) != room
        ):
            assert ORDER.index(room_of(name)) > ORDER.index(room), f"{room} imports {name}, which is above it"


@pytest.mark.parametrize(
    "path", [path for path in FILES if f"{name_of(path)}.".startswith(tuple(f"{room}." for room in PURE))], ids=name_of
)
def test_pure(path):
    assert not {name.partition(".")[0] for name in imported(path) - {"urllib.parse"}} & WORLD


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
    assert not reached(next(path for path in FILES if name_of(path) == name)) & WRITERS


def test_only_who_writes_settings_loads_the_transaction():
    modules = {name_of(path): reached(path) for path in FILES if name_of(path).startswith("modules.")}
    assert {name for name, rooms in modules.items() if "_settings.transaction" in rooms} == {
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
