# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers under a host name: over HTTP and HTTPS, the certificate, and which versions of TLS are spoken.

Appwrite 1.9.6 redirects GET to HTTPS, and answers HEAD with an error.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Answer,
    Certificate,
    Endpoint,
    Seen,
    Unseen,
)

_TIMEOUT = 2.5
"""Seconds for one step: a connection, a handshake, the next piece of an answer."""
_LIMIT = 10.0
"""Seconds for all steps, with the look-up of the name."""
_LARGEST_HEAD = 65536
_HEAD_ENDS = re.compile(rb"\r?\n\r?\n")
PATH = "/v1/health/version"
"""Answers without a key, and carries the headers of every API answer (appwrite 1.4.14 to 1.9.6, app/controllers/api/health.php)."""
_APART = {
    "/": "",
    "/console/": "",
    "/v1/realtime": "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: %s\r\n" % base64.b64encode(bytes(16)).decode("ascii"),
}
"""Path to further lines of the request. The console is at V(/console/) up to 1.9.6 and at V(/) from 2.0.0 on, in a container of its own;
realtime is another (labels of Traefik in C(docker-compose.yml))."""
_VERSIONS = {"TLSv1": 0x301, "TLSv1.1": 0x302, "TLSv1.2": 0x303, "TLSv1.3": 0x304}
_NOT_HERE = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "UNSUPPORTED_SSL_VERSION")
"""What OpenSSL says when it is this host that cannot try a version."""
_COMMON_NAME, _ORGANIZATION, _ALTERNATIVE_NAMES = "2.5.4.3", "2.5.4.10", "2.5.29.17"


class _Endless(socket.timeout):
    """Something comes, but never all of it."""


class _Said(io.BytesIO):
    """What was said, for C(http.client), which reads from a socket."""

    def makefile(self, _mode: str) -> _Said:
        return self


def probe(host: str, address: str, http_port: int, https_port: int) -> Endpoint:
    """C(host) is the name that is asked for, C(address) where the connections go."""
    with ThreadPoolExecutor(10) as pool:
        plain = pool.submit(_plain, host, address, http_port, PATH)
        apart = {path: pool.submit(_plain, host, address, http_port, path, more) for path, more in _APART.items()}
        secure = pool.submit(get, host, address, https_port, PATH, True)
        certificate = pool.submit(_certificate, host, address, https_port)
        versions = {name: pool.submit(_speaks, host, address, https_port, number) for name, number in _VERSIONS.items()}
        spoken = {name: future.result() for name, future in versions.items()}
        presented, answer = certificate.result(), secure.result()
        return Endpoint(
            host,
            "%s:%d" % (address, https_port),
            plain.result(),
            {path: future.result() for path, future in apart.items()},
            answer,
            loops(host, answer),
            presented,
            presented if isinstance(presented, Unseen) else spoken,
        )


def resolved(address: str, port: int, timeout: float) -> list[Any]:
    """As C(getaddrinfo), which knows no time limit: if it is not back in time, the thread that waits for it is left behind.

    C(timeout) is in seconds. Raises socket.gaierror.
    """
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(address, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.append(error)
        except UnicodeError:  # a part of it is empty, or longer than 63 characters
            answers.append(socket.gaierror(socket.EAI_NONAME, "this is no name"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if not answers:
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not resolved within %d seconds" % timeout)
    if isinstance(answers[0], OSError):
        raise answers[0]
    found: list[Any] = answers[0]
    return found


def _plain(host: str, address: str, port: int, path: str, header: str = "") -> Seen[Answer | None]:
    try:
        return get(host, address, port, path, False, header)
    except ConnectionRefusedError:
        return None


def get(host: str, address: str, port: int, path: str, secure: bool, header: str = "") -> Seen[Answer]:
    """C(header) are further lines of the request, each with its end. Raises ConnectionRefusedError over HTTP alone."""
    end = _end()
    try:
        with _connected(host, address, port, end) if secure else _reached(address, port, end) as connection:
            connection.sendall(
                (
                    "GET %s HTTP/1.1\r\nHost: %s\r\n%sAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
                    % (path, host, header)
                ).encode("ascii")
            )
            answer = http.client.HTTPResponse(_Said(_head(connection, end)))
            answer.begin()
            return Answer(answer.status, answer.getheader("Location"), answer.getheader("Strict-Transport-Security"))
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
    ) as error:  # a name that cannot be asked for by TLS is a ValueError
        if not secure and isinstance(error, ConnectionRefusedError):
            raise
        return Unseen("%s over %s: %s" % (_where(address, port), "HTTPS" if secure else "HTTP", _words(error)))


def _head(connection: socket.socket, end: float) -> bytes:
    """What is said before the body."""
    said = b""
    while not _HEAD_ENDS.search(said):
        if len(said) >= _LARGEST_HEAD:
            raise http.client.LineTooLong("header")
        _limit(connection, end)
        try:
            piece = connection.recv(_LARGEST_HEAD - len(said))
        except socket.timeout:
            _limit(connection, end)
            raise
        if not piece:
            break
        said += piece
    return said


def _end() -> float:
    return time.monotonic() + _LIMIT


def _limit(connection: socket.socket, end: float) -> None:
    """For the next step. A limit of each step alone would let a server go on for ever, byte by byte."""
    left = end - time.monotonic()
    if left <= 0:
        raise _Endless()
    connection.settimeout(min(_TIMEOUT, left))


def _reached(address: str, port: int, end: float) -> socket.socket:
    failure: OSError = _Endless()
    for family, kind, protocol, _name, place in resolved(address, port, end - time.monotonic()):
        connection = socket.socket(family, kind, protocol)
        try:
            _limit(connection, end)
            connection.connect(place)
            return connection
        except OSError as error:
            connection.close()
            failure = error
            if isinstance(error, _Endless):
                break
    raise failure


def _connected(host: str, address: str, port: int, end: float, version: int | None = None) -> ssl.SSLSocket:
    """Whatever the certificate and the version: those are judged apart."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion(version or _VERSIONS["TLSv1"])
        if version is not None:
            context.maximum_version = context.minimum_version
    return _wrapped(context, host, address, port, end)


def _wrapped(context: ssl.SSLContext, host: str, address: str, port: int, end: float) -> ssl.SSLSocket:
    """A handshake is one step for C(ssl), whatever number of reads it takes."""
    connection = _reached(address, port, end)
    try:
        _limit(connection, end)
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _speaks(host: str, address: str, port: int, version: int) -> bool | None:
    try:
        _connected(host, address, port, _end(), version).close()
        return True
    except ssl.SSLError as error:
        return None if error.reason in _NOT_HERE else False
    except (socket.timeout, ValueError):
        return None
    except OSError:
        return False


def _certificate(host: str, address: str, port: int) -> Seen[Certificate]:
    end = _end()
    try:
        with _connected(host, address, port, end) as connection:
            presented = connection.getpeercert(True)
        chain_error = _chain_error(host, address, port, end)
    except OSError as error:
        return Unseen("%s over TLS: %s" % (_where(address, port), _words(error)))
    try:
        issuer, names, not_before, not_after = _decoded(presented or b"")
    except (ValueError, IndexError, StopIteration):
        return Unseen("the certificate that %s presents cannot be read" % _where(address, port))
    return Certificate(issuer, names, not_before, not_after, chain_error, any(_matches(name, host) for name in names))


def _chain_error(host: str, address: str, port: int, end: float) -> str | None:
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        _wrapped(context, host, address, port, end).close()
    except ssl.SSLCertVerificationError as error:
        return str(error.verify_message)
    except ssl.SSLError as error:
        return "a client of today cannot connect: %s" % _words(error)
    return None


def loops(host: str, answer: Seen[Answer]) -> Seen[bool]:
    """A redirect from HTTPS to the same place, over whichever scheme, never ends, since HTTP leads to HTTPS."""
    if isinstance(answer, Unseen):
        return answer
    if answer.location is None or not 300 <= answer.status < 400:
        return False
    try:
        target = urlsplit(urljoin("https://%s%s" % (host, PATH), answer.location))
    except ValueError:
        return False
    return (target.hostname or "").lower() == host.lower() and target.path == PATH


def _matches(name: str, host: str) -> bool:
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    return name == host or name.startswith("*.") and name[2:] == host.partition(".")[2]


def _where(address: str, port: int) -> str:
    return "%s port %d" % (address, port)


def _words(error: Exception) -> str:
    if isinstance(error, _Endless):
        return "no complete answer within %g seconds" % _LIMIT
    if isinstance(error, socket.timeout):
        return "no answer within %g seconds" % _TIMEOUT
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return "no TLS (%s)" % (error.reason or "the connection was closed")
    if isinstance(error, OSError) and not isinstance(error, http.client.HTTPException):
        return (error.strerror or type(error).__name__).lower()
    return "no HTTP answer (%s)" % type(error).__name__


def _decoded(der: bytes) -> tuple[str, tuple[str, ...], datetime, datetime]:
    """Issuer, host names and validity of an X.509 certificate (RFC 5280); C(ssl) decodes only those that it trusts."""
    _certificate_tag, certificate = next(_elements(der))
    _tbs_tag, tbs = next(_elements(certificate))
    fields = list(_elements(tbs))
    if fields[0][0] == 0xA0:  # the version, left out in version 1
        del fields[0]
    issuer, validity = fields[2][1], fields[3][1]
    begin, end = (_moment(tag, text) for tag, text in _elements(validity))
    extensions = [inner for tag, inner in fields[6:] if tag == 0xA3]
    names = _names(extensions[0]) if extensions else []
    return _name(issuer), tuple(names), begin, end


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of a DER sequence."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        if position + length > len(data):
            raise ValueError("truncated")
        yield tag, data[position : position + length]
        position += length


def _moment(tag: int, text: bytes) -> datetime:
    digits = text.decode("ascii").rstrip("Z")
    if tag == 0x17:  # UTCTime has two digits of the year, from 1950 on
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)


def _identifier(data: bytes) -> str:
    numbers: list[int] = [0]
    for byte in data:
        numbers[-1] = numbers[-1] << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(0)
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first] + numbers[1:-1]))


def _name(data: bytes) -> str:
    """The common name, or the organization if there is none."""
    found: Mapping[str, str] = {
        _identifier(parts[0][1]): parts[1][1].decode("utf-8", "replace")
        for _set, inner in _elements(data)
        for _sequence, pair in _elements(inner)
        for parts in [list(_elements(pair))]
    }
    return found.get(_COMMON_NAME) or found.get(_ORGANIZATION) or ""


def _names(extensions: bytes) -> list[str]:
    for _sequence, extension in _elements(next(_elements(extensions))[1]):
        parts: list[Any] = list(_elements(extension))
        if _identifier(parts[0][1]) == _ALTERNATIVE_NAMES:
            general = list(_elements(next(_elements(parts[-1][1]))[1]))
            return [value.decode("ascii", "replace") for tag, value in general if tag == 0x82] + [
                str(ipaddress.ip_address(value)) for tag, value in general if tag == 0x87
            ]
    return []
