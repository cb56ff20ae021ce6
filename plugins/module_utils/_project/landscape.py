# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the labels of the engine's containers say: how the project of a directory was started, and whose Appwrite is here.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

LABELS = (
    "com.docker.compose.project",
    "com.docker.compose.project.working_dir",
    "com.docker.compose.project.config_files",
    "com.docker.compose.project.environment_file",
    "com.docker.stack.namespace",
)
FORMAT = (
    "\t".join('{{.Label "%s"}}' % label for label in LABELS)
    + '\t{{.Image}}\t{{.CreatedAt}}\t{{.Label "com.docker.compose.service"}}\t{{.Label "com.docker.compose.oneoff"}}\t{{.ID}}'
)
"""For C(docker ps --no-trunc --format)."""
_NEW = 20
"""Seconds for which a volume may have no container yet, since compose makes it first."""


class Row(NamedTuple):
    """One container. An empty text stands for a label that it has not."""

    project: str
    directory: str
    files: tuple[str, ...]
    env_files: tuple[str, ...]
    stack: str
    image: str
    created: str
    """as the engine prints it, which sorts by time"""
    service: str = ""
    oneoff: bool = False
    """whether it is one of C(docker compose run)"""
    id: str = ""

    @property
    def is_appwrite(self) -> bool:
        return "appwrite" in self.image.rpartition("/")[2] or "/appwrite/" in "/" + self.image


class Volume(NamedTuple):
    name: str
    project: str
    created: float
    """in seconds since 1970"""


class Started(NamedTuple):
    """How to call compose so that it finds what is there: what was asked for, completed by the labels."""

    files: tuple[str, ...]
    env_file: str | None
    project_name: str | None


def rows(text: str) -> list[Row]:
    found = []
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) == len(LABELS) + 5:
            project, directory, files, env_files, stack, image, created, service, oneoff, number = parts
            row = Row(project, directory, _list(files), _list(env_files), stack, image, created, service)
            found.append(row._replace(oneoff=oneoff == "True", id=number))
    return found


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def started(
    found: Sequence[Row],
    directory: str,
    asked: Started,
    default_files: Sequence[str],
    default_env_file: str,
    own: Sequence[str],
    real: Callable[[str], str],
    exists: Callable[[str], bool],
) -> Started:
    """What was asked for, completed by what the containers of this directory were started with.

    directory, and the paths of asked: absolute.
    default_files: the paths where compose looks by itself.
    own: what .env settles by itself, of C(COMPOSE_FILE) and C(COMPOSE_PROJECT_NAME).
    Raises AppwriteError if the labels contradict what was asked for, or each other.
    """
    here = [row for row in found if row.project and real(row.directory) == real(directory)]
    here = [row for row in here if any(row.is_appwrite and row.project == other.project for other in here)] or here
    names = sorted({row.project for row in here})
    name = asked.project_name
    usual = re.sub("[^a-z0-9_-]", "", directory.rpartition("/")[2].lower()).lstrip("_-")
    if name is None and usual in names and "COMPOSE_PROJECT_NAME" not in own:
        names = [usual]
    if name is None and len(names) > 1:
        raise AppwriteError(
            "project_name: several projects have containers from %s: %s. Set `project_name` to the one that is meant"
            % (directory, ", ".join(names))
        )
    if name is not None and names and name not in names:
        raise AppwriteError(
            "project_name: the containers from %s are those of the project %s, and a second Appwrite would be started beside them as %s. "
            "Set `project_name` to %s, or remove those containers first (docker compose -p %s down)"
            % (directory, ", ".join(names), name, names[0], names[0])
        )
    if name is None and names and "COMPOSE_PROJECT_NAME" not in own:
        name = names[0]
    mine = sorted((row for row in here if row.project == (name or names[0])), key=lambda row: row.created)
    if not mine:
        return asked._replace(project_name=name)
    return Started(
        _files(mine, asked.files, {real(path) for path in default_files}, "COMPOSE_FILE" in own, real, exists),
        _env_file(mine[-1], asked.env_file, default_env_file, real, exists),
        name,
    )


def _files(
    mine: Sequence[Row],
    asked: tuple[str, ...],
    default: set[str],
    settled: bool,
    real: Callable[[str], str],
    exists: Callable[[str], bool],
) -> tuple[str, ...]:
    label = mine[-1].files
    if asked:
        left_out = [path for path in label if exists(path) and real(path) not in map(real, asked)]
        if left_out:
            raise AppwriteError(
                "files: the containers were started with %s too, which is left out. Add it to `files`, or start them once by hand without it"
                % (", ".join(left_out))
            )
        return asked
    if settled or all(real(path) in default for path in label):
        return ()
    gone = [path for path in label if not exists(path)]
    if gone:
        raise AppwriteError(
            "files: the containers were started with %s, which does not exist any more. Set `files` to those that take its place"
            % (", ".join(gone))
        )
    return label


def _env_file(
    row: Row, asked: str | None, default: str, real: Callable[[str], str], exists: Callable[[str], bool]
) -> str | None:
    label = row.env_files
    if len(label) > 1:
        raise AppwriteError(
            "env_file: the containers were started with several files (%s), and this collection keeps one. Put their lines into %s in that "
            "order, so that the last line of a name stays, start the project once by hand with that file alone, and run again"
            % (", ".join(label), default)
        )
    if not label or not exists(label[0]) or real(label[0]) == real(asked or default):
        return asked
    if asked is not None:
        raise AppwriteError(
            "env_file: the containers were started with %s, not with %s. Leave `env_file` out, or start them once by hand with the other"
            % (label[0], asked)
        )
    return label[0]


def followed_profiles(
    services: Mapping[str, Mapping[str, Any]], present: Collection[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """The profiles whose services all have containers, and of what has a container and is of other profiles alone, these.

    services: all that the compose files have, whatever their profiles.
    present: those that are enabled, or have containers.
    """
    profiles = {name: list(service.get("profiles") or []) for name, service in services.items()}
    whole = sorted(
        {profile for name in present for profile in profiles.get(name, [])}
        - {profile for name, mine in profiles.items() if name not in present for profile in mine}
    )
    left = {name: profiles[name] for name in sorted(present) if profiles.get(name) and not {*whole} & {*profiles[name]}}
    return whole, left


def refuse_volumes(found: Sequence[Volume], since: float, now: float, project: str, directory: str) -> None:
    """Refuses a project without a container or a volume if a database's volume of a project that has no container either may be its own,
    since the directory was renamed.

    found: the volumes that other projects without a container have by the name of this project's database.
    since: when the first of the files came into the directory, in seconds since 1970. What was made before belongs to something else.
    Raises AppwriteError.
    """
    for volume in found:
        if since <= volume.created < now - _NEW:
            raise AppwriteError(
                "project_name: the volume %s of the project %s, which has no container any more, may be the data of this installation, from before "
                "its directory was renamed to %s. If it is, set `project_name` to %s; if this is another installation, set it to a name "
                "of its own, such as %s" % (volume.name, volume.project, directory, volume.project, project)
            )


def check_alone(
    found: Sequence[Row],
    project: str,
    directory: str,
    named: bool,
    real: Callable[[str], str],
    exists: Callable[[str], bool],
) -> None:
    """Refuses a project without a container of its own if the Appwrite that it stands for seems to run by another name.

    project: the name that compose gives it.
    named: whether the user has named it so.
    Raises AppwriteError.
    """
    mine = [row for row in found if row.project == project]
    others = sorted({row.directory for row in mine if real(row.directory) != real(directory) and exists(row.directory)})
    if others:
        raise AppwriteError(
            "project_name: the project %s has containers that were started from %s, and those would be replaced. "
            "Set `project_src` to that directory, or `project_name` to a name of its own" % (project, ", ".join(others))
        )
    if mine or named:
        return
    here = sorted(
        {row.project for row in found if row.project and real(row.directory) == real(directory) and row.is_appwrite}
    )
    if here:
        raise AppwriteError(
            "project_name: the containers from %s are those of the project %s, and a second Appwrite would be started beside them as %s. "
            "Set `project_name` to %s" % (directory, ", ".join(here), project, here[0])
        )
    stacks = sorted({row.stack for row in found if row.stack and row.is_appwrite})
    if stacks:
        raise AppwriteError(
            "project_src: the Appwrite on this engine is the stack %s of a swarm (docker stack deploy), and a second one would be started beside it. "
            "Change a stack by hand; if this is another installation, say so by `project_name`" % (", ".join(stacks))
        )
    for row in found:
        if row.project and row.is_appwrite and row.directory and not exists(row.directory):
            raise AppwriteError(
                "project_name: %s, the directory of the project %s, is gone, and an Appwrite was started from there. If it was moved to %s, "
                "set `project_name` to %s; if this is another installation, set it to a name of its own"
                % (row.directory, row.project, directory, row.project)
            )


def scaled(counts: dict[str, int], replicas: dict[str, int]) -> dict[str, int]:
    """Service to the number of its containers, if that is more than the compose file says: somebody has scaled it by hand."""
    return {name: count for name, count in sorted(counts.items()) if name in replicas and count > replicas[name] > 0}


def orphans(services: Sequence[str], declared: Sequence[str]) -> list[str]:
    """The services that have containers, and are in the compose files no more."""
    return sorted({*services} - {*declared, ""})


def taken_away(
    listed: dict[str, str | None], running: dict[str, str], named: Sequence[str], removed: Sequence[str]
) -> list[str]:
    """The variables that a recreate would take from a container, whose value came from a shell or a secrets manager.

    listed: what compose gives the service now; C(None), or nothing, if it finds no value.
    named: what C(.env) sets, an empty value included.
    removed: what an earlier C(.env) has set.
    """
    return sorted(
        name
        for name, value in listed.items()
        if not value and running.get(name) and name not in named and name not in removed
    )
