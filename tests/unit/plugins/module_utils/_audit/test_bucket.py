# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bucket says to a stranger, over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.objects import ACCESS, NAME, Fault, Relay, certificate, refusing, settings, silent

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import bucket as _bucket
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Listing, Unseen

LIST = "?list-type=2&max-keys=1"


@pytest.fixture
def relay() -> Iterator[Relay]:
    found = Relay("127.0.0.1:1")
    yield found
    found.shutdown()
    found.server_close()


def saying(text: str, only: str = "") -> Fault:
    """Answers that to every path that begins so, and the others not at all."""

    def fault(request: Any) -> bool:
        if request.path.startswith(only):
            request.answer(200, text.encode(), {"Content-Type": "application/xml"}, len(text))
        else:
            refusing(403, "AccessDenied")(request)
        return True

    return fault


def drop(request: Any) -> bool:
    """Byte by byte, without an end."""
    for _number in range(50):
        request.wfile.write(b"H")
        request.wfile.flush()
        time.sleep(0.05)
    return True


def asked(endpoint: str, **elsewhere: str) -> Any:
    device = device_of(settings(endpoint))
    assert device is not None
    return _bucket.listing(device, elsewhere)


LISTED = '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


@pytest.mark.parametrize(
    ("fault", "path"),
    [(saying(LISTED), "/"), (saying(LISTED, f"/{NAME}"), f"/{NAME}"), (saying(LISTED, "/storage"), "/storage")],
    ids=["in the host", "in the path", "the path of before 1.7"],
)
def test_open(relay, fault, path):
    relay.fault = fault
    assert asked(relay.url) == Listing(f"{relay.url}{path}{LIST}", True)


def away(request: Any) -> bool:
    """As AWS, if the endpoint is that of a region: the bucket itself is in the path."""
    return refusing(*((307, "TemporaryRedirect") if request.path.startswith("/?") else (403, "AccessDenied")))(request)


@pytest.mark.parametrize(
    "fault",
    [
        away,
        refusing(403, "AccessDenied"),
        refusing(404, "NoSuchBucket"),
        refusing(400, "InvalidRequest"),
        saying("<ListAllMyBucketsResult>"),
        saying("<html>"),
    ],
    ids=["the page of AWS", "denied", "no bucket", "bad request", "buckets", "a page"],
)
def test_closed(relay, fault):
    relay.fault = fault
    assert not asked(relay.url).is_open
    assert [path.partition("?")[0] for _method, path in relay.asked] == ["/", f"/{NAME}", "/storage"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (refusing(503, "SlowDown"), "it answered 503"),
        (refusing(301, "PermanentRedirect"), "it answered 301"),
        (silent(0), "it does not answer as a store does"),
        (silent(2), "it does not answer as a store does"),
        (drop, "no complete answer within 0.5 seconds"),
    ],
    ids=["slow down", "redirect", "nothing", "silence", "drop by drop"],
)
def test_unseen(relay, monkeypatch, fault, words):
    monkeypatch.setattr(_bucket, "_TIMEOUT", 0.3)
    monkeypatch.setattr(_bucket, "_LIMIT", 0.5)
    relay.fault = fault
    found = asked(relay.url)
    assert isinstance(found, Unseen) and words in found.reason and ACCESS not in found.reason


def test_certificate_of_its_own(tmp_path, monkeypatch):
    """Whether this host trusts it depends on its authorities."""
    pem = certificate(tmp_path / "store.pem")
    relay = Relay("127.0.0.1:1", pem)
    relay.fault = saying(LISTED)
    found = asked(relay.url)
    assert isinstance(found, Unseen)
    assert re.search(
        r"/: this host does not trust its certificate \(self.signed certificate\)$", found.reason.replace(LIST, "")
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert asked(relay.url) == Listing(f"{relay.url}/{LIST}", True)
    relay.shutdown()
    relay.server_close()


def test_nobody_there():
    assert isinstance(asked("http://127.0.0.1:1"), Unseen)


def test_store_that_containers_alone_can_reach(relay):
    relay.fault = saying(LISTED, f"/{NAME}")
    found = asked("http://minio:9000", **{"minio:9000": relay.url.partition("//")[2]})
    assert found == Listing(f"http://minio:9000/{NAME}{LIST}", True)


def test_bucket_in_the_host_alone():
    """Without an endpoint of one's own."""
    device = device_of({**settings(""), "_APP_STORAGE_S3_ENDPOINT": ""})
    assert device is not None
    assert _bucket._urls(device) == [f"https://{NAME}.s3.us-east-1.amazonaws.com/{LIST}"]
