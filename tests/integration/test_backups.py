# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups are whole, for their owner alone, as many as stated, and put back by the lines that the guide gives."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest
from support.stack import KEY, module, read_env, refuse, set_env, small, succeed, type_in, without
from testbed._base import CHECKOUT

NAME = ".env.20261124T030000Z.bak"


def line(program: str) -> str:
    """The line of the guide that puts a backup back with this program."""
    return next(
        found
        for found in re.findall(r"^ *\$ (.*)", (CHECKOUT / "docs/docsite/rst/trouble.rst").read_text(), re.MULTILINE)
        if NAME in found and found.startswith(program + " ")
    )


def backups(directory: Path) -> list[Path]:
    return sorted(directory.glob(".env.*.bak"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.nightly("test_backups.py of _project")
def test_as_many_as_stated(directory):
    """Each holds the whole file of its time; the oldest go, and only they."""
    (directory / ".env").chmod(0o644)
    made = {}
    for number in range(6):
        before = (directory / ".env").read_bytes()
        result = succeed(
            "env", {"project_src": str(directory), "variables": {"_APP_LOCALE": f"l{number}"}, "backup_keep": 3}
        )
        made[Path(result["backup_file"])] = before
        assert result["backup_file"] and len(backups(directory)) == min(number + 1, 3)
    assert backups(directory) == list(made)[-3:]
    for path in backups(directory):
        assert path.read_bytes() == made[path] and stat.S_IMODE(path.stat().st_mode) == 0o600
        done = type_in(line("cmp").rpartition(" && ")[0].replace(NAME, path.name), directory)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (directory / ".env").read_bytes() == made[path]
        assert stat.S_IMODE((directory / ".env").stat().st_mode) == 0o644, "the way back leaves the mode to the user"


@pytest.mark.nightly("_env/test_file.py")
def test_last_copy_of_a_key_stays(directory):
    """A key that somebody took out of the file may be needed for the data; two copies of it are not."""
    lost = {"project_src": str(directory), "backup_keep": 1}
    key = succeed("encryption_key", lost)["key"]["fingerprint"]
    last = read_env(directory)[KEY]
    succeed("env", {**lost, "variables": {"_APP_LOCALE": "de"}})
    kept = backups(directory)
    assert len(kept) == 1 and last in kept[0].read_text()
    without(directory, KEY, f"{KEY}=\n")
    assert succeed("encryption_key", lost)["key"]["fingerprint"] != key
    assert type_in(line("cmp").replace(NAME, kept[0].name), directory).returncode == 1
    for locale in ("fr", "it", "es"):
        succeed("env", {**lost, "variables": {"_APP_LOCALE": locale}})
    assert kept[0] in backups(directory) and len(backups(directory)) == 2


@pytest.mark.parametrize("keep", [0, -1])
def test_no_way_back(directory, keep):
    arguments = {"project_src": str(directory), "backup_keep": keep}
    assert refuse("env", {**arguments, "variables": {"_APP_LOCALE": "de"}}).startswith("backup_keep: ")
    assert module("apply", arguments)["msg"].startswith("backup_keep: ")


@small("role")
@pytest.mark.nightly("test_rollback")
def test_put_back_and_applied(stack, tmp_path):
    """The two lines of the guide, word for word."""
    set_env(stack.directory, _APP_LOCALE="de")
    succeed("apply", stack.arguments)
    for program in ("cmp", "ansible"):
        old = (stack.directory / ".env").read_bytes()
        changed = succeed("env", {**stack.arguments, "variables": {"_APP_LOCALE": "fr"}})
        succeed("apply", stack.arguments)
        assert stack.project.container_env("appwrite")["_APP_LOCALE"] == "fr"
        inventory = tmp_path / "inventory.ini"
        inventory.write_text(
            f"[appwrite]\nlocalhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"
        )
        command = (
            line(program).replace("inventory.ini", str(inventory)).replace(NAME, Path(changed["backup_file"]).name)
        )
        done = type_in(command.replace("/opt/appwrite", str(stack.directory)), stack.directory)
        assert not done.returncode, done.stdout + done.stderr
        assert (stack.directory / ".env").read_bytes() == old
        assert stack.project.container_env("appwrite")["_APP_LOCALE"] == "de"
        assert succeed("apply", stack.arguments)["changed"] is False
