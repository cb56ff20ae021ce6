# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens a key that a module returned sealed. See C(unseal.yml)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import unseal as _unseal
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError


def unseal(sealed: Any, password: Any) -> str:
    """Raises AnsibleFilterError if it is no envelope, or the password is not its own."""
    if not isinstance(sealed, str) or not isinstance(password, str):
        raise AnsibleFilterError(
            "unseal takes key.sealed of selfhost.appwrite.security and the password that was passed as seal"
        )
    try:
        return _unseal(sealed, password)
    except AppwriteError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"unseal": unseal}
