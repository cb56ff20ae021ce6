# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project whose database and Redis are on their own, in a network that it declares as external: to it they are other machines."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from support.stack import Kind, read_env, set_env
from testbed import Project, images

DATABASE, CACHE = "db.notarealcompany.internal", "cache.notarealcompany.internal"
PULLED = {"mariadb:10.11": images.DATABASES["mariadb"], "redis:7.4.7-alpine": images.redis}
"""What has the clients, as Appwrite's own compose files name it, and what makes it here."""
_SAME = ("_APP_DB_PASS", "_APP_DB_USER", "_APP_DB_SCHEMA", "_APP_DB_ROOT_PASS")


class Divided(Project):
    """C(outer) is the project of the database and Redis."""

    def __init__(self, directory: Path, outer: Project) -> None:
        super().__init__(directory)
        self.outer = outer
        self.network = f"{outer.name}_appwrite"

    def up(self, *services: str) -> None:
        self.outer.up()
        self.outer.wait()
        super().up(*services)

    def down(self) -> None:
        super().down()
        self.outer.down()


@dataclass(frozen=True)
class Outside(Kind):
    """Its services are those of the project. What is no default is random."""

    def create(self, parent: Path, name: str = "", outer: Project | None = None) -> Divided:
        """outer: the database and Redis of another one, which it shares with that."""
        outer = outer or self.outer(parent)
        project = Divided(super().create(parent, name).directory, outer)
        values = {name: read_env(outer.directory)[name] for name in _SAME}
        set_env(project.directory, **values, _APP_DB_HOST=DATABASE, _APP_REDIS_HOST=CACHE)
        _edit(project, {}, project.network)
        return project

    def outer(self, parent: Path) -> Project:
        """The project of a database and a Redis."""
        outer = Kind(self.release, self.database, services=(self.database, "redis")).create(parent)
        set_env(outer.directory, _APP_DB_PASS="NotARealWord" + secrets.token_hex(8))
        _edit(outer, {self.database: DATABASE, "redis": CACHE})
        return outer

    @property
    def clients(self) -> dict[str, str]:
        """Options of C(rekey)."""
        return {"client_image": images.DATABASES[self.database](), "redis_client_image": images.redis()}


def _edit(project: Project, aliases: dict[str, str], network: str = "") -> None:
    path = project.directory / "docker-compose.yml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    for name, service in content["services"].items():
        service.pop("depends_on", None)
        service["networks"] = {
            "appwrite": {"aliases": [aliases[name]]} if name in aliases else {},
            **({"outer": {}} if network else {}),
        }
    if network:
        content["networks"]["outer"] = {"external": True, "name": network}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
