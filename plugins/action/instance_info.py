# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs C(instance_info), and all modules that C(meta/runtime.yml) leads here, on the managed host, and passes on nothing but data."""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import HostAction


class ActionModule(HostAction):
    pass
