# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every writing module: check, apply, check again, apply again, and the file compared byte by byte."""

from __future__ import annotations

import pytest
from support.stack import NOT_A_KEY, small, succeed, tree

CONTENT = "# rendered\n_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_DB_HOST=mariadb\n"
WISHES = {
    "encryption_key": ("encryption_key", {"key": NOT_A_KEY}),
    "https": ("https", {"certificate_email": "admin@example.com"}),
    "console_access": (
        "console_access",
        {"root_only": False, "emails": ["Grace@example.com", "ada@example.com"], "ips": ["2001:DB8::1"]},
    ),
    "env variables": (
        "env",
        {
            "variables": {
                "_APP_DOMAIN": "appwrite.example.com",
                "_APP_SMTP_PASSWORD": "not-a-real-$password",
                "_APP_SMTP_HOST": None,
            }
        },
    ),
    "env content": ("env", {"content": CONTENT}),
    "security": (
        "security",
        {
            "encryption_key": {"key": NOT_A_KEY},
            "https": {},
            "console_access": {"root_only": True},
            "env": {"variables": {"_APP_DOMAIN": "a.example.com"}},
        },
    ),
}


@pytest.mark.parametrize(("name", "options"), WISHES.values(), ids=WISHES)
def test_four_steps(directory, name, options):
    arguments = {"project_src": str(directory), **options}
    before = tree(directory)
    predicted = succeed(name, arguments, check=True, diff=True)
    assert (predicted["changed"], predicted["backup_file"], tree(directory)) == (True, None, before)

    applied = succeed(name, arguments, diff=True)
    assert applied["changed"]
    assert {field: applied[field] for field in ("changes", "diff", "recreates", "warnings")} == {
        field: predicted[field] for field in ("changes", "diff", "recreates", "warnings")
    }
    after = tree(directory)
    backup = applied["backup_file"].rpartition("/")[2]
    assert after.keys() - before.keys() == {backup}
    assert after[backup][1] == before[".env"][1] and after[backup][0] & 0o7777 == 0o600
    assert after[".env"][0] == before[".env"][0] and after[".env"][1] != before[".env"][1]
    assert {file: content for file, content in after.items() if file not in (backup, ".env")} == {
        file: content for file, content in before.items() if file != ".env"
    }

    for check in (True, False):
        again = succeed(name, arguments, check=check, diff=True)
        assert (again["changed"], again["changes"], again["recreates"], again["backup_file"]) == (False, [], [], None)
        assert again["diff"]["before"] == again["diff"]["after"] == ""
        assert tree(directory) == after


def test_generated_key(directory):
    """A generated key is another one each time, so only its state can be predicted, and nothing is told of one that will never be."""
    arguments = {"project_src": str(directory)}
    predicted, done = succeed("encryption_key", arguments, check=True), succeed("encryption_key", arguments)
    assert predicted["key"] == {**done["key"], "fingerprint": None}
    assert predicted["changes"][0]["after"] == "(secret, would be generated)"
    assert done["changes"][0]["after"] == "(secret, fingerprint %s)" % done["key"]["fingerprint"]


def test_without_backup(directory):
    before = tree(directory)
    assert succeed("https", {"project_src": str(directory), "backup": False})["backup_file"] is None
    assert tree(directory).keys() == before.keys()


@small("apply")
def test_apply(stack):
    succeed("https", stack.arguments)
    files, ids = tree(stack.directory), stack.ids()
    predicted = succeed("apply", stack.arguments, check=True, diff=True)
    assert (predicted["changed"], tree(stack.directory), stack.ids()) == (True, files, ids)
    applied = succeed("apply", stack.arguments, diff=True)
    assert {field: applied[field] for field in ("changed", "recreated", "started", "services", "diff", "drift")} == {
        field: predicted[field] for field in ("changed", "recreated", "started", "services", "diff", "drift")
    }
    ids = stack.ids()
    for check in (True, False):
        again = succeed("apply", stack.arguments, check=check, diff=True)
        assert (again["changed"], again["recreated"], again["started"]) == (False, [], [])
    assert (tree(stack.directory), stack.ids()) == (files, ids)
