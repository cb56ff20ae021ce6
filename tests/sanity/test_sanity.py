# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test sanity, without an ignore file, on the newest ansible-core; `make matrix` has every other, every Python, and all that is left out here."""

from __future__ import annotations

import sys

import pytest
from support.checkers import BIN, PYTHONS, ansible_test_sanity, controllers, core


def _report(found: dict[str, str], subtests: pytest.Subtests) -> None:
    for name, text in found.items():
        with subtests.test(name):
            if text:
                print(text)
                pytest.fail("found something", pytrace=False)


ELSEWHERE = ("changelog", "pep8", "pylint", "shellcheck")
"""by day in test_packaging.py, ruff's part in test_lint.py, and by night alone"""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_newest_core(collection_copy, checker_environment, subtests):
    arguments = ("--python", PYTHON, *(part for name in ELSEWHERE for part in ("--skip-test", name)))
    _report(ansible_test_sanity(BIN, *arguments, collection=collection_copy, environment=checker_environment), subtests)


def test_oldest_python(collection_copy, checker_environment, subtests):
    """Python 3.8 on the managed host: the last ansible-core that allows it is 2.19, which runs on Python 3.11 to 3.13."""
    if not (PYTHONS / "python3.8").exists():
        pytest.skip("Python 3.8 is not installed")
    if not controllers("2.19"):
        pytest.skip("no Python that ansible-core 2.19 runs on is installed")
    found = ansible_test_sanity(
        core("2.19", controllers("2.19")[-1]),
        "--python",
        "3.8",
        "--test",
        "compile",
        "--test",
        "import",
        collection=collection_copy,
        environment=checker_environment,
    )
    _report(found, subtests)
