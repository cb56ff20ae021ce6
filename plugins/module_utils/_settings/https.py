# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS: forced for the API, the console, functions and sites, in the variables that the release reads.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Published
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Installation, Plan, Refusal

OPTIONS: dict[str, dict[str, Any]] = {
    "force": {"type": "str", "choices": ["auto", "true", "false"], "default": "true"},
    "force_router": {"type": "str", "choices": ["auto", "true", "false"]},
    "certificate_email": {"type": "str"},
}

API = "_APP_OPTIONS_FORCE_HTTPS"
ROUTERS = ("_APP_OPTIONS_ROUTER_FORCE_HTTPS", "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS")
CERTIFICATE_EMAILS = ("_APP_EMAIL_CERTIFICATES", "_APP_SYSTEM_SECURITY_EMAIL_ADDRESS")
HTTPS_PORT = 443
_CLOSED = (
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "onion",
    "private",
    "test",
)
"""Top-level domains without public names: RFC 2606, 6761, 6762, 7686 and 8375, ICANN's C(internal), and customs of closed networks."""
_EXAMPLES = ("example.com", "example.net", "example.org")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")


def plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    """Raises Refusal for an address that no certificate authority takes."""
    release = installation.release
    router = next((name for name in ROUTERS if catalogue.is_read(name, release)), None)
    email = next(name for name in CERTIFICATE_EMAILS if catalogue.is_read(name, release))
    force = options["force"]
    force_router = force if options["force_router"] is None else options["force_router"]
    wanted = Plan()
    if options["certificate_email"] is not None:
        address = options["certificate_email"]
        problem = catalogue.problem(email, address, release)
        if problem or address in catalogue.UNSET:
            raise Refusal(
                "certificate_email: %s"
                % (problem or "is empty; give the address that the certificate authority may write to")
            )
        wanted.changes[email] = address
    values = {**installation.values, **{name: value or "" for name, value in wanted.changes.items()}}
    unreachable, locked_out = _unreachable(values), what_locks_out(installation.published)
    left = []
    for name, wish in ((API, force), (router, force_router)):
        if wish == "auto" and (unreachable or locked_out) and values.get(name or "") != "enabled":
            left += [name] if name else []
        elif name:
            wanted.changes[name] = "disabled" if wish == "false" else "enabled"
        elif wish != "false":
            wanted.warnings.append(
                "Appwrite %s cannot force HTTPS for the domains of functions; later releases can" % release
            )
    if left:
        wanted.warnings.append(
            "%s stay%s as before (%s), so that nobody is locked out: %s. To force HTTPS all the same, set "
            "`force` to true"
            % (
                " and ".join(left),
                "s" if len(left) == 1 else "",
                ", ".join(values.get(name) or "not set" for name in left),
                unreachable or locked_out,
            )
        )
    if "enabled" in (wanted.changes.get(API), wanted.changes.get(router or API)):
        wanted.warnings += _useless(values, email, unreachable) + ([locked_out] if locked_out else [])
    return wanted


def _unreachable(values: Mapping[str, str]) -> str:
    """Why nobody can reach this installation by HTTPS and a name; empty if one may."""
    domain = values.get("_APP_DOMAIN", "")
    why = why_not_public(domain)
    return (
        why
        and "_APP_DOMAIN is %s: %s. Forcing HTTPS is of no use until it is the public host name of this installation"
        % (repr(domain) if domain else "empty", why)
    )


def _useless(values: Mapping[str, str], email: str, unreachable: str) -> list[str]:
    warnings = []
    domain = values.get("_APP_DOMAIN", "")
    if unreachable:
        warnings.append(unreachable)
    elif not catalogue.given(values, email):
        warnings.append(
            "%s is empty: no certificate can be issued without the address, and forced HTTPS then ends in a browser warning. "
            "Set `certificate_email`" % email
        )
    if domain and domain == values.get("_APP_MIGRATION_HOST"):
        warnings.append(
            "_APP_DOMAIN is also the value of _APP_MIGRATION_HOST, for which Appwrite 1.9.6 forces no HTTPS. Set that to its default, appwrite"
        )
    if values.get("_APP_ENV", "") != "production":
        warnings.append(
            "_APP_ENV is not 'production': certificates are then requested only as a dry run, so there is none for forced HTTPS to present"
        )
    return warnings


def why_not_public(name: str) -> str:
    """Why no public authority would issue a certificate for a host name, which may have a port behind it; empty if one could.

    There is no list of public suffixes here, so any top-level domain will do that is not known to be closed.
    """
    host = (name.split(":")[0] if name.count(":") < 2 else name).lower().rstrip(".")
    labels = host.split(".")
    if not host or labels[-1] == "localhost":
        return "requests for localhost are never redirected and no authority issues a certificate for it"
    if _is_address(host):
        return "no certificate is requested for an address"
    if len(labels) < 2:
        return "no authority issues a certificate for a name without a dot"
    if labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        return "it is not a host name"
    if labels[-1] in _CLOSED:
        return "no authority issues a certificate under .%s, which is no public domain" % labels[-1]
    domain = ".".join(labels[-2:])
    return "%s is reserved for examples" % domain if domain in _EXAMPLES else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def what_locks_out(published: Published | None) -> str:
    """Why forced HTTPS would be an endless redirect, or lead where nothing answers, and what to do; empty if neither is foreseen."""
    if published is None or published.trusting:
        return ""
    if not published.traefik:
        return (
            "the project has no Traefik, so TLS ends at %s. That must send X-Forwarded-Proto: https with each request that came by HTTPS, or "
            "forcing HTTPS becomes an endless redirect" % (" and ".join(published.before) or "a proxy in front of it")
        )
    overwritten = (
        "Traefik overwrites that proxy's X-Forwarded-Proto, and forcing HTTPS becomes an endless redirect (coollabsio/coolify#4279): let it trust "
        "the proxy by --entrypoints.appwrite_web.forwardedHeaders.trustedIPs=<its address> in the command of the service %s"
        % published.traefik
    )
    if published.before:
        return "TLS seems to end at %s, which this project has before Traefik. %s" % (
            " and ".join(published.before),
            overwritten,
        )
    if HTTPS_PORT in published.ports:
        return ""
    if published.ports:
        return (
            "HTTPS is published on port %s: Appwrite's redirect drops the port and leads to %d, where this project does not answer unless something "
            "forwards it. Publish %d:%d, or let what forwards it end TLS and Traefik trust that"
            % (" and ".join(map(str, published.ports)), HTTPS_PORT, HTTPS_PORT, HTTPS_PORT)
        )
    return "the project publishes no HTTPS port, so TLS seems to end at a proxy in front of it. %s" % overwritten
