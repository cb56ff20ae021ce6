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
from support.objects import ACCESS, SECRET, Relay, client, gateway, moto, settings
from support.stack import KEY, Kind, on, refuse, set_env, succeed
from testbed.dataset import Dataset

KIND = Kind(services=("appwrite", "appwrite-worker-mails", "redis", "mariadb"), room="rotate-objects")
OLD = "UnrealQx7Vb2Lm9K" + "Zt5Rw8Jy3Hn6Pg0C" * 2 + secrets.token_hex(3)
NEW = "AlsoNotRealKey2Wv9" + "Bd4Fs7Tq1Xk8Mr5Y" * 2
BUCKET = "storage"
"""what a server takes the first part of a path for that Appwrite up to 1.6 makes, and later ones without a bucket"""


class Objects:
    """What the containers would have as /storage/uploads, in a bucket."""

    def __init__(self, stack: Any, server: str, is_versioned: bool) -> None:
        self.stack = stack
        self.is_versioned = is_versioned
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
        self.upload()
        if is_versioned:
            versioning = {"Status": "Enabled"}
            self.raw.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioning)
            self.upload()
        self.clear()

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file()]

    def upload(self) -> None:
        for path in self.files():
            self.raw.put_object(Bucket=BUCKET, Key=f"uploads/{path.relative_to(self.root)}", Body=path.read_bytes())

    def versions(self) -> Counter[str]:
        """Of each object."""
        pages = self.raw.get_paginator("list_object_versions").paginate(Bucket=BUCKET)
        return Counter(each["Key"] for page in pages for each in page.get("Versions", []))

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


@pytest.fixture(params=["moto", "versitygw"])
def objects(stack, request, tmp_path):
    """The real one keeps versions, of which each object has one that is older than they are, and one that is not."""
    is_real = request.param == "versitygw"
    with gateway(tmp_path / "s3") if is_real else moto() as server:
        found = Objects(stack, server, is_real)
        yield found
        found.relay.shutdown()


@on(KIND)
@pytest.mark.nightly("test_objects.py, test_stored.py; test_rotation.py on the local volume")
def test_rotate(objects):
    rehearsed = succeed("rekey", {**objects.stack.arguments, "scope": "values"}, check=True)
    files = sum(one["files"].get("old", 0) for one in rehearsed["report"]["collections"])
    told, versions = rehearsed["bucket_traffic"], 2 if objects.is_versioned else 1
    assert rehearsed["report"]["undecryptable"] == [] and files > 0
    assert (told["requests"], told["versioned"]) == ((6 + objects.is_versioned) * files, objects.is_versioned)
    kept = objects.versions()
    del objects.relay.asked[:]
    objects.relay.bytes = 0
    assert objects.rekey(new_key=NEW)["phase"] == "written"
    objects.stack.project.up()
    objects.stack.project.wait()
    assert objects.rekey(sample=1)["phase"] == "finished"
    methods = Counter(method for method, _path in objects.relay.asked)
    print(files, told, methods, objects.relay.bytes)
    assert (methods["PUT"], methods["DELETE"]) == (files, versions * files)
    assert methods["HEAD"] == (versions + objects.is_versioned) * files
    assert 3 * files <= methods["GET"] <= 3 * files + 10
    left = objects.versions()
    assert sum(left.values()) == sum(kept.values()) - versions * files + files, (
        "of what was sealed nothing older is left"
    )
    assert succeed("stored_info", {**objects.stack.arguments, "sample": 0})["opens"] is True
    findings = succeed("audit_info", objects.stack.arguments)["findings"]
    found = {one["id"]: one["status"] for one in findings}
    assert found["encryption.key_opens_data"] == "pass"
    is_open = not objects.is_versioned
    assert found["platform.bucket_closed"] == ("fail" if is_open else "pass"), "moto gives a list to whoever asks"
    objects.check(NEW)


@on(KIND)
@pytest.mark.nightly("test_objects.py, with the place of files alone")
def test_every_file_missing(objects):
    """As where the bucket is another one: the rehearsal says so, and the rotation refuses."""
    for name in objects.versions():
        objects.raw.delete_object(Bucket=BUCKET, Key=name)
    rehearsed = succeed("rekey", {**objects.stack.arguments, "scope": "values"}, check=True)
    words = "is missing, which is far more often another bucket"
    assert any(words in warning for warning in rehearsed["warnings"])
    assert words in refuse("rekey", {**objects.stack.arguments, "scope": "values", "new_key": NEW})
