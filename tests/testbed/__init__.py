# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appwrite-shaped compose projects on a real Docker Engine, for tests and the demo.

    project = Project.create(directory, release="1.9.6", database="mariadb")
    project.up()
    project.sign_up("ada@example.com")
    project.down()

The same from a shell, in tests/: python -m testbed up --release 1.9.6 --database mariadb --directory DIR

engine.sh      makes sure that an engine and `docker compose` are there
images.py      the images: stand-ins for Appwrite's own programs, real database servers from Debian's packages
tools.py       what is built with Go: the newest docker compose, FerretDB
generate.py    compose file and .env of a release, from the collection's catalogue (pure)
project.py     one project: create, up, down, sign up, break a service, slow a worker
traffic.py     clients of its API that know what must be there
programs/      the scripts inside the images
"""

from __future__ import annotations

from .images import Unavailable, available, clean
from .project import DATABASES, Project
from .tools import newest_compose

__all__ = ["DATABASES", "Project", "Unavailable", "available", "clean", "newest_compose"]
