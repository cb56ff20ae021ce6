# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller makes of a host's state and of its escrow: the journal and the escrow together always name the next step."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.action import rekey
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import same_cipher, shown_fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import seal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, EscrowError, Owner

OLD, NEW, OTHER = ("%s-not-a-real-key-of-the-tests" % (letter * 16) for letter in ("aB3", "cD4", "eF5"))
TAIL = OLD[:16] + "-not-a-real-tail"
PUBLIC = "your-secret-key"
STAGED = {"changed": True, "phase": "staged"}
FINISHED = {"changed": True, "phase": "finished", "key": {}, "new_key": {}}
FAILED = {"failed": True, "msg": "refused"}


def state(key: str | None = OLD, phase: str = "none", new: str | None = None):
    """What C(step=state) says, which seals the keys."""

    def make(arguments: dict[str, Any]) -> dict[str, Any]:
        described = {
            name: {"sealed": seal(value, arguments["seal"])} if value else None
            for name, value in (("key", key), ("new_key", new))
        }
        return {"phase": phase, "project": "appwrite", **described}

    return make


@pytest.fixture
def run(controller):
    def make(*given, **arguments):
        return controller.run(rekey, *given, **{"scope": "values", "escrow_file": str(controller.path), **arguments})

    return make


def steps(controller):
    """What the host was asked, in a word for each call: the step, or else the scope; C(&) in the background."""
    return [
        (call.arguments.get("step") or call.arguments.get("scope", "tried")) + "&" * call.background
        for call in controller.calls
    ]


ROTATED = ["state", "stage", "values&"]


# --- the new key ---


def test_first_rotation(run, controller):
    """Both keys are in the escrow before the host is told the new one, and the job in the background is handed no key."""
    seen = []
    result = run(
        state(),
        STAGED,
        FINISHED,
        on_call=lambda call: seen.append((controller.escrow.key, controller.escrow.pending)),
        waivers=["a"],
    )
    assert result["phase"] == "finished"
    new = controller.escrow.key
    assert controller.escrow.others == [OLD] and controller.escrow.pending is None and len(new) == 64
    assert seen == [(None, None), (OLD, new), (OLD, new)] and steps(controller) == ROTATED
    first, staged, last = [call.arguments for call in controller.calls]
    plain = {"project_src": "/opt/appwrite", "scope": "values", "waivers": ["a"]}
    assert first == {**plain, "step": "state", "seal": first["seal"]} and staged == {
        **plain,
        "step": "stage",
        "new_key": new,
    }
    assert last == {**plain, "progress_file": last["progress_file"]}
    assert controller.escrow.entries[0]["project"] == "appwrite"


AGREED = {
    "cut off after the end": ((state(NEW),), ((OLD,), NEW), NEW, [OLD], ["state"]),
    "cut off after the end, from a public key": ((state(NEW),), ((), NEW), NEW, [], ["state"]),
    "a key that was staged here": ((state(), STAGED, FINISHED), ((OLD,), NEW), NEW, [OLD], ROTATED),
    "a key that was staged by another controller": (
        (state(OLD, "staged", OTHER), STAGED, FINISHED),
        ((OLD,), NEW),
        OTHER,
        [OLD, NEW],
        ROTATED,
    ),
    "guarded": ((state(OLD, "guarded", NEW), STAGED, FINISHED), ((OLD,), NEW), NEW, [OLD], ROTATED),
    "a snapshot of the middle, after the end": (
        (state(OLD, "sealed", NEW), STAGED, FINISHED),
        ((NEW, OLD), None),
        NEW,
        [OLD],
        ROTATED,
    ),
    "a snapshot of the middle, after two more ends": (
        (state(OLD, "guarded", NEW), STAGED, FINISHED),
        ((OTHER, NEW, OLD), None),
        NEW,
        [OTHER, OLD],
        ROTATED,
    ),
    "a new escrow, since the controller is lost": (
        (state(OLD, "written", NEW), STAGED, FINISHED),
        ((), None),
        NEW,
        [OLD],
        ROTATED,
    ),
    "a snapshot of before, which opens": (
        (state(), {"opens": True}, STAGED, FINISHED),
        ((NEW, OLD), None),
        None,
        [OLD, NEW],
        ["state", "tried", "stage", "values&"],
    ),
}


@pytest.mark.parametrize(("given", "before", "key", "others", "asked"), AGREED.values(), ids=AGREED)
def test_next_step(run, controller, given, before, key, others, asked):
    if any(before):
        controller.keep(*before[0], pending=before[1])
    assert run(*given)["phase"] == "finished"
    found = controller.escrow
    assert key in (None, found.key) and sorted(found.others) == sorted(others) and found.pending is None
    assert steps(controller) == asked


@pytest.mark.parametrize(("scope", "before", "phase"), [("values", OLD, "finished"), ("tokens", TAIL, "written")])
def test_what_was_cut_off_is_reported(run, controller, scope, before, phase):
    new = NEW if scope == "values" else OLD
    controller.keep(before, pending=new)
    assert run(state(new), scope=scope) == {
        "changed": True,
        "phase": phase,
        "warnings": [],
        "key": {"fingerprint": shown_fingerprint(before), "public": False},
        "new_key": {"fingerprint": shown_fingerprint(new), "public": False},
    }


def test_what_was_cut_off_had_no_key_before(run, controller):
    controller.keep(pending=NEW)
    assert run(state(NEW))["key"] == {"fingerprint": None, "public": True}


@pytest.mark.parametrize(
    ("given", "keys", "words"),
    [
        ((state(OLD, "sealed", NEW),), (OTHER,), "holds neither"),
        ((state(), {"opens": True}), (OTHER,), "Run selfhost.appwrite.secure with that key"),
        ((state(), {"opens": False, "tried": True}), (OTHER, OLD), "which tries the escrow's keys"),
        (
            (state(), {"failed": True, "msg": "the database \x1bdoes not run"}),
            (OTHER, OLD),
            "could be tried (the database ?does not run). Start the database",
        ),
        (
            (state(), {"opens": False, "tried": False, "verdict": "was not opened"}),
            (OTHER, OLD),
            "could be tried (was not opened). Start the database",
        ),
    ],
    ids=[
        "another rotation",
        "another key",
        "one that opens nothing",
        "a database that is down",
        "a database that says nothing",
    ],
)
def test_disagreement(run, controller, given, keys, words):
    before = controller.keep(*keys).entries
    with pytest.raises(AnsibleActionFail) as refused:
        run(*given, dump=False, leave_queues=["v1-mails"], profiles=["x"])
    assert words in str(refused.value) and "Nothing was changed" in str(refused.value) and OLD not in str(refused.value)
    assert controller.escrow.entries == before
    assert [call.arguments for call in controller.calls[1:]] == [
        {"project_src": "/opt/appwrite", "profiles": ["x"], "key": OLD}
    ] * (len(given) - 1)
    assert {call.module for call in controller.calls[1:]} <= {"selfhost.appwrite.stored_info"}


def test_staged_by_another_controller_meanwhile(run, controller):
    """The key that no host was told does not stay."""
    controller.keep(OLD)
    result = run(state(), FAILED)
    assert (
        result["failed"]
        and result["phase"] == "refused"
        and [entry["key"] for entry in controller.escrow.entries] == [OLD]
    )


def test_refused_with_a_key_of_an_earlier_run(run, controller):
    """Which may have been told that one."""
    controller.keep(OLD, pending=NEW)
    assert run(state(), FAILED)["failed"] and controller.escrow.pending == NEW


@pytest.mark.parametrize("result", [FAILED, {"phase": "written"}, {"unreachable": True, "failed": True}])
def test_pending_until_it_has_ended(run, controller, result):
    controller.keep(OLD)
    run(state(), STAGED, result)
    assert controller.escrow.key == OLD and controller.escrow.pending == controller.calls[1].arguments["new_key"]


def test_host_that_cannot_say(run, controller):
    assert run(FAILED) == FAILED and not controller.path.exists()


@pytest.mark.parametrize(
    "told", [{"key": None}, {"key": {}}, {"key": {"sealed": 5}}, {"key": {"sealed": "AAAA"}}, {"key": "text"}]
)
def test_state_that_is_none(run, controller, told):
    with pytest.raises(AnsibleActionFail, match="which key it has" if told["key"] else "no encryption key in force"):
        run(lambda arguments: {**state()(arguments), **told})


def test_escrow_of_another_project(run, controller):
    controller.keep(OLD, owner=Owner("one", None, "/opt/appwrite", "shop"))
    with pytest.raises(EscrowError, match=r"holds the key of /opt/appwrite of one \(project shop\)"):
        run(state())


# --- back ---


def test_aborted(run, controller):
    controller.keep(OLD, pending=NEW)
    run(state(OLD, "guarded", NEW), {"phase": "aborted"}, abort=True)
    assert controller.escrow.key == OLD and controller.escrow.pending is None and controller.escrow.others == [NEW]
    assert steps(controller) == ["state", "values&"] and controller.calls[-1].arguments["abort"]


def test_not_aborted(run, controller):
    controller.keep(OLD, pending=NEW)
    assert run(state(OLD, "written", NEW), FAILED, abort=True)["failed"] and controller.escrow.pending == NEW


def test_no_host_was_told(run, controller):
    controller.keep(OLD, pending=NEW)
    assert run(state(), FAILED, abort=True)["failed"] and (controller.escrow.pending, controller.escrow.others) == (
        None,
        [NEW],
    )


def test_nothing_to_abort(run, controller):
    controller.keep(OLD, pending=NEW)
    assert run(state(NEW), FAILED, abort=True)["failed"] and controller.escrow.key == NEW


def test_aborted_while_the_key_is_public(run, controller):
    """The key that was given up has never been in force."""
    controller.keep(pending=NEW)
    run(state(PUBLIC, "guarded", NEW), {"phase": "aborted"}, abort=True)
    assert (controller.escrow.key, controller.escrow.pending, controller.escrow.others) == (None, None, [NEW])
    assert run(state(PUBLIC), STAGED, FINISHED)["phase"] == "finished" and controller.escrow.key not in (None, NEW)


@pytest.mark.parametrize("phase", ["none", "guarded"])
def test_aborted_by_a_controller_without_an_escrow(run, controller, phase):
    """There is none again: an empty one would be damaged."""
    run(state(PUBLIC, phase, NEW if phase == "guarded" else None), {"phase": "aborted"}, abort=True)
    assert not controller.path.exists()


def test_refused_while_the_key_is_public(run, controller):
    """There was no escrow, and there is none again."""
    assert run(state(PUBLIC), FAILED)["failed"] and not controller.path.exists()


# --- the tokens ---


def test_tokens_keep_what_seals(run, controller):
    run(state(), {"phase": "written"}, scope="tokens")
    new = controller.escrow.key
    assert new != OLD and same_cipher(OLD, new) and len(new) == 64 and controller.escrow.others == [OLD]
    assert steps(controller) == ["state", "tokens"] and controller.calls[-1].arguments["new_key"] == new


def test_tokens_failed(run, controller):
    run(state(), FAILED, scope="tokens")
    assert controller.escrow.key == OLD and same_cipher(OLD, controller.escrow.pending)


@pytest.mark.parametrize(
    ("key", "options", "words"),
    [
        (PUBLIC, {}, "no part of the key in force can change"),
        ("16-bytes-unreal!", {}, "no part of the key in force can change"),
        (OLD, {"abort": True}, "leave `abort` out"),
    ],
)
def test_tokens_refused(run, controller, key, options, words):
    """Before a key is staged that begins with the old one, and that a rotation of the values would take up."""
    with pytest.raises(AnsibleActionFail, match=words):
        run(state(key), scope="tokens", **options)
    assert controller.escrow.pending is None and steps(controller) == ["state"]


def test_pending_key_that_begins_with_the_old_one(run, controller):
    controller.keep(OLD, pending=TAIL)
    run(state(), STAGED, FINISHED)
    assert not controller.escrow.key.startswith(OLD[:16])


@pytest.mark.parametrize(
    ("scope", "pending", "given"), [("values", TAIL, (STAGED, FINISHED)), ("tokens", NEW, ({"phase": "written"},))]
)
def test_cut_off_in_another_scope(run, controller, scope, pending, given):
    """What has ended is noted, and what is asked for is done all the same."""
    controller.keep(OLD, pending=pending)
    run(state(pending), *given, scope=scope)
    assert controller.escrow.key not in (OLD, pending) and pending in controller.escrow.others


# --- without an escrow ---


@pytest.mark.parametrize(
    ("options", "given", "asked"),
    [
        ({"check": True}, (FINISHED,), ["values&"]),
        ({"check": True, "key": OLD}, (FINISHED,), ["values"]),
        ({"check": True, "scope": "tokens"}, (FINISHED,), ["tokens"]),
        ({"new_key": NEW}, (STAGED, FINISHED), ["stage", "values&"]),
        ({"new_key": NEW}, (FAILED,), ["stage"]),
        ({"new_key": NEW, "scope": "tokens"}, (FINISHED,), ["tokens"]),
        ({"step": "state", "seal": "p" * 32}, (STAGED,), ["state"]),
        ({"step": "stage", "new_key": NEW}, (STAGED,), ["stage"]),
    ],
    ids=str,
)
def test_escrow_is_left_alone(run, controller, options, given, asked):
    """The module's steps, the rehearsal, and a key that somebody else keeps. What is handed a key is not run in the background."""
    run(*given, **options)
    assert steps(controller) == asked and not controller.path.exists()
    assert all(
        call.check == options.get("check", False) and not {"escrow_file", "cluster"} & call.arguments.keys()
        for call in controller.calls
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"abort": "perhaps"}, "abort"),
        ({"escrow_file": None}, "escrow_file: is missing; name the escrow file"),
        ({"vault": False}, "cannot be kept in .*one.yml, since Ansible was given no vault secret; start Ansible with"),
    ],
)
def test_refused_before_the_host_is_asked(run, controller, options, words):
    with pytest.raises(AnsibleActionFail, match=words):
        run(**options)
    assert not controller.calls


# --- hosts that share a database ---

SHOP = Owner("one", "shop")


def test_conductor(run, controller):
    """The escrow is the cluster's. The new key stays pending there until the rotation has ended."""
    controller.keep(OLD, owner=SHOP)
    assert run(state(), STAGED, step="stage", cluster="shop")["phase"] == "staged"
    new = controller.calls[1].arguments["new_key"]
    result = run(state(OLD, "staged", new), {"changed": True, "phase": "sealed"}, step="seal", cluster="shop")
    assert result["phase"] == "sealed" and steps(controller) == ["state", "seal&"]
    with pytest.raises(EscrowError, match="holds the key of the cluster shop"):
        controller.escrow.read()
    found = Escrow(str(controller.path), controller.secrets, owner=SHOP)
    found.read()
    assert found.key == OLD and found.pending == new
    assert "new_key" not in controller.calls[1].arguments


def test_another_run_has_gone_back(run, controller):
    """What was staged is gone, and so may be the guard on the other hosts: nothing is staged anew for sealing."""
    controller.keep(OLD, pending=NEW, owner=SHOP)
    with pytest.raises(AnsibleActionFail, match="another run has gone back meanwhile"):
        run(state(), step="seal", cluster="shop")
    assert steps(controller) == ["state"]


def test_last_run_had_ended(run, controller):
    """Which the conductor says before any host has to stand still."""
    controller.keep(OLD, pending=NEW, owner=SHOP)
    assert run(state(NEW), step="stage", cluster="shop")["phase"] == "finished" and steps(controller) == ["state"]


@pytest.mark.parametrize(("pending", "key"), [(NEW, NEW), (None, OLD)])
def test_member_is_told_the_key_of_the_cluster(run, controller, pending, key):
    """By a short task, since it would be left behind otherwise."""
    controller.keep(OLD, pending=pending, owner=SHOP)
    assert run({"changed": True, "phase": "written"}, step="write", cluster="shop")["phase"] == "written"
    assert steps(controller) == ["write"] and controller.calls[0].arguments["new_key"] == key
    assert not {"cluster", "escrow_file"} & controller.calls[0].arguments.keys()


def test_member_of_another_cluster_is_told_nothing(run, controller):
    controller.keep(OLD, pending=NEW, owner=SHOP)
    for cluster in ("eu", None):
        with pytest.raises(EscrowError, match="holds the key of the cluster shop"):
            run(step="write", cluster=cluster)
        assert not controller.calls


def test_member_without_the_escrow_of_the_cluster(run, controller):
    with pytest.raises(AnsibleActionFail, match="escrow_file: there is no key in .*; name the file of the controller"):
        run(step="write", cluster="shop")
    assert not controller.calls


@pytest.mark.parametrize("options", [{}, {"abort": True}])
def test_member_stands_still_in_the_background(run, controller, options):
    assert run({"changed": True, "phase": "guarded"}, step="still", cluster="shop", **options)["phase"] == "guarded"
    assert steps(controller) == ["still&"] and not controller.path.exists()


@pytest.mark.parametrize(("now", "told"), [(1e9, True), (None, False), ("1", False), (True, False)])
def test_clock(run, controller, now, told):
    """By how much a host's is ahead is known as exactly as the answer was quick. One that says something else has none."""
    found = run({"changed": True, "phase": "none", "now": now, "clock": [0, 0]}, step="still", check=True)
    assert ("clock" in found) == told and steps(controller) == ["still"]
    if told:
        late, early = found["clock"]
        assert late <= early < 0 and early - late < 60
