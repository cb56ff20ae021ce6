# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""Where an installation stores what it seals, and whether a key opens that."""

from __future__ import annotations

import os
from typing import Any, Callable, List, NamedTuple, Optional

from ansible_collections.selfhost.appwrite.plugins.module_utils import _variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._cipher import PLAIN, Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._instance import Instance, kind_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import Examination, Report
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings._model import generate
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores import mariadb, mongodb, postgresql
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores._model import Row, Store
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores.files import Files, Look
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores.mariadb import MariaDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores.mongodb import MongoDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._stores.postgresql import PostgreSQL


class Looked(NamedTuple):
    report: Report
    warnings: List[str]


class _NoFiles(Files):
    """A database without its files: what is stored in rows can be opened all the same."""

    def __init__(self) -> None:
        super().__init__(os.sep)

    def look(self, row: Row, exchange: Any) -> Look:
        return Look(PLAIN)


def look(
    instance: Instance, key: str, sample: Optional[int], container: Optional[str] = None,
    progress: Callable[[str, int, int], object] = lambda phase, done, total: None,
) -> Looked:
    """Opens about C(sample) rows of each table with a key, or all; what it opens counts as C(old). Writes nothing.

    container: the name of one with a copy of the database, to look at instead; there are no files then.
    Raises AppwriteError where there is nothing to look at.
    """
    warnings, files = [], None
    if container is None:
        try:
            files = Files(uploads_of(instance))
        except AppwriteError as error:
            warnings.append("files are left out: %s" % error)
    store = store_of(instance, container)
    try:
        return Looked(Examination(store, files or _NoFiles(), Cipher(key), Cipher(generate(32)), (), progress).rehearse(sample), warnings)
    finally:
        store.close()


def store_of(instance: Instance, container: str | None = None) -> Store:
    """The database of the project, or the one that runs in a container of that name. Raises AppwriteError where there is none to ask."""
    kind: str | None
    if container is None:
        kind, found = instance.database()
    else:
        answer = instance.compose.docker(["inspect", "--type", "container", "--format", "{{.State.Status}} {{.Config.Image}}", container], tolerate=True)
        status, _blank, image = answer.stdout.strip().partition(" ")
        if status != "running":
            raise AppwriteError("container: %s is no running container" % container)
        kind, found = kind_of(image), container
        if kind is None:
            raise AppwriteError("container: the image of %s is none of MariaDB, PostgreSQL or MongoDB" % container)
    known = {"mariadb": (MariaDB, mariadb.client), "postgresql": (PostgreSQL, postgresql.client), "mongodb": (MongoDB, mongodb.client)}
    store, client = known[kind]
    return store(client(found), instance.compose.environment)


def uploads_of(instance: Instance) -> str:
    """The directory of this host that the containers have as C(/storage/uploads)."""
    listed = instance.listed("appwrite")
    device = (_variables.given(listed, "_APP_STORAGE_DEVICE") or _variables.given(listed, "_APP_CONNECTIONS_STORAGE") or "local").partition(":")[0].lower()
    if device != "local":
        raise AppwriteError(
            "files are stored on %s (_APP_STORAGE_DEVICE), which this rotation cannot reach; it knows the local volume alone. Nothing was changed" % device)
    for mount in instance.config["services"].get("appwrite", {}).get("volumes") or []:
        if mount.get("target") == "/storage/uploads" and mount.get("type") == "bind":
            return str(mount["source"])
        if mount.get("target") == "/storage/uploads" and mount.get("source"):
            name = ((instance.config.get("volumes") or {}).get(mount["source"]) or {}).get("name", mount["source"])
            try:
                path = instance.compose.docker(["volume", "inspect", "--format", "{{.Mountpoint}}", name]).stdout.strip()
            except ComposeError as error:
                if error.kind != "failed":
                    raise
                path = ""
            if path and os.path.isdir(path):
                return path
            raise AppwriteError(
                "the volume %s is not to be found on this host (%s); run this where the engine runs, as root" % (name, path or "no such volume"))
    raise AppwriteError("the service appwrite has no volume at /storage/uploads, so its files cannot be found")
