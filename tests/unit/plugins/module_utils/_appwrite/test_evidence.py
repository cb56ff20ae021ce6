# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between clients and Appwrite is told by what the services run, not by their names."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Published, published

WEB, SECURE = "--entrypoints.appwrite_web", "--entryPoints.appwrite_websecure"


def port(host, target, **more):
    return {"target": target, "published": str(host), "protocol": "tcp", "mode": "ingress", **more}


BOTH = (port(80, 80), port(443, 443))


def traefik(*command, ports=BOTH, image="traefik:3.6", **more):
    return {"image": image, "command": list(command) or None, "entrypoint": None, "ports": list(ports), **more}


ONE = {
    "as Appwrite has it": (traefik(), (443,)),
    "a mirror's image": (traefik(image="registry.test:5000/mirror/traefik@sha256:00"), (443,)),
    "elsewhere": (traefik(ports=[port(8443, 443)]), (8443,)),
    "twice": (traefik(ports=[port(8443, 443), port(443, 443)]), (8443, 443)),
    "in a range": (traefik(ports=[port("442-444", 443)]), (442, 443, 444)),
    "HTTP alone": (traefik(ports=[port(443, 80)]), ()),
    "UDP alone": (traefik(ports=[port(443, 443, protocol="udp")]), ()),
    "on this host alone": (traefik(ports=[port(443, 443, host_ip="127.0.0.1")]), ()),
    "on one address": (traefik(ports=[port(443, 443, host_ip="192.0.2.7")]), (443,)),
    "on any port": (traefik(ports=[{"target": 443}]), ()),
    "no ports": ({"image": "traefik"}, ()),
    "another entry point": (traefik(f"{SECURE}.address=:8443", ports=[port(443, 8443)]), (443,)),
    "the host's network": (traefik(ports=(), network_mode="host"), (443,)),
    "the host's network, elsewhere": (traefik(f"{SECURE}.address=:8443/tcp", ports=(), network_mode="host"), (8443,)),
}


@pytest.mark.parametrize(("service", "ports"), ONE.values(), ids=ONE)
def test_ports(service, ports):
    assert published({"front": service, "appwrite": {"image": "appwrite/appwrite:1.9.6"}}) == Published("front", ports)


def test_network_of_another_service():
    services = {"front": traefik(ports=(), network_mode="service:net"), "net": {"image": "pause", "ports": BOTH}}
    assert published(services).ports == (443,)


@pytest.mark.parametrize(
    ("words", "trusting"),
    [
        ([f"{WEB}.forwardedHeaders.trustedIPs=192.0.2.1"], True),
        ([f"{WEB}.forwardedHeaders.trustedIPs", "192.0.2.1"], True),
        ([f"{WEB}.forwardedheaders.insecure=true"], True),
        ([f"{WEB}.forwardedHeaders.insecure", "--log"], True),
        ([f"{WEB}.forwardedHeaders.insecure"], True),
        ([f"{WEB}.forwardedHeaders.insecure=false"], False),
        ([f"{WEB}.forwardedHeaders.trustedIPs="], False),
        ([f"{SECURE}.forwardedHeaders.trustedIPs=192.0.2.1"], False),
        (["--providers.docker=true"], False),
    ],
)
def test_trust(words, trusting):
    assert published({"traefik": traefik(*words)}).trusting is trusting


def test_trust_by_a_variable():
    name = "TRAEFIK_ENTRYPOINTS_APPWRITE_WEB_FORWARDEDHEADERS_TRUSTEDIPS"
    assert published({"traefik": traefik(environment={name: "192.0.2.1"})}).trusting
    assert not published({"traefik": traefik(environment={name: ""})}).trusting
    assert not published({"traefik": traefik("--providers.docker=true", environment={name: "192.0.2.1"})}).trusting


BEFORE = {
    "a tunnel": ({"image": "cloudflare/cloudflared:latest", "command": ["tunnel", "run"]}, True),
    "a tunnel by its program": ({"image": "own/edge", "command": ["/usr/bin/ngrok", "http", "traefik:80"]}, True),
    "a tunnel that is built": ({"image": "shop-cloudflared", "build": {"context": "."}}, True),
    "a proxy": ({"image": "nginx:1.27-alpine", "ports": [port(8080, 80)]}, True),
    "a proxy by its family": ({"image": "jc21/nginx-proxy-manager", "ports": BOTH}, True),
    "a proxy in the host's network": ({"image": "haproxytech/haproxy-alpine:3", "network_mode": "host"}, True),
    "a second Traefik": ({"image": "traefik:3", "ports": BOTH}, True),
    "a web server that nobody reaches": ({"image": "nginx"}, False),
    "what is none": ({"image": "redis:7", "ports": [port(6379, 6379)]}, False),
}


@pytest.mark.parametrize(("service", "stands"), BEFORE.values(), ids=BEFORE)
def test_before(service, stands):
    services = {"door": service, "front": traefik(f"{WEB}.address=:80")}
    assert published(services) == Published("front", (443,), before=("door",) if stands else ())


def test_without_traefik():
    proxy = {"image": "caddy:2", "ports": BOTH}
    assert published({"appwrite": {"image": "appwrite/appwrite:1.9.6"}, "web": proxy}) == Published(before=("web",))
