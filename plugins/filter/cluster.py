# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the rotation of a cluster from its next step, by what each of its hosts has answered. See the C(.yml) of each filter's name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

_CLOCK = 10
"""seconds by which the clocks of two hosts may differ, so that backups and files have the right order"""
_SAME = {"release": "the releases of Appwrite", "key": "the encryption keys"}


def cluster_trouble(
    members: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    batch: Collection[str],
    register: str,
    phases: Collection[str],
) -> list[str]:
    """A sentence for each host that has not proved in this play that it is in one of the phases."""
    found = []
    for host in members:
        answer = hostvars[host].get(register)
        if host not in batch:
            found.append(f"{host} has failed or cannot be reached")
        elif not isinstance(answer, Mapping) or answer.get("failed") or answer.get("phase") not in phases:
            words = answer.get("msg") if isinstance(answer, Mapping) else None
            found.append(f"{host}: {words}" if words else f"{host} has not answered that it is {' or '.join(phases)}")
    return found


def cluster_differences(members: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], register: str) -> list[str]:
    """A sentence for each thing that the hosts must have in common, by what each of them said of itself. One that stands still has been compared before.

    The one that conducted a rotation that is unfinished alone knows how far it is.
    """
    answers = {host: hostvars[host].get(register) or {} for host in members}
    running = {host: answer for host, answer in answers.items() if answer.get("database") is not None}
    first, *others = members
    found = [
        f"{host} conducts a rotation that is unfinished, and {first} is the first host of the cluster in the inventory now: put the order back"
        for host in others
        if answers[host].get("part") == "conductor"
    ]
    if not found and answers[first].get("part") == "member":
        found.append(
            f"another host than {first} conducts a rotation that is unfinished, and {first} is the first host of the cluster in the inventory now: put the "
            "order back"
        )
    for name, what in _SAME.items():
        other = [host for host in running if running[host].get(name) != next(iter(running.values())).get(name)]
        if other:
            found.append(f"{what} differ: {', '.join(other)} and {next(iter(running))} do not have the same")
    databases = {host: set(answer["database"]) for host, answer in running.items()}
    known = next(iter(databases.values()), set())
    strangers = [host for host, values in databases.items() if values.isdisjoint(known) and values != known]
    if strangers:
        found.append(
            f"{', '.join(strangers)} and {next(iter(databases))} do not share a database: no sealed value that was looked at is in both. See that "
            "their _APP_DB_HOST and _APP_DB_SCHEMA name the same one, or take apart what appwrite_security_cluster puts together"
        )
    clocks = {host: answer["clock"] for host, answer in answers.items() if answer.get("clock")}
    if clocks:
        late, early = max(clocks, key=lambda host: clocks[host][0]), min(clocks, key=lambda host: clocks[host][1])
        apart = clocks[late][0] - clocks[early][1]
        if apart > _CLOCK:
            found.append(f"the clocks of {late} and {early} are {apart:.0f} seconds apart: set them right (NTP)")
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cluster_trouble": cluster_trouble, "cluster_differences": cluster_differences}
