# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of ours beside those of the project: one with the client of a server that is no service of it, in the networks of Appwrite, from which that
server is reached, and one that keeps a volume mounted.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import atexit
import os
import secrets
import select
import subprocess
from contextlib import suppress
from typing import Any, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import (
    PROJECT_LABEL,
    Compose,
    ComposeError,
)

_PULLING = 600.0
_STARTING = 60.0
_ENDING = 10.0
"""seconds"""
_CONFINED = (
    *(
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--env",
        "HOME=/tmp",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
    ),
    *("--log-driver", "none", "--no-healthcheck", "--pull", "never", "--entrypoint", "sh"),
)
UNLABELLED = ("--label", PROJECT_LABEL + "=")
"""An image that compose has built carries the label of its project, by which a container of ours would be one of that."""
WAY = ("network_mode", "extra_hosts", "dns", "dns_search", "dns_opt")
"""What of a service says how it reaches other hosts, besides its networks."""
# Whoever dies closes the other end of its standard input: it ends then, with all that was executed in it, and is removed.
_HELD = "echo up; exec cat"


class Companion:
    """A container that lives as long as this process at most."""

    WHAT = ""
    """what it is, in words"""

    def __init__(
        self,
        compose: Compose,
        project: str,
        image: str,
        network: str,
        options: Sequence[str],
        environment: Mapping[str, str],
        more_networks: Sequence[str] = (),
    ) -> None:
        """environment: of the container, no argument of docker. Raises AppwriteError if it does not start."""
        self.id = "selfhost-appwrite-%s-%s" % (project, secrets.token_hex(8))
        self._compose = compose
        command = [
            "docker",
            "run",
            "--rm",
            "--interactive",
            "--name",
            self.id,
            "--network",
            network,
            *_CONFINED,
            *UNLABELLED,
        ]
        command += [*options, *("--env=" + name for name in environment)]
        self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command leaves no standard input open
            [*command, image, "-c", _HELD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**compose.environment, **environment},
            start_new_session=True,
            bufsize=0,
        )
        atexit.register(self.close)
        try:
            self._wait()
            for more in more_networks:
                compose.docker(["network", "connect", more, self.id])
        except AppwriteError as error:
            self.close()
            raise AppwriteError("%s from the image %s does not start: %s" % (self.WHAT, image, error)) from None

    def _wait(self) -> None:
        if not self._readable(self._process.stdout, _STARTING):
            raise AppwriteError("it took longer than %d seconds" % _STARTING)
        if self._said(self._process.stdout) != "up":
            said = self._said(self._process.stderr) if self._readable(self._process.stderr, _ENDING) else ""
            raise AppwriteError(said.split("\n", 1)[0] or "docker gave no reason")

    @staticmethod
    def _readable(pipe: Any, timeout: float) -> bool:
        return bool(select.select([pipe], [], [], timeout)[0])

    def _said(self, pipe: Any) -> str:
        return self._compose.mask(os.read(pipe.fileno(), 4096).decode("utf-8", "replace")).strip()

    @property
    def is_up(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Removes it, with whatever still runs in it."""
        atexit.unregister(self.close)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            with suppress(ComposeError):
                self._compose.docker(["rm", "--force", "--volumes", self.id], tolerate=True)


class Client(Companion):
    """Commands are executed in it as in a container of the project."""

    WHAT = "the container with a client"

    def __init__(
        self,
        compose: Compose,
        project: str,
        image: str,
        way: Mapping[str, Any],
        networks: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """way: C(WAY) of the service that it stands in for. networks: names of the service's."""
        first = str(way.get("network_mode") or next(iter(networks), "bridge"))
        if first == "none" or first.startswith("service:"):
            raise AppwriteError(
                "network_mode: no other container can be put where Appwrite's is (%s), from which it would ask as Appwrite does; give Appwrite a network in "
                "`networks` from which the server is reached" % first
            )
        options = ["--add-host=" + host.replace("=", ":", 1) for host in way.get("extra_hosts") or []]
        for option, name in (("--dns=", "dns"), ("--dns-search=", "dns_search"), ("--dns-option=", "dns_opt")):
            options += [option + each for each in way.get(name) or []]
        super().__init__(compose, project, image, first, options, environment, networks[1:])


class Mounted(Companion):
    """Uses a volume, so that the engine keeps it mounted."""

    WHAT = "a container that uses the volume of the uploads, made"

    def __init__(self, compose: Compose, project: str, image: str, volume: str) -> None:
        """volume: the name of one that there is."""
        mount = "type=volume,source=%s,target=/storage/uploads,readonly,volume-nocopy" % volume
        try:
            super().__init__(compose, project, image, "none", ["--mount", mount], {})
        except AppwriteError as error:
            raise AppwriteError(
                "%s. See that the engine can mount the volume %s (its `driver_opts`), without which Appwrite does not start either"
                % (error, volume)
            ) from None


def require_image(compose: Compose, image: str, option: str, pulls: bool) -> None:
    """Raises AppwriteError if there is no such image on this host. pulls: whether it may be had from its registry."""
    if compose.image_ids([image]):
        return
    why = "is not on this host"
    if pulls:
        try:
            compose.docker(["pull", "--quiet", image], timeout=_PULLING)
            return
        except ComposeError as error:
            why = "is not on this host and cannot be pulled (%s)" % error
    raise AppwriteError(
        "%sthe image %s, from which a container is needed, %s; load it (docker pull %s)%s"
        % ("%s: " % option if pulls else "", image, why, image, ", or name another one" if pulls else "")
    )
