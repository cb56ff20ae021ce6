# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a module, a playbook and a stack, and looking at what they left."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import plays
from support.absent import HIDDEN
from support.forks import Forks
from support.search import search
from testbed import Project, Unavailable, newest_compose
from testbed._base import clean_environ, official_files, run
from testbed.project import SWITCHES

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

CHECKOUT = Path(__file__).parents[2]
WORK = CHECKOUT / ".work"
KEY = "_APP_OPENSSL_KEY_V1"
HTTPS = "_APP_OPTIONS_FORCE_HTTPS"
ROOT_ONLY = "_APP_CONSOLE_WHITELIST_ROOT"
UNCACHED = {"PYTHONPYCACHEPREFIX": os.devnull, "PYTHONDONTWRITEBYTECODE": "1", "SELFHOST_COVERAGE": ""}
"""For Pythons whose system calls are counted: the number must not depend on what was compiled before, nor on whether coverage is recorded."""
LITERALS = ("1", "root")
"""that Appwrite's own compose files give in the place of .env"""
NOT_A_KEY = "not-a-real-key-" + "0123456789abcdef" * 3
_FORKS: list[Forks] = []
"""one, once a module is run the second time"""
_LOCK = threading.Lock()
"""of what makes one run at a time"""
_STARTED: set[str] = set()
"""modules that a process of its own has run"""
needs_php = pytest.mark.skipif(
    not shutil.which("php"), reason="php is not at hand: tests/faults/tools.sh installs it where that is allowed"
)
"""Its own openssl judges what was sealed, and it reads Appwrite's own files."""


def take_newest_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on C(docker compose) is the newest release, not that of this machine."""
    directory = newest_compose()
    if not directory:
        pytest.skip("Go is not at hand: it builds the newest compose")  # in the list of tests/README.md
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))


@dataclass(frozen=True)
class Kind:
    """A project to test on: generated, or one of Appwrite's own files. Each kind is one project for all of its tests."""

    release: str = "1.9.6"
    database: str = "mariadb"
    file: Path | None = None
    services: tuple[str, ...] = ()
    """of a generated project, only these; all where empty"""
    room: str = ""
    topology: str = "combined"
    """of 2.x"""
    mounted: bool = False
    """whether its uploads are in another place, which the engine mounts while a container uses them, as it does with NFS"""

    def __str__(self) -> str:
        topology = "" if self.topology == "combined" else self.topology
        parts = self.release, self.database, topology, "official" if self.file else "", self.room
        return "-".join(filter(None, parts))

    def create(self, parent: Path, name: str = "") -> Project:
        project = Project.create(
            parent, self.release, self.database, compose_file=self.file, name=name, topology=self.topology
        )
        path = project.directory / "docker-compose.yml"
        content = yaml.safe_load(path.read_text())
        if self.services:
            content["services"] = {name: content["services"][name] for name in self.services}
        if self.mounted:
            place = project.directory / "shared"
            place.mkdir()
            content["volumes"]["appwrite-uploads"] = {
                "driver_opts": {"type": "none", "o": "bind", "device": str(place)}
            }
        if self.services or self.mounted:
            path.write_text(yaml.safe_dump(content, sort_keys=False))
        return project


_FEW = ("appwrite", "appwrite-worker-mails", "appwrite-worker-certificates", "redis")
SMALL = Kind(services=(*_FEW, "mariadb"), room="small")
COMBINED = (
    *("appwrite", "appwrite-mqtt", "appwrite-worker", "appwrite-console", "appwrite-geo"),
    *("clickhouse", "orchestrator", "traefik", "redis"),
)
"""Of 2.4.0, one of each sort."""
BY_DAY = (Kind("1.9.6"), Kind("2.4.0", "postgresql", services=(*COMBINED, "postgresql")))
GENERATED = (
    *BY_DAY,
    *(Kind(release, services=(*_FEW, "mariadb")) for release in ("1.6.2", "1.8.1")),
    *(Kind("1.9.6", database, services=(*_FEW, database)) for database in ("postgresql", "mongodb")),
    *(Kind("2.4.0", database, services=(*COMBINED, database)) for database in ("mariadb", "mongodb")),
    Kind("2.4.0", "postgresql", topology="separate"),
)


@functools.cache
def official() -> list[Kind]:
    """One for each of Appwrite's own compose files."""
    return [Kind(release, database, file, topology=topology) for file, release, database, topology in official_files()]


def every_kind() -> list[Kind]:
    return [*GENERATED, *official()]


def on(*kinds: Kind, nightly: Sequence[Kind] = ()) -> pytest.MarkDecorator:
    """Runs a test on running projects. All tests of a project are one worker's. FerretDB and Appwrite's own files are the night's, and some more."""

    def marks(kind: Kind) -> list[pytest.MarkDecorator]:
        return [
            pytest.mark.xdist_group(str(kind)),
            *([pytest.mark.nightly] if kind.file or kind.database == "mongodb" or kind in nightly else []),
        ]

    return pytest.mark.parametrize(
        "_running", [pytest.param(kind, id=str(kind), marks=marks(kind)) for kind in (*kinds, *nightly)], indirect=True
    )


def on_every_kind() -> pytest.MarkDecorator:
    """The newest of each line of releases by day: what older ones have that these have not is a matter of files, which unit tests read."""
    return on(*BY_DAY, nightly=[kind for kind in every_kind() if kind not in BY_DAY])


@functools.cache  # the same object, by which pytest knows the same project
def alone(database: str) -> Kind:
    """A database of its own for all tests that ask nothing else."""
    return Kind(database=database, services=(database,), room="alone")


@functools.cache
def small(room: str) -> pytest.MarkDecorator:
    """Runs a test on a running project of five services, of a name of its own so that rooms can be tested side by side."""
    return on(replace(SMALL, room=room))


def until(found: Callable[[], bool]) -> None:
    """Waits for what comes by itself, for as long as a machine may be busy."""
    for _attempt in range(600):
        if found():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come")


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Every name below a directory with its mode, and its bytes or where it leads."""
    found = {}
    for path in sorted(directory.rglob("*")):
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(directory))] = path.lstat().st_mode, content
    return found


def plant(directory: Path, wanted: Mapping[str, tuple[int, bytes]]) -> None:
    """Makes the files below a directory those of an earlier tree()."""
    present = tree(directory)
    for name in sorted(present.keys() - wanted.keys(), reverse=True):
        path = directory / name
        (path.rmdir if stat.S_ISDIR(present[name][0]) else path.unlink)()
    for name, (mode, content) in wanted.items():
        if present.get(name) != (mode, content):
            path = directory / name
            path.mkdir(exist_ok=True) if stat.S_ISDIR(mode) else path.write_bytes(content)
            path.chmod(mode & 0o7777)


def read_env(directory: Path, name: str = ".env") -> dict[str, str]:
    """Name to effective value."""
    return dict(parse(decode((directory / name).read_bytes())).values)


def set_env(directory: Path, **values: str | None) -> None:
    """A user's own edit of .env."""
    path = directory / ".env"
    path.write_bytes(parse(path.read_bytes().decode()).edit(values, catalogue.kin).encode())


def without(directory: Path, name: str, instead: str = "") -> None:
    """Removes a variable's line from .env, or puts other text in its place."""
    path = directory / ".env"
    path.write_text(re.sub(rf"^{name}=.*\n", instead, path.read_text(), flags=re.MULTILINE))


def assert_no_leak(output: str, secrets: Iterable[str]) -> None:
    """No piece of eight characters of any secret, in any spelling."""
    found = search(frozenset(secrets))(output)
    assert not found, f"the output holds pieces of a secret: {found[:3]}"


def _secrets_in(directory: Path) -> set[str]:
    """The values of all secret variables in a directory's .env and its backups, but for the defaults."""
    found = set()
    for path in directory.glob(".env*") if directory.is_dir() else ():
        with contextlib.suppress(AppwriteError, OSError):
            found |= {
                re.sub(r"^\w+://(?:[^@:]*:)?([^@]+)@.*", r"\1", value)  # of a connection string, the password
                for name, value in read_env(directory, path.name).items()
                if len(value) >= 8
                and catalogue.is_secret(name)
                and not catalogue.is_public_default(name, value)
                and value != catalogue.default(name, catalogue.NEWEST)
            }
    return found


def module(
    name: str,
    arguments: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    python: str | Path = sys.executable,
    path: Sequence[Path] = (),
    environ: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    prefix: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Runs a module's file as Ansible would and returns its result, with C(rc). No traceback and no secret may be in what it prints.

    The first run of each module is a process of its own, further ones with the same Python are forks, also if docker is hidden.

    path: directories before those that the module's imports come from.
    secrets: more of them than those of the project's .env and its backups.
    prefix: a program that runs the command that follows it.
    """
    directory = Path(str(arguments.get("project_src", "/nonexistent")))
    hidden = _secrets_in(directory) | set(secrets)
    command = [*prefix, python, CHECKOUT / "plugins" / "modules" / f"{name}.py"]
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}})
    environ = {
        **(clean_environ() if environ is None else environ),
        "PYTHONPATH": os.pathsep.join(map(str, [*path, WORK / "import"])),
        **(UNCACHED if "strace" in prefix else {}),
    }
    hidden_paths = HIDDEN.get(tuple(prefix)) if not prefix or os.geteuid() == 0 else None
    usual = python == sys.executable and not path and hidden_paths is not None
    if usual and name in _STARTED and _LOCK.acquire(blocking=False):
        try:
            done = _forked(name, given, environ, hidden_paths)
        finally:
            _LOCK.release()
    else:
        _STARTED.add(name)
        done = subprocess.run(command, input=given, env=environ, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert_no_leak(output, hidden | _secrets_in(directory))
    result = json.loads(done.stdout)
    assert bool(result.get("failed")) == bool(done.returncode), output
    assert "internal error" not in result.get("msg", ""), output
    warnings = [
        warning if isinstance(warning, str) else warning["event"]["msg"] for warning in result.get("warnings", ())
    ]
    return {**result, "warnings": warnings, "rc": done.returncode}


def before_docker(directory: Path, script: str) -> dict[str, str]:
    """The environment in which this runs before each call of docker, with its arguments."""
    program = directory / "docker"
    program.write_text(f'#!/bin/sh\n{script}\nexec "{shutil.which("docker")}" "$@"\n')
    program.chmod(0o755)
    return {**clean_environ(), "PATH": f"{directory}:{os.environ['PATH']}"}


def _forked(
    name: str, given: str, environ: Mapping[str, str], hidden: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    if not _FORKS:
        _FORKS.append(Forks.of_modules(environ=environ))
    with tempfile.TemporaryDirectory(prefix="appwrite-run-") as scratch:
        said = [Path(scratch) / "out", Path(scratch) / "err"]
        options = (dict(environ), os.getcwd(), False, list(hidden))
        status = _FORKS[0].run("support.forks:module", name, given, *map(str, said), *options)
        return subprocess.CompletedProcess([name], status, *(path.read_text("utf-8") for path in said))


def succeed(name: str, arguments: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    result = module(name, arguments, **options)
    assert not result["rc"], result["msg"]
    return result


def refuse(name: str, arguments: Mapping[str, Any], **options: Any) -> str:
    """The message of a failure, which must leave the project's directory as it was."""
    directory = Path(str(arguments.get("project_src", "/nonexistent")))
    before = tree(directory)
    result = module(name, arguments, **options)
    assert result["rc"], result
    assert tree(directory) == before
    return result["msg"]


@dataclass
class Play:
    """What ansible-playbook printed."""

    rc: int
    output: str
    recap: dict[str, int] = field(default_factory=dict)
    """of all hosts together"""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """task name, less its role, to result"""
    states: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, rc: int, output: str) -> Play:
        play = cls(rc, output)
        for part in re.split(r"^TASK \[", output, flags=re.MULTILINE)[1:]:
            name = part.partition("]")[0].rpartition(" : ")[2]
            found = re.search(r"^(\w+): \[[^]]*\](?:: FAILED!)? => (?={)", part, re.MULTILINE)
            if found:
                play.states[name] = found[1]
                play.results[name] = json.JSONDecoder().raw_decode(part, found.end())[0]
        for name, number in re.findall(r"(\w+)=(\d+)", output.partition("PLAY RECAP")[2]):
            play.recap[name] = play.recap.get(name, 0) + int(number)
        return play

    def result(self, words: str) -> dict[str, Any]:
        """The result of the task whose name begins with these words."""
        return next(result for name, result in self.results.items() if name.startswith(words))


def playbook(
    source: str | Path,
    variables: Mapping[str, Any],
    *flags: str,
    environ: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    program: Path = plays.PROGRAM,
    python: str | Path = sys.executable,
    verbosity: str = "-v",
) -> Play:
    """Runs a playbook on this machine: its text where it has several lines, else its name or path.

    HTTPS is forced unless it is said otherwise: the projects of tests have neither a public name nor a Traefik that answers on port 443.
    """
    with tempfile.TemporaryDirectory(prefix="appwrite-play-") as scratch:
        file = Path(scratch) / "play.yml"
        if "\n" in str(source):
            file.write_text(str(source))
            source = file
        extra = Path(scratch) / "variables.json"
        extra.touch(mode=0o600)
        extra.write_text(
            json.dumps({"ansible_python_interpreter": str(python), "appwrite_security_force_https": True, **variables})
        )
        options = ("--inventory", "localhost,", "--connection", "local", "--extra-vars", f"@{extra}", verbosity)
        environ = {"ANSIBLE_PIPELINING": "true", **(clean_environ() if environ is None else environ)}
        done = plays.run(*options, *flags, source, directory=Path(scratch), environ=environ, program=program)
    assert "Traceback" not in done.stdout, done.stdout
    source_directory = Path(str(variables.get("appwrite_security_project_src", "/nonexistent")))
    assert_no_leak(done.stdout, {*secrets, *_secrets_in(source_directory)})
    return Play.read(done.returncode, done.stdout)


def controller() -> dict[str, str]:
    """The environment of somebody who types commands, with this collection installed."""
    return {
        **clean_environ(),
        "ANSIBLE_HOME": str(WORK / "ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(WORK / "import"),
        "ANSIBLE_NOCOLOR": "true",
        "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}",
    }


def type_in(command: str, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line of the documentation, as its reader types it there."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env={**controller(), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


class Stack:
    """A running project, and the way back to how it was."""

    def __init__(self, kind: Kind, project: Project) -> None:
        self.kind = kind
        self.project = project
        self.directory = project.directory
        self.arguments = {"project_src": str(project.directory)}
        self._files = tree(self.directory)
        self._ids = self.ids()

    def ids(self) -> dict[str, str]:
        """Service to the id of its container."""
        label = "com.docker.compose"
        lines = run(
            "docker",
            "ps",
            "--all",
            "--no-trunc",
            "--filter",
            f"label={label}.project={self.project.name}",
            "--format",
            f'{{{{.Label "{label}.service"}}}} {{{{.ID}}}}',
        ).splitlines()
        return dict(line.split() for line in lines)

    def env(self) -> dict[str, str]:
        return read_env(self.directory)

    def secure(self, *flags: str, **variables: Any) -> Play:
        """The collection's playbook, as a user runs it."""
        extra = {
            f"appwrite_security_{name}": value
            for name, value in {"project_src": str(self.directory), **variables}.items()
        }
        return playbook("selfhost.appwrite.secure", extra, *flags)

    def override(self, service: str, **parts: Any) -> None:
        """A user's own compose file beside Appwrite's."""
        (self.directory / "docker-compose.override.yml").write_text(json.dumps({"services": {service: parts}}))

    def assert_in_force(self) -> None:
        """Every container was made with what the file says now, by the engine's own word."""
        values = self.env()
        config = self.project.config()["services"]
        for service, options in config.items():
            made_with = self.project.container_env(service)
            for name in values.keys() & (options.get("environment") or {}).keys():
                listed = options["environment"][name]
                wanted = listed if listed in LITERALS else values[name]
                assert made_with[name] == wanted, (service, name)
        printed = self.project.compose("exec", "-T", "appwrite", "vars").splitlines()
        for name in (KEY, HTTPS, ROOT_ONLY):
            assert f"- {name}={values[name]}" in printed

    @contextlib.contextmanager
    def kept(self) -> Iterator[Stack]:
        """Whatever happens inside, files, console table and containers are as before in the end."""
        try:
            yield self
        finally:
            for service in {
                path.parent.name for switch in SWITCHES for path in self.directory.glob(f".testbed/*/{switch}")
            }:
                self.project.heal(service)
            plant(self.directory, self._files)
            states = self.project.ps()
            if self.ids() != self._ids or set(states.values()) - {"running", "healthy"}:
                self.project.up()
                self.project.wait()
                self._ids = self.ids()
            with contextlib.suppress(Exception):
                self.project.empty_console()


def made(kind: Kind, parent: Path) -> Stack:
    """A project of which nothing runs yet. Skips the test on a machine that cannot have its database."""
    try:
        return Stack(kind, kind.create(parent))
    except Unavailable as missing:
        pytest.skip(str(missing))  # "Go is not at hand" or "npm is not at hand": they make what a MongoDB project runs
