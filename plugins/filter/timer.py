# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit's timer is called, and what its configuration on a host says. See the C(.yml) of each filter's name."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

_LONGEST = 150
"""A name of a file has 255 characters at most, and Ansible and systemd add to it."""
_SLASH = ord("/")
_PLAIN = (string.ascii_letters + string.digits).encode()
_DAILY = re.compile(r"\*-\*-\* ([01]?[0-9]|2[0-3]):([0-5][0-9])(?::[0-5][0-9])?")
_FINGERPRINT = re.compile("[0-9a-f]{16}")
_LASTS = 7
"""days after which a proof of the escrow is written down again"""


def unit_name(directory: Any) -> str:
    """Raises AnsibleFilterError unless it is an absolute path."""
    if not isinstance(directory, str) or directory[:1] not in ("/", "~"):
        raise AnsibleFilterError(
            "unit_name: %r is not an absolute path; give the whole path of the project's directory" % (directory,)
        )
    path = os.path.normpath(directory).lstrip("/").encode("utf-8", "surrogatepass")
    name = "".join("-" if byte == _SLASH else chr(byte) if byte in _PLAIN else "_%02x" % byte for byte in path)
    if len(name) > _LONGEST:
        return "--%s" % hashlib.sha256(path).hexdigest()
    # The dash tells /~/appwrite from ~/appwrite.
    return name if name and "_" not in name or directory[0] == "~" else "-" + name


def cron_time(schedule: Any) -> str:
    """Raises AnsibleFilterError if cron knows no such schedule."""
    found = _DAILY.fullmatch(str(schedule))
    if not found:
        raise AnsibleFilterError(
            "appwrite_audit_timer_schedule: this host has no systemd, and for cron only a time of the day can be used; %s is none. "
            "Give one such as *-*-* 03:17:00" % schedule
        )
    return "%d %d" % (int(found[2]), int(found[1]))


def timer_configuration(
    audited: Any, settled: Mapping[str, Any], endpoint: Any, slurped: Any, textfile: str
) -> dict[str, Any]:
    told = audited.get("parameters") if isinstance(audited, Mapping) else None
    parameters = (
        told
        if isinstance(told, Mapping)
        else {**settled["project"], "project_src": settled["escrow"]["project_src"], "endpoint": endpoint}
    )
    escrow = _kept_proof(settled["escrow"]["state"], _configured(slurped))
    return {
        "audit": {**parameters, "escrow": escrow, "waivers": settled["waivers"], "third_parties": []},
        "textfile": textfile,
    }


def _kept_proof(escrow: Mapping[str, Any], known: Any) -> Mapping[str, Any]:
    """Of what the controller knows and the host was told before, the one that the host is told."""
    before = _proof(known)
    if before is None:
        return escrow
    now = _proof(escrow)
    if (
        now is None
        and not escrow.get("unseen")
        or now is not None
        and (now[0] != before[0] or not 0 <= (now[1] - before[1]).days <= _LASTS)
    ):
        return escrow
    return {"fingerprint": before[0], "proved": before[1].isoformat()}


def _configured(slurped: Any) -> Any:
    """What a configuration says of the escrow; C(None) if it is damaged: a host may have anything there."""
    try:
        return json.loads(base64.b64decode(slurped))["audit"]["escrow"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _proof(escrow: Any) -> tuple[str, datetime.date] | None:
    """Fingerprint and day; C(None) if either is not what it should be."""
    if not isinstance(escrow, Mapping) or not all(
        isinstance(escrow.get(name), str) for name in ("fingerprint", "proved")
    ):
        return None
    try:
        proved = datetime.datetime.strptime(escrow["proved"], "%Y-%m-%d").date()
    except ValueError:
        return None
    return (str(escrow["fingerprint"]), proved) if _FINGERPRINT.fullmatch(escrow["fingerprint"]) else None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"unit_name": unit_name, "cron_time": cron_time, "timer_configuration": timer_configuration}
