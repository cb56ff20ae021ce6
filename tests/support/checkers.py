# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running checkers, and showing what they print only where they find something."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".work"
BIN = ROOT / ".venv" / "bin"
PYTHONS = ROOT / ".venv" / "pythons"
JUNIT = "tests/output/junit"
CORES = {  # release series -> newest release, the minors of Python 3 that it runs on
    "2.17": ("2.17.14", (10, 11, 12)),
    "2.18": ("2.18.19", (11, 12, 13)),
    "2.19": ("2.19.14", (11, 12, 13)),
    "2.20": ("2.20.10", (12, 13, 14)),
    "2.21": ("2.21.5", (12, 13, 14)),
}


def check(program: str | Path, *arguments: str | Path, **options: Any) -> str:
    """Runs a program of .venv, or the one at a path, and returns what it printed."""
    process = subprocess.run(
        [BIN / program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if process.returncode:
        print(process.stdout)
        pytest.fail(f"{Path(program).name} found something", pytrace=False)
    return process.stdout


def controllers(series: str) -> list[int]:
    """The minors of the Pythons on this machine that an ansible-core runs on."""
    return [minor for minor in CORES[series][1] if (PYTHONS / f"python3.{minor}").exists()]


def core(series: str, minor: int) -> Path:
    """The directory with the programs of an ansible-core on a Python."""
    release = CORES[series][0]
    directory = WORK / "cores" / f"{release}-python3.{minor}"
    if not (directory / "bin" / "ansible-test").exists():
        subprocess.run([PYTHONS / f"python3.{minor}", "-m", "venv", "--clear", directory], check=True)
        subprocess.run([directory / "bin" / "pip", "install", "--quiet", f"ansible-core=={release}"], check=True)
    return directory / "bin"


def ansible_test_sanity(
    programs: Path, *arguments: str, collection: Path, environment: dict[str, str]
) -> dict[str, str]:
    """Name of each test that was run to what it found."""
    for path in collection.glob(f"{JUNIT}/*.xml"):
        path.unlink()
    process = subprocess.run(
        [programs / "ansible-test", "sanity", "--local", "--color", "no", "--junit", *arguments],
        cwd=collection,
        env={**environment, "PATH": f"{programs}:{environment['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = {
        path.stem.removeprefix("ansible-test-sanity-"): "\n".join(
            failure.text or "" for failure in ElementTree.parse(path).iter("failure")
        )
        for path in sorted(collection.glob(f"{JUNIT}/*.xml"))
    }
    if process.returncode and not any(found.values()):
        print(process.stdout)
        pytest.fail("ansible-test did not run", pytrace=False)
    return found
