# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object store on this machine, a relay before it that misbehaves, and a store in memory whose files are in there."""

from __future__ import annotations

import copy
import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from botocore.session import Session
from support.rotation import OLD, Place, sealed_file

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import Bucket
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.objects import ObjectSuccessors

NAME, ACCESS, SECRET = "notarealbucket", "NotARealAccessKey1", "NotARealSecretKey1"
Fault = Callable[[BaseHTTPRequestHandler], bool]
"""told of each request before it is passed on; whether it has answered itself"""


def settings(endpoint: str, **more: str) -> dict[str, str]:
    """As the service C(appwrite) has them."""
    return {
        "_APP_STORAGE_DEVICE": "s3",
        "_APP_STORAGE_S3_ACCESS_KEY": ACCESS,
        "_APP_STORAGE_S3_SECRET": SECRET,
        "_APP_STORAGE_S3_REGION": "us-east-1",
        "_APP_STORAGE_S3_BUCKET": NAME,
        "_APP_STORAGE_S3_ENDPOINT": endpoint,
        **more,
    }


@contextmanager
def moto() -> Iterator[str]:
    """The URL of its server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://%s:%d" % server.get_host_and_port()
    finally:
        server.stop()


class Relay(ThreadingHTTPServer):
    """Before a server. What is asked of it is in C(asked), method and path; C(fault) may answer in its place."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target.removeprefix("http://")
        self.asked: list[tuple[str, str]] = []
        self.bytes = 0
        self.fault: Fault = lambda request: False
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.server_port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path))
        closes, self.close_connection = self.close_connection, True
        if self.server.fault(self):
            return
        self.close_connection = closes
        answer, content = self.passed(body)
        self.server.bytes += len(body) + len(content)
        self.answer(answer.status, content, dict(answer.getheaders()), len(content))

    def passed(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.server.target)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def answer(self, status: int, content: bytes, headers: dict[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(length)
        )
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def refusing(status: int, code: str, times: int = 1 << 30, method: str = "") -> Fault:
    """Answers with an error, that often, to that method or any."""
    left = [times]

    def fault(request: Any) -> bool:
        if left[0] <= 0 or method not in ("", request.command):
            return False
        left[0] -= 1
        words = "<Error><Code>%s</Code><Message>not with %s and %s</Message></Error>" % (code, ACCESS, SECRET)
        request.answer(status, words.encode(), {"Content-Type": "application/xml"}, len(words))
        return True

    return fault


def cutting(times: int = 1 << 30) -> Fault:
    """Closes the connection in the middle of an object, that often."""
    left = [times]

    def fault(request: Any) -> bool:
        if left[0] <= 0 or request.command != "GET":
            return False
        left[0] -= 1
        answer, content = request.passed(b"")
        request.answer(answer.status, content[: len(content) // 2], dict(answer.getheaders()), len(content))
        return True

    return fault


def silent(seconds: float, times: int = 1 << 30) -> Fault:
    """Says nothing for that long, and hangs up, that often."""
    left = [times]

    def fault(request: Any) -> bool:
        if left[0] <= 0:
            return False
        left[0] -= 1
        time.sleep(seconds)
        return True

    return fault


def key_of(row: dict[str, Any]) -> str:
    """Of its object."""
    path: str = row["path"]
    return path.removeprefix(f"{NAME}/").lstrip("/")


@lru_cache
def client(endpoint: str) -> Any:
    return Session().create_client(
        "s3", "us-east-1", endpoint_url=endpoint, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET
    )


@lru_cache
def _bucket(endpoint: str) -> Bucket:
    device = device_of(settings(endpoint))
    assert device is not None
    return Bucket(device, lambda text: text.replace(ACCESS, "*").replace(SECRET, "*"))


class ObjectPlace(Place):
    """The same as C(Place), with its files in a bucket, on a server at this endpoint; they are asked for at C(through), if that is given."""

    def __init__(self, directory: Path, endpoint: str, through: str = "", transactional: bool = True) -> None:
        self.bucket = copy.copy(_bucket(through or endpoint))
        self.raw = client(endpoint)
        self.raw.create_bucket(Bucket=NAME)
        super().__init__(directory, transactional)

    def file(self, name: str, plain: bytes, cipher: Cipher = OLD, **values: Any) -> dict[str, Any]:
        text, iv, tag = cipher.encrypt(plain)
        self.put(f"storage/uploads/app-1/{name}", text)
        return {**sealed_file(f"{NAME}/storage/uploads/app-1/{name}", tag, iv), **values}

    def put(self, key: str, text: bytes) -> None:
        self.raw.put_object(Bucket=NAME, Key=key, Body=text, ContentType="text/plain", Metadata={"mark": "ours"})

    def put_in_parts(self, key: str, text: bytes, sizes: Sequence[int]) -> None:
        named = {"Bucket": NAME, "Key": key}
        named["UploadId"] = self.raw.create_multipart_upload(
            **named, ContentType="text/plain", Metadata={"mark": "ours"}
        )["UploadId"]
        parts, start = [], 0
        for number, size in enumerate(sizes, 1):
            answer = self.raw.upload_part(PartNumber=number, Body=text[start : start + size], **named)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            start += size
        self.raw.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)

    def successors(self) -> ObjectSuccessors:
        return ObjectSuccessors(self.bucket, str(self.root), self._directory, "journal")

    @property
    def files(self) -> list[str]:
        found = self.raw.list_objects_v2(Bucket=NAME).get("Contents", [])
        return sorted(each["Key"].removeprefix("storage/uploads/") for each in found)

    def sealed(self, row: dict[str, Any]) -> bytes:
        found = self.raw.get_object(Bucket=NAME, Key=key_of(row))
        assert found["ContentType"] == "text/plain" and found["Metadata"] == {"mark": "ours"}
        content: bytes = found["Body"].read()
        return content
