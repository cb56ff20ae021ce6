# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Appwrite itself allows, limits, scans and keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.observations import secured, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    LOCAL,
    POSTGRESQL,
    PRIVATE,
    PUBLIC,
    Listing,
    Observation,
    Server,
    Unseen,
)

ABUSE, PROTECTION, INTROSPECTION = "_APP_OPTIONS_ABUSE", "_APP_OPTIONS_ROUTER_PROTECTION", "_APP_GRAPHQL_INTROSPECTION"
SMTP, SECURE = "_APP_SMTP_HOST", "_APP_SMTP_SECURE"
SCAN, SCANNER = "_APP_STORAGE_ANTIVIRUS", "_APP_STORAGE_ANTIVIRUS_HOST"
LOGGING, PROVIDER = "_APP_LOGGING_CONFIG", "_APP_LOGGING_PROVIDER"
AUDIT, CONSOLE_AUDIT = "_APP_MAINTENANCE_RETENTION_AUDIT", "_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE"
PROXIES, INTERNAL = "_APP_TRUSTED_PROXIES", "_APP_ALLOWED_INTERNAL_ADDRESSES"
NO_ENGINE = Unseen("the engine does not answer")
NOT_ASKED = Unseen("the container appwrite does not run")


def without_docker(**values: str) -> Observation:
    return replace(secured(values=values), config=NO_ENGINE, containers=NO_ENGINE)


def scanning(host: str | None = None, answers: bool | None = None, release: str = "1.9.6") -> Observation:
    made = secured(release, {SCAN: "enabled", SCANNER: host})
    return replace(made, inside=replace(made.inside, reachable={**made.inside.reachable, "antivirus": answers}))


def proxies(value: str | None, trusted_by_traefik: str = "") -> Observation:
    command = ["--entrypoints.appwrite_web.address=:80"]
    if trusted_by_traefik:
        command += [f"--entrypoints.appwrite_web.forwardedHeaders.trustedIPs={trusted_by_traefik}"]
    return with_service(secured("2.4.0", {PROXIES: value}), "traefik", command=command)


def internal(value: str) -> Observation:
    return secured("2.4.0", {INTERNAL: value})


FAR, NEAR = "203.0.113.7, a public address", "10.0.0.5, a private address"
HERE = "the container db-1 of this machine"
NO_NAME = Unseen("db.internal is a name to which this machine finds no address")


def server(kind: str, reach: str, found: str, **more: Any) -> Observation:
    """With a database that is no service of the project, and a Redis that is on this machine."""
    redis = Server("Redis", "cache.internal:6379", LOCAL, "this machine")
    release = more.pop("release", "1.9.6")
    return replace(secured(release), servers=(Server(kind, "db.internal:3306", reach, found, **more), redis))


def nowhere(*more: Server) -> Observation:
    return replace(secured(), servers=(Server("MariaDB", "db.internal:3306", NO_NAME), *more))


OPENED = "the container db-1 publishes it on port 3306 of every address of this machine"
WITHIN = (secured(), "are services of the project")


CASES = {
    "platform.environment_production": {
        "fail": {
            "development": (secured(values={"_APP_ENV": "development"}), "_APP_ENV is development in "),
            "empty": secured(values={"_APP_ENV": ""}),
            "unset": secured(values={"_APP_ENV": None}),
            "in the oldest release": secured("1.4.14", {"_APP_ENV": "development"}),
        },
        "pass": {"production": secured()},
        "unknown": {"without docker": without_docker()},
    },
    "platform.abuse_limited": {
        "fail": {
            "disabled": (secured(values={ABUSE: "disabled"}), f"{ABUSE} is disabled"),
            "another word": secured(values={ABUSE: "on"}),
            "empty": secured(values={ABUSE: ""}),
        },
        "pass": {"enabled": secured()},
    },
    "platform.router_protected": {
        "fail": {
            "disabled": (secured(values={PROTECTION: "disabled"}), f"{PROTECTION} is disabled"),
            "another word": secured(values={PROTECTION: "true"}),
            "unset up to 1.8.1": secured("1.8.1", {PROTECTION: ""}),
            "unset in a later release": secured("2.0.0", {PROTECTION: ""}),
        },
        "pass": {
            "enabled": secured(),
            "unset in 1.9.6": secured("1.9.6", {PROTECTION: ""}),
            "unset in 1.9.5": secured("1.9.5", {PROTECTION: ""}),
            "disabled in 1.9.0": (secured("1.9.0", {PROTECTION: "disabled"}), "whatever"),
            "enabled in 1.8.1": secured("1.8.1"),
        },
        "not_applicable": {"before 1.4.4": secured("1.4.3")},
        "unknown": {"1.9.0 without docker": replace(secured("1.9.0"), config=NO_ENGINE, containers=NO_ENGINE)},
    },
    "platform.proxies_trusted": {
        "fail": {
            "empty": (proxies(""), "names nobody", "(container of appwrite, container of appwrite-realtime,"),
            "no address": (proxies("nobody"), "names nobody"),
            "everybody": (proxies("10.0.0.0/8,0.0.0.0/0"), "holds every address"),
            "the balancer alone": (proxies("203.0.113.10", "203.0.113.10"), "holds no private network"),
            "a balancer, and unset": (proxies(None, "203.0.113.10"), "is not set and does not hold 203.0.113.10/32"),
            "another balancer": (
                proxies("10.0.0.0/8,203.0.113.10", "203.0.113.0/24,10.0.0.7"),
                "does not hold 203.0.113.0/24, which Traefik trusts",
            ),
            "without docker": (
                replace(secured("2.4.0", {PROXIES: ""}), config=NO_ENGINE, containers=NO_ENGINE),
                "(.env)",
            ),
        },
        "pass": {
            "unset": proxies(None),
            "as by itself": proxies("127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"),
            "a private balancer": proxies(None, "192.168.1.1,fd00::1"),
            "a balancer": proxies("172.16.0.0/12, 203.0.113.0/24", "203.0.113.10,203.0.113.11"),
        },
        "not_applicable": {"before 2.4.0": (secured("2.0.0"), "believes the forwarded address")},
        "unknown": {"without docker": replace(secured("2.4.0"), config=NO_ENGINE, containers=NO_ENGINE)},
    },
    "platform.internal_addresses_closed": {
        "fail": {
            "a network": (internal("10.1.0.0/16,10.2.0.7"), f"{INTERNAL} opens 10.1.0.0/16"),
            "loopback": (internal("127.0.0.1,::1"), "opens 127.0.0.1/32, ::1/128"),
            "the clouds' address": internal("169.254.169.254"),
        },
        "pass": {
            "unset": secured("2.4.0"),
            "empty": internal(""),
            "one address": (internal("10.2.0.7"), "single addresses alone: 10.2.0.7/32"),
        },
        "not_applicable": {"before 2.4.0": secured("2.0.0")},
    },
    "platform.nothing_of_developers": {
        "fail": {
            "one of several projects": (
                secured("2.4.0", {"_APP_CONSOLE_TRUSTED_PROJECTS": "ours, trusted-project"}),
                "as in the .env of Appwrite's developers: _APP_CONSOLE_TRUSTED_PROJECTS",
                "appwrite_security_variables: {_APP_CONSOLE_TRUSTED_PROJECTS: null}",
            ),
            "two": (
                secured("2.4.0", {"_APP_DNS": "172.16.238.100", "_APP_SMTP_HOST": "maildev"}),
                "{_APP_DNS: null, _APP_SMTP_HOST: null}",
            ),
            "without docker": without_docker(_APP_SMTP_HOST="maildev"),
        },
        "pass": {
            "none": secured("2.4.0"),
            "own": secured("2.4.0", {"_APP_CONSOLE_TRUSTED_PROJECTS": "ours", "_APP_DNS": "10.0.0.53"}),
        },
        "unknown": {"without docker": without_docker()},
    },
    "platform.schema_closed": {
        "fail": {
            "enabled": (secured(values={INTROSPECTION: "enabled"}), f"{INTROSPECTION} is enabled"),
            "empty": secured("1.9.0", {INTROSPECTION: ""}),
        },
        "pass": {"disabled": secured()},
        "not_applicable": {"before 1.9": (secured("1.8.1"), "only if abuse protection is disabled")},
    },
    "platform.mail_encrypted": {
        "fail": {
            "empty": (secured(values={SECURE: ""}), f"{SECURE} is empty"),
            "another word": secured("1.4.14", {SECURE: "starttls"}),
        },
        "pass": {"tls": secured(), "ssl": secured(values={SECURE: "ssl"})},
        "not_applicable": {
            "no mail server": secured(values={SMTP: "", SECURE: ""}),
            "a zero": secured(values={SMTP: "0", SECURE: ""}),
        },
        "unknown": {"no mail server in .env, without docker": without_docker(**{SMTP: "", SECURE: ""})},
    },
    "platform.scanner_there": {
        "fail": {
            "no such service": (scanning(), "by clamav, which is not a service"),
            "does not answer": (scanning(answers=False), "clamav does not answer"),
            "another name": (scanning("scanner"), "by scanner,"),
            "far away": (scanning("av.notarealcompany.com", False), "av.notarealcompany.com does not"),
            "in 1.8.1": scanning(release="1.8.1"),
        },
        "pass": {
            "a service": with_service(scanning(), "clamav", image="appwrite/clamav:1.2.0"),
            "by the name of its container": with_service(
                scanning("av"), "scanner", image="appwrite/clamav:1.2.0", container_name="av"
            ),
            "answers": (scanning("av.notarealcompany.com", True), "av.notarealcompany.com answers"),
        },
        "not_applicable": {"disabled": secured(), "empty": secured(values={SCAN: ""})},
        "unknown": {
            "far away and not asked": (replace(scanning("av.notarealcompany.com"), inside=NOT_ASKED), NOT_ASKED.reason),
            "far away and not tried": scanning("av.notarealcompany.com"),
            "without docker": without_docker(),
        },
    },
    "platform.errors_logged": {
        "fail": {
            "empty": (secured(values={LOGGING: ""}), f"{LOGGING} is empty"),
            "the old form": (secured(values={LOGGING: "NotARealLoggingWord1;1"}), "is no DSN of a known provider"),
            "no host": secured(values={LOGGING: "sentry:///"}),
            "a provider that is spelled in two ways": (
                secured(values={LOGGING: "appSignal://NotARealLoggingWord1"}),
                "a DSN of appSignal",
            ),
            "an unknown provider": secured("1.6.2", {LOGGING: "syslog://NotARealLoggingWord1"}),
            "no provider before 1.6": (secured("1.5.11", {PROVIDER: ""}), f"{PROVIDER} is empty"),
            "no configuration before 1.6": (secured("1.5.11", {LOGGING: ""}), f"{LOGGING} is empty"),
        },
        "pass": {
            "sentry": (secured(), "a DSN of sentry"),
            "raygun": secured(values={LOGGING: "raygun://NotARealLoggingWord1/"}),
            "before 1.6": secured("1.4.14", {PROVIDER: "logOwl", LOGGING: "NotARealLoggingWord1"}),
        },
    },
    "platform.bucket_closed": {
        "fail": {
            "open": (
                replace(secured(), bucket=Listing("https://s3.notarealcompany.com/b?list-type=2", True)),
                "https://s3.notarealcompany.com/b",
            )
        },
        "pass": {"closed": replace(secured(), bucket=Listing("https://s3.notarealcompany.com/b?list-type=2", False))},
        "not_applicable": {"the local volume": (secured(), "uploads are on the local volume")},
        "unknown": {
            "no answer": (replace(secured(), bucket=Unseen("it answered 503")), "it answered 503"),
            "without docker": without_docker(),
        },
    },
    "platform.database_closed": {
        "fail": {
            "a public address": (
                server("MariaDB", PUBLIC, FAR, answers=True),
                "MariaDB (db.internal:3306) is at 203.0.113.7, a public address, and answers this host there; whether it answers others cannot be seen",
                "_APP_DB_HOST",
            ),
            "that is silent": (server("MariaDB", PUBLIC, FAR), "and does not answer this host there"),
            "a container that publishes it": (server("MariaDB", LOCAL, HERE, opened=(OPENED,)), OPENED, "bind-address"),
            "beside one that is not known": (
                nowhere(Server("Redis", "1.1.1.1:6379", PUBLIC, FAR, answers=True)),
                "Redis (1.1.1.1:6379) is at",
            ),
        },
        "pass": {
            "a private address": (
                server("MariaDB", PRIVATE, NEAR),
                "MariaDB (db.internal:3306) is at 10.0.0.5, a private address; Redis (cache.internal:6379) is at this machine",
            ),
            "a socket": server("MariaDB", LOCAL, "a socket of this machine"),
        },
        "not_applicable": {"in the project": WITHIN},
        "unknown": {"no address": (nowhere(), NO_NAME.reason), "without docker": without_docker()},
    },
    "platform.database_encrypted": {
        "fail": {
            "MariaDB": (
                server("MariaDB", PUBLIC, FAR, answers=True, tls=True),
                "speaks no TLS to it, although it has TLS",
                "stunnel",
            ),
            "MongoDB of the newest release": server("MongoDB", PUBLIC, FAR, answers=True, tls=False, release="2.4.0"),
            "PostgreSQL without TLS": (
                server(POSTGRESQL, PUBLIC, FAR, answers=True, tls=False, mode="prefer"),
                "it has no TLS",
            ),
            "PostgreSQL that is not to use it": (
                server(POSTGRESQL, PUBLIC, FAR, answers=True, tls=True, mode="allow"),
                "by PGSSLMODE Appwrite asks for none first",
            ),
        },
        "pass": {
            "PostgreSQL with TLS": (
                server(POSTGRESQL, PUBLIC, FAR, answers=True, tls=True, mode="prefer"),
                "encrypted, by whichever certificate it shows",
            ),
            "PostgreSQL with an authority": (
                server(POSTGRESQL, PUBLIC, FAR, mode="verify-ca"),
                "encrypted, by any certificate of the authority",
            ),
            "PostgreSQL that must have it": server(POSTGRESQL, PUBLIC, FAR, mode="verify-full"),
        },
        "not_applicable": {
            "in the project": WITHIN,
            "in a private network": (server("MariaDB", PRIVATE, NEAR), "nothing goes there over the internet: MariaDB"),
            "a socket": server("MariaDB", LOCAL, "a socket of this machine"),
        },
        "unknown": {
            "no answer": (
                server(POSTGRESQL, PUBLIC, FAR, mode="prefer"),
                "does not say to this host whether it speaks TLS",
            ),
            "no address": (nowhere(), NO_NAME.reason),
            "a newer release": (server("MariaDB", PUBLIC, FAR, release="9.9.0"), "may ask for TLS"),
        },
    },
    "platform.database_encrypted_inside": {
        "fail": {
            "Redis": (
                server("Redis", PRIVATE, NEAR, answers=True, tls=False),
                "Redis (db.internal:3306) is at 10.0.0.5",
                "stunnel",
            )
        },
        "pass": {"PostgreSQL": server(POSTGRESQL, PRIVATE, NEAR, answers=True, tls=True, mode="prefer")},
        "not_applicable": {
            "in the project": WITHIN,
            "over the internet": server("MariaDB", PUBLIC, FAR),
            "here": server("MariaDB", LOCAL, HERE),
        },
        "unknown": {"no address": nowhere()},
    },
    "platform.audit_kept": {
        "fail": {
            "a day": (secured(values={AUDIT: "86400"}), f"{AUDIT} is 86400"),
            "no number": secured("1.4.14", {AUDIT: "14d"}),
            "negative": secured(values={AUDIT: "-1"}),
        },
        "pass": {
            "the default": secured(),
            "a year": secured(values={AUDIT: "31536000"}),
            "unset": secured(values={AUDIT: ""}),
        },
    },
    "platform.console_audit_kept": {
        "fail": {"a month": (secured(values={CONSOLE_AUDIT: "2592000"}), f"{CONSOLE_AUDIT} is 2592000")},
        "pass": {"the default": secured(), "a year": secured(values={CONSOLE_AUDIT: "31536000"})},
        "not_applicable": {"before 1.6.2": (secured("1.5.11"), f"has no {CONSOLE_AUDIT}")},
    },
}
