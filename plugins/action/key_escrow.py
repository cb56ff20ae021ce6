# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(security) and keeps the encryption key in an escrow file on the controller. See C(plugins/modules/key_escrow.py)."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import is_public, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import new_password, unseal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import EscrowAction
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import HOW, Escrow

OPTIONS: dict[str, dict[str, Any]] = {
    "escrow": {"type": "str", "choices": ["auto", "required", "off"], "default": "auto"},
    "escrow_file": {"type": "path"},
    "cluster": {"type": "str"},
}


class ActionModule(EscrowAction):
    """One task on the managed host where the escrow has the key already; two, of which the first changes nothing, where it has not."""

    def work(self) -> dict[str, Any]:
        self._arguments = {name: value for name, value in self._task.args.items() if name not in OPTIONS}
        checked = ArgumentSpecValidator(OPTIONS).validate({name: value for name, value in self._task.args.items() if name in OPTIONS})
        if checked.error_messages:
            raise AnsibleActionFail("; ".join(checked.error_messages))
        if not isinstance(self._arguments.get("encryption_key") or {}, dict):
            raise AnsibleActionFail("encryption_key: is not a dictionary; give the options of selfhost.appwrite.encryption_key")
        self._own = checked.validated_parameters
        if self._own["escrow"] == "off":
            self._require_one_key("without an escrow each would get one of its own")
            return self._secure()
        if not self._own["escrow_file"]:
            raise AnsibleActionFail("escrow_file: is missing; name a file on the controller, or set escrow to off")
        escrow = self.escrow(self._own["escrow_file"], self._own["cluster"])
        return self._with(escrow) if escrow.usable or escrow.exists else self._without(escrow)

    @property
    def _given(self) -> str | None:
        return (self._arguments.get("encryption_key") or {}).get("key")

    def _without(self, escrow: Escrow) -> dict[str, Any]:
        missing = "the encryption key cannot be kept in %s, since Ansible was given no vault secret: %s" % (escrow.path, HOW)
        if self._own["escrow"] == "required":
            raise AnsibleActionFail("escrow: %s. Nothing was changed" % missing)
        self._require_one_key(missing)
        result = self._secure()
        if _has_own_key(result):
            result.setdefault("warnings", []).append("%s%s. Until then, losing .env loses the data" % (missing[:1].upper(), missing[1:]))
        return dict(result, escrow={"state": "none", "file": escrow.path})

    def _require_one_key(self, missing: str) -> None:
        options = self._arguments.get("encryption_key") or {}
        if self._own["cluster"] and options.get("key") is None and options.get("escrowed") is None:
            raise AnsibleActionFail("cluster: its hosts need one key, and %s; or pass the key. Nothing was changed" % missing)

    def _with(self, escrow: Escrow) -> dict[str, Any]:
        settled = self._is_settled(escrow)
        kept = (self._arguments.get("encryption_key") or {}).get("escrowed")
        if kept and escrow.key not in (None, kept):
            raise AnsibleActionFail(
                "encryption_key.escrowed: is another key (%s) than the one in the escrow file %s (%s). Let one of the two safes do it: set escrow to off, or "
                "leave escrowed out. Nothing was changed" % (told(kept), escrow.path, told(escrow.key)))
        if not settled and self._task.check_mode:
            result = self._secure(**self._remembered(escrow))
            state = "written" if _has_own_key(result) else "none"
            return dict(result, changed=result.get("changed") or state == "written", escrow={"state": state, "file": escrow.path})
        if not settled:
            with escrow.locked():
                if not self._is_settled(escrow):  # another fork may have been here first
                    escrow.check_writable()
                    return self._into(escrow)
        return dict(self._secure(escrowed=escrow.key, **self._remembered(escrow)), escrow={"state": "kept", "file": escrow.path})

    def _is_settled(self, escrow: Escrow) -> bool:
        """Reads the escrow: whether the key that is to be in force is there."""
        escrow.read()
        return escrow.key is not None and self._given in (None, escrow.key)

    @staticmethod
    def _remembered(escrow: Escrow) -> dict[str, Any]:
        """What else may open the data, so that a refusal can name it."""
        return {**({"candidates": escrow.others} if escrow.others else {}), **({"pending": escrow.pending} if escrow.pending else {})}

    def _into(self, escrow: Escrow) -> dict[str, Any]:
        """Learns in check mode which key the host has or would get, saves that, and only then has it written."""
        password = new_password()
        foreseen = self._secure(check_mode=True, seal=password, **self._remembered(escrow))
        if foreseen.get("failed") or not _has_own_key(foreseen, password):
            return foreseen if foreseen.get("failed") else dict(self._secure(), escrow={"state": "none", "file": escrow.path})
        self.belongs(escrow, foreseen.get("project"))
        key, state = _unsealed(foreseen["key"], password), foreseen["key"]["state"]
        if escrow.key is not None and state != "kept":
            raise AnsibleActionFail(
                "key: the escrow %s holds another key (%s) than the one that was passed (%s), and the host has neither. "
                "Leave `key` out, or move the escrow file away if it belongs to another installation. Nothing was changed"
                % (escrow.path, told(escrow.key), told(key)))
        escrow.add(key, self.notes(foreseen.get("release")))
        result = self._secure(key=key) if state == "kept" else self._secure(escrowed=key, key=key)
        if not result.get("failed"):
            result["key"] = {**(result["key"] if isinstance(result.get("key"), dict) else {}), "state": state}
            result["changed"] = True
        for warning in foreseen.get("warnings") or []:
            if warning not in (result.get("warnings") or []):
                result.setdefault("warnings", []).append(warning)
        return dict(result, escrow={"state": "written", "file": escrow.path})

    def _secure(self, check_mode: bool | None = None, **key_options: Any) -> dict[str, Any]:
        key = {**(self._arguments.get("encryption_key") or {}), **key_options}
        return self.ask("selfhost.appwrite.security", {**self._arguments, "encryption_key": key}, check_mode=check_mode)


def _unsealed(described: dict[str, Any], password: str) -> str:
    try:
        return unseal(described["sealed"], password)
    except (AppwriteError, KeyError, TypeError):
        raise AnsibleActionFail("the managed host did not say which key it has; another version of the collection may run there") from None


def _has_own_key(result: dict[str, Any], password: str | None = None) -> bool:
    """Whether there is a key to be kept, which the public default is not. password: what the key was sealed with, if it was."""
    key = result.get("key")
    if not isinstance(key, dict) or result.get("failed") or key.get("state") in (None, "placeholder_kept"):
        return False
    return key.get("effective_bits") != 0 if password is None else not is_public(_unsealed(key, password))
