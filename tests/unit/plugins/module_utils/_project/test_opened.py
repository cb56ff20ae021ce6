# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project is opened by its file, whatever state that is in, and compose is asked about that file and no other."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import GUARD, NAME
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import (
    MARK,
    env_file_of,
    instance_of,
    opened,
    opened_with,
)


@pytest.fixture
def instance(project):
    return instance_of(
        {**{name: option.get("default") for name, option in PROJECT_OPTIONS.items()}, "project_src": str(project)}
    )


@pytest.fixture
def asked(monkeypatch, without_engine):
    """What compose was given in the place of the file, question by question; it says the same each time."""
    found = []
    config = {"name": "appwrite", "services": {"appwrite": {"image": "appwrite/appwrite:1.9.6"}}}
    monkeypatch.setattr(Compose, "config", lambda _compose, candidate=None: found.append(candidate) or config)
    return found


def test_opened(instance, project, asked):
    (project / ".env").write_text("_APP_ENV=production\n")
    assert opened(instance, env_file_of(instance)).values == {"_APP_ENV": "production"}
    assert asked == [None] and instance.project == "appwrite" and instance.values == {"_APP_ENV": "production"}


def test_no_file(instance, project, asked):
    (project / ".env").unlink()
    assert opened(instance, env_file_of(instance)).values == {}
    assert asked == [b""], "compose must not be asked to read what is not there"
    with pytest.raises(AppwriteError, match="^env_file: .*/.env does not exist; make one$"):
        opened(instance, env_file_of(instance), missing="; make one")
    (project / "docker-compose.yml").unlink()
    with pytest.raises(AppwriteError, match="^project_src: .* is not a compose project"):
        opened(instance, env_file_of(instance), missing="; make one")


def test_guard(instance, project, asked):
    (project / ".env").write_text(f"_APP_ENV=production\n{GUARD}\n")
    with pytest.raises(AppwriteError, match="^env_file: a rotation of the encryption key of .* is unfinished"):
        opened(instance, env_file_of(instance))
    assert opened(instance, env_file_of(instance), past_guard=True).values == {"_APP_ENV": "production", NAME: MARK}
    assert asked == [f"_APP_ENV=production\n{NAME}={MARK}\n".encode()]


def test_other_content(instance, project, asked):
    before = (project / ".env").read_bytes()
    assert opened_with(instance, b"_APP_ENV=development\n").values == {"_APP_ENV": "development"}
    assert asked == [b"_APP_ENV=development\n"] and (project / ".env").read_bytes() == before


def test_what_compose_would_reject(instance, project, asked):
    (project / ".env").write_text("_APP_ENV='production\n")
    with pytest.raises(AppwriteError, match="^env_file: compose rejects .*line 1"):
        opened(instance, env_file_of(instance))
    assert asked == []


@pytest.mark.parametrize("compose", [True, False])
def test_no_compose(without_docker, instance, compose):
    if not compose:
        opened(instance, env_file_of(instance), compose=False)
        return
    with pytest.raises(AppwriteError, match="^docker compose is not installed"):
        opened(instance, env_file_of(instance))
