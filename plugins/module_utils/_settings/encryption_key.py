# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""The encryption key: set when it is absent, never changed when it is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._key import (
    NAME, check, describe, in_force, is_public, told, weakness)
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import check_password, seal
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings._model import Evidence, Installation, Plan, Refusal, generate

OPTIONS: dict[str, dict[str, Any]] = {
    "key": {"type": "raw", "no_log": True},
    "length": {"type": "int", "default": 64, "no_log": False},
    "placeholder": {"type": "str", "choices": ["replace_if_unused", "keep"], "default": "replace_if_unused"},
    "escrowed": {"type": "str", "no_log": True},
    "seal": {"type": "str", "no_log": True},
}

FORGERY = (
    "%s is the public default of Appwrite's installer: anyone who can reach the API can forge an administrator with it "
    "(appwrite/appwrite#13769)." % NAME)
_REHEARSE = "ansible-playbook selfhost.appwrite.rotate -e appwrite_rotation_project_src=%s --check"
UNKEYED = "containers of this project have run without a key; what was stored meanwhile was sealed with no key at all"


def plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    check_password(options["seal"])
    planned = _plan(installation, options)
    key = planned.changes.get(NAME) or in_force(installation.values)
    if planned.key is None:
        return planned
    weak = weakness(key)
    if weak:
        planned.warnings.append(weak + ("; it is kept, since changing it loses data" if planned.key.state == "kept" else ""))
    if options["seal"] is not None:
        planned.key = replace(planned.key, sealed=seal(key, options["seal"]))
    return planned


def _plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    length = options["length"]
    if not 32 <= length <= 256:
        raise Refusal("length: %d is outside of 32 to 256 characters" % length)
    current = in_force(installation.values)
    given, escrowed = options["key"], options["escrowed"]
    if given is not None and not isinstance(given, str):
        raise Refusal("key: is not text; put it in quotes")
    if given == "":
        raise Refusal("key: is empty; leave it out to have one generated, or pass at least 16 bytes")
    if escrowed is not None and given not in (None, escrowed):
        raise Refusal(
            "key: is not the one in the escrow (%s, there %s). Leave it out, or move the escrow file away if it belongs to "
            "another installation" % (told(given), told(escrowed)))
    if current and not is_public(current):
        if escrowed not in (None, current):
            raise _disagree(escrowed, ".env", current)
        return _present(current, given)
    if escrowed is not None:
        check(escrowed, "escrowed")
        return _restored(installation, current, escrowed)
    if given is not None:
        check(given, "key")
    if current and options["placeholder"] == "keep":
        if given is not None:
            raise Refusal("key: placeholder=keep leaves the public default in force, so this key would not be used; drop one of the two")
        return Plan(warnings=[FORGERY], key=describe("placeholder_kept", current))
    return _absent(installation, current, given, length)


def _restored(installation: Installation, current: str, escrowed: str) -> Plan:
    """The escrow is the memory of this installation. Only containers that have sealed data with another key weigh more."""
    carried = {key: services for key, services in installation.container_keys().items() if key and key != escrowed}
    for key, services in carried.items():
        public = is_public(key)
        if (current or not public) and installation.holds_data().state != "no":
            raise _disagree(escrowed, "the containers of this project (%s)" % ", ".join(services), key)
    return _set("restored", escrowed)


def _disagree(escrowed: str, where: str, key: str) -> Refusal:
    return Refusal(
        "%s: the escrow (%s) and %s (%s) disagree, and nothing was changed. Data opens with the key that sealed it and no other. "
        "If the escrow is right, remove the line from .env%s and run again: the escrowed key is put back. If the other one is right, "
        "pass it as `key` (appwrite_security_encryption_key of the role): it goes into the escrow, which keeps its older key as history"
        % (NAME, told(escrowed), where, told(key), "" if where == ".env" else " and the containers (docker compose down, never with -v)"))


def _present(current: str, given: str | None) -> Plan:
    if given is not None and given != current:
        raise Refusal(
            "key: %s is already set (%s) and is not the key that was passed (%s). A changed key makes every "
            "stored password, OAuth secret and API key unreadable, so it stays. Pass the key that is there or none"
            % (NAME, told(current), told(given)))
    return Plan(key=describe("kept", current))


def _absent(installation: Installation, current: str, given: str | None, length: int) -> Plan:
    carried = dict(installation.container_keys())
    unkeyed = carried.pop("", ())
    real = {key: services for key, services in carried.items() if not is_public(key)}
    if not real and not current and carried and installation.holds_data().state != "no":
        real = carried
    if len(real) > 1 and given in real:
        return _set("placeholder_replaced" if current else "supplied", given)
    if len(real) > 1:
        raise Refusal(
            "%s is absent from .env and the containers of this project disagree about it: %s. Find out which key opened the data, "
            "recreate the others or remove them, or pass that key as `key`"
            % (NAME, "; ".join("%s in %s" % (told(key), ", ".join(services)) for key, services in sorted(real.items()))))
    if real:
        return _from_containers(installation, current, given, *real.popitem())
    evidence = installation.holds_data()
    if evidence.state == "no":
        state = "placeholder_replaced" if current else "generated" if given is None else "supplied"
        return _set(state, generate(length) if given is None else given)
    if current:
        return _placeholder_in_use(installation, current, given, evidence)
    if given is not None:
        return _set("supplied", given, [UNKEYED] if unkeyed else [])
    raise Refusal(
        "%s is absent, and %s. A new key would make everything stored under the old one unreadable. %s"
        % (NAME, evidence.reason,
           "Pass the old key as `key`: look in backups of .env (.env.*.backup), in your password store, on a replica"
           if evidence.state == "yes" else "Let the database answer, starting nothing else, and run again, or pass the old key as `key`"))


def _from_containers(installation: Installation, current: str, given: str | None, key: str, services: tuple[str, ...]) -> Plan:
    if given is not None and given != key and installation.holds_data().state != "no":
        raise Refusal(
            "key: the containers of this project (%s) run with another key (%s) and not with the one passed "
            "(%s). Pass that key or none" % (", ".join(services), told(key), told(given)))
    if given is not None and given != key:
        return _set("placeholder_replaced" if current else "supplied", given)
    warnings = [
        "%s was %s in .env and has been recovered from the containers of this project (%s)"
        % (NAME, "the public default" if current else "absent", ", ".join(services))]
    if is_public(key):
        warnings.append(FORGERY)
    return _set("recovered", key, warnings)


def _placeholder_in_use(installation: Installation, current: str, given: str | None, evidence: Evidence) -> Plan:
    reason = evidence.reason
    if evidence.state == "unknown":
        raise Refusal(
            "%s is the public default, and %s. It is replaced only where the installation provably holds no data. "
            "Let the database answer and run again, or keep it with placeholder=keep" % (NAME, reason))
    if given is not None:
        raise Refusal(
            "key: %s is the public default and in use: %s. Another key would make that data unreadable. Leave `key` out" % (NAME, reason))
    return Plan(
        warnings=["%s It is kept, because %s, and that data can only be read with it. To seal all of it under a key of your own, rehearse first: %s" % (
            FORGERY, reason, _REHEARSE % installation.directory)],
        key=describe("placeholder_kept", current))


def _set(state: str, key: str, warnings: list[str] | None = None) -> Plan:
    return Plan(changes={NAME: key}, warnings=list(warnings or []), key=describe(state, key))
