# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a host in a rotation that another one conducts, since they share a database: it stands still behind the same guard, and takes the new key last.

The controller leads: every host is looked at first, then all but the conductor stand still, then the conductor seals, and stands still with them. Only when
each of them has written the new key does any start. A host remembers in its own journal where it is, so that each step may be the last before a power
failure, and the next run takes it up.

Jobs: up to the conductor's own standing still there are others that make jobs and others that take them, at least if they have a Redis in common. So a host
waits until few jobs wait and none is in hand that takes long, closes its API, and lets each worker end the job that it has. What waits then holds nothing that
is sealed: the conductor's workers take it, or this host's own when it is started again. The conductor goes last, and waits until no job is left that its
workers take.

Pure, as C(procedure) is, whose pieces this is made of.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
from contextlib import closing
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import generate, in_force, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher, Parts
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.console import NONE
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import digest, first_values
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    ABORTED,
    FINISHED,
    GUARDED,
    LENGTH,
    LOCKING,
    PREPARED,
    WRITE,
    WRITTEN,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import (
    RECOVERY,
    Procedure,
    Project,
    Run,
    check_containers,
    check_keys,
    check_staged,
    described,
    no_file,
    no_way_back,
    runs,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.reseal import Rotation


class Member(Procedure):
    """Its steps, from wherever an earlier run left it. In check mode it tells what the hosts are compared by."""

    def _worked(self) -> dict[str, Any]:
        content, options = self._journal.content, self._options
        if content and not content.get("member") and not options.check_mode:
            raise AppwriteError(
                "this host was to conduct a rotation, which is unfinished: it was the first of its cluster in the inventory when the rotation began. Put that "
                "order back, and run again"
            )
        if options.check_mode:
            part = ("member" if content.get("member") else "conductor") if content else None
            found = self._told(self._stands()) if self._is_begun() else self._begin()
            return {**found, "part": part, "now": self._host.now()}
        if options.step == WRITE:
            return self._write()
        if options.abort:
            return self._go_back()
        return self._stay() if self._is_begun() else self._begin()

    def _stands(self) -> str:
        """Where a rotation that is under way is on this host. One that has had another key since it was given the new one has to stand still again."""
        phase, content = self._journal.phase, self._journal.content
        if phase == WRITTEN and self._is_as_left(Run(content["old"], content["new"], NONE, self._opened())):
            return WRITTEN
        return phase if phase in LOCKING and phase != WRITTEN else GUARDED

    # --- standing still ---

    def _begin(self) -> dict[str, Any]:
        options, host, journal = self._options, self._host, self._journal
        data = host.read()
        if data is None:
            raise no_file(host.path)
        old = in_force(host.document().values)
        check_keys(options.key, old, generate(LENGTH), host.path)
        self._guarded(data)
        project = host.open(data, (old, old))
        check_containers(project.container_keys(), host.path, (old,))
        if not options.check_mode:
            self._restart()
        with closing(project.connect(0)) as connected:
            values = first_values(connected.store)
            if not _opens(values, old):
                raise AppwriteError(
                    "the key of this host opens none of the %d sealed values of the console that were tried, so it is not the one that they were sealed with. "
                    "Nothing was changed" % len(values)
                )
            stranger = connected.others.holders()
            if stranger:
                raise AppwriteError("%s. Nothing was changed" % stranger)
            if options.check_mode:
                return self._told(
                    journal.phase, old, release=project.release, database=[digest(parts) for parts in values]
                )
            journal.replace(
                {
                    "member": True,
                    "phase": PREPARED,
                    "old": old,
                    "env": base64.b64encode(data).decode("ascii"),
                    "ran": sorted(holder.id for holder in project.holders() if holder.is_on),
                }
            )
            try:
                host.warnings += connected.make_still(
                    options.drain_timeout, options.leave_queues, lambda: None, alone=False
                )
                self._put(self._guarded(data))
            except AppwriteError:
                if not self._is_begun():
                    self._back()
                raise
        return self._stay()

    def _stay(self) -> dict[str, Any]:
        self._guard(self._opened())
        return self._told(GUARDED)

    def _guard(self, project: Project) -> None:
        """From whatever stands there by now."""
        journal = self._journal
        if journal.phase != GUARDED:
            journal.save(phase=GUARDED)
        self._put(self._guarded(journal.env))
        project.remove()

    def _opened(self, new: str | None = None) -> Project:
        content = self._journal.content
        return self._host.open(self._journal.env, (content["old"], new or content.get("new") or content["old"]))

    # --- the new key ---

    def _write(self) -> dict[str, Any]:
        """The same step again ends it, when everything runs with the new key."""
        journal, content, new = self._journal, self._journal.content, self._options.new_key
        if new is None:
            raise AppwriteError("new_key: is missing; the role appwrite_rotation takes it from the escrow")
        if not content:
            if not self._holds(new):
                self._refuse_key(new)
            return self._told(FINISHED, new, changed=False)
        if not self._is_begun():
            raise AppwriteError("this host does not stand still; run again")
        if journal.phase == WRITTEN and content["new"] != new:
            raise _other_escrow("was given another key (%s) since everything was sealed" % told(content["new"]))
        project = self._opened(new)
        run = Run(content["old"], new, NONE, project)
        if content.get("new") == new and self._is_as_left(run):
            if journal.phase != WRITTEN:
                journal.save(phase=WRITTEN)
            if not runs(run):
                return self._told(WRITTEN, changed=False)
            ended = self._told(FINISHED)
            journal.end()
            return ended
        if not self._is_still(project):
            self._guard(project)
            raise AppwriteError(
                "somebody has started something on this host or edited %s while it stood still, and may have written with the old key meanwhile. It "
                "stands still again; run again at once, which seals the rest" % self._host.path
            )
        project.start_needed()
        with closing(self._connect(project, RECOVERY)) as connected:
            values = first_values(connected.store)
            if not values:
                check_staged(content, new)  # what is noted may be of an earlier rotation, which only the data can tell
            _check_sealed(values, content["old"], new)
            connected.forget_documents()
        journal.save(new=new)  # only now may it be in the file
        self._put(self._with_key(new))
        journal.save(phase=WRITTEN)
        return self._told(WRITTEN)

    def _refuse_key(self, new: str) -> None:
        """Raises AppwriteError, for a host that has another key than the new one, and no rotation noted. What is stored tells which is right."""
        data = self._host.read()
        if data is None:
            raise no_file(self._host.path)
        key = "" if self._is_guarded() else in_force(self._parsed(data).values)
        if key:
            with closing(self._connect(self._host.open(data, (key, new)), RECOVERY)) as connected:
                values = first_values(connected.store)
            if not _opens(values, new) and _opens(values, key):
                raise _other_escrow("has a key (%s) that opens what is stored" % told(key))
        raise AppwriteError(
            "%s has another key than the one that everything was sealed with, and no rotation is noted beside it. Write the key from the escrow "
            "(ansible-vault view) into it, and run again" % self._host.path
        )

    def _is_still(self, project: Project) -> bool:
        return self._host.read() == self._guarded(self._journal.env) and not project.holders()

    # --- the way back ---

    def _go_back(self) -> dict[str, Any]:
        """Only when the conductor has gone back: what is stored is under the old key again, or still."""
        journal = self._journal
        if not journal.content:
            return self._told(ABORTED, in_force(self._host.document().values), changed=False)
        if self._is_begun():
            project = self._opened()
            self._guard(project)
            project.start_needed()
            with closing(self._connect(project, RECOVERY)) as connected:
                if not _opens(first_values(connected.store), journal.content["old"]):
                    raise no_way_back()
            journal.save(phase=PREPARED, ran=[])  # from the next step on the file is the user's again
            self._put(journal.env)
        ended = self._told(ABORTED)
        self._back()
        return ended

    def _prepared_files(self, rotation: Rotation | None = None) -> list[str]:
        return []  # the conductor alone makes any

    # --- the result ---

    def _told(self, phase: str, key: str | None = None, **more: Any) -> dict[str, Any]:
        content = self._journal.content
        backup = content.get("backup_file")
        return {
            "changed": True,
            "phase": phase,
            "key": described(key or content["old"]),
            "new_key": described(content["new"]) if content.get("new") else None,
            "backup_file": self._beside(backup),
            "remains": self._remains(content, phase in (FINISHED, ABORTED)),
            **more,
            "warnings": self._host.warnings,
        }


def _opens(values: list[Parts], key: str) -> bool:
    """Whether the key opens any. One that no key opens was lost before, and may have been waived."""
    cipher = Cipher(key)
    return not values or any(cipher.decrypt(*parts) is not None for parts in values)


def _check_sealed(values: list[Parts], old: str, new: str) -> None:
    """A host that had ended its part already has stood still with the new key, which is its old one then."""
    if values and (old != new and _opens(values, old) or not _opens(values, new)):
        raise AppwriteError(
            "the database of this host holds values that the new key does not open, so it is not the one that was sealed, or not all of it was. This host "
            "stays guarded. See that its _APP_DB_HOST names the database of the cluster, and run again"
        )


def _other_escrow(what: str) -> AppwriteError:
    return AppwriteError(
        "escrow_file: holds another new key than the one that everything was sealed with, since this host %s; name the file of the controller that has sealed "
        "it, and run again" % what
    )
