# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rotation of the encryption key costs, for each database: against plain updates of the same rows and columns, side by side in one run.

The plain updates are a statement for each column of a row (MongoDB: each document) by its primary key, in one transaction through the same client.
They take the data from one key to the other, and a rotation takes it back. Every rotation is a process of its own. It asserts nothing: machines differ.
There are as many files as C(FILES) says, which the plain updates leave alone.
C(ROTATION_VALUES=1000000) also rotates so many, once, in MariaDB and PostgreSQL.

After that, how long the API of a running project is away, under traffic, by how many small files it has: modules of the collection one after the other, as
the playbook runs them. C(rotation.sh files) measures this alone, and C(ROTATION_FILES=1000,1000000) other numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from support.stack import KEY, Kind, set_env
from support.stores import KEYS, rotation
from testbed import Project
from testbed._base import clean_environ, run
from testbed._servers import SERVERS
from testbed._shapes import FILES as FILE_COLUMNS
from testbed._shapes import Row
from testbed.dataset import STORAGE, Dataset
from testbed.images import Unavailable
from testbed.traffic import Traffic

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import METHOD, VERSION, Cipher
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
AWAY = tuple(int(number) for number in os.environ.get("ROTATION_FILES", "1000,10000,100000").split(","))
"""small files of a running project"""
SMALL_FILE = b"NotARealSmallFile"
_PEAK = re.compile(r"VmHWM:\s*(\d+)")
RUNNING = Kind("2.4.0", "mariadb")


# --- in a process of its own ---


def _memory() -> float:
    """Its peak in MB. What getrusage() says began with the peak of the process that started this one."""
    return int(_PEAK.findall(Path("/proc/self/status").read_text())[0]) / 1024


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


# --- a running project ---


class Running:
    """One project, to which files are added from one measurement to the next."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.project = RUNNING.create(home)
        path = self.project.directory / "docker-compose.override.yml"
        command = self.project.config()["services"]["mariadb"]["command"] or ()
        path.write_text(json.dumps({"services": {"mariadb": {"command": [*command, *MEMORY["mariadb"]]}}}))
        self.keys = [f"{name}{secrets.token_hex(3)}" for name in KEYS]
        """the first is in force; of another project on this engine, the same would stop a rotation"""
        set_env(self.project.directory, **{KEY: self.keys[0]})
        self.files = 0
        self.loads: list[float] = []
        self.found: dict[int, list[dict[str, Any]]] = {}

    def start(self) -> None:
        self.project.up()
        self.project.wait()
        data = Dataset.make(1, self.keys[0], database="mariadb", file_bytes=1000)
        data.load(self.project)
        data.write_files(self.project.uploads())
        self.table = next(table for table in data.tables if table.holds_files)

    def load(self, files: int) -> None:
        """So many small ones in all, sealed with the key in force, half of them in directories of their own, as older releases have it."""
        root, server, cipher = self.project.uploads(), SERVERS["mariadb"].of(self.project), Cipher(self.keys[0])
        rows = []
        for number in range(self.files, files):
            uid = secrets.token_hex(10)
            deep = "".join(f"/{letter}" for letter in uid[:4]) if number % 2 else ""
            path = f"{STORAGE}/app-1/{self.table.uid}{deep}/{uid}.txt"
            text, iv, tag = cipher.encrypt(SMALL_FILE)
            place = root / path.removeprefix(f"{STORAGE}/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text)
            values = {
                **dict.fromkeys(column.name for column in FILE_COLUMNS),
                **{"bucketId": self.table.uid, "name": "small.txt", "path": path, "openSSLVersion": VERSION},
                **{"signature": hashlib.md5(SMALL_FILE, usedforsecurity=False).hexdigest(), "mimeType": "text/plain"},
                **{"sizeOriginal": len(SMALL_FILE), "algorithm": "none"},
                **{"openSSLCipher": METHOD, "openSSLIV": iv, "openSSLTag": tag, "chunksTotal": 1, "chunksUploaded": 1},
            }
            rows.append(server.document(self.table, Row(server.row_id(1000 + number), uid, None, (), values), values))
        if rows:
            server.insert(self.table, rows)
            server.end()
        self.files = files

    def rotate(self) -> None:
        asked = self._asked()
        arguments = {"project_src": str(self.project.directory)}
        with Traffic(self.project) as traffic:
            time.sleep(3)
            rotated = _module("rekey", {**arguments, "scope": "values", "new_key": self.keys[1]})
            asked = self._asked() - asked
            _module("apply", arguments)
            ended = _module("rekey", {**arguments, "scope": "values", "sample": 0})
        if (rotated["phase"], ended["phase"], ended["report"]["state"]) != ("written", "finished", "new"):
            sys.exit(f"not everything was rotated: {rotated['phase']}, {ended['phase']}")
        if wrong := traffic.check():
            sys.exit(f"lost: {wrong[:3]}")
        files = sum(each["files"].get("new", 0) for each in ended["report"]["collections"])
        if files < self.files:
            sys.exit(f"{files} files were rotated instead of {self.files}")
        self.keys.reverse()
        self.loads.append(os.getloadavg()[0])
        self.found.setdefault(self.files, []).append(
            {
                "away": traffic.away,
                "api": ended["downtime"]["api"],
                "whole": ended["downtime"]["whole"],
                "statements": asked,
                "seconds": rotated["seconds"],
                "work": rotated["work"],
                "memory": rotated["memory"],
                "end": ended["work"],
                "end memory": ended["memory"],
            }
        )
        last = self.found[self.files][-1]
        print(f"{self.files:,} files: {last}, load {self.loads[-1]:.1f}", flush=True)

    def _asked(self) -> int:
        return int(self.project.query(mariadb="SHOW GLOBAL STATUS LIKE 'Questions';").split()[1])

    def show(self) -> None:
        first = statistics.median(each["away"] for each in self.found[AWAY[0]])
        print(
            f"\n2.4.0 on MariaDB, small files on the local volume, load {min(self.loads):.1f} to {max(self.loads):.1f}"
        )
        titles = ("api", "whole", "statements", "seconds", "work", "memory", "end", "end memory")
        print(f"{'files':>9}  {'API away':<28}{'ratio':>6}" + "".join(f"{title:>12}" for title in titles))
        for files, each in self.found.items():
            away = [one["away"] for one in each]
            middle = statistics.median(away)
            print(
                f"{files:>9,}  {f'{middle:.1f} ({min(away):.1f} to {max(away):.1f})':<28}{middle / first:6.2f}"
                + "".join(f"{statistics.median(one[title] for one in each):12,.1f}" for title in titles)
            )
        print(
            "\nAPI away: seconds without an answer to the traffic, median (lowest to highest); ratio: to that of the first line"
            "\napi, whole: seconds, as the rotation tells them; statements: of the database, with the traffic's own"
            "\nseconds, work, memory: of the run that seals: all of it, on the processor with its clients, and its peak in MB; end: of the run that ends it"
        )


def _module(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Its result, with what it took."""
    path = Path(__file__).parents[2] / "plugins" / "modules" / f"{name}.py"
    environ = {**clean_environ(), "PYTHONPATH": str(Path(__file__).parents[2] / ".work" / "import")}
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        json.dump({"ANSIBLE_MODULE_ARGS": arguments}, given)
        given.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, path], stdin=given, stdout=said, stderr=said, env=environ)
        memory = pid = 0
        while not pid:
            time.sleep(0.05)
            with suppress(IndexError, OSError):  # it has ended
                memory = int(_PEAK.findall(Path(f"/proc/{process.pid}/status").read_text())[0])
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read()
        if process.returncode:
            sys.exit(f"{name} failed: {output[-2000:]}")
        took = {
            "seconds": time.perf_counter() - started,
            "work": used.ru_utime + used.ru_stime,
            "memory": memory / 1024,
        }
        return {**json.loads(output), **took}


def measure_running(home: Path) -> None:
    running = Running(home)
    try:
        running.start()
        for files in AWAY:
            running.load(files)
            for _number in range(ROUNDS):
                running.rotate()
        running.show()
    finally:
        running.project.down()


def main(*parts: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="appwrite-rotation-") as name:
        for database in TIMED if "files" not in parts else ():
            try:
                measure(database, Path(name, database)).show()
            except Unavailable as reason:
                print(f"{database} is left out: {reason}")
        if "files" not in parts:
            explain()
        measure_running(Path(name, "running"))


def explain() -> None:
    print(
        "\nseconds: median (lowest to highest)\nratio: to the plain updates just before, median"
        "\nfirst to commit: the parts of it; first what was staged is written, or on MongoDB all is read"
        "\nwork: processor time of its own process, without client and server"
        "\ndowntime: what the installation is stopped for, less the stopping and starting itself; files have their successors by then, and values are"
        " staged but on MongoDB"
    )


if __name__ == "__main__":
    _rotate() if sys.argv[1:] == ["rotate"] else main(*sys.argv[1:])
