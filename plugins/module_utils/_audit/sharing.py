# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that share a database: known by sealed values that both have, as in a rotation, and compared by which of these the key of each opens.

A host alone knows nothing of the others, so that the report of a play says it. Who has no sealed value of a database cannot make up the digest of one, so no
host is spoken of because of another that does not have what is stored there.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import in_force, shown_fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    REDIS,
    Control,
    Holder,
    Observation,
    Outcome,
    Unobserved,
    Unseen,
    failed,
    not_applicable,
    passed,
    seen,
    some,
)

_ALONE = "no other host of the report has a sealed value of this one"


def holder_of(observation: Observation) -> Holder:
    env, stored, servers = observation.env, observation.stored, observation.servers
    key = "" if isinstance(env, Unseen) else in_force(env.values)
    outside = isinstance(servers, Unseen) or any(server.kind != REDIS for server in servers)
    values = stored if isinstance(stored, Unseen) else env if isinstance(env, Unseen) else stored.values
    release = observation.release if observation.release_is_known else ""
    return Holder("", shown_fingerprint(key), values, outside, release)


def public(holder: Holder) -> dict[str, Any]:
    """What leaves the host."""
    return {
        "fingerprint": holder.fingerprint,
        "opens": None if isinstance(holder.values, Unseen) else dict(holder.values),
        "unseen": holder.values.reason if isinstance(holder.values, Unseen) else "",
        "outside": holder.outside,
        "release": holder.release,
    }


def peers_of(holders: Sequence[Holder]) -> list[tuple[Holder, ...]]:
    """Of each holder those others that have a value in common with it. They are found by the values, since a fleet has more pairs than can be tried."""
    having: dict[str, list[int]] = {}
    for number, holder in enumerate(holders):
        for digest in _values(holder):
            having.setdefault(digest, []).append(number)
    found = []
    for number, holder in enumerate(holders):
        others = {other for digest in _values(holder) for other in having[digest]} - {number}
        found.append(tuple(holders[other] for other in sorted(others)))
    return found


def one_key(own: Holder, peers: Iterable[Holder]) -> Outcome:
    """Raises Unobserved if the host could not say what is stored, in a database that others may have."""
    values = _own_values(own)
    same: list[str] = []
    other: list[str] = []
    for peer in peers:
        theirs = _values(peer)
        common = values.keys() & theirs.keys()
        if common:
            agrees = own.fingerprint == peer.fingerprint and all(values[each] == theirs[each] for each in common)
            (same if agrees else other).append(peer.host)
    if other:
        opens = [values[each] for each in values]
        return failed(
            "%s sealed values with this host, and another key; the key of this host opens %s of those that were looked at"
            % (_have(other), "all" if all(opens) else "some" if any(opens) else "none")
        )
    return passed("%s the same sealed values, and the same key" % _have(same)) if same else not_applicable(_ALONE)


def one_release(own: Holder, peers: Iterable[Holder]) -> Outcome:
    """Raises Unobserved as C(one_key) does, and if a release is not known, and none is another one."""
    values = _own_values(own)
    sharing = [peer for peer in peers if values.keys() & _values(peer).keys()]
    if not sharing:
        return not_applicable(_ALONE)
    other = ["%s (%s)" % (peer.host, peer.release) for peer in sharing if peer.release not in ("", own.release)]
    if other and own.release:
        return failed("%s sealed values with this host, which runs Appwrite %s" % (_have(other), own.release))
    unknown = [peer.host for peer in sharing if not peer.release]
    if unknown or not own.release:
        raise Unobserved("no image names the release that %s runs" % (some(unknown) if own.release else "this host"))
    return passed("%s sealed values with this host, and the same release" % _have([peer.host for peer in sharing]))


def _have(hosts: Sequence[str]) -> str:
    return "%s %s" % (some(hosts), "has" if len(hosts) == 1 else "have")


def _own_values(own: Holder) -> Mapping[str, bool]:
    """Raises Unobserved if others may have them, too, and they were not looked at."""
    return seen(own.values) if own.outside else _values(own)


def _values(holder: Holder) -> Mapping[str, bool]:
    return {} if isinstance(holder.values, Unseen) else holder.values


Judge = Callable[[Holder, Iterable[Holder]], Outcome]


def _by(judge: Judge) -> Callable[[Observation], Outcome]:
    def check(observation: Observation) -> Outcome:
        if observation.peers is None:
            return not_applicable("the report of all hosts of a play compares them; this is one host")
        return judge(holder_of(observation), observation.peers)

    return check


ONE_KEY = Control(
    "encryption.one_key_for_all",
    "Hosts that share a database have one key",
    "high",
    "A host whose key does not open what is stored seals nothing in its place when it next changes the row: passwords and secrets of all are lost, and nobody "
    "is told. If only what comes after the first 16 bytes differs, each refuses the tokens of the other.",
    "docker compose stop (at once, on each host whose key does not open what is stored), then write the key of the others into its .env, and docker compose "
    "up -d; with appwrite_security_cluster: <one name> on all of them, ansible-playbook selfhost.appwrite.secure keeps it so. If one has but a copy of the "
    "database of another, as a host for tests may have, leave both as they are, and waive this on both",
    "Appwrite 1.9.6, src/Appwrite/OpenSSL/OpenSSL.php and app/init/database/filters.php, and run: a row that is written with another key",
    _by(one_key),
)
ONE_RELEASE = Control(
    "containers.one_release_for_all",
    "Hosts that share a database run one release",
    "medium",
    "A release changes what is stored when it is migrated, and the others read and write it as theirs has it. A rotation refuses such hosts.",
    "docker compose pull, then docker compose up -d (on each host of the older release, after appwrite_security_variables: {_APP_VERSION: <the release of the "
    "others>}, or with that tag in its compose file). If one has but a copy of the database of another, waive this on both",
    "Appwrite 1.9.6, src/Appwrite/Migration",
    _by(one_release),
)
COMPARED: Mapping[str, tuple[Control, Judge]] = {
    ONE_KEY.id: (ONE_KEY, one_key),
    ONE_RELEASE.id: (ONE_RELEASE, one_release),
}
"""What the report judges anew."""
