# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets: those between Appwrite and its services are there, are nobody else's, and arrive as they were meant.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import image
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Control,
    Observation,
    Outcome,
    Unobserved,
    Unseen,
    failed,
    judge,
    known_services,
    not_applicable,
    passed,
    places,
    seen,
    seen_all,
    services,
    some,
)

DATABASE, ROOT, EXECUTOR, REDIS = "_APP_DB_PASS", "_APP_DB_ROOT_PASS", "_APP_EXECUTOR_SECRET", "_APP_REDIS_PASS"
JOBS, GEO, TRACKING = "_APP_JOBS_SECRET", "_APP_GEO_SECRET", "_APP_NOTIFICATIONS_TRACKING_SECRET"
WEBHOOKS = tuple("_APP_VCS_%s_WEBHOOK_SECRET" % provider for provider in ("GITHUB", "GITEA", "GITLAB", "BITBUCKET"))
_CLIENTS = {
    "mariadb": "mariadb -u root -p",
    "mongodb": "mongosh -u root -p",
    "postgresql": 'sh -c \'psql -U "$POSTGRES_USER" "$POSTGRES_DB"\'',
}
_OTHERS = tuple(
    name
    for name in catalogue.names()
    if catalogue.is_secret(name)
    and name not in (catalogue.KEY, DATABASE, ROOT, EXECUTOR, REDIS, JOBS, GEO, TRACKING, *catalogue.USAGE, *WEBHOOKS)
)
"""The secrets that have no control of their own."""
_OWN = "no public default"
_CONFIGURED = re.compile(r"requirepass|aclfile|\.conf|--user\b")
"""How the command of a Redis may give it a password."""
_QUEUE_LOGS_IN = (2, 0, 1)
"""Up to 2.0.0 the queue connects without the password that it is given."""


def _own(name: str, observation: Observation) -> Outcome:
    """The secret has a value of this installation's own, under each of its names."""
    if isinstance(observation.config, Unseen) and catalogue.is_read(name, observation.release):
        return _judge(observation, name, name)
    if isinstance(observation.config, Unseen):
        return not_applicable("Appwrite %s has no %s" % (observation.release, name))
    found = [
        _judge(observation, name, alias)
        for alias in (name, *catalogue.ALIASES.get(name, ()))
        if places(observation, alias)
    ]
    if not found:
        return not_applicable("no service of this project receives %s" % name)
    bad = [outcome.evidence for outcome in found if outcome.status == "fail"]
    if not bad:
        return found[0]
    made_with = name in (DATABASE, ROOT)
    return failed(
        "; ".join(bad),
        "%s, before the database is first started; later %s" % (_REPLACE, _by_hand(observation)) if made_with else None,
    )


def _own_if_set(names: Sequence[str], nobody: str, observation: Observation) -> Outcome:
    """None of these secrets is public, under any of its names; to be empty is no fault."""
    found = []
    for name in names:
        for alias in (name, *catalogue.ALIASES.get(name, ())):
            given = [(place, value) for place, value in places(observation, alias) if value not in catalogue.UNSET]
            found += [(alias, place, catalogue.is_public_default(name, value)) for place, value in given]
    if not found:
        return not_applicable(nobody)
    bad: dict[str, list[str]] = {}
    for alias, place, is_public in found:
        if is_public:
            bad.setdefault(alias, []).append(place)
    if bad:
        return failed(
            "; ".join("%s is the public default in %s" % (alias, some(where)) for alias, where in bad.items())
        )
    seen_all(observation)
    return passed("%s: %s" % (", ".join(sorted({alias for alias, _place, _public in found})), _OWN))


def _judge(observation: Observation, name: str, alias: str) -> Outcome:
    def shown(value: str) -> str:
        return (
            "the public default"
            if catalogue.is_public_default(name, value)
            else "empty"
            if value in catalogue.UNSET
            else _OWN
        )

    return judge(observation, alias, lambda value: shown(value) == _OWN, shown)


def _by_hand(observation: Observation) -> str:
    """A database keeps the password that it was made with, whatever C(.env) says later."""
    present = known_services(observation)
    client = next(
        ("docker compose exec %s %s" % (name, client) for name, client in _CLIENTS.items() if name in present), None
    )
    if client is None:
        return "docker compose up -d (after it was changed in the database and in .env)"
    return "%s (change it there, then in .env, then docker compose up -d)" % client


def _redis_asks(observation: Observation) -> Outcome:
    is_open = None if isinstance(observation.inside, Unseen) else observation.inside.cache_is_open
    if is_open is False:
        return passed("Redis refuses clients that do not log in")
    told = any(value not in catalogue.UNSET for _place, value in places(observation, REDIS))
    if is_open is None and not _is_bare(services(observation).get("redis")):
        seen(observation.inside)
        raise Unobserved("it could not be tried whether Redis answers without a password")
    evidence = "Redis answers whoever reaches it" if is_open else "the command of the service redis sets no password"
    evidence += ", although %s is set" % REDIS if told else ""
    if catalogue.is_older(observation.release, _QUEUE_LOGS_IN):
        return failed(
            "%s; the queue of Appwrite %s could not log in with one (appwrite/appwrite#13554)"
            % (evidence, observation.release),
            "docker compose port redis 6379 (must name no address: up to Appwrite 2.0.0 a password stops mails, webhooks and functions, "
            "and 1.9.6 answers POST with 500, so keep Redis on networks of this project alone, and waive this)",
        )
    return failed(evidence)


def _is_bare(redis: Any) -> bool:
    """Whether it is certainly a Redis without a password: the official image with nothing that could give it one."""
    if not isinstance(redis, Mapping):
        return False
    official = image(str(redis.get("image") or "")).name == "redis"
    return (
        official
        and not redis.get("environment")
        and not _CONFIGURED.search("%s %s" % (redis.get("entrypoint"), redis.get("command")))
    )


def _dsn_safe(observation: Observation) -> Outcome:
    bad, sticky = [], False
    for name in catalogue.names(observation.release):
        variable = catalogue.get(name)
        if (
            variable is None
            or variable.kind not in ("password", "dsn")
            or not catalogue.is_read(name, observation.release)
        ):
            continue
        values = {value for _place, value in places(observation, name)}
        if not isinstance(observation.env, Unseen):
            values.add(observation.env.values.get(name, ""))
        problems = sorted(
            {
                problem
                for problem in (catalogue.problem(name, value, observation.release) for value in values)
                if problem
            }
        )
        bad += ["%s: %s" % (name, problem) for problem in problems]
        sticky = sticky or bool(problems and variable.sticky)
    if bad:
        return failed("; ".join(bad), _by_hand(observation) if sticky else None)
    seen(observation.env)
    seen_all(observation)
    return passed("names and passwords of the database and of Redis hold nothing that a DSN reads otherwise")


_REPLACE = "appwrite_security_replace_default_secrets: true"
_PUBLIC = (
    "The installer's default is in its source, the same for everyone: whoever reaches the database's port has all data."
)

CONTROLS = (
    Control(
        "secrets.database_password",
        "The database password is not a public default",
        "high",
        _PUBLIC,
        _REPLACE,
        "Appwrite 1.4.14 to 1.9.6: app/config/variables.php",
        partial(_own, DATABASE),
    ),
    Control(
        "secrets.database_root_password",
        "The database's root password is not a public default",
        "high",
        _PUBLIC,
        _REPLACE,
        "Appwrite 1.4.14 to 1.9.6: app/config/variables.php",
        partial(_own, ROOT),
    ),
    Control(
        "secrets.executor_secret",
        "The executor's secret is not a public default",
        "high",
        "It is all that the executor asks for, and the executor holds the Docker socket: with the installer's default, whoever reaches it "
        "from a function or another container is root on the host.",
        _REPLACE,
        "Appwrite 1.4.14 to 1.9.6: app/config/variables.php; openruntimes/executor: OPR_EXECUTOR_SECRET",
        partial(_own, EXECUTOR),
    ),
    Control(
        "secrets.jobs_secret",
        "The secret of build jobs is not a public default",
        "high",
        "It signs what a build reports to the API: whoever knows it reports in the name of any build. From about 2.4.0 Appwrite takes no "
        "report as long as it is public, so that every build fails.",
        _REPLACE,
        "appwrite/appwrite 07cae77e: src/Appwrite/Auth/JobsSecret.php",
        partial(_own, JOBS),
    ),
    Control(
        "secrets.geo_secret",
        "The secret of the geo service is not a public default",
        "low",
        "It is all that the service asks for that tells countries from addresses.",
        _REPLACE,
        "appwrite/appwrite 0cefd0615350: app/config/variables.php",
        partial(_own, GEO),
    ),
    Control(
        "secrets.tracking_secret",
        "The secret of notifications' links is not a public default",
        "low",
        "It signs the links in mails that tell who has opened one: whoever knows it makes such links.",
        _REPLACE,
        "appwrite/appwrite 0cefd0615350: app/config/variables.php",
        partial(_own, TRACKING),
    ),
    Control(
        "secrets.usage_password",
        "ClickHouse's password is not a public default",
        "high",
        "ClickHouse holds executions with their requests' headers and their logs, under no key: whoever reaches its port can read them.",
        '%s, before ClickHouse is first started; later appwrite_security_variables: {%s: "a new password"}, with the same one in %s and %s'
        % (_REPLACE, *catalogue.USAGE),
        "appwrite/appwrite 33310e0f8036: docker-compose.yml and .env; ClickHouse: docker/server/entrypoint.sh",
        partial(_own_if_set, catalogue.USAGE, "no service of this project is given a password of ClickHouse"),
    ),
    Control(
        "secrets.webhook_secrets",
        "No secret of a repository's webhook is a public default",
        "medium",
        "It is what tells a provider's word of a push from anybody's: with one that Appwrite's documentation hands out, anybody starts builds.",
        "%s (once a provider is connected, change it there, and by appwrite_security_variables)" % _REPLACE,
        "appwrite/appwrite 33310e0f8036: .env, which the documentation's generator hands out",
        partial(_own_if_set, WEBHOOKS, "no webhook of a repository has a secret here"),
    ),
    Control(
        "secrets.others_own",
        "No other secret is a public default",
        "medium",
        "What a template put for a secret, such as 'password' for that of the mail server, is tried first by whoever can reach what it belongs to.",
        'appwrite_security_variables: {_APP_SMTP_PASSWORD: "a new one"}, by its name, once it was changed where it belongs to',
        "Appwrite 1.4.14 to 2.4.0: app/config/variables.php has none of these set",
        partial(_own_if_set, _OTHERS, "no other secret is set"),
    ),
    Control(
        "secrets.redis_password",
        "Redis asks for a password",
        "medium",
        "It holds the queue and the cache: whoever reaches its port can read sessions, and give the workers jobs. The bundled "
        "one has no password, and setting %s alone does not give it one." % REDIS,
        'appwrite_security_variables: {%s: "letters and digits alone"} (with the same word behind --requirepass in the command of the '
        "service redis)" % REDIS,
        "appwrite/appwrite#3309, #13554; Appwrite 1.9.6: app/init/registers.php",
        _redis_asks,
    ),
    Control(
        "secrets.dsn_safe",
        "No password breaks a DSN",
        "medium",
        "They pass unencoded through a DSN, in which # + , / = ? and %XX mean something else: Appwrite then logs in with another word, or "
        "not at all, and the usual way out is a password that everybody knows.",
        'appwrite_security_variables: {%s: "letters and digits alone"}' % REDIS,
        "Appwrite 1.9.6: app/init/registers.php; appwrite/appwrite#7068",
        _dsn_safe,
    ),
)
