# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.

from __future__ import annotations

import os


class AppwriteError(Exception):
    """A refusal or failure in words for the operator. The message never holds a secret and may be printed as it is."""


def unforeseen(error: Exception) -> str:
    """What may be said of any other exception: its text may hold a secret, so only its kind and place are told."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "%s:%d" % (os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace else "unknown place"
    return "internal error (%s at %s); please report it" % (type(error).__name__, place)
