# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(stored_info), with the key of an escrow file on the controller if one is named. See C(plugins/modules/stored_info.py)."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import HOW
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow_action import EscrowAction
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._watched import WatchedAction

_MODULE = "selfhost.appwrite.stored_info"


class ActionModule(EscrowAction, WatchedAction):
    """In the background of the managed host, unless it is handed a key, which would be left behind there."""

    OPTIONS = {"escrow_file": {"type": "path"}, "cluster": {"type": "str"}, "key": {"type": "str", "no_log": True}}

    def carry_out(self) -> dict[str, Any]:
        """Raises AnsibleActionFail if both a key and an escrow file are given."""
        key, path = self._own["key"], self._own["escrow_file"]
        if key is not None and path is not None:
            raise AnsibleActionFail(
                "key: is given together with `escrow_file`, which holds a key too; leave one of the two out"
            )
        if key is not None:
            return self.ask(_MODULE, self._arguments)
        if path is None:
            return self.watch(_MODULE, self._arguments, "Nothing was changed; run it again")
        escrow = self.escrow(self._own["cluster"])
        escrow.read()
        if escrow.key is None:
            raise AnsibleActionFail(
                "escrow_file: %s %s"
                % (
                    escrow.path,
                    "holds no key but that of a rotation that is under way or ending; run ansible-playbook selfhost.appwrite.rotate"
                    if escrow.pending
                    else "holds no key that is in force; run ansible-playbook selfhost.appwrite.secure"
                    if escrow.entries
                    else "does not exist, so there is no key to try; ansible-playbook selfhost.appwrite.secure makes it"
                    if escrow.usable
                    else "does not exist and cannot, since Ansible was given no vault secret; %s" % HOW,
                )
            )
        found = self.ask(_MODULE, {**self._arguments, "key": escrow.key})
        if escrow.pending and not found.get("failed") and found.get("proved") is False:
            found["verdict"] = (
                "%s. A rotation is under way or ending; run ansible-playbook selfhost.appwrite.rotate"
                % found.get("verdict")
            )
        return found
