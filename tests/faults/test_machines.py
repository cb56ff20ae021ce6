# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of three machines, each with an engine of its own, whose key is rotated while one loses its power: PHP opens everything afterwards.

They share a database and a Redis on another engine, and their files, which each engine mounts as it mounts NFS. The play reaches them by SSH.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults.machines import SERVER, Machine, reachable
from faults.rekey import blocked
from support import plays
from support.hosts import NOT_ASKED, require
from support.outside import PULLED
from support.stack import KEY, Kind, Play, Stack, _secrets_in, assert_no_leak, needs_php, read_env, set_env
from testbed import Project
from testbed.dataset import Dataset

NAMES = "host-1", "host-2", "host-3"
CONDUCTOR, *OTHERS = NAMES
SERVICES = ("appwrite", "appwrite-worker-mails")
MEMBER = Kind(services=SERVICES, mounted=True)
KEEPER = "NotARealVaultWord1" * 3
pytestmark = [needs_php, pytest.mark.xdist_group("machines")]


class Cluster:
    """Machines by name, the projects on them, and the one that they share."""

    def __init__(self, place: Path, machines: dict[str, Machine], stacks: dict[str, Stack], outer: Project) -> None:
        self.place, self.machines, self.stacks, self.outer = place, machines, stacks, outer
        self.root = stacks[CONDUCTOR].directory / "shared"
        self.key = read_env(stacks[CONDUCTOR].directory)[KEY]
        self.data = Dataset.make(seed=3, key=self.key, file_bytes=50_000)
        self.data.load(outer)
        self.data.write_files(self.root)
        (place / "password").write_text(KEEPER)
        hosts = {
            name: {**machine.variables(NOT_ASKED), "appwrite_project_src": str(stacks[name].directory)}
            for name, machine in machines.items()
        }
        shared = {"appwrite_security_cluster": "shop"}
        (place / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))

    def rotate(self) -> Play:
        flags = ("--inventory", "inventory.json", "--vault-password-file", "password", "-v")
        given = {"appwrite_rotation_confirm": "shop", "appwrite_rotation_sample": 0}
        done = plays.run(*flags, "-e", json.dumps(given), "selfhost.appwrite.rotate", directory=self.place)
        assert "Traceback" not in done.stdout, done.stdout
        assert_no_leak(
            done.stdout, set().union({self.key}, *(_secrets_in(stack.directory) for stack in self.stacks.values()))
        )
        return Play.read(done.returncode, done.stdout)

    def end(self) -> int:
        """Runs it again until it has ended, and gives how often that was. The database may keep the session of a machine that is gone for a while."""
        for attempt in range(1, 11):
            played = self.rotate()
            if not played.rc:
                return attempt
            assert "other sessions are open at the database" in played.output, played.output
        raise AssertionError(played.output)

    def now(self) -> str:
        """The key that the machines have, all the same."""
        [key] = {read_env(stack.directory)[KEY] for stack in self.stacks.values()}
        return key

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[Project]:
        """Docker is that of one machine."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_HOST", self.machines[name].engine.host)
            yield self.stacks[name].project

    def holders(self, name: str) -> dict[str, str]:
        """Service to the key that its container has, or had before it stopped."""
        with self.on(name) as project:
            found = project.ps()
            return {service: project.container_env(service).get(KEY, "") for service in found}

    def assert_whole(self, old: str) -> None:
        """On every machine everything runs with one new key, and that opens all there is."""
        self.key = self.now()
        assert self.key != old
        for name in NAMES:
            with self.on(name) as project:
                project.wait()
            assert self.holders(name) == dict.fromkeys(SERVICES, self.key)
        found = self.data.check(self.outer, self.root, self.key)
        assert found.found == [] and found.values and found.files, found.found[:5]

    @contextlib.contextmanager
    def in_the_middle(self) -> Iterator[Any]:
        """A play that waits in the middle of the conductor's transaction, while all others stand still. Gives its result, once that is no longer blocked."""
        with ThreadPoolExecutor() as pool, blocked(self.outer, self.data) as waits:
            playing = pool.submit(self.rotate)
            while not waits():
                assert not playing.done(), playing.result().output
                time.sleep(0.1)
            for name in NAMES:
                if name in OTHERS:
                    assert self.holders(name) == {}
            yield playing


_SAME = ("_APP_DB_PASS", "_APP_DB_ROOT_PASS")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require()
    projects = tmp_path_factory.mktemp("projects")
    outer = Kind(services=("mariadb", "redis")).create(projects)
    values = {name: f"NotARealWord{secrets.token_hex(8)}" for name in _SAME}
    set_env(outer.directory, **values)
    edit(outer, lambda content: publish(content["services"]))
    values.update(_APP_DB_HOST=SERVER, _APP_REDIS_HOST=SERVER, **{KEY: "UnrealMachines7Kq2" + secrets.token_hex(16)})
    stacks: dict[str, Stack] = {}
    with contextlib.ExitStack() as running:
        running.enter_context(reachable())
        running.callback(outer.down)
        outer.up()
        outer.wait()
        machines: dict[str, Machine] = {}
        for number, name in enumerate(NAMES, 1):
            project = MEMBER.create(projects)
            running.callback(project.down)
            set_env(project.directory, **values)
            first = stacks[CONDUCTOR].directory if stacks else project.directory
            edit(project, lambda content: share(content, first / "shared"))
            machine = machines[name] = running.enter_context(Machine(number))
            known = {made: make() for made, make in PULLED.items()}
            machine.load(
                [*{service["image"] for service in project.config()["services"].values()}, *known.values()], known
            )
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("DOCKER_HOST", machine.engine.host)
                project.up()
                project.wait()
                stacks[name] = Stack(MEMBER, project)
        yield Cluster(tmp_path_factory.mktemp("controller"), machines, stacks, outer)


def edit(project: Project, change: Any) -> None:
    path = project.directory / "docker-compose.yml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def publish(services: dict[str, Any]) -> None:
    for name, port in (("mariadb", 3306), ("redis", 6379)):
        services[name]["ports"] = [f"{SERVER}:{port}:{port}"]


def share(content: dict[str, Any], place: Path) -> None:
    content["volumes"]["appwrite-uploads"]["driver_opts"]["device"] = str(place)
    for service in content["services"].values():
        service.pop("depends_on", None)
        service["restart"] = "unless-stopped"  # as in Appwrite's own


@pytest.mark.nightly("test_cluster.py, test_member.py")
def test_rotate(cluster):
    old = cluster.key
    played = cluster.rotate()
    assert played.rc == 0, played.output
    cluster.assert_whole(old)


@pytest.mark.nightly("test_cluster.py, test_member.py")
def test_another_machine_loses_power(cluster):
    """While the first one seals. It comes up behind the guard, and the next run gives it the key."""
    old, victim = cluster.key, OTHERS[0]
    with cluster.in_the_middle() as playing:
        cluster.machines[victim].stop()
    played = playing.result()
    assert played.rc and victim in played.output, played.output
    cluster.machines[victim].start()
    for name in OTHERS:
        assert cluster.holders(name) == {}, "nothing starts before the new key is on all"
    played = cluster.rotate()
    assert played.rc == 0, played.output
    cluster.assert_whole(old)


@pytest.mark.nightly("test_cluster.py, test_member.py")
def test_conductor_loses_power(cluster):
    """In the middle of its transaction, which the database does not notice before the machine is up again."""
    old = cluster.key
    with cluster.in_the_middle() as playing:
        cluster.machines[CONDUCTOR].stop()
    played = playing.result()
    assert played.rc and CONDUCTOR in played.output, played.output
    cluster.machines[CONDUCTOR].start()
    for name in NAMES:
        assert cluster.holders(name) == {}, "nothing starts while it is not certain what is sealed"
    cluster.end()
    cluster.assert_whole(old)


CUTS = 30 if os.environ.get("KILL_POINTS") == "all" else 6


@pytest.mark.nightly("test_cluster.py, test_member.py")
def test_power_is_lost_at_any_moment(cluster):
    """On each machine in turn, all over a rotation."""
    begun = time.monotonic()
    assert cluster.rotate().rc == 0
    whole = time.monotonic() - begun
    for number in range(CUTS):
        old, victim = cluster.now(), NAMES[number % len(NAMES)]
        with ThreadPoolExecutor() as pool:
            playing = pool.submit(cluster.rotate)
            time.sleep(whole * (number + 0.5) / CUTS)
            cluster.machines[victim].stop()
            cut = playing.result()
        cluster.machines[victim].start()
        print(f"{victim} at {(number + 0.5) / CUTS:.0%} of a rotation: status {cut.rc}, {cluster.end()} runs more")
        cluster.assert_whole(old)
