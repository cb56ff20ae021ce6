# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible sends a module and what it imports as an archive, each file of which Python compiles twice: to tell its name, and to run it.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import os
import sys
from zipimport import zipimporter


class _Importer(zipimporter):
    """Tells a file's name without compiling it, which C(get_filename) of Python 3.8 to 3.14 does. It is asked for each file before that is run."""

    def get_filename(self, fullname: str) -> str:
        inside = ["__init__"] if self.is_package(fullname) else []
        return os.path.join(self.archive, self.prefix, fullname.rpartition(".")[2], *inside) + ".py"


def compile_once() -> None:
    """From now on, what is imported from the archive that this file is in. Does nothing if it is in none."""
    loader = globals().get("__loader__")
    if not isinstance(loader, zipimporter):
        return

    def importer(path: str) -> zipimporter:
        if not path.startswith(loader.archive):
            raise ImportError(path)  # Python asks the next one
        return _Importer(path)

    sys.path_hooks.insert(0, importer)
    sys.path_importer_cache.clear()
