# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The one file whose loss destroys an Appwrite: locked, read, replaced whole or not at all, backed up.

The lock is an advisory C(flock) on the directory that holds the file, so that nothing is left behind, a reader needs no
write permission and a holder that dies lets go by itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from typing import Callable, Iterator

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

LOCK_TIMEOUT = 300.0
_TEMPORARY = ".selfhost-appwrite-"
_BACKUP = re.compile(r"\.(\d{8}T\d{6}Z)(?:-(\d+))?\.bak")
_ACL = "system.posix_acl_access"
_EXCHANGE, _NOREPLACE = 2, 1
_HERE = -100
"""The flags of C(renameat2) and its C(AT_FDCWD), linux/fs.h and linux/fcntl.h."""

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

    @property
    def exists(self) -> bool:
        return self.status is not None

    @property
    def mode(self) -> int | None:
        return stat.S_IMODE(self.status.st_mode) if self.status else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory's lock. Raises AppwriteError when another holder keeps it for LOCK_TIMEOUT seconds."""
        try:
            handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._error("cannot open the directory %s: %s" % (self.directory, reason(error))) from None
        try:
            self._acquire(handle)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def opened(self, for_writing: bool) -> Iterator[None]:
        """Locked and read. What a killed run left beside the file is removed where it is opened for writing."""
        with self.locked():
            if for_writing:
                self.sweep()
            self.read()
            yield

    def _acquire(self, handle: int) -> None:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise self._error(
                        "the file system of %s has no working locks (flock), without which two runs could undo each other; "
                        "mount it with locks, or move the project" % self.directory) from None
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR):
                    raise self._error("cannot lock the directory %s: %s" % (self.directory, reason(error))) from None
            if time.monotonic() > deadline:
                raise self._error(
                    "another run has held the lock on %s for %d seconds; wait for it to end and try again"
                    % (self.directory, LOCK_TIMEOUT))
            time.sleep(0.05)

    def read(self) -> None:
        """Reads the file whole. A missing file gives empty C(data) and C(exists) false."""
        self.data, self.status = b"", None
        try:
            handle = os.open(self.real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("cannot read %s: %s" % (self.path, reason(error))) from None
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise self._error("%s is not a regular file; name the file itself" % self.path)
        with os.fdopen(handle, "rb") as stream:
            try:
                self.data = stream.read()
            except OSError as error:
                raise self._error("cannot read %s: %s" % (self.path, reason(error))) from None
        self.status = status

    def replace(self, data: bytes, backup: bool, mode: int | None = None) -> str | None:
        """Replaces the file by C(data) in one step and returns the path of the backup, if one was made.

        Owner and security label of an existing file are kept, its mode and ACL unless C(mode) is given; a new file is 0600.
        Data and directory are on disk when this returns. Call it under C(locked), after C(read).
        """
        self.check_replaceable()
        scratch = backup_file = None
        switched = False
        try:
            scratch = tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.directory)
            if backup and self.exists and data != self.data:
                backup_file = self._back_up(os.path.join(scratch, "backup"))
            candidate = os.path.join(scratch, "candidate")
            _write(candidate, data, lambda: self._dress(candidate, mode))
            self._switch(candidate)
            switched = True
            _sync_directory(self.directory)
        except OSError as error:
            if error.errno == errno.ENOENT and not switched and os.path.isdir(self.directory):
                raise self._changed_meanwhile() from None
            raise self._error((
                "%s was replaced, but it is not certain that this would outlive a power failure: %s" if switched
                else "cannot replace %s: %s; the file is as it was") % (self.path, reason(error))) from None
        finally:
            if backup_file is not None and not switched:
                _remove(backup_file)
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
        return backup_file

    def check_replaceable(self) -> None:
        """Raises AppwriteError where a replacement would do more than change the file."""
        if self.status is not None and self.status.st_nlink > 1:
            raise self._error(
                "%s has %d hard links; replacing it would part them. Remove the other names or use a symbolic link"
                % (self.path, self.status.st_nlink))
        if self.status is not None and _mount_of(self.real) != _mount_of(self.directory):
            raise self._error("cannot replace %s: %s" % (self.path, _REASONS[errno.EBUSY]))

    def sweep(self) -> None:
        """Removes what a killed run left beside the file. Call it under C(locked): then nobody uses it."""
        for name in self._beside(_TEMPORARY):
            shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)

    def prune(self, keep: int, needed: Callable[[bytes], bool]) -> None:
        """Removes the oldest backups beyond C(keep), except those of whose content C(needed) is true or that cannot be read."""
        name = os.path.basename(self.real)
        found = [(match.group(1), int(match.group(2) or 0), entry) for entry in self._beside(name) for match in [_BACKUP.fullmatch(entry[len(name):])] if match]
        for _time, _number, entry in sorted(found)[:-keep]:
            backup = EnvFile(os.path.join(self.directory, entry))
            try:
                backup.read()
            except AppwriteError:
                continue
            if not needed(backup.data):
                _remove(backup.path)

    def _beside(self, prefix: str) -> list[str]:
        try:
            return [name for name in os.listdir(self.directory) if name.startswith(prefix)]
        except OSError:
            return []

    def _back_up(self, draft: str) -> str:
        """The backup gets its name when it is whole, so that a killed run leaves no half of one."""
        _write(draft, self.data)
        stem = "%s.%s" % (self.real, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        path, number = stem + ".bak", 0
        while os.path.lexists(path):
            number += 1
            path = "%s-%d.bak" % (stem, number)
        os.rename(draft, path)
        try:
            _sync_directory(self.directory)
        except OSError:
            _remove(path)
            raise
        return path

    def _dress(self, candidate: str, mode: int | None) -> None:
        attributes: list[str] = []
        if self.status is not None:
            mine = os.stat(candidate)
            if (mine.st_uid, mine.st_gid) != (self.status.st_uid, self.status.st_gid):
                os.chown(candidate, self.status.st_uid, self.status.st_gid)
            attributes = [name for name in _attributes(self.real) if mode is None or name != _ACL]
        for name in attributes:
            os.setxattr(candidate, name, os.getxattr(self.real, name))
        if _ACL not in attributes and _ACL in _attributes(candidate):
            os.removexattr(candidate, _ACL)  # the directory's default ACL, which the chmod that follows would put into force
        wanted = self.mode if mode is None else mode
        if wanted is not None:
            os.chmod(candidate, wanted)

    def _switch(self, candidate: str) -> None:
        """Puts the candidate in the file's place. What was there is looked at afterwards, when nobody can change it any more."""
        try:
            switched = _rename(candidate, self.real, _EXCHANGE if self.exists else _NOREPLACE)
        except (FileExistsError, FileNotFoundError):
            raise self._changed_meanwhile() from None
        if switched and self.exists and not self._is_unchanged(candidate):
            _rename(candidate, self.real, _EXCHANGE)
            raise self._changed_meanwhile()
        if not switched:
            if not self._is_unchanged(self.real):
                raise self._changed_meanwhile()
            os.rename(candidate, self.real)

    def _is_unchanged(self, path: str) -> bool:
        if os.path.islink(path):
            return False
        seen = EnvFile(path)
        try:
            seen.read()
        except AppwriteError:  # whatever stands there now is not what was read, and goes back to its place
            return False
        if seen.status is None or self.status is None:
            return seen.status is self.status
        return seen.data == self.data and _dress_of(seen.status) == _dress_of(self.status)

    def _changed_meanwhile(self) -> AppwriteError:
        return self._error(
            "somebody else changed %s while this run was working; nothing was written. Run it again" % self.path)

    def _error(self, words: str) -> AppwriteError:
        return AppwriteError("%s: %s" % (self._option, words))


def _dress_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _rename(source: str, target: str, flag: int) -> bool:
    """C(renameat2) of Linux 3.15 and glibc 2.28 or newer; false where the system or the file system does not have it."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if not renameat2(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flag):
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))


def _mount_of(path: str) -> str | None:
    """The number of the mount that a file or directory is on; C(None) where the system does not tell."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open("/proc/self/fdinfo/%d" % handle, encoding="ascii") as stream:
            return next((line for line in stream if line.startswith("mnt_id:")), None)
    except OSError:
        return None
    finally:
        os.close(handle)


def _attributes(path: str) -> list[str]:
    """Extended attributes, which hold the ACL and the security label; none where the file system has none."""
    try:
        return os.listxattr(path)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _write(path: str, data: bytes, finish: Callable[[], None] = lambda: None) -> None:
    """A new file for its owner alone, on disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        finish()
        os.fsync(stream.fileno())


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
