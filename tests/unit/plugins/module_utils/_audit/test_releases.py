# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of known vulnerabilities."""

from __future__ import annotations

import datetime
import re

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.releases import (
    LOOKED_UP,
    PUBLIC_UNTIL,
    VULNERABILITIES,
    vulnerabilities,
)

OF_2_4 = ["appwrite/appwrite#11845", "2.4.0/jwt", "2.4.0/oauth2", "2.4.0/forwarded-for"]


def ids(*releases: str) -> list[str]:
    return [row.id for row in vulnerabilities(releases)]


def rated(*releases: str) -> list[str]:
    """Those with a published severity."""
    return [row.id for row in vulnerabilities(releases) if row.severity]


def test_rows_are_whole():
    assert datetime.date.fromisoformat(PUBLIC_UNTIL) <= datetime.date.fromisoformat(LOOKED_UP)
    assert len({row.id for row in VULNERABILITIES}) == len(VULNERABILITIES)
    for row in VULNERABILITIES:
        assert re.fullmatch(
            r"CVE-\d{4}-\d{4,}|GHSA(-[0-9a-z]{4}){3}|appwrite/appwrite(#\d+|@[0-9a-f]{10})|\d+\.\d+\.\d+/[a-z0-9-]+",
            row.id,
        )
        assert row.severity in ("", *SEVERITIES)
        assert not row.id.startswith("CVE") or row.severity
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", release) for release in (row.since, row.fixed))
        assert tuple(map(int, row.since.split("."))) < tuple(map(int, row.fixed.split(".")))
        assert row.source and row.text == row.text.strip() and not row.text.endswith(".")


@pytest.mark.parametrize(
    ("release", "found"),
    [
        ("0.12.2", ["CVE-2026-89036", "CVE-2024-1063", "CVE-2023-27159", "CVE-2022-2925"]),
        ("1.5.6", ["CVE-2026-89036", "CVE-2024-1063"]),
        ("1.5.7", ["CVE-2026-89036"]),
        ("1.7.5", ["CVE-2026-89036"]),
        ("1.8.0", ["CVE-2026-89036", "appwrite/appwrite#12411"]),
        ("1.9.0", ["CVE-2026-89036", "appwrite/appwrite#12411"]),
        ("1.9.5", ["CVE-2026-89036"]),
        ("2.0.0", []),
        ("2.10.0", []),
    ],
)
def test_a_row_counts_from_its_first_release_to_its_fix(release, found):
    assert rated(release) == found


@pytest.mark.parametrize(
    ("release", "found"),
    [
        ("2.4.0", []),
        ("2.3.0", [*OF_2_4, "2.4.0/github-webhook", "2.4.0/browser"]),
        ("2.0.0", [*OF_2_4, "2.4.0/github-webhook", "2.4.0/browser"]),
        (
            "1.8.0",
            [*OF_2_4, "2.4.0/github-webhook"]
            + [f"appwrite/appwrite@{commit}" for commit in ("1265e8d500", "5a1264e91f", "6b50a86902", "469582a6c5")],
        ),
        ("1.3.8", OF_2_4 + [f"appwrite/appwrite@{commit}" for commit in ("1265e8d500", "5a1264e91f", "6b50a86902")]),
    ],
)
def test_what_nobody_has_rated(release, found):
    assert [row.id for row in vulnerabilities([release]) if not row.severity] == found


def test_of_several_releases_each_counts_once():
    assert ids("1.8.1", "1.9.6") == ids("1.8.1")
    assert ids("2.4.0", "1.9.6") == ids("2.0.0", "1.9.6") == ids("1.9.6")
    assert ids() == []


def test_releases_older_than_the_catalogue_are_told_apart():
    assert catalogue.is_older("1.2.1", (1, 3, 0)) is False  # the catalogue takes it for 1.4
    assert "CVE-2023-27159" in ids("1.2.1")
    assert "CVE-2023-27159" not in ids("1.3.0")
