# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in an object store, over HTTP with moto's server, and with one before it that misbehaves."""

from __future__ import annotations

import copy
import hashlib
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest
from support.objects import (
    ACCESS,
    NAME,
    SECRET,
    Fault,
    ObjectPlace,
    Relay,
    certificate,
    cutting,
    gateway,
    key_of,
    lost,
    moto,
    refusing,
    settings,
    silent,
    telling,
)
from support.rotation import BUCKET, NEW, OLD, OTHER, WORD

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import objects as _objects
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import md5
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import Bucket, StoreOfObjects
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.objects import traffic


@pytest.fixture(scope="module", params=["moto", pytest.param("versitygw", marks=pytest.mark.nightly("moto"))])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto() if request.param == "moto" else gateway(tmp_path_factory.mktemp("gateway") / "s3") as url:
        yield url


@pytest.fixture(scope="module")
def one_relay(server: str) -> Iterator[Relay]:
    found = Relay(server)
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def relay(one_relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The pauses between attempts are botocore's own, and take seconds."""
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    yield one_relay
    one_relay.fault = lambda request: False
    del one_relay.asked[:]


@pytest.fixture
def place(tmp_path: Path, server: str, relay: Relay) -> Iterator[ObjectPlace]:
    found = ObjectPlace(tmp_path, server, relay.url)
    yield found
    relay.fault = lambda request: False
    found.close()


def versions(place: ObjectPlace) -> list[str]:
    return [each["Key"] for each in place.raw.list_object_versions(Bucket=NAME).get("Versions", [])]


def versioned(place: ObjectPlace) -> None:
    place.raw.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})


def dated_anew(**headers: str | None) -> Fault:
    """What an object is from its first removal on. headers: of C(telling), always."""
    before = telling("HEAD", **headers)
    late, cut = telling("HEAD", last_modified=formatdate(time.time() + 3600, usegmt=True), **headers), set()

    def fault(request: Any) -> bool:
        path = request.path.partition("?")[0]
        if request.command == "DELETE":
            cut.add(path)
        return late(request) if path in cut else before(request)

    return fault


# --- there and back ---


def test_rotate(place):
    names = place.files
    assert place.rotation().rotate().state == "old"
    place.assert_all_under(NEW)
    assert not set(names) & set(place.files) and all(
        re.fullmatch(r"app-1/file\d-[0-9a-f]{16}\.txt", name) for name in place.files
    )
    assert place.undo() == "old"
    place.assert_all_under(OLD)
    assert place.finish() == "old"


def test_prepared(place, relay):
    """While Appwrite serves; behind the guard nothing is asked of the store, however many files there are."""
    rotation = place.rotation()
    rotation.prepare()
    assert len(place.files) == 6
    del relay.asked[:]
    rotation.rotate(sweep=False)
    assert relay.asked == []
    rotation.sweep()
    place.assert_all_under(NEW)


def test_several_at_a_time(place, relay, monkeypatch):
    """But one of the large ones."""
    place.store.content[BUCKET] = [place.file(f"file{number}.txt", WORD * number) for number in range(12)]
    at_once, most, lock = {"GET": 0, "PUT": 0}, Counter(), threading.Lock()

    def fault(request: Any) -> bool:
        method = request.command
        if method in at_once:
            with lock:
                at_once[method] += 1
                most[method] = max(most[method], at_once[method])
            time.sleep(0.05)
            with lock:
                at_once[method] -= 1
        return False

    relay.fault = fault
    place.rotation().rotate()
    place.assert_all_under(NEW)
    assert 1 < most["GET"] <= 8 and 1 < most["PUT"] <= 8
    most.clear()
    monkeypatch.setattr(_objects, "_LARGE", -1)
    assert place.undo() == "old"
    place.assert_all_under(OLD)
    assert most["PUT"] == 1


def test_changed_since_it_was_prepared(place):
    """As Appwrite changes it: the row gets another seal, or is another one."""
    rotation = place.rotation()
    rotation.prepare()
    files = place.store.content[BUCKET]
    files[1].update(place.file("file1.txt", WORD))
    files.append(place.file("new.txt", WORD * 3))
    rotation.rotate()
    place.assert_all_under(NEW)


def test_bucket_in_the_host(tmp_path, monkeypatch):
    """As AWS has it, where the URL of an object is the one that Appwrite asks for."""
    from moto import mock_aws

    with mock_aws():
        place = ObjectPlace(tmp_path, "https://s3.us-east-1.amazonaws.com")
        device = device_of(settings(""))
        assert device is not None
        place.bucket = Bucket(device, str)
        for row in place.store.content[BUCKET]:
            row["path"] = "/" + row["path"].partition("/")[2]
        place.rotation().rotate()
        assert {row["path"].split("/app-1/")[0] for row in place.store.content[BUCKET]} == {"/storage/uploads"}
        place.assert_all_under(NEW)


def test_store_that_containers_alone_can_reach(place, relay):
    """Under the name of a service of the project."""
    device = device_of(settings("http://minio:9000"))
    assert device is not None
    place.bucket = Bucket(device, str, {"minio:9000": relay.url.partition("//")[2]})
    hosts = set()
    relay.fault = lambda request: bool(hosts.add(request.headers["Host"]))
    place.rotation().rotate()
    place.assert_all_under(NEW)
    assert hosts == {"minio:9000"}


@pytest.mark.parametrize("is_versioned", [False, True])
def test_traffic(place, relay, is_versioned):
    """What the rehearsal says is what is asked, and less than it says goes over the network besides."""
    if is_versioned:
        versioned(place)
        for row in place.store.content[BUCKET]:
            place.successors().remove(row["path"])
        place.store.content[BUCKET] = [place.file(f"file{number}.txt", WORD * number) for number in range(3)]
    report = place.rotation().rehearse()
    told = traffic(report, place.bucket)
    del relay.asked[:]
    relay.bytes = 0
    rotation = place.rotation()
    rotation.rehearse()
    rotation.prepare()
    rotation.rotate()
    assert told == {"requests": len(relay.asked), "bytes": relay.bytes, "versioned": is_versioned}
    assert Counter(method for method, _path in relay.asked) == {
        "GET": 9,
        "PUT": 3,
        "HEAD": 6 if is_versioned else 3,
        "DELETE": 3,
    }


def test_versions(place):
    """As Appwrite writes twice what is uploaded in chunks: every version of a file goes, that of before the versions, too, and no other one."""
    versioned(place)
    for row in place.store.content[BUCKET]:
        place.put(key_of(row), place.sealed(row))
    place.put("storage/uploads/app-1/file1.txt.other", b"with a name that begins alike")
    assert len(versions(place)) == 7
    place.rotation().rotate()
    assert len(versions(place)) == 4 and "storage/uploads/app-1/file1.txt.other" in versions(place)
    place.raw.delete_object(Bucket=NAME, Key="storage/uploads/app-1/file1.txt.other")
    place.assert_all_under(NEW)


def test_versions_of_which_the_oldest_has_no_name(place, relay):
    """As moto and VersityGW tell of an object that is older than the versions, when nothing else of the bucket was looked at."""
    place.rotation().rotate(sweep=False)
    versioned(place)
    relay.fault = dated_anew(x_amz_version_id=None)
    assert place.rotation().sweep(before=time.time() + 60) == []
    relay.fault = lambda request: False
    assert len(versions(place)) == 3 and not place.raw.list_object_versions(Bucket=NAME).get("DeleteMarkers")
    place.assert_all_under(NEW)


@pytest.mark.parametrize("is_same", [True, False])
def test_versions_that_are_dated_anew(place, relay, is_same):
    """By VersityGW 1.8.0, when the one above is removed: what has other bytes may be somebody's again, and is told of."""
    versioned(place)
    for row in place.store.content[BUCKET]:
        text = place.sealed(row)
        place.put(key_of(row), text if is_same else b"what was here before")
        place.put(key_of(row), text)
    place.rotation().rotate(sweep=False)
    relay.fault = dated_anew()
    left = place.rotation().sweep(before=time.time() + 60)
    relay.fault = lambda request: False
    if is_same:
        assert left == []
    else:
        assert len(left) == 3 and all("the old key opens it: remove it there" in each for each in left)
        assert {f"storage/uploads/app-1/file{number}.txt" for number in range(3)} <= set(versions(place))
        assert place.finish() == "new"
    place.assert_all_under(NEW)


def test_version_that_the_store_does_not_find(place, relay):
    """As VersityGW 1.8.0 of the same object in a bucket with locks: what is there is not gone."""
    versioned(place)
    for row in place.store.content[BUCKET]:
        place.put(key_of(row), place.sealed(row))
    relay.fault = refusing(404, "NoSuchVersion", method="DELETE")
    with pytest.raises(AppwriteError, match="the store has version .* still after it was removed"):
        place.rotation().rotate()
    relay.fault = lambda request: False
    assert place.finish() == "new"
    place.assert_all_under(NEW)


@pytest.mark.parametrize("parts", [[5 << 20, 5 << 20, 100], [6 << 20]])
def test_parts(place, parts):
    """As other programs upload what is copied from one store to another."""
    plain = bytes(sum(parts) // 4 * 3 - 2)
    text, iv, tag = OLD.encrypt(plain)
    assert len(text) == sum(parts)
    row = place.store.content[BUCKET][1]
    place.put_in_parts(key_of(row), text, parts)
    row.update(openSSLIV=iv, openSSLTag=tag)
    place.rotation().rotate()
    row = place.store.content[BUCKET][1]
    assert NEW.decrypt(place.sealed(row), row["openSSLIV"], row["openSSLTag"]) == plain
    key = key_of(row)
    heads = [place.raw.head_object(Bucket=NAME, Key=key, PartNumber=number) for number in range(1, len(parts) + 1)]
    assert [head["ContentLength"] for head in heads] == parts
    assert place.raw.head_object(Bucket=NAME, Key=key)["ETag"].endswith(f'-{len(parts)}"')
    assert not place.raw.list_multipart_uploads(Bucket=NAME).get("Uploads")


def in_parts(place: ObjectPlace) -> dict[str, Any]:
    """A row whose object was uploaded in one."""
    row: dict[str, Any] = place.store.content[BUCKET][-1]
    text = place.sealed(row)
    place.put_in_parts(key_of(row), text, [len(text)])
    return row


@pytest.mark.parametrize("status", [400, 501])
def test_parts_that_the_store_does_not_tell(place, relay, status):
    """Then it becomes one."""
    in_parts(place)
    relay.fault = lambda request: "partNumber" in request.path and refusing(status, "NotImplemented")(request)
    place.rotation().rotate()
    place.assert_all_under(NEW)


def test_parts_of_what_is_removed_meanwhile(place, relay):
    """Appwrite still serves, and a user removes a file between two requests."""
    row = in_parts(place)

    def removed(request: Any) -> bool:
        if "partNumber" in request.path and row in place.store.content[BUCKET]:
            place.raw.delete_object(Bucket=NAME, Key=key_of(row))
            place.store.content[BUCKET].remove(row)
        return False

    relay.fault = removed
    rotation = place.rotation()
    rotation.prepare()
    rotation.rotate()
    place.assert_all_under(NEW)


def test_kept(place):
    """What else somebody has set of an object."""
    row = place.store.content[BUCKET][0]
    text = place.sealed(row)
    set_by_hand = {
        "CacheControl": "no-store",
        "ContentDisposition": "inline",
        "StorageClass": "STANDARD_IA",
        "ContentLanguage": "de",
    }
    place.raw.put_object(
        Bucket=NAME, Key=key_of(row), Body=text, ContentType="text/plain", Metadata={"mark": "ours"}, **set_by_hand
    )
    place.rotation().rotate()
    place.assert_all_under(NEW)
    found = place.raw.head_object(Bucket=NAME, Key=key_of(place.store.content[BUCKET][0]))
    if found["ResponseMetadata"]["HTTPHeaders"].get("server") == "VERSITYGW":
        set_by_hand["StorageClass"] = "STANDARD"  # the only class that it has
    assert {name: found[name] for name in set_by_hand} == set_by_hand


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("x-amz-storage-class", "GLACIER", None),
        ("x-amz-storage-class", "DEEP_ARCHIVE", None),
        ("x-amz-storage-class", "GLACIER_IR", "GLACIER_IR"),
        ("content-encoding", "aws-chunked", None),
        ("content-encoding", "gzip,aws-chunked", "gzip"),
    ],
)
def test_not_kept(place, relay, name, value, kept):
    """What can be read only since it was restored gets a successor that Appwrite can read; and how it was sent is not what it is."""
    told, written = telling("GET", **{name.replace("-", "_"): value}), []

    def fault(request: Any) -> bool:
        if request.command == "PUT":
            written.append(request.headers.get(name))
        return told(request)

    relay.fault = fault
    place.rotation().rotate()
    assert written == [kept] * 3
    relay.fault = lambda request: False
    place.assert_all_under(NEW)


def test_written_again_meanwhile(place):
    """What somebody has put into the place of a replaced file since then is his, whatever this host's clock says."""
    place.rotation().rotate(sweep=False)
    successors = place.successors()
    path = f"{NAME}/storage/uploads/app-1/file0.txt"
    successors.remove(path, before=time.time() - 60)
    assert "app-1/file0.txt" in place.files
    successors.remove(path, before=time.time() + 60)
    assert "app-1/file0.txt" not in place.files
    assert not place.rotation().sweep()
    place.assert_all_under(NEW)


def test_store_that_does_not_say_when(place, monkeypatch):
    """What may be somebody's again stays, and is told of."""
    place.rotation().rotate(sweep=False)
    ask = Bucket.ask

    def without(bucket: Bucket, *arguments: Any, **options: Any) -> dict[str, Any]:
        return {name: value for name, value in ask(bucket, *arguments, **options).items() if name != "LastModified"}

    monkeypatch.setattr(Bucket, "ask", without)
    left = place.rotation().sweep(before=time.time() + 60)
    assert left and all("does not say when it was written" in each for each in left)
    assert "app-1/file0.txt" in place.files
    assert not place.rotation().sweep()


# --- what cannot be opened ---


def test_files_that_cannot_be_opened(place):
    elsewhere = "its path does not lead to where files are in the bucket"
    whole = place.file("whole.txt", WORD)
    paths = {
        f"{NAME}/storage/uploads/app-1/gone.txt": "it is missing",
        "/storage/uploads/app-1/whole.txt": "it is missing",  # as rows of before 1.7 have it, where the store takes C(storage) for the bucket
        "/storage/functions/app-1/whole.txt": elsewhere,
        f"{NAME}/storage/uploads/../uploads/app-1/whole.txt": elsewhere,
        "another/storage/uploads/app-1/whole.txt": elsewhere,
        f"{NAME}/storage/uploads/app-1/\ud800": elsewhere,
        "": elsewhere,
    }
    place.store.content[BUCKET] = [{**whole, "path": path} for path in list(paths)[:1] + list(paths)[2:]]
    place.store.content[BUCKET] += [{**whole, "openSSLVersion": "2"}, place.file("other.txt", WORD, OTHER)]
    before = copy.deepcopy(place.store.content[BUCKET])
    found = place.rotation().rehearse().undecryptable
    reasons = list(paths.values())[:1] + list(paths.values())[2:] + ["it is sealed in another way", "no key opens it"]
    assert [each.reason[: len(reason)] for each, reason in zip(found, reasons)] == reasons and len(found) == len(
        reasons
    )
    place.rotation(*(each[:3] for each in found)).rotate()
    assert place.store.content[BUCKET] == before


def test_every_file_missing(place):
    """Another bucket is far more probable than a loss."""
    for row in place.store.content[BUCKET]:
        place.raw.delete_object(Bucket=NAME, Key=key_of(row))
    with pytest.raises(AppwriteError, match="each of the 3 sealed files is missing, .* correct _APP_STORAGE_DEVICE"):
        place.rotation().rotate()


def test_too_large(place, monkeypatch):
    monkeypatch.setattr(_objects, "LARGEST", 10)
    assert [each.reason for each in place.rotation().rehearse().undecryptable] == [
        "it is larger than anything that Appwrite seals"
    ] * 2


def test_file_of_the_local_volume(place):
    """The device was changed, and not all files were taken along: Appwrite does not find them either."""
    place.raw.delete_object(Bucket=NAME, Key="storage/uploads/app-1/file1.txt")
    (place.root / "app-1").mkdir()
    (place.root / "app-1" / "file1.txt").write_bytes(b"sealed")
    with pytest.raises(
        AppwriteError,
        match=r"\(it is missing in the bucket, and is on the local volume, .* while the device is s3; copy it into the bucket\)",
    ):
        place.rotation().rotate()
    place.store.content[BUCKET][1] = place.file("file1.txt", WORD)
    place.assert_all_under(OLD)


# --- what goes wrong ---


@pytest.mark.parametrize(
    "fault",
    [refusing(503, "SlowDown", 2), refusing(500, "InternalError", 2), cutting(2)],
    ids=["slow down", "error", "cut"],
)
def test_passes(place, relay, fault):
    relay.fault = fault
    place.rotation().rotate()
    place.assert_all_under(NEW)


def test_passes_silence(place, relay, monkeypatch):
    monkeypatch.setattr(_objects, "_ANSWER", 0.5)
    place.bucket = Bucket(place.bucket.device, str)
    relay.fault = silent(1, 2)
    place.rotation().rotate()
    place.assert_all_under(NEW)


@pytest.mark.parametrize(
    "fault",
    [lost("PUT"), lost("POST", "uploads"), lost("PUT", "partNumber"), lost("POST", "uploadId"), lost("DELETE")],
    ids=["put", "begin of parts", "part", "end of parts", "delete"],
)
def test_lost_answer(place, relay, fault):
    """What was asked is done, and is asked again."""
    in_parts(place)
    relay.fault = fault
    place.rotation().rotate()
    place.assert_all_under(NEW)


def test_certificate_of_its_own(place, server, tmp_path, monkeypatch):
    """Told from a network that is down, until this host trusts it."""
    pem = certificate(tmp_path / "store.pem")
    secure = Relay(server, pem)
    device = device_of(settings(secure.url))
    assert device is not None
    place.bucket = Bucket(device, str)
    words = r"does not trust the certificate of https://127\.0\.0\.1:\d+ \(self.signed certificate\); .* update-ca-certificates"
    with pytest.raises(StoreOfObjects, match=words):
        place.rotation().rotate()
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    place.bucket = Bucket(device, str)
    place.rotation().rotate()
    place.assert_all_under(NEW)
    secure.shutdown()


def test_metadata_that_cannot_be_sent(place, relay):
    """S3 has ASCII alone; some stores have more."""
    relay.fault = telling("GET", x_amz_meta_mark="Schl\u00fcssel")
    with pytest.raises(StoreOfObjects, match="boto3 does not send what the store says of it: .*Non ascii .* metadata"):
        place.rotation().rotate()
    relay.fault = lambda request: False
    assert place.finish() == "old"


WORDS = {
    "slow down": (refusing(503, "SlowDown"), "the store answered SlowDown to each of 5 requests; run again later"),
    "cut": (
        cutting(),
        r"http://.* cannot be asked from this host, or does not answer to the end .* correct _APP_STORAGE_S3_ENDPOINT",
    ),
    "wrong key": (
        refusing(403, "InvalidAccessKeyId"),
        r"the store does not accept the keys \(InvalidAccessKeyId\); correct _APP_STORAGE_S3_ACCESS_KEY and _APP_STORAGE_S3_SECRET",
    ),
    "wrong secret": (refusing(403, "SignatureDoesNotMatch"), "the store does not accept the keys"),
    "denied": (
        refusing(403, "AccessDenied"),
        r"_APP_STORAGE_S3_ACCESS_KEY may not do this \(get_object\); allow it s3:GetObject",
    ),
    "may not write": (
        refusing(403, "AccessDenied", method="PUT"),
        r"_APP_STORAGE_S3_ACCESS_KEY may not do this \(put_object\)",
    ),
    "no bucket": (
        refusing(404, "NoSuchBucket"),
        "the bucket does not exist at http://.*; correct _APP_STORAGE_S3_BUCKET or _APP_STORAGE_S3_ENDPOINT",
    ),
    "clock": (refusing(403, "RequestTimeTooSkewed"), "the clock of this host differs from the store's"),
    "region": (
        refusing(400, "AuthorizationHeaderMalformed"),
        "the bucket is not in the region us-east-1; correct _APP_STORAGE_S3_REGION",
    ),
    "archived": (refusing(403, "InvalidObjectState"), "it is archived; restore it in the store"),
    "anything else": (refusing(418, ACCESS), r"the store refused get_object \(418 \*\)"),
}


@pytest.mark.parametrize(("fault", "words"), WORDS.values(), ids=WORDS)
def test_refused(place, relay, fault, words):
    """In one sentence without a key, and nothing is changed."""
    names, rows = place.files, copy.deepcopy(place.store.content)
    relay.fault = fault
    with pytest.raises(
        StoreOfObjects, match=rf"^file {NAME}/storage/uploads/app-1/file\d[-.a-z0-9]*: {words}"
    ) as caught:
        place.rotation().rotate()
    assert ACCESS not in str(caught.value) and SECRET not in str(caught.value)
    relay.fault = lambda request: False
    assert place.files == names and place.store.content == rows
    assert place.finish() == "old"
    place.assert_all_under(OLD)


def test_first_of_several(place, relay):
    """Is named, whichever answer comes first, and nothing is asked afterwards."""
    place.store.content[BUCKET] = [place.file(f"file{number:02}.txt", WORD) for number in range(40)]
    refuse = refusing(403, "AccessDenied")

    def fault(request: Any) -> bool:
        if "file00" in request.path:
            time.sleep(0.3)
        return refuse(request)

    relay.fault = fault
    with pytest.raises(StoreOfObjects, match="file00.txt: .* may not do this"):
        place.rotation().rotate()
    asked = len(relay.asked)
    time.sleep(0.3)
    assert len(relay.asked) == asked <= 32
    relay.fault = lambda request: False
    assert place.finish() == "old"


def test_may_not_remove(place, relay):
    """Everything is sealed by then: it is said, and the next run does it."""
    relay.fault = refusing(403, "AccessDenied", method="DELETE")
    with pytest.raises(AppwriteError, match="everything is sealed with the new key, but some files .* may not do this"):
        place.rotation().rotate()
    relay.fault = lambda request: False
    assert place.finish() == "new"
    place.assert_all_under(NEW)


def test_store_that_removes_nothing(place, relay):
    """It says so instead of asking for ever."""

    def kept(request: Any) -> bool:
        if request.command == "DELETE":
            request.answer(204, b"", {}, 0)
        return bool(request.command == "DELETE")

    versioned(place)
    for row in place.store.content[BUCKET]:
        place.put(key_of(row), place.sealed(row))
    relay.fault = kept
    with pytest.raises(AppwriteError, match="the store has version .* still after it was removed"):
        place.rotation().rotate()
    relay.fault = lambda request: False
    assert place.finish() == "new"
    place.assert_all_under(NEW)


def test_nobody_there(place):
    device = device_of(settings("http://127.0.0.1:1"))
    assert device is not None
    place.bucket = Bucket(device, str)
    with pytest.raises(
        StoreOfObjects,
        match="http://127.0.0.1:1 cannot be asked from this host, or .* correct _APP_STORAGE_S3_ENDPOINT",
    ):
        place.rotation().rotate()


def test_without_boto3(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(
        StoreOfObjects, match=r"_APP_STORAGE_DEVICE is s3.* lacks boto3.* install python3-boto3 .* or boto3 \(pip\)"
    ):
        Bucket(device_of(settings("http://127.0.0.1:1")), str)


def test_settings_of_this_machine(place, monkeypatch):
    """They are for another store."""
    monkeypatch.setenv("AWS_PROFILE", "notthere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "NotARealToken")
    place.bucket = Bucket(place.bucket.device, str)
    place.rotation().rotate()
    place.assert_all_under(NEW)


def test_md5_of_a_system_with_fips(monkeypatch):
    real = hashlib.new

    def new(name: str, data: bytes, usedforsecurity: bool = True) -> Any:
        if usedforsecurity:
            raise ValueError("[digital envelope routines] unsupported")
        return real(name, data, usedforsecurity=False)

    monkeypatch.setattr(hashlib, "new", new)
    monkeypatch.setattr(hashlib, "md5", lambda data=b"": new("md5", data))
    assert md5(b"").hexdigest() == "d41d8cd98f00b204e9800998ecf8427e"


class Killed(BaseException):
    pass


def test_killed_at_every_request(place, monkeypatch):
    """Before it and after it; another run ends what was begun."""
    real = Bucket.ask

    def killing(number: int, is_after: bool) -> Any:
        calls = []

        def ask(bucket: Bucket, action: str, path: str, **parameters: Any) -> Any:
            calls.append(action)
            is_dead = len(calls) > number > 0
            if is_dead or len(calls) == number and not is_after:
                raise Killed
            answer = real(bucket, action, path, **parameters)
            if len(calls) >= number > 0:
                raise Killed
            return answer

        return ask

    place.successors().remove(place.store.content[BUCKET].pop()["path"])
    finished = set()
    for is_after in (False, True):
        for number in range(1, 40):
            monkeypatch.setattr(Bucket, "ask", killing(number, is_after))
            try:
                rotation = place.rotation()
                rotation.prepare()
                rotation.rotate()
                number = 0
            except Killed:
                pass
            monkeypatch.setattr(Bucket, "ask", real)
            state = place.finish()
            finished.add(state)
            place.assert_all_under(NEW if state == "new" else OLD)
            if state == "new":
                assert place.undo() == "old"
            if not number:
                break
        assert not number, "there are more requests than were tried"
    assert finished == {"old", "new"}
