# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose file and .env of a release, from the collection's catalogue. Pure: text in, text out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._base import at_least, catalogue, service_names
from .images import entrypoint


@dataclass(frozen=True)
class Database:
    """One of the databases that Appwrite runs on: its port, where its data is mounted, its part of the compose file."""

    port: int
    data: str
    image: str
    environment: tuple[str, ...]
    healthcheck: tuple[str, ...]
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


DATABASES = {
    "mariadb": Database(
        port=3306,
        data="/var/lib/mysql",
        image="mariadb:10.11",
        environment=(
            "MYSQL_ROOT_PASSWORD=${_APP_DB_ROOT_PASS}",
            "MYSQL_DATABASE=${_APP_DB_SCHEMA}",
            "MYSQL_USER=${_APP_DB_USER}",
            "MYSQL_PASSWORD=${_APP_DB_PASS}",
        ),
        command=("mysqld", "--innodb-flush-method=fsync"),
        healthcheck=("CMD", "healthcheck.sh", "--connect", "--innodb_initialized"),
    ),
    "mongodb": Database(
        port=27017,
        data="/data/db",
        image="mongo:8.2.5",
        environment=(
            "MONGO_INITDB_ROOT_USERNAME=root",
            "MONGO_INITDB_ROOT_PASSWORD=${_APP_DB_ROOT_PASS}",
            "MONGO_INITDB_DATABASE=${_APP_DB_SCHEMA}",
            "MONGO_INITDB_USERNAME=${_APP_DB_USER}",
            "MONGO_INITDB_PASSWORD=${_APP_DB_PASS}",
        ),
        healthcheck=(
            "CMD-SHELL",
            "mongosh -u root -p ${_APP_DB_ROOT_PASS} --authenticationDatabase admin --quiet"
            " --eval \"quit(db.adminCommand({hello: 1}).setName === 'rs0' ? 0 : 1)\"",
        ),
        entrypoint=("/bin/bash", "/mongo-entrypoint.sh"),
        volumes=(
            "./mongo-init.js:/docker-entrypoint-initdb.d/mongo-init.js:ro",
            "./mongo-entrypoint.sh:/mongo-entrypoint.sh:ro",
        ),
    ),
    "postgresql": Database(
        port=5432,
        data="/var/lib/postgresql/18/data",
        image="appwrite/postgres:0.1.0",
        environment=(
            "POSTGRES_DB=${_APP_DB_SCHEMA}",
            "POSTGRES_USER=${_APP_DB_USER}",
            "POSTGRES_PASSWORD=${_APP_DB_PASS}",
        ),
        command=("postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
        healthcheck=("CMD-SHELL", "pg_isready -U ${_APP_DB_USER} -d ${_APP_DB_SCHEMA}"),
    ),
}

# What the MongoDB file mounts from the project directory.
MONGO_FILES = {
    "mongo-entrypoint.sh": "#!/bin/bash\nexec docker-entrypoint.sh mongod --replSet rs0 --bind_ip_all --auth\n",
    "mongo-init.js": "const {MONGO_INITDB_USERNAME: user, MONGO_INITDB_PASSWORD: pwd} = process.env;\n"
    # FerretDB lets every user that it knows do everything, and refuses a list of roles.
    "db.getSiblingDB('admin').createUser({user, pwd, roles: []});\n",
}

_VOLUMES = ("uploads", "cache", "config", "certificates", "functions", "builds")
_EXECUTOR = {
    "OPR_EXECUTOR_ENV": "_APP_ENV",
    "OPR_EXECUTOR_RUNTIMES": "_APP_FUNCTIONS_RUNTIMES",
    "OPR_EXECUTOR_SECRET": "_APP_EXECUTOR_SECRET",
    "OPR_EXECUTOR_LOGGING_CONFIG": "_APP_LOGGING_CONFIG",
    "OPR_EXECUTOR_STORAGE_DEVICE": "_APP_STORAGE_DEVICE",
}
# Listed with a value by the files from 1.9.5 on, so that .env has no say.
_LITERALS = {"_APP_WORKERS_NUM": "1", "_APP_WORKER_MAX_COROUTINES": "1"}
_REALTIME_LITERALS = {"_APP_POOL_ADAPTER": "swoole"}


def dotenv(release: str, database: str, http_port: int, https_port: int, image_prefix: str) -> str:
    """The .env as that release's command-line installer leaves it when every question is answered with Enter.

    All documented variables in the catalogue's order, with the public key and passwords. Quoted from 1.9.0, before that bare.
    """
    variables = catalogue()
    documented = (name for name in variables.names(release) if variables.documented(name, release))
    values = {name: variables.default(name, release) or "" for name in documented}
    if at_least(release, "1.9.0"):
        values.update(_APP_DB_ADAPTER=database, _APP_DB_HOST=database, _APP_DB_PORT=str(DATABASES[database].port))
    if at_least(release, "1.9.5"):
        values.update(_APP_HTTP_PORT=str(http_port), _APP_HTTPS_PORT=str(https_port))
        values.update(_APP_IMAGE=f"{image_prefix}appwrite/appwrite", _APP_VERSION=release, _APP_EXECUTOR_IMAGES="")
    quote = _quoted if at_least(release, "1.9.0") else str
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items())


def compose(release: str, database: str, http_port: int, https_port: int, image_prefix: str) -> str:
    """A compose file with the services of that release, and for each the variables that the catalogue lists for it."""
    variables = catalogue()
    modern = at_least(release, "1.9.5")  # image and ports from .env, health checks, no restart policy on most services
    appwrite = f"{image_prefix}appwrite/appwrite:{release}"
    ports = [f"{http_port}:80", f"{https_port}:443"]
    if modern:
        appwrite = "${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-latest}"
        ports = ["${_APP_HTTP_PORT:-80}:80", "${_APP_HTTPS_PORT:-443}:443"]

    def environment(service: str) -> list[str]:
        literals = {**_LITERALS, **(_REALTIME_LITERALS if service == "appwrite-realtime" else {})} if modern else {}
        names = (name for name in variables.names(release) if service in variables.services(name, release))
        return [f"{name}={literals[name]}" if name in literals else name for name in names]

    def healthcheck(*test: str) -> dict[str, Any] | None:
        return {**_checked(test), "retries": 3} if modern else None

    def service(name: str, image: str, **parts: Any) -> str:
        restart = None if modern and name != "appwrite-console" else "unless-stopped"
        volumes = [f"./.testbed/{name}:/testbed:ro", *parts.pop("volumes", [])]
        parts = {"image": image, "restart": restart, "networks": ["appwrite"], **parts, "volumes": volumes}
        return f"  {name}:\n" + "".join(f"    {key}: {_flow(value)}\n" for key, value in parts.items() if value)

    def other(name: str, image: str, **parts: Any) -> str:
        return service(name, image_prefix + image, environment=parts.pop("environment", environment(name)), **parts)

    def own(name: str) -> str:
        return service(
            name,
            appwrite,
            entrypoint=None if name == "appwrite" else entrypoint(name),
            stop_grace_period="1s",  # schedulers never hear that they are to stop
            healthcheck=healthcheck("CMD-SHELL", "curl -fsS -o /dev/null http://localhost/v1/health/version")
            if name == "appwrite"
            else None,
            depends_on={
                "redis": {"condition": "service_started"},
                database: {"condition": "service_healthy" if modern else "service_started"},
            },
            environment=environment(name),
            volumes=[f"appwrite-{volume}:/storage/{volume}:rw" for volume in _VOLUMES] if name == "appwrite" else [],
        )

    kind = DATABASES[database]
    since = {"appwrite-console": "0.0.0", "appwrite-browser": "1.7.0", "appwrite-embedding": "1.9.5"}
    others = [name for name, first in since.items() if at_least(release, first)]
    services = [
        other("traefik", "traefik:3.6", command=["--providers.docker=true"], ports=ports, depends_on=["appwrite"]),
        *(own(name) for name in appwrite_services(release)),
        *(
            other(name, f"{name.replace('-', '/', 1)}:1.0.0")
            for name in dict.fromkeys((*service_names(release), *others))
            if name not in appwrite_services(release)
        ),
        other(
            "openruntimes-executor",
            "openruntimes/executor:0.25.4",
            stop_signal="SIGINT",
            healthcheck=healthcheck("CMD-SHELL", "curl -fsS -o /dev/null http://localhost/v1/health"),
            environment=[f"{name}=${source}" for name, source in _EXECUTOR.items()],
        ),
        other(
            "redis",
            "redis:7.4.7-alpine",
            command=["redis-server", "--maxmemory", "512mb"],
            healthcheck=healthcheck("CMD", "redis-cli", "ping"),
            volumes=["appwrite-redis:/data:rw"],
        ),
        other(
            database,
            kind.image,
            command=kind.command,
            entrypoint=kind.entrypoint,
            healthcheck=healthcheck(*kind.healthcheck),
            environment=kind.environment,
            volumes=[f"appwrite-{database}:{kind.data}:rw", *kind.volumes],
        ),
    ]
    volumes = "".join(f"  appwrite-{volume}:\n" for volume in (*_VOLUMES, "redis", database))
    return "services:\n" + "\n".join(services) + "\nnetworks:\n  appwrite:\n\nvolumes:\n" + volumes


def override(config: Mapping[str, Any], project: str, ports: tuple[int, int], image_prefix: str) -> str:
    """The docker-compose.override.yml that lets one of Appwrite's own files run beside a real Appwrite.

    `config` is the file as `docker compose config --no-interpolate --format json` prints it. Replaced are images, container names,
    networks' fixed names, what is mounted from the host outside the project directory, how often health is checked, and published
    ports, unless they are written with variables and so come from .env.
    """
    text = "services:\n"
    for name, service in config["services"].items():
        parts = {"image": image_prefix + service["image"], "container_name": f"{project}-{name}"}
        volumes = [f"./.testbed/{name}:/testbed:ro"]
        for volume in service.get("volumes", []):
            if volume["type"] == "bind" and volume["source"] in ("/var/run/docker.sock", "/tmp"):
                volumes.append(f"./.testbed/{name}/host:{volume['target']}")
        parts["volumes"] = volumes
        if "healthcheck" in service:
            parts["healthcheck"] = _checked(service["healthcheck"]["test"])
        text += f"  {name}:\n" + "".join(f"    {key}: {_flow(value)}\n" for key, value in parts.items())
        targets = [port["target"] for port in service.get("ports", []) if not isinstance(port, str)]
        if targets:
            published = [f"{host}:{target}" for host, target in zip(ports, targets, strict=True)]
            text += f"    ports: !override {_flow(published)}\n"
    text += "networks:\n"
    for name in config.get("networks", {}):
        text += f"  {name}:\n    name: {project}_{name}\n"
    return text


def appwrite_services(release: str) -> tuple[str, ...]:
    """The services that run the appwrite image in that release."""
    return tuple(
        name for name in service_names(release) if name.startswith("appwrite") and name != "appwrite-assistant"
    )


def _checked(test: str | Sequence[str]) -> dict[str, Any]:
    """A health check whose first answer comes soon, and which then is asked for seldom."""
    kind, *command = ("CMD-SHELL", test) if isinstance(test, str) else test
    shell = ["sh", "-c"] if kind == "CMD-SHELL" else []
    return {
        "test": ["CMD", "testbed-check", *shell, *command],
        "interval": "500ms",
        "timeout": "30s",
        "start_period": "120s",
    }


def _flow(value: Any) -> str:
    """A value in YAML's flow style, which JSON is."""
    return value if isinstance(value, str) else json.dumps(value)


def _quoted(value: str) -> str:
    escaped = re.sub(r'([\\"$`])', r"\\\1", value)
    return f'"{escaped}"' if value else ""
