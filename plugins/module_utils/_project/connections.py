# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database all of whose connections are in use: how its client says so, patience until one is free, and what to do if none is.

The bundled PostgreSQL takes 100, and Appwrite 1.9.6 holds about as many. Those that servers reserve are of no help: Appwrite signs in to PostgreSQL as the
superuser as well, and uses those up, too; to MariaDB neither Appwrite nor this collection signs in as root.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
import time
from typing import Callable, TypeVar

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT, Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import DATABASES

PATIENCE = 60.0
"""seconds"""
_FIRST, _LONGEST = 0.1, 5.0
"""seconds between two attempts"""
# MariaDB 10.11 (errors 1040, 1203 and 1226), PostgreSQL 15 to 18 (SQLSTATE 53300, which psql leaves out here). MongoDB says nothing and closes.
_SIGNS = tuple((database.name, database.exhausted, database.remedy) for database in DATABASES)

T = TypeVar("T")


def patiently(connect: Callable[[], T], tell: Tell = SILENT) -> T:
    """What C(connect) returns. It is called again for up to a minute while it fails since all connections of a database are in use.

    Raises AppwriteError with the remedy if that lasts.
    """
    begin, pause = time.monotonic(), _FIRST
    while True:
        try:
            return connect()
        except AppwriteError as error:
            waited = time.monotonic() - begin
            found = [(name, remedy) for name, sign, remedy in _SIGNS if re.search(sign, str(error))]
            if not found:
                raise
            if waited >= PATIENCE:
                raise AppwriteError(
                    "%s: all of its connections are in use, and none was free within %d seconds. Stop a worker of Appwrite until this has ended "
                    "(docker compose stop appwrite-worker-audits, afterwards start), or %s, and run again"
                    % (found[0][0], PATIENCE, found[0][1])
                ) from None
        tell("connecting", int(waited), int(PATIENCE), "a free connection of %s" % found[0][0])
        time.sleep(min(pause, PATIENCE - waited))
        pause = min(2 * pause, _LONGEST)
