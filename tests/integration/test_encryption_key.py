# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key: set where it is absent, kept where it is there, never lost."""

from __future__ import annotations

import re

import pytest
from support.stack import KEY, NOT_A_KEY, Stack, read_env, refuse, set_env, small, succeed, without

ABSENT = {
    "no line": ("", "generated"),
    "commented line": (f"#{KEY}=old\n", "generated"),
    "empty value": (f"{KEY}=\n", "generated"),
    "bare name": (f"{KEY}\n", "generated"),
    "placeholder": (f'{KEY}="your-secret-key"\n', "placeholder_replaced"),
}


@pytest.mark.parametrize(("line", "state"), ABSENT.values(), ids=ABSENT)
def test_absent(directory, line, state):
    without(directory, KEY, line)
    before = read_env(directory)
    result = succeed("encryption_key", {"project_src": str(directory)}, diff=True)
    assert (result["key"]["state"], result["key"]["effective_bits"]) == (state, 95)
    after = read_env(directory)
    assert re.fullmatch("[A-Za-z0-9]{64}", after[KEY])
    assert {**after, KEY: before.get(KEY)} == {**before, KEY: before.get(KEY)}
    assert [change["name"] for change in result["changes"]] == [KEY]
    assert result["recreates"] == [], "nothing runs yet"
    kept = succeed("encryption_key", {"project_src": str(directory)})
    assert (kept["changed"], kept["key"]["state"], kept["key"]["fingerprint"]) == (
        False,
        "kept",
        result["key"]["fingerprint"],
    )


def test_comment_is_a_value(directory):
    """`KEY= # note` is not absent: compose reads the note."""
    without(directory, KEY, f"{KEY}= # put your key here\n")
    result = succeed("encryption_key", {"project_src": str(directory)})
    assert (result["changed"], result["key"]["state"]) == (False, "kept")


def test_length(directory):
    without(directory, KEY)
    succeed("encryption_key", {"project_src": str(directory), "length": 256})
    assert len(read_env(directory)[KEY]) == 256


@pytest.mark.parametrize(
    "key", [NOT_A_KEY, "not-a-real-key-$with 'all' \"that\" \\ may come"], ids=["plain", "unusual"]
)
def test_supplied(directory, key):
    without(directory, KEY)
    result = succeed("encryption_key", {"project_src": str(directory), "key": key}, diff=True, secrets=[key])
    assert result["key"]["state"] == "supplied"
    assert read_env(directory)[KEY] == key
    assert succeed("encryption_key", {"project_src": str(directory), "key": key}, secrets=[key])["changed"] is False


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is empty"),
        ("your-secret-key", "public placeholder"),
        ("too-short", "16 bytes"),
        ("nul" * 6 + "\0", "cannot be written"),
    ],
    ids=["empty", "placeholder", "short", "not expressible"],
)
def test_supplied_refused(directory, key, words):
    without(directory, KEY)
    message = refuse("encryption_key", {"project_src": str(directory), "key": key})
    assert message.startswith("key: ") and words in message


def test_different_key(directory):
    set_env(directory, **{KEY: NOT_A_KEY})
    message = refuse(
        "encryption_key", {"project_src": str(directory), "key": NOT_A_KEY[::-1]}, secrets=[NOT_A_KEY, NOT_A_KEY[::-1]]
    )
    assert message.startswith("key: ") and "already set" in message


def test_placeholder_keep(directory):
    result = succeed("encryption_key", {"project_src": str(directory), "placeholder": "keep"})
    assert (result["changed"], result["key"]["state"], result["key"]["effective_bits"]) == (
        False,
        "placeholder_kept",
        0,
    )
    assert any("forge an administrator" in warning for warning in result["warnings"])
    assert refuse(
        "encryption_key", {"project_src": str(directory), "placeholder": "keep", "key": NOT_A_KEY}
    ).startswith("key: ")


@small("apply")
def test_placeholder_in_use(stack):
    stack.project.sign_up("ada@example.com")
    for arguments in ({}, {"placeholder": "keep"}):
        result = succeed("encryption_key", {**stack.arguments, **arguments})
        assert (result["changed"], result["key"]["state"]) == (False, "placeholder_kept")
        assert any("forge an administrator" in warning for warning in result["warnings"])
    assert "public default" in refuse("encryption_key", {**stack.arguments, "key": NOT_A_KEY}, secrets=[NOT_A_KEY])


@small("apply")
def test_placeholder_and_no_answer(stack):
    stack.project.compose("stop", "mariadb")
    message = refuse("encryption_key", stack.arguments)
    assert "public default" in message and "mariadb is not running" in message


@small("apply")
def test_absent_where_the_placeholder_runs(stack):
    """The containers' public default is what sealed the data, so it comes back, with the warning."""
    stack.project.sign_up("ada@example.com")
    without(stack.directory, KEY)
    result = succeed("encryption_key", stack.arguments)
    assert (result["key"]["state"], stack.env()[KEY]) == ("recovered", "your-secret-key")
    assert any("forge an administrator" in warning for warning in result["warnings"])


def _keyed(stack: Stack) -> str:
    """The stack as it is after it was secured and somebody has signed up; returns its key."""
    succeed("encryption_key", stack.arguments)
    succeed("apply", stack.arguments)
    stack.project.sign_up("ada@example.com")
    return stack.env()[KEY]


@small("apply")
def test_absent_with_data(stack):
    key = _keyed(stack)
    for line in ("", f"{KEY}=\n", f'{KEY}="your-secret-key"\n'):
        without(stack.directory, KEY)
        path = stack.directory / ".env"
        path.write_text(path.read_text() + line)
        result = succeed("encryption_key", stack.arguments, diff=True, secrets=[key])
        assert (result["key"]["state"], stack.env()[KEY]) == ("recovered", key)
        assert any("recovered from the containers" in warning for warning in result["warnings"])
    without(stack.directory, KEY)
    assert "another key" in refuse("encryption_key", {**stack.arguments, "key": NOT_A_KEY}, secrets=[key, NOT_A_KEY])

    stack.project.compose(
        "rm", "--stop", "--force", "appwrite", "appwrite-worker-mails", "appwrite-worker-certificates"
    )
    message = refuse("encryption_key", stack.arguments, secrets=[key])
    assert "is absent" in message and "a console account exists" in message and "`key`" in message
    assert succeed("encryption_key", {**stack.arguments, "key": key}, secrets=[key])["key"]["state"] == "supplied"

    without(stack.directory, KEY)
    stack.project.compose("down")
    message = refuse("encryption_key", stack.arguments)
    assert "is absent" in message and "is not running" in message
