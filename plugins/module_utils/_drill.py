# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""Whether a key that was saved elsewhere is the one that an installation runs with, and opens what is stored. Writes nothing."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhost.appwrite.plugins.module_utils._cipher import OLD, at_hand
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import in_force, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._opened import env_file_of, opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._stored import look, opening


def drill(module: AnsibleModule, instance: Instance, tell: Tell) -> dict[str, Any]:
    """What was not seen is not proved, and C(verdict) says so."""
    key = module.params["key"]
    if not key:
        raise AppwriteError("key: is missing; name the escrow_file that it is in, or pass the key that was saved")
    document = opened(instance, env_file_of(instance), missing="")
    instance.compose.mask.add([key])
    findings = [_file(key, in_force(document.values)), _containers(key, instance)]
    if module.params["data"]:
        findings.append(_data(key, instance, module.params["sample"] or None, tell))
    else:
        findings.append((True, "what is stored was not opened, as was asked for"))
    return {"changed": False, "proved": all(proved for proved, _words in findings), "verdict": "(%s): %s" % (
        told(key), "; ".join(words for _proved, words in findings)), "warnings": instance.warnings}


def _file(key: str, current: str) -> tuple[bool, str]:
    return (True, "it is the key in .env") if key == current else (False, "the key in .env is another one (%s)" % told(current))


def _containers(key: str, instance: Instance) -> tuple[bool, str]:
    try:
        instance.containers()
    except AppwriteError as error:
        return False, "the containers could not be looked at: %s" % error
    carried = dict(instance.container_keys())
    mine = carried.pop(key, ())
    if carried:
        return False, "containers have another key: %s" % "; ".join("%s in %s" % (told(other), ", ".join(names)) for other, names in sorted(carried.items()))
    if not mine:
        return False, "no container with a key is there to compare with; start the project (docker compose up -d)"
    return True, "%s with a key %s it" % (("the 1 service", "has") if len(mine) == 1 else ("all %d services" % len(mine), "have"))


def _data(key: str, instance: Instance, sample: int | None, tell: Tell) -> tuple[bool, str]:
    if instance.holds_data().state == "no":
        return True, "nothing is stored that it could open, since %s" % instance.holds_data().reason
    try:
        if at_hand():
            looked = look(instance, key, sample, progress=tell)
            opened, closed, untried = looked.report.count(OLD), looked.report.undecryptable_count, looked.warnings
        else:
            found = opening(instance, [key])
            opened, closed, untried = found.opened[key], found.looked - found.opened[key], ["files are left out: the host's Python lacks cryptography"]
    except AppwriteError as error:
        return False, "what is stored was not opened: %s" % error
    if closed:
        return False, "%d of the %d stored values and files that were tried do not open with it" % (closed, opened + closed)
    return (True, "; ".join(["it opens the %d stored values and files that were tried" % opened] + untried)) if opened else (
        False, "the database holds an account, and yet no value that was sealed could be found to try it on")
