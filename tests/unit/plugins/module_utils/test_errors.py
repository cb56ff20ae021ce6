# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads of an error."""

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, reason, unforeseen, words


def test_reasons_hold_no_path():
    assert reason(OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), "/a/path")) == "Directory not empty"
    assert reason(OSError("text without a number")) == "OSError"


@pytest.mark.parametrize("kind", [AppwriteError, ValueError])
def test_one_shape(kind):
    with pytest.raises(kind) as caught, words("env_file: /a/.env", "read", kind):
        raise PermissionError(errno.EACCES, "text", "/somewhere/else")
    assert (
        str(caught.value)
        == "env_file: /a/.env cannot be read: permission denied; run the task as the file's owner or with become"
    )
    assert caught.value.__suppress_context__


def test_other_errors_pass():
    with pytest.raises(KeyError), words("/a/.env", "read"):
        raise KeyError


def test_unforeseen_says_where_and_not_what():
    try:
        raise ValueError("NotARealSecret")
    except ValueError as error:
        assert unforeseen(error).startswith("internal error (ValueError at test_errors.py:")
