# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action with a managed host that answers from a list, and an escrow file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, Owner

Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What a module returns, or a function of its arguments that makes it."""


@dataclass(frozen=True)
class Call:
    """A module that the managed host was told to run."""

    module: str
    arguments: dict[str, Any]
    check: bool
    background: bool


class Controller:
    """One escrow file, C(path), which is that of the project in C(/opt/appwrite) on the host C(one)."""

    secrets = [("default", VaultSecret(b"not-a-real-vault-password"))]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[Call] = []
        """what the host was told in the last run"""

    def run(
        self,
        plugin: Any,
        *answers: Answer,
        check: bool = False,
        vault: bool = True,
        on_call: Callable[[Call], Any] = lambda call: None,
        facts: Mapping[str, Any] | None = None,
        found: tuple[str, str] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Runs an action. The host gives the answers in this order, one a call, all of which have to be asked for; a job in the background ends at once.

        on_call: looks at the controller while the host is at work.
        found: the variable of the host's Python, and that, as Ansible finds it while it runs a module.
        """
        left = list(answers)
        self.calls = []

        def execute(
            module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any], wrap_async: bool = False
        ) -> dict[str, Any]:
            self.calls.append(Call(module_name, module_args, task.check_mode, wrap_async))
            on_call(self.calls[-1])
            action._discovered_interpreter_key, action._discovered_interpreter = found or (None, None)
            answer = left.pop(0)
            return dict(answer(module_args) if callable(answer) else answer)

        loader = DataLoader()
        loader.set_vault_secrets(self.secrets if vault else [])
        task = SimpleNamespace(
            args={"project_src": "/opt/appwrite", **arguments},
            check_mode=check,
            async_val=0,
            diff=False,
            environment=[],
            _parent=None,
            action="selfhost.appwrite.%s" % plugin.__name__.rpartition(".")[2],
        )
        shell = SimpleNamespace(
            join_path=lambda *parts: "/".join(parts),
            get_option=lambda name: "/jobs",
            remove=lambda path, recurse: "rm %s" % path,
            tmpdir=None,
        )
        action = plugin.ActionModule(
            task, SimpleNamespace(_shell=shell), SimpleNamespace(check_mode=check), loader, SimpleNamespace(), None
        )
        action._execute_module = execute
        action._make_tmp_path = lambda: "/copied"
        action._low_level_execute_command = lambda command, sudoable: None
        result: dict[str, Any] = action.run(task_vars={"inventory_hostname": "one", "ansible_facts": dict(facts or {})})
        assert not left and task.check_mode == check and not task.async_val
        return result

    @property
    def escrow(self) -> Escrow:
        """As it is now."""
        found = Escrow(str(self.path), self.secrets, owner=Owner("one", None, "/opt/appwrite"))
        found.read()
        return found

    def keep(self, *keys: str, pending: str | None = None, owner: Owner | None = None) -> Escrow:
        """Writes the escrow file: the key in force, then history."""
        found = Escrow(str(self.path), self.secrets, owner=owner or Owner("one", None, "/opt/appwrite"))
        with found.locked():
            for key in reversed(keys):
                found.add(key, {"host": "one"})
            if pending:
                found.stage(pending, {})
        return found


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path / "one.yml")


@pytest.fixture(autouse=True)
def _quick(quick_fingerprints: None) -> None:
    pass
