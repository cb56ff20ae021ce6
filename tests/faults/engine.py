# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker Engine that may be killed: a machine of its own, as far as it can see."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from testbed._base import Failed, clean_environ, run

# A second engine in the network namespace of the first would take its bridge away. The first process reaps what others leave behind.
_MACHINE = """
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/docker
echo up
sleep infinity &
wait
"""


class Engine:
    """Starts with start(). Its containers' files are below the directory, its processes in namespaces of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._machine: subprocess.Popen[str] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{directory}/docker.sock"

    def start(self) -> None:
        """Boots the machine, unless it is up, and starts the engine. Returns when it answers."""
        if self._machine is None:
            self._machine = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "unshare",
                    "--net",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                    "sh",
                    "-ec",
                    _MACHINE,
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._machine.stdout and self._machine.stdout.readline() == "up\n"
        log = self.directory / "dockerd.log"
        with log.open("ab") as output:
            self._dockerd = subprocess.Popen(
                [
                    "nsenter",
                    "--target",
                    str(self.inside),
                    "--net",
                    "--mount",
                    "--pid",
                    "dockerd",
                    "--data-root",
                    self.directory / "data",
                    "--host",
                    self.host,
                    "--host",
                    "unix:///run/docker.sock",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        environ = {**clean_environ(), "DOCKER_HOST": self.host}
        for _attempt in range(600):
            with contextlib.suppress(Failed):
                run("docker", "info", environ=environ)
                return
            if self._dockerd.poll() is not None:
                break
            time.sleep(0.1)
        raise Failed("dockerd does not answer:\n" + "\n".join(log.read_text().splitlines()[-20:]))

    @property
    def inside(self) -> int:
        """A process of the machine, as this one knows it."""
        assert self._machine
        return self._children(self._machine.pid)[0]

    def kill(self) -> None:
        """Kills the engine alone; its containers go on."""
        assert self._dockerd
        for process in self._children(self._dockerd.pid):
            os.kill(process, signal.SIGKILL)
        self._dockerd.wait()

    def power_off(self) -> None:
        """Kills every process of the machine at once."""
        if self._machine:
            self._machine.kill()
            self._machine.wait()
            self._machine = None
        if self._dockerd:
            self._dockerd.wait()

    def load(self, images: Iterable[str]) -> None:
        """Copies images of the engine that everything else runs on."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "--host", self.host, "load", "--quiet"],
                stdin=saved.stdout,
                stdout=subprocess.DEVNULL,
                check=True,
            )

    @staticmethod
    def _children(process: int) -> list[int]:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
