# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that would be asked about another machine's files is refused before anything is written. The docker here is a stand-in."""

from __future__ import annotations

import json

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import engine
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose

SHIM = "[ -e /etc/containers/nodocker ] || echo 'Emulate Docker CLI using podman.' >&2\nexec /usr/bin/podman \"$@\"\n"
"""/usr/bin/docker of podman-docker, Debian 12"""


@pytest.fixture
def refused(run_module, project):
    def run():
        before = (project / ".env").read_bytes()
        result = run_module("security", https={}, encryption_key={})
        assert result["failed"] and (project / ".env").read_bytes() == before
        return result["msg"]

    return run


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "host", ["ssh://root:not-a-password@db.example.com", "tcp://192.0.2.1:2375", "https://docker.example.com"]
)
def test_engine_on_another_machine(refused, fake_docker, monkeypatch, host):
    fake_docker("exit 1\n")
    monkeypatch.setenv("DOCKER_HOST", host)
    message = refused()
    assert message.startswith("DOCKER_HOST: the engine is on another machine") and "not-a-password" not in message
    assert "run the play against that machine" in message


@pytest.mark.parametrize("how", ["variable", "file"])
def test_context_on_another_machine(refused, fake_docker, monkeypatch, tmp_path, how):
    fake_docker('[ "$1 $2 $5" = "context inspect far" ] && echo ssh://far.example.com\n')
    if how == "variable":
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    else:
        (tmp_path / "home" / ".docker").mkdir(parents=True)
        (tmp_path / "home" / ".docker" / "config.json").write_text(json.dumps({"currentContext": "far"}))
    assert refused().startswith("the docker context far: the engine is on another machine (ssh://far.example.com)")


@pytest.mark.parametrize(
    "host", ["", "unix:///run/user/1000/docker.sock", "tcp://127.0.0.1:2375", "tcp://localhost:2375"]
)
def test_engine_on_this_machine(fake_docker, monkeypatch, project, host):
    fake_docker("exit 1\n")
    monkeypatch.setenv("DOCKER_HOST", host)
    engine.refuse_other_engines(Compose(str(project)))


def test_podman_in_the_place_of_docker(refused, fake_docker):
    fake_docker(SHIM)
    assert "runs Podman" in refused()


def test_engine_that_is_podman(refused, fake_docker, monkeypatch):
    fake_docker("exit 1\n")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/podman/podman.sock")
    assert refused().startswith("DOCKER_HOST: the engine is Podman")


@pytest.mark.parametrize("directory", ["/opt/appwrite", "/srv/home/appwrite"])
def test_snap(monkeypatch, directory):
    monkeypatch.setattr(engine.shutil, "which", lambda *_unused, **_more: "/snap/bin/docker")
    with pytest.raises(
        AppwriteError, match="docker is a snap on this host, which reads files below the home directory"
    ):
        engine.refuse_other_engines(Compose(directory))
    engine.refuse_other_engines(Compose("/home/ada/appwrite"))
