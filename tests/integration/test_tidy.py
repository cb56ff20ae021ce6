# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every run leaves the managed host as tidy as it found it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from support.stack import Play, Stack, playbook, small

_SSH = """#!/bin/sh
# runs its last argument, as the server does with it
while [ $# -gt 1 ]; do shift; done
exec sh -c "$1"
"""


class Host:
    """Where Ansible and its modules put files on a managed host, all below one directory."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self._stack, self._directory = stack, directory
        (directory / "password").write_text("only-for-this-test")
        self._places = [directory / name for name in ("remote", "async", "tmp")]
        for place in self._places:
            place.mkdir()
        ssh = directory / "ssh"
        ssh.write_text(_SSH)
        ssh.chmod(0o755)
        self._connection = {
            "ansible_connection": "ssh",
            "ansible_ssh_executable": str(ssh),
            "ansible_ssh_transfer_method": "piped",
            "ansible_become": True,
            "ansible_become_method": "su",
        }

    def run(self, name: str, *flags: str) -> Play:
        remote, jobs, scratch = map(str, self._places)
        return playbook(
            f"selfhost.appwrite.{name}",
            {
                **self._connection,
                "appwrite_project_src": str(self._stack.directory),
                "appwrite_security_escrow_file": str(self._directory / "escrow.yml"),
            },
            f"--vault-password-file={self._directory / 'password'}",
            *flags,
            environ={
                "ANSIBLE_PIPELINING": "false",
                "ANSIBLE_REMOTE_TMP": remote,
                "ANSIBLE_ASYNC_DIR": jobs,
                "TMPDIR": scratch,
            },
        )

    def files(self) -> set[Path]:
        return {path for place in (*self._places, self._stack.directory) for path in place.rglob("*")}


@pytest.fixture
def short():
    """Ansible makes a socket in TMPDIR, whose path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="tidy-", dir="/tmp") as directory:
        yield Path(directory)


@small("apply")
def test_tidy(stack, short):
    host = Host(stack, short)
    assert host.run("secure").rc == 0
    before, containers = host.files(), stack.ids()
    for name, *flags in (["secure"], ["secure", "--check"], ["drill"], ["rotate", "--check"]):
        play = host.run(name, *flags)
        assert play.rc == 0 or name == "rotate", play.output  # there is nothing to rotate in a project without rows
        assert host.files() == before
        assert stack.ids() == containers
