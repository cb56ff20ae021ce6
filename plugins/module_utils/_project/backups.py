# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backups of C(.env) that a run leaves: how many, and which of them stay whatever their age.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

BACKUP_KEEP: dict[str, Any] = {"type": "int", "default": 10}


def backup_keep(parameters: Mapping[str, Any]) -> int:
    """How many backups are kept. Raises AppwriteError for less than 1."""
    if parameters["backup_keep"] < 1:
        raise AppwriteError("backup_keep: must be at least 1, got %d" % parameters["backup_keep"])
    return int(parameters["backup_keep"])


def prune_backups(env_file: EnvFile, document: Document, keep: int, line: str = catalogue.KEY) -> None:
    """A backup that holds another encryption key than the file may be the only copy of it, and stays whatever its age.

    line: the name of the line that has the key.
    """

    def holds_another_key(data: bytes) -> bool:
        try:
            key = parse(decode(data)).values.get(line)
        except AppwriteError:
            return True
        return (
            bool(key)
            and key not in (*catalogue.UNSET, document.values.get(line))
            and not catalogue.is_public_default(catalogue.KEY, key)
        )

    env_file.prune(keep, holds_another_key)
