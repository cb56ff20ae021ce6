# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which escrow file is an installation's, and what a role's variables are on the controller."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader

from ansible_collections.selfhost.appwrite.plugins.action import role_settings
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import EscrowError, Owner

PROJECT = {"appwrite_security_project_src": "/opt/appwrite/"}
FORMER = ".appwrite-escrow/one.yml"
PRESENT = ".appwrite-escrow/one@opt-appwrite.yml"


@pytest.fixture
def settle(controller, tmp_path):
    """The action on the host C(one) of an inventory in C(tmp_path). Values stand for themselves, without templates."""

    def make(role: str = "appwrite_security", names: Any = (), check: bool = False, **variables: Any) -> dict[str, Any]:
        loader = DataLoader()
        loader.set_vault_secrets(controller.secrets)
        task = SimpleNamespace(
            args={"role": role, "names": list(names)},
            check_mode=check,
            async_val=0,
            action="selfhost.appwrite.role_settings",
            diff=False,
        )
        templar = SimpleNamespace(template=lambda value: value)
        action = role_settings.ActionModule(
            task, SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)), SimpleNamespace(), loader, templar, None
        )
        return action.run(
            task_vars={"inventory_hostname": "one", "inventory_dir": str(tmp_path), "ansible_facts": {}, **variables}
        )

    return make


def file_of(result: dict[str, Any], directory: Path) -> str:
    return str(Path(result["escrow"]["file"]).relative_to(directory))


def test_settings(settle):
    found = settle(names=["escrow", "env_template"], appwrite_security_escrow="auto", **PROJECT)
    assert found["settings"] == {"escrow": "auto", "env_template": None} and found["changed"] is False
    assert {**found["escrow"], "file": None} == {
        "file": None,
        "host": "one",
        "cluster": None,
        "project_src": "/opt/appwrite",
    }


@pytest.mark.parametrize(
    ("role", "variables", "file"),
    [
        ("appwrite_security", {}, PRESENT),
        ("appwrite_security", {"appwrite_security_cluster": "shop"}, ".appwrite-escrow/@shop.yml"),
        ("appwrite_audit", {"appwrite_audit_project_src": "/srv/a"}, ".appwrite-escrow/one@srv-a.yml"),
    ],
)
def test_default_file(settle, tmp_path, role, variables, file):
    assert file_of(settle(role, **{**PROJECT, **variables}), tmp_path) == file


@pytest.mark.parametrize(
    ("role", "variables", "file"),
    [
        ("appwrite_security", {"appwrite_security_escrow_file": "/e/s.yml"}, "/e/s.yml"),
        ("appwrite_audit", {"appwrite_security_escrow_file": "/e/s.yml"}, "/e/s.yml"),
        (
            "appwrite_audit",
            {"appwrite_security_escrow_file": "/e/s.yml", "appwrite_audit_escrow_file": "/e/a.yml"},
            "/e/a.yml",
        ),
    ],
)
def test_named_file(settle, role, variables, file):
    assert settle(role, **{f"{role}_project_src": "/opt/appwrite"}, **variables)["escrow"]["file"] == file


@pytest.mark.parametrize("shell", [True, False])
def test_hosts_of_the_command_line(settle, tmp_path, monkeypatch, shell):
    """Which have no inventory that a file could lie beside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    if not shell:
        monkeypatch.delenv("PWD")
    assert file_of(settle(inventory_dir=None, **PROJECT), tmp_path) == PRESENT


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "appwrite_security_project_src: is missing"),
        ({**PROJECT, "appwrite_security_cluster": True}, "appwrite_security_cluster: is not text"),
        ({"appwrite_security_project_src": ["/opt"]}, "appwrite_security_project_src: is not text; write it in quotes"),
        (
            {**PROJECT, "ansible_facts": {"appwrite_security_escrow_file": "/x"}},
            "a fact of this host has the name of this variable",
        ),
    ],
)
def test_refused(settle, variables, words):
    with pytest.raises(AnsibleActionFail, match=words):
        settle(**variables)


def test_wrong_role(settle):
    with pytest.raises(AnsibleActionFail, match="value of role must be one of"):
        settle("other", **PROJECT)


# --- a file of the name that several hosts could have in common ---


def former(controller, tmp_path):
    (tmp_path / ".appwrite-escrow").mkdir()
    controller.path = tmp_path / FORMER
    controller.keep("not-a-real-key-of-the-tests", owner=Owner("one", None, "/opt/appwrite"))


@pytest.mark.parametrize(("check", "file"), [(True, FORMER), (False, PRESENT)])
def test_former_name(settle, controller, tmp_path, check, file):
    former(controller, tmp_path)
    assert file_of(settle(check=check, **PROJECT), tmp_path) == file and (tmp_path / file).exists()
    (tmp_path / PRESENT).touch()
    assert file_of(settle(**PROJECT), tmp_path) == PRESENT


def test_former_name_of_a_file_that_is_damaged(settle, controller, tmp_path):
    """The audit is told of it and reports it; the others stop."""
    former(controller, tmp_path)
    controller.path.write_bytes(b"{}")
    with pytest.raises(EscrowError, match="is damaged"):
        settle(**PROJECT)
    assert file_of(settle("appwrite_audit", appwrite_audit_project_src="/opt/appwrite"), tmp_path) == FORMER
