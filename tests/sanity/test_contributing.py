# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What CONTRIBUTING.md tells to do, done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from support.checkers import BIN, ROOT, ansible_test_sanity

RECIPES = dict(
    re.findall(
        r"^\*\*A (\w+)\*\*.*?^```diff\n(.*?)^```",
        (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
TESTS = {
    "variable": ("_appwrite/test_variables.py",),
    "release": ("_appwrite/test_variables.py", "_audit/test_controls.py"),
    "control": ("_audit/test_controls.py",),
    "setting": ("_settings/test_console_access.py",),
}


def changes(recipe: str):
    """File, lines that it has, and those in their place."""
    for part in re.split(r"^--- ", recipe, flags=re.MULTILINE)[1:]:
        file, _newline, body = part.partition("\n")
        for hunk in body.split("@@\n"):
            yield (
                file,
                *("".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[0] in kinds) for kinds in (" -", " +")),
            )


@pytest.mark.parametrize("name", TESTS)
def test_recipe(name, collection_copy, checker_environment, tmp_path):
    copy = tmp_path / "ansible_collections" / "selfhost" / "appwrite"
    shutil.copytree(collection_copy, copy, symlinks=True)
    files = set()
    for file, old, new in changes(RECIPES[name]):
        text = (copy / file).read_text("utf-8")
        assert text.count(old) == 1, (file, old)
        (copy / file).write_text(text.replace(old, new), "utf-8")
        files.add(file)
    assert len(files) <= 3
    done = subprocess.run(
        [
            BIN / "pytest",
            "--quiet",
            "-p",
            "no:xdist",
            *(f"tests/unit/plugins/module_utils/{test}" for test in TESTS[name]),
        ],
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
    if name == "setting":
        modules = [file for file in files if "/modules/" in file]
        found = ansible_test_sanity(
            BIN,
            "--test",
            "validate-modules",
            *modules,
            collection=copy,
            environment={**checker_environment, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)},
        )
        assert not any(found.values()), found
