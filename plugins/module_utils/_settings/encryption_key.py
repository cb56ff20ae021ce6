# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The encryption key: set when it is absent, never changed when it is there.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence, Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    NAME,
    check,
    describe,
    generate,
    in_force,
    is_public,
    public_keys,
    same_cipher,
    told,
    weakness,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import check_password, seal
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import (
    Installation,
    Plan,
    Refusal,
    rotation_of,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "key": {"type": "raw", "no_log": True},
    "length": {"type": "int", "default": 64, "no_log": False},
    "placeholder": {"type": "str", "choices": ["replace_if_unused", "keep"], "default": "replace_if_unused"},
    "escrowed": {"type": "str", "no_log": True},
    "pending": {"type": "str", "no_log": True},
    "candidates": {"type": "list", "elements": "str", "no_log": True},
    "seal": {"type": "str", "no_log": True},
}

_FORGERY = "%s is %s: anyone who can reach the API can forge an administrator with it (appwrite/appwrite#13769)."
_PASS = "pass it as `key`: it goes into the escrow, which keeps its older key as history"
UNKEYED = "containers of this project have run without a key; what was stored meanwhile was sealed with no key at all"


def plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    check_password(options["seal"])
    planned = _plan(installation, options)
    key = planned.changes.get(NAME) or in_force(installation.values)
    if planned.key is None:
        return planned
    weak = weakness(key)
    if weak:
        planned.warnings.append(
            weak + ("; it is kept, since changing it loses data" if planned.key.state == "kept" else "")
        )
    if options["seal"] is not None:
        planned.key = replace(planned.key, sealed=seal(key, options["seal"]))
    return planned


@dataclass(frozen=True)
class _Candidate:
    """A key that may open what is stored."""

    key: str
    name: str
    way: str
    """how it comes into force"""

    def __str__(self) -> str:
        return "%s (%s)" % (self.name, told(self.key)) if _is_own(self.key) else self.name


def _plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    length = options["length"]
    if not 32 <= length <= 256:
        raise Refusal("length: must be from 32 to 256 characters, got %d" % length)
    current = in_force(installation.values)
    _check_one(installation)
    given, escrowed = options["key"], options["escrowed"]
    if given is not None and not isinstance(given, str):
        raise Refusal("key: is not text; put it in quotes")
    if given == "":
        raise Refusal("key: is empty; leave it out to have one generated, or pass at least 16 bytes")
    if escrowed is not None and given not in (None, escrowed):
        raise Refusal(
            "key: is not the one in the escrow (passed: %s; in the escrow: %s). Leave it out, or move the escrow file away if it belongs to "
            "another installation" % (told(given), told(escrowed))
        )
    if options["pending"] is not None:
        check(options["pending"], "pending")
    if current and options["pending"] is not None:
        _check_rotation(installation, current, options["pending"])
    if current and not is_public(current):
        return _present(installation, options, current)
    if escrowed is not None:
        if not _may_have_sealed(installation, escrowed):
            check(escrowed, "escrowed")
        return _restored(installation, options, current)
    if given is not None and (is_public(given) or not _may_have_sealed(installation, given)):
        check(given, "key")
    if current and options["placeholder"] == "keep":
        if given is not None:
            raise Refusal(
                "key: `placeholder`, which is keep, leaves the public default in force, so this key would not be used; drop one of the two"
            )
        return Plan(warnings=[_forgery(current)], key=describe("placeholder_kept", current))
    return _absent(installation, options, current)


def _check_one(installation: Installation) -> None:
    """Services with different keys cannot read what the others store."""
    given = {key: services for key, services in installation.given_keys.items() if key}
    if len(given) > 1:
        raise Refusal(
            "%s: the compose files give services different keys: %s. Have all of them take the line of .env"
            % (NAME, "; ".join("%s to %s" % (told(key), ", ".join(names)) for key, names in sorted(given.items())))
        )


def _check_rotation(installation: Installation, current: str, pending: str) -> None:
    """If the project's directory was put back from a backup, the escrow alone remembers a rotation that is unfinished, besides the data itself."""
    if current == pending:
        raise Refusal(
            "%s: a rotation of the key is ending: .env has the new key already, and the escrow still has it as pending. Nothing was changed; run %s"
            % (NAME, rotation_of(installation.directory))
        )
    if same_cipher(current, pending):
        return
    evidence = installation.holds_data()
    if evidence.state == "no":
        return
    untried = (
        "%s: the escrow has a pending key (%s), so a rotation may be unfinished, and whether that key opens some of what is stored already cannot "
        "be tried: %%s. Nothing was changed" % (NAME, told(pending))
    )
    if (
        evidence.state == "unknown" and not evidence.elsewhere
    ):  # one elsewhere needs no Appwrite to be read, which had better not be started now
        raise Refusal("%s. %s" % (untried % evidence.reason, evidence.remedy))
    try:
        opening = installation.opens([current, pending])
    except AppwriteError as error:
        raise Refusal(untried % error) from None
    if opening.opened[pending]:
        raise Refusal(
            "%s: a rotation of the key is unfinished: of %d values looked at, the pending key of the escrow (%s) opens %d, and the key in .env (%s) %d. "
            "Nothing was changed; run %s"
            % (
                NAME,
                opening.looked,
                told(pending),
                opening.opened[pending],
                told(current),
                opening.opened[current],
                rotation_of(installation.directory),
            )
        )


def _may_have_sealed(installation: Installation, key: str) -> bool:
    """Whether a key may be in use already. Then it is as short as it is, and what it opens decides."""
    return key in installation.container_keys() or installation.holds_data().state != "no"


def _present(installation: Installation, options: Mapping[str, Any], current: str) -> Plan:
    given, escrowed = options["key"], options["escrowed"]
    if escrowed not in (None, current):
        either = (
            "If the escrow is right, remove the line from .env and run again: the escrowed key is put back. If the other one is right, "
            + _PASS
        )
        raise Refusal(
            "%s: the escrow (%s) and .env (%s) disagree, and nothing was changed. Data opens with the key that sealed it and no other. %s"
            % (
                NAME,
                told(escrowed),
                told(current),
                "Both open the same data, because AES uses only their first 16 bytes; the rest counts for signatures alone. "
                + either
                if same_cipher(escrowed, current)
                else _which_opens(installation, options, "Nothing is stored yet that tells which is right. " + either),
            )
        )
    if given not in (None, current):
        raise Refusal(
            "key: %s is already set (%s) and is not the key that was passed (%s). With a changed key every stored password, OAuth secret and API key "
            "that the old one sealed is unreadable, so it stays. %s"
            % (
                NAME,
                told(current),
                told(given),
                _which_opens(installation, options, "Pass the key that is there or none"),
            )
        )
    warnings = [] if options["seal"] is None or escrowed is not None else _check_saved(installation, options, current)
    return Plan(warnings=warnings, key=describe("kept", current))


def _check_saved(installation: Installation, options: Mapping[str, Any], current: str) -> list[str]:
    """Whether the key in .env may be saved for the first time as the one in force: somebody may have put another one there.

    Returns warnings. Raises Refusal if containers run with another key, or none opens what is stored, and the key does not open it either.
    """
    carried = {key: services for key, services in installation.container_keys().items() if key}
    others = {key: services for key, services in carried.items() if not same_cipher(key, current)}
    evidence = installation.holds_data()
    if evidence.state == "no" or evidence.state == "unknown" and carried and not others:
        return []
    if evidence.state == "unknown" and evidence.elsewhere and not others:
        return ["%s is saved without having been tried on what is stored: %s" % (NAME, evidence.reason)]
    try:
        _proves(installation, options, current)
    except Refusal:
        if carried and not others and not _can_try(installation, current):
            return ["%s is saved, since the containers run with it, but it was not tried on what is stored" % NAME]
        raise
    if others and not _can_try(installation, current):
        raise Refusal(
            "%s: .env (%s) and the containers of this project (%s) disagree, and nothing was changed or saved. %s"
            % (
                NAME,
                told(current),
                "; ".join("%s in %s" % (told(key), ", ".join(services)) for key, services in sorted(others.items())),
                "Nothing is stored yet that tells which is right. If the containers are right, remove the line from .env and run again: their "
                "key is recovered. If .env is right, apply it first (docker compose up -d), and run again",
            )
        )
    return []


def _can_try(installation: Installation, key: str) -> bool:
    """Whether anything is stored, and can be read, that tells keys apart."""
    try:
        return installation.opens([key]).looked > 0
    except AppwriteError:
        return False


def _restored(installation: Installation, options: Mapping[str, Any], current: str) -> Plan:
    """The escrow is the memory of this installation, but it may be that of another one, or of another time."""
    escrowed = options["escrowed"]
    carried = {
        key: services
        for key, services in installation.container_keys().items()
        if key and not same_cipher(key, escrowed)
    }
    proved = _proves(installation, options, escrowed)
    warnings = [_forgery(escrowed)] if is_public(escrowed) else []
    for key, services in carried.items():
        where = "the containers of this project (%s)" % ", ".join(services)
        if not proved and (current or not is_public(key)):
            raise Refusal(
                "%s: the escrow (%s) and %s (%s) disagree, and nothing was changed. %s"
                % (
                    NAME,
                    told(escrowed),
                    where,
                    told(key),
                    _which_opens(
                        installation,
                        options,
                        "Nothing is stored yet that tells which is right. If the escrow is right, remove the containers "
                        "(docker compose down, never with -v) and run again: the escrowed key is put back. If the containers are right, move the escrow file "
                        "away and run again: their key is recovered, and goes into a new escrow",
                    ),
                )
            )
        if proved and installation.holds_data().state == "yes":
            warnings.append(
                "%s run with another key (%s), which does not open what is stored as the escrowed one does"
                % (where, told(key))
            )
    return _set("restored", escrowed, warnings)


def _absent(installation: Installation, options: Mapping[str, Any], current: str) -> Plan:
    given = options["key"]
    carried = dict(installation.container_keys())
    unkeyed = carried.pop("", ())
    real = {key: services for key, services in carried.items() if not is_public(key)}
    if not real and not current and carried and installation.holds_data().state != "no":
        real = carried
    if len(real) > 1 and given is None:
        raise Refusal(
            "%s is absent from .env and the containers of this project disagree about it: %s. %s"
            % (
                NAME,
                "; ".join("%s in %s" % (told(key), ", ".join(services)) for key, services in sorted(real.items())),
                _which_opens(
                    installation,
                    options,
                    "Recreate the containers with the wrong one or remove them, or pass the right one as `key`",
                ),
            )
        )
    if len(real) == 1 and given in (None, *real):
        return _recovered(installation, options, current, *real.popitem())
    if given is not None:
        if not _proves(installation, options, given):
            _check_rivals(installation, given, current, real)
        return _set(
            "placeholder_replaced" if current else "supplied",
            given,
            [UNKEYED] if unkeyed and not real and installation.holds_data().state != "no" else [],
        )
    evidence = installation.holds_data()
    if evidence.state == "no":
        planned = _set("placeholder_replaced" if current else "generated", generate(options["length"]))
        planned.generated.update(filter(None, planned.changes.values()))
        return planned
    if current:
        return _placeholder_in_use(installation, current, evidence)
    raise Refusal(
        "%s is absent, and %s. A new key would make everything stored under the old one unreadable. %s"
        % (
            NAME,
            evidence.reason,
            "Pass the old key as `key`: look in backups of .env (.env.*.backup), in your password store, on a replica"
            if evidence.state == "yes"
            else evidence.remedy,
        )
    )


def _check_rivals(installation: Installation, given: str, current: str, real: Mapping[str, tuple[str, ...]]) -> None:
    """If a console account exists but nothing that would tell, a key that runs weighs more than one that is passed."""
    if real and given not in real:
        raise Refusal(
            "key: the containers of this project run with another key (%s) and not with the one passed (%s). Pass that key or none"
            % (
                "; ".join("%s in %s" % (told(key), ", ".join(services)) for key, services in sorted(real.items())),
                told(given),
            )
        )
    if current and not real:
        raise Refusal(
            "key: %s is %s and in use: %s. Another key would make that data unreadable. Leave `key` out"
            % (NAME, told(current), installation.holds_data().reason)
        )


def _recovered(
    installation: Installation, options: Mapping[str, Any], current: str, key: str, services: tuple[str, ...]
) -> Plan:
    _proves(installation, options, key)
    warnings = [
        "%s was %s in .env and has been recovered from the containers of this project (%s)"
        % (NAME, told(current) if current else "absent", ", ".join(services))
    ]
    if is_public(key):
        warnings.append(_forgery(key))
    return _set("recovered", key, warnings)


def _placeholder_in_use(installation: Installation, current: str, evidence: Evidence) -> Plan:
    if evidence.state == "unknown" and evidence.elsewhere:
        return Plan(
            warnings=[
                "%s It is kept for now, because %s, and data that may be there can only be read with it. %s: it is replaced then if nobody has signed up"
                % (_forgery(current), evidence.reason, evidence.remedy)
            ],
            key=describe("placeholder_kept", current),
        )
    if evidence.state == "unknown":
        raise Refusal(
            "%s is %s, and %s. It is replaced only if the installation provably holds no data. "
            "%s, or keep it with `placeholder` set to keep" % (NAME, told(current), evidence.reason, evidence.remedy)
        )
    return Plan(
        warnings=[
            "%s It is kept, because %s, and that data can only be read with it. To seal all of it under a key of your own, rehearse first: %s"
            % (_forgery(current), evidence.reason, rotation_of(installation.directory) + " --check")
        ],
        key=describe("placeholder_kept", current),
    )


def _proves(installation: Installation, options: Mapping[str, Any], key: str) -> bool:
    """Whether a key may be put in force: what is stored opens with it, or there is nothing stored. False if nothing is sealed that could prove it.

    Raises Refusal if the key does not open what is stored, or that cannot be found out.
    """
    evidence = installation.holds_data()
    if evidence.state == "no":
        return True
    candidates = _candidates(installation, options)
    wanted = next(each for each in candidates if same_cipher(each.key, key))
    option = "key" if key == options["key"] else NAME
    if evidence.state == "unknown":
        raise Refusal(
            "%s: %s is put in force only after it has opened some of what is stored, and %s. Nothing was changed. %s"
            % (option, wanted, evidence.reason, evidence.remedy)
        )
    try:
        opening = installation.opens([each.key for each in candidates])
    except AppwriteError as error:
        raise Refusal(
            "%s: %s is put in force only after it has opened some of what is stored. Nothing was changed: %s"
            % (option, wanted, error)
        ) from None
    if opening.looked and not opening.proves(wanted.key):
        raise Refusal(
            "%s: %s does not open %s, and nothing was changed. %s"
            % (
                option,
                wanted,
                "all of what is stored" if opening.opened[wanted.key] else "what is stored",
                _told_openers(installation, options, candidates, opening),
            )
        )
    return opening.looked > 0


def _which_opens(installation: Installation, options: Mapping[str, Any], undecided: str) -> str:
    """What to do if keys disagree, by what each of them opens; C(undecided) if nothing is stored that tells."""
    evidence = installation.holds_data()
    if evidence.state == "no":
        return undecided
    if evidence.state == "unknown":
        return "Which of them opens what is stored cannot be tried: %s. %s" % (evidence.reason, evidence.remedy)
    candidates = _candidates(installation, options)
    try:
        opening = installation.opens([each.key for each in candidates])
    except AppwriteError as error:
        return "Which of them opens what is stored cannot be tried: %s" % error
    return _told_openers(installation, options, candidates, opening) if opening.looked else undecided


def _told_openers(
    installation: Installation, options: Mapping[str, Any], candidates: Sequence[_Candidate], opening: Opening
) -> str:
    looked = "Of %d values looked at, " % opening.looked
    openers = [each for each in candidates if opening.opened[each.key]]
    told_each = " and ".join("%s opens %d" % (each, opening.opened[each.key]) for each in openers)
    if len(openers) == 1:
        return looked + told_each + ": " + openers[0].way
    if openers:
        return looked + (
            "%s. If a rotation of the key is unfinished, run %s. If none is, write the line of the key that is to stay into .env by hand%s; what another one "
            "has sealed is closed to it"
            % (told_each, rotation_of(installation.directory), " and " + _PASS if options["escrowed"] else "")
        )
    return looked + (
        "none opens with any key that is known here: %s. Look for the right one in backups of .env (.env.*), in your password store, on a replica; then "
        "%spass it as `key`"
        % (
            ", ".join(str(each) for each in candidates if each.key),
            _out_of_the_way(installation, dict(options, key=None)),
        )
    )


def _candidates(installation: Installation, options: Mapping[str, Any]) -> list[_Candidate]:
    """Every key that is known here, of those that open the same the first."""
    current, given, escrowed = in_force(installation.values), options["key"], options["escrowed"]
    carried = installation.container_keys()
    first, rotate = _out_of_the_way(installation, options), rotation_of(installation.directory)
    known = [
        (escrowed, "the escrowed key", "remove the line from .env and run again: it is put back"),
        (
            current if _is_own(current) else None,
            "the key in .env",
            _PASS if escrowed else "leave `key` out, and it stays",
        ),
        (given, "the key that was passed", "remove the line from .env and run again: it is set"),
        (options["pending"], "the pending key of the escrow", "a rotation of the key is unfinished, run " + rotate),
    ]
    known += [
        (
            key,
            "the key of the containers (%s)" % ", ".join(services),
            first
            + (
                "run again: it is recovered from there"
                if len(list(filter(_is_own, carried))) == 1
                else "pass it as `key`"
            ),
        )
        for key, services in sorted(carried.items())
        if _is_own(key)
    ]
    known += [
        (
            key,
            "an older key of the escrow",
            "write its line into .env by hand (ansible-vault view shows it), and " + _PASS,
        )
        for key in options["candidates"] or []
    ]
    known += [
        (
            key,
            "the public default",
            first
            + "put it into .env by hand if it is not there, and run again: it is kept until a rotation replaces it: "
            + rotate,
        )
        for key in public_keys()
    ]
    known += [
        (key, "no key at all", "it was stored while there was none, so no key can open it")
        for key in carried
        if not key
    ]
    found: list[_Candidate] = []
    for key, name, way in known:
        if key is not None and not any(same_cipher(key, each.key) for each in found):
            found.append(_Candidate(key, name, way))
    return found


def _out_of_the_way(installation: Installation, options: Mapping[str, Any]) -> str:
    """What to do first so that another key than these comes into force."""
    steps = {
        "remove the line from .env": _is_own(in_force(installation.values)),
        "move the escrow file away": options["escrowed"],
        "leave `key` out": options["key"],
    }
    return "".join(step + ", then " for step, needed in steps.items() if needed)


def _is_own(key: str) -> bool:
    return bool(key) and key not in public_keys()


def _forgery(key: str) -> str:
    what = (
        "the public default of Appwrite's installer" if key in public_keys() else "a placeholder, which can be guessed"
    )
    return _FORGERY % (NAME, what)


def _set(state: str, key: str, warnings: list[str] | None = None) -> Plan:
    return Plan(changes={NAME: key}, warnings=list(warnings or []), key=describe(state, key))
