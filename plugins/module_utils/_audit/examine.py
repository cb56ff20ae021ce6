# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of one installation from its options to its result, with Ansible or without.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import in_force, shown_fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import third_parties as _third_parties
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import audit, score, waiver_of, worst
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import THIRD_PARTIES, Observation, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.observe import observe
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.sharing import holder_of, public
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS

AUDIT_OPTIONS: dict[str, dict[str, Any]] = {
    **PROJECT_OPTIONS,
    "endpoint": {
        "type": "dict",
        "default": {},
        "options": {
            "host": {"type": "str"},
            "http_port": {"type": "int", "default": 80},
            "https_port": {"type": "int", "default": 443},
        },
    },
    "escrow": {
        "type": "dict",
        "options": {"fingerprint": {"type": "str"}, "proved": {"type": "str"}, "unseen": {"type": "str"}},
    },
    "waivers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "control": {"type": "str", "required": True},
            "justification": {"type": "str", "required": True},
            "expires": {"type": "str", "required": True},
        },
    },
    "third_parties": {"type": "list", "elements": "str", "choices": list(THIRD_PARTIES), "default": []},
    "third_party_timeout": {"type": "int", "default": 300},
}


def examine(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What C(audit_info) returns. Raises AppwriteError if an option makes no sense."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    if parameters["third_party_timeout"] <= 0:
        raise AppwriteError(
            "third_party_timeout: %d is no time to run in; give a number of seconds above 0"
            % parameters["third_party_timeout"]
        )
    for name in ("http_port", "https_port"):
        if not 0 < parameters["endpoint"][name] < 65536:
            raise AppwriteError(
                "endpoint.%s: %d is no port; give one from 1 to 65535" % (name, parameters["endpoint"][name])
            )
    waivers = [waiver_of(entry, "waivers[%d]." % number) for number, entry in enumerate(parameters["waivers"])]
    observation = observe(parameters, today)
    others = _third_parties.run(parameters["third_parties"], observation, parameters["third_party_timeout"])
    findings = audit(observation, waivers, others)
    return {
        "changed": False,
        "warnings": [],
        "parameters": {name: parameters[name] for name in [*PROJECT_OPTIONS, "endpoint"]},
        "release": observation.release,
        "project": "" if isinstance(observation.config, Unseen) else observation.config.get("name", ""),
        "score": score(findings),
        "worst": worst(findings),
        "findings": [finding.public() for finding in findings],
        "certificate_expires": _certificate_expires(observation),
        "escrow_proved": _escrow_proved(observation),
        "compared": public(holder_of(observation)),
    }


def _certificate_expires(observation: Observation) -> str | None:
    endpoint = observation.endpoint
    if isinstance(endpoint, Unseen) or isinstance(endpoint.certificate, Unseen):
        return None
    return endpoint.certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")


def _escrow_proved(observation: Observation) -> str | None:
    escrow = observation.escrow
    if (
        isinstance(escrow, Unseen)
        or isinstance(observation.env, Unseen)
        or escrow.proved is None
        or escrow.fingerprint is None
    ):
        return None
    return (
        escrow.proved.isoformat() if escrow.fingerprint == shown_fingerprint(in_force(observation.env.values)) else None
    )
