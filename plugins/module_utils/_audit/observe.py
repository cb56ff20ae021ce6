# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at one installation for the audit, and changes nothing. What cannot be looked at becomes Unseen with the reason.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
import os
import re
import shlex
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, Mapping, TypeVar

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import in_force
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.bucket import listing
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Endpoint,
    EnvironmentFile,
    Escrow,
    File,
    Given,
    Inside,
    Listing,
    Observation,
    Owned,
    ProjectFiles,
    Running,
    Seen,
    Server,
    Stored,
    Unseen,
    WorkTree,
    day,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.probe import probe
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.servers import servers
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import is_backup
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, unforeseen, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.facts import hashes
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import (
    document_of,
    env_file_of,
    instance_of,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.origin import ENV
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import OLD
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import NothingSealed
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stored import elsewhere, look

_SHORTEST_SECRET = 8
"""A shorter one would be found in files that have nothing to do with it."""
_LARGEST_COPY = 1 << 20
_MOST_FILES = 2000
_GIT_TIMEOUT = 10
_VOLUMES = ("uploads", "cache", "config", "certificates")
_SAMPLE = 5
"""rows of each table"""
_T = TypeVar("_T")


def observe(parameters: Mapping[str, Any], today: datetime.date) -> Observation:
    """C(parameters) are those of C(audit_info). Raises AppwriteError if they make no sense, such as a missing directory."""
    instance = instance_of(parameters)
    if parameters["files"]:
        instance.compose_files({})
    escrow = _escrow(parameters["escrow"])
    document = _try(lambda: _document(instance))
    config = _try(lambda: _config(instance, document))
    with ThreadPoolExecutor(6) as pool:
        env = pool.submit(_try, lambda: _env(instance, _known(document)))
        endpoint = pool.submit(_try, lambda: _endpoint(instance, parameters["endpoint"]))
        found = _try(lambda: _containers(instance, config))
        current = pool.submit(_try, lambda: hashes(instance, _known(found)))
        inside = pool.submit(_try, lambda: _inside(instance, _known(found)))
        bucket = pool.submit(_try, lambda: _bucket(instance, _known(config), _known(found)))
        outer = pool.submit(_try, lambda: _servers(instance, _known(config)))
        stored = pool.submit(_try, lambda: _stored(instance, _known(document), _known(config)))
        drift = _try(lambda: _drift(instance, _known(document), _known(found)))
        containers = _try(lambda: tuple(_running(container, _known(current.result())) for container in _known(found)))
        return Observation(
            today,
            instance.directory,
            instance.release,
            instance.release_is_known,
            env.result(),
            config,
            containers,
            _shell(instance),
            drift,
            inside.result(),
            endpoint.result(),
            escrow,
            stored.result(),
            bucket.result(),
            outer.result(),
            _try(lambda: _project(instance)),
            _try(lambda: _given(instance, _known(config))),
            _try(lambda: _others(instance, _known(config))),
        )


def _try(look: Callable[[], _T]) -> Seen[_T]:
    try:
        return look()
    except ComposeError as error:
        return Unseen(str(error), error.kind == "rejected")
    except AppwriteError as error:
        return Unseen(str(error))
    except Exception as error:  # pylint: disable=broad-exception-caught  # what cannot be looked at must not hide the rest
        return Unseen(unforeseen(error))


def _known(part: Seen[_T]) -> _T:
    """The part that another one is made from; without it that one is Unseen for the same reason."""
    if isinstance(part, Unseen):
        raise AppwriteError(part.reason)
    return part


def _escrow(told: Mapping[str, Any] | None) -> Seen[Escrow]:
    if told is None:
        return Unseen("the audit was not told of an escrow")
    if told["unseen"]:
        return Unseen(told["unseen"])
    return Escrow(told["fingerprint"], day(told["proved"], "escrow.proved") if told["proved"] else None)


def _document(instance: Instance) -> Document:
    env_file = env_file_of(instance)
    document = document_of(env_file, instance)
    if not env_file.exists:
        raise AppwriteError("env_file: %s does not exist" % env_file.path)
    return document


def _config(instance: Instance, document: Seen[Document]) -> Mapping[str, Any]:
    """Without a C(.env) file compose would start the project all the same; with one that it rejects it would not, yet its containers can be seen."""
    known = isinstance(document, Document)
    instance.load(document if isinstance(document, Document) else parse(""), None if known else b"")
    if not known and os.path.lexists(instance.env_path):
        _known(document)
    if not instance.checked:
        raise AppwriteError(instance.warnings[0])
    return instance.config


def _env(instance: Instance, document: Document) -> EnvironmentFile:
    path = os.path.realpath(instance.env_path)
    secrets = {
        name: value.encode("utf-8", "surrogateescape")
        for name, value in {**document.values, **instance.values}.items()
        if len(value) >= _SHORTEST_SECRET and catalogue.holds_secret(name, value)
    }
    return EnvironmentFile(
        File(instance.env_path, stat.S_IMODE(os.stat(path).st_mode), tuple(sorted(secrets))),
        instance.values or document.values,
        tuple(_copies(instance.directory, path, secrets)),
        _work_tree(path),
    )


def _project(instance: Instance) -> ProjectFiles:
    env = os.path.realpath(instance.env_path)
    paths = [instance.directory, os.path.dirname(env), *(instance.files or instance.compose_files(instance.values))]
    entries = []
    for path in dict.fromkeys(paths):
        with words(path, "looked at"):
            status = os.stat(path)
        entries.append(Owned(path, status.st_uid, stat.S_IMODE(status.st_mode)))
    try:
        owner = os.stat(env).st_uid
    except OSError:
        owner = entries[0].owner
    return ProjectFiles(owner, tuple(entries))


def _given(instance: Instance, _config: Mapping[str, Any]) -> tuple[Given, ...]:
    return tuple(
        Given(service, name, origin.kind, file, line)
        for name, places in sorted(instance.origins().items())
        for (origin, file, line), services in places.items()
        for service in services
        if origin.kind != ENV
    )


def _others(instance: Instance, _config: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(instance.neighbours()))


def _copies(directory: str, original: str, secrets: Mapping[str, bytes]) -> Iterator[File]:
    """Compose files count as well, if somebody wrote a secret into them."""
    for number, path in enumerate(_tree(directory)):
        if number >= _MOST_FILES:
            return
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_COPY or os.path.realpath(path) == original:
                continue
            with open(
                _files.open_plain(path), "rb"
            ) as stream:  # somebody may put a link or a pipe in its place at this moment
                data = stream.read(_LARGEST_COPY)
        except OSError:
            continue
        holds = tuple(sorted(name for name, value in secrets.items() if value in data))
        if holds:
            yield File(path, stat.S_IMODE(status.st_mode), holds, is_backup(path, original))


def _tree(directory: str) -> Iterator[str]:
    """Two levels deep, in a fixed order."""
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(directories) if parent == directory else []
        for name in sorted(names):
            yield os.path.join(parent, name)


def _work_tree(path: str) -> Seen[WorkTree | None]:
    root = os.path.dirname(path)
    while not os.path.lexists(os.path.join(root, ".git")):
        if root == os.path.dirname(root):
            return None
        root = os.path.dirname(root)
    if _git(root, "rev-parse", "--git-dir") != 0:
        return WorkTree(root, None, None)
    return WorkTree(
        root,
        _git(root, "ls-files", "--error-unmatch", "--", path) == 0,
        _git(root, "check-ignore", "--quiet", "--", path) == 0,
    )


def _git(root: str, *command: str) -> int | None:
    """git's exit status; C(None) if it is not here, or says nothing in time. It does not trust a work tree of another user, and is not told to."""
    try:
        return subprocess.run(  # pylint: disable=ansible-bad-function  # the audit also runs without Ansible
            ["git", "-c", "core.fsmonitor=false"] + list(command),
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None


def _shell(instance: Instance) -> dict[str, str]:
    """What the environment of this process would put in place of the file's values."""
    return {
        name: value for name, value in os.environ.items() if name in instance.values and instance.values[name] != value
    }


def _containers(instance: Instance, config: Seen[Mapping[str, Any]]) -> list[Container]:
    if not instance.checked:
        _known(config)
    return instance.containers()


def _drift(instance: Instance, document: Document, containers: list[Container]) -> tuple[Mapping[str, str], ...]:
    return tuple(instance.drift(document)) if containers else ()


def _running(container: Container, current: Mapping[str, str]) -> Running:
    return Running(
        container.service,
        container.status,
        container.health,
        container.image_name,
        container.restart,
        container.ports,
        container.mounts,
        container.environment,
        container.config_hash == current.get(container.service),
    )


def _inside(instance: Instance, found: list[Container]) -> Inside:
    asked = [container for container in found if container.service == "appwrite" and container.status == "running"]
    if not asked:
        raise AppwriteError("the container appwrite does not run; start it (docker compose up -d appwrite)")
    return _answered(
        instance.compose.execute(asked[0].id, ["sh", "-s"], _questions(asked[0].environment, instance.release))
    )


def _questions(environment: Mapping[str, str], release: str) -> str:
    """A script for the container, whose image (Alpine) has C(nc), C(df) and a shell."""

    def value(name: str, otherwise: str) -> str:
        return catalogue.given(environment, name) or catalogue.default(name, release) or otherwise

    targets = {
        "database": (value("_APP_DB_HOST", "mariadb"), value("_APP_DB_PORT", "3306")),
        "cache": (value("_APP_REDIS_HOST", "redis"), value("_APP_REDIS_PORT", "6379")),
    }
    if catalogue.given(environment, "_APP_SMTP_HOST"):
        targets["smtp"] = (environment["_APP_SMTP_HOST"], value("_APP_SMTP_PORT", "25"))
    if environment.get("_APP_STORAGE_ANTIVIRUS") == "enabled":
        targets["antivirus"] = (
            value("_APP_STORAGE_ANTIVIRUS_HOST", "clamav"),
            value("_APP_STORAGE_ANTIVIRUS_PORT", "3310"),
        )
    lines = ["command -v nc >/dev/null || exit 0"]
    for name, (host, port) in targets.items():
        lines.append(
            "(if nc -z -w 2 %s %s </dev/null >/dev/null 2>&1; then echo 'reach %s yes'; else echo 'reach %s no'; fi) &"
            % (shlex.quote(host), shlex.quote(port), name, name)
        )
    lines.append(
        "(printf 'PING\\r\\nQUIT\\r\\n' | nc -w 2 %s %s 2>/dev/null | tr -d '\\r' | sed -n '1s/^/ping /p') &"
        % tuple(shlex.quote(part) for part in targets["cache"])
    )
    for name in _VOLUMES:
        lines.append(
            "d=/storage/%s; [ -r $d ] && r=yes || r=no; [ -w $d ] && w=yes || w=no; "
            'echo volume %s $r $w $(df -P $d 2>/dev/null | awk \'NR == 2 { sub("%%", "", $5); print $5 }\')'
            % (name, name)
        )
    return "\n".join(lines + ["wait", ""])


def _answered(answer: str) -> Inside:
    reachable: dict[str, bool | None] = {name: None for name in ("database", "cache", "smtp", "antivirus")}
    volumes: dict[str, tuple[bool, bool, int | None]] = {}
    is_open: bool | None = None
    for parts in (line.split() for line in answer.splitlines() if " " in line.strip()):
        if parts[0] == "reach":
            reachable[parts[1]] = parts[2] == "yes"
        elif parts[0] == "volume":
            volumes[parts[1]] = (
                parts[2] == "yes",
                parts[3] == "yes",
                int(parts[4]) if parts[4:] and parts[4].isdigit() else None,
            )
        elif parts[0] == "ping":
            is_open = True if parts[1] == "+PONG" else False if parts[1].startswith("-") else None
    if reachable["database"] is None:
        raise AppwriteError("the container appwrite has no program nc, with which the audit looks")
    return Inside(reachable, volumes, is_open)


def _stored(instance: Instance, document: Document, _config: Mapping[str, Any]) -> Stored:
    try:
        looked = look(instance, in_force(instance.values), _SAMPLE)
    except NothingSealed:
        return Stored(0, 0)
    report = looked.report
    return Stored(
        report.count(OLD),
        report.undecryptable_count,
        "/".join(report.undecryptable[0][:3]) if report.undecryptable else "",
        looked.first,
    )


def _servers(instance: Instance, _config: Mapping[str, Any]) -> tuple[Server, ...]:
    return servers(instance)


def _bucket(instance: Instance, _config: Mapping[str, Any], _containers: list[Container]) -> Seen[Listing | None]:
    device = device_of(instance.listed("appwrite"))
    return None if device is None else listing(device, elsewhere(instance, device))


def _endpoint(instance: Instance, options: Mapping[str, Any]) -> Endpoint:
    listed = instance.listed("appwrite") if instance.checked else instance.values
    host = str(listed.get("_APP_DOMAIN") or "")
    if not re.fullmatch(r"[A-Za-z0-9_.:-]+", host) or not _is_name(host):
        raise AppwriteError("_APP_DOMAIN is not a host name that could be asked")
    address = options["host"] or host
    if not _is_name(address):
        raise AppwriteError("endpoint.host: %r is not a host name or address" % address)
    return probe(host, address, options["http_port"], options["https_port"])


def _is_name(host: str) -> bool:
    """Whether Python can look it up: a label is not empty, nor longer than 63 characters."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False
