# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lynis' reports, as it writes them."""

from __future__ import annotations

import pytest
from unit.plugins.module_utils._audit.recordings import recorded

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import lynis
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import GROUPS, Unobserved

REPORT = recorded("lynis_3.0.8_debian-12_2026-11-24")


def by_id(report: str = REPORT):
    return {finding.id: finding for finding in lynis.read(report)}


def with_line(line: str) -> str:
    return REPORT.replace("lynis_tests_done=", f"{line}\nlynis_tests_done=")


def test_that_it_ran_is_a_finding_of_its_own():
    ran = lynis.read(REPORT)[0]
    assert (ran.id, ran.status, ran.evidence, ran.reference) == (
        "lynis.ran",
        "pass",
        "lynis 3.0.8 finished",
        "lynis 3.0.8",
    )


def test_a_suggestion():
    found = by_id()["lynis.BOOT-5264"]
    assert (found.title, found.severity, found.group, found.status) == (
        "Consider hardening system services",
        "low",
        "lynis",
        "fail",
    )
    assert (
        found.evidence
        == "Consider hardening system services (Run '/usr/bin/systemd-analyze security SERVICE' for each service)"
    )
    assert found.rationale == "lynis 3.0.8, which judges the host as a whole and knows nothing of Appwrite, found this."
    assert found.reference == "lynis 3.0.8, BOOT-5264"


def test_a_warning_weighs_more_and_comes_before_the_suggestions_of_its_test():
    found = by_id()["lynis.NETW-2705"]
    assert (found.title, found.severity) == ("Couldn't find 2 responsive nameservers", "medium")
    assert (
        found.evidence
        == "Couldn't find 2 responsive nameservers; Check your resolv.conf file and fill in a backup nameserver if possible"
    )


def test_a_test_is_one_finding_however_much_it_says():
    assert by_id()["lynis.AUTH-9286"].evidence == (
        "Configure minimum password age in /etc/login.defs; Configure maximum password age in /etc/login.defs"
    )
    twice = by_id(with_line("suggestion[]=AUTH-9286|Configure maximum password age in /etc/login.defs|-|-|"))
    assert twice["lynis.AUTH-9286"] == by_id()["lynis.AUTH-9286"]


@pytest.mark.parametrize(
    ("test", "remedy"),
    [
        ("FILE-7524", "Use chmod to change file permissions"),
        ("HRDN-7230", "Install a tool like rkhunter, chkrootkit, OSSEC"),
        ("USB-1000", "lynis audit system, and then for what it looked at: lynis show details USB-1000"),
        ("TEST-0001", "https://cisofy.com/lynis/; Close it"),
    ],
)
def test_the_remedy_is_its_own_or_the_command_that_tells_more(test, remedy):
    report = with_line(
        "warning[]=TEST-0001|A|-|url:https://cisofy.com/lynis/|\nsuggestion[]=TEST-0001|B|-|text:Close it|"
    )
    assert by_id(report)[f"lynis.{test}"].remedy == remedy


def test_all_that_it_says_is_told_once_and_in_order():
    found = lynis.read(REPORT)
    said = {
        line.partition("=")[2].partition("|")[0]
        for line in REPORT.splitlines()
        if line.startswith(("warning[]=", "suggestion[]="))
    }
    assert [finding.id for finding in found] == ["lynis.ran", *(f"lynis.{test}" for test in sorted(said))]
    assert {finding.group for finding in found} == {"lynis"} <= set(GROUPS)


def test_nothing_that_changes_by_itself_is_told():
    later = REPORT.replace("2026-11-24 15:02:16", "2026-11-25 03:10:00").replace(
        "uptime_in_seconds=32238", "uptime_in_seconds=75000"
    )
    assert later != REPORT
    assert lynis.read(later) == lynis.read(REPORT)


def test_what_it_says_is_one_line_of_bounded_length():
    found = by_id(with_line(f"warning[]=TEST-0002|A\x1b[31m red\t\x07word\u202e{'x' * 2000}|-|-|"))["lynis.TEST-0002"]
    assert found.evidence.startswith("A [31m red word xxx")
    assert len(found.evidence) == len(found.title) == 500
    assert found.evidence.isprintable()


@pytest.mark.parametrize("report", ["", REPORT.replace("finish=true", ""), REPORT[:2000], "finish=false\n", "\0\0\0"])
def test_a_report_that_is_not_complete_is_none(report):
    with pytest.raises(Unobserved):
        lynis.read(report)
