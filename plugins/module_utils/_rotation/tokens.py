# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tail of the encryption key: what AES does not use, and every signature does.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    CIPHER_BYTES,
    check,
    in_force,
    same_cipher,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import encode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.backups import backup_keep, prune_backups
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.host import check_line
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import refuse_unfinished
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import WRITTEN
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import (
    NO_KEY,
    check_containers,
    check_given,
    described,
)


def rotate_tail(module: AnsibleModule, instance: Instance) -> dict[str, Any]:
    """Puts another tail into C(.env). What is stored stays as it is, and the containers get the key at the next start."""
    keep, env_file = backup_keep(module.params), EnvFile(instance.env_path)
    with env_file.opened(for_writing=not module.check_mode):
        refuse_unfinished(env_file)
        document = opened(instance, env_file, missing=NO_KEY)
        check_line(instance)
        old, new = in_force(document.values), module.params["new_key"]
        check_given(module.params["key"], old, env_file.path)
        _check_tail(old, new)
        check_containers(instance.container_keys(), env_file.path, (old, new))
        after = parse(document.edit({catalogue.KEY: new}, catalogue.kin), instance.compose.environment)
        instance.compose.mask.add([old, new])
        instance.compose.config(encode(after.text))
        backup_file = None
        if old != new and not module.check_mode:
            backup_file = env_file.replace(encode(after.text), True)
            prune_backups(env_file, after, keep)
    return {
        "changed": old != new,
        "phase": WRITTEN,
        "backup_file": backup_file,
        "warnings": instance.warnings,
        "key": described(old, module.params["seal"]),
        "new_key": described(new),
    }


def _check_tail(old: str, new: str | None) -> None:
    if catalogue.is_public_default(catalogue.KEY, old) or not old:
        raise AppwriteError(
            "scope: %s is %s, so changing its tail would protect nothing; rotate the whole key with `scope`: values"
            % (catalogue.KEY, "the public default" if old else "empty")
        )
    if len(old.encode("utf-8", "surrogateescape")) <= CIPHER_BYTES:
        raise AppwriteError(
            "scope: %s has no more than the 16 bytes that AES uses, so it has no tail that could change without the data; use `scope`: values"
            % catalogue.KEY
        )
    if new is None:
        raise AppwriteError(
            "new_key: is missing; the role appwrite_rotation makes one and keeps it in the escrow first"
        )
    check(new, "new_key")
    if not same_cipher(old, new):
        raise AppwriteError(
            "new_key: does not have the first 16 bytes of the key in force, so stored data would be lost; use `scope`: values"
        )
