# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit as a program on the managed host, without Ansible: for a timer, which keeps metrics of it, and for a person.

The lookup C(audit_program) packs it and what it imports into one file.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import metrics
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.examine import AUDIT_OPTIONS, examine
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import SEVERITIES, STATUSES
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, unforeseen, words

CONFIG_OPTIONS: dict[str, dict[str, Any]] = {
    "audit": {"type": "dict", "required": True, "options": AUDIT_OPTIONS},
    "textfile": {"type": "path", "required": True},
}
"""The configuration, a JSON object: the options of C(audit_info), and the file to write the metrics into."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the metrics and returns 0, or prints the findings and returns 1 if any fails. 2 if the audit could not be made."""
    parser = argparse.ArgumentParser(
        prog="appwrite-audit",
        description="Audits the security of a self-hosted Appwrite and writes metrics for Prometheus. Changes nothing else.",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="what to audit, and the file for the metrics")
    parser.add_argument(
        "--print",
        action="store_true",
        help="print the findings, the failing ones first, instead of writing the metrics",
    )
    chosen = parser.parse_args(arguments)
    try:
        config = _read(chosen.config)
        if not chosen.print:
            _keep(config)
            return 0
        result = examine(config["audit"])
    except AppwriteError as error:
        return _complain(str(error))
    except Exception as error:  # pylint: disable=broad-exception-caught  # a timer's log gets a sentence
        return _complain(unforeseen(error))
    sys.stdout.buffer.write(_listing(config["audit"]["project_src"], result).encode("utf-8"))
    return int(any(finding["status"] == "fail" for finding in result["findings"]))


def _read(path: str) -> Mapping[str, Any]:
    try:
        with words("--config: %s" % path, "read"), open(path, encoding="utf-8") as stream:
            given = json.load(stream)
    except ValueError:
        raise AppwriteError(
            "--config: %s is not JSON; run the role appwrite_audit again, which writes it" % path
        ) from None
    return _filled(CONFIG_OPTIONS, given, "--config: ")


def _filled(options: Mapping[str, Mapping[str, Any]], given: Any, where: str) -> dict[str, Any]:
    """What Ansible makes of a module's options: each is there, with its default if it was not given."""
    if not isinstance(given, dict):
        raise AppwriteError("%sis not an object" % where)
    for name in sorted(set(given) - set(options)):
        raise AppwriteError("%s%s: there is no such option" % (where, name))
    found = {}
    for name, option in options.items():
        value = given[name] if given.get(name) is not None else option.get("default")
        if value is None and option.get("required"):
            raise AppwriteError("%s%s: is missing" % (where, name))
        if value is not None and "options" in option:
            inner = "%s%s: " % (where, name)
            value = (
                [_filled(option["options"], item, inner) for item in value]
                if option["type"] == "list"
                else _filled(option["options"], value, inner)
            )
        found[name] = value
    return found


def _keep(config: Mapping[str, Any]) -> None:
    """Metrics are also written of an audit that could not be made."""
    result = None
    try:
        result = examine(config["audit"])
    finally:
        _write(
            config["textfile"], metrics.text(os.path.abspath(config["audit"]["project_src"]), int(time.time()), result)
        )


def _write(path: str, text: str) -> None:
    """In one step, so that no half of it is ever read. The directory may belong to another user, so nothing there is followed."""
    with words("textfile: %s" % path, "written"), _files.beside(path) as (directory, name):
        _files.replace(directory, {name: text.encode("utf-8", "backslashreplace")}, 0o644, lasting=False)


def _listing(directory: str, result: Mapping[str, Any]) -> str:
    lines = ["%s: Appwrite %s, score %d of 100" % (directory, result["release"], result["score"])]
    for finding in sorted(
        result["findings"], key=lambda one: (STATUSES.index(one["status"]), SEVERITIES.index(one["severity"]))
    ):
        lines.append("%-14s  %-8s  %s: %s" % (finding["status"], finding["severity"], finding["id"], finding["title"]))
        if finding["status"] not in ("pass", "not_applicable"):
            lines.append("    Found: %s" % finding["evidence"])
        if finding["status"] in ("fail", "unknown"):
            lines.append("    Remedy: %s" % finding["remedy"])
        if finding["status"] == "waived":
            lines.append("    Waived until %s: %s" % (finding["waiver"]["expires"], finding["waiver"]["justification"]))
    return "".join(_printable(line) + "\n" for line in lines)


def _complain(text: str) -> int:
    sys.stderr.write("appwrite-audit: %s\n" % _printable(text))
    return 2


def _printable(text: str) -> str:
    """What was found may come from a server on the network, and a terminal obeys control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)
