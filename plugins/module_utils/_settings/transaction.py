# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every writing module does, once: read, plan every change, check the whole, replace the file once.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType
from typing import Any, Callable, Collection, Iterator, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import upgrade as _upgrade
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, encode, parse, quote
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._module import shown, shown_name
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.asked import Asked
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.backups import (
    BACKUP_KEEP,
    backup_keep,
    prune_backups,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import predict, service_environment
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.facts import Candidate, facts_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import instance_of, opened, opened_with
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.origin import ENV, FILE, MIXED, OTHER, Origin
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import refuse_unfinished
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Installation, Plan, Refusal

WRITING_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "backup": {"type": "bool", "default": True},
    "backup_keep": BACKUP_KEEP,
    "mode": {"type": "raw"},
}

Then = Callable[[Instance, EnvFile, Document, Mapping[str, Any]], Mapping[str, Any]]
_PRIVATE = "private"
Opener = Callable[[Instance, Sequence[str]], Opening]
_NO_FILE = (
    ". Run Appwrite's installer first, have it created (`create`), or give the whole file as a template (`content`)"
)


def _never(_instance: Instance, _keys: Sequence[str]) -> Opening:
    raise AssertionError("no key is tried for this setting")


def write_one(setting: ModuleType, opener: Opener = _never) -> Callable[[AnsibleModule], dict[str, Any]]:
    """The work of a module that is one setting. C(opener) tries keys for it, on a sample of what is stored."""
    return lambda module: Transaction(module, [(setting, module.params)], opener).run()


class Transaction:
    """One run of settings. wishes: each with its options, in the order in which they are planned."""

    def __init__(
        self, module: AnsibleModule, wishes: list[tuple[ModuleType, Mapping[str, Any]]], opener: Opener
    ) -> None:
        self._opener = opener
        self._module = module
        self._wishes = wishes
        self._instance = instance_of(module.params)
        self._mode = _mode(module.params["mode"])
        self._backup_keep = backup_keep(module.params)
        self._warnings = self._instance.warnings
        self._refusals: list[str] = []
        self._optional: set[str] = set()
        self._together: list[frozenset[str]] = []
        self._generated: set[str] = set()

    def run(self, then: Then | None = None, expected: Collection[str] = ()) -> dict[str, Any]:
        """The module's result.

        then: what follows under the same lock, whose result is added. It is given the project, its file and what that says now, and the result
        of the writing, before which the project was loaded.
        expected: what C(then) asks if nothing is written; see C(Instance.load).
        """
        env_file = EnvFile(self._instance.env_path)
        with env_file.opened(for_writing=not self._module.check_mode):
            refuse_unfinished(env_file)
            self._exists = env_file.exists
            env_file.check_replaceable()
            if self._module.params["mode"] == _PRIVATE:
                self._mode = env_file.private_mode
            missing = None if self._may_create() else _NO_FILE
            before = opened(self._instance, env_file, missing, compose=False, expected=expected)
            self._text, self._before = before.text, before.values
            base, requested, key = self._plan(before)
            after = self._edited(base, self._lines(requested))
            self._refuse()
            self._instance.compose.mask.add(catalogue.secrets_of(after.values), after.unset_references)
            data = encode(after.text)
            result = self._result(env_file, before, after, key)
            candidate = self._candidate(data, after) if result["changed"] and self._instance.checked else None
            self._check_reach(requested, candidate.environments if candidate else self._instance.services)
            self._refuse()
            result["recreates"] = self._recreates(candidate) if candidate else []
            unset = self._instance.written.unset(after.values) if candidate and not self._exists else []
            if unset:
                self._warnings.append(
                    "the compose files put in %s, which nothing sets, so that there is nothing in their place. Set "
                    "`variables`, or write the lines into .env" % ", ".join(unset)
                )
            if then is not None:  # what cannot be applied is not written either
                self._instance.require_compose()
                self._instance.containers()
                if candidate is not None:
                    opened_with(instance_of(self._module.params), data, candidate.config)
            if result["changed"] and not self._module.check_mode:
                result["backup_file"] = env_file.replace(data, self._module.params["backup"], self._mode)
                if result["backup_file"]:
                    prune_backups(env_file, after, self._backup_keep, self._instance.key_line())
            return result if then is None else {**result, **then(self._instance, env_file, after, result)}

    def _may_create(self) -> bool:
        return any(options.get("content") or options.get("create") for _unused, options in self._wishes)

    def _plan(self, before: Document) -> tuple[Document, dict[str, str | None], Any]:
        """Every wish is planned, so that one message tells all that stands against them."""
        base, key = before, None
        requested: dict[str, str | None] = {}
        for setting, options in self._wishes:
            try:
                plan: Plan = setting.plan(self._installation({**self._in_force(base), **requested}), options)
            except Refusal as refusal:
                self._refusals.append(str(refusal))
                continue
            self._warnings += plan.warnings
            asked_before = plan.optional & requested.keys()
            self._optional |= plan.optional - asked_before
            self._together += plan.together
            self._generated |= plan.generated
            if plan.key is not None:
                key = replace(plan.key, fingerprint=None) if self._module.check_mode and plan.generated else plan.key
            if plan.content is not None:
                base = parse(plan.content, self._instance.compose.environment)
                base = parse(base.edit(plan.kept, catalogue.kin), self._instance.compose.environment)
            for name, value in plan.changes.items():
                if name in asked_before:
                    continue
                if name in requested and requested[name] != value:
                    self._refusals.append(
                        "%s is set twice, to different values; leave it out of the variables or of the other setting"
                        % name
                    )
                requested[name] = value
        return base, requested, key

    def _in_force(self, base: Document) -> Mapping[str, str]:
        """What the services get; of a template, which no service has yet, what it says, but for what is not from .env."""
        values = self._instance.values
        if base.text == self._text:
            return values
        return {**base.values, **{name: value for name, value in values.items() if self._is_elsewhere(name)}}

    def _is_elsewhere(self, name: str) -> bool:
        """Whether the services get a value that .env does not give by that name."""
        return self._instance.values.get(name) != self._before.get(name)

    def _refuse(self) -> None:
        if self._refusals:
            raise Refusal(
                self._refusals[0]
                if len(self._refusals) == 1
                else "%d things stand against this, and nothing was changed:\n%s"
                % (len(self._refusals), "\n".join("- " + refusal for refusal in self._refusals))
            )

    def _installation(self, values: Mapping[str, str | None]) -> Installation:
        instance = self._instance
        known = {name: value for name, value in values.items() if value is not None}
        return Installation(
            instance.release,
            known,
            instance.holds_data,
            instance.container_keys,
            lambda keys: self._opener(instance, keys),
            instance.published(),
            self._exists,
            instance.databases,
            instance.directory,
            instance.given_keys(),
            self._names,
            instance.passed if instance.checked else lambda _name: True,
            instance.never_started,
            instance.is_new,
        )

    def _names(self) -> set[str]:
        """Those that the project itself looks up, and those of the file that is there."""
        return {*self._before, *(self._instance.written.names() if self._instance.checked else ())}

    def _lines(self, requested: Mapping[str, str | None]) -> dict[str, str | None]:
        """Which lines of .env give the services these values. What no line can give is refused, or left out if it is only a default."""
        instance, found = self._instance, dict(requested)
        if not instance.checked:
            return found
        left, lines = set(), {}
        for name, value in requested.items():
            if not catalogue.is_read(name, instance.release):
                continue
            given = {service: environment.get(name) for service, environment in instance.services.items()}
            takers = {service: got for service, got in given.items() if name in instance.listed(service)}
            if all(got == (value or "") for got in takers.values()) and (takers or not value):
                if self._is_elsewhere(name) and value is not None:
                    del found[name]  # as it is, by another name or in the compose file
                continue
            other = self._other_line(name, list(takers))
            if other is None:
                left.add(name)
                del found[name]
            elif other != name:
                lines[name] = other
                del found[name]
                found[other] = value
        for group in self._together:
            for name in sorted(group - left) if group & left else ():
                found.pop(lines.get(name, name), None)
                self._warnings.append("%s is left as it is, too" % name)
        return found

    def _other_line(self, name: str, takers: Sequence[str]) -> str | None:
        """The name of the line that gives a variable to all services that take it; C(None) if no line can."""
        written = self._instance.written
        takers = takers or [service for service in self._instance.appwrite_services() if written.passes(service, name)]
        origins = {service: written.origin(service, name) for service in takers}
        lines = {origin.name for origin in origins.values() if origin.kind in (ENV, OTHER)}
        others = {service: origin for service, origin in origins.items() if origin.kind not in (ENV, OTHER)}
        if others:
            self._stands_against(name, [self._reason(name, service, origin) for service, origin in others.items()])
        elif len(lines) > 1:
            self._stands_against(name, ["%s comes from different variables: %s" % (name, ", ".join(sorted(lines)))])
        elif not lines and not self._instance.passed(name) and self._may_be_gone(name):
            self._warnings.append(
                "%s is left as it is: the compose file passes it to no service, and Appwrite %s, which this collection does not know, may have "
                "dropped or renamed it" % (name, self._instance.release)
            )
        elif not lines and not self._instance.passed(name):
            self._stands_against(name, [self._gap(name)])
        else:
            [line] = lines or {name}
            apart = list(self._apart(name, line)) if name in self._optional else []
            if apart:
                self._stands_against(name, apart)
                return None
            if line != name:
                self._warnings.append("%s comes from %s in .env, so that line is set" % (name, line))
            return line
        return None

    def _may_be_gone(self, name: str) -> bool:
        """Whether the release may have dropped a variable. Where the encryption key goes is never guessed."""
        return name != catalogue.KEY and catalogue.is_newer(self._instance.release)

    def _apart(self, name: str, line: str) -> Iterator[str]:
        """Where a secret's public default would stay at the other end if a line of .env were changed."""
        instance = self._instance
        for service, environment in instance.services.items():
            if name.startswith("_APP_DB_") and service not in instance.databases:
                continue
            for alias in catalogue.ALIASES.get(name, ()):
                if not catalogue.is_public_default(name, environment.get(alias, "")):
                    continue
                if instance.written.origin(service, alias).name != line:
                    place = instance.written.place(service, alias)
                    yield "%s of %s has to be the same, and does not come from it%s. Write `${%s}` there" % (
                        alias,
                        service,
                        " (%s)" % str(place) if place else "",
                        line,
                    )

    def _gap(self, name: str) -> str:
        """Where a variable is missing that the compose file passes to no service."""
        usual = catalogue.services(name, self._instance.release)
        wanted = [service for service in usual if service in self._instance.services]
        if usual and not wanted:
            return "%s would reach no service: this project has none of those that it is for" % name
        place = self._instance.written.gap(wanted or self._instance.appwrite_services(), name)
        return "%s would reach no service, since the compose file passes it to none. Add `%s`%s of %s (%s)" % (
            name,
            place.bare,
            "" if place.bare.startswith("environment") else " under `environment:`",
            ", ".join(wanted) or "the services that need it",
            place,
        )

    def _stands_against(self, name: str, reasons: Sequence[str]) -> None:
        if name in self._optional:
            self._warnings.append("%s is left as it is: %s" % (name, "; ".join(dict.fromkeys(reasons))))
        else:
            self._refusals += dict.fromkeys(reasons)

    def _reason(self, name: str, service: str, origin: Origin) -> str:
        written = self._instance.written
        if origin.kind == FILE:
            line = written.line_of(origin.file, name)
            return "%s of %s comes from %s%s: set it there by hand, or remove it there and add `env_file: .env`" % (
                name,
                service,
                origin.file,
                ", line %d" % line if line else "",
            )
        place = written.place(service, name)
        if origin.kind == MIXED:
            what = "is put together in the compose file"
        else:
            what = "is written in the compose file itself, which beats .env"
        remedy = "Write `%s` there instead" % place.bare if place else "Have it come from .env"
        if name == catalogue.KEY and not catalogue.is_public_default(
            name, self._instance.services[service].get(name, "")
        ):
            remedy = (
                "First write the same key into .env (a line %s=…), so that it is not lost; then write `%s` there instead"
                % (name, place.bare if place else name)
            )
        return "%s of %s %s%s. %s" % (name, service, what, " (%s)" % str(place) if place else "", remedy)

    def _edited(self, base: Document, lines: Mapping[str, str | None]) -> Document:
        for name, value in lines.items():
            try:
                quote(value or "")
            except AppwriteError as error:
                self._refusals.append("%s cannot be written into .env: %s" % (name, error))
        self._refuse()
        return parse(base.edit(lines, catalogue.kin), self._instance.compose.environment)

    def _candidate(self, data: bytes, after: Document) -> Candidate:
        """The project with the new file, by compose's own word. Refuses what compose rejects."""
        compose = self._instance.compose
        asked = Asked(lambda: compose.config(data))
        compose.require_new()
        config = asked.answer()
        environments = self._instance.written.with_candidate(service_environment(config), after.values)
        return Candidate(data, config, environments)

    def _recreates(self, candidate: Candidate) -> list[str]:
        """The services that C(up) would recreate; if no engine answers, those that would be given other values."""
        try:
            return sorted(predict(facts_of(self._instance, candidate)).recreated)
        except ComposeError:
            before = self._instance.services
            return sorted(name for name, given in candidate.environments.items() if given != before.get(name))

    def _check_reach(self, requested: Mapping[str, str | None], services: Mapping[str, Mapping[str, str]]) -> None:
        """A value that a container would not receive is refused rather than written and believed."""
        if not self._instance.checked:
            return
        for name, value in requested.items():
            if not value or name in self._optional or not catalogue.is_read(name, self._instance.release):
                continue
            others = sorted(
                service for service, environment in services.items() if environment.get(name, value) != value
            )
            if others:
                self._refusals.append(
                    "%s would not reach %s: something beats .env there that the compose files do not show, such as a variable of the shell. "
                    "Remove it there" % (name, ", ".join(others))
                )

    def _result(self, env_file: EnvFile, before: Document, after: Document, key: Any) -> dict[str, Any]:
        changes = [
            {
                "name": shown_name(name),
                "before": shown(name, before.values.get(name), True),
                "after": self._shown_after(name, after.values.get(name)),
            }
            for name in sorted(set(before.values) | set(after.values))
            if before.values.get(name) != after.values.get(name)
        ]
        changed = encode(after.text) != env_file.data or not env_file.exists or self._mode not in (None, env_file.mode)
        mode = env_file.mode if self._mode is None else self._mode
        if mode is not None and mode & 0o077:
            self._warnings.append(
                "%s is accessible to users other than its owner (mode %04o), and holds every secret of the installation. Set `mode` to '0600'"
                % (env_file.path, mode)
            )
        for name in sorted(set(after.values) & set(change["name"] for change in changes)):
            if catalogue.is_secret(name) and after.has_dead_copy(name):
                self._warnings.append(
                    "%s: an older copy of %s remains in a line that is not in force; remove it by hand"
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

    def _shown_after(self, name: str, value: str | None) -> str | None:
        """A check has nothing to tell of a secret that the run itself would make anew."""
        if self._module.check_mode and value in self._generated:
            return "(secret, would be generated)"
        return shown(name, value, True)


def _mode(given: Any) -> int | None:
    """YAML reads an unquoted 0640 as the number 416, which would pass for another mode: only text will do."""
    if given in (None, _PRIVATE):
        return None
    if not isinstance(given, str) or not re.fullmatch("0?[0-7]{3}", given):
        raise AppwriteError("mode: %r is not an octal mode in quotes; give one such as '0600', or private" % (given,))
    return int(given, 8)


def _listing(changes: list[dict[str, Any]], side: str, mode: int | None) -> str:
    lines = ["%s=%s\n" % (change["name"], change[side]) for change in changes if change[side] is not None]
    return "".join(lines + (["# mode %04o\n" % mode] if mode is not None else []))
