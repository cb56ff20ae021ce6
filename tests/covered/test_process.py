# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process is recorded however it ends and wherever the file is that it runs, unless it is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

import covered

_FILE = "plugins/modules/one.py"
_PROGRAMS = {
    "ends": "import runpy; runpy.run_path(file)",
    "forks": """
import os, runpy
with open(test, "w") as stream:
    stream.write("second")
child = os.fork()
if not child:
    runpy.run_path(file)
    os._exit(0)
os.waitpid(child, 0)
""",
    "is killed": "import os, runpy; runpy.run_path(file); os.kill(os.getpid(), 9)",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one file, and the same as Ansible sends it."""
    shutil.copytree(
        covered.ROOT / "tests" / "covered", tmp_path / "tests" / "covered", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / _FILE).parent.mkdir(parents=True)
    (tmp_path / _FILE).write_text("import sys\nif sys.argv:\n    x = 1\n")
    (tmp_path / ".work" / "coverage" / "pieces").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "ansible_one_payload.zip", "w") as packed:
        path = Path("ansible_collections/selfhost/appwrite", _FILE)
        packed.write(tmp_path / _FILE, path)
        for package in path.parents[:-1]:
            packed.writestr(f"{package}/__init__.py", "")
    return tmp_path


def record(root: Path, program: str, on: bool = True) -> dict[str, dict[str, list[list[int]]]]:
    test = root / "test"
    test.write_text("first")
    environ = {"SELFHOST_COVERAGE": str(root / "tests") if on else "", "SELFHOST_COVERAGE_TEST": str(test)}
    code = f"file, test = {str(root / _FILE)!r}, {str(test)!r}\n{program}"
    done = subprocess.run(
        [covered.ROOT / ".venv" / "bin" / "python", "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    return dict(
        json.loads(zlib.decompress(path.read_bytes())) for path in (root / ".work" / "coverage" / "pieces").iterdir()
    )


@pytest.mark.parametrize(("what", "tests"), [("ends", ["first"]), ("forks", ["second"]), ("is killed", [])])
def test_ways_to_end(root, what, tests):
    found = record(root, _PROGRAMS[what])
    assert list(found) == tests
    assert all([2, 3] in arcs[_FILE] for arcs in found.values())


def test_nothing_is_recorded_unless_it_is_wished(root):
    assert record(root, _PROGRAMS["ends"], on=False) == {}


def test_what_ansible_sends(root):
    program = """
import sys
sys.path.insert(0, file.rpartition("/plugins/")[0] + "/ansible_one_payload.zip")
from ansible_collections.selfhost.appwrite.plugins.modules import one
"""
    assert [2, 3] in record(root, program)["first"][_FILE]


def test_not_a_copy(root):
    """It may have been changed."""
    shutil.copyfile(root / _FILE, root / "one.py")
    assert record(root, "import os, runpy; runpy.run_path(os.path.dirname(test) + '/one.py')") == {}
