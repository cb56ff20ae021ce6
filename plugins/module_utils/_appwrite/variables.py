# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: every environment variable of every Appwrite release, its default, its kind and who receives it.

A variable has rows ``(since, default, services)``; the newest row whose release is not newer than the one asked for
counts. C(default) is the installer's, C(None) if C(variables.php) does not name the variable. C(services) are
the compose services that list it, less their C(appwrite-) prefix: C(@name) is a group of C(_SERVICE_GROUPS),
C(-name) takes one out, C($) means that no service lists it but the compose file itself inserts its value.
C(unread) is the first release in which services list the variable but ignore C(.env), because the code no longer
looks at it or the compose file gives a literal; C(use) is the variable that took its place.

To add a release: its number in C(RELEASES); a row wherever a default or a list changed; new variables at the place
that C(variables.php) gives them.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Iterable, Mapping, Sequence, Tuple, TypeVar

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.kinds import SECRET_KINDS, misfit
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.placeholder import is_placeholder

KEY = "_APP_OPENSSL_KEY_V1"

RELEASES: tuple[str, ...] = ("1.4.14", "1.5.11", "1.6.2", "1.7.4", "1.8.1", "1.9.0", "1.9.6", "2.0.0", "2.4.0")
"""Those whose files the rows are from. Early patch releases of 1.5 and 1.6 name a few services differently; 1.9.5 is as
1.9.6, and a variable that came with another patch release has a row from it.

2.0.0 was read from the development state of 2026-08-21 (appwrite/appwrite 0cefd0615350, C(variables.php) and the generated
compose file), and what is known to have changed until the release. 2.4.0 was read from the compose file in the
documentation (33310e0f8036), which leaves out DocumentsDB and VectorsDB: its C(variables.php) was not, so that defaults are those of
2.0.0. Of 2.1 to 2.3 there are only the rows of which a changelog or a pull request says the release. All are of the usual
topology, C(combined); which services a project has otherwise, its compose file says."""
NEWEST = RELEASES[-1]
_OLDEST = (1, 4)

_SERVICE_GROUPS = {
    "tasks": (
        ("1.4", "maintenance schedule usage"),
        ("1.5", "task-maintenance task-scheduler-functions task-scheduler-messages"),
        (
            "1.6",
            "task-maintenance task-scheduler-executions task-scheduler-functions task-scheduler-messages "
            "task-stats-resources",
        ),
        (
            "1.9.5",
            "task-interval task-maintenance task-scheduler-executions task-scheduler-functions "
            "task-scheduler-messages task-stats-resources",
        ),
    ),
    "workers": (
        (
            "1.4",
            "worker-audits worker-builds worker-certificates worker-databases worker-deletes worker-functions "
            "worker-mails worker-messaging worker-migrations worker-webhooks",
        ),
        (
            "1.5",
            "worker-audits worker-builds worker-certificates worker-databases worker-deletes worker-functions "
            "worker-mails worker-messaging worker-migrations worker-usage worker-usage-dump worker-webhooks",
        ),
        (
            "1.6",
            "worker-audits worker-builds worker-certificates worker-databases worker-deletes worker-functions "
            "worker-mails worker-messaging worker-migrations worker-stats-resources worker-stats-usage "
            "worker-webhooks",
        ),
        (
            "1.9.5",
            "worker-audits worker-builds worker-certificates worker-databases worker-deletes worker-executions "
            "worker-functions worker-mails worker-messaging worker-migrations worker-screenshots "
            "worker-stats-resources worker-stats-usage worker-webhooks",
        ),
    ),
    "all": (("1.4", "appwrite realtime @tasks @workers"), ("2.4", "appwrite mqtt realtime @tasks @workers")),
    "maintenance": (("1.4", "maintenance"), ("1.5", "task-maintenance")),
    "storage": (
        ("1.4", "appwrite worker-builds worker-deletes"),
        ("1.5", "appwrite worker-builds worker-deletes worker-messaging"),
        ("1.9.5", "appwrite worker-builds worker-deletes worker-messaging worker-screenshots"),
    ),
    "targets": (
        ("1.4", "appwrite @maintenance worker-certificates worker-migrations"),
        ("1.9.5", "appwrite task-interval @maintenance worker-certificates worker-migrations"),
    ),
    "schedulers": (("1.4", "task-scheduler-executions task-scheduler-functions"),),
    "functions": (("1.4", "appwrite worker-builds worker-functions"),),
    "vectors": (("1.4", "appwrite realtime worker-databases"),),
}

_COMBINED = (("worker-", "worker"), ("task-scheduler-", "task-scheduler"), ("task-stats-resources", "task-scheduler"))
"""From 2.0.0 the usual topology runs what begins so in one service."""

_LATER_KINDS = {
    "_APP_CONSOLE_WHITELIST_EMAILS": ("2.0", "email patterns"),
    "_APP_CONSOLE_COUNTRIES_DENYLIST": ("2.0", "loose countries"),
    "_APP_REDIS_USER": ("2.1", "text"),
    "_APP_REDIS_PASS": ("2.1", "secret"),
}
"""Kinds that became wider: Appwrite trims and folds the lists' entries (C(EmailWhitelist.php), C(shared/api/auth.php),
both of 2026-08), and encodes Redis' user and password in the DSN (appwrite/appwrite#13622)."""

UNSET = ("", "0")
"""What Appwrite reads as unset, in every variable: it asks PHP for C(getenv($name) ?: $default) (Appwrite 1.4.14 to
1.9.6). Only C(_APP_TRUSTED_PROXIES) (2.4.0) takes empty for nobody."""

DATABASE_PORTS = {"mariadb": "3306", "mongodb": "27017", "postgresql": "5432"}
"""The bundled database services and their ports, which the installer sets from the adapter since 1.9.0."""

DATABASE_DSNS = ("_APP_CONNECTIONS_DB_CONSOLE", "_APP_CONNECTIONS_DB_PROJECT")
REDIS_DSNS = ("_APP_CONNECTIONS_CACHE", "_APP_CONNECTIONS_QUEUE", "_APP_CONNECTIONS_PUBSUB")
"""What Appwrite 1.4.0 to 1.6.1 reads before C(_APP_DB_HOST) and C(_APP_REDIS_HOST): a list of servers each (C(app/init.php))."""

USAGE = ("_APP_USAGE_PASS", "_APP_CONNECTIONS_DB_USAGE", "_APP_CONNECTIONS_DB_EXECUTIONS")
"""ClickHouse's password, and the connection strings that repeat it (2.4.0)."""

ALIASES = {
    "_APP_DB_PASS": ("MYSQL_PASSWORD", "MARIADB_PASSWORD", "MONGO_INITDB_PASSWORD", "POSTGRES_PASSWORD"),
    "_APP_DB_ROOT_PASS": ("MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD", "MONGO_INITDB_ROOT_PASSWORD"),
    "_APP_EXECUTOR_SECRET": ("OPR_EXECUTOR_SECRET",),
    "_APP_GEO_SECRET": ("GEO_SECRET",),
    "_APP_USAGE_PASS": ("CLICKHOUSE_PASSWORD",),
}
"""What the compose files call a secret for the service at the other end."""

_NOBODYS_DSN = re.compile(r"[a-z][a-z0-9+.-]*://localhost/?")
_SHELL = re.compile(r"[\s\"'`$&|;<>()\[\]{}\\*~!]")


@dataclass(frozen=True)
class Variable:
    """One variable: its category in C(variables.php) (C(Compose): only the compose file names it), its kind, whether
    its value must never be shown (C(secret)), whether changing it in C(.env) alone breaks an installation with data
    (C(sticky)), and the values of a secret that the whole world knows: the installer's defaults and those that
    Appwrite's documentation hands out. The last three fields are the catalogue's
    own.
    """

    name: str
    group: str
    kind: str
    secret: bool
    sticky: bool
    public_defaults: tuple[str, ...]
    rows: tuple[tuple[str, str | None, str], ...]
    unread: str
    successor: str


def _v(
    name: str,
    kind: str,
    *rows: tuple[str, str | None, str],
    sticky: bool = False,
    unread: str = "",
    use: str = "",
    public: str = "",
) -> Callable[[str], Variable]:
    secret = kind in SECRET_KINDS
    defaults = (public, *(default for since, default, services in rows if "://" not in (default or "")))
    known = tuple(dict.fromkeys(filter(None, defaults))) if secret else ()
    return lambda group: Variable(name, group, kind, secret, sticky, known, rows, unread, use)


_TABLE: tuple[tuple[str, tuple[Callable[[str], Variable], ...]], ...] = (
    (
        "General",
        (
            _v("_APP_ENV", "choice:production development", ("1.4", "production", "@all")),
            _v(
                "_APP_EDITION", "text", ("1.9.5", None, "appwrite"), ("2.0", "self-hosted", "appwrite task-maintenance")
            ),
            _v("_APP_LOCALE", "text", ("1.4", "en", "appwrite")),
            _v(
                "_APP_OPTIONS_ABUSE",
                "switch",
                ("1.4", "enabled", "appwrite realtime"),
                ("2.4", "enabled", "appwrite mqtt realtime"),
            ),
            _v("_APP_OPTIONS_ABUSE_INCREASED_LIMIT_PROJECTS", "list", ("2.4", None, "appwrite")),
            _v("_APP_LOCKING_ENABLED", "switch", ("2.0", "enabled", "appwrite")),
            _v(
                "_APP_OPTIONS_FORCE_HTTPS",
                "switch",
                ("1.4", "disabled", "appwrite worker-builds"),
                ("1.6", "disabled", "@functions worker-mails"),
                (
                    "1.9.5",
                    "disabled",
                    "appwrite @schedulers worker-builds worker-functions "
                    "worker-mails worker-migrations worker-screenshots",
                ),
            ),
            _v(
                "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS",
                "switch",
                ("1.4.4", "disabled", "appwrite worker-builds"),
                ("1.7", "disabled", ""),
                use="_APP_OPTIONS_ROUTER_FORCE_HTTPS",
            ),
            _v("_APP_OPTIONS_ROUTER_FORCE_HTTPS", "switch", ("1.7", "disabled", "appwrite worker-builds")),
            _v(
                "_APP_OPTIONS_ROUTER_PROTECTION",
                "switch",
                ("1.4.4", "disabled", "appwrite realtime"),
                ("2.4", "disabled", "appwrite mqtt realtime"),
            ),
            _v("_APP_ROUTER_AUTO_CERTIFICATES", "switch", ("2.0", "enabled", "appwrite task-maintenance")),
            _v(
                "_APP_OPENSSL_KEY_V1",
                "secret",
                ("1.4", "your-secret-key", "@all -worker-messaging"),
                ("1.5", "your-secret-key", "@all"),
                sticky=True,
            ),
            _v("_APP_NOTIFICATIONS_TRACKING_SECRET", "secret", ("2.0", "your-secret-key", "appwrite worker")),
            _v(
                "_APP_DOMAIN",
                "hostname",
                ("1.4", "localhost", "appwrite @maintenance worker-builds worker-certificates worker-migrations"),
                (
                    "1.6",
                    "localhost",
                    "appwrite @maintenance worker-builds worker-certificates "
                    "worker-functions worker-mails worker-migrations",
                ),
                (
                    "1.9.5",
                    "localhost",
                    "appwrite task-interval @maintenance @schedulers worker-builds "
                    "worker-certificates worker-functions worker-mails worker-migrations",
                ),
            ),
            _v(
                "_APP_CUSTOM_DOMAIN_DENY_LIST",
                "list",
                ("1.6.2", "example.com,test.com,app.example.com", ""),
                ("1.9.5", "example.com,test.com,app.example.com", "appwrite"),
            ),
            _v(
                "_APP_DOMAIN_FUNCTIONS",
                "hostname",
                ("1.4", "functions.localhost", "appwrite @maintenance worker-certificates"),
                ("1.9.5", "functions.localhost", "appwrite task-interval @maintenance @schedulers worker-certificates"),
            ),
            _v(
                "_APP_DOMAIN_SITES",
                "hostnames",
                ("1.7", "sites.localhost", "appwrite worker-builds"),
                ("1.9.5", "sites.localhost", "appwrite task-interval @schedulers worker-builds worker-certificates"),
            ),
            _v(
                "_APP_DOMAIN_TARGET",
                "hostname",
                ("1.4", "localhost", "@targets"),
                ("1.7", "localhost", ""),
                use="_APP_DOMAIN_TARGET_CNAME",
            ),
            _v("_APP_DOMAIN_TARGET_CNAME", "hostname", ("1.7", "localhost", "@targets")),
            _v("_APP_DOMAIN_TARGET_AAAA", "ip", ("1.7", "::1", "@targets")),
            _v("_APP_DOMAIN_TARGET_A", "ips", ("1.7", "127.0.0.1", "@targets")),
            _v("_APP_DOMAIN_TARGET_CAA", "hostname", ("1.8", "", "@targets")),
            _v("_APP_DNS", "ips", ("1.8", "8.8.8.8", "@targets")),
            _v("_APP_DNS_EXTERNAL", "ips", ("2.4", None, "appwrite worker")),
            _v("_APP_ALLOWED_INTERNAL_ADDRESSES", "networks", ("2.4", None, "appwrite worker")),
            _v("_APP_CONSOLE_WHITELIST_ROOT", "switch", ("1.4", "enabled", "appwrite")),
            _v("_APP_CONSOLE_WHITELIST_EMAILS", "emails", ("1.4", "", "appwrite")),
            _v("_APP_CONSOLE_WHITELIST_IPS", "ips", ("1.4", "", "appwrite")),
            _v("_APP_CONSOLE_COUNTRIES_DENYLIST", "countries", ("1.9.5", None, "appwrite")),
            _v(
                "_APP_CONSOLE_URL_SCHEME",
                "text",
                ("2.0", "legacy", "appwrite worker"),
                ("2.3", "legacy", ""),
                unread="2.0",
                use="_APP_CONSOLE_URL",
            ),
            _v("_APP_CONSOLE_URL", "text", ("2.3", None, "appwrite worker")),
            _v(
                "_APP_CONSOLE_HOSTNAMES",
                "list",
                ("1.4.14", "", "appwrite"),
                ("2.4", "", "appwrite realtime"),
                unread="1.9",
                use="_APP_CONSOLE_DOMAIN",
            ),
            _v("_APP_CONSOLE_DOMAIN", "hostname", ("1.9.5", None, "appwrite @schedulers worker-builds")),
            _v("_APP_CONSOLE_SCHEMA", "list", ("1.9.5", None, "appwrite @schedulers")),
            _v("_APP_CONSOLE_TRUSTED_PROJECTS", "list", ("1.9.5", None, "appwrite worker-builds")),
            _v("_APP_CONSOLE_GITHUB_APP_ID", "text", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_GITHUB_SECRET", "secret", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_GITLAB_APP_ID", "text", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_GITLAB_SECRET", "secret", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_BITBUCKET_APP_ID", "text", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_BITBUCKET_SECRET", "secret", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_GOOGLE_APP_ID", "text", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_GOOGLE_SECRET", "secret", ("2.4", None, "appwrite")),
            _v("_APP_CONSOLE_GITLAB_ENDPOINT", "text", ("2.4", None, "appwrite")),
            _v("_APP_PWNED_PASSWORDS_DSN", "secret", ("2.3", None, "appwrite")),
            _v("_APP_SYSTEM_EMAIL_NAME", "text", ("1.4", "Appwrite", "appwrite worker-mails")),
            _v(
                "_APP_SYSTEM_EMAIL_ADDRESS",
                "email",
                ("1.4", "team@appwrite.io", "appwrite worker-mails"),
                ("1.6", "noreply@appwrite.io", "appwrite worker-mails"),
            ),
            _v(
                "_APP_SYSTEM_TEAM_EMAIL",
                "email",
                ("1.6", "team@appwrite.io", ""),
                ("1.9.5", "team@appwrite.io", "appwrite"),
            ),
            _v("_APP_SYSTEM_RESPONSE_FORMAT", "text", ("1.4", "", "appwrite")),
            # The address for certificates before 1.5.8.
            _v(
                "_APP_SYSTEM_SECURITY_EMAIL_ADDRESS",
                "email",
                ("1.4", "certs@appwrite.io", "appwrite worker-certificates worker-migrations worker-webhooks"),
                ("1.5.8", "certs@appwrite.io", "worker-webhooks"),
                ("1.6", "certs@appwrite.io", "worker-deletes worker-webhooks"),
                ("1.9.5", "certs@appwrite.io", ""),
                use="_APP_EMAIL_CERTIFICATES",
            ),
            _v("_APP_EMAIL_SECURITY", "email", ("1.5.8", "", "appwrite worker-migrations worker-webhooks")),
            _v(
                "_APP_EMAIL_CERTIFICATES",
                "email",
                ("1.5.8", "", "worker-certificates"),
                ("1.6", "", "worker-certificates worker-deletes"),
            ),
            _v(
                "_APP_USAGE_STATS",
                "switch",
                ("1.4", "enabled", "appwrite realtime usage worker-functions"),
                ("1.5", "enabled", "appwrite realtime worker-functions worker-usage worker-usage-dump"),
                (
                    "1.6",
                    "enabled",
                    "appwrite realtime task-stats-resources worker-functions worker-stats-resources worker-stats-usage",
                ),
                ("2.0", None, "appwrite realtime task-scheduler worker"),
            ),
            _v(
                "_APP_LOGGING_PROVIDER",
                "text",
                ("1.4", "", "appwrite realtime usage @workers"),
                ("1.5", "", "appwrite realtime @workers"),
                ("1.6", "", ""),
                ("1.9.5", "", "worker-functions"),
                ("2.1", "", ""),
                use="_APP_LOGGING_CONFIG",
            ),
            _v(
                "_APP_LOGGING_CONFIG",
                "secret",
                ("1.4", "", "appwrite realtime usage @workers"),
                ("1.5", "", "appwrite realtime @workers"),
                ("1.6", "", "appwrite realtime task-stats-resources @workers"),
                ("2.0", "", "appwrite realtime worker"),
                ("2.4", "", "appwrite mqtt realtime worker"),
            ),
            _v("_APP_LOGGING_CONFIG_REALTIME", "secret", ("1.9.5", None, "realtime"), ("2.1", None, "")),
            _v(
                "_APP_EXPERIMENT_LOGGING_PROVIDER",
                "text",
                ("1.9.5", None, "appwrite"),
                ("2.1", None, ""),
                unread="1.9.5",
                use="_APP_EXPERIMENT_LOGGING_CONFIG",
            ),
            _v("_APP_EXPERIMENT_LOGGING_CONFIG", "secret", ("1.9.5", None, "appwrite"), ("2.1", None, "")),
            _v("_APP_LOGGING_FORMAT", "text", ("2.0", "pretty", "@all")),
            _v(
                "_APP_USAGE_AGGREGATION_INTERVAL",
                "integer",
                ("1.4", "30", "usage"),
                ("1.5", "30", "worker-usage worker-usage-dump"),
                ("1.6", "30", "worker-stats-usage"),
                ("1.9.5", "30", "worker-stats-resources worker-stats-usage"),
                ("2.0", None, ""),
            ),
            _v("_APP_USAGE_TIMESERIES_INTERVAL", "integer", ("1.4", "30", ""), ("2.0", None, "")),
            _v("_APP_USAGE_DATABASE_INTERVAL", "integer", ("1.4", "900", ""), ("2.0", None, "")),
            _v(
                "_APP_STATS_RESOURCES_INTERVAL",
                "integer",
                ("1.6.2", None, "task-stats-resources worker-stats-resources"),
                ("1.9.5", None, "task-stats-resources"),
                ("2.0", None, ""),
                ("2.4", None, "appwrite task-scheduler worker"),
            ),
            _v("_APP_STATS_USAGE_QUEUE_NAME", "text", ("2.4", None, "appwrite realtime task-scheduler worker")),
            _v("_APP_STATS_RESOURCES_QUEUE_NAME", "text", ("2.4", None, "appwrite task-scheduler worker")),
            _v("_APP_USAGE_PASS", "password", ("2.4", None, "appwrite task-scheduler worker"), public="appwrite"),
            _v(
                "_APP_CONNECTIONS_DB_USAGE",
                "secret",
                ("2.4", None, "appwrite task-scheduler worker"),
                public="http://appwrite:appwrite@clickhouse:8123/appwrite",
            ),
            _v(
                "_APP_CONNECTIONS_DB_EXECUTIONS",
                "secret",
                ("2.4", None, "appwrite task-scheduler worker"),
                public="http://appwrite:appwrite@clickhouse:8123/appwrite",
            ),
            _v("_APP_POOL_SIZE_USAGE", "integer", ("2.4", None, "appwrite task-scheduler worker")),
            _v("_APP_POOL_SIZE_EXECUTIONS", "integer", ("2.4", None, "appwrite task-scheduler worker")),
            _v("_APP_WORKER_PER_CORE", "integer", ("1.4", "6", "@all")),
            # The compose file itself gives each worker its numbers.
            _v("_APP_WORKERS_NUM", "integer", ("1.9.5", None, "@workers"), unread="1.9.5"),
            _v(
                "_APP_WORKER_MAX_COROUTINES",
                "integer",
                ("1.9.5", None, "@workers"),
                ("2.0", None, "task-scheduler @workers"),
                unread="1.9.5",
            ),
            _v("_APP_QUEUE_NAME", "text", ("1.9.5", None, "worker-databases")),
            _v("_APP_REALTIME_TAIL_RATE", "integer", ("2.0", None, "realtime"), ("2.4", None, "mqtt realtime")),
            _v("_APP_WEBHOOK_MAX_FAILED_ATTEMPTS", "integer", ("1.9.5", None, "worker-webhooks")),
            _v("_APP_CONSOLE_SESSION_ALERTS", "switch", ("1.6", "disabled", "appwrite")),
            _v("_APP_COMPRESSION_ENABLED", "switch", ("1.6.2", "enabled", ""), ("1.9.5", "enabled", "appwrite")),
            _v("_APP_COMPRESSION_MIN_SIZE_BYTES", "integer", ("1.6.2", "1024", "appwrite")),
            _v(
                "_APP_TRUSTED_HEADERS",
                "list",
                ("1.9", "x-forwarded-for", ""),
                ("1.9.5", "x-forwarded-for", "appwrite"),
                ("2.4", "x-forwarded-for", "appwrite realtime"),
            ),
            _v("_APP_TRUSTED_PROXIES", "networks", ("2.4", None, "appwrite realtime")),
            _v("_APP_GEO_ENDPOINT", "url", ("2.0", "http://appwrite-geo/v1", "appwrite")),
            _v("_APP_GEO_SECRET", "secret", ("2.0", "your-secret-key", "appwrite")),
            _v("_APP_MQTT_REPLAY_DEPTH", "integer", ("2.4", None, "mqtt")),
            _v("_APP_MQTT_WS_PORT", "port", ("2.4", None, "mqtt")),
            _v("_APP_MQTT_MAX_PACKET_SIZE", "integer", ("2.4", None, "mqtt")),
        ),
    ),
    (
        "Database",
        (
            # Those that are sticky made the database volume, or lead to it.
            _v(
                "_APP_DB_ADAPTER",
                "choice:mariadb mongodb mysql postgresql",
                ("1.9", "mongodb", "@all"),
                ("2.0", "postgresql", "@all"),
                sticky=True,
            ),
            _v(
                "_APP_DB_HOST",
                "hostname",
                ("1.4", "mariadb", "@all -worker-mails -worker-messaging -worker-webhooks"),
                ("1.5", "mariadb", "@all"),
                ("1.9", "mongodb", "@all"),
                ("2.0", "postgresql", "@all"),
                sticky=True,
            ),
            _v(
                "_APP_DB_PORT",
                "port",
                ("1.4", "3306", "@all -worker-mails -worker-messaging -worker-webhooks"),
                ("1.5", "3306", "@all"),
                ("1.9", "27017", "@all"),
                ("2.0", "5432", "@all"),
            ),
            _v(
                "_APP_DB_SCHEMA",
                "dsn",
                ("1.4", "appwrite", "@all -worker-mails -worker-messaging -worker-webhooks"),
                ("1.5", "appwrite", "@all"),
                sticky=True,
            ),
            _v(
                "_APP_DB_USER",
                "dsn",
                ("1.4", "user", "@all -worker-mails -worker-messaging -worker-webhooks"),
                ("1.5", "user", "@all"),
                sticky=True,
            ),
            _v(
                "_APP_DB_PASS",
                "password",
                ("1.4", "password", "@all -worker-mails -worker-messaging -worker-webhooks"),
                ("1.5", "password", "@all"),
                sticky=True,
            ),
            _v("_APP_DB_ROOT_PASS", "password", ("1.4", "rootsecretpassword", "$"), sticky=True),
            # The compose file itself gives realtime swoole.
            _v("_APP_POOL_ADAPTER", "choice:stack swoole", ("1.9.5", None, "@all"), ("2.4", None, "")),
            _v("_APP_DATABASE_SHARED_TABLES", "list", ("1.6.2", None, "task-stats-resources"), ("1.9.5", None, "@all")),
            _v("_APP_DATABASE_SHARED_NAMESPACE", "text", ("1.9.5", None, "appwrite")),
            _v("_APP_DB_ADAPTER_VECTORSDB", "choice:postgresql", ("1.9.5", None, "@vectors")),
            _v("_APP_DB_HOST_VECTORSDB", "hostname", ("1.9.5", None, "@vectors")),
            _v("_APP_DB_PORT_VECTORSDB", "port", ("1.9.5", None, "@vectors")),
            _v("_APP_DB_SCHEMA_VECTORSDB", "dsn", ("1.9.5", None, "@vectors"), unread="1.9.5", use="_APP_DB_SCHEMA"),
            _v("_APP_DB_USER_VECTORSDB", "dsn", ("1.9.5", None, "@vectors"), unread="1.9.5", use="_APP_DB_USER"),
            _v("_APP_DB_PASS_VECTORSDB", "password", ("1.9.5", None, "@vectors"), unread="1.9.5", use="_APP_DB_PASS"),
            _v("_APP_EMBEDDING", "switch", ("2.4", None, "appwrite realtime worker")),
            _v("_APP_LIMIT_DATABASE_BATCH", "integer", ("2.4", None, "appwrite realtime worker")),
        ),
    ),
    (
        "Redis",
        (
            _v("_APP_REDIS_HOST", "hostname", ("1.4", "redis", "@all")),
            _v("_APP_REDIS_PORT", "port", ("1.4", "6379", "@all")),
            _v("_APP_REDIS_USER", "dsn", ("1.4", "", "@all")),
            _v("_APP_REDIS_PASS", "password", ("1.4", "", "@all")),
        ),
    ),
    (
        "InfluxDB",
        (
            _v(
                "_APP_INFLUXDB_HOST",
                "hostname",
                ("1.4", "influxdb", "appwrite telegraf usage"),
                ("1.5", "influxdb", ""),
            ),
            _v("_APP_INFLUXDB_PORT", "port", ("1.4", "8086", "appwrite telegraf usage"), ("1.5", "8086", "")),
        ),
    ),
    (
        "StatsD",
        (
            _v("_APP_STATSD_HOST", "hostname", ("1.4", "telegraf", "appwrite"), ("1.5", "telegraf", "")),
            _v("_APP_STATSD_PORT", "port", ("1.4", "8125", "appwrite"), ("1.5", "8125", "")),
        ),
    ),
    (
        "SMTP",
        (
            _v("_APP_SMTP_HOST", "hostname", ("1.4", "", "appwrite worker-mails")),
            _v("_APP_SMTP_PORT", "port", ("1.4", "", "appwrite worker-mails")),
            _v("_APP_SMTP_SECURE", "choice:tls ssl", ("1.4", "", "appwrite worker-mails")),
            _v("_APP_SMTP_USERNAME", "text", ("1.4", "", "appwrite worker-mails")),
            _v("_APP_SMTP_PASSWORD", "secret", ("1.4", "", "appwrite worker-mails")),
        ),
    ),
    (
        "Phone",
        (
            _v("_APP_SMS_PROVIDER", "secret", ("1.4", "", "appwrite worker-messaging")),
            _v("_APP_SMS_FROM", "text", ("1.4", "", "appwrite worker-messaging")),
            _v("_APP_SMS_PROJECTS_DENY_LIST", "list", ("1.9.5", None, "worker-messaging")),
        ),
    ),
    (
        "Storage",
        (
            _v("_APP_STORAGE_LIMIT", "integer", ("1.4", "30000000", "appwrite")),
            _v("_APP_STORAGE_PREVIEW_LIMIT", "integer", ("1.4", "20000000", "appwrite")),
            _v("_APP_AUTOGRAVITY_HOST", "url", ("2.1", None, "appwrite")),
            _v("_APP_STORAGE_ANTIVIRUS", "switch", ("1.4", "disabled", "appwrite")),
            _v("_APP_STORAGE_ANTIVIRUS_HOST", "hostname", ("1.4", "clamav", "appwrite")),
            _v("_APP_STORAGE_ANTIVIRUS_PORT", "port", ("1.4", "3310", "appwrite")),
            _v("_APP_STORAGE_DEVICE", "choice:local s3 dospaces backblaze linode wasabi", ("1.4", "local", "@storage")),
            _v("_APP_STORAGE_S3_ACCESS_KEY", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_S3_SECRET", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_S3_REGION", "text", ("1.4", "us-east-1", "@storage")),
            _v("_APP_STORAGE_S3_BUCKET", "text", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_S3_ENDPOINT", "text", ("1.6.2", "", "@storage")),
            _v("_APP_STORAGE_DO_SPACES_ACCESS_KEY", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_DO_SPACES_SECRET", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_DO_SPACES_REGION", "text", ("1.4", "us-east-1", "@storage")),
            _v("_APP_STORAGE_DO_SPACES_BUCKET", "text", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_BACKBLAZE_ACCESS_KEY", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_BACKBLAZE_SECRET", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_BACKBLAZE_REGION", "text", ("1.4", "us-west-004", "@storage")),
            _v("_APP_STORAGE_BACKBLAZE_BUCKET", "text", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_LINODE_ACCESS_KEY", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_LINODE_SECRET", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_LINODE_REGION", "text", ("1.4", "eu-central-1", "@storage")),
            _v("_APP_STORAGE_LINODE_BUCKET", "text", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_WASABI_ACCESS_KEY", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_WASABI_SECRET", "secret", ("1.4", "", "@storage")),
            _v("_APP_STORAGE_WASABI_REGION", "text", ("1.4", "eu-central-1", "@storage")),
            _v("_APP_STORAGE_WASABI_BUCKET", "text", ("1.4", "", "@storage")),
        ),
    ),
    (
        "Functions",
        (
            _v(
                "_APP_FUNCTIONS_SIZE_LIMIT",
                "integer",
                ("1.4", "30000000", "appwrite worker-builds"),
                ("1.7", "30000000", ""),
                use="_APP_COMPUTE_SIZE_LIMIT",
            ),
            _v("_APP_COMPUTE_SIZE_LIMIT", "integer", ("1.7", "30000000", "appwrite worker-builds")),
            _v(
                "_APP_FUNCTIONS_BUILD_SIZE_LIMIT",
                "integer",
                ("1.6", "2000000000", ""),
                use="_APP_COMPUTE_BUILD_SIZE_LIMIT",
            ),
            _v("_APP_COMPUTE_BUILD_SIZE_LIMIT", "integer", ("2.2", None, "appwrite worker")),
            _v("_APP_FUNCTIONS_CREATION_ABUSE_LIMIT", "integer", ("1.9.5", None, "appwrite")),
            _v("_APP_FUNCTIONS_TIMEOUT", "integer", ("1.4", "900", "@functions")),
            _v(
                "_APP_FUNCTIONS_BUILD_TIMEOUT",
                "integer",
                ("1.4", "900", "@functions"),
                ("1.7", "900", ""),
                ("1.9.5", "2700", ""),
                use="_APP_COMPUTE_BUILD_TIMEOUT",
            ),
            _v("_APP_COMPUTE_BUILD_TIMEOUT", "integer", ("1.7", "900", "@functions"), ("1.9.5", "2700", "@functions")),
            _v("_APP_FUNCTIONS_CONTAINERS", "integer", ("1.4", "10", ""), use="_APP_FUNCTIONS_INACTIVE_THRESHOLD"),
            _v("_APP_FUNCTIONS_CPUS", "number", ("1.4", "0", "@functions"), ("1.7", "0", ""), use="_APP_COMPUTE_CPUS"),
            _v("_APP_COMPUTE_CPUS", "number", ("1.7", "0", "@functions")),
            _v(
                "_APP_FUNCTIONS_MEMORY",
                "integer",
                ("1.4", "0", "@functions"),
                ("1.7", "0", ""),
                use="_APP_COMPUTE_MEMORY",
            ),
            _v("_APP_COMPUTE_MEMORY", "integer", ("1.7", "0", "@functions")),
            _v("_APP_FUNCTIONS_MEMORY_SWAP", "integer", ("1.4", "0", "")),
            _v("_APP_FUNCTIONS_RUNTIMES", "list", ("1.4", "node-16.0,php-8.0,python-3.9,ruby-3.0", "appwrite")),
            _v("_APP_EXECUTOR_SECRET", "secret", ("1.4", "your-secret-key", "@functions worker-deletes")),
            _v(
                "_APP_EXECUTOR_HOST",
                "url",
                ("1.4", "http://appwrite-executor/v1", "@functions worker-deletes"),
                ("1.5", "http://exc1/v1", "@functions worker-deletes"),
            ),
            _v("_APP_EXECUTOR_CONNECTION_STORAGE", "secret", ("2.0", "local://localhost", "$")),
            _v("_APP_BUILDS_VOLUME", "text", ("2.0", "appwrite-builds", "appwrite worker")),
            _v("_APP_JOBS_HOST", "url", ("2.0", "http://orchestrator:8080", "appwrite worker")),
            _v("_APP_JOBS_SECRET", "secret", ("2.0", "your-secret-key", "appwrite worker")),
            _v("_APP_JOBS_ENDPOINT", "url", ("2.0", "http://appwrite", "appwrite worker")),
            _v(
                "_APP_BROWSER_HOST",
                "url",
                ("1.8.1", "http://appwrite-browser:3000/v1", ""),
                ("1.9.5", "http://appwrite-browser:3000/v1", "worker-screenshots"),
            ),
            _v("_APP_WORKER_SCREENSHOTS_ROUTER", "url", ("1.9.5", None, "worker-screenshots")),
            _v("_APP_EXECUTOR_RUNTIME_NETWORK", "text", ("1.4", "appwrite_runtimes", ""), use="OPEN_RUNTIMES_NETWORK"),
            _v(
                "_APP_FUNCTIONS_ENVS",
                "list",
                ("1.4", "node-16.0,php-7.4,python-3.9,ruby-3.0", ""),
                use="_APP_FUNCTIONS_RUNTIMES",
            ),
            _v(
                "_APP_FUNCTIONS_INACTIVE_THRESHOLD",
                "integer",
                ("1.4", "60", "$"),
                ("1.7", "60", ""),
                use="_APP_COMPUTE_INACTIVE_THRESHOLD",
            ),
            _v("_APP_COMPUTE_INACTIVE_THRESHOLD", "integer", ("1.7", "60", "$")),
            _v("DOCKERHUB_PULL_USERNAME", "text", ("1.4", "", ""), use="_APP_DOCKER_HUB_USERNAME"),
            _v("DOCKERHUB_PULL_PASSWORD", "secret", ("1.4", "", ""), use="_APP_DOCKER_HUB_PASSWORD"),
            _v("DOCKERHUB_PULL_EMAIL", "email", ("1.4", "", "")),
            _v(
                "OPEN_RUNTIMES_NETWORK", "text", ("1.4", "appwrite_runtimes", ""), use="_APP_FUNCTIONS_RUNTIMES_NETWORK"
            ),
            _v(
                "_APP_FUNCTIONS_RUNTIMES_NETWORK",
                "text",
                ("1.4", "runtimes", "$"),
                ("1.7", "runtimes", ""),
                use="_APP_COMPUTE_RUNTIMES_NETWORK",
            ),
            _v("_APP_COMPUTE_RUNTIMES_NETWORK", "text", ("1.7", "runtimes", "$")),
            _v("_APP_OPEN_RUNTIMES_NFT", "switch", ("1.9.5", "enabled", "worker-builds")),
            _v("_APP_DOCKER_HUB_USERNAME", "text", ("1.4", "", "worker-functions")),
            _v("_APP_DOCKER_HUB_PASSWORD", "secret", ("1.4", "", "worker-functions")),
            _v(
                "_APP_FUNCTIONS_MAINTENANCE_INTERVAL",
                "integer",
                ("1.4", "3600", "$"),
                ("1.7", "3600", ""),
                use="_APP_COMPUTE_MAINTENANCE_INTERVAL",
            ),
            _v("_APP_COMPUTE_MAINTENANCE_INTERVAL", "integer", ("1.7", "3600", "$")),
            _v("_APP_FUNCTIONS_SCHEDULE_SPREAD", "integer", ("2.0", "0", "task-scheduler")),
        ),
    ),
    (
        "Sites",
        (
            _v("_APP_SITES_TIMEOUT", "integer", ("1.7", "900", "@functions")),
            _v("_APP_SITES_RUNTIMES", "list", ("1.7", "static-1,node-22,flutter-3.29", "appwrite")),
        ),
    ),
    (
        "VCS (Version Control System)",
        (
            _v("_APP_VCS_GITHUB_APP_NAME", "text", ("1.4", "", "appwrite worker-builds")),
            _v("_APP_VCS_GITHUB_PRIVATE_KEY", "secret", ("1.4", "", "appwrite worker-builds")),
            _v("_APP_VCS_GITHUB_APP_ID", "text", ("1.4", "", "appwrite worker-builds")),
            _v("_APP_VCS_GITHUB_CLIENT_ID", "text", ("1.4", "", "appwrite")),
            _v("_APP_VCS_GITHUB_CLIENT_SECRET", "secret", ("1.4", "", "appwrite")),
            _v("_APP_VCS_GITHUB_WEBHOOK_SECRET", "secret", ("1.4", "", "appwrite"), public="github-webhook-secret"),
            _v("_APP_VCS_GITEA_ENDPOINT", "text", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_GITEA_BROWSER_ENDPOINT", "text", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_GITEA_CLIENT_ID", "text", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_GITEA_CLIENT_SECRET", "secret", ("2.0", "", "appwrite worker")),
            _v(
                "_APP_VCS_GITEA_WEBHOOK_SECRET", "secret", ("2.0", "", "appwrite worker"), public="gitea-webhook-secret"
            ),
            _v("_APP_VCS_GITLAB_ENDPOINT", "text", ("2.4", None, "appwrite worker")),
            _v("_APP_VCS_GITLAB_CLIENT_ID", "text", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_GITLAB_CLIENT_SECRET", "secret", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_GITLAB_WEBHOOK_SECRET", "secret", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_BITBUCKET_CLIENT_ID", "text", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_BITBUCKET_CLIENT_SECRET", "secret", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_BITBUCKET_WEBHOOK_SECRET", "secret", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_ORIGIN_CLIENT_ID", "text", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_ORIGIN_PRIVATE_KEY", "secret", ("2.0", "", "appwrite worker")),
            _v("_APP_VCS_WEBHOOK_URL", "text", ("2.0", "", "appwrite worker")),
        ),
    ),
    (
        "Maintenance",
        (
            _v("_APP_MAINTENANCE_INTERVAL", "integer", ("1.4", "86400", "appwrite @maintenance")),
            _v(
                "_APP_MAINTENANCE_DELAY",
                "integer",
                ("1.5", "0", "appwrite"),
                ("1.9.5", "0", ""),
                unread="1.7",
                use="_APP_MAINTENANCE_START_TIME",
            ),
            _v("_APP_MAINTENANCE_START_TIME", "time", ("1.7", "00:00", "appwrite"), ("1.9.5", "00:00", "@maintenance")),
            _v("_APP_MAINTENANCE_RETENTION_CACHE", "integer", ("1.4", "2592000", "appwrite @maintenance")),
            _v(
                "_APP_MAINTENANCE_RETENTION_EXECUTION",
                "integer",
                ("1.4", "1209600", "appwrite maintenance"),
                ("1.5", "1209600", "appwrite @maintenance worker-deletes"),
                ("1.9.5", "1209600", "appwrite @maintenance"),
            ),
            _v(
                "_APP_MAINTENANCE_RETENTION_AUDIT",
                "integer",
                ("1.4", "1209600", "appwrite maintenance"),
                ("1.5", "1209600", "appwrite @maintenance worker-deletes"),
            ),
            _v(
                "_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE",
                "integer",
                ("1.6.2", "15778800", "appwrite @maintenance worker-deletes"),
            ),
            _v(
                "_APP_MAINTENANCE_RETENTION_ABUSE",
                "integer",
                ("1.4", "86400", "appwrite maintenance"),
                ("1.5", "86400", "appwrite @maintenance worker-deletes"),
                ("1.9.5", "86400", "appwrite @maintenance"),
            ),
            _v(
                "_APP_MAINTENANCE_RETENTION_USAGE_HOURLY",
                "integer",
                ("1.4", "8640000", "appwrite @maintenance"),
                ("2.4", "8640000", ""),
            ),
            _v("_APP_MAINTENANCE_RETENTION_USAGE_TTL", "integer", ("2.4", None, "appwrite task-scheduler worker")),
            _v("_APP_MAINTENANCE_RETENTION_SCHEDULES", "integer", ("1.4", "86400", "appwrite @maintenance")),
            _v("_APP_INTERVAL_DOMAIN_VERIFICATION", "integer", ("1.9.5", None, "task-interval")),
            _v("_APP_INTERVAL_CLEANUP_STALE_EXECUTIONS", "integer", ("1.9.5", None, "task-interval"), unread="1.9.5"),
        ),
    ),
    (
        "GraphQL",
        (
            _v("_APP_GRAPHQL_INTROSPECTION", "switch", ("1.9", "enabled", "appwrite")),
            _v("_APP_GRAPHQL_MAX_BATCH_SIZE", "integer", ("1.4", "10", "appwrite")),
            _v("_APP_GRAPHQL_MAX_COMPLEXITY", "integer", ("1.4", "250", "appwrite")),
            _v("_APP_GRAPHQL_MAX_DEPTH", "integer", ("1.4", "3", "appwrite")),
        ),
    ),
    (
        "Migrations",
        (
            _v("_APP_MIGRATION_HOST", "text", ("1.9.5", "appwrite", "appwrite @schedulers worker-migrations")),
            _v("_APP_MIGRATIONS_FIREBASE_CLIENT_ID", "text", ("1.4", "", "appwrite worker-migrations"), unread="1.6.2"),
            _v(
                "_APP_MIGRATIONS_FIREBASE_CLIENT_SECRET",
                "secret",
                ("1.4", "", "appwrite worker-migrations"),
                unread="1.6.2",
            ),
        ),
    ),
    (
        "Assistant",
        (
            _v(
                "_APP_ASSISTANT_OPENAI_API_KEY",
                "secret",
                ("1.4", "", "appwrite assistant"),
                ("1.9", "", "appwrite"),
                ("2.4", "", ""),
            ),
        ),
    ),
    (
        "Compose",
        (
            _v("_APP_IMAGE", "text", ("1.9.5", None, "$")),
            _v("_APP_VERSION", "text", ("1.9.5", None, "$")),
            _v("_APP_HTTP_PORT", "port", ("1.9.5", None, "$")),
            _v("_APP_HTTPS_PORT", "port", ("1.9.5", None, "$")),
            _v("_APP_MQTT_PORT", "text", ("2.3", None, "$")),
            _v("_APP_MQTT_WSS_PORT", "text", ("2.3", None, "$")),
            _v("_APP_EXECUTOR_IMAGES", "list", ("1.9.5", None, "$")),
            _v("_APP_EMBEDDING_MODELS", "list", ("1.9.5", None, "$")),
        ),
    ),
)

GROUPS: tuple[str, ...] = tuple(group for group, variables in _TABLE)
_VARIABLES = {v.name: v for group, variables in _TABLE for v in (make(group) for make in variables)}
_Row = TypeVar("_Row", bound=Tuple[Any, ...])


class Corrected(str):
    """A release that the catalogue has no rows of, with what the project's own files and container say of its variables.

    passed: variable to the services that list it; to none if the compose file only puts it in.
    defaults: variable to default, of all that its C(variables.php) names; C(None) if that was not to be had.
    """

    passed: Mapping[str, Sequence[str]]
    defaults: Mapping[str, str] | None

    def __new__(
        cls, release: str, passed: Mapping[str, Sequence[str]], defaults: Mapping[str, str] | None = None
    ) -> Corrected:
        made = super().__new__(cls, release)
        made.passed, made.defaults = passed, defaults
        return made

    def has(self, name: str) -> bool:
        return name in self.passed or name in (self.defaults or ())


@lru_cache(maxsize=None)
def _version(release: str) -> tuple[int, ...]:
    """An older release counts as the oldest, and C(1.9) as its newest patch release; what follows C(-) or C(+) is
    ignored. Raises ValueError if it is none, such as C(latest).
    """
    match = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?", release)
    if match is None:
        raise ValueError(f"{release!r} is not a release of Appwrite: give one such as {NEWEST}")
    major, minor, patch = match.groups()
    return max((int(major), int(minor), int(patch) if patch else sys.maxsize), _OLDEST)


@lru_cache(maxsize=None)
def _since(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def _until(rows: Sequence[_Row], release: str) -> list[_Row]:
    """The rows that are not newer than the release, oldest first."""
    version = _version(release)
    return [row for row in rows if _since(row[0]) <= version]


def _rows(name: str, release: str) -> list[tuple[str, str | None, str]]:
    variable = get(name)
    return _until(variable.rows, release) if variable else []


@lru_cache(maxsize=None)
def _expand(services: str, release: str) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for word in services.split():
        if word.startswith("@"):
            found |= _expand(_until(_SERVICE_GROUPS[word[1:]], release)[-1][1], release)
        elif word.startswith("-"):
            found -= {f"appwrite-{word[1:]}"}
        elif word in ("appwrite", "telegraf"):
            found |= {word}
        elif word != "$":
            if not is_older(release, (2,)):
                word = next((one for start, one in _COMBINED if word.startswith(start)), word)
            found |= {f"appwrite-{word}"}
    return found


def get(name: str) -> Variable | None:
    """The variable of that name, None when no release has one."""
    return _VARIABLES.get(name)


def names(release: str | None = None) -> tuple[str, ...]:
    """All names in catalogue order, that of C(variables.php); with a release, those that exist in it, and then those that only
    its own files know.
    """
    found = tuple(name for name in _VARIABLES if release is None or _has(name, release))
    if not isinstance(release, Corrected):
        return found
    own = {*release.passed, *(release.defaults or ())} - _VARIABLES.keys()
    return (*found, *sorted(name for name in own if name.startswith("_APP_")))


def _has(name: str, release: str) -> bool:
    """A row with neither default nor services says that the release dropped the variable."""
    if isinstance(release, Corrected):
        return release.has(name)
    rows = _rows(name, release)
    return bool(rows) and rows[-1][1:] != (None, "")


def is_known(release: str) -> bool:
    """Whether the rows say which variables the release has; of others they say what the one before had."""
    version = _version(release)
    return not is_newer(release) and any(_since(known)[:2] == version[:2] for known in RELEASES)


def is_newer(release: str) -> bool:
    """Whether the release came after all that the catalogue knows."""
    return _version(release) > _since(NEWEST)


def is_older(release: str, version: tuple[int, ...]) -> bool:
    """Whether the release came before this version."""
    return _version(release) < version


def newest_of(series: str) -> str | None:
    """The newest known release of V(1.6) or V(1); the first of a series of two numbers that is unknown."""
    known = [release for release in RELEASES if release.startswith(series + ".")]
    return known[-1] if known else series + ".0" if "." in series else None


def too_old(release: str) -> bool:
    """Whether it came before all that the catalogue knows."""
    return _since(release)[:2] < _OLDEST


def default(name: str, release: str) -> str | None:
    """The value that the release's installer writes; None when C(variables.php) does not name the variable."""
    if isinstance(release, Corrected) and release.defaults is not None:
        return release.defaults.get(name)
    rows = _rows(name, release)
    return rows[-1][1] if rows else None


def documented(name: str, release: str) -> bool:
    """Whether the release's C(variables.php) names the variable, and so C(vars) prints it. If that could not be read, whatever
    only the project knows is taken to be named.
    """
    if isinstance(release, Corrected) and release.defaults is None and name not in _VARIABLES:
        return name in release.passed
    return default(name, release) is not None


def services(name: str, release: str) -> tuple[str, ...]:
    """The compose services whose environment lists the variable, bare or with a literal, sorted."""
    if isinstance(release, Corrected) and name in release.passed:
        return tuple(sorted(release.passed[name]))
    rows = _rows(name, release)
    return tuple(sorted(_expand(rows[-1][2], release))) if rows else ()


def is_read(name: str, release: str) -> bool:
    """Whether a value in C(.env) can have any effect: the compose file passes it on and something looks at it."""
    if isinstance(release, Corrected) and name in release.passed:
        return True
    rows = _rows(name, release)
    return bool(rows and rows[-1][2]) and not _is_ignored(name, release)


def _is_ignored(name: str, release: str) -> bool:
    unread = _VARIABLES[name].unread
    return bool(unread) and _since(unread) <= _version(release)


def why_unread(name: str, release: str) -> str:
    """A sentence that says why C(is_read) is False and what to set instead; empty when it is True."""
    if is_read(name, release):
        return ""
    variable = get(name)
    if variable is None and isinstance(release, Corrected) and release.has(name):
        return f"The compose file of this project passes {name} to no service, so nothing reads it."
    if variable is None:
        return f"Appwrite has no variable {name}."
    rows = _rows(name, release)
    if not rows:
        reason = f"Appwrite {release} does not know {name}, which came with {variable.rows[0][0]}"
    elif not _has(name, release):
        reason = f"Appwrite {release} no longer has {name}"
    elif rows[-1][2]:
        reason = f"services of Appwrite {release} list {name}, but nothing reads its value from .env"
    else:
        reason = f"the compose file of Appwrite {release} passes {name} to no service, so nothing reads it"
    return f"{reason[0].upper()}{reason[1:]}{_remedy(variable, release)}."


def _remedy(variable: Variable, release: str) -> str:
    older = [other.name for other in _VARIABLES.values() if other.successor == variable.name]
    newer = []
    while variable.successor:
        variable = _VARIABLES[variable.successor]
        newer.append(variable.name)
    for name in newer + older:
        if is_read(name, release):
            return f"; set {name} instead"
    return f"; {newer[-1]} takes its place from {variable.rows[0][0]}" if newer else ""


def kin(name: str) -> tuple[str, ...]:
    """The names of the variable's group in catalogue order, itself among them; empty when the name is unknown."""
    variable = get(name)
    return tuple(other.name for other in _VARIABLES.values() if variable and other.group == variable.group)


def suggest(name: str, release: str) -> str | None:
    """The nearest name that the release has, None when none is near."""
    import difflib  # for a wrong name alone

    near = difflib.get_close_matches(name.upper(), names(release), 1, 0.8)
    return near[0] if near else None


def problem(name: str, value: str, release: str) -> str | None:
    """Why the value does not fit the variable's kind, as a sentence with the remedy but never with a secret's value;
    None when it fits. Empty and C(0) always fit: Appwrite reads them as unset.
    """
    variable = get(name)
    if variable is None or value in UNSET:
        return None
    since, kind = _LATER_KINDS.get(name, ("", variable.kind))
    wrong = misfit(kind if _since(since or "0") <= _version(release) else variable.kind, value)
    if not wrong and name == "_APP_DB_ROOT_PASS" and _since("1.9") <= _version(release) and _SHELL.search(value):
        wrong = "must be letters and digits alone: the health check of MongoDB hands it unquoted to a shell"
    return f"the value {wrong}" if wrong else None


def given(values: Mapping[str, Any], name: str) -> str:
    """The value as Appwrite reads it; empty if it is unset."""
    value = str(values.get(name) or "")
    return "" if value in UNSET else value


def connection(values: Mapping[str, Any], release: str, names: Iterable[str]) -> str:
    """Which of C(DATABASE_DSNS) or C(REDIS_DSNS) tells this release where its servers are; empty if none does."""
    return next((name for name in names if given(values, name) and is_older(release, (1, 6, 2))), "")


def is_secret(name: str) -> bool:
    """Whether the value must never be shown; True for a name that is unknown."""
    variable = get(name)
    return variable is None or variable.secret


def secrets_of(values: Mapping[str, str]) -> list[str]:
    """The values that must never be shown."""
    return [value for name, value in values.items() if holds_secret(name, value)]


def holds_secret(name: str, value: str) -> bool:
    """Whether this value must never be shown. Compose's own variables, the defaults that the whole world knows, and a DSN such as
    V(local://localhost) are none.
    """
    return (
        bool(value)
        and is_secret(name)
        and not name.startswith("COMPOSE_")
        and not is_public_default(name, value)
        and not _NOBODYS_DSN.fullmatch(value)
    )


def is_public_default(name: str, value: str) -> bool:
    """Whether the value is a default of a secret that the whole world knows, or a placeholder that a template put there; of a
    connection string, whether user and password are."""
    variable = get(name)
    return variable is not None and (
        value in variable.public_defaults
        or variable.secret
        and bool(value)
        and (is_placeholder(value) or "@" in value and value.partition("@")[0] in map(_login, variable.public_defaults))
    )


def _login(connection: str) -> str:
    return connection.partition("@")[0]
