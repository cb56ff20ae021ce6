# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Appwrite stores uploads, by C(getDevice) of 1.9.6 (C(app/init/resources.php)) and the devices of utopia-php/storage 2.0.5."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

ACCESS, SECRET = "NotARealAccessKey1", "NotARealSecret/Key1+"


def values(device: str, begin: str, region: str = "eu-central-1", **more: str | None) -> dict[str, str | None]:
    return {
        "_APP_STORAGE_DEVICE": device,
        f"_APP_STORAGE_{begin}_ACCESS_KEY": ACCESS,
        f"_APP_STORAGE_{begin}_SECRET": SECRET,
        f"_APP_STORAGE_{begin}_REGION": region,
        f"_APP_STORAGE_{begin}_BUCKET": "uploads-of-ours",
        **more,
    }


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        (values("s3", "S3"), "https://uploads-of-ours.s3.eu-central-1.amazonaws.com"),
        (values("S3", "S3"), "https://uploads-of-ours.s3.eu-central-1.amazonaws.com"),
        (values("s3", "S3", "cn-north-1"), "https://uploads-of-ours.s3.cn-north-1.amazonaws.cn"),
        (values("s3", "S3", _APP_STORAGE_S3_ENDPOINT=""), "https://uploads-of-ours.s3.eu-central-1.amazonaws.com"),
        (values("s3", "S3", _APP_STORAGE_S3_ENDPOINT="http://minio:9000/"), "http://minio:9000"),
        (values("s3", "S3", _APP_STORAGE_S3_ENDPOINT="s3.notarealcompany.com"), "https://s3.notarealcompany.com"),
        (values("dospaces", "DO_SPACES", "fra1"), "https://uploads-of-ours.fra1.digitaloceanspaces.com"),
        (values("backblaze", "BACKBLAZE", "us-west-004"), "https://uploads-of-ours.s3.us-west-004.backblazeb2.com"),
        (values("linode", "LINODE"), "https://uploads-of-ours.eu-central-1.linodeobjects.com"),
        (values("wasabi", "WASABI"), "https://uploads-of-ours.s3.eu-central-1.wasabisys.com"),
        (
            values("wasabi", "WASABI", _APP_STORAGE_S3_ENDPOINT="http://minio:9000"),
            "https://uploads-of-ours.s3.eu-central-1.wasabisys.com",
        ),
    ],
)
def test_device(given, endpoint):
    found = device_of(given)
    assert found and (found.endpoint, found.access_key, found.secret) == (endpoint, ACCESS, SECRET)
    assert ACCESS not in repr(found) and SECRET not in repr(found)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"_APP_STORAGE_DEVICE": None},
        {"_APP_STORAGE_DEVICE": "Local"},
        {"_APP_CONNECTIONS_STORAGE": "local://localhost"},
    ],
)
def test_local(given):
    assert device_of(given) is None


@pytest.mark.parametrize(
    ("device", "more", "endpoint"),
    [
        ("s3", {}, "https://uploads-of-ours.s3.eu-central-1.amazonaws.com"),
        ("s3", {"_APP_STORAGE_S3_ENDPOINT": "http://minio:9000"}, "http://minio:9000"),
        ("linode", {}, "https://uploads-of-ours.eu-central-1.linodeobjects.com"),
    ],
)
def test_dsn(device, more, endpoint):
    """It goes before all other variables."""
    dsn = f"{device}://{ACCESS}:NotARealSecret%2FKey1%2B@localhost/uploads-of-ours?region=eu-central-1"
    found = device_of({"_APP_STORAGE_DEVICE": "local", "_APP_CONNECTIONS_STORAGE": dsn, **more})
    assert found and (found.kind, found.endpoint, found.access_key, found.secret, found.region) == (
        device,
        endpoint,
        ACCESS,
        SECRET,
        "eu-central-1",
    )


REFUSED = {
    "another device": ({"_APP_STORAGE_DEVICE": "gcs"}, "_APP_STORAGE_DEVICE: 'gcs' is none of the devices"),
    "no access key": (
        values("s3", "S3", _APP_STORAGE_S3_ACCESS_KEY=""),
        "_APP_STORAGE_S3_ACCESS_KEY: lacks the access key",
    ),
    "no secret": (
        values("linode", "LINODE", _APP_STORAGE_LINODE_SECRET=None),
        "_APP_STORAGE_LINODE_SECRET: lacks the secret",
    ),
    "no region": (values("dospaces", "DO_SPACES", ""), "_APP_STORAGE_DO_SPACES_REGION: lacks the region"),
    "no bucket": (
        values("wasabi", "WASABI", _APP_STORAGE_WASABI_BUCKET=""),
        "_APP_STORAGE_WASABI_BUCKET: lacks the bucket",
    ),
    "no URL": (values("s3", "S3", _APP_STORAGE_S3_ENDPOINT="http://"), "_APP_STORAGE_S3_ENDPOINT: is not a URL"),
    "no port": (
        values("s3", "S3", _APP_STORAGE_S3_ENDPOINT="http://minio:high"),
        "_APP_STORAGE_S3_ENDPOINT: is not a URL",
    ),
    "a password in the URL": (
        values("s3", "S3", _APP_STORAGE_S3_ENDPOINT=f"https://me:{ACCESS}@minio:9000"),
        "_APP_STORAGE_S3_ENDPOINT: is not a URL that could be asked",
    ),
    "no DSN": ({"_APP_CONNECTIONS_STORAGE": "s3"}, "_APP_CONNECTIONS_STORAGE: is not a DSN"),
    "another device in a DSN": (
        {"_APP_CONNECTIONS_STORAGE": "gcs://a:b@c/d"},
        "_APP_CONNECTIONS_STORAGE: 'gcs' is none of the devices",
    ),
    "a DSN without a region": (
        {"_APP_CONNECTIONS_STORAGE": f"s3://{ACCESS}:b@c/d"},
        "_APP_CONNECTIONS_STORAGE: lacks the region",
    ),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(given, words):
    with pytest.raises(AppwriteError) as caught:
        device_of(given)
    assert str(caught.value).startswith(words) and ACCESS not in str(caught.value)


PLACES = {
    "as Appwrite up to 1.6 and with a bucket in the host": (
        "/storage/uploads/app-1/2/f.txt",
        ("storage", "uploads/app-1/2/f.txt"),
    ),
    "as Appwrite from 1.7 on with an endpoint": (
        "uploads-of-ours/storage/uploads/app-1/2/f.txt",
        ("uploads-of-ours", "storage/uploads/app-1/2/f.txt"),
    ),
    "slashes that Appwrite leaves out": (
        "//uploads-of-ours/storage//uploads/app-1/f",
        ("uploads-of-ours", "storage/uploads/app-1/f"),
    ),
    "another bucket": ("another/storage/uploads/app-1/f", None),
    "another root": ("/storage/functions/app-1/f", None),
    "upwards": ("/storage/uploads/app-1/../app-2/f", None),
    "a nul": ("/storage/uploads/app-1/\0", None),
    "no text": ("/storage/uploads/app-1/\ud800", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("path", "place"), PLACES.values(), ids=PLACES)
def test_place(path, place):
    device = device_of(values("s3", "S3", _APP_STORAGE_S3_ENDPOINT="http://minio:9000"))
    assert device and device.place(path) == place


def test_place_without_an_endpoint():
    """The bucket is in the host, and never in the path."""
    device = device_of(values("s3", "S3"))
    assert device and device.place("uploads-of-ours/storage/uploads/app-1/f") is None
    assert device.place("/storage/uploads/app-1/f") == ("storage", "uploads/app-1/f")
