# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of an audit, line by line."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.metrics import METRICS, VALUES, text
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES, STATUSES

NOW = 1_795_527_000


def _finding(name: str, status: str, severity: str = "high", title: str = "It is so") -> dict[str, Any]:
    return {
        "id": name,
        "group": name.partition(".")[0],
        "status": status,
        "severity": severity,
        "title": title,
        "evidence": "NotARealDatabaseWord1",
    }


def _result(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "release": "1.9.6",
        "project": "appwrite",
        "score": 40,
        "findings": findings,
        "certificate_expires": None,
        "escrow_proved": None,
        **more,
    }


def _samples(written: str) -> list[str]:
    return [line for line in written.splitlines() if not line.startswith("#")]


def test_every_sample():
    written = text(
        "/opt/appwrite",
        NOW,
        _result(
            _finding("https.forced", "fail"), certificate_expires="2027-03-01T12:00:00Z", escrow_proved="2026-11-24"
        ),
    )
    assert _samples(written) == [
        'appwrite_audit_success{directory="/opt/appwrite"} 1',
        f'appwrite_audit_last_run_timestamp_seconds{{directory="/opt/appwrite"}} {NOW}',
        'appwrite_audit_info{directory="/opt/appwrite",project="appwrite",release="1.9.6"} 1',
        'appwrite_audit_score{directory="/opt/appwrite"} 40',
        'appwrite_audit_control_status{directory="/opt/appwrite",control="https.forced",group="https",severity="high",title="It is so"} 3',
        'appwrite_audit_certificate_expiry_timestamp_seconds{directory="/opt/appwrite"} 1803902400',
        'appwrite_audit_escrow_proof_expiry_timestamp_seconds{directory="/opt/appwrite"} 1803340800',
    ]
    assert written.endswith("\n")
    for name in METRICS:
        assert written.count(f"# HELP {name} ") == written.count(f"# TYPE {name} gauge\n") == 1


def test_audit_that_could_not_be_made():
    assert _samples(text("/opt/appwrite", NOW, None)) == [
        'appwrite_audit_success{directory="/opt/appwrite"} 0',
        f'appwrite_audit_last_run_timestamp_seconds{{directory="/opt/appwrite"}} {NOW}',
    ]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_each_status(status, severity):
    """A control that does not apply has no sample; the others' values are told in the help of the metric."""
    written = text("/opt/appwrite", NOW, _result(_finding("https.forced", status, severity)))
    found = [line.rpartition(" ")[2] for line in _samples(written) if "control_status" in line]
    assert found == {"pass": ["0"], "waived": ["1"], "unknown": ["2"], "fail": ["3"], "not_applicable": []}[status]


def test_values_rise_with_what_is_wrong():
    assert sorted(VALUES, key=VALUES.__getitem__) == ["pass", "waived", "unknown", "fail"]


@pytest.mark.parametrize(
    ("given", "written"), [('a"b', 'a\\"b'), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb"), ("a\\nb", "a\\\\nb"), ("ä€", "ä€")]
)
def test_odd_values(given, written):
    found = text(given, NOW, _result(_finding("https.forced", "fail", title=given), project=given, release=given))
    assert f'directory="{written}",project="{written}",release="{written}"}}' in found
    assert f'title="{written}"}}' in found
    assert len(_samples(found)) == 5


def test_no_evidence():
    assert "NotARealDatabaseWord1" not in text("/opt/appwrite", NOW, _result(_finding("https.forced", "fail")))


def test_proof_holds_to_the_end_of_its_last_day():
    """As the control about it has it: the ninetieth day after still passes."""
    [line] = [
        line for line in _samples(text("/opt/appwrite", NOW, _result(escrow_proved="2026-11-24"))) if "escrow" in line
    ]
    ends = datetime.datetime.fromtimestamp(int(line.rpartition(" ")[2]), datetime.timezone.utc)
    assert ends == datetime.datetime(2026, 11, 24, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=91)
