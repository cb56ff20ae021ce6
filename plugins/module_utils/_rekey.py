# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The rotation of the encryption key on its host: one step after the other, each of which may be the last before a power failure.

What is needed to go on or back stands in one file of a directory beside C(.env) (C(State)), written before anything else changes. While
data may be sealed with either key, C(.env) holds a guard instead of a key, with which compose starts nothing.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhost.appwrite.plugins.module_utils import _variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._cipher import NEW, OLD, Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._compose import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._dotenv import decode, encode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env_file import EnvFile, reason
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._instance import PROJECT_OPTIONS, Instance, document_of, instance_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import CIPHER_BYTES, GUARD, check, in_force, same_cipher, shown_fingerprint, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import EMPTY, Report, Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import check_password, seal
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings._model import generate
from ansible_collections.selfhost.appwrite.plugins.module_utils._stored import look, store_of, uploads_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores._model import Store
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores.files import Files
from ansible_collections.selfhost.appwrite.plugins.module_utils._transaction import BACKUP_KEEP, backup_keep, prune_backups

REKEY_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "scope": {"type": "str", "choices": ["verify", "values", "tokens"], "default": "verify"},
    "key": {"type": "str", "no_log": True},
    "new_key": {"type": "str", "no_log": True},
    "abort": {"type": "bool", "default": False},
    "waivers": {"type": "list", "elements": "str", "default": []},
    "sample": {"type": "int", "default": 1000},
    "dump": {"type": "bool", "default": True},
    "drain_timeout": {"type": "int", "default": 300},
    "container": {"type": "str"},
    "seal": {"type": "str", "no_log": True},
    "progress_file": {"type": "path"},
    "backup_keep": BACKUP_KEEP,
    "escrow_file": {"type": "path"},
}

_DIRECTORY = ".appwrite-rotation"
_STOP = 300
"""Seconds that a container is given to end what it is at (facts of the image: a worker ends its job first)."""
_FIRST = ("task", "schedule", "maintenance", "usage", "stats")
_LAST = ("appwrite", "appwrite-realtime")
_LENGTH = 64
_MARK = "TheGuardOfARotationStandsHere"
_PASSES = 4
"""How many times as long as the rehearsal the sealing takes, which reads everything three times and writes it once."""
_COMPLAINT = 4096
"""Bytes that are read of what a dump complains, from its end."""
_RECOVERY = 120
"""Seconds that a database is given to come up after a reboot."""
PREPARED, GUARDED, SEALED, WRITTEN = "prepared", "guarded", "sealed", "written"


class State:
    """What must outlive this process. The file is in clear for its owner alone, as C(.env) is, and goes when the rotation ends."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.join(directory, _DIRECTORY)
        self._file = EnvFile(os.path.join(self.directory, "state.json"), "project_src")
        self.content: dict[str, Any] = {}

    @contextmanager
    def locked(self, create: bool) -> Iterator[None]:
        """One rotation at a time. The directory goes again where no rotation is under way."""
        if not create and not os.path.isdir(self.directory):
            yield
            return
        with _words(self.directory):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise AppwriteError("cannot lock %s: %s" % (self.directory, reason(error))) from None
            raise AppwriteError("another rotation of this project is running; wait for it to end") from None
        try:
            self._file.read()
            self.content = json.loads(self._file.data) if self._file.exists else {}
            yield
        finally:
            if create and not os.path.lexists(self._file.path):
                shutil.rmtree(self.directory, ignore_errors=True)
            os.close(handle)

    def save(self, **changes: Any) -> None:
        """On disk when it returns."""
        self.content.update(changes)
        self._file.read()
        self._file.replace(json.dumps(self.content, sort_keys=True).encode(), backup=False)

    def end(self) -> None:
        with _words(self.directory):
            os.unlink(self._file.path)
        self.content = {}

    @property
    def phase(self) -> str:
        return str(self.content["phase"])

    @property
    def env(self) -> bytes:
        """The C(.env) file of before."""
        return base64.b64decode(self.content["env"])


class _Stillness:
    """Everything that holds the key ends its work and goes; what stays is the databases, the proxy and what never had it."""

    def __init__(self, instance: Instance, redis: "_Redis", tell: Callable[[str, int, int], None]) -> None:
        self._instance = instance
        self._redis = redis
        self._tell = tell
        self._ran: list[Container] = []

    def make(self, drain_timeout: int) -> None:
        holders = self.holders()
        self._ran = [container for container in holders if container.status == "running"]
        first = [container for container in holders if any(word in container.service for word in _FIRST)]
        last = [container for container in holders if container.service in _LAST]
        self._stop(first)
        self._drain(drain_timeout)
        self._stop([container for container in holders if container not in first and container not in last])
        self._stop(last)

    def undo(self) -> None:
        """What C(make()) has stopped runs again."""
        start(self._instance, self._ran)

    def holders(self) -> list[Container]:
        """The containers with a key, those of C(docker compose run) too."""
        return [container for container in self._instance.compose.containers(self._instance.project, oneoff=True) if _variables.KEY in container.environment]

    def remove(self) -> None:
        """A container that is stopped may come back with the engine; one that is gone cannot."""
        found = [container.id for container in self.holders()]
        if found:
            self._instance.compose.docker(["rm", "--force"] + found, timeout=_STOP)
        left = self.holders()
        if left:
            raise AppwriteError("the container of %s came back while it was being removed; run again" % left[0].service)

    def _stop(self, containers: Sequence[Container]) -> None:
        running = [container for container in containers if container.status in ("running", "restarting")]
        if not running:
            return
        with ThreadPoolExecutor(len(running)) as pool:
            asked = [pool.submit(self._instance.compose.docker, ["stop", "--time", str(_STOP), container.id], timeout=_STOP + 60.0) for container in running]
            for number, each in enumerate(asked):
                each.result()
                self._tell("stopping", number + 1, len(running))

    def _drain(self, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        most = waiting = self._redis.jobs()
        while waiting:
            if time.monotonic() > deadline:
                raise AppwriteError(
                    "drain_timeout: %d jobs still wait or run after %d seconds, and nothing was changed. Look at the workers' logs, or give more "
                    "time" % (waiting, timeout))
            self._tell("draining", most - waiting, most)
            time.sleep(1)
            waiting = self._redis.jobs()
            most = max(most, waiting)


class _Redis:
    """Appwrite's Redis through its own client. The password goes by the environment, not as an argument."""

    def __init__(self, instance: Instance) -> None:
        values = instance.services.get("appwrite", {})
        host = _variables.given(values, "_APP_REDIS_HOST") or "redis"
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


def start(instance: Instance, containers: Sequence[Container]) -> None:
    """Starts what is stopped. One that is gone meanwhile is passed over."""
    if containers:
        instance.compose.docker(["start"] + [container.id for container in containers], timeout=_STOP, tolerate=True)
        instance.forget_containers()


def _quoted(name: str) -> str:
    return '"%s"' % name.replace("\\", "\\\\").replace('"', '\\"')


def rekey(module: AnsibleModule) -> dict[str, Any]:
    if module.params["sample"] < 0:
        raise AppwriteError("sample: %d is no number of values; give 0 for all of them" % module.params["sample"])
    check_password(module.params["seal"])
    instance = instance_of(module.params)
    if module.params["scope"] == "verify":
        return _verify(module, instance)
    return (_Tokens if module.params["scope"] == "tokens" else _Rekey)(module, instance).run()


class _Rekey:
    """The rotation of every stored value, from wherever an earlier run left it."""

    def __init__(self, module: AnsibleModule, instance: Instance) -> None:
        self._module = module
        self._instance = instance
        self._env_file = EnvFile(instance.env_path)
        self._state = State(os.path.dirname(self._env_file.real))
        self._tell = Progress(module.params["progress_file"])

    def run(self) -> dict[str, Any]:
        with self._state.locked(not self._module.check_mode), self._env_file.opened(for_writing=not self._module.check_mode):
            _require(self._env_file)
            return self._go_on() if self._is_begun() else self._begin()

    def _is_begun(self) -> bool:
        """Whether data may be sealed with either key. Before the guard nothing has happened that a new start would not do again."""
        return bool(self._state.content) and (self._state.phase != PREPARED or self._env_file.data == self._guarded(self._state.env))

    def _go_on(self) -> dict[str, Any]:
        state, check_mode = self._state, self._module.check_mode
        self._open(state.env, state.content["old"], state.content["new"])
        _check_given(self._module, self._env_file, state.content["old"])
        if self._module.params["new_key"] not in (None, state.content["new"]):
            raise AppwriteError(
                "new_key: an unfinished rotation goes to another key (%s); pass that one, or none, until it has ended"
                % told(state.content["new"]))
        if state.phase == WRITTEN and not self._runs() and not self._module.params["abort"]:
            return self._result(WRITTEN, changed=False)
        if check_mode:
            try:
                self._connect()
            except AppwriteError as error:
                return self._result(state.phase, warnings=["nothing could be looked at: %s" % error])
            return self._result(state.phase, self._rotation.rehearse())
        if state.phase != WRITTEN:  # compose starts nothing while the guard stands
            start(self._instance, [container for container in self._instance.containers()
                                   if container.status != "running" and _variables.KEY not in container.environment])
        self._connect(_RECOVERY)
        return self._abort() if self._module.params["abort"] else self._forward()

    def _begin(self) -> dict[str, Any]:
        document = document_of(self._env_file, self._instance)
        if self._module.params["abort"]:
            if not self._state.content:
                raise AppwriteError("abort: no rotation is under way; nothing was changed")
            self._document = document
            result = self._result("aborted", dump_file=None)
            if not self._module.check_mode:
                self._forget()
            return result
        old, new = in_force(document.values), self._module.params["new_key"]
        if new is None and self._module.check_mode:
            new = generate(_LENGTH)
        self._check_keys(old, new)
        self._guarded(self._env_file.data)
        self._open(self._env_file.data, old, new)
        _check_containers(self._instance, self._env_file.path, (old,))
        self._connect()
        started = time.monotonic()
        report = self._rotation.rehearse()
        if self._module.check_mode:
            size = self._store.size()
            return self._result("rehearsed", report, expected_downtime=round(_PASSES * (time.monotonic() - started)), disk_needed={
                "files": report.bytes, "database": size, "dump": size if self._module.params["dump"] else 0})
        _check_report(report)
        self._check_room(report)
        self._forget()
        self._state.save(phase=PREPARED, old=old, new=new, env=base64.b64encode(self._env_file.data).decode("ascii"))
        return self._forward()

    def _check_keys(self, old: str, new: str | None) -> None:
        if not old:
            raise AppwriteError("%s is empty: what was stored was sealed with no key at all, which this rotation does not handle" % _variables.KEY)
        _check_given(self._module, self._env_file, old)
        if new is None:
            raise AppwriteError("new_key: is missing; the role appwrite_rotation makes one and keeps it in the escrow first")
        check(new, "new_key")
        if new == old:
            raise AppwriteError("new_key: is the key that is in force already")
        if same_cipher(new, old):
            raise AppwriteError(
                "new_key: has the same first 16 bytes as the key in force, and AES uses no more, so nothing would be sealed anew. "
                "To invalidate issued tokens alone is scope: tokens")

    def _open(self, data: bytes, old: str, new: str) -> None:
        """Reads the project as it was before, whatever stands in C(.env) now, and makes everything ready to look at its data."""
        document = parse(decode(data), self._instance.compose.environment)
        self._instance.load(document, data)
        self._instance.require_compose()
        self._instance.compose.mask.add([old, new])
        self._document = document
        self._ciphers = Cipher(old), Cipher(new)

    def _connect(self, patience: float = 0) -> None:
        """patience: seconds that the database is given to come up."""
        deadline = time.monotonic() + patience
        files = Files(uploads_of(self._instance), os.path.join(self._state.directory, "files"))
        while True:
            try:
                self._redis = _Redis(self._instance)
                self._store = store_of(self._instance)
                break
            except AppwriteError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(1)
            self._instance.forget_containers()
        self._stillness = _Stillness(self._instance, self._redis, self._tell)
        self._rotation = Rotation(self._store, files, *self._ciphers, _waivers(self._module.params["waivers"]), self._tell)

    def _check_room(self, report: Report) -> None:
        directory = uploads_of(self._instance)
        needed, free = report.bytes, shutil.disk_usage(directory).free
        if free < needed:
            raise AppwriteError(
                "%d MB are free in %s, and the files under the new key need %d MB beside the old ones; make room. Nothing was changed"
                % (free >> 20, directory, needed >> 20))

    def _forward(self) -> dict[str, Any]:
        state = self._state
        if state.phase == PREPARED:
            if not self._is_begun():
                self._prepare()
            state.save(phase=GUARDED)
        if state.phase == GUARDED:
            self._put(self._guarded(state.env))
            self._stillness.remove()
            if self._rotation.state() != NEW:
                self._rotation.rotate(sweep=False)
            state.save(phase=SEALED)
        if state.phase == SEALED:
            self._redis.forget_documents()
            if not self._holds(state.content["new"]):
                self._put(encode(self._document.edit({_variables.KEY: state.content["new"]}, _variables.kin)))
            state.save(phase=WRITTEN, seconds=round(time.time() - state.content["stopped"]))
        return self._end()

    def _prepare(self) -> None:
        """All up to the guard. Where it fails, everything is as before."""
        try:
            if self._module.params["dump"]:
                path = os.path.join(os.path.dirname(self._env_file.real), time.strftime("appwrite-before-rotation-%Y%m%dT%H%M%SZ.gz", time.gmtime()))
                self._state.save(dump_file=path)
                dump(self._instance, self._store, path, self._tell)
            self._state.save(stopped=time.time())
            self._stillness.make(self._module.params["drain_timeout"])
            self._put(self._guarded(self._state.env), backup=True)
        except AppwriteError:
            self._env_file.read()
            if not self._is_begun():
                self._stillness.undo()
                self._forget()
            raise

    def _forget(self) -> None:
        """Ends what has not got as far as the guard."""
        if not self._state.content:
            return
        path = self._state.content.get("dump_file")
        if path and os.path.lexists(path):
            with _words(path):
                os.unlink(path)
        self._state.end()

    def _guarded(self, data: bytes) -> bytes:
        """A file with the guard in the place of its key."""
        text = parse(decode(data), self._instance.compose.environment).edit({_variables.KEY: _MARK}, _variables.kin)
        guarded = "".join(GUARD + "\n" if line.startswith(_variables.KEY) and _MARK in line else line for line in text.splitlines(keepends=True))
        if GUARD not in guarded:
            raise AppwriteError("the line of %s in %s cannot be replaced; write it as %s=value" % (_variables.KEY, self._env_file.path, _variables.KEY))
        return encode(guarded)

    def _put(self, data: bytes, backup: bool = False) -> None:
        """One step of C(.env), which may have been made already."""
        self._env_file.read()
        if self._env_file.data != data:
            made = self._env_file.replace(data, backup)
            if made:
                self._state.save(backup_file=made)

    def _holds(self, key: str) -> bool:
        """Whether C(.env) has this key already. Somebody may have edited the file since."""
        self._env_file.read()
        try:
            return in_force(parse(decode(self._env_file.data), self._instance.compose.environment).values) == key
        except AppwriteError:
            return False

    def _end(self) -> dict[str, Any]:
        """The last part needs the containers, which somebody has to start in between."""
        self._instance.forget_containers()
        if not self._runs():
            return self._result(WRITTEN)
        report = self._rotation.rehearse(self._module.params["sample"] or None)
        if report.state not in (NEW, EMPTY):
            raise AppwriteError(
                "the key that the containers run with does not open everything that is stored; nothing more was done. Stop the project and run again")
        self._rotation.sweep()
        result = self._result("finished", report)
        self._state.end()
        return result

    def _runs(self) -> bool:
        """Whether every container with a key runs, and has the new one."""
        keys = self._instance.container_keys()
        running = {container.service for container in self._instance.containers() if container.status == "running"}
        return set(keys) == {self._state.content["new"]} and {service for services in keys.values() for service in services} <= running

    def _abort(self) -> dict[str, Any]:
        if self._state.phase in (SEALED, WRITTEN):
            raise AppwriteError(
                "abort: everything is sealed with the new key already, so there is no way back; run again without abort, which ends the rotation")
        self._stillness.remove()
        if self._state.phase == GUARDED:
            if self._rotation.state() == NEW:
                self._state.save(phase=SEALED)
                return self._abort()
            self._rotation.undo()
            self._state.save(phase=PREPARED)  # from the next step on the file is the user's again
        self._put(self._state.env)
        result = self._result("aborted", dump_file=None)
        self._forget()
        return result

    def _result(self, phase: str, report: Report | None = None, **more: Any) -> dict[str, Any]:
        state = self._state.content
        old, new = state.get("old") or in_force(self._document.values), state.get("new") or self._module.params["new_key"] or ""
        return {
            "changed": True, "phase": phase, "report": report.public() if report else None, "stops_working": _stops_working(report),
            "key": described(old, self._module.params["seal"]), "new_key": described(new, self._module.params["seal"]), "dump_file": state.get("dump_file"),
            "backup_file": state.get("backup_file"), "downtime": state.get("seconds"), **more, "warnings": self._instance.warnings + more.get("warnings", [])}


def _require(env_file: EnvFile) -> None:
    if not env_file.exists:
        raise AppwriteError("env_file: %s does not exist; there is no key to rotate" % env_file.path)


def _check_given(module: AnsibleModule, env_file: EnvFile, old: str) -> None:
    if module.params["key"] not in (None, old):
        raise AppwriteError("key: is not the one in %s (%s); leave it out" % (env_file.path, told(old)))


def _check_report(report: Report) -> None:
    if not report.unwaived_count:
        return
    if not report.count(OLD):
        raise AppwriteError(
            "key: the key in .env opens none of the %d sealed values and files, so it is not the one that they were sealed with. Nothing was changed"
            % report.undecryptable_count)
    raise AppwriteError(
        "waivers: %d sealed values or files cannot be opened with the key, the first of them %s. If it is the right key they are lost already: list each "
        "in waivers to go on without them. Nothing was changed"
        % (report.unwaived_count, ", ".join("/".join(each[:3]) for each in report.undecryptable[:5])))


def _waivers(given: Sequence[str]) -> list[tuple[str, str, str]]:
    found = []
    for entry in given:
        parts = entry.split("/", 2)
        if len(parts) != 3:
            raise AppwriteError("waivers: %r is not collection/id/column, as the rehearsal prints it" % entry)
        found.append((parts[0], parts[1], parts[2]))
    return found


def _stops_working(report: Report | None) -> list[str]:
    """What is signed with the whole key (appwrite 1.9.6): those who hold it get a new one by asking again."""
    if report is None:
        return []
    tokens = sum(sum(tally.values.values()) for name, tally in report.collections.items() if name.endswith("_resourceTokens"))
    return ["JWTs of users and ephemeral API keys (they live an hour at most)", "executions and builds that run right now",
            "%d file tokens: URLs that were handed out; reading a token again gives a valid one" % tokens, "images in push messages that were sent"]


class _Tokens:
    """The tail of the key: what AES does not use, and every signature does."""

    def __init__(self, module: AnsibleModule, instance: Instance) -> None:
        self._module = module
        self._instance = instance
        self._env_file = EnvFile(instance.env_path)

    def run(self) -> dict[str, Any]:
        keep = backup_keep(self._module)
        with self._env_file.opened(for_writing=not self._module.check_mode):
            _require(self._env_file)
            document = document_of(self._env_file, self._instance)
            self._instance.load(document)
            self._instance.require_compose()
            old, new = in_force(document.values), self._module.params["new_key"]
            _check_given(self._module, self._env_file, old)
            _check_tail(old, new)
            _check_containers(self._instance, self._env_file.path, (old, new))
            after = parse(document.edit({_variables.KEY: new}, _variables.kin), self._instance.compose.environment)
            self._instance.compose.mask.add([old, new])
            self._instance.compose.config(encode(after.text))
            backup_file = None
            if old != new and not self._module.check_mode:
                backup_file = self._env_file.replace(encode(after.text), True)
                prune_backups(self._env_file, after, keep)
        return {"changed": old != new, "phase": WRITTEN, "backup_file": backup_file, "warnings": self._instance.warnings,
                "key": described(old, self._module.params["seal"]), "new_key": described(new)}


def _check_tail(old: str, new: str | None) -> None:
    if _variables.is_public_default(_variables.KEY, old) or not old:
        raise AppwriteError("scope: %s is %s, so its tail protects nothing; rotate the whole key with scope: values" % (
            _variables.KEY, "the public default" if old else "empty"))
    if len(old.encode("utf-8", "surrogateescape")) <= CIPHER_BYTES:
        raise AppwriteError(
            "scope: %s has no more than the 16 bytes that AES uses, so it has no tail that could change without the data; use scope: values"
            % _variables.KEY)
    if new is None:
        raise AppwriteError("new_key: is missing; the role appwrite_rotation makes one and keeps it in the escrow first")
    check(new, "new_key")
    if not same_cipher(old, new):
        raise AppwriteError("new_key: does not have the first 16 bytes of the key in force, so stored data would be lost; use scope: values")


def described(key: str, password: str | None = None) -> dict[str, Any]:
    """What may be said of a key; itself for the one who asked for it with a password."""
    said = {"fingerprint": shown_fingerprint(key), "public": _variables.is_public_default(_variables.KEY, key)}
    return said if password is None else {**said, "sealed": seal(key, password)}


def _check_containers(instance: Instance, path: str, allowed: Sequence[str]) -> None:
    for key, services in instance.container_keys().items():
        if key not in allowed:
            raise AppwriteError(
                "the containers of %s run with another key (%s) than %s (%s). Apply the file first, or put their key back"
                % (", ".join(services), told(key), path, told(allowed[0])))


def _verify(module: AnsibleModule, instance: Instance) -> dict[str, Any]:
    """Whether a key opens what is stored, here or in a container with a copy of it."""
    env_file = EnvFile(instance.env_path)
    env_file.read()
    document = document_of(env_file, instance)
    instance.load(document, None if env_file.exists else b"")
    instance.require_compose()
    key = module.params["key"] or in_force(document.values)
    if not key:
        raise AppwriteError("key: is missing, and %s has none" % env_file.path)
    instance.compose.mask.add([key])
    looked = look(instance, key, module.params["sample"] or None, module.params["container"], Progress(module.params["progress_file"]))
    return {"changed": False, "opens": looked.report.count(OLD) > 0 and not looked.report.undecryptable_count, "report": looked.report.public(),
            "key": described(key, module.params["seal"]), "warnings": instance.warnings + looked.warnings}


class Progress:
    """Tells what is being done, in a file that somebody else may read at any time."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._last = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._path is None or now - self._last < 0.5:
            return
        self._last = now
        try:
            with open(self._path + ".new", "w", encoding="ascii") as stream:
                stream.write("%s %d %d\n" % (phase, done, total))
            os.replace(self._path + ".new", self._path)
        except OSError:
            self._path = None


def dump(instance: Instance, store: Store, path: str, tell: Callable[[str, int, int], None]) -> None:
    """A copy of the database for its owner alone, checked for its last line."""
    _service, container = instance.database()
    script, last = store.DUMP
    try:
        with _words(path):
            problem = _dumped(instance, container, script, path, last, tell)
    except AppwriteError as error:
        problem = str(error)
    if problem:
        if os.path.lexists(path):
            os.unlink(path)
        raise AppwriteError(
            "the dump of the database failed: %s. Nothing was changed. Where you make a backup of your own, set dump to false" % problem)


def _dumped(instance: Instance, container: str, script: str, path: str, last: bytes, tell: Callable[[str, int, int], None]) -> str:
    """What went wrong, if anything."""
    tail, size = b"", 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as raw, tempfile.TemporaryFile() as log, subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command keeps it all
            ["docker", "exec", container, "sh", "-c", script], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
            env=instance.compose.environment) as process:
        stream: Any = process.stdout
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1) as packed:
            for block in iter(lambda: stream.read(1 << 20), b""):
                packed.write(block)
                tail, size = (tail + block)[-4096:], size + len(block)
                tell("dumping", size >> 20, 0)
        raw.flush()
        os.fsync(raw.fileno())
        status = process.wait()
        log.seek(max(0, log.seek(0, os.SEEK_END) - _COMPLAINT))
        said = instance.compose.mask(log.read(_COMPLAINT).decode("utf-8", "replace")).strip().split("\n")[-1]
    if status:
        return "exit code %d (%s)" % (status, said or "its program gave no reason")
    return "" if size and last in tail else "it is not complete"


@contextmanager
def _words(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AppwriteError("%s: %s" % (path, reason(error))) from None
