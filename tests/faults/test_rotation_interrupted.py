# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key rotation that is interrupted on its host: nothing starts on data under two keys, and the next run ends what this one began, either way.

C(KILL_POINTS=all) kills at about 150 moments of the whole rotation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from faults.disks import full, mounted, run
from faults.engine import Engine
from faults.processes import everything
from faults.rekey import BACK, CACHED, END, FORWARD, KILLED, UNFINISHED, Host, Point
from support.forks import STOPPED
from support.stack import Kind, Play, Stack, needs_php, on, read_env, set_env, until

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher, _parts

ALL = os.environ.get("KILL_POINTS") == "all"
MARIADB, *OTHERS = [
    Kind(database=name, services=("appwrite", "appwrite-worker-mails", "redis", name), room="interrupt")
    for name in ("mariadb", "postgresql", "mongodb")
]
REMOVAL = Point(FORWARD, "docker rm", 1, "begun")
MIDDLE = {
    database: Point(FORWARD, f"ask {word}", 3, "before")
    for database, word in (("mariadb", "UPDATE"), ("postgresql", "WITH"), ("mongodb", "change"))
}
"""of the sealing, after the values of two tables"""
PREPARED = Point(FORWARD, "write journal", 7, "before")
"""While files get their successors, and everything runs still."""
STAGED = Point(FORWARD, "ask INSERT", 2, "after")
"""While values are staged, and everything runs still."""
COMMIT = Point(FORWARD, "ask COMMIT", 1, "before")
PLAYED = replace(MARIADB, room="interrupt-play", mounted=True)
pytestmark = [needs_php, pytest.mark.usefixtures("plays_are_programs")]


@pytest.fixture(scope="module")
def _host(_running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Loading takes longer than a rotation."""
    found = Host.make(_running.project, _running.kind.database, tmp_path_factory.mktemp("host"))
    yield found
    found.end()


@pytest.fixture
def host(_host: Host) -> Iterator[Host]:
    yield _host
    print(dict(_host.results))


def points(host: Host) -> list[Point]:
    """Of a rotation that is not disturbed, and of one that goes back from the middle of its sealing."""
    found = []
    for number, phase in ((FORWARD, "written"), (END, "finished")):
        result = host.rekey()
        assert (result["rc"], result.get("phase")) == (0, phase), result["msg"]
        found += host.moments(number)
        host.apply()
    host.turn()
    host.assert_whole(dumps=1)
    assert host.rekey(MIDDLE[host.database])["rc"] == KILLED
    result = host.abort()
    assert (result["rc"], result.get("phase")) == (0, "aborted"), result["msg"]
    found += host.moments(BACK)
    host.apply()
    host.assert_whole(dumps=0)
    return found


def is_inner(point: Point) -> bool:
    """Whether it is about a row or a file of many."""
    return point.what.startswith("ask ") or point.what.endswith((" journal", " uploads"))


def evenly(found: Sequence[Point], count: int) -> list[Point]:
    return [found[number * len(found) // count] for number in range(min(count, len(found)))]


def chosen(host: Host) -> list[Point]:
    """A few of those that part the sequence, which test_procedure.py kills before and after each step."""
    if ALL:
        found = points(host)
        print(f"{len(found)} moments")
        outer, inner = ([point for point in found if is_inner(point) is wanted] for wanted in (False, True))
        return sorted({*evenly(outer, 120), *evenly(inner, 30)}, key=found.index)
    return [
        STAGED,
        Point(FORWARD, "exchange .env", 1, "after"),
        COMMIT._replace(side="after"),
        Point(END, "unlink state", 1, "after"),
    ]


def kill_at(host: Host, points: Sequence[Point]) -> None:
    begun = time.monotonic()
    for number, point in enumerate(points):
        host.redis("set", CACHED, "{}")
        if point.run == END:
            host.rekey()
            host.apply()
        elif point.run == BACK:
            assert host.rekey(MIDDLE[host.database])["rc"] == KILLED
        result = host.abort(point) if point.run == BACK else host.rekey(point)
        assert result["rc"] == KILLED, point
        host.assert_nothing_mixed()
        host.recover(forward=number % 2 == 0)
    print(f"killed at {len(points)} moments, {(time.monotonic() - begun) / len(points):.0f} s each")


@on(MARIADB)
@pytest.mark.nightly("test_rotation_kill.py, test_procedure.py, test_disk_is_full")
def test_killed(host):
    kill_at(host, chosen(host))


@on(*OTHERS)
@pytest.mark.nightly("test_killed, test_rotation_kill.py, test_procedure.py")
def test_killed_on_another_database(host):
    """In MongoDB what was sealed before stays so, and the way back is a rotation of its own."""
    going_back = (
        Point(BACK, "ask change", 1, "after")
        if host.database == "mongodb"
        else Point(BACK, "unlink uploads", 3, "before")
    )
    more = [PREPARED, PREPARED if host.database == "mongodb" else STAGED] if ALL else []
    kill_at(host, [REMOVAL, MIDDLE[host.database], going_back, *more])


@on(PLAYED)
def test_killed_while_no_container_has_the_files(host):
    """Behind the guard the engine has nothing mounted where the volume is."""
    place = f"/{host.project.name}_appwrite-uploads/_data "
    mounts = Path("/proc/self/mountinfo")
    assert place in mounts.read_text()
    for forward, point in ((True, COMMIT._replace(side="after")), (False, MIDDLE[host.database])):
        assert host.rekey(point)["rc"] == KILLED
        until(lambda: place not in mounts.read_text())
        assert host.is_guarded
        host.recover(forward)


@on(MARIADB)
@pytest.mark.nightly
@pytest.mark.parametrize(
    "point",
    [Point(FORWARD, "exchange .env", 2, "after"), Point(BACK, "exchange .env", 1, "after")],
    ids=["forward", "back"],
)
def test_killed_when_the_file_has_a_key_again(host, point):
    """From then on it is the user's, who starts everything and edits it. The next run leaves that alone."""
    if point.run == BACK:
        assert host.rekey(MIDDLE[host.database])["rc"] == KILLED
    assert (host.abort(point) if point.run == BACK else host.rekey(point))["rc"] == KILLED
    host.assert_nothing_mixed()
    host.project.up()
    set_env(host.project.directory, _APP_SMTP_HOST=f"{point.run}.example.com")
    host.recover(forward=True)
    assert read_env(host.project.directory)["_APP_SMTP_HOST"] == f"{point.run}.example.com"


def seal_with_the_old_key(host: Host) -> None:
    """What a service that runs with the old key writes meanwhile."""
    old, new = (Cipher(each) for each in (host.key, host.other))
    rows = [
        line.split("\t")
        for line in host.project.query(
            mariadb="SELECT _id, password FROM _console_users WHERE password IS NOT NULL;"
        ).splitlines()
    ]
    assert rows
    for number, text in rows[:3]:
        plain = new.decrypt(*_parts(text.replace("\\\\", "\\")))
        assert plain is not None
        host.project.query(mariadb=f"UPDATE _console_users SET password = '{old.seal(plain)}' WHERE _id = {number};")


@on(MARIADB)
@pytest.mark.nightly("test_procedure.py, test_killed")
@pytest.mark.parametrize(
    ("point", "writes"),
    [
        pytest.param(Point(FORWARD, "exchange .env", 2, "before"), True, id="sealed, and written to"),
        pytest.param(Point(FORWARD, "exchange .env", 2, "before"), False, id="sealed"),
        pytest.param(None, True, id="written, and written to"),
    ],
)
def test_backup_is_put_back_by_hand(host, point, writes):
    """And everything is started on the old key. Nobody is let near it by our own modules; the next run finds all of it, and ends."""
    result = host.rekey(point)
    assert result["rc"] == (KILLED if point else 0)
    assert host.state["phase"] == ("sealed" if point else "written")
    env = host.project.directory / ".env"
    backup = next(host.project.directory.glob(".env.*.bak"))
    shutil.copyfile(backup, env)
    set_env(host.project.directory, _APP_SMTP_HOST="put-back.example.com")
    put_back = env.read_bytes()
    for name, options in (
        ("apply", {}),
        ("https", {}),
        ("encryption_key", {}),
        ("apply", {"rollback_file": str(backup)}),
    ):
        assert UNFINISHED in host.perform(name, **options)["msg"]
    assert env.read_bytes() == put_back
    host.project.up()
    assert set(host.holders().values()) == {host.key}
    if writes:
        seal_with_the_old_key(host)
    result = host.rekey()
    assert (result["rc"], result["phase"]) == (0, "written"), result["msg"]
    kept = [each for each in host.project.directory.glob(".env.*.bak") if each.read_bytes() == put_back]
    assert kept and any(str(kept[0]) in str(warning) for warning in result["warnings"])
    host.recover(forward=True)


@on(MARIADB)
@pytest.mark.nightly
def test_backup_is_put_back_by_hand_and_it_goes_back(host):
    """As long as anything is under the old key there is a way back to it."""
    assert host.rekey(Point(FORWARD, "exchange .env", 2, "before"))["rc"] == KILLED
    shutil.copyfile(next(host.project.directory.glob(".env.*.bak")), host.project.directory / ".env")
    host.project.up()
    seal_with_the_old_key(host)
    result = host.abort()
    assert (result["rc"], result["phase"]) == (0, "aborted"), result["msg"]
    host.apply()
    host.assert_whole(dumps=0)


@on(MARIADB)
@pytest.mark.nightly
def test_nothing_is_left_of_the_file(host):
    """Somebody has removed C(.env), behind the guard."""
    assert host.rekey(MIDDLE[host.database])["rc"] == KILLED
    (host.project.directory / ".env").unlink()
    assert UNFINISHED in host.perform("apply")["msg"]
    host.recover(forward=True)


@on(MARIADB)
@pytest.mark.nightly("test_procedure.py, test_killed")
def test_file_that_cannot_be_removed(host):
    """It keeps nobody from going back, and the next rotation removes it."""
    if os.geteuid():
        pytest.skip("only root may make a file immutable")
    assert host.rekey(MIDDLE[host.database])["rc"] == KILLED
    made = host.root / host.successors()[0].removeprefix("/storage/uploads/")
    run("chattr", "+i", made)
    result = host.abort()
    run("chattr", "-i", made)
    assert (result["rc"], result["phase"]) == (0, "aborted"), result["msg"]
    assert made.exists() and any(
        "are left over" in str(warning) and made.name in str(warning) for warning in result["warnings"]
    )
    host.apply()
    host.recover(forward=True)
    assert not made.exists()


# --- the engine and the machine ---


@pytest.fixture
def on_machine(machine: tuple[Engine, Stack], tmp_path: Path) -> Iterator[tuple[Engine, Host]]:
    """A project on an engine that may be killed, all of whose containers start with it."""
    engine, stack = machine
    found = Host.make(stack.project, "mariadb", tmp_path)
    yield engine, found
    found.end()
    stack.project.down()


def end_by_play(host: Host) -> None:
    host.other = host.state["new"]
    played = host.play()
    assert played.rc == 0, played.output
    host.turn()
    host.assert_whole(dumps=1)


@pytest.mark.xdist_group("machine")
@pytest.mark.nightly("test_procedure.py, test_killed")
def test_machine_loses_power_and_then_the_engine_dies(on_machine):
    """Each in the middle of a transaction. No container that comes back has a key, and a play ends what another one has begun."""
    engine, host = on_machine
    with host.blocked() as waits, ThreadPoolExecutor() as pool:
        playing = pool.submit(host.play)
        await_(waits, playing)
        kill(host.processes())
        engine.power_off()
        assert playing.result().rc == -signal.SIGKILL
    engine.start()
    assert host.is_guarded and not host.holders()
    host.other = host.state["new"]
    assert host.rekey(COMMIT, "SIGSTOP")["rc"] == STOPPED
    engine.kill()
    result = host.go_on()
    assert result["rc"] and "the connection was lost" in result["msg"], result["msg"]
    engine.start()
    assert host.is_guarded and not host.holders()
    end_by_play(host)


# --- the disk ---


@contextlib.contextmanager
def moved(place: Path, disk: Path) -> Iterator[None]:
    """What is in a directory is on another file system meanwhile."""
    shutil.copytree(place, disk, dirs_exist_ok=True)
    run("mount", "--bind", disk, place)
    try:
        yield
    finally:
        run("umount", place)
        for each in place.iterdir():
            shutil.rmtree(each)
        shutil.copytree(disk, place, dirs_exist_ok=True)


@pytest.fixture
def small(host: Host, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """The uploads and C(.env) on file systems of their own."""
    if os.geteuid():
        pytest.skip("only root may mount a file system")
    env = host.project.directory / ".env"
    with contextlib.ExitStack() as stack:
        disks = {
            name: stack.enter_context(
                mounted(tmp_path / f"{name}.image", "4M", "mkfs.ext4", "-q", "-b", "1024", "-m", "0")
            )
            for name in ("uploads", "env")
        }
        stack.enter_context(moved(host.root, disks["uploads"]))
        shutil.rmtree(host.root / "lost+found")
        shutil.move(env, disks["env"] / ".env")
        env.symlink_to(disks["env"] / ".env")
        yield disks
        env.unlink()
        shutil.move(disks["env"] / ".env", env)


FULL = {
    "a dump": ("env", Point(FORWARD, "docker dump", 1, "begun")),
    "the guard": ("env", Point(FORWARD, "mkdir .env", 1, "before")),
    "what is noted of the guard": ("env", Point(FORWARD, "exchange .env", 1, "after")),
    "a file": ("uploads", Point(FORWARD, "open uploads", 3, "before")),
    "that all is sealed": ("env", Point(FORWARD, "ask COMMIT", 1, "after")),
    "the new key": ("env", Point(FORWARD, "mkdir .env", 2, "before")),
}
_AS_BEFORE = ("a dump", "a file", "the guard")


@on(MARIADB)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=[] if what == "that all is sealed" else pytest.mark.nightly("test_procedure.py"))
        for what in FULL
    ],
)
def test_disk_is_full(host, small, what):
    """Before the guard stands everything is as before, and runs. From then on it stays down, until there is room to go on or back."""
    disk, point = FULL[what]
    ids = host.holders()
    assert host.rekey(point, "SIGSTOP")["rc"] == STOPPED
    with full(small[disk], 0):
        result = host.go_on()
        assert result["rc"] and "the disk is full" in result["msg"], result["msg"]
        assert host.is_guarded == (what not in _AS_BEFORE)
    host.assert_nothing_mixed()
    if host.is_guarded:
        host.recover(forward=what == "that all is sealed")
    else:
        host.project.wait()
        assert host.holders() == ids
        assert not list(small["env"].glob(".env.*")), "a backup is left over"
        host.assert_whole(dumps=0)


# --- the play ---


@on(PLAYED)
@pytest.mark.nightly("test_machine_loses_power_and_then_the_engine_dies, test_refused_two_at_once")
def test_play_dies(host):
    """In the middle of the transaction, but its module goes on in the background. Until that has ended nobody else may rotate."""
    with host.blocked() as waits, ThreadPoolExecutor() as pool:
        playing = pool.submit(host.play)
        await_(waits, playing)
        kill(everything())
        assert playing.result().rc == -signal.SIGKILL
        assert "another rotation of this project is running" in host.play().result("Rehearse")["msg"]
        assert host.is_guarded and not host.holders()
    while host.processes():
        time.sleep(0.1)
    assert host.state["phase"] == "written"
    end_by_play(host)


@on(PLAYED)
@pytest.mark.nightly("test_machine_loses_power_and_then_the_engine_dies")
def test_play_dies_with_its_module(host):
    with host.blocked() as waits, ThreadPoolExecutor() as pool:
        playing = pool.submit(host.play)
        await_(waits, playing)
        kill(host.processes())
        assert playing.result().rc == -signal.SIGKILL
        assert host.is_guarded and not host.holders()
    end_by_play(host)


def kill(processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def await_(moment: Callable[[], bool], playing: Future[Play]) -> None:
    while not moment():
        assert not playing.done(), playing.result().output
        time.sleep(0.25)  # MariaDB looks anew when it has not been asked for a tenth of a second


# --- sessions that end, whose rows are lost to the tests that follow: so it comes last ---


@on(nightly=[MARIADB, *OTHERS])
def test_killed_while_sessions_end(host):
    """The next run does what the first one was told, without being told again, and says how many there were."""
    ended = {
        table.collection: sorted(row.uid for row in host.data.rows(table))
        for table in host.data.tables
        if table.namespace == "_console" and table.uid in ("sessions", "tokens", "sessions_perms")
    }
    point = Point(FORWARD, "ask clear", 1, "after") if host.database == "mongodb" else COMMIT
    assert host.rekey(point, end_sessions="console")["rc"] == KILLED
    assert host.state["ended_sessions"] == len(ended["_console_sessions"])
    assert host.rekey(end_sessions="all")["msg"].startswith(
        "end_sessions: the unfinished rotation was begun with console"
    )
    if host.database == "mongodb":
        assert "there is no way back" in host.abort()["msg"]
    for phase in ("written", "finished"):
        result = host.rekey()
        assert (result["rc"], result.get("phase"), result.get("ended_sessions")) == (
            0,
            phase,
            len(ended["_console_sessions"]),
        ), result["msg"]
        host.apply()
    host.turn()
    lost = sorted(("lost", f"{name} {uid}") for name, uids in ended.items() for uid in uids)
    assert sorted(host.check(host.key).found) == lost
