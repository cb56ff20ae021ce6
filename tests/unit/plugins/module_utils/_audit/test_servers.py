# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a database outside the project is, who opens it, and what it answers: on recorded words of docker and of the kernel, and on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import servers as _servers
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    LOCAL,
    PRIVATE,
    PUBLIC,
    Server,
    Unseen,
)

DB, PORT = "db.notarealcompany.internal", "3306"


def container(name: str, network: str = "appwrite", address: str = "172.31.0.9", **more: Any) -> dict[str, Any]:
    """As C(docker inspect) of Engine 20.10 and 28 has it."""
    bound = {"3306/tcp": [{"HostIp": host, "HostPort": port} for host, port in more.pop("published", ())]}
    known = {network: {"IPAddress": address, "GlobalIPv6Address": "", "Aliases": None, **more}}
    return {"Name": f"/{name}", "NetworkSettings": {"Networks": known, "Ports": bound}}


def instance(*containers: dict[str, Any], host: str = DB, kind: str = "MariaDB", port: str = PORT, **way: Any) -> Any:
    def docker(arguments: list[str], tolerate: bool = False) -> Any:
        answer = json.dumps(containers) if arguments[0] == "inspect" else "\n".join("0" * 64 for _each in containers)
        return SimpleNamespace(stdout=answer)

    given = {"network_mode": None, "extra_hosts": None, "dns": None, **way}
    modes = given.pop("modes", ())
    return SimpleNamespace(
        outside=lambda: [(kind, host, port)],
        compose=SimpleNamespace(docker=docker),
        way=lambda: given,
        networks=lambda: ["appwrite"],
        services={str(number): {"PGSSLMODE": mode} for number, mode in enumerate(modes)},
        appwrite_services=lambda: [str(number) for number, _mode in enumerate(modes)],
    )


def found(*containers: dict[str, Any], **options: Any) -> Server:
    [server] = _servers.servers(instance(*containers, **options))
    return server


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What names lead to, which addresses are this machine's, where it listens, and how what is elsewhere answers."""
    known = SimpleNamespace(names={}, own={"10.0.0.2"}, listening=[], answer=None, asked=[])

    def resolve(host: str, _port: int, _timeout: float) -> list[Any]:
        if host not in known.names:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known.names[host]]

    def asked(*where: Any) -> Any:
        known.asked.append(where)
        return known.answer

    monkeypatch.setattr(_servers, "resolved", resolve)
    monkeypatch.setattr(_servers, "_is_own", lambda address: str(address) in known.own)
    monkeypatch.setattr(_servers, "_listening", lambda port: known.listening)
    monkeypatch.setattr(_servers, "_asked", asked)
    return known


def test_there_is_none():
    project = instance()
    project.outside = list
    assert _servers.servers(project) == ()


@pytest.mark.parametrize(
    ("addresses", "reach", "words"),
    [
        (["10.0.0.5"], PRIVATE, "10.0.0.5, a private address"),
        (["100.64.3.4"], PRIVATE, "100.64.3.4, a private address"),
        (["fd00::5"], PRIVATE, "fd00::5, a private address"),
        (["8.8.4.4"], PUBLIC, "8.8.4.4, a public address"),
        (["10.0.0.5", "8.8.4.4"], PUBLIC, "8.8.4.4, a public address"),
        (["::ffff:8.8.4.4"], PUBLIC, "::ffff:8.8.4.4, a public address"),
        (["2a00:1450::7"], PUBLIC, "2a00:1450::7, a public address"),
    ],
)
def test_elsewhere(world, addresses, reach, words):
    world.names[DB], world.answer = addresses, (True,)
    assert found() == Server("MariaDB", f"{DB}:3306", reach, words, (), True, True)
    assert world.asked == [(words.partition(",")[0], 3306, "MariaDB")]


@pytest.mark.parametrize(
    ("answer", "known"), [(None, (False, None)), ((None,), (True, None)), ((False,), (True, False))]
)
def test_answers(world, answer, known):
    world.names[DB], world.answer = ["10.0.0.5"], answer
    server = found()
    assert (server.answers, server.tls) == known


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        ((), "prefer"),
        (("", "verify-full"), "prefer"),
        (("verify-full", "require"), "require"),
        (("disable", "require"), "disable"),
        (("no such",), "prefer"),
    ],
)
def test_what_appwrite_asks_of_postgresql(world, modes, mode):
    world.names[DB] = ["10.0.0.5"]
    assert found(kind="PostgreSQL", modes=modes).mode == mode


def test_a_literal_address(world):
    assert found(host="10.0.0.5").reach == PRIVATE
    assert found(host="8.8.4.4").reach == PUBLIC


@pytest.mark.parametrize("entry", [f"{DB}=8.8.4.4", f"{DB}:8.8.4.4"])
def test_a_name_that_the_project_gives_an_address(world, entry):
    """As compose 2.26 and earlier ones print it."""
    assert found(extra_hosts=["other=1.1.1.1", entry]).found == "8.8.4.4, a public address"


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "finds no address"), ({"dns": ["10.0.0.53"]}, "looked up at servers of Appwrite's own")],
    ids=["nowhere", "at its own servers"],
)
def test_a_name_that_only_containers_know(world, options, reason):
    server = found(**options)
    assert isinstance(server.reach, Unseen) and f"{DB} is " in server.reach.reason and reason in server.reach.reason


@pytest.mark.parametrize(
    ("host", "port"), [("a b", PORT), ("x\ny", PORT), ("u:NotARealWord1@h", PORT), (DB, "0"), (DB, "70000"), (DB, "")]
)
def test_what_is_no_host_or_port_is_not_quoted(world, host, port):
    server = found(host=host, port=port)
    assert isinstance(server.reach, Unseen) and not world.asked
    assert "NotAReal" not in f"{server}" and server.place.isprintable() and server.reach.reason.isprintable()


def test_a_socket(world):
    assert found(host="/run/mysqld/mysqld.sock") == Server(
        "MariaDB", "/run/mysqld/mysqld.sock", LOCAL, "a socket of this machine"
    )


# --- on this machine ---


@pytest.mark.parametrize(
    ("network", "names", "where"),
    [
        ("appwrite", {"Aliases": [DB, "db"]}, LOCAL),
        ("appwrite", {"DNSNames": [DB]}, LOCAL),
        ("other", {"Aliases": [DB]}, Unseen),
    ],
    ids=["an alias", "a name", "of another network"],
)
def test_a_container_by_its_name(world, network, names, where):
    server = found(container("db-1", network, **names))
    if where is LOCAL:
        assert (server.reach, server.found, server.opened) == (LOCAL, "the container db-1 of this machine", ())
    else:
        assert isinstance(server.reach, Unseen)


def test_a_container_by_its_address(world):
    world.names[DB] = ["172.31.0.9"]
    assert found(container("db-1")).found == "the container db-1 of this machine"


EVERY = "every address of this machine"


@pytest.mark.parametrize(
    ("published", "opened"),
    [
        ([("0.0.0.0", "3307"), ("::", "3307")], (f"on port 3307 of {EVERY}",)),
        ([("", "3306")], (f"on port 3306 of {EVERY}",)),
        ([("127.0.0.1", "3306"), ("::1", "3306")], ()),
        ([("10.0.0.2", "3306"), ("172.17.0.1", "3306")], ()),
        ([("8.8.4.4", "3306")], ("on port 3306 of 8.8.4.4",)),
    ],
)
def test_a_container_that_publishes_it(world, published, opened):
    server = found(container("db-1", Aliases=[DB], published=published))
    assert server.opened == tuple(f"the container db-1 publishes it {words}" for words in opened)


def test_published_and_reached_by_an_address_of_the_machine(world):
    world.names[DB] = ["10.0.0.2"]
    other = container("db-1", "other", published=[("0.0.0.0", "3310")])
    server = found(other, port="3310")
    assert (server.reach, server.found) == (LOCAL, "this machine")
    assert server.opened == (f"the container db-1 publishes it on port 3310 of {EVERY}",)


@pytest.mark.parametrize(
    ("host", "way", "words", "opened"),
    [
        ("10.0.0.2", {}, "this machine", 1),
        ("host.docker.internal", {"extra_hosts": ["host.docker.internal=host-gateway"]}, "this machine", 1),
        ("127.0.0.1", {}, "Appwrite's own container", 0),
        ("localhost", {}, "Appwrite's own container", 0),
        ("127.0.0.1", {"network_mode": "host"}, "this machine", 1),
        (DB, {}, "this machine", 1),
        ("0.0.0.0", {}, "this machine", 1),
    ],
)
def test_a_server_of_the_machine_itself(world, host, way, words, opened):
    """A name of its own is at 127.0.1.1 by /etc/hosts of Debian, which no container reads."""
    world.listening = ["0.0.0.0"]
    world.names.update({DB: ["127.0.1.1"], "localhost": ["::1", "127.0.0.1"]})
    server = found(host=host, **way)
    assert (server.reach, server.found) == (LOCAL, words)
    assert server.opened == (f"it listens on port 3306 of {EVERY}",) * opened
    assert not world.asked


TABLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


@pytest.mark.parametrize(
    ("four", "six", "listening"),
    [
        (["00000000:0CEA 00000000:0000 0A"], [], ["0.0.0.0"]),
        (["0100007F:0CEA 00000000:0000 0A", "0200000A:0CEA 00000000:0000 0A"], [], []),
        (["00000000:0CEB 00000000:0000 0A", "00000000:0CEA 0100007F:1234 01"], [], []),
        (["04040808:0CEA 00000000:0000 0A"], [], ["8.8.4.4"]),
        ([], [f"{'0' * 32}:0CEA {'0' * 32}:0000 0A"], ["::"]),
        ([], [f"{'0' * 24}01000000:0CEA {'0' * 32}:0000 0A"], []),
        ([], [f"0000000000000000FFFF000004040808:0CEA {'0' * 32}:0000 0A"], ["8.8.4.4"]),
        (["00000000:0CEA 00000000:0000 0A"], [f"{'0' * 32}:0CEA {'0' * 32}:0000 0A"], ["0.0.0.0"]),
    ],
)
def test_where_the_machine_listens(monkeypatch, tmp_path, four, six, listening):
    """As a kernel on x86 writes it."""
    for name, rows in (("tcp", four), ("tcp6", six)):
        (tmp_path / name).write_text(TABLE + "".join(f"   0: {row} 00000000:00000000\n" for row in rows))
    monkeypatch.setattr(_servers, "_TABLES", (str(tmp_path / "tcp"), str(tmp_path / "tcp6"), str(tmp_path / "gone")))
    assert _servers._listening(3306) == listening


def test_the_real_kernel():
    with socket.create_server(("0.0.0.0", 0)) as every, socket.create_server(("127.0.0.1", 0)) as mine:
        assert _servers._listening(every.getsockname()[1]) == ["0.0.0.0"]
        assert _servers._listening(mine.getsockname()[1]) == []
    for text, is_own in (("127.0.0.1", True), ("192.0.2.1", False), ("2001:db8::1", False)):
        assert _servers._is_own(_servers.ipaddress.ip_address(text)) is is_own
    assert _servers._reach("::ffff:127.0.0.1") == LOCAL


def test_a_machine_that_listens_on_addresses_of_others(monkeypatch):
    """As keepalived has it by net.ipv4.ip_nonlocal_bind, which each socket can have for itself."""

    class Anywhere(socket.socket):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND

    with Anywhere(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("192.0.2.1", 0))
    monkeypatch.setattr(socket, "socket", Anywhere)
    assert _servers._reach("192.0.2.1") == PRIVATE and _servers._reach("8.8.4.4") == PUBLIC


@pytest.mark.parametrize("name", ["db..internal", "x" * 64])
def test_what_cannot_be_a_name(name):
    with pytest.raises(socket.gaierror, match="this is no name"):
        _servers.resolved(name, 0, 10.0)


# --- what it answers ---


@contextlib.contextmanager
def saying(first: bytes, then: bytes = b"") -> Iterator[int]:
    """Serves that on a port of loopback: at once, and after the first that it is told; then closes."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(first)
            if then:
                self.request.recv(4096)
                self.request.sendall(then)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def greeting(flags: int, version: bytes = b"5.5.5-10.11.14-MariaDB") -> bytes:
    """The first packet of protocol 10."""
    packet = (
        b"\x0a" + version + b"\0" + b"\1\0\0\0" + b"12345678" + b"\0" + flags.to_bytes(2, "little") + b"\x2d" + b"\2\0"
    )
    return len(packet).to_bytes(3, "little") + b"\0" + packet


@pytest.mark.parametrize(
    ("kind", "first", "then", "tls"),
    [
        ("MariaDB", greeting(0xFFFE), b"", True),
        ("MariaDB", greeting(0xF7FE), b"", False),
        ("MariaDB", b"\x17\0\0\1\xff\x10\x04Too many connections", b"", None),
        ("MariaDB", b"HTTP/1.1 400", b"", None),
        ("MariaDB", b"\x0a", b"", None),
        ("PostgreSQL", b"", b"S", True),
        ("PostgreSQL", b"", b"N", False),
        ("PostgreSQL", b"", b"E", None),
        ("Redis", b"", b"+PONG\r\n", False),
        ("Redis", b"", b"-NOAUTH Authentication required.\r\n", False),
        ("Redis", b"", b"\x15\x03\x03\0\2\2\x28", True),
        ("Redis", b"", b"?", False),
        ("MongoDB", b"", b"\x15\x03\x03\0\2\2\x28", True),
        ("MongoDB", b"", b"no TLS at all", None),
    ],
)
def test_whether_it_speaks_tls(kind, first, then, tls):
    with saying(first, then) as port:
        assert _servers._asked("127.0.0.1", port, kind) == (tls,)


def test_one_that_closes():
    """As MongoDB does if it has no TLS and hears a handshake."""
    for kind, tls in (("MariaDB", None), ("PostgreSQL", None), ("Redis", False), ("MongoDB", False)):
        with saying(b"") as port:
            assert _servers._asked("127.0.0.1", port, kind) == (tls,)


def test_one_that_is_silent(monkeypatch):
    monkeypatch.setattr(_servers, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        for kind in ("MariaDB", "PostgreSQL", "Redis", "MongoDB"):
            assert _servers._asked("127.0.0.1", server.getsockname()[1], kind) == (None,)


def test_one_that_drips(monkeypatch):
    """A greeting that begins, and comes byte by byte without an end."""
    monkeypatch.setattr(_servers, "_TIMEOUT", 0.2)
    stopped = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"\xff\xff\xff\0\x0a")
            with contextlib.suppress(OSError):
                while not stopped.wait(0.05):
                    self.request.sendall(b"x")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            assert _servers._asked("127.0.0.1", server.server_address[1], "MariaDB") == (None,)
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


def test_one_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert _servers._asked("127.0.0.1", port, "MariaDB") is None
