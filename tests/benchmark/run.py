# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs: ours against tasks written by hand, and against the floor, side by side in one run.

Prints seconds as median (lowest to highest), seconds of the processor as median, processes, and ratios of medians. It asserts nothing: machines differ.
"""

from __future__ import annotations

import sys

from measure import HERE, Runs, machine, playbook
from testbed import Project

from conftest import WORK

UNCHANGED_ROUNDS = 5
FRESH_ROUNDS = 2
KEY = "not-a-real-key-" * 4
ANSWERS = {
    "appwrite_security_certificate_email": "admin@example.com",
    "appwrite_security_env_mode": "0600",
    "appwrite_security_variables": {"_APP_DOMAIN": "appwrite.example.com"},
}
EMPTY, UP, VARS = "empty module", "docker compose up -d, nothing to do", "exec appwrite vars"
FLOOR = [EMPTY, UP, VARS]
OURS, FILE_ALONE, BY_HAND = "ours, unchanged", "ours, unchanged, file alone", "by hand, unchanged"
OURS_FRESH, BY_HAND_FRESH = "ours, fresh", "by hand, fresh"


def main() -> None:
    project = Project.create(WORK / "benchmark", "1.9.6")
    fresh = (project.directory / ".env").read_bytes()
    runs = Runs(project.directory, {})
    here = ["--inventory", "localhost,", "--connection", "local"]
    variables = {"ansible_python_interpreter": sys.executable, "project_src": str(project.directory), "key": KEY}
    secure = {**variables, "appwrite_security_project_src": str(project.directory), **ANSWERS}
    by_hand = playbook(HERE / "by_hand.yml", *here, **variables)
    ours = playbook("selfhost.appwrite.secure", *here, **secure)
    commands = {
        OURS: ours,
        FILE_ALONE: playbook("selfhost.appwrite.secure", *here, **secure, appwrite_security_apply=False),
        EMPTY: playbook(HERE / "empty.yml", *here, **variables),
        UP: ["docker", "compose", "up", "--detach"],
        VARS: ["docker", "compose", "exec", "-T", "appwrite", "vars"],
    }

    def reset() -> None:
        (project.directory / ".env").write_bytes(fresh)
        runs.run(*commands[UP])
        project.wait()

    print(machine(), flush=True)
    try:
        project.up()
        project.wait()
        for _round in range(FRESH_ROUNDS):
            for name, command in ((BY_HAND_FRESH, by_hand), (OURS_FRESH, ours)):
                reset()
                runs.time(name, *command)
        for _round in range(UNCHANGED_ROUNDS):
            for name, command in commands.items():
                runs.time(name, *command)
        for name, command in commands.items():
            runs.count(name, *command)
        runs.run(*by_hand)
        for _round in range(UNCHANGED_ROUNDS):
            runs.time(BY_HAND, *by_hand)
        runs.count(BY_HAND, *by_hand)
    finally:
        project.down()
    show(runs)


def show(runs: Runs) -> None:
    print(f"{'':<40}{'seconds':>24}{'ratio':>7}{'processor':>11}{'ratio':>7}{'processes':>11}{'ratio':>7}")
    for name in [*FLOOR, FILE_ALONE, BY_HAND, BY_HAND_FRESH]:
        print(_row(runs, name))
    print(_row(runs, OURS, *FLOOR), "of the floor (the three first lines together)")
    print(_row(runs, OURS, BY_HAND), "of by hand")
    print(_row(runs, OURS_FRESH, BY_HAND_FRESH), "of by hand; ours waits for health and verifies every container")
    print("processor: seconds of Ansible, its modules and docker's command line, without the engine")


def _row(runs: Runs, name: str, *against: str) -> str:
    """against: the runs that together are what it is compared with."""
    line = f"{name:<40}"
    for measure, text, width in (
        (runs.middle, runs.spread(name), 24),
        (runs.middle_work, f"{runs.middle_work(name):.2f}", 11),
        (runs.processes.get, str(runs.processes.get(name, "")), 11),
    ):
        value = measure(name)
        ratio = f"{value / sum(measure(one) or 0 for one in against):.2f}" if against and value else ""
        line += f"{text:>{width}}{ratio:>7}"
    return line


if __name__ == "__main__":
    main()
