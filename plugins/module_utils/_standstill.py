# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""That nobody writes while values are sealed anew: what holds the key ends its work and goes, and nobody else is connected."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils import _variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._compose import PROJECT_LABEL, Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._instance import Instance, kind_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import in_force, is_public
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores._model import Seen, Store

STOP = 300
"""Seconds that a container is given to end what it is at (facts of the image: a worker ends its job first)."""
_FIRST = ("task", "schedule", "maintenance", "usage", "stats")
_LAST = ("appwrite", "appwrite-realtime")
_PATIENCE = 15
"""Seconds that sessions are given to end: those of a client that was stopped, and of a health check."""
_TOLD = 5
"""sessions that are named"""
UNSEEN = ("other machines can be seen only by their sessions at the database: make sure that none runs an Appwrite on this database until the rotation "
          "has ended")


def _held_as(environment: Mapping[str, str], key: str) -> str | None:
    """The name under which it has this key. The public default is the executor's secret as well."""
    return next((name for name, value in environment.items() if value == key and (not is_public(key) or "OPENSSL_KEY" in name)), None)


class Redis:
    """Appwrite's Redis through its own client. The password goes by the environment, not as an argument."""

    def __init__(self, instance: Instance) -> None:
        values = instance.services.get("appwrite", {})
        host = _redis_of(instance)
        found = [container for container in instance.containers() if container.service == host and container.status == "running"]
        if not found:
            raise AppwriteError("the Redis %s is no running container of this project, so its cache cannot be emptied; start it" % host)
        self._compose = instance.compose
        self._id = found[0].id
        self._options: list[str] = []
        if self._run(["ping"], "").startswith("NOAUTH"):  # that Appwrite was given a password does not mean that Redis wants one
            self._compose.environment["REDISCLI_AUTH"] = values.get("_APP_REDIS_PASS", "")
            self._options = ["-e", "REDISCLI_AUTH"]

    def jobs(self) -> int:
        """That wait in a queue or are being worked at (utopia-php/queue: lists C(utopia-queue.queue.*) and C(utopia-queue.processing.*))."""
        names = self._scan("utopia-queue.queue.*") + self._scan("utopia-queue.processing.*")
        return sum(int(line) for line in self._ask(["LLEN %s" % _quoted(name) for name in names]) if line.isdigit())

    def forget_documents(self) -> int:
        """The cache holds rows decrypted, the paths of files among them."""
        names = self._scan("default-cache*")
        for start in range(0, len(names), 500):
            self._ask(["UNLINK " + " ".join(map(_quoted, names[start:start + 500]))])
        return len(names)

    def _scan(self, pattern: str) -> list[str]:
        return self._allowed(self._run(["--scan", "--pattern", pattern], ""))

    def _ask(self, commands: Sequence[str]) -> list[str]:
        return self._allowed(self._run([], "\n".join(commands) + "\n")) if commands else []

    @staticmethod
    def _allowed(answer: str) -> list[str]:
        if answer.startswith(("NOAUTH", "WRONGPASS", "NOPERM", "(error)")):
            raise AppwriteError("Redis refuses what is asked of it: %s" % answer.split("\n")[0])
        return answer.splitlines()

    def _run(self, arguments: Sequence[str], script: str) -> str:
        return self._compose.docker(["exec", "-i"] + self._options + [self._id, "redis-cli"] + list(arguments), script=script).stdout


def _redis_of(instance: Instance) -> str:
    return _variables.given(instance.services.get("appwrite", {}), "_APP_REDIS_HOST") or "redis"


class Stillness:
    """Everything that holds the key ends its work and goes; what stays is the databases, the proxy and what never had it."""

    def __init__(self, instance: Instance, keys: Sequence[str], tell: Tell) -> None:
        """keys: the old one and the new one, any of which makes a holder of a container, whatever it is called there."""
        self._instance = instance
        self._keys = keys
        self._tell = tell

    def make(self, redis: Redis, drain_timeout: int) -> None:
        holders = self.holders()
        first = [container for container in holders if any(word in container.service for word in _FIRST)]
        last = [container for container in holders if container.service in _LAST]
        self._stop(first)
        self._drain(redis, drain_timeout)
        self._stop([container for container in holders if container not in first and container not in last])
        self._stop(last)

    def holders(self) -> list[Container]:
        """The containers with a key, those of C(docker compose run) too."""
        return list(filter(self.is_holder, self._instance.compose.containers(self._instance.project, oneoff=True)))

    def is_holder(self, container: Container) -> bool:
        """Whether it has a key: one in Appwrite's own variable, or one of these in any. Databases and Redis are needed, and open nothing with it."""
        if self.is_needed(container):
            return False
        return _variables.KEY in container.environment or any(_held_as(container.environment, key) for key in self._keys)

    def is_needed(self, container: Container) -> bool:
        """By the rotation itself."""
        return bool(kind_of(container.image_name)) or container.service == _redis_of(self._instance)

    def has_new(self, holder: Container) -> bool:
        """Whether it was made with the new key, under whatever name."""
        old, new = self._keys
        if _variables.KEY in holder.environment:
            return in_force(holder.environment) == new
        return not _held_as(holder.environment, old)

    def remove(self) -> None:
        """A container that is stopped may come back with the engine; one that is gone cannot."""
        found = [container.id for container in self.holders()]
        if found:
            self._instance.compose.docker(["rm", "--force"] + found, timeout=STOP)
        left = self.holders()
        if left:
            raise AppwriteError("the container of %s came back while it was being removed; run again" % left[0].service)

    def _stop(self, containers: Sequence[Container]) -> None:
        running = [container for container in containers if container.status in ("running", "restarting")]
        if not running:
            return
        with ThreadPoolExecutor(len(running)) as pool:
            asked = [pool.submit(self._instance.compose.docker, ["stop", "--time", str(STOP), container.id], timeout=STOP + 60.0) for container in running]
            for number, each in enumerate(asked):
                self._tell("stopping", number, len(running), running[number].service)
                each.result()

    def _drain(self, redis: Redis, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        most = waiting = redis.jobs()
        while waiting:
            if time.monotonic() > deadline:
                raise AppwriteError(
                    "drain_timeout: %d jobs still wait or run after %d seconds, and nothing was changed. Look at the workers' logs, or give more "
                    "time" % (waiting, timeout))
            self._tell("draining", most - waiting, most)
            time.sleep(1)
            waiting = redis.jobs()
            most = max(most, waiting)


class Others:
    """Who is not of this project, and may write all the same. Everything is answered in words, which are empty where there is nobody."""

    def __init__(self, instance: Instance, store: Store, key: str) -> None:
        self._instance = instance
        self._store = store
        self._key = key

    def holders(self) -> str:
        """A container of another project with the key. The public default alone says nothing, as long as the database cannot be reached from there."""
        items = self._inspected()
        within = {name for item in items if self._is_own(item) for name in _networks(item)}
        for item in items:
            name = None if self._is_own(item) else _held_as(_environment(item), self._key)
            if name and not (is_public(self._key) and within.isdisjoint(_networks(item))):
                project = (item["Config"].get("Labels") or {}).get(PROJECT_LABEL)
                return ("the container %s%s has the encryption key too (%s), so that it may write what the new key does not open: stop and remove it, "
                        "or give it a key of its own if it has a database of its own"
                        % (item["Name"].lstrip("/"), " of the project %s" % project if project else "", name))
        return ""

    def sessions(self, running: bool = False) -> str:
        """Sessions of the database that are not ours. running: those of containers that go before the rotation seals anything are no strangers."""
        own = {place for item in self._inspected() if self._is_own(item) and self._goes(item) for place in _places(item)} if running else set()
        deadline = time.monotonic() + _PATIENCE
        while True:
            seen = [each for each in self._store.sessions().seen if _host(each) not in own]
            if not seen or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if not seen:
            return ""
        told = ", ".join("%s from %s%s" % (each.user or "(unknown)", each.address, " at %s" % each.space if each.space else "") for each in seen[:_TOLD])
        return "other sessions are open at the database (%d): %s. End whatever they belong to, or restart the database if nothing does any more" % (
            len(seen), told)

    def unseen(self) -> list[str]:
        """What cannot be found out."""
        blind = self._store.sessions().blind
        return [UNSEEN + (" (%s)" % blind if blind else "")]

    def require_none(self) -> None:
        found = self.holders() or self.sessions()
        if found:
            raise AppwriteError(found)

    def _goes(self, item: Mapping[str, Any]) -> bool:
        return _variables.KEY in _environment(item) or _held_as(_environment(item), self._key) is not None

    def _is_own(self, item: Mapping[str, Any]) -> bool:
        return bool((item["Config"].get("Labels") or {}).get(PROJECT_LABEL) == self._instance.project)

    def _inspected(self) -> list[Any]:
        """Every container of the engine, stopped ones too."""
        compose = self._instance.compose
        ids = compose.docker(["ps", "--all", "--quiet", "--no-trunc"]).stdout.split()
        found: list[Any] = json.loads(compose.docker(["inspect", "--type", "container"] + ids, tolerate=True).stdout or "[]") if ids else []
        return found


def _environment(item: Mapping[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in item["Config"].get("Env") or [] if "=" in entry)


def _networks(item: Mapping[str, Any]) -> set[str]:
    found = set((item.get("NetworkSettings") or {}).get("Networks") or {})
    return found | {"host"} if (item.get("HostConfig") or {}).get("NetworkMode") == "host" else found


def _places(item: Mapping[str, Any]) -> set[str]:
    """How a database may name a container that is connected to it."""
    found = {item["Name"].lstrip("/")}
    for network in ((item.get("NetworkSettings") or {}).get("Networks") or {}).values():
        found |= {network.get("IPAddress") or "", network.get("GlobalIPv6Address") or ""}
    return found - {""}


def _host(session: Seen) -> str:
    """An address without its port, and a name without its network's."""
    host = session.address.rpartition(":")[0] if session.address.rpartition(":")[2].isdigit() else session.address
    return host if host.replace(".", "").isdigit() or ":" in host else host.split(".")[0]


def start(instance: Instance, containers: Sequence[Container]) -> None:
    """Starts what is stopped. One that is gone meanwhile is passed over."""
    if containers:
        instance.compose.docker(["start"] + [container.id for container in containers], timeout=STOP, tolerate=True)
        instance.forget_containers()


def _quoted(name: str) -> str:
    return '"%s"' % name.replace("\\", "\\\\").replace('"', '\\"')
