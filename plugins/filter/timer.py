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
_FINGERPRINT = re.compile("[0-9a-f]{16}")
_LASTS = 7
"""days after which a proof of the escrow is written down again"""


def unit_name(directory: Any) -> str:
    if not isinstance(directory, str) or directory[:1] not in ("/", "~"):
        raise AnsibleFilterError(
            "unit_name: %r is not an absolute path; give the whole path of the project's directory" % (directory,)
        )
    path = os.path.normpath(directory).lstrip("/").encode("utf-8", "surrogatepass")
    name = "".join("-" if byte == _SLASH else chr(byte) if byte in _PLAIN else "_%02x" % byte for byte in path)
    if len(name) > _LONGEST:
        return "--%s" % hashlib.sha256(path).hexdigest()
    # No name of 1.0.0, which wrote each of these bytes as _, begins with a dash.
    return name if name and "_" not in name or directory[0] == "~" else "-" + name


def audits_project(slurped: Any, directory: Any) -> bool:
    told = _audit(slurped).get("project_src")
    return (
        isinstance(told, str) and isinstance(directory, str) and os.path.normpath(told) == os.path.normpath(directory)
    )


def kept_proof(escrow: Any, slurped: Any) -> Any:
    known = _audit(slurped).get("escrow")
    before = _proof(known)
    if before is None or not isinstance(escrow, Mapping):
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


def _audit(slurped: Any) -> Mapping[str, Any]:
    """The options of the audit in a configuration, empty where it is none: a host may have anything there."""
    try:
        audit = json.loads(base64.b64decode(slurped))["audit"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return audit if isinstance(audit, Mapping) else {}


def _proof(escrow: Any) -> tuple[str, datetime.date] | None:
    """Fingerprint and day, where these are what they should be."""
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
        return {"unit_name": unit_name, "audits_project": audits_project, "kept_proof": kept_proof}
