# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails a host for what its audit found, once the report is written. See C(plugins/modules/audit_verdict.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import ControllerAction, validated

REPORTED, SETTLED = "__appwrite_audit_reported", "__appwrite_audit_settled"


class ActionModule(ControllerAction):
    """Reads the report's summary as it is: to template it would copy what is said of all hosts, on each of them."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        validated({}, self._task.args)
        variables = task_vars or {}
        failing, msg = verdict(
            variables[REPORTED]["report"],
            variables[SETTLED]["escrow"]["host"],
            variables["ansible_play_hosts"],
            variables["ansible_play_batch"],
        )
        return {"changed": False, "failed": failing, "msg": msg, "_ansible_verbose_always": True}


def verdict(report: Mapping[str, Any], host: str, play_hosts: Sequence[str], batch: Sequence[str]) -> tuple[bool, str]:
    """Whether the host fails, and why.

    report: the summary that C(audit_report) returns; play_hosts, batch: the hosts that are still in the play, and in its present batch.
    """
    # With `serial`, a batch of which every host fails would end the play: the first host of the last one answers for the earlier batches.
    present = set(batch)
    earlier = [one for one in play_hosts if one not in present] if batch and host == batch[0] else []
    failing = {one: report["failing"][one] for one in (host, *earlier) if one in report["failing"]}
    said = [f"{one}: {', '.join(controls)}. " for one, controls in failing.items()]
    if not failing:
        said = [f"Score {report['hosts'][host]['score']} of 100. "]
    return bool(failing), f"{''.join(said)}The report is {report['path']}"
