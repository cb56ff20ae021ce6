# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker compose as a subprocess. Everything that is decided is decided from its JSON, never from its prose.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container, seconds
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.landscape import Volume
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.mask import Mask

FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
HASH_LABEL = "com.docker.compose.config-hash"
ONEOFF_LABEL = "com.docker.compose.oneoff"
OLDEST = (2, 26)
"""Executed: 2.18.1 puts the values of bare names and of C(env_file) in even with C(--no-interpolate), and rejects ports that are expressions there;
the C(config) of 2.24.7 leaves C(environment) and C(volumes) in their short forms. 2.26.1 does neither."""
_LEFTOVER = re.compile(r"_APP_|COMPOSE_|OPEN_RUNTIMES_|DOCKERHUB_PULL_")
_QUESTION_TIMEOUT = 60.0
_GRACE = 10.0
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/snap/bin", "/opt/bin")
"""Where docker may be although the task's short PATH does not name it: to overlook it would be to overlook the data."""
_NO_PLUGIN = (
    "is not a docker command",
    "unknown command: docker compose",
    "unknown flag: --ansi",
    "unknown shorthand flag",
)
_NO_ENGINE = ("cannot connect to the docker daemon", "error during connect", "failed to connect to the docker api")
_TRACES = ("/var/run/docker.sock", "/var/lib/docker/volumes")


class ComposeError(AppwriteError):
    """docker or compose said no. C(kind) is V(missing), V(unreachable), V(denied), V(rejected) or V(failed)."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def search_path(environment: Mapping[str, str], places: Sequence[str]) -> str:
    """C(PATH), and behind it places that a task's short one may lack."""
    return os.pathsep.join(filter(None, (environment.get("PATH"), *places)))


class Compose:
    """One project, named as C(docker compose) itself would name it from C(directory)."""

    def __init__(
        self,
        directory: str,
        env_file: str | None = None,
        files: Sequence[str] = (),
        project_name: str | None = None,
        profiles: Sequence[str] = (),
        clean_environment: bool = True,
    ) -> None:
        self.directory = directory
        self.mask = Mask()
        self._version: tuple[int, ...] = ()
        self._env_file = env_file
        self._options = [part for name in files for part in ("--file", name)]
        self._options += ["--project-name", project_name] if project_name else []
        self._options += [part for name in profiles for part in ("--profile", name)]
        self.environment = {
            name: value for name, value in os.environ.items() if not (clean_environment and _LEFTOVER.match(name))
        }
        self.environment["PWD"] = directory
        self.environment["PATH"] = search_path(self.environment, _PLACES)

    @property
    def installed(self) -> bool:
        return shutil.which("docker", path=self.environment["PATH"]) is not None

    def trace(self) -> str | None:
        """What shows that an engine is, or was, on this host; C(None) if nothing does."""
        if self.installed:
            return "the program docker"
        if self.environment.get("DOCKER_HOST"):
            return "DOCKER_HOST"
        return next((path for path in _TRACES if os.path.exists(path)), None)

    def version(self) -> tuple[int, ...]:
        """Of compose itself. A development build, which names no number, counts as the newest."""
        if not self._version:
            answer = self._compose(["version", "--short"]).stdout
            self._version = tuple(int(number) for number in re.findall(r"\d+", answer)[:3]) or (sys.maxsize,)
        return self._version

    def require_new(self) -> None:
        version = self.version()
        if version < OLDEST:
            raise ComposeError(
                "failed", "docker compose %s is too old; install 2.26 or newer" % ".".join(map(str, version))
            )

    def config(self, candidate: bytes | None = None) -> dict[str, Any]:
        """The project as compose resolves it, with C(candidate) in place of its C(.env) if given. Needs no engine.

        A candidate goes in by memory: it is on no disk before compose has accepted it.
        """
        return _unescaped(self._config(self._options, [], candidate))

    def whole_config(self, candidate: bytes | None = None) -> dict[str, Any]:
        """The same with the services of every profile."""
        return self._config([*self._options, "--profile", "*"], [], candidate)

    def enable(self, profiles: Iterable[str]) -> None:
        self._options += [part for name in profiles for part in ("--profile", name)]

    def as_written(
        self, candidate: bytes | None = None, included: tuple[Sequence[str], str] | None = None
    ) -> dict[str, Any]:
        """The project before any variable is put in: bare names, C(${…}) and the lists of C(env_file) stay.

        included: the paths and the directory of files that the project includes, to read these alone; of them compose
        puts the variables in where they are read as a part of the project (2.26.1, executed).
        """
        options = self._options
        if included is not None:
            paths, directory = included
            options = [part for path in paths for part in ("--file", path)] + ["--project-directory", directory]
        return self._config(options, ["--no-interpolate"], candidate)

    def _config(self, project: Sequence[str], options: Sequence[str], candidate: bytes | None) -> dict[str, Any]:
        answer = self._compose(["config", "--format", "json", *options], candidate, project=project)
        try:
            return json.loads(answer.stdout)
        except ValueError:
            raise ComposeError(
                "failed", "docker compose config did not print JSON; install docker compose 2.26 or newer"
            ) from None

    def hashes(self, candidate: bytes | None = None) -> dict[str, str]:
        """Service to configuration hash, which a container created from it carries in a label; but see C(_project.facts)."""
        return _by_service(self._compose(["config", "--hash", "*"], candidate).stdout)

    def hashes_of(self, config: Mapping[str, Any]) -> dict[str, str]:
        """The same of a project as C(config) answers it, each part of it taken as it is."""
        data = json.dumps(_escaped(config)).encode("utf-8", "surrogateescape")
        command = ["docker", "compose", "--env-file", os.devnull, "--file", "-", "--project-directory", self.directory]
        command += ["--profile", "*", "config", "--no-normalize", "--no-consistency", "--hash", "*"]
        return _by_service(self._run(command, "compose config", data, _QUESTION_TIMEOUT, False).stdout)

    def up(self, timeout: float, pull: str, alone: str | None = None, scale: Mapping[str, int] | None = None) -> str:
        """C(docker compose up -d), of all services or of one C(alone). Returns what compose prints, masked.

        It is brought to its end though its caller dies, whose lock it keeps until then.
        Raises ComposeError when it fails or takes longer than C(timeout) seconds.
        """
        options = [] if pull == "policy" else ["--pull", pull]
        options += [part for name, count in (scale or {}).items() for part in ("--scale", "%s=%d" % (name, count))]
        options += ["--no-deps", alone] if alone else []
        return self.mask(
            self._compose(
                ["up", "--detach", "--quiet-pull", "--no-color"] + options, timeout=timeout, keeps_lock=True
            ).stderr
        )

    def containers(self, project: str, oneoff: bool = False, listed: Sequence[str] | None = None) -> list[Container]:
        """All containers of the project, stopped ones included, those of C(docker compose run) only with C(oneoff).

        listed: their ids, if the engine has just said which these are.
        """
        ids = listed
        if ids is None:
            ids = self.docker(
                ["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=%s=%s" % (PROJECT_LABEL, project)]
            ).stdout.split()
        if not ids:
            return []
        found = [
            _container(item)
            for item in json.loads(self.docker(["inspect", "--type", "container", *ids], tolerate=True).stdout or "[]")
            if oneoff or item["Config"].get("Labels", {}).get(ONEOFF_LABEL) != "True"
        ]
        return sorted(found, key=lambda container: (container.service, container.id))

    def volumes_called(self, key: str) -> list[Volume]:
        """Those that projects have by this name of their compose files."""
        names = self.docker(
            ["volume", "ls", "--quiet", "--filter", "label=com.docker.compose.volume=" + key]
        ).stdout.split()
        answer = self.docker(["volume", "inspect", *names], tolerate=True).stdout if names else ""
        return [
            Volume(item["Name"], (item.get("Labels") or {}).get(PROJECT_LABEL, ""), seconds(item["CreatedAt"]))
            for item in json.loads(answer or "[]")
        ]

    def volumes(self) -> set[str]:
        return set(self.docker(["volume", "ls", "--quiet"]).stdout.split())

    def image_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Image name to id, for those that are here."""
        return self._of_images(names, "{{.Id}}")

    def image_environments(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Image name to the environment that the image itself sets, for those that are here."""
        found = self._of_images(names, "{{json .Config.Env}}")
        return {
            name: dict(entry.split("=", 1) for entry in json.loads(text) or [] if "=" in entry)
            for name, text in found.items()
        }

    def _of_images(self, names: Iterable[str], part: str) -> dict[str, str]:
        wanted = sorted(set(names) - {""})
        if not wanted:
            return {}
        lines = self._inspected_images(wanted, part)
        if len(lines) == len(wanted):
            return dict(zip(wanted, lines))
        return {name: line for name in wanted for line in self._inspected_images([name], part)[:1]}

    def _inspected_images(self, names: list[str], part: str) -> list[str]:
        answer = self.docker(["image", "inspect", "--format", part, *names], tolerate=True)
        return [line for line in answer.stdout.splitlines() if line]

    def logs(self, container: str, lines: int) -> list[str]:
        answer = self.docker(["logs", "--tail", str(lines), container], tolerate=True)
        return [self.mask(line.rstrip()) for line in (answer.stdout + answer.stderr).splitlines()][-lines:]

    def execute(self, container: str, command: Sequence[str], script: str | None = None) -> str:
        """Standard output of a command in a container. C(script) goes in by standard input, so that it is no argument."""
        return self.docker(["exec", "-i", container] + list(command), script=script).stdout

    def docker(
        self,
        arguments: Sequence[str],
        script: str | None = None,
        timeout: float = _QUESTION_TIMEOUT,
        tolerate: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """more: environment of this call alone."""
        return self._run(["docker"] + list(arguments), arguments[0], (script or "").encode(), timeout, tolerate, more)

    def _compose(
        self,
        arguments: Sequence[str],
        candidate: bytes | None = None,
        timeout: float = _QUESTION_TIMEOUT,
        project: Sequence[str] | None = None,
        keeps_lock: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        named = self._env_file if candidate is None else "/dev/stdin"
        command = ["docker", "compose", "--ansi", "never"] + (["--env-file", named] if named else [])
        command += self._options if project is None else project
        verb = "compose " + arguments[0]
        return self._run(command + list(arguments), verb, candidate or b"", timeout, False, keeps_lock=keeps_lock)

    def _run(
        self,
        command: list[str],
        verb: str,
        stdin: bytes,
        timeout: float,
        tolerate: bool,
        more: Mapping[str, str] | None = None,
        keeps_lock: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        with _in_memory(stdin) as stream, _in_memory() as stdout, _in_memory() as stderr:
            try:
                process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command knows neither a time limit nor a file as standard input
                    command,
                    cwd=self.directory,
                    env={**self.environment, **(more or {})},
                    stdin=stream,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                    close_fds=not keeps_lock,
                )
            except FileNotFoundError:
                if not os.path.isdir(self.directory):
                    raise ComposeError("failed", "project_src: %s is gone" % self.directory) from None
                raise ComposeError(
                    "missing", "docker is not installed on this host; install Docker Engine with the compose plugin"
                ) from None
            except PermissionError:
                raise ComposeError("denied", "docker may not be run by this user; use become") from None
            waiting = threading.Thread(target=process.wait, daemon=True)  # with a timeout, wait() looks every 50 ms
            waiting.start()
            waiting.join(timeout)
            if waiting.is_alive():
                _end(process)
                raise ComposeError("failed", "docker %s did not end within %d seconds" % (verb, timeout)) from None
            done = subprocess.CompletedProcess(command, process.returncode, _text(stdout), _text(stderr))
        if done.returncode and not tolerate:
            raise self._error(verb, done.stderr)
        return done

    def _error(self, verb: str, stderr: str) -> ComposeError:
        lower = stderr.lower()
        if (
            "permission denied while trying to connect" in lower
            or "dial unix" in lower
            and "permission denied" in lower
        ):
            return ComposeError(
                "denied", "this user may not talk to the Docker Engine; use become, or add the user to the group docker"
            )
        if any(sign in lower for sign in _NO_ENGINE):
            return ComposeError(
                "unreachable", "the Docker Engine does not answer; start it (systemctl start docker) and run again"
            )
        if verb.startswith("compose") and any(sign in lower for sign in _NO_PLUGIN):
            return ComposeError(
                "missing", "docker compose is not installed on this host; install the compose plugin, 2.26 or newer"
            )
        kind = "rejected" if verb == "compose config" else "failed"
        said = "; ".join(self.mask(_without_values(_without_decoration(stderr))).splitlines()[-5:])
        what = "rejects the project" if kind == "rejected" else "failed"
        return ComposeError(kind, "docker %s %s: %s" % (verb, what, said or "it gave no reason"))


def _in_memory(data: bytes = b"") -> IO[bytes]:
    """A file without a name: unlike a pipe, compose may open it more than once, and write to it after this process has died.

    A Python built for glibc before 2.27 makes it on the memory's file system.
    """
    stream = (
        os.fdopen(os.memfd_create("compose"), "w+b")
        if hasattr(os, "memfd_create")
        else tempfile.TemporaryFile(dir="/dev/shm")
    )
    stream.write(data)
    stream.flush()
    stream.seek(0)
    return stream


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "surrogateescape")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends docker together with its plugin, which would otherwise go on by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _container(item: Mapping[str, Any]) -> Container:
    labels = item["Config"].get("Labels") or {}
    state = item["State"]
    return Container(
        id=item["Id"],
        service=labels.get(SERVICE_LABEL, ""),
        number=labels.get(NUMBER_LABEL, "1"),
        status=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        started_at=state.get("StartedAt", ""),
        restarts=item.get("RestartCount", 0),
        exit_code=state.get("ExitCode", 0),
        config_hash=labels.get(HASH_LABEL, ""),
        image=item["Image"],
        environment=dict(entry.split("=", 1) for entry in item["Config"].get("Env") or [] if "=" in entry),
        image_name=item["Config"].get("Image", ""),
        restart=((item.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no",
        ports=ports((item.get("HostConfig") or {}).get("PortBindings")),
        mounts=tuple(
            sorted(
                (mount.get("Name") or mount.get("Source", ""), mount["Destination"], bool(mount.get("RW")))
                for mount in item.get("Mounts") or []
            )
        ),
        program=tuple(item["Config"].get("Entrypoint") or ()) + tuple(item["Config"].get("Cmd") or ()),
        addresses=addresses(item),
    )


def addresses(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a container, as C(docker inspect) describes it."""
    networks = ((item.get("NetworkSettings") or {}).get("Networks") or {}).values()
    return tuple(
        sorted({network.get(name) or "" for network in networks for name in ("IPAddress", "GlobalIPv6Address")} - {""})
    )


def ports(bound: Mapping[str, Any] | None) -> tuple[tuple[str, int, int], ...]:
    """Address and port of the host, port of the container. bound: what was asked for (C(PortBindings)), or what is so while it runs (C(Ports))."""
    return tuple(
        sorted(
            (entry.get("HostIp") or "0.0.0.0", int(entry["HostPort"]), int(inner.split("/")[0]))
            for inner, entries in (bound or {}).items()
            for entry in entries or []
            if str(entry.get("HostPort", "")).isdigit()
        )
    )


def _by_service(lines: str) -> dict[str, str]:
    return dict((line.split(None, 1) + [""])[:2] for line in lines.splitlines() if line.strip())


def _unescaped(value: Any) -> Any:
    """compose prints a literal $ as $$ in its JSON."""
    return _texts(value, lambda text: text.replace("$$", "$"))


def _escaped(value: Any) -> Any:
    return _texts(value, lambda text: text.replace("$", "$$"))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _texts(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def _without_decoration(text: str) -> str:
    """Messages without compose's progress lines and log fields."""
    lines = []
    for line in text.splitlines():
        logged = re.match(r'time="[^"]*" level=(\w+) msg="(.*)"$', line)
        if logged and logged.group(1) == "warning":
            continue
        line = logged.group(2).replace("\\n", "\n").replace('\\"', '"') if logged else line.strip()
        if line and not line.startswith("See 'docker"):
            lines.append(line)
    return "\n".join(lines)


def _without_values(text: str) -> str:
    """compose quotes the text of its files after words such as C(near); it may be a secret."""
    text = re.sub(r"(invalid interpolation format for .*\nYou may need to escape .*\n)[\s\S]*", r"\1(hidden)", text)
    return re.sub(
        r"""(\bnear |value:? |variable name |template: |unknown anchor )("(?:[^"\\]|\\.)*"|'[^']*'|["'].*|(?!near )\S+)""",
        r"\1(hidden)",
        text,
    )
