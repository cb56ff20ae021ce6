# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of the managed host, and of what the container C(appwrite) reaches and may write.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
import stat
from functools import partial

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Control,
    Observation,
    Outcome,
    Running,
    Unobserved,
    Unseen,
    failed,
    not_applicable,
    passed,
    seen,
    some,
    typed,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import DATABASES, kind_of

_ANONYMOUS = re.compile("[0-9a-f]{64}")
_FULL = 80
"""Percent, as C(doctor) has it."""
_SHOWN = 10
"""How many files are named in evidence; a remedy names all."""
_DOCTOR = "Appwrite 1.9.6, src/Appwrite/Platform/Tasks/Doctor.php"


def _observed(observation: Observation) -> Outcome:
    parts = ((".env", observation.env), ("the project", observation.config), ("the containers", observation.containers))
    unseen = ["%s: %s" % (name, part.reason) for name, part in parts if isinstance(part, Unseen)]
    return (
        failed("; ".join(unseen))
        if unseen
        else passed("%s, its .env file and its containers could be looked at" % observation.directory)
    )


def _reaches(observation: Observation, key: str, what: str) -> Outcome:
    answers = seen(observation.inside).reachable.get(key)
    if answers is None:
        return not_applicable("%s is not configured" % what)
    return (passed if answers else failed)(
        "%s %s the container appwrite" % (what, "answers" if answers else "does not answer")
    )


def _volumes_usable(observation: Observation) -> Outcome:
    volumes = seen(observation.inside).volumes
    if not volumes:
        raise Unobserved("the container appwrite did not say what it may read and write")
    bad = [
        "%s is not %s"
        % (name, " and not ".join(word for word, good in (("readable", reads), ("writable", writes)) if not good))
        for name, (reads, writes, _used) in sorted(volumes.items())
        if not (reads and writes)
    ]
    return failed("; ".join(bad)) if bad else passed("%s are readable and writable" % ", ".join(sorted(volumes)))


def _disk_free(observation: Observation) -> Outcome:
    used = {name: percent for name, (_reads, _writes, percent) in seen(observation.inside).volumes.items()}
    full = sorted(name for name, percent in used.items() if percent is not None and percent >= _FULL)
    if full:
        return failed(
            "%d %% or more are used where %s %s" % (_FULL, ", ".join(full), "is" if len(full) == 1 else "are")
        )
    unknown = sorted(name for name, percent in used.items() if percent is None)
    if unknown or not used:
        raise Unobserved(
            "the container appwrite did not say how full %s"
            % (", ".join(unknown) + " is" if unknown else "its disk is")
        )
    return passed("less than %d %% are used where %s are" % (_FULL, ", ".join(sorted(used))))


def _project_closed(observation: Observation) -> Outcome:
    project = seen(observation.project)
    is_open = [entry for entry in project.entries if entry.mode & (stat.S_IWGRP | stat.S_IWOTH)]
    theirs = [entry for entry in project.entries if entry.owner not in (0, project.owner)]
    said = ["%s has mode %04o" % (typed(entry.path), entry.mode) for entry in is_open]
    said += ["%s belongs to the user %d" % (typed(entry.path), entry.owner) for entry in theirs]
    if not said:
        return passed("%s cannot be written by others" % some([typed(entry.path) for entry in project.entries], _SHOWN))
    commands = [
        " ".join([command] + sorted(typed(entry.path) for entry in entries))
        for command, entries in (("chmod go-w", is_open), ("chown %d" % project.owner, theirs))
        if entries
    ]
    return failed(some(said, _SHOWN), " && ".join(commands))


def _database_kept(observation: Observation) -> Outcome:
    found = {
        container.service: _volume(container) for container in seen(observation.containers) if kind_of(container.image)
    }
    if not found:
        return not_applicable("no database is a container of the project")
    lost = ["%s: %s" % (service, bad) for service, (_volume, bad) in found.items() if bad]
    if lost:
        return failed(some(lost))
    return passed(
        some(["%s has its data in %s" % (service, typed(volume)) for service, (volume, _bad) in found.items()])
    )


def _volume(database: Running) -> tuple[str, str]:
    """Where its data is on the host, and why that is no place for it, in words."""
    told = database.environment.get("PGDATA")
    places = (told,) if told else next(each.data for each in DATABASES if each.service == kind_of(database.image))
    held = [
        (len(target), source)
        for source, target, _writable in database.mounts
        for place in places
        if (place + "/").startswith(target + "/") or not told and target.startswith(place + "/")
    ]
    if not held:
        return "", "its data is in no volume, and goes with the container"
    _length, source = max(held)
    if _ANONYMOUS.fullmatch(source):
        return source, "its data is in a volume without a name, which is lost with the container"
    return source, ""


CONTROLS: tuple[Control, ...] = (
    Control(
        "host.observed",
        "The audit could look at the whole installation",
        "high",
        "What could not be looked at is not known to be safe: a host without docker, a half-installed project, or an audit that may not look.",
        "ansible-playbook selfhost.appwrite.audit --become, on a host where docker compose config and docker compose ps work in the project's "
        "directory",
        "selfhost.appwrite.audit_info",
        _observed,
    ),
    Control(
        "host.database_reached",
        "Appwrite reaches its database",
        "high",
        "Without it nothing works, and a restore or a move that went wrong shows here first.",
        "docker compose logs appwrite; the address is in _APP_DB_HOST and _APP_DB_PORT",
        _DOCTOR,
        partial(_reaches, key="database", what="the database"),
    ),
    Control(
        "host.cache_reached",
        "Appwrite reaches Redis",
        "high",
        "Redis is the cache, the queue and the bus of realtime in one: without it rate limits, audit logs and mails stop as well.",
        "docker compose logs redis; the address is in _APP_REDIS_HOST and _APP_REDIS_PORT",
        _DOCTOR,
        partial(_reaches, key="cache", what="Redis"),
    ),
    Control(
        "host.mail_reached",
        "Appwrite reaches its mail server",
        "medium",
        "Alerts of new sessions, resets of passwords and invitations get lost without a word.",
        'appwrite_security_variables: {_APP_SMTP_HOST: "<the mail server>", _APP_SMTP_PORT: "<its port>"}',
        _DOCTOR,
        partial(_reaches, key="smtp", what="the mail server"),
    ),
    Control(
        "host.scanner_reached",
        "Appwrite reaches its virus scanner",
        "medium",
        "Uploads fail while scanning is on and no scanner answers.",
        'appwrite_security_variables: {_APP_STORAGE_ANTIVIRUS_HOST: "<the scanner>", _APP_STORAGE_ANTIVIRUS_PORT: "3310"}',
        _DOCTOR,
        partial(_reaches, key="antivirus", what="the virus scanner"),
    ),
    Control(
        "host.volumes_usable",
        "Appwrite may read and write its volumes",
        "high",
        "Uploads, the cache, the proxy's configuration and the certificates are there; a volume that cannot be written also stops the renewal of "
        "certificates.",
        "docker compose exec appwrite ls -ld /storage/uploads /storage/cache /storage/config /storage/certificates, then set owner and mode",
        _DOCTOR,
        _volumes_usable,
    ),
    Control(
        "host.disk_free",
        "Less than 80 % of the disk are used",
        "medium",
        "A full disk stops the database, and a backup or the .env file can no longer be written.",
        "docker system df, then free room or enlarge the disk",
        _DOCTOR,
        _disk_free,
    ),
    Control(
        "host.project_not_writable",
        "Only root and the owner of .env may write the project's directory and compose files",
        "high",
        "Whoever writes a compose file is root on the host when somebody applies it, and whoever writes the directory can add one, or put "
        "another file in the place of .env.",
        "chmod go-w on the directory and on the compose files; chown to root or to the owner of .env",
        "Docker's manual, Docker Engine security, Docker daemon attack surface; selfhost.appwrite.audit_info",
        _project_closed,
    ),
    Control(
        "host.database_kept",
        "The database's data is in a volume that has a name",
        "high",
        "A volume without a name, or none, is left behind by docker compose down and by a service of another name after an upgrade: the database "
        "starts empty.",
        "docker compose exec -T postgresql sh -c 'pg_dumpall -U \"$POSTGRES_USER\"' >dump.sql, or a dump of the other database that it is; then mount a "
        "named volume where the data is, and put the dump back",
        "appwrite/appwrite#13374",
        _database_kept,
    ),
)
