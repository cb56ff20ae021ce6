# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container with a client: what docker is told, and that it goes with whoever made it. By a docker that is a script; a real one is in tests/integration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import client as _client
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.client import Client, Mounted
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose

WORD = "NotARealDatabaseWord1"
# Notes what it is told, and is the container itself while that runs: its last two arguments are what the image's shell gets.
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>asked
[ "$1" = run ] || exit 0
printf '%s' "$MYSQL_PASSWORD" >given
eval "last=\\${$#}"
sh -c "$last"
echo gone >>asked
"""


@pytest.fixture
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compose:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, DOCKER)
    return Compose(str(tmp_path))


def write(directory: Path, program: str) -> None:
    (directory / "programs" / "docker").write_text(program)
    (directory / "programs" / "docker").chmod(0o755)


def asked(directory: Path) -> list[str]:
    return (directory / "asked").read_text().splitlines()


def made(compose: Compose, service: Any = None, networks: Any = ("shop_default", "databases")) -> Client:
    return Client(compose, "shop", "mariadb:10.11", service or {}, networks, {"MYSQL_PASSWORD": WORD})


def test_what_docker_is_told(compose, tmp_path):
    service = {
        "extra_hosts": ["db.internal=10.0.0.1", "six=::1"],
        "dns": ["10.0.0.2"],
        "dns_search": ["internal"],
        "dns_opt": ["ndots:2"],
    }
    client = made(compose, service)
    assert client.is_up
    run, connect = asked(tmp_path)
    assert run.startswith(f"run --rm --interactive --name {client.id} --network shop_default --read-only ")
    for part in (
        *(
            "--log-driver none",
            "--cap-drop ALL",
            "--security-opt no-new-privileges",
            "--pull never",
            "--env=MYSQL_PASSWORD",
        ),
        *(
            "--add-host=db.internal:10.0.0.1",
            "--add-host=six:::1",
            "--dns=10.0.0.2",
            "--dns-search=internal",
            "--dns-option=ndots:2",
        ),
    ):
        assert f" {part} " in run
    assert "--publish" not in run and WORD not in run and (tmp_path / "given").read_text() == WORD
    assert connect == f"network connect databases {client.id}"
    client.close()
    assert not client.is_up and asked(tmp_path)[2:] == ["gone"]
    client.close()


def test_one_that_keeps_a_volume_mounted(compose, tmp_path):
    holder = Mounted(compose, "shop", "appwrite/appwrite:1.9.6", "shop_uploads")
    [run] = asked(tmp_path)
    for part in (
        "--network none",
        "--label com.docker.compose.project= ",
        "source=shop_uploads,target=/storage/uploads,readonly,volume-nocopy",
    ):
        assert part in run
    holder.close()
    write(tmp_path, "#!/bin/sh\necho mount: permission denied >&2; exit 125\n")
    with pytest.raises(
        AppwriteError,
        match=r"^a container that uses the volume of the uploads, .*: mount: permission denied. See .* shop_uploads \(",
    ):
        Mounted(compose, "shop", "appwrite/appwrite:1.9.6", "shop_uploads")


@pytest.mark.parametrize(
    ("service", "networks", "network"),
    [
        ({"network_mode": "host"}, (), "host"),
        ({}, (), "bridge"),
        ({"network_mode": "container:vpn"}, (), "container:vpn"),
    ],
)
def test_network(compose, tmp_path, service, networks, network):
    made(compose, service, networks).close()
    assert f" --network {network} " in asked(tmp_path)[0] and "gone" in asked(tmp_path)[1]


@pytest.mark.parametrize("mode", ["service:vpn", "none"])
def test_network_that_cannot_be_shared(compose, tmp_path, mode):
    """From anywhere else the same name or address may lead to another server."""
    with pytest.raises(AppwriteError, match=rf"^network_mode: no other container .* \({mode}\).* `networks`"):
        made(compose, {"network_mode": mode}, ())
    assert not (tmp_path / "asked").exists()


FAILED = {
    "docker refuses": (
        "echo 'docker: Error response from daemon: network databases not found.' >&2; echo See >&2; exit 125",
        "network databases not found",
    ),
    "no word": ("exit 1", "docker gave no reason"),
    "another program": ("[ $1 = run ] || exit 0; echo no; exec sleep 1000", "docker gave no reason"),
    "nothing": ("[ $1 = run ] || exit 0; exec sleep 1000", "it took longer than 1 seconds"),
    "no other network": ("[ $1 = run ] || exit 1; echo up; exec cat", "docker network failed"),
}


@pytest.mark.parametrize(("program", "words"), FAILED.values(), ids=FAILED)
def test_one_that_does_not_start(compose, tmp_path, monkeypatch, program, words):
    monkeypatch.setattr(_client, "_STARTING", 1)
    monkeypatch.setattr(_client, "_ENDING", 0.5)
    write(tmp_path, f"#!/bin/sh\n{program}\n")
    with pytest.raises(
        AppwriteError, match=f"^the container with a client from the image mariadb:10.11 does not start: .*{words}"
    ):
        made(compose)


def test_one_that_does_not_end_is_removed(compose, tmp_path, monkeypatch):
    monkeypatch.setattr(_client, "_ENDING", 0.5)
    write(tmp_path, '#!/bin/sh\necho "$*" >>asked\n[ $1 = run ] || exit 0\necho up; exec sleep 1000\n')
    client = made(compose, networks=())
    client.close()
    assert asked(tmp_path)[-1] == f"rm --force --volumes {client.id}" and not client.is_up


def test_it_goes_with_who_made_it(compose, tmp_path):
    """Who is killed closes nothing."""
    program = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.client import Client
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
Client(Compose({str(tmp_path)!r}), "shop", "image", {{}}, (), {{"MYSQL_PASSWORD": ""}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    for _attempt in range(600):
        if asked(tmp_path)[1:] == ["gone"]:
            return
        _client.select.select([], [], [], 0.1)
    raise AssertionError("it is still there")
