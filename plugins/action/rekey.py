# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(rekey): keeps both keys in escrow before anything is changed, and tells how far it is. See C(plugins/modules/rekey.py)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    CIPHER_BYTES,
    generate,
    is_public,
    shown_fingerprint,
    told,
    used_bytes,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import new_password
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    LENGTH,
    NONE,
    SEAL,
    STAGE,
    STATE,
    STILL,
    WHOLE,
    WRITE,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import printable
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import HOW, Escrow
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow_action import EscrowAction, unsealed
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow_table import (
    ROTATED,
    Do,
    Ended,
    Opens,
    State,
    decide,
    new_key,
    old_key,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._watched import WatchedAction

_MODULE, _STORED = "selfhost.appwrite.rekey", "selfhost.appwrite.stored_info"
_OF_STORED = (*PROJECT_OPTIONS, "client_image")
_SECRET = ("key", "new_key", "seal")
_LOST = (
    "What it has done is noted in its journal; run the same command again, which continues from there, or with `abort` set to true, which "
    "goes back"
)


class ActionModule(EscrowAction, WatchedAction):
    """What takes long runs in the background of the managed host, so that a lost connection does not end it; it is handed no key."""

    OPTIONS = {
        "escrow_file": {"type": "path"},
        "cluster": {"type": "str"},
        "abort": {"type": "bool", "default": False},
        "scope": {"type": "str", "required": True, "choices": ["values", "tokens"]},
        "step": {"type": "str", "default": WHOLE},
    }

    def carry_out(self) -> dict[str, Any]:
        """Raises AnsibleActionFail if C(escrow_file) is missing, or the escrow holds no key to go on with."""
        self._scope, path = self._own["scope"], self._own["escrow_file"]
        if self._own["step"] in (STILL, WRITE):
            return self._member()
        handed, rehearses = self._arguments.get("new_key") is not None, self._task.check_mode
        if self._own["step"] == STATE or self._own["step"] == STAGE and (handed or rehearses):
            return self.ask(_MODULE, self._arguments)
        if not (handed or rehearses or path):
            raise AnsibleActionFail(
                "escrow_file: is missing; name the escrow file on the controller, or pass a new_key that you keep yourself"
            )
        escrow = None if handed or not path else self._usable()
        if rehearses and escrow is not None:
            escrow.read()
        if rehearses and self._scope == "values":
            return self._unhanded(self._arguments)
        if rehearses or escrow is None:
            return self._handed(self._arguments)
        with escrow.locked():
            escrow.read()
            escrow.check_writable()
            return self._kept(escrow)

    def _usable(self) -> Escrow:
        escrow = self.escrow(self._own["cluster"])
        if not escrow.usable:
            raise AnsibleActionFail(
                "escrow_file: the new key cannot be kept in %s, since Ansible was given no vault secret; %s. Nothing was changed"
                % (escrow.path, HOW)
            )
        return escrow

    def _member(self) -> dict[str, Any]:
        """The part of a host in a rotation that another one of its cluster conducts, which has put the new key into their escrow file."""
        if self._own["step"] == STILL:
            if not self._task.check_mode:
                return self._unhanded(self._arguments)
            before = time.time()
            found = self.ask(_MODULE, self._arguments)
            now = found.get("now")
            clock = {"clock": [now - time.time(), now - before]} if isinstance(now, float) else {}
            return {**{name: value for name, value in found.items() if name != "clock"}, **clock}
        if self._arguments.get("new_key") is not None or self._task.check_mode or not self._own["escrow_file"]:
            return self.ask(_MODULE, self._arguments)
        escrow = self._usable()
        escrow.read()
        new = escrow.pending or escrow.key
        if not new:
            raise AnsibleActionFail(
                "escrow_file: there is no key in %s; name the file of the controller that has sealed everything, and run again"
                % escrow.path
            )
        return self.ask(_MODULE, {**self._arguments, "new_key": new})

    def _unhanded(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """In the background, unless there is a secret among the arguments, which would be left behind there."""
        return (
            self.ask(_MODULE, arguments)
            if any(arguments.get(name) is not None for name in _SECRET)
            else self._watched(arguments)
        )

    def _handed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The new key goes into the host's journal by a short task, and from there to the one that takes long."""
        if self._scope == "tokens":
            return self.ask(_MODULE, arguments)
        staged = self.ask(_MODULE, {**arguments, "step": STAGE})
        if staged.get("failed"):
            return dict(staged, phase="refused")
        if self._own["step"] == STAGE:
            return staged
        return self._watched({name: value for name, value in arguments.items() if name not in _SECRET})

    def _kept(self, escrow: Escrow) -> dict[str, Any]:
        """Both keys are on the controller before the host is told the new one."""
        password = new_password()
        found = self.ask(_MODULE, {**self._arguments, "step": STATE, "seal": password})
        if found.get("failed"):
            return found
        self.belongs(escrow, found.get("project"))
        host = _state(found, password)
        before = escrow.key or ""
        if self._agree(escrow, host) is Do.REPORT:
            return {
                "changed": True,
                "phase": "finished" if self._scope == "values" else "written",
                "warnings": [],
                "key": _described(before),
                "new_key": _described(host.key),
            }
        if self._own["step"] == SEAL and host.phase == NONE:
            raise AnsibleActionFail(
                "nothing is noted on the host of what was to be sealed, since another run has gone back meanwhile; run again when that one has ended"
            )
        row = new_key(escrow, host, self._scope, self._own["abort"])
        if row.do is Do.REFUSE:
            raise AnsibleActionFail(row.refusal)
        if row.do is Do.FORGET_AND_GO_BACK:
            escrow.unstage()
        return self._go_on(
            escrow, None if row.do in (Do.GO_BACK, Do.FORGET_AND_GO_BACK) else self._new(row.do, escrow, host)
        )

    def _agree(self, escrow: Escrow, host: State) -> Do:
        """The escrow follows what the host says, or this stops with the next step in words. Returns GO_ON or REPORT."""
        opens, tried = Opens.UNASKED, {}
        while (row := old_key(escrow, host, self._scope, self._own["abort"], opens)).do is not Do.GO_ON:
            if row.do is Do.REFUSE:
                raise AnsibleActionFail(
                    row.refusal
                    % {
                        "file": escrow.path,
                        "escrow_key": told(escrow.key or ""),
                        "host_key": told(host.key),
                        "host_new": told(host.new or ""),
                        "trouble": printable(str(tried.get("msg") or tried.get("verdict"))),
                    }
                )
            if row.do is Do.TRY:
                project = {name: value for name, value in self._arguments.items() if name in _OF_STORED}
                tried = self.ask(_STORED, {**project, "key": host.key})
                opens = Opens.YES if tried.get("opens") else Opens.NO if tried.get("tried") else Opens.UNTRIED
                continue
            escrow.add(host.key, self.notes())
            if row.do is Do.REPORT:
                break
        return row.do

    def _new(self, do: Do, escrow: Escrow, host: State) -> str | None:
        """The key to seal with."""
        if do is Do.TAKE_NOTED:
            return host.new
        if do is Do.TAKE_PENDING:
            return escrow.pending
        if do is Do.GENERATE:
            return generate(LENGTH)
        return used_bytes(host.key).decode("utf-8", "surrogateescape") + generate(LENGTH - CIPHER_BYTES)

    def _go_on(self, escrow: Escrow, new: str | None) -> dict[str, Any]:
        """new: the key to seal with, or nothing to go back."""
        fresh = new not in [escrow.key, *escrow.others]
        if new is not None and new not in (escrow.key, escrow.pending):
            escrow.stage(new, self.notes())
        if (
            new is None or self._own["step"] == SEAL
        ):  # which takes what was staged, as long as nobody has gone back meanwhile
            result = self._unhanded(self._arguments)
        else:
            result = self._handed({**self._arguments, "new_key": new})
        do = decide(ROTATED, new is None, self._scope == "tokens", _ended(result), fresh).do
        if do is Do.GIVE_UP:
            escrow.unstage()
        elif new is not None and do is Do.DISCARD:
            escrow.discard(new)
        elif new is not None and do is Do.PROMOTE:
            escrow.add(new, self.notes())
        return result

    def _watched(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self.watch(_MODULE, arguments, _LOST)


def _state(found: Mapping[str, Any], password: str) -> State:
    """What the module said with C(step=state)."""
    key, new = (unsealed(found[name], password) if found.get(name) else None for name in ("key", "new_key"))
    if not key:
        raise AnsibleActionFail(
            "there is no encryption key in force on the host, so there is none to rotate; run selfhost.appwrite.secure. Nothing was changed"
        )
    return State(str(found.get("phase")), key, new)


def _ended(result: Mapping[str, Any]) -> Ended:
    phases = {"aborted": Ended.ABORTED, "refused": Ended.REFUSED, "finished": Ended.FINISHED}
    return phases.get(str(result.get("phase")), Ended.FAILED if result.get("failed") else Ended.UNFINISHED)


def _described(key: str) -> dict[str, Any]:
    return {"fingerprint": shown_fingerprint(key), "public": not key or is_public(key)}
