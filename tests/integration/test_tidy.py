# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every run leaves the managed host as tidy as it found it, over SSH, under become and without pipelining."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.hosts import ASKED, NOT_ASKED, Host
from support.stack import KEY, Play, Stack, playbook, set_env, small
from testbed._base import clean_environ, run
from testbed.dataset import Dataset

_STANDING = {".ansible", ".ansible/tmp", ".ansible_async"}
"""What Ansible makes once in a user's home."""
_KEPT = re.compile(r"appwrite-before-rotation-\d{8}T\d{6}Z\.gz|\.env\.\d{8}T\d{6}Z(-\d+)?\.bak")
MODULES: Mapping[str, Mapping[str, Any]] = {
    "instance_info": {},
    "stored_info": {},
    "audit_info": {"third_parties": []},
    "encryption_key": {},
    "https": {"force": True},
    "console_access": {"root_only": True},
    "env": {"variables": {"_APP_LOCALE": "de"}},
    "security": {"https": {"force": True}},
    "apply": {},
}


class Visitor:
    """Somebody who runs things on the host, and looks at what is there."""

    def __init__(self, host: Host, stack: Stack, place: Path, user: str = ASKED) -> None:
        self._host, self._stack, self._place, self._user = host, stack, place, user
        (place / "password").write_text("only-for-this-test")

    def run(self, source: str, *flags: str, **variables: Any) -> Play:
        return playbook(
            source,
            {
                **self._host.variables(self._user),
                "appwrite_project_src": str(self._stack.directory),
                "appwrite_security_escrow_file": str(self._place / "escrow.yml"),
                "appwrite_audit_report_dir": str(self._place / "reports"),
                "appwrite_audit_third_parties": [],
                "appwrite_audit_fail_on": "never",
                **variables,
            },
            f"--vault-password-file={self._place / 'password'}",
            *flags,
            environ={**clean_environ(), "ANSIBLE_PIPELINING": "false"},
        )

    def module(self, name: str, options: Mapping[str, Any]) -> Play:
        task = {"name": "Run it", f"selfhost.appwrite.{name}": {"project_src": str(self._stack.directory), **options}}
        return self.run(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]) + "\n")

    def present(self) -> set[str]:
        """Files, but for the backups that a result names, and what the engine has."""
        return {*self._files(), *self._of_the_engine()}

    def _files(self) -> Iterator[str]:
        for place in (*self._host.homes.values(), self._host.tmp, self._stack.directory):
            for path in place.rglob("*"):
                name = str(path.relative_to(place))
                if name not in _STANDING and not _KEPT.fullmatch(name):
                    yield str(path)

    def _of_the_engine(self) -> Iterator[str]:
        label = f"label=com.docker.compose.project={self._stack.project.name}"
        for kind in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
            for name in run("docker", *kind, "--quiet", "--filter", label).split():
                yield f"{kind[0]} {name}"


@pytest.fixture
def visitor(host: Host, stack: Stack, tmp_path: Path) -> Iterator[Visitor]:
    """On a project in a directory of the user's own."""
    found, user = Visitor(host, stack, tmp_path), host.ids(ASKED)
    mine = [stack.directory, *(path for path in stack.directory.iterdir() if path.is_file())]
    for path in mine:
        os.chown(path, *user)
    try:
        before = found.present()
        assert found.run("selfhost.appwrite.secure").rc == 0
        assert not {name for name in found.present() ^ before if not name.startswith("ps ")}
        yield found
        for path in [stack.directory, *stack.directory.glob(".env*")]:
            assert (path.stat().st_uid, path.stat().st_gid) == user, path
    finally:
        for path in mine:
            os.chown(path, 0, 0)


@small("apply")
@pytest.mark.nightly("test_quickstart, test_secured.py")
def test_tidy(visitor, stack):
    before = visitor.present()
    for name, *flags in (["secure", "--check"], ["drill"], ["rotate", "--check"]):
        play = visitor.run(f"selfhost.appwrite.{name}", *flags)
        assert play.rc == 0 or name == "rotate", play.output  # there is nothing to rotate in a project without rows
        assert visitor.present() == before
    assert len([path for path in stack.directory.iterdir() if _KEPT.fullmatch(path.name)]) == 1


@small("apply")
@pytest.mark.nightly("test_tidy")
@pytest.mark.parametrize("name", MODULES)
def test_each_module(visitor, stack, name):
    before = visitor.present()
    options = {"key": stack.env()[KEY]} if name == "stored_info" else {}
    play = visitor.module(name, {**MODULES[name], **options})
    assert play.rc == 0 or name == "stored_info", play.output  # there are no rows to open
    assert visitor.present() == before


@small("tidy-rotation")
@pytest.mark.nightly("test_tidy")
def test_rotation_and_audit(host, stack, tmp_path):
    """On data, by a user whom sudo does not ask."""
    key = "not-a-real-key-" + tmp_path.name[-1] * 49
    set_env(stack.directory, **{KEY: key})
    stack.project.up()
    stack.project.wait()
    data = Dataset.make(seed=7, key=key, database=stack.kind.database, file_bytes=50_000)
    data.load(stack.project)
    data.write_files(stack.project.uploads())
    visitor = Visitor(host, stack, tmp_path, NOT_ASKED)
    assert visitor.run("selfhost.appwrite.secure").rc == 0
    before = {name for name in visitor.present() if not name.startswith("ps ")}
    for name, flags in (("rotate", ["--check"]), ("rotate", []), ("drill", []), ("audit", []), ("secure", [])):
        play = visitor.run(f"selfhost.appwrite.{name}", *flags, appwrite_rotation_confirm="localhost")
        assert play.rc == 0, play.output
        assert {name for name in visitor.present() if not name.startswith("ps ")} == before, name
