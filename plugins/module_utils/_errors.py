# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.

from __future__ import annotations


class AppwriteError(Exception):
    """A refusal or failure in words for the operator. The message never holds a secret and may be printed as it is."""
