# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prefixes of commands, which run on this machine as it were without docker, or without compose."""

from __future__ import annotations

import os


def _without(*paths: str) -> tuple[str, ...]:
    """Runs a command on this machine as it were without these files and directories."""
    hide = (
        'for each; do shift; [ "$each" != -- ] || break; [ ! -d "$each" ] || mount -t tmpfs none "$each"; '
        '[ ! -f "$each" ] || mount --bind /dev/null "$each"; done'
    )
    own = () if os.geteuid() == 0 else ("--map-root-user",)
    return ("unshare", *own, "--mount", "sh", "-ec", f'{hide}; exec "$@"', "sh", *paths, "--")


_DOCKER = tuple(f"{place}/docker" for place in (*os.get_exec_path(), "/usr/local/bin", "/usr/bin", "/snap/bin"))
NO_CLIENT = _without(*_DOCKER)
NO_DOCKER = _without("/run", "/var/lib/docker", *_DOCKER)
NO_PLUGIN = _without(
    *(f"/usr/{place}/docker/cli-plugins" for place in ("libexec", "lib", "local/lib", "local/libexec"))
)
