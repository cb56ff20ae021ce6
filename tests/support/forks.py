# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as forks of one process, which has imported what they import: that takes most of a run's time.

Run as a program, with the names of modules as arguments, this imports them, and forks a run for each line that it reads.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.absent import hide

CHECKOUT = Path(__file__).parents[2]
STOPPED = -signal.SIGSTOP
_MODULES = "ansible_collections.selfhost.appwrite.plugins.modules"


class Forks:
    """The process, which makes one run at a time.

    imports: the modules that every run needs.
    prefix: a program that runs the process.
    errors: the file that takes its standard error.
    """

    def __init__(
        self, *imports: str, environ: Mapping[str, str], prefix: Sequence[str] = (), errors: Path | None = None
    ) -> None:
        path = os.pathsep.join(map(str, (CHECKOUT / "tests", CHECKOUT / ".work" / "import")))
        with open(errors or os.devnull, "w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-P", "-m", "support.forks", *imports],
                env={**environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream if errors else None,
                text=True,
                bufsize=1,
            )

    @classmethod
    def of_modules(cls, *names: str, also: Sequence[str] = (), **options: Any) -> Forks:
        """For runs of these modules of the collection, by default of any."""
        found = names or sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("[a-z]*.py"))
        return cls(*(f"{_MODULES}.{name}" for name in found), *also, **options)

    def run(self, function: str, *arguments: Any, strace: Sequence[str] = ()) -> int:
        """The exit status of a C(module:function) of values that JSON has. Negative: the signal that has ended or stopped it.

        strace: the command that watches the run from where that stops itself.
        """
        return self._ask(json.dumps([function, arguments, strace]))

    def go_on(self) -> int:
        """With the run that was stopped."""
        return self._ask("")

    def end(self) -> None:
        self._process.communicate()

    def _ask(self, request: str) -> int:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(request + "\n")
        return int(self._process.stdout.readline())


def module(
    name: str,
    given: str,
    answer: str,
    errors: str = "",
    environ: Mapping[str, str] | None = None,
    directory: str = "",
    stop: bool = False,
    hidden: Sequence[str] = (),
) -> None:
    """In a fork: what a module's file makes of its standard input, into files. Stops itself before that, if it is to be traced.

    hidden: paths that are not there, or empty, for this process.
    """
    for descriptor, path in enumerate((os.devnull, answer, *filter(None, [errors]))):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    if environ is not None:
        os.environ.clear()
        os.environ.update(environ)
    if directory:
        os.chdir(directory)
    if hidden:
        hide(hidden)
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
    if stop:
        os.kill(os.getpid(), signal.SIGSTOP)
    runpy.run_path(str(CHECKOUT / "plugins" / "modules" / f"{name}.py"), run_name="__main__")


def _watch(child: int, strace: list[str]) -> subprocess.Popen[bytes]:
    """Lets a child that has stopped itself go on once it is traced."""
    os.waitpid(child, os.WUNTRACED)
    tracer = subprocess.Popen([*strace, "-p", str(child)])
    while "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text() and tracer.poll() is None:
        time.sleep(0.001)
    os.kill(child, signal.SIGCONT)
    return tracer


def _serve(imports: list[str]) -> None:
    """Answers each line with the status of a child, and goes on with a stopped one at the next line."""
    for name in imports:
        importlib.import_module(name)
    stopped = 0
    for line in sys.stdin:
        child, tracer = stopped or os.fork(), None
        if stopped:
            os.kill(child, signal.SIGCONT)
        else:
            function, arguments, strace = json.loads(line)
            if not child:
                room, _colon, name = function.partition(":")
                getattr(importlib.import_module(room), name)(*arguments)
                return
            tracer = _watch(child, strace) if strace else None
        status = os.waitpid(child, 0 if tracer else os.WUNTRACED)[1]
        stopped = child if os.WIFSTOPPED(status) else 0
        if tracer:
            tracer.wait()
        print(STOPPED if stopped else os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    del sys.argv[1:]  # a module would take the first one for its options
    _serve(wanted)
