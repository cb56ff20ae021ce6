# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a key is the one that an installation runs with, and opens what is stored there. Writes nothing.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    GUARD,
    in_force,
    is_public,
    shown_fingerprint,
    told,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress_file import Progress
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import env_file_of, instance_of, opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import OLD, at_hand
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stored import check_sample, look, opening

STORED_INFO_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "key": {"type": "str", "no_log": True},
    "data": {"type": "bool", "default": True},
    "sample": {"type": "int", "default": 1000},
    "container": {"type": "str"},
    "client_image": {"type": "str"},
    "progress_file": {"type": "path"},
    "escrow_file": {"type": "path"},
    "cluster": {"type": "str"},
}


class _Found(NamedTuple):
    proved: bool
    words: str
    tried: bool = False
    opens: bool = False
    report: dict[str, Any] | None = None


def stored_info(module: AnsibleModule) -> dict[str, Any]:
    """What was not seen is not proved, and C(verdict) says so. Raises AppwriteError if there is no key to try."""
    tell = Progress(module.params["progress_file"])
    check_sample(module.params["sample"])
    instance = instance_of(module.params)
    instance.client_images = {"client_image": module.params["client_image"]}
    env_file = env_file_of(instance)
    opened(instance, env_file, past_guard=module.params["key"] is not None)
    is_guarded = GUARD.encode() in env_file.data
    current = "" if is_guarded else in_force(instance.values)
    key = module.params["key"] or current
    if not key:
        raise AppwriteError("key: is missing, and %s has none" % env_file.path)
    instance.compose.mask.add([key])
    data = (
        _data(key, instance, module.params["container"], module.params["sample"] or None, tell)
        if module.params["data"]
        else _Found(True, "what is stored was not opened, as requested")
    )
    findings = [_file(key, current, is_guarded), _containers(key, instance), data]
    return {
        "changed": False,
        "proved": all(found.proved for found in findings),
        "tried": data.tried,
        "opens": data.opens,
        "report": data.report,
        "warnings": instance.warnings,
        "verdict": "(%s): %s" % (told(key), "; ".join(found.words for found in findings)),
        "key": {"fingerprint": shown_fingerprint(key), "public": is_public(key)},
    }


def _file(key: str, current: str, is_guarded: bool) -> _Found:
    if key == current:
        return _Found(True, "it is the key in .env")
    if not current and not is_guarded:
        return _Found(False, "there is no key in .env")
    return _Found(
        False,
        "the key in .env is another one (%s)" % told(current)
        if not is_guarded
        else "there is no key in .env, since a rotation is unfinished; run ansible-playbook selfhost.appwrite.rotate",
    )


def _containers(key: str, instance: Instance) -> _Found:
    try:
        instance.containers()
    except AppwriteError as error:
        return _Found(False, "the containers could not be looked at: %s" % error)
    carried = dict(instance.container_keys())
    mine = carried.pop(key, ())
    if carried:
        return _Found(
            False,
            "containers have another key: %s"
            % "; ".join("%s in %s" % (told(other), ", ".join(names)) for other, names in sorted(carried.items())),
        )
    if not mine:
        return _Found(
            False, "there is no container with a key to compare with; start the project (docker compose up -d)"
        )
    return _Found(
        True,
        "%s with a key %s it"
        % (("the 1 service", "has") if len(mine) == 1 else ("all %d services" % len(mine), "have")),
    )


def _data(key: str, instance: Instance, container: str | None, sample: int | None, tell: Tell) -> _Found:
    """Raises AppwriteError if a container that was named cannot be looked at."""
    if container is None and instance.holds_data().state == "no":
        return _Found(True, "nothing is stored that it could open, since %s" % instance.holds_data().reason, True)
    report = None
    try:
        if at_hand() or container is not None:
            looked = look(instance, key, sample, container, tell)
            opened, closed, untried = looked.report.count(OLD), looked.report.undecryptable_count, looked.warnings
            report = looked.report.public()
        else:
            found = opening(instance, [key])
            opened, closed, untried = (
                found.opened[key],
                found.looked - found.opened[key],
                ["files are left out: the host's Python lacks cryptography"],
            )
    except AppwriteError as error:
        if container is not None:
            raise
        return _Found(False, "what is stored was not opened: %s" % error)
    if closed:
        return _Found(
            False,
            "%d of the %d stored values and files that were tried do not open with it" % (closed, opened + closed),
            True,
            False,
            report,
        )
    if not opened:
        return _Found(
            False, "the database holds an account, but no sealed value could be found to try it on", True, False, report
        )
    return _Found(
        True,
        "; ".join(["it opens the %d stored values and files that were tried" % opened] + untried),
        True,
        True,
        report,
    )
