# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports as real audits give them, of installations that were spoiled in ways that are found, and mended one after the other."""

from __future__ import annotations

import copy
import datetime
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from support.observations import DIRECTORY, KEY, NOT_A_KEY, TODAY, secured, with_containers, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import audit, score
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Escrow,
    File,
    Finding,
    Observation,
    Unseen,
    Waiver,
    WorkTree,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import report

REPORTS = 9
NEVER = REPORTS
VALUES: dict[str, dict[str, str | None]] = {
    "public key": {KEY: "your-secret-key"},
    "public passwords": {
        "_APP_DB_PASS": "password",
        "_APP_DB_ROOT_PASS": "rootsecretpassword",
        "_APP_EXECUTOR_SECRET": "your-secret-key",
    },
    "no redis password": {"_APP_REDIS_PASS": None},
    "http": {"_APP_OPTIONS_FORCE_HTTPS": "disabled"},
    "http to sites": {"_APP_OPTIONS_ROUTER_FORCE_HTTPS": None},
    "open sign-up": {"_APP_CONSOLE_WHITELIST_ROOT": "disabled"},
    "dead entries": {
        "_APP_CONSOLE_WHITELIST_ROOT": "disabled",
        "_APP_CONSOLE_WHITELIST_EMAILS": "ada@example.com, Grace@example.com",
    },
    "no alerts": {"_APP_CONSOLE_SESSION_ALERTS": None},
    "development": {"_APP_ENV": "development"},
    "abuse": {"_APP_OPTIONS_ABUSE": "disabled"},
    "plain mail": {"_APP_SMTP_SECURE": None},
    "open schema": {"_APP_GRAPHQL_INTROSPECTION": "enabled"},
    "no logging": {"_APP_LOGGING_CONFIG": None},
    "short audit": {"_APP_MAINTENANCE_RETENTION_AUDIT": "86400"},
    "in vain": {"_APP_CONSOLE_HOSTNAMES": "console.example.com"},
}


def _file(**parts: Any) -> Callable[[Observation], Observation]:
    return lambda found: replace(found, env=replace(found.env, **parts))


def _endpoint(**parts: Any) -> Callable[[Observation], Observation]:
    return lambda found: replace(found, endpoint=replace(found.endpoint, **parts))


def _certificate(**parts: Any) -> Callable[[Observation], Observation]:
    return lambda found: _endpoint(certificate=replace(found.endpoint.certificate, **parts))(found)


def _another_key(found: Observation) -> Observation:
    return with_containers(
        found,
        lambda one: (
            replace(one, environment={**one.environment, KEY: NOT_A_KEY[::-1]}) if KEY in one.environment else one
        ),
    )


def _no_engine(found: Observation) -> Observation:
    reason = Unseen(
        "the Docker Engine does not answer: permission denied while trying to connect to /var/run/docker.sock"
    )
    return replace(found, config=reason, containers=reason, inside=reason, drift=reason)


PARTS: dict[str, Callable[[Observation], Observation]] = {
    "readable": _file(file=File(f"{DIRECTORY}/.env", 0o644, (KEY,))),
    "copies": _file(copies=(File(f"{DIRECTORY}/.env.2026-03-02-101500.backup", 0o644, (KEY, "_APP_DB_PASS")),)),
    "git": _file(work_tree=WorkTree(DIRECTORY, True, False)),
    "no escrow": lambda found: replace(found, escrow=Escrow(None)),
    "old proof": lambda found: replace(found, escrow=replace(found.escrow, proved=datetime.date(2026, 6, 30))),
    "another key": _another_key,
    "no engine": _no_engine,
    "no name": lambda found: replace(found, endpoint=Unseen("the domain does not resolve on this host")),
    "ends soon": _certificate(not_after=datetime.datetime(2026, 12, 3, 12, tzinfo=datetime.timezone.utc)),
    "self-signed": _certificate(chain_error="self-signed certificate"),
    "old TLS": _endpoint(protocols={"TLSv1": True, "TLSv1.1": True, "TLSv1.2": True, "TLSv1.3": True}),
    "no HSTS": lambda found: _endpoint(https=replace(found.endpoint.https, hsts=None))(found),
    "database port": lambda found: with_service(found, "mariadb", ports=[{"target": 3306, "published": "3306"}]),
    "socket": lambda found: with_service(
        found,
        "portainer",
        image="portainer/portainer-ce:2.33.4",
        restart="always",
        volumes=[
            {"type": "bind", "source": "/var/run/docker.sock", "target": "/var/run/docker.sock", "read_only": False}
        ],
    ),
    "stays down": lambda found: with_service(with_service(found, "mariadb", restart="no"), "appwrite", restart="no"),
    "full": lambda found: replace(
        found, inside=replace(found.inside, volumes={name: (True, True, 91) for name in found.inside.volumes})
    ),
}
OLD = {
    "public key": 2,
    "public passwords": NEVER,
    "no redis password": NEVER,
    "open sign-up": 3,
    "readable": 4,
    "copies": NEVER,
    "no escrow": 6,
}
HOSTS: dict[str, tuple[str, dict[str, int]]] = {
    # to the release, and the ways in which it was spoiled to the report in which that is mended, or if negative first seen
    "appwrite.example.com": ("1.9.6", {"readable": 3, "no alerts": 5, "no escrow": 4}),
    "eu-1.example.com": ("1.9.6", {"readable": 3, "public passwords": 5, "old proof": NEVER, "no logging": NEVER}),
    "eu-2.example.com": ("1.9.6", {"readable": 3, "public passwords": 5, "no logging": NEVER, "short audit": 7}),
    "us-1.example.com": ("1.9.6", {"stays down": 6, "full": NEVER, "ends soon": -8, "copies": 2}),
    "us-2.example.com": ("1.9.6", {"stays down": NEVER, "no redis password": NEVER, "no escrow": 8}),
    "shop.example.com": ("1.8.1", {"dead entries": NEVER, "plain mail": 8, "database port": 8, "http": 2}),
    "games.example.net": ("1.9.0", {"open schema": NEVER, "socket": NEVER, "no alerts": NEVER, "http to sites": 5}),
    "school.example.org": ("1.8.1", {"no engine": NEVER, "no name": NEVER, "readable": NEVER}),
    "staging.example.com": (
        "1.9.6",
        {"development": NEVER, "self-signed": NEVER, "abuse": 6, "in vain": NEVER, "git": 4},
    ),
    "demo.example.com": ("1.9.6", {**OLD, "open sign-up": NEVER, "no escrow": NEVER, "public key": NEVER}),
    "lab.example.com": ("1.9.5", {**OLD, "another key": NEVER, "no HSTS": NEVER, "full": NEVER}),
    "legacy.example.com": (
        "1.6.2",
        {**OLD, "readable": NEVER, "old TLS": NEVER, "http": NEVER, "development": 1, "database port": NEVER},
    ),
}
WAIVERS: dict[str, tuple[Waiver, ...]] = {
    host: (
        Waiver(
            "containers.release_not_vulnerable",
            "Only our own two people may write functions here.",
            datetime.date(2027, 2, 28),
        ),
    )
    for host in ("appwrite.example.com", "eu-1.example.com", "eu-2.example.com", "us-1.example.com")
}
WAIVERS["staging.example.com"] = (
    Waiver(
        "https.certificate_trusted",
        "Reached through the VPN alone, with our own authority.",
        datetime.date(2026, 12, 10),
    ),
    Waiver("platform.environment_production", "Until the migration is tested.", datetime.date(2026, 10, 31)),
)
LYNIS = {
    "lynis.SSH-7408": (
        "medium",
        "sshd_config allows TCP forwarding",
        ("shop.example.com", "legacy.example.com", "lab.example.com"),
    ),
    "lynis.KRNL-6000": (
        "low",
        "sysctl values differ from the profile: kernel.kptr_restrict, net.ipv4.conf.all.rp_filter",
        ("legacy.example.com",),
    ),
}


def fleet(hosts: int = len(HOSTS), reports: int = REPORTS) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A report, and the older ones. Where there are more hosts than HOSTS has, these are there again under a number."""
    made = [_report(hosts, number) for number in range(REPORTS - reports, REPORTS)]
    return made[-1], made[:-1]


def strange(texts: list[str]) -> dict[str, Any]:
    """A report that has such a text wherever a host may put one."""
    one = _report(len(texts), 0)
    audits = []
    for found, text in zip(one["hosts"], texts):
        findings = copy.deepcopy(found["findings"][::5])
        for finding in findings:
            finding.update(
                evidence=f"{finding['evidence']}: {text}",
                remedy=f"{finding['remedy']} {text}",
                reference=f"{finding['reference']}, {text}",
            )
            if finding["status"] == "fail" and finding["severity"] == "low":
                finding.update(status="waived", waiver={"justification": text, "expires": "2027-01-01"})
        audits.append({"host": text, "audit": {"release": text[:40], "score": found["score"], "findings": findings}})
    return report(audits, one["generated_at"])


def _report(hosts: int, number: int) -> dict[str, Any]:
    when = datetime.datetime.combine(TODAY, datetime.time(4, 0, 12)) - datetime.timedelta(weeks=REPORTS - 1 - number)
    names = list(HOSTS)
    audits = [
        {
            "host": names[index % len(names)].replace(
                ".", f"-{index // len(names) + 1}." if index >= len(names) else ".", 1
            ),
            "audit": _audit(names[index % len(names)], number),
        }
        for index in range(hosts)
    ]
    return report(audits, when.strftime("%Y-%m-%dT%H:%M:%SZ"))


@functools.cache
def _audit(host: str, number: int) -> Mapping[str, Any]:
    release, spoiled = HOSTS[host]
    left = [name for name, mended in spoiled.items() if (number < mended if mended > 0 else number >= -mended)]
    observation = secured(
        release, {name: value for way in left if way in VALUES for name, value in VALUES[way].items()}
    )
    for way in left:
        observation = PARTS.get(way, lambda found: found)(observation)
    findings = audit(
        observation,
        WAIVERS.get(host, ()),
        [
            Finding(
                name,
                text,
                severity,
                "lynis",
                "fail",
                text,
                "A suggestion of lynis.",
                "lynis show details " + name.partition(".")[2],
                "lynis",
            )
            for name, (severity, text, where) in LYNIS.items()
            if host in where
        ],
    )
    # The domains of the observations must look real to the controls, those of a picture must not be anybody's.
    public = json.loads(
        json.dumps([finding.public() for finding in findings]).replace("notarealcompany.com", "example.com")
    )
    return {"release": release, "score": score(findings), "findings": public}
