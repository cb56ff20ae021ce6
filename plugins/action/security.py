# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(security), and keeps the encryption key in an escrow file on the controller. See C(plugins/modules/security.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import public_keys, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import new_password
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import ESCROW_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import HOW, Escrow
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow_action import EscrowAction, unsealed
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow_table import (
    ESCROW,
    ESCROWED_KEY,
    LEARNED_KEY,
    Do,
    File,
    Row,
    decide,
)

_MODULE = "selfhost.appwrite.security"
_DIED = "the module died on the host before it had a result: %s. What it may have written and started stays; run the same again, which goes on from there"


class ActionModule(EscrowAction):
    """One task on the managed host if the escrow has the key already, or none is wanted; else two, the first of which changes nothing."""

    OPTIONS = ESCROW_OPTIONS

    def carry_out(self) -> dict[str, Any]:
        """Raises AnsibleActionFail if C(encryption_key) is no dictionary, or the escrow is required and cannot be kept."""
        self._key_options = self._arguments.get("encryption_key") or {}
        if not isinstance(self._key_options, dict):
            raise AnsibleActionFail(
                "encryption_key: is not a dictionary; give the options of selfhost.appwrite.encryption_key"
            )
        wanted, path = self._own["escrow"], self._own["escrow_file"]
        escrow = self.escrow(self._own["cluster"]) if path and wanted != "off" else None
        file = (
            File.UNWANTED
            if wanted == "off"
            else File.UNNAMED
            if escrow is None
            else File.AT_HAND
            if escrow.usable or escrow.exists
            else File.NO_SECRET
        )
        missing = (
            "the encryption key cannot be kept in %s, since Ansible was given no vault secret: %s" % (escrow.path, HOW)
            if escrow
            else ""
        )
        apart = (
            bool(self._own["cluster"])
            and self._key_options.get("key") is None
            and self._key_options.get("escrowed") is None
        )
        row = decide(ESCROW, wanted == "required", file, apart)
        if row.do is Do.REFUSE:
            raise _refusal(row, missing=missing)
        if escrow is None:
            return self._ask(self._arguments)
        if row.do is Do.OPEN:
            return self._with(escrow)
        result = self._secure()
        if _can_be_lost(result):
            result.setdefault("warnings", []).append(
                "%s%s. Until then, losing .env loses the data" % (missing[:1].upper(), missing[1:])
            )
        return dict(result, escrow={"state": "none", "file": escrow.path})

    def _with(self, escrow: Escrow) -> dict[str, Any]:
        """The lock is held until the key is saved, and not while the host gets it: the hosts of a cluster have one file, and need not wait for each other."""
        row = self._opened(escrow)
        if row.do is Do.LEARN:
            with escrow.locked():
                row = self._opened(escrow)  # another fork may have been here first
                if row.do is Do.LEARN:
                    escrow.check_writable()
                    row, foreseen, key = self._learn(escrow)
        if row.do is Do.GIVE:
            joins = escrow.misses_host and not self._task.check_mode
            if joins:
                escrow.check_writable()
            result = self._secure(escrowed=escrow.key, **_remembered(escrow))
            if joins and not result.get("failed"):
                escrow.join()
            return dict(result, escrow={"state": "kept", "file": escrow.path})
        if row.do is Do.FORESEE:
            result = self._secure(**_remembered(escrow))
            state = "written" if _can_be_lost(result) else "none"
            return dict(
                result,
                changed=result.get("changed") or state == "written",
                escrow={"state": state, "file": escrow.path},
            )
        if row.do is Do.PASS_ON:
            return foreseen
        if row.do is Do.SECURE:
            return dict(self._secure(), escrow={"state": "none", "file": escrow.path})
        result = self._secure(key=key, **({"escrowed": key} if row.do is Do.SAVE_AND_GIVE else {}))
        if not result.get("failed"):
            result["key"] = {
                **(result["key"] if isinstance(result.get("key"), dict) else {}),
                "state": _state(foreseen),
            }
            result["changed"] = True
        for warning in foreseen.get("warnings") or []:
            if warning not in (result.get("warnings") or []):
                result.setdefault("warnings", []).append(warning)
        return dict(result, escrow={"state": "written", "file": escrow.path})

    def _opened(self, escrow: Escrow) -> Row:
        escrow.read()
        key, kept = escrow.key, self._key_options.get("escrowed")
        row = decide(
            ESCROWED_KEY,
            bool(kept) and key not in (None, kept),
            key is not None and self._key_options.get("key") in (None, key),
            self._task.check_mode,
        )
        if row.do is Do.REFUSE:
            raise _refusal(row, file=escrow.path, safe_key=told(kept), escrow_key=told(key or ""))
        return row

    def _learn(self, escrow: Escrow) -> tuple[Row, dict[str, Any], str]:
        """Learns in check mode which key the host has or would get, and saves it. Returns what to do next, what the host said, and the key."""
        password = new_password()
        foreseen = self._secure({"apply": False}, check_mode=True, seal=password, **_remembered(escrow))
        state = _state(foreseen)
        key = unsealed(foreseen["key"], password) if state else ""
        row = decide(
            LEARNED_KEY,
            bool(foreseen.get("failed")),
            bool(state) and key not in public_keys(),
            escrow.key is not None,
            state == "kept",
        )
        if row.do not in (Do.PASS_ON, Do.SECURE):
            self.belongs(escrow, foreseen.get("project"))
            if row.do is Do.REFUSE:
                raise _refusal(row, file=escrow.path, escrow_key=told(escrow.key or ""), host_key=told(key))
            escrow.add(key, self.notes(foreseen.get("release")))
        return row, foreseen, key

    def _secure(
        self, instead: Mapping[str, Any] | None = None, check_mode: bool | None = None, **key_options: Any
    ) -> dict[str, Any]:
        """instead: other arguments than the task's."""
        arguments = {**self._arguments, **(instead or {}), "encryption_key": {**self._key_options, **key_options}}
        return self._ask(arguments, check_mode)

    def _ask(self, arguments: Mapping[str, Any], check_mode: bool | None = None) -> dict[str, Any]:
        result = self.ask(_MODULE, arguments, check_mode=check_mode)
        checks = self._task.check_mode if check_mode is None else check_mode
        printed = result.get("module_stdout")  # if no result could be read
        if result.get("failed") and printed is not None and not checks:
            result["msg"] = _DIED % str(result.get("msg", "")).rstrip(".")
        return result


def _remembered(escrow: Escrow) -> dict[str, Any]:
    """What else may open the data, so that a refusal can name it."""
    return {
        **({"candidates": escrow.others} if escrow.others else {}),
        **({"pending": escrow.pending} if escrow.pending else {}),
    }


def _state(result: dict[str, Any]) -> str:
    """Of the key that the host has or would get; empty if it is the public one that stays, or nothing is said of it."""
    key = result.get("key")
    state = key.get("state") if isinstance(key, dict) and not result.get("failed") else None
    return "" if state in (None, "placeholder_kept") else str(state)


def _can_be_lost(result: dict[str, Any]) -> bool:
    """Whether the host has, or would get, a key that is not public, as far as its description tells."""
    return bool(_state(result)) and result["key"].get("effective_bits") != 0


def _refusal(row: Row, **words: str) -> AnsibleActionFail:
    return AnsibleActionFail(row.refusal % words)
