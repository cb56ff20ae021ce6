# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host that is in other hands: its Python runs what it is given, keeps a copy of it, and answers as it likes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import plays
from support.checkers import controllers, core
from support.stack import CHECKOUT, KEY, Play, read_env
from testbed._base import clean_environ, locked

OLDEST = "2.17"
_HEAD = "#!%s -IS\nPYTHON, HERE = %r\n"
_INTERPRETER = """\
import base64, glob, json, os, re, subprocess, sys, time


def module(given):
    for text in (*sys.argv[1:2], *given):
        found = re.search(r"AnsiballZ_(\\w+)\\.py|/(async_wrapper)\\.py$|ansible(?:_collections\\.\\w+\\.\\w+\\.plugins)?\\.modules\\.(\\w+)", text)
        if found:
            return found[found.lastindex]
    return ""


def read(path):
    with open(path, "rb") as stream:
        return stream.read().decode("utf-8", "replace")


def appended(value, text):
    if isinstance(value, dict):
        return {name: appended(one, text) for name, one in value.items()}
    if isinstance(value, list):
        return [appended(one, text) for one in value]
    return value + text if isinstance(value, str) else value


def main():
    stdin = None if sys.argv[1:] else sys.stdin.buffer.read()
    given = [stdin.decode("utf-8", "replace")] if stdin is not None else []
    for argument in sys.argv[1:]:
        if os.path.isfile(argument):
            given.extend(read(path) for path in sorted(glob.glob(os.path.join(os.path.dirname(argument), "**"), recursive=True)) if os.path.isfile(path))
    name = module(given)
    number = time.time_ns(), os.getpid()
    with open(os.path.join(HERE, "received", "%d-%d.json" % number), "w") as stream:
        json.dump({"module": name, "argv": sys.argv[1:], "given": given}, stream)
    with open(os.path.join(HERE, "wish.json")) as stream:
        wish = json.load(stream)
    if name in wish["instead"]:
        answers = wish["instead"][name]
        with open(os.path.join(HERE, name + ".count"), "a+") as stream:
            stream.write(".")
            stream.flush()
            said = answers[min(stream.tell(), len(answers)) - 1]
        print(said if isinstance(said, str) else json.dumps(said))
        return 0
    done = subprocess.run([PYTHON, *sys.argv[1:]], input=stdin, stdout=subprocess.PIPE)
    said = done.stdout.decode("utf-8", "replace")
    added = {**wish["add"].get("*", {}), **wish["add"].get(name, {})}
    if added or wish["append"]:
        start = said.find("{")
        result = json.loads(said[start:]) if start >= 0 else None
        if isinstance(result, dict):
            said = said[:start] + json.dumps({**appended(result, wish["append"]), **added})
    sys.stdout.write(said)
    return done.returncode


sys.exit(main())
"""


class Interpreter:
    """What stands for Python on a managed host. Unless it is told to answer otherwise, it only keeps a copy of what it is given."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "received").mkdir(parents=True)
        self.path = directory / "python"
        self.path.write_text(_HEAD % (sys.executable, (sys.executable, str(directory))) + _INTERPRETER)
        self.path.chmod(0o755)
        self.answer()

    def answer(
        self,
        add: Mapping[str, Mapping[str, Any]] | None = None,
        append: str = "",
        instead: Mapping[str, list[Any]] | None = None,
        **facts: Any,
    ) -> None:
        """From now on, and what it has received is forgotten.

        facts: in the result of every module, builtin ones too.
        add: a module, or C(*), to what is added to its result.
        append: to every text in every result.
        instead: a module to its answers, one call after the other, the last one for good. It does not run. A text is printed as it is.
        """
        added = {name: dict(keys) for name, keys in (add or {}).items()}
        if facts:
            added.setdefault("*", {})["ansible_facts"] = facts
        answers = {
            name: [{**added.get("*", {}), **one} if isinstance(one, dict) else one for one in ones]
            for name, ones in (instead or {}).items()
        }
        (self.directory / "wish.json").write_text(json.dumps({"add": added, "append": append, "instead": answers}))
        for path in (*self.directory.glob("received/*"), *self.directory.glob("*.count")):
            path.unlink()

    def received(self) -> str:
        """Modules and their arguments, files beside them."""
        return "\n".join(text for call in self._calls() for text in (*call["argv"], *call["given"]))

    def modules(self) -> list[str]:
        """The names of those that it was given, in order."""
        return [call["module"] for call in self._calls()]

    def _calls(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.directory.glob("received/*"))]


class Site:
    """A controller: an inventory with the operator's own settings, a vault password, and an ansible-core to run playbooks with.

    The operator keeps the escrow files in a directory that another variable names, unless a host is to have it where the roles put it.
    """

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory / "controller"
        self.programs = programs
        self.hosts: dict[str, dict[str, Any]] = {}
        self.pythons: dict[str, Interpreter] = {}
        self.safe = self.directory / "safe"
        self.safe.mkdir(parents=True)
        self.reports = self.directory / "reports"
        self.mark = directory / "mark"
        self.password = self.directory / "password"
        self.password.write_text("unreal-2Hn8-Vq4Zt7-vault")
        self.everyone = {
            "ansible_connection": "local",
            "safe_dir": str(self.safe),
            "appwrite_security_apply": False,
            "appwrite_audit_report_dir": str(self.reports),
            "appwrite_audit_fail_on": "never",
            "appwrite_audit_third_parties": [],
            "appwrite_audit_endpoint": {"host": "127.0.0.1", "http_port": 1, "https_port": 1},
        }

    @property
    def touch(self) -> str:
        """A template that leaves a mark on the controller."""
        return "{{ lookup('pipe', 'touch %s') }}" % self.mark

    def add(self, name: str, project: Path, **variables: Any) -> Interpreter:
        """A host. A variable that is None is not set."""
        self.pythons[name] = Interpreter(self.directory.parent / "hosts" / name)
        wanted = {
            "ansible_python_interpreter": str(self.pythons[name].path),
            "appwrite_security_escrow_file": "{{ safe_dir }}/{{ inventory_hostname }}.yml",
            **{f"appwrite_{role}_project_src": str(project) for role in ("security", "audit", "rotation")},
            **variables,
        }
        self.hosts[name] = {name: value for name, value in wanted.items() if value is not None}
        return self.pythons[name]

    def key(self, name: str) -> str:
        return read_env(Path(self.hosts[name]["appwrite_security_project_src"])).get(KEY, "")

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.reports / "report.json").read_text())
        return found

    def run(self, *sources: str, flags: Sequence[str] = (), **settings: str) -> Play:
        """Playbooks of the collection by their names, with the hosts that they are for after a colon, and the text of others, one after the other."""
        (self.directory / "inventory.json").write_text(
            json.dumps({"all": {"hosts": self.hosts, "vars": self.everyone}})
        )
        (self.directory / "play.yml").write_text(
            "\n".join(source if "\n" in source else _imported(*source.split(":")) for source in sources)
        )
        done = plays.run(
            *("-i", "inventory.json", "-v", "--vault-password-file", self.password, *flags, "play.yml"),
            directory=self.directory,
            environ={**clean_environ(), "ANSIBLE_FORKS": "8", "ANSIBLE_SHOW_CUSTOM_STATS": "true", **settings},
            program=self.programs / "ansible-playbook",
        )
        return Play.read(done.returncode, done.stdout)


def _imported(name: str, hosts: str = "all") -> str:
    return "- import_playbook: selfhost.appwrite.%s\n  vars: {appwrite_hosts: '%s'}\n" % (name, hosts)


def cores() -> list[Any]:
    """The oldest ansible-core, by night, and the newest, which is the one of .venv."""
    return [pytest.param(OLDEST, marks=pytest.mark.nightly), "newest"]


def programs_of(series: str) -> Path:
    if series != OLDEST:
        return CHECKOUT / ".venv" / "bin"
    if not controllers(series):
        pytest.skip(f"no Python that ansible-core {series} runs on is installed")
    with locked(f"core-{series}"):
        return core(series, controllers(series)[-1])


def failures(play: Play) -> dict[str, str]:
    """Host to what its failures say."""
    found: dict[str, str] = {}
    for match in re.finditer(r"^fatal: \[([^]]*)\](?:: \w+!)? => (?={)", play.output, re.MULTILINE):
        found[match[1]] = found.get(match[1], "") + str(
            json.JSONDecoder().raw_decode(play.output, match.end())[0].get("msg")
        )
    return found


def escapes(output: str) -> list[str]:
    """Each line with a character that a terminal acts on."""
    return [
        line
        for line in output.split("\n")
        if any(ord(char) < 32 and char not in "\t\r" or 127 <= ord(char) < 160 for char in line)
    ]
