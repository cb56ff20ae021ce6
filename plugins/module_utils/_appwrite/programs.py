# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container of Appwrite does with jobs, by the program that it runs and not by its service's name, which is the owner's.

Read in appwrite 1.4.14 to 1.9.6: C(bin/*), C(Dockerfile), C(app/worker.php), C(src/Appwrite/Platform/Tasks); how they end was seen on 1.9.6.
Those of 2.x: C(bin/*) and C(app/worker.php) of the development state of 2026-08-21 (0cefd0615350), C(mqtt) in the compose file of 2.4.0.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.variables import is_older

TASK, API, WORKER, UNKNOWN = "task", "API", "worker", "unknown"
EVERY = "*"
"""the queue of the worker that takes the jobs of all"""
_TASKS = ("schedule", "maintenance", "interval", "stats-resources", "usage", "volume-sync")
_NAMED = {"webhooks": "webhook", "deletes": "delete"}
PATIENT = 300
_IDLE = 15


class Part(NamedTuple):
    """kind: V(task) makes jobs out of rows, by the clock; V(API) makes them out of requests; V(worker) takes them, and may make others."""

    kind: str
    grace: int
    """seconds that it is given to end; if its queue is waited for, a worker has no job in hand any more then"""
    usual: int
    """seconds that it is seen to take"""
    queue: str = ""
    """the one that a worker takes its jobs from, or C(EVERY)"""


def part_of(program: Sequence[str], environment: Mapping[str, str], release: str) -> Part:
    """program: the container's entry point and command. release: of Appwrite, such as V(2.4.0)."""
    words = [word.rpartition("/")[2] for word in " ".join(program).split()]
    worker = next(_workers(words), None)
    if worker in ("", "all"):
        return Part(WORKER, PATIENT, 4, EVERY)
    if worker:
        return Part(WORKER, _IDLE, 4, _queue(worker.lower(), environment, release))
    if any(word in _TASKS or word.startswith("schedule-") for word in words):
        return Part(
            TASK, 5, 5
        )  # all but interval ignore SIGTERM, and what they have not made yet they make out of the same rows the next time
    if {"realtime", "realtime.php", "mqtt", "mqtt.php"} & set(words):
        return Part(API, 5, 5)  # their clients connect again; up to 1.8.1 the shell does not hand SIGTERM on
    return Part(API, 30, 1) if "http.php" in words else Part(UNKNOWN, PATIENT, 10)


def _queue(worker: str, environment: Mapping[str, str], release: str) -> str:
    """From 2.0 each worker has a variable of its own for its queue, and C(_APP_QUEUE_NAME) is that of the databases (C(app/config/workers.php))."""
    is_databases = worker.startswith("databases")
    name = "_APP_QUEUE_NAME"
    if not is_databases and not is_older(release, (2,)):
        name = "_APP_%s_QUEUE_NAME" % _NAMED.get(worker, worker).upper().replace("-", "_")
    return environment.get(name) or ("database_db_main" if is_databases else "v1-" + worker)


def _workers(words: Sequence[str]) -> Iterator[str]:
    for word, after in zip(words, [*words[1:], ""]):
        if word.startswith("worker-"):
            yield word[len("worker-") :]
        elif word == "worker.php":
            yield after
        elif word == "worker":
            yield ""
