# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are kept, and running a command."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
GENERATED = ("1.4.14", "1.5.11", "1.6.2", "1.7.4", "1.8.1", "1.9.0", "1.9.6", "2.0.0", "2.4.0")
"""The releases of which the testbed makes projects."""
SEPARATE = {
    "appwrite-worker": (
        *("builds", "certificates", "databases", "deletes", "executions", "functions", "jobs", "mails", "messaging"),
        *("migrations", "notifications", "screenshots", "stats-resources", "stats-usage", "webhooks"),
    ),
    "appwrite-task-scheduler": ("executions", "functions", "messages"),
}
"""What the services that do the work of several since 2.0.0 are in the topology C(separate): the ends of their names."""
WORK = CHECKOUT / ".work" / "testbed"


class Failed(Exception):
    """A command that must succeed did not. The message holds the command and the end of what it printed."""


def clean_environ() -> dict[str, str]:
    """This process's environment without what would change how compose reads a project."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("_APP_", "COMPOSE_"))}


def run(
    *command: str | Path, input: str | None = None, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> str:
    """Runs a command and returns what it printed. Raises Failed where it exits with another status than 0."""
    done = subprocess.run(
        [str(word) for word in command],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        cwd=cwd,
        env=clean_environ() if environ is None else environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-20:])
        raise Failed(f"{' '.join(str(word) for word in command[:6])} exited with status {done.returncode}:\n{tail}")
    return done.stdout


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time, over all test workers of this checkout."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def catalogue() -> Any:
    """The collection's catalogue of variables, imported under the collection's own name."""
    parent = CHECKOUT / ".work" / "import"
    link = parent / "ansible_collections" / "selfhost" / "appwrite"
    with locked("import"):
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("../../../..")
    if str(parent) not in sys.path:
        sys.path.insert(0, str(parent))
    from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue

    return catalogue


def official_files() -> list[tuple[Path, str, str, str]]:
    """Appwrite's own compose files, RELEASE[-dev][-DATABASE][-TOPOLOGY].yml, with the three. Of which directories: tests/README.md."""
    form = re.compile(r"([\d.]+)(?:-dev)?(?:-(mariadb|mongodb|postgresql))?(?:-(separate))?")
    directory = os.environ.get("APPWRITE_COMPOSE_DIR", "").rstrip("/")
    files = [file for each in ("", "-2x") if directory for file in sorted(Path(directory + each).glob("[0-9]*.yml"))]
    return [
        (file, found[1], found[2] or "mariadb", found[3] or "combined")
        for file in files
        if (found := form.fullmatch(file.stem))
    ]


def service_names(release: str) -> tuple[str, ...]:
    """The compose services of that release that list any variable, sorted; from 2.0.0 those of the topology C(combined)."""
    variables = catalogue()
    return tuple(
        sorted({service for name in variables.names(release) for service in variables.services(name, release)})
    )


def at_least(release: str, other: str) -> bool:
    """Whether a release is that one or newer."""
    return _numbers(release) >= _numbers(other)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in release.split("."))
