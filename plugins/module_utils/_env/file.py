# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file whose loss destroys an Appwrite: locked, read, replaced whole or not at all, backed up.

Its directory may be somebody else's, who is hostile to root. It is opened once and then gone by its handle; what is opened there is no link, and is
looked at behind the handle before it is believed; what is made there is given away and named by its handle alone.

A reader takes no lock, since a replacement is one step.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import re
import secrets
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import Callable, Iterator

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, reason, words

LOCK_TIMEOUT = 300.0
_LOCK = _files.TEMPORARY + "lock"
_CANDIDATE, _DRAFT = "candidate", "backup"
"""The files of a scratch directory."""
_BACKUP = re.compile(r"\.(\d{8}T\d{6}Z)(?:-(\d+))?\.bak", re.ASCII)
_ACL = "system.posix_acl_access"
_LARGEST = 1 << 24
"""Bytes; somebody's endless file would fill the memory."""


def is_backup(path: str, of: str) -> bool:
    """Whether the name of one file is what a backup of the other one gets."""
    return path.startswith(of) and _BACKUP.fullmatch(path[len(of) :]) is not None


class EnvFile:
    """One C(.env). C(path) is what the user named, by C(option); a symbolic link is followed and stays a link."""

    def __init__(self, path: str, option: str = "env_file") -> None:
        self.path = path
        self._option = option
        self.real = os.path.realpath(path)
        self.directory = os.path.dirname(self.real)
        self.data = b""
        self.status: os.stat_result | None = None
        self.was_busy = False
        """whether another run held the lock, so that what was seen before may be other by now"""
        self._attributes: dict[str, bytes] = {}
        self._name = ""
        self._handle: int | None = None
        self._backup = ""

    @property
    def exists(self) -> bool:
        return self.status is not None

    @property
    def mode(self) -> int | None:
        return stat.S_IMODE(self.status.st_mode) if self.status else None

    @property
    def private_mode(self) -> int | None:
        """The mode that takes no right from anybody who has one by name: the owner keeps his, and the group its, if it has other members."""
        if self.status is None:
            return None
        return self.status.st_mode & (0o640 if _has_others(self.status.st_gid, self.status.st_uid) else 0o600)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory's lock. Raises AppwriteError when another holder keeps it for LOCK_TIMEOUT seconds."""
        with self.in_directory() as handle, ExitStack() as held:
            place = "%s: %s" % (self._option, self.directory)
            with words(place, "locked"):
                try:
                    held.enter_context(_files.locked(handle, _LOCK, place, 0))
                except _files.Busy:
                    self.was_busy = True
                    held.enter_context(_files.locked(handle, _LOCK, place, LOCK_TIMEOUT))
            yield

    @contextmanager
    def opened(self, for_writing: bool) -> Iterator[None]:
        """Read, and locked if it is opened for writing; then what a killed run left beside the file is removed as well."""
        with self.locked() if for_writing else self.in_directory():
            if for_writing:
                self.sweep()
            self.read()
            yield

    def read(self) -> None:
        """Reads the file whole. A missing file gives empty C(data) and C(exists) false."""
        self.data, self.status, self._attributes = b"", None, {}
        with words("%s: %s" % (self._option, self.path), "read"), suppress(FileNotFoundError), self._held() as handle:
            self.data, self.status, self._attributes = self._read_at(handle, self._name)

    def replace(self, data: bytes, backup: bool, mode: int | None = None) -> str | None:
        """Replaces the file by C(data) in one step and returns the path of the backup, if one was made.

        Owner and security label of an existing file are kept, its mode and ACL unless C(mode) is given; a new file is 0600.
        Data and directory are on disk when this returns. Call it under C(locked), after C(read).
        Raises AppwriteError; its words say whether the file was replaced.
        """
        with self.in_directory() as handle:
            self.check_replaceable()
            scratch: int | None = None
            name = _files.TEMPORARY + secrets.token_hex(8)
            switched = False
            self._backup = ""
            try:
                os.mkdir(name, 0o700, dir_fd=handle)
                scratch = os.open(name, _files.PLACE | os.O_DIRECTORY, dir_fd=handle)
                if backup and self.exists and data != self.data:
                    self._back_up(handle, scratch)
                self._write(scratch, _CANDIDATE, data, lambda candidate: self._dress(candidate, mode))
                self._switch(handle, scratch)
                switched = True
                _files.sync(handle)
            except OSError as error:
                if error.errno == errno.ENOENT and not switched and os.path.isdir(self.directory):
                    raise self._changed_meanwhile() from None
                raise self._error(
                    (
                        "%s was replaced, but it is not certain that this would outlive a power failure: %s"
                        if switched
                        else "%s cannot be replaced: %s. It is as it was"
                    )
                    % (self.path, reason(error))
                ) from None
            finally:
                if self._backup and not switched:
                    _files.discard(handle, self._backup)
                if scratch is not None:  # wherever it is by now
                    _empty(scratch)
                    os.close(scratch)
                _discard(handle, name)
            return os.path.join(self.directory, self._backup) if self._backup else None

    def check_replaceable(self) -> None:
        """Raises AppwriteError if a replacement would do more than change the file."""
        if self.status is None:
            return
        if self.status.st_nlink > 1:
            raise self._error(
                "%s has %d hard links; replacing it would separate them. Remove the other names or use a symbolic link"
                % (self.path, self.status.st_nlink)
            )
        with self.in_directory() as handle:
            if _mount_of(handle, self._name) != _mount_of(handle, "."):
                raise self._error("%s cannot be replaced: %s" % (self.path, reason(OSError(errno.EBUSY, ""))))

    def sweep(self) -> None:
        """Removes what a killed run left beside the file. Call it under C(locked): then nobody uses it."""
        with self.in_directory() as handle:
            for name in _listed(handle, _files.TEMPORARY):
                _discard(handle, name)

    def prune(self, keep: int, needed: Callable[[bytes], bool]) -> None:
        """Removes the oldest backups beyond C(keep), except the one that this run made and those of whose content C(needed) is true or that cannot be read."""
        with self.in_directory() as handle:
            for _time, _number, entry in self._backups(handle)[:-keep]:
                try:
                    data = self._read_at(handle, entry)[0]
                except (OSError, AppwriteError):
                    continue
                if entry != self._backup and not needed(data):
                    _files.discard(handle, entry)

    # --- the directory ---

    @contextmanager
    def in_directory(self) -> Iterator[int]:
        """The handle of the directory, by which everything in it and beside the file is done."""
        with ExitStack() as held:
            with words("%s: the directory %s" % (self._option, self.directory), "opened"):
                handle = held.enter_context(self._held())
            yield handle

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The handle of the directory, which stays the same one as long as somebody holds it."""
        if self._handle is not None:
            yield self._handle
            return
        self._handle, self._name = _files.walk(self.path, self._option)
        try:
            yield self._handle
        finally:
            os.close(self._handle)
            self._handle = None

    def _require_place(self, handle: int) -> None:
        """The directory may have been moved away, and with it what was read."""
        if not os.path.samestat(os.stat(self.directory), os.fstat(handle)):
            raise self._changed_meanwhile()

    # --- the file ---

    def _read_at(self, handle: int, name: str) -> tuple[bytes, os.stat_result, dict[str, bytes]]:
        """A plain file in the directory, or taken from it. Raises AppwriteError for one that its owner may have been robbed of."""
        path = self.path if name in (self._name, _CANDIDATE) else os.path.join(self.directory, name)
        try:
            opened = _files.open_plain(name, handle)
        except OSError as error:
            if error.errno == errno.ELOOP:  # links were followed before
                raise self._changed_meanwhile() from None
            raise
        try:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                raise self._error("%s is not a regular file; name the file itself" % path)
            self._check_owner(path, status)
            attributes = {attribute: os.getxattr(opened, attribute) for attribute in _attributes(opened)}
            with os.fdopen(opened, "rb", closefd=False) as stream:
                data = stream.read(_LARGEST + 1)
        finally:
            os.close(opened)
        if len(data) > _LARGEST:
            raise self._error(
                "%s is larger than %d MiB, too large for such a file; name the right one" % (path, _LARGEST >> 20)
            )
        return data, status, attributes

    def _check_owner(self, path: str, status: os.stat_result) -> None:
        """Who may write the directory can put somebody else's file there, as a hard link or by moving it, but cannot give away his own."""
        with self._held() as handle:
            directory = os.fstat(handle)
        theirs = directory.st_uid not in _files.trusted()
        if theirs and status.st_uid not in _files.trusted() | {directory.st_uid}:
            raise self._error(
                "%s belongs to the user %d, but its directory to the user %d, who may have put it there; make both belong to the same user (chown)"
                % (path, status.st_uid, directory.st_uid)
            )
        if status.st_nlink > 1 and (theirs or directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise self._error(
                "%s has %d hard links in a directory that others may write, so it may be somebody else's file; remove the other names"
                % (path, status.st_nlink)
            )

    def _backups(self, handle: int) -> list[tuple[str, int, str]]:
        """The oldest first, by what their names say."""
        found = [(_BACKUP.fullmatch(entry[len(self._name) :]), entry) for entry in _listed(handle, self._name)]
        return sorted((match.group(1), int(match.group(2) or 0), entry) for match, entry in found if match)

    def _back_up(self, handle: int, scratch: int) -> None:
        """The backup gets its name when it is whole, so that a killed run leaves no half of one, and the file's owner, who may put it back.

        The name comes behind that of every other backup, whatever the clock says.
        """
        status = self.status
        self._write(scratch, _DRAFT, self.data, lambda draft: _files.dress(draft, status) if status else None)
        now, number = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), 0
        for last, last_number, _entry in self._backups(handle)[-1:]:
            if last >= now:
                now, number = last, last_number + 1
        name = "%s.%s%s.bak" % (self._name, now, number and "-%d" % number or "")
        _files.rename(_DRAFT, name, scratch, handle)
        self._backup = name
        _files.sync(handle)

    def _write(
        self, scratch: int, name: str, data: bytes, finish: Callable[[int], None] = lambda _handle: None
    ) -> None:
        """A new file for its owner alone, on disk when this returns."""
        with _files.made(scratch, name) as opened:
            if (
                os.fstat(opened).st_uid != os.fstat(scratch).st_uid
            ):  # another directory was put in the place of the one that was made
                raise self._changed_meanwhile()
            _files.write(opened, data)
            finish(opened)

    def _dress(self, candidate: int, mode: int | None) -> None:
        attributes: dict[str, bytes] = {}
        if self.status is not None:
            _files.dress(candidate, self.status)
            attributes = {name: value for name, value in self._attributes.items() if mode is None or name != _ACL}
        for name, value in attributes.items():
            os.setxattr(candidate, name, value)
        if _ACL not in attributes and _ACL in _attributes(candidate):
            os.removexattr(
                candidate, _ACL
            )  # the directory's default ACL, which the chmod that follows would put into force
        wanted = self.mode if mode is None else mode
        if wanted is not None:
            os.fchmod(candidate, wanted)

    def _switch(self, handle: int, scratch: int) -> None:
        """Puts the candidate in the file's place. What was there is looked at afterwards, when nobody can change it any more."""
        self._require_place(handle)
        try:
            switched = _files.renameat2(
                _CANDIDATE, self._name, scratch, handle, _files.EXCHANGE if self.exists else _files.NOREPLACE
            )
        except (FileExistsError, FileNotFoundError):
            raise self._changed_meanwhile() from None
        if switched and self.exists and not self._is_unchanged(scratch, _CANDIDATE):
            _files.renameat2(_CANDIDATE, self._name, scratch, handle, _files.EXCHANGE)
            raise self._changed_meanwhile()
        if not switched:
            if not self._is_unchanged(handle, self._name):
                raise self._changed_meanwhile()
            _files.rename(_CANDIDATE, self._name, scratch, handle)

    def _is_unchanged(self, handle: int, name: str) -> bool:
        try:
            data, status, _attributes_of_it = self._read_at(handle, name)
        except FileNotFoundError:
            return self.status is None
        except (OSError, AppwriteError):  # whatever stands there now is not what was read, and goes back to its place
            return False
        return self.status is not None and data == self.data and _dress_of(status) == _dress_of(self.status)

    def _changed_meanwhile(self) -> AppwriteError:
        return self._error(
            "somebody else changed %s while this run was working; nothing was written. Run it again" % self.path
        )

    def _error(self, words: str) -> AppwriteError:
        return AppwriteError("%s: %s" % (self._option, words))


def _dress_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _mount_of(handle: int, name: str) -> str | None:
    """The number of the mount that a file or directory is on; C(None) if the system does not tell."""
    try:
        found = os.open(name, _files.PLACE, dir_fd=handle)
    except OSError:
        return None
    try:
        with open("/proc/self/fdinfo/%d" % found, encoding="ascii") as stream:
            return next((line for line in stream if line.startswith("mnt_id:")), None)
    except OSError:
        return None
    finally:
        os.close(found)


def _attributes(opened: int) -> list[str]:
    """Extended attributes, which hold the ACL and the security label; none if the file system has none."""
    try:
        return os.listxattr(opened)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _listed(handle: int, prefix: str) -> list[str]:
    """Nothing, if this user may not look."""
    with suppress(OSError):
        return _files.names(handle, prefix)
    return []


def _empty(scratch: int) -> None:
    for name in (_CANDIDATE, _DRAFT):
        _files.discard(scratch, name)


def _discard(handle: int, name: str) -> None:
    """A scratch directory with what may be in it. Anything else that somebody gave such a name stays."""
    with suppress(OSError):
        scratch = os.open(name, _files.PLACE | os.O_DIRECTORY, dir_fd=handle)
        _empty(scratch)
        os.close(scratch)
        os.rmdir(name, dir_fd=handle)


def _has_others(group: int, owner: int) -> bool:
    """Whether somebody but root and the owner is in a group."""
    names = {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == group and entry.pw_uid not in (0, owner)}
    try:
        named = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        named = set()
    return bool(names or named - {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid in (0, owner)})
