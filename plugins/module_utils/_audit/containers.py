# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of the containers: what they open, from which images and files they were made, and whether they run.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import image, replicas
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import releases as _releases
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Control,
    Observation,
    Outcome,
    Unobserved,
    Unseen,
    failed,
    known_containers,
    known_services,
    not_applicable,
    passed,
    seen,
    seen_all,
    services,
    some,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.sharing import ONE_RELEASE

_PROXY = "traefik"
_WITH_SOCKET = (_PROXY, "openruntimes-executor", "orchestrator")
_WEB = (80, 443)
_MQTT = (8883, 8084)
"""TLS, and secure web sockets: entry points of Traefik from 2.3.0 on."""
_ABOVE_SOCKET = ("/", "/run", "/var", "/var/run")
_COMES_BACK = ("always", "unless-stopped")
_STRONG = ("ALL", "CAP_SYS_ADMIN", "SYS_ADMIN")


def _one_shots(observation: Observation) -> set[str]:
    """Services that are meant to end: another one waits for that."""
    return {
        name
        for options in known_services(observation).values()
        if isinstance(options.get("depends_on"), dict)
        for name, how in options["depends_on"].items()
        if (how or {}).get("condition") == "service_completed_successfully"
    }


# --- what they open ---


def _published(observation: Observation) -> set[tuple[str, str, str, int]]:
    """Service, address, port of the host as it is written, port of the container."""
    return {
        (name, port.get("host_ip") or "0.0.0.0", str(port.get("published") or "a random port"), int(port["target"]))
        for name, options in known_services(observation).items()
        for port in options.get("ports") or ()
    } | {
        (container.service, address, str(port), target)
        for container in known_containers(observation)
        for address, port, target in container.ports
    }


def _is_local(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")


def _ports_limited(observation: Observation) -> Outcome:
    beyond = sorted(
        entry
        for entry in _published(observation)
        if not (int(entry[2]) if entry[2].isdigit() else 0) in _WEB
        and not (entry[0] == _PROXY and entry[3] in _WEB + _MQTT)
    )
    local = [entry for entry in beyond if _is_local(entry[1])]
    bad = [entry for entry in beyond if entry not in local]
    if bad:
        return failed(
            "; ".join("%s publishes %s on %s" % (name, port, address) for name, address, port, _target in bad)
        )
    seen_all(observation)
    return passed(
        "nothing is published beyond %s" % ("HTTP, HTTPS and MQTT" if _mqtt(observation) else "HTTP and HTTPS")
        + "".join(
            "; %s publishes %s on %s, for this host alone" % (name, port, address)
            for name, address, port, _target in local
        )
    )


def _mqtt(observation: Observation) -> list[tuple[str, str, str, int]]:
    return sorted(entry for entry in _published(observation) if entry[0] == _PROXY and entry[3] in _MQTT)


def _mqtt_local(observation: Observation) -> Outcome:
    found = _mqtt(observation)
    bad = ["%s on %s" % (port, address) for _name, address, port, _target in found if not _is_local(address)]
    if bad:
        return failed("MQTT is published: %s" % ", ".join(bad))
    seen_all(observation)
    if not found:
        return not_applicable("MQTT is not published")
    return passed("MQTT is published for this host alone")


def _socket_mounts(observation: Observation) -> dict[str, bool]:
    """Service to whether it may write, for those that have the Docker socket, or a directory above it."""
    found: dict[str, bool] = {}
    mounts = [
        (name, str(mount.get("source") or ""), not mount.get("read_only"))
        for name, options in known_services(observation).items()
        for mount in options.get("volumes") or ()
    ]
    mounts += [
        (container.service, source, writable)
        for container in known_containers(observation)
        for source, _target, writable in container.mounts
    ]
    for name, source, writable in mounts:
        path = source.rstrip("/") or source[:1]
        if path.endswith("/docker.sock") or path in _ABOVE_SOCKET:
            found[name] = found.get(name, False) or writable
    return found


def _socket_limited(observation: Observation) -> Outcome:
    found = _socket_mounts(observation)
    bad = sorted(set(found) - set(_WITH_SOCKET))
    if bad:
        return failed("%s %s the Docker socket" % (", ".join(bad), "has" if len(bad) == 1 else "have"))
    seen_all(observation)
    if not found:
        return passed("no service has the Docker socket")
    return passed("none but %s, which Appwrite's own files give it to, has the Docker socket" % _and(sorted(found)))


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _proxy_socket_read_only(observation: Observation) -> Outcome:
    writable = _socket_mounts(observation).get(_PROXY)
    if writable:
        return failed("%s has the Docker socket writable" % _PROXY)
    seen_all(observation)
    return (
        not_applicable("%s has no Docker socket" % _PROXY)
        if writable is None
        else passed("%s has the Docker socket read-only" % _PROXY)
    )


def _isolated(observation: Observation) -> Outcome:
    bad = []
    for name, options in sorted(services(observation).items()):
        strong = sorted(set(options.get("cap_add") or ()) & set(_STRONG))
        bad += [
            "%s %s" % (name, what)
            for what, is_so in (
                ("is privileged", options.get("privileged")),
                ("shares the host's network", options.get("network_mode") == "host"),
                ("sees the host's processes", options.get("pid") == "host"),
                ("has the capability " + ", ".join(strong), strong),
            )
            if is_so
        ]
    return (
        failed("; ".join(bad)) if bad else passed("no service is privileged or shares the host's network or processes")
    )


# --- images and releases ---


def _images_pinned(observation: Observation) -> Outcome:
    floating = []
    for service, options in sorted(services(observation).items()):
        found = image(options.get("image") or "")
        numbers = r"v?\d+\.\d+\.\d+" if found.name == "appwrite" else r"v?\d+\.\d+"
        if found.name and not options.get("build") and not found.digest and not re.match(numbers, found.tag):
            floating.append("%s:%s in %s" % (found.repository, found.tag or "latest", service))
    if floating:
        return failed("under a tag that may change: %s" % some(floating))
    return passed("every image has a tag of a release")


def _releases_here(observation: Observation) -> list[str]:
    """The release that the files name, and those that containers were made of."""
    found = {observation.release} if observation.release_is_known else set()
    found |= {
        release
        for release in (image(container.image).release for container in known_containers(observation))
        if release
    }
    if not found:
        raise Unobserved("no image tag names the release; set `appwrite_version`")
    return sorted(found)


def _release_current(observation: Observation) -> Outcome:
    releases, newest = _releases_here(observation), catalogue.NEWEST
    old = [release for release in releases if catalogue.is_older(release, tuple(map(int, newest.split("."))))]
    if old:
        return failed("%s is older than %s, the newest that this collection knows" % (" and ".join(old), newest))
    seen(observation.containers)
    return passed("%s is not older than %s, the newest that this collection knows" % (" and ".join(releases), newest))


def _release_not_vulnerable(observation: Observation) -> Outcome:
    releases = _releases_here(observation)
    found = _releases.vulnerabilities(releases)
    if found:
        return failed(
            "%s: %s"
            % (
                " and ".join(releases),
                "; ".join(
                    "%s (%sfixed in %s): %s" % (row.id, row.severity and row.severity + ", ", row.fixed, row.text)
                    for row in found
                ),
            )
        )
    seen(observation.containers)
    return passed(
        "nothing is known of %s, as of %s (what was public until %s)"
        % (" and ".join(releases), _releases.LOOKED_UP, _releases.PUBLIC_UNTIL)
    )


# --- what runs ---


def _come_back(observation: Observation) -> Outcome:
    policies = {
        (name, str(options.get("restart") or _deployed(options)))
        for name, options in known_services(observation).items()
    }
    policies |= {(container.service, container.restart) for container in known_containers(observation)}
    bad = sorted({name for name, policy in policies if policy not in _COMES_BACK} - _one_shots(observation))
    if bad:
        return failed("not back after a restart of the engine: %s" % ", ".join(bad))
    seen_all(observation)
    return passed("every service comes back after a restart of the engine")


def _deployed(options: Mapping[str, Any]) -> str:
    """The policy of C(deploy), in the words of C(restart)."""
    policy = (options.get("deploy") or {}).get("restart_policy")
    return "no" if policy is None else {"any": "always", "": "always"}.get(policy.get("condition") or "", "no")


def _files_accepted(observation: Observation) -> Outcome:
    if isinstance(observation.config, Unseen) and observation.config.rejected:
        return failed(observation.config.reason)
    seen(observation.config)
    return passed("compose accepts the project's files")


def _running(observation: Observation) -> Outcome:
    bad, ended = [], _one_shots(observation)
    present = known_containers(observation)
    for container in present:
        if container.status != "running" and not (container.status == "exited" and container.service in ended):
            bad.append("%s is %s" % (container.service, container.status))
        elif container.status == "running" and container.health == "unhealthy":
            bad.append("%s is unhealthy" % container.service)
    if not isinstance(observation.containers, Unseen):
        there = {container.service for container in present} | ended
        bad += [
            "%s has no container" % name
            for name, options in known_services(observation).items()
            if name not in there and replicas(options)
        ]
    if bad:
        return failed(some(bad))
    seen_all(observation)
    return passed("every service has a container that runs and is not unhealthy")


def _current(observation: Observation) -> Outcome:
    names: dict[str, set[str]] = {
        container.service: set() for container in seen(observation.containers) if not container.current
    }
    for entry in () if names and isinstance(observation.drift, Unseen) else _drift(observation, "stale"):
        names.setdefault(entry["service"], set()).add(entry["name"])
    if names:
        return failed(
            "made from older files: %s"
            % some(
                [
                    "%s (%s)" % (service, some(sorted(changed))) if changed else service
                    for service, changed in names.items()
                ]
            ),
            _HAND_IN if _lost(observation) else None,
        )
    return passed("every container was made from the present files")


def _lost(observation: Observation) -> list[str]:
    """The secrets that containers have and a recreate would take away, since nothing in the project gives them."""
    found: dict[str, list[str]] = {}
    present = known_services(observation)
    for container in known_containers(observation):
        listed = (present.get(container.service) or {}).get("environment") or {}
        for name, value in listed.items():
            if value in (None, "") and catalogue.is_secret(name) and catalogue.given(container.environment, name):
                found.setdefault(name, []).append(container.service)
    return ["%s of %s" % (name, some(where)) for name, where in sorted(found.items())]


def _nothing_lost(observation: Observation) -> Outcome:
    lost = _lost(observation)
    if lost:
        return failed("containers have what nothing in the project gives them: %s" % "; ".join(lost))
    seen_all(observation)
    return passed("the project gives its services every secret that their containers have")


def _no_orphans(observation: Observation) -> Outcome:
    orphans = {container.service for container in seen(observation.containers)} - set(services(observation))
    if orphans:
        return failed(
            "the compose files have no service, or only one of a profile that is not enabled, for the containers of %s"
            % some(sorted(orphans), 10)
        )
    return passed("every container belongs to a service of the compose files")


def _one_project(observation: Observation) -> Outcome:
    others = seen(observation.others)
    seen(observation.config)
    if others:
        return failed("containers of %s were started from this directory too" % ", ".join(others))
    return passed("no other project has containers from this directory")


def _drift(observation: Observation, kind: str) -> list[Mapping[str, str]]:
    if not seen(observation.containers):
        raise Unobserved("the project has no container")
    return [entry for entry in seen(observation.drift) if entry["kind"] == kind]


def _env_received(observation: Observation) -> Outcome:
    values, release = seen(observation.env).values, observation.release
    lost = [
        entry["name"]
        for entry in _drift(observation, "not_passed")
        if catalogue.is_read(entry["name"], release)
        and values.get(entry["name"], "") not in (*catalogue.UNSET, catalogue.default(entry["name"], release))
    ]
    if lost:
        return failed("the compose file hands to no service: %s" % ", ".join(sorted(lost)))
    seen_all(observation)
    return passed("what was set in .env reaches the services that read it")


def _env_not_overridden(observation: Observation) -> Outcome:
    found: dict[str, list[str]] = {}
    given = {} if isinstance(observation.given, Unseen) else {(one.service, one.name): one for one in observation.given}
    for entry in _drift(observation, "overridden"):
        if entry["name"] not in observation.shell:
            source = given.get((entry["service"], entry["name"]))
            place = " (%s)" % source.place if source and source.file else ""
            found.setdefault(entry["name"], []).append(entry["service"] + place)
    if found:
        return failed(
            "; ".join(
                "%s has another value in %s than in .env" % (name, some(where)) for name, where in sorted(found.items())
            )
        )
    seen_all(observation)
    return passed("no literal of the compose files beats a value of .env")


def _shell_clean(observation: Observation) -> Outcome:
    seen(observation.env)
    if observation.shell:
        return failed(
            "set in the audit's own environment, and otherwise than in .env: %s" % ", ".join(sorted(observation.shell))
        )
    return passed("no variable of the audit's own environment beats .env")


_OVERRIDE = "docker-compose.override.yml"
_UPGRADE = (
    "make a backup; then, one minor release at a time, in the directory above the project's: docker run -it --rm "
    '--volume /var/run/docker.sock:/var/run/docker.sock --volume "$(pwd)"/appwrite:/usr/src/code/appwrite:rw --entrypoint=upgrade '
    "appwrite/appwrite:<release>; then, since an upgrade rewrites both files: ansible-playbook selfhost.appwrite.secure"
)
_HAND_IN = (
    "docker compose up -d (in the shell that sets them, or after their lines have been written into .env: a recreate without them starts "
    "services with no password and no key)"
)
_APPLY = "ansible-playbook selfhost.appwrite.secure, or in the project's directory: docker compose up -d"

CONTROLS: tuple[Control, ...] = (
    Control(
        "containers.ports_limited",
        "Nothing but HTTP, HTTPS and MQTT is published",
        "high",
        "A published port bypasses the firewalls of most hosts, since Docker writes its own rules first. Redis has no password, and the database "
        "a public one, unless somebody changed that. MQTT has a control of its own.",
        "remove ports from the service, or bind it to this host by 127.0.0.1:<port>:<port>; then: docker compose up -d",
        "Appwrite 1.9.6, docker-compose.yml; Docker Engine, packet filtering and firewalls",
        _ports_limited,
    ),
    Control(
        "containers.mqtt_local",
        "MQTT is not published",
        "low",
        "From 2.3.0 Traefik publishes two more ports to everybody, TLS on 8883 and web sockets on 8084, and an upgrade opens them unasked. Few use "
        "them; if clients of yours do, waive this.",
        'appwrite_security_variables: {_APP_MQTT_PORT: "127.0.0.1:8883", _APP_MQTT_WSS_PORT: "127.0.0.1:8084"}',
        "Appwrite 2.4.0, docker-compose.yml",
        _mqtt_local,
    ),
    Control(
        "containers.socket_limited",
        "Only the proxy, the executor and the orchestrator have the Docker socket",
        "high",
        "Whoever has the socket is root on the host. The executor cannot do without it, nor from 2.0.0 the orchestrator, which runs builds and answers "
        "whoever reaches it in the network appwrite; Traefik reads labels through it. Nothing else of Appwrite needs it.",
        "remove the mount of /var/run/docker.sock from the service; then: docker compose up -d",
        "Appwrite 1.4.14 to 2.4.0, docker-compose.yml",
        _socket_limited,
    ),
    Control(
        "containers.proxy_socket_read_only",
        "The proxy has the Docker socket read-only",
        "low",
        "Traefik faces the internet. Read-only keeps the socket from being replaced and no more: the engine still does what it is asked. A filter "
        "that passes only reading requests is better.",
        'put services: {traefik: {volumes: ["/var/run/docker.sock:/var/run/docker.sock:ro"]}} into %s; then: docker compose up -d'
        % _OVERRIDE,
        "Appwrite 1.4.14 to 1.9.6, docker-compose.yml; Traefik, Docker provider, security note",
        _proxy_socket_read_only,
    ),
    Control(
        "containers.isolated",
        "No container is privileged or shares the host's namespaces",
        "high",
        "A break-in into such a container is one into the host. Appwrite needs none of it.",
        "remove privileged, network_mode, pid or cap_add from the service; then: docker compose up -d",
        "Appwrite 1.4.14 to 1.9.6, docker-compose.yml; CIS Docker Benchmark, section 5",
        _isolated,
    ),
    Control(
        "containers.images_pinned",
        "Every image has a tag of a release",
        "medium",
        "What is behind latest, main or a bare major number changes from one pull to the next: a recreate then upgrades by itself, without the "
        "migration that belongs to it.",
        "name the release in the image's tag; for Appwrite's own image, since 1.9.5: appwrite_security_variables: {_APP_VERSION: %s}"
        % catalogue.NEWEST,
        "Appwrite 1.9.6, docker-compose.yml, whose default is latest",
        _images_pinned,
    ),
    Control(
        "containers.release_current",
        "The release is the newest that this collection knows",
        "medium",
        "Appwrite publishes security updates for its latest release alone.",
        _UPGRADE,
        "Appwrite, SECURITY.md",
        _release_current,
    ),
    ONE_RELEASE,
    Control(
        "containers.release_not_vulnerable",
        "The release has no known vulnerability",
        "high",
        "What is published is tried on every address. Appwrite has no list of its own; this one is made of CVE records, the GitHub Advisory "
        "Database, merged fixes and Appwrite's changelog, and bears the date on which these were last read. Where no severity stands, nobody has "
        "published one.",
        _UPGRADE,
        "CVE records, the GitHub Advisory Database and Appwrite's changelog, read on %s as far as %s"
        % (_releases.LOOKED_UP, _releases.PUBLIC_UNTIL),
        _release_not_vulnerable,
    ),
    Control(
        "containers.come_back",
        "Every service comes back after a restart of the engine",
        "medium",
        "After a reboot, a crash or an update of the engine the others stay down (appwrite/appwrite#13002): since 1.9.5 the official file leaves "
        "the policy out for most services, and on-failure does not count here.",
        "give each service restart: unless-stopped in %s; then: docker compose up -d" % _OVERRIDE,
        "Appwrite 1.9.6, docker-compose.yml; Docker Engine, start containers automatically",
        _come_back,
    ),
    Control(
        "containers.files_accepted",
        "Compose accepts the project's files",
        "high",
        "What runs goes on, but nothing can be started, changed or updated until the files are mended; an override is often left behind by an "
        "upgrade that removed the service that it is for.",
        "docker compose config --quiet (in the project's directory; it is silent once the files are right)",
        "Docker Compose, config and merging of files",
        _files_accepted,
    ),
    Control(
        "containers.running",
        "Every service runs and is healthy",
        "medium",
        "Nobody notices at once that a worker stands still: no audit log, no mail, no deletion, no certificate.",
        "docker compose ps --all, then docker compose logs <service>, then docker compose up -d",
        "Docker Engine, container states and health",
        _running,
    ),
    Control(
        "containers.current",
        "Every container was made from the present files",
        "medium",
        "A change takes effect with the recreate and not before; docker compose restart is not one (appwrite/appwrite#2322, #5042). Until then the "
        "files say one thing and the installation does another.",
        _APPLY,
        "docker compose config --hash, and the label of each container",
        _current,
    ),
    Control(
        "containers.nothing_lost",
        "A recreate takes no secret away",
        "high",
        "What a shell or a secrets manager gave at the start is in the containers alone. The next recreate by somebody else starts them without "
        "it, and a key that was lost so opens nothing any more.",
        _HAND_IN,
        "Docker Compose, precedence of environment variables",
        _nothing_lost,
    ),
    Control(
        "containers.no_orphans",
        "No container is left of a service that is gone",
        "low",
        "An upgrade or a changed file leaves the containers of removed services running, with old code and old secrets, and nobody updates them.",
        "docker compose up -d --remove-orphans (if they belong to a profile, appwrite_project_profiles names it instead)",
        "Docker Compose, up --remove-orphans",
        _no_orphans,
    ),
    Control(
        "containers.one_project",
        "One compose project alone was started from the directory",
        "high",
        "Two projects of one directory are two installations with two databases, and what is secured and saved may be that which nobody uses.",
        "docker compose ls --all (set appwrite_project_name to the one that is in use, and stop the other by docker compose -p <name> stop)",
        "Docker Compose, label com.docker.compose.project.working_dir",
        _one_project,
    ),
    Control(
        "containers.env_received",
        "Every value of .env that the release reads reaches a service",
        "medium",
        "Compose hands over only what it lists by name. If the file is older than the release, or was cut down, a setting stays in .env and "
        "does nothing.",
        "list the variable under environment of the services that read it, in %s; then: docker compose up -d"
        % _OVERRIDE,
        "Appwrite 1.9.6, docker-compose.yml",
        _env_received,
    ),
    Control(
        "containers.env_not_overridden",
        "No literal beats a value of .env",
        "medium",
        "A value that is written into a compose file wins over .env, so that changing it there has no effect.",
        "write the bare name in place of the literal, or the value into the file that is named; then: docker compose up -d",
        "Docker Compose, precedence of environment variables",
        _env_not_overridden,
    ),
    Control(
        "containers.shell_clean",
        "No variable of the shell beats .env",
        "medium",
        "Compose takes a variable from the shell before it takes it from .env. Appwrite's installer starts the project that way, and the "
        "next person, in another shell, gets other values.",
        "docker compose up -d, in a shell from which these variables were taken by unset, and in the profile that sets them",
        "Docker Compose, precedence of environment variables",
        _shell_clean,
    ),
)
