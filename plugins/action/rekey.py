# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(rekey): keeps both keys in escrow before anything is changed, and tells how far it is. See C(plugins/modules/rekey.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import CIPHER_BYTES, is_public, same_cipher, shown_fingerprint, told, used_bytes
from ansible_collections.selfhost.appwrite.plugins.module_utils._phases import LENGTH, LOCKING
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import new_password, unseal
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings._model import generate
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import EscrowAction, printable
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import HOW, Escrow
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._watched import WatchedAction

OPTIONS: dict[str, dict[str, Any]] = {
    "escrow_file": {"type": "path"},
    "cluster": {"type": "str"},
    "abort": {"type": "bool", "default": False},
    "scope": {"type": "str", "default": "verify"},
    "step": {"type": "str", "default": "whole"},
}
_MODULE = "selfhost.appwrite.rekey"
_SECRET = ("key", "new_key", "seal")
_LOST = ("What it had done stands in its journal; run the same command again, which goes on from there, or with appwrite_rotation_abort=true, which goes "
         "back")


class _State(NamedTuple):
    """What the host says, without having looked at any data."""

    phase: str
    key: str
    """that what is stored was sealed with before the rotation"""
    new: str | None
    """that the journal of a rotation names"""


class ActionModule(EscrowAction, WatchedAction):
    """What takes long runs in the background of the managed host, so that a lost connection does not end it; it is handed no key."""

    def work(self) -> dict[str, Any]:
        self._arguments = {name: value for name, value in self._task.args.items() if name not in ("escrow_file", "cluster")}
        checked = ArgumentSpecValidator(OPTIONS).validate({name: value for name, value in self._task.args.items() if name in OPTIONS})
        if checked.error_messages:
            raise AnsibleActionFail("; ".join(checked.error_messages))
        self._own = checked.validated_parameters
        self._scope, path = self._own["scope"], self._own["escrow_file"]
        if self._own["step"] != "whole":
            return self.ask(_MODULE, self._arguments)
        if self._scope not in ("values", "tokens"):
            return self._verify(path)
        if self._task.check_mode and self._scope == "values":
            return self._unhanded(self._arguments)
        if self._task.check_mode or self._arguments.get("new_key") is not None:
            return self._handed(self._arguments)
        if not path:
            raise AnsibleActionFail("escrow_file: is missing; name the escrow file on the controller, or pass a new_key that you keep yourself")
        escrow = self.escrow(path, None)
        if not escrow.usable:
            raise AnsibleActionFail(
                "escrow_file: the new key cannot be kept in %s, since Ansible was given no vault secret; %s. Nothing was changed" % (escrow.path, HOW))
        with escrow.locked():
            escrow.read()
            escrow.check_writable()
            return self._kept(escrow)

    def _verify(self, path: str | None) -> dict[str, Any]:
        """With the key in the escrow, if that is given. With a key it is not for the background, where that would be left behind."""
        if path is None:
            return self._unhanded(self._arguments)
        escrow = self.escrow(path, self._own["cluster"])
        escrow.read()
        if escrow.key is None:
            raise AnsibleActionFail("escrow_file: %s %s" % (
                escrow.path, "holds no key but that of a rotation that is under way or ending; run ansible-playbook selfhost.appwrite.rotate"
                if escrow.pending else "holds no key that is in force; run ansible-playbook selfhost.appwrite.secure" if escrow.entries
                else "does not exist, so there is no key to try; ansible-playbook selfhost.appwrite.secure makes it"))
        found = self.ask(_MODULE, {**self._arguments, "key": escrow.key})
        if escrow.pending and not found.get("failed") and found.get("proved") is False:
            found["verdict"] = "%s. A rotation is under way or ending; run ansible-playbook selfhost.appwrite.rotate" % found.get("verdict")
        return found

    def _unhanded(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """In the background, unless there is a secret among the arguments, which would be left behind there."""
        return self.ask(_MODULE, arguments) if any(arguments.get(name) is not None for name in _SECRET) else self._watched(arguments)

    def _handed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The new key goes into the host's journal by a short task, and from there to the one that takes long."""
        if self._scope == "tokens":
            return self.ask(_MODULE, arguments)
        staged = self.ask(_MODULE, {**arguments, "step": "stage"})
        if staged.get("failed"):
            return dict(staged, phase="refused")
        return self._watched({name: value for name, value in arguments.items() if name not in _SECRET})

    def _kept(self, escrow: Escrow) -> dict[str, Any]:
        """Both keys are on the controller before the host is told the new one."""
        password = new_password()
        found = self.ask(_MODULE, {**self._arguments, "step": "state", "seal": password})
        if found.get("failed"):
            return found
        self.belongs(escrow, found.get("project"))
        state = self._state(found, password)
        if state.phase not in LOCKING and escrow.pending == state.key:  # the last run ended on the host, and was cut off from here
            before = escrow.key or ""
            escrow.add(state.key, self.notes())
            if not self._own["abort"] and same_cipher(before, state.key) == (self._scope == "tokens"):
                return {"changed": True, "phase": "finished" if self._scope == "values" else "written", "warnings": [], "key": _described(before),
                        "new_key": _described(state.key)}
        self._agree(escrow, state)
        if self._scope == "tokens" and (self._own["abort"] or is_public(state.key) or len(state.key.encode("utf-8", "surrogateescape")) <= CIPHER_BYTES):
            raise AnsibleActionFail("scope: %s. Nothing was changed" % (
                "with tokens there is nothing to go back from; leave abort out" if self._own["abort"] else
                "the key in force has no tail that could change without the data; rotate the whole key with scope: values"))
        if self._own["abort"]:
            if state.phase == "none" and escrow.pending:
                escrow.unstage()  # no host was told, or what it was told was refused
            result = self._unhanded(self._arguments)
        else:
            staged = state.new if self._scope == "values" else None
            new = staged or (escrow.pending if self._leads_on(state.key, escrow.pending) else None) or self._new(state.key)
            fresh = new not in [escrow.key, *escrow.others]
            if new not in (escrow.key, escrow.pending):
                escrow.stage(new, self.notes())
            result = self._handed({**self._arguments, "new_key": new})
            if result.get("phase") == "refused" and fresh:
                escrow.discard(new)
            elif result.get("phase") == "finished" or self._scope == "tokens" and not result.get("failed"):
                escrow.add(new, self.notes())
        if result.get("phase") == "aborted":
            escrow.unstage()
        return result

    def _state(self, found: Mapping[str, Any], password: str) -> _State:
        try:
            key, new = (unseal(found[name]["sealed"], password) if found.get(name) else None for name in ("key", "new_key"))
        except (AppwriteError, KeyError, TypeError):
            raise AnsibleActionFail("the managed host did not say which key is in force; another version of the collection may run there") from None
        if not key:
            raise AnsibleActionFail(
                "there is no encryption key in force on the host, so there is none to rotate; run selfhost.appwrite.secure. Nothing was changed")
        return _State(str(found.get("phase")), key, new)

    def _agree(self, escrow: Escrow, state: _State) -> None:
        """The host's journal says what data is under, then the data itself. The escrow follows, or this stops with the next step in words."""
        known = [escrow.key, *escrow.others]
        if escrow.key is None:
            if not is_public(state.key):
                escrow.add(state.key, self.notes())
        elif state.phase in LOCKING:
            if state.key not in known and state.new not in known and not is_public(state.key):
                raise AnsibleActionFail(
                    "escrow_file: a rotation is unfinished on the host, from the key with %s to the one with %s, and %s holds neither. Run this on the "
                    "controller where it was begun, or with that controller's escrow file. Nothing was changed"
                    % (told(state.key), told(state.new or ""), escrow.path))
        elif escrow.key != state.key:
            tried = self.ask(_MODULE, {**self._plain(), "scope": "verify", "key": state.key})
            if state.key not in known or not tried.get("opens"):
                raise AnsibleActionFail(
                    "escrow_file: %s holds another key (%s) than the one in force (%s), %s. %s. Nothing was changed" % (
                        escrow.path, told(escrow.key), told(state.key),
                        "and the one in force opens what is stored" if tried.get("opens") else "and the one in force opens nothing of what is stored"
                        if not tried.get("failed") else "and neither could be tried (%s)" % printable(str(tried.get("msg"))),
                        "Run selfhost.appwrite.secure with that key as appwrite_security_encryption_key, which saves it, and rotate then" if tried.get("opens")
                        else "Start the database, and run again" if tried.get("failed") else
                        "Remove the line of _APP_OPENSSL_KEY_V1 from .env and run selfhost.appwrite.secure, which tries the escrow's keys"))
            escrow.add(state.key, self.notes())  # the machine was put back to a time before an earlier rotation

    def _plain(self) -> dict[str, Any]:
        """The options that say which project it is."""
        other = ("abort", "backup_keep", "drain_timeout", "dump", "end_sessions", "key", "new_key", "sample", "scope", "seal", "waivers")
        return {name: value for name, value in self._arguments.items() if name not in other}

    def _leads_on(self, old: str, pending: str | None) -> bool:
        """Whether a run that was cut off may have told the host this key for the same scope."""
        if pending is None or self._scope == "tokens":
            return pending is not None and same_cipher(old, pending)
        return not pending.encode("utf-8", "surrogateescape").startswith(used_bytes(old))

    def _new(self, old: str) -> str:
        if self._scope == "values":
            return generate(LENGTH)
        kept = used_bytes(old).decode("utf-8", "surrogateescape")
        return kept + generate(LENGTH - CIPHER_BYTES)

    def _watched(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self.watch(_MODULE, arguments, _LOST)


def _described(key: str) -> dict[str, Any]:
    return {"fingerprint": shown_fingerprint(key), "public": not key or is_public(key)}
