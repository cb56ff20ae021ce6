# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every ansible-core that is supported, on every Python found: `make matrix` runs this, and prints a table in the end."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator

import pytest
from support.checkers import CORES, PYTHONS, ROOT, WORK, ansible_test_sanity, controllers, core

UNIT_NEEDS = (
    *("boto3", "cmarkgfm", "flask", "flask-cors", "hypothesis", "jsonschema", "moto[s3]", "pexpect", "pytest"),
    *("rfc3339-validator", "rfc3986-validator", "xmlschema"),
)
PAIRS = [
    (series, minor) for series in CORES for minor in controllers(series) if minor > 10
]  # hypothesis has no release for 3.10

Table = dict[tuple[str, int], dict[str, bool]]


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Core and Python to what was run there, and whether it passed."""
    cells: Table = defaultdict(dict)
    yield cells
    minors = sorted(int(path.name.removeprefix("python3.")) for path in PYTHONS.iterdir())
    rows = [["ansible-core", *(f"Python 3.{minor}" for minor in minors)]]
    for series in CORES:
        words = [
            ", ".join(f"{kind} {'passed' if good else 'FAILED'}" for kind, good in cells[series, minor].items())
            for minor in minors
        ]
        rows.append([CORES[series][0], *words])
    widths = [max(map(len, column)) for column in zip(*rows)]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(
            "", *("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows), sep="\n"
        )


@pytest.mark.parametrize("series", CORES)
def test_sanity(series, collection_copy, checker_environment, table, subtests):
    """All tests on the newest controller; compile and import on every Python that this ansible-core knows."""
    if not controllers(series):
        pytest.skip(f"no Python that ansible-core {series} runs on is installed")
    controller = controllers(series)[-1]
    found = ansible_test_sanity(core(series, controller), collection=collection_copy, environment=checker_environment)
    for name, text in found.items():
        target = re.search(r"-python-3\.(\d+)$", name)
        cell = table[series, int(target[1]) if target else controller]
        cell["sanity"] = cell.get("sanity", True) and not text
        with subtests.test(name):
            if text:
                print(text)
                pytest.fail("found something", pytrace=False)


@pytest.mark.parametrize(("series", "minor"), PAIRS)
def test_units(series, minor, table):
    programs = core(series, minor)
    pins = [
        line
        for line in (ROOT / "tests/requirements.txt").read_text().splitlines()
        if line.partition("==")[0] in UNIT_NEEDS
    ]
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", *pins], check=True)
    process = subprocess.run(
        [
            programs / "python",
            "-m",
            "pytest",
            "--quiet",
            "-o",
            f"cache_dir={WORK}/cores/pytest-{series}-{minor}",
            "tests/unit",
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    table[series, minor]["units"] = not process.returncode
    if process.returncode:
        print(process.stdout)
        pytest.fail("the unit tests failed", pytrace=False)
