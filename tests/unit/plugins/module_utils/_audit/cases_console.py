# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may sign up to the console, and what is set without effect."""

from __future__ import annotations

from dataclasses import replace

from support.observations import secured, with_containers, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Observation, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.console_access import EMAILS, IPS, ROOT

SMTP, SMS, ALERTS, COUNTRIES = (
    "_APP_SMTP_HOST",
    "_APP_SMS_PROVIDER",
    "_APP_CONSOLE_SESSION_ALERTS",
    "_APP_CONSOLE_COUNTRIES_DENYLIST",
)
NO_ENGINE = Unseen("the engine does not answer")
BLIND = replace(secured(), config=NO_ENGINE, containers=NO_ENGINE)


def console(
    root: str | None = None, emails: str | None = None, ips: str | None = None, release: str = "1.9.6", **values
) -> Observation:
    return secured(release, {ROOT: root, EMAILS: emails, IPS: ips, SMTP: None, **values})


def limited(emails: str | None = None, ips: str | None = None) -> Observation:
    return console("disabled", emails, ips)


def running(observation: Observation, **values) -> Observation:
    """The container of the console made with other values than the configuration has now."""
    return with_containers(
        observation,
        lambda container: (
            replace(container, environment={**container.environment, **values})
            if container.service == "appwrite"
            else container
        ),
    )


def without_docker(observation: Observation) -> Observation:
    return replace(observation, config=NO_ENGINE, containers=NO_ENGINE)


CASES = {
    "console.signup_limited": {
        "fail": {
            "off, nobody listed": (limited(), "anyone may sign up", "appwrite_security_console_root_only: true"),
            "off, empty lists": limited("", "0"),
            "any other word": (console("true"), "is 'true'"),
            "capitals": console("Enabled"),
            "a blank": console("enabled "),
            "in the oldest release": console("disabled", release="1.4.14"),
            "in the container alone": (running(secured(), **{ROOT: "disabled"}), "(container of appwrite)"),
            "the list never arrives": with_service(
                limited("ada@example.com"), "appwrite", environment={ROOT: "disabled"}
            ),
            "without docker": (without_docker(limited()), "(.env)"),
        },
        "pass": {
            "enabled": console("enabled"),
            "unset": console(),
            "empty": console(""),
            "zero": console("0"),
            "listed people": limited("ada@example.com"),
            "listed addresses": limited(ips="8.8.8.8"),
        },
        "unknown": {
            "without docker": BLIND,
            "containers unseen": replace(secured(), containers=NO_ENGINE),
            "no such service": (replace(secured(), config={"services": {}}), "no service appwrite"),
        },
    },
    "console.other_ways_limited": {
        "fail": {
            "mail": (
                console("disabled", "ada@example.com", **{SMTP: "smtp.example.com"}),
                "leaves magic URL and e-mail OTP open",
                "appwrite_security_console_root_only: true",
            ),
            "phone": (
                console("disabled", ips="8.8.8.8", **{SMS: "sms://NotARealUser:NotARealPhoneWord1@twilio"}),
                "leaves phone open",
            ),
            "GitHub": (
                with_service(
                    limited("ada@example.com"),
                    "appwrite",
                    environment={ROOT: "disabled", EMAILS: "ada@example.com", "_APP_CONSOLE_GITHUB_APP_ID": "Iv1.0"},
                ),
                "leaves GitHub open",
            ),
            **{
                way: (
                    console(
                        "disabled",
                        "ada@example.com",
                        release="2.4.0",
                        **{f"_APP_CONSOLE_{way.upper()}_APP_ID": "NotARealId"},
                    ),
                    f"leaves {way} open",
                )
                for way in ("GitLab", "Bitbucket", "Google")
            },
            "in the oldest release": console(
                "disabled", "ada@example.com", release="1.4.14", **{SMTP: "smtp.example.com"}
            ),
        },
        "pass": {
            "no other way": limited("ada@example.com"),
            "one account": console("enabled", **{SMTP: "smtp.example.com"}),
            "one account and a list": console("enabled", "ada@example.com", **{SMTP: "smtp.example.com"}),
        },
        "not_applicable": {"open anyway": console("disabled", **{SMTP: "smtp.example.com"})},
        "unknown": {"without docker": BLIND},
    },
    "console.lists_can_match": {
        "fail": {
            "blank behind the comma": (limited("ada@example.com, bob@example.com"), "' bob@example.com'", "no spaces"),
            "mixed case": (limited("Ada@example.com,bob@example.com"), "'Ada@example.com'", "lower case"),
            "wildcard": (limited("*@example.com"), "'*@example.com'"),
            "pattern": limited("@example.com"),
            **{
                f"{entry} from 2.0.0": (
                    console("disabled", f"ada@example.com,{entry}", release="2.0.0"),
                    f"{entry!r} in {EMAILS} can never match: it must be an e-mail address or *@ and a domain",
                )
                for entry in ("*", "a*@x.io", "*@*.org")
            },
            "network": (limited(ips="8.8.8.8,203.0.113.0/24"), "'203.0.113.0/24'", "no CIDR"),
            "long IPv6": (limited(ips="2001:0db8::1"), "2001:db8::1"),
            "mapped IPv4": (limited(ips="::ffff:8.8.8.8"), "8.8.8.8"),
            "not an address": limited(ips="office.example.com"),
            "also where one account is the limit": console("enabled", "Ada@example.com"),
            "a line break": limited("ada@example.com\n"),
            "in the container alone": (
                running(limited("ada@example.com"), **{EMAILS: "Ada@example.com"}),
                "(container of appwrite)",
            ),
        },
        "pass": {
            "plain": limited("ada@example.com,o'neil+tag@sub.example.com", "8.8.8.8,2001:db8::1"),
            "all in capitals": limited("ADA@EXAMPLE.COM"),
            "an empty entry does no harm": limited("ada@example.com,"),
            "any case, spaces and a domain from 2.0.0": console(
                "disabled", "Ada@Example.com, bob@example.com ,*@Example.org", release="2.0.0"
            ),
        },
        "not_applicable": {"no list": secured(), "zero": limited("0")},
    },
    "console.all_listed_admitted": {
        "fail": {
            "two people": (
                console("enabled", "ada@example.com,bob@example.com"),
                "lists 2 addresses",
                "appwrite_security_console_root_only: false",
            ),
            "by default": console(None, "ada@example.com,bob@example.com"),
            "a domain": (console("enabled", "*@example.com", release="2.0.0"), "lists a domain"),
        },
        "pass": {
            "one person": console("enabled", "ada@example.com"),
            "the same person twice": console("enabled", "ada@example.com,ada@example.com"),
            "two people and no limit": limited("ada@example.com,bob@example.com"),
            "addresses of one person": console("enabled", ips="8.8.8.8,1.1.1.1"),
        },
        "not_applicable": {"no list": secured()},
    },
    "console.session_alerts": {
        "fail": {
            "disabled": secured(values={ALERTS: "disabled"}),
            "unset": (secured(values={ALERTS: None}), "is not enabled"),
            "another word": secured(values={ALERTS: "true"}),
            "no mail server": (secured(values={SMTP: None}), "_APP_SMTP_HOST is empty"),
        },
        "pass": {"enabled": secured(), "since 1.6": secured("1.6.2")},
        "not_applicable": {"before 1.6": secured("1.5.11")},
    },
    "console.countries_denylist": {
        "fail": {
            "small letters": (secured(values={COUNTRIES: "DE,fr"}), "upper-case"),
            "blank": (secured(values={COUNTRIES: "DE, FR"}), "no spaces"),
        },
        "pass": {"codes": secured(values={COUNTRIES: "DE,FR"})},
        "not_applicable": {"none": secured(), "an older release": secured("1.8.1")},
    },
    "console.no_dead_variables": {
        "fail": {
            "renamed": (
                secured("1.9.6", {"_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS": "enabled"}),
                "set _APP_OPTIONS_ROUTER_FORCE_HTTPS instead",
                "appwrite_security_variables: {_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS: null}",
            ),
            "of a later release": (
                secured("1.6.2", {"_APP_OPTIONS_ROUTER_FORCE_HTTPS": "enabled"}),
                "which came with 1.7",
            ),
            "passed, but not read": (
                secured("1.9.6", {"_APP_CONSOLE_HOSTNAMES": "console.example.com"}),
                "set _APP_CONSOLE_DOMAIN instead",
            ),
            "a secret": (
                secured("1.9.6", {"_APP_DB_PASS_VECTORSDB": "NotARealVectorWord1"}),
                "set _APP_DB_PASS instead",
            ),
            "two": (
                secured(
                    "1.9.6",
                    {"_APP_DOMAIN_TARGET": "appwrite.example.com", "_APP_CONSOLE_HOSTNAMES": "console.example.com"},
                ),
                "{_APP_CONSOLE_HOSTNAMES: null, _APP_DOMAIN_TARGET: null}",
            ),
            "without docker": without_docker(secured("1.9.6", {"_APP_DOMAIN_TARGET": "appwrite.example.com"})),
        },
        "pass": {
            "none": secured(),
            "as the installer writes it": secured(
                values={"_APP_DOMAIN_TARGET": "localhost", "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS": "disabled"}
            ),
            "a compose file of one's own passes it": with_service(
                secured(values={"_APP_DOMAIN_TARGET": "appwrite.example.com"}),
                "own",
                environment={"_APP_DOMAIN_TARGET": "appwrite.example.com"},
            ),
            "not one of Appwrite's": secured(values={"OUR_OWN": "anything"}),
        },
        "unknown": {"no file": secured(env=Unseen("it does not exist"))},
    },
}
WITHOUT_DOCKER = {"console.no_dead_variables"}
