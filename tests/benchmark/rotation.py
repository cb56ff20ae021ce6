# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rotation of the encryption key costs, for each database: against plain updates of the same rows and columns, side by side in one run.

The plain updates are a statement for each column of a row (MongoDB: each document) by its primary key, in one transaction through the same client.
They take the data from one key to the other, and a rotation takes it back. Every rotation is a process of its own. It asserts nothing: machines differ.
There are as many files as C(FILES) says, which the plain updates leave alone.
C(ROTATION_VALUES=1000000) also rotates so many, once, in MariaDB and PostgreSQL.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from support.stores import KEYS, rotation
from testbed import Project
from testbed._base import clean_environ, run
from testbed.dataset import Dataset
from testbed.images import Unavailable

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import Report

ROUNDS = 3
FILES, FILE_BYTES = 1000, 100_000
TIMED = {"mariadb": 100_000, "postgresql": 100_000, "mongodb": 10_000}
"""values; FerretDB, which stands in for MongoDB, is slow"""
SIZES = {"mariadb": (10_000, 100_000), "postgresql": (10_000, 100_000), "mongodb": (2_000, 10_000)}
MEMORY = {
    "mariadb": ("--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M"),
    "postgresql": ("-c", "shared_buffers=128MB"),
}
"""what the official images start with, which those of the testbed save"""
PLAIN, ROTATION, DOWNTIME = "plain updates", "rotation", "downtime"
PHASES = ("first", "seal", "verify", "commit")
VERSIONS = {
    "mariadb": "SELECT CONCAT('MariaDB ', VERSION());",
    "postgresql": "SELECT split_part(version(), ' on ', 1);",
    "mongodb": "const own = db.adminCommand({buildInfo: 1}).ferretdbVersion; print(own ? `FerretDB ${own}` : `MongoDB ${db.version()}`)",
}
UPDATES_AT_ONCE = 90
"""FerretDB 1.24 keeps a connection of its 100 for each update of a command until the command ends, and hangs where it has more."""
UPDATE_ONE = """
const updateAll = async () => {
  const name = encodeURIComponent(process.env.MONGO_INITDB_ROOT_USERNAME), word = encodeURIComponent(process.env.MONGO_INITDB_ROOT_PASSWORD);
  const client = await Mongo(`mongodb://${name}:${word}@127.0.0.1:27017/?directConnection=true&authSource=admin`);
  for await (const line of require("readline").createInterface({input: process.stdin})) {
    const asked = line ? JSON.parse(line) : undefined;
    if (typeof asked === "string") { process.stdout.write(asked + "\\n"); }
    else if (asked) { await client.getDB(asked[0]).getCollection(asked[1]).updateOne({_id: asked[2]}, {$set: asked[3]}); }
  }
};
updateAll();
"""


# --- in a process of its own ---


def _memory() -> float:
    """Its peak in MB. What getrusage() says began with the peak of the process that started this one."""
    return int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def _rotate() -> None:
    request = json.loads(sys.stdin.read())
    moments: dict[str, list[float]] = {}

    def told(phase: str, _done: int, _total: int, _waiting: str = "") -> None:
        now = time.perf_counter()
        moments.setdefault(phase, [now, now])[1] = now

    store, found = rotation(**request["what"])
    found._progress = told
    if request["what"]["database"] == "mongodb":
        write = store._change
        store._change = lambda table, batch: sum(
            write(table, batch[start : start + UPDATES_AT_ONCE]) for start in range(0, len(batch), UPDATES_AT_ONCE)
        )
    memory = _memory()
    if request["name"] == DOWNTIME:
        found.prepare()
    work, started = time.process_time(), time.perf_counter()
    report = found.rotate(sweep=request["name"] == ROTATION)
    ended = time.perf_counter()
    store.close()
    ends = [started, moments["seal"][0], moments["verify"][0], moments["verify"][1], ended]
    print(
        json.dumps(
            {
                "seconds": ended - started,
                "work": time.process_time() - work,
                "memory": [memory, _memory()],
                "values": sum(tally.values["old"] + tally.values["new"] for tally in report.collections.values()),
                "phases": {name: end - start for name, start, end in zip(PHASES, ends, ends[1:])},
            }
        )
    )


# --- the benchmark ---


class Bench:
    def __init__(self, database: str, home: Path, project: Project) -> None:
        self.database, self.home, self.project = database, home, project
        self.container = run(
            "docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={project.name}"
        ).strip()
        self.version = self.updates = ""
        self.statements = 0
        self.seconds: dict[str, list[float]] = {}
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.memory: dict[int, list[list[float]]] = {}
        self.ratios: dict[str, list[float]] = {}
        """of a rotation to the plain updates just before it"""
        self.loads: list[float] = []

    def _what(self, old: str, new: str) -> dict[str, str]:
        return {
            "database": self.database,
            "container": self.container,
            "root": str(self.home / "uploads"),
            "journal": str(self.home / "journal"),
            "old": old,
            "new": new,
        }

    def say(self, words: str) -> None:
        self.loads.append(os.getloadavg()[0])
        print(f"{self.database}: {words}, load {self.loads[-1]:.1f}", flush=True)

    def load(self, values: int) -> None:
        """So many values under the first key."""
        data = Dataset.make(1, KEYS[0], values, database=self.database, file_bytes=FILE_BYTES, files=FILES)
        started = time.perf_counter()
        data.load(self.project)
        data.write_files(self.home / "uploads")
        self.say(f"{values:,} values loaded in {time.perf_counter() - started:.0f} s")

    def prepare(self) -> None:
        """The plain updates: what a rotation would write, without the rows of files."""
        store, found = rotation(**self._what(*KEYS))
        updates: list[str] = []

        def note(table: Any, changes: Any) -> int:
            for change in changes:
                if self.database == "mongodb":
                    updates.append(json.dumps([table.space, table.name, change.row.key, change.values]))
                    continue
                for name, value in change.values.items():
                    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
                    updates.append(
                        f"UPDATE {store._place(table.space, table.name)} SET {store._quoted(name)} = {store._literal(text)}"
                        f" WHERE _id = {change.row.key};"
                    )
            return len(changes)

        with closing(store):
            store.change = note
            for table, rows in found._walk("seal"):
                if not table.holds_files:
                    found._seal(table, rows, Report())
        self.statements, self.updates = len(updates), "\n".join(updates)

    def plain(self) -> None:
        """Through a client that is there already, as a rotation finds it."""
        store, _found = rotation(**self._what(*KEYS))
        with closing(store):
            session = store._session
            if self.database == "mongodb":
                session.close()
                module = sys.modules[type(store).__module__]
                session = module.Session(
                    [*module.client(self.container)[:-1], UPDATE_ONE], "MongoDB", '"%s"', "ERROR", {}, None
                )
            with closing(session):
                session.ask("")
                started = time.perf_counter()
                session.ask(
                    self.updates if self.database == "mongodb" else f"START TRANSACTION;\n{self.updates}\nCOMMIT;"
                )
                self.seconds.setdefault(PLAIN, []).append(time.perf_counter() - started)

    def rotate(self, name: str, values: int, old: str, new: str) -> None:
        done = subprocess.run(
            [sys.executable, __file__, "rotate"],
            input=json.dumps({"name": name, "what": self._what(old, new)}),
            env=clean_environ(),
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
        answer = json.loads(done.stdout)
        if answer["values"] < values:  # the secrets inside of others are counted too
            sys.exit(f"{answer['values']} values were rotated instead of {values}.")
        self.memory.setdefault(values, []).append(answer["memory"])
        if values == TIMED[self.database]:
            self.seconds.setdefault(name, []).append(answer["seconds"])
            self.ratios.setdefault(name, []).append(answer["seconds"] / self.seconds[PLAIN][-1])
            self.answers.setdefault(name, []).append(answer)
        else:
            self.say(f"{values:,} values rotated in {answer['seconds']:.1f} s")

    def rounds(self, values: int) -> None:
        self.prepare()
        for number in range(ROUNDS):
            for name in (ROTATION, DOWNTIME):
                self.plain()
                self.rotate(name, values, KEYS[1], KEYS[0])
            self.say(f"round {number + 1} of {ROUNDS}")

    def show(self) -> None:
        def middle(numbers: Iterable[float]) -> str:
            return f"{statistics.median(numbers):8.2f}"

        print(
            f"\n{self.version}: {TIMED[self.database]:,} values, {self.statements:,} plain updates, load {min(self.loads):.1f} to {max(self.loads):.1f}"
        )
        print(
            f"{'':<15}{'seconds':<27}{'values/s':>10}" + "".join(f"{title:>8}" for title in ("ratio", *PHASES, "work"))
        )
        for name, seconds in self.seconds.items():
            print(
                f"{name:<15}{middle(seconds)} ({min(seconds):.2f} to {max(seconds):.2f})".ljust(42)
                + f"{TIMED[self.database] / statistics.median(seconds):10,.0f}",
                end="",
            )
            if name in self.answers:
                answers = self.answers[name]
                print(
                    middle(self.ratios[name]),
                    *(middle(each["phases"][phase] for each in answers) for phase in PHASES),
                    middle(each["work"] for each in answers),
                    sep="",
                    end="",
                )
            print()
        for size, pairs in self.memory.items():
            print(
                f"{size:>9,} values: peak {max(peak for _start, peak in pairs):.1f} MB, {max(peak - start for start, peak in pairs):.1f} MB more than"
                " before the rotation"
            )


def measure(database: str, home: Path) -> Bench:
    home.mkdir()
    project = Project.create(home, "1.9.6", database)
    command = project.config()["services"][database]["command"]
    services = {database: {"command": [*(command or ()), *MEMORY[database]]}} if database in MEMORY else {}
    (project.directory / "docker-compose.override.yml").write_text(json.dumps({"services": services}))
    try:
        project.up(database)
        project.wait()
        bench = Bench(database, home, project)
        more = [int(values) for values in [os.environ.get("ROTATION_VALUES")] if values and database != "mongodb"]
        for values in [*SIZES[database], *more]:
            bench.load(values)
            if values == TIMED[database]:
                bench.rounds(values)
            else:
                bench.rotate(ROTATION, values, *KEYS)
        bench.version = project.query(**VERSIONS).strip()
        return bench
    finally:
        project.down()


def main() -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="appwrite-rotation-") as name:
        for database in TIMED:
            try:
                measure(database, Path(name, database)).show()
            except Unavailable as reason:
                print(f"{database} is left out: {reason}")
    print(
        "\nseconds: median (lowest to highest)\nratio: to the plain updates just before, median"
        "\nfirst to commit: the parts of it; first what was staged is written, or on MongoDB all is read"
        "\nwork: processor time of its own process, without client and server"
        "\ndowntime: what the installation is stopped for, less the stopping and starting itself; files have their successors by then, and values are"
        " staged but on MongoDB"
    )


if __name__ == "__main__":
    _rotate() if sys.argv[1:] else main()
