# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database and a Redis that are no services of the project: where they are, who else reaches them as far as this machine knows, and whether they speak TLS.

Nothing signs in, and nothing is sent but what each protocol begins with.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import Any, Callable, Mapping, NamedTuple, Sequence, Union

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    LOCAL,
    POSTGRESQL,
    PRIVATE,
    PUBLIC,
    Seen,
    Server,
    Unseen,
    some,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.probe import resolved
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import addresses, ports
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance

_TIMEOUT, _LOOKING_UP = 3.0, 10.0
"""seconds for a connection, and for each answer; for the address of a name"""
_GREETING = 1024
"""bytes that are read at most"""
_HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
_GATEWAY = "host-gateway"
"""in C(extra_hosts): this machine, as containers reach it"""
_LISTENS = "0A"
"""the state of a socket in C(/proc/net/tcp)"""
_ANY = 9
"""a port to ask the kernel for the way to an address with, at which nothing arrives"""
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""of libpq, weakest first; without one it prefers"""
_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
_Probe = Callable[[socket.socket], Union[bool, None]]


class _Neighbour(NamedTuple):
    """A container of this engine."""

    name: str
    names: frozenset[str]
    """by which Appwrite's API reaches it, in a network that both have"""
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, int, int], ...]

    def opened(self, port: int, outer: bool) -> tuple[str, ...]:
        """What it publishes to others for this port: of the machine, if outer."""
        places = [
            "the container %s publishes it on port %d of %s" % (self.name, published, _at(address))
            for address, published, inner in self.ports
            if port == (published if outer else inner) and _is_open(ipaddress.ip_address(address))
        ]
        return tuple(dict.fromkeys(places))


def servers(instance: Instance) -> tuple[Server, ...]:
    """Raises AppwriteError if it cannot be told which these are."""
    found = instance.outside()
    neighbours = _neighbours(instance) if found else []
    return tuple(_server(instance, neighbours, *each) for each in found)


def _server(instance: Instance, neighbours: Sequence[_Neighbour], kind: str, host: str, port: str) -> Server:
    place = "%s:%s" % (host, port)
    if host.startswith("/"):
        return Server(kind, host, LOCAL, "a socket of this machine")
    if not _HOST.fullmatch(host) or not (port.isdigit() and 0 < int(port) < 65536):
        return Server(
            kind, "an address that is none", Unseen("the host or the port of %s is none that could be asked" % kind)
        )
    way = instance.way()
    shares_loopback = way["network_mode"] == "host"
    neighbour = next((each for each in neighbours if host in each.names), None)
    where = neighbour.addresses if neighbour else _resolved(host, way)
    if isinstance(where, Unseen):
        return Server(kind, place, where)
    neighbour = neighbour or next((each for each in neighbours if {*each.addresses} & {*where}), None)
    if neighbour:
        return Server(
            kind, place, LOCAL, "the container %s of this machine" % neighbour.name, neighbour.opened(int(port), False)
        )
    reaches = {text: _reach(text) for text in where}
    if set(reaches.values()) == {LOCAL}:
        alone = (
            not shares_loopback
            and host in ("localhost", *where)  # another name is looked up elsewhere by a container than in /etc/hosts
            and all(text != _GATEWAY and ipaddress.ip_address(text).is_loopback for text in where)
        )
        opened = () if alone else _opened(int(port), neighbours)
        return Server(kind, place, LOCAL, "Appwrite's own container" if alone else "this machine", opened)
    reach = PUBLIC if PUBLIC in reaches.values() else PRIVATE
    far = [text for text in where if reaches[text] == reach]
    answer = _asked(far[0], int(port), kind)
    return Server(
        kind,
        place,
        reach,
        "%s, %s" % (some(far), "a public address" if reach == PUBLIC else "a private address"),
        (),
        answer is not None,
        answer[0] if answer else None,
        _mode(instance) if kind == POSTGRESQL else "",
    )


def _neighbours(instance: Instance) -> list[_Neighbour]:
    """The containers of this engine that run."""
    ids = instance.compose.docker(["ps", "--quiet", "--no-trunc"]).stdout.split()
    if not ids:
        return []
    items = json.loads(instance.compose.docker(["inspect", "--type", "container", *ids], tolerate=True).stdout or "[]")
    networks = set(instance.networks())
    return [_neighbour(item, networks) for item in items]


def _neighbour(item: Mapping[str, Any], networks: set[str]) -> _Neighbour:
    name, settings = item["Name"].lstrip("/"), item.get("NetworkSettings") or {}
    names: set[str] = set()
    for network, how in (settings.get("Networks") or {}).items():
        if network in networks:
            names.update((name, *(how.get("Aliases") or ()), *(how.get("DNSNames") or ())))
    return _Neighbour(name, frozenset(names), addresses(item), ports(settings.get("Ports")))


def _resolved(host: str, way: Mapping[str, Any]) -> Seen[tuple[str, ...]]:
    """The addresses of a name that no container has, as Appwrite's container finds them."""
    for entry in way["extra_hosts"] or ():
        name, _equals, address = str(entry).replace("=", ":", 1).partition(":")
        if name == host:
            return (address.strip("[]"),)
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    if way["dns"]:
        return Unseen("%s is looked up at servers of Appwrite's own (dns), which this machine does not ask" % host)
    try:
        found = resolved(host, 0, _LOOKING_UP)
    except OSError:
        return Unseen("%s is a name to which this machine finds no address; see that Appwrite itself finds one" % host)
    return tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def _reach(text: str) -> str:
    if text == _GATEWAY:
        return LOCAL
    address = _plain(ipaddress.ip_address(text))
    if address.is_loopback or address.is_unspecified or _is_own(address):
        return LOCAL
    return PUBLIC if address.is_global else PRIVATE


def _plain(address: _Address) -> _Address:
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address


def _is_own(address: _Address) -> bool:
    """Whether this machine has the address: what goes there comes from there, too. Nothing is sent.

    That it may be listened on says nothing where keepalived runs, which needs C(net.ipv4.ip_nonlocal_bind).
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as ours:
            ours.connect((str(address), _ANY))
            return ipaddress.ip_address(ours.getsockname()[0]) == address
    except OSError:
        return False


def _opened(port: int, neighbours: Sequence[_Neighbour]) -> tuple[str, ...]:
    """Who opens a port of this machine to others. Which of them a firewall keeps out cannot be seen."""
    published = [text for each in neighbours for text in each.opened(port, True)]
    return tuple(published) or tuple("it listens on port %d of %s" % (port, _at(text)) for text in _listening(port))


def _is_open(address: _Address) -> bool:
    """Whether more than private networks may reach what listens there."""
    return address.is_unspecified or address.is_global


def _at(address: str) -> str:
    return "every address of this machine" if ipaddress.ip_address(address).is_unspecified else address


def _listening(port: int) -> list[str]:
    """Every address, and public ones, on which this machine listens."""
    found = set()
    for table in _TABLES:
        try:
            with open(table, encoding="ascii") as stream:
                lines = [line.split() for line in stream.readlines()[1:]]
        except OSError:
            continue
        for local, state in ((line[1], line[3]) for line in lines):
            text, _colon, number = local.partition(":")
            address = _plain(_of_kernel(text))
            if state == _LISTENS and int(number, 16) == port and _is_open(address):
                found.add(str(address))
    every = {text for text in found if ipaddress.ip_address(text).is_unspecified}
    return sorted(every)[:1] or sorted(found)


def _of_kernel(text: str) -> _Address:
    """An address as C(/proc/net/tcp) has it: words of four bytes in the order of this machine."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return ipaddress.ip_address(struct.pack("=%dI" % len(words), *words))


def _mode(instance: Instance) -> str:
    """Of the service that insists least."""
    given = {instance.services.get(name, {}).get("PGSSLMODE") or "prefer" for name in instance.appwrite_services()}
    return min(given & {*_MODES} or {"prefer"}, key=_MODES.index)


# --- what it answers ---


def _asked(address: str, port: int, kind: str) -> tuple[bool | None] | None:
    """Whether it speaks TLS, C(None) if it does not say; or nothing if it does not answer at all."""
    found: bool | None = None
    for probe in _PROBES[kind]:
        try:
            connection = socket.create_connection((address, port), _TIMEOUT)
        except OSError:
            return None
        with connection, suppress(OSError):
            found = probe(connection)
        if found is not None:
            break
    return (found,)


def _greeting(connection: socket.socket) -> bool | None:
    """MariaDB and MySQL tell what they can before anything is asked (protocol 10)."""
    head = _exactly(connection, 4)
    packet = _exactly(connection, min(_GREETING, int.from_bytes(head[:3], "little"))) if head else b""
    end = packet.find(b"\0", 1)
    flags = packet[end + 14 : end + 16]
    if packet[:1] != b"\x0a" or end < 0 or len(flags) < 2:
        return None
    return bool(int.from_bytes(flags, "little") & 0x0800)


def _ssl_request(connection: socket.socket) -> bool | None:
    """PostgreSQL answers this request by one letter."""
    connection.sendall(struct.pack("!ii", 8, 80877103))
    return {b"S": True, b"N": False}.get(_exactly(connection, 1))


def _ping(connection: socket.socket) -> bool | None:
    """Redis speaks either TLS or plain text on one port, and closes if it hears plain text on the former (7.0)."""
    connection.sendall(b"PING\r\n")
    return False if _exactly(connection, 1) in (b"+", b"-") else None


def _handshake(connection: socket.socket) -> bool | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return True
    except ssl.SSLEOFError:
        return False
    except ssl.SSLError as error:
        return True if "ALERT" in (error.reason or "") else None
    except ConnectionResetError:
        return False


_PROBES: Mapping[str, tuple[_Probe, ...]] = {
    "MariaDB": (_greeting,),
    POSTGRESQL: (_ssl_request,),
    "MongoDB": (_handshake,),
    "Redis": (_ping, _handshake),
}


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Fewer if it closes before. Raises OSError if that takes too long, though it goes on byte by byte."""
    found, end = b"", time.monotonic() + _TIMEOUT
    while len(found) < size:
        connection.settimeout(max(end - time.monotonic(), 0.001))
        more = connection.recv(size - len(found))
        if not more:
            break
        found += more
    return found
