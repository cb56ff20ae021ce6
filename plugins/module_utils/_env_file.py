# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The one file whose loss destroys an Appwrite: locked, read, replaced whole or not at all, backed up.

The lock is an advisory C(flock) on the directory that holds the file, so that nothing is left behind, a reader needs no
write permission and a holder that dies lets go by itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from typing import Iterator

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

LOCK_TIMEOUT = 300.0
_TEMPORARY = ".selfhost-appwrite-"
_ACL = "system.posix_acl_access"

_REASONS = {
    errno.EACCES: "permission denied: run the task as the file's owner or with become",
    errno.EPERM: "the operation is not permitted: the file may be immutable (lsattr) or the task needs become",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EBUSY: "it is a mount point of its own (a bind-mounted file), which cannot be replaced in one step: edit the mounted source",
    errno.ENOENT: "the directory is gone",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.ELOOP: "the symbolic links lead in a circle",
    errno.EIO: "the device reports an input/output error",
}


def reason(error: OSError) -> str:
    """An operating system error in words and without a path, which may be long and is named by the caller."""
    return _REASONS.get(error.errno or 0, os.strerror(error.errno) if error.errno else type(error).__name__)


class EnvFile:
    """One C(.env). C(path) is what the user named; a symbolic link is followed and stays a link."""

    def __init__(self, path: str) -> None:
        self.path = path
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
            raise AppwriteError("env_file: cannot open the directory %s: %s" % (self.directory, reason(error))) from None
        try:
            self._acquire(handle)
            yield
        finally:
            os.close(handle)

    def _acquire(self, handle: int) -> None:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR):
                    raise AppwriteError("env_file: cannot lock the directory %s: %s" % (self.directory, reason(error))) from None
            if time.monotonic() > deadline:
                raise AppwriteError(
                    "env_file: another run has held the lock on %s for %d seconds; wait for it to end and try again"
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
            raise AppwriteError("env_file: cannot read %s: %s" % (self.path, reason(error))) from None
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise AppwriteError("env_file: %s is not a regular file; name the .env file itself" % self.path)
        with os.fdopen(handle, "rb") as stream:
            try:
                self.data = stream.read()
            except OSError as error:
                raise AppwriteError("env_file: cannot read %s: %s" % (self.path, reason(error))) from None
        self.status = status

    def replace(self, data: bytes, backup: bool, mode: int | None = None) -> str | None:
        """Replaces the file by C(data) in one step and returns the path of the backup, if one was made.

        Owner and security label of an existing file are kept, its mode and ACL unless C(mode) is given; a new file is 0600. Data and directory are on
        disk when this returns. Call it under C(locked), after C(read).
        """
        self.check_replaceable()
        self._sweep()
        made: list[str] = []
        try:
            handle, candidate = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.directory)
            made.append(candidate)
            _write(handle, data)
            backup_file = self._back_up(made) if backup and self.exists and data != self.data else None
            self._dress(candidate, mode)
            self._must_be_unchanged()
            os.rename(candidate, self.real)
            made.clear()
        except OSError as error:
            raise AppwriteError("env_file: cannot replace %s: %s; the file is as it was" % (self.path, reason(error))) from None
        finally:
            for path in made:
                _remove(path)
        try:
            _sync_directory(self.directory)
        except OSError as error:
            raise AppwriteError(
                "env_file: %s was replaced, but it is not certain that this would outlive a power failure: %s" % (self.path, reason(error))
            ) from None
        return backup_file

    def check_replaceable(self) -> None:
        """Raises AppwriteError where a replacement would do more than change the file."""
        if self.status is not None and self.status.st_nlink > 1:
            raise AppwriteError(
                "env_file: %s has %d hard links; replacing it would part them. Remove the other names or use a symbolic link"
                % (self.path, self.status.st_nlink))

    def _sweep(self) -> None:
        """Candidates left by a killed run. Nobody else uses them: the lock is held."""
        try:
            names = os.listdir(self.directory)
        except OSError:
            return
        for name in names:
            if name.startswith(_TEMPORARY):
                _remove(os.path.join(self.directory, name))

    def _back_up(self, made: list[str]) -> str:
        stem = "%s.%s" % (self.real, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        number = 0
        while True:
            path = "%s%s.bak" % (stem, "-%d" % number if number else "")
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                number += 1
        made.append(path)
        _write(handle, self.data)
        return path

    def _dress(self, candidate: str, mode: int | None) -> None:
        if self.status is not None:
            mine = os.stat(candidate)
            if (mine.st_uid, mine.st_gid) != (self.status.st_uid, self.status.st_gid):
                os.chown(candidate, self.status.st_uid, self.status.st_gid)
            for name in _attributes(self.real):
                if mode is None or name != _ACL:
                    os.setxattr(candidate, name, os.getxattr(self.real, name))
        wanted = self.mode if mode is None else mode
        if wanted is not None:
            os.chmod(candidate, wanted)

    def _must_be_unchanged(self) -> None:
        seen = EnvFile(self.real)
        seen.read()
        if seen.data != self.data or seen.exists != self.exists:
            raise AppwriteError(
                "env_file: somebody else changed %s while this run was working; nothing was written. Run it again" % self.path)


def _attributes(path: str) -> list[str]:
    """Extended attributes, which hold the ACL and the security label; none where the file system has none."""
    try:
        return os.listxattr(path)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _write(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
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
