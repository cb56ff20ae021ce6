# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop is seen where it is one, and what cannot be asked is none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _locked_out as under_test
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Published
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Answer, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import Facts
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.https import API

HOST = "aw.notarealcompany.com"
LOOP = Answer(301, f"https://{HOST}/v1/health/version")
FINE = Answer(200)
NORMAL = Published("traefik", (443,))
HTTP, HTTPS, ELSEWHERE = 8080, 443, 8443


def facts(before, after):
    container = SimpleNamespace(service="appwrite", environment=before)
    return Facts({}, {"appwrite": after}, [container], {}, {}, ())


FORCED_NOW = facts({API: "disabled"}, {API: "enabled"})


@pytest.fixture
def asks(monkeypatch):
    """Fakes what answers: port to answer. Returns the ports that were asked, those over HTTP with the header that a proxy sends."""
    monkeypatch.setattr(under_test, "_PATIENCE", 0)

    def run(answers, published, before=FORCED_NOW, host=HOST):
        asked = []

        def get(name, address, port, _path, secure, header=""):
            assert (name, address, bool(header)) == (host, "127.0.0.1", not secure)
            asked.append(port)
            answer = answers.get(port, Unseen("nothing there"))
            if isinstance(answer, OSError):
                raise answer
            return answer

        monkeypatch.setattr(under_test, "get", get)
        ports = (("0.0.0.0", HTTP, 80), ("0.0.0.0", 9000, 9000), ("192.0.2.7", 80, 80))
        instance = SimpleNamespace(
            values={"_APP_DOMAIN": host},
            published=lambda: published,
            containers=lambda: [SimpleNamespace(service=name, ports=ports) for name in ("traefik", "appwrite")],
            appwrite_services=lambda: ["appwrite"],
        )
        under_test.refuse_loop(instance, before)
        return asked

    return run


LOOPS = {
    "HTTPS to itself": ({HTTPS: LOOP}, NORMAL),
    "a proxy on the host": ({HTTPS: LOOP}, Published("traefik")),
    "a proxy on the host that Traefik does not trust enough": ({HTTPS: LOOP}, Published("traefik", trusting=True)),
    "elsewhere": ({ELSEWHERE: LOOP}, Published("traefik", (ELSEWHERE,))),
    "a tunnel": ({HTTPS: FINE, HTTP: LOOP}, Published("traefik", (443,), before=("door",))),
    "no HTTPS here": ({HTTP: LOOP}, Published("traefik")),
    "no Traefik": ({HTTP: LOOP}, Published()),
}


@pytest.mark.parametrize(("answers", "published"), LOOPS.values(), ids=LOOPS)
def test_loop(asks, answers, published):
    with pytest.raises(AppwriteError) as caught:
        asks(answers, published)
    for part in (f"https://{HOST} redirects to itself", "X-Forwarded-Proto", "`force`"):
        assert part in str(caught.value)


FINES = {
    "HTTPS answers": ({HTTPS: FINE, HTTP: LOOP}, NORMAL, [HTTPS]),
    "an error": ({HTTPS: Answer(404)}, NORMAL, [HTTPS]),
    "another place": ({HTTPS: Answer(301, "https://notarealcompany.com/v1/health/version")}, NORMAL, [HTTPS]),
    "no certificate yet": ({HTTP: LOOP}, NORMAL, [HTTPS]),
    "TLS of a proxy on the host": ({HTTPS: FINE, HTTP: LOOP}, Published("traefik"), [HTTPS]),
    "trusted": ({HTTP: LOOP}, Published("traefik", trusting=True, before=("door",)), [HTTPS]),
    "believed": ({HTTP: FINE}, Published(), [HTTPS, HTTP]),
    "refused": ({HTTP: ConnectionRefusedError()}, Published(), [HTTPS, HTTP]),
    "nobody there": ({}, Published("traefik"), [HTTPS, HTTP]),
}


@pytest.mark.parametrize(("answers", "published", "asked"), FINES.values(), ids=FINES)
def test_no_loop(asks, answers, published, asked):
    assert asks(answers, published) == asked


@pytest.mark.parametrize(
    "before", [facts({API: "enabled"}, {API: "enabled"}), facts({API: "enabled"}, {API: "disabled"}), facts({}, {})]
)
def test_what_was_forced_before_is_not_asked(asks, before):
    assert asks({HTTPS: LOOP}, NORMAL, before) == []


@pytest.mark.parametrize("host", ["", "a b", "x\r\nX-Forwarded-Proto"])
def test_no_name_to_ask_for(asks, host):
    assert asks({HTTPS: LOOP}, NORMAL, host=host) == []
