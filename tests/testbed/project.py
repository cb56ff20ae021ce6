# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Appwrite-shaped compose project in a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import generate, images
from ._base import WORK, Failed, run

DATABASES = tuple(generate.DATABASES)
NAME_PREFIX = "appwrite-tb-"
_RECORDS = WORK / "projects"
_PROJECT_LABEL = "com.docker.compose.project"
_SERVICE_LABEL = "com.docker.compose.service"
SWITCHES = ("fail", "unhealthy", "slow")

# The database's own client with the credentials of its container's environment, reading statements from standard input.
_CLIENTS = {
    "mariadb": 'MYSQL_PWD="$MYSQL_PASSWORD" exec mariadb --user="$MYSQL_USER" --batch --skip-column-names "$MYSQL_DATABASE"',
    "postgresql": 'exec psql --quiet --no-align --tuples-only -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"',
    "mongodb": 'cat >/tmp/statements.js && exec mongosh --quiet -u "$MONGO_INITDB_ROOT_USERNAME" -p "$MONGO_INITDB_ROOT_PASSWORD"'
    ' --authenticationDatabase admin "$MONGO_INITDB_DATABASE" /tmp/statements.js',
}


class Project:
    """A compose project named after its directory, as a user's is. Everything that it makes in the engine carries that name."""

    def __init__(self, directory: Path) -> None:
        """An existing project in its directory."""
        self.directory = directory
        self.name = directory.name
        if not self.name.startswith(NAME_PREFIX):
            raise ValueError(f"{directory} is no project of the testbed: its name does not begin with {NAME_PREFIX}")

    @classmethod
    def create(
        cls,
        parent: Path | str,
        release: str,
        database: str = "mariadb",
        *,
        compose_file: Path | str | None = None,
        name: str = "",
        topology: str = "combined",
    ) -> Project:
        """Writes the files of a new project into a new directory below parent. Starts nothing.

        release: any that the catalogue knows, such as "1.9.6".
        database: "mariadb", and from 1.9.0 "postgresql", which 2.x takes by itself, and "mongodb"; raises images.Unavailable where it can't be had here.
        topology: of 2.x, "combined" or "separate".
        compose_file: one of Appwrite's own files to run instead of a generated one, copied as it is, with an override beside it.
        name: the directory's name less its prefix "appwrite-tb-", by default eight random hexadecimal digits.

        With TESTBED_IMAGES=official in the environment the images are Appwrite's and nothing is overridden: one such project at a
        time, on a host that may give its engine's socket away.
        """
        project = cls(Path(parent).resolve() / f"{NAME_PREFIX}{name or secrets.token_hex(4)}")
        official = os.environ.get("TESTBED_IMAGES") == "official"
        made = None if official else images.Images.build(release, database)
        prefix = made.prefix if made else ""
        ports = [free_port() for _entry_point in generate.PORTS]
        project.directory.mkdir(parents=True)
        _RECORDS.mkdir(parents=True, exist_ok=True)
        project._record.write_text(str(project.directory))
        project._write(".env", generate.dotenv(release, database, ports, "" if compose_file else prefix))
        if not compose_file:
            project._write("docker-compose.yml", generate.compose(release, database, ports, prefix, topology))
        else:
            shutil.copyfile(compose_file, project.directory / "docker-compose.yml")
            if made:
                config = json.loads(project.compose("config", "--no-interpolate", "--format", "json"))
                project._write("docker-compose.override.yml", generate.override(config, project.name, ports, prefix))
        if database == "mongodb":
            for file, text in generate.MONGO_FILES.items():
                own = (
                    "docker",
                    "run",
                    "--rm",
                    "--entrypoint",
                    "cat",
                    f"appwrite/appwrite:{release}",
                    f"/usr/src/code/{file}",
                )
                project._write(file, text if made else run(*own))
        services = project.config()["services"]
        for service, options in services.items():
            (project.directory / ".testbed" / service).mkdir(parents=True)
            for mount in options.get("volumes", []):
                if mount["source"].endswith("/docker.sock"):
                    Path(mount["source"]).mkdir(exist_ok=True)
        if "clickhouse" in services:
            for file, text in generate.CLICKHOUSE_FILES.items():
                project._write(file, text)
        if made:
            made.name(service["image"] for service in services.values())
        return project

    def compose(self, *arguments: str) -> str:
        """Runs `docker compose` in the project directory and returns what it printed."""
        return run("docker", "compose", *arguments, cwd=self.directory)

    def config(self) -> dict[str, Any]:
        """The project as compose understands it."""
        config: dict[str, Any] = json.loads(self.compose("config", "--format", "json"))
        return config

    def up(self, *services: str) -> None:
        """docker compose up -d."""
        self.compose("up", "--detach", *services)

    def down(self) -> None:
        """Removes the project's containers, volumes and networks, whatever its files look like by now.

        Raises if a container or volume stays. A network that stays holds nothing but the engine's own record of an endpoint that
        it forgot to release (Docker 20.10 does, until it is started anew): a warning.
        """
        for kind, listing, removal in (
            ("container", ("ls", "--all"), ("rm", "--force", "--volumes")),
            ("volume", ("ls",), ("rm", "--force")),
            ("network", ("ls",), ("rm",)),
        ):
            for _attempt in range(20):
                if not (found := self._labelled(kind, *listing)):
                    break
                with contextlib.suppress(Failed):  # the engine may still be at it
                    run("docker", kind, *removal, *found)
                    continue
                time.sleep(0.5)
            else:
                message = f"{kind}s of {self.name} cannot be removed: {', '.join(found)}"
                if kind != "network":
                    raise Failed(message)
                warnings.warn(message, stacklevel=2)
        self._record.unlink(missing_ok=True)

    def sign_up(self, email: str) -> None:
        """A first console user."""
        uid = secrets.token_hex(10)
        self.query(
            mariadb=f"INSERT INTO _console_users (_uid, _createdAt, name, email) VALUES ('{uid}', NOW(3), '', '{email}');",
            postgresql=f"""INSERT INTO "{{schema}}"."_console_users" ("_uid", "_createdAt", "name", "email") """
            f"VALUES ('{uid}', now(), '', '{email}');",
            mongodb=f"db.getCollection('_console_users').insertOne({{_uid: '{uid}', name: '', email: '{email}'}});",
        )

    def empty_console(self) -> None:
        """No console user, as before the first sign-up."""
        self.query(
            mariadb="DELETE FROM _console_users;",
            postgresql="""DELETE FROM "{schema}"."_console_users";""",
            mongodb="db.getCollection('_console_users').deleteMany({});",
        )

    def drop_console(self) -> None:
        """No table of console users, as before Appwrite's first start has finished."""
        self.query(
            mariadb="DROP TABLE _console_users;",
            postgresql="""DROP TABLE "{schema}"."_console_users";""",
            mongodb="db.getCollection('_console_users').drop();",
        )

    def query(self, **statements: str) -> str:
        """What the database answers to the statements written for it, waiting until it takes any. {schema} is its schema."""
        service, container = next((name, each) for name, each in self._containers().items() if name in DATABASES)
        environment = dict(line.split("=", 1) for line in container["Config"]["Env"])
        statement = statements[service].replace("{schema}", environment.get("POSTGRES_DB", ""))
        client = ("docker", "exec", "--interactive", container["Id"], "sh", "-c", _CLIENTS[service])
        for _attempt in range(60):
            try:
                return run(*client, input=statement)
            except Failed as error:
                last = error
                time.sleep(1)
        raise last

    def fail(self, service: str, log: str = "Fatal error: the program cannot start\n") -> None:
        """From its next start on the service prints these lines and exits with status 1."""
        self._switch(service, "fail").write_text(log)

    def unhealthy(self, service: str) -> None:
        """The service's health check fails from now on."""
        self._switch(service, "unhealthy").touch()

    def slow(self, worker: str, seconds: float) -> None:
        """From now on each job, also the one in hand, takes the worker, such as appwrite-worker-mails, that long, instead of 0.1 s."""
        self._switch(worker, "slow").write_text(str(seconds))

    def heal(self, service: str) -> None:
        """Undoes fail(), unhealthy() and slow()."""
        for switch in SWITCHES:
            self._switch(service, switch).unlink(missing_ok=True)

    def redis(self, *words: str) -> str:
        """What Redis answers to a command. Asked without compose, which refuses while a rotation is unfinished."""
        return run("docker", "exec", self.container("redis"), "redis-cli", *words).strip()

    def enqueue(self, queue: str, number: int = 1) -> None:
        """Puts so many jobs into a queue, such as v1-mails, as utopia-php/queue does."""
        jobs = (
            {
                "pid": secrets.token_hex(8),
                "queue": queue,
                "timestamp": int(time.time()),
                "payload": {"project": {"$id": "1"}},
            }
            for _job in range(number)
        )
        self.redis("lpush", f"utopia-queue.queue.{queue}", *map(json.dumps, jobs))

    def jobs(self, queue: str) -> int:
        """How many of its jobs wait or are in a worker's hand."""
        return sum(int(self.redis("llen", f"utopia-queue.{state}.{queue}")) for state in ("queue", "processing"))

    @contextlib.contextmanager
    def connections(self, number: int) -> Iterator[int]:
        """Opens so many more connections of Appwrite's container to MariaDB or PostgreSQL, and holds them. Gives how many it got.

        They end with the container at the latest.
        """
        command = [
            "docker",
            "exec",
            "--interactive",
            self.container("appwrite"),
            "php",
            "app/connections.php",
            str(number),
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holding:
            assert holding.stdin and holding.stdout
            try:
                yield int(holding.stdout.readline())
            finally:
                holding.stdin.close()

    @property
    def database(self) -> str:
        """Its kind."""
        return next(name for name in self._containers() if name in DATABASES)

    def address(self, service: str = "appwrite") -> str:
        """Of a running service's container, as it is now, for the host. Raises Failed where there is none."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        found = run("docker", "container", "inspect", "--format", form, self.container(service)).split()
        if not found:
            raise Failed(f"{service} has no address")
        return found[0]

    def container(self, service: str) -> str:
        """The id of a service's running container. Raises Failed where there is none."""
        label = f"label={_SERVICE_LABEL}={service}"
        own = (
            "--filter",
            f"label={_PROJECT_LABEL}={self.name}",
            "--filter",
            label,
            "--filter",
            "label=com.docker.compose.oneoff=False",
        )
        found = run("docker", "container", "ls", "--quiet", *own).split()
        if not found:
            raise Failed(f"{service} of {self.name} does not run")
        return found[0]

    def uploads(self) -> Path:
        """The volume that the containers have as /storage/uploads, or what it is if that is mounted."""
        [volume] = json.loads(run("docker", "volume", "inspect", f"{self.name}_appwrite-uploads"))
        return Path((volume["Options"] or {}).get("device") or volume["Mountpoint"])

    def container_env(self, service: str) -> dict[str, str]:
        """The environment that the service's container was made with."""
        return dict(line.split("=", 1) for line in self._containers()[service]["Config"]["Env"] if "=" in line)

    def ps(self) -> dict[str, str]:
        """The state of each service's container: its health where it has a health check, else its status."""
        states = {name: container["State"] for name, container in sorted(self._containers().items())}
        return {
            name: state["Health"]["Status"] if "Health" in state and state["Status"] == "running" else state["Status"]
            for name, state in states.items()
        }

    def wait(self, seconds: int = 120) -> None:
        """Waits until every container runs and is healthy. Raises Failed with the others after that time."""
        deadline = time.monotonic() + seconds
        while wrong := {name: state for name, state in self.ps().items() if state not in ("running", "healthy")}:
            if time.monotonic() > deadline:
                raise Failed(f"After {seconds} seconds: {wrong}")
            time.sleep(0.5)

    def _containers(self) -> dict[str, Any]:
        ids = self._labelled("container", "ls", "--all")
        found = json.loads(run("docker", "container", "inspect", *ids)) if ids else []
        return {container["Config"]["Labels"][_SERVICE_LABEL]: container for container in found}

    def _labelled(self, kind: str, *listing: str) -> list[str]:
        return run("docker", kind, *listing, "--quiet", "--filter", f"label={_PROJECT_LABEL}={self.name}").split()

    @property
    def _record(self) -> Path:
        return _RECORDS / self.name

    def _write(self, file: str, text: str) -> None:
        (self.directory / file).write_text(text)

    def _switch(self, service: str, switch: str) -> Path:
        return self.directory / ".testbed" / service / switch


def leftovers() -> list[Project]:
    """The projects that this checkout created and nobody has taken down, even if their directories are gone."""
    return [Project(Path(record.read_text())) for record in sorted(_RECORDS.glob(f"{NAME_PREFIX}*"))]


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel hands out by itself."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
