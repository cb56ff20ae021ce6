# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
name: audit_program
short_description: Pack the audit into one file that runs without Ansible
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Packs the code of M(selfhost.appwrite.audit_info) into one file that a timer on the managed host can run, with Python 3.8 or newer and
    its standard library alone, and returns where that file is on the controller. It is removed when Ansible ends.
  - The same release of the collection gives the same bytes, on every controller.
  - The role P(selfhost.appwrite.appwrite_audit#role) uses it if its timer is asked for.
options: {}
seealso:
  - module: selfhost.appwrite.audit_info
"""

EXAMPLES = r"""
---
- name: Copy the program to the managed host
  ansible.builtin.copy:
    src: "{{ lookup('selfhost.appwrite.audit_program') }}"
    dest: /usr/local/lib/appwrite-audit.pyz
    owner: root
    group: root
    mode: "0644"
"""

RETURN = r"""
---
_raw:
  description: The path of the file.
  type: list
  elements: path
"""

import ast
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.lookup import LookupBase

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files

ROOT = Path(__file__).parents[1] / "module_utils"
PACKAGE = "ansible_collections.selfhost.appwrite.plugins.module_utils"
PROGRAM = "_audit.program"
MAIN = "from %s.%s import main\nraise SystemExit(main())\n" % (PACKAGE, PROGRAM)


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        target = os.path.join(C.DEFAULT_LOCAL_TMP, "appwrite-audit.pyz")
        if not os.path.exists(target):
            packed = io.BytesIO()
            pack(packed)
            with _files.beside(target) as (directory, name):  # the other hosts' tasks ask for it at the same time
                _files.replace(directory, {name: packed.getvalue()}, lasting=False)
        return [target]


def pack(stream: Any) -> None:
    """Stored, not compressed, and without times: what compression gives depends on the controller's zlib."""
    package = PACKAGE.replace(".", "/")
    files = {"__main__.py": MAIN.encode()}
    files.update((f"{folder.as_posix()}/__init__.py", b"") for folder in Path(f"{package}/_").parents if folder.name)
    files.update(
        (f"{package}/{path.relative_to(ROOT).as_posix()}", path.read_bytes())
        for path in _needed(ROOT.joinpath(*PROGRAM.split(".")).with_suffix(".py"), set())
    )
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content)


def _needed(path: Path, found: set[Path]) -> set[Path]:
    """The module utility, and all those that it imports, directly or not."""
    found.add(path)
    for name in _imported(path):
        base = ROOT.joinpath(*name.split("."))
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file() and candidate not in found:
                _needed(candidate, found)
    return found


def _imported(path: Path) -> Iterator[str]:
    """What may be a module utility's name below the package, each with its parents, of which there are also C(__init__.py)."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            for alias in node.names:
                parts = f"{node.module}.{alias.name}"[len(PACKAGE) + 1 :].split(".")
                yield from (".".join(parts[: length + 1]) for length in range(len(parts)))
