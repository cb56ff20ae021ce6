# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images: built here, from Debian's packages, never pulled.

They are named selfhost-appwrite-testbed/<thing>:<hash of what it is made of>. A project's compose file asks for the usual names
under a prefix testbed.invalid/<hash of its images>/, which are further names of the same images: no name ever changes its image
under a project that runs. clean() removes both, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import tools
from ._base import GENERATED, SEPARATE, WORK, Failed, at_least, catalogue, locked, run, service_names

REPOSITORY = "selfhost-appwrite-testbed"
_REGISTRY = "testbed.invalid/"
_LABEL = "selfhost.appwrite.testbed"

_PROGRAMS = Path(__file__).parent / "programs"
# What the packages of a server depend on and its server does without: most of its size.
_LEFT_OUT = (
    "perl",
    "libperl",
    "libllvm",
    "libz3",
    "locales",
    "libc-l10n",
    "adduser",
    "debconf",
    "dpkg",
    "passwd",
    "usrmerge",
)

_SMALL_MARIADB = """\
[mysqld]
skip-name-resolve
innodb-buffer-pool-size = 8M
innodb-log-file-size = 4M
key-buffer-size = 1M
aria-pagecache-buffer-size = 1M
"""


class Unavailable(Exception):
    """An image can't be made on this machine. The message says what is missing."""


def entrypoint(service: str) -> str:
    """The program that a service of Appwrite runs: appwrite-task-scheduler-functions -> schedule-functions."""
    return service.removeprefix("appwrite-").removeprefix("task-").replace("scheduler", "schedule")


def stand_in(release: str | None = None) -> str:
    """The image of every service that is no database; with a release, of those that run Appwrite itself."""
    if release is None:
        return _image("stand-in", ["stand-in"], _link_check, ["busybox-static"], "", 'ENTRYPOINT ["idle"]')
    variables = catalogue()
    documented = [name for name in variables.names(release) if variables.documented(name, release)]
    names = "".join(f"{name}\n" for name in documented)
    own = _own_variables({name: variables.default(name, release) or "" for name in documented})
    settings = (
        *(f"ENV _APP_VERSION={release}", "ENV _APP_HOME=https://appwrite.io", "WORKDIR /usr/src/code"),
        *('ENTRYPOINT ["docker-php-entrypoint"]', 'CMD ["php", "app/http.php"]'),
    )
    combined = {service for known in GENERATED for service in service_names(known)}
    programs = {
        *map(entrypoint, combined),
        *(entrypoint(f"{service}-{end}") for service, ends in SEPARATE.items() for end in ends),
    }

    def fill(root: Path) -> None:
        _write(root / "usr/local/share/appwrite/variables", names)
        _write(root / "usr/local/share/testbed/config/variables.php", own)
        if at_least(release, "2.4.0"):
            _write(root / "usr/local/share/appwrite/needs-key", "")
        _place(root / "usr/src/code/app").symlink_to("/usr/local/share/testbed")
        for program in programs:
            _program(root, program, release)
        # Appwrite's own image is Alpine, whose nc knows -z. Debian's busybox has one without, and its shell takes no other.
        _link(root, "nc", "/bin/nc.openbsd")
        _link(root, "sh", "/bin/dash")
        php = next((root / "usr/bin").glob("php[0-9]*"))
        _link(root, "php", f"/{php.relative_to(root)}")
        extensions = "".join(f"extension={name}\n" for name in ("pdo", "mysqlnd", "pdo_mysql", "pdo_pgsql", "posix"))
        _write(root / "etc/php" / php.name.removeprefix("php") / "cli/conf.d/testbed.ini", extensions)

    packages = ["busybox-static", "dash", "netcat-openbsd", "php-cli", "php-mysql", "php-pgsql"]
    return _image(f"appwrite-{release}", ["stand-in", "appwrite"], fill, packages, own, *settings)


def _own_variables(defaults: Mapping[str, str]) -> str:
    """C(app/config/variables.php), in which a description calls a class that only the whole program has."""
    rows = "".join(
        f"    ['name' => '{name}', 'description' => implode(Config::getParam('runtimes')), 'default' => '{default}'],\n"
        for name, default in defaults.items()
    )
    return f"<?php\n\nuse Utopia\\Config\\Config;\n\nreturn [['category' => 'General', 'variables' => [\n{rows}]]];\n"


def _link_check(root: Path) -> None:
    """What the health check of 2.x calls in the image of appwrite-geo."""
    _link(root, "php", "curl")


def _program(root: Path, program: str, release: str) -> None:
    """One of Appwrite's own in bin/. Before 1.9.0 each leaves its shell as the first process, which passes no signal on."""
    passes = at_least(release, "1.9.0")
    if program == "mqtt" or program.partition("-")[0] == "worker":
        words = f"php /usr/src/code/app/worker.php {program.partition('-')[2] or 'all'}"
        if program == "mqtt":
            words = "php /usr/src/code/app/mqtt.php"
        _write(root / "usr/local/bin" / program, f"#!/bin/sh\n{'exec ' * passes}{words}\n")
        (root / "usr/local/bin" / program).chmod(0o755)
    else:
        _link(root, program, "idle" if passes and program in ("interval", "realtime") else "deaf")


def redis() -> str:
    """Redis, whose default configuration lets everybody on the network in, as the official image does."""
    settings = ('ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["redis-server"]')
    return _image("redis", ["redis"], lambda root: None, ["busybox-static", "redis-server"], "", *settings)


def clickhouse() -> str:
    """ClickHouse, with the login of the official image, and no tables."""
    settings = 'ENTRYPOINT ["entrypoint.sh"]'
    return _image("clickhouse", ["stand-in", "clickhouse"], lambda root: None, ["busybox-static"], "", settings)


def mariadb() -> str:
    """MariaDB, with the environment variables and the health check of the official image."""

    def fill(root: Path) -> None:
        _link(root, "mysqld", "/usr/sbin/mariadbd")
        _write(root / "etc/mysql/my.cnf", _SMALL_MARIADB)

    settings = ('ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["mysqld"]')
    packages = ["busybox-static", "mariadb-server-core", "mariadb-client-core", "mariadb-client"]
    return _image("mariadb", ["mariadb"], fill, packages, "", *settings, seed=True)


def postgresql() -> str:
    """PostgreSQL, with the environment variables of the official image."""

    def fill(root: Path) -> None:
        directory = next((root / "usr/lib/postgresql").glob("*/bin"))
        for program in ("postgres", "initdb", "psql", "pg_dump"):
            _link(root, program, f"/{directory.relative_to(root)}/{program}")

    settings = ('ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["postgres"]')
    return _image("postgresql", ["postgresql"], fill, ["busybox-static", "postgresql"], "", *settings, seed=True)


def mongodb() -> str:
    """FerretDB, which speaks MongoDB's protocol, and MongoDB's own client. Needs go, npm and node on this machine."""
    for tool, program in (("Go", "go"), ("npm", "npm"), ("npm", "node")):
        if not shutil.which(program):
            raise Unavailable(
                f"{tool} is not at hand: the MongoDB project's FerretDB and mongosh are made with go, npm and node"
            )

    def fill(root: Path) -> None:
        _write(root / "etc/mongosh.conf", "mongosh:\n  enableTelemetry: false\n")
        shutil.copy(tools.ferretdb(), _place(root / "usr/local/bin/ferretdb"))
        shutil.copytree(tools.mongosh(), root / "usr/local/lib/node_modules", symlinks=True)
        node = Path(run("node", "-p", "process.execPath").strip())
        shutil.copy(node, _place(root / "usr/local/bin/node"))
        for word in run("ldd", node).split():
            if word.startswith("/"):
                shutil.copy(word, _place(root / word[1:]))

    settings = ('ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["mongod"]')
    content = tools.FERRETDB + tools.MONGOSH
    return _image("mongodb", ["mongodb"], fill, ["busybox-static", "bash", "libstdc++6"], content, *settings)


DATABASES: dict[str, Callable[[], str]] = {"mariadb": mariadb, "mongodb": mongodb, "postgresql": postgresql}


def available(database: str) -> str | None:
    """Why that database can't be had on this machine, or None where it can. Builds its image."""
    try:
        DATABASES[database]()
    except Unavailable as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Images:
    """The images of one release on one database."""

    appwrite: str
    redis: str
    clickhouse: str
    other: str
    database: str

    @classmethod
    def build(cls, release: str, database: str) -> Images:
        """Builds what the engine lacks. Raises Unavailable where it can't."""
        return cls(stand_in(release), redis(), clickhouse(), stand_in(), DATABASES[database]())

    @property
    def prefix(self) -> str:
        """What a project puts before the names of its images."""
        return f"{_REGISTRY}{_hash(self)}/"

    def name(self, wanted: Iterable[str]) -> None:
        """Gives the images the names that a project asks for, each with the prefix."""
        for name in set(wanted):
            short = name.removeprefix(self.prefix)
            if short.startswith("appwrite/appwrite:"):
                image = self.appwrite
            elif short.startswith("redis:"):
                image = self.redis
            elif short.startswith("clickhouse/"):
                image = self.clickhouse
            elif short.startswith(("mariadb:", "mongo:", "appwrite/postgres:")):
                image = self.database
            else:
                image = self.other
            run("docker", "tag", image, self.prefix + short)


def built() -> list[dict[str, str]]:
    """Every image of ours in this engine, as docker lists it."""
    lines = run("docker", "image", "ls", "--no-trunc", "--format", "{{json .}}").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["Repository"].startswith((f"{REPOSITORY}/", _REGISTRY))]


def clean() -> list[str]:
    """Removes every image of ours that no container uses, and returns their names."""
    names = {f"{row['Repository']}:{row['Tag']}" for row in built()}
    for name in names:
        with contextlib.suppress(Failed):
            run("docker", "image", "rm", name)
    return sorted(names - {f"{row['Repository']}:{row['Tag']}" for row in built()})


def _image(
    thing: str,
    programs: Iterable[str],
    fill: Callable[[Path], None],
    packages: list[str],
    content: str,
    *settings: str,
    seed: bool = False,
) -> str:
    """The image of that name, built unless the engine has it already."""
    files = [
        _PROGRAMS / "testbed-check",
        _PROGRAMS / "testbed-switch",
        *sorted(file for each in programs for file in (_PROGRAMS / each).iterdir()),
    ]
    made_of = [packages, content, settings, *((file.name, file.read_bytes()) for file in [*files, Path(__file__)])]
    image = f"{REPOSITORY}/{thing}:{_hash(made_of)}"
    if _exists(image):
        return image
    with locked(f"image-{thing}"):
        if not _exists(image):
            _build(image, files, fill, packages, settings, seed)
    return image


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def _exists(image: str) -> bool:
    return bool(run("docker", "image", "ls", "--quiet", image).strip())


def _build(
    image: str,
    files: list[Path],
    fill: Callable[[Path], None],
    packages: list[str],
    settings: tuple[str, ...],
    seed: bool,
) -> None:
    root = WORK / "roots" / image.split("/")[1].replace(":", "-")
    shutil.rmtree(root, ignore_errors=True)
    _unpack(packages, root)
    for applet in run(root / "bin/busybox", "--list").split():
        if not any(os.path.lexists(root / directory / applet) for directory in ("bin", "sbin")):
            (root / "bin" / applet).symlink_to("/bin/busybox")
    for file in files:
        directory = root / "usr/local" / ("bin" if os.access(file, os.X_OK) else "share/testbed")
        shutil.copy(file, _place(directory / file.name))
    users = {"root": 0, "mysql": 999, "postgres": 998}
    _write(root / "etc/passwd", "".join(f"{user}:x:{uid}:{uid}::/:/bin/sh\n" for user, uid in users.items()))
    _write(root / "etc/group", "".join(f"{user}:x:{uid}:\n" for user, uid in users.items()))
    (root / "tmp").mkdir(mode=0o1777, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    fill(root)
    settings = (f"LABEL {_LABEL}={image}", "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", *settings)
    changes = [word for setting in settings for word in ("--change", setting)]
    imported = _import(root, [] if seed else [*changes, image])
    if seed:
        container = run("docker", "create", "--network", "none", imported, "seed").strip()
        try:
            run("docker", "start", "--attach", container)
            run("docker", "commit", *changes, container, image)
        finally:
            run("docker", "rm", "--force", "--volumes", container)
            with contextlib.suppress(Failed):  # refused where the image was made from it
                run("docker", "image", "rm", imported)
    shutil.rmtree(root)


def _import(root: Path, arguments: list[str]) -> str:
    """docker import of a directory, its files owned by root; returns the image's id."""
    tar = ["tar", "--create", "--directory", str(root), "--owner=0", "--group=0", "--numeric-owner", "."]
    split = len(arguments) - 1 if arguments else 0
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as packed:
        command = ["docker", "import", *arguments[:split], "-", *arguments[split:]]
        done = subprocess.run(command, stdin=packed.stdout, capture_output=True, text=True, check=False)
    if done.returncode or packed.returncode:
        raise Failed(f"docker import failed: {done.stderr}")
    return done.stdout.strip()


def _unpack(packages: list[str], root: Path) -> None:
    """Debian's packages and all that they depend on, unpacked into a directory without installing any."""
    if not shutil.which("apt-get"):
        raise Unavailable("The testbed's images are made from Debian's packages, and this machine has no apt-get.")
    apt = WORK / "apt"
    for directory in ("lists/partial", "archives/partial"):
        (apt / directory).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    options = [
        *("-o", f"Dir::State::Lists={apt}/lists", "-o", f"Dir::State::status={apt}/status"),
        *("-o", f"Dir::Cache={apt}", "-o", f"Dir::Cache::archives={apt}/archives"),
        *("-o", "APT::Install-Recommends=false", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
    ]
    download = ["apt-get", "-qq", "-y", *options, "install", *packages]
    with locked("apt"):
        try:
            run(*download, "--download-only")
        except Failed:  # no lists yet, or lists that name packages which have been replaced since
            run("apt-get", "-qq", *options, "update")
            run(*download, "--download-only")
        plan = run(*download, "--simulate")
    for directory in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / directory).mkdir(parents=True)
        (root / directory).symlink_to(f"usr/{directory}")
    for directory in ("etc", "proc", "run", "sys", "tmp", "usr/local/bin", "usr/local/lib", "var"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "var/run").symlink_to("../run")
    excluded = [f"--exclude=./usr/share/{part}" for part in ("doc", "man", "locale", "info", "lintian")]
    unpack = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", "--directory", str(root), *excluded]
    for package, version, architecture in re.findall(r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", plan, re.MULTILINE):
        if package.startswith(_LEFT_OUT):
            continue
        file = apt / "archives" / f"{package}_{version.replace(':', '%3a')}_{architecture}.deb"
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as content:
            subprocess.run(unpack, stdin=content.stdout, check=True)


def _link(root: Path, program: str, target: str) -> None:
    (root / "usr/local/bin" / program).symlink_to(target)


def _write(file: Path, text: str) -> None:
    _place(file).write_text(text)


def _place(file: Path) -> Path:
    """Where a file can be written: nothing is there. A package's symbolic link there would lead out of the directory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    return file
