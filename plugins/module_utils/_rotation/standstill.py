# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""That nobody writes while values are sealed anew: what holds the key ends its work and goes, and nobody else is connected.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import REDIS
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import in_force, is_public
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.programs import (
    API,
    EVERY,
    PATIENT,
    TASK,
    UNKNOWN,
    WORKER,
    Part,
    part_of,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Tell, some_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import PROJECT_LABEL, addresses
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import kind_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Store

START = 300
"""Seconds that the engine is given to start or remove containers."""
_CLOSED = 60
"""Seconds that the API is closed at most for jobs, all of which were made before."""
_LONG = 5.0
"""Seconds in hand after which a job is one that takes long."""
_POLL = 0.5
_BACKLOG = 20
"""jobs that may wait when the API is closed: those that are made while it is open are never at an end"""
_QUEUE, _IN_HAND, _JOB = "utopia-queue.queue.", "utopia-queue.processing.", "utopia-queue.jobs."
"""Lists of utopia-php/queue, and what a worker writes once when it takes a job. One that is killed leaves its job in the second list, and nobody
takes it back (seen on 1.9.6; read in utopia-php/queue 1.3.1, which 2.0 has)."""
_ROUNDED = 5
"""Seconds by which what Redis and the engine say of a moment may differ"""
BUILDS = "v1-builds"
"""From 2.0 the worker of this queue has the orchestrator make two containers for each build, and is done."""
_BUILDS = (
    *("ps", "--filter", "label=managed-by=jobs-service", "--filter", "label=job.id"),
    *("--format", '{{.Label "job.id"}}\t{{.Networks}}'),
)
"""open-runtimes/orchestrator, C(internal/orchestrator/docker/docker.go), from its first commit (2b541748e4, 2026-01-30) on"""
_BLOCKED = re.compile(r"\baddr=\[?(\S+?)\]?:\d+ .*\bflags=\w*b")
_REFUSAL = re.compile(r"^(?:\(error\)|[A-Z]{3,} ).*", re.MULTILINE)
"""An error in the place of an answer: C(redis-cli) prints it as it prints a name, and no name of Appwrite's looks so."""
_PATIENCE = 15
"""Seconds that sessions are given to end: those of a client that was stopped, and of a health check."""
_TOLD = 5
"""sessions that are named"""
UNSEEN = (
    "other machines can be seen only by their sessions at the database: make sure that none runs an Appwrite on this database until the rotation "
    "has ended, and none with the old key afterwards"
)

UNSEEN_FILES = (
    "who else uses the bucket of the files cannot be seen: an Appwrite on a copy of this database, as for tests, loses the files that are replaced here "
    "unless it has a bucket of its own"
)


def _held_as(environment: Mapping[str, str], key: str) -> str | None:
    """The name under which it has this key. The public default is the executor's secret as well."""
    return next(
        (name for name, value in environment.items() if value == key and (not is_public(key) or "OPENSSL_KEY" in name)),
        None,
    )


_ASKED_FROM = (
    "It is no service of the project, and was asked from a container in the networks of Appwrite's API: see that Appwrite itself reaches it, and that "
    "_APP_REDIS_HOST, _APP_REDIS_PORT, _APP_REDIS_USER and _APP_REDIS_PASS are right"
)


class Redis:
    """Appwrite's Redis through its own client. The password goes by the environment, not as an argument.

    That Appwrite was given a password does not mean that Redis wants one. Appwrite speaks no TLS to it (2.0, C(app/init/registers.php)).
    """

    def __init__(self, instance: Instance) -> None:
        values = instance.services.get("appwrite", {})
        name = catalogue.connection(values, instance.release, catalogue.REDIS_DSNS)
        if name:
            raise AppwriteError(
                "%s: tells Appwrite where its Redis is, and this collection reads _APP_REDIS_HOST alone. If it names one server alone, write that one into "
                "_APP_REDIS_HOST and the variables beside it, and leave this one out; several cannot be emptied" % name
            )
        host = _redis_of(instance)
        self._compose = instance.compose
        self._password: dict[str, str] = {}
        service = instance.service_at(host)
        if service is None:
            port = catalogue.given(values, "_APP_REDIS_PORT") or "6379"
            self._id, self._way = instance.client("redis_client_image", REDIS, {}), ["-h", host, "-p", port]
        else:
            found = [
                container
                for container in instance.containers()
                if container.service == service and container.status == "running"
            ]
            if not found:
                raise AppwriteError(
                    "the Redis %s is not a running container of this project, so its cache cannot be emptied; start it"
                    % host
                )
            self._id, self._way = found[0].id, []
        try:
            role = self._sign_in(values, instance.release)
        except AppwriteError as error:
            if service is None:
                raise AppwriteError("the Redis at %s: %s. %s" % (host, error, _ASKED_FROM)) from None
            raise
        if role.startswith("sentinel"):
            raise AppwriteError(
                "_APP_REDIS_HOST: %s is a sentinel, which holds no data; name the Redis that it watches" % host
            )
        if role.startswith("LOADING"):
            raise AppwriteError("the Redis at %s is still reading its data; run again when it has" % host)
        if role.startswith("slave"):
            raise AppwriteError(
                "the Redis at %s is a replica, which takes no changes, so its cache cannot be emptied: have Appwrite use the primary (_APP_REDIS_HOST)"
                % host
            )

    def _sign_in(self, values: Mapping[str, str], release: str) -> str:
        """What it says of its role."""
        if self._run(["ping"], "").startswith("NOAUTH"):
            self._password = {"REDISCLI_AUTH": values.get("_APP_REDIS_PASS", "")}
            user = catalogue.given(values, "_APP_REDIS_USER")
            if user and not catalogue.is_older(release, (2, 1, 0)):  # before that it is not read
                self._way = [*self._way, "--user", user]
        role = self._run(["role"], "")
        return role if role.startswith(("NOPERM", "LOADING")) else "".join(self._allowed(role)[:1])

    def waiting(self) -> dict[str, int]:
        """Queue to the number of jobs that wait in it."""
        names = self._scan(_QUEUE + "*")
        lengths = self._ask(["LLEN %s" % _quoted(name) for name in names])
        return {
            name[len(_QUEUE) :]: int(length) for name, length in zip(names, lengths) if length.isdigit() and int(length)
        }

    def in_hand(self) -> dict[str, set[str]]:
        """Queue to the names of jobs that a worker has taken and not ended."""
        found = {
            name[len(_IN_HAND) :]: set(filter(None, self._ask(["LRANGE %s 0 -1" % _quoted(name)])))
            for name in self._scan(_IN_HAND + "*")
        }
        return {queue: jobs for queue, jobs in found.items() if jobs}

    def taken(self, in_hand: Mapping[str, set[str]]) -> dict[tuple[str, str], int]:
        """Queue and job to the seconds since a worker took it; without those of which Redis does not say it."""
        jobs = [(queue, job) for queue, each in in_hand.items() for job in sorted(each)]
        script = "".join("OBJECT IDLETIME %s\n" % _quoted("%s%s.%s" % (_JOB, *each)) for each in jobs)
        answers = self._run([], script).splitlines() if jobs else []
        return {each: int(idle) for each, idle in zip(jobs, answers) if len(answers) == len(jobs) and idle.isdigit()}

    def resting(self) -> Counter[str]:
        """Address to the number of its clients that wait for something to come into a list; empty if Redis does not say it."""
        return Counter(_BLOCKED.findall(self._run([], "CLIENT LIST\n")))

    def forget_documents(self) -> int:
        """The cache holds rows decrypted, the paths of files among them."""
        names = self._scan("default-cache*")
        for start in range(0, len(names), 500):
            self._ask(["UNLINK " + " ".join(map(_quoted, names[start : start + 500]))])
        return len(names)

    def _scan(self, pattern: str) -> list[str]:
        return self._allowed(self._run(["--scan", "--pattern", pattern], ""))

    def _ask(self, commands: Sequence[str]) -> list[str]:
        return self._allowed(self._run([], "\n".join(commands) + "\n")) if commands else []

    @staticmethod
    def _allowed(answer: str) -> list[str]:
        refusal = _REFUSAL.search(answer)
        if refusal:
            raise AppwriteError("Redis refuses a command: %s" % refusal.group())
        return answer.splitlines()

    def _run(self, arguments: Sequence[str], script: str) -> str:
        options = ["--env=" + name for name in self._password]
        return self._compose.docker(
            ["exec", "-i", *options, self._id, "redis-cli", *self._way, *arguments], script=script, more=self._password
        ).stdout


def _redis_of(instance: Instance) -> str:
    return catalogue.given(instance.services.get("appwrite", {}), "_APP_REDIS_HOST") or "redis"


class Stillness:
    """Everything that holds the key ends its work and goes; what stays is the databases, the proxy and what never had it."""

    def __init__(self, instance: Instance, keys: Sequence[str], tell: Tell) -> None:
        """keys: the old one and the new one, any of which makes a holder of a container, whatever it is called there."""
        self._instance = instance
        self._keys = keys
        self._tell = tell

    def make(
        self, redis: Redis, drain_timeout: int, leave: Sequence[str], closing: Callable[[], None], alone: bool = True
    ) -> list[str]:
        """What makes jobs goes before what takes them, and the API as late as can be. Returns what is left of jobs, in words.

        leave: queues that are not waited for. closing: called before the first part of the API is stopped.
        alone: whether no other host makes or takes jobs. If one does, there may always be some, and only what each worker has in hand is waited for.
        C(drain_timeout) is in seconds. Raises AppwriteError if jobs are left that no container of the project takes.
        """
        stranded = self.stranded(redis, leave) if alone else ""
        if stranded:
            raise AppwriteError("%s. Nothing was changed" % stranded)
        parts = self._parts()
        self._stop([(container, part.grace) for container, part in parts if part.kind == TASK])
        self._drain(redis, drain_timeout, leave, parts, True)
        closing()
        self._stop([(container, part.grace) for container, part in parts if part.kind == API])
        if alone:
            self._drain(redis, drain_timeout, leave, parts, False)
        self._stop(
            [
                (container, PATIENT if part.queue in leave or not alone else part.grace)
                for container, part in parts
                if part.kind in (WORKER, UNKNOWN)
            ]
        )
        return self._left(redis)

    def stranded(self, redis: Redis, leave: Sequence[str]) -> str:
        """Queues whose jobs nobody will ever take, in words. If something unknown runs, it may be that which takes them."""
        parts = self._parts()
        if any(part.kind == UNKNOWN for _container, part in parts):
            return ""
        taken = {part.queue for _container, part in parts if part.kind == WORKER}
        if EVERY in taken:
            return ""
        found = {queue: jobs for queue, jobs in redis.waiting().items() if queue not in taken and queue not in leave}
        return (
            "leave_queues: no running worker takes the jobs waiting in %s. Start it, or name each in `leave_queues`: they stay where they are"
            % (_listed(found))
            if found
            else ""
        )

    def builds(self) -> str:
        """Those that run now, in words."""
        found = sorted(self._builds())
        return (
            "builds run as jobs of the orchestrator (%d: %s): a rotation waits for them while the API is open, as long as `drain_timeout` allows (%s)"
            % (len(found), ", ".join(found[:_TOLD]), "one may take as long as _APP_COMPUTE_BUILD_TIMEOUT says")
            if found
            else ""
        )

    def _builds(self) -> set[str]:
        """The names that Appwrite gave the orchestrator's jobs: project, deployment, C(build). Another installation's are in other networks."""
        networks = {network.get("name") for network in (self._instance.config.get("networks") or {}).values()}
        rows = [row.partition("\t") for row in self._instance.compose.docker(_BUILDS).stdout.splitlines()]
        return {job for job, _tab, where in rows if job and {*networks, "bridge"} & {*where.split(",")}}

    def expected(self) -> tuple[int, int]:
        """Seconds until the API is closed, and from then on until everything stands still, if there is no backlog."""
        keep = catalogue.is_older(self._instance.release, (1, 9, 0))  # the shells of workers keep SIGTERM to themselves
        usual = [
            (part.kind, part.grace if keep and part.kind == WORKER else part.usual)
            for _container, part in self._parts()
        ]
        first, second, third = (
            max([seconds for kind, seconds in usual if kind in kinds] or [0])
            for kinds in ((TASK,), (API,), (WORKER, UNKNOWN))
        )
        return first, second + third

    def started(self) -> dict[str, float]:
        """Kind of part to the moment, in seconds since 1970, when the last of them was started."""
        found: dict[str, float] = {}
        for container, part in self._parts():
            found[part.kind] = max(found.get(part.kind, 0.0), container.started)
        return found

    def holders(self) -> list[Container]:
        """The containers with a key, those of C(docker compose run) too."""
        return list(filter(self.is_holder, self._instance.compose.containers(self._instance.project, oneoff=True)))

    def is_holder(self, container: Container) -> bool:
        """Whether it has a key: one in Appwrite's own variable, or one of these in any. What is needed opens nothing with it."""
        if self.is_needed(container):
            return False
        return catalogue.KEY in container.environment or any(_held_as(container.environment, key) for key in self._keys)

    def is_needed(self, container: Container) -> bool:
        """By the rotation itself: databases, Redis, and an object store that is a service of the project."""
        device = device_of(self._instance.listed("appwrite"))
        hosts = [_redis_of(self._instance), *([device.host] if device else [])]
        return bool(kind_of(container.image_name)) or container.service in map(self._instance.service_at, hosts)

    def has_new(self, holder: Container) -> bool:
        """Whether it was made with the new key, under whatever name."""
        old, new = self._keys
        if catalogue.KEY in holder.environment:
            return in_force(holder.environment) == new
        return not _held_as(holder.environment, old)

    def remove(self) -> None:
        """A container that is stopped may come back with the engine; one that is gone cannot. Raises AppwriteError if one comes back at once."""
        found = [container.id for container in self.holders()]
        if found:
            self._instance.compose.docker(["rm", "--force"] + found, timeout=START)
        left = self.holders()
        if left:
            raise AppwriteError("the container of %s came back while it was being removed; run again" % left[0].service)

    def _parts(self) -> list[tuple[Container, Part]]:
        """Of the containers that run and have a key."""
        return [
            (container, part_of(container.program, container.environment, self._instance.release))
            for container in self.holders()
            if container.is_on
        ]

    def _stop(self, graces: Sequence[tuple[Container, int]]) -> None:
        if not graces:
            return
        with ThreadPoolExecutor(len(graces)) as pool:
            asked = {
                pool.submit(
                    self._instance.compose.docker, ["stop", "--time", str(grace), container.id], timeout=grace + 60.0
                ): container.service
                for container, grace in graces
            }
            left = list(asked.values())
            self._tell("stopping", 0, len(asked), some_of(left))
            for each in as_completed(asked):
                each.result()
                left.remove(asked[each])
                self._tell("stopping", len(asked) - len(left), len(asked), some_of(left))

    def _drain(
        self, redis: Redis, timeout: int, leave: Sequence[str], parts: Sequence[tuple[Container, Part]], serving: bool
    ) -> None:
        """Until no job waits and none is in hand.

        While the API is serving there always is one: then until few wait, and none is in hand that was at the beginning, or that takes long.
        """
        limit = timeout if serving else min(timeout, _CLOSED)
        begin, most = time.monotonic(), 0
        seen: dict[tuple[str, str], float] | None = None
        left_over: set[tuple[str, str]] = set()
        while True:
            now = time.monotonic()
            waiting = {queue: jobs for queue, jobs in redis.waiting().items() if queue not in leave}
            in_hand, resting = redis.in_hand(), redis.resting()
            if seen is None:
                left_over = _left_over(redis.taken(in_hand), parts)
            busy = {
                (queue, job)
                for queue, jobs in in_hand.items()
                if queue not in leave and not _rest(queue, parts, resting)
                for job in jobs
            } - left_over
            if serving and BUILDS not in leave:
                busy |= {(BUILDS, build) for build in self._builds()}
            seen = dict.fromkeys(busy, now - _LONG) if seen is None else {each: seen.get(each, now) for each in busy}
            if serving:
                busy = {each for each in busy if now - seen[each] >= _LONG}
            left = sum(waiting.values())
            if left <= (_BACKLOG if serving else 0) and not busy:
                return
            found = _listed(Counter([queue for queue, _job in busy]) + Counter(waiting))
            if now - begin > limit:
                raise AppwriteError(
                    "drain_timeout: after %d seconds%s jobs still wait or run in %s, and nothing was changed. Look at the workers' logs, %s, or name a queue "
                    "in `leave_queues`, which is not waited for then"
                    % (
                        limit,
                        *(
                            ("", found, "give more time")
                            if serving
                            else (" with the API closed", found, "run again when less is to be done")
                        ),
                    )
                )
            most = max(most, left)
            self._tell("draining", most - left, most, found)
            time.sleep(_POLL)

    def _left(self, redis: Redis) -> list[str]:
        waiting, in_hand, builds = redis.waiting(), redis.in_hand(), sorted(self._builds())
        found = []
        if builds:
            found.append(
                "builds that run as jobs of the orchestrator (%s) were begun with the old key, and what they ask of the API meanwhile fails: look at "
                "these deployments, and create those again that failed" % ", ".join(builds)
            )
        if waiting:
            found.append(
                "jobs wait in %s until a worker takes them; they hold nothing that is sealed" % _listed(waiting)
            )
        if in_hand:
            found.append(
                "jobs that a worker was processing when it was killed, now or long ago, are left over in %s, and Appwrite will not resume them"
                % _listed({queue: len(jobs) for queue, jobs in in_hand.items()})
            )
        return found


def _rest(queue: str, parts: Sequence[tuple[Container, Part]], resting: Mapping[str, int]) -> bool:
    """Whether all that take jobs from a queue wait for one, so that whatever is noted as being in hand is left over.

    One that may have several in hand at a time waits for the next while it has some (utopia-php/queue 1.3.1, from Appwrite 2.0 on): of that nothing is known.
    """
    takers = _takers(queue, parts)
    processes = [container.environment.get("_APP_WORKERS_NUM") or "1" for container in takers]
    return all(
        (container.environment.get("_APP_WORKER_MAX_COROUTINES") or "1") == "1"
        and number.isdigit()
        and sum(resting.get(address, 0) for address in container.addresses) >= int(number)
        for container, number in zip(takers, processes)
    )


def _left_over(taken: Mapping[tuple[str, str], int], parts: Sequence[tuple[Container, Part]]) -> set[tuple[str, str]]:
    """Jobs that were taken before any of the containers that take them now was started, by one that was killed.

    Of a container that starts later than now the machine's clock was set back, so nothing can be said.
    """
    now = time.time()
    return {
        (queue, job)
        for (queue, job), idle in taken.items()
        if all(0 <= now - container.started < idle - _ROUNDED for container in _takers(queue, parts))
    }


def _takers(queue: str, parts: Sequence[tuple[Container, Part]]) -> list[Container]:
    return [container for container, part in parts if part.queue in (queue, EVERY)]


def _listed(queues: Mapping[str, int]) -> str:
    return ", ".join("%s (%d)" % each for each in sorted(queues.items()))


class Others:
    """Who is not of this project, and may write all the same. Everything is answered in words, which are empty if there is nobody."""

    def __init__(self, instance: Instance, store: Store, key: str, in_bucket: bool) -> None:
        """in_bucket: whether files are in an object store."""
        self._instance = instance
        self._store = store
        self._key = key
        self._in_bucket = in_bucket

    def holders(self) -> str:
        """A container of another project with the key. The public default alone says nothing, as long as the database cannot be reached from there."""
        items = self._inspected()
        within = {name for item in items if self._is_own(item) for name in _networks(item)}
        for item in items:
            name = None if self._is_own(item) else _held_as(_environment(item), self._key)
            if name and not (is_public(self._key) and within.isdisjoint(_networks(item))):
                project = (item["Config"].get("Labels") or {}).get(PROJECT_LABEL)
                return (
                    "the container %s%s has the encryption key too (%s), so it may write values that the new key does not open: stop and remove it, "
                    "or give it its own key if it has its own database"
                    % (item["Name"].lstrip("/"), " of the project %s" % project if project else "", name)
                )
        return ""

    def sessions(self, running: bool = False) -> str:
        """Sessions of the database that are not ours. running: those of containers that go before the rotation seals anything are no strangers."""
        own = (
            {place for item in self._inspected() if self._is_own(item) and self._goes(item) for place in _places(item)}
            if running
            else set()
        )
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self._store.sessions()
            if running and found.address:
                own.add(_host(found.address))
            seen = [each for each in found.seen if _host(each.address) not in own]
            if not seen or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if not seen:
            return ""
        told = ", ".join(
            "%s from %s%s" % (each.user or "(unknown)", each.address, " at %s" % each.space if each.space else "")
            for each in seen[:_TOLD]
        )
        return (
            "other sessions are open at the database (%d): %s. End the programs that they belong to, or restart the database if there are none any more"
            % (len(seen), told)
        )

    def unseen(self) -> list[str]:
        """What cannot be found out."""
        blind = self._store.sessions().blind
        return [UNSEEN + (" (%s)" % blind if blind else ""), *([UNSEEN_FILES] if self._in_bucket else [])]

    def require_none(self) -> None:
        """Raises AppwriteError if something else has the key or speaks to the database."""
        found = self.holders() or self.sessions()
        if found:
            raise AppwriteError(found)

    def _goes(self, item: Mapping[str, Any]) -> bool:
        return catalogue.KEY in _environment(item) or _held_as(_environment(item), self._key) is not None

    def _is_own(self, item: Mapping[str, Any]) -> bool:
        return bool((item["Config"].get("Labels") or {}).get(PROJECT_LABEL) == self._instance.project)

    def _inspected(self) -> list[Any]:
        """Every container of the engine, stopped ones too."""
        compose = self._instance.compose
        ids = compose.docker(["ps", "--all", "--quiet", "--no-trunc"]).stdout.split()
        found: list[Any] = (
            json.loads(compose.docker(["inspect", "--type", "container"] + ids, tolerate=True).stdout or "[]")
            if ids
            else []
        )
        return found


def _environment(item: Mapping[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in item["Config"].get("Env") or [] if "=" in entry)


def _networks(item: Mapping[str, Any]) -> set[str]:
    found = set((item.get("NetworkSettings") or {}).get("Networks") or {})
    return found | {"host"} if (item.get("HostConfig") or {}).get("NetworkMode") == "host" else found


def _places(item: Mapping[str, Any]) -> set[str]:
    """How a database may name a container that is connected to it."""
    return {item["Name"].lstrip("/"), *addresses(item)}


def _host(address: str) -> str:
    """An address without its port, and a name without its network's."""
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdigit() else address
    return host if host.replace(".", "").isdigit() or ":" in host else host.split(".")[0]


def start(instance: Instance, containers: Sequence[Container], tell: Tell) -> None:
    """Starts what is stopped. One that is gone meanwhile is passed over."""
    if containers:
        tell("starting", 0, len(containers), some_of(container.service for container in containers))
        instance.compose.docker(["start"] + [container.id for container in containers], timeout=START, tolerate=True)
        instance.forget_containers()


def _quoted(name: str) -> str:
    return '"%s"' % name.replace("\\", "\\\\").replace('"', '\\"')
