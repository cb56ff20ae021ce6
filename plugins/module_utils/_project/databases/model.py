# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be known of one of Appwrite's databases, whatever it is used for. Commands are those of its container, or of one with its client.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping


@dataclass(frozen=True)
class Database:
    """Plain values alone. The password stays in the container's environment: an argument would be seen in the host's process list."""

    service: str
    """as Appwrite's own compose file calls it"""
    name: str
    """in messages"""
    images: tuple[str, ...]
    """names of images, without registry, namespace and tag, by which it is recognised"""
    adapters: tuple[str, ...]
    """values of C(_APP_DB_ADAPTER), as Appwrite 1.4 to 2.0 matches them in C(app/init/registers.php)"""
    client_image: str
    """with its client: the one in Appwrite's own compose files, 1.6 to 2.4"""
    login: Mapping[str, str]
    """Names in the environment of a container with its client, to Appwrite's variables. Without a host, it is the container's own server that is asked."""
    data: tuple[str, ...]
    """directories of its container that may hold its data"""
    exhausted: str
    """matches what its client says if all of its connections are in use"""
    remedy: str
    """what to do then, as a part of a sentence"""
    question: tuple[str, ...]
    """the command that prints C(console accounts: users) or C(console accounts: empty), by whether anybody has signed up to the console"""
    script: str | None
    """standard input of the question"""
    client: tuple[str, ...]
    """the command that starts its client, reading from standard input; the first argument of a store's own may follow"""
    dump: str
    """a script that prints a dump"""
    dumped: bytes
    """what a whole dump ends with"""


def from_files(*names: str) -> str:
    """A part of a shell's script: each variable that is unset is what is in the file that the variable with C(_FILE) names, as in the official images."""
    return "".join(
        'if [ -n "${{{0}_FILE:-}}" ]; then {0}="$(cat "${0}_FILE")"; export {0}; fi\n'.format(name) for name in names
    )


def inside(container: str, command: tuple[str, ...]) -> list[str]:
    """A command that reads standard input, in a container."""
    return ["docker", "exec", "--interactive", container, *command]
