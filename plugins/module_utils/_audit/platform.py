# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of what Appwrite itself allows, limits, scans and keeps.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from functools import partial

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Control,
    Observation,
    Outcome,
    Unobserved,
    Unseen,
    failed,
    judge,
    not_applicable,
    passed,
    places,
    seen,
    seen_all,
    services,
)

_PROVIDERS = ("sentry", "raygun")
"""Names that Appwrite's two lists spell alike since it takes the provider from the DSN; appSignal and logOwl end up in neither branch."""
_OLD_PROVIDERS = ("sentry", "raygun", "appSignal", "logOwl")
_DSN_SINCE = (1, 6)
_SCANNER = "clamav"


def _given(observation: Observation, name: str) -> set[str]:
    """Its values, wherever it is received."""
    return {value for _place, value in places(observation, name)} - set(catalogue.UNSET)


def _environment_production(observation: Observation) -> Outcome:
    return judge(observation, "_APP_ENV", lambda value: value == "production")


def _abuse_limited(observation: Observation) -> Outcome:
    return judge(observation, "_APP_OPTIONS_ABUSE", lambda value: value == "enabled")


def _router_protected(observation: Observation) -> Outcome:
    name, release = "_APP_OPTIONS_ROUTER_PROTECTION", observation.release
    if not catalogue.is_read(name, release):
        return not_applicable("Appwrite %s has no router protection" % release)
    if not catalogue.is_older(release, (1, 9)) and catalogue.is_older(release, (1, 9, 5)):
        seen_all(observation)
        return passed("Appwrite %s turns unknown host names away whatever %s says" % (release, name))
    on_by_itself = not catalogue.is_older(release, (1, 9, 5)) and catalogue.is_older(release, (1, 9, 7))
    return judge(observation, name, lambda value: value == "enabled" or on_by_itself and value in catalogue.UNSET)


def _schema_closed(observation: Observation) -> Outcome:
    name = "_APP_GRAPHQL_INTROSPECTION"
    if not catalogue.is_read(name, observation.release):
        return not_applicable(
            "Appwrite %s has no %s: it shows the schema only if abuse protection is disabled"
            % (observation.release, name)
        )
    return judge(observation, name, lambda value: value == "disabled")


def _mail_encrypted(observation: Observation) -> Outcome:
    if not _given(observation, "_APP_SMTP_HOST"):
        seen_all(observation)
        return not_applicable("no mail server is set")
    return judge(observation, "_APP_SMTP_SECURE", lambda value: value in ("tls", "ssl"))


def _scanner_there(observation: Observation) -> Outcome:
    if "enabled" not in _given(observation, "_APP_STORAGE_ANTIVIRUS"):
        seen_all(observation)
        return not_applicable("uploads are not to be scanned")
    inside = observation.inside
    answers = None if isinstance(inside, Unseen) else inside.reachable.get("antivirus")
    hosts = _given(observation, "_APP_STORAGE_ANTIVIRUS_HOST") or {_SCANNER}
    if answers is not None:
        return (passed if answers else failed)(
            "the scanner %s %s" % (", ".join(sorted(hosts)), "answers" if answers else "does not answer")
        )
    names = {
        name
        for service, options in services(observation).items()
        for name in (service, options.get("container_name"), options.get("hostname"))
    }
    missing = sorted(host for host in hosts - names if "." not in host)
    if missing:
        return failed("uploads are to be scanned by %s, which is not a service of the project" % ", ".join(missing))
    if hosts - names:
        seen(inside)
        raise Unobserved(
            "the container appwrite was made without scanning, so it was not asked whether the scanner answers"
        )
    seen_all(observation)
    return passed("uploads are to be scanned by %s, a service of the project" % ", ".join(sorted(hosts)))


def _errors_logged(observation: Observation) -> Outcome:
    if catalogue.is_older(observation.release, _DSN_SINCE):
        outcome = judge(observation, "_APP_LOGGING_PROVIDER", lambda value: value in _OLD_PROVIDERS)
        return (
            outcome
            if outcome.status == "fail"
            else judge(
                observation,
                "_APP_LOGGING_CONFIG",
                lambda value: value not in catalogue.UNSET,
                lambda value: "set" if value else "",
            )
        )
    return judge(
        observation,
        "_APP_LOGGING_CONFIG",
        lambda value: _provider(value) in _PROVIDERS,
        lambda value: (
            "a DSN of %s" % _provider(value)
            if _provider(value) in _OLD_PROVIDERS
            else "no DSN of a known provider"
            if value
            else ""
        ),
    )


def _provider(dsn: str) -> str:
    scheme, _separator, rest = dsn.partition("://")
    return scheme if rest.strip("/") else ""


def _kept(observation: Observation, name: str, seconds: int) -> Outcome:
    """C(seconds) are Appwrite's own default."""
    if not catalogue.is_read(name, observation.release):
        return not_applicable("Appwrite %s has no %s" % (observation.release, name))
    return judge(observation, name, lambda value: value in catalogue.UNSET or value.isdigit() and int(value) >= seconds)


CONTROLS: tuple[Control, ...] = (
    Control(
        "platform.environment_production",
        "Appwrite runs in production mode",
        "high",
        "Development mode shows stack traces, opens mock sign-in routes, lets a header choose the host and drops the guard that keeps webhooks "
        "off internal addresses. Unset is read as either.",
        "appwrite_security_variables: {_APP_ENV: production}",
        "Appwrite 1.9.6, app/init/registers.php, app/controllers/mock.php and src/Appwrite/Platform/Workers/Webhooks.php",
        _environment_production,
    ),
    Control(
        "platform.abuse_limited",
        "Abuse protection is on",
        "high",
        "Without rate limits passwords, codes and invitations can be guessed as fast as the network carries. The API and realtime read any word "
        "but enabled and disabled differently.",
        "appwrite_security_variables: {_APP_OPTIONS_ABUSE: enabled}",
        "Appwrite 1.9.6, app/controllers/shared/api.php and app/realtime.php",
        _abuse_limited,
    ),
    Control(
        "platform.router_protected",
        "Unknown host names are turned away",
        "medium",
        "Otherwise whoever points a name at this host gets the API and the console under it, which is what phishing needs. Up to 1.8.1 unset "
        "means off, in 1.9.5 and 1.9.6 it means on.",
        "appwrite_security_variables: {_APP_OPTIONS_ROUTER_PROTECTION: enabled}",
        "Appwrite 1.8.1 and 1.9.6, app/controllers/general.php; appwrite/appwrite#12798",
        _router_protected,
    ),
    Control(
        "platform.schema_closed",
        "The GraphQL schema is not shown to everybody",
        "low",
        "Introspection hands a map of the whole API to whoever asks. Only the exact word disabled closes it.",
        "appwrite_security_variables: {_APP_GRAPHQL_INTROSPECTION: disabled}",
        "Appwrite 1.9.0, app/controllers/api/graphql.php",
        _schema_closed,
    ),
    Control(
        "platform.mail_encrypted",
        "Mail goes to the mail server encrypted",
        "high",
        "Mail carries links that sign people in and reset passwords, and the mail server's own password goes before it. Anything but tls or ssl "
        "means plain text; Appwrite does not try encryption by itself.",
        "appwrite_security_variables: {_APP_SMTP_SECURE: tls}",
        "Appwrite 1.9.6, app/init/registers.php",
        _mail_encrypted,
    ),
    Control(
        "platform.scanner_there",
        "If uploads are to be scanned, there is a scanner",
        "medium",
        "An upload fails if scanning is on and no scanner answers. Up to 1.8.1 the official file has the service clamav commented out, since "
        "1.9.0 it has none.",
        "appwrite_security_variables: {_APP_STORAGE_ANTIVIRUS: disabled}, or the host of a scanner in _APP_STORAGE_ANTIVIRUS_HOST",
        "Appwrite 1.8.1, app/views/install/compose.phtml; 1.9.6, docker-compose.yml",
        _scanner_there,
    ),
    Control(
        "platform.errors_logged",
        "Errors are sent to a logging provider",
        "low",
        "The log of a container is gone with it. Since 1.6 the value is a DSN, and only sentry and raygun are spelled alike in the list that is "
        "asked whether it knows the provider and in the one that makes it.",
        'appwrite_security_variables: {_APP_LOGGING_CONFIG: "<the DSN of a Sentry project>"}, up to 1.5 with _APP_LOGGING_PROVIDER: sentry as well',
        "Appwrite 1.6.2 and 1.9.6, app/init/registers.php; utopia-php/logger 0.6.2, src/Logger/Logger.php",
        _errors_logged,
    ),
    Control(
        "platform.audit_kept",
        "Audit logs of projects are kept for 14 days or longer",
        "medium",
        "What is deleted cannot be looked at after an incident. 14 days are Appwrite's own default; many regulations ask for a year.",
        "appwrite_security_variables: {_APP_MAINTENANCE_RETENTION_AUDIT: '31536000'}",
        "Appwrite 1.9.6, app/init/worker/message.php",
        partial(_kept, name="_APP_MAINTENANCE_RETENTION_AUDIT", seconds=1209600),
    ),
    Control(
        "platform.console_audit_kept",
        "Audit logs of the console are kept for six months or longer",
        "medium",
        "They tell who changed which project. Six months are Appwrite's own default; many regulations ask for a year.",
        "appwrite_security_variables: {_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE: '31536000'}",
        "Appwrite 1.9.6, app/init/worker/message.php",
        partial(_kept, name="_APP_MAINTENANCE_RETENTION_AUDIT_CONSOLE", seconds=15778800),
    ),
)
