# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation in which every control passes, and ways to spoil it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Answer,
    Certificate,
    Endpoint,
    EnvironmentFile,
    Escrow,
    File,
    Inside,
    Observation,
    Owned,
    ProjectFiles,
    Running,
    Stored,
    seen,
)

KEY = "_APP_OPENSSL_KEY_V1"
NOT_A_KEY = "NotARealKeyAtAll" + "0123456789abcdef" * 3
TODAY = datetime.date(2026, 11, 24)
DIRECTORY = "/opt/appwrite"
SECURE = {
    KEY: NOT_A_KEY,
    "_APP_ENV": "production",
    "_APP_OPTIONS_ABUSE": "enabled",
    "_APP_OPTIONS_FORCE_HTTPS": "enabled",
    "_APP_OPTIONS_ROUTER_FORCE_HTTPS": "enabled",
    "_APP_OPTIONS_ROUTER_PROTECTION": "enabled",
    "_APP_DOMAIN": "appwrite.notarealcompany.com",
    "_APP_DOMAIN_FUNCTIONS": "functions.notarealcompany.com",
    "_APP_DOMAIN_SITES": "sites.notarealcompany.com",
    "_APP_DOMAIN_TARGET_CNAME": "appwrite.notarealcompany.com",
    "_APP_DOMAIN_TARGET_A": "192.0.2.10",
    "_APP_DOMAIN_TARGET_AAAA": "2001:db8::10",
    "_APP_CONSOLE_WHITELIST_ROOT": "enabled",
    "_APP_CONSOLE_SESSION_ALERTS": "enabled",
    "_APP_EMAIL_CERTIFICATES": "certs@notarealcompany.com",
    "_APP_EXECUTOR_SECRET": "NotARealExecutorWord1",
    "_APP_DB_PASS": "NotARealDatabaseWord1",
    "_APP_DB_ROOT_PASS": "NotARealRootWord1",
    "_APP_REDIS_PASS": "NotARealRedisWord1",
    "_APP_SMTP_HOST": "smtp.notarealcompany.com",
    "_APP_SMTP_PORT": "587",
    "_APP_SMTP_SECURE": "tls",
    "_APP_GRAPHQL_INTROSPECTION": "disabled",
    "_APP_STORAGE_ANTIVIRUS": "disabled",
    "_APP_LOGGING_CONFIG": "sentry://NotARealLoggingWord1@1",
    "_APP_MAINTENANCE_RETENTION_AUDIT": "1209600",
    "_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE": "15778800",
    "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS": "enabled",
    "_APP_SYSTEM_SECURITY_EMAIL_ADDRESS": "certs@notarealcompany.com",
    "_APP_DOMAIN_TARGET": "appwrite.notarealcompany.com",
    "_APP_LOGGING_PROVIDER": "sentry",
    "_APP_JOBS_SECRET": "NotARealJobsWord1",
    "_APP_GEO_SECRET": "NotARealGeoWord1",
    "_APP_NOTIFICATIONS_TRACKING_SECRET": "NotARealTrackingWord1",
    "_APP_USAGE_PASS": "NotARealUsageWord1",
    "_APP_CONNECTIONS_DB_USAGE": "http://q:NotARealUsageWord1@u:1/d",
    "_APP_CONNECTIONS_DB_EXECUTIONS": "http://q:NotARealUsageWord1@u:1/d",
}
"""Of every release; an installation gets those that its own reads."""


def secured(release: str = "1.9.6", values: Mapping[str, str | None] | None = None, **parts: Any) -> Observation:
    """C(values) are variables that differ from the secure ones, C(None) for none at all; C(parts) are parts of the observation."""
    wanted = {**{name: value for name, value in SECURE.items() if catalogue.is_read(name, release)}, **(values or {})}
    present = {name: value for name, value in wanted.items() if value is not None}
    found = Observation(
        today=TODAY,
        directory=DIRECTORY,
        release=release,
        release_is_known=True,
        env=EnvironmentFile(File(f"{DIRECTORY}/.env", 0o600, (KEY,)), present),
        config=_config(release, present),
        containers=(),
        inside=Inside(
            {"database": True, "cache": True, "smtp": True, "antivirus": None},
            {name: (True, True, 20) for name in ("uploads", "cache", "config", "certificates")},
            cache_is_open=False,
        ),
        endpoint=Endpoint(
            "appwrite.notarealcompany.com",
            "192.0.2.10:443",
            Answer(301, "https://appwrite.notarealcompany.com/v1/health/version"),
            {
                path: Answer(302, f"https://appwrite.notarealcompany.com{path}")
                for path in ("/", "/console/", "/v1/realtime")
            },
            Answer(200, hsts="max-age=10886400"),
            False,
            Certificate(
                "CN=Example CA", ("appwrite.notarealcompany.com",), _noon(2026, 10, 1), _noon(2027, 3, 1), None, True
            ),
            {"TLSv1": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": True},
        ),
        escrow=Escrow(fingerprint(NOT_A_KEY), TODAY),
        stored=Stored(50, 0),
        project=ProjectFiles(0, (Owned(DIRECTORY, 0, 0o755), Owned(f"{DIRECTORY}/docker-compose.yml", 0, 0o644))),
    )
    found = replace(found, containers=_containers(seen(found.config)))
    return replace(found, **parts)


def with_containers(observation: Observation, change: Callable[[Running], Running]) -> Observation:
    """The same with every container as C(change) makes it."""
    return replace(observation, containers=tuple(change(container) for container in seen(observation.containers)))


def with_service(observation: Observation, name: str, **parts: Any) -> Observation:
    """The same with these parts of one service of the compose file, and of its container where it has them too."""
    config = seen(observation.config)
    services = {**config["services"], name: {**config["services"].get(name, {}), **parts}}
    return replace(observation, config={**config, "services": services})


def _config(release: str, values: Mapping[str, str]) -> dict[str, Any]:
    services: dict[str, Any] = {}
    for name in values:
        for service in catalogue.services(name, release):
            services.setdefault(service, {"environment": {}})["environment"][name] = values[name]
    for name, service in services.items():
        service["image"] = f"appwrite/appwrite:{release}"
    services["traefik"] = {
        "image": "traefik:3.6",
        "command": ["--providers.docker=true"],
        "ports": [{"target": 80, "published": "80"}, {"target": 443, "published": "443"}],
        "volumes": [
            {"type": "bind", "source": "/var/run/docker.sock", "target": "/var/run/docker.sock", "read_only": True}
        ],
    }
    services["redis"] = {
        "image": "redis:7.4.7-alpine",
        "command": ["redis-server", "--requirepass", values.get("_APP_REDIS_PASS", "")],
    }
    services["mariadb"] = {
        "image": "mariadb:10.11",
        "environment": {
            "MYSQL_PASSWORD": values.get("_APP_DB_PASS", ""),
            "MYSQL_ROOT_PASSWORD": values.get("_APP_DB_ROOT_PASS", ""),
        },
        "volumes": [{"type": "volume", "source": "appwrite_appwrite-mariadb", "target": "/var/lib/mysql"}],
    }
    for service in services.values():
        service["restart"] = "unless-stopped"
    return {"name": "appwrite", "services": services, "volumes": {}}


def _containers(config: Mapping[str, Any]) -> tuple[Running, ...]:
    return tuple(
        Running(
            name,
            "running",
            "healthy" if name in ("mariadb", "redis") else None,
            service["image"],
            service["restart"],
            tuple(("0.0.0.0", int(port["published"]), port["target"]) for port in service.get("ports", ())),
            tuple(
                (mount["source"], mount["target"], not mount.get("read_only")) for mount in service.get("volumes", ())
            ),
            service.get("environment", {}),
            True,
        )
        for name, service in sorted(config["services"].items())
    )


def _noon(year: int, month: int, day: int) -> datetime.datetime:
    return datetime.datetime(year, month, day, 12, tzinfo=datetime.timezone.utc)
