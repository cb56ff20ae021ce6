# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key is saved on the controller before it is used, comes back from there, and is one for all hosts of a cluster."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib

from ansible_collections.selfhost.appwrite.plugins.action import security
from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import describe, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import seal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils import _escrow
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import EscrowError, Owner

OWN, OTHER, THIRD = ("%s-not-a-real-key-of-the-tests" % (letter * 16) for letter in ("aB3", "cD4", "eF5"))
WEAK, PUBLIC = "0" * 32, "your-secret-key"
FAILED = {"failed": True, "msg": "_APP_OPENSSL_KEY_V1: refused"}
UNSAVED = "the encryption key cannot be kept in %s, since Ansible was given no vault secret: start Ansible with --vault-password-file"


def answers(key: str, state: str, **more: Any):
    """What C(security) says of a key, which it seals if it was passed a password."""

    def make(arguments):
        options = arguments.get("encryption_key") or {}
        sealed = {"sealed": seal(key, options["seal"])} if "seal" in options else {}
        return {
            "changed": state != "kept",
            "project": "appwrite",
            "release": "1.9.6",
            "key": {**describe(state, key).public(), **sealed},
            **more,
        }

    return make


@pytest.fixture
def run(controller):
    def make(*given, **arguments):
        return controller.run(security, *given, **{"escrow_file": str(controller.path), **arguments})

    return make


def told_key(controller):
    """What the host was told of the key, call by call."""
    return [call.arguments["encryption_key"] for call in controller.calls]


def test_module_that_died(run):
    """The machine's memory was short, say: nothing was left that could have gone back."""
    died = {"failed": True, "msg": "MODULE FAILURE", "module_stdout": "", "module_stderr": "", "rc": 137}
    result = run(died, escrow="off", apply=True)
    assert result["msg"].endswith("run the same again, which goes on from there") and result["rc"] == 137


# --- without an escrow ---


@pytest.mark.parametrize(
    "options",
    [
        {"escrow_file": None},
        {"escrow_file": None, "escrow": "auto"},
        {"escrow": "off"},
        {"escrow_file": None, "encryption_key": {"length": 40}},
        {"escrow": "off", "cluster": "shop", "encryption_key": {"key": OWN}},
        {"escrow_file": None, "cluster": "shop", "encryption_key": {"escrowed": OWN}},
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_without_an_escrow_it_is_the_module_alone(run, controller, options, check):
    """What it was not given it is not passed, so that it leaves the key alone."""
    result = run({"changed": True}, check=check, https={}, **options)
    assert result == {"changed": True} and not controller.path.exists()
    [call] = controller.calls
    assert (call.module, call.check, call.background) == ("selfhost.appwrite.security", check, False)
    passed = {"encryption_key": options["encryption_key"]} if "encryption_key" in options else {}
    assert call.arguments == {"project_src": "/opt/appwrite", "https": {}, **passed}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"encryption_key": OWN, "escrow": "off"},
            "encryption_key: is not a dictionary; give the options of selfhost.appwrite.encryption_key",
        ),
        ({"escrow_file": None, "escrow": "required"}, "escrow_file: is missing; name a file on the controller"),
        ({"escrow": "perhaps"}, "value of escrow must be one of"),
        ({"escrow_file": {"a": 1}}, "escrow_file: is not text; write"),
        ({"cluster": ["a"]}, "cluster: is not text; write"),
        (
            {"escrow": "off", "cluster": "shop"},
            "cluster: its hosts need one key, and without an escrow each would get one of its own; or pass the key",
        ),
        (
            {"escrow_file": None, "cluster": "shop"},
            "cluster: its hosts need one key, and without `escrow_file` each would get one of its own",
        ),
        ({"vault": False, "cluster": "shop"}, "or pass the key. Nothing was changed"),
        ({"vault": False, "cluster": "shop"}, UNSAVED),
        ({"vault": False, "escrow": "required"}, UNSAVED),
        ({"vault": False, "escrow": "required"}, "escrow: the"),
    ],
    ids=str,
)
def test_refused_before_the_host_is_asked(run, controller, options, said):
    with pytest.raises(AnsibleActionFail) as refused:
        run(**options)
    assert (said % controller.path if "%s" in said else said) in str(refused.value) and OWN not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "warned"),
    [
        (answers(OWN, "generated"), True),
        (answers(OWN, "generated", warnings=["mind"]), True),
        (answers(PUBLIC, "recovered"), False),
        (answers(PUBLIC, "placeholder_kept"), False),
        (FAILED, False),
        ({"changed": False}, False),
    ],
)
def test_no_vault_secret(run, controller, answer, warned):
    """Only a key of one's own can be lost."""
    result = run(answer, vault=False)
    assert result["escrow"] == {"state": "none", "file": str(controller.path)} and not controller.path.exists()
    said = f"T{UNSAVED[1:]}" % controller.path
    assert [
        said in warning and "Until then, losing .env loses the data" in warning
        for warning in result.get("warnings", [])
    ][-1:] == [True] * warned
    assert told_key(controller) == [{}]


# --- saved ---


@pytest.mark.parametrize(
    ("key", "state"),
    [(OWN, "kept"), (OWN, "recovered"), (OWN, "generated"), (OWN, "placeholder_replaced"), (WEAK, "kept")],
)
def test_saved_before_it_is_used(run, controller, key, state):
    result = run(
        answers(key, state, warnings=["mind", "same"]), answers(key, "restored", changed=False, warnings=["same"])
    )
    assert (
        result["escrow"] == {"state": "written", "file": str(controller.path)}
        and result["key"]["state"] == state
        and result["changed"] is True
    )
    assert sorted(result["warnings"]) == ["mind", "same"] and "sealed" not in result["key"]
    [entry] = controller.escrow.entries
    assert (entry["key"], entry["host"], entry["project_src"], entry["project"], entry["release"]) == (
        key,
        "one",
        "/opt/appwrite",
        "appwrite",
        "1.9.6",
    )
    foreseen, last = told_key(controller)
    assert (
        [call.check for call in controller.calls] == [True, False]
        and foreseen.keys() == {"seal"}
        and len(foreseen["seal"]) >= 32
    )
    assert last == ({"key": key} if state == "kept" else {"key": key, "escrowed": key})
    assert all(not {"escrow", "escrow_file", "cluster"} & call.arguments.keys() for call in controller.calls)


def test_it_is_there_when_the_host_is_told(run, controller):
    """Nobody else may write the file before; the lock does not stay."""
    seen = []
    lock = controller.path.with_name("one.yml.lock")
    run(
        answers(OWN, "generated"),
        answers(OWN, "restored"),
        on_call=lambda call: seen.append((call.check, controller.escrow.key, lock.exists())),
    )
    assert seen == [(True, None, True), (False, OWN, False)] and os.listdir(controller.path.parent) == ["one.yml"]


@pytest.mark.parametrize("second", [FAILED, {"unreachable": True, "failed": True}])
def test_ends_between_escrow_and_host(run, controller, second):
    """The next run gives the host the key that was saved for it."""
    result = run(answers(OWN, "generated"), second)
    assert result["failed"] and result["escrow"]["state"] == "written" and controller.escrow.key == OWN
    assert run(answers(OWN, "restored"))["escrow"]["state"] == "kept" and told_key(controller) == [{"escrowed": OWN}]


def test_host_that_says_less_the_second_time(run, controller):
    result = run(answers(OWN, "generated"), {"changed": False})
    assert result["key"] == {"state": "generated"} and result["changed"] is True


def test_refusal_leaves_no_trace(run, controller):
    assert run(FAILED) == FAILED and controller.calls[0].check and os.listdir(controller.path.parent) == []


@pytest.mark.parametrize("state", ["recovered", "placeholder_kept"])
@pytest.mark.parametrize("check", [True, False])
def test_public_default_is_nobodys(run, controller, state, check):
    """Neither if it is kept in the file nor if it is recovered from containers: an escrow of it could never be put back."""
    result = run(*[answers(PUBLIC, state)] * (1 if check else 2), check=check)
    assert result["escrow"]["state"] == "none" and result["key"]["state"] == state and not controller.path.exists()
    assert told_key(controller)[-1] == {} and "sealed" not in result["key"]


@pytest.mark.parametrize(
    ("answer", "changed", "state"),
    [
        (answers(OWN, "generated"), True, "written"),
        (answers(OWN, "kept"), True, "written"),
        (answers(PUBLIC, "placeholder_kept", changed=False), False, "none"),
        (FAILED, False, "none"),
    ],
)
def test_check_mode_writes_nothing(run, controller, answer, changed, state):
    result = run(answer, check=True, escrow="required")
    assert (result["changed"], result["escrow"]["state"]) == (changed, state) and os.listdir(
        controller.path.parent
    ) == []
    assert told_key(controller) == [{}]


@pytest.mark.parametrize(
    "described",
    [
        {"key": {"state": "generated"}},
        {"key": {"state": "kept", "sealed": 5}},
        {"key": {"state": "kept", "sealed": "AAAA"}},
    ],
)
def test_key_that_is_not_told(run, controller, described):
    with pytest.raises(AnsibleActionFail, match="did not say which key it has"):
        run({"changed": True, **described})
    assert not controller.path.exists()


# --- restored ---


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    "given",
    [{}, {"encryption_key": {}}, {"encryption_key": {"key": OWN}}, {"encryption_key": {"escrowed": OWN}}],
    ids=str,
)
def test_one_task_if_the_escrow_has_the_key(run, controller, check, given):
    before = controller.keep(OWN).entries
    result = run(answers(OWN, "restored"), check=check, **given)
    assert result["escrow"] == {"state": "kept", "file": str(controller.path)} and controller.escrow.entries == before
    assert [call.check for call in controller.calls] == [check] and told_key(controller) == [
        {**given.get("encryption_key", {}), "escrowed": OWN}
    ]


def test_host_is_told_what_else_may_open_its_data(run, controller):
    controller.keep(OWN, OTHER, pending=THIRD)
    run(answers(OWN, "kept"))
    assert told_key(controller) == [{"escrowed": OWN, "candidates": [OTHER, THIRD], "pending": THIRD}]


def test_only_a_pending_key(run, controller):
    """A rotation from a public key is under way: there is none in force to give back."""
    controller.keep(pending=OWN)
    assert run(FAILED) == FAILED
    [options] = told_key(controller)
    assert options.keys() == {"seal", "candidates", "pending"} and controller.escrow.pending == OWN


# --- disagreement ---


def test_host_disagrees(run, controller):
    """It says so itself, and nothing is written here."""
    before = controller.keep(OTHER).entries
    assert run(FAILED)["msg"] == FAILED["msg"] and controller.escrow.entries == before


def test_passed_key_is_the_one_of_the_host(run, controller):
    """Whoever passes it says that the host is right; the older one is history."""
    controller.keep(OTHER)
    assert run(answers(OWN, "kept"), answers(OWN, "kept"), encryption_key={"key": OWN})["escrow"]["state"] == "written"
    assert (controller.escrow.key, controller.escrow.others) == (OWN, [OTHER])
    foreseen, told_last = told_key(controller)
    assert foreseen.keys() == {"key", "seal"} and told_last == {"key": OWN}


@pytest.mark.parametrize("state", ["supplied", "placeholder_replaced", "recovered"])
def test_passed_key_that_neither_has(run, controller, state):
    before = controller.keep(OTHER).entries
    with pytest.raises(AnsibleActionFail, match="and the host has neither. Leave `key` out") as refused:
        run(answers(OWN, state), encryption_key={"key": OWN})
    assert told(OWN) in str(refused.value) and told(OTHER) in str(refused.value) and OWN not in str(refused.value)
    assert controller.escrow.entries == before and [call.check for call in controller.calls] == [True]


def test_two_safes_that_disagree(run, controller):
    before = controller.keep(OTHER).entries
    with pytest.raises(AnsibleActionFail, match="encryption_key.escrowed: is another key") as refused:
        run(encryption_key={"escrowed": OWN})
    assert "set `escrow` to off, or leave `escrowed` out" in str(refused.value) and OTHER not in str(refused.value)
    assert controller.escrow.entries == before and not controller.calls


# --- an escrow that is no use ---


@pytest.mark.parametrize(
    ("vault", "spoil", "words"),
    [
        (False, lambda data: data, "Ansible was given no vault secret"),
        (True, lambda data: data[:-200], "damaged"),
        (True, lambda data: b"{}", "damaged"),
    ],
)
@pytest.mark.parametrize("escrow", ["auto", "required"])
def test_escrow_that_cannot_be_opened(run, controller, vault, spoil, words, escrow):
    """Also if it was not required: the key may be in it."""
    controller.keep(OWN)
    controller.path.write_bytes(spoil(controller.path.read_bytes()))
    before = controller.path.read_bytes()
    with pytest.raises(EscrowError, match=f"escrow_file: .*{words}"):
        run(vault=vault, escrow=escrow)
    assert controller.path.read_bytes() == before and not controller.calls


def test_escrow_of_another_project(run, controller):
    """By what the host says of its project, which the controller does not know."""
    controller.keep(OTHER, owner=Owner("one", None, "/opt/appwrite", "shop"))
    with pytest.raises(EscrowError, match=r"holds the key of /opt/appwrite of one \(project shop\)"):
        run(answers(OWN, "kept"), encryption_key={"key": OWN})


@pytest.fixture
def read_only(monkeypatch):
    """A disk that is so cannot be had in a unit test, so the call that would say it does."""

    def fail(*_unused, **_more):
        raise OSError(errno.EROFS, "text")

    def make():
        monkeypatch.setattr(_files, "nameless", fail)

    return make


def test_controller_that_cannot_be_written(run, controller, read_only):
    """Found out before anything is asked of the host."""
    read_only()
    with pytest.raises(EscrowError, match="cannot be written: .*read-only"):
        run()
    assert not controller.calls


# --- a cluster ---


def test_cluster_is_the_owner(run, controller):
    run(answers(OWN, "generated"), answers(OWN, "restored"), cluster="shop")
    with pytest.raises(EscrowError, match="holds the key of the cluster shop"):
        run()
    run(answers(OWN, "restored"), cluster="shop")
    assert told_key(controller) == [{"escrowed": OWN}]


@pytest.mark.parametrize("other", [OWN, None])
def test_hosts_do_not_wait_for_each_other(run, controller, monkeypatch, other):
    """While a host is secured, the next one of its cluster can open the escrow, whoever of them saved the key."""
    held = []
    real = _escrow.Escrow.locked

    @contextlib.contextmanager
    def locked(escrow):
        if other and not held:
            monkeypatch.setattr(_escrow.Escrow, "locked", real)
            escrow.add(other, {})
        with real(escrow):
            held.append(True)
            yield
            held.append(False)

    monkeypatch.setattr(_escrow.Escrow, "locked", locked)
    given = [answers(OWN, "kept")] if other else [answers(OWN, "generated"), answers(OWN, "restored")]
    seen = []
    run(*given, cluster="shop", on_call=lambda call: seen.append((call.check, held[-1])))
    assert seen == [(False, False)] if other else [(True, True), (False, False)]


def test_host_of_a_cluster_is_noted(run, controller):
    """When it has the key, and not if it is refused, or only asked."""
    [(_id, secret)] = controller.secrets

    def hosts() -> list[str]:
        return yaml.safe_load(VaultLib([(_id, secret)]).decrypt(controller.path.read_bytes()))["for"]["hosts"]

    escrow = _escrow.Escrow(str(controller.path), controller.secrets, owner=_escrow.Owner("two", "shop"))
    escrow.add(OWN, {})
    run({"failed": True, "msg": "unreal"}, cluster="shop")
    run(answers(OWN, "kept"), check=True, cluster="shop")
    assert hosts() == ["two"]
    run(answers(OWN, "kept"), cluster="shop")
    assert hosts() == ["one", "two"]
    before = controller.path.read_bytes()
    run(answers(OWN, "kept"), cluster="shop")
    assert controller.path.read_bytes() == before


@pytest.mark.parametrize("host", ["one", "two"])
def test_host_of_a_cluster_that_cannot_be_noted(run, controller, read_only, host):
    """Found out before it is changed, and only if there is something to note."""
    _escrow.Escrow(str(controller.path), controller.secrets, owner=Owner(host, "shop")).add(OWN, {})
    read_only()
    run(answers(OWN, "kept"), check=True, cluster="shop")
    if host == "one":
        run(answers(OWN, "kept"), cluster="shop")
        return
    with pytest.raises(EscrowError, match="cannot be written: .*read-only"):
        run(cluster="shop")
    assert not controller.calls


def test_another_fork_was_first(run, controller, monkeypatch):
    """While this one waited for the lock, the other one saved the key of all."""
    real = _escrow.Escrow.locked

    def locked(escrow):
        monkeypatch.setattr(_escrow.Escrow, "locked", real)
        controller.keep(OWN)
        return real(escrow)

    monkeypatch.setattr(_escrow.Escrow, "locked", locked)
    assert run(answers(OWN, "restored"))["escrow"]["state"] == "kept"
    assert told_key(controller) == [{"escrowed": OWN}] and os.listdir(controller.path.parent) == ["one.yml"]
