# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""testssl.sh's reports, as it writes them."""

from __future__ import annotations

import json

import pytest
from unit.plugins.module_utils._audit.recordings import recorded

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import testssl
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Unobserved

DEBIAN = "testssl_3.0.8_debian-12_2026-11-24"
GOOD = recorded(f"{DEBIAN}_good")
EXPIRED = recorded(f"{DEBIAN}_expired_old")
TWO = recorded(f"{DEBIAN}_two_certificates")
NEWER = recorded("testssl_3.2.0_2026-11-24_expired_old")


def by_id(report: str):
    return {finding.id.partition(".")[2]: finding for finding in testssl.read(report)}


def with_entry(severity: str, finding: str = "any", name: str = "heartbleed") -> str:
    report = json.loads(GOOD)
    report["scanResult"][0]["vulnerabilities"].append({"id": name, "severity": severity, "finding": finding})
    return json.dumps(report)


def test_that_it_ran_is_a_finding_of_its_own():
    ran = testssl.read(GOOD)[0]
    assert (ran.id, ran.status, ran.evidence, ran.reference) == (
        "testssl.ran",
        "pass",
        "testssl.sh 3.0.8 finished",
        "testssl.sh 3.0.8",
    )
    assert testssl.read(NEWER)[0].reference == "testssl.sh 3.2.0"


@pytest.mark.parametrize("report", [EXPIRED, NEWER], ids=["3.0.8", "3.2.0"])
def test_an_expired_certificate_and_old_protocols(report):
    found = by_id(report)
    assert (found["cert_expirationStatus"].severity, found["cert_expirationStatus"].status) == ("critical", "fail")
    assert found["cert_expirationStatus"].evidence == "expired, its end: 2026-10-25 00:00 UTC"
    assert found["cert_chain_of_trust"].title == "cert_chain_of_trust: failed (expired)."
    assert (found["TLS1"].evidence, found["TLS1"].severity) == ("offered (deprecated)", "low")
    assert "TLS1_1" in found
    assert not found.keys() & {"TLS1_2", "cert_commonName", "sessionresumption_ticket", "cipher-tls1_2_xc024"}


def test_a_finding_in_full():
    found = by_id(EXPIRED)["BEAST"]
    assert (found.id, found.group, found.severity, found.status) == ("testssl.BEAST", "testssl", "low", "fail")
    assert found.evidence == "VULNERABLE -- but also supports higher protocols TLSv1.1 TLSv1.2 (likely mitigated)"
    assert (
        found.rationale
        == "testssl.sh 3.0.8, which judges a TLS endpoint from outside and knows nothing of Appwrite, found this."
    )
    assert found.remedy.endswith("testssl https://appwrite.test:" + json.loads(EXPIRED)["scanResult"][0]["port"])
    assert found.reference == "testssl.sh 3.0.8, BEAST, CVE-2011-3389"


def test_a_self_signed_certificate():
    assert by_id(recorded(f"{DEBIAN}_self_signed"))["cert_chain_of_trust"].evidence == "failed (self signed)."
    assert "cert_chain_of_trust" not in by_id(GOOD)


def test_several_certificates_are_one_finding_as_bad_as_the_worst():
    found = by_id(TWO)
    assert found["cert_expirationStatus"].severity == "high"
    assert (
        found["cert_expirationStatus"].evidence
        == "expires < 30 days, its end: 2026-12-14 12:00 UTC; expires < 60 days, its end: 2027-01-08 12:00 UTC"
    )
    assert found["cert_revocation"].evidence == "Neither CRL nor OCSP URI provided"
    assert all(" " not in name for name in found)


def test_nothing_that_changes_by_itself_is_told():
    tomorrow = (
        TWO.replace("(19)", "(18)")
        .replace("(44)", "(43)")
        .replace('"scanTime": 120', '"scanTime": 95')
        .replace("1795532214", "1795618614")
    )
    assert tomorrow != TWO
    assert testssl.read(tomorrow) == testssl.read(TWO)


@pytest.mark.parametrize(
    ("word", "status", "severity"),
    [
        ("CRITICAL", "fail", "critical"),
        ("HIGH", "fail", "high"),
        ("MEDIUM", "fail", "medium"),
        ("LOW", "fail", "low"),
        ("WARN", "unknown", "low"),
    ],
)
def test_severities_are_its_own_and_what_it_could_not_test_is_unknown(word, status, severity):
    found = by_id(with_entry(word))["heartbleed"]
    assert (found.status, found.severity) == (status, severity)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("OK", "ticketbleed"),
        ("INFO", "ticketbleed"),
        ("DEBUG", "ticketbleed"),
        ("WARN", "sessionresumption_ticket"),
        ("LOW", "cipher-tls1_2_xc024"),
    ],
)
def test_what_it_has_nothing_against_or_says_elsewhere_is_not_told(word, name):
    assert testssl.read(with_entry(word, name=name)) == testssl.read(GOOD)


def test_findings_are_in_order_and_one_line_each():
    for report in (GOOD, EXPIRED, TWO, NEWER):
        found = testssl.read(report)
        assert [finding.id for finding in found[1:]] == sorted(finding.id for finding in found[1:])
    odd = by_id(with_entry("HIGH", "a\x1b[1m\u202eb\t" + "x" * 1000))["heartbleed"]
    assert odd.evidence.startswith("a [1m b xxx")
    assert len(odd.evidence) == 500 == len(odd.title)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (recorded(f"{DEBIAN}_port_closed"), "Can't connect to '127.0.0.1:9'"),
        (recorded(f"{DEBIAN}_no_tls"), "doesn't seem to be a TLS/SSL enabled server"),
        (GOOD.replace('"scanTime": ', '"scanTime": "Scan interrupted", "seconds": '), ""),
        (GOOD[:-200], ""),
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        ("null", ""),
        ('{"version": 3, "scanResult": 4, "scanTime": 5}', ""),
    ],
    ids=["closed", "no TLS", "interrupted", "cut", "empty", "list", "nothing", "null", "numbers"],
)
def test_a_report_that_is_not_complete_is_none(report, words):
    with pytest.raises(Unobserved) as error:
        testssl.read(report)
    assert words in str(error.value)
    assert bool(words) == bool(str(error.value))
