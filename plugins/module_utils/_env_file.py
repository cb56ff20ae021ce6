# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The one file whose loss destroys an Appwrite: locked, read, replaced whole or not at all, backed up.

Its directory may be somebody else's, who is hostile to root. It is opened once and then gone by its handle; what is opened there is no link, and is
looked at behind the handle before it is believed; what is made there is given away and named by its handle alone.

The lock is an advisory C(flock) on a file beside it that only its owner may open, and that goes with the run. A holder that dies lets go by itself;
a reader takes none, since a replacement is one step.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import Callable, Iterator

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

LOCK_TIMEOUT = 300.0
_TEMPORARY = ".selfhost-appwrite-"
_LOCK = _TEMPORARY + "lock"
_CANDIDATE, _DRAFT = "candidate", "backup"
"""The files of a scratch directory."""
_BACKUP = re.compile(r"\.(\d{8}T\d{6}Z)(?:-(\d+))?\.bak", re.ASCII)
_ACL = "system.posix_acl_access"
_EXCHANGE, _NOREPLACE = 2, 1
"""The flags of C(renameat2), linux/fs.h."""
_MOST_LINKS = 40
"""As the kernel has it."""
_LARGEST = 1 << 24
"""Bytes; somebody's endless file would fill the memory."""
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_REASONS = {
    errno.EACCES: "permission denied: run the task as the file's owner or with become",
    errno.EPERM: "the operation is not permitted: the file may be immutable (lsattr) or the task needs become",
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.ENOSPC: "the disk is full: free some space or some inodes (df, df -i) and run again",
    errno.EDQUOT: "the disk quota is used up: raise it or free some space, and run again",
    errno.EBUSY: "it is a mount point of its own (a bind-mounted file), which cannot be replaced in one step: edit the mounted source",
    errno.ENOENT: "the directory is gone",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.ELOOP: "the symbolic links lead in a circle",
    errno.EIO: "the device reports an input/output error: look at the kernel's log (dmesg)",
}


def is_backup(path: str, of: str) -> bool:
    """Whether the name of one file is what a backup of the other one gets."""
    return path.startswith(of) and _BACKUP.fullmatch(path[len(of):]) is not None


def reason(error: OSError) -> str:
    """An operating system error in words and without a path, which may be long and is named by the caller."""
    return _REASONS.get(error.errno or 0, os.strerror(error.errno) if error.errno else type(error).__name__)


class EnvFile:
    """One C(.env). C(path) is what the user named, by C(option); a symbolic link is followed and stays a link."""

    def __init__(self, path: str, option: str = "env_file") -> None:
        self.path = path
        self._option = option
        self.real = os.path.realpath(path)
        self.directory = os.path.dirname(self.real)
        self.data = b""
        self.status: os.stat_result | None = None
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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory's lock. Raises AppwriteError when another holder keeps it for LOCK_TIMEOUT seconds."""
        with self.in_directory() as handle:
            lock = self._acquire(handle)
            try:
                yield
            finally:
                if lock is not None:
                    if _is_at(handle, _LOCK, lock):
                        _remove(handle, _LOCK)
                    os.close(lock)

    @contextmanager
    def opened(self, for_writing: bool) -> Iterator[None]:
        """Read, and locked where it is opened for writing; then what a killed run left beside the file is removed as well."""
        with self.locked() if for_writing else self.in_directory():
            if for_writing:
                self.sweep()
            self.read()
            yield

    def read(self) -> None:
        """Reads the file whole. A missing file gives empty C(data) and C(exists) false."""
        self.data, self.status, self._attributes = b"", None, {}
        try:
            with self._held() as handle:
                self.data, self.status, self._attributes = self._read_at(handle, self._name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("cannot read %s: %s" % (self.path, reason(error))) from None

    def replace(self, data: bytes, backup: bool, mode: int | None = None) -> str | None:
        """Replaces the file by C(data) in one step and returns the path of the backup, if one was made.

        Owner and security label of an existing file are kept, its mode and ACL unless C(mode) is given; a new file is 0600.
        Data and directory are on disk when this returns. Call it under C(locked), after C(read).
        """
        with self.in_directory() as handle:
            self.check_replaceable()
            scratch: int | None = None
            name = _TEMPORARY + secrets.token_hex(8)
            switched = False
            self._backup = ""
            try:
                os.mkdir(name, 0o700, dir_fd=handle)
                scratch = os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=handle)
                if backup and self.exists and data != self.data:
                    self._back_up(handle, scratch)
                self._write(scratch, _CANDIDATE, data, lambda candidate: self._dress(candidate, mode))
                self._switch(handle, scratch)
                switched = True
                _sync_directory(handle)
            except OSError as error:
                if error.errno == errno.ENOENT and not switched and os.path.isdir(self.directory):
                    raise self._changed_meanwhile() from None
                raise self._error((
                    "%s was replaced, but it is not certain that this would outlive a power failure: %s" if switched
                    else "cannot replace %s: %s; the file is as it was") % (self.path, reason(error))) from None
            finally:
                if self._backup and not switched:
                    _remove(handle, self._backup)
                if scratch is not None:  # wherever it is by now
                    _empty(scratch)
                    os.close(scratch)
                _discard(handle, name)
            return os.path.join(self.directory, self._backup) if self._backup else None

    def check_replaceable(self) -> None:
        """Raises AppwriteError where a replacement would do more than change the file."""
        if self.status is None:
            return
        if self.status.st_nlink > 1:
            raise self._error(
                "%s has %d hard links; replacing it would part them. Remove the other names or use a symbolic link"
                % (self.path, self.status.st_nlink))
        with self.in_directory() as handle:
            if _mount_of(handle, self._name) != _mount_of(handle, "."):
                raise self._error("cannot replace %s: %s" % (self.path, _REASONS[errno.EBUSY]))

    def sweep(self) -> None:
        """Removes what a killed run left beside the file. Call it under C(locked): then nobody uses it."""
        with self.in_directory() as handle:
            for name in _listed(handle, _TEMPORARY):
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
                    _remove(handle, entry)

    # --- the directory ---

    @contextmanager
    def in_directory(self) -> Iterator[int]:
        """The handle of the directory, by which everything in it and beside the file is done."""
        with ExitStack() as held:
            try:
                handle = held.enter_context(self._held())
            except OSError as error:
                raise self._error("cannot open the directory %s: %s" % (self.directory, reason(error))) from None
            yield handle

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The handle of the directory, which stays the same one as long as somebody holds it."""
        if self._handle is not None:
            yield self._handle
            return
        self._handle, self._name = walk(self.path, self._option)
        try:
            yield self._handle
        finally:
            os.close(self._handle)
            self._handle = None

    def _require_place(self, handle: int) -> None:
        """The directory may have been moved away, and with it what was read."""
        if not os.path.samestat(os.stat(self.directory), os.fstat(handle)):
            raise self._changed_meanwhile()

    # --- the lock ---

    def _acquire(self, handle: int) -> int | None:
        """The locked file; C(None) where this user may write nothing in the directory, and so can undo nobody's change."""
        deadline, is_theirs = time.monotonic() + LOCK_TIMEOUT, False
        while True:
            try:
                lock = self._open_lock(handle)
                if lock is None or self._takes(handle, lock):
                    return lock
                is_theirs = False
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise self._error(
                        "the file system of %s has no working locks (flock), without which two runs could undo each other; "
                        "mount it with locks, or move the project" % self.directory) from None
                if error.errno not in (errno.EACCES, errno.EEXIST):
                    raise self._error("cannot lock the directory %s: %s" % (self.directory, reason(error))) from None
                is_theirs = error.errno == errno.EACCES  # another user's, whose run removes it
            if time.monotonic() > deadline:
                raise self._error(
                    "another run has held the lock on %s for %d seconds; wait for it to end and try again%s"
                    % (self.directory, LOCK_TIMEOUT, ". If there is none, a killed run of another user left %s there; remove it" % _LOCK if is_theirs else ""))
            time.sleep(0.05)

    def _open_lock(self, handle: int) -> int | None:
        try:
            lock = os.open(_LOCK, os.O_RDWR | _PLAIN, dir_fd=handle)
        except FileNotFoundError:
            return self._make_lock(handle)
        except OSError as error:
            if error.errno == errno.EROFS:
                return None
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._no_lock() from None
            raise
        status = os.fstat(lock)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid not in _trusted() | {os.fstat(handle).st_uid}:
            os.close(lock)
            raise self._no_lock()
        return lock

    def _make_lock(self, handle: int) -> int | None:
        try:
            lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600, dir_fd=handle)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EROFS):
                return None
            raise
        if os.geteuid() == 0:
            with suppress(OSError):  # then the owner's own runs wait for this one, without opening its lock
                os.fchown(lock, os.fstat(handle).st_uid, -1)
        return lock

    def _takes(self, handle: int, lock: int) -> bool:
        """Whether the lock is this run's now. One whose holder has just removed it is nobody's."""
        taken = False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = _is_at(handle, _LOCK, lock)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR):
                _remove(handle, _LOCK)  # where locks do not work nobody holds one
                raise
        finally:
            if not taken:
                os.close(lock)
        return taken

    def _no_lock(self) -> AppwriteError:
        return self._error(
            "%s in %s is no lock of root's, of the directory's owner or of this user's; wait for the run that made it, or remove it" % (_LOCK, self.directory))

    # --- the file ---

    def _read_at(self, handle: int, name: str) -> tuple[bytes, os.stat_result, dict[str, bytes]]:
        """A plain file in the directory, or taken from it. Raises AppwriteError for one that its owner may have been robbed of."""
        path = self.path if name in (self._name, _CANDIDATE) else os.path.join(self.directory, name)
        try:
            opened = os.open(name, os.O_RDONLY | _PLAIN, dir_fd=handle)
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
            raise self._error("%s is larger than %d MiB, which no such file is; name the file itself" % (path, _LARGEST >> 20))
        return data, status, attributes

    def _check_owner(self, path: str, status: os.stat_result) -> None:
        """Who may write the directory can put somebody else's file there, as a hard link or by moving it, but cannot give away his own."""
        with self._held() as handle:
            directory = os.fstat(handle)
        theirs = directory.st_uid not in _trusted()
        if theirs and status.st_uid not in _trusted() | {directory.st_uid}:
            raise self._error(
                "%s belongs to the user %d, but its directory to the user %d, who may have put it there; make both belong to the same user (chown)"
                % (path, status.st_uid, directory.st_uid))
        if status.st_nlink > 1 and (theirs or directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise self._error(
                "%s has %d hard links in a directory that others may write, so it may be somebody else's file; remove the other names"
                % (path, status.st_nlink))

    def _backups(self, handle: int) -> list[tuple[str, int, str]]:
        """The oldest first, by what their names say."""
        found = [(_BACKUP.fullmatch(entry[len(self._name):]), entry) for entry in _listed(handle, self._name)]
        return sorted((match.group(1), int(match.group(2) or 0), entry) for match, entry in found if match)

    def _back_up(self, handle: int, scratch: int) -> None:
        """The backup gets its name when it is whole, so that a killed run leaves no half of one.

        The name comes behind that of every other backup, whatever the clock says.
        """
        self._write(scratch, _DRAFT, self.data)
        now, number = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), 0
        for last, last_number, _entry in self._backups(handle)[-1:]:
            if last >= now:
                now, number = last, last_number + 1
        name = "%s.%s%s.bak" % (self._name, now, number and "-%d" % number or "")
        os.rename(_DRAFT, name, src_dir_fd=scratch, dst_dir_fd=handle)
        self._backup = name
        _sync_directory(handle)

    def _write(self, scratch: int, name: str, data: bytes, finish: Callable[[int], None] = lambda _handle: None) -> None:
        """A new file for its owner alone, on disk when this returns."""
        opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=scratch)
        with os.fdopen(opened, "wb") as stream:
            if os.fstat(opened).st_uid != os.fstat(scratch).st_uid:  # another directory was put in the place of the one that was made
                raise self._changed_meanwhile()
            stream.write(data)
            stream.flush()
            finish(opened)
            os.fsync(opened)

    def _dress(self, candidate: int, mode: int | None) -> None:
        attributes: dict[str, bytes] = {}
        if self.status is not None:
            mine = os.fstat(candidate)
            if (mine.st_uid, mine.st_gid) != (self.status.st_uid, self.status.st_gid):
                os.fchown(candidate, self.status.st_uid, self.status.st_gid)
            attributes = {name: value for name, value in self._attributes.items() if mode is None or name != _ACL}
        for name, value in attributes.items():
            os.setxattr(candidate, name, value)
        if _ACL not in attributes and _ACL in _attributes(candidate):
            os.removexattr(candidate, _ACL)  # the directory's default ACL, which the chmod that follows would put into force
        wanted = self.mode if mode is None else mode
        if wanted is not None:
            os.fchmod(candidate, wanted)

    def _switch(self, handle: int, scratch: int) -> None:
        """Puts the candidate in the file's place. What was there is looked at afterwards, when nobody can change it any more."""
        self._require_place(handle)
        try:
            switched = _rename(_CANDIDATE, self._name, _EXCHANGE if self.exists else _NOREPLACE, src_dir_fd=scratch, dst_dir_fd=handle)
        except (FileExistsError, FileNotFoundError):
            raise self._changed_meanwhile() from None
        if switched and self.exists and not self._is_unchanged(scratch, _CANDIDATE):
            _rename(_CANDIDATE, self._name, _EXCHANGE, src_dir_fd=scratch, dst_dir_fd=handle)
            raise self._changed_meanwhile()
        if not switched:
            if not self._is_unchanged(handle, self._name):
                raise self._changed_meanwhile()
            os.rename(_CANDIDATE, self._name, src_dir_fd=scratch, dst_dir_fd=handle)

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
            "somebody else changed %s while this run was working; nothing was written. Run it again" % self.path)

    def _error(self, words: str) -> AppwriteError:
        return AppwriteError("%s: %s" % (self._option, words))


def walk(path: str, option: str, inside: bool = False) -> tuple[int, str]:
    """Follows a path to its directory and its name in it, or inside the directory that it names. The handle is for going by alone (C(O_PATH)).

    A link that belongs to somebody else than root and the running user, or lies in a directory that does, may lead only into a directory of
    that user's; what is found there is then judged like any file of that directory.
    """
    left, name, links = _parts(path), ".", 0
    makers: set[int] = set()
    with ExitStack() as opened:
        def enter(part: str, directory: int | None = None) -> int:
            found = os.open(part, _PLACE, dir_fd=directory)
            opened.callback(os.close, found)
            return found

        here = enter("/" if os.path.isabs(path) else ".")
        while left:
            name = left.pop()
            try:
                found = enter(name, here)
            except FileNotFoundError:
                if left or inside:
                    raise
                break
            status = os.fstat(found)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                makers |= {status.st_uid, os.fstat(here).st_uid} - _trusted()
                target, name = os.readlink("", dir_fd=found), "."
                left += _parts(target)
                here = enter("/") if os.path.isabs(target) else here
            elif left or inside:
                here = found
        if makers and makers != {os.fstat(here).st_uid}:
            raise AppwriteError(
                "%s: %s leads over a symbolic link that the user %d made or could make, to a directory that is not theirs; name the %s itself, or put it "
                "in the link's place" % (option, path, min(makers), "directory" if inside else "file"))
        return os.dup(here), name


def _trusted() -> set[int]:
    """Who cannot be robbed of anything by this process: root, and the user who runs it."""
    return {0, os.geteuid()}


def _parts(path: str) -> list[str]:
    """The last first."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def _dress_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _rename(source: str, target: str, flag: int, src_dir_fd: int, dst_dir_fd: int) -> bool:
    """C(renameat2) of Linux 3.15 and glibc 2.28 or newer; false where the system or the file system does not have it."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if not renameat2(src_dir_fd, os.fsencode(source), dst_dir_fd, os.fsencode(target), flag):
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))


def _mount_of(handle: int, name: str) -> str | None:
    """The number of the mount that a file or directory is on; C(None) where the system does not tell."""
    try:
        found = os.open(name, _PLACE, dir_fd=handle)
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
    """Extended attributes, which hold the ACL and the security label; none where the file system has none."""
    try:
        return os.listxattr(opened)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _listed(handle: int, prefix: str) -> list[str]:
    with suppress(OSError):
        opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
        try:
            return [name for name in os.listdir(opened) if name.startswith(prefix)]
        finally:
            os.close(opened)
    return []


def _is_at(handle: int, name: str, opened: int) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=handle, follow_symlinks=False), os.fstat(opened))
    except OSError:
        return False


def _sync_directory(handle: int) -> None:
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(handle: int, name: str) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=handle)


def _empty(scratch: int) -> None:
    for name in (_CANDIDATE, _DRAFT):
        _remove(scratch, name)


def _discard(handle: int, name: str) -> None:
    """A scratch directory with what may be in it. Anything else that somebody gave such a name stays."""
    with suppress(OSError):
        scratch = os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=handle)
        _empty(scratch)
        os.close(scratch)
        os.rmdir(name, dir_fd=handle)
