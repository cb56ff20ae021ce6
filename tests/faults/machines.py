# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed hosts that are machines of their own, as far as they can see: each has an engine, processes, mounts and a network, and may lose its power.

What they share is this machine's kernel, clock, processors and files.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from faults.engine import Engine
from support.hosts import Host
from testbed._base import Failed, run

_NETWORK = "10.214.0."
_SWITCH = "appwrite-tb"
SERVER = f"{_NETWORK}1"
"""An address that every machine reaches, for what runs on this machine's own engine."""


class Machine(Host):
    """Ends with its containers."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.address = f"{_NETWORK}{1 + number}"
        self.engine = Engine(Path(tempfile.mkdtemp(prefix="appwrite-machine-")))
        self._link = f"{_SWITCH}{number}"
        self._card = f"02:00:00:00:00:{number:02x}"

    def start(self) -> None:
        """Boots it."""
        self.engine.start()
        inside = str(self.engine.inside)
        with contextlib.suppress(Failed):  # the kernel may be slow to remove what has led to a machine before
            run("ip", "link", "delete", self._link)
        cable = ("link", "add", self._link, "type", "veth", "peer", "name", "eth0")
        run("ip", *cable, "address", self._card, "netns", inside)
        run("ip", "link", "set", self._link, "master", _SWITCH, "up")
        self._within = ("nsenter", "--target", inside, "--net", "--mount", "--pid")
        for command in (
            ("ip", "link", "set", "lo", "up"),
            ("ip", "address", "add", f"{self.address}/24", "dev", "eth0"),
            ("ip", "link", "set", "eth0", "up"),
            ("ip", "route", "add", "default", "via", SERVER),
            ("mkdir", "-p", "/run/sshd"),
        ):
            run(*self._within, *command)
        super().start()

    def stop(self) -> None:
        """Takes its power away. Nobody who is connected to it is told."""
        self.engine.power_off()

    def load(self, images: Iterable[str], names: dict[str, str]) -> None:
        """Gives its engine images of this machine's, and names to those."""
        self.engine.load(images)
        for name, image in names.items():
            run("docker", "--host", self.engine.host, "tag", image, name)

    def _end(self) -> None:
        super()._end()
        shutil.rmtree(self.engine.directory)


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """While this machine has the address C(SERVER), in the network of the machines."""
    with contextlib.suppress(Failed):  # one that a run which was killed has left
        if not run("ip", "link", "show", "master", _SWITCH):
            run("ip", "link", "delete", _SWITCH)
    run("ip", "link", "add", _SWITCH, "type", "bridge")
    try:
        run("ip", "address", "add", f"{SERVER}/24", "dev", _SWITCH)
        run("ip", "link", "set", _SWITCH, "up")
        yield
    finally:
        run("ip", "link", "delete", _SWITCH)
