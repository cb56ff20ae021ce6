# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of Appwrite with known vulnerabilities.

appwrite/appwrite publishes no advisories of its own, so the rows come from CVE records, the GitHub Advisory Database and merged fixes; the
ranges were checked against the code at the tags where these say too little. Last looked up on C(LOOKED_UP); to add one, add a row, and
that date.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable

LOOKED_UP = "2026-11-24"


@dataclass(frozen=True)
class Vulnerability:
    """C(since) is the first release that has it, C(fixed) the first after that without; the source says more."""

    id: str
    since: str
    fixed: str
    severity: str
    text: str
    source: str


VULNERABILITIES: tuple[Vulnerability, ...] = (
    Vulnerability(
        "CVE-2026-89036",
        "0.0.0",
        "2.0.0",
        "high",
        "whoever may write functions or sites can run commands in the builds worker, by tabs in the root directory of a repository",
        "CVE record of VulnCheck, 2026-09-17; commit a82dc6e386; the code at 1.4.14 to 1.9.6",
    ),
    Vulnerability(
        "appwrite/appwrite#12411",
        "1.8.0",
        "1.9.5",
        "medium",
        "the favicon endpoint follows redirects to internal addresses",
        "appwrite/appwrite#12411; the code at 1.7.5, 1.8.0 and 1.9.5",
    ),
    Vulnerability(
        "CVE-2024-1063",
        "0.0.0",
        "1.5.7",
        "medium",
        "the favicon endpoint follows redirects to internal addresses, since the fix of CVE-2023-27159 was incomplete",
        "CVE record of Tenable, 2024-01-30 (up to 1.4.13, then the newest); the code at 1.4.14 to 1.5.7",
    ),
    Vulnerability(
        "CVE-2023-27159",
        "0.0.0",
        "1.3.0",
        "high",
        "the favicon endpoint fetches internal addresses",
        "CVE record, 2023-03-31; GHSA-hxgx-584x-vwm8; github/advisory-database#4514 for the fix",
    ),
    Vulnerability(
        "CVE-2022-2925",
        "0.0.0",
        "1.0.0",
        "medium",
        "names of users, functions, buckets and collections run as scripts in the console",
        "GHSA-5ffj-mph5-c5hv, 2022-09-10",
    ),
    Vulnerability(
        "CVE-2022-25377",
        "0.5.0",
        "0.12.2",
        "high",
        "anybody can read files of the container by the path of the ACME challenge",
        "CVE record, 2024-02-22; GHSA-wfm3-gq9h-mrjm",
    ),
    Vulnerability(
        "CVE-2021-23682",
        "0.12.0",
        "0.12.2",
        "high",
        "a link can change the prototypes of the console's scripts",
        "CVE record of Snyk, 2022-02-16; 0.11.1 has the fix as well",
    ),
)


def vulnerabilities(releases: Iterable[str]) -> list[Vulnerability]:
    """Those of any of these releases."""
    versions = [_version(release) for release in releases]
    return [
        row
        for row in VULNERABILITIES
        if any(_version(row.since) <= version < _version(row.fixed) for version in versions)
    ]


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:3])
