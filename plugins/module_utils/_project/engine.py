# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses an engine that does not see the project's directory as this host does, or is none of Docker's.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose, ComposeError

_HERE = ("", "localhost", "127.0.0.1", "::1")
_SOCKET = "/var/run/docker.sock"
_PODMAN = (
    "Podman, whose compose and containers answer otherwise than Docker's; install Docker Engine with the compose plugin, 2.26 or newer, "
    "for Appwrite, which itself supports no other"
)


def refuse_other_engines(compose: Compose) -> None:
    """Raises AppwriteError for an engine on another machine, for Podman, and for the snap if it cannot read the directory."""
    program = shutil.which("docker", path=compose.environment["PATH"])
    if program is None:
        return
    if _runs_podman(program):
        raise AppwriteError("docker: %s on this host runs %s" % (program, _PODMAN))
    home = os.path.expanduser("~")
    if program.startswith("/snap/") and not (compose.directory + "/").startswith((home + "/", "/home/")):
        raise AppwriteError(
            "project_src: docker is a snap on this host, which reads files below the home directory alone, and not %s; install Docker's own "
            "packages, or move the project below %s" % (compose.directory, home)
        )
    option, host = _endpoint(compose)
    address = urlsplit(host)
    if address.scheme not in ("", "unix", "npipe", "fd") and (address.hostname or "") not in _HERE:
        raise AppwriteError(
            "%s: the engine is on another machine (%s://%s), while .env and the directories that containers mount are taken from this one; run the "
            "play against that machine, without %s" % (option, address.scheme, address.hostname, option)
        )
    if "podman" in (os.path.realpath(_SOCKET) if not host else address.path):
        raise AppwriteError("%s: the engine is %s" % (option if host else _SOCKET, _PODMAN))


def _runs_podman(program: str) -> bool:
    """Whether it is Podman itself, or a script that calls it, as that of podman-docker (Debian 12, executed)."""
    if os.path.basename(os.path.realpath(program)).startswith("podman"):
        return True
    try:
        with open(program, "rb") as stream:
            text = stream.read(1024)
    except OSError:
        return False
    return text.startswith(b"#!") and b"podman" in text


def _endpoint(compose: Compose) -> tuple[str, str]:
    """What names the engine, and where that is; empty if nothing does."""
    environment = compose.environment
    if environment.get("DOCKER_HOST"):
        return "DOCKER_HOST", environment["DOCKER_HOST"]
    context = environment.get("DOCKER_CONTEXT") or _chosen_context(environment.get("DOCKER_CONFIG"))
    if context in ("", "default"):
        return "", ""
    try:
        answer = compose.docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}", context]).stdout
    except ComposeError:
        return "", ""  # docker fails with the same words where it is needed
    return "the docker context %s" % context, answer.strip()


def _chosen_context(directory: str | None) -> str:
    path = os.path.join(directory or os.path.join(os.path.expanduser("~"), ".docker"), "config.json")
    try:
        with open(path, encoding="utf-8") as stream:
            content: Any = json.load(stream)
    except (OSError, ValueError):
        return ""
    return str(content.get("currentContext") or "") if isinstance(content, dict) else ""
