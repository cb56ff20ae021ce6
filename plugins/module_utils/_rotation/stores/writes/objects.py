# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of Appwrite's buckets in an object store, sealed anew, each beside the old one.

Only who seals everything anew reaches this; whoever reads has C(stores.objects).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import OLD
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import Report
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import md5
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import (
    Bucket,
    Objects,
    StoreOfObjects,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import Unusable
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.sealing import (
    LONGEST_NAME,
    Sealing,
    successor_of,
)

_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
    "StorageClass",
)
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
"""classes of which an object can be read only while a copy of it is restored, so that neither we nor Appwrite could read its successor there"""
_WIRE = "aws-chunked"
"""how an object was sent, which some stores take for an encoding of its own"""
_ACL = "private"
"""as Appwrite writes every object (C(getDevice), appwrite 1.6.2 to 1.9.6)"""
_PARTS = re.compile(r'-(\d+)"?$')
"""the number of parts at the end of an object's ETag, if it was uploaded in parts"""
_REQUESTS = 6
"""for each file: read twice before it is written, written, read back, and at the end the old object is looked at and removed"""
_BYTES = 4
"""times that its bytes go over the network"""
_UNVERSIONED = "null"
"""the version of an object that is older than the versions of its bucket"""
_COARSE = 2
"""seconds, by which the time of an object may be wrong beside the clocks: it is told in whole ones"""


class ObjectSuccessors(Sealing, Objects):
    """C(model.WritableFiles) of a bucket."""

    def __init__(self, bucket: Bucket, local: str | None, journal: int, name: str) -> None:
        Objects.__init__(self, bucket, local)
        Sealing.__init__(self, journal, name)

    def remove(self, path: str, before: float | None = None) -> None:
        """With every version that it has in a versioned bucket: the path is the file's own, and nothing would remove them later.

        The versions are found one by one, since a list is asked of the bucket as a whole.
        """
        removed: dict[str, Any] = {}
        """version to ETag"""
        while True:
            try:
                found = self.bucket.ask("head_object", path)
            except Unusable:
                return
            if before is not None and "LastModified" not in found:
                raise AppwriteError(
                    "file %s: the store does not say when it was written, and it may be somebody's again; look at it, and remove it there"
                    % path
                )
            etag = found.get("ETag")
            if before is not None and _age(found) <= time.time() - before + _COARSE:
                if not removed:
                    return
                if not etag or etag not in removed.values():  # some date what was below anew (VersityGW 1.8.0)
                    raise AppwriteError(
                        "file %s: below a version that is removed now the store has %s, and says that it was written since; unless somebody has uploaded it "
                        "again, the old key opens it: remove it there" % (path, found.get("VersionId", _UNVERSIONED))
                    )
            if "VersionId" not in found and not self.bucket.is_versioned:
                found = self._removed(path)
                if not found.get("DeleteMarker"):
                    return
                # it is older than the versions of its bucket, and only hidden now
            self.bucket.is_versioned = True
            version = found.get("VersionId", _UNVERSIONED)
            if version in removed:
                raise AppwriteError(
                    "file %s: the store has version %s still after it was removed; remove it there" % (path, version)
                )
            self._removed(path, VersionId=version)
            removed[version] = etag

    def _removed(self, path: str, **version: str) -> dict[str, Any]:
        """What the store says; nothing if it knows no such object, which is looked at again, since some have it still (VersityGW 1.8.0)."""
        try:
            return self.bucket.ask("delete_object", path, **version)
        except Unusable:
            return {}

    def _successor(self, path: str) -> str:
        return successor_of(path, LONGEST_NAME)

    def _write(self, path: str, text: bytes, like: dict[str, Any]) -> None:
        encoding = like.get("ContentEncoding", "").replace(_WIRE, "").strip(", ")
        found = {**like, "ContentEncoding": encoding}
        kept = {
            "ACL": _ACL,
            **{name: found[name] for name in _KEPT if found.get(name) and found[name] not in _ARCHIVES},
        }
        sizes = self._sizes(like, len(text))
        if not sizes:
            self.bucket.ask("put_object", path, Body=text, ContentMD5=_md5(text), **kept)
            return
        upload = {"UploadId": self.bucket.ask("create_multipart_upload", path, **kept)["UploadId"]}
        try:
            parts, start = [], 0
            for number, size in enumerate(sizes, 1):
                part = text[start : start + size]
                answer = self.bucket.ask(
                    "upload_part", path, PartNumber=number, Body=part, ContentMD5=_md5(part), **upload
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                start += size
            with suppress(Unusable):  # it was completed, but the answer was lost; what is there is read back
                self.bucket.ask("complete_multipart_upload", path, MultipartUpload={"Parts": parts}, **upload)
        except (AppwriteError, Unusable):
            with suppress(AppwriteError, Unusable):  # a store that is gone keeps the parts
                self.bucket.ask("abort_multipart_upload", path, **upload)
            raise

    def _sizes(self, like: dict[str, Any], length: int) -> list[int]:
        """Of the parts that the old object was uploaded in, nothing if it was not, or if the store does not tell them."""
        found = _PARTS.search(like.get("ETag") or "")
        if not found:
            return []
        heads = (
            self.bucket.ask("head_object", like["path"], PartNumber=number)
            for number in range(1, int(found.group(1)) + 1)
        )
        try:
            sizes = [int(head["ContentLength"]) for head in heads]
        except StoreOfObjects:  # not every store knows the question
            return []
        return sizes if sum(sizes) == length else []

    def _signature(self, status: Any) -> None:
        """None: Appwrite never writes to the object of a row that it has sealed, it gives the row other seals then, and a look at each object again
        would keep the API waiting."""

    def _stands(self, _path: str, _signature: Any) -> bool:
        return True


def traffic(report: Report, bucket: Bucket) -> dict[str, Any]:
    """As RV(selfhost.appwrite.rekey#module:bucket_traffic). bucket: that was asked for what the report says."""
    files = sum(tally.files[OLD] for tally in report.collections.values())
    return {
        "requests": files * (_REQUESTS + bucket.is_versioned),
        "bytes": report.bytes * _BYTES,
        "versioned": bucket.is_versioned,
    }


def _md5(data: bytes) -> str:
    """For the store, which compares it, as Appwrite has it do."""
    return base64.b64encode(md5(data).digest()).decode("ascii")


def _age(found: dict[str, Any]) -> float:
    """Seconds since an object was written, by the store's clock alone."""
    date = found["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(date).timestamp() if date else time.time()
    return float(now - found["LastModified"].timestamp())
