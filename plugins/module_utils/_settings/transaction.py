# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""What every writing module does, once: read, plan every change, check the whole, replace the file once."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, Callable, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import upgrade as _upgrade
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, encode, parse, quote
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._module import shown, shown_name
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.backups import (
    BACKUP_KEEP,
    backup_keep,
    prune_backups,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import OLDEST
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import service_environment
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import (
    PROJECT_OPTIONS,
    instance_of,
    opened,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import refuse_unfinished
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import (
    console_access,
    encryption_key,
    https,
    variables,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Installation, Plan, Refusal

WRITING_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "backup": {"type": "bool", "default": True},
    "backup_keep": BACKUP_KEEP,
    "mode": {"type": "raw"},
}

SETTINGS: dict[str, ModuleType] = {
    "env": variables,
    "encryption_key": encryption_key,
    "https": https,
    "console_access": console_access,
}
"""In the order in which they are planned: the whole file first, then what is set in it."""
NESTED_OPTIONS: dict[str, dict[str, Any]] = {
    name: {"type": "dict", "options": setting.OPTIONS, "no_log": False} for name, setting in SETTINGS.items()
}
_NO_FILE = (
    ". Run Appwrite's installer first, have it created (env.create), or give the whole file as a template (env.content)"
)


def write_one(name: str) -> Callable[[AnsibleModule], dict[str, Any]]:
    """The work of a module that is one setting."""
    return lambda module: _Transaction(module, [(SETTINGS[name], module.params)]).run()


def write_all(module: AnsibleModule) -> dict[str, Any]:
    """The work of C(security): every setting that was given."""
    return _Transaction(
        module,
        [(setting, module.params[name]) for name, setting in SETTINGS.items() if module.params[name] is not None],
    ).run()


class _Transaction:
    def __init__(self, module: AnsibleModule, wishes: list[tuple[ModuleType, Mapping[str, Any]]]) -> None:
        self._module = module
        self._wishes = wishes
        self._instance = instance_of(module.params)
        self._mode = _mode(module.params["mode"])
        self._backup_keep = backup_keep(module.params)
        self._warnings = self._instance.warnings

    def run(self) -> dict[str, Any]:
        env_file = EnvFile(self._instance.env_path)
        with env_file.opened(for_writing=not self._module.check_mode):
            refuse_unfinished(env_file)
            self._exists = env_file.exists
            env_file.check_replaceable()
            before = opened(self._instance, env_file, None if self._may_create() else _NO_FILE, compose=False)
            base, requested, key = self._plan(before)
            after = self._edited(base, requested)
            self._instance.compose.mask.add(catalogue.secrets_of(after.values), after.unset_references)
            data = encode(after.text)
            result = self._result(env_file, before, after, key)
            services = self._services_with(data) if result["changed"] else self._instance.services
            self._check_reach(requested, services)
            result["recreates"] = sorted(
                name for name in services if services[name] != self._instance.services.get(name)
            )
            if result["changed"] and not self._module.check_mode:
                result["backup_file"] = env_file.replace(data, self._module.params["backup"], self._mode)
                if result["backup_file"]:
                    prune_backups(env_file, after, self._backup_keep)
        return result

    def _may_create(self) -> bool:
        return any(options.get("content") or options.get("create") for _unused, options in self._wishes)

    def _plan(self, before: Document) -> tuple[Document, dict[str, str | None], Any]:
        base, key = before, None
        requested: dict[str, str | None] = {}
        for setting, options in self._wishes:
            plan: Plan = setting.plan(self._installation({**base.values, **requested}), options)
            self._warnings += plan.warnings
            key = plan.key or key
            if plan.content is not None:
                base = parse(plan.content, self._instance.compose.environment)
                base = parse(base.edit(plan.kept, catalogue.kin), self._instance.compose.environment)
            for name, value in plan.changes.items():
                if name in requested and requested[name] != value:
                    raise Refusal(
                        "%s is asked for twice with different values: leave it out of the variables or of the other setting"
                        % name
                    )
                requested[name] = value
        return base, requested, key

    def _installation(self, values: Mapping[str, str | None]) -> Installation:
        instance = self._instance
        known = {name: value for name, value in values.items() if value is not None}
        return Installation(
            instance.release,
            known,
            instance.holds_data,
            instance.container_keys,
            self._opening,
            instance.published(),
            self._exists,
            instance.databases,
            instance.directory,
        )

    def _opening(self, keys: Sequence[str]) -> Opening:
        """Few runs ask, and what answers takes half as long to load as all else."""
        from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import stored as _stored

        return _stored.opening(self._instance, keys)

    def _edited(self, base: Document, requested: Mapping[str, str | None]) -> Document:
        for name, value in requested.items():
            try:
                quote(value or "")
            except AppwriteError as error:
                raise Refusal("%s cannot be written into .env: %s" % (name, error)) from None
        return parse(base.edit(requested, catalogue.kin), self._instance.compose.environment)

    def _services_with(self, data: bytes) -> Mapping[str, Mapping[str, str]]:
        """What every service would receive from the candidate, by compose's own word. Refuses what compose rejects."""
        compose = self._instance.compose
        if not self._instance.checked:
            return {}
        version = compose.version()
        if version < OLDEST:
            raise AppwriteError(
                "docker compose %s reads .env differently; install 2.18 or newer" % ".".join(map(str, version))
            )
        return service_environment(compose.config(data))

    def _check_reach(self, requested: Mapping[str, str | None], services: Mapping[str, Mapping[str, str]]) -> None:
        """A value that no container would receive is refused rather than written and believed."""
        if not self._instance.checked:
            return
        for name, value in requested.items():
            if not value or catalogue.get(name) is None or not catalogue.is_read(name, self._instance.release):
                continue
            if not self._instance.passed(name):
                raise Refusal(
                    "%s would reach no service: the compose file passes it to none. Add `- %s` under `environment:` of %s"
                    % (
                        name,
                        name,
                        ", ".join(catalogue.services(name, self._instance.release)) or "the services that need it",
                    )
                )
            others = sorted(
                service for service, environment in services.items() if environment.get(name, value) != value
            )
            if others:
                raise Refusal(
                    "%s would not reach %s: a literal in the compose file, or a variable of the shell, beats .env there. Remove it"
                    % (name, ", ".join(others))
                )

    def _result(self, env_file: EnvFile, before: Document, after: Document, key: Any) -> dict[str, Any]:
        changes = [
            {
                "name": shown_name(name),
                "before": shown(name, before.values.get(name), True),
                "after": shown(name, after.values.get(name), True),
            }
            for name in sorted(set(before.values) | set(after.values))
            if before.values.get(name) != after.values.get(name)
        ]
        changed = encode(after.text) != env_file.data or not env_file.exists or self._mode not in (None, env_file.mode)
        mode = env_file.mode if self._mode is None else self._mode
        if mode is not None and mode & 0o077:
            self._warnings.append(
                "%s is open to others than its owner (mode %04o), and it holds every secret of the installation. Set mode to '0600'"
                % (env_file.path, mode)
            )
        for name in sorted(set(after.values) & set(change["name"] for change in changes)):
            if catalogue.is_secret(name) and after.has_dead_copy(name):
                self._warnings.append(
                    "%s: an older copy of %s stays in a line that is not in force; remove it by hand"
                    % (env_file.path, name)
                )
        written = {change["name"]: after.values[change["name"]] for change in changes if change["name"] in after.values}
        self._warnings += _upgrade.warnings(written, after.text, self._instance.release)
        result: dict[str, Any] = {
            "changed": changed,
            "env_file": env_file.path,
            "backup_file": None,
            "changes": changes,
            "warnings": self._warnings,
            "project": self._instance.project,
            "release": self._instance.release,
            "diff": {
                "before_header": env_file.path,
                "after_header": env_file.path,
                "before": _listing(changes, "before", env_file.mode if env_file.mode != mode else None),
                "after": _listing(changes, "after", mode if env_file.mode != mode else None),
            },
        }
        if key is not None:
            result["key"] = key.public()
        return result


def _mode(given: Any) -> int | None:
    """YAML reads an unquoted 0640 as the number 416, which would pass for another mode: only text will do."""
    if given is None:
        return None
    if not isinstance(given, str) or not re.fullmatch("0?[0-7]{3}", given):
        raise AppwriteError("mode: %r is not an octal mode in quotes; give one such as '0600'" % (given,))
    return int(given, 8)


def _listing(changes: list[dict[str, Any]], side: str, mode: int | None) -> str:
    lines = ["%s=%s\n" % (change["name"], change[side]) for change in changes if change[side] is not None]
    return "".join(lines + (["# mode %04o\n" % mode] if mode is not None else []))
