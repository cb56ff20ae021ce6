# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers to its audit, checked before anything is made of it: whoever has the host has the answer, too.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    GROUPS,
    SEVERITIES,
    STATUSES,
    THIRD_PARTIES,
    Control,
    Finding,
    Holder,
    Unseen,
    Waiver,
)

FIELDS = ("id", "title", "severity", "group", "status", "evidence", "rationale", "remedy", "reference")
LONGEST = 20_000
"""characters of one text; a remedy that names thousands of files is cut"""
_MOST_FINDINGS = 1000
_MOST_TEXT = 2_000_000
_LONGEST_RELEASE = 100
_LONGEST_ECHO = 40
_CONTROLS = {control.id: control for control in CONTROLS}
_FOREIGN = re.compile(r"(%s)\.[!-~]{1,500}" % "|".join(THIRD_PARTIES))
_DIGEST = re.compile("[0-9a-f]{16}")
_RELEASE = re.compile("(?:[0-9.]{5,40})?")
"""no prose, since other hosts are told it"""
_MOST_VALUES = 1000
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


class NotAReport(Exception):
    """The answer is none, and why: in words that may be shown."""


def checked(
    audit: Mapping[str, Any], waivers: Sequence[Waiver] | None, today: datetime.date
) -> tuple[str, list[Finding]]:
    """The release, and the findings: one for each control in their order, then those of other auditors. Raises NotAReport.

    Of a control the host says the status, the evidence, and how it is mended there; all else is what this collection says of it. C(waivers)
    are those that the host was given: another counts for nothing. If they are C(None), those of the answer are believed.
    """
    if not isinstance(audit.get("release"), str):
        raise NotAReport("release %s" % _instead("a text", audit.get("release")))
    score = audit.get("score")
    if not isinstance(score, int) or isinstance(score, bool) or not 0 <= score <= 100:
        raise NotAReport("score %s" % _instead("a whole number from 0 to 100", score))
    entries = audit.get("findings")
    if not isinstance(entries, list):
        raise NotAReport("findings %s" % _instead("a list", entries))
    if len(entries) > _MOST_FINDINGS:
        raise NotAReport("there are %d findings, more than %d" % (len(entries), _MOST_FINDINGS))
    found: dict[str, Finding] = {}
    for number, entry in enumerate(entries):
        finding = _finding(entry, "findings[%d]" % number, waivers, today)
        if finding.id in found:
            raise NotAReport("findings[%d].id is %s, which an earlier finding has already" % (number, finding.id))
        found[finding.id] = finding
    if (
        sum(len(text) for finding in found.values() for text in finding.public().values() if isinstance(text, str))
        > _MOST_TEXT
    ):
        raise NotAReport("its texts are longer than %d characters" % _MOST_TEXT)
    foreign = sorted(
        (finding for finding in found.values() if finding.id not in _CONTROLS),
        key=lambda one: (GROUPS.index(one.group), one.id),
    )
    return shortened(audit["release"], _LONGEST_RELEASE), [
        found.get(control.id) or _unsaid(control) for control in CONTROLS
    ] + foreign


def visible(text: Any) -> str:
    """The same with every character that shows nothing, or turns the text around it, written as its number. XML takes what is left."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        char
        if char.isprintable() or char in "\n\t\u200d" or unicodedata.category(char) == "Zs"
        else "\\u{%04x}" % ord(char)
        for char in shown
    )


def shortened(text: str, longest: int = LONGEST) -> str:
    """As C(visible), and of bounded length."""
    shown = visible(text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def holder_in(audit: Mapping[str, Any], host: str) -> Holder | None:
    """By what it is compared with the others, C(None) if the answer leaves that out. host: its name, fit to be shown. Raises NotAReport."""
    told = audit.get("compared")
    if told is None:
        return None
    if not isinstance(told, Mapping):
        raise NotAReport("compared %s" % _instead("a dictionary", told))
    fingerprint, values, unseen, release = (told.get(name) for name in ("fingerprint", "opens", "unseen", "release"))
    if fingerprint is not None and not (isinstance(fingerprint, str) and _DIGEST.fullmatch(fingerprint)):
        raise NotAReport("compared.fingerprint %s" % _instead("a fingerprint", fingerprint))
    if not isinstance(unseen, str):
        raise NotAReport("compared.unseen %s" % _instead("a text", unseen))
    if not (isinstance(release, str) and _RELEASE.fullmatch(release)):
        raise NotAReport("compared.release %s" % _instead("a release", release))
    if values is not None and (not isinstance(values, Mapping) or len(values) > _MOST_VALUES):
        raise NotAReport("compared.opens is not a dictionary of at most %d" % _MOST_VALUES)
    for name, opens in (values or {}).items():
        if not isinstance(name, str) or not _DIGEST.fullmatch(name) or not isinstance(opens, bool):
            raise NotAReport("compared.opens has what is no digest, or neither yes nor no")
    return Holder(
        host,
        fingerprint,
        Unseen(shortened(unseen)) if values is None else dict(values),
        told.get("outside") is True,
        str(release),
    )


def _finding(entry: Any, where: str, waivers: Sequence[Waiver] | None, today: datetime.date) -> Finding:
    if not isinstance(entry, Mapping):
        raise NotAReport("%s %s" % (where, _instead("a dictionary", entry)))
    for name in FIELDS:
        if not isinstance(entry.get(name), str):
            raise NotAReport("%s.%s %s" % (where, name, _instead("a text", entry.get(name))))
    if len(entry) > len(FIELDS) + ("waiver" in entry):
        raise NotAReport("%s has fields that no finding has" % where)
    for name, known in (("severity", SEVERITIES), ("status", STATUSES), ("group", GROUPS)):
        if entry[name] not in known:
            raise NotAReport("%s.%s is %s, none of %s" % (where, name, _echo(entry[name]), ", ".join(known)))
    if entry["id"] not in _CONTROLS and not _FOREIGN.fullmatch(entry["id"]):
        raise NotAReport("%s.id is %s, which is not a control" % (where, _echo(entry["id"])))
    if entry["group"] != entry["id"].partition(".")[0]:
        raise NotAReport("%s.group is not the first part of its id" % where)
    status, waiver = str(entry["status"]), _waiver(entry.get("waiver"), entry["id"], where + ".waiver")
    if status == "waived" and waiver is None:
        raise NotAReport("%s.waiver is missing" % where)
    if status in ("pass", "not_applicable") or waivers is not None and waiver not in waivers:
        waiver = None
    if status == "waived" and (waiver is None or waivers is not None and waiver.expires < today):
        status = "fail"
    if waiver is not None:
        waiver = replace(waiver, justification=shortened(waiver.justification))
    control = _CONTROLS.get(entry["id"])
    if control is None:
        title, rationale, reference = (shortened(entry[name]) for name in ("title", "rationale", "reference"))
        return Finding(
            str(entry["id"]),
            title,
            str(entry["severity"]),
            str(entry["group"]),
            status,
            shortened(entry["evidence"]),
            rationale,
            shortened(entry["remedy"]),
            reference,
            waiver,
        )
    remedy = shortened(entry["remedy"]) if status in ("fail", "waived") else control.remedy
    return _of(control, status, shortened(entry["evidence"]), remedy, waiver)


def _waiver(entry: Any, control: str, where: str) -> Waiver | None:
    if entry is None:
        return None
    if (
        not isinstance(entry, Mapping)
        or set(entry) != {"justification", "expires"}
        or not all(isinstance(text, str) for text in entry.values())
    ):
        raise NotAReport("%s must have a justification and a day" % where)
    try:
        return Waiver(
            control,
            str(entry["justification"]),
            datetime.date.fromisoformat(_DAY.fullmatch(entry["expires"]) and entry["expires"] or ""),
        )
    except ValueError:
        raise NotAReport("%s.expires is %s, which is not a date" % (where, _echo(entry["expires"]))) from None


def _unsaid(control: Control) -> Finding:
    return _of(control, "unknown", "the host's answer says nothing of this", control.remedy, None)


def _of(control: Control, status: str, evidence: str, remedy: str, waiver: Waiver | None) -> Finding:
    return Finding(
        control.id,
        control.title,
        control.severity,
        control.group,
        status,
        evidence,
        control.rationale,
        remedy,
        control.reference,
        waiver,
    )


def _instead(wanted: str, value: Any) -> str:
    """Why a value will not do. Of one that is no text only the kind is said: it may be of any size and depth."""
    if value is None:
        return "is missing"
    return "is %s, not %s" % (_echo(value) if isinstance(value, str) else "of the kind %s" % _kind(value), wanted)


def _kind(value: Any) -> str:
    kinds = (("yes or no", bool), ("number", (int, float)), ("list", list), ("dictionary", Mapping))
    return next((name for name, kind in kinds if isinstance(value, kind)), "unknown")


def _echo(text: str) -> str:
    return "'%s'" % shortened(text, _LONGEST_ECHO)
