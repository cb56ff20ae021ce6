# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key a host is asked about, and what an escrow with a rotation under way adds to the answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible_collections.selfhost.appwrite.plugins.action import stored_info
from ansible_collections.selfhost.appwrite.plugins.module_utils import _key
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, Owner

OLD, NEW = ("%s-not-a-real-key-of-the-tests" % (letter * 16) for letter in ("aB3", "cD4"))
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "one.yml")


@pytest.fixture
def run(monkeypatch):
    """Returns the result, and how the module was called: by itself, or in the background."""
    monkeypatch.setattr(_key, "_ROUNDS", 1)

    def make(proved: bool = True, **arguments: Any) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
        loader = DataLoader()
        loader.set_vault_secrets(SECRETS)
        task = SimpleNamespace(args={"project_src": "/opt/appwrite", **arguments}, check_mode=False, async_val=0, action="selfhost.appwrite.stored_info",
                               diff=False, environment=[], _parent=None)
        action = stored_info.ActionModule(task, SimpleNamespace(), SimpleNamespace(check_mode=False), loader, SimpleNamespace(), None)
        asked: list[tuple[str, dict[str, Any]]] = []
        found = {"proved": proved, "verdict": "the verdict"}

        def note(how: str, given: dict[str, Any]) -> dict[str, Any]:
            asked.append((how, given))
            return dict(found)

        monkeypatch.setattr(action, "_execute_module", lambda module_args, **_more: note("by itself", module_args))
        monkeypatch.setattr(action, "watch", lambda _module, given, _lost: note("in the background", given))
        action._task_vars = {"inventory_hostname": "one"}
        return action.work(), asked
    return make


def hold(path: str, *keys: str, pending: str | None = None) -> None:
    escrow = Escrow(path, SECRETS, owner=Owner("one", None, "/opt/appwrite"))
    with escrow.locked():
        for key in keys:
            escrow.add(key, {"host": "one"})
        if pending:
            escrow.stage(pending, {})


def test_the_key_in_force(run):
    _found, asked = run(sample=0)
    assert asked == [("in the background", {"project_src": "/opt/appwrite", "sample": 0})]


def test_a_key_is_not_left_in_the_background(run, path):
    assert run(key=OLD)[1] == [("by itself", {"project_src": "/opt/appwrite", "key": OLD})]
    hold(path, OLD)
    assert run(escrow_file=path)[1] == [("by itself", {"project_src": "/opt/appwrite", "key": OLD})]


@pytest.mark.parametrize("proved", [True, False])
def test_a_rotation_is_under_way(run, path, proved):
    hold(path, OLD, pending=NEW)
    found, asked = run(proved, escrow_file=path)
    assert asked[0][1]["key"] == OLD
    assert found["verdict"].endswith("the verdict" if proved else "run ansible-playbook selfhost.appwrite.rotate")


def test_refused(run, path):
    with pytest.raises(AnsibleActionFail, match="^escrow_file: .* does not exist, so there is no key to try"):
        run(escrow_file=path)
    hold(path, pending=NEW)
    with pytest.raises(AnsibleActionFail, match="under way or ending; run ansible-playbook selfhost.appwrite.rotate"):
        run(escrow_file=path)
    with pytest.raises(AnsibleActionFail, match="^key: is given, and an escrow_file"):
        run(escrow_file=path, key=OLD)
    with pytest.raises(AnsibleActionFail, match="escrow_file"):
        run(escrow_file={"a": 1})
