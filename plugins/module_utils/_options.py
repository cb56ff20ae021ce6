# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that their actions on the controller know too, which would otherwise load all that works with them.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any

PROJECT_OPTIONS: dict[str, dict[str, Any]] = {
    "project_src": {"type": "path", "required": True},
    "env_file": {"type": "path"},
    "files": {"type": "list", "elements": "path", "default": []},
    "project_name": {"type": "str"},
    "profiles": {"type": "list", "elements": "str", "default": []},
    "appwrite_version": {"type": "str"},
    "clean_environment": {"type": "bool", "default": True},
}
ESCROW_OPTIONS: dict[str, dict[str, Any]] = {
    "escrow": {"type": "str", "choices": ["auto", "required", "off"], "default": "auto"},
    "escrow_file": {"type": "path"},
    "cluster": {"type": "str"},
}
"""Of C(security), for its action on the controller alone."""
