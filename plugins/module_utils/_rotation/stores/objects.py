# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of Appwrite's buckets in an object store, as they are read by the S3 API. Nothing here can write.

An object is asked for by the very URL that Appwrite asks for, so that it does not matter whether a server has a bucket's name in its host or in its paths:
C(botocore) is told that the first part of the path is the bucket. For the same reason nothing is asked of a bucket as a whole.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import Device
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Row
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import (
    LARGEST,
    MISSING,
    TOO_LARGE,
    SealedFiles,
    Unusable,
)

_CONNECT, _ANSWER = 10, 60
"""Seconds for a connection, and for the next piece of an answer."""
_ATTEMPTS = 5
"""of each request, with a longer pause after each, as botocore's mode V(standard) has it"""
_CUT = 3
"""attempts to get the whole of an object whose beginning has come"""
_AT_ONCE = 8
"""objects, of which each waits for answers most of the time; fewer than botocore has connections (10)"""
_LARGE = 2_000_000
"""bytes, above which an object is in memory by itself: there are half a dozen forms of it on the way from one key to the other"""
_NOTHING_ELSE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""So that no settings of this machine's own user for a store of his count."""
_KEYS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSecurity",
    "InvalidToken",
    "ExpiredToken",
    "Unauthorized",
)
_DENIED = ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden")
_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301", "307")
_LATER = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "500", "502", "503", "504")
_MISSING = ("NoSuchKey", "404", "NotFound", "NoSuchVersion", "NoSuchUpload")
_UNTRUSTED = re.compile(r"certificate verify failed: (.+?) \(")
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""of Debian and Ubuntu, whose OpenSSL names a directory alone"""


class StoreOfObjects(AppwriteError):
    """The object store said no, or is gone. The message has no key of it."""


class Bucket:
    """An object store, asked by botocore. It takes what is in a row to be somebody else's word.

    conceal: takes out of a text what must not be shown. elsewhere: where to connect to in the place of a host's name, if that is known to containers alone.
    Raises StoreOfObjects if botocore is not there.
    """

    def __init__(
        self, device: Device, conceal: Callable[[str], str], elsewhere: Mapping[str, str] | None = None
    ) -> None:
        self.device = device
        self.is_versioned = False
        """whether an object was seen to have a version"""
        self._turn = threading.Lock()
        self._mine = threading.local()
        self._conceal = conceal
        self._client, self._said_no, self._failed = _client(device, elsewhere or {})

    def ask(self, action: str, path: str, **parameters: Any) -> dict[str, Any]:
        """The answer to an action on the object of a file. Raises Unusable if there is no such object, StoreOfObjects for whatever else goes wrong."""
        place = self.device.place(path)
        if place is None:
            raise Unusable(
                "its path does not lead to where files are in the bucket (_APP_STORAGE_DEVICE is %s); another device may have it"
                % self.device.kind
            )
        try:
            answer: dict[str, Any] = getattr(self._client, action)(Bucket=place[0], Key=place[1], **parameters)
            return answer
        except self._said_no as error:
            raise self._refused(path, action, error) from None
        except self._failed as error:
            raise self._unreachable(path, error) from None

    def read(self, path: str, largest: int) -> tuple[bytes, dict[str, Any]]:
        """All of an object, and what is said of it. Raises as C(ask), and Unusable if it has more bytes than C(largest)."""
        for attempt in range(1, _CUT + 1):
            answer = self.ask("get_object", path)
            stream = answer.pop("Body")
            self.is_versioned = self.is_versioned or "VersionId" in answer
            try:
                if answer.get("ContentLength") is None:
                    raise self._error(path, "the store does not say how large it is, which S3 has it do")
                if answer["ContentLength"] > largest:
                    raise Unusable(TOO_LARGE)
                if answer["ContentLength"] > _LARGE and getattr(self._mine, "waits", False):
                    self._turn.acquire()
                    self._mine.waits = False
                return stream.read(), answer
            except self._failed as error:
                if attempt == _CUT:
                    raise self._unreachable(path, error) from None
            finally:
                stream.close()
        raise AssertionError

    def each(self, work: Callable[[Any], Any], those: Sequence[Any]) -> list[Any]:
        """As C(model.StoredFiles) has it, several at a time, of which one may have a large object until its work is done."""

        def one(this: Any) -> Any:
            self._mine.waits = True
            try:
                return work(this)
            finally:
                if not self._mine.waits:
                    self._turn.release()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            begun = [pool.submit(one, this) for this in those]
            try:
                return [each.result() for each in begun]
            finally:
                for each in begun:
                    each.cancel()

    def _refused(self, path: str, action: str, error: Any) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        named, device = self.device.named, self.device
        if code in _MISSING:
            return Unusable(MISSING)
        if code == "NoSuchBucket":
            return self._error(
                path,
                "the bucket does not exist at %s; correct %s%s"
                % (device.endpoint, named.bucket, "" if named.endpoint == named.bucket else " or " + named.endpoint),
            )
        if code in _KEYS:
            return self._error(
                path,
                "the store does not accept the keys (%s); correct %s"
                % (
                    code,
                    named.access_key
                    if named.access_key == named.secret
                    else "%s and %s" % (named.access_key, named.secret),
                ),
            )
        if code in _DENIED:
            return self._error(
                path,
                "%s may not do this (%s); allow it s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket, which tells what is missing from what "
                "is forbidden, in a versioned bucket s3:DeleteObjectVersion, too, and see whether the object is locked"
                % (named.access_key, action),
            )
        if code == "RequestTimeTooSkewed":
            return self._error(path, "the clock of this host differs from the store's; set it (timedatectl)")
        if code in _REGION:
            return self._error(path, "the bucket is not in the region %s; correct %s" % (device.region, named.region))
        if code == "InvalidObjectState":
            return self._error(path, "it is archived; restore it in the store, and run again")
        if code in _LATER or status[:1] == "5":
            return self._error(
                path, "the store answered %s to each of %d requests; run again later" % (code or status, _ATTEMPTS)
            )
        return self._error(path, "the store refused %s (%s)" % (action, self._conceal("%s %s" % (status, code))))

    def _unreachable(self, path: str, error: Exception) -> Exception:
        if type(error).__name__ == "ParamValidationError":
            return self._error(
                path, "boto3 does not send what the store says of it: %s" % self._conceal(" ".join(str(error).split()))
            )
        untrusted = _UNTRUSTED.search(str(error))
        if untrusted:
            return self._error(
                path,
                "this host does not trust the certificate of %s (%s); if it is signed by an authority of your own, install that in this host's "
                "certificates (Debian, Ubuntu: /usr/local/share/ca-certificates and update-ca-certificates)"
                % (self.device.endpoint, untrusted.group(1)),
            )
        return self._error(
            path,
            "%s cannot be asked from this host, or does not answer to the end (%s); see to the network, or correct %s"
            % (self.device.endpoint, type(error).__name__, self.device.named.endpoint),
        )

    def _error(self, path: str, why: str) -> StoreOfObjects:
        return StoreOfObjects("file %s: %s" % (path, why))


def _client(device: Device, elsewhere: Mapping[str, str]) -> tuple[Any, Any, Any]:
    """A client of botocore, what it raises if the store says no, and what if there is no answer."""
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.session import Session
        from urllib3.exceptions import HTTPError
    except ImportError:
        raise StoreOfObjects(
            "files are in an object store (_APP_STORAGE_DEVICE is %s), and the Python of this host lacks boto3, which reads them; install python3-boto3 "
            "(Debian, Ubuntu) or boto3 (pip)" % device.kind
        ) from None
    options = {
        "connect_timeout": _CONNECT,
        "read_timeout": _ANSWER,
        "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
        "signature_version": "s3v4",
        "s3": {"addressing_style": "path"},
        # newer ones send what not every store understands, unless it is required
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    known = {name: value for name, value in options.items() if name in Config.OPTION_DEFAULTS}
    failed = (BotoCoreError, HTTPError, OSError)
    try:
        client = Session(session_vars=_NOTHING_ELSE).create_client(
            "s3",
            region_name=device.region,
            endpoint_url=device.endpoint,
            aws_access_key_id=device.access_key,
            aws_secret_access_key=device.secret,
            config=Config(**known),
            verify=_authorities(),
        )
    except (BotoCoreError, ValueError):
        raise StoreOfObjects(
            "%s, %s: botocore takes %s and %s for no endpoint and region; correct them"
            % (device.named.endpoint, device.named.region, device.endpoint, device.region)
        ) from None

    def connect(request: Any, **_more: Any) -> None:
        """After it was signed, for the name that it was made for."""
        name = urlsplit(request.url).netloc
        if name in elsewhere:
            request.headers["Host"] = name
            request.url = request.url.replace("//" + name, "//" + elsewhere[name], 1)

    client.meta.events.register("before-send.s3", connect)
    return client, ClientError, failed


def _authorities() -> str | None:
    """The file with those that this host trusts. The botocore that pip installs has some of its own, and none that were added here."""
    asked = os.environ.get("AWS_CA_BUNDLE"), ssl.get_default_verify_paths().cafile, _BUNDLE
    return next((path for path in asked if path and os.path.isfile(path)), None)


class Objects(SealedFiles):
    """C(model.StoredFiles) of a bucket. local: the directory of the local volume, if there is one, that Appwrite does not look into."""

    def __init__(self, bucket: Bucket, local: str | None = None) -> None:
        self.bucket = bucket
        self._local = local

    def each(self, work: Callable[[Any], Any], those: Sequence[Any]) -> Iterable[Any]:
        return self.bucket.each(work, those)

    def doubt(self, row: Row) -> str:
        """Whether it may be written there is found out by writing, before anything else is changed."""
        return ""

    def _read(self, path: str) -> tuple[bytes, dict[str, Any]]:
        try:
            text, answer = self.bucket.read(path, LARGEST)
        except Unusable as problem:
            if str(problem) == MISSING and self._is_local(path):
                raise Unusable(
                    "it is missing in the bucket, and is on the local volume, which Appwrite does not read while the device is %s; copy it into the bucket"
                    % self.bucket.device.kind
                ) from None
            raise
        return text, {**answer, "path": path}

    def _is_local(self, path: str) -> bool:
        _root, found, inner = path.partition("storage/uploads/")
        return bool(found and self._local) and os.path.isfile(os.path.join(str(self._local), inner))
