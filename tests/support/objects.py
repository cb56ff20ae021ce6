# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object store on this machine, a relay before it that misbehaves, and a store in memory whose files are in there."""

from __future__ import annotations

import copy
import datetime
import http.client
import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest
from botocore.session import Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.rotation import OLD, Place, sealed_file

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import Bucket
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.objects import ObjectSuccessors

NAME, ACCESS, SECRET = "notarealbucket", "NotARealAccessKey1", "NotARealSecretKey1"
USER = "NotARealUser01"
"""of the gateway, with the same secret, who may do nothing until the policy of a bucket says so"""
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


@contextmanager
def gateway(directory: Path, *options: str) -> Iterator[str]:
    """The URL of a server that people run, VersityGW, with the versions of its objects and its users below a new directory.

    options: of its own, such as C(--cert) and C(--key).
    """
    from testbed.project import free_port
    from testbed.tools import versitygw

    if not shutil.which("go"):
        pytest.skip("Go is not at hand: it builds the object store")  # in the list of tests/README.md

    program, port = versitygw(), free_port()
    for name in ("objects", "versions", "users"):
        (directory / name).mkdir(parents=True)
    account = {"access": USER, "secret": SECRET, "role": "user"}
    (directory / "users" / "users.json").write_text(json.dumps({"accessAccounts": {USER: account}}))
    command = [str(program), "--port", f"127.0.0.1:{port}", "--iam-dir", str(directory / "users"), *options]
    command += ["posix", "--versioning-dir", str(directory / "versions"), str(directory / "objects")]
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, env=keys) as process:
        try:
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, (directory / "log").read_text()
                time.sleep(0.05)
            yield f"{'https' if '--cert' in options else 'http'}://127.0.0.1:{port}"
        finally:
            process.terminate()


def certificate(path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "not a real store")])
    now = datetime.datetime.now(datetime.timezone.utc)
    span = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), *span)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *plain)
    )
    return path


class Relay(ThreadingHTTPServer):
    """Before a server. What is asked of it is in C(asked), method and path; C(fault) may answer in its place.

    certificate: makes it speak TLS, with a key in the same file.
    """

    daemon_threads = True

    def __init__(self, target: str, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.target = target.removeprefix("http://")
        self.asked: list[tuple[str, str]] = []
        self.bytes = 0
        self.lock = Lock()
        self.fault: Fault = lambda request: False
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return "%s://127.0.0.1:%d" % (self.scheme, self.server_port)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay
    body: bytes

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path))
        closes, self.close_connection = self.close_connection, True
        if self.server.fault(self):
            return
        self.close_connection = closes
        answer, content = self.passed(self.body)
        with self.server.lock:
            self.server.bytes += len(self.body) + len(content)
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


def lost(method: str, word: str = "", times: int = 1) -> Fault:
    """Has it done, and hangs up without the answer, that often, if C(word) is in the URL."""
    left = [times]

    def fault(request: Any) -> bool:
        if left[0] <= 0 or method != request.command or word not in request.path:
            return False
        left[0] -= 1
        request.passed(request.body)
        return True

    return fault


def telling(method: str, **headers: str | None) -> Fault:
    """Answers to that method with other headers, or without one. C(_) in a name stands for C(-)."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(request: Any) -> bool:
        if method != request.command:
            return False
        answer, content = request.passed(request.body)
        told = {name.lower(): value for name, value in answer.getheaders()} | names
        request.answer(
            answer.status, content, {name: value for name, value in told.items() if value is not None}, len(content)
        )
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

    def close(self) -> None:
        """Nothing of it is left in the server, which others use too."""
        found = self.raw.list_object_versions(Bucket=NAME)
        for each in (*found.get("Versions", []), *found.get("DeleteMarkers", [])):
            self.raw.delete_object(Bucket=NAME, Key=each["Key"], VersionId=each["VersionId"])
        self.raw.delete_bucket(Bucket=NAME)
        super().close()

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
