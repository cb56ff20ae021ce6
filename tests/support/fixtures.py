# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects to test on: running ones, each started once and left as it was found, and files alone."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts import Host, require
from support.stack import SMALL, Stack, made
from testbed import Project
from testbed._base import run


@pytest.fixture(scope="session")
def _running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    kind = request.param
    project = None
    try:
        project = made(kind, tmp_path_factory.mktemp("stack")).project
        project.up()
        project.wait()
        yield Stack(kind, project)
    finally:
        if project:
            project.down()


@pytest.fixture
def stack(_running: Stack):
    """A running project as the installer leaves it. Whatever a test does to it is undone."""
    with _running.kept():
        yield _running


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """A managed host, of which each worker has one."""
    require()
    with Host() as found:
        yield found


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory):
    template = SMALL.create(tmp_path_factory.mktemp("template"), f"files-{secrets.token_hex(4)}")
    yield template.directory
    for kind in ("network", "volume"):  # which a test that failed may have left without a container
        _take_down(template.directory, kind)
    template.down()


def _take_down(directory: Path, kind: str = "container") -> None:
    """The projects that have something of that kind, and the name of the directory or a longer one."""
    everything = ["--all"] if kind == "container" else []
    names = run("docker", kind, "ls", *everything, "--format", '{{.Label "com.docker.compose.project"}}').split()
    for name in {name for name in names if name.startswith(directory.name)}:
        Project(directory.with_name(name)).down()


@pytest.fixture
def directory(_template: Path, tmp_path: Path) -> Iterator[Path]:
    """A project directory as the installer leaves it, of which nothing was ever started. What a test starts of it, or of copies with longer names, goes."""
    found = shutil.copytree(_template, tmp_path / f"{_template.name}-{secrets.token_hex(4)}")
    yield found
    _take_down(found)
