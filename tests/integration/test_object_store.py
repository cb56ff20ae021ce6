# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object store itself refuses, where tests of one room have a relay do so: keys, a user's rights, clocks, locks, certificates, names in the host."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import botocore.auth
import pytest
from support.objects import ACCESS, NAME, SECRET, USER, ObjectPlace, certificate, gateway, key_of, settings
from support.rotation import BUCKET, NEW, OLD, WORD

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import Device, device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.bucket import listing
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Listing, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import Bucket, StoreOfObjects

pytestmark = pytest.mark.nightly("unit/plugins/module_utils/_rotation/stores/test_objects.py, with moto and a relay")
DOMAIN = "store.localhost"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(tmp_path_factory.mktemp("gateway") / "s3", "--virtual-domain", DOMAIN) as url:
        yield url


@pytest.fixture
def place(tmp_path: Path, server: str) -> Iterator[ObjectPlace]:
    found = ObjectPlace(tmp_path, server)
    yield found
    found.close()


def device(endpoint: str, **more: str) -> Device:
    found = device_of(settings(endpoint, **more))
    assert found is not None
    return found


def refused(place: ObjectPlace) -> str:
    """In a sentence without a key, and nothing is changed."""
    names, rows = place.files, copy.deepcopy(place.store.content)
    with pytest.raises(StoreOfObjects) as caught:
        place.rotation().rotate()
    assert ACCESS not in str(caught.value) and SECRET not in str(caught.value)
    assert place.files == names and place.store.content == rows
    return str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("_APP_STORAGE_S3_SECRET", "NotARealSecretKey2", "SignatureDoesNotMatch"),
        ("_APP_STORAGE_S3_ACCESS_KEY", "NotARealAccessKey2", "InvalidAccessKeyId"),
    ],
)
def test_keys(place, server, setting, value, code):
    place.bucket = Bucket(device(server, **{setting: value}), str)
    assert (
        f"does not accept the keys ({code}); correct _APP_STORAGE_S3_ACCESS_KEY and _APP_STORAGE_S3_SECRET"
        in refused(place)
    )


def test_region(place, server):
    """The store names its own in the refusal, and botocore takes that one."""
    place.bucket = Bucket(device(server, _APP_STORAGE_S3_REGION="eu-west-1"), str)
    place.rotation().rotate()
    place.assert_all_under(NEW)


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock(place, monkeypatch, hours):
    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda *arguments, **options: now(*arguments, **options) + datetime.timedelta(hours=hours),
    )
    with pytest.raises(
        StoreOfObjects, match=r"the clock of this host differs from the store's; set it \(timedatectl\)"
    ):
        place.rotation().rotate()


def test_no_bucket(place, server):
    place.bucket = Bucket(device(server, _APP_STORAGE_S3_BUCKET="notthere"), str)
    for row in place.store.content[BUCKET]:
        row["path"] = row["path"].replace(NAME, "notthere", 1)
    with pytest.raises(StoreOfObjects, match="the bucket does not exist at .*; correct _APP_STORAGE_S3_BUCKET or "):
        place.rotation().rotate()


def test_missing_object(place):
    key = key_of(place.store.content[BUCKET][1])
    text = place.sealed(place.store.content[BUCKET][1])
    place.raw.delete_object(Bucket=NAME, Key=key)
    with pytest.raises(AppwriteError, match=r"1 sealed values .* \(it is missing\)"):
        place.rotation().rotate()
    place.put(key, text)
    place.rotation().rotate()
    place.assert_all_under(NEW)


def allow(place: ObjectPlace, principal: str, *actions: str) -> None:
    both = [f"arn:aws:s3:::{NAME}", f"arn:aws:s3:::{NAME}/*"]
    statements = [
        {
            "Effect": "Allow",
            "Principal": principal if principal == "*" else {"AWS": principal},
            "Action": f"s3:{action}",
            "Resource": both[action != "ListBucket"],
        }
        for action in actions
    ]
    place.raw.put_bucket_policy(Bucket=NAME, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))


def test_rights(place, server):
    """Of a user of the store's, who gets one after the other."""
    place.bucket = Bucket(device(server, _APP_STORAGE_S3_ACCESS_KEY=USER), str)
    words = "_APP_STORAGE_S3_ACCESS_KEY may not do this (%s); allow it s3:GetObject, s3:PutObject, s3:DeleteObject"
    assert words % "get_object" in refused(place)
    allow(place, USER, "GetObject")
    assert words % "put_object" in refused(place)
    allow(place, USER, "GetObject", "PutObject")
    with pytest.raises(
        AppwriteError, match="everything is sealed with the new key, but .* may not do this .delete_object"
    ):
        place.rotation().rotate()
    allow(place, USER, "GetObject", "PutObject", "DeleteObject")
    assert place.finish() == "new"
    place.assert_all_under(NEW)


def test_lock(place):
    """It ends when the lock has."""
    for row in place.store.content[BUCKET]:
        place.raw.delete_object(Bucket=NAME, Key=key_of(row))
    place.raw.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    place.raw.put_object_lock_configuration(Bucket=NAME, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    place.store.content[BUCKET] = [place.file(f"file{number}.txt", WORD * number) for number in range(3)]
    locked = {"Bucket": NAME, "Key": key_of(place.store.content[BUCKET][0])}
    place.raw.put_object_legal_hold(**locked, LegalHold={"Status": "ON"})
    with pytest.raises(
        AppwriteError, match="everything is sealed with the new key, but .* whether the object is locked"
    ):
        place.rotation().rotate()
    place.raw.put_object_legal_hold(**locked, LegalHold={"Status": "OFF"})
    assert place.finish() == "new"
    place.assert_all_under(NEW)


def test_listed_to_whoever_asks(place, server):
    """For C(platform.bucket_closed) of the audit."""
    assert listing(device(server), {}) == Listing(f"{server}/storage?list-type=2&max-keys=1", False)
    allow(place, "*", "ListBucket")
    assert listing(device(server), {}) == Listing(f"{server}/{NAME}?list-type=2&max-keys=1", True)
    port = server.rpartition(":")[2]
    host = f"{NAME}.{DOMAIN}:{port}"
    assert listing(device(f"http://{host}"), {host: f"127.0.0.1:{port}"}) == Listing(
        f"http://{host}/?list-type=2&max-keys=1", True
    )


def test_bucket_in_the_host(place, server):
    """As AWS and most of its kin have it: the row's path is the object's, with its first part."""
    port = server.rpartition(":")[2]
    host = f"{NAME}.{DOMAIN}:{port}"
    place.bucket = Bucket(device(f"http://{host}"), str, {host: f"127.0.0.1:{port}"})
    for row in place.store.content[BUCKET]:
        row["path"] = "/" + row["path"].partition("/")[2]
    place.rotation().rotate()
    assert {row["path"].split("/app-1/")[0] for row in place.store.content[BUCKET]} == {"/storage/uploads"}
    place.assert_all_under(NEW)


def test_certificate(tmp_path, monkeypatch):
    """Of the store's own authority: told apart from a network that is down, until this host trusts it."""
    pem = str(certificate(tmp_path / "store.pem"))
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    with gateway(tmp_path / "s3", "--cert", pem, "--key", pem) as url:
        with pytest.raises(
            StoreOfObjects, match=r"this host does not trust the certificate of https://.* \(self.signed"
        ):
            Bucket(device(url), str).ask("get_object", f"{NAME}/storage/uploads/app-1/file0.txt")
        unseen = listing(device(url), {})
        assert isinstance(unseen, Unseen) and "this host does not trust its certificate (self" in unseen.reason
        monkeypatch.setenv("SSL_CERT_FILE", pem)
        monkeypatch.setenv("AWS_CA_BUNDLE", pem)  # for the tests' own client, and before the file of the host
        place = ObjectPlace(tmp_path, url)
        place.rotation().rotate()
        place.assert_all_under(NEW)
        monkeypatch.delenv("AWS_CA_BUNDLE")
        place.bucket = Bucket(device(url), str)
        assert place.undo() == "old"
        place.assert_all_under(OLD)
