# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found out about an installation before anything is decided: whether it holds data, which key opens that, and what its proxy publishes.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import image
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import same_cipher


@dataclass(frozen=True)
class Evidence:
    """Whether an installation holds data, and how that is known."""

    state: str
    """V(yes), V(no) or V(unknown)"""
    reason: str
    never_started: bool = False
    """not even the database has been created, so its own credentials are free too"""
    remedy: str = "Start the database alone, wait until it answers, and run again"
    """what to do where it is V(unknown)"""
    stopped: str = ""
    """the service of the database, where it is V(unknown) since that does not run"""
    starting: str = ""
    """the service of the database, where it is V(unknown) since that runs but does not answer, or not yet"""
    elsewhere: bool = False
    """whether the database is no service of the project, so that it is asked in a container of Appwrite, or in one with its client"""


@dataclass(frozen=True)
class Opening:
    """What each of several keys opens of a sample of the sealed values."""

    looked: int
    """how many values there are in the sample"""
    opened: Mapping[str, int]
    """key to how many of them it opens"""
    bygone: Sequence[str] = ()
    """those of the keys that nothing here has any more: what they open is left from before"""

    def proves(self, key: str) -> bool:
        """Whether this key opens some, and no other one does. What is bygone, or was sealed while there was no key, proves nothing against it."""
        return self.opened[key] > 0 and not any(
            count
            for other, count in self.opened.items()
            if other and other not in self.bygone and not same_cipher(other, key)
        )


@dataclass(frozen=True)
class Published:
    """What stands between clients and Appwrite in the project, as far as HTTPS is concerned."""

    traefik: str = ""
    """the service of Appwrite's Traefik; empty if the project has none"""
    ports: tuple[int, ...] = ()
    """of the host, on which that answers HTTPS to others"""
    trusting: bool = False
    """whether that believes the X-Forwarded-Proto of whoever speaks HTTP to it, or of some addresses"""
    before: tuple[str, ...] = ()
    """the services that run a tunnel, or a proxy which others reach, in front of it"""


_TUNNELS = frozenset(
    "bore cloudflared frpc inlets localtunnel newt ngrok playit rathole tailscale tunnel tunnelto zrok".split()
)
_PROXIES = frozenset(
    "apache apisix caddy envoy haproxy hitch httpd https-portal kong lighttpd nginx openresty pound swag traefik".split()
)
_ENTRY = r"entrypoints[._]%s[._]"
_WEB, _SECURE = "appwrite_web", "appwrite_websecure"
_TRUSTS = re.compile(_ENTRY % _WEB + r"forwardedheaders[._](?:trustedips[=\n][^\s=]|insecure(?:=true|\n|$))")
_ADDRESS = re.compile(_ENTRY % _SECURE + r"address[=\n]\S*:(\d+)")
_HTTPS_PORT = 443


def published(services: Mapping[str, Mapping[str, Any]]) -> Published:
    """Of the services of a project as compose resolves them. A proxy is told by its image, or by its program."""
    traefiks = sorted(
        (name for name, service in services.items() if "traefik" in _programs(name, service)),
        key=lambda name: _WEB not in _arguments(services[name]),
    )
    before = [
        name
        for name, service in services.items()
        if name not in traefiks[:1]
        and (
            _programs(name, service) & _TUNNELS
            or _programs(name, service) & _PROXIES
            and (service.get("ports") or service.get("network_mode") == "host")
        )
    ]
    if not traefiks:
        return Published(before=tuple(before))
    arguments = _arguments(services[traefiks[0]])
    addresses = _ADDRESS.findall(arguments)  # of which the last counts
    return Published(
        traefiks[0],
        _host_ports(services, traefiks[0], int(addresses[-1]) if addresses else _HTTPS_PORT),
        bool(_TRUSTS.search(arguments)),
        tuple(before),
    )


def _programs(name: str, service: Mapping[str, Any]) -> set[str]:
    """The words of which the names of what it runs consist."""
    starts = [(service.get(field) or [""])[0] for field in ("entrypoint", "command")]
    named = [image(service["image"]).name if service.get("image") else name]
    named += [str(word).rpartition("/")[2] for word in starts]
    return {word for text in named for word in (text, *re.split(r"[^a-z0-9]+", text.lower()))}


def _arguments(service: Mapping[str, Any]) -> str:
    """One a line, in lower case. Traefik takes the same from variables, with another separator, if it has no arguments (3.7.15, executed)."""
    words = [*(service.get("entrypoint") or []), *(service.get("command") or [])]
    if not service.get("command"):
        words += ["%s=%s" % entry for entry in (service.get("environment") or {}).items()]
    return "\n".join(map(str, words)).lower()


def _host_ports(services: Mapping[str, Mapping[str, Any]], name: str, target: int) -> tuple[int, ...]:
    mode = str(services[name].get("network_mode", ""))
    if mode == "host":
        return (target,)
    found: list[int] = []
    for port in services.get(mode.partition("service:")[2] or name, {}).get("ports") or []:
        first, _to, last = str(port.get("published", "")).partition("-")
        if (
            port["target"] == target
            and first.isdigit()
            and port.get("protocol", "tcp") == "tcp"
            and not str(port.get("host_ip", "")).startswith(("127.", "::1"))
        ):
            found += range(int(first), int(last or first) + 1)
    return tuple(found)
