# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of the project, as the engine describes it.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Mapping


@dataclass(frozen=True)
class Container:
    """What C(docker inspect) says of one container, as far as it matters here."""

    id: str
    service: str
    status: str
    """V(running), V(exited), V(restarting), V(created), …"""
    health: str | None
    """V(healthy), V(unhealthy), V(starting), or C(None) if there is no health check"""
    started_at: str
    restarts: int
    exit_code: int
    config_hash: str
    image: str
    """image id"""
    environment: Mapping[str, str]
    image_name: str = ""
    restart: str = ""
    ports: tuple[tuple[str, int, int], ...] = ()
    """published: address and port of the host, port of the container"""
    mounts: tuple[tuple[str, str, bool], ...] = ()
    """source on the host or name of the volume, path in the container, whether it may be written"""
    program: tuple[str, ...] = ()
    """entry point and command"""
    addresses: tuple[str, ...] = ()
    """in its networks"""
    number: str = "1"
    """among those of its service; one that takes another's place has the same"""

    @property
    def is_on(self) -> bool:
        """Whether it runs, or will as soon as the engine tries again."""
        return self.status in ("running", "restarting")

    @property
    def started(self) -> float:
        """Seconds since 1970."""
        return seconds(self.started_at[:19])


def seconds(text: str) -> float:
    """Since 1970, of a moment as the engine writes it; UTC if no zone is in it."""
    zone = re.search(r"[+-]\d\d:\d\d$", text)
    return datetime.strptime(text[:19] + (zone.group() if zone else "Z"), "%Y-%m-%dT%H:%M:%S%z").timestamp()
