# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The console: who may sign up, by which ways, and what was set in vain. Read at 1.4.14 to 1.9.6, and in the development state of 2.0.0.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Callable, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Control,
    Observation,
    Outcome,
    Unobserved,
    Unseen,
    failed,
    known_containers,
    known_services,
    not_applicable,
    passed,
    seen,
    seen_all,
    services,
    some,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.console_access import (
    EMAILS,
    IPS,
    ROOT,
    is_root_only,
    lists,
    other_ways,
)

ALERTS, COUNTRIES = "_APP_CONSOLE_SESSION_ALERTS", "_APP_CONSOLE_COUNTRIES_DENYLIST"


def _views(observation: Observation) -> list[tuple[str, Mapping[str, str]]]:
    """The environments of the service that serves the console: as compose would make it, and as its containers have it."""
    if isinstance(observation.config, Unseen):
        return [(".env", seen(observation.env).values)]
    service = services(observation).get("appwrite")
    if service is None:
        raise Unobserved("the project has no service appwrite")
    listed = {name: str(value or "") for name, value in (service.get("environment") or {}).items()}
    return [("service appwrite", listed)] + [
        ("container of appwrite", container.environment)
        for container in known_containers(observation)
        if container.service == "appwrite"
    ]


def _judge(observation: Observation, faults: Callable[[Mapping[str, str]], list[str]], good: str) -> Outcome:
    found: dict[str, list[str]] = {}
    for place, values in _views(observation):
        for fault in faults(values):
            found.setdefault(fault, []).append(place)
    if found:
        return failed(
            "; ".join("%s (%s)" % (fault, some(sorted(set(where)))) for fault, where in sorted(found.items()))
        )
    seen_all(observation)
    return passed(good)


def _any(observation: Observation, question: Callable[[Mapping[str, str]], object]) -> bool:
    return any(question(values) for _place, values in _views(observation))


def _signup_limited(observation: Observation) -> Outcome:
    def faults(values: Mapping[str, str]) -> list[str]:
        if is_root_only(values) or lists(values):
            return []
        return ["anyone may sign up: %s is %r, and neither %s nor %s lists anybody" % (ROOT, values[ROOT], EMAILS, IPS)]

    return _judge(observation, faults, "sign-up is limited to one account, or to those who are listed")


def _other_ways(observation: Observation) -> Outcome:
    def faults(values: Mapping[str, str]) -> list[str]:
        if is_root_only(values) or not lists(values):
            return []
        return [
            "%s limit sign-up by password only, and %s leaves %s open to others"
            % (" and ".join(lists(values)), name, way)
            for name, way in other_ways(values).items()
        ]

    found = _judge(
        observation,
        faults,
        "the limit of one account holds for every way, or no other way than the password is configured",
    )
    if found.status != "fail" and _any(observation, lambda values: not is_root_only(values) and not lists(values)):
        return not_applicable("sign-up is open to anyone by any way")
    return found


def _lists_can_match(observation: Observation) -> Outcome:
    def faults(values: Mapping[str, str]) -> list[str]:
        return [
            "%r in %s can never match: it %s" % (entry, name, reason)
            for name in lists(values)
            for entry in values[name].split(",")
            for reason in [_never(name, entry, observation.release)]
            if reason
        ]

    if not _any(observation, lists):
        return not_applicable("nobody is listed")
    return _judge(observation, faults, "every entry is in the form that Appwrite compares with")


def _never(name: str, entry: str, release: str) -> str:
    """Why the entry can never match. Appwrite also looks for the whole address in capitals."""
    if name == EMAILS and entry == entry.upper():
        entry = entry.lower()
    return (catalogue.problem(name, entry, release) or "").replace("the value ", "", 1)


def _all_listed_admitted(observation: Observation) -> Outcome:
    def faults(values: Mapping[str, str]) -> list[str]:
        listed = {entry for entry in values.get(EMAILS, "").split(",") if entry.strip()}
        many = "%d addresses" % len(listed) if len(listed) > 1 else "a domain" if "*" in "".join(listed) else ""
        if not many or not is_root_only(values):
            return []
        return ["%s lists %s, but %s lets only the first one sign up" % (EMAILS, many, ROOT)]

    if not _any(observation, lists):
        return not_applicable("nobody is listed")
    return _judge(observation, faults, "no listed address is shut out by %s" % ROOT)


def _session_alerts(observation: Observation) -> Outcome:
    if not catalogue.is_read(ALERTS, observation.release):
        return not_applicable("Appwrite %s has no alerts of the console" % observation.release)

    def faults(values: Mapping[str, str]) -> list[str]:
        if values.get(ALERTS) != "enabled":
            return ["%s is not enabled" % ALERTS]
        return (
            ["%s has no mail server to send with: _APP_SMTP_HOST is empty" % ALERTS]
            if not catalogue.given(values, "_APP_SMTP_HOST")
            else []
        )

    return _judge(observation, faults, "a new console session is announced by e-mail")


def _countries(observation: Observation) -> Outcome:
    def faults(values: Mapping[str, str]) -> list[str]:
        problem = catalogue.problem(COUNTRIES, values.get(COUNTRIES, ""), observation.release)
        return ["%s: %s" % (COUNTRIES, problem)] if problem else []

    if not _any(observation, lambda values: catalogue.given(values, COUNTRIES)):
        return not_applicable("no country is denied")
    return _judge(observation, faults, "every entry is a country's code as Appwrite compares it")


def _no_dead_variables(observation: Observation) -> Outcome:
    values, release = seen(observation.env).values, observation.release
    received = {name for service in known_services(observation).values() for name in service.get("environment") or {}}
    dead = []
    for name in sorted(values):
        variable = catalogue.get(name)
        if variable is None or values[name] in ("",) + tuple(default for _since, default, _services in variable.rows):
            continue
        if catalogue.why_unread(name, release) and (name not in received or catalogue.services(name, release)):
            dead.append(name)
    if dead:
        return failed(
            " ".join(catalogue.why_unread(name, release) for name in dead).rstrip("."),
            "appwrite_security_variables: {%s}" % ", ".join("%s: null" % name for name in dead),
        )
    return passed("Appwrite %s reads every variable that .env sets to another value than the installer does" % release)


_SOURCE = (
    "Appwrite 1.4.14 to 1.9.6: app/config/console.php (before 1.6: app/init.php), app/controllers/api/account.php; development state of "
    "2026-08-21: src/Appwrite/Auth/Validator/EmailWhitelist.php (appwrite/appwrite#13073)"
)

CONTROLS = (
    Control(
        "console.signup_limited",
        "Not everyone may sign up to the console",
        "high",
        "Whoever can sign up can create projects: run functions on the host, fill its disk, and send mail in its name. Who is invited to a "
        "team passes every limit (run: 1.9.6).",
        "appwrite_security_console_root_only: true",
        "%s; appwrite/appwrite#9283, #10262, #6107" % _SOURCE,
        _signup_limited,
    ),
    Control(
        "console.other_ways_limited",
        "No other way to sign up bypasses the lists",
        "high",
        "The lists of addresses are only checked if somebody signs up with a password. Magic URLs, one-time passwords and OAuth only "
        "check the limit of one account: on 1.9.6 an outsider who was on no list made an account, a team and a project by each of the first two. "
        "From 2.0.0 OAuth can be GitHub, GitLab, Bitbucket and Google, and from 2.2.0 there is a sign-in by ID token too.",
        "appwrite_security_console_root_only: true (once everyone who is listed has signed up: they stay, and team invitations still work)",
        _SOURCE,
        _other_ways,
    ),
    Control(
        "console.lists_can_match",
        "Every entry of the sign-up lists can match",
        "medium",
        "Entries are compared as text and not trimmed: a space, an address in mixed case, a wildcard, a network or an IPv6 address "
        "in another form keeps out whom it should let in. From 2.0.0 e-mail addresses may have spaces round them and any case, and *@ and a domain "
        "admits that domain; any other wildcard is ignored. A client's address is the leftmost of X-Forwarded-For.",
        "appwrite_security_console_emails: [ada@example.com] (each address alone: the role writes it as Appwrite compares it; likewise "
        "appwrite_security_console_ips, which takes no networks)",
        _SOURCE,
        _lists_can_match,
    ),
    Control(
        "console.all_listed_admitted",
        "Everyone who is listed can sign up",
        "low",
        "Every condition has to be met: while only one account may exist, a list of several people admits one of them.",
        "appwrite_security_console_root_only: false (until all of them have signed up, then true again)",
        _SOURCE,
        _all_listed_admitted,
    ),
    Control(
        "console.session_alerts",
        "A new console session is announced by e-mail",
        "low",
        "Whoever signs in with a stolen password is noticed by the one whose password it is.",
        "appwrite_security_variables: {%s: enabled, _APP_SMTP_HOST: smtp.example.com}" % ALERTS,
        "Appwrite 1.9.6: app/config/console.php, src/Appwrite/Bus/Listeners/Mails.php, src/Appwrite/Platform/Workers/Mails.php",
        _session_alerts,
    ),
    Control(
        "console.countries_denylist",
        "Every entry of the denied countries can match",
        "medium",
        "Up to 1.9.6 entries are compared as text and not trimmed: a space or a small letter lets in whom it should keep out.",
        'appwrite_security_variables: {%s: "XX,YY"}' % COUNTRIES,
        "Appwrite 1.9.6, and its development state of 2026-08-21: app/controllers/shared/api/auth.php",
        _countries,
    ),
    Control(
        "console.no_dead_variables",
        "No variable is set without effect",
        "low",
        "Releases rename variables, and what the code no longer reads still looks as if it protected something.",
        "appwrite_security_variables: {_APP_CONSOLE_HOSTNAMES: null}",
        "Appwrite 1.4.14 to 1.9.6: app/config/variables.php and the installer's compose file",
        _no_dead_variables,
    ),
)
