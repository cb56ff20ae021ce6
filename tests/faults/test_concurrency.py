# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runs at once on one file, and a run that dies or stands still with the lock in its hands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.absent import NO_DOCKER
from support.stack import CHECKOUT, HTTPS, KEY, ROOT_ONLY, WORK, read_env, refuse, succeed, without
from testbed._base import clean_environ

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import decode, parse

RACERS = 50
MODULES = CHECKOUT / "plugins" / "modules"
ENVIRON = {**clean_environ(), "PYTHONPATH": str(WORK / "import")}
# Imports take most of a run's time and touch nothing of the project: they are done once, and each run is a fork that waits for the start.
RACE = """
import json, os, runpy, sys
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import transaction as _transaction
start, starter = os.pipe()
for number, (file, arguments) in enumerate(json.load(sys.stdin)):
    with open(f"{number}.in", "w") as given:
        json.dump({"ANSIBLE_MODULE_ARGS": arguments}, given)
    if not os.fork():
        sys.stdin = open(f"{number}.in")
        os.dup2(os.open(f"{number}.out", os.O_WRONLY | os.O_CREAT, 0o600), 1)
        os.close(starter)
        os.read(start, 1)
        runpy.run_path(file, run_name="__main__")
os.close(starter)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""
# The lock is waited for during five minutes, which no option shortens: nobody should.
IMPATIENT = (
    sys.executable,
    "-c",
    """
import runpy, sys
from ansible_collections.selfhost.appwrite.plugins.module_utils._env import file as _env_file
_env_file.LOCK_TIMEOUT = 1.0
sys.argv = sys.argv[-1:]
runpy.run_path(sys.argv[0], run_name="__main__")
""",
)


class Reader(threading.Thread):
    """Reads the file all the time, as compose may at any moment."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._ended = threading.Event()
        self.snapshots = [path.read_bytes()]
        self.reads = 0
        self.missing = 0

    def run(self) -> None:
        while not self._ended.is_set():
            self.reads += 1
            try:
                seen = self._path.read_bytes()
            except FileNotFoundError:
                self.missing += 1
                continue
            if seen != self.snapshots[-1]:
                self.snapshots.append(seen)
            time.sleep(0.001)

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self.join()


def race(runs: list[tuple[str, dict[str, Any]]], scratch: Path) -> list[dict[str, Any]]:
    """Lets modules loose together, each in a process of its own, and returns their results."""
    given = json.dumps([(str(MODULES / f"{name}.py"), arguments) for name, arguments in runs])
    subprocess.run(
        [*NO_DOCKER, sys.executable, "-c", RACE], env=ENVIRON, cwd=scratch, input=given, text=True, check=True
    )
    return [json.loads((scratch / f"{number}.out").read_text()) for number in range(len(runs))]


def test_race(directory, tmp_path_factory):
    """One key is generated and everybody gets it, nobody's change is lost, and the file is whole at every moment."""
    without(directory, KEY)
    project = {"project_src": str(directory), "backup_keep": 2 * RACERS}
    own = {f"OWN_{number}": f"value {number}" for number in range(RACERS)}
    runs = [
        ("security", {**project, "encryption_key": {}, "env": {"variables": {name: value}, "unknown": "allow"}})
        for name, value in own.items()
    ]
    runs[RACERS // 2 : RACERS // 2] = [
        ("https", project),
        ("console_access", {**project, "root_only": False}),
        ("env", {**project, "variables": {"_APP_DOMAIN": "example.com"}}),
    ]
    old = read_env(directory)
    with Reader(directory / ".env") as reader:
        results = race(runs, tmp_path_factory.mktemp("race"))
    assert not [result["msg"] for result in results if result.get("failed")]

    new = read_env(directory)
    changed = {change["name"] for result in results for change in result["changes"]}
    assert {*own, KEY, HTTPS, ROOT_ONLY, "_APP_DOMAIN"} <= changed
    assert {**own, HTTPS: "enabled", ROOT_ONLY: "disabled", "_APP_DOMAIN": "example.com"}.items() <= new.items()
    assert {name: old[name] for name in old.keys() - changed} == {name: new[name] for name in new.keys() - changed}
    keys = [result["key"] for result in results if "key" in result]
    assert Counter(key["state"] for key in keys) == {"generated": 1, "kept": RACERS - 1}
    assert {key["fingerprint"] for key in keys} == {fingerprint(new[KEY])}

    backups = [Path(result["backup_file"]) for result in results]
    assert len(set(backups)) == len(runs) and set(directory.glob(".env.*")) == set(backups)
    written = sorted([*(path.read_bytes() for path in backups), (directory / ".env").read_bytes()], key=len)
    values = [parse(decode(data)).values for data in written]
    assert all(earlier.keys() <= later.keys() for earlier, later in zip(values, values[1:], strict=False)), (
        "each run built on the one before"
    )
    assert {each[KEY] for each in values if KEY in each} == {new[KEY]}

    assert not reader.missing
    assert set(reader.snapshots) <= set(written), "a reader sees what some run wrote, whole"
    print(
        f"processes raced: {len(runs)}; a reader saw {len(reader.snapshots)} of {len(written)} versions in {reader.reads} reads, each whole"
    )


def _holds_lock(process: int, directory: Path) -> bool:
    lock = directory / ".selfhost-appwrite-lock"
    if not lock.exists():
        return False
    lines = Path("/proc/locks").read_text().splitlines()
    return any("FLOCK" in line and f" {process} " in line and f":{lock.stat().st_ino} " in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGCONT], ids=["dies", "goes on"])
def test_holder_that_stands_still(directory, number):
    """The next run waits, then says why it gives up; a holder that dies lets go, and one that goes on ends as if nothing had been."""
    without(directory, KEY)
    arguments = {"project_src": str(directory)}
    with subprocess.Popen(
        [sys.executable, MODULES / "encryption_key.py"], env=ENVIRON, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdin and holder.stdout
            holder.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
            holder.stdin.close()
            while not _holds_lock(holder.pid, directory):
                assert holder.poll() is None
                time.sleep(0.001)
            holder.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
            assert _holds_lock(holder.pid, directory)
            assert "another run has held the lock" in refuse("encryption_key", arguments, prefix=IMPATIENT)
            with ThreadPoolExecutor() as pool:
                waiting = pool.submit(succeed, "encryption_key", arguments)
                holder.send_signal(number)
                found = waiting.result()["key"]
            said = holder.stdout.read()
        finally:
            holder.kill()
    if number == signal.SIGKILL:
        assert (found["state"], said) == ("generated", b"")
    else:
        made = json.loads(said)["key"]
        assert (made["state"], found["state"], found["fingerprint"]) == ("generated", "kept", made["fingerprint"])
