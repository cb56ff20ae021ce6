# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(stored_info), with the key of an escrow file on the controller if one is named. See C(plugins/modules/stored_info.py)."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import EscrowAction
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._watched import WatchedAction

OPTIONS: dict[str, dict[str, Any]] = {
    "escrow_file": {"type": "path"},
    "cluster": {"type": "str"},
    "key": {"type": "str", "no_log": True},
}
_MODULE = "selfhost.appwrite.stored_info"
_LOST = "Nothing was changed; run it again"


class ActionModule(EscrowAction, WatchedAction):
    """In the background of the managed host, unless it is handed a key, which would be left behind there."""

    def work(self) -> dict[str, Any]:
        arguments = {name: value for name, value in self._task.args.items() if name not in OPTIONS}
        checked = ArgumentSpecValidator(OPTIONS).validate({name: value for name, value in self._task.args.items() if name in OPTIONS})
        if checked.error_messages:
            raise AnsibleActionFail("; ".join(checked.error_messages))
        own = checked.validated_parameters
        if own["key"] is not None:
            if own["escrow_file"] is not None:
                raise AnsibleActionFail("key: is given, and an escrow_file that another one is in; leave one of them out")
            return self.ask(_MODULE, {**arguments, "key": own["key"]})
        if own["escrow_file"] is None:
            return self.watch(_MODULE, arguments, _LOST)
        escrow = self.escrow(own["escrow_file"], own["cluster"])
        escrow.read()
        if escrow.key is None:
            raise AnsibleActionFail("escrow_file: %s %s" % (
                escrow.path, "holds no key but that of a rotation that is under way or ending; run ansible-playbook selfhost.appwrite.rotate"
                if escrow.pending else "holds no key that is in force; run ansible-playbook selfhost.appwrite.secure" if escrow.entries
                else "does not exist, so there is no key to try; ansible-playbook selfhost.appwrite.secure makes it"))
        found = self.ask(_MODULE, {**arguments, "key": escrow.key})
        if escrow.pending and not found.get("failed") and found.get("proved") is False:
            found["verdict"] = "%s. A rotation is under way or ending; run ansible-playbook selfhost.appwrite.rotate" % found.get("verdict")
        return found
