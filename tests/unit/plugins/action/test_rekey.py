# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller makes of a host's state and of its escrow: the journal and the escrow together always name the next step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible_collections.selfhost.appwrite.plugins.action import rekey
from ansible_collections.selfhost.appwrite.plugins.module_utils import _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import same_cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import seal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, EscrowError, Owner

OLD, NEW, OTHER = ("%s-not-a-real-key-of-the-tests" % (letter * 16) for letter in ("aB3", "cD4", "eF5"))
PUBLIC = "your-secret-key"
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]
OWNER = Owner("one", None, "/opt/appwrite")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_key, "_ROUNDS", 1)
    _key.fingerprint.cache_clear()
    yield
    _key.fingerprint.cache_clear()


class Host:
    """A managed host as the action sees it: what it is asked, and what it answers."""

    def __init__(self, phase: str = "none", key: str = OLD, new: str | None = None, **more: Any) -> None:
        self.phase, self.key, self.new = phase, key, new
        self.result: dict[str, Any] = {"changed": True, "phase": "finished", "key": {}, "new_key": {}, **more.pop("result", {})}
        self.opens: dict[str, Any] = more.pop("opens", {"opens": True, "report": {"state": "old"}})
        self.refuses = more.pop("refuses", "")
        self.asked: list[dict[str, Any]] = []
        assert not more

    def __call__(self, module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        self.asked.append(module_args)
        if module_name == "selfhost.appwrite.stored_info":
            return dict(self.opens)
        assert module_name == "selfhost.appwrite.rekey"
        if module_args.get("step") == "state":
            described = {name: {"sealed": seal(value, module_args["seal"])} if value else None for name, value in (("key", self.key), ("new_key", self.new))}
            return {"phase": self.phase, "project": "appwrite", **described}
        if module_args.get("step") == "stage":
            if self.refuses:
                return {"failed": True, "msg": self.refuses}
            self.phase, self.new = "staged", module_args["new_key"]
            return {"changed": True, "phase": "staged"}
        return dict(self.result)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the action on a host. The job in the background is one call."""
    def make(host: Host, check: bool = False, **arguments: Any) -> dict[str, Any]:
        loader = DataLoader()
        loader.set_vault_secrets(SECRETS)
        task = SimpleNamespace(
            args={"project_src": "/opt/appwrite", "scope": "values", "escrow_file": str(tmp_path / "one.yml"), **arguments}, check_mode=check, async_val=0,
            action="selfhost.appwrite.rekey", diff=False, environment=[], _parent=None)
        action = rekey.ActionModule(task, SimpleNamespace(), SimpleNamespace(check_mode=check), loader, SimpleNamespace(), None)
        monkeypatch.setattr(action, "_execute_module", host)
        monkeypatch.setattr(action, "_watched", lambda arguments: host("selfhost.appwrite.rekey", dict(arguments)))
        action._task_vars = {"inventory_hostname": "one"}
        return action.work()
    return make


@pytest.fixture
def escrow(tmp_path):
    """Writes the escrow file, or reads it: the keys in order, the pending one last."""
    def make(*keys: str, pending: str | None = None) -> Escrow:
        found = Escrow(str(tmp_path / "one.yml"), SECRETS, owner=OWNER)
        with found.locked():
            for key in reversed(keys):
                found.add(key, {"host": "one"})
            if pending:
                found.stage(pending, {})
        found.read()
        return found
    return make


def test_first_rotation(run, escrow):
    host = Host()
    assert run(host)["phase"] == "finished"
    found = escrow()
    new = found.key
    assert found.others == [OLD] and found.pending is None and len(new) == 64
    assert [asked.get("step") for asked in host.asked] == ["state", "stage", None]
    assert "new_key" not in host.asked[-1] and "seal" not in host.asked[-1], "the job in the background is handed no key"


TABLE = {
    "cut off after the end": (dict(key=NEW), ((OLD,), NEW), NEW, [OLD], ["state"]),
    "a key that was staged here": (dict(), ((OLD,), NEW), NEW, [OLD], ["state", "stage", None]),
    "a key that was staged by another controller": (dict(phase="staged", new=OTHER), ((OLD,), NEW), OTHER, [OLD, NEW], ["state", "stage", None]),
    "guarded": (dict(phase="guarded", new=NEW), ((OLD,), NEW), NEW, [OLD], ["state", "stage", None]),
    "a snapshot of the middle, after the end": (dict(phase="sealed", new=NEW), ((NEW, OLD), None), NEW, [OLD], ["state", "stage", None]),
    "a snapshot of the middle, after two more ends": (dict(phase="guarded", new=NEW), ((OTHER, NEW, OLD), None), NEW, [OTHER, OLD], ["state", "stage", None]),
    "a new escrow, since the controller is lost": (dict(phase="written", new=NEW), ((), None), NEW, [OLD], ["state", "stage", None]),
    "a snapshot of before, which opens": (dict(), ((NEW, OLD), None), None, [OLD, NEW], ["state", None, "stage", None]),
}


@pytest.mark.parametrize(("host", "before", "key", "others", "steps"), TABLE.values(), ids=TABLE)
def test_next_step(run, escrow, host, before, key, others, steps):
    escrow(*before[0], pending=before[1])
    host = Host(**host)
    assert run(host)["phase"] == "finished"
    found = escrow()
    assert key in (None, found.key) and sorted(found.others) == sorted(others) and found.pending is None
    assert [asked.get("step") for asked in host.asked] == steps


@pytest.mark.parametrize(("host", "keys", "words"), [
    (dict(phase="sealed", new=NEW), (OTHER,), "holds neither"),
    (dict(), (OTHER,), "Run selfhost.appwrite.secure with that key"),
    (dict(opens={"opens": False, "report": {"state": "empty"}}), (OTHER, OLD), "which tries the escrow's keys"),
    (dict(opens={"failed": True, "msg": "the database does not run"}), (OTHER, OLD), "could be tried: the database does not run. Start the database"),
], ids=["another rotation", "another key", "one that opens nothing", "a database that is down"])
def test_disagreement(run, escrow, host, keys, words):
    before = escrow(*keys).entries
    with pytest.raises(AnsibleActionFail) as refused:
        run(Host(**host))
    assert words in str(refused.value) and "Nothing was changed" in str(refused.value) and OLD not in str(refused.value)
    assert escrow().entries == before


def test_staged_by_another_controller_meanwhile(run, escrow):
    """The key that no host was told does not stay."""
    escrow(OLD)
    assert run(Host(refuses="new_key: another run has staged another key"))["failed"]
    assert [entry["key"] for entry in escrow().entries] == [OLD]


def test_aborted(run, escrow):
    escrow(OLD, pending=NEW)
    host = Host(phase="guarded", new=NEW, result={"phase": "aborted"})
    run(host, abort=True)
    assert escrow().key == OLD and escrow().pending is None and host.asked[-1]["abort"]


def test_refused_while_the_key_is_public(run, escrow, tmp_path):
    """There was no escrow, and there is none again: an empty one would be damaged."""
    assert run(Host(key=PUBLIC, refuses="cannot be written"))["failed"]
    assert not (tmp_path / "one.yml").exists()


def test_aborted_while_the_key_is_public(run, escrow):
    """The key that was given up has never been in force."""
    escrow(pending=NEW)
    run(Host(key=PUBLIC, phase="guarded", new=NEW, result={"phase": "aborted"}), abort=True)
    assert (escrow().key, escrow().pending, escrow().others) == (None, None, [NEW])
    assert run(Host(key=PUBLIC))["phase"] == "finished" and escrow().key not in (None, NEW)


@pytest.mark.parametrize("key", [PUBLIC, "16-bytes-unreal!"])
def test_tokens_of_a_key_without_a_tail(run, escrow, key):
    """Refused before a key is staged that begins with the old one, and that a rotation of the values would take up."""
    host = Host(key=key)
    with pytest.raises(AnsibleActionFail, match="has no tail that could change"):
        run(host, scope="tokens")
    assert escrow().pending is None and [asked.get("step") for asked in host.asked] == ["state"]


def test_pending_key_that_begins_with_the_old_one(run, escrow):
    escrow(OLD, pending=OLD[:16] + "-not-a-real-tail")
    run(Host())
    assert not escrow().key.startswith(OLD[:16])


@pytest.mark.parametrize(("scope", "pending"), [("values", OLD[:16] + "-not-a-real-tail"), ("tokens", NEW)])
def test_cut_off_in_another_scope(run, escrow, scope, pending):
    """What has ended is noted, and what is asked for is done all the same."""
    escrow(OLD, pending=pending)
    host = Host(key=pending, result={"phase": "finished"} if scope == "values" else {"phase": "written"})
    run(host, scope=scope)
    assert escrow().key not in (OLD, pending) and pending in escrow().others and host.asked[-1].get("step") is None


def test_nothing_to_abort(run, escrow):
    escrow(OLD, pending=NEW)
    host = Host(key=NEW, result={"failed": True, "msg": "abort: no rotation is under way"})
    assert run(host, abort=True)["failed"] and escrow().key == NEW
    with pytest.raises(AnsibleActionFail, match="leave abort out"):
        run(Host(), scope="tokens", abort=True)


def test_argument_of_another_type(run):
    host = Host()
    with pytest.raises(AnsibleActionFail, match="abort"):
        run(host, abort="perhaps")
    assert not host.asked


@pytest.mark.parametrize("step", ["state", "stage"])
def test_step_by_itself(run, escrow, step):
    """Is the module's alone: nothing is staged in the escrow."""
    host = Host()
    run(host, step=step, new_key=NEW, seal="p" * 32)
    assert [asked["step"] for asked in host.asked] == [step] and escrow().entries == []


def test_tokens_keep_what_seals(run, escrow):
    host = Host(result={"phase": "written"})
    run(host, scope="tokens")
    assert escrow().key != OLD and same_cipher(OLD, escrow().key) and host.asked[-1]["new_key"] == escrow().key


def test_escrow_of_another_project(run, tmp_path):
    other = Escrow(str(tmp_path / "one.yml"), SECRETS, owner=Owner("one", None, "/opt/appwrite", "shop"))
    with other.locked():
        other.add(OLD, {})
    with pytest.raises(EscrowError, match=r"holds the key of /opt/appwrite of one \(project shop\)"):
        run(Host())


@pytest.mark.parametrize("found", [{"key": None}, {"key": {}}, {"key": {"sealed": 5}}, {"key": {"sealed": "AAAA"}}, {"key": "text"}])
def test_state_that_is_none(run, found):
    host = Host()
    with pytest.raises(AnsibleActionFail):
        run(lambda module_name, module_args, **_more: {**host(module_name, module_args), **found})
