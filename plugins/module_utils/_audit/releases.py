# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of Appwrite with known vulnerabilities.

appwrite/appwrite publishes no advisories of its own, so the rows come from CVE records, the GitHub Advisory Database and merged fixes; the
ranges were checked against the code at the tags where these say too little. Those of 2.4.0 are from its updates guide (appwrite/appwrite 33310e0f8036),
since its code could not be read. Last looked up on C(LOOKED_UP), when nothing newer than C(PUBLIC_UNTIL) could be read; to add one, add a row, and
those dates.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable

LOOKED_UP = "2026-11-29"
PUBLIC_UNTIL = "2026-10-10"
_GUIDE = "updates guide and changelog of Appwrite 2.4.0, 2026-10-08"
_NOT_IN_1_9_6 = "commit %s, in the development state of 2026-08-21 and not in 1.9.6"


@dataclass(frozen=True)
class Vulnerability:
    """C(since) is the first release that has it, V(0.0.0) if that is not known; C(fixed) the first after that without; C(severity) is empty if
    nobody has published one; the source says more."""

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
        "appwrite/appwrite#11845",
        "0.0.0",
        "2.4.0",
        "",
        "webhooks, OAuth2 endpoints, migrations and messages reach internal addresses, and who sets a webhook reads the answer",
        "appwrite/appwrite#11845; %s" % _GUIDE,
    ),
    Vulnerability(
        "2.4.0/jwt", "0.0.0", "2.4.0", "", "a user's JWT is accepted by other projects, and without a session", _GUIDE
    ),
    Vulnerability(
        "2.4.0/oauth2",
        "0.0.0",
        "2.4.0",
        "",
        "an OAuth2 callback is accepted from another browser, so that somebody can be signed in to a stranger's account",
        _GUIDE,
    ),
    Vulnerability(
        "2.4.0/forwarded-for",
        "0.0.0",
        "2.4.0",
        "",
        "a client chooses the address by which it is limited or admitted",
        _GUIDE,
    ),
    Vulnerability(
        "2.4.0/github-webhook",
        "1.4.0",
        "2.4.0",
        "",
        "webhooks of GitHub are accepted from anybody if no secret is set",
        _GUIDE,
    ),
    Vulnerability(
        "2.4.0/browser",
        "1.8.1",
        "2.4.0",
        "",
        "the browser for screenshots reaches Redis and the database by a user's URL",
        "the networks in docker-compose.yml of 1.8.1, 1.9.6 and 2.4.0",
    ),
    Vulnerability(
        "appwrite/appwrite@1265e8d500",
        "0.0.0",
        "2.0.0",
        "",
        "a JWT is valid after its session has ended",
        _NOT_IN_1_9_6 % "1265e8d500",
    ),
    Vulnerability(
        "appwrite/appwrite@5a1264e91f",
        "0.0.0",
        "2.0.0",
        "",
        "with a JWT further ones can be made",
        _NOT_IN_1_9_6 % "5a1264e91f",
    ),
    Vulnerability(
        "appwrite/appwrite@6b50a86902",
        "0.0.0",
        "2.0.0",
        "",
        "the users API deletes a session of another user",
        _NOT_IN_1_9_6 % "6b50a86902",
    ),
    Vulnerability(
        "appwrite/appwrite@469582a6c5",
        "1.4.0",
        "2.0.0",
        "",
        "the connection of another project to its Git provider can be deleted",
        _NOT_IN_1_9_6 % "469582a6c5",
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
