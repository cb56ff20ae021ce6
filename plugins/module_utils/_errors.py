# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told to the operator when something fails, in words that hold no secret.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import errno
import posixpath
from contextlib import contextmanager
from typing import Iterator

_NO_LOCKS = "the file system has no working locks (flock), without which two runs could undo each other; mount it with locks, or move the project"
_REASONS = {
    errno.EACCES: "permission denied; run the task as the file's owner or with become",
    errno.EPERM: "the operation is not permitted; the file may be immutable (lsattr) or the task needs become",
    errno.EROFS: "the file system is read-only; mount it writable",
    errno.ENOSPC: "the disk is full; free some space or some inodes (df, df -i) and run again",
    errno.EDQUOT: "the disk quota is used up; raise it or free some space, and run again",
    errno.EBUSY: "it is a mount point of its own (a bind-mounted file), which cannot be replaced in one step; edit the mounted source",
    errno.EEXIST: "something else has that name; remove it or name another place",
    errno.ENOENT: "it, or a directory on the way to it, does not exist",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.ELOOP: "the symbolic links lead in a circle",
    errno.EIO: "the device reports an input/output error; look at the kernel's log (dmesg)",
    errno.ENOLCK: _NO_LOCKS,
}


class AppwriteError(Exception):
    """A refusal or failure in words for the operator. The message never holds a secret and may be printed as it is."""


def reason(error: OSError) -> str:
    """An error of the operating system as C(what is wrong; what to do), without a path, which may be long and is named by the caller."""
    return _REASONS.get(error.errno or 0, error.strerror or type(error).__name__)


@contextmanager
def words(path: str, done: str, kind: type[Exception] = AppwriteError, denied: str = "") -> Iterator[None]:
    """Turns an OSError inside into one of this kind, C(PATH cannot be DONE: what is wrong; what to do).

    path: with the option that names it before it, if one does.
    done: a participle, such as V(read).
    denied: what to do if this user may not, unless it is the user of a task on a managed host.
    Raises C(kind).
    """
    try:
        yield
    except OSError as error:
        why = "permission denied; %s" % denied if denied and error.errno == errno.EACCES else reason(error)
        raise kind("%s cannot be %s: %s" % (path, done, why)) from None


def unforeseen(error: Exception) -> str:
    """What may be said of any other exception: its text may hold a secret, so only its kind and place are told."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = (
        "%s:%d" % (posixpath.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace else "unknown place"
    )
    return "internal error (%s at %s); please report it" % (type(error).__name__, place)
