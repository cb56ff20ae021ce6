# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that answer for ever, and names that are never resolved: the audit comes to its end, and says what it did not see."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from concurrent.futures import Future

import pytest
from integration.tls_server import ADDRESS, HOST, HSTS, drip, serve
from support.observations import secured

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import probe as _probe
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import servers as _servers
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import audit
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Answer, Endpoint, Unseen

NOBODY = 1
"""A port on which nothing listens."""
ENOUGH = 120
FINE = b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=5\r\n\r\n"
RECORD = bytes([22, 3, 3, 0x40, 0, 2, 0, 0x3F, 0xFC])
"""The beginning of a long message of a handshake."""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """No step of these servers takes long: it is all of them that never end."""
    monkeypatch.setattr(_probe, "_LIMIT", 2.0)


def probed(http_port: int, https_port: int, address: str = ADDRESS) -> Endpoint:
    """In a thread that the tests can do without if it never ends."""
    found: Future[Endpoint] = Future()
    threading.Thread(
        target=lambda: found.set_result(_probe.probe(HOST, address, http_port, https_port)), daemon=True
    ).start()
    return found.result(ENOUGH)


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nX-Long: x", FINE[:-2] + b"X: y\r\n" * 3 + b"Z"],
    ids=["status line", "header", "headers"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["HTTP", "HTTPS"])
def test_an_answer_that_never_ends(said, secure):
    with drip(said, secure) as port:
        endpoint = probed(*((NOBODY, port) if secure else (port, NOBODY)))
    unseen = endpoint.https if secure else endpoint.http
    assert isinstance(unseen, Unseen) and unseen.reason.endswith("no complete answer within 2 seconds")


def test_a_body_that_never_ends_is_not_read():
    with drip(FINE) as port:
        assert probed(port, NOBODY).http == Answer(200, None, "max-age=5")


@pytest.mark.parametrize("said", [RECORD + b"\0", b"\0", b"x"], ids=["message", "no TLS", "text"])
def test_a_handshake_that_never_ends(said):
    with drip(said) as port:
        endpoint = probed(NOBODY, port)
    assert endpoint.http is None
    assert all(isinstance(part, Unseen) for part in (endpoint.https, endpoint.certificate, endpoint.protocols))


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, b"x" * 100_000, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000],
    ids=["continued", "no HTTP", "headers"],
)
def test_an_answer_that_is_all_head(said):
    """As fast as it can be sent."""
    with socket.create_server((ADDRESS, 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    with connection:
                        connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        endpoint = probed(server.getsockname()[1], NOBODY)
    assert isinstance(endpoint.http, Unseen) and "no HTTP answer" in endpoint.http.reason


def test_forced_as_by_appwrite():
    """Appwrite 1.9.6 redirects GET alone, and drops the port; what its Traefik leads to other containers is not redirected at all."""

    class Forced(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upgrade = self.path == "/v1/realtime" and self.headers["Upgrade"] == "websocket"
            self.send_response(101 if upgrade else 200 if self.path.startswith("/console") else 301)
            self.send_header("Location", f"https://{self.headers['Host']}{self.path}")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.send_error(500, "general_protocol_unsupported")

        do_POST = do_HEAD

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.HTTPServer((ADDRESS, 0), Forced) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = probed(server.server_port, NOBODY)
        server.shutdown()
    assert endpoint.http == Answer(301, f"https://{HOST}/v1/health/version")
    assert {path: answer.status for path, answer in endpoint.apart.items()} == {
        "/": 301,
        "/console/": 200,
        "/v1/realtime": 101,
    }
    found = {finding.id: finding for finding in audit(secured(endpoint=endpoint))}
    assert found["https.http_redirects"].status == "pass"
    assert found["https.console_redirects"].evidence == (
        f"http://{HOST}/console/ answers 200; http://{HOST}/v1/realtime answers 101, though HTTPS is forced"
    )


def test_a_name_that_is_never_resolved(monkeypatch):
    """The resolver knows no limit of its own; its answer is waited for as long as for the rest."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_words, **_more: over.wait(10 * ENOUGH))
    try:
        endpoint = probed(NOBODY, NOBODY, "appwrite.test")
        assert isinstance(endpoint.http, Unseen) and "the name cannot be resolved" in endpoint.http.reason
        assert isinstance(endpoint.certificate, Unseen)
    finally:
        over.set()


def test_one_that_ends():
    with serve() as served:
        endpoint = probed(served.http_port, served.https_port)
    assert endpoint.https == Answer(200, None, HSTS)
    assert (
        isinstance(endpoint.http, Answer)
        and endpoint.http.location == f"https://{HOST}:{served.https_port}/v1/health/version"
    )


def test_a_database_that_speaks_tls_and_one_that_does_not():
    """MongoDB and Redis begin with the handshake itself, so that any server of TLS stands for one."""
    with serve("self_signed") as served:
        for kind in ("MongoDB", "Redis"):
            assert _servers._asked(ADDRESS, served.https_port, kind) == (True,)
        assert _servers._asked(ADDRESS, served.http_port, "MongoDB") in ((False,), (None,))
