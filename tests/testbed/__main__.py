# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the testbed. See `python -m testbed --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import images, tools
from ._base import Failed
from .project import DATABASES, Project, leftovers


def _up(arguments: argparse.Namespace) -> None:
    project = Project.create(
        arguments.directory,
        arguments.release,
        arguments.database,
        compose_file=arguments.compose_file,
        name=arguments.name,
    )
    project.up()
    project.wait()
    print(project.directory)


def _down(arguments: argparse.Namespace) -> None:
    Project(arguments.directory.resolve()).down()


def _clean(_arguments: argparse.Namespace) -> None:
    for project in leftovers():
        project.down()
        print(f"removed the project {project.name}")
    for image in images.clean():
        print(f"removed the image {image}")


def _images(arguments: argparse.Namespace) -> None:
    for release in arguments.release:
        print(images.stand_in(release))
    for database in DATABASES:
        reason = images.available(database)
        print(reason or images.DATABASES[database]())


def _compose(_arguments: argparse.Namespace) -> None:
    print(tools.newest_compose() or "There is no Go here to build docker compose with.")


def main() -> int:
    """Returns the exit status: 0, or 1 with one line of explanation on standard error."""
    parser = argparse.ArgumentParser(prog="testbed", description=__doc__)
    commands = parser.add_subparsers(required=True)

    up = commands.add_parser(
        "up", help="create a project in a new directory below DIRECTORY, start it, print its directory"
    )
    up.add_argument("--release", default="1.9.6")
    up.add_argument("--database", choices=DATABASES, default="mariadb")
    up.add_argument("--directory", type=Path, required=True)
    up.add_argument("--compose-file", type=Path, help="one of Appwrite's own compose files, instead of a generated one")
    up.add_argument("--name", default="", help="the end of the project's name, instead of a random one")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="remove a project's containers, volumes and networks")
    down.add_argument("--directory", type=Path, required=True, help="the project's own directory, as up printed it")
    down.set_defaults(run=_down)

    clean = commands.add_parser(
        "clean", help="take down every project of this checkout and remove the testbed's images"
    )
    clean.set_defaults(run=_clean)

    made = commands.add_parser("images", help="build the images that can be built here")
    made.add_argument("release", nargs="*", default=["1.6.2", "1.8.1", "1.9.6"])
    made.set_defaults(run=_images)

    compose = commands.add_parser("compose", help="build the newest docker compose, print what to set DOCKER_CONFIG to")
    compose.set_defaults(run=_compose)

    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (Failed, images.Unavailable, FileExistsError, ValueError) as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
