# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has come in with a key that somebody else had: what may be theirs at the console, and the end of sessions.

A key that is rotated forges nothing any more, but a session that was made with it is stored like any other, and goes on (appwrite 1.9.6, executed).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import is_public
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Store, Table, legible
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.model import WritableStore

CONSOLE, ALL, NONE = "console", "all", "none"
"""whose sessions are ended"""
_LISTED = 200
"""documents of each kind that are told one by one"""
_SESSIONS = "_sessions"
_ENDING = (_SESSIONS, "_tokens")
"""Tokens become sessions: an administrator can make one that is good for a year (appwrite 1.9.6, app/controllers/api/users.php). Both are collections of their
own from the oldest release that is known here (1.4.14, app/config/collections.php) to the newest (1.9.6, app/config/collections/common.php)."""


def whose(given: str | None, key: str) -> str:
    """Whose sessions end with this key: what was asked for, or the console's if the key was public."""
    return given or (CONSOLE if is_public(key) else NONE)


def count_sessions(store: Store, which: str) -> int:
    return sum(store.count(table) for table in _ending(store, which) if table.collection.endswith(_SESSIONS))


def end_sessions(store: WritableStore, which: str) -> None:
    """May be done again if it was interrupted."""
    for table in _ending(store, which):
        store.clear(table)


def _ending(store: Store, which: str) -> list[Table]:
    return [
        table
        for table in store.tables()
        if which == ALL
        and table.collection.endswith(_ENDING)
        or which == CONSOLE
        and table.collection in ["_console%s" % name for name in _ENDING]
    ]


def listed(store: Store) -> dict[str, Any]:
    """For each kind how many there are, and the newest of them, without any secret."""
    found = {}
    for kind, (collection, fields, told) in _KINDS.items():
        tables = [table for table in store.tables() if table.collection == "_console_" + collection]
        documents = [document for table in tables for document in store.newest(table, fields, _LISTED)][:_LISTED]
        found[kind] = {
            "count": sum(map(store.count, tables)),
            "newest": [told({name: legible(text) for name, text in document.items()}) for document in documents],
        }
    return found


def _account(document: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": document["_uid"],
        "email": document["email"] or None,
        "registered": _moment(document["registration"]),
        "accessed": _moment(document["accessedAt"]),
    }


def _session(document: Mapping[str, str]) -> dict[str, Any]:
    texts = {
        name: document[field] or None
        for name, field in (
            ("user", "userId"),
            ("ip", "ip"),
            ("country", "countryCode"),
            ("client", "clientName"),
            ("user_agent", "userAgent"),
            ("provider", "provider"),
        )
    }
    return {"created": _moment(document["_createdAt"]), **texts}


def _key(document: Mapping[str, str]) -> dict[str, Any]:
    """Before 1.9 each was a project's."""
    owner = (
        "%s/%s" % (document["resourceType"], document["resourceId"])
        if document["resourceId"]
        else "projects/%s" % document["projectId"]
    )
    return {
        "id": document["_uid"],
        "name": document["name"] or None,
        "owner": owner,
        "created": _moment(document["_createdAt"]),
    }


def _dev_key(document: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": document["_uid"],
        "name": document["name"] or None,
        "owner": "projects/%s" % document["projectId"],
        "created": _moment(document["_createdAt"]),
    }


def _moment(text: str) -> str | None:
    """Databases have them in UTC, to the millisecond."""
    return "%sZ" % text[:19].replace(" ", "T") if text else None


_KINDS: dict[str, tuple[str, tuple[str, ...], Callable[[Mapping[str, str]], dict[str, Any]]]] = {
    "accounts": ("users", ("_uid", "email", "registration", "accessedAt"), _account),
    "sessions": (
        "sessions",
        ("userId", "_createdAt", "ip", "countryCode", "clientName", "userAgent", "provider"),
        _session,
    ),
    "api_keys": ("keys", ("_uid", "name", "resourceType", "resourceId", "projectId", "_createdAt"), _key),
    "dev_keys": ("devKeys", ("_uid", "name", "projectId", "_createdAt"), _dev_key),
}
"""in a result to the collection of the console's, its fields that are read, and what is told of them"""
