# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a job."""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import some_of


def test_some_of():
    assert [some_of("edcba"[:count]) for count in range(6)] == [
        "",
        "e",
        "d, e",
        "c, d, e",
        "b, c, d and 1 more",
        "a, b, c and 2 more",
    ]
    assert some_of(["a", "a"]) == "a"
