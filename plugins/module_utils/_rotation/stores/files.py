# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of Appwrite's buckets on the managed host, as they are read. Nothing here can write.

A file is never changed: it gets a successor beside it (C(successors)). Which of the two is in use is for the file's row to say. Rows are
somebody else's word: their paths are not followed out of the root, and nothing is opened but regular files.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from contextlib import contextmanager
from typing import Iterator

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, reason, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Row
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import (
    LARGEST,
    MISSING,
    TOO_LARGE,
    SealedFiles,
    Unusable,
    text_of,
    words_of,
)

_UPLOADS = "/storage/uploads/"
"""where the containers have it"""
_NO_FILE = {
    errno.ENOTDIR: "its path leads over a symbolic link or a file",
    errno.ELOOP: "its path leads over a symbolic link or a file",
    errno.ENAMETOOLONG: "its path is too long",
    errno.EINVAL: "its path is not valid on this host",
    errno.ENOENT: MISSING,
}
"""What is wrong with the path, and not with the disk."""


class Files(SealedFiles):
    """C(model.StoredFiles). root: the directory that the containers have as /storage/uploads."""

    def __init__(self, root: str) -> None:
        self._root = _open_root(root)
        weakref.finalize(self, os.close, self._root)
        self._tried: set[str] = set()

    def doubt(self, row: Row) -> str:
        path = text_of(row, "path")
        above = path.rpartition("/")[0]
        if above in self._tried:
            return ""
        self._tried.add(above)
        try:
            with self._place(path) as (directory, name):
                self._try(directory, name)
        except FileNotFoundError:
            return ""  # what has become of the file is said of the file
        except Unusable:
            return ""
        except OSError as error:
            return "%s: %s" % (above, reason(error))
        return ""

    def _try(self, directory: int, name: bytes) -> None:
        """Raises OSError if a file could not be made, as far as that can be told without making one."""
        owner = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
        if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, "")
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory) or os.geteuid() not in (0, owner):
            raise OSError(errno.EACCES, "")

    @contextmanager
    def _place(self, path: str) -> Iterator[tuple[int, bytes]]:
        """The open directory of a file and its name there. No symbolic link is followed below the root."""
        parts = parts_of(path)
        directory = os.dup(self._root)
        try:
            for part in parts[:-1]:
                inner = _files.open_directory(part, directory)
                os.close(directory)
                directory = inner
            yield directory, parts[-1]
        except OSError as error:
            if error.errno in _NO_FILE and error.errno != errno.ENOENT:
                raise Unusable(_NO_FILE[error.errno]) from None
            raise
        finally:
            os.close(directory)

    def _read(self, path: str) -> tuple[bytes, os.stat_result]:
        """A device is not even opened, since that alone may do something."""
        with words_of(path, "read"):
            try:
                with self._place(path) as (directory, name):
                    _require_file(os.stat(name, dir_fd=directory, follow_symlinks=False))
                    with open(_files.open_plain(name, directory), "rb") as stream:
                        status = os.fstat(stream.fileno())
                        _require_file(status)
                        return stream.read(status.st_size + 1), status
            except FileNotFoundError:
                raise Unusable(_NO_FILE[errno.ENOENT]) from None


def parts_of(path: str) -> list[bytes]:
    """The names on the way from the root to a file. Raises Unusable if they do not lead into it."""
    try:
        parts = (
            [part for part in path[len(_UPLOADS) :].encode("utf-8", "surrogateescape").split(b"/") if part]
            if path.startswith(_UPLOADS)
            else []
        )
    except UnicodeEncodeError:
        parts = []
    if not parts or not {b".", b".."}.isdisjoint(parts) or "\0" in path:
        raise Unusable("its path does not lead to where files are")
    return parts


def _open_root(root: str) -> int:
    """Once, since who owns a directory on the way may put a link in its place at any time."""
    with words("the uploads: %s" % root, "opened"):
        try:
            way = _files.walk(root, "the uploads", inside=True)[0]
            try:
                return _files.open_directory(".", way)
            finally:
                os.close(way)
        except (FileNotFoundError, NotADirectoryError):
            raise AppwriteError(
                "the uploads: %s is not a directory; it must be what the containers have as %s"
                % (root, _UPLOADS.rstrip("/"))
            ) from None


def _require_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unusable(_NO_FILE[errno.ELOOP] if stat.S_ISLNK(status.st_mode) else "it is not a regular file")
    if status.st_size > LARGEST:
        raise Unusable(TOO_LARGE)
