# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions have in common that keep a managed host's encryption keys in an escrow file on the controller.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ansible import constants as C
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import unseal
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import HostAction
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, Owner

_OF_THE_CONTROLLER = ("escrow", "escrow_file", "cluster")


class EscrowAction(HostAction):
    """Splits the task's arguments into those that the action takes itself and those of the module, and opens the escrow file."""

    OPTIONS: ClassVar[Mapping[str, Any]]
    """What the action takes itself. All but what is of the controller alone is passed on, too."""

    def work(self) -> dict[str, Any]:
        """Raises AnsibleActionFail for an option that is not text."""
        for name in ("escrow_file", "cluster"):
            if not isinstance(
                self._task.args.get(name), (str, int, type(None))
            ):  # which would become the text of a list or a dictionary
                raise AnsibleActionFail("%s: is not text; write it in quotes" % name)
        self._own = self.own(self.OPTIONS)
        self._arguments = {name: value for name, value in self._task.args.items() if name not in _OF_THE_CONTROLLER}
        return self.carry_out()

    def carry_out(self) -> dict[str, Any]:
        """What the action does, by C(_own) and C(_arguments). Returns the task's result."""
        raise NotImplementedError

    def escrow(self, cluster: str | None) -> Escrow:
        """The file of O(escrow_file), which is refused when it is read if the controller alone can tell that it is another installation's."""
        told = self._task.args
        self._mine = Owner(
            self.host,
            cluster or None,
            posixpath.normpath(str(told.get("project_src") or ".")),
            str(told.get("project_name") or ""),
        )
        return Escrow(
            self._own["escrow_file"], self._loader._vault.secrets, C.DEFAULT_VAULT_ENCRYPT_IDENTITY, self._mine
        )

    def belongs(self, escrow: Escrow, project: Any) -> None:
        """Raises EscrowError if the file is of another compose project than the one that the host has there."""
        self._mine = replace(self._mine, project=project if isinstance(project, str) else "")
        escrow.require(self._mine)

    def notes(self, release: Any = None) -> dict[str, str]:
        """What stands beside a key."""
        return {
            "host": self.host,
            "cluster": self._mine.cluster or "",
            "project_src": self._mine.project_src,
            "project": self._mine.project,
            "release": release if isinstance(release, str) else "",
        }


def unsealed(described: Any, password: str) -> str:
    """The key that a host described and sealed. Raises AnsibleActionFail if there is none in what it said."""
    try:
        return unseal(described["sealed"], password)
    except (AppwriteError, KeyError, TypeError):
        raise AnsibleActionFail(
            "the managed host did not say which key it has; another version of the collection may run there"
        ) from None
