# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(rekey): keeps both keys in escrow before anything is changed, and tells how far it is. See C(plugins/modules/rekey.py)."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import CIPHER_BYTES, same_cipher, shown_fingerprint, told, used_bytes
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import new_password, unseal
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings._model import generate
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow

_LENGTH = 64
_LONGEST = 7 * 24 * 3600
_POLL = 2.0
_MODULE = "selfhost.appwrite.rekey"
_UNFINISHED = ("prepared", "guarded", "sealed", "written")

display = Display()


class ActionModule(ActionBase):
    """The module runs in the background of the managed host, so that a connection that is lost does not end it."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        self._arguments = {name: value for name, value in self._task.args.items() if name != "escrow_file"}
        self._scope = self._arguments.get("scope", "verify")
        path = self._task.args.get("escrow_file")
        if self._scope not in ("values", "tokens"):
            return self._watched(self._arguments)
        if self._task.check_mode:
            return self._watched(self._arguments)
        if self._arguments.get("new_key") is not None:
            return self._watched(self._arguments)
        if not path:
            raise AnsibleActionFail("escrow_file: is missing; name the escrow file on the controller, or pass a new_key that you keep yourself")
        escrow = Escrow(path, self._loader._vault.secrets, C.DEFAULT_VAULT_ENCRYPT_IDENTITY)
        if not escrow.usable:
            raise AnsibleActionFail(
                "escrow_file: the new key cannot be kept in %s, since Ansible was given no vault secret; start it with --vault-password-file, --vault-id or "
                "--ask-vault-pass. Nothing was changed" % escrow.path)
        with escrow.locked():
            escrow.read()
            escrow.check_writable()
            return self._kept(escrow)

    def _kept(self, escrow: Escrow) -> dict[str, Any]:
        """Both keys are on the controller before the host is told the new one."""
        password = new_password()
        foreseen = self._foreseen(password)
        if foreseen.get("failed"):
            return foreseen
        old = unseal(foreseen["key"]["sealed"], password)
        origin = {name: str(value) for name, value in {
            "host": self._task_vars.get("inventory_hostname"), "project_src": self._arguments.get("project_src")}.items() if value}
        if foreseen.get("phase") not in _UNFINISHED and escrow.pending == old:  # the last run ended on the host, and was cut off from here
            before, now = escrow.key, {name: value for name, value in foreseen["key"].items() if name != "sealed"}
            escrow.add(old, origin)
            return dict(
                foreseen, changed=True, phase="finished" if self._scope == "values" else "written", new_key=now,
                key={"fingerprint": shown_fingerprint(before or ""), "public": before is None})
        if escrow.key is None and not foreseen["key"]["public"]:
            escrow.add(old, origin)
        if escrow.key not in (None, old) and escrow.key != escrow.pending:
            raise AnsibleActionFail(
                "escrow_file: %s holds another key (%s) than the one in force (%s). Run selfhost.appwrite.drill, which says "
                "what to do. Nothing was changed" % (escrow.path, told(escrow.key or ""), told(old)))
        if foreseen.get("phase") in _UNFINISHED:
            new = unseal(foreseen["new_key"]["sealed"], password)
        elif boolean(self._arguments.get("abort", False)):
            new = None
        else:
            new = escrow.pending if self._leads_on(old, escrow.pending) else self._new(old)
        if new not in (None, escrow.pending, escrow.key):
            escrow.stage(new, origin)
        result = self._watched({**self._arguments, "new_key": new})
        if result.get("phase") == "aborted":
            escrow.unstage()
        elif new and (result.get("phase") == "finished" or self._scope == "tokens" and not result.get("failed")):
            escrow.add(new, origin)
        return result

    def _foreseen(self, password: str) -> dict[str, Any]:
        given = {**self._arguments, "seal": password, "abort": False}
        if self._scope == "tokens":
            given.update(scope="verify", sample=1)
        with self._check_mode(True):
            return self._watched(given)

    def _leads_on(self, old: str, pending: str | None) -> bool:
        """Whether a run that was cut off may have told the host this key for the same scope."""
        return pending is not None and same_cipher(old, pending) == (self._scope == "tokens")

    def _new(self, old: str) -> str:
        if self._scope == "values":
            return generate(_LENGTH)
        kept = used_bytes(old).decode("utf-8", "surrogateescape")
        return kept + generate(_LENGTH - CIPHER_BYTES)

    def _watched(self, arguments: dict[str, Any]) -> dict[str, Any]:
        directory = self._make_tmp_path()
        progress = self._connection._shell.join_path(directory, "progress")
        self._task.async_val = _LONGEST
        try:
            started = self._execute_module(
                module_name=_MODULE, module_args={**arguments, "progress_file": progress}, task_vars=self._task_vars, wrap_async=True)
            if not started.get("ansible_job_id"):
                return started
            return self._wait(str(started["ansible_job_id"]), progress)
        finally:
            self._task.async_val = 0
            self._remove_tmp_path(directory, force=True)

    def _wait(self, job: str, progress: str) -> dict[str, Any]:
        told = ""
        jobs = self.get_shell_option("async_dir", default="~/.ansible_async")
        while True:
            time.sleep(_POLL)
            status = self._execute("ansible.legacy.async_status", jid=job, mode="status", _async_dir=jobs)
            if status.get("finished") or status.get("failed"):
                self._execute("ansible.legacy.async_status", jid=job, mode="cleanup", _async_dir=jobs)
                return {name: value for name, value in status.items() if name not in (
                    "ansible_job_id", "started", "finished", "results_file", "stdout", "stderr", "stdout_lines", "stderr_lines")}
            words = base64.b64decode(self._execute("ansible.legacy.slurp", src=progress).get("content") or "").decode("ascii", "replace").split()
            if len(words) == 3:
                told = "%s: %s %s of %s" % (self._task_vars.get("inventory_hostname"), *words)
            display.display(told or "%s: working" % self._task_vars.get("inventory_hostname"))

    def _execute(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A question to the host, which is asked in check mode too."""
        with self._check_mode(False):
            found: dict[str, Any] = self._execute_module(module_name=name, module_args=arguments, task_vars=self._task_vars)
        return found

    @contextlib.contextmanager
    def _check_mode(self, wanted: bool) -> Iterator[None]:
        before, self._task.check_mode = self._task.check_mode, wanted
        try:
            yield
        finally:
            self._task.check_mode = before
