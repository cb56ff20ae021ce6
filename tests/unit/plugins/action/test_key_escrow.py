# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key of a host the controller keeps, and which it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible_collections.selfhost.appwrite.plugins.action import key_escrow
from ansible_collections.selfhost.appwrite.plugins.module_utils import _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import describe
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import seal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, Owner

OWN, WEAK, PUBLIC = "aB3-not-a-real-key-of-the-tests", "0" * 32, "your-secret-key"
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_key, "_ROUNDS", 1)
    _key.fingerprint.cache_clear()
    yield
    _key.fingerprint.cache_clear()


class Host:
    """A managed host as the action sees it: what it is asked, and what it answers."""

    def __init__(self, key: str, state: str) -> None:
        self.key, self.state = key, state
        self.asked: list[dict[str, Any]] = []

    def __call__(self, module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        assert module_name == "selfhost.appwrite.security"
        options = module_args["encryption_key"]
        self.asked.append(options)
        sealed = {"sealed": seal(self.key, options["seal"])} if "seal" in options else {}
        return {"changed": self.state != "kept", "project": "appwrite", "key": {**describe(self.state, self.key).public(), **sealed}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the action on a host."""
    def make(host: Host, check: bool = False, vault: bool = True) -> dict[str, Any]:
        loader = DataLoader()
        loader.set_vault_secrets(SECRETS if vault else [])
        task = SimpleNamespace(
            args={"project_src": "/opt/appwrite", "escrow_file": str(tmp_path / "one.yml")}, check_mode=check, async_val=0,
            action="selfhost.appwrite.key_escrow", diff=False, environment=[], _parent=None)
        action = key_escrow.ActionModule(task, SimpleNamespace(), SimpleNamespace(check_mode=check), loader, SimpleNamespace(), None)
        monkeypatch.setattr(action, "_execute_module", host)
        action._task_vars = {"inventory_hostname": "one"}
        return action.work()
    return make


@pytest.fixture
def escrow(tmp_path):
    """The escrow file as it is now."""
    def make() -> Escrow:
        found = Escrow(str(tmp_path / "one.yml"), SECRETS, owner=Owner("one", None, "/opt/appwrite"))
        found.read()
        return found
    return make


@pytest.mark.parametrize(("key", "state"), [(OWN, "kept"), (OWN, "recovered"), (OWN, "generated"), (WEAK, "kept")])
def test_own_key_is_kept(run, escrow, key, state):
    host = Host(key, state)
    result = run(host)
    assert result["escrow"]["state"] == "written" and result["key"]["state"] == state and escrow().key == key
    assert len(host.asked) == 2 and host.asked[1]["key"] == key


@pytest.mark.parametrize("state", ["recovered", "placeholder_kept"])
@pytest.mark.parametrize("check", [True, False])
def test_public_default_is_nobodys(run, escrow, state, check):
    """Neither where it is kept in the file nor where it is recovered from containers: an escrow of it could never be put back."""
    host = Host(PUBLIC, state)
    result = run(host, check)
    assert result["escrow"]["state"] == "none" and result["key"]["state"] == state and not escrow().exists
    assert "escrowed" not in host.asked[-1] and "sealed" not in result["key"]


@pytest.mark.parametrize(("key", "warned"), [(OWN, 1), (PUBLIC, 0)])
def test_only_own_key_can_be_lost(run, escrow, key, warned):
    result = run(Host(key, "recovered"), vault=False)
    assert result["escrow"]["state"] == "none" and len(result.get("warnings", [])) == warned and not escrow().exists
