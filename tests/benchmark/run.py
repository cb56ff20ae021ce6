# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs: ours against tasks written by hand, and against the floor, side by side in one run.

Prints seconds as median (lowest to highest), and ratios of medians. It asserts nothing: machines differ.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from testbed import Project

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UNCHANGED_ROUNDS = 5
FRESH_ROUNDS = 2
KEY = "not-a-real-key-" * 4
ANSWERS = {
    "appwrite_security_certificate_email": "admin@example.com",
    "appwrite_security_env_mode": "0600",
    "appwrite_security_variables": {"_APP_DOMAIN": "appwrite.example.com"},
}


class Bench:
    def __init__(self, project: Project) -> None:
        self.project = project
        self.seconds: dict[str, list[float]] = {}
        self._environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".work" / "import"),
            "ANSIBLE_HOME": str(ROOT / ".work" / "benchmark"),
            "ANSIBLE_LIBRARY": str(HERE / "library"),
        }

    def time(self, name: str, work: Callable[[], None]) -> None:
        started = time.perf_counter()
        work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def play(self, playbook: str, variables: dict[str, object]) -> None:
        self._run(
            Path(sys.executable).parent / "ansible-playbook",
            playbook,
            "--inventory",
            "localhost,",
            "--connection",
            "local",
            "--extra-vars",
            json.dumps({"ansible_python_interpreter": sys.executable, **variables}),
        )

    def ours(self) -> None:
        self.play("selfhost.appwrite.secure", {"appwrite_security_project_src": str(self.project.directory), **ANSWERS})

    def ours_file_only(self) -> None:
        self.play(
            "selfhost.appwrite.secure",
            {"appwrite_security_project_src": str(self.project.directory), "appwrite_security_apply": False, **ANSWERS},
        )

    def by_hand(self) -> None:
        self.play(str(HERE / "by_hand.yml"), {"project_src": str(self.project.directory), "key": KEY})

    def empty(self) -> None:
        self.play(str(HERE / "empty.yml"), {})

    def up(self) -> None:
        self._run("docker", "compose", "up", "--detach")

    def vars(self) -> None:
        self._run("docker", "compose", "exec", "-T", "appwrite", "vars")

    def _run(self, *words: str | Path) -> None:
        done = subprocess.run(
            words, cwd=self.project.directory, env=self._environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{words[0]} {words[1]} failed:\n{done.stdout}{done.stderr}")

    def row(self, name: str, against: list[str] | None = None) -> str:
        seconds = self.seconds[name]
        middle = statistics.median(seconds)
        ratio = f"{middle / sum(statistics.median(self.seconds[other]) for other in against):6.2f}" if against else ""
        return f"{name:<48} {middle:7.2f} ({min(seconds):.2f} to {max(seconds):.2f})  {ratio}"


def main() -> None:
    project = Project.create(ROOT / ".work" / "benchmark", "1.9.6")
    fresh = (project.directory / ".env").read_bytes()
    bench = Bench(project)

    def reset() -> None:
        (project.directory / ".env").write_bytes(fresh)
        bench.up()
        project.wait()

    try:
        project.up()
        project.wait()
        for _round in range(FRESH_ROUNDS):
            reset()
            bench.time("by hand, fresh", bench.by_hand)
            reset()
            bench.time("ours, fresh", bench.ours)
        for _round in range(UNCHANGED_ROUNDS):
            bench.time("ours, unchanged", bench.ours)
            bench.time("ours, unchanged, file alone", bench.ours_file_only)
            bench.time("empty module", bench.empty)
            bench.time("docker compose up -d, nothing to do", bench.up)
            bench.time("exec appwrite vars", bench.vars)
        bench.by_hand()
        for _round in range(UNCHANGED_ROUNDS):
            bench.time("by hand, unchanged", bench.by_hand)
    finally:
        project.down()

    floor = ["empty module", "docker compose up -d, nothing to do", "exec appwrite vars"]
    print(f"{'seconds as median (lowest to highest)':<66}{'ratio':>10}")
    for name in [*floor, "ours, unchanged, file alone", "by hand, unchanged", "by hand, fresh"]:
        print(bench.row(name))
    print(bench.row("ours, unchanged", floor), "of the floor (the three first lines together)")
    print(bench.row("ours, unchanged", ["by hand, unchanged"]), "of by hand")
    print(
        bench.row("ours, fresh", ["by hand, fresh"]),
        "of by hand; ours waits for health and verifies every container, by hand does not",
    )


if __name__ == "__main__":
    main()
