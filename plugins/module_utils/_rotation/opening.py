# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries keys on a sample of what is stored. Few runs do, and what it takes loads half as long as all else, so it is loaded then.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance


def opening(instance: Instance, keys: Sequence[str]) -> Opening:
    """Raises AppwriteError if they cannot be tried. See C(stored.opening)."""
    from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import stored

    return stored.opening(instance, keys)
