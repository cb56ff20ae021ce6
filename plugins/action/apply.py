# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module C(apply), and tells how far it is if that is wanted. See C(plugins/modules/apply.py)."""

from __future__ import annotations

from typing import Any

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._watched import WatchedAction

_LOST = "What it has started keeps running; run the same command again, which waits for that and starts the rest"


class ActionModule(WatchedAction):
    """In check mode nothing is waited for, so there is nothing to tell."""

    def work(self) -> dict[str, Any]:
        if self.own({"progress": {"type": "bool", "default": False}})["progress"] and not self._task.check_mode:
            return self.watch("selfhost.appwrite.apply", self._task.args, _LOST)
        return super().work()
