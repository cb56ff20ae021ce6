# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that writes a file: lock, make, replace, sync, remove. On managed hosts and on the controller.

A directory may be somebody else's, who is hostile to whoever runs this. It is opened once, and everything in it is done by its handle: what is opened
there is no link, and what is made there is new, for its owner alone, and changed by its own handle. Handles may be for going by alone (C(O_PATH)).

An error of the operating system is raised as it is (OSError), since the caller knows what to call the file (C(_errors.words)).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import Iterator, Mapping, Union

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

TEMPORARY = ".selfhost-appwrite-"
"""How the name of everything begins that is gone when a run ends, unless it is killed."""
EXCHANGE, NOREPLACE = 2, 1
"""The flags of C(renameat2), linux/fs.h."""
PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens anything for going by and looking at alone."""
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
"""As the kernel has it."""
_PAUSE = 0.05
"""Seconds between two attempts to get a lock."""

Name = Union[str, bytes]


class Busy(AppwriteError):
    """Another run has had the lock all the time."""


# --- directories ---


def walk(path: str, option: str, inside: bool = False) -> tuple[int, str]:
    """Follows a path to its directory and its name in it, or inside the directory that it names. The handle is for going by alone (C(O_PATH)).

    A link that belongs to somebody else than root and the running user, or lies in a directory that does, may lead only into a directory of
    that user's; what is found there is then judged like any file of that directory.
    Raises AppwriteError if such a link leads elsewhere, and OSError if the path cannot be followed.
    """
    left, name, links = _parts(path), ".", 0
    makers: set[int] = set()
    with ExitStack() as opened:

        def enter(part: str, directory: int | None = None) -> int:
            found = os.open(part, PLACE, dir_fd=directory)
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
                makers |= {status.st_uid, os.fstat(here).st_uid} - trusted()
                target, name = os.readlink("", dir_fd=found), "."
                left += _parts(target)
                here = enter("/") if os.path.isabs(target) else here
            elif left or inside:
                here = found
        if makers and makers != {os.fstat(here).st_uid}:
            raise AppwriteError(
                "%s: %s leads over a symbolic link that the user %d made or could make, to a directory that is not theirs; name the %s itself, or put it "
                "in the link's place" % (option, path, min(makers), "directory" if inside else "file")
            )
        return os.dup(here), name


def trusted() -> set[int]:
    """Who cannot be robbed of anything by this process: root, and the user who runs it."""
    return {0, os.geteuid()}


def _parts(path: str) -> list[str]:
    """The last first."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def open_directory(name: Name, directory: int | None = None) -> int:
    """No link is followed in the place of the directory itself."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


@contextmanager
def entered(path: str) -> Iterator[int]:
    """The directory of this path, for going by alone. Links on the way are followed, so it is for one where nobody hostile has a say."""
    directory = os.open(path or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory
    finally:
        os.close(directory)


@contextmanager
def beside(path: str) -> Iterator[tuple[int, str]]:
    """A file's directory, as C(entered), and its name there. What is in the file's place is not followed."""
    above, name = os.path.split(path)
    with entered(above) as directory:
        yield directory, name


def names(directory: int, prefix: str = "") -> list[str]:
    """What is in a directory and begins so."""
    opened = open_directory(".", directory)
    try:
        return [name for name in os.listdir(opened) if name.startswith(prefix)]
    finally:
        os.close(opened)


def sync(directory: int) -> None:
    """What was made, renamed or removed in a directory outlives a power failure when this returns."""
    opened = open_directory(".", directory)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# --- files ---


def open_plain(name: Name, directory: int | None = None, flags: int = os.O_RDONLY) -> int:
    """Follows no link, waits for no pipe, and takes no terminal. Whether it is a regular file, its handle says."""
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o600, dir_fd=directory)


def is_at(directory: int, name: Name, handle: int) -> bool:
    """Whether an open file or directory is the one that has this name now."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), os.fstat(handle))
    except OSError:
        return False


@contextmanager
def made(directory: int, name: Name, lasting: bool = True) -> Iterator[int]:
    """The handle of a new file, for its owner alone so far. When this ends its content is on disk, unless it need not be C(lasting)."""
    handle = os.open(name, _NEW, 0o600, dir_fd=directory)
    try:
        yield handle
        if lasting:
            os.fsync(handle)
    finally:
        os.close(handle)


def write(handle: int, data: bytes) -> None:
    """All of it, however much the system takes at a time."""
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def append(handle: int, data: bytes) -> None:
    """To an open file, on disk when this returns."""
    write(handle, data)
    os.fsync(handle)


def dress(handle: int, like: os.stat_result) -> None:
    """Gives an open file the owner and group of another. Its mode comes after that, since this may take bits from it."""
    mine = os.fstat(handle)
    if (mine.st_uid, mine.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(handle, like.st_uid, like.st_gid)


def replace(directory: int, files: Mapping[str, bytes], mode: int = 0o600, lasting: bool = True) -> None:
    """Puts each of these files in its name's place in one step, when all of them are on disk. If one cannot be written none is replaced.

    A name may lead into a directory below. lasting: whether all outlives a power failure when this returns.
    """
    drafts = {name: os.path.join(os.path.dirname(name), TEMPORARY + secrets.token_hex(8)) for name in files}
    try:
        for name, data in files.items():
            with made(directory, drafts[name], lasting) as handle:
                write(handle, data)
                if mode != 0o600:
                    os.fchmod(handle, mode)
        for name in files:
            rename(drafts[name], name, directory, directory)
            del drafts[name]
    finally:
        for draft in drafts.values():
            discard(directory, draft)
    if lasting:
        for below in sorted({os.path.dirname(name) for name in files} - {""}):
            inner = open_directory(below, directory)
            try:
                sync(inner)
            finally:
                os.close(inner)
        sync(directory)


def rename(source: Name, target: Name, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Replaces what is there. The caller has it on disk by C(sync)."""
    os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def move(source: str, target: str) -> None:
    """Gives a file another name, where nobody hostile is. This outlives a power failure when it returns."""
    os.rename(source, target)
    with entered(os.path.dirname(target)) as directory:
        sync(directory)


def renameat2(source: Name, target: Name, src_dir_fd: int, dst_dir_fd: int, flag: int) -> bool:
    """The system call of that name, of Linux 3.15 and glibc 2.28 or newer; false if the system or the file system does not have it.

    flag: C(EXCHANGE), or C(NOREPLACE), with which FileExistsError is raised instead of replacing anything.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if not call(src_dir_fd, os.fsencode(source), dst_dir_fd, os.fsencode(target), flag):
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))


def remove(directory: int, name: Name) -> None:
    """A file that may be gone already. The caller has it on disk by C(sync)."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def discard(directory: int, name: Name) -> None:
    """As C(remove), of what nobody misses: it stays if it cannot be removed."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


@contextmanager
def nameless(directory: int) -> Iterator[int]:
    """The handle of a new file without a name, which is gone when this ends. If it is to be seen whether one could be made, data and owner tell more."""
    try:
        handle = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        name = TEMPORARY + secrets.token_hex(8)  # a file system without files that have no name
        handle = os.open(name, _NEW ^ os.O_WRONLY | os.O_RDWR, 0o600, dir_fd=directory)
        os.unlink(name, dir_fd=directory)
    try:
        yield handle
    finally:
        os.close(handle)


# --- the lock ---


@contextmanager
def locked(directory: int, name: str, place: str, timeout: float, make: bool = True) -> Iterator[bool]:
    """Waits for an advisory lock (C(flock)) and holds it, on a file that only its owner may open, and that goes with the lock.

    A holder that dies lets go by itself. A file and not its directory is locked, since an exclusive lock on NFS takes one that is open for writing.
    False is yielded if there is no lock to hold: this user may write nothing in the directory, and so can undo nobody's change; or there is no
    such file, and none is to be made, so that nobody holds it.

    place: the directory's path, with the option that names it before it. timeout: seconds to wait. make: whether the file may be made, and removed.
    Raises Busy when another holder keeps it all the time, AppwriteError if somebody else's file is in its place.
    """
    handle = _acquire(directory, name, place, timeout, make)
    if handle is not None:
        os.set_inheritable(handle, True)  # by a process that is to end its work though this one dies, and by no other
    try:
        yield handle is not None
    finally:
        if handle is not None:
            if make and is_at(directory, name, handle):
                discard(directory, name)
            os.close(handle)


def _acquire(directory: int, name: str, place: str, timeout: float, make: bool) -> int | None:
    deadline, is_theirs = time.monotonic() + timeout, False
    while True:
        try:
            handle = _open_lock(directory, name, place, make)
            if handle is None or _takes(directory, name, handle, make):
                return handle
            is_theirs = False
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from None
            if error.errno not in (errno.EACCES, errno.EEXIST):
                raise
            is_theirs = error.errno == errno.EACCES  # another user's, whose run removes it
        if time.monotonic() > deadline:
            raise Busy(
                "%s: another run has held the lock for %d seconds; wait for it to end and try again%s"
                % (
                    place,
                    timeout,
                    ". If there is none, a killed run of another user left %s there; remove it" % name
                    if is_theirs
                    else "",
                )
            )
        time.sleep(_PAUSE)


def _open_lock(directory: int, name: str, place: str, make: bool) -> int | None:
    try:
        handle = open_plain(name, directory, os.O_RDWR)
    except FileNotFoundError:
        return _make_lock(directory, name) if make else None
    except OSError as error:
        if error.errno == errno.EROFS:
            return None
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _no_lock(name, place) from None
        raise
    status = os.fstat(handle)
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_nlink > 1
        or status.st_uid not in trusted() | {os.fstat(directory).st_uid}
    ):
        os.close(handle)
        raise _no_lock(name, place)
    return handle


def _make_lock(directory: int, name: str) -> int | None:
    try:
        handle = open_plain(name, directory, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS):
            return None
        raise
    if os.geteuid() == 0:
        with suppress(OSError):  # then the owner's own runs wait for this one, without opening its lock
            os.fchown(handle, os.fstat(directory).st_uid, -1)
    return handle


def _takes(directory: int, name: str, handle: int, make: bool) -> bool:
    """Whether the lock is this run's now. One whose holder has just removed it is nobody's."""
    taken = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = is_at(directory, name, handle)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR):
            if make:
                discard(directory, name)  # if locks do not work nobody holds one
            raise
    finally:
        if not taken:
            os.close(handle)
    return taken


def _no_lock(name: str, place: str) -> AppwriteError:
    return AppwriteError(
        "%s: %s is not a lock created by root, the directory's owner, or this user; wait for the run that created it, or remove it"
        % (place, name)
    )
