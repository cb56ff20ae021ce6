# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords: the public ones, the missing ones, and those that a DSN reads otherwise."""

from __future__ import annotations

from dataclasses import replace

from support.observations import secured, with_containers, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Inside, Observation, Unseen

DATABASE, ROOT, EXECUTOR, REDIS = "_APP_DB_PASS", "_APP_DB_ROOT_PASS", "_APP_EXECUTOR_SECRET", "_APP_REDIS_PASS"
NO_ENGINE = Unseen("the engine does not answer")


def without_docker(**values: str) -> Observation:
    return replace(secured(values=values), config=NO_ENGINE, containers=NO_ENGINE)


def executor(secret: str) -> Observation:
    return with_service(secured(), "openruntimes-executor", environment={"OPR_EXECUTOR_SECRET": secret})


def newest(**values: str | None) -> Observation:
    return secured("2.4.0", values)


def clickhouse(password: str) -> Observation:
    return with_service(newest(), "clickhouse", environment={"CLICKHOUSE_PASSWORD": password})


def mongodb(password: str, release: str = "1.9.6") -> Observation:
    made = secured(release, {ROOT: password})
    services = {name: service for name, service in made.config["services"].items() if name != "mariadb"}
    return with_service(
        replace(made, config={**made.config, "services": services}),
        "mongodb",
        environment={"MONGO_INITDB_ROOT_PASSWORD": password},
    )


def external() -> Observation:
    made = secured(values={ROOT: "rootsecretpassword"})
    services = {name: service for name, service in made.config["services"].items() if name != "mariadb"}
    return replace(
        made,
        config={"services": services},
        containers=tuple(each for each in made.containers if each.service != "mariadb"),
    )


def redis(is_open: bool | None, release: str = "1.9.6", values: dict | None = None, **parts) -> Observation:
    made = secured(release, values)
    made = replace(
        made, inside=replace(made.inside, cache_is_open=is_open) if isinstance(made.inside, Inside) else made.inside
    )
    return with_service(made, "redis", **parts) if parts else made


STOCK = ["redis-server", "--maxmemory", "512mb", "--maxmemory-policy", "allkeys-lru"]

CASES = {
    "secrets.database_password": {
        "fail": {
            "the default": (
                secured(values={DATABASE: "password"}),
                "_APP_DB_PASS is the public default",
                "MYSQL_PASSWORD is the public default in container of mariadb",
                "docker compose exec mariadb mariadb -u root -p",
            ),
            "empty": (secured(values={DATABASE: ""}), "is empty"),
            "in a container alone": (
                with_containers(
                    secured(),
                    lambda container: (
                        replace(container, environment={**container.environment, DATABASE: "password"})
                        if container.service == "appwrite"
                        else container
                    ),
                ),
                "in container of appwrite",
            ),
            "in the oldest release": secured("1.4.14", {DATABASE: "password"}),
            "without docker": without_docker(**{DATABASE: "password"}),
        },
        "pass": {"own": secured()},
        "unknown": {"containers unseen": replace(secured(), containers=NO_ENGINE), "without docker": without_docker()},
    },
    "secrets.database_root_password": {
        "fail": {
            "the default": (
                secured(values={ROOT: "rootsecretpassword"}),
                "MYSQL_ROOT_PASSWORD is the public default in",
            ),
            "of MongoDB": (
                mongodb("rootsecretpassword"),
                "MONGO_INITDB_ROOT_PASSWORD is the public default",
                "mongosh -u root -p",
            ),
            "empty": (mongodb(""), "is empty"),
            "without docker": without_docker(**{ROOT: "rootsecretpassword"}),
        },
        "pass": {"own": secured(), "own of MongoDB": mongodb("NotARealMongoWord1")},
        "not_applicable": {"a database elsewhere": external()},
        "unknown": {"without docker": without_docker()},
    },
    "secrets.executor_secret": {
        "fail": {
            "the default": (
                secured(values={EXECUTOR: "your-secret-key"}),
                "the public default",
                "appwrite_security_replace_default_secrets: true",
            ),
            "empty": secured(values={EXECUTOR: ""}),
            "zero": (secured(values={EXECUTOR: "0"}), "is empty"),
            "of the executor alone": (
                executor("your-secret-key"),
                "OPR_EXECUTOR_SECRET is the public default in service openruntimes-executor",
            ),
        },
        "pass": {"own": secured(), "own of the executor": executor("NotARealExecutorWord1")},
    },
    "secrets.jobs_secret": {
        "fail": {
            "the default": (
                newest(_APP_JOBS_SECRET="your-secret-key"),
                "the public default",
                "replace_default_secrets: true",
            ),
            "empty": newest(_APP_JOBS_SECRET=""),
        },
        "pass": {"own": newest()},
        "not_applicable": {"an earlier release": secured(), "an earlier release without docker": without_docker()},
    },
    "secrets.geo_secret": {
        "fail": {
            "the default": newest(_APP_GEO_SECRET="your-secret-key"),
            "at the other end": (
                with_service(newest(), "appwrite-geo", environment={"GEO_SECRET": "your-secret-key"}),
                "GEO_SECRET is the public default in service appwrite-geo",
            ),
        },
        "pass": {"own": newest()},
        "not_applicable": {"an earlier release": secured()},
    },
    "secrets.tracking_secret": {
        "fail": {"the default": newest(_APP_NOTIFICATIONS_TRACKING_SECRET="your-secret-key")},
        "pass": {"own": newest()},
        "not_applicable": {"an earlier release": secured()},
    },
    "secrets.usage_password": {
        "fail": {
            "the default": (
                newest(_APP_USAGE_PASS="appwrite"),
                "_APP_USAGE_PASS is the public default",
                "before ClickHouse",
            ),
            "in a connection string": (
                newest(_APP_CONNECTIONS_DB_USAGE="http://appwrite:appwrite@ch.notarealcompany.com:8123/usage"),
                "_APP_CONNECTIONS_DB_USAGE is the public default",
            ),
            "of ClickHouse alone": (clickhouse("appwrite"), "CLICKHOUSE_PASSWORD is the public default"),
        },
        "pass": {"own": newest(), "own of ClickHouse": clickhouse("NotARealUsageWord1")},
        "not_applicable": {"an earlier release": secured()},
        "unknown": {"containers unseen": replace(newest(), containers=NO_ENGINE)},
    },
    "secrets.webhook_secrets": {
        "fail": {
            "of GitHub": (
                newest(_APP_VCS_GITHUB_WEBHOOK_SECRET="github-webhook-secret"),
                "GITHUB_WEBHOOK_SECRET is the public",
            ),
            "of Gitea": newest(_APP_VCS_GITEA_WEBHOOK_SECRET="gitea-webhook-secret"),
            "an earlier release": secured(values={"_APP_VCS_GITHUB_WEBHOOK_SECRET": "change-me"}),
        },
        "pass": {"own": newest(_APP_VCS_GITHUB_WEBHOOK_SECRET="NotARealHookWord1")},
        "not_applicable": {"none": newest(), "empty": newest(_APP_VCS_GITEA_WEBHOOK_SECRET="")},
    },
    "secrets.others_own": {
        "fail": {
            "a template's": secured(values={"_APP_SMTP_PASSWORD": "change_me"}),
            "without docker": (without_docker(_APP_SMTP_PASSWORD="your-password"), "in .env"),
        },
        "pass": {"own": secured(values={"_APP_SMTP_PASSWORD": "NotARealMailWord1"})},
        "not_applicable": {"none": secured(values={"_APP_SMTP_PASSWORD": "", "_APP_LOGGING_CONFIG": ""})},
    },
    "secrets.redis_password": {
        "fail": {
            "open": (
                redis(True, values={REDIS: None}),
                "answers whoever reaches it",
                "could not log in",
                "docker compose port redis",
            ),
            "open though a password is set": (redis(True), "although _APP_REDIS_PASS is set"),
            "a later release": (redis(True, "2.1.0", {REDIS: None}), "answers whoever reaches it", "--requirepass"),
            "not asked, of the compose file": (
                redis(None, command=STOCK, image="redis:7.4.7-alpine"),
                "sets no password",
            ),
            "not asked, command of the image": redis(None, command=None, image="docker.io/library/redis:7@sha256:00"),
        },
        "pass": {
            "refuses": secured(),
            "refuses, and nobody knows the rest": replace(without_docker(), inside=secured().inside),
        },
        "unknown": {
            "not asked, perhaps a password": redis(None),
            "not asked, a file of its own": redis(None, command=["redis-server", "/etc/redis.conf"], image="redis:7"),
            "not asked, another image": redis(None, command=STOCK, image="valkey:8"),
            "elsewhere": (replace(external(), inside=Unseen("the container appwrite does not run")), "does not run"),
            "without docker": replace(without_docker(), inside=NO_ENGINE),
        },
    },
    "secrets.dsn_safe": {
        "fail": {
            "database": (
                secured(values={DATABASE: "NotAReal/DatabaseWord1"}),
                "_APP_DB_PASS: the value must not contain",
                "docker compose exec mariadb mariadb -u root -p",
            ),
            "percent and two hex digits": secured(values={DATABASE: "NotAReal%41DatabaseWord1"}),
            "Redis": (secured(values={REDIS: "NotARealRedis#Word1"}), f"appwrite_security_variables: {{{REDIS}: "),
            "name of the database": secured(values={"_APP_DB_SCHEMA": "app/write"}),
            "root, in the health check of MongoDB": (mongodb("NotAReal$RootWord1"), "health check of MongoDB"),
            "a literal in the compose file": with_service(
                secured(), "appwrite", environment={DATABASE: "NotAReal=DatabaseWord1"}
            ),
            "without docker": (
                without_docker(**{DATABASE: "NotAReal,DatabaseWord1"}),
                "after it was changed in the database",
            ),
        },
        "pass": {
            "letters and digits": secured(),
            "root before MongoDB": secured("1.8.1", {ROOT: "NotAReal$RootWord1"}),
        },
        "unknown": {"without docker": without_docker()},
    },
}
