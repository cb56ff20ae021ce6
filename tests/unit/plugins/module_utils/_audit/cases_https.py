# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS: the variables of each release, and what answers under the console's name."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from support.observations import TODAY, secured, with_containers

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Answer, Observation, Unseen

API, ROUTER, FUNCTIONS = (
    "_APP_OPTIONS_FORCE_HTTPS",
    "_APP_OPTIONS_ROUTER_FORCE_HTTPS",
    "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS",
)
EMAIL, OLD_EMAIL = "_APP_EMAIL_CERTIFICATES", "_APP_SYSTEM_SECURITY_EMAIL_ADDRESS"
CNAME, A, AAAA = "_APP_DOMAIN_TARGET_CNAME", "_APP_DOMAIN_TARGET_A", "_APP_DOMAIN_TARGET_AAAA"
DOMAIN = "appwrite.notarealcompany.com"
NO_ENGINE = Unseen("the engine does not answer")
CLOSED = Unseen("192.0.2.10 port 443: connection refused")


def without_docker(**values: str) -> Observation:
    return replace(secured(values=values), config=NO_ENGINE, containers=NO_ENGINE)


def answering(**parts: Any) -> Observation:
    made = secured()
    return replace(made, endpoint=replace(made.endpoint, **parts))


def apart(answers: dict[str, Any]) -> Observation:
    return answering(apart={**secured().endpoint.apart, **answers})


def presenting(**parts: Any) -> Observation:
    return answering(certificate=replace(secured().endpoint.certificate, **parts))


def speaking(**versions: bool | None) -> Observation:
    given = {name.replace("_", "."): speaks for name, speaks in versions.items()}
    return answering(protocols={**secured().endpoint.protocols, **given})


def ending(days: int) -> Observation:
    end = datetime.datetime.combine(TODAY + datetime.timedelta(days=days), datetime.time(23, 59), datetime.timezone.utc)
    return presenting(not_after=end)


def unseen(part: str) -> dict[str, Any]:
    return {
        "not asked": replace(secured(), endpoint=Unseen("the endpoint was not asked")),
        "no answer": answering(**{part: CLOSED}),
    }


CASES = {
    "https.api_forced": {
        "fail": {
            "disabled": (
                secured(values={API: "disabled"}),
                f"{API} is disabled in ",
                "appwrite_security_force_https: true",
            ),
            "another word": (secured(values={API: "Enabled"}), f"{API} is Enabled"),
            "true": secured(values={API: "true"}),
            "unset": (secured(values={API: None}), f"no service receives {API}"),
            "in a container alone": (
                with_containers(
                    secured(),
                    lambda container: (
                        replace(container, environment={**container.environment, API: "disabled"})
                        if container.service == "appwrite"
                        else container
                    ),
                ),
                "container of appwrite",
            ),
            "without docker": without_docker(**{API: "disabled"}),
        },
        "pass": {"enabled": secured(), "in the oldest release": secured("1.4.14")},
        "unknown": {"without docker": without_docker()},
    },
    "https.router_forced": {
        "fail": {
            "since 1.7": (secured("1.7.4", {ROUTER: "disabled"}), f"{ROUTER} is disabled"),
            "before 1.7": (secured("1.6.2", {FUNCTIONS: "disabled"}), f"{FUNCTIONS} is disabled"),
            "the dead one": (secured(values={ROUTER: "disabled", FUNCTIONS: "enabled"}), f"{ROUTER} is disabled"),
        },
        "pass": {"since 1.7": secured("1.7.4"), "before 1.7": secured("1.6.2"), "newest": secured()},
        "not_applicable": {"before 1.4.4": (secured("1.4.3"), "1.4.4 is the first that can")},
    },
    "https.variables_of_release": {
        "fail": {
            "the switch of before 1.7": (
                secured("1.9.6", {ROUTER: "disabled", FUNCTIONS: "enabled"}),
                f"{FUNCTIONS} is set, but Appwrite 1.9.6 reads {ROUTER} here, which is not",
            ),
            "the switch of since 1.7": (
                secured("1.6.2", {ROUTER: "enabled", FUNCTIONS: None}),
                f"reads {FUNCTIONS} here",
            ),
            "the address of before 1.5.8": (
                secured(values={EMAIL: "", OLD_EMAIL: "tls@notarealcompany.com"}),
                f"reads {EMAIL} here",
            ),
            "the address of since 1.5.8": secured(
                "1.4.14", {EMAIL: "tls@notarealcompany.com", OLD_EMAIL: "certs@appwrite.io"}
            ),
            "an address that another worker reads": secured("1.8.1", {EMAIL: "", OLD_EMAIL: "tls@notarealcompany.com"}),
        },
        "pass": {
            "the right ones": secured(),
            "both": secured(values={FUNCTIONS: "enabled", OLD_EMAIL: "tls@notarealcompany.com"}),
            "what the installer writes": secured(
                values={ROUTER: "disabled", FUNCTIONS: "disabled", EMAIL: "", OLD_EMAIL: "certs@appwrite.io"}
            ),
            "without docker": without_docker(),
            "before there was a switch": secured("1.4.3", {FUNCTIONS: "enabled"}),
        },
        "unknown": {"no file": replace(secured(), env=Unseen("/opt/appwrite/.env does not exist"))},
    },
    "https.certificate_email": {
        "fail": {
            "empty": (secured(values={EMAIL: ""}), f"{EMAIL} is empty"),
            "Appwrite's": (secured("1.4.14", {OLD_EMAIL: "certs@appwrite.io"}), "certs@appwrite.io"),
            "an example": secured(values={EMAIL: "certs@example.com"}),
            "under an example": secured(values={EMAIL: "certs@mail.example.org"}),
            "no address": secured(values={EMAIL: "certs.notarealcompany.com"}),
            "nobody": secured(values={EMAIL: "@notarealcompany.com"}),
            "two": secured(values={EMAIL: "a@b@notarealcompany.com"}),
            "local": secured(values={EMAIL: "root@localhost"}),
        },
        "pass": {
            "since 1.5.8": secured(),
            "before": secured("1.4.14"),
            "of somebody like Appwrite": secured(values={EMAIL: "certs@notappwrite.io"}),
        },
    },
    "https.domain_real": {
        "fail": {
            name: (secured(values={"_APP_DOMAIN": name}), f"_APP_DOMAIN is {name or 'empty'}")
            for name in (
                "",
                "localhost",
                "app.localhost",
                "appwrite",
                "appwrite.local",
                "appwrite.internal",
                "appwrite.test",
                "example.com",
                "appwrite.example.net",
                "192.0.2.10",
                "192.0.2.10:8080",
                "2001:db8::10",
                "https://notarealcompany.com",
                "a..com",
                "-a.com",
                "appwrite.lan",
                "nas.home.arpa",
                "LOCALHOST",
                "localhost:8080",
                "app.example.",
                "a b.com",
            )
        },
        "pass": {
            name: secured(values={"_APP_DOMAIN": name})
            for name in (
                DOMAIN,
                "notarealcompany.com",
                "notarealcompany.com:8443",
                "Appwrite.notarealCompany.COM",
                "xn--bcher-kva.notarealcompany.com",
                "example.notarealcompany.com",
                "notarealcompany.com.",
            )
        },
        "unknown": {"without docker": without_docker()},
    },
    "https.compute_domains_real": {
        "fail": {
            "functions": (
                secured(values={"_APP_DOMAIN_FUNCTIONS": "functions.localhost"}),
                "_APP_DOMAIN_FUNCTIONS is functions.localhost",
            ),
            "sites": (secured(values={"_APP_DOMAIN_SITES": "sites.localhost"}), "_APP_DOMAIN_SITES is sites.localhost"),
            "both": (
                secured(values={"_APP_DOMAIN_FUNCTIONS": "localhost", "_APP_DOMAIN_SITES": ""}),
                "FUNCTIONS is localhost",
                "SITES is empty",
            ),
            "one of several": secured(values={"_APP_DOMAIN_SITES": "sites.notarealcompany.com,sites.localhost"}),
            "without docker": (without_docker(_APP_DOMAIN_SITES="sites.localhost"), "_APP_DOMAIN_SITES"),
        },
        "pass": {
            "own": secured(),
            "several": secured(values={"_APP_DOMAIN_SITES": "sites.notarealcompany.com,pages.notarealcompany.com"}),
            "before there were sites": secured("1.6.2"),
        },
        "unknown": {"without docker": without_docker()},
    },
    "https.dns_targets_real": {
        "fail": {
            "CNAME": (secured(values={CNAME: "localhost"}), f"{CNAME} is localhost"),
            "A": (secured(values={A: "127.0.0.1"}), f"{A} is 127.0.0.1"),
            "a name for A": secured(values={A: DOMAIN}),
            "one of several": secured(values={A: "192.0.2.10,127.0.0.1"}),
            "AAAA": (secured(values={AAAA: "::1"}), f"{AAAA} is ::1"),
            "IPv4 for AAAA": secured(values={AAAA: "192.0.2.10"}),
            "any address": secured(values={A: "0.0.0.0"}),
            "before 1.7": (secured("1.6.2", {"_APP_DOMAIN_TARGET": "localhost"}), "_APP_DOMAIN_TARGET is localhost"),
        },
        "pass": {
            "all": secured(),
            "no IPv6": secured(values={AAAA: ""}),
            "several": secured(values={A: "192.0.2.10,192.0.2.11"}),
            "before 1.7": secured("1.6.2"),
        },
    },
    "https.http_redirects": {
        "fail": {
            "answers": (answering(http=Answer(200)), f"http://{DOMAIN} answers 200"),
            "elsewhere": (
                answering(http=Answer(301, "https://other.notarealcompany.com/")),
                "redirects to https://other.notarealcompany.com/",
            ),
            "to HTTP": answering(http=Answer(302, f"http://{DOMAIN}/console")),
            "to a path": answering(http=Answer(302, "/console")),
            "to nowhere": (answering(http=Answer(301)), "redirects to nowhere"),
            "to a longer name": answering(http=Answer(301, f"https://{DOMAIN}.evil.notarealcompany.com/")),
        },
        "pass": {
            "301": secured(),
            "no HTTP": answering(http=None),
            "308 to another port": answering(http=Answer(308, f"https://{DOMAIN}:443/")),
            "in capitals": answering(http=Answer(307, f"HTTPS://{DOMAIN.upper()}/")),
        },
        "unknown": unseen("http"),
    },
    "https.console_redirects": {
        "fail": {
            "console": (
                apart({"/console/": Answer(200)}),
                f"http://{DOMAIN}/console/ answers 200, though HTTPS is forced",
                "traefik.http.routers.appwrite_console_http.middlewares=appwrite_tls",
            ),
            "console of 2.x": (apart({"/": Answer(200)}), f"http://{DOMAIN}/ answers 200"),
            "a redirect that stays in clear": (apart({"/": Answer(302, "/login")}), f"http://{DOMAIN}/ answers 302"),
            "realtime": (apart({"/v1/realtime": Answer(101)}), "/v1/realtime answers 101"),
            "one, and the other is unseen": apart({"/": CLOSED, "/console/": Answer(200)}),
        },
        "pass": {
            "redirected": secured(),
            "nothing on HTTP": apart({"/": None, "/console/": None, "/v1/realtime": None}),
            "no such page": apart({"/console/": Answer(404)}),
        },
        "not_applicable": {"not forced": secured(values={API: "disabled"})},
        "unknown": {
            "not asked": replace(secured(), endpoint=Unseen("the endpoint was not asked")),
            "no answer": apart({"/console/": CLOSED}),
        },
    },
    "https.no_redirect_loop": {
        "fail": {"loop": (answering(loop=True), "redirects back", "forwardedHeaders.trustedIPs")},
        "pass": {"none": secured()},
        "unknown": unseen("loop"),
    },
    "https.certificate_trusted": {
        "fail": {
            "self-signed": (
                presenting(chain_error="self-signed certificate", issuer="CN=TRAEFIK DEFAULT CERT"),
                "CN=TRAEFIK DEFAULT CERT",
                "self-signed",
            ),
            "of nobody": presenting(chain_error="self-signed certificate", issuer=""),
        },
        "pass": {"trusted": (secured(), "CN=Example CA")},
        "unknown": unseen("certificate"),
    },
    "https.certificate_name": {
        "fail": {
            "another": (
                presenting(name_matches=False, names=("b.traefik.default", "a.traefik.default")),
                f"for a.traefik.default, b.traefik.default, not for {DOMAIN}",
            ),
            "none": (presenting(name_matches=False, names=()), "for no name"),
        },
        "pass": {"own": secured()},
        "unknown": unseen("certificate"),
    },
    "https.certificate_lasts": {
        "fail": {
            "ended": (ending(-1), "the certificate ended on 2026-11-23"),
            "ends today": (ending(0), "ends on 2026-11-24"),
            "ends in 14 days": (ending(14), "ends on 2026-12-08, which is within 14 days"),
            "not yet": (
                presenting(not_before=datetime.datetime(2026, 11, 25, tzinfo=datetime.timezone.utc)),
                "not valid before 2026-11-25",
            ),
        },
        "pass": {"ends in 15 days": (ending(15), "ends on 2026-12-09"), "new": secured()},
        "unknown": unseen("certificate"),
    },
    "https.old_tls_refused": {
        "fail": {
            "1.0": (speaking(TLSv1=True, TLSv1_1=None), "192.0.2.10:443 speaks TLSv1"),
            "both": (speaking(TLSv1=True, TLSv1_1=True), "TLSv1 and TLSv1.1"),
        },
        "pass": {"neither": secured()},
        "unknown": {
            "one cannot be tried": (speaking(TLSv1=None), "this host's OpenSSL cannot try TLSv1"),
            **unseen("protocols"),
        },
    },
    "https.modern_tls_spoken": {
        "fail": {"neither": (speaking(TLSv1_2=False, TLSv1_3=False), "speaks neither")},
        "pass": {
            "both": (secured(), "TLSv1.2 and TLSv1.3"),
            "one": (speaking(TLSv1_2=True, TLSv1_3=None), "speaks TLSv1.2"),
        },
        "unknown": {
            "cannot be tried": (speaking(TLSv1_2=False, TLSv1_3=None), "cannot try TLSv1.3"),
            **unseen("protocols"),
        },
    },
    "https.hsts_sent": {
        "fail": {
            "none": (answering(https=Answer(200)), "sends no Strict-Transport-Security"),
            "short": (answering(https=Answer(200, hsts="max-age=3600; includeSubDomains")), "for 3600 seconds"),
            "zero": answering(https=Answer(200, hsts="max-age=0")),
            "no number": answering(https=Answer(200, hsts="includeSubDomains")),
        },
        "pass": {
            "Appwrite's": secured(),
            "longer": answering(https=Answer(404, hsts='includeSubDomains; Max-Age="31536000"; preload')),
        },
        "unknown": unseen("https"),
    },
}

WITHOUT_DOCKER = {"https.variables_of_release"}
