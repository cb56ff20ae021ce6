# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module C(rekey): its options, and which of its works is asked for.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import GUARD, in_force
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import check_password
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress_file import Progress
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.backups import BACKUP_KEEP
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import document_of, instance_of, opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import console as _console
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.host import Host, check_line
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import Journal, remembered
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.member import Member
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import (
    GUARDED,
    LOCKING,
    NONE,
    PREPARED,
    SEAL,
    STAGE,
    STAGED,
    STATE,
    STILL,
    WHOLE,
    WRITE,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.procedure import (
    Options,
    Procedure,
    check_keys,
    check_staged,
    described,
    no_file,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stored import check_sample
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.tokens import rotate_tail

REKEY_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "scope": {"type": "str", "choices": ["values", "tokens"], "required": True},
    "step": {"type": "str", "choices": [WHOLE, STATE, STAGE, SEAL, STILL, WRITE], "default": WHOLE},
    "key": {"type": "str", "no_log": True},
    "new_key": {"type": "str", "no_log": True},
    "abort": {"type": "bool", "default": False},
    "waivers": {"type": "list", "elements": "str", "default": []},
    "sample": {"type": "int", "default": 1000},
    "dump": {"type": "bool", "default": True},
    "drain_timeout": {"type": "int", "default": 300},
    "leave_queues": {"type": "list", "elements": "str", "default": []},
    "end_sessions": {"type": "str", "choices": [_console.CONSOLE, _console.ALL, _console.NONE]},
    "seal": {"type": "str", "no_log": True},
    "client_image": {"type": "str"},
    "redis_client_image": {"type": "str"},
    "progress_file": {"type": "path"},
    "backup_keep": BACKUP_KEEP,
    "escrow_file": {"type": "path"},
    "cluster": {"type": "str"},
}


def rekey(module: AnsibleModule) -> dict[str, Any]:
    """The result of the module C(rekey). Raises AppwriteError for options that do not go together, and whatever stopped the rotation."""
    tell = Progress(module.params["progress_file"])
    scope, step = module.params["scope"], module.params["step"]
    check_sample(module.params["sample"])
    if step not in (WHOLE, STATE) and scope == "tokens":
        raise AppwriteError("step: scope: %s is one step; leave it out" % scope)
    if module.params["end_sessions"] not in (None, _console.NONE) and scope != "values":
        raise AppwriteError("end_sessions: sessions are ended with `scope`: values alone; leave it out")
    check_password(module.params["seal"])
    instance = instance_of(module.params)
    instance.client_images = {name: module.params[name] for name in ("client_image", "redis_client_image")}
    if step in (STATE, STAGE):
        return _state(module, instance) if step == STATE else _stage(module, instance)
    return rotate_tail(module, instance) if scope == "tokens" else rotate(module, instance, tell)


def _state(module: AnsibleModule, instance: Instance) -> dict[str, Any]:
    """How far a rotation is, by what is written of it; nothing that runs is asked, and nobody is waited for."""
    env_file = EnvFile(instance.env_path)
    with env_file.in_directory():
        journal = remembered(env_file)
        env_file.read()
    return _said(module, instance, env_file, journal)


def _said(module: AnsibleModule, instance: Instance, env_file: EnvFile, journal: dict[str, Any]) -> dict[str, Any]:
    document, is_guarded = opened(instance, env_file, past_guard=True), GUARD.encode() in env_file.data
    phase = journal.get("phase", NONE)
    if phase not in LOCKING and not is_guarded:
        check_line(instance)
    if phase == PREPARED and is_guarded:
        phase = GUARDED
    env_key = "" if is_guarded else in_force(document.values)
    old = journal["old"] if phase in LOCKING else env_key
    shown = {
        name: described(key, module.params["seal"]) if key else None
        for name, key in (("key", old), ("new_key", journal.get("new")), ("env_key", env_key))
    }
    return {"changed": False, "phase": phase, "project": instance.project, **shown, "warnings": instance.warnings}


def _stage(module: AnsibleModule, instance: Instance) -> dict[str, Any]:
    """Notes the new key, which a run in the background then finds here and is not handed."""
    env_file, new = EnvFile(instance.env_path), module.params["new_key"]
    journal = Journal(env_file)
    with journal.locked(create=not module.check_mode):
        env_file.read()
        said = _said(module, instance, env_file, journal.content)
        if said["phase"] not in LOCKING:
            if not env_file.exists:
                raise no_file(env_file.path)
            check_keys(module.params["key"], in_force(document_of(env_file, instance).values), new, env_file.path)
        check_staged(journal.content, new)
        if not journal.content:
            if not module.check_mode:
                journal.replace({"phase": STAGED, "new": new})
            said.update(changed=True, phase=STAGED, new_key=described(new, module.params["seal"]))
        return said


def rotate(module: AnsibleModule, instance: Instance, tell: Tell) -> dict[str, Any]:
    """Seals every value under the new key, from wherever an earlier run left it, or goes back."""
    env_file, writes = EnvFile(instance.env_path), not module.check_mode
    journal = Journal(env_file)
    options = Options(
        check_mode=module.check_mode,
        **{field.name: module.params[field.name] for field in fields(Options) if field.name in module.params},
    )
    with journal.locked(writes), env_file.opened(for_writing=writes):
        if journal.phase not in LOCKING and env_file.exists and catalogue.KEY.encode() not in env_file.data:
            opened(instance, env_file)
            check_line(instance)
        is_member = options.step in (STILL, WRITE)
        host = Host(instance, env_file, journal, tell, writes and not is_member)
        return (Member if is_member else Procedure)(options, host, journal).run()
