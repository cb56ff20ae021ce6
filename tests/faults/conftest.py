# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project on an engine of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
import yaml
from faults.engine import Engine
from support import plays
from support.stack import SMALL, Stack


@pytest.fixture(scope="session")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Stack]]:
    if os.geteuid():
        pytest.skip("only root may start an engine of its own")
    project = SMALL.create(tmp_path_factory.mktemp("project"))
    engine = Engine(tmp_path_factory.mktemp("machine"))
    try:
        engine.start()
        engine.load(service["image"] for service in project.config()["services"].values())
        file = project.directory / "docker-compose.yml"
        content = yaml.safe_load(file.read_text())
        for service in content["services"].values():
            service["restart"] = "unless-stopped"  # as in Appwrite's own
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_HOST", engine.host)
            project.up()
            project.wait()
            found = Stack(SMALL, project)
        yield engine, found
    finally:
        engine.power_off()
        shutil.rmtree(engine.directory)
        project.down()


@pytest.fixture
def machine(_machine: tuple[Engine, Stack], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, Stack]]:
    """An engine that may be killed and a running project on it, which all commands of the test talk to."""
    engine, running = _machine
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    with running.kept():
        yield engine, running


@pytest.fixture
def plays_are_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test can find all that a play has started, and kill it."""
    monkeypatch.setattr(plays, "forked", False)
