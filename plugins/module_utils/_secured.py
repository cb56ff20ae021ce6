# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of C(security): the file is written, applied and verified under one lock, and put back if it fails.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Collection, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._apply import (
    APPLY_OPTIONS,
    ApplyError,
    Way,
    applied,
    expected,
    gone_back,
    not_well,
    way_of,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, unforeseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.opening import opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import (
    console_access,
    encryption_key,
    https,
    variables,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import Then, Transaction

SETTINGS: dict[str, ModuleType] = {
    "env": variables,
    "encryption_key": encryption_key,
    "https": https,
    "console_access": console_access,
}
"""In the order in which they are planned: the whole file first, then what is set in it."""
NESTED_OPTIONS: dict[str, dict[str, Any]] = {
    name: {"type": "dict", "options": setting.OPTIONS, "no_log": False} for name, setting in SETTINGS.items()
}
SECURED_OPTIONS: dict[str, dict[str, Any]] = {
    "apply": {"type": "bool", "default": False},
    "verify": APPLY_OPTIONS["verify"],
    "timeout": APPLY_OPTIONS["timeout"],
    "rollback": {"type": "bool", "default": True},
}
_UNWRITTEN_KEYS = ("restored", "recovered", "supplied")
"""States of a key that a check would look for in the file in vain."""
_NOTHING_CHANGED = (
    "This run had not changed the .env file, so there was nothing to roll back. If an earlier run was interrupted after it had "
    "changed the file, the newest .env.*.bak is the file of before."
)
_NO_BACKUP = "There is no earlier .env file to go back to: this run made it, or changed it without a backup. Mend this and run again."


def secure(module: AnsibleModule) -> dict[str, Any]:
    """The result of the module C(security).

    Raises AppwriteError if it is refused, and ApplyError if it was written and does not come up, in words that say whether it was put back.
    """
    if not module.params["apply"]:
        return _written(module)
    way = way_of(module)._replace(regardless=(module.params["https"] or {}).get("force") == "true")

    def then(
        instance: Instance, env_file: EnvFile, document: Document, written: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        if way.check_mode:
            return _foreseen(way, instance, document, written)
        back = way._replace(goes_back=True, excused=not_well(instance.containers()))
        try:
            if written["changed"]:
                env_file.read()
                document = opened(instance, env_file, expected=expected(way._replace(verify=False)))
            found = applied(way, instance, document)
        except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is, what was written is not to stay
            rolled_back, words, warnings = _way_back(module, back, instance, env_file, written)
            raise ApplyError(
                "%s. %s" % (_said(error).rstrip("."), words),
                **{
                    **getattr(error, "details", {}),
                    "changes": written["changes"],
                    "backup_file": written["backup_file"],
                    "rolled_back": rolled_back,
                    "warnings": list(dict.fromkeys([*instance.warnings, *warnings])),
                },
            ) from None
        return _together(written, found)

    return _written(module, then, [*expected(way), "fingerprint"])


def _written(module: AnsibleModule, then: Then | None = None, asked: Collection[str] = ()) -> dict[str, Any]:
    wishes = [(setting, module.params[name]) for name, setting in SETTINGS.items() if module.params[name] is not None]
    return Transaction(module, wishes, opening).run(then, asked)


def _foreseen(way: Way, instance: Instance, document: Document, written: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the file on disk asks for, and what the candidate does beside that; where it differs from containers is known once it is written."""
    state = (written.get("key") or {}).get("state")
    way = way._replace(foreseen=written["recreates"])
    found = {} if state in _UNWRITTEN_KEYS else applied(way, instance, document)
    if written["changed"]:
        found = {name: value for name, value in found.items() if name != "drift"}
    recreated = sorted({*found.get("recreated", ()), *written["recreates"]})
    return _together(written, {**found, "recreated": recreated, "changed": bool(recreated or found.get("started"))})


def _together(written: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """One result of both steps; what is told twice is told once."""
    return {
        **found,
        "changed": written["changed"] or found["changed"],
        "warnings": list(dict.fromkeys([*written["warnings"], *found.get("warnings", ())])),
        "diff": [each for each in (written["diff"], found.get("diff")) if each],
    }


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, AppwriteError) else unforeseen(error)


def _way_back(
    module: AnsibleModule, way: Way, instance: Instance, env_file: EnvFile, written: Mapping[str, Any]
) -> tuple[bool, str, Sequence[str]]:
    """Whether the earlier file is in force again, what has become of it in words, and warnings."""
    if not module.params["rollback"]:
        return False, "The .env file was not rolled back.", ()
    if written["backup_file"] is None:
        return False, _NO_BACKUP if written["changes"] else _NOTHING_CHANGED, ()
    instance.forget_evidence()  # which was gathered before
    try:
        opened(instance, env_file)
        keep = module.params["backup_keep"]
        found = gone_back(way, instance, env_file, written["backup_file"], keep)
    except Exception as error:  # pylint: disable=broad-exception-caught  # the reason why it goes back must be told, too
        return False, "Going back failed too: %s" % _said(error), instance.warnings
    return True, "The old .env file was put back and applied.", found["warnings"]
