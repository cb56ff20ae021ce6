# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an installation, for people and playbooks to read.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document
from ansible_collections.selfhost.appwrite.plugins.module_utils._module import shown, shown_name
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import env_file_of, instance_of, opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.origin import ENV, NOWHERE


def describe(module: AnsibleModule) -> dict[str, Any]:
    instance = instance_of(module.params)
    env_file = env_file_of(instance)
    if not env_file.exists:
        instance.warnings.append("env_file: %s does not exist" % env_file.path)
    missing = None if module.params["env_file"] is None else ""
    document = opened(instance, env_file, missing, compose=False, expected=["containers"])
    evidence = instance.holds_data()
    drift, services = _observed(instance, document)
    key = _key.in_force(instance.values)
    instance.warnings += filter(None, [_key.weakness(key)])
    state = "absent" if not key else "placeholder" if _key.is_public(key) else "present"
    return {
        "changed": False,
        "env_file": env_file.path,
        "release": instance.release,
        "project": instance.project,
        "services": services,
        "holds_data": evidence.state,
        "holds_data_reason": evidence.reason,
        "key": _key.describe(state, key).public(),
        "container_keys": _container_keys(instance),
        "drift": [entry for entry in drift if entry["kind"] != NOWHERE],
        "origins": _origins(instance, document),
        "variables": {shown_name(name): shown(name, value) for name, value in sorted(document.values.items())},
        "warnings": instance.warnings,
    }


def _container_keys(instance: Instance) -> dict[str, list[str]]:
    """By what may be said of each key, which of two weak ones may be the same."""
    found: dict[str, list[str]] = {}
    for used, names in instance.container_keys().items():
        if used:
            known = found.setdefault(_key.shown_fingerprint(used) or _key.told(used), [])
            known[:] = sorted([*known, *names])
    return found


def _observed(instance: Instance, document: Any) -> tuple[list[dict[str, str]], dict[str, str]]:
    try:
        containers = {container.service: _state(container) for container in instance.containers()}
        return instance.drift(document), {name: containers.get(name, "absent") for name in instance.services}
    except ComposeError as error:
        instance.warnings.append("containers could not be looked at: %s" % error)
        return [], {name: "unknown" for name in instance.services}


def _origins(instance: Instance, document: Document) -> dict[str, Any]:
    try:
        origins = instance.origins()
    except ComposeError as error:
        instance.warnings.append("origins could not be found out: %s" % error)
        origins = {}
    others = {name: places for name, places in sorted(origins.items()) if {place[0].kind for place in places} != {ENV}}
    return {
        "by_name": len(origins) - len(others),
        "unused": sum(catalogue.get(name) is not None and not instance.passed(name) for name in document.values),
        "others": {
            shown_name(name): [
                {"kind": found.kind, "name": shown_name(found.name), "file": file, "line": line, "services": services}
                for (found, file, line), services in places.items()
            ]
            for name, places in others.items()
        },
    }


def _state(container: Container) -> str:
    return container.status + (" (%s)" % container.health if container.health else "")
