# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host, and what the container appwrite reaches and may write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.observations import DIRECTORY, secured

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Observation,
    Owned,
    ProjectFiles,
    Unseen,
)

NO_DOCKER = Unseen("docker is not installed on this host")
NOT_ASKED = {"not asked": replace(secured(), inside=Unseen("the container appwrite does not run"))}


def reaching(**answers: bool | None) -> Observation:
    made = secured()
    return replace(made, inside=replace(made.inside, reachable={**made.inside.reachable, **answers}))


def with_volumes(**volumes: tuple[bool, bool, int | None]) -> Observation:
    made = secured()
    return replace(made, inside=replace(made.inside, volumes={**made.inside.volumes, **volumes}))


def project(
    directory: int = 0o755,
    file: int = 0o644,
    owners: tuple[int, int] = (0, 0),
    env: int = 0,
    name: str = "docker-compose.yml",
) -> Observation:
    """C(owners) of the directory and the compose file, C(env) that of .env."""
    return replace(
        secured(),
        project=ProjectFiles(
            env, (Owned(DIRECTORY, owners[0], directory), Owned(f"{DIRECTORY}/{name}", owners[1], file))
        ),
    )


def reached(key: str, what: str) -> dict[str, Any]:
    return {
        "fail": {"no answer": (reaching(**{key: False}), f"{what} does not answer")},
        "pass": {"answers": (reaching(**{key: True}), f"{what} answers")},
        "not_applicable": {"not configured": (reaching(**{key: None}), f"{what} is not configured")},
        "unknown": NOT_ASKED,
    }


def database(image: str, *mounts: tuple[str, str], **environment: str) -> Observation:
    """Whose database is of this image, and has these volumes: name or path of the host, and path in the container."""
    made = secured()
    assert isinstance(made.containers, tuple)
    others = [each for each in made.containers if each.service != "mariadb"]
    [old] = [each for each in made.containers if each.service == "mariadb"]
    found = replace(
        old, service="database", image=image, mounts=tuple((*mount, True) for mount in mounts), environment=environment
    )
    return replace(made, containers=(*others, found))


CASES = {
    "host.database_kept": {
        "fail": {
            "below what the image keeps": (
                database(
                    "postgres:18",
                    ("appwrite_appwrite-postgresql", "/keep/18/data"),
                    ("0123456789abcdef" * 4, "/keep"),
                    PGDATA="/keep/18/docker",
                ),
                "its data is in a volume without a name",
            ),
            "no volume": (database("mariadb:10.11"), "database: its data is in no volume"),
            "without a name": (
                database("mongo:8.2", ("0123456789abcdef" * 4, "/data/db")),
                "in a volume without a name",
            ),
        },
        "pass": {
            "a volume of the project": (
                database("appwrite/postgresql:0.1.0", ("appwrite_appwrite-postgresql", "/var/lib/postgresql/data")),
                "has its data in appwrite_appwrite-postgresql",
            ),
            "a directory of the host": (
                database("mariadb:10.11", ("/srv/data", "/var/lib/mysql"), ("0123456789abcdef" * 4, "/etc/mysql")),
                "/srv/data",
            ),
            "above": database("postgres:18", ("data", "/keep"), PGDATA="/keep/18/docker"),
        },
        "not_applicable": {"elsewhere": database("nginx")},
        "unknown": {"no docker": replace(secured(), containers=NO_DOCKER)},
    },
    "host.observed": {
        "fail": {
            "no docker": (
                replace(secured(), config=NO_DOCKER, containers=NO_DOCKER),
                "the project: docker is not installed",
                "the containers: docker",
            ),
            "no file": (
                replace(secured(), env=Unseen("/opt/appwrite/.env does not exist")),
                ".env: /opt/appwrite/.env does not exist",
            ),
        },
        "pass": {
            "all": (secured(), "/opt/appwrite"),
            "all but the inside and the endpoint": replace(secured(), inside=NO_DOCKER, endpoint=NO_DOCKER),
        },
    },
    "host.project_not_writable": {
        "fail": {
            "directory for all": (project(0o777), "/opt/appwrite has mode 0777", "chmod go-w /opt/appwrite"),
            "a directory like /tmp": project(0o1777),
            "directory of a group": (project(0o2775), "has mode 2775"),
            "compose file of a group": (
                project(file=0o664),
                "docker-compose.yml has mode 0664",
                "chmod go-w /opt/appwrite/docker-compose.yml",
            ),
            "another owner": (
                project(owners=(1000, 0)),
                "/opt/appwrite belongs to the user 1000",
                "chown 0 /opt/appwrite",
            ),
            "another owner than that of .env": (
                project(owners=(1000, 1001), env=1000),
                "docker-compose.yml belongs to the user 1001",
                "chown 1000",
            ),
            "both": (
                project(0o777, owners=(0, 1001)),
                "has mode 0777",
                "belongs to the user 1001",
                "chmod go-w /opt/appwrite && chown 0 /opt/appwrite/docker",
            ),
            "an odd name": (project(file=0o666, name="a b.yml"), "chmod go-w '/opt/appwrite/a b.yml'"),
        },
        "pass": {
            "root's": (project(), "/opt/appwrite, /opt/appwrite/docker-compose.yml cannot be written by others"),
            "the owner of .env": project(owners=(1000, 1000), env=1000),
            "his directory, root's files": project(owners=(1000, 0), env=1000),
        },
        "unknown": {
            "no compose file": (
                replace(secured(), project=Unseen("/opt/appwrite is not a compose project")),
                "not a compose project",
            )
        },
    },
    "host.database_reached": reached("database", "the database"),
    "host.cache_reached": reached("cache", "Redis"),
    "host.mail_reached": reached("smtp", "the mail server"),
    "host.scanner_reached": reached("antivirus", "the virus scanner"),
    "host.volumes_usable": {
        "fail": {
            "read-only": (with_volumes(uploads=(True, False, 20)), "uploads is not writable"),
            "two": (
                with_volumes(config=(False, False, 20), cache=(False, True, 20)),
                "cache is not readable; config is not readable and not writable",
            ),
        },
        "pass": {"all": (secured(), "cache, certificates, config, uploads")},
        "unknown": {"none": replace(secured(), inside=replace(secured().inside, volumes={})), **NOT_ASKED},
    },
    "host.disk_free": {
        "fail": {
            "at the limit": (with_volumes(uploads=(True, True, 80)), "80 % or more are used where uploads is"),
            "two, one not told": (
                with_volumes(uploads=(True, True, 99), cache=(True, True, 85), config=(True, True, None)),
                "cache, uploads are",
            ),
        },
        "pass": {"below": with_volumes(uploads=(True, True, 79))},
        "unknown": {
            "not told": (with_volumes(config=(True, True, None)), "how full config is"),
            "none": replace(secured(), inside=replace(secured().inside, volumes={})),
            **NOT_ASKED,
        },
    },
}
