# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may sign up to the console, in lists exactly as Appwrite splits and compares them (read at 1.4.14 to 1.9.6).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Installation, Plan, Refusal

OPTIONS: dict[str, dict[str, Any]] = {
    "root_only": {"type": "str", "choices": ["auto", "true", "false"]},
    "emails": {"type": "list", "elements": "str"},
    "ips": {"type": "list", "elements": "str"},
}

ROOT = "_APP_CONSOLE_WHITELIST_ROOT"
EMAILS = "_APP_CONSOLE_WHITELIST_EMAILS"
IPS = "_APP_CONSOLE_WHITELIST_IPS"
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
"""RFC 1918, RFC 6598, loopback, link-local and RFC 4193: what a proxy or a container network has, and no client from outside."""
_OTHER_WAYS = {
    "_APP_SMTP_HOST": "magic URL and e-mail OTP",
    "_APP_SMS_PROVIDER": "phone",
    "_APP_CONSOLE_GITHUB_APP_ID": "GitHub",
    "_APP_CONSOLE_GITLAB_APP_ID": "GitLab",
    "_APP_CONSOLE_BITBUCKET_APP_ID": "Bitbucket",
    "_APP_CONSOLE_GOOGLE_APP_ID": "Google",
}
"""Appwrite 1.4.14 to 2.4.0, C(app/config/console.php): GitHub, in the newest also the others, each if its variable is set."""
_PATTERNS_SINCE = (2,)


def plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    wanted = Plan()
    if options["emails"] is not None:
        wanted.changes[EMAILS] = _joined(_email(entry, installation.release) for entry in options["emails"])
    if options["ips"] is not None:
        wanted.changes[IPS] = _joined(_ip(entry) for entry in options["ips"])
    values = {**installation.values, **{name: value or "" for name, value in wanted.changes.items()}}
    own = not is_root_only(values) and lists(installation.values) and lists(values)
    if options["root_only"] == "auto" and own:
        wanted.warnings.append(
            "the choice in .env is left: %s is disabled and %s set, so each of the listed can sign up. To let only one console account exist, set "
            "`root_only` to true; to keep the choice without this warning, set it to false"
            % (ROOT, "%s is" % own[0] if len(own) == 1 else "%s are" % " and ".join(own))
        )
    elif options["root_only"] is not None:
        wanted.changes[ROOT] = values[ROOT] = "disabled" if options["root_only"] == "false" else "enabled"
        if options["root_only"] == "auto":
            wanted.optional.add(ROOT)
    wanted.warnings += _together(values)
    return wanted


def _joined(entries: Any) -> str:
    return ",".join(sorted(set(entries)))


def _email(entry: str, release: str) -> str:
    address = entry.strip().lower()
    if address in catalogue.UNSET or "," in address or catalogue.problem(EMAILS, address, release):
        if address.startswith("@") or "*" in address:
            raise Refusal(
                "emails: %r is a pattern; Appwrite %s compares whole addresses and knows no wildcard, so list each address"
                % (entry, release)
                if catalogue.is_older(release, _PATTERNS_SINCE)
                else "emails: %r is a pattern that Appwrite ignores without a word; the only one that it knows is *@ and a domain, for the addresses "
                "of exactly that domain, such as *@example.com" % entry
            )
        raise Refusal(
            "emails: %r is not an e-mail address; Appwrite compares it with the address that signs up, so it could never match"
            % entry
        )
    return address


def _ip(entry: str) -> str:
    text = entry.strip()
    if "/" in text:
        raise Refusal(
            "ips: %r is a network; Appwrite compares addresses as text and knows no CIDR, so list each address" % entry
        )
    if "*" in text:
        raise Refusal(
            "ips: %r is a pattern; Appwrite compares addresses as text and knows no wildcard, so list each address"
            % entry
        )
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Refusal(
            "ips: %r is not an IP address; Appwrite compares the text with the client's address, so it could never match"
            % entry
        ) from None
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        raise Refusal(
            "ips: %r is an IPv4 address in IPv6 form; the server sees it as %s, so write that" % (entry, mapped)
        )
    if getattr(address, "scope_id", None) is not None or (address.version == 4 and str(address) != text):
        raise Refusal(
            "ips: %r is not in the form that the server sees; write %s"
            % (entry, str(address).split("%", maxsplit=1)[0])
        )
    return str(address)


def is_root_only(values: Mapping[str, str]) -> bool:
    return (catalogue.given(values, ROOT) or "enabled") == "enabled"


def lists(values: Mapping[str, str]) -> list[str]:
    """The variables that list somebody."""
    return [name for name in (EMAILS, IPS) if catalogue.given(values, name)]


def other_ways(values: Mapping[str, str]) -> dict[str, str]:
    """Variable to the way to sign up that it opens, and on which only the limit of one account is checked."""
    return {name: way for name, way in _OTHER_WAYS.items() if catalogue.given(values, name)}


def _together(values: Mapping[str, str]) -> list[str]:
    root_only, listing, open_ways = is_root_only(values), lists(values), other_ways(values)
    warnings = []
    if listing and root_only:
        warnings.append(
            "%s is set, but %s lets only one console account exist, and a sign-up must meet both conditions: once it exists, none of the listed "
            "can sign up. Set `root_only` to false to admit them" % (" and ".join(listing), ROOT)
        )
    if not listing and not root_only:
        warnings.append(
            "anyone may sign up to the console: %s is off and neither e-mails nor addresses are listed" % ROOT
        )
    if listing and not root_only and open_ways:
        warnings.append(
            "%s limit sign-up by password only: with %s configured, sign-up by %s stays open to others"
            % (" and ".join(listing), " and ".join(open_ways), " and ".join(open_ways.values()))
        )
    private = [text for text in values.get(IPS, "").split(",") if _is_private(text)]
    if private:
        warnings.append(
            "%s lists private addresses (%s): Appwrite sees the left-most X-Forwarded-For, so behind another proxy every client has that "
            "proxy's address (appwrite/appwrite#3334), and anyone would match it" % (IPS, ", ".join(private))
        )
    return warnings


def _is_private(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE)
