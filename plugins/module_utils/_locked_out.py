# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether HTTPS, newly forced, redirects its users for ever: asked on the host itself, as they or the proxy in front would.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
import time

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Published
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Answer, Seen, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.probe import PATH, get, loops
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import Facts
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.https import (
    API,
    HTTPS_PORT,
    ROUTERS,
    what_locks_out,
)

_HERE = "127.0.0.1"
_HTTP_PORT = 80
_PATIENCE = 5.0
"""Seconds for a proxy to see that the container behind it is another one."""
_POLL = 0.5
_HOST = re.compile(r"[A-Za-z0-9_.-]+")


def refuse_loop(instance: Instance, before: Facts) -> None:
    """Raises AppwriteError if it loops. What cannot be asked is no failure: the certificate may be to come, or the proxy elsewhere."""
    host = instance.values.get("_APP_DOMAIN", "").partition(":")[0]
    published = instance.published()
    if published is None or not _HOST.fullmatch(host) or not _newly_forced(before):
        return
    places = dict.fromkeys((HTTPS_PORT, *published.ports))
    answers = [answer for answer in (_asked(host, port) for port in places) if isinstance(answer, Answer)]
    if _ends_before(published, bool(answers)):
        answers += [
            answer
            for port in _http_ports(instance, published)
            for answer in [_asked(host, port, "X-Forwarded-Proto: https\r\n")]
            if isinstance(answer, Answer)
        ]
    if any(loops(host, answer) is True for answer in answers):
        raise AppwriteError(
            "HTTPS is forced now, and https://%s redirects to itself for ever. %s. Or have HTTPS not forced: set `force` to "
            "false" % (host, what_locks_out(Published(published.traefik, before=published.before)))
        )


def _newly_forced(before: Facts) -> bool:
    return any(
        before.environments.get(container.service, {}).get(name) == "enabled" != container.environment.get(name)
        for container in before.containers
        for name in (API, *ROUTERS)
    )


def _ends_before(published: Published, answers: bool) -> bool:
    """Whether TLS is known to end at what speaks HTTP to the project. Which addresses Traefik trusts cannot be tried from here."""
    if published.trusting:
        return False
    return bool(published.traefik and published.before) or HTTPS_PORT not in published.ports and not answers


def _http_ports(instance: Instance, published: Published) -> list[int]:
    """Those of this host on which Traefik, or without one Appwrite itself, answers HTTP."""
    services = [published.traefik] if published.traefik else instance.appwrite_services()
    return sorted(
        {
            port
            for container in instance.containers()
            if container.service in services
            for address, port, target in container.ports
            if target == _HTTP_PORT and address in ("0.0.0.0", _HERE)
        }
    )


def _asked(host: str, port: int, header: str = "") -> Seen[Answer]:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            answer = get(host, _HERE, port, PATH, not header, header)
        except ConnectionRefusedError:
            return Unseen("port %d: connection refused" % port)
        if isinstance(answer, Unseen) or answer.status < 400 or time.monotonic() > end:
            return answer
        time.sleep(_POLL)
