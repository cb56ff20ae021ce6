# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that opens a key which a module returned sealed."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.selfhost.appwrite.plugins.filter.unseal import FilterModule
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import new_password, seal

KEY = "not-a-real-key-0123456789"
unseal = FilterModule().filters()["unseal"]


def test_opened():
    password = new_password()
    assert unseal(seal(KEY, password), password) == KEY


def test_another_password():
    with pytest.raises(AnsibleFilterError, match="cannot be opened") as caught:
        unseal(seal(KEY, new_password()), new_password())
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(("sealed", "password"), [(None, "x"), ({}, "x"), ("x", None)])
def test_what_was_never_sealed(sealed, password):
    with pytest.raises(AnsibleFilterError, match="^unseal takes key.sealed of selfhost.appwrite.security"):
        unseal(sealed, password)
