# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists are written as Appwrite splits and compares them; what could never match is refused."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import console_access as setting
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Refusal

ROOT, EMAILS, IPS = setting.ROOT, setting.EMAILS, setting.IPS


def plan(installation, **options):
    return setting.plan(installation, {**dict.fromkeys(setting.OPTIONS), **options})


def refused(installation, **options):
    with pytest.raises(Refusal) as caught:
        plan(installation, **options)
    return str(caught.value)


# --- what is written ---


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"root_only": "true"}, {ROOT: "enabled"}),
        ({"root_only": "false"}, {ROOT: "disabled"}),
        ({"emails": []}, {EMAILS: ""}),
        ({"ips": []}, {IPS: ""}),
        ({"emails": ["b@x.io", "a@x.io"]}, {EMAILS: "a@x.io,b@x.io"}),
        ({"emails": ["a@x.io", "b@x.io"]}, {EMAILS: "a@x.io,b@x.io"}),
        ({"emails": [" Ada@X.io ", "ada@x.io", "ADA@X.IO"]}, {EMAILS: "ada@x.io"}),
        ({"emails": ["o'neil+tag@sub.example.com"]}, {EMAILS: "o'neil+tag@sub.example.com"}),
        ({"ips": ["8.8.8.8", " 1.1.1.1", "8.8.8.8"]}, {IPS: "1.1.1.1,8.8.8.8"}),
        ({"ips": ["2606:4700:4700:0000:0000:0000:0000:1111"]}, {IPS: "2606:4700:4700::1111"}),
        ({"ips": ["2606:4700:4700::ABCD", "2606:4700:4700::abcd"]}, {IPS: "2606:4700:4700::abcd"}),
    ],
)
def test_written(installation, options, changes):
    planned = plan(installation(), **options)
    assert planned.changes == changes
    assert [catalogue.problem(name, value, "1.9.6") for name, value in changes.items()] == [None] * len(changes)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"emails": ["*@example.com"]}, "no wildcard"),
        ({"emails": ["@example.com"]}, "no wildcard"),
        ({"emails": ["ada"]}, "not an e-mail address"),
        ({"emails": ["a*a@example.com"]}, "no wildcard"),
        ({"emails": ["0"]}, "not an e-mail address"),
        ({"emails": ["ada@localhost"]}, "not an e-mail address"),
        ({"emails": ["a@x.io,b@x.io"]}, "not an e-mail address"),
        ({"emails": ["a@x.io b@x.io"]}, "not an e-mail address"),
        ({"emails": [""]}, "not an e-mail address"),
        ({"emails": ["ada@example.com\nx"]}, "not an e-mail address"),
        ({"emails": ["Ada <ada@example.com>"]}, "not an e-mail address"),
        ({"ips": ["10.0.0.0/8"]}, "no CIDR"),
        ({"ips": ["2001:db8::/32"]}, "no CIDR"),
        ({"ips": ["10.0.0.*"]}, "no wildcard"),
        ({"ips": ["10.0.0"]}, "not an IP address"),
        ({"ips": ["10.0.0.256"]}, "not an IP address"),
        ({"ips": ["8.8.8.8,1.1.1.1"]}, "not an IP address"),
        ({"ips": ["example.com"]}, "not an IP address"),
        ({"ips": [""]}, "not an IP address"),
        ({"ips": ["8.8.8.8:443"]}, "not an IP address"),
        ({"ips": ["[2606:4700:4700::1111]"]}, "not an IP address"),
        ({"ips": ["::ffff:8.8.8.8"]}, "write that"),
        ({"ips": ["fe80::1%eth0"]}, "write fe80::1"),
    ],
)
def test_refused_with_the_reason(installation, options, part):
    ((option, (entry,)),) = options.items()
    message = refused(installation(), **options)
    assert message.startswith(f"{option}: {entry!r} ") and part in message


@pytest.mark.parametrize("release", ["2.0.0", "2.4.0", "9.9.0"])
def test_a_domain_as_the_release_knows_it(installation, release):
    wanted = plan(installation(release=release), emails=[" *@Example.com", "Ada@x.io "]).changes
    assert wanted == {EMAILS: "*@example.com,ada@x.io"}
    assert catalogue.problem(EMAILS, wanted[EMAILS], release) is None


@pytest.mark.parametrize("entry", ["*", "*@*.org", "a*@x.io", "@x.io", "*@", "*@x", "*@a@x.io", "*@x.io,*"])
def test_a_pattern_that_is_ignored(installation, entry):
    message = refused(installation(release="2.4.0"), emails=[entry])
    assert message.startswith(f"emails: {entry!r} is a pattern that Appwrite ignores")


def test_one_bad_entry_spoils_the_list(installation):
    assert "'nobody'" in refused(installation(), emails=["ada@example.com", "nobody"])


# --- what the settings do together ---

LISTED = {EMAILS: "ada@example.com"}
TOGETHER = {
    "one account": ({}, {"root_only": "true"}, []),
    "nothing asked, nothing set": ({}, {}, []),
    "listed people and one account": (
        {},
        {"root_only": "true", "emails": ["ada@example.com"]},
        ["Set `root_only` to false"],
    ),
    "listed people and the default of one account": ({}, {"emails": ["ada@example.com"]}, ["Set `root_only` to false"]),
    "listed people and a 0, which is the default": ({ROOT: "0", **LISTED}, {}, ["Set `root_only` to false"]),
    "people listed before": (LISTED, {"root_only": "true"}, ["Set `root_only` to false"]),
    "listed people": ({}, {"root_only": "false", "emails": ["ada@example.com"]}, []),
    "nobody listed": ({}, {"root_only": "false"}, ["anyone may sign up"]),
    "list cleared": (LISTED, {"root_only": "false", "emails": []}, ["anyone may sign up"]),
    "list and mail": (
        {"_APP_SMTP_HOST": "smtp.example.com"},
        {"root_only": "false", "emails": ["ada@example.com"]},
        ["magic URL and e-mail OTP"],
    ),
    "list and SMS": ({"_APP_SMS_PROVIDER": "mock"}, {"root_only": "false", "ips": ["8.8.8.8"]}, ["phone"]),
    "list and GitHub": (
        {"_APP_CONSOLE_GITHUB_APP_ID": "12"},
        {"root_only": "false", "ips": ["8.8.8.8"]},
        ["by GitHub stays open"],
    ),
    "list and others": (
        {"_APP_CONSOLE_GITLAB_APP_ID": "12", "_APP_CONSOLE_BITBUCKET_APP_ID": "x", "_APP_CONSOLE_GOOGLE_APP_ID": "y"},
        {"root_only": "false", "ips": ["8.8.8.8"]},
        ["by GitLab and Bitbucket and Google stays open"],
    ),
    "list and a 0, which is no mail": ({"_APP_SMTP_HOST": "0"}, {"root_only": "false", "ips": ["8.8.8.8"]}, []),
    "a 0, which lists nobody": ({EMAILS: "0"}, {"root_only": "false"}, ["anyone may sign up"]),
    "one account and mail": ({"_APP_SMTP_HOST": "smtp.example.com"}, {"root_only": "true"}, []),
    "private address": ({}, {"root_only": "false", "ips": ["10.1.2.3"]}, ["private addresses (10.1.2.3)"]),
    "private address listed before": ({IPS: "fd00::1"}, {"root_only": "false"}, ["private addresses (fd00::1)"]),
    "public address": ({}, {"root_only": "false", "ips": ["8.8.8.8"]}, []),
    "both lists and one account": (
        {},
        {"root_only": "true", "emails": ["ada@example.com"], "ips": ["8.8.8.8"]},
        [f"{EMAILS} and {IPS} is set"],
    ),
}


@pytest.mark.parametrize(("values", "options", "parts"), TOGETHER.values(), ids=TOGETHER)
def test_together(installation, values, options, parts):
    warnings = plan(installation(values), **options).warnings
    assert len(warnings) == len(parts) and all(part in warning for part, warning in zip(parts, warnings)), warnings


# --- a team's own choice ---

OWN = {ROOT: "disabled", EMAILS: "ada@example.com,grace@example.com"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {ROOT: "enabled", **LISTED},
        {ROOT: "0", **LISTED},
        {ROOT: "disabled"},
        {ROOT: "disabled", EMAILS: "", IPS: "0"},
    ],
)
def test_auto_without_a_choice(installation, values):
    planned = plan(installation(values), root_only="auto")
    assert (planned.changes, planned.optional) == ({ROOT: "enabled"}, {ROOT})


@pytest.mark.parametrize(
    "values", [OWN, {ROOT: "disabled", IPS: "8.8.8.8"}, {**OWN, IPS: "8.8.8.8"}, {ROOT: "false", **LISTED}]
)
def test_auto_leaves_the_choice(installation, values):
    planned = plan(installation(values), root_only="auto")
    (warning,) = planned.warnings
    assert planned.changes == {} and "`root_only`" in warning
    assert all(name in warning for name in values)


@pytest.mark.parametrize(("root_only", "value"), [("true", "enabled"), ("false", "disabled")])
def test_what_is_asked_for_goes_before_the_choice(installation, root_only, value):
    planned = plan(installation(OWN), root_only=root_only)
    assert (planned.changes, planned.optional) == ({ROOT: value}, set())


def test_lists_of_this_run_are_no_choice_of_before(installation):
    planned = plan(installation({ROOT: "disabled"}), root_only="auto", emails=["ada@example.com"])
    assert planned.changes == {ROOT: "enabled", EMAILS: "ada@example.com"}
    assert plan(installation(OWN), root_only="auto", emails=["ada@example.com"]).changes == {EMAILS: "ada@example.com"}


def test_a_choice_whose_lists_are_cleared_is_none(installation):
    assert plan(installation(OWN), root_only="auto", emails=[]).changes == {ROOT: "enabled", EMAILS: ""}
