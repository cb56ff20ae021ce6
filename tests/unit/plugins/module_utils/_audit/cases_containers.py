# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers: what they open, from which images and files they were made, and whether they run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.observations import secured, with_containers, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.variables import NEWEST
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Given,
    Holder,
    Observation,
    Stored,
    Unseen,
    seen,
)

NO_ENGINE = Unseen("the engine does not answer")
NO_DOCKER = replace(secured(), config=NO_ENGINE, containers=NO_ENGINE)
ENGINE_GONE = {"engine gone": replace(secured(), containers=NO_ENGINE)}
SOCKET = "/var/run/docker.sock"


def with_container(observation: Observation, service: str, **parts: Any) -> Observation:
    return with_containers(
        observation, lambda container: replace(container, **parts) if container.service == service else container
    )


def beside(*peers: tuple[str, str]) -> Observation:
    """Hosts of these releases with a value of its database."""
    holders = tuple(Holder(name, None, {"a": True}, release=release) for name, release in peers)
    return secured(stored=Stored(1, 0, "", {"a": True}), peers=holders)


def publishing(service: str, published: str, target: int, address: str | None = None) -> Observation:
    port = {"target": target, "published": published, **({"host_ip": address} if address else {})}
    return with_service(secured(), service, ports=[port])


def mounting(service: str, source: str, **parts: Any) -> Observation:
    return with_service(secured(), service, volumes=[{"type": "bind", "source": source, "target": source, **parts}])


def without(observation: Observation, *services: str) -> Observation:
    config = seen(observation.config)
    left = {name: service for name, service in config["services"].items() if name not in services}
    return replace(
        observation,
        config={**config, "services": left},
        containers=tuple(container for container in seen(observation.containers) if container.service not in services),
    )


def waited_for(observation: Observation, service: str) -> Observation:
    return with_service(observation, "appwrite", depends_on={service: {"condition": "service_completed_successfully"}})


def drifting(*entries: tuple[str, str, str], values: dict[str, str] | None = None, **parts: Any) -> Observation:
    found = tuple({"service": service, "name": name, "kind": kind} for service, name, kind in entries)
    return replace(secured(values=values), drift=found, **parts)


def from_a_shell(name: str, value: str | None) -> Observation:
    """The container of appwrite has a value that the project does not give it."""
    services = seen(secured().config)["services"]
    found = with_service(secured(), "appwrite", environment={**services["appwrite"]["environment"], name: value})
    return with_container(found, "appwrite", environment={name: "NotARealShellWord1"})


def with_mqtt(address: str | None) -> Observation:
    ports = [{"target": port, "published": str(port), "host_ip": address} for port in (8883, 8084)]
    return with_service(secured("2.4.0"), "traefik", ports=ports)


CASES = {
    "containers.ports_limited": {
        "fail": {
            "database": (publishing("mariadb", "3306", 3306), "mariadb publishes 3306 on 0.0.0.0"),
            "on one address": (publishing("redis", "6379", 6379, "192.0.2.10"), "redis publishes 6379 on 192.0.2.10"),
            "a random port": (publishing("appwrite", "", 80), "appwrite publishes a random port"),
            "the proxy's dashboard": publishing("traefik", "8080", 8080),
            "MQTT without the proxy": (publishing("appwrite-mqtt", "1883", 1883), "appwrite-mqtt publishes 1883"),
            "in a container alone": (
                with_container(secured(), "mariadb", ports=(("0.0.0.0", 3307, 3306),)),
                "mariadb publishes 3307",
            ),
            "engine gone": replace(publishing("mariadb", "3306", 3306), containers=NO_ENGINE),
        },
        "pass": {
            "80 and 443": secured(),
            "the web on other ports": publishing("traefik", "8443", 443),
            "another proxy": publishing("caddy", "443", 443),
            "for this host alone": (
                publishing("mariadb", "3306", 3306, "127.0.0.1"),
                "mariadb publishes 3306 on 127.0.0.1, for this host alone",
            ),
            "for this host alone, by IPv6": publishing("mariadb", "3306", 3306, "::1"),
            "MQTT of the proxy": (
                publishing("traefik", "8883", 8883),
                "nothing is published beyond HTTP, HTTPS and MQTT",
            ),
        },
        "unknown": {"engine gone": ENGINE_GONE["engine gone"], "no docker": NO_DOCKER},
    },
    "containers.mqtt_local": {
        "fail": {
            "as shipped": (
                with_mqtt(None),
                "MQTT is published: 8084 on 0.0.0.0, 8883 on 0.0.0.0",
                '_APP_MQTT_PORT: "127.0.0.1:8883"',
            ),
            "in the container alone": (
                with_container(secured("2.4.0"), "traefik", ports=(("0.0.0.0", 18883, 8883),)),
                "18883 on 0.0.0.0",
            ),
        },
        "pass": {"for this host alone": with_mqtt("127.0.0.1")},
        "not_applicable": {"closed": secured("2.4.0"), "before 2.3.0": secured()},
        "unknown": ENGINE_GONE,
    },
    "containers.socket_limited": {
        "fail": {
            "another service": (mounting("portainer", SOCKET), "portainer has the Docker socket"),
            "read-only": mounting("portainer", SOCKET, read_only=True),
            "a directory above": (mounting("agent", "/var/run/"), "agent has the Docker socket"),
            "the whole host": mounting("agent", "/"),
            "rootless": mounting("agent", "/run/user/1000/docker.sock"),
            "two, one in a container alone": (
                with_container(mounting("agent", SOCKET), "appwrite", mounts=((SOCKET, SOCKET, True),)),
                "agent, appwrite have",
            ),
        },
        "pass": {
            "as shipped": (mounting("openruntimes-executor", SOCKET), "none but openruntimes-executor and traefik"),
            "as shipped with 2.x": (
                with_service(
                    mounting("openruntimes-executor", SOCKET),
                    "orchestrator",
                    volumes=[{"type": "bind", "source": SOCKET, "target": SOCKET}],
                ),
                "none but openruntimes-executor, orchestrator and traefik, which",
            ),
            "nobody": (without(secured(), "traefik"), "no service has"),
            "other mounts": mounting("agent", "/var/runaway"),
            "a volume": mounting("agent", "run"),
        },
        "unknown": ENGINE_GONE,
    },
    "containers.proxy_socket_read_only": {
        "fail": {
            "as shipped": (mounting("traefik", SOCKET), "traefik has the Docker socket writable", "docker.sock:ro"),
            "in the container": with_container(secured(), "traefik", mounts=((SOCKET, SOCKET, True),)),
        },
        "pass": {"read-only": secured()},
        "not_applicable": {"no proxy": without(secured(), "traefik")},
        "unknown": ENGINE_GONE,
    },
    "containers.isolated": {
        "fail": {
            "privileged": (with_service(secured(), "agent", privileged=True), "agent is privileged"),
            "network": (with_service(secured(), "redis", network_mode="host"), "redis shares the host's network"),
            "processes": with_service(secured(), "agent", pid="host"),
            "a capability": (
                with_service(secured(), "agent", cap_add=["NET_ADMIN", "SYS_ADMIN"]),
                "has the capability SYS_ADMIN",
            ),
        },
        "pass": {
            "none": secured(),
            "a small capability": with_service(secured(), "agent", cap_add=["NET_BIND_SERVICE"]),
        },
        "unknown": {"no docker": NO_DOCKER},
    },
    "containers.images_pinned": {
        "fail": {
            name: (with_service(secured(), "agent", image=image), f"{shown} in agent")
            for name, image, shown in (
                ("latest", "redis:latest", "redis:latest"),
                ("no tag", "redis", "redis:latest"),
                ("main", "quay.io/a/b:main", "quay.io/a/b:main"),
                ("a major release", "redis:7", "redis:7"),
                ("a minor release of Appwrite", "appwrite/appwrite:1.9", "appwrite/appwrite:1.9"),
                ("a registry with a port", "localhost:5000/redis", "localhost:5000/redis:latest"),
            )
        },
        "pass": {
            "as shipped": secured(),
            "a digest": with_service(secured(), "agent", image="redis@sha256:" + "0" * 64),
            "tag and digest": with_service(secured(), "agent", image="redis:latest@sha256:" + "0" * 64),
            "a registry with a port": with_service(secured(), "agent", image="localhost:5000/redis:v7.4"),
            "built here": with_service(secured(), "agent", image="agent", build={"context": "."}),
            "no image": with_service(secured(), "agent"),
        },
        "unknown": {"no docker": NO_DOCKER},
    },
    "containers.one_release_for_all": {
        "fail": {
            "another": (
                beside(("two", "1.9.5"), ("three", "1.9.6")),
                "two (1.9.5) has sealed values with this host, which runs Appwrite 1.9.6",
            )
        },
        "pass": {"the same": (beside(("two", "1.9.6"), ("three", "1.9.6")), "three, two have sealed values")},
        "not_applicable": {
            "one host": (secured(), "this is one host"),
            "another database": replace(secured(), peers=(Holder("two", None, {"b": True}, release="1.9.5"),)),
        },
        "unknown": {
            "theirs": (beside(("two", "")), "the release that two runs"),
            "its own": (replace(beside(("two", "1.9.5")), release_is_known=False), "the release that this host runs"),
            "not looked at": (replace(beside(("two", "1.9.5")), stored=NO_ENGINE, servers=NO_ENGINE), NO_ENGINE.reason),
        },
    },
    "containers.release_current": {
        "fail": {
            "older": (secured("1.8.1"), f"1.8.1 is older than {NEWEST}"),
            "a container": (
                with_container(secured(NEWEST), "appwrite", image="appwrite/appwrite:1.9.5"),
                "1.9.5 is older",
            ),
            "without docker": replace(secured("1.9.0"), config=NO_ENGINE, containers=NO_ENGINE),
        },
        "pass": {"newest": secured(NEWEST), "newer": secured("9.9.0")},
        "unknown": {
            "no tag names it": (
                with_containers(
                    replace(secured(), release_is_known=False), lambda container: replace(container, image="own:1")
                ),
                "no image tag names the release",
            ),
            "engine gone": replace(secured(NEWEST), containers=NO_ENGINE),
        },
    },
    "containers.release_not_vulnerable": {
        "fail": {
            "1.9.6": (
                secured(),
                "1.9.6: CVE-2026-89036 (high, fixed in 2.0.0)",
                "appwrite/appwrite@1265e8d500 (fixed in 2.0.0): a JWT is valid after its session",
                "2.4.0/jwt (fixed in 2.4.0)",
            ),
            "before the updates of 2.4.0": (
                secured("2.3.0"),
                "2.3.0: appwrite/appwrite#11845 (fixed in 2.4.0): webhooks",
            ),
            "between two fixes": (
                secured("1.8.1"),
                "CVE-2026-89036",
                "appwrite/appwrite#12411 (medium, fixed in 1.9.5)",
            ),
            "very old": (secured("0.12.1"), "CVE-2021-23682", "CVE-2022-25377", "CVE-2022-2925", "CVE-2023-27159"),
            "a container": (
                with_container(
                    secured("2.0.0"), "appwrite", image="registry.notarealcompany.com/appwrite:v1.9.6-custom"
                ),
                "1.9.6 and 2.0.0:",
            ),
            "the tag of a container alone": replace(secured(), release_is_known=False),
        },
        "pass": {
            "fixed": (secured("2.4.0"), "nothing is known of 2.4.0, as of ", "(what was public until 2026-10-10)"),
            "newer": secured("9.9.0"),
        },
        "unknown": {"fixed, engine gone": replace(secured("2.4.0"), containers=NO_ENGINE)},
    },
    "containers.come_back": {
        "fail": {
            "no policy": (
                with_service(secured(), "redis", restart=None),
                "not back after a restart of the engine: redis",
            ),
            "no": with_service(secured(), "redis", restart="no"),
            "on failure": with_service(secured(), "redis", restart="on-failure:3"),
            "in the container": with_container(secured(), "redis", restart="no"),
            "in the deployment": with_service(
                secured(), "redis", restart=None, deploy={"restart_policy": {"condition": "on-failure"}}
            ),
            "many": (
                with_containers(secured(), lambda container: replace(container, restart="no")),
                "engine: appwrite, appwrite-",
                "traefik",
            ),
        },
        "pass": {
            "all": secured(),
            "always": with_service(secured(), "redis", restart="always"),
            "in the deployment": with_service(
                secured(), "redis", restart=None, deploy={"restart_policy": {"condition": "any"}}
            ),
            "one that ends": waited_for(with_service(secured(), "setup", restart="no"), "setup"),
        },
        "unknown": ENGINE_GONE,
    },
    "containers.running": {
        "fail": {
            "exited": (with_container(secured(), "redis", status="exited"), "redis is exited"),
            "restarting": (with_container(secured(), "appwrite", status="restarting"), "appwrite is restarting"),
            "unhealthy": (with_container(secured(), "mariadb", health="unhealthy"), "mariadb is unhealthy"),
            "missing": (with_service(secured(), "agent", image="agent:1.0"), "agent has no container"),
            "none at all": replace(secured(), containers=()),
            "without the files": (
                replace(with_container(secured(), "redis", status="exited"), config=NO_ENGINE),
                "redis is exited",
            ),
        },
        "pass": {
            "all": secured(),
            "starting": with_container(secured(), "mariadb", health="starting"),
            "one that ended": waited_for(with_container(secured(), "redis", status="exited"), "redis"),
            "one that is not wanted": with_service(secured(), "agent", image="agent:1.0", scale=0),
            "one that is deployed nowhere": with_service(secured(), "agent", deploy={"replicas": 0}),
        },
        "unknown": ENGINE_GONE,
    },
    "containers.current": {
        "fail": {
            "another configuration": (
                with_container(secured(), "redis", current=False),
                "made from older files: redis",
            ),
            "another value": (
                drifting(("appwrite", "_APP_ENV", "stale"), ("appwrite", "_APP_DOMAIN", "stale")),
                "appwrite (_APP_DOMAIN, _APP_ENV)",
            ),
            "values not compared": replace(with_container(secured(), "redis", current=False), drift=NO_ENGINE),
        },
        "pass": {"all": secured(), "other drift": drifting(("appwrite", "_APP_ENV", "overridden"))},
        "unknown": {
            "values not compared": replace(secured(), drift=NO_ENGINE),
            "no container": replace(secured(), containers=()),
            **ENGINE_GONE,
        },
    },
    "containers.nothing_lost": {
        "fail": {
            "from a shell": (
                from_a_shell("_APP_DB_PASS", None),
                "_APP_DB_PASS of appwrite",
                "in the shell that sets them",
            ),
            "put in as nothing": from_a_shell("_APP_DB_PASS", ""),
        },
        "pass": {"all given": secured(), "no secret": from_a_shell("_APP_LOCALE", None)},
        "unknown": ENGINE_GONE,
    },
    "containers.files_accepted": {
        "fail": {"rejected": (replace(secured(), config=Unseen("files: no image", rejected=True)), "no image")},
        "pass": {"accepted": secured()},
        "unknown": {"not asked": replace(secured(), config=NO_ENGINE)},
    },
    "containers.no_orphans": {
        "fail": {
            "left by an upgrade": (
                replace(
                    secured(),
                    containers=(
                        *seen(secured().containers),
                        replace(seen(secured().containers)[0], service="appwrite-old"),
                    ),
                ),
                "appwrite-old",
                "--remove-orphans",
            )
        },
        "pass": {"none": secured()},
        "unknown": ENGINE_GONE,
    },
    "containers.one_project": {
        "fail": {"two": (secured(others=("shop",)), "containers of shop", "appwrite_project_name")},
        "pass": {"one": secured()},
        "unknown": {"not asked": secured(others=NO_ENGINE)},
    },
    "containers.env_received": {
        "fail": {
            "set": (
                drifting(("", "_APP_LOCALE", "not_passed"), values={"_APP_LOCALE": "de"}),
                "hands to no service: _APP_LOCALE",
            )
        },
        "pass": {
            "none": secured(),
            "the default": drifting(("", "_APP_LOCALE", "not_passed"), values={"_APP_LOCALE": "en"}),
            "empty": drifting(("", "_APP_LOCALE", "not_passed"), values={"_APP_LOCALE": ""}),
            "one that this release does not read": drifting(
                ("", "_APP_STATSD_PORT", "not_passed"), values={"_APP_STATSD_PORT": "1"}
            ),
        },
        "unknown": {
            "not compared": replace(secured(), drift=NO_ENGINE),
            "no container": replace(secured(), containers=()),
        },
    },
    "containers.env_not_overridden": {
        "fail": {
            "a literal": (
                drifting(("appwrite", "_APP_ENV", "overridden"), ("appwrite-realtime", "_APP_ENV", "overridden")),
                "_APP_ENV has another value in appwrite, appwrite-realtime than in .env",
            ),
            "with its line": (
                replace(
                    drifting(("appwrite", "_APP_ENV", "overridden")),
                    given=(Given("appwrite", "_APP_ENV", "literal", "/opt/appwrite/docker-compose.yml", 7),),
                ),
                "appwrite (/opt/appwrite/docker-compose.yml, line 7)",
            ),
        },
        "pass": {
            "none": secured(),
            "the shell": drifting(("appwrite", "_APP_ENV", "overridden"), shell={"_APP_ENV": "development"}),
        },
        "unknown": {"not compared": replace(secured(), drift=NO_ENGINE)},
    },
    "containers.shell_clean": {
        "fail": {
            "two": (
                replace(secured(), shell={"_APP_ENV": "development", "_APP_DB_PASS": "NotARealShellWord1"}),
                "_APP_DB_PASS, _APP_ENV",
            )
        },
        "pass": {"none": secured(), "without docker": NO_DOCKER},
        "unknown": {"no file": replace(secured(), env=Unseen("there is no .env"))},
    },
}

WITHOUT_DOCKER = {"containers.shell_clean"}
ABOUT_THE_RELEASE = {"containers.release_current", "containers.release_not_vulnerable"}
