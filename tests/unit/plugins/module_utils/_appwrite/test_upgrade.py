# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installer of 2.x reads was compared with its own parser (appwrite/appwrite 0cefd0615350) on 30,000 random files; these are of its kinds."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import upgrade
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A=1\nB = 2 \n", {"A": "1", "B": "2"}),
        ("A=\nB=\r\nC", {"A": "", "B": ""}),
        ("  # A=1\nA=2 # mine\nB=2#3\n", {"A": "2", "B": "2#3"}),
        ("export A=1\n=2\n", {"export A": "1"}),
        ("A=\"1 # 2\" # mine\nB='3' 4\n", {"A": "1 # 2", "B": "3"}),
        (r'A="\n\r\t\\\"\'\$\`\q"', {"A": "\n\r\t\\\"'$`\\q"}),
        (r"A='\n$'", {"A": r"\n$"}),
        ('A="1\n2"\r\nB=3', {"A": "1\n2", "B": "3"}),
        ('A="1\nB="2"\n', {"A": "1", "B": "2"}),
        ("A='1\n", {"A": "1"}),
        ('A="\\\nB="2"', {"A": "\\\nB="}),
        ("A= \rB=2\n", {"A": "", "B": "2"}),
    ],
)
def test_what_the_installer_of_2_reads(text, read):
    assert dict(upgrade._read_quoted(text)) == read


@pytest.mark.parametrize("value", ["", "1", "a b", 'a"b', "a'b", "a\\b", "a$b", "a\nb", "a\r\tb", "ä # b"])
def test_what_the_installer_of_2_writes(value):
    line = "A=%s\n" % upgrade._written_in_one_line(value)
    assert line.count("\n") == 1
    assert dict(upgrade._read_quoted(line)) == dict(parse(line).values) == {"A": value}


NAME = "_APP_SMTP_PASSWORD"
NEW, OLD, OLDEST = (kind.loses for kind in upgrade._KINDS)


@pytest.mark.parametrize(
    ("value", "line", "lost"),
    [
        ("plain", "%s=plain", {}),
        ("a b", "%s='a b'", {"1.8.1": OLDEST}),
        ("a$b", "%s='a$b'", {"1.8.1": OLD, "1.9.6": OLD}),
        ("a\nb", '%s="a\\nb"', {"1.8.1": OLD, "1.9.6": OLD}),
        ("a\nb", "%s='a\nb'", {"1.8.1": OLD, "1.9.6": OLD}),
        ("a`b", "%s='a`b'", {"1.8.1": NEW, "1.9.6": NEW, "2.4.0": NEW, "9.9.0": NEW}),
        ("plain", "export %s=plain", {"1.8.1": NEW, "1.9.6": NEW, "2.4.0": NEW, "9.9.0": NEW}),
        ("plain", "OTHER=plain\n%s=${OTHER}", {"1.8.1": NEW, "1.9.6": NEW, "2.4.0": NEW, "9.9.0": NEW}),
    ],
)
def test_loss(value, line, lost):
    text = line % NAME + "\n"
    assert parse(text).values[NAME] == value
    found = {release: upgrade.loss(NAME, value, text, release) for release in ("1.8.1", "1.9.6", "2.4.0", "9.9.0")}
    assert {release: reason for release, reason in found.items() if reason} == lost


@pytest.mark.parametrize(
    ("name", "value", "release", "part"),
    [
        ("_APP_JOBS_HOST", "http://mine:8080", "2.4.0", "the default"),
        ("_APP_JOBS_HOST", "http://orchestrator:8080", "2.4.0", ""),
        ("_APP_DB_HOST", "db.notarealcompany.com", "2.4.0", "bundled database"),
        ("_APP_DB_HOST", "postgresql", "2.4.0", ""),
        ("_APP_CONSOLE_DOMAIN", "c.notarealcompany.com", "2.4.0", "does not name"),
        ("_APP_CONSOLE_URL", "https://c.notarealcompany.com", "2.4.0", ""),
        ("MINE", "1", "2.4.0", "does not name"),
    ],
)
def test_names_that_it_sets_or_drops(name, value, release, part):
    lost = upgrade.loss(name, value, f"{name}={value}\n", release) or ""
    assert part in lost and bool(part) == bool(lost)


def test_the_default_is_that_of_the_release_that_reads():
    """An adapter behind C(export) is not seen, and what 1.9 takes instead is not what 2.x takes."""
    text = "export _APP_DB_ADAPTER=mongodb\n"
    assert upgrade.loss("_APP_DB_ADAPTER", "mongodb", text, "1.9.6") == NEW
