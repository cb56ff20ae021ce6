# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What CONTRIBUTING.md tells to do, done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.checkers import BIN, ROOT, ansible_test_sanity

COPY = Path("ansible_collections", "selfhost", "appwrite")
RECIPES = dict(
    re.findall(
        r"^\*\*A (\w+)\*\*.*?^```diff\n(.*?)^```",
        (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
TESTS = ("_appwrite/test_variables.py", "_audit/test_controls.py", "_settings/test_console_access.py")
"""that a mistake in one of them would fail"""


def changes(recipe: str):
    """File, lines that it has, and those in their place."""
    for part in re.split(r"^--- ", recipe, flags=re.MULTILINE)[1:]:
        file, _newline, body = part.partition("\n")
        for hunk in body.split("@@\n"):
            yield (
                file,
                *("".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[0] in kinds) for kinds in (" -", " +")),
            )


@pytest.fixture
def touched(tmp_path, collection_copy):
    """Recipe to the files that it changes. All have been followed, one after the other, on the copy in this directory."""
    copy = tmp_path / COPY
    shutil.copytree(collection_copy, copy, symlinks=True)
    assert set(RECIPES) == {"variable", "release", "control", "setting"}
    found = {name: set() for name in RECIPES}
    for name, recipe in RECIPES.items():
        for file, old, new in changes(recipe):
            text = (copy / file).read_text("utf-8")
            assert text.count(old) == 1, (name, file, old)
            (copy / file).write_text(text.replace(old, new), "utf-8")
            found[name].add(file)
    return found


def test_recipes(touched):
    assert all(0 < len(files) <= 3 for files in touched.values()), touched


@pytest.mark.nightly("test_recipes")
def test_what_they_make(touched, checker_environment, tmp_path):
    copy = tmp_path / COPY
    done = subprocess.run(
        [BIN / "pytest", "--quiet", "-p", "no:xdist", *(f"tests/unit/plugins/module_utils/{test}" for test in TESTS)],
        cwd=copy,
        env={
            name: value for name, value in os.environ.items() if name != "APPWRITE_COMPOSE_DIR"
        },  # Appwrite has none of these
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = ansible_test_sanity(
        BIN,
        "--test",
        "validate-modules",
        *(file for file in touched["setting"] if "/modules/" in file),
        collection=copy,
        environment={**checker_environment, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)},
    )
    assert not any(found.values()), found
