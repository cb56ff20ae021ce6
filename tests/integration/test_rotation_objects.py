# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a running project whose files are in an object store: PHP opens each of them with the new key."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.objects import ACCESS, NAME, SECRET, ObjectPlace, Relay, client, key_of, moto, seaweedfs, settings
from support.rotation import BUCKET as FILES
from support.rotation import NEW as OTHER
from support.rotation import OLD as ONE
from support.rotation import WORD
from support.stack import KEY, Kind, on, set_env, succeed
from testbed.dataset import Dataset

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.bucket import listing
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import Bucket, StoreOfObjects

KIND = Kind(services=("appwrite", "appwrite-worker-mails", "redis", "mariadb"), room="rotate-objects")
OLD = "UnrealQx7Vb2Lm9K" + "Zt5Rw8Jy3Hn6Pg0C" * 2 + secrets.token_hex(3)
NEW = "AlsoNotRealKey2Wv9" + "Bd4Fs7Tq1Xk8Mr5Y" * 2
BY_NIGHT = [
    pytest.mark.nightly("_rotation/stores/test_objects.py, on moto"),
    pytest.mark.skipif(not shutil.which("go"), reason="Go is not at hand: it builds SeaweedFS"),
]
BUCKET = "storage"
"""what a server takes the first part of a path for that Appwrite up to 1.6 makes, and later ones without a bucket"""


class Objects:
    """What the containers would have as /storage/uploads, in a bucket."""

    server: Any
    """what runs one; moto gives a list to whoever asks"""

    def __init__(self, stack: Any, server: str) -> None:
        self.stack = stack
        self.root = stack.project.uploads()
        self.raw = client(server)
        self.relay = Relay(server)
        self.data = Dataset.make(seed=7, key=OLD, database=stack.kind.database)
        set_env(stack.directory, **{KEY: OLD, **settings(self.relay.url, _APP_STORAGE_S3_BUCKET="")})
        stack.project.up()
        stack.project.wait()
        self.data.load(stack.project)
        self.data.write_files(self.root)
        self.raw.create_bucket(Bucket=BUCKET)
        for path in self.files():
            self.raw.put_object(Bucket=BUCKET, Key=f"uploads/{path.relative_to(self.root)}", Body=path.read_bytes())
        self.clear()

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file()]

    def clear(self) -> None:
        for left in self.root.iterdir():
            shutil.rmtree(left)

    def check(self, key: str) -> None:
        """Every file by PHP, once it is where that looks."""
        pages = self.raw.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for name in [each["Key"] for page in pages for each in page.get("Contents", [])]:
            path = self.root / name.removeprefix("uploads/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.raw.get_object(Bucket=BUCKET, Key=name)["Body"].read())
        found = self.data.check(self.stack.project, self.root, key)
        self.clear()
        assert found.found == [] and found.values and found.files

    def rekey(self, **options: Any) -> dict[str, Any]:
        return succeed(
            "rekey", {**self.stack.arguments, "scope": "values", **options}, secrets=[OLD, NEW, ACCESS, SECRET]
        )


@pytest.fixture(params=[moto, pytest.param(seaweedfs, marks=BY_NIGHT)])
def objects(stack, request):
    with request.param() as server:
        found = Objects(stack, server)
        found.server = request.param
        yield found
        found.relay.shutdown()


@on(KIND)
def test_rotate(objects):
    rehearsed = succeed("rekey", {**objects.stack.arguments, "scope": "values"}, check=True)
    files = sum(one["files"].get("old", 0) for one in rehearsed["report"]["collections"])
    told = rehearsed["bucket_traffic"]
    assert rehearsed["report"]["undecryptable"] == [] and told["requests"] == 6 * files > 0 and not told["versioned"]
    del objects.relay.asked[:]
    objects.relay.bytes = 0
    assert objects.rekey(new_key=NEW)["phase"] == "written"
    objects.stack.project.up()
    objects.stack.project.wait()
    assert objects.rekey(sample=1)["phase"] == "finished"
    methods = Counter(method for method, _path in objects.relay.asked)
    print(files, told, methods, objects.relay.bytes)
    assert (methods["PUT"], methods["DELETE"], methods["HEAD"]) == (files, files, files)
    assert 3 * files <= methods["GET"] <= 3 * files + 10
    assert succeed("stored_info", {**objects.stack.arguments, "sample": 0})["opens"] is True
    findings = succeed("audit_info", objects.stack.arguments)["findings"]
    found = {one["id"]: one["status"] for one in findings}
    assert found["encryption.key_opens_data"] == "pass"
    assert found["platform.bucket_closed"] == ("fail" if objects.server is moto else "pass")
    objects.check(NEW)


# --- what a real server says ---


@pytest.fixture(scope="module")
def server():
    with seaweedfs() as url:
        yield url


@pytest.fixture
def place(server, tmp_path):
    found = ObjectPlace(tmp_path, server)
    yield found
    for kind in ("Versions", "DeleteMarkers"):
        for each in found.raw.list_object_versions(Bucket=NAME).get(kind, []):
            found.raw.delete_object(Bucket=NAME, Key=each["Key"], VersionId=each["VersionId"])
    found.raw.delete_bucket(Bucket=NAME)


def nightly(test: Any) -> Any:
    for mark in BY_NIGHT:
        test = mark(test)
    return test


@nightly
def test_there_and_back(place):
    rotation = place.rotation()
    rotation.prepare()
    assert len(place.files) == 6
    rotation.rotate()
    place.assert_all_under(OTHER)
    assert place.undo() == "old"
    place.assert_all_under(ONE)


@nightly
def test_versions(place):
    place.raw.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    for row in place.store.content[FILES]:
        place.put(key_of(row), place.sealed(row))
        place.put(key_of(row), place.sealed(row))
    place.rotation().rotate()
    place.assert_all_under(OTHER)
    assert place.bucket.is_versioned
    assert len(place.raw.list_object_versions(Bucket=NAME)["Versions"]) == 3


@nightly
def test_parts(place):
    sizes = [5 << 20, 5 << 20, 100]
    plain = bytes(sum(sizes) // 4 * 3 - 2)
    text, iv, tag = ONE.encrypt(plain)
    row = place.store.content[FILES][1]
    place.put_in_parts(key_of(row), text, sizes)
    row.update(openSSLIV=iv, openSSLTag=tag)
    place.rotation().rotate()
    row = place.store.content[FILES][1]
    assert OTHER.decrypt(place.sealed(row), row["openSSLIV"], row["openSSLTag"]) == plain
    assert place.raw.head_object(Bucket=NAME, Key=key_of(row))["ETag"].endswith('-3"')


WRONG = {
    "an unknown key": ({"_APP_STORAGE_S3_ACCESS_KEY": "NotARealKeyAtAll"}, "the store does not accept the keys"),
    "a wrong secret": ({"_APP_STORAGE_S3_SECRET": "NotARealSecretAtAll"}, "the store does not accept the keys"),
    "another bucket": ({"_APP_STORAGE_S3_BUCKET": "notarealbucket2"}, "the bucket does not exist at"),
}


@nightly
@pytest.mark.parametrize(("values", "words"), WRONG.values(), ids=WRONG)
def test_refused(place, server, values, words):
    device = device_of(settings(server, **values))
    assert device is not None
    place.bucket = Bucket(device, str)
    for row in place.store.content[FILES]:
        row["path"] = row["path"].replace(NAME, device.bucket)
    with pytest.raises(StoreOfObjects, match=words):
        place.rotation().rotate()


@nightly
def test_missing(place):
    place.raw.delete_object(Bucket=NAME, Key=key_of(place.store.content[FILES].pop()))
    place.store.content[FILES].append(
        {**place.file("gone.txt", WORD), "path": f"{NAME}/storage/uploads/app-1/none.txt"}
    )
    assert [each.reason for each in place.rotation().rehearse().undecryptable] == ["it is missing"]


@nightly
@pytest.mark.parametrize("public", [False, True])
def test_listing(public, tmp_path):
    with seaweedfs(public=public) as url:
        ObjectPlace(tmp_path, url)
        device = device_of(settings(url))
        assert device is not None and listing(device, {}).is_open is public
