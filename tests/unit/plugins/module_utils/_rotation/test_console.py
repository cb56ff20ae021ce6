# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of those who may have come in with a key that others had, and whose sessions end. The stores themselves: tests/integration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.console import (
    count_sessions,
    end_sessions,
    listed,
    whose,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Table

NAMES = (
    "_console_users",
    "_console_sessions",
    "_console_tokens",
    "_console_keys",
    "_1_sessions",
    "_1_tokens",
    "_1_resourceTokens",
    "_1_users",
    "shared_sessions",
    "_1_database_2_collection_3",
)


class Store:
    """Documents by the collection's name."""

    def __init__(self, content: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
        self.content = {Table("appwrite", name, name, ("secret",)): list(rows) for name, rows in content.items()}

    def tables(self) -> list[Table]:
        return list(self.content)

    def count(self, table: Table) -> int:
        return len(self.content[table])

    def newest(self, table: Table, fields: Sequence[str], limit: int) -> list[dict[str, str]]:
        return [{name: row.get(name, "") for name in fields} for row in self.content[table][:limit]]

    def clear(self, table: Table) -> None:
        self.content[table] = []


@pytest.fixture
def store() -> Any:
    return Store({name: [{"_uid": "1"}, {"_uid": "2"}] for name in NAMES})


@pytest.mark.parametrize(
    ("given", "key", "expected"),
    [
        (None, "your-secret-key", "console"),
        (None, "NotARealOldKey12", "none"),
        ("none", "your-secret-key", "none"),
        ("all", "your-secret-key", "all"),
        ("console", "NotARealOldKey12", "console"),
    ],
)
def test_whose(given, key, expected):
    assert whose(given, key) == expected


@pytest.mark.parametrize(
    ("which", "gone", "count"),
    [
        ("none", set(), 0),
        ("console", {"_console_sessions", "_console_tokens"}, 2),
        ("all", {"_console_sessions", "_console_tokens", "_1_sessions", "_1_tokens", "shared_sessions"}, 6),
    ],
)
def test_end(store, which, gone, count):
    """Tokens become sessions; those that open a file do not."""
    assert count_sessions(store, which) == count
    end_sessions(store, which)
    assert {table.name for table, rows in store.content.items() if not rows} == gone
    end_sessions(store, which)
    assert count_sessions(store, which) == 0


def test_listed():
    """All that is known, and nothing that is not asked for; a release without dev keys has none."""
    store: Any = Store(
        {
            "_console_users": [
                {
                    "_uid": "ada",
                    "email": "ada@example.com",
                    "registration": "2026-01-02 03:04:05.678",
                    "accessedAt": "",
                    "password": "NotAReal",
                }
            ],
            "_console_sessions": [
                {
                    "userId": "ada",
                    "_createdAt": "2026-01-02T03:04:05.678Z",
                    "ip": "203.0.113.7",
                    "countryCode": "--",
                    "clientName": "",
                    "userAgent": "curl/8",
                    "provider": "server",
                    "secret": "NotAReal",
                }
            ],
            "_console_keys": [
                {"_uid": "k1", "name": "ci", "resourceType": "teams", "resourceId": "t1"},
                {"_uid": "k2", "projectId": "p1"},
            ]
            * 150,
            "_1_users": [{"_uid": "somebody"}],
        }
    )
    found = listed(store)
    assert found == {
        "accounts": {
            "count": 1,
            "newest": [
                {"id": "ada", "email": "ada@example.com", "registered": "2026-01-02T03:04:05Z", "accessed": None}
            ],
        },
        "sessions": {
            "count": 1,
            "newest": [
                {
                    "user": "ada",
                    "created": "2026-01-02T03:04:05Z",
                    "ip": "203.0.113.7",
                    "country": "--",
                    "client": None,
                    "user_agent": "curl/8",
                    "provider": "server",
                }
            ],
        },
        "api_keys": {
            "count": 300,
            "newest": [
                {"id": "k1", "name": "ci", "owner": "teams/t1", "created": None},
                {"id": "k2", "name": None, "owner": "projects/p1", "created": None},
            ]
            * 100,
        },
        "dev_keys": {"count": 0, "newest": []},
    }
    assert "NotAReal" not in json.dumps(found)


def test_listed_bytes_that_are_no_text():
    store: Any = Store({"_console_users": [{"_uid": "a\udcff", "email": "\ud83d@example.com"}]})
    account = listed(store)["accounts"]["newest"][0]
    assert (account["id"], account["email"]) == ("a\\udcff", "\\ud83d@example.com")
    json.dumps(account, ensure_ascii=False).encode()
