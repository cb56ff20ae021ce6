# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as its checkers want it: at its canonical path, in a git repository of its own, away from the checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".work"
COLLECTIONS = WORK / "sanity"
HOME = WORK / "home"

# ansible-test fetches this script by the version of pip that its ansible-core wants, but takes a cached one: with this
# in its cache, pip comes from the Python itself and from wherever pip is configured to look.
GET_PIP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"])
arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "pip", "install"] + arguments)
"""
PIP_VERSIONS = ("23_1_2", "24_2", "25_2")  # of ansible-core 2.17, of 2.18 and 2.19, of 2.20 and 2.21


@pytest.fixture(scope="session")
def collection_copy():
    """The path of a fresh copy of every file that git tracks or does not ignore."""
    copy = COLLECTIONS / "ansible_collections" / "selfhost" / "appwrite"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with open(copy.parent / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(copy, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if os.path.lexists(ROOT / name):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
        yield copy


@pytest.fixture(scope="session")
def checker_environment():
    """The environment of a checker: a home of its own, pip configured as the user has it, every Python found on PATH."""
    user_home = Path.home()
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIP_VERSIONS:
        (cache / f"get_pip_{version}.py").write_text(GET_PIP, "utf-8")
    _configure_pip(user_home)
    # pyenv's stand-ins answer for Pythons that they then do not run, so the real ones come first.
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), str(ROOT / ".venv" / "pythons"), os.environ["PATH"]])
    return {**os.environ, "HOME": str(HOME), "PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}


def _configure_pip(user_home: Path) -> None:
    """ansible-test hands its pip no PIP_* variable and no home but this one: write both down where pip looks."""
    settings = {
        name[4:].lower().replace("_", "-"): value.replace("\n", "\n    ")
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }
    users = [
        settings.pop("config-file", ""),
        user_home / ".config" / "pip" / "pip.conf",
        user_home / ".pip" / "pip.conf",
    ]
    legacy, current = HOME / ".pip" / "pip.conf", HOME / ".config" / "pip" / "pip.conf"
    for path in (legacy, current):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    found = next((path for path in users if path and os.path.isfile(path)), None)
    if found:
        legacy.symlink_to(found)
    current.touch(mode=0o600)
    current.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()), "utf-8")
