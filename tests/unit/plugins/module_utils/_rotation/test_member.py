# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation of hosts that share a database, each of which is killed before and after every call to what is outside of it, and taken up again.

At each moment it is looked at whether anything on any host that has a key, or would be given one by C(.env), could meet what another key has sealed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import world as _world
from support.rotation import NEW, OLD, SESSIONS, USERS, WORD
from support.world import NEW_KEY, OLD_KEY, Failures, Killed, Moments, World

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    ABORTED,
    FINISHED,
    GUARDED,
    NONE,
    PREPARED,
    SEAL,
    SEALED,
    STAGED,
    STILL,
    WRITE,
    WRITTEN,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import Options

OPTIONS = {"sample": 0, "end_sessions": "console"}
FATES = ("process", "machine", "controller")
"""What dies: what works on the host, the host until the next play, or the controller with it."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(_key, "_ROUNDS", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nobody pulls the plug of this machine


class Stopped(Exception):
    """The play ends with a failure."""


class Cluster:
    """As the role drives it: each host's answer is looked at before the next step. The first host conducts."""

    def __init__(self, directory: Path, transactional: bool, number: int) -> None:
        directory.mkdir()
        self._directory = directory
        first = World(directory / "0", transactional)
        first.notes = ""
        self.hosts = [first, *(World(directory / str(each), transactional, first) for each in range(1, number))]
        self.gone: set[World] = set()
        self.seen: list[tuple[int, str]] = []

    @property
    def conductor(self) -> World:
        return self.hosts[0]

    @property
    def members(self) -> list[World]:
        return self.hosts[1:]

    def close(self) -> None:
        self.conductor.close()
        self._directory.rmdir()

    def play(self, abort: bool = False, at: tuple[int, str] = (-1, ""), fate: str = "process") -> str:
        """Returns how it ended. at: the host and its moment at which it dies."""
        self.gone, self.seen = set(), []
        self._moments = [Moments(at[1] if number == at[0] else "") for number in range(len(self.hosts))]
        self._fate = fate
        with contextlib.suppress(Stopped):
            return self._abort() if abort else self._forward()
        return "failed"

    def ask(self, host: World, step: str, **options: Any) -> dict[str, Any]:
        """The task's result, as the controller gets it."""
        number = self.hosts.index(host)
        moments = self._moments[number]
        begun = len(moments.seen)
        if host in self.gone:
            return {"unreachable": True}
        try:
            return host.run(Options(**{"step": step, **OPTIONS, **options}), moments)
        except AppwriteError as error:
            return {"failed": True, "msg": str(error)}
        except Killed:
            self._moments[number] = Moments()
            if self._fate == "controller":
                raise Stopped from None
            if self._fate == "machine":
                host.power_cut()
                self.gone.add(host)
            return {"failed": True, "msg": "stopped responding"}
        finally:
            self.seen += [(number, moment) for moment in moments.seen[begun:]]

    def _all(self, hosts: list[World], step: str, phases: tuple[str, ...], **options: Any) -> bool:
        """Each of them is asked, as a task of Ansible does."""
        answers = [self.ask(host, step, **options) for host in hosts]
        return all(answer.get("phase") in phases for answer in answers)

    def _require(self, proved: bool) -> None:
        if not proved:
            raise Stopped

    def _look(self) -> list[str]:
        looked = [self.ask(host, STILL, check_mode=True) for host in self.hosts]
        self._require(all("phase" in each for each in looked))
        found = [set(each["database"]) for each in looked if "database" in each]
        self._require(all(each & found[0] or each == found[0] for each in found))
        parts = [each["part"] for each in looked]
        self._require(parts[0] != "member" and "conductor" not in parts[1:])
        return [each["phase"] for each in looked]

    def _forward(self) -> str:
        first, *others = self._look()
        is_written = first == WRITTEN and {*others} <= {NONE, WRITTEN}
        if not is_written:
            self._stage()
            still = self._all(self.members, STILL, (GUARDED,))
            sealed = still and self.ask(self.conductor, SEAL).get("phase") == SEALED
            if not sealed:
                self._go_back()
            self._require(sealed)
        self._require(self._all(self.members, WRITE, (WRITTEN, FINISHED), new_key=NEW_KEY))
        if not is_written:
            self._require(self.ask(self.conductor, "whole").get("phase") == WRITTEN)
        self._start()
        self._require(self._all(self.members, WRITE, (FINISHED,), new_key=NEW_KEY))
        self._require(self.ask(self.conductor, "whole").get("phase") == FINISHED)
        return FINISHED

    def _stage(self) -> None:
        """Before any host stands still: a play that goes back takes it away from another one that would seal now."""
        self.conductor.notes = self.conductor.notes or json.dumps({"phase": STAGED, "new": NEW_KEY})

    def _go_back(self) -> None:
        """If the conductor says, under its lock, that it has sealed nothing and will not."""
        phase = self.conductor.phase if self.conductor not in self.gone else "unknown"
        if phase in (STAGED, PREPARED) and not self.conductor.is_guarded:
            phase = NONE if self.ask(self.conductor, "whole", abort=True).get("phase") == ABORTED else phase
        if phase == NONE:
            for host in self.members:
                if self.ask(host, STILL, abort=True).get("phase") == ABORTED:
                    host.up()

    def _abort(self) -> str:
        if self._look()[0] == GUARDED:
            self._require(self._all(self.members, STILL, (GUARDED,)))
        if self.conductor.phase != NONE:
            self._require(self.ask(self.conductor, "whole", abort=True).get("phase") == ABORTED)
        self._require(self._all(self.members, STILL, (ABORTED,), abort=True))
        self._start()
        return ABORTED

    def _start(self) -> None:
        """Only what is under the new key on every host, or under the old one."""
        keys = {host.env_key for host in self.hosts if not host.is_guarded}
        assert len(keys) == 1 and not any(host.is_guarded for host in self.hosts)
        for host in self.hosts:
            if host not in self.gone:
                host.up()

    # - what is found -

    def assert_whole(self, key: str) -> None:
        for host in self.hosts:
            assert host.env_key == key, (self.hosts.index(host), host.env_key)
            host.assert_whole(key, list(host.dumps)[:1] if key == NEW_KEY else ())

    def restart(self) -> None:
        for host in self.gone:
            for box in host.boxes.values():
                box.is_on = box.is_on or not host.is_guarded
        self.gone = set()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    made: list[Cluster] = []

    def make(number: int = 2, transactional: bool = True) -> Cluster:
        while made:
            made.pop().close()
        made.append(Cluster(tmp_path / "cluster", transactional, number))
        return made[-1]

    yield make
    while made:
        made.pop().close()


@pytest.mark.parametrize("number", [1, 2, 3, 20])
def test_whole(cluster, number):
    found = cluster(number)
    assert found.play() == FINISHED
    found.assert_whole(NEW_KEY)


def end(found: Cluster, way: str) -> None:
    """The next play, and another one if there was no way back, ends it."""
    found.restart()
    if way == "back":
        ended = found.play(abort=True)
        if ended == ABORTED and found.conductor.under() == {OLD_KEY}:
            found.assert_whole(OLD_KEY)
            return
        assert found.conductor.under() == {NEW_KEY}, ended
        found.restart()
    if found.conductor.phase == NONE and found.conductor.env_key == NEW_KEY:
        for host in found.hosts:
            host.up()
    else:
        assert found.play() == FINISHED
    found.assert_whole(NEW_KEY)


def killed(cluster: Callable[..., Cluster], number: int, transactional: bool, way: str, fates: Sequence[str]) -> None:
    failures, first = Failures(), cluster(number, transactional)
    first.play()
    for each, (who, moment) in enumerate(first.seen):

        def once() -> None:
            one = cluster(number, transactional)
            one.play(at=(who, moment), fate=fates[each % len(fates)])
            one.conductor.assert_safe(moment)
            end(one, way)

        failures.attempt(f"{who}: {moment}", once)
    failures.show()


@pytest.mark.parametrize("way", ["forward", "back"])
def test_killed(cluster, way):
    killed(cluster, 2, True, way, FATES)


@pytest.mark.nightly("test_killed, on two hosts with one of the fates at each moment")
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("way", ["forward", "back"])
@pytest.mark.parametrize(("number", "transactional"), [(2, False), (3, True), (3, False)])
def test_killed_in_each_way(cluster, number, transactional, way, fate):
    killed(cluster, number, transactional, way, [fate])


# --- what others do meanwhile ---


@pytest.fixture
def unwatched(monkeypatch) -> Callable[[], None]:
    """From then on somebody has done what no host is safe from."""
    return lambda: monkeypatch.setattr(World, "assert_safe", lambda world, moment: None)


def stand_still(found: Cluster) -> None:
    assert found._all(found.members, STILL, (GUARDED,))


@pytest.fixture
def held(cluster) -> Cluster:
    """Everything is sealed, and every host is guarded."""
    found = cluster()
    found.play(at=(1, "before project.start_needed 1"), fate="controller")
    assert found.conductor.phase == SEALED and all(host.is_guarded for host in found.hosts)
    found._moments = [Moments(since="never"), Moments(since="never")]
    return found


def test_member_was_started_with_the_old_file(held):
    """It stands still again, and what it wrote is sealed by the next play."""
    [member] = held.members
    member.env = member.backups[0] if member.backups else held.conductor.backups[0]
    member.up()
    member.place.store.content[USERS][0]["password"] = OLD.seal(WORD)
    found = held.ask(member, WRITE, new_key=NEW_KEY)
    assert found["msg"].startswith("somebody has started something on this host or edited /project/.env while it stood")
    assert member.is_guarded and not any(box.key for box in member.boxes.values())
    assert held.play() == FINISHED
    held.assert_whole(NEW_KEY)


def test_another_key_than_the_one_that_was_written(held):
    """As from an older escrow file: what runs goes on."""
    [member] = held.members
    assert held.ask(member, WRITE, new_key=NEW_KEY)["phase"] == WRITTEN
    member.up()
    assert held.ask(member, WRITE, new_key=OLD_KEY)["msg"].startswith("escrow_file: holds another new key than the one")
    assert member.env_key == NEW_KEY and member.phase == WRITTEN


def test_older_escrow_file_after_the_end(held):
    """Nobody is told to put the old key in the place of the one that opens what is stored."""
    [member] = held.members
    for phase in (WRITTEN, FINISHED):
        assert held.ask(member, WRITE, new_key=NEW_KEY)["phase"] == phase
        member.up()
    for box in held.conductor.boxes.values():
        box.is_on = True
    found = held.ask(member, WRITE, new_key=OLD_KEY)["msg"]
    assert found.startswith("escrow_file: holds another new key") and "Write the key" not in found
    assert member.env_key == NEW_KEY and not member.notes


def begun_to_end(found: Cluster, ended: Sequence[World]) -> None:
    """All have the new key and run; some have ended their part, and then the controller died."""
    found._moments = [Moments(since="never") for _host in found.hosts]
    for step in ("write", "end"):
        for host in found.members if step == "write" else ended:
            assert found.ask(host, WRITE, new_key=NEW_KEY)["phase"] == (WRITTEN if step == "write" else FINISHED)
        if step == "write":
            assert found.ask(found.conductor, "whole")["phase"] == WRITTEN
            for host in found.hosts:
                host.up()


@pytest.mark.parametrize("who", [0, 1])
def test_started_with_the_old_file_after_another_host_has_ended(cluster, unwatched, who):
    """The next play has all stand still, also the one whose key is the new one already, and seals what was written."""
    found = cluster(3)
    found.play(at=(1, "before project.start_needed 1"), fate="controller")
    begun_to_end(found, found.members[1:])
    one = found.hosts[who]
    one.env = one.backups[0]
    one.up()
    one.place.store.content[USERS][0]["password"] = OLD.seal(WORD)
    assert found.ask(one, STILL, check_mode=True)["phase"] == GUARDED
    assert found.ask(found.hosts[2], STILL, check_mode=True)["phase"] == NONE
    unwatched()
    assert found.play() == FINISHED
    assert found.conductor.under() == {NEW_KEY}
    assert {host.env_key for host in found.hosts} == {NEW_KEY} and not any(host.notes for host in found.hosts)


def test_member_of_an_earlier_rotation(cluster):
    """It was taken out of the cluster before it had ended its part, and is back for the next one."""
    found = cluster()
    [member] = found.members
    member.notes = json.dumps(
        {
            "member": True,
            "phase": WRITTEN,
            "old": "NotARealFormer12",
            "new": OLD_KEY,
            "env": base64.b64encode(member.env).decode(),
        }
    )
    assert found.play() == FINISHED
    assert member.env_key == NEW_KEY and not member.notes


def test_another_database(held):
    """A copy of before: the host does not get the new key, since it would open nothing."""
    [member] = held.members
    held.conductor.place.store.content[SESSIONS] = [{"secret": OLD.seal(WORD)}]
    found = held.ask(member, WRITE, new_key=NEW_KEY)
    assert "holds values that the new key does not open" in found["msg"] and member.is_guarded


def test_database_is_known_again(cluster):
    one, other = cluster().hosts
    told = [host.run(Options(step=STILL, check_mode=True), Moments())["database"] for host in (one, other)]
    assert told[0] == told[1] and len(told[0]) == 4
    one.place.store.content[USERS] = [{"password": OLD.seal(WORD), "codes": None}]
    one.place.store.content[SESSIONS] = []
    changed = one.run(Options(step=STILL, check_mode=True), Moments())["database"]
    assert changed and not set(changed) & set(told[0])


def test_conductor_waits_for_the_members(cluster):
    """Even if somebody called its step too early: the sessions of one that runs are somebody else's."""
    found = cluster()
    found._moments = [Moments(), Moments()]
    refused = found.ask(found.conductor, SEAL, new_key=NEW_KEY)
    assert refused["msg"] == "other sessions are open at the database. Nothing was changed"
    found.conductor.assert_whole(OLD_KEY, ())


def test_member_that_cannot_stand_still_runs_again(cluster, monkeypatch):
    found = cluster(3)
    last = found.members[-1]

    def refuse(connected: Any, *arguments: Any, **options: Any) -> list[str]:
        if connected._world is last:
            for box in last.boxes.values():
                box.is_on = False
            raise AppwriteError("drain_timeout: after 300 seconds jobs still wait")
        return make_still(connected, *arguments, **options)

    make_still = _world._Connected.make_still
    monkeypatch.setattr(_world._Connected, "make_still", refuse)
    assert found.play() == "failed"
    found.assert_whole(OLD_KEY)


def test_new_member_in_the_middle(cluster):
    """One that joins while a rotation is under way has the old key, and stands still before anything is sealed."""
    found = cluster()
    found.play(at=(0, "before store.begin 1"), fate="machine")
    found.restart()
    found.hosts.append(World(found._directory / "2", True, found.conductor))
    for box in found.conductor.boxes.values():
        box.is_on = True
    assert found.play() == FINISHED
    found.assert_whole(NEW_KEY)


def test_order_of_the_inventory_has_changed(cluster):
    found = cluster()
    found.play(at=(0, "before store.begin 1"), fate="controller")
    found._moments = [Moments(), Moments()]
    conductor, member = found.hosts
    assert found.ask(conductor, STILL)["msg"].startswith("this host was to conduct a rotation, which is unfinished")
    assert found.ask(member, SEAL)["msg"].startswith("another host of the cluster conducts the rotation")
    found.hosts.reverse()
    assert found.play() == "failed"
    found.hosts.reverse()
    assert found.play() == FINISHED


def test_new_host_before_the_conductor(cluster, unwatched):
    """It would say that nothing is under way, and the others would go back while it is not certain what is sealed."""
    found = cluster(transactional=False)
    found.play(at=(0, "after store.change 1"), fate="controller")
    unwatched()
    found.hosts.insert(0, World(found._directory / "2", True, found.hosts[0]))
    assert found.play() == "failed" and found.play(abort=True) == "failed"
    assert all(host.is_guarded for host in found.hosts[1:])
    found.hosts.append(found.hosts.pop(0))
    assert found.play() == FINISHED


def test_another_play_has_gone_back_meanwhile(cluster):
    """It has taken from the conductor what this one had noted there, so that this one cannot seal while hosts run again."""
    found = cluster()
    found._moments = [Moments(), Moments()]
    found._stage()
    stand_still(found)
    found._go_back()
    assert found.ask(found.conductor, SEAL)["msg"].startswith("new_key: is missing")
    found.assert_whole(OLD_KEY)


# --- what is refused, and what is said ---


def member_of(cluster: Callable[..., Cluster]) -> tuple[Cluster, World]:
    found = cluster()
    found._moments = [Moments(), Moments()]
    return found, found.members[0]


def test_refused(cluster):
    found, member = member_of(cluster)
    assert found.ask(member, WRITE)["msg"].startswith("new_key: is missing")
    assert found.ask(member, STILL, key=NEW_KEY)["msg"].startswith("key: is not the one in /project/.env")
    env, member.env = member.env, None
    assert found.ask(member, STILL)["msg"].startswith("env_file: /project/.env does not exist")
    member.env = env
    found._moments[1] = Moments(since="never")
    member.place.store.content[USERS] = [{"password": NEW.seal(WORD), "codes": None}]
    member.place.store.content[SESSIONS] = []
    assert found.ask(member, STILL)["msg"].startswith("the key of this host opens none of the 1 sealed values")
    assert found.ask(member, WRITE, new_key=NEW_KEY)["msg"].startswith("/project/.env has another key than the one")
    assert member.notes == "" and not member.is_guarded


def test_holder_elsewhere_on_the_engine(cluster, monkeypatch):
    found, member = member_of(cluster)
    monkeypatch.setattr(_world._Others, "holders", lambda others: "the container x has the encryption key too")
    assert found.ask(member, STILL)["msg"] == "the container x has the encryption key too. Nothing was changed"


def test_no_way_back_while_the_new_key_is_in_force(held):
    [member] = held.members
    assert "everything is sealed with the new key already" in held.ask(member, STILL, abort=True)["msg"]
    assert member.is_guarded


def test_nothing_to_go_back_from(cluster):
    found, member = member_of(cluster)
    assert (found.ask(member, STILL, abort=True)["phase"], member.notes) == (ABORTED, "")
    member.notes = ""
    found.conductor.assert_safe("now")


def test_check_mode(cluster):
    """Wherever it is, nothing changes."""
    for moment in ("", "before host.replace 1", "after project.remove 1", "after host.replace 2"):
        found = cluster()
        if moment:
            found.play(at=(1, moment), fate="controller")
        found._moments = [Moments(), Moments()]
        for host in found.hosts:
            before = (
                host.env,
                host.notes,
                host.place.files,
                {name: vars(box).copy() for name, box in host.boxes.items()},
            )
            for step in (STILL, WRITE):
                assert found.ask(host, step, check_mode=True)["phase"] in (host.phase, GUARDED)
            assert before == (
                *(host.env, host.notes, host.place.files),
                {name: vars(box).copy() for name, box in host.boxes.items()},
            )
