# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue says of each release what Appwrite does, and what is wrong with a value."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import kinds as _kinds
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue

HTTPS, FUNCTIONS_HTTPS, ROUTER_HTTPS = (f"_APP_OPTIONS_{part}FORCE_HTTPS" for part in ("", "FUNCTIONS_", "ROUTER_"))
CERTIFICATES, SECURITY_EMAIL = "_APP_EMAIL_CERTIFICATES", "_APP_SYSTEM_SECURITY_EMAIL_ADDRESS"
EVERY_NAME = catalogue.names()


def of(release: str):
    return [catalogue.get(name) for name in catalogue.names(release)]


# --- every row ---


def test_names_are_unique_and_well_formed():
    declared = [make("").name for _group, rows in catalogue._TABLE for make in rows]
    assert len(declared) == len(set(declared)) == len(EVERY_NAME) == 240
    assert all(re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) for name in EVERY_NAME)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_row_is_consistent(name):
    variable = catalogue.get(name)
    starts = [catalogue._since(since) for since, _default, _services in variable.rows]
    assert variable.name == name
    assert variable.group in catalogue.GROUPS
    assert starts == sorted(set(starts))
    assert variable.kind in {
        "text",
        "secret",
        "password",
        "dsn",
        "ip",
        "network",
        *_kinds._PATTERNS,
        *_kinds._LIST_KINDS,
    } or (re.fullmatch(r"choice:\w+( \w+)*", variable.kind))
    assert variable.successor == "" or catalogue.get(variable.successor)
    assert not variable.public_defaults or variable.secret
    assert name in catalogue.kin(name)


@pytest.mark.parametrize("release", catalogue.RELEASES)
def test_every_installer_default_fits_its_kind(release):
    problems = {
        v.name: catalogue.problem(v.name, catalogue.default(v.name, release) or "", release) for v in of(release)
    }
    assert {name: problem for name, problem in problems.items() if problem} == {}


@pytest.mark.parametrize("release", catalogue.RELEASES)
def test_every_unread_variable_has_a_reason_and_no_other(release):
    for name in EVERY_NAME:
        assert catalogue.is_read(name, release) != bool(catalogue.why_unread(name, release)), name


def test_names_that_sound_secret_are_secret():
    sound = re.compile(r"PASS|SECRET|KEY|PRIVATE|TOKEN|LOGGING_CONFIG")
    assert {name for name in EVERY_NAME if catalogue.is_secret(name)} == {
        *filter(sound.search, EVERY_NAME),
        "_APP_SMS_PROVIDER",  # sms://user:secret@provider
        "_APP_CONNECTIONS_DB_USAGE",
        "_APP_CONNECTIONS_DB_EXECUTIONS",
        "_APP_EXECUTOR_CONNECTION_STORAGE",
    }
    assert catalogue.is_secret("_APP_OF_SOME_OTHER_RELEASE")


def test_sticky_variables():
    assert {name for name in EVERY_NAME if catalogue.get(name).sticky} == {
        "_APP_OPENSSL_KEY_V1",
        "_APP_DB_ADAPTER",
        "_APP_DB_HOST",
        "_APP_DB_PASS",
        "_APP_DB_ROOT_PASS",
        "_APP_DB_SCHEMA",
        "_APP_DB_USER",
    }


def test_public_defaults():
    assert {
        name: catalogue.get(name).public_defaults for name in EVERY_NAME if catalogue.get(name).public_defaults
    } == {
        "_APP_OPENSSL_KEY_V1": ("your-secret-key",),
        "_APP_EXECUTOR_SECRET": ("your-secret-key",),
        "_APP_GEO_SECRET": ("your-secret-key",),
        "_APP_JOBS_SECRET": ("your-secret-key",),
        "_APP_NOTIFICATIONS_TRACKING_SECRET": ("your-secret-key",),
        "_APP_USAGE_PASS": ("appwrite",),
        "_APP_CONNECTIONS_DB_USAGE": ("http://appwrite:appwrite@clickhouse:8123/appwrite",),
        "_APP_CONNECTIONS_DB_EXECUTIONS": ("http://appwrite:appwrite@clickhouse:8123/appwrite",),
        "_APP_VCS_GITHUB_WEBHOOK_SECRET": ("github-webhook-secret",),
        "_APP_VCS_GITEA_WEBHOOK_SECRET": ("gitea-webhook-secret",),
        "_APP_DB_PASS": ("password",),
        "_APP_DB_ROOT_PASS": ("rootsecretpassword",),
    }
    assert catalogue.is_public_default(catalogue.KEY, "your-secret-key")
    assert [
        name
        for name, value in {
            "_APP_EXECUTOR_CONNECTION_STORAGE": "local://localhost",
            "_APP_PWNED_PASSWORDS_DSN": "none://localhost",
            "_APP_LOGGING_CONFIG": "sentry://NotARealWord@localhost",
            "COMPOSE_PROFILES": "postgresql",
            "_APP_GEO_SECRET": "your-secret-key",
            "_APP_UNHEARD_OF": "NotARealWord",
            "_APP_DOMAIN": "localhost",
        }.items()
        if catalogue.holds_secret(name, value)
    ] == ["_APP_LOGGING_CONFIG", "_APP_UNHEARD_OF"]
    assert not catalogue.is_public_default(catalogue.KEY, "")
    assert not catalogue.is_public_default("_APP_DB_USER", "user")
    assert not catalogue.is_public_default("_APP_UNHEARD_OF", "password")


# --- releases ---


def test_releases():
    assert list(catalogue.RELEASES) == sorted(catalogue.RELEASES, key=catalogue._since)


@pytest.mark.parametrize(
    "release, same",
    [
        ("1.3.0", "1.4.0"),
        ("1.7.5", "1.7.4"),
        ("1.9.6-rc.1", "1.9.6"),
        ("v1.9.0", "1.9.0"),
        ("1.8", "1.8.1"),
        ("1.9", "1.9.6"),
        ("1.9.7", "1.9.6"),
        ("1.10.0", "1.9.6"),
        ("2.0.0-rc.1", "2.0.0"),
        ("2.5.1", catalogue.NEWEST),
        ("9.9.0", catalogue.NEWEST),
    ],
)
def test_releases_that_are_the_same(release, same):
    assert [catalogue._rows(name, release) for name in EVERY_NAME] == [
        catalogue._rows(name, same) for name in EVERY_NAME
    ]


@pytest.mark.parametrize("release", ["latest", "", "1", "1.9.x", "1.9.6.1", "appwrite-1.9.6", " 1.9.6", "1.9.6\n"])
def test_what_is_no_release_is_refused(release):
    with pytest.raises(
        ValueError, match=f"is not a release of Appwrite: give one such as {re.escape(catalogue.NEWEST)}"
    ):
        catalogue.names(release)


@pytest.mark.parametrize(
    "release, known, documented, with_key, services",
    [  # known: as counted in the releases' own files, and six that 1.9.5's compose file inserts by itself
        ("1.4.14", 112, 112, 14, 17),
        ("1.5.11", 115, 115, 17, 18),
        ("1.6.2", 125, 123, 19, 20),
        ("1.7.4", 140, 138, 19, 20),
        ("1.8.1", 143, 141, 19, 20),
        ("1.9.0", 146, 144, 19, 19),
        ("1.9.5", 173 + 6, 146, 22, 22),
        ("1.9.6", 173 + 6, 146, 22, 22),
        # and the switch of ClickHouse's statistics, which the development state had not; in 2.4.0 six of VectorsDB
        ("2.0.0", 202 + 1, 170, 6, 6),
        ("2.4.0", 227 + 6, 170, 7, 7),
    ],
)
def test_counts(release, known, documented, with_key, services):
    assert len(catalogue.names(release)) == known
    assert sum(catalogue.documented(name, release) for name in EVERY_NAME) == documented
    assert len(catalogue.services(catalogue.KEY, release)) == with_key
    assert len({service for name in EVERY_NAME for service in catalogue.services(name, release)}) == services


@pytest.mark.parametrize(
    "name, release, expected",
    [
        ("_APP_DB_HOST", "1.8.1", "mariadb"),
        ("_APP_DB_HOST", "1.9.0", "mongodb"),
        ("_APP_DB_ADAPTER", "1.8.1", None),
        ("_APP_DB_ADAPTER", "1.9.6", "mongodb"),
        ("_APP_WORKER_PER_CORE", "1.9.6", "6"),
        ("_APP_COMPUTE_BUILD_TIMEOUT", "1.9.0", "900"),
        ("_APP_COMPUTE_BUILD_TIMEOUT", "1.9.5", "2700"),
        ("_APP_CONSOLE_WHITELIST_IPS", "1.4.14", ""),
        ("_APP_CONSOLE_DOMAIN", "1.9.6", None),
        ("_APP_HTTP_PORT", "1.9.6", None),
        ("_APP_DB_ADAPTER", "2.0.0", "postgresql"),
        ("_APP_TRUSTED_PROXIES", "2.4.0", None),
        ("_APP_USAGE_DATABASE_INTERVAL", "2.0.0", None),
        ("_APP_UNHEARD_OF", "1.9.6", None),
    ],
)
def test_default(name, release, expected):
    assert catalogue.default(name, release) == expected
    assert catalogue.documented(name, release) == (expected is not None)


@pytest.mark.parametrize(
    "name, release, expected",
    [
        (HTTPS, "1.5.11", "appwrite appwrite-worker-builds"),
        (HTTPS, "1.7.4", "appwrite appwrite-worker-builds appwrite-worker-functions appwrite-worker-mails"),
        ("_APP_CONSOLE_WHITELIST_ROOT", "1.9.6", "appwrite"),
        ("_APP_STORAGE_S3_SECRET", "1.4.14", "appwrite appwrite-worker-builds appwrite-worker-deletes"),
        ("_APP_INFLUXDB_HOST", "1.4.14", "appwrite appwrite-usage telegraf"),
        ("_APP_MAINTENANCE_INTERVAL", "1.4.14", "appwrite appwrite-maintenance"),
        ("_APP_MAINTENANCE_INTERVAL", "1.6.2", "appwrite appwrite-task-maintenance"),
        ("_APP_DB_ROOT_PASS", "1.9.6", ""),
        (FUNCTIONS_HTTPS, "1.7.4", ""),
        (CERTIFICATES, "1.4.14", ""),
        ("_APP_JOBS_SECRET", "2.4.0", "appwrite appwrite-worker"),
        ("_APP_STORAGE_S3_SECRET", "2.0.0", "appwrite appwrite-worker"),
        (
            catalogue.KEY,
            "2.4.0",
            "appwrite appwrite-mqtt appwrite-realtime appwrite-task-interval appwrite-task-maintenance "
            "appwrite-task-scheduler appwrite-worker",
        ),
        ("_APP_UNHEARD_OF", "1.9.6", ""),
    ],
)
def test_services(name, release, expected):
    assert catalogue.services(name, release) == tuple(expected.split())


def test_the_key_reaches_every_service_of_the_appwrite_image():
    for release in catalogue.RELEASES:
        without = set(catalogue.services("_APP_ENV", release)) - set(catalogue.services(catalogue.KEY, release))
        assert without == ({"appwrite-worker-messaging"} if release == "1.4.14" else set())


# --- what is read ---


@pytest.mark.parametrize(
    "name, read, unread",
    [
        (HTTPS, "1.4.0 1.4.14 1.5.0 1.9.6 2.0.0", ""),
        (FUNCTIONS_HTTPS, "1.4.4 1.4.14 1.5.0 1.6.0 1.6.2", "1.4.3 1.7.0 1.7.4 1.8.1 1.9.6"),
        (ROUTER_HTTPS, "1.7.0 1.7.4 1.9.0 1.9.6", "1.4.14 1.5.0 1.6.2"),
        (CERTIFICATES, "1.5.8 1.5.11 1.6.0 1.9.6", "1.4.14 1.5.0 1.5.7"),
        (SECURITY_EMAIL, "1.4.14 1.5.0 1.5.11 1.9.0", "1.9.5 1.9.6"),
        ("_APP_CONSOLE_HOSTNAMES", "1.4.14 1.5.0 1.8.1", "1.9.0 1.9.5 1.9.6"),
        ("_APP_CONSOLE_DOMAIN", "1.9.5 1.9.6", "1.8.1 1.9.0"),
        ("_APP_DB_ROOT_PASS", "1.4.14 1.9.6", ""),
        ("_APP_DB_ADAPTER", "1.9.0 1.9.6", "1.8.1"),
        ("_APP_COMPRESSION_ENABLED", "1.9.5", "1.6.2 1.8.1 1.9.0"),
        ("_APP_LOGGING_PROVIDER", "1.4.14 1.5.11", "1.6.2 1.9.0"),
        ("_APP_MAINTENANCE_DELAY", "1.5.0 1.6.2", "1.4.14 1.7.0 1.9.6"),
        ("_APP_MIGRATIONS_FIREBASE_CLIENT_ID", "1.4.14 1.6.1", "1.6.2 1.9.6"),
        ("_APP_DB_PASS_VECTORSDB", "", "1.9.5 1.9.6"),
        ("_APP_WORKERS_NUM", "", "1.9.5 1.9.6"),
        ("_APP_USAGE_DATABASE_INTERVAL", "", "1.4.14 1.9.6"),
        ("_APP_COMPUTE_RUNTIMES_NETWORK", "1.7.0 1.9.6", "1.6.2"),
        ("_APP_HTTPS_PORT", "1.9.5 1.9.6", "1.9.0"),
        ("_APP_USAGE_STATS", "1.9.6 2.0.0 2.4.0", ""),
        ("_APP_POOL_ADAPTER", "1.9.6 2.0.0", "2.4.0"),
        ("_APP_CONSOLE_URL", "2.3.0 2.4.0", "2.0.0"),
        ("_APP_CONSOLE_URL_SCHEME", "", "1.9.6 2.0.0 2.4.0"),
        ("_APP_MQTT_PORT", "2.3.0 2.4.0", "2.2.0"),
        ("_APP_UNHEARD_OF", "", "1.9.6"),
    ],
)
def test_is_read(name, read, unread):
    assert {release: catalogue.is_read(name, release) for release in f"{read} {unread}".split()} == {
        **dict.fromkeys(read.split(), True),
        **dict.fromkeys(unread.split(), False),
    }


@pytest.mark.parametrize(
    "name, release, reason, remedy",
    [
        (FUNCTIONS_HTTPS, "1.7.0", "not passed", f"; set {ROUTER_HTTPS} instead."),
        (ROUTER_HTTPS, "1.5.0", "came with 1.7", f"; set {FUNCTIONS_HTTPS} instead."),
        (CERTIFICATES, "1.5.0", "came with 1.5.8", f"; set {SECURITY_EMAIL} instead."),
        ("_APP_CONSOLE_HOSTNAMES", "1.9.6", "ignored", "; set _APP_CONSOLE_DOMAIN instead."),
        ("_APP_CONSOLE_HOSTNAMES", "1.9.0", "ignored", "; _APP_CONSOLE_DOMAIN takes its place from 1.9.5."),
        ("OPEN_RUNTIMES_NETWORK", "1.9.6", "not passed", "; set _APP_COMPUTE_RUNTIMES_NETWORK instead."),
        ("_APP_MIGRATIONS_FIREBASE_CLIENT_ID", "1.9.6", "ignored", "."),
        ("_APP_DB_ADAPTER", "1.8.1", "came with 1.9", "."),
        ("_APP_USAGE_DATABASE_INTERVAL", "2.0.0", "gone", "."),
        ("_APP_FUNCTIONS_BUILD_SIZE_LIMIT", "2.4.0", "not passed", "; set _APP_COMPUTE_BUILD_SIZE_LIMIT instead."),
        ("_APP_ASSISTANT_OPENAI_API_KEY", "2.4.0", "not passed", "."),
    ],
)
def test_why_unread(name, release, reason, remedy):
    sentence = {
        "gone": f"Appwrite {release} no longer has {name}",
        "not passed": f"The compose file of Appwrite {release} passes {name} to no service, so nothing reads it",
        "ignored": f"Services of Appwrite {release} list {name}, but nothing reads its value from .env",
    }.get(reason, f"Appwrite {release} does not know {name}, which {reason}")
    assert catalogue.why_unread(name, release) == sentence + remedy


def test_why_an_unknown_name_is_unread():
    assert catalogue.why_unread("_APP_UNHEARD_OF", "1.9.6") == "Appwrite has no variable _APP_UNHEARD_OF."


# --- names ---


def test_kin_are_in_the_order_of_variables_php():
    assert catalogue.kin("_APP_REDIS_PASS") == (
        "_APP_REDIS_HOST",
        "_APP_REDIS_PORT",
        "_APP_REDIS_USER",
        "_APP_REDIS_PASS",
    )
    general = catalogue.kin(HTTPS)
    assert (
        general.index(HTTPS)
        < general.index(FUNCTIONS_HTTPS)
        < general.index(ROUTER_HTTPS)
        < general.index(catalogue.KEY)
    )
    assert catalogue.kin("_APP_DB_ADAPTER")[:2] == ("_APP_DB_ADAPTER", "_APP_DB_HOST")
    assert catalogue.kin("_APP_UNHEARD_OF") == ()


@pytest.mark.parametrize(
    "name, release, expected",
    [
        ("_APP_OPTION_FORCE_HTTPS", "1.9.6", HTTPS),
        ("APP_DOMAIN", "1.9.6", "_APP_DOMAIN"),
        ("_app_smtp_host", "1.9.6", "_APP_SMTP_HOST"),
        ("_APP_OPENSSL_KEY", "1.4.14", catalogue.KEY),
        ("_APP_CONSOLE_WHITELIST_IP", "1.8.1", "_APP_CONSOLE_WHITELIST_IPS"),
        ("_APP_DB_ADAPTERS", "1.9.6", "_APP_DB_ADAPTER"),
        ("_APP_DB_ADAPTERS", "1.8.1", None),
        ("MY_OWN_THING", "1.9.6", None),
        ("", "1.9.6", None),
    ],
)
def test_suggest(name, release, expected):
    assert catalogue.suggest(name, release) == expected


# --- values ---


@pytest.mark.parametrize(
    "name, values",
    [
        (HTTPS, ["enabled", "disabled"]),
        ("_APP_ENV", ["production", "development"]),
        ("_APP_DOMAIN", ["localhost", "appwrite.example.org", "203.0.113.7", "a_b.example"]),
        ("_APP_DOMAIN_SITES", ["sites.localhost,sites.example.org"]),
        ("_APP_CONSOLE_WHITELIST_EMAILS", ["a@example.org", "a@example.org,b.c+d@sub.example.org"]),
        ("_APP_CONSOLE_WHITELIST_IPS", ["203.0.113.7", "2001:db8::7", "203.0.113.7,::1"]),
        ("_APP_CONSOLE_COUNTRIES_DENYLIST", ["DE", "DE,FR"]),
        (CERTIFICATES, ["certs@example.org", "Certs@Example.ORG"]),
        ("_APP_DB_ADAPTER", ["mariadb", "mongodb", "mysql", "postgresql"]),
        ("_APP_DB_PASS", ["not-a-real-password" * 2, "a:b@c!d", "100%"]),
        ("_APP_SMTP_SECURE", ["tls", "ssl"]),
        ("_APP_SMTP_PASSWORD", ["#+,/=? not a real password"]),
        ("_APP_SMTP_PORT", ["1", "587", "9999", "59999", "65535"]),
        ("_APP_STORAGE_DEVICE", ["local", "s3", "dospaces", "backblaze", "linode", "wasabi"]),
        ("_APP_STORAGE_LIMIT", ["30000000"]),
        ("_APP_COMPUTE_CPUS", ["2", "0.5"]),
        ("_APP_MAINTENANCE_START_TIME", ["00:00", "23:59"]),
        ("_APP_EXECUTOR_HOST", ["http://exc1/v1", "https://executor.example.org"]),
        ("_APP_SYSTEM_EMAIL_NAME", ["Some team, here"]),
        ("_APP_FUNCTIONS_RUNTIMES", ["node-22,php-8.3"]),
        ("_APP_UNHEARD_OF", ["anything, at all"]),
    ],
)
def test_values_that_fit(name, values):
    for value in [*values, "", "0"]:
        assert catalogue.problem(name, value, "1.9.6") is None, value


@pytest.mark.parametrize(
    "name, value, expected",
    [
        (HTTPS, "true", "the value must be exactly enabled or disabled, not 'true'"),
        (HTTPS, "Enabled", "the value must be exactly enabled or disabled, not 'Enabled'"),
        ("_APP_CONSOLE_WHITELIST_ROOT", "enabled ", "the value must be exactly enabled or disabled, not 'enabled '"),
        ("_APP_ENV", "prod", "the value must be one of production, development, not 'prod'"),
        ("_APP_DB_ADAPTER", "MariaDB", "the value must be one of mariadb, mongodb, mysql, postgresql, not 'MariaDB'"),
        ("_APP_SMTP_SECURE", "starttls", "the value must be one of tls, ssl, not 'starttls'"),
        ("_APP_STORAGE_DEVICE", "S3", "the value must be one of local, s3, dospaces, backblaze, linode, wasabi, not 'S3'"),
        ("_APP_DOMAIN", "https://example.org", "the value must be a host name without scheme, port, path or spaces, not 'https://example.org'"),
        ("_APP_DOMAIN", "example.org:8080", "the value must be a host name without scheme, port, path or spaces, not 'example.org:8080'"),
        ("_APP_DOMAIN", "a" * 254, f"the value must be a host name without scheme, port, path or spaces, not '{'a' * 254}'"),
        ("_APP_SMTP_PORT", "65536", "the value must be a port from 1 to 65535, not '65536'"),
        ("_APP_SMTP_PORT", "٥٨٧", "the value must be a port from 1 to 65535, not '٥٨٧'"),
        ("_APP_STORAGE_LIMIT", "30MB", "the value must be a whole number, digits alone, not '30MB'"),
        ("_APP_STORAGE_LIMIT", "-1", "the value must be a whole number, digits alone, not '-1'"),
        ("_APP_COMPUTE_CPUS", "two", "the value must be a number such as 2 or 0.5, not 'two'"),
        ("_APP_MAINTENANCE_START_TIME", "24:00", "the value must be a time of day such as 03:30, not '24:00'"),
        ("_APP_EXECUTOR_HOST", "exc1/v1", "the value must be a URL that begins with http:// or https://, not 'exc1/v1'"),
        (CERTIFICATES, "certs", "the value must be an e-mail address, not 'certs'"),
        (CERTIFICATES, "a@example.org\n", "the value must be an e-mail address, not 'a@example.org\\n'"),
        ("_APP_CONSOLE_WHITELIST_EMAILS", "a@x.org, b@x.org", "the value must have no spaces round its commas and no empty entries: write a@x.org,b@x.org"),
        ("_APP_CONSOLE_WHITELIST_EMAILS", "a@x.org,", "the value must have no spaces round its commas and no empty entries: write a@x.org"),
        ("_APP_CONSOLE_WHITELIST_EMAILS", " , ", "the value must have no spaces round its commas and no empty entries: write nothing"),
        ("_APP_CONSOLE_WHITELIST_EMAILS", "a@x.org,B@x.org", "the value must be an e-mail address in lower case, without wildcards, not 'B@x.org'"),
        ("_APP_CONSOLE_WHITELIST_EMAILS", "*@x.org", "the value must be an e-mail address in lower case, without wildcards, not '*@x.org'"),
        ("_APP_CONSOLE_WHITELIST_IPS", "10.0.0.0/8", "the value must be made of IP addresses, not '10.0.0.0/8': no CIDR, write out each address"),
        ("_APP_CONSOLE_WHITELIST_IPS", "1.2.3", "the value must be made of IP addresses, not '1.2.3': such as 203.0.113.7 or 2001:db8::7"),
        ("_APP_CONSOLE_WHITELIST_IPS", "2001:DB8:0::7", "the value must have '2001:DB8:0::7' in the form that Appwrite compares with: 2001:db8::7"),
        ("_APP_CONSOLE_WHITELIST_IPS", "::ffff:1.2.3.4", "the value must have '::ffff:1.2.3.4' in the form that Appwrite compares with: 1.2.3.4"),
        ("_APP_CONSOLE_COUNTRIES_DENYLIST", "DE,fr", "the value must be an upper-case ISO 3166 country code such as DE, not 'fr'"),
        ("_APP_FUNCTIONS_RUNTIMES", "node-22, php-8.3", "the value must have no spaces round its commas and no empty entries: write node-22,php-8.3"),
        ("_APP_DB_SCHEMA", "app/write", "the value must not contain # + , / = ? or %XX, which break its DSN: use letters and digits alone"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(name, value, expected):
    assert catalogue.problem(name, value, "1.9.6") == expected


@pytest.mark.parametrize(
    "name, value, since",
    [
        ("_APP_CONSOLE_WHITELIST_EMAILS", "a@x.org, B@x.org ,*@Example.org", "2.0.0"),
        ("_APP_CONSOLE_COUNTRIES_DENYLIST", "DE, fr", "2.0.0"),
        ("_APP_REDIS_PASS", "not-a-real+password", "2.1.0"),
        ("_APP_REDIS_USER", "a/b", "2.1.0"),
    ],
)
def test_values_that_fit_from_a_release_on(name, value, since):
    assert catalogue.problem(name, value, "1.9.6")
    assert catalogue.problem(name, value, since) is None
    assert (catalogue.problem(name, value, "2.0.9") is None) == (since == "2.0.0")


@pytest.mark.parametrize("entry", ["*", "*@*.org", "a*@x", "*@", "x.org"])
def test_wildcards_that_appwrite_ignores(entry):
    expected = f"the value must be an e-mail address or *@ and a domain, not {entry!r}"
    assert catalogue.problem("_APP_CONSOLE_WHITELIST_EMAILS", f"a@x.org, {entry}", "2.4.0") == expected


def test_trusted_proxies():
    assert catalogue.problem("_APP_TRUSTED_PROXIES", "203.0.113.7,10.0.0.0/8,::1", "2.4.0") is None
    assert catalogue.problem("_APP_TRUSTED_PROXIES", "proxy", "2.4.0") == (
        "the value must be made of IP addresses and networks, not 'proxy': such as 203.0.113.7 or 10.0.0.0/8"
    )


@pytest.mark.parametrize("name", ["_APP_DB_PASS", "_APP_DB_ROOT_PASS", "_APP_REDIS_PASS"])
@pytest.mark.parametrize("broken", [*"#+,/=?", "%2F", "%aa"])
@pytest.mark.parametrize("release", catalogue.RELEASES)
def test_passwords_that_break_their_dsn_are_not_shown(name, broken, release):
    found = catalogue.problem(name, f"not-a-real{broken}password", release)
    if name == "_APP_REDIS_PASS" and not catalogue.is_older(release, (2, 1)):
        assert found is None
        return
    assert found == "the value must not contain # + , / = ? or %XX, which break its DSN: use letters and digits alone"


@pytest.mark.parametrize("character", [*" \"'`$&|;<>()[]{}\\*~!\n"])
def test_mongodb_hands_the_root_password_to_a_shell(character):
    password = f"not-a-real{character}password"
    assert catalogue.problem("_APP_DB_ROOT_PASS", password, "1.8.1") is None
    assert catalogue.problem("_APP_DB_PASS", password, "1.9.6") is None
    found = catalogue.problem("_APP_DB_ROOT_PASS", password, "1.9.0")
    assert (
        found == "the value must be letters and digits alone: the health check of MongoDB hands it unquoted to a shell"
    )


# --- Appwrite's own files ---


def compose_files():
    directory = os.environ.get("APPWRITE_COMPOSE_DIR")
    if not directory:
        return [pytest.param(None, marks=pytest.mark.skip("APPWRITE_COMPOSE_DIR is not set"))]
    return [pytest.param(path, id=path.stem) for path in sorted(Path(directory).glob("*.yml"))]


@pytest.mark.parametrize("path", compose_files())
def test_official_compose_file(path):
    release = path.stem.partition("-")[0]
    text = path.read_text("utf-8")
    listed: dict[str, set[str]] = {}
    for service, definition in yaml.safe_load(text)["services"].items():
        for entry in definition.get("environment", ()):
            name = entry.partition("=")[0]
            if name in EVERY_NAME:
                listed.setdefault(name, set()).add(service)
    assert {n: set(catalogue.services(n, release)) for n in EVERY_NAME if catalogue.services(n, release)} == listed
    inserted = set(re.findall(r"\$\{?(_APP_\w+)", text))
    assert {name for name in inserted if catalogue.get(name) is None or not catalogue.is_read(name, release)} == set()
    only_inserted = {n for n in catalogue.names(release) if catalogue.is_read(n, release)} - set(listed)
    assert only_inserted == inserted - set(listed)


# --- releases that are not known ---

OWN = catalogue.Corrected(
    "9.9.0", {catalogue.KEY: ["api", "jobs"], "_APP_RING": [], "RING_TAG": []}, {"_APP_RING": "5", "_APP_HIDDEN": ""}
)
FILES_ALONE = catalogue.Corrected("9.9.0", OWN.passed)


@pytest.mark.parametrize(
    ("release", "is_known", "is_newer"),
    [
        ("1.4.14", True, False),
        ("1.9.7", True, False),
        ("2.2.0", False, False),
        (catalogue.NEWEST, True, False),
        (catalogue.NEWEST.rpartition(".")[0] + ".99", False, True),
        ("9.9.0", False, True),
    ],
)
def test_what_is_known(release, is_known, is_newer):
    assert (catalogue.is_known(release), catalogue.is_newer(release)) == (is_known, is_newer)


def test_the_project_says_what_a_release_has():
    assert catalogue.names(OWN) == (catalogue.KEY, "_APP_HIDDEN", "_APP_RING")
    assert catalogue.names(FILES_ALONE) == (catalogue.KEY, "_APP_RING")
    assert catalogue.services(catalogue.KEY, OWN) == ("api", "jobs")
    assert catalogue.services("_APP_LOCALE", OWN) == catalogue.services("_APP_LOCALE", catalogue.NEWEST)
    assert catalogue.is_read("_APP_RING", OWN) and not catalogue.is_read("_APP_HIDDEN", OWN)
    assert "passes _APP_HIDDEN to no service" in catalogue.why_unread("_APP_HIDDEN", OWN)
    assert catalogue.suggest("_APP_RINGS", OWN) == "_APP_RING"


def test_defaults_are_those_that_the_container_says_if_it_says_any():
    assert [catalogue.default(name, OWN) for name in ("_APP_RING", "_APP_LOCALE")] == ["5", None]
    assert [catalogue.default(name, FILES_ALONE) for name in ("_APP_RING", "_APP_LOCALE")] == [None, "en"]
    assert [catalogue.documented(name, FILES_ALONE) for name in ("_APP_RING", "_APP_LOCALE", "_APP_X")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("value", "is_public"),
    [
        ("http://appwrite:appwrite@clickhouse:8123/appwrite", True),
        ("http://appwrite:appwrite@ch.notarealcompany.com/usage", True),
        ("http://appwrite:not-a-real-word@clickhouse:8123/appwrite", False),
        ("http://clickhouse:8123/appwrite", False),
    ],
)
def test_public_login_of_a_connection_string(value, is_public):
    assert catalogue.is_public_default("_APP_CONNECTIONS_DB_USAGE", value) == is_public
