# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose file and .env of a release, from the collection's catalogue. Pure: text in, text out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._base import SEPARATE, at_least, catalogue, service_names
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

# What ClickHouse mounts from the project directory.
CLICKHOUSE_FILES = {"clickhouse-config.xml": "<clickhouse></clickhouse>\n", "clickhouse-init.sh": "#!/bin/sh\n"}

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
_COMBINED_LITERALS = {
    "appwrite-worker": {"_APP_WORKER_MAX_COROUTINES": "78"},
    "appwrite-task-scheduler": {"_APP_WORKER_MAX_COROUTINES": "8"},
}
PORTS = {"web": 80, "websecure": 443, "mqtt": 8883, "mqtt_ws": 8084}
"""Traefik's entry points, the last two from 2.3.0 on, to the ports of its container."""


@dataclass(frozen=True)
class _Other:
    """A service of 2.x that does not run Appwrite's own image."""

    since: str
    image: str
    environment: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)


_OTHERS = {
    "appwrite-console": _Other("2.0.0", "appwrite/new:1.2.55-self-hosted", ("VITE_CONSOLE_PROFILE=self-hosted",)),
    "appwrite-browser": _Other(
        "2.0.0", "appwrite/browser:0.3.6", parts={"networks": ["browser"], "restart": None, "dns": ["1.1.1.1"]}
    ),
    "appwrite-geo": _Other(
        "2.0.0",
        "appwrite/geo:0.3.2",
        ("GEO_SECRET=$_APP_GEO_SECRET",),
        (
            "CMD-SHELL",
            "php -r \"exit(json_decode(file_get_contents('http://localhost/v1/health'))->status === 'ok' ? 0 : 1);\"",
        ),
    ),
    "orchestrator": _Other(
        "2.0.0",
        "ghcr.io/open-runtimes/orchestrator/orchestrator:2.2.2",
        ("ORCHESTRATOR_BACKEND=docker", "S3_ACCESS_KEY_ID=${_APP_STORAGE_S3_ACCESS_KEY:-}"),
        parts={"user": "root"},
    ),
    "appwrite-autogravity": _Other("2.1.0", "ghcr.io/appwrite/autogravity:0.0.11", ("MODEL_BACKEND=focalnet",)),
    "clickhouse": _Other(
        "2.0.0",
        "clickhouse/clickhouse-server:26.4.3-alpine",
        (*("CLICKHOUSE_DB=appwrite", "CLICKHOUSE_USER=appwrite"), "CLICKHOUSE_PASSWORD=${_APP_USAGE_PASS:-appwrite}"),
        (
            "CMD-SHELL",
            'clickhouse-client --user "$$CLICKHOUSE_USER" --password "$$CLICKHOUSE_PASSWORD" --query "SELECT 1" >/dev/null',
        ),
        (
            "appwrite-clickhouse:/var/lib/clickhouse:rw",
            "./clickhouse-config.xml:/etc/clickhouse-server/config.d/appwrite.xml:ro",
            "./clickhouse-init.sh:/docker-entrypoint-initdb.d/clickhouse-init.sh:ro",
        ),
    ),
    "appwrite-embedding": _Other("2.0.0", "appwrite/embedding:0.3.1", parts={"profiles": ["embedding"]}),
}
_WITH_SOCKET = ("traefik", "openruntimes-executor", "orchestrator")
_MQTT_CHECK = ("CMD", "php", "-r", "exit(@fsockopen('127.0.0.1', 1883) ? 0 : 1);")


def dotenv(release: str, database: str, ports: Sequence[int], image_prefix: str) -> str:
    """The .env as that release's command-line installer leaves it when every question is answered with Enter.

    All documented variables in the catalogue's order, with the public key and passwords. Quoted from 1.9.0, before that bare.

    ports: those of C(PORTS) on the host.
    """
    variables = catalogue()
    documented = (name for name in variables.names(release) if variables.documented(name, release))
    values = {name: variables.default(name, release) or "" for name in documented}
    if at_least(release, "1.9.0"):
        values.update(_APP_DB_ADAPTER=database, _APP_DB_HOST=database, _APP_DB_PORT=str(DATABASES[database].port))
    if at_least(release, "1.9.5"):
        values.update(_APP_HTTP_PORT=str(ports[0]), _APP_HTTPS_PORT=str(ports[1]))
        values.update(_APP_IMAGE=f"{image_prefix}appwrite/appwrite", _APP_VERSION=release, _APP_EXECUTOR_IMAGES="")
    if at_least(release, "2.3.0"):
        values.update(_APP_MQTT_PORT=str(ports[2]), _APP_MQTT_WSS_PORT=str(ports[3]))
    quote = _quoted if at_least(release, "1.9.0") else str
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items())


def compose(release: str, database: str, ports: Sequence[int], image_prefix: str, topology: str = "combined") -> str:
    """A compose file with the services of that release, and for each the variables that the catalogue lists for it.

    topology: of 2.x, "combined" or "separate".
    """
    variables = catalogue()
    modern = at_least(release, "1.9.5")  # image and ports from .env, health checks, no restart policy on most services
    second = at_least(release, "2.0.0")
    appwrite = f"{image_prefix}appwrite/appwrite:{release}"
    published = [f"{port}:{target}" for port, target in zip(ports, [80, 443], strict=False)]
    if modern:
        appwrite = "${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-latest}"
        published = ["${_APP_HTTP_PORT:-80}:80", "${_APP_HTTPS_PORT:-443}:443"]
    if at_least(release, "2.3.0"):
        published += ["${_APP_MQTT_PORT:-8883}:8883", "${_APP_MQTT_WSS_PORT:-8084}:8084"]

    def environment(service: str) -> list[str]:
        combined = _combined(service) if second else service
        literals = {**_LITERALS, **(_REALTIME_LITERALS if service == "appwrite-realtime" else {})} if modern else {}
        literals.update(_COMBINED_LITERALS.get(service, {}))
        names = (name for name in variables.names(release) if combined in variables.services(name, release))
        return [f"{name}={literals[name]}" if name in literals else name for name in names]

    def healthcheck(*test: str) -> dict[str, Any] | None:
        return {**_checked(test), "retries": 3} if modern and test else None

    def service(name: str, image: str, **parts: Any) -> str:
        stays_down = modern and (
            name != "appwrite-console" if not second else name in ("traefik", "appwrite", "redis", "postgresql")
        )
        volumes = [f"./.testbed/{name}:/testbed:ro", *parts.pop("volumes", [])]
        if second and name in _WITH_SOCKET:
            volumes.append(f"./.testbed/{name}/docker.sock:/var/run/docker.sock")
        parts = {
            "image": image,
            "restart": None if stays_down else "unless-stopped",
            "networks": ["appwrite"],
            **parts,
            "volumes": volumes,
        }
        return f"  {name}:\n" + "".join(f"    {key}: {_flow(value)}\n" for key, value in parts.items() if value)

    def other(name: str, image: str, **parts: Any) -> str:
        return service(name, image_prefix + image, environment=parts.pop("environment", environment(name)), **parts)

    def own(name: str) -> str:
        checks = {
            "appwrite": ("CMD-SHELL", "curl -fsS -o /dev/null http://localhost/v1/health/version"),
            "appwrite-mqtt": _MQTT_CHECK,
        }
        networks = {"networks": ["appwrite", "browser"]} if second and name in ("appwrite", "appwrite-worker") else {}
        return service(
            name,
            appwrite,
            entrypoint=None if name == "appwrite" else entrypoint(name),
            stop_grace_period="1s",  # schedulers never hear that they are to stop
            healthcheck=healthcheck(*checks.get(name, ())),
            depends_on={
                "redis": {"condition": "service_started"},
                database: {"condition": "service_healthy" if modern else "service_started"},
            },
            environment=environment(name),
            volumes=[f"appwrite-{volume}:/storage/{volume}:rw" for volume in _VOLUMES] if name == "appwrite" else [],
            **networks,
        )

    kind = DATABASES[database]
    if second:
        found = {name: each for name, each in _OTHERS.items() if at_least(release, each.since)}
        others = [
            other(
                name,
                each.image,
                environment=list(each.environment),
                healthcheck=healthcheck(*each.healthcheck),
                volumes=list(each.volumes),
                **each.parts,
            )
            for name, each in found.items()
        ]
        volumes = [*_VOLUMES, *(["clickhouse"] if "clickhouse" in found else [])]
    else:
        since = {"appwrite-console": "0.0.0", "appwrite-browser": "1.7.0", "appwrite-embedding": "1.9.5"}
        names = [*service_names(release), *(name for name, first in since.items() if at_least(release, first))]
        others = [
            other(name, f"{name.replace('-', '/', 1)}:1.0.0")
            for name in dict.fromkeys(names)
            if name not in appwrite_services(release)
        ]
        volumes = list(_VOLUMES)
    services = [
        other("traefik", "traefik:3.6", command=_traefik(release), ports=published, depends_on=["appwrite"]),
        *(own(name) for name in appwrite_services(release, topology)),
        *others,
        other(
            "openruntimes-executor",
            "openruntimes/executor:0.29.0" if second else "openruntimes/executor:0.25.4",
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
            command=kind.command[:1] if at_least(release, "2.4.0") and database == "postgresql" else kind.command,
            entrypoint=kind.entrypoint,
            healthcheck=healthcheck(*kind.healthcheck),
            environment=kind.environment,
            volumes=[f"appwrite-{database}:{_data(kind, release)}:rw", *kind.volumes],
        ),
    ]
    networks = "".join(f"  {name}:\n" for name in (["appwrite", "browser"] if second else ["appwrite"]))
    declared = "".join(f"  appwrite-{volume}:\n" for volume in (*volumes, "redis", database))
    return "services:\n" + "\n".join(services) + f"\nnetworks:\n{networks}\nvolumes:\n" + declared


def _combined(service: str) -> str:
    """The service of the topology C(combined) that does its work."""
    if service == "appwrite-task-stats-resources":
        return "appwrite-task-scheduler"
    return next((name for name in SEPARATE if service.startswith(f"{name}-")), service)


def _traefik(release: str) -> list[str]:
    points = list(PORTS.items())[: 4 if at_least(release, "2.3.0") else 2]
    return ["--providers.docker=true", *(f"--entrypoints.appwrite_{name}.address=:{port}" for name, port in points)]


def _data(kind: Database, release: str) -> str:
    """Where the volume is mounted. PostgreSQL 18 has its data in a directory below."""
    return kind.data.removesuffix("/18/data") if at_least(release, "2.4.0") else kind.data


def override(config: Mapping[str, Any], project: str, ports: Sequence[int], image_prefix: str) -> str:
    """The docker-compose.override.yml that lets one of Appwrite's own files run beside a real Appwrite.

    `config` is the file as `docker compose config --no-interpolate --format json` prints it. Replaced are images, container names,
    networks' and volumes' fixed names, limits that an engine in a container may not raise, what is mounted from the host outside the
    project directory, how often health is checked, and published ports, unless they are written with variables and so come from .env.
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
        if "ulimits" in service:
            text += "    ulimits: !reset null\n"
        if targets:
            published = [f"{host}:{target}" for host, target in zip(ports, targets, strict=False)]
            text += f"    ports: !override {_flow(published)}\n"
    for kind in ("networks", "volumes"):
        text += f"{kind}:\n"
        for name in config.get(kind, {}):
            text += f"  {name}:\n    name: {project}_{name}\n"
    return text


def appwrite_services(release: str, topology: str = "combined") -> tuple[str, ...]:
    """The services that run the appwrite image in that release."""
    names = [name for name in service_names(release) if name.startswith("appwrite") and name != "appwrite-assistant"]
    if at_least(release, "2.0.0") and topology == "separate":
        for combined, ends in SEPARATE.items():
            names.remove(combined)
            names += [f"{combined}-{end}" for end in ends]
        names.append("appwrite-task-stats-resources")
    return tuple(names)


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
