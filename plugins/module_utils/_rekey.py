# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The rotation of the encryption key on its host: one step after the other, each of which may be the last before a power failure.

What is needed to go on or back stands in the journal, written before anything else changes. While data may be sealed with either key, C(.env) holds a
guard instead of a key, with which compose starts nothing.
"""

from __future__ import annotations

import base64
import gzip
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import Any, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhost.appwrite.plugins.module_utils import _console, _files, _variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._backups import BACKUP_KEEP, backup_keep, prune_backups
from ansible_collections.selfhost.appwrite.plugins.module_utils._cipher import NEW, OLD, Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._connections import patiently
from ansible_collections.selfhost.appwrite.plugins.module_utils._dotenv import Document, decode, encode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env_file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._examine import EMPTY, MIXED, Examination, Report
from ansible_collections.selfhost.appwrite.plugins.module_utils._instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._journal import (
    GUARDED, LOCKING, NONE, PAIRS, PREPARED, SEALED, STAGED, WRITTEN, Journal, refuse_unfinished, remembered)
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import (
    CIPHER_BYTES, GUARD, check, in_force, is_public, same_cipher, shown_fingerprint, told)
from ansible_collections.selfhost.appwrite.plugins.module_utils._opened import (
    MARK, PROJECT_OPTIONS, document_of, instance_of, opened, opened_with)
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Progress, Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._reseal import Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import check_password, seal
from ansible_collections.selfhost.appwrite.plugins.module_utils._services import API, TASK, WORKER
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings._model import generate
from ansible_collections.selfhost.appwrite.plugins.module_utils._standstill import Others, Redis, Stillness, start
from ansible_collections.selfhost.appwrite.plugins.module_utils._stored import check_sample, store_of, uploads_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores._model import Store
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores.files import Files, Successors

REKEY_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "scope": {"type": "str", "choices": ["values", "tokens"], "required": True},
    "step": {"type": "str", "choices": ["whole", "state", "stage"], "default": "whole"},
    "key": {"type": "str", "no_log": True},
    "new_key": {"type": "str", "no_log": True},
    "abort": {"type": "bool", "default": False},
    "waivers": {"type": "list", "elements": "str", "default": []},
    "sample": {"type": "int", "default": 1000},
    "dump": {"type": "bool", "default": True},
    "drain_timeout": {"type": "int", "default": 300},
    "leave_queues": {"type": "list", "elements": "str", "default": []},
    "end_sessions": {"type": "str", "choices": [_console.CONSOLE, _console.ALL, _console.NONE]},
    "seal": {"type": "str", "no_log": True},
    "progress_file": {"type": "path"},
    "backup_keep": BACKUP_KEEP,
    "escrow_file": {"type": "path"},
}

_LENGTH = 64
_NO_KEY = "; there is no key to rotate"
_PASSES = {True: 2, False: 3}
"""How many times as long as the rehearsal the sealing takes, by whether values can be staged before: it reads everything and writes it, and without a stage
it reads it back."""
_STARTED = 0.3
"""seconds that each container takes to be made and started (29 of 1.9.6 in 9 s)"""
_DUMPED = 20 << 20
"""bytes of a database that are dumped in a second, by and large"""
_COMPLAINT = 4096
"""Bytes that are read of what a dump complains, from its end."""
_RECOVERY = 120
"""Seconds that a database is given to come up after a reboot."""
_SILENCE, _DUMPING = 300, 24 * 3600
"""Seconds that a dump may say nothing, and that it may take in all."""
_DATA = ("/var/lib/mysql", "/var/lib/postgresql/data", "/var/lib/postgresql", "/data/db")
"""where a database's container keeps its data"""
_NAMED = 5
"""files that are named where many are meant"""


def rekey(module: AnsibleModule) -> dict[str, Any]:
    tell = Progress(module.params["progress_file"])
    scope, step = module.params["scope"], module.params["step"]
    check_sample(module.params["sample"])
    if step == "stage" and scope == "tokens":
        raise AppwriteError("step: scope: %s is one step; leave it out" % scope)
    if module.params["end_sessions"] not in (None, _console.NONE) and scope != "values":
        raise AppwriteError("end_sessions: sessions are ended with scope: values alone; leave it out")
    check_password(module.params["seal"])
    instance = instance_of(module.params)
    if step != "whole":
        return _state(module, instance) if step == "state" else _stage(module, instance)
    return _Tokens(module, instance).run() if scope == "tokens" else _Rekey(module, instance, tell).run()


def _state(module: AnsibleModule, instance: Instance) -> dict[str, Any]:
    """How far a rotation is, by what is written of it; nothing that runs is asked, and nobody is waited for."""
    env_file = EnvFile(instance.env_path)
    with env_file.in_directory():
        journal = remembered(env_file)
        env_file.read()
    return _said(module, instance, env_file, journal)


def _said(module: AnsibleModule, instance: Instance, env_file: EnvFile, journal: dict[str, Any]) -> dict[str, Any]:
    document, is_guarded = opened(instance, env_file, past_guard=True), GUARD.encode() in env_file.data
    phase = journal.get("phase", NONE)
    if phase == PREPARED and is_guarded:
        phase = GUARDED
    env_key = "" if is_guarded else in_force(document.values)
    old = journal["old"] if phase in LOCKING else env_key
    shown = {name: described(key, module.params["seal"]) if key else None
             for name, key in (("key", old), ("new_key", journal.get("new")), ("env_key", env_key))}
    return {"changed": False, "phase": phase, "project": instance.project, **shown, "warnings": instance.warnings}


def _stage(module: AnsibleModule, instance: Instance) -> dict[str, Any]:
    """Notes the new key, which a run in the background then finds here and is not handed."""
    env_file, new = EnvFile(instance.env_path), module.params["new_key"]
    journal = Journal(env_file)
    with journal.locked(create=not module.check_mode):
        env_file.read()
        said = _said(module, instance, env_file, journal.content)
        if said["phase"] not in LOCKING:
            _require(env_file)
            _check_keys(module, env_file, in_force(document_of(env_file, instance).values), new)
        _check_staged(journal, new)
        if not journal.content:
            if not module.check_mode:
                journal.replace({"phase": STAGED, "new": new})
            said.update(changed=True, phase=STAGED, new_key=described(new, module.params["seal"]))
        return said


def _check_staged(journal: Journal, new: str | None) -> None:
    staged = journal.content.get("new")
    if new is not None and staged is not None and new != staged:
        raise AppwriteError(
            "new_key: another run has staged another key (%s); run again, which takes that one up, or with abort, which ends it as long as that is possible"
            % told(staged))


def _check_keys(module: AnsibleModule, env_file: EnvFile, old: str, new: str | None) -> None:
    if not old:
        raise AppwriteError("%s is empty: what was stored was sealed with no key at all, which this rotation does not handle" % _variables.KEY)
    _check_given(module, env_file, old)
    if new is None:
        raise AppwriteError("new_key: is missing; the role appwrite_rotation makes one and keeps it in the escrow first")
    check(new, "new_key")
    if new == old:
        raise AppwriteError("new_key: is the key that is in force already")
    if same_cipher(new, old):
        raise AppwriteError(
            "new_key: has the same first 16 bytes as the key in force, and AES uses no more, so nothing would be sealed anew. "
            "To invalidate issued tokens alone is scope: tokens")


class _Rekey:
    """The rotation of every stored value, from wherever an earlier run left it."""

    def __init__(self, module: AnsibleModule, instance: Instance, tell: Tell) -> None:
        self._module = module
        self._instance = instance
        self._env_file = EnvFile(instance.env_path)
        self._journal = Journal(self._env_file)
        self._tell = tell
        self._is_connected = False
        self._found: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        with self._journal.locked(not self._module.check_mode), self._env_file.opened(for_writing=not self._module.check_mode):
            try:
                return self._go_on() if self._is_begun() else self._begin()
            except AppwriteError as error:
                remains = self._remains(self._journal.content)
                if remains:
                    error.args = ("%s. What stays for now: %s" % (error, "; ".join(remains)),)
                raise

    def _is_begun(self) -> bool:
        """Whether data may be sealed with either key. Before the guard nothing has happened that a new start would not do again."""
        journal = self._journal
        return journal.phase in LOCKING or journal.phase == PREPARED and GUARD.encode() in self._env_file.data

    def _go_on(self) -> dict[str, Any]:
        journal, abort = self._journal, self._module.params["abort"]
        self._open(journal.env, journal.content["old"], journal.content["new"])
        _check_given(self._module, self._env_file, journal.content["old"])
        if self._module.params["new_key"] not in (None, journal.content["new"]):
            raise AppwriteError(
                "new_key: an unfinished rotation goes to another key (%s); pass that one, or none, until it has ended"
                % told(journal.content["new"]))
        given = self._module.params["end_sessions"]
        self._ending = _console.whose(journal.content.get("end_sessions") or given, journal.content["old"])
        if given not in (None, self._ending):
            raise AppwriteError("end_sessions: the unfinished rotation was begun with %s; pass that, or nothing, until it has ended" % self._ending)
        if self._module.check_mode:
            try:
                self._connect()
            except AppwriteError as error:
                return self._result(journal.phase, warnings=["nothing could be looked at: %s" % error])
            return self._result(journal.phase, self._examination.rehearse())
        if journal.phase in (SEALED, WRITTEN) and not self._is_as_left():
            journal.save(phase=GUARDED)  # somebody has put another file back, or started something: it may have written with the old key
        if journal.phase == WRITTEN and not self._runs() and not abort:
            return self._result(WRITTEN, changed=False)
        if journal.phase == PREPARED and abort:
            return self._abort()
        if journal.phase != WRITTEN:  # compose starts nothing while the guard stands
            start(self._instance, [container for container in self._instance.containers()
                                   if container.status != "running" and self._stillness.is_needed(container)], self._tell)
        self._connect(_RECOVERY)
        return self._abort() if abort else self._forward()

    def _is_as_left(self) -> bool:
        """Whether C(.env) has the new key, and nothing was made with another. A file with an error in it is for its owner to mend."""
        new = self._journal.content["new"]
        if GUARD.encode() not in self._env_file.data:
            document_of(self._env_file, self._instance)
        return self._holds(new) and all(map(self._stillness.has_new, self._stillness.holders()))

    def _begin(self) -> dict[str, Any]:
        document = document_of(self._env_file, self._instance)
        self._document = document
        if self._module.params["abort"]:
            if not self._journal.content:
                raise AppwriteError("abort: no rotation is under way; nothing was changed")
            result = self._result("aborted")
            if not self._module.check_mode:
                result["warnings"] += self._back()
            return result
        _require(self._env_file)
        _check_staged(self._journal, self._module.params["new_key"])
        try:
            return self._prepared(document)
        except AppwriteError:
            if self._journal.phase == STAGED and not self._module.check_mode:
                self._journal.end()  # nothing has happened, and the controller still has the key that was staged
            raise

    def _prepared(self, document: Document) -> dict[str, Any]:
        started = time.time()
        old, new = in_force(document.values), self._journal.content.get("new") or self._module.params["new_key"]
        if new is None and self._module.check_mode:
            new = generate(_LENGTH)
        _check_keys(self._module, self._env_file, old, new)
        self._guarded(self._env_file.data)
        self._open(self._env_file.data, old, new)
        self._ending = _console.whose(self._module.params["end_sessions"], old)
        _check_containers(self._instance, self._env_file.path, (old,))
        if not self._module.check_mode:
            self._restart(self._journal.content.get("ran") or [])  # it serves again while this run prepares, or if it refuses
        self._connect()
        if self._module.check_mode:
            return self._rehearse()
        report = self._rotation.rehearse(foresee=True)
        _check_report(report)
        self._refuse(self._obstacles(report))
        self._drop_dump()
        self._journal.replace({
            "phase": PREPARED, "old": old, "new": new, "env": base64.b64encode(self._env_file.data).decode("ascii"), "ran": [],
            "begun": started, "stops_working": _stops_working(report), "end_sessions": self._ending})
        return self._forward(report)

    def _rehearse(self) -> dict[str, Any]:
        started = time.monotonic()
        report = self._examination.rehearse(foresee=True)
        seconds = time.monotonic() - started
        size, dump_size = self._store.size(), 0
        if self._module.params["dump"]:
            dump_size = size
        warnings = self._obstacles(report) + [self._others.sessions(running=True)] + self._others.unseen()
        directory = self._env_file.directory
        if not os.access(directory, os.W_OK | os.X_OK):
            warnings.append("%s cannot be written; run the task as its owner or with become" % directory)
        first, second = self._stillness.expected()
        api = second + _PASSES[self._store.transactional] * (seconds - report.seconds) + _STARTED * len(self._instance.containers())
        expected = {"api": api, "background": first + api, "whole": first + api + 2 * seconds + report.seconds + dump_size / _DUMPED}
        return self._result(
            "rehearsed", report, stops_working=_stops_working(report), expected_downtime={name: round(each) for name, each in expected.items()},
            warnings=[warning for warning in warnings if warning], disk_needed={"files": report.bytes, "database": size, "dump": dump_size},
            **self._strangers())

    def _strangers(self) -> dict[str, Any]:
        """What of the result is for one whose key somebody else had, as it is before the rotation."""
        if self._ending == _console.NONE and not is_public(self._keys[0]):
            return {}
        return {"console": _console.listed(self._store), "end_sessions": self._ending,
                "ended_sessions": _console.count_sessions(self._store, self._ending)}

    def _obstacles(self, report: Report) -> list[str]:
        """What a rotation would fail at."""
        found = [self._others.holders(), self._stillness.stranded(self._redis, self._module.params["leave_queues"])] + self._lacking(report)
        if report.unwritable:
            found.append("no file can be made in %d directories of the uploads, the first ones %s" % (
                len(report.unwritable), "; ".join(report.unwritable[:_NAMED])))
        return [each for each in found if each]

    @staticmethod
    def _refuse(obstacles: Sequence[str]) -> None:
        if obstacles:
            raise AppwriteError("%s. Nothing was changed" % "; ".join(obstacles))

    def _open(self, data: bytes, old: str, new: str) -> None:
        """Reads the project as it was before, whatever stands in C(.env) now, and makes everything ready to look at its data."""
        self._document = opened_with(self._instance, data)
        self._instance.compose.mask.add([old, new])
        self._keys = old, new
        self._stillness = Stillness(self._instance, self._keys, self._tell)

    def _connect(self, patience: float = 0) -> None:
        """patience: seconds that the database is given to come up."""
        deadline = time.monotonic() + patience
        uploads = uploads_of(self._instance)
        while True:
            try:
                self._redis = Redis(self._instance)
                self._store = store_of(self._instance, progress=self._tell, writes=not self._module.check_mode)
                break
            except AppwriteError as error:
                if time.monotonic() >= deadline:
                    if self._journal.phase not in (GUARDED, SEALED):
                        raise
                    raise AppwriteError(
                        "%s. As long as the rotation is unfinished, begin that command with ROTATION_UNFINISHED=1, and name the service" % error) from None
            self._tell("connecting", 0, 0, "the database and Redis")
            time.sleep(1)
            self._instance.forget_containers()
        self._is_connected = True
        self._others = Others(self._instance, self._store, self._keys[0])
        waivers = _waivers(self._module.params["waivers"])
        old, new = map(Cipher, self._keys)
        if self._module.check_mode:
            self._examination = Examination(self._store, Files(uploads), old, new, waivers, self._tell)
        else:
            self._examination = self._rotation = Rotation(
                self._store, Successors(uploads, self._journal.handle, PAIRS), old, new, waivers, self._tell)

    def _lacking(self, report: Report) -> list[str]:
        """Where there is no room for the files under the new key beside the old ones, or for what changes in the database: before, staged and after."""
        needed = {uploads_of(self._instance): report.bytes}
        data = _data_of(self._instance)
        if data:
            needed[data] = 3 * report.sealed
        found = []
        for path in needed:
            with words(path, "looked at"):
                free, device = shutil.disk_usage(path).free, os.stat(path).st_dev
                whole = sum(size for other, size in needed.items() if os.stat(other).st_dev == device)
            if free < whole:
                found.append("%d MB are free in %s, and what is sealed anew needs %d MB beside what is there; make room" % (free >> 20, path, whole >> 20))
        return found

    def _forward(self, report: Report | None = None) -> dict[str, Any]:
        journal = self._journal
        if journal.phase == PREPARED:
            if report is not None:
                self._prepare(report)
            journal.save(phase=GUARDED)
        if journal.phase == GUARDED:
            self._put(self._guarded(journal.env))
            self._stillness.remove()
            self._others.require_none()
            self._found = self._strangers()
            if self._found:
                journal.save(ended_sessions=max(self._found["ended_sessions"], journal.content.get("ended_sessions", 0)))
            self._rotation.rotate(sweep=False, ending=self._ending)
            journal.save(phase=SEALED, sealed=time.time())
        if journal.phase == SEALED:
            self._redis.forget_documents()
            if not self._holds(journal.content["new"]):
                self._put(encode(self._document.edit({_variables.KEY: journal.content["new"]}, _variables.kin)))
            journal.save(phase=WRITTEN)
        return self._end()

    def _prepare(self, report: Report) -> None:
        """All up to the guard. Where it fails, everything is as before."""
        journal = self._journal
        try:
            if self._module.params["dump"]:
                name = time.strftime("appwrite-before-rotation-%Y%m%dT%H%M%SZ.gz", time.gmtime())
                journal.save(dump_file=name)
                dump(self._instance, self._store, journal, name, self._tell)
                self._refuse(self._lacking(report))
            self._rotation.prepare()
            journal.save(ran=sorted(container.id for container in self._stillness.holders() if container.is_on), stopped=time.time())
            self._instance.warnings += self._stillness.make(
                self._redis, self._module.params["drain_timeout"], self._module.params["leave_queues"],
                lambda: journal.save(closed=time.time()))
            try:
                self._others.require_none()
            except AppwriteError as error:
                raise AppwriteError("%s. Nothing was changed" % error) from None
            self._instance.warnings += self._others.unseen()
            self._put(self._guarded(journal.env))
        except AppwriteError as error:
            self._env_file.read()
            if not self._is_begun():
                error.args = (". ".join([str(error), *self._back()]),)
            raise

    def _back(self) -> list[str]:
        """Before the guard nothing has happened but that things were stopped, and files made that nothing uses. Returns what is left over, in words."""
        self._restart(self._journal.content.get("ran") or [])
        left = self._prepared_files() if self._journal.phase == PREPARED else []
        self._drop_dump()
        self._journal.end()
        return left

    def _prepared_files(self) -> list[str]:
        """Removes what was made before the guard stood, and says what is left."""
        try:
            if not self._is_connected:
                self._open(self._journal.env, self._journal.content["old"], self._journal.content["new"])
                self._connect()
            return self._left_over()
        except AppwriteError as error:
            return ["files that nothing uses may be left over, since %s. They are noted in %s, and the next rotation removes them"
                    % (error, os.path.join(self._journal.path, PAIRS))]

    def _restart(self, ran: Sequence[str]) -> None:
        """What this run has stopped, or an earlier one that was killed then."""
        if ran:
            if not self._instance.checked:
                self._instance.load(self._document, self._env_file.data)
            self._instance.forget_containers()
            start(self._instance, [container for container in self._instance.containers()
                                   if container.id in ran and container.status != "running"], self._tell)

    def _drop_dump(self) -> None:
        if self._journal.content.get("dump_file"):
            self._journal.remove_beside(self._journal.content["dump_file"])

    def _guarded(self, data: bytes) -> bytes:
        """A file with the guard in the place of its key."""
        text = parse(decode(data), self._instance.compose.environment).edit({_variables.KEY: MARK}, _variables.kin)
        guarded = "".join(GUARD + "\n" if line.startswith(_variables.KEY) and MARK in line else line for line in text.splitlines(keepends=True))
        if GUARD not in guarded:
            raise AppwriteError("the line of %s in %s cannot be replaced; write it as %s=value" % (_variables.KEY, self._env_file.path, _variables.KEY))
        return encode(guarded)

    def _put(self, data: bytes) -> None:
        """One step of C(.env), which may have been made already. What is not the rotation's own is kept in a backup."""
        self._env_file.read()
        if self._env_file.data == data:
            return
        stood = self._env_file.data
        made = self._env_file.replace(data, backup=stood != self._guarded(self._journal.env) and not (stood == self._journal.env and self._backup_file))
        if made and stood == self._journal.env:
            self._journal.save(backup_file=os.path.basename(made))
        elif made:
            self._instance.warnings.append("%s was not as the rotation had left it; what stood there is kept in %s" % (self._env_file.path, made))

    @property
    def _backup_file(self) -> str | None:
        name = self._journal.content.get("backup_file")
        return os.path.join(self._env_file.directory, name) if name else None

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
            self._journal.save(phase=GUARDED)
            raise AppwriteError(
                "the key that the containers run with does not open everything that is stored: something wrote with the old key meanwhile. Run again at "
                "once, which stops everything and seals the rest")
        left = self._rotation.sweep(before=self._journal.content.get("sealed"))
        if left:
            raise AppwriteError("everything is under the new key and runs, but %d files under the old one cannot be removed: %s. Mend that and run again" % (
                len(left), "; ".join(left[:_NAMED])))
        result = self._result("finished", report, downtime=self._downtime())
        self._journal.end()
        return result

    def _downtime(self) -> dict[str, int]:
        """Seconds, where nobody has put the clock back meanwhile. What Appwrite itself takes to start comes on top."""
        content = self._journal.content
        started = self._stillness.started()
        ends = {"api": (started.get(API), "closed"), "background": (max(started.get(TASK, 0), started.get(WORKER, 0)) or None, "stopped"),
                "whole": (time.time(), "begun")}
        return {name: max(0, round(end - content[begin])) for name, (end, begin) in ends.items() if end and begin in content}

    def _runs(self) -> bool:
        """Whether every container with a key runs, and has the new one."""
        keys = self._instance.container_keys()
        up = {container.service for container in self._instance.containers()
              if container.status == "running" or container.status == "exited" and not container.exit_code}
        return set(keys) == {self._journal.content["new"]} and {service for services in keys.values() for service in services} <= up

    def _abort(self) -> dict[str, Any]:
        journal = self._journal
        if journal.phase in (SEALED, WRITTEN):
            raise _no_way_back()
        left = []
        if journal.phase == GUARDED:
            self._put(self._guarded(journal.env))
            self._stillness.remove()
            state = self._rotation.state()
            if state == NEW:
                raise _no_way_back()
            if state == MIXED:
                self._others.require_none()
            self._rotation.undo()
            left = self._left_over()
            journal.save(phase=PREPARED)  # from the next step on the file is the user's again
        else:
            self._stillness.remove()
            left = self._prepared_files()
        self._put(journal.env)
        result = self._result("aborted", warnings=left)
        self._drop_dump()
        journal.end()
        return result

    def _left_over(self) -> list[str]:
        """What a sweep leaves is no reason to stay halfway: it is noted, and the next rotation removes it."""
        try:
            left = self._rotation.sweep()
        except AppwriteError as error:
            left = [str(error)]
        return ["%d files that nothing uses any more are left over: %s. They are noted in %s, and the next rotation removes them" % (
            len(left), "; ".join(left[:_NAMED]), os.path.join(self._journal.path, PAIRS))] if left else []

    def _result(self, phase: str, report: Report | None = None, **more: Any) -> dict[str, Any]:
        content = self._journal.content
        old, new = content.get("old") or in_force(self._document.values), content.get("new") or self._module.params["new_key"] or ""
        stays = dict(content, dump_file=None) if phase == "aborted" else content
        return {
            "changed": True, "phase": phase, "report": report.public() if report else None, "stops_working": content.get("stops_working") or [],
            "key": described(old, self._module.params["seal"]), "new_key": described(new, self._module.params["seal"]),
            "dump_file": self._beside(stays.get("dump_file")), "backup_file": self._backup_file, "downtime": None,
            "remains": self._remains(stays, phase in ("finished", "aborted")), **self._found,
            "ended_sessions": content.get("ended_sessions", 0) if self._journal.phase in (SEALED, WRITTEN) else 0, **more,
            "warnings": self._instance.warnings + more.get("warnings", [])}

    def _beside(self, name: str | None) -> str | None:
        return os.path.join(self._env_file.directory, name) if name else None

    def _remains(self, content: Mapping[str, Any], ended: bool = False) -> list[str]:
        """What a run leaves in the project's directory, why, and until when."""
        found = []
        if content.get("dump_file"):
            found.append("%s, the database as it was, with values that the old key opens: remove it when there is a backup that was made after the rotation"
                         % self._beside(content["dump_file"]))
        if content.get("backup_file"):
            found.append("%s, the file with the old key: remove it when nothing from before the rotation is kept any more, no backup and no dump"
                         % self._beside(content["backup_file"]))
        if content and not ended:
            found.append("%s, what the rotation remembers: it goes by itself when the rotation has ended" % self._journal.path)
        return found


def _no_way_back() -> AppwriteError:
    return AppwriteError(
        "abort: everything is sealed with the new key already, so there is no way back; run again without abort, which ends the rotation")


def _data_of(instance: Instance) -> str | None:
    """Where the database's files are on this host, if that can be told."""
    identity = instance.database()[1]
    sources = [source for container in instance.containers() if container.id == identity for source, target, _writable in container.mounts if target in _DATA]
    if sources and not os.path.isabs(sources[0]):
        sources = instance.compose.docker(["volume", "inspect", "--format", "{{.Mountpoint}}", sources[0]], tolerate=True).stdout.split("\n")
    return sources[0] if sources and os.path.isdir(sources[0]) else None


def _require(env_file: EnvFile) -> None:
    if not env_file.exists:
        raise AppwriteError("env_file: %s does not exist%s" % (env_file.path, _NO_KEY))


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


def _stops_working(report: Report) -> list[str]:
    """What is signed with the whole key (appwrite 1.9.6): those who hold it get a new one by asking again."""
    tokens = sum(sum(tally.values.values()) for name, tally in report.collections.items() if name.endswith("_resourceTokens"))
    return ["JWTs of users and ephemeral API keys (they live an hour at most, and are not counted anywhere)",
            "executions and builds that ran when it was stopped",
            "%d file tokens: URLs that were handed out; reading a token again gives a valid one" % tokens, "images in push messages that were sent"]


class _Tokens:
    """The tail of the key: what AES does not use, and every signature does."""

    def __init__(self, module: AnsibleModule, instance: Instance) -> None:
        self._module = module
        self._instance = instance
        self._env_file = EnvFile(instance.env_path)

    def run(self) -> dict[str, Any]:
        keep = backup_keep(self._module.params)
        with self._env_file.opened(for_writing=not self._module.check_mode):
            refuse_unfinished(self._env_file)
            document = opened(self._instance, self._env_file, missing=_NO_KEY)
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


def dump(instance: Instance, store: Store, journal: Journal, name: str, tell: Tell) -> None:
    """A copy of the database for its owner alone beside C(.env), checked for its last line."""
    _service, container = instance.database()
    script, last = store.DUMP

    def attempt() -> None:
        try:
            with words(os.path.join(journal.directory, name), "written"):
                problem = _dumped(instance, container, script, journal.beside, name, last, tell)
            if problem:
                raise AppwriteError(problem)
        except AppwriteError:
            journal.remove_beside(name)
            raise

    try:
        patiently(attempt, tell)
    except AppwriteError as error:
        raise AppwriteError(
            "the dump of the database failed: %s. Nothing was changed. If you make a backup of your own, set dump to false" % error) from None


def _dumped(instance: Instance, container: str, script: str, directory: int, name: str, last: bytes, tell: Tell) -> str:
    """What went wrong, if anything."""
    tail, size, deadline = b"", 0, time.monotonic() + _DUMPING
    with _files.made(directory, name) as handle, open(handle, "wb", closefd=False) as raw, tempfile.TemporaryFile() as log, \
            subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command keeps it all
            ["docker", "exec", container, "sh", "-c", script], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
            env=instance.compose.environment, bufsize=0) as process:
        stream: Any = process.stdout
        try:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1) as packed:
                while True:
                    patience = min(_SILENCE, deadline - time.monotonic())
                    if patience <= 0:
                        return "it was not at its end after %d seconds" % _DUMPING
                    if not select.select([stream], [], [], patience)[0]:
                        if patience == _SILENCE:
                            return "the database gave nothing for %d seconds; it may be paused" % _SILENCE
                        continue
                    block = stream.read(1 << 20)
                    if not block:
                        break
                    packed.write(block)
                    tail, size = (tail + block)[-4096:], size + len(block)
                    tell("dumping", size >> 20, 0)
            status = process.wait(_SILENCE)
        except subprocess.TimeoutExpired:
            return "its program did not end"
        finally:
            process.kill()  # otherwise it would be waited for
        log.seek(max(0, log.seek(0, os.SEEK_END) - _COMPLAINT))
        said = instance.compose.mask(log.read(_COMPLAINT).decode("utf-8", "replace")).strip().split("\n")[-1]
    if status:
        return "exit code %d (%s)" % (status, said or "its program gave no reason")
    return "" if size and last in tail else "it is not complete"
