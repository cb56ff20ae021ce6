# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test sanity, without an ignore file, on every Python that is found."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = ROOT / ".venv" / "pythons"
JUNIT = "tests/output/junit"


def _ansible_test_sanity(program: Path, *arguments: str, collection: Path, environment: dict[str, str], subtests) -> None:
    for path in collection.glob(f"{JUNIT}/*.xml"):
        path.unlink()
    process = subprocess.run(
        [program, "sanity", "--local", "--color", "no", "--junit", *arguments], cwd=collection,
        env={**environment, "PATH": f"{program.parent}:{environment['PATH']}"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    explained = False
    for path in sorted(collection.glob(f"{JUNIT}/*.xml")):
        with subtests.test(path.stem.removeprefix("ansible-test-sanity-")):
            if failures := [failure.text or "" for failure in ElementTree.parse(path).iter("failure")]:
                explained = True
                print(*failures, sep="\n")
                pytest.fail("found something", pytrace=False)
    if process.returncode and not explained:
        print(process.stdout)
        pytest.fail("ansible-test did not run", pytrace=False)


def test_newest_core(collection_copy, checker_environment, subtests):
    program = ROOT / ".venv/bin/ansible-test"
    _ansible_test_sanity(program, collection=collection_copy, environment=checker_environment, subtests=subtests)


def test_oldest_python(collection_copy, checker_environment, subtests):
    """Python 3.8 on the managed host: the last ansible-core that allows it is 2.19, which runs on Python 3.11 to 3.13."""
    if not (PYTHONS / "python3.8").exists():
        pytest.skip("Python 3.8 is not installed")
    controller = next((path for minor in (13, 12, 11) if (path := PYTHONS / f"python3.{minor}").exists()), None)
    if not controller:
        pytest.skip("no Python that ansible-core 2.19 runs on is installed")
    virtualenv = ROOT / ".work" / "core-2.19"
    program = virtualenv / "bin" / "ansible-test"
    if not program.exists():
        subprocess.run([controller, "-m", "venv", "--clear", virtualenv], check=True)
        subprocess.run([virtualenv / "bin" / "pip", "install", "--quiet", "ansible-core==2.19.14"], check=True)
    _ansible_test_sanity(
        program, "--python", "3.8", "--test", "compile", "--test", "import",
        collection=collection_copy, environment=checker_environment, subtests=subtests,
    )
