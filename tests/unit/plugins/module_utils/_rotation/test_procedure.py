# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a rotation's steps, killed before and after every call to what is outside of it, and taken up again, in either direction.

At each moment it is looked at whether anything that has a key, or would be given one by C(.env), could meet what another key has sealed.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import world as _world
from support.rotation import OLD, SESSIONS, USERS, WORD
from support.world import NEW_KEY, OLD_KEY, Failures, Killed, Moments, World

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import NONE
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import Disk, Options

OPTIONS = {"sample": 0, "end_sessions": "console"}
FORWARD, BACK = Options(**OPTIONS), Options(abort=True)
AGAIN = Options(new_key=NEW_KEY, **OPTIONS)
NO_WAY_BACK = "abort: everything is sealed with the new key already"
NOTHING = "abort: no rotation is under way"
DONE = "new_key: is the key that is in force already"
STORES = pytest.mark.parametrize("transactional", [True, False], ids=["transactional", "not transactional"])
WAYS = pytest.mark.parametrize("way", ["forward", "back"])


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(_key, "_ROUNDS", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nobody pulls the plug of this machine


@pytest.fixture
def worlds(tmp_path: Path, transactional: bool) -> Iterator[Callable[[], World]]:
    made: list[World] = []

    def make() -> World:
        while made:
            made.pop().close()
        made.append(World(tmp_path / "world", transactional))
        return made[-1]

    yield make
    make().close()
    made.clear()


def forward(world: World, moments: Moments) -> dict[str, Any]:
    """A whole rotation, with the start of everything in between, as a user does it."""
    for _part in range(4):
        result = world.run(AGAIN if world.phase == NONE else FORWARD, moments)
        if result["phase"] == "finished":
            return result
        assert result["phase"] == "written"
        world.up()
        moments("before the next run")
    raise AssertionError("it does not end")


def from_the_middle(world: World, moments: Moments) -> dict[str, Any]:
    """The way back from a rotation that was killed while it sealed the second table."""
    with pytest.raises(Killed):
        forward(
            world, Moments("before store.change 2" if not world.place.store.transactional else "before store.commit 1")
        )
    return world.run(BACK, moments)


SCENARIOS = {"forward": forward, "back": from_the_middle}


def end_forward(world: World, moments: Moments) -> None:
    try:
        result = forward(world, moments)
    except AppwriteError as error:
        assert str(error).startswith(DONE), error
        world.up()
        world.assert_whole(
            NEW_KEY, list(world.dumps)[:1]
        )  # the run was killed after it had forgotten everything, the dump included
        return
    assert result["dump_file"].startswith("/project/") and [result["dump_file"]] == [
        each.split(", ")[0] for each in result["remains"] if ".gz, " in each
    ]
    world.assert_whole(NEW_KEY, [result["dump_file"].removeprefix("/project/")])


def end_back(world: World, moments: Moments) -> None:
    try:
        result = world.run(BACK, moments)
    except AppwriteError as error:
        if str(error).startswith(NO_WAY_BACK):
            assert world.under() == {NEW_KEY}
            end_forward(world, Moments())
            return
        assert str(error).startswith(NOTHING), error
        key = world.env_key
        world.up()
        world.assert_whole(key, list(world.dumps)[:1] if key == NEW_KEY else ())
        return
    assert result["phase"] == "aborted" and not [each for each in result["warnings"] if "left over" in each]
    world.up()
    world.assert_whole(OLD_KEY, ())


ENDS = {"forward": end_forward, "back": end_back}


def moments_of(scenario: str, worlds: Callable[[], World]) -> list[str]:
    moments = Moments()
    world = worlds()
    SCENARIOS[scenario](world, moments)
    world.up()
    return moments.seen


def stop_at(world: World, scenario: str, moment: str) -> None:
    with pytest.raises(Killed):
        SCENARIOS[scenario](world, Moments(moment))


@STORES
@pytest.mark.parametrize("scenario", SCENARIOS)
@WAYS
def test_killed(worlds, scenario, way):
    """Once, and then once more at any moment of the way that the next run takes, with the machine started anew in between."""
    failures, chosen, found = Failures(), random.Random(15), moments_of(scenario, worlds)
    print(f"{len(found)} moments")
    for moment in found:
        moments = Moments()

        def once() -> None:
            world = worlds()
            stop_at(world, scenario, moment)
            world.assert_safe(moment)
            ENDS[way](world, moments)

        def twice() -> None:
            world = worlds()
            stop_at(world, scenario, moment)
            world.power_cut()
            with contextlib.suppress(Killed):
                ENDS[way](world, Moments(later))
            world.assert_safe(later)
            end_forward(world, Moments())

        failures.attempt(moment, once)
        later = chosen.choice(moments.seen or ["never"])
        failures.attempt(f"{moment}, then {later}", twice)
    failures.show()


@STORES
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_failed(worlds, scenario):
    """An error of any call, as from a full disk: before the guard everything is as it was, and runs. Behind it, the next run ends it all the same."""
    failures = Failures()
    for moment in moments_of(scenario, worlds):
        if not moment.startswith("before ") or "connected.close" in moment:
            continue

        def work() -> None:
            world, moments = worlds(), Moments(moment, AppwriteError)
            with contextlib.suppress(AppwriteError):
                SCENARIOS[scenario](world, moments)
            world.assert_safe(moment)
            if scenario == "forward" and not world.is_guarded and world.env_key == OLD_KEY:
                world.assert_whole(OLD_KEY, ())
            end_forward(world, Moments())

        failures.attempt(moment, work)
    failures.show()


# --- what others do meanwhile ---


SEALED, NOTED = "before host.replace 2", "before the next run 1"
"""The new key is not yet in C(.env); it is, and all that is left is to start everything."""


def put_back(world: World, writes: bool) -> bytes:
    """The file of before, and everything is started with it."""
    world.env = world.backups[0].replace(b"production", b"staging")
    world.boxes = {name: box for name, box in world.boxes.items() if not box.key}
    world.up()
    if writes:
        world.place.store.content[USERS][0]["password"] = OLD.seal(WORD)
    return world.env


@STORES
@pytest.mark.parametrize(("moment", "writes"), [(SEALED, True), (SEALED, False), (NOTED, True)])
def test_backup_is_put_back_by_hand(worlds, moment, writes):
    """The next run finds what was written with the old key, and ends. What stood there is kept, and said."""
    world = worlds()
    stop_at(world, "forward", moment)
    env = put_back(world, writes)
    result = world.run(Options(**OPTIONS), Moments(since="after project.remove 1"))
    assert result["phase"] == "written" and env in world.backups
    assert [
        each
        for each in result["warnings"]
        if each.endswith(f"its previous content is kept in /project/.env.{len(world.backups)}.bak")
    ]
    end_forward(world, Moments())


@STORES
@pytest.mark.parametrize(("moment", "writes"), [(SEALED, True), (SEALED, False), (NOTED, True)])
def test_backup_is_put_back_by_hand_and_it_goes_back(worlds, moment, writes):
    """As long as anything is under the old key there is a way back to it."""
    world = worlds()
    stop_at(world, "forward", moment)
    put_back(world, writes)
    if writes:
        world.place.store.content[SESSIONS] = [{"secret": OLD.seal(WORD)}]
        assert world.run(BACK, Moments(since="after project.remove 1"))["phase"] == "aborted"
        world.up()
        world.assert_whole(OLD_KEY, ())
        return
    with pytest.raises(AppwriteError, match=NO_WAY_BACK):
        world.run(BACK, Moments(since="after project.remove 1"))
    end_forward(world, Moments())


@STORES
def test_nothing_is_left_of_the_file(worlds):
    world = worlds()
    stop_at(world, "forward", "after project.remove 1")
    world.env = None
    assert world.run(Options(**OPTIONS), Moments(since="after project.remove 1"))["phase"] == "written"
    end_forward(world, Moments())


@STORES
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_file_that_has_a_key_again_is_the_users(worlds, scenario):
    """Who starts everything and edits it. The next run leaves that alone."""
    world = worlds()
    with pytest.raises(Killed):
        SCENARIOS[scenario](world, Moments("after host.replace 2" if scenario == "forward" else "after host.replace 1"))
    assert not world.is_guarded and world.env is not None
    world.env = world.env.replace(b"production", b"staging")
    edited = parse(decode(world.env)).values
    world.up()
    forward(world, Moments())
    assert world.env is not None and parse(decode(world.env)).values == {**edited, _key.NAME: NEW_KEY}


@STORES
def test_refused_while_somebody_is_connected(worlds):
    """Everything has been stopped by then, and runs again."""
    world = worlds()
    world.strangers = "other sessions are open at the database (1)"
    with pytest.raises(AppwriteError, match=r"^other sessions are open at the database \(1\)\. Nothing was changed$"):
        world.run(FORWARD, Moments())
    world.assert_whole(OLD_KEY, ())


@STORES
def test_nothing_is_sealed_behind_the_guard_while_somebody_is_connected(worlds):
    world = worlds()
    stop_at(world, "forward", "after project.remove 1")
    world.strangers = "other sessions are open at the database (1)"
    with pytest.raises(AppwriteError, match=r"^other sessions are open at the database \(1\)\. What stays for now: "):
        world.run(FORWARD, Moments())
    assert world.under() == {OLD_KEY} and world.is_guarded
    world.strangers = ""
    end_back(world, Moments())


# --- what is said ---


@STORES
def test_check_mode(worlds):
    """Wherever a rotation is, nothing changes, and the store is closed."""
    for moment in ("", "before host.replace 1", "after host.replace 1", "after project.remove 1", SEALED, NOTED):
        world = worlds()
        if moment:
            stop_at(world, "forward", moment)
        before = (
            world.env,
            world.notes,
            dict(world.dumps),
            world.place.files,
            {name: vars(box).copy() for name, box in world.boxes.items()},
        )
        moments = Moments()
        result = world.run(Options(check_mode=True, **OPTIONS), moments)
        assert result["phase"] == (
            world.phase if moment and world.is_guarded or moment in (SEALED, NOTED) else "rehearsed"
        )
        assert {each.rsplit(" ", 1)[0] for each in moments.seen} <= {
            "before project.connect",
            "after project.connect",
            "before connected.close",
            "after connected.close",
        }
        assert before == (
            world.env,
            world.notes,
            dict(world.dumps),
            world.place.files,
            {name: vars(box).copy() for name, box in world.boxes.items()},
        )


GONE = "the database is not a running container; start it (docker compose up -d mariadb)"
UNANSWERED = {
    "nothing has begun": ("", FORWARD, False),
    "the guard stands, and nothing notes it": ("after host.replace 1", FORWARD, True),
    "guarded": ("after project.remove 1", FORWARD, True),
    "guarded, and it goes back": ("after project.remove 1", BACK, True),
    "sealed": (SEALED, FORWARD, True),
    "sealed, and .env has the new key": ("after host.replace 2", FORWARD, False),
}


@STORES
@pytest.mark.parametrize(("moment", "options", "is_guarded"), UNANSWERED.values(), ids=UNANSWERED)
def test_database_that_is_gone(worlds, moment, options, is_guarded):
    """Where the guard would stop the command that starts it, the message says how it gets by. Nothing changes meanwhile, and the next run ends it all."""
    world = worlds()
    if moment:
        stop_at(world, "forward", moment)
    world.boxes = {name: box for name, box in world.boxes.items() if box.service != "mariadb"}
    words = f"{GONE}. As long as the rotation is unfinished, prefix that command with ROTATION_UNFINISHED=1 and name the service"
    before = world.env, world.phase, world.under(), list(world.backups), world.place.files
    if moment:
        checked = world.run(Options(check_mode=True), Moments())
        assert checked["phase"] == world.phase
        assert checked["warnings"] == [f"nothing could be looked at: {words if is_guarded else GONE}"]
    with pytest.raises(AppwriteError) as caught:
        world.run(options, Moments())
    assert str(caught.value).partition(". What stays for now: ")[0] == (words if is_guarded else GONE)
    assert (world.env, world.under(), list(world.backups), world.place.files) == (before[0], *before[2:])
    if is_guarded:
        world.boxes["database"] = _world.Box("mariadb", None)
    else:
        world.up()
    end_forward(world, Moments())


@pytest.mark.parametrize("transactional", [True])
@pytest.mark.parametrize(("release", "number"), [("1.9.6", 4), ("2.0.0", 6), ("2.4.0", 7)])
def test_what_stops_working(worlds, monkeypatch, release, number):
    """The newer, the more is signed with the key. Builds that run are named beforehand."""
    monkeypatch.setattr(_world._Project, "release", release)
    monkeypatch.setattr(_world._Connected, "builds", lambda connected: "builds run")
    result = worlds().run(Options(check_mode=True, **OPTIONS), Moments())
    assert len(result["stops_working"]) == number
    assert "builds run" in result["warnings"]


@pytest.mark.parametrize("transactional", [True])
def test_blank_key_would_be_noticed(worlds):
    """Newer processes stop if the key is empty, older ones seal without one: the world looks after it at every moment of the tests here."""
    world = worlds()
    world.env = world.env.replace(OLD_KEY.encode(), b"")
    with pytest.raises(AssertionError, match="neither a key nor the guard"):
        world.assert_safe("now")


@STORES
def test_sessions_end_as_the_first_run_was_told(worlds):
    world = worlds()
    stop_at(world, "forward", "before store.begin 1")
    with pytest.raises(AppwriteError, match="^end_sessions: the unfinished rotation was begun with console; pass that"):
        world.run(Options(end_sessions="all"), Moments())
    result = world.run(Options(sample=0), Moments())
    assert (result["phase"], result["ended_sessions"], result["end_sessions"]) == ("written", 1, "console")
    world.up()
    result = world.run(Options(sample=0), Moments())
    assert (result["phase"], result["ended_sessions"]) == ("finished", 1)
    assert result["downtime"].keys() == {"api", "background", "whole"} and all(
        seconds > 0 for seconds in result["downtime"].values()
    )


REFUSED = {
    "another key": ({"key": "AnotherUnrealKeyOfMine"}, "key: is not the one in /project/.env"),
    "another new key": ({"new_key": "AnotherUnrealKeyOfMine"}, "new_key: another run has staged another key"),
    "a waiver that names nothing": ({"waivers": ["users"]}, "waivers: 'users' is not collection/id/column"),
}


@pytest.mark.parametrize("transactional", [True])
@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(worlds, options, words):
    world = worlds()
    with pytest.raises(AppwriteError, match=f"^{words}"):
        world.run(Options(**options), Moments())
    if "new_key" in options:
        assert world.run(BACK, Moments())["phase"] == "aborted"
    world.assert_whole(OLD_KEY, ())


@pytest.mark.parametrize("transactional", [True])
def test_every_file_missing(worlds, monkeypatch):
    """The volume is another one far more often than all files are lost."""
    world = worlds()
    monkeypatch.setattr(world, "assert_safe", lambda *_unused: None)  # it would miss them at once
    uploads = world.place.root / "app-1"
    away = uploads.rename(uploads.with_name("away"))
    words = "each of the 3 sealed files is missing, which is far more often another bucket, or another volume"
    rehearsed = world.run(Options(check_mode=True, **OPTIONS), Moments())
    assert any(words in warning for warning in rehearsed["warnings"])
    with pytest.raises(AppwriteError, match=f"^waivers: {words}.* list each in `waivers`"):
        world.run(FORWARD, Moments())
    away.rename(uploads)
    world.assert_whole(OLD_KEY, ())


@pytest.mark.parametrize("transactional", [True])
@pytest.mark.parametrize(("free", "words"), [(0, "^/database has 0 MB free, but"), (1 << 40, "")])
def test_room(worlds, monkeypatch, free, words):
    world = worlds()
    monkeypatch.setattr(
        _world._Connected, "disks", lambda connected: (Disk("/uploads", 1 << 40, 1), Disk("/database", free, 2))
    )
    if not words:
        end_forward(world, Moments())
        return
    with pytest.raises(AppwriteError, match=words):
        world.run(FORWARD, Moments())
    world.assert_whole(OLD_KEY, ())


@pytest.mark.parametrize("transactional", [True, False])
def test_no_dump(worlds, transactional):
    world = worlds()
    result = world.run(Options(new_key=NEW_KEY, dump=False, **OPTIONS), Moments())
    assert (result["phase"], result["dump_file"], dict(world.dumps)) == ("written", None, {})
