# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every database that Appwrite can work on, and which of them an image holds.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import images as _images
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.mariadb import MARIADB
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.mongodb import MONGODB
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.postgresql import POSTGRESQL

DATABASES = (MARIADB, POSTGRESQL, MONGODB)


def kind_of(image: str) -> str | None:
    """The name of the database in an image, as its service is called; C(None) if it is none of Appwrite's."""
    return next((database.service for database in DATABASES if _images.image(image).name in database.images), None)
