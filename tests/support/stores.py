# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a data set of the testbed, without a project's C(.env) and containers."""

from __future__ import annotations

import importlib
import os
from typing import Any

ROOMS = "ansible_collections.selfhost.appwrite.plugins.module_utils"
KEYS = ("NotARealEncryptionKey1", "AnotherUnrealEncryptionKey2")
_CLASSES = {"mariadb": "WritableMariaDB", "postgresql": "WritablePostgreSQL", "mongodb": "WritableMongoDB"}


def client(database: str, container: str) -> list[str]:
    """The command of a store's client."""
    kind = getattr(importlib.import_module(f"{ROOMS}._rotation.stores.writes.{database}"), _CLASSES[database])
    command: list[str] = kind.client(container)
    return command


def rotation(database: str, container: str, root: str, journal: str, old: str, new: str) -> Any:
    """A store and the rotation that works on it."""
    kind = getattr(importlib.import_module(f"{ROOMS}._rotation.stores.writes.{database}"), _CLASSES[database])
    cipher = importlib.import_module(f"{ROOMS}._rotation.cipher").Cipher
    files = importlib.import_module(f"{ROOMS}._rotation.stores.writes.successors").Successors
    store = kind(kind.client(container))
    directory = os.open(os.path.dirname(journal), os.O_RDONLY)
    rotation_of = importlib.import_module(f"{ROOMS}._rotation.reseal").Rotation
    return store, rotation_of(store, files(root, directory, os.path.basename(journal)), cipher(old), cipher(new))
