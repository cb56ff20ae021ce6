# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of C(plugins) that know nothing of the world: mypy checks their types, and tests/unit/plugins/test_rooms.py what they import."""

PURE = (
    "_audit.controls",
    "_audit.metrics",
    "_audit.lynis",
    "_audit.testssl",
    "_audit.others",
    "_audit.console",
    "_audit.containers",
    "_audit.encryption",
    "_audit.host",
    "_audit.https",
    "_audit.platform",
    "_audit.secrets",
    "_audit.releases",
    "_audit.model",
    "_settings.console_access",
    "_settings.encryption_key",
    "_settings.https",
    "_settings.variables",
    "_settings.model",
    "_appwrite",
    "_envelope",
    "_env.dotenv",
    "_rotation.cipher",
    "_rotation.examine",
    "_rotation.reseal",
    "_rotation.console",
    "_rotation.phases",
    "_rotation.procedure",
    "plugin_utils._escrow_table",
)
