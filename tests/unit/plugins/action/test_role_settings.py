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
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader

from ansible_collections.selfhost.appwrite.plugins.action import role_settings
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, EscrowError, Owner

PROJECT = {"appwrite_security_project_src": "/opt/appwrite/"}
FORMER = ".appwrite-escrow/one.yml"
PRESENT = ".appwrite-escrow/one@opt-appwrite.yml"


@pytest.fixture
def settle(controller, tmp_path):
    """The action on the host C(one) of an inventory in C(tmp_path). Values stand for themselves, without templates."""

    def make(
        role: str = "appwrite_security", names: Any = (), check: bool = False, defaults: Any = None, **variables: Any
    ) -> dict[str, Any]:
        loader = DataLoader()
        loader.set_vault_secrets(controller.secrets)
        loader.set_basedir(str(tmp_path / "site"))
        task = SimpleNamespace(
            args={"role": role, "names": list(names)},
            check_mode=check,
            async_val=0,
            action="selfhost.appwrite.role_settings",
            module_defaults=defaults,
            diff=False,
            run_once=variables.pop("run_once", False),
            get_play=lambda: SimpleNamespace(strategy=variables.pop("strategy", "linear")),
            get_search_path=lambda: [str(role_settings._ROLES / role), str(tmp_path / "site" / "roles" / "shop")],
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


@pytest.mark.parametrize("inventory", [None, "None"])
@pytest.mark.parametrize("shell", [True, False])
def test_hosts_of_the_command_line(settle, tmp_path, monkeypatch, shell, inventory):
    """Which have no inventory that a file could lie beside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    if not shell:
        monkeypatch.delenv("PWD")
    assert file_of(settle(inventory_dir=inventory, **PROJECT), tmp_path) == PRESENT


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


def test_all_that_is_wrong_is_in_one_message(settle):
    with pytest.raises(AnsibleActionFail) as caught:
        settle(
            "appwrite_rotation",
            names=["backup_tasks", "confirm"],
            appwrite_rotation_scpoe="tokens",
            appwrite_rotation_scope="everything",
            appwrite_rotation_drain_timeout="an hour",
            appwrite_security_console_email="ada@example.com",
            appwrite_rotation_backup_tasks="snapshot.yml",
        )
    for words in (
        "appwrite_rotation_scpoe: no role of this collection has this variable; is appwrite_rotation_scope meant?",
        "appwrite_security_console_email: no role of this collection has this variable; is appwrite_security_console_emails",
        "value of appwrite_rotation_scope must be one of: ",
        "argument 'appwrite_rotation_drain_timeout' is of type str and we were unable to convert to int",
        "appwrite_rotation_project_src: is missing; name the directory",
        "or set appwrite_project_src for all roles",
        "appwrite_rotation_backup_tasks: there is no file /",
        "appwrite_rotation_confirm: rotating stops this Appwrite for a while; set it to one, or run with --check",
    ):
        assert words in str(caught.value)
    assert str(caught.value).endswith(". Nothing was changed")


# --- names ---


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("appwrite_security_force_http", "appwrite_security_force_https"),
        ("appwrite_security_project_source", "appwrite_security_project_src"),
        ("appwrite_audit_waivers", "appwrite_audit_waivers_file"),
        ("appwrite_audit_", "appwrite_audit_timer"),
        ("appwrite_project_file", "appwrite_project_files"),
    ],
)
def test_misspelled(name, near):
    [words] = role_settings.unknown({name: 1})
    assert f"{name}: no role" in words and f"is {near} meant?" in words


def test_all_roles_of_a_play_may_be_set():
    """The variables of all entry points of all roles, those handed to the operator's tasks, and whatever is not named after a role."""
    known = role_settings.variables_of_roles()
    assert {
        "appwrite_security_drill_data",
        "appwrite_security_safe_key",
        "appwrite_security_key_to_save",
        "appwrite_audit_timer",
        "appwrite_rotation_scope",
    } <= known
    others = ("__appwrite_security_settled", "appwrite_hosts", "appwrite_project_src", "appwrite_securityx", "shop")
    assert not list(role_settings.unknown([*known, *others]))


# --- the project, once for all roles ---


@pytest.mark.parametrize("role", role_settings.OPTIONS["role"]["choices"])
def test_project_of_all_roles(settle, role):
    given = {"appwrite_project_src": "/srv/all/", "appwrite_rotation_confirm": "one"}
    names = ["confirm"] if role == "appwrite_rotation" else []
    assert settle(role, names, **given)["escrow"]["project_src"] == "/srv/all"
    assert settle(role, names, **given, **{f"{role}_project_src": "/own"})["escrow"]["project_src"] == "/own"


@pytest.mark.parametrize("role", role_settings.OPTIONS["role"]["choices"])
def test_how_the_project_is_started(settle, role):
    given = {"appwrite_project_src": "/srv/all", "appwrite_rotation_confirm": "one"}
    names = ["confirm"] if role == "appwrite_rotation" else []
    assert settle(role, names, **given)["project"] == {}
    more = {"appwrite_project_files": ["a.yml", "b.yml"], "appwrite_project_name": "shop"}
    assert settle(role, names, **given, **more)["project"] == {"files": ["a.yml", "b.yml"], "project_name": "shop"}


GROUP = "group/selfhost.appwrite.appwrite"
DEFAULTS = {  # of a play, then of a block in it
    "none": ([], {}),
    "of another module": ([{"ansible.builtin.file": {"mode": "0600"}}], {}),
    "of one module of ours": ([{"selfhost.appwrite.env": {"project_name": "shop"}}], {}),
    "of the play": ([{GROUP: {"appwrite_version": "1.6.2", "backup_keep": 3}}], {"appwrite_version": "1.6.2"}),
    "of the play, and of another module": (
        [{GROUP: {"files": ["a.yml"]}}, {"ansible.builtin.file": {}}],
        {"files": ["a.yml"]},
    ),
    "of the block": ([{GROUP: {"files": ["a.yml"]}}, {GROUP: {"project_name": "shop"}}], {"project_name": "shop"}),
}


@pytest.mark.parametrize(("defaults", "found"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_of_all_modules(settle, defaults, found):
    """What a play says of the group holds for the role's tasks, too."""
    assert settle(defaults=defaults, **PROJECT)["project"] == found


def test_variable_beats_the_default_of_all_modules(settle):
    defaults = [{GROUP: {"files": ["a.yml"], "project_name": "of the play"}}]
    given = {"appwrite_project_files": [], "appwrite_project_name": "shop"}
    assert settle(defaults=defaults, **PROJECT, **given)["project"] == {"files": ["a.yml"], "project_name": "shop"}


# --- the operator's files ---


@pytest.mark.parametrize(
    ("name", "folder"), [("env_template", "templates"), ("safe_read_tasks", "tasks"), ("safe_write_tasks", "tasks")]
)
def test_places_of_a_file(settle, tmp_path, name, folder):
    """From the farthest to the nearest, so that each is found before those of the round before."""
    for place in (".", folder, "site", f"site/{folder}", "site/roles/shop", f"site/roles/shop/{folder}"):
        file = tmp_path / place / "one.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        found = settle(names=[name], **{f"appwrite_security_{name}": "one.yml"}, **PROJECT)
        assert found["settings"] == {name: str(file)}


def test_file_of_the_role_itself_is_nobodys(settle):
    with pytest.raises(
        AnsibleActionFail, match="appwrite_security_safe_read_tasks: there is no file .*/site/tasks/main.yml"
    ):
        settle(names=["safe_read_tasks"], appwrite_security_safe_read_tasks="main.yml", **PROJECT)


@pytest.mark.parametrize("value", [None, "", False])
def test_no_file(settle, value):
    assert settle(names=["env_template"], appwrite_security_env_template=value, **PROJECT)["settings"] == {
        "env_template": None
    }


def test_whole_path(settle, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "one.j2").touch()
    for given in (str(tmp_path / "one.j2"), "~/one.j2"):
        found = settle(names=["env_template"], appwrite_security_env_template=given, **PROJECT)
        assert found["settings"]["env_template"] == str(tmp_path / "one.j2")


def test_what_is_written_lies_beside_the_inventory(settle, tmp_path):
    for given, name in ((None, "appwrite-audit"), ("reports", "reports"), ("/reports", "/reports")):
        found = settle(
            "appwrite_audit", ["report_dir"], appwrite_audit_report_dir=given, appwrite_project_src="/opt/appwrite"
        )
        assert found["settings"]["report_dir"] == str(tmp_path / name)
    assert file_of(settle(appwrite_security_escrow_file="safe/one.yml", **PROJECT), tmp_path) == "safe/one.yml"


# --- what the audit is told ---


def audit(settle, **variables):
    return settle(
        "appwrite_audit",
        ["escrow", "waivers_file"],
        **{"appwrite_project_src": "/opt/appwrite", "appwrite_audit_escrow": "auto", **variables},
    )


def test_waivers(settle, tmp_path):
    waivers = tmp_path / "waivers.yml"
    entry = "- {control: host.observed, hosts: %s, justification: Replaced in spring, expires: 2027-03-31}\n"
    waivers.write_text(entry % "web" + entry % "other")
    found = audit(settle, appwrite_audit_waivers_file="waivers.yml", group_names=["web"])["waivers"]
    assert found == [{"control": "host.observed", "justification": "Replaced in spring", "expires": "2027-03-31"}]
    assert audit(settle)["waivers"] == []
    for text, words in (
        ("{", "waivers.yml: .*YAML"),
        (entry.replace("hosts: %s, ", ""), "waivers.yml: entry 1: hosts has to be"),
    ):
        waivers.write_text(text)
        with pytest.raises(AnsibleActionFail, match=f"(?s)appwrite_audit_waivers_file: .*/{words}"):
            audit(settle, appwrite_audit_waivers_file="waivers.yml")


def test_escrow_of_the_audit(settle):
    assert audit(settle)["escrow"]["state"] == {"fingerprint": None}
    off = audit(settle, appwrite_audit_escrow="off")
    assert off["escrow"]["state"] == {"unseen": "appwrite_audit_escrow is off"}


# --- which host is rotated ---


@pytest.mark.parametrize(
    ("check", "variables", "words"),
    [
        (False, {}, "appwrite_rotation_confirm: rotating stops"),
        (False, {"appwrite_rotation_confirm": "other"}, "set it to one"),
        (True, {}, None),
        (False, {"appwrite_rotation_confirm": "one"}, None),
        (False, {"appwrite_rotation_confirm": "one", "appwrite_security_cluster": "eu"}, "set it to eu"),
        (False, {"appwrite_rotation_confirm": "eu", "appwrite_security_cluster": "eu"}, None),
    ],
)
def test_confirmed(settle, check, variables, words):
    given = {"appwrite_project_src": "/opt/appwrite", **fleet(one={}), **variables}
    given["hostvars"]["one"].update(variables)
    if words is None:
        assert settle("appwrite_rotation", ["confirm"], check, **given)["escrow"]["host"] == "one"
        return
    with pytest.raises(AnsibleActionFail, match=words):
        settle("appwrite_rotation", ["confirm"], check, **given)


# --- which hosts are rotated together ---


class Hostvars(dict):
    """As Ansible's, which has a second way to ask for them as they are written."""

    raw_get = dict.__getitem__


def fleet(strategy: str = "linear", **hosts: Any) -> dict[str, Any]:
    """What Ansible knows of an inventory, all of whose hosts are in the play."""
    return {
        "strategy": strategy,
        "hostvars": Hostvars({name: {"ansible_facts": {}, **variables} for name, variables in hosts.items()}),
        "groups": {"all": list(hosts)},
        "ansible_play_batch": list(hosts),
    }


SHOP = {"appwrite_security_cluster": "shop"}
TOGETHER = {"appwrite_project_src": "/opt/appwrite", "appwrite_rotation_confirm": "shop", **SHOP}


def test_members(settle):
    """In the order of the inventory."""
    hosts = fleet(two=SHOP, blog={}, one=SHOP, eu={"appwrite_security_cluster": "eu"}, three={**SHOP})
    assert settle("appwrite_rotation", ["confirm"], **hosts, **TOGETHER)["members"] == ["two", "one", "three"]
    assert settle("appwrite_rotation", ["confirm"], **fleet(one=SHOP), **TOGETHER)["members"] == ["one"]
    assert settle(**PROJECT)["members"] == ["one"]
    alone = {"appwrite_project_src": "/opt/appwrite", "appwrite_rotation_confirm": "one"}
    assert settle("appwrite_rotation", ["confirm"], **alone)["members"] == ["one"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"ansible_play_batch": ["one"]},
            "two, three are not in this play, or cannot be reached: see that all of shop run",
        ),
        ({"ansible_play_batch": ["one", "three"]}, "two is not in this play"),
        ({"strategy": "ansible.builtin.free"}, "needs the strategy linear, which is Ansible's default, and not free"),
        ({"run_once": True}, "each have a part in the rotation; leave out `run_once`"),
        (
            {"appwrite_rotation_scope": "tokens"},
            "appwrite_rotation_scope: of hosts that share one database only the whole",
        ),
        ({"hostvars": Hostvars(one={}, two=SHOP, three=SHOP)}, "set it in the inventory"),
        (
            {
                "hostvars": Hostvars(
                    one=SHOP, two={**SHOP, "ansible_facts": {"appwrite_security_cluster": ""}}, three={}
                )
            },
            "appwrite_security_cluster: a fact of this host has the name of this variable",
        ),
    ],
)
def test_not_together(settle, variables, words):
    given = {**fleet(one=SHOP, two=SHOP, three=SHOP), **TOGETHER, **variables}
    with pytest.raises(AnsibleActionFail, match=words):
        settle("appwrite_rotation", ["confirm"], **given)
    with pytest.raises(AnsibleActionFail, match=words):
        settle("appwrite_rotation", ["confirm"], True, **given)


@pytest.mark.parametrize(
    "inventory", [{"one": SHOP}, {"one": SHOP, "three": SHOP}, {"one": SHOP, "two": {}, "three": SHOP}]
)
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("file", ["", "keys/shop.yml"])
def test_left_out_of_the_inventory(settle, controller, tmp_path, inventory, check, file):
    """As by a slice of a job of AWX."""
    path = tmp_path / (file or ".appwrite-escrow/@shop.yml")
    path.parent.mkdir()
    for name in ("one", "two", "three"):
        escrow = Escrow(str(path), controller.secrets, owner=Owner(name, "shop"))
        escrow.read()
        escrow.add("unreal-key-" * 4, {})
    given = {**TOGETHER, **({"appwrite_rotation_escrow_file": file} if file else {})}
    missing = [name for name in ("three", "two") if name not in inventory or not inventory[name]]
    with pytest.raises(AnsibleActionFail) as refused:
        settle("appwrite_rotation", ["confirm"], check, **fleet(**inventory), **given)
    assert f"appwrite_security_cluster: by the escrow file {path} {', '.join(missing)} belong" in str(refused.value)
    assert "leave job slicing at 1" in str(refused.value) and str(refused.value).endswith(". Nothing was changed")
    everyone = fleet(one=SHOP, two=SHOP, three=SHOP)
    assert len(settle("appwrite_rotation", ["confirm"], check, **everyone, **given)["members"]) == 3


def test_escrow_of_a_cluster_that_cannot_be_opened(settle, tmp_path):
    (tmp_path / "shop.yml").write_text("no vault")
    with pytest.raises(
        AnsibleActionFail, match="is damaged: it is not encrypted by ansible-vault. Nothing was changed"
    ):
        settle("appwrite_rotation", **fleet(one=SHOP), **TOGETHER, appwrite_rotation_escrow_file="shop.yml")


def test_cluster_is_told_what_one_host_is():
    """Both paths of the role hand the module every setting."""

    def options(file: str, name: str) -> set[str]:
        waiting = yaml_load((role_settings._ROLES / "appwrite_rotation" / "tasks" / file).read_text("utf-8"))
        for task in waiting:
            waiting += task.get("block", [])
        return next(set(task["selfhost.appwrite.rekey"]) for task in waiting if task["name"] == name)

    alone = options("main.yml", "Rotate the key") - {"abort"}
    assert alone == options("cluster.yml", "Seal everything under the new key") - {"step"}
    asks = {"client_image", "redis_client_image", "project_src", "env_file"}
    assert asks <= options("cluster.yml", "Look at every host of the cluster") & alone


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


@pytest.mark.parametrize(
    ("role", "variables", "words"),
    [
        ("appwrite_security", {"appwrite_security_apply": "\x1b[2Jperhaps"}, "appwrite_security_apply"),
        (
            "appwrite_security",
            {"appwrite_security_variables": "_APP_SMTP_PASSWORD unreal-words"},
            "appwrite_security_variables",
        ),
    ],
)
def test_value_of_another_type(settle, role, variables, words):
    """It is named. Nothing of it reaches a terminal as it is, and no secret is quoted."""
    with pytest.raises(AnsibleActionFail, match=words) as caught:
        settle(role, **PROJECT, **variables)
    assert "\x1b" not in str(caught.value) and "unreal-words" not in str(caught.value)
