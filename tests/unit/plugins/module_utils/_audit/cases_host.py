# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host, and what the container appwrite reaches and may write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit._model import Observation, Unseen
from unit.plugins.module_utils._audit.observations import secured

NO_DOCKER = Unseen("docker is not installed on this host")
NOT_ASKED = {"not asked": replace(secured(), inside=Unseen("the container appwrite does not run"))}


def reaching(**answers: bool | None) -> Observation:
    made = secured()
    return replace(made, inside=replace(made.inside, reachable={**made.inside.reachable, **answers}))


def with_volumes(**volumes: tuple[bool, bool, int | None]) -> Observation:
    made = secured()
    return replace(made, inside=replace(made.inside, volumes={**made.inside.volumes, **volumes}))


def reached(key: str, what: str) -> dict[str, Any]:
    return {
        "fail": {"no answer": (reaching(**{key: False}), f"{what} does not answer")},
        "pass": {"answers": (reaching(**{key: True}), f"{what} answers")},
        "not_applicable": {"not configured": (reaching(**{key: None}), f"{what} is not configured")}, "unknown": NOT_ASKED,
    }


CASES = {
    "host.observed": {
        "fail": {
            "no docker": (replace(secured(), config=NO_DOCKER, containers=NO_DOCKER), "the project: docker is not installed", "the containers: docker"),
            "no file": (replace(secured(), env=Unseen("/opt/appwrite/.env does not exist")), ".env: /opt/appwrite/.env does not exist"),
        },
        "pass": {"all": (secured(), "/opt/appwrite"), "all but the inside and the endpoint": replace(secured(), inside=NO_DOCKER, endpoint=NO_DOCKER)},
    },
    "host.database_reached": reached("database", "the database"),
    "host.cache_reached": reached("cache", "Redis"),
    "host.mail_reached": reached("smtp", "the mail server"),
    "host.scanner_reached": reached("antivirus", "the virus scanner"),
    "host.volumes_usable": {
        "fail": {
            "read-only": (with_volumes(uploads=(True, False, 20)), "uploads is not writable"),
            "two": (with_volumes(config=(False, False, 20), cache=(False, True, 20)), "cache is not readable; config is not readable and not writable"),
        },
        "pass": {"all": (secured(), "cache, certificates, config, uploads")},
        "unknown": {"none": replace(secured(), inside=replace(secured().inside, volumes={})), **NOT_ASKED},
    },
    "host.disk_free": {
        "fail": {
            "at the limit": (with_volumes(uploads=(True, True, 80)), "80 % or more are used where uploads is"),
            "two, one not told": (with_volumes(uploads=(True, True, 99), cache=(True, True, 85), config=(True, True, None)), "cache, uploads are"),
        },
        "pass": {"below": with_volumes(uploads=(True, True, 79))},
        "unknown": {
            "not told": (with_volumes(config=(True, True, None)), "how full config is"),
            "none": replace(secured(), inside=replace(secured().inside, volumes={})), **NOT_ASKED,
        },
    },
}
