# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What commands take: seconds, seconds of the processor, which other work on the machine stretches far less, and processes, which it does not change."""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.hosts import Host
from testbed._base import clean_environ

from conftest import WORK  # which also makes the collection importable

HERE = Path(__file__).parent
FORKS = 10
_STARTED = re.compile(r"\d+ +(?:clone3?|v?fork)\((?!.*CLONE_THREAD)")


class Runs:
    """Of each command, by a name for it, what each of its runs took."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        """environment: what the commands get besides this process's own and what Ansible needs here."""
        self.seconds: dict[str, list[float]] = {}
        self.work: dict[str, list[float]] = {}
        """seconds of the processor, of the command and of all that it starts on this machine but the engine's containers"""
        self.processes: dict[str, int] = {}
        self._directory = directory
        self.environment = {
            **clean_environ(),
            "ANSIBLE_HOME": str(WORK / "benchmark"),
            "ANSIBLE_COLLECTIONS_PATH": str(WORK / "import"),
            "ANSIBLE_LIBRARY": str(HERE / "library"),
            **environment,
        }

    def time(self, name: str, *words: str | Path) -> str:
        """Returns what the command prints."""
        used, started = _used(), time.perf_counter()
        said = self.run(*words)
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        self.work.setdefault(name, []).append(_used() - used)
        return said

    def count(self, name: str, *words: str | Path) -> None:
        """Counts the processes that a command is and starts, in a run that is not timed."""
        with tempfile.NamedTemporaryFile("r") as trace:
            calls = "--trace=clone,clone3,?fork,?vfork"
            self.run("strace", "-f", "--seccomp-bpf", "-qq", calls, "--signal=none", "-o", trace.name, *words)
            self.processes[name] = 1 + sum(1 for line in trace if _STARTED.match(line))

    def run(self, *words: str | Path) -> str:
        """Returns what the command prints. Exits if it fails."""
        done = subprocess.run(
            words, cwd=self._directory, env=self.environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def middle(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def middle_work(self, name: str) -> float:
        return statistics.median(self.work[name])

    def spread(self, name: str) -> str:
        return f"{self.middle(name):7.2f} ({min(self.seconds[name]):.2f} to {max(self.seconds[name]):.2f})"


class FleetRuns(Runs):
    """Of plays on as many of the hosts as C(sizes) says, each over connections of its own, as once a day, and on FORKS hosts at a time."""

    def __init__(
        self,
        home: Path,
        hosts: Mapping[str, Host],
        sizes: Sequence[int],
        variables: Mapping[str, object],
        environment: Mapping[str, str],
    ) -> None:
        """home: a directory for what the plays need; variables: of all hosts."""
        super().__init__(home, {"ANSIBLE_CONFIG": f"{home}/ansible.cfg", **environment})
        self._home = home
        (home / "ansible.cfg").touch()
        groups = {f"first_{size}": {"hosts": dict.fromkeys(list(hosts)[:size])} for size in sizes}
        found = {name: host.variables("root") for name, host in hosts.items()}
        (home / "inventory.yml").write_text(
            json.dumps({"all": {"hosts": found, "children": groups, "vars": variables}})
        )

    def play(self, name: str, size: int, source: str | Path, **variables: object) -> str:
        """Returns what the play prints."""
        with tempfile.TemporaryDirectory(dir=self._home) as connections:
            inventory = "--inventory", self._home / "inventory.yml", "--limit", f"first_{size}", "--forks", str(FORKS)
            command = playbook(source, *inventory, **variables, ansible_control_path_dir=connections)
            return self.time(f"{name} {size}", *command)

    def further(self, name: str, size: int) -> str:
        """What each host after the first adds, in seconds and in the controller's processor time; each with its ratio to that of FORKS hosts."""

        def each(measured: Callable[[str], float], hosts: int) -> float:
            return (measured(f"{name} {hosts}") - measured(f"{name} 1")) / (hosts - 1)

        return "".join(
            f"{each(measured, size):9.3f}{each(measured, size) / each(measured, FORKS):6.2f}" if size > 1 else " " * 15
            for measured in (self.middle, self.middle_work)
        )


def playbook(source: str | Path, *arguments: str | Path, **variables: object) -> list[str | Path]:
    """The command that runs a playbook with these variables."""
    return [Path(sys.executable).parent / "ansible-playbook", source, *arguments, "--extra-vars", json.dumps(variables)]


def machine() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
