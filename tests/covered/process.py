# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records one process. Each Python of .venv imports this when it starts, where SELFHOST_COVERAGE is the directory of the tests (tests/setup.sh).

So do pytest and its workers, ansible-playbook, the modules that it sends, and the programs that tests start. What is recorded goes into a file named by its
content, since most runs of a module are like another one.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import NoReturn

import coverage

from covered import PIECES, ROOT

TEST = "SELFHOST_COVERAGE_TEST"
"""Names the file with the id of the test that is running. Not the id itself: a process may serve several tests."""
_PLUGINS = f"{ROOT}/plugins/"
_PACKED = (
    "payload.zip/ansible_collections/selfhost/appwrite/plugins/",
    ".pyz/ansible_collections/selfhost/appwrite/plugins/",
)
"""Where the same files are in what Ansible sends to a host, and in the program of the audit's timer."""
_open, _replace, _end = os.open, os.replace, os._exit  # tests put their own in the place of these


def _name(path: str) -> str | None:
    """A file's path from the root of the collection. None for a copy, which may have been changed."""
    if path.startswith(_PLUGINS):
        return path.removeprefix(f"{ROOT}/")
    return next(("plugins/" + path.partition(mark)[2] for mark in _PACKED if mark in path), None)


def _running() -> str:
    """The test; nothing while tests are collected."""
    try:
        return Path(os.environ[TEST]).read_text("utf-8")
    except (KeyError, OSError):
        return ""


class _Recorder:
    """Records up to the end of the process, and of each child that it forks."""

    def __init__(self) -> None:
        self._context = ""
        self._test = _running()
        self._coverage = coverage.Coverage(
            data_file=None,
            config_file=False,
            branch=True,
            include=[f"{_PLUGINS}**", *(f"**/*{mark}**" for mark in _PACKED)],
        )
        self._coverage.set_option(
            "run:core", "ctrace"
        )  # sys.monitoring has no contexts, and no branches before Python 3.14
        self._coverage.set_option(
            "run:disable_warnings", ["no-data-collected", "trace-changed"]
        )  # a test sees what is printed
        self._coverage.start()
        atexit.register(self.save)
        os.register_at_fork(after_in_child=self._forked)
        setattr(os, "_exit", self._exit)

    def switch(self, test: str) -> None:
        """What follows belongs to this test. Writes what came before: pytest's worker may be killed at its end."""
        self._keep()
        self._context = test
        self._coverage.switch_context(test)

    def save(self) -> None:
        """Writes what was recorded. Whatever goes wrong, the process ends as it would without this."""
        try:
            self._coverage.stop()
            self._keep()
        except Exception:  # pylint: disable=broad-exception-caught  # see above
            pass

    def _keep(self) -> None:
        data = self._coverage.get_data()
        data.set_query_context(self._context)
        found = {
            name: arcs
            for path in sorted(data.measured_files())
            if (name := _name(path)) and (arcs := sorted(data.arcs(path) or ()))
        }
        if found:
            _write(self._context or self._test, found)

    def _forked(self) -> None:
        self._test = _running() or self._test

    def _exit(self, status: int) -> NoReturn:
        self.save()
        _end(status)


def _write(test: str, arcs: dict[str, list[tuple[int, int]]]) -> None:
    content = zlib.compress(json.dumps([test, arcs], separators=(",", ":")).encode(), 1)
    path = PIECES / hashlib.sha256(content).hexdigest()[:32]
    if not path.exists():
        draft = f"{path}.{os.getpid()}"
        with open(draft, "xb", opener=lambda name, flags: _open(name, flags, 0o600)) as stream:
            stream.write(content)
        _replace(draft, path)


RECORDER = _Recorder()
