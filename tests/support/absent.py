# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prefixes of commands, which run on this machine as it were without docker, or without compose; and the same for a fork."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

_NEW_MOUNTS, _BIND, _PRIVATE = 0x00020000, 0x1000, 0x44000
"""CLONE_NEWNS, MS_BIND, MS_REC | MS_PRIVATE"""


def _without(*paths: str) -> tuple[str, ...]:
    """Runs a command on this machine as it were without these files and directories."""
    script = (
        'for each; do shift; [ "$each" != -- ] || break; [ ! -d "$each" ] || mount -t tmpfs none "$each"; '
        '[ ! -f "$each" ] || mount --bind /dev/null "$each"; done'
    )
    own = () if os.geteuid() == 0 else ("--map-root-user",)
    return ("unshare", *own, "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh", *paths, "--")


def hide(paths: Sequence[str]) -> None:
    """In this process, as root."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(done: int) -> None:
        if done:
            raise OSError(ctypes.get_errno(), "cannot be hidden")

    call(libc.unshare(_NEW_MOUNTS))
    call(libc.mount(b"none", b"/", None, ctypes.c_ulong(_PRIVATE), None))
    for path in map(os.fsencode, paths):
        if os.path.isdir(path):
            call(libc.mount(b"none", path, b"tmpfs", ctypes.c_ulong(0), None))
        elif os.path.isfile(path):
            call(libc.mount(b"/dev/null", path, None, ctypes.c_ulong(_BIND), None))


_DOCKER = tuple(f"{place}/docker" for place in (*os.get_exec_path(), "/usr/local/bin", "/usr/bin", "/snap/bin"))
_ENGINE = ("/run", "/var/lib/docker", *_DOCKER)
_PLUGIN = tuple(f"/usr/{place}/docker/cli-plugins" for place in ("libexec", "lib", "local/lib", "local/libexec"))
NO_CLIENT, NO_DOCKER, NO_PLUGIN = (_without(*paths) for paths in (_DOCKER, _ENGINE, _PLUGIN))
HIDDEN = {(): (), NO_CLIENT: _DOCKER, NO_DOCKER: _ENGINE, NO_PLUGIN: _PLUGIN}
"""by prefix"""
