# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation says of itself, to its journal and to its action plugin on the controller: how far it is, and how long the keys are that it makes.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

NONE, STAGED, PREPARED, GUARDED, SEALED, WRITTEN = "none", "staged", "prepared", "guarded", "sealed", "written"
REHEARSED, FINISHED, ABORTED = "rehearsed", "finished", "aborted"
"""How a run ends of which nothing is noted any more."""
LOCKING = (GUARDED, SEALED, WRITTEN)
"""The phases in which data may be under either key; before them nothing has happened."""
WHOLE, STATE, STAGE, SEAL, STILL, WRITE = "whole", "state", "stage", "seal", "still", "write"
"""What a run is asked to do, the last two of them on a host that does not conduct the rotation of its cluster."""
LENGTH = 64
"""Characters of a key."""
