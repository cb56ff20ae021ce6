# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module imports from the archive in which Ansible sends it is compiled once, and is otherwise as Python has it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.stack import CHECKOUT

PLUGINS = CHECKOUT / "plugins"
PACKAGE = "ansible_collections.selfhost.appwrite.plugins.module_utils"
PYTHONS = sorted((CHECKOUT / ".venv" / "pythons").glob("python3.*")) or [Path(sys.executable)]
PROGRAM = """
import sys
compiled, (place, *install) = [], sys.argv[1:]
sys.addaudithook(lambda event, told: compiled.append(told[1]) if event == "compile" and str(told[1]).startswith(place) else None)
sys.path.insert(0, place)
import _zipped
if install:
    _zipped.compile_once()
hooks = len(sys.path_hooks)
import inspect, json, pkgutil, traceback
import package.inner.leaf, top
try:
    package.inner.leaf.broken()
except ValueError:
    trace = traceback.format_exc().splitlines()[-3:]
try:
    import package.missing
except ModuleNotFoundError as error:
    missing = str(error)
print(json.dumps({
    "compiled": sorted(path[len(place):] for path in compiled if "_zipped" not in path),
    "files": [module.__file__ for module in (package, package.inner, package.inner.leaf, top)],
    "places": [list(package.__path__), list(package.inner.__spec__.submodule_search_locations), package.inner.leaf.__spec__.origin],
    "listed": [found.name for found in pkgutil.iter_modules(package.__path__)],
    "data": pkgutil.get_data("package", "top.txt").decode(),
    "source": inspect.getsource(package.inner.leaf.broken),
    "trace": trace,
    "missing": missing,
    "hooks": len(sys.path_hooks),
}))
"""
FILES = {
    "_zipped.py": (PLUGINS / "module_utils" / "_zipped.py").read_text(),
    "package/__init__.py": "",
    "package/top.txt": "text",
    "package/inner/__init__.py": "VALUE = 1\n",
    "package/inner/leaf.py": "def broken():\n    raise ValueError('here')\n",
    "top.py": "",
}
OF_PYTHON = ["/package/__init__.py", "/package/inner/__init__.py", "/package/inner/leaf.py", "/top.py"]


def ask(python: Path, place: Path, *install: str) -> dict:
    command = [python, "-B", "-c", PROGRAM, str(place), *install]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.name)
def test_once_and_nothing_else_changes(tmp_path, python):
    place = tmp_path / "payload.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    plain, ours = ask(python, place), ask(python, place, "install")
    assert ours.pop("compiled") == OF_PYTHON
    assert set(plain.pop("compiled")) == set(OF_PYTHON)
    assert ours.pop("hooks") == plain.pop("hooks") + 1
    assert ours == plain


def test_nothing_happens_in_a_directory(tmp_path):
    """As on a host with ANSIBLE_KEEP_REMOTE_FILES, on which the archive was unpacked."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert ask(Path(sys.executable), tmp_path, "install") == ask(Path(sys.executable), tmp_path)


def first_import(path: Path) -> str:
    found = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE)
    ]
    return f"{found[0].module}.{found[0].names[0].name}"[len(PACKAGE) + 1 :] if found else ""


@pytest.mark.parametrize("path", sorted((PLUGINS / "modules").glob("*.py")), ids=lambda path: path.stem)
def test_every_module_begins_with_it(path):
    """What is imported before is compiled twice."""
    assert first_import(path) in ("", "_module", "_module.run")
    assert first_import(PLUGINS / "module_utils" / "_module.py") == "_zipped"
