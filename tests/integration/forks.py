# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of modules as forks of one process, which has imported what they import: that takes most of a run's time.

Run as a program, this forks a run for each line that it reads.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

_MODULES = Path(__file__).parents[2] / "plugins" / "modules"


class Forks:
    """The process, started at the first run. It makes one run at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def free(self) -> Iterator[bool]:
        """Whether no other thread has a run made now; none has until the end of the context, then."""
        taken = self._lock.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._lock.release()

    def run(self, file: Path, given: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """What a module's file makes of its standard input."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        assert self._process.stdin and self._process.stdout
        with tempfile.TemporaryDirectory(prefix="appwrite-run-") as scratch:
            said = [Path(scratch) / name for name in ("out", "err")]
            self._process.stdin.write(
                json.dumps([str(file), given, dict(environ), os.getcwd(), *map(str, said)]) + "\n"
            )
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess([str(file)], status, *(path.read_text("utf-8") for path in said))


def _serve() -> None:
    sys.path.remove(os.path.dirname(__file__))
    for file in _MODULES.glob("[a-z]*.py"):
        importlib.import_module(f"ansible_collections.selfhost.appwrite.plugins.modules.{file.stem}")
    for line in sys.stdin:
        file, given, environ, directory, *said = json.loads(line)
        child = os.fork()
        if not child:
            for descriptor, path in enumerate((os.devnull, *said)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(directory)
            sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
            runpy.run_path(file, run_name="__main__")
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
