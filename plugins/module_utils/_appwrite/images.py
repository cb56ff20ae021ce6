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
        found = _RELEASE.fullmatch(self.tag) if self.name == "appwrite" else None
        return found.group(1) if found else None


def image(text: str) -> Image:
    named, _at, digest = text.partition("@")
    repository, _colon, tag = named.rpartition(":")
    return Image(repository, tag, digest) if repository and "/" not in tag else Image(named, "", digest)


def replicas(service: Mapping[str, Any]) -> int:
    """How many containers compose makes for a service."""
    return int((service.get("deploy") or {}).get("replicas", service.get("scale", 1)))
