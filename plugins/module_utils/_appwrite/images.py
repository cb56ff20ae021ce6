# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a compose project names its images and counts its containers.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

_RELEASE = re.compile(r"v?(\d+\.\d+\.\d+)(?:[-+].*)?")
_SERIES = re.compile(r"v?(\d+(?:\.\d+)?)(?:[-+].*)?")
_OTHERS = (
    "assistant",
    "autogravity",
    "browser",
    "clamav",
    "clickhouse-server",
    "console",
    "embedding",
    "executor",
    "geo",
    "influxdb",
    "openruntimes-executor",
    "orchestrator",
    "redis",
    "telegraf",
    "traefik",
)
"""Of Appwrite's own compose files 1.4 to 2.4, besides Appwrite's and the databases. The console of 2.x is C(appwrite/new), which says too little."""
REDIS = "redis:7.4.7-alpine"
"""of Appwrite's own compose files 1.9.6 to 2.4"""


class Image(NamedTuple):
    """The parts of an image's name, such as V(registry:5000/appwrite/appwrite:1.9.6@sha256:…)."""

    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """Without registry and owner."""
        return self.repository.rpartition("/")[2]

    @property
    def release(self) -> str | None:
        """That of Appwrite, if it is Appwrite's own image and the tag says so."""
        return self._told(_RELEASE)

    @property
    def series(self) -> str | None:
        """Two numbers, or one, if the tag of Appwrite's own image says no more, such as V(1.6)."""
        return self._told(_SERIES)

    @property
    def is_other(self) -> bool:
        """Whether the name alone says that it is none of Appwrite's."""
        return self.name in _OTHERS

    def _told(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.fullmatch(self.tag) if self.name == "appwrite" else None
        return found.group(1) if found else None


def image(text: str) -> Image:
    named, _at, digest = text.partition("@")
    repository, _colon, tag = named.rpartition(":")
    return Image(repository, tag, digest) if repository and "/" not in tag else Image(named, "", digest)


def is_appwrite(environment: Mapping[str, str]) -> bool:
    """Whether this is what C(Dockerfile) of Appwrite 1.4.14 to 2.0 sets in the image, and so in each that is made from it."""
    return "_APP_VERSION" in environment and "_APP_HOME" in environment


def replicas(service: Mapping[str, Any]) -> int:
    """How many containers compose makes for a service."""
    return int((service.get("deploy") or {}).get("replicas", service.get("scale", 1)))
