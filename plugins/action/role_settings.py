# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settles a role's variables on the controller, before the first contact with the host. See C(plugins/modules/role_settings.py)."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import refuse_facts, validated
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import (
    Escrow,
    EscrowError,
    Owner,
    default_path,
    former_path,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "role": {"type": "str", "required": True, "choices": ["appwrite_audit", "appwrite_rotation", "appwrite_security"]},
    "names": {"type": "list", "elements": "str", "default": []},
}
_CLUSTER = "appwrite_security_cluster"


class ActionModule(ActionBase):
    """Asks the managed host nothing."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        options = validated(OPTIONS, self._task.args)
        role = options["role"]
        names = ["%s_%s" % (role, name) for name in options["names"]]
        escrow_files = ["%s_escrow_file" % role, "appwrite_security_escrow_file"]
        refuse_facts(self._task_vars, [*names, *escrow_files, _CLUSTER])
        owner = Owner(str(self._task_vars["inventory_hostname"]), self._text(_CLUSTER), self._project(role))
        file = next(filter(None, map(self._text, escrow_files)), None) or self._default(role, owner)
        return {
            "changed": False,
            "settings": {name[len(role) + 1 :]: self._value(name) for name in names},
            "escrow": {"file": file, "host": owner.host, "cluster": owner.cluster, "project_src": owner.project_src},
        }

    def _project(self, role: str) -> str:
        found = self._text("%s_project_src" % role)
        if not found:
            raise AnsibleActionFail(
                "%s_project_src: is missing; name the directory on the managed host that holds Appwrite's docker-compose.yml"
                % role
            )
        return posixpath.normpath(found)

    def _default(self, role: str, owner: Owner) -> str:
        """Beside the inventory, or in the current directory for hosts that were named on the command line."""
        folder = os.path.join(self._text("inventory_dir") or os.environ.get("PWD") or os.getcwd(), ".appwrite-escrow")
        path, former = default_path(folder, owner), former_path(folder, owner)
        if os.path.lexists(path) or not os.path.lexists(former):
            return path
        escrow = Escrow(former, self._loader._vault.secrets, C.DEFAULT_VAULT_ENCRYPT_IDENTITY)
        try:
            return escrow.moved_to(path, owner, dry_run=self._task.check_mode)
        except EscrowError:
            if role == "appwrite_audit":  # which reports it
                return former
            raise

    def _text(self, name: str) -> str | None:
        value = self._value(name)
        if value in (None, "", False):
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise AnsibleActionFail("%s: is not text; write it in quotes" % name)
        return str(value)

    def _value(self, name: str) -> Any:
        return self._templar.template(self._task_vars[name]) if name in self._task_vars else None
