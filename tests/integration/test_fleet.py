# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide to many servers, typed in on as many as it has: 35 by themselves and five clusters of three, of which some fail.

Real are Ansible with its forks, SSH and sudo, the modules, compose, MariaDB and Redis. Stand-ins are the hosts, each an sshd with a project of its own, all of
which have this machine's engine, clock and disks, and of the engine's containers see their own; and Appwrite, of which a host has the API and one worker. The
servers of a cluster have their database, Redis and files in another project, and what the guide has them pull is given the name that it would have. Networks
have addresses of their own, since an engine hands out thirty.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from integration.reader import Operator
from support.hosts import Host, require
from support.outside import PULLED, Divided, Outside
from support.stack import KEY, Kind, Stack, _secrets_in, assert_no_leak
from testbed import Project
from testbed._base import run
from testbed.dataset import Dataset
from testbed.project import NAME_PREFIX

SINGLE, CLUSTERS = map(int, os.environ.get("FLEET", "35,5").split(","))
"""servers by themselves, at least four, and clusters of three, at least one"""
EVERY_CLUSTER = ("blog", "chat", "desk", "mail", "shop")
NAMES = EVERY_CLUSTER[:CLUSTERS]
DOWN, DEAD, ODD = (f"site{SINGLE - back:02}" for back in (2, 1, 0))
MEMBER_DOWN, MEMBER_ODD = f"{NAMES[0]}-2", f"{NAMES[-1]}-2"
_SERVICES = ("appwrite", "appwrite-worker-mails")
ALONE = Kind(services=(*_SERVICES, "redis", "mariadb"))
MEMBER = Outside(services=_SERVICES)
DOMAIN = ".example.com"
PUBLIC = "your-secret-key"
NOT_CLOSED = '_APP_SMTP_PASSWORD="not closed\n'
DOCKER = """\
#!/bin/sh
[ "$1" != ps ] || {{ shift; set -- ps --filter label=com.docker.compose.project={project} "$@"; }}
exec {docker} "$@"
"""
"""On each host: an engine of its own, as far as the list of containers shows."""
UNREACHABLE = 4
"""the status of Ansible, also if others have failed"""


class Fleet(Operator):
    """Hosts, by their names less their domain, and their projects."""

    def __init__(self, place: Path, hosts: Mapping[str, Host], stacks: Mapping[str, Stack], said: Path) -> None:
        """said: where all that is printed is kept."""
        self.hosts, self.stacks, self.said = hosts, stacks, said
        self.left: list[str] = []
        """commands of the page that nobody has typed in yet"""
        texts = {name: host.ssh_config.read_text() for name, host in hosts.items()}
        (place / "ssh_config").write_text(
            "".join(text.replace("Host *", f"Host {name}{DOMAIN}") for name, text in texts.items())
        )
        first = next(iter(hosts.values()))
        environ = {
            **first.environ,
            "ANSIBLE_SSH_COMMON_ARGS": f"-F {place}/ssh_config",
            "ANSIBLE_TIMEOUT": "60",  # fifty sshd of two cores
        }
        del environ["ANSIBLE_PIPELINING"]
        directory = next(iter(stacks.values())).directory
        super().__init__(
            place, environ, f"{directory.parent}/{directory.name.rpartition('-')[0]}-{{{{ inventory_hostname_short }}}}"
        )

    def _here(self, text: str) -> str:
        """With as many hosts as there are, of which three are too large a share if they are few."""
        text = re.sub(r"\[01:35\]", f"[01:{SINGLE:02}]", super()._here(text))
        for name in EVERY_CLUSTER[CLUSTERS:]:
            text = re.sub(
                rf"^\[{name}(:vars)?\]\n.*\n\n|^{name}\n|(?<=[a-z]) {name}(?=[ ;])", "", text, flags=re.MULTILINE
            )
        return text if len(self.hosts) == 50 else text.replace("max_fail_percentage: 20", "max_fail_percentage: 99")

    def _type(self, command: str) -> tuple[str, int]:
        output, status = super()._type(command)
        with self.said.open("a") as said:
            said.write(f"$ {command}\n{output}\n[{status}]\n\n")
        return output, status

    def read(self, end: str, rc: int = 0) -> None:
        """Types in the command of the page that ends so."""
        [command] = (command for command in self.left if command.endswith(end))
        self.left.remove(command)
        self.type(command, rc)

    def recap(self) -> dict[str, dict[str, int]]:
        """Of each host what the last command counted."""
        lines = re.findall(r"^(\S+) +: (ok=.*)", self.output.rpartition("PLAY RECAP")[2], re.MULTILINE)
        return {
            name.removesuffix(DOMAIN): {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", counts)}
            for name, counts in lines
        }

    def failed(self) -> set[str]:
        return {name for name, counts in self.recap().items() if counts["failed"] or counts["unreachable"]}

    def keys(self) -> dict[str, str]:
        """What stands in each .env, whatever else does."""
        texts = {name: (stack.directory / ".env").read_text() for name, stack in self.stacks.items()}
        return {name: re.findall(rf'^{KEY}="?([^"\n]*)', text, re.MULTILINE)[-1] for name, text in texts.items()}

    def assert_one_key_each(self, keys: Mapping[str, str], before: Mapping[str, str]) -> None:
        """New, in force, and that of the whole cluster."""
        for name, stack in self.stacks.items():
            assert stack.project.container_env("appwrite")[KEY] == keys[name] != before[name]
            assert keys[name] == keys[re.sub(r"-\d$", "-1", name)]
        assert len(set(keys.values())) == SINGLE + CLUSTERS


def names() -> list[str]:
    return [
        *(f"site{number:02}" for number in range(1, SINGLE + 1)),
        *(f"{name}-{number}" for name in NAMES for number in (1, 2, 3)),
    ]


def settle(project: Project, number: int, outer: Project | None = None) -> None:
    """Gives a project's network its addresses, and a server of a cluster the files of all."""
    path = project.directory / "docker-compose.yml"
    content = yaml.safe_load(path.read_text())
    content["networks"]["appwrite"] = {"ipam": {"config": [{"subnet": f"10.213.{number}.0/24"}]}}
    if outer:
        content["volumes"]["appwrite-uploads"] = {"external": True, "name": f"{outer.name}_appwrite-uploads"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def another(stack: Stack, name: str) -> Stack:
    """A project like one of which nothing was started yet, which takes a tenth of the time to make."""
    project = copy.copy(stack.project)
    project.directory = project.directory.with_name(f"{NAME_PREFIX}{name}")
    project.name = project.directory.name
    shutil.copytree(stack.directory, project.directory)
    return Stack(stack.kind, project)


def start(project: Project) -> None:
    """Without what it shares with others."""
    Project.up(project)
    project.wait(600)


@contextlib.contextmanager
def pulled() -> Iterator[None]:
    """The images that the guide has a server pull."""
    here = run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    missing = {name: make for name, make in PULLED.items() if name not in here}
    for name, make in missing.items():
        run("docker", "image", "tag", make(), name)
    try:
        yield
    finally:
        if missing:
            run("docker", "image", "rm", *missing)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    require()
    prefix, projects = secrets.token_hex(4), tmp_path / "projects"
    stacks: dict[str, Stack] = {}
    outers: dict[str, Project] = {}
    with contextlib.ExitStack() as running:
        running.enter_context(pulled())
        running.callback(
            lambda: [Project.down(each) for each in (*(stack.project for stack in stacks.values()), *outers.values())]
        )
        first: dict[str, Stack] = {}
        for number, name in enumerate(names()):
            cluster = name.partition("-")[0] if "-" in name else ""
            if cluster in first:
                stack = another(first[cluster], f"{prefix}-{name}")
            elif cluster:
                outers[cluster] = MEMBER.outer(projects)
                settle(outers[cluster], 100 + number)
                own = f"com.docker.compose.project={outers[cluster].name}"
                run("docker", "volume", "create", "--label", own, f"{outers[cluster].name}_appwrite-uploads")
                stack = Stack(MEMBER, MEMBER.create(projects, f"{prefix}-{name}", outers[cluster]))
            else:
                stack = Stack(ALONE, ALONE.create(projects, f"{prefix}-{name}"))
            first.setdefault(cluster, stack)
            stacks[name] = stack
            settle(stack.project, number, outers.get(cluster))
        with ThreadPoolExecutor(3) as pool:
            for each in (outers.values(), [stack.project for stack in stacks.values()]):
                list(pool.map(start, each))
        hosts = {name: running.enter_context(Host()) for name in names()}
        for name, host in hosts.items():
            host.install("docker", DOCKER.format(project=stacks[name].project.name, docker=shutil.which("docker")))
        place = tmp_path / "controller"
        place.mkdir()
        yield Fleet(place, hosts, stacks, tmp_path / "said")


def fail(fleet: Fleet, odd: str) -> None:
    """One cannot be reached, a container of another one does not start, and somebody has edited .env on the third."""
    fleet.hosts[DOWN].stop()
    fleet.stacks[DEAD].project.fail("appwrite-worker-mails")
    with (fleet.stacks[odd].directory / ".env").open("a") as env:
        env.write(NOT_CLOSED)


def mend(fleet: Fleet, odd: str) -> None:
    fleet.hosts[DOWN].start()
    fleet.stacks[DEAD].project.heal("appwrite-worker-mails")
    env = fleet.stacks[odd].directory / ".env"
    env.write_text(env.read_text().removesuffix(NOT_CLOSED))


@pytest.mark.nightly("test_role.py, test_cluster.py, test_escrow.py, test_audit_play.py, test_rotation.py")
def test_many_servers(fleet):
    """Three fail when all are secured, three others and a cluster when keys are rotated."""
    hosts, stacks = fleet.hosts, fleet.stacks
    fleet.prepare()
    fleet.left = [command for _prompt, command in fleet.steps("many_servers")]
    secrets_seen = set().union(*(_secrets_in(stack.directory) for stack in stacks.values()))

    fleet.read("secure --forks 20 --check")
    assert fleet.failed() == set() and set(fleet.keys().values()) == {PUBLIC}
    fleet.read("--check --diff")

    fail(fleet, MEMBER_ODD)
    fleet.read("playbook site.yml --forks 20", UNREACHABLE)
    assert fleet.failed() == {DOWN, DEAD, MEMBER_ODD}
    assert {name for name, key in fleet.keys().items() if key == PUBLIC} == {DOWN, MEMBER_ODD}
    mend(fleet, MEMBER_ODD)
    fleet.read("@site.retry")
    assert fleet.recap().keys() == {DOWN, DEAD, MEMBER_ODD} and not fleet.failed()

    first = fleet.keys()
    fleet.assert_one_key_each(first, dict.fromkeys(first, PUBLIC))
    data = {}
    for name, stack in stacks.items():
        if name.endswith(("-2", "-3")):
            continue
        place = stack.project.outer if isinstance(stack.project, Divided) else stack.project
        data[name] = Dataset.make(seed=7, key=first[name], file_bytes=50_000), place
        data[name][0].load(place)
        data[name][0].write_files(place.uploads())

    fleet.read("fail_on=never")
    fleet.read("drill --forks 20")
    assert fleet.output.count("Proved on 20") == len(hosts)
    fleet.read("rotate --forks 20 --check")
    assert not fleet.failed() and fleet.keys() == first

    fleet.read("confirm=site01.example.com")
    assert {name for name, key in fleet.keys().items() if key != first[name]} == {"site01"}
    fail(fleet, ODD)
    fleet.read("'single:!site01.example.com'", UNREACHABLE)
    assert fleet.failed() == {DOWN, DEAD, ODD}
    rotated = fleet.keys()
    mend(fleet, ODD)
    fleet.read("@rotate.retry")
    assert fleet.recap().keys() == {DOWN, DEAD, ODD} and not fleet.failed()
    assert {name for name, key in fleet.keys().items() if key != rotated[name]} == {DOWN, ODD}

    loop = fleet.left[-1]
    hosts[MEMBER_DOWN].stop()
    before = fleet.keys()
    fleet.type(loop)
    assert f"{MEMBER_DOWN}{DOMAIN} has failed or cannot be reached" in " ".join(fleet.output.split())
    assert fleet.keys() == before
    hosts[MEMBER_DOWN].start()
    fleet.read("|| break; done")
    assert fleet.left == []
    second = fleet.keys()
    fleet.assert_one_key_each(second, first)
    for name, (dataset, project) in data.items():
        found = dataset.check(project, project.uploads(), second[name])
        assert found.found == [] and found.values and found.files
    fleet.type("ansible-playbook selfhost.appwrite.drill --forks 20")
    assert_no_leak(fleet.said.read_text(), secrets_seen | {*first.values(), *second.values()})
