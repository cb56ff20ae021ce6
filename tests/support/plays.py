# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running ansible-playbook as a user does: as a program, or as a fork of a process that has imported Ansible, with the modules that earlier forks have packed.

Importing takes 0.8 s of processor, and packing one of the collection's modules half a second.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from support.forks import CHECKOUT, Forks
from testbed._base import clean_environ

PROGRAM = CHECKOUT / ".venv" / "bin" / "ansible-playbook"
WORK = CHECKOUT / ".work"
_SETTINGS = {
    "ANSIBLE_HOME": str(WORK / "ansible"),
    "ANSIBLE_COLLECTIONS_PATH": str(WORK / "import"),
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_RETRY_FILES_ENABLED": "false",
}
_IMPORTS = (
    *("ansible.cli.playbook", "ansible.executor.task_executor", "ansible.plugins.strategy", "ansible.plugins.action"),
    *(
        "ansible.plugins.connection",
        "ansible.plugins.callback",
        "ansible.executor.module_common",
        "cryptography.fernet",
    ),
)
_servers: dict[tuple[tuple[str, str], ...], Forks | None] = {}
"""by environment, which Ansible reads while it is imported; nothing before the second play"""
_lock = threading.Lock()
"""of what makes one play at a time"""
forked = True
"""False: each play is a program, which can be told from others and killed with all that it has started."""


def run(
    *arguments: str | Path,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    program: Path = PROGRAM,
    collections: str = _SETTINGS["ANSIBLE_COLLECTIONS_PATH"],
) -> subprocess.CompletedProcess[str]:
    """What it prints, errors too. The first play with an environment, and each that has an C(ansible.cfg) or a program of its own, is a program."""
    words = list(map(str, arguments))
    environment = {
        **(clean_environ() if environ is None else environ),
        **_SETTINGS,
        "ANSIBLE_COLLECTIONS_PATH": collections,
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    usual = program == PROGRAM and "PYTHONPATH" not in environment and not (directory / "ansible.cfg").exists()
    if forked and usual and _lock.acquire(blocking=False):
        try:
            key = tuple(sorted(environment.items()))
            if key in _servers:
                if not (server := _servers[key]):
                    server = _servers[key] = Forks(*_IMPORTS, environ=environment)
                return _fork(server, words, directory, Path(_packed().name) / collections.replace(os.sep, "-"))
            _servers[key] = None
        finally:
            _lock.release()
    return subprocess.run(
        [program, *words],
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@functools.cache
def _packed() -> tempfile.TemporaryDirectory[str]:
    """With a directory for each path of collections. Made by who starts forks, and by no fork."""
    return tempfile.TemporaryDirectory(prefix="appwrite-packed-")


def _fork(server: Forks, words: list[str], directory: Path, packed: Path) -> subprocess.CompletedProcess[str]:
    packed.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="appwrite-play-") as said:
        status = server.run("support.plays:play", words, str(directory), said.name, str(packed))
        return subprocess.CompletedProcess(words, status, Path(said.name).read_text("utf-8", "replace"))


def play(words: list[str], directory: str, output: str, packed: str) -> None:
    """In a fork: ansible-playbook, as the program begins it. packed: where it finds and leaves modules as they are sent."""
    from ansible import constants
    from ansible.cli.playbook import main

    for descriptor, path in enumerate((os.devnull, output, output)):
        os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), descriptor)
    os.chdir(directory)
    del os.environ["PYTHONPATH"]  # what it sends to a host would find more there than on a real one
    os.makedirs(constants.DEFAULT_LOCAL_TMP, 0o700, exist_ok=True)  # the play before has removed it
    os.symlink(packed, os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
    sys.argv = ["ansible-playbook", *words]
    main()
