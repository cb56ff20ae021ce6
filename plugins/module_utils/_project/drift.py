# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What C(up) would do, and where what runs is not what C(.env) says: decided from what compose and the engine have answered.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Collection, Iterable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import replicas
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.landscape import scaled

_SPARES_DEPENDENTS = (2, 29, 4)


@dataclass(frozen=True)
class Prediction:
    """What C(up -d) would do, by configuration hash, image id and state."""

    recreated: Mapping[str, str]
    """service to why"""
    started: tuple[str, ...]

    @property
    def changes(self) -> bool:
        return bool(self.recreated or self.started)

    def with_foreseen(self, services: Iterable[str]) -> Prediction:
        """The same after a change of the file that was only checked, by which these services would be recreated."""
        foreseen = {name: "recreated with the file as it was checked" for name in services}
        recreated = {**foreseen, **self.recreated} if foreseen else self.recreated
        return Prediction(recreated, tuple(name for name in self.started if name not in foreseen))


@dataclass(frozen=True)
class Facts:
    """A project as it stood at one moment, on which everything is decided until something has changed."""

    services: Mapping[str, Mapping[str, Any]]
    """as compose resolves them"""
    environments: Mapping[str, Mapping[str, str]]
    """service to what a container that is made now would get"""
    containers: Sequence[Container]
    hashes: Mapping[str, str]
    """service to the hash of its configuration"""
    images: Mapping[str, str]
    """name to id, of those that are here"""
    version: Callable[[], tuple[int, ...]]
    """of compose, which matters if something is recreated"""

    def of(self, service: str) -> list[Container]:
        return [container for container in self.containers if container.service == service]

    @property
    def scaled(self) -> dict[str, int]:
        """Service to the number of containers that somebody gave it by hand."""
        counts = Counter(service for service, _number in {(each.service, each.number) for each in self.containers})
        return scaled(counts, {name: replicas(service) for name, service in self.services.items()})

    def takes_key(self, service: str) -> bool:
        """Whether the compose file hands the key to a service."""
        return catalogue.KEY in (self.services.get(service, {}).get("environment") or {})


def predict(facts: Facts) -> Prediction:
    recreated: dict[str, str] = {}
    started = []
    for name, service in facts.services.items():
        present = facts.of(name)
        stale = [
            container
            for container in present
            if container.config_hash != facts.hashes.get(name)
            or container.image != facts.images.get(service.get("image", ""), container.image)
        ]
        if stale:
            names = sorted(
                variable
                for variable, value in facts.environments[name].items()
                if any(container.environment.get(variable) != value for container in stale)
            )
            recreated[name] = "recreated with %s" % (", ".join(names) or "another image or configuration")
        elif len(present) < replicas(service) or not all(container.is_on for container in present):
            started.append(name)
    if recreated:
        version = facts.version()
        follow = followers(facts.services, recreated, version) & {container.service for container in facts.containers}
        recreated.update({name: "recreated, because a service that it depends on is" for name in follow})
        started += restarted(facts.services, recreated, version) & {container.service for container in facts.containers}
    return Prediction(recreated, tuple(sorted(set(started) - set(recreated))))


def drift(
    values: Mapping[str, str],
    listed: Mapping[str, Mapping[str, Any]],
    environments: Mapping[str, Mapping[str, str]],
    containers: Iterable[Container],
    passed: Callable[[str], bool],
) -> list[dict[str, str]]:
    """Where what runs, or would run, is not what C(.env) says: C(service), C(name), C(kind).

    values: what C(.env) says.
    listed: service to what the compose file lists for it; a name that is nowhere set has C(None).
    environments: service to what a container that is made now would get.
    passed: whether the project hands a variable to any service.
    """
    found = []
    for container in containers:
        for name, value in listed.get(container.service, {}).items():
            if container.environment.get(name) != (None if value is None else str(value)):
                found.append({"service": container.service, "name": name, "kind": "stale"})
    for name, value in values.items():
        receivers = [service for service, environment in environments.items() if name in environment]
        found += [
            {"service": service, "name": name, "kind": "overridden"}
            for service in receivers
            if environments[service][name] != value
        ]
        if not receivers and catalogue.get(name) is not None and not passed(name):
            found.append({"service": "", "name": name, "kind": "not_passed"})
    return sorted(found, key=lambda entry: (entry["kind"], entry["service"], entry["name"]))


def followers(services: Mapping[str, Any], recreated: Iterable[str], version: tuple[int, ...]) -> set[str]:
    """The services that C(up) recreates only because another one is.

    Up to compose 2.29.3 those are all that depend on it, directly or through others; later, those that share its namespaces or volumes.
    """
    found = set(recreated)
    while True:
        more = {name for name, service in services.items() if name not in found and _leads(service, version) & found}
        if not more:
            return found - set(recreated)
        found |= more


def restarted(services: Mapping[str, Any], recreated: Collection[str], version: tuple[int, ...]) -> set[str]:
    """The services that C(up) stops and starts again since one is recreated on which they depend with C(restart: true).

    Since compose 2.29.4; before, they are recreated.
    """
    return {
        name
        for name, service in services.items()
        if version >= _SPARES_DEPENDENTS
        and any(how.get("restart") and other in recreated for other, how in (service.get("depends_on") or {}).items())
    }


def _leads(service: Mapping[str, Any], version: tuple[int, ...]) -> set[str]:
    shared = {str(service.get(field, "")).partition("service:")[2] for field in ("network_mode", "ipc", "pid")}
    shared |= {str(volume).split(":", 1)[0] for volume in service.get("volumes_from") or []}
    links = {str(link).split(":", 1)[0] for link in service.get("links") or []}
    return shared | ({*(service.get("depends_on") or {}), *links} if version < _SPARES_DEPENDENTS else set())


def service_environment(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Service to the environment that a container created now would get. A name that is nowhere set is left out."""
    return {
        name: {
            variable: str(value) for variable, value in (service.get("environment") or {}).items() if value is not None
        }
        for name, service in (config.get("services") or {}).items()
    }
