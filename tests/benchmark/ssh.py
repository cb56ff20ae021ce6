# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run that changes nothing costs over SSH, with and without pipelining, on 1, 10 and 50 hosts: ours against tasks written by hand.

Each host has an sshd, and a copy of the project's directory of its own in the same place, for which all have one running project and this
machine's engine and cores: seconds are the work of controller and hosts, and the processor's seconds those of the controller alone.
It asserts nothing: machines differ.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from measure import FORKS, HERE, FleetRuns, machine
from run import ANSWERS, KEY
from support.hosts import Host, lacks
from testbed import Project

ROUNDS = {1: 3, 10: 2, 50: 1}
"""by the number of hosts"""
OURS, BY_HAND, EMPTY = "ours", "by hand", "empty"
PLAYS = {OURS: "selfhost.appwrite.secure", BY_HAND: HERE / "by_hand.yml", EMPTY: HERE / "empty.yml"}
PIPELINING = {True: "with pipelining", False: "without"}


class Bench(FleetRuns):
    def __init__(self, home: Path, project: Project, hosts: Mapping[str, Host]) -> None:
        place = str(project.directory)
        variables = {"appwrite_security_project_src": place, "project_src": place, "key": KEY, **ANSWERS}
        super().__init__(home, hosts, list(ROUNDS), variables, {})

    def unchanged(self, what: str, size: int, pipelining: bool) -> None:
        said = self.play(f"{what} {PIPELINING[pipelining]}", size, PLAYS[what], ansible_pipelining=pipelining)
        if said.count(" changed=0 ") != size:
            sys.exit(f"The run was to change nothing:\n{said}")


def prepare(bench: Bench, project: Project, hosts: Mapping[str, Host]) -> None:
    """Brings the project and each host's copy to where neither way changes anything."""
    first = next(iter(hosts.values()))
    copies = {host: host.tmp / project.directory.relative_to("/tmp") for host in hosts.values()}
    shutil.copytree(project.directory, copies[first])
    for what in (BY_HAND, OURS):
        bench.play(what, 1, PLAYS[what])
    for host in hosts.values():
        if host is not first:
            shutil.copytree(copies[first], copies[host])


def show(bench: Bench) -> None:
    print(f"{machine()}. Seconds as median (lowest to highest).\n")
    for pipelining in PIPELINING.values():
        names = {what: f"{what} {pipelining}" for what in PLAYS}
        print(
            f"{pipelining:<16}{'seconds':>26}{'by hand':>26}{'ratio':>7}{'processor':>11}{'by hand':>9}{'ratio':>7}{'empty':>8}"
        )
        for size in ROUNDS:
            ours, by_hand, empty = (f"{name} {size}" for name in names.values())
            print(
                f"{size:>3} {'host' if size == 1 else 'hosts':<12}{bench.spread(ours):>26}{bench.spread(by_hand):>26}"
                f"{bench.middle(ours) / bench.middle(by_hand):7.2f}"
                f"{bench.middle_work(ours) / size:11.2f}{bench.middle_work(by_hand) / size:9.2f}"
                f"{bench.middle_work(ours) / bench.middle_work(by_hand):7.2f}{bench.middle_work(empty) / size:8.2f}"
            )
        for what, name in names.items():
            print(f"{f'{what}, each further of 50 hosts':<40}{bench.further(name, 50)}")
        print()
    print(
        f"processor: the controller's seconds for each host; empty: those of an empty module; {FORKS} hosts are worked on at a time\n"
        f"each further host: seconds and their ratio to those of {FORKS} hosts, then the same of the controller's processor"
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("Terminated."))
    if reason := lacks():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="appwrite-ssh-", dir="/tmp") as name, contextlib.ExitStack() as running:
        home = Path(name)
        project = Project.create(home, "1.9.6")
        try:
            project.up()
            project.wait()
            hosts = {f"host-{number:02}": running.enter_context(Host()) for number in range(1, max(ROUNDS) + 1)}
            bench = Bench(home, project, hosts)
            prepare(bench, project, hosts)
            for size, rounds in ROUNDS.items():
                for number in range(rounds):
                    print(f"Round {number + 1} of {rounds} on {size}, {machine()}", flush=True)
                    for pipelining in PIPELINING:
                        for what in PLAYS:
                            bench.unchanged(what, size, pipelining)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            project.down()
    show(bench)


if __name__ == "__main__":
    main()
