# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes quick what is slow on purpose and touches no file. For forks that are killed over and over, never for the tests themselves."""

from ansible_collections.selfhost.appwrite.plugins.module_utils import _apply
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key

_key._ROUNDS = 1
_apply.SETTLED = 0.0
