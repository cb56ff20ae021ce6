# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a rotation of the encryption key: one step after the other, each of which may be the last before a power failure.

What is needed to go on or back stands in the journal, written before anything else changes. While data may be sealed with either key, C(.env) holds a
guard instead of a key, with which compose starts nothing.

Pure: whatever is done to the world is done by a C(Host) and a C(Journal), which are handed in.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import posixpath
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Callable, Collection, Mapping, NamedTuple, Protocol, Sequence, Tuple

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    GUARD,
    MARK,
    check,
    generate,
    in_force,
    is_public,
    same_cipher,
    shown_fingerprint,
    told,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.programs import API, TASK, WORKER
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, decode, encode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import seal
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import console as _console
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import NEW, OLD
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import (
    EMPTY,
    MIXED,
    Examination,
    Report,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    ABORTED,
    FINISHED,
    GUARDED,
    LENGTH,
    LOCKING,
    PREPARED,
    REHEARSED,
    SEAL,
    SEALED,
    STAGED,
    WHOLE,
    WRITTEN,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.reseal import Rotation
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Store

_PASSES = {True: 2, False: 3}
"""How many times as long as the rehearsal the sealing takes, by whether values can be staged before: it reads everything and writes it, and without a stage
it reads it back."""
_DUMPED = 20 << 20
"""bytes of a database that are dumped in a second, by and large"""
RECOVERY = 120
"""Seconds that a database is given to come up after a reboot."""
NO_KEY = "; there is no key to rotate"
_STOPS_WORKING_SINCE = (
    (
        (2, 0),
        "sign-ins with a provider and connections to a repository that were begun: they succeed when they are begun again",
    ),
    ((2, 0), "exports and migrations that were under way"),
    ((2, 3), "connections to the MQTT broker: clients sign in again"),
)
"""release to what is signed with the key from it on (2.0: the development state 0cefd0615350; 2.3: C(app/mqtt.php))"""
_NAMED = 5
"""files that are named where many are meant"""

Waivers = Collection[Tuple[str, str, str]]
"""collection, id and column of values that no key opens and that stay as they are"""


@dataclass(frozen=True, repr=False)
class Options:
    """Those of the module C(rekey) that a rotation of every value has. See C(plugins/modules/rekey.py)."""

    key: str | None = None
    new_key: str | None = None
    abort: bool = False
    waivers: Sequence[str] = ()
    sample: int = 1000
    """rows of each table, 0 for all"""
    dump: bool = True
    drain_timeout: int = 300
    """seconds"""
    leave_queues: Sequence[str] = ()
    end_sessions: str | None = None
    seal: str | None = None
    step: str = WHOLE
    """SEAL ends where everything is sealed and the guard still stands, for a host whose database others share (C(member))."""
    check_mode: bool = False


class Unreachable(AppwriteError):
    """The database or Redis does not answer."""


class Holder(NamedTuple):
    """A container that has a key."""

    id: str
    is_on: bool
    """whether it runs, or will as soon as the engine tries again"""
    has_new: bool
    """whether it was made with the new key"""


class Disk(NamedTuple):
    path: str
    free: int
    """bytes"""
    device: int
    """two paths with the same one share what is free"""


class Journal(Protocol):
    """What the rotation must not forget. It is read when the procedure begins, and locked as long as that lasts."""

    content: dict[str, Any]
    path: str

    @property
    def phase(self) -> str:
        """Of C(phases)."""

    @property
    def env(self) -> bytes:
        """The C(.env) file of before."""

    def save(self, **changes: Any) -> None:
        """On disk when it returns, as C(replace) and C(end)."""

    def replace(self, content: dict[str, Any]) -> None:
        """Forgets what was noted before."""

    def end(self) -> None:
        """Forgets everything."""

    def remove_beside(self, name: str) -> None:
        """A file in the directory of C(.env), which may be gone already."""


class Others(Protocol):
    """Who is not of this project, and may write all the same. Everything is answered in words, which are empty if there is nobody."""

    def holders(self) -> str:
        """Of the key, elsewhere on this engine."""

    def sessions(self, running: bool = False) -> str:
        """Of the database. running: those of containers that go before the rotation seals anything are no strangers."""

    def unseen(self) -> list[str]:
        """What cannot be found out."""

    def require_none(self) -> None:
        """Raises AppwriteError."""


class Connected(Protocol):
    """The project's database, files and Redis, until C(close)."""

    store: Store

    @property
    def others(self) -> Others: ...

    def examination(self, waivers: Waivers) -> Examination: ...

    def rotation(self, waivers: Waivers) -> Rotation:
        """The same one each time would stage the same: it is made once in a run."""

    def disks(self) -> tuple[Disk | None, Disk | None]:
        """That of the files unless they are in an object store, and the database's if it can be told."""

    def traffic(self, report: Report) -> dict[str, Any] | None:
        """What a rotation of these files asks of an object store, if they are in one."""

    def dump(self, name: str) -> None:
        """A copy of the database for its owner alone beside C(.env). Raises AppwriteError, with nothing left, if it is not whole."""

    def stranded(self, leave: Sequence[str]) -> str:
        """Queues whose jobs nobody will ever take, in words."""

    def builds(self) -> str:
        """Those that the orchestrator runs now, in words."""

    def make_still(
        self, drain_timeout: int, leave: Sequence[str], closing_api: Callable[[], None], alone: bool = True
    ) -> list[str]:
        """Lets what has a key end its work, and stops it. Returns what is left of jobs, in words. closing_api: called before the API is closed.

        alone: whether nobody else makes or takes jobs (C(standstill.Stillness.make)).
        """

    def forget_documents(self) -> object:
        """Empties the cache, which holds rows decrypted."""

    def close(self) -> None: ...


class Project(Protocol):
    """The project as compose reads it with a given C(.env), and its containers."""

    release: str
    """of Appwrite"""

    def container_keys(self) -> Mapping[str, Sequence[str]]:
        """Key to the services whose containers were made with it, asked anew."""

    def up(self) -> Collection[str]:
        """The services whose container runs, or has ended well."""

    def holders(self) -> Sequence[Holder]:
        """The containers with a key, under whatever name, those of C(docker compose run) too."""

    def remove(self) -> None:
        """Removes the holders. Raises AppwriteError if one comes back."""

    def start_needed(self) -> None:
        """Starts what the rotation itself needs: the database and Redis."""

    def expected(self) -> tuple[float, float, float]:
        """Seconds until the API is closed, from then until everything stands still, and until all containers are started again."""

    def started(self) -> Mapping[str, float]:
        """Kind of part (C(programs)) to the moment, in seconds since 1970, when the last of them was started."""

    def connect(self, patience: float) -> Connected:
        """patience: seconds that the database is given to come up. Raises Unreachable, or AppwriteError if it cannot be told what there is to connect
        to."""


class Host(Protocol):
    """The managed host. What a method returns is as it is now: nothing is remembered from one call to the next."""

    path: str
    """of C(.env), as the user named it"""
    directory: str
    """that it is in, behind all links"""
    noted: str
    """path of the list of files and their successors"""
    environment: Mapping[str, str]
    """what compose knows beside C(.env)"""
    warnings: list[str]
    """for the result"""

    def now(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds since whenever."""

    def read(self) -> bytes | None:
        """C(.env), nothing if it is not there."""

    def document(self) -> Document:
        """The same as compose reads it. Raises AppwriteError if compose would not."""

    def replace(self, data: bytes, backup: bool) -> str | None:
        """Puts it in the place of what was last read, on disk when it returns. Returns the path of the backup, if one was made."""

    def writable(self) -> bool:
        """Whether files can be made in the directory."""

    def start(self, ids: Collection[str]) -> None:
        """Starts those of these containers that are stopped and not gone."""

    def open(self, data: bytes, keys: tuple[str, str]) -> Project:
        """Reads the project with this C(.env). keys: the old one and the new one, any of which makes a holder of a container."""


class Run(NamedTuple):
    """What a run is about."""

    old: str
    new: str
    ending: str
    """whose sessions end (C(console))"""
    project: Project


class Procedure:
    """The rotation of every stored value, from wherever an earlier run left it."""

    def __init__(self, options: Options, host: Host, journal: Journal) -> None:
        self._options = options
        self._host = host
        self._journal = journal

    def run(self) -> dict[str, Any]:
        """The result of the module. Raises AppwriteError, which says what stays if something does."""
        try:
            return self._worked()
        except AppwriteError as error:
            remains = self._remains(self._journal.content)
            if remains:
                error.args = ("%s. What stays for now: %s" % (error, "; ".join(remains)),)
            raise

    def _worked(self) -> dict[str, Any]:
        if self._journal.content.get("member"):
            raise AppwriteError(
                "another host of the cluster conducts the rotation that is unfinished here: it is the first of them in the inventory, as it was when the "
                "rotation began. Put that order back, and run again"
            )
        return self._go_on() if self._is_begun() else self._begin()

    def _is_begun(self) -> bool:
        """Whether data may be sealed with either key. Before the guard nothing has happened that a new start would not do again."""
        return self._journal.phase in LOCKING or self._journal.phase == PREPARED and self._is_guarded()

    def _is_guarded(self) -> bool:
        return GUARD.encode() in (self._host.read() or b"")

    # --- from the beginning ---

    def _begin(self) -> dict[str, Any]:
        options, content = self._options, self._journal.content
        document = self._host.document()
        if options.abort:
            if not content:
                raise AppwriteError("abort: no rotation is under way; nothing was changed")
            result = self._result(
                ABORTED, content.get("old") or in_force(document.values), content.get("new") or options.new_key or ""
            )
            if not options.check_mode:
                result["warnings"] += self._back()
            return result
        data = self._host.read()
        if data is None:
            raise no_file(self._host.path)
        check_staged(content, options.new_key)
        try:
            return self._prepared(data, in_force(self._parsed(data).values))
        except AppwriteError:
            if self._journal.phase == STAGED and not options.check_mode:
                self._journal.end()  # nothing has happened, and the controller still has the key that was staged
            raise

    def _prepared(self, data: bytes, old: str) -> dict[str, Any]:
        options, started = self._options, self._host.now()
        new = self._journal.content.get("new") or options.new_key
        stands_in = new is None and options.check_mode
        if stands_in:
            new = generate(LENGTH)
        new = check_keys(options.key, old, new, self._host.path)
        self._guarded(data)
        run = Run(old, new, _console.whose(options.end_sessions, old), self._host.open(data, (old, new)))
        check_containers(run.project.container_keys(), self._host.path, (old,))
        if not options.check_mode:
            self._restart()  # it serves again while this run prepares, or if it refuses
        with closing(run.project.connect(0)) as connected:
            if options.check_mode:
                rehearsed = self._rehearse(run, connected)
                return dict(rehearsed, new_key=None) if stands_in else rehearsed
            rotation = connected.rotation(_waivers(options.waivers))
            report = rotation.rehearse(foresee=True)
            _check_report(report)
            _refuse(self._obstacles(connected, report))
            self._drop_dump()
            self._journal.replace(
                {
                    "phase": PREPARED,
                    "old": old,
                    "new": new,
                    "env": base64.b64encode(data).decode("ascii"),
                    "ran": [],
                    "begun": started,
                    "stops_working": _stops_working(report, run.project.release),
                    "end_sessions": run.ending,
                }
            )
            self._prepare(run, connected, rotation, report)
            return self._forward(run, connected, rotation)

    def _rehearse(self, run: Run, connected: Connected) -> dict[str, Any]:
        examination = connected.examination(_waivers(self._options.waivers))
        started = self._host.monotonic()
        report = examination.rehearse(foresee=True)
        seconds = self._host.monotonic() - started
        size = connected.store.size()
        dump_size = size if self._options.dump else 0
        changed = max(size, _changed(report))
        warnings = [
            *self._obstacles(connected, report),
            connected.builds(),
            connected.others.sessions(running=True),
            *connected.others.unseen(),
            report.elsewhere,
        ]
        if not self._host.writable():
            warnings.append("%s cannot be written; run the task as its owner or with become" % self._host.directory)
        first, second, starting = run.project.expected()
        api = second + _PASSES[connected.store.transactional] * (seconds - report.seconds) + starting
        expected = {
            "api": api,
            "background": first + api,
            "whole": first + api + 2 * seconds + report.seconds + dump_size / _DUMPED,
        }
        return self._result(
            REHEARSED,
            run.old,
            run.new,
            report,
            stops_working=_stops_working(report, run.project.release),
            expected_downtime={name: round(each) for name, each in expected.items()},
            warnings=[warning for warning in warnings if warning],
            disk_needed={"files": report.bytes, "database": changed, "dump": dump_size},
            bucket_traffic=connected.traffic(report),
            **_strangers(connected.store, run),
        )

    def _obstacles(self, connected: Connected, report: Report) -> list[str]:
        """What a rotation would fail at."""
        found = [connected.others.holders(), connected.stranded(self._options.leave_queues)] + _lacking(
            report, *connected.disks()
        )
        if report.unwritable:
            found.append(
                "files cannot be created in %d directories of the uploads, the first ones %s"
                % (len(report.unwritable), "; ".join(report.unwritable[:_NAMED]))
            )
        return [each for each in found if each]

    def _prepare(self, run: Run, connected: Connected, rotation: Rotation, report: Report) -> None:
        """All up to the guard. If it fails, everything is as before."""
        host, journal, options = self._host, self._journal, self._options
        try:
            if options.dump:
                name = time.strftime("appwrite-before-rotation-%Y%m%dT%H%M%SZ.gz", time.gmtime(host.now()))
                journal.save(dump_file=name)
                connected.dump(name)
                _refuse(_lacking(report, *connected.disks()))
            rotation.prepare()
            journal.save(ran=sorted(holder.id for holder in run.project.holders() if holder.is_on), stopped=host.now())

            def closing() -> None:
                journal.save(closed=host.now())
                rotation.look_again()

            host.warnings += connected.make_still(options.drain_timeout, options.leave_queues, closing)
            try:
                connected.others.require_none()
            except AppwriteError as error:
                raise AppwriteError("%s. Nothing was changed" % error) from None
            host.warnings += connected.others.unseen()
            self._put(self._guarded(journal.env))
        except AppwriteError as error:
            if not self._is_begun():
                error.args = (". ".join([str(error), *self._back(rotation)]),)
            raise

    def _back(self, rotation: Rotation | None = None) -> list[str]:
        """Before the guard nothing has happened but that things were stopped, and files made that nothing uses. Returns what is left over, in words."""
        self._restart()
        left = self._prepared_files(rotation) if self._journal.phase == PREPARED else []
        self._drop_dump()
        self._journal.end()
        return left

    def _restart(self) -> None:
        """What this run has stopped, or an earlier one that was killed then."""
        ran = self._journal.content.get("ran")
        if ran:
            self._host.start(ran)

    # --- from the middle ---

    def _go_on(self) -> dict[str, Any]:
        journal, options = self._journal, self._options
        old, new = journal.content["old"], journal.content["new"]
        project = self._host.open(journal.env, (old, new))
        check_given(options.key, old, self._host.path)
        if options.new_key not in (None, new):
            raise AppwriteError(
                "new_key: an unfinished rotation goes to another key (%s); pass that one, or none, until it has ended"
                % told(new)
            )
        ending = _console.whose(journal.content.get("end_sessions") or options.end_sessions, old)
        if options.end_sessions not in (None, ending):
            raise AppwriteError(
                "end_sessions: the unfinished rotation was begun with %s; pass that, or nothing, until it has ended"
                % ending
            )
        run = Run(old, new, ending, project)
        if options.check_mode:
            return self._looked_at(run)
        if journal.phase in (SEALED, WRITTEN) and (
            options.step == SEAL and not options.abort or not self._is_as_left(run)
        ):
            journal.save(
                phase=GUARDED, held=False
            )  # somebody has put another file back, or started something: it may have written with the old key
        if journal.phase == WRITTEN and not runs(run) and not options.abort:
            return self._result(WRITTEN, old, new, changed=False)
        if journal.phase == PREPARED and options.abort:
            project.remove()
            return self._aborted(run, self._prepared_files())
        if journal.phase != WRITTEN:  # compose starts nothing while the guard stands
            project.start_needed()
        with closing(self._connect(project, RECOVERY)) as connected:
            rotation = connected.rotation(_waivers(options.waivers))
            return self._abort(run, connected, rotation) if options.abort else self._forward(run, connected, rotation)

    def _looked_at(self, run: Run) -> dict[str, Any]:
        try:
            connected = self._connect(run.project, 0)
        except AppwriteError as error:
            return self._result(
                self._journal.phase, run.old, run.new, warnings=["nothing could be looked at: %s" % error]
            )
        with closing(connected):
            return self._result(
                self._journal.phase, run.old, run.new, connected.examination(_waivers(self._options.waivers)).rehearse()
            )

    def _is_as_left(self, run: Run) -> bool:
        """Whether C(.env) has the new key, and nothing was made with another. A file with an error in it is for its owner to mend."""
        is_held = self._journal.content.get("held") and self._is_guarded()
        if not self._is_guarded():
            self._host.document()
        return (is_held or self._holds(run.new)) and all(holder.has_new for holder in run.project.holders())

    def _connect(self, project: Project, patience: float) -> Connected:
        try:
            return project.connect(patience)
        except Unreachable as error:
            if not self._is_guarded() or "docker compose" not in str(error):
                raise
            raise AppwriteError(
                "%s. As long as the rotation is unfinished, prefix that command with ROTATION_UNFINISHED=1 and name the service"
                % error
            ) from None

    def _forward(self, run: Run, connected: Connected, rotation: Rotation) -> dict[str, Any]:
        journal = self._journal
        strangers: dict[str, Any] = {}
        if journal.phase == PREPARED:
            journal.save(phase=GUARDED)
        if journal.phase == GUARDED:
            self._put(self._guarded(journal.env))
            run.project.remove()
            connected.others.require_none()
            strangers = _strangers(connected.store, run)
            if strangers:
                journal.save(ended_sessions=max(strangers["ended_sessions"], journal.content.get("ended_sessions", 0)))
            rotation.rotate(sweep=False, ending=run.ending)
            journal.save(phase=SEALED, sealed=self._host.now(), held=self._options.step == SEAL)
            if self._options.step == SEAL:
                return self._result(SEALED, run.old, run.new, strangers=strangers)
        if journal.phase == SEALED:
            connected.forget_documents()
            if not self._holds(run.new):
                self._put(self._with_key(run.new))
            journal.save(phase=WRITTEN)
        return self._end(run, rotation, strangers)

    def _end(self, run: Run, rotation: Rotation, strangers: Mapping[str, Any]) -> dict[str, Any]:
        """The last part needs the containers, which somebody has to start in between."""
        journal = self._journal
        if not runs(run):
            return self._result(WRITTEN, run.old, run.new, strangers=strangers)
        report = rotation.rehearse(self._options.sample or None)
        if report.state not in (NEW, EMPTY):
            journal.save(phase=GUARDED)
            raise AppwriteError(
                "the key that the containers run with does not open everything that is stored: something wrote with the old key meanwhile. Run again at "
                "once, which stops everything and seals the rest"
            )
        left = rotation.sweep(before=journal.content.get("sealed"))
        if left:
            raise AppwriteError(
                "everything is sealed with the new key and runs, but %d files under the old one cannot be removed: %s. Fix that and run again"
                % (len(left), "; ".join(left[:_NAMED]))
            )
        result = self._result(
            FINISHED, run.old, run.new, report, strangers, downtime=self._downtime(run.project.started())
        )
        journal.end()
        return result

    def _downtime(self, started: Mapping[str, float]) -> dict[str, int]:
        """Seconds, if nobody has put the clock back meanwhile. What Appwrite itself takes to start comes on top."""
        content = self._journal.content
        ends = {
            "api": (started.get(API), "closed"),
            "background": (max(started.get(TASK, 0), started.get(WORKER, 0)) or None, "stopped"),
            "whole": (self._host.now(), "begun"),
        }
        return {
            name: max(0, round(end - content[begin])) for name, (end, begin) in ends.items() if end and begin in content
        }

    def _abort(self, run: Run, connected: Connected, rotation: Rotation) -> dict[str, Any]:
        if self._journal.phase != GUARDED:
            raise no_way_back()
        self._put(self._guarded(self._journal.env))
        run.project.remove()
        state = rotation.state()
        if state == NEW:
            raise no_way_back()
        if state == MIXED:
            connected.others.require_none()
        rotation.undo()
        left = self._left_over(rotation)
        self._journal.save(phase=PREPARED)  # from the next step on the file is the user's again
        return self._aborted(run, left)

    def _aborted(self, run: Run, left: list[str]) -> dict[str, Any]:
        self._put(self._journal.env)
        result = self._result(ABORTED, run.old, run.new, warnings=left)
        self._drop_dump()
        self._journal.end()
        return result

    # --- what is left over ---

    def _prepared_files(self, rotation: Rotation | None = None) -> list[str]:
        """Removes what was made before the guard stood, and says what is left."""
        content = self._journal.content
        if rotation is not None:
            with suppress(AppwriteError):  # a client that has failed has ended: then another one is asked
                return self._words_of(rotation.sweep())
        try:
            with closing(self._host.open(self._journal.env, (content["old"], content["new"])).connect(0)) as connected:
                return self._left_over(connected.rotation(_waivers(self._options.waivers)))
        except AppwriteError as error:
            return [
                "unused files may be left over, because %s. They are noted in %s, and the next rotation removes them"
                % (error, self._host.noted)
            ]

    def _left_over(self, rotation: Rotation) -> list[str]:
        """What a sweep leaves is no reason to stay halfway: it is noted, and the next rotation removes it."""
        try:
            left = rotation.sweep()
        except AppwriteError as error:
            left = [str(error)]
        return self._words_of(left)

    def _words_of(self, left: Sequence[str]) -> list[str]:
        return (
            [
                "%d unused files are left over: %s. They are noted in %s, and the next rotation removes them"
                % (len(left), "; ".join(left[:_NAMED]), self._host.noted)
            ]
            if left
            else []
        )

    def _drop_dump(self) -> None:
        if self._journal.content.get("dump_file"):
            self._journal.remove_beside(self._journal.content["dump_file"])

    # --- the file ---

    def _parsed(self, data: bytes) -> Document:
        return parse(decode(data), self._host.environment)

    def _guarded(self, data: bytes) -> bytes:
        """A file with the guard in the place of its key."""
        text = self._parsed(data).edit({catalogue.KEY: MARK}, catalogue.kin)
        guarded = "".join(
            GUARD + "\n" if line.startswith(catalogue.KEY) and MARK in line else line
            for line in text.splitlines(keepends=True)
        )
        if GUARD not in guarded:
            raise AppwriteError(
                "the line of %s in %s cannot be replaced; write it as %s=value"
                % (catalogue.KEY, self._host.path, catalogue.KEY)
            )
        return encode(guarded)

    def _put(self, data: bytes) -> None:
        """One step of C(.env), which may have been made already. What is not the rotation's own is kept in a backup."""
        journal, stood = self._journal, self._host.read()
        if stood == data:
            return
        is_kept = self._is_own(stood) or stood == journal.env and bool(journal.content.get("backup_file"))
        made = self._host.replace(data, backup=not is_kept)
        if made and stood == journal.env:
            journal.save(backup_file=posixpath.basename(made))
        elif made:
            self._host.warnings.append(
                "%s was not as the rotation had left it; its previous content is kept in %s" % (self._host.path, made)
            )

    def _is_own(self, stood: bytes | None) -> bool:
        """Whether the rotation has put it there, and can do so again."""
        new = self._journal.content.get("new")
        return stood == self._guarded(self._journal.env) or new is not None and stood == self._with_key(new)

    def _with_key(self, key: str) -> bytes:
        """The C(.env) file of before, with another key."""
        return encode(self._parsed(self._journal.env).edit({catalogue.KEY: key}, catalogue.kin))

    def _holds(self, key: str) -> bool:
        """Whether C(.env) has this key already. Somebody may have edited the file since."""
        try:
            return in_force(self._parsed(self._host.read() or b"").values) == key
        except AppwriteError:
            return False

    # --- the result ---

    def _result(
        self,
        phase: str,
        old: str,
        new: str,
        report: Report | None = None,
        strangers: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        content, password = self._journal.content, self._options.seal
        stays = dict(content, dump_file=None) if phase == ABORTED else content
        return {
            "changed": True,
            "phase": phase,
            "report": report.public() if report else None,
            "stops_working": content.get("stops_working") or [],
            "key": described(old, password),
            "new_key": described(new, password),
            "dump_file": self._beside(stays.get("dump_file")),
            "backup_file": self._beside(content.get("backup_file")),
            "downtime": None,
            "remains": self._remains(stays, phase in (FINISHED, ABORTED)),
            **(strangers or {}),
            "ended_sessions": content.get("ended_sessions", 0) if self._journal.phase in (SEALED, WRITTEN) else 0,
            **more,
            "warnings": self._host.warnings + more.get("warnings", []),
        }

    def _beside(self, name: str | None) -> str | None:
        return posixpath.join(self._host.directory, name) if name else None

    def _remains(self, content: Mapping[str, Any], ended: bool = False) -> list[str]:
        """What a run leaves in the project's directory, why, and until when."""
        found = []
        if content.get("dump_file"):
            found.append(
                "%s, the database as it was, with values that the old key opens: remove it once there is a backup made after the rotation"
                % self._beside(content["dump_file"])
            )
        if content.get("backup_file"):
            found.append(
                "%s, the file with the old key: remove it once no backup or dump from before the rotation is kept any more"
                % self._beside(content["backup_file"])
            )
        if content and not ended:
            found.append(
                "%s, the journal of the rotation: it is removed when the rotation has ended" % self._journal.path
            )
        return found


# --- what is refused ---


def no_file(path: str) -> AppwriteError:
    """path: of C(.env)."""
    return AppwriteError("env_file: %s does not exist%s" % (path, NO_KEY))


def check_staged(content: Mapping[str, Any], new: str | None) -> None:
    """content: of the journal. Raises AppwriteError if another new key is noted there."""
    staged = content.get("new")
    if new is not None and staged is not None and new != staged:
        raise AppwriteError(
            "new_key: another run has staged another key (%s); run again, which takes that one up, or with abort, which ends it as long as that is possible"
            % told(staged)
        )


def check_keys(given: str | None, old: str, new: str | None, path: str) -> str:
    """Returns the new key. Raises AppwriteError if this one, or none, cannot follow the old one. given: the option C(key). path: of C(.env)."""
    if not old:
        raise AppwriteError(
            "%s is empty: what was stored was sealed without a key, which this rotation does not handle" % catalogue.KEY
        )
    check_given(given, old, path)
    if new is None:
        raise AppwriteError(
            "new_key: is missing; the role appwrite_rotation makes one and keeps it in the escrow first"
        )
    check(new, "new_key")
    if new == old:
        raise AppwriteError("new_key: is the key that is in force already")
    if same_cipher(new, old):
        raise AppwriteError(
            "new_key: has the same first 16 bytes as the key in force, and AES uses no more, so nothing would be sealed anew. "
            "To invalidate issued tokens alone, use scope: tokens"
        )
    return new


def check_given(given: str | None, old: str, path: str) -> None:
    """Raises AppwriteError if the option C(key) is another one than the old key, which stands in the file at this path."""
    if given not in (None, old):
        raise AppwriteError("key: is not the one in %s (%s); leave it out" % (path, told(old)))


def check_containers(keys: Mapping[str, Sequence[str]], path: str, allowed: Sequence[str]) -> None:
    """keys: key to the services that have it. Raises AppwriteError if one is not allowed; the first of those that are stands in the file at this path."""
    for key, services in keys.items():
        if key not in allowed:
            raise AppwriteError(
                "the containers of %s run with another key (%s) than %s (%s). Apply the file first, or put their key back"
                % (", ".join(services), told(key), path, told(allowed[0]))
            )


def _refuse(obstacles: Sequence[str]) -> None:
    if obstacles:
        raise AppwriteError("%s. Nothing was changed" % "; ".join(obstacles))


def _check_report(report: Report) -> None:
    if not report.unwaived_count:
        return
    if not report.count(OLD):
        raise AppwriteError(
            "key: the key in .env opens none of the %d sealed values and files, so it is not the one that they were sealed with. Nothing was changed"
            % report.undecryptable_count
        )
    if report.elsewhere:
        raise AppwriteError(
            "waivers: %s. Only if they are lost indeed, list each in `waivers`. Nothing was changed" % report.elsewhere
        )
    raise AppwriteError(
        "waivers: %d sealed values or files cannot be opened with the key, the first of them %s. If it is the right key they are lost already: list each "
        "in `waivers` to go on without them. Nothing was changed"
        % (report.unwaived_count, ", ".join("/".join(each[:3]) for each in report.undecryptable[:5]))
    )


def _lacking(report: Report, uploads: Disk | None, database: Disk | None) -> list[str]:
    """If there is no room for the files under the new key beside the old ones, or for what changes in the database."""
    needed = [(disk, size) for disk, size in ((uploads, report.bytes), (database, _changed(report))) if disk]
    found = []
    for disk, _bytes in needed:
        whole = sum(size for other, size in needed if other.device == disk.device)
        if disk.free < whole:
            found.append(
                "%s has %d MB free, but the newly sealed data needs %d MB in addition to what is there; free some space"
                % (disk.path, disk.free >> 20, whole >> 20)
            )
    return found


def _changed(report: Report) -> int:
    """Bytes that the database needs meanwhile: for the values of before, those that are staged, and the new ones."""
    return 3 * report.sealed


def no_way_back() -> AppwriteError:
    return AppwriteError(
        "abort: everything is sealed with the new key already, so there is no way back; run again without `abort`, which ends the rotation"
    )


def _waivers(given: Sequence[str]) -> Waivers:
    found = []
    for entry in given:
        parts = entry.split("/", 2)
        if len(parts) != 3:
            raise AppwriteError("waivers: %r is not collection/id/column, as the rehearsal prints it" % entry)
        found.append((parts[0], parts[1], parts[2]))
    return found


# --- what is said ---


def described(key: str, password: str | None = None) -> dict[str, Any]:
    """What may be said of a key; itself for the one who asked for it with a password."""
    said = {"fingerprint": shown_fingerprint(key), "public": catalogue.is_public_default(catalogue.KEY, key)}
    return said if password is None else {**said, "sealed": seal(key, password)}


def runs(run: Run) -> bool:
    """Whether every container with a key runs, and has the new one."""
    keys = run.project.container_keys()
    return set(keys) == {run.new} and {service for services in keys.values() for service in services} <= set(
        run.project.up()
    )


def _strangers(store: Store, run: Run) -> dict[str, Any]:
    """What of the result is for one whose key somebody else had, as it is before the rotation."""
    if run.ending == _console.NONE and not is_public(run.old):
        return {}
    return {
        "console": _console.listed(store),
        "end_sessions": run.ending,
        "ended_sessions": _console.count_sessions(store, run.ending),
    }


def _stops_working(report: Report, release: str) -> list[str]:
    """What is signed with the whole key (appwrite 1.9.6, and since): those who hold it get a new one by asking again."""
    tokens = sum(
        sum(tally.values.values()) for name, tally in report.collections.items() if name.endswith("_resourceTokens")
    )
    return [
        "JWTs of users and ephemeral API keys (they live an hour at most, and are not counted anywhere)",
        "executions and builds that ran when it was stopped",
        "%d file tokens: URLs that were handed out; reading a token again gives a valid one" % tokens,
        "images in push messages that were sent",
        *(text for since, text in _STOPS_WORKING_SINCE if not catalogue.is_older(release, since)),
    ]
