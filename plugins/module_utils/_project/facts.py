# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks compose and the engine for what C(up) is predicted from, with the C(.env) on disk or with one that is not written yet.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.asked import Asked
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import Facts
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance


class Candidate(NamedTuple):
    """The project with another C(.env) than that on disk."""

    data: bytes
    config: dict[str, Any]
    """as compose resolves it"""
    environments: Mapping[str, Mapping[str, str]]
    """service to what a container would get, by C(env_file) too, which compose reads from the disk"""


def facts_of(instance: Instance, candidate: Candidate | None = None) -> Facts:
    """Each question costs a process, so all are asked at once. Raises ComposeError if the engine does not answer."""
    compose = instance.compose
    environments: Mapping[str, Mapping[str, str]] = instance.services
    if candidate is None:
        config = instance.config
        plain, images = Asked(instance.hashes), Asked(instance.image_ids)
    else:
        config, environments = candidate.config, candidate.environments
        names, data = [service.get("image", "") for service in config["services"].values()], candidate.data
        plain, images = Asked(lambda: compose.hashes(data)), Asked(lambda: compose.image_ids(names))
    containers = instance.containers()
    return Facts(
        config["services"],
        environments,
        containers,
        {**plain.answer(), **_resolved(instance, containers, candidate)},
        images.answer(),
        compose.version,
    )


def hashes(instance: Instance, containers: Sequence[Container]) -> dict[str, str]:
    """Service to the hash of its configuration, as the labels of containers have it."""
    return {**instance.compose.hashes(), **_resolved(instance, containers)}


def _resolved(
    instance: Instance, containers: Sequence[Container], candidate: Candidate | None = None
) -> dict[str, str]:
    """The hashes of services that C(config --hash) answers otherwise for than C(up) labels them: those with an C(env_file)
    (docker/compose#14001), and those that share what another service has, which C(up) hashes with that container's id."""
    config = instance.config if candidate is None else candidate.config
    ids = {one.service: one.id for one in sorted(containers, key=lambda one: one.number, reverse=True)}
    with_files = (
        {name for name, service in instance.written.services.items() if service.get("env_file")}
        if instance.written.has_env_files
        else set()
    )
    found = {}
    for name, service in config["services"].items():
        shared = _with_ids(service, ids)
        if name in with_files and candidate is not None:
            unset = {name: None for name, value in (service.get("environment") or {}).items() if value is None}
            shared["environment"] = {**unset, **candidate.environments[name]}
        if shared or name in with_files:
            found[name] = {**service, **shared}
    if not found:
        return {}
    answer = instance.compose.hashes_of({**config, "services": {**config["services"], **found}})
    return {name: answer[name] for name in found if name in answer}


def _with_ids(service: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """What a service shares with others, as C(up) writes it down before it hashes it (pkg/compose/convergence.go)."""
    found: dict[str, Any] = {}
    for option in ("network_mode", "ipc", "pid"):
        _head, is_shared, name = str(service.get(option) or "").partition("service:")
        if is_shared and name in ids:
            found[option] = "container:" + ids[name]
    listed = [str(entry).split(":") for entry in service.get("volumes_from") or []]
    if listed:
        found["volumes_from"] = [
            parts[1] if parts[0] == "container" else ids.get(parts[0], ":".join(parts)) for parts in listed
        ]
    return found
