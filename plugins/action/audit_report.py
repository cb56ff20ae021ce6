# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what C(audit_info) found on all hosts of a play as reports on the controller. See C(plugins/modules/audit_report.py)."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import waiver_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES, Waiver
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, reason, words
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import ControllerAction, validated
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import (
    WHEN,
    counts,
    fails,
    outline,
    report,
    visible,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.junit import junit
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.markdown import markdown
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.page import page
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.sarif import sarif

_WAIVER = ("control", "justification", "expires")
OPTIONS: dict[str, dict[str, Any]] = {
    "report_dir": {"type": "path", "required": True},
    "hosts": {
        "type": "list",
        "elements": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "audit": {"type": "raw"},
            "waivers": {
                "type": "list",
                "elements": "dict",
                "options": {name: {"type": "str", "required": True} for name in _WAIVER},
            },
        },
    },
    "keep": {"type": "int", "default": 90},
    "fail_on": {"type": "str", "choices": [*SEVERITIES, "never"], "default": "never"},
}
SETTLED, AUDITED = "__appwrite_audit_settled", "__appwrite_audit_audited"
_KEPT = re.compile(r"\d{8}T\d{6}Z\.json")


class ActionModule(ControllerAction):
    """Runs on the controller alone, in check mode too."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        options = self._options()
        still = _still_to_come(self._task_vars)
        pending = [one["host"] for one in options["hosts"] if not one["audit"] and one["host"] in still]
        present = report(options["hosts"], datetime.datetime.now(datetime.timezone.utc).strftime(WHEN))
        self._directory = os.path.abspath(options["report_dir"])
        with words("report_dir: %s" % self._directory, "written", AnsibleActionFail):
            warnings = self._write(present, 0 if pending else options["keep"])
        summary = {**self._summary(present, options["hosts"], options["fail_on"]), "pending": pending}
        return {"changed": False, "report": summary, **({"warnings": warnings} if warnings else {})}

    def _options(self) -> dict[str, Any]:
        """An answer is kept from the validation, which copies it, of whatever depth and size a host made it."""
        given = self._task.args.get("hosts")
        if given is None:
            given = [self._registered(host) for host in self._task_vars["ansible_play_hosts_all"]]
        entries = given if isinstance(given, list) else []
        answers = [entry.get("audit") if isinstance(entry, Mapping) else None for entry in entries]
        told = [{**entry, "audit": None} if isinstance(entry, Mapping) else entry for entry in entries]
        options = validated(OPTIONS, {**self._task.args, **({"hosts": told} if entries else {})})
        if options["keep"] < 0:
            raise AnsibleActionFail("keep: must be at least 0, got %d" % options["keep"])
        options["hosts"] = [
            {"host": one["host"], "audit": answer, "waivers": _waivers(one["waivers"], "hosts[%d].waivers" % number)}
            for number, (one, answer) in enumerate(zip_longest(options["hosts"], answers))
        ]
        return options

    def _registered(self, host: str) -> dict[str, Any]:
        """What the role appwrite_audit registered on a host of the play. One that was refused on the controller was not asked.

        It is not templated: that would copy every text of every host.
        """
        variables = self._task_vars["hostvars"].raw_get(host)
        settled = variables.get(SETTLED) or {}
        answer = variables.get(AUDITED) or (settled if settled.get("failed") else None)
        return {"host": host, "audit": answer, "waivers": settled.get("waivers") or []}

    def _write(self, present: dict[str, Any], keep: int) -> list[str]:
        """Nothing is replaced before all is on disk. Returns warnings."""
        history = os.path.join(self._directory, "history")
        for directory in (self._directory, history):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        copy = present["generated_at"].translate({ord("-"): None, ord(":"): None}) + ".json"
        older, warnings = _older(history, copy)
        text = json.dumps(present, indent=2, ensure_ascii=False) + "\n"
        formats = {
            "report.json": text,
            "report.sarif": sarif(present),
            "report.junit.xml": junit(present),
            "report.md": markdown(present),
            "report.html": page(present, older),
            **({os.path.join("history", copy): text} if keep else {}),
        }
        with _files.entered(self._directory) as directory:
            _files.replace(directory, {name: content.encode("utf-8") for name, content in formats.items()})
        if keep:
            for name in _kept(history)[:-keep]:
                if name != copy:  # a clock that was put back makes the newest the oldest
                    os.unlink(os.path.join(history, name))
        return warnings

    def _summary(self, present: dict[str, Any], asked: list[Mapping[str, Any]], fail_on: str) -> dict[str, Any]:
        """By the names of the inventory, which are not always fit to be shown."""
        found = {host["host"]: host for host in present["hosts"]}
        hosts = {one["host"]: found[visible(one["host"])] for one in asked}
        levels = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on in SEVERITIES else ()
        failing = {
            name: [
                finding["id"]
                for level in levels
                for finding in host["findings"]
                if fails(finding) and finding["severity"] == level
            ]
            for name, host in hosts.items()
        }
        return {
            "path": os.path.join(self._directory, "report.html"),
            "generated_at": present["generated_at"],
            "hosts": {name: {"score": host["score"], **counts(host)} for name, host in hosts.items()},
            "failing": {name: found for name, found in failing.items() if found},
        }


def _still_to_come(variables: Mapping[str, Any]) -> set[str]:
    """The hosts of later batches. One that the play has been to is none, though it answered nothing, or what Ansible cannot keep."""
    every, batch = list(variables.get("ansible_play_hosts_all", ())), set(variables.get("ansible_play_batch", ()))
    begun = max((number for number, name in enumerate(every, 1) if name in batch), default=0)
    return set(every[begun:]).intersection(variables.get("ansible_play_hosts", ()))


def _waivers(given: list[dict[str, str]] | None, where: str) -> list[Waiver] | None:
    try:
        return (
            None
            if given is None
            else [waiver_of(entry, "%s[%d]." % (where, number)) for number, entry in enumerate(given)]
        )
    except AppwriteError as error:
        raise AnsibleActionFail(str(error)) from None


def _kept(history: str) -> list[str]:
    return sorted(name for name in os.listdir(history) if _KEPT.fullmatch(name))


def _older(history: str, before: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The reports that are kept, oldest first, and a warning for each that cannot be read."""
    found, warnings = [], []
    for name in _kept(history):
        path = os.path.join(history, name)
        try:
            with open(path, encoding="utf-8") as stream:
                text = stream.read()
            if name < before:
                found.append(outline(text))
        except OSError as error:
            warnings.append("%s cannot be read: %s; it is left out of the trend" % (path, reason(error)))
        except ValueError:
            warnings.append("%s is damaged and left out of the trend; remove it" % path)
    return found, warnings
