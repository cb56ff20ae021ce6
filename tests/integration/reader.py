# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who reads a page of the documentation and types it in.

A block with a caption is a file of that name, C($) is the controller's prompt and C(#) the server's. C(/opt/appwrite) is the project's directory. The server is
reached over SSH, by a user who is not root and whom sudo asks for a password.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from support.hosts import Host
from support.stack import CHECKOUT, Stack, controller, type_in

PAGES = CHECKOUT / "docs" / "docsite" / "rst"
BLOCK = re.compile(r"^( *)\.\. code-block:: (\w+)\n(?: +:caption: (.*)\n)?\n((?:\1 +.*\n|\n)+)", re.MULTILINE)


class Block(NamedTuple):
    language: str
    caption: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (PAGES / f"{page}.rst").read_text()
    found = []
    for _indent, language, caption, body in BLOCK.findall(text):
        lines = body.strip("\n").split("\n")
        width = min(len(line) - len(line.lstrip()) for line in lines if line)
        found.append(Block(language, caption, "".join(line[width:] + "\n" for line in lines)))
    assert text.count(".. code-block::") == len(found)
    return found


class Operator:
    """Somebody at a controller of their own, before a page."""

    def __init__(self, place: Path, environ: Mapping[str, str], project: str) -> None:
        """environ: with which Ansible reaches the hosts. project: the directory on each host, as a template of Ansible's."""
        self.place = place
        self.output = ""
        self.environ = dict(environ)
        self.replaced = {"/opt/appwrite": project}
        (place / "selfhost.appwrite").symlink_to(CHECKOUT)
        self.write(
            "group_vars/all.yml",
            "ansible_become: true\nappwrite_audit_third_parties: []\nappwrite_security_force_https: true\n",
        )

    def write(self, name: str, text: str) -> None:
        (self.place / name).parent.mkdir(parents=True, exist_ok=True)
        (self.place / name).write_text(self._here(text))

    def _here(self, text: str) -> str:
        for name, here in self.replaced.items():
            text = text.replace(name, here)
        return text

    def prepare(self) -> None:
        """What the first page has made."""
        for block in blocks("quickstart"):
            if block.caption:
                self.write(block.caption, block.text)
        self.write("vault-password", "only-for-this-test-" * 2)

    def type(self, command: str, rc: int = 0) -> None:
        self.output, status = self._type(self._here(command))
        assert status == rc and "Traceback" not in self.output, f"{command}\n{self.output}"

    def _type(self, command: str) -> tuple[str, int]:
        done = type_in(command, self.place, **self.environ)
        return done.stdout + done.stderr, done.returncode

    def steps(self, page: str) -> Iterator[tuple[str, str]]:
        """Each command of the page with its prompt, when the files before it have been written."""
        for block in blocks(page):
            if block.caption and " (" not in block.caption:
                self.write(block.caption, block.text)
            if block.language == "console":
                yield from re.findall(r"^([$#]) (.*)", block.text, re.MULTILINE)


class Reader(Operator):
    """Of one host and its project."""

    def __init__(self, place: Path, stack: Stack, host: Host) -> None:
        super().__init__(place, host.environ, str(stack.directory))
        self.stack = stack
        self.host = host

    def installs(self) -> None:
        """The collection is not there yet."""
        self.environ["ANSIBLE_COLLECTIONS_PATH"] = str(self.place / "collections")

    def secure(self) -> None:
        self.type("ansible-playbook selfhost.appwrite.secure")

    def read(
        self, page: str, meanwhile: Callable[[Reader], None] | None = None, ends: Mapping[str, int] | None = None
    ) -> None:
        """meanwhile: what happens before the first --check. ends: exit codes of commands that do not end with 0."""
        for prompt, command in self.steps(page):
            if meanwhile and command.endswith("--check"):
                meanwhile(self)
                meanwhile = None
            there = f"ssh -F {self.host.ssh_config} -l root appwrite.example.com {shlex.quote(command)}"
            self.type(command if prompt == "$" else there, (ends or {}).get(command, 0))


class AtTerminal(Reader):
    """Who is asked for the password on a terminal of 24 lines and 80 columns, for each command anew."""

    def _type(self, command: str) -> tuple[str, int]:
        if command.startswith("ansible-playbook "):
            command += " --ask-become-pass"
        return self.host.at_terminal(
            ["bash", "-c", command], self.place, {**controller(), **self.environ, "ANSIBLE_BECOME_PASSWORD_FILE": ""}
        )
