# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of HTTPS: what is configured, and what answers under the console's name.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from typing import Callable, Iterable, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Answer,
    Certificate,
    Control,
    Endpoint,
    Observation,
    Outcome,
    Unobserved,
    failed,
    judge,
    not_applicable,
    passed,
    places,
    seen,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.https import (
    API,
    CERTIFICATE_EMAILS,
    ROUTERS,
    why_not_public,
)

_HSTS_SECONDS = 10886400
"""Appwrite's own C(max-age), 126 days."""
_RENEWAL = datetime.timedelta(days=14)
"""Appwrite renews 30 days before the end, so a certificate with two weeks left has been missed for two."""
_REDIRECTS = (301, 302, 307, 308)
_HTTPS_URL = re.compile(r"(?i)https://([^/:?#]+)")
_MAX_AGE = re.compile(r'(?i)\bmax-age\s*=\s*"?(\d+)')
_ROUTER_SINCE = "1.4.4"


def _is_real(name: str) -> bool:
    return not why_not_public(name)


def _are_real(names: str) -> bool:
    return all(_is_real(name) for name in names.split(","))


def _is_email(address: str) -> bool:
    person, _at, domain = address.rpartition("@")
    return (
        bool(person)
        and not re.search(r"[\s@]", person)
        and _is_real(domain)
        and not ("." + domain.lower()).endswith(".appwrite.io")
    )


def _are_v4(addresses: str) -> bool:
    return addresses in catalogue.UNSET or all(_is_address(address, 4) for address in addresses.split(","))


def _is_v6(address: str) -> bool:
    return address in catalogue.UNSET or _is_address(address, 6)


def _is_address(text: str, version: int) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == version and not address.is_loopback and not address.is_unspecified


def _is_enabled(value: str) -> bool:
    return value == "enabled"


def _live(names: Iterable[str], release: str) -> str:
    """The one of these variables that the release reads for the purpose that they share."""
    return next((name for name in names if catalogue.is_read(name, release)), "")


def _every(observation: Observation, checks: Iterable[tuple[str, Callable[[str], bool]]]) -> Outcome:
    """One outcome of several variables; those that the release does not read are left out."""
    bad: list[str] = []
    good: list[str] = []
    unseen = None
    for name, is_good in checks:
        if catalogue.is_read(name, observation.release):
            try:
                outcome = judge(observation, name, is_good)
            except Unobserved as error:
                unseen = error
            else:
                (bad if outcome.status == "fail" else good).append(outcome.evidence)
    if bad:
        return failed("; ".join(bad))
    if unseen is not None:
        raise unseen
    return passed("; ".join(good))


def _api_forced(observation: Observation) -> Outcome:
    return judge(observation, API, _is_enabled)


def _router_forced(observation: Observation) -> Outcome:
    router = _live(ROUTERS, observation.release)
    if not router:
        return not_applicable(
            "Appwrite %s cannot force HTTPS for the domains of functions; %s is the first that can"
            % (observation.release, _ROUTER_SINCE)
        )
    return judge(observation, router, _is_enabled)


def _variables_of_release(observation: Observation) -> Outcome:
    values, release = seen(observation.env).values, observation.release
    wrong = [
        "%s is set, but Appwrite %s reads %s here, which is not" % (name, release, live)
        for names in (ROUTERS, CERTIFICATE_EMAILS)
        for live in [_live(names, release)]
        for name in names
        if live not in ("", name) and _is_set(name, values, release) and not _is_set(live, values, release)
    ]
    return (
        failed("; ".join(wrong))
        if wrong
        else passed("no variable of HTTPS is set in place of the one that Appwrite %s reads" % release)
    )


def _is_set(name: str, values: Mapping[str, str], release: str) -> bool:
    return values.get(name, "") not in (*catalogue.UNSET, "disabled", catalogue.default(name, release))


def _certificate_email(observation: Observation) -> Outcome:
    return judge(observation, _live(CERTIFICATE_EMAILS, observation.release), _is_email)


def _domain_real(observation: Observation) -> Outcome:
    return judge(observation, "_APP_DOMAIN", _is_real)


def _compute_domains_real(observation: Observation) -> Outcome:
    return _every(observation, [("_APP_DOMAIN_FUNCTIONS", _are_real), ("_APP_DOMAIN_SITES", _are_real)])


def _dns_targets_real(observation: Observation) -> Outcome:
    return _every(
        observation,
        [
            ("_APP_DOMAIN_TARGET", _is_real),
            ("_APP_DOMAIN_TARGET_CNAME", _is_real),
            ("_APP_DOMAIN_TARGET_A", _are_v4),
            ("_APP_DOMAIN_TARGET_AAAA", _is_v6),
        ],
    )


def _http_redirects(observation: Observation) -> Outcome:
    endpoint = seen(observation.endpoint)
    answer = seen(endpoint.http)
    if answer is None:
        seen(endpoint.certificate)
        return passed("nothing answers over HTTP, and something does over HTTPS")
    if answer.status not in _REDIRECTS:
        return failed("http://%s answers %d, which is not a redirect" % (endpoint.host, answer.status))
    if not _leads_to_https(endpoint.host, answer):
        return failed("http://%s redirects to %s" % (endpoint.host, answer.location or "nowhere"))
    return passed("http://%s redirects to HTTPS of the same name" % endpoint.host)


def _leads_to_https(host: str, answer: Answer) -> bool:
    """Whether a redirect leads to the same name by HTTPS."""
    found = _HTTPS_URL.match(answer.location or "")
    return found is not None and found.group(1).lower() == host.lower().split(":")[0]


def _console_redirects(observation: Observation) -> Outcome:
    endpoint = seen(observation.endpoint)
    if not any(_is_enabled(value) for _place, value in places(observation, API)):
        return not_applicable("HTTPS is not forced")
    clear = [
        "http://%s%s answers %d" % (endpoint.host, path, answer.status)
        for path, answer in endpoint.apart.items()
        if isinstance(answer, Answer)
        and (answer.status < 300 or answer.status in _REDIRECTS and not _leads_to_https(endpoint.host, answer))
    ]
    if clear:
        return failed("%s, though HTTPS is forced" % "; ".join(clear))
    for answer in endpoint.apart.values():
        seen(answer)
    return passed("neither the console nor realtime is served over HTTP")


def _no_redirect_loop(observation: Observation) -> Outcome:
    endpoint = seen(observation.endpoint)
    if seen(endpoint.loop):
        return failed("https://%s redirects back to where the request came from" % endpoint.host)
    return passed("https://%s answers without a redirect loop" % endpoint.host)


def _presented(observation: Observation) -> tuple[Endpoint, Certificate]:
    endpoint = seen(observation.endpoint)
    return endpoint, seen(endpoint.certificate)


def _certificate_trusted(observation: Observation) -> Outcome:
    endpoint, certificate = _presented(observation)
    if certificate.chain_error:
        return failed(
            "%s presents a certificate by %s that this host does not trust: %s"
            % (endpoint.address, certificate.issuer or "nobody", certificate.chain_error)
        )
    return passed("%s presents a certificate by %s, which this host trusts" % (endpoint.address, certificate.issuer))


def _certificate_name(observation: Observation) -> Outcome:
    endpoint, certificate = _presented(observation)
    names = ", ".join(sorted(certificate.names)) or "no name"
    if not certificate.name_matches:
        return failed("%s presents a certificate for %s, not for %s" % (endpoint.address, names, endpoint.host))
    return passed("%s presents a certificate for %s" % (endpoint.address, names))


def _certificate_lasts(observation: Observation) -> Outcome:
    _endpoint, certificate = _presented(observation)
    begin, end = certificate.not_before.date(), certificate.not_after.date()
    if begin > observation.today:
        return failed("the certificate is not valid before %s" % begin)
    if end < observation.today:
        return failed("the certificate ended on %s" % end)
    if end <= observation.today + _RENEWAL:
        return failed("the certificate ends on %s, which is within %d days" % (end, _RENEWAL.days))
    return passed("the certificate ends on %s" % end)


def _old_tls_refused(observation: Observation) -> Outcome:
    endpoint = seen(observation.endpoint)
    spoken = _spoken(endpoint, ("TLSv1", "TLSv1.1"))
    return (
        failed("%s speaks %s" % (endpoint.address, spoken))
        if spoken
        else passed("%s refuses TLSv1 and TLSv1.1" % endpoint.address)
    )


def _modern_tls_spoken(observation: Observation) -> Outcome:
    endpoint = seen(observation.endpoint)
    spoken = _spoken(endpoint, ("TLSv1.2", "TLSv1.3"))
    return (
        passed("%s speaks %s" % (endpoint.address, spoken))
        if spoken
        else failed("%s speaks neither TLSv1.2 nor TLSv1.3" % endpoint.address)
    )


def _spoken(endpoint: Endpoint, names: Iterable[str]) -> str:
    """Those of the protocols that it speaks, in words. Raises Unobserved where it speaks none that this host could try, but there are others."""
    versions = {name: seen(endpoint.protocols).get(name) for name in names}
    spoken = [name for name, speaks in versions.items() if speaks]
    untried = [name for name, speaks in versions.items() if speaks is None]
    if untried and not spoken:
        raise Unobserved("this host's OpenSSL cannot try %s" % " and ".join(untried))
    return " and ".join(spoken)


def _hsts_sent(observation: Observation) -> Outcome:
    endpoint = seen(observation.endpoint)
    header = seen(endpoint.https).hsts
    if not header:
        return failed("https://%s sends no Strict-Transport-Security" % endpoint.host)
    found = _MAX_AGE.search(header)
    seconds = int(found.group(1)) if found else 0
    if seconds < _HSTS_SECONDS:
        return failed(
            "https://%s sends Strict-Transport-Security for %d seconds, less than Appwrite's own %d"
            % (endpoint.host, seconds, _HSTS_SECONDS)
        )
    return passed("https://%s sends Strict-Transport-Security for %d seconds" % (endpoint.host, seconds))


_TRUST_PROXY = (
    "let Traefik trust the proxy that ends TLS: add --entrypoints.appwrite_web.forwardedHeaders.trustedIPs=<its address> to the command of "
    "traefik in docker-compose.override.yml, with all that is there already; then: docker compose up -d"
)
_ISSUE = "docker compose exec appwrite ssl"

CONTROLS: tuple[Control, ...] = (
    Control(
        "https.api_forced",
        "HTTPS is forced for the API",
        "high",
        "Over plain HTTP whoever is on the way reads passwords, sessions and data. Only the exact word enabled forces; any other is off. Then 1.9.6 "
        "redirects GET, without port and query, and refuses POST and HEAD with 500. Not covered are the hosts localhost and that of "
        "_APP_MIGRATION_HOST, and behind its Traefik the console's pages (/console/) and realtime (ws://).",
        "appwrite_security_force_https: true",
        "Appwrite 1.4.14 to 1.9.6, app/controllers/general.php; run: 1.9.6, Traefik 3.6",
        _api_forced,
    ),
    Control(
        "https.router_forced",
        "HTTPS is forced for the domains of functions and sites",
        "high",
        "The domains of functions and sites have a switch of their own; what their users send is as readable over plain HTTP. Domains with a "
        "redirect rule are never forced: they lead straight to its target.",
        "appwrite_security_force_https: true",
        "Appwrite 1.6.2 and 1.9.6, app/controllers/general.php; run: 1.9.6",
        _router_forced,
    ),
    Control(
        "https.variables_of_release",
        "HTTPS is set by the variables that the release reads",
        "medium",
        "Releases renamed these variables and upgrades keep the old ones, so that a setting is there to see and has no effect.",
        "ansible-playbook selfhost.appwrite.secure, which writes the variables of the release",
        "Appwrite 1.5.8 and 1.7.0, app/config/variables.php",
        _variables_of_release,
    ),
    Control(
        "https.certificate_email",
        "The certificate authority has an address to write to",
        "medium",
        "Without an address no certificate is issued (appwrite/appwrite#9021). A placeholder belongs to somebody else, who then gets the warnings.",
        "appwrite_security_certificate_email: <an address that somebody reads>",
        "Appwrite 1.5.8 to 1.9.6, src/Appwrite/Platform/Workers/Certificates.php",
        _certificate_email,
    ),
    Control(
        "https.domain_real",
        "The domain of the console is a public name",
        "high",
        "No authority issues a certificate for localhost, an address or a reserved name, links in mails lead nowhere, and localhost is "
        "exempt from the redirect.",
        'appwrite_security_variables: {_APP_DOMAIN: "<the public host name>"}',
        "Appwrite 1.9.6, src/Appwrite/Platform/Tasks/Doctor.php; RFC 2606, RFC 6761",
        _domain_real,
    ),
    Control(
        "https.compute_domains_real",
        "The domains of functions and sites are public names",
        "low",
        "Functions and sites get names under these domains; under localhost nobody reaches them, and no certificate can be issued.",
        'appwrite_security_variables: {_APP_DOMAIN_FUNCTIONS: "<a domain>", _APP_DOMAIN_SITES: "<another domain>"}',
        "Appwrite 1.9.6, app/config/variables.php",
        _compute_domains_real,
    ),
    Control(
        "https.dns_targets_real",
        "Custom domains are checked against the real address",
        "low",
        "A custom domain is accepted if its DNS record names one of these targets. Loopback and placeholders match no record of anybody, or a "
        "record that leads elsewhere.",
        'appwrite_security_variables: {_APP_DOMAIN_TARGET_CNAME: "<the public host name>", _APP_DOMAIN_TARGET_A: "<its IPv4 address>", '
        '_APP_DOMAIN_TARGET_AAAA: "<its IPv6 address, or empty>"}, before 1.7.0 _APP_DOMAIN_TARGET alone',
        "Appwrite 1.7.4, src/Appwrite/Platform/Modules/Proxy/Http/Rules/API/Create.php; 1.9.6, src/Appwrite/Platform/Modules/Proxy/Action.php",
        _dns_targets_real,
    ),
    Control(
        "https.http_redirects",
        "HTTP leads to HTTPS of the same name",
        "high",
        "What is configured counts for nothing if another program answers port 80, or a container still runs on older settings. Asked is the API "
        "(GET /v1/health/version), which redirects; what Traefik leads elsewhere is a control of its own.",
        "appwrite_security_force_https: true",
        "Appwrite 1.9.6, app/controllers/general.php; run: 1.9.6, Traefik 3.6",
        _http_redirects,
    ),
    Control(
        "https.console_redirects",
        "The console and realtime do not answer over HTTP either",
        "medium",
        "Traefik leads the console's pages (/console/, from 2.0.0 also /) and realtime to containers of their own, which redirect nothing, whatever "
        "is forced. Whoever is on the way can put another script into the page on which an administrator types the password; a browser that has "
        "seen the API's Strict-Transport-Security goes to HTTPS by itself, others do not.",
        "put services: {appwrite-console: {labels: [%s.scheme=https, %s=%s]}, appwrite-realtime: {labels: [%s=%s]}} into "
        "docker-compose.override.yml; then: docker compose up -d"
        % (
            "traefik.http.middlewares.appwrite_tls.redirectscheme",
            "traefik.http.routers.appwrite_console_http.middlewares",
            "appwrite_tls",
            "traefik.http.routers.appwrite_realtime_ws.middlewares",
            "appwrite_tls",
        ),
        "run: Appwrite 1.9.6, Traefik 3.6; Appwrite 2.4.0, docker-compose.yml; Traefik 2.11 and 3, RedirectScheme",
        _console_redirects,
    ),
    Control(
        "https.no_redirect_loop",
        "HTTPS answers without a redirect loop",
        "high",
        "Traefik overwrites the X-Forwarded-Proto of a proxy that it does not trust. If that proxy ends TLS, Appwrite takes every request for "
        "HTTP and redirects it for ever.",
        _TRUST_PROXY,
        "coollabsio/coolify#4279",
        _no_redirect_loop,
    ),
    Control(
        "https.certificate_trusted",
        "The certificate is one that clients trust",
        "high",
        "A certificate that nobody trusts teaches people to click warnings away, and a man in the middle looks just the same.",
        _ISSUE,
        "Appwrite 1.9.6, src/Appwrite/Certificates/LetsEncrypt.php; RFC 5280",
        _certificate_trusted,
    ),
    Control(
        "https.certificate_name",
        "The certificate is for the domain of the console",
        "high",
        "Clients refuse a certificate for another name. Traefik presents one that it made itself if it has none for the name that is asked for.",
        _ISSUE,
        "RFC 6125",
        _certificate_name,
    ),
    Control(
        "https.certificate_lasts",
        "The certificate is valid for more than 14 days",
        "high",
        "Appwrite renews 30 days before the end. If less than half of that is left, renewal has failed, and the day comes on which every client "
        "is locked out.",
        _ISSUE,
        "Appwrite 1.9.6, src/Appwrite/Certificates/LetsEncrypt.php",
        _certificate_lasts,
    ),
    Control(
        "https.old_tls_refused",
        "TLS 1.0 and 1.1 are refused",
        "medium",
        "Both are deprecated, since they rest on MD5 and SHA-1. Traefik refuses them unless it is told otherwise, so another proxy ends TLS or "
        "somebody told it.",
        "save tls: {options: {default: {minVersion: VersionTLS12}}} as tls.yml and hand it to Traefik: "
        "docker compose cp tls.yml appwrite:/storage/config/tls.yml; a proxy in front of it has a setting of its own",
        "RFC 8996",
        _old_tls_refused,
    ),
    Control(
        "https.modern_tls_spoken",
        "TLS 1.2 or 1.3 is spoken",
        "high",
        "Every client of today wants one of them and would not connect, or would fall back to what is broken.",
        "remove the limit that somebody set in Traefik's folder: docker compose exec appwrite ls /storage/config; a proxy in front of it has a "
        "setting of its own",
        "RFC 9325",
        _modern_tls_spoken,
    ),
    Control(
        "https.hsts_sent",
        "Browsers are told to stay with HTTPS",
        "medium",
        "Without Strict-Transport-Security the first request of each visit may go over HTTP, where it can be answered by somebody else. Appwrite "
        "sends it with answers of the API if it knows that the request came over HTTPS; on the domains of functions and sites none was seen.",
        _TRUST_PROXY,
        "Appwrite 1.9.6, app/controllers/general.php; run: 1.9.6, Traefik 3.6; RFC 6797",
        _hsts_sent,
    ),
)
