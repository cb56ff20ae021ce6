# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint as Appwrite's is, HTTP and HTTPS on loopback, that is as good or as bad as a test wants it.

Several rooms' tests rest on it: what is here keeps its name and meaning.
"""

from __future__ import annotations

import datetime
import ipaddress
import socketserver
import ssl
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ADDRESS = "127.0.0.1"
HOST = "appwrite.test"
"""What the certificate is for. Nothing resolves it: connect to ADDRESS."""
HSTS = "max-age=10886400"
VERSION = b'{"version":"1.9.6"}'
"""The body of every answer that is no redirect."""
_SILENCE = 10
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Served:
    """Where the endpoint is, and what it presents."""

    http_port: int
    https_port: int
    ca_file: Path
    """the authority that signed the certificate, unless it is self-signed; no trust store of this machine knows it"""
    not_after: datetime.datetime
    host: str = HOST
    address: str = ADDRESS


@contextmanager
def serve(
    certificate: str = "good",
    protocols: str = "modern",
    redirect: str = "https",
    hsts: str | None = HSTS,
    console: bool = False,
    loops: Callable[[], bool] | None = None,
    https_port: int = 0,
) -> Iterator[Served]:
    """Serves until the block ends.

    certificate: V(good) for 90 more days, V(expired) 30 days ago, V(self_signed), or V(wrong_name), for another host.
    protocols: V(modern) is TLS 1.2 and 1.3, V(old) is TLS 1.0 and 1.1 besides, V(oldest) is TLS 1.0 and 1.1 alone.
    redirect: where a request over HTTP is sent: to V(https), where any path is answered, V(none) answers it there and then, V(loop) sends
    one over HTTPS back to where it is, too, as behind a proxy that speaks HTTP to Appwrite.
    hsts: the header of answers over HTTPS, C(None) for none.
    console: whether /console/ is answered over HTTP whatever C(redirect) says.
    loops: asked at each request over HTTPS whether it is sent back to where it is.
    https_port: where it listens for HTTPS, by default on a free port.
    """
    with tempfile.TemporaryDirectory(prefix="tls-server-") as directory:
        root = Path(directory)
        not_after = certify(root, certificate)
        context = _context(root, protocols)
        with _listen(context, loops or (lambda: redirect == "loop"), hsts, listens=https_port) as https, _listen(
            None, lambda: redirect != "none", None, https.server_port, "/console/" if console else ""
        ) as http:
            yield Served(http.server_port, https.server_port, root / "ca.pem", not_after)


@contextmanager
def drip(said: bytes, secure: bool = False) -> Iterator[int]:
    """Serves this on a port of loopback, byte by byte and never to an end: the last byte comes again and again, until the block ends."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), context.wrap_socket(
                self.request, server_side=True
            ) if context else self.request as connection:
                for byte in chain(said, repeat(said[-1])):
                    connection.sendall(bytes([byte]))
                    if over.wait(0.02):
                        return

    with tempfile.TemporaryDirectory(prefix="tls-server-") as directory:
        if secure:
            certify(Path(directory), "good")
        context = _context(Path(directory), "modern") if secure else None
        with socketserver.ThreadingTCPServer((ADDRESS, 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield server.server_address[1]
            finally:
                over.set()
                server.shutdown()
                thread.join()


def certify(root: Path, kind: str) -> datetime.datetime:
    """Writes an authority's certificate, and the server's with its key. Returns the end of the server's."""
    today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    end = today - 30 * _DAY if kind == "expired" else today + 90 * _DAY
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, names = "Tests' own authority", ["elsewhere.test"] if kind == "wrong_name" else [HOST, f"functions.{HOST}"]
    signer = (names[0], key) if kind == "self_signed" else (issuer, authority)
    ca = _certificate(issuer, authority, (issuer, authority), today - 1000 * _DAY, today + 1000 * _DAY, [])
    own = _certificate(names[0], key, signer, end - 120 * _DAY, end, names)
    (root / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    chain = [own] if kind == "self_signed" else [own, ca]
    (root / "certificate.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    (root / "key.pem").touch(mode=0o600)
    (root / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return end


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    signer: tuple[str, ec.EllipticCurvePrivateKey],
    start: datetime.datetime,
    end: datetime.datetime,
    names: list[str],
) -> x509.Certificate:
    authority = not names
    usage = {
        name: False
        for name in (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        )
    }
    builder = (
        x509.CertificateBuilder(
            _name(signer[0]), _name(subject), key.public_key(), x509.random_serial_number(), start, end
        )
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=authority, crl_sign=authority, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer[1].public_key()), critical=False)
    )
    if names:
        addresses = [x509.IPAddress(ipaddress.ip_address(ADDRESS))] if HOST in names else []
        builder = builder.add_extension(
            x509.SubjectAlternativeName([*map(x509.DNSName, names), *addresses]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(signer[1], hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _context(root: Path, protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "certificate.pem", root / "key.pem")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if protocols != "modern":
            context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")  # OpenSSL 3 speaks TLS 1.0 and 1.1 at level 0 alone
            context.minimum_version = ssl.TLSVersion.TLSv1
        if protocols == "oldest":
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@contextmanager
def _listen(
    context: ssl.SSLContext | None,
    redirects: Callable[[], bool],
    hsts: str | None,
    port: int | None = None,
    apart: str = "",
    listens: int = 0,
) -> Iterator[ThreadingHTTPServer]:
    """Serves on a port, or on a free one. C(port) is where redirects lead, its own by default; C(apart) is a path without one."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _SILENCE

        def do_GET(self) -> None:
            leads = redirects() and self.path != apart
            self.send_response(301 if leads else 200)
            if leads:
                self.send_header(
                    "Location",
                    f"https://{self.headers.get('Host', HOST).partition(':')[0]}:{port or server.server_port}{self.path}",
                )
            if hsts:
                self.send_header("Strict-Transport-Security", hsts)
            body = b"" if leads else VERSION
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_words: object) -> None:
            """The tests' output is not its place."""

    class Server(ThreadingHTTPServer):
        def finish_request(
            self, request, client_address
        ) -> None:  # the handshake is here, in a thread of its own: it may take as long as a client likes
            request.settimeout(_SILENCE)
            if context is None:
                return super().finish_request(request, client_address)
            with context.wrap_socket(request, server_side=True) as secure:
                return super().finish_request(secure, client_address)

        def handle_error(self, *_words: object) -> None:
            """Scanners hang up at any time."""

    with Server((ADDRESS, listens), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
