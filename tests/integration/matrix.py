# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every Appwrite release with two releases of compose, and every ansible-core with every Python of a managed host that it allows.

`make matrix` runs this, and prints two tables in the end. README.md has them, with their date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.checkers import CORES, PYTHONS, controllers, core
from support.stack import Kind, Stack, playbook, small, take_newest_compose
from testbed._base import GENERATED, at_least, run

OLDEST_TARGET = {"2.17": 7, "2.18": 8, "2.19": 8, "2.20": 9, "2.21": 9}
MINORS = sorted(int(path.name.removeprefix("python3.")) for path in PYTHONS.glob("python3.*"))
TARGETS = [(series, minor) for series in CORES for minor in MINORS if minor >= OLDEST_TARGET[series]]

Cells = dict[tuple[str, str], str]


@pytest.fixture(scope="session")
def cells(request: pytest.FixtureRequest) -> Iterator[Cells]:
    """Row and column to what is in the table."""
    found: Cells = {}
    yield found
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for title in ("Appwrite", "ansible-core"):
            cells = {
                (row.removeprefix(f"{title} "), column): word
                for (row, column), word in found.items()
                if row.startswith(f"{title} ")
            }
            rows, columns = (
                list(dict.fromkeys(row for row, _column in cells)),
                list(dict.fromkeys(column for _row, column in cells)),
            )
            print(f"\n| {title} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
            for row in rows:
                print(f"| {row} | {' | '.join(cells.get((row, column), '') for column in columns)} |")


@pytest.mark.parametrize("newest", [False, True], ids=["packaged", "newest"])
@pytest.mark.parametrize("release", GENERATED)
def test_appwrite(release, newest, tmp_path, monkeypatch, cells):
    if newest:
        take_newest_compose(monkeypatch)
    cell = (
        f"Appwrite {release}",
        "compose " + re.sub(r"^v|[+-].*", "", run("docker", "compose", "version", "--short").strip()),
    )
    cells[cell] = "failed"
    kind = Kind(release, "postgresql" if at_least(release, "2.0.0") else "mariadb")
    project = kind.create(tmp_path)
    try:
        project.up()
        project.wait()
        stack = Stack(kind, project)
        assert stack.secure().rc == 0
        stack.assert_in_force()
        assert stack.secure().recap["changed"] == 0
    finally:
        project.down()
    cells[cell] = "yes"


@small("matrix")
@pytest.mark.parametrize(("series", "minor"), TARGETS)
def test_core(stack, series, minor, cells):
    if not controllers(series):
        pytest.skip(f"no Python that ansible-core {series} runs on is installed")
    controller = controllers(series)[-1]
    cell = f"ansible-core {CORES[series][0]} on 3.{controller}", f"3.{minor}"
    cells[cell] = "failed"
    options = {"program": core(series, controller) / "ansible-playbook", "python": PYTHONS / f"python3.{minor}"}
    variables = {"appwrite_security_project_src": str(stack.directory)}
    play = playbook("selfhost.appwrite.secure", variables, **options)
    assert play.rc == 0, play.output
    stack.assert_in_force()
    assert playbook("selfhost.appwrite.secure", variables, **options).recap["changed"] == 0
    cells[cell] = "yes"
