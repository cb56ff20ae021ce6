# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit looks at, and what it says: an observation, controls, findings. Plain values only.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
import shlex
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence, TypeVar, Union

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

THIRD_PARTIES = ("lynis", "testssl")
"""Other auditors, whose findings are groups of their own."""
GROUPS = ("encryption", "secrets", "https", "console", "platform", "containers", "host") + THIRD_PARTIES
SEVERITIES = ("critical", "high", "medium", "low")
STATUSES = ("fail", "unknown", "waived", "pass", "not_applicable")


@dataclass(frozen=True)
class Unseen:
    """A part of the observation that could not be made, and why, in words."""

    reason: str
    rejected: bool = False
    """whether compose does not accept what it was to read"""


class Unobserved(Exception):
    """Raised by a control that needs an unseen part; its finding is V(unknown)."""


T = TypeVar("T")
Seen = Union[T, Unseen]


def seen(part: Seen[T]) -> T:
    """The part itself. Raises Unobserved if it is unseen."""
    if isinstance(part, Unseen):
        raise Unobserved(part.reason)
    return part


@dataclass(frozen=True)
class File:
    """One file of the managed host. C(holds) names the secret variables whose present values are in it."""

    path: str
    mode: int
    holds: tuple[str, ...] = ()
    is_backup: bool = False
    """whether it is one that this collection made before it changed C(.env)"""


@dataclass(frozen=True)
class WorkTree:
    """The git work tree that the C(.env) file lies in. C(ignored) is C(None) if git is not here to ask."""

    root: str
    tracked: bool | None
    ignored: bool | None


@dataclass(frozen=True)
class EnvironmentFile:
    """The C(.env) file, as compose reads it."""

    file: File
    values: Mapping[str, str]
    copies: tuple[File, ...] = ()
    """other files of the project's directory, two levels deep, that hold one of its secrets"""
    work_tree: Seen[WorkTree | None] = None


@dataclass(frozen=True)
class Owned:
    """A directory or file, and who may write it."""

    path: str
    owner: int
    mode: int


@dataclass(frozen=True)
class ProjectFiles:
    """What decides what a command of compose does on the managed host."""

    owner: int
    """the user whom C(.env) belongs to; of the directory if there is none"""
    entries: tuple[Owned, ...]
    """the project's directory, that of C(.env) if it is another, and the compose files"""


@dataclass(frozen=True)
class Running:
    """One container of the project, stopped ones included, as the engine has it."""

    service: str
    status: str
    """V(running), V(exited), V(restarting), V(created), …"""
    health: str | None
    """V(healthy), V(unhealthy), V(starting), or C(None) if there is no health check"""
    image: str
    """as it was named when the container was made, for example V(appwrite/appwrite:1.9.6)"""
    restart: str
    """restart policy: V(no), V(always), V(unless-stopped), V(on-failure)"""
    ports: tuple[tuple[str, int, int], ...]
    """published: address of the host, port of the host, port of the container"""
    mounts: tuple[tuple[str, str, bool], ...]
    """source on the host or name of the volume, path in the container, whether it may be written"""
    environment: Mapping[str, str]
    current: bool
    """whether it was made from the present configuration"""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. C(location) if it redirects, C(hsts) the header C(Strict-Transport-Security)."""

    status: int
    location: str | None = None
    hsts: str | None = None


@dataclass(frozen=True)
class Certificate:
    """What the TLS endpoint presents."""

    issuer: str
    names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime
    chain_error: str | None
    """what the trust store of the managed host says against the chain, C(None) if nothing; the name is judged apart"""
    name_matches: bool
    """whether it is valid for the endpoint's host name"""


@dataclass(frozen=True)
class Endpoint:
    """What answers under the console's name, as seen from the managed host."""

    host: str
    """the host name that was asked for, from C(_APP_DOMAIN)"""
    address: str
    """where that was: C(host:port) of HTTPS"""
    http: Seen[Answer | None]
    """the answer to GET /v1/health/version over HTTP; C(None) if nothing listens there"""
    apart: Mapping[str, Seen[Answer | None]]
    """the same of what Traefik may lead past the API, by path: the console's pages and a client of realtime"""
    https: Seen[Answer]
    """the answer to GET /v1/health/version over HTTPS"""
    loop: Seen[bool]
    """whether redirects lead back to where they started"""
    certificate: Seen[Certificate]
    protocols: Seen[Mapping[str, bool | None]]
    """V(TLSv1), V(TLSv1.1), V(TLSv1.2), V(TLSv1.3) to whether the endpoint speaks it; C(None) if this host cannot try"""


@dataclass(frozen=True)
class Inside:
    """The view from inside the container C(appwrite), which is what Appwrite's own C(doctor) has."""

    reachable: Mapping[str, bool | None]
    """what it connects to (V(database), V(cache), V(smtp), V(antivirus)) to whether that answers; C(None) if it is not configured"""
    volumes: Mapping[str, tuple[bool, bool, int | None]]
    """V(uploads), V(cache), V(config), V(certificates) to readable, writable, and percent of its file system that is used"""
    cache_is_open: bool | None
    """whether Redis answers without a password; C(None) if that cannot be told"""


@dataclass(frozen=True)
class Escrow:
    """What the controller knows of the escrowed key. C(fingerprint) is C(None) if the escrow holds none."""

    fingerprint: str | None
    proved: datetime.date | None = None
    """the day on which the controller last opened the escrow and found this key"""


@dataclass(frozen=True)
class Stored:
    """A sample of the sealed values and files, opened with the key of C(.env)."""

    opened: int
    closed: int
    """those that this key does not open"""
    first: str = ""
    """the first of these: collection, id and column"""
    values: Mapping[str, bool] = field(default_factory=dict)
    """digest of each of the console's first sealed values to whether this key opens it"""


@dataclass(frozen=True)
class Listing:
    """What the bucket of the uploads says to whoever asks for a list of it."""

    url: str
    is_open: bool


@dataclass(frozen=True)
class Holder:
    """What a host says of its key and its database, by which those that share one are compared: no secret, and nothing from which one could be guessed."""

    host: str
    """its name in the inventory, fit to be shown; empty on the host itself"""
    fingerprint: str | None
    """of the key; C(None) for one that could be guessed"""
    values: Seen[Mapping[str, bool]]
    """as C(Stored.values)"""
    outside: bool = False
    """whether the database is no service of the project, or may be none, so that other hosts are likely to have it, too"""
    release: str = ""
    """of Appwrite; empty if no image names it"""


REDIS, POSTGRESQL = "Redis", "PostgreSQL"
"""kinds of servers of which more has to be known"""
LOCAL, PRIVATE, PUBLIC = "local", "private", "public"
"""Where a connection leads: it does not leave this machine, not the private networks, or it does."""


@dataclass(frozen=True)
class Server:
    """A database or Redis that is no service of the project."""

    kind: str
    """V(MariaDB), V(PostgreSQL), V(MongoDB), V(Redis)"""
    place: str
    """host and port, as they are set"""
    reach: Seen[str]
    """C(LOCAL), C(PRIVATE) or C(PUBLIC), by the farthest of its addresses"""
    found: str = ""
    """where it is, in words"""
    opened: tuple[str, ...] = ()
    """what opens it to others if it is on this machine, in words"""
    answers: bool = False
    """whether it answers this host"""
    tls: bool | None = None
    """whether it speaks TLS there; C(None) if it did not say"""
    mode: str = ""
    """C(PGSSLMODE) of Appwrite's services, the weakest one"""


@dataclass(frozen=True)
class Given:
    """A variable that a service has from elsewhere than the line of that name in C(.env)."""

    service: str
    name: str
    kind: str
    """as RV(selfhost.appwrite.instance_info#module:origins.others.kind)"""
    file: str = ""
    """the path of that which gives it, if it is not C(.env)"""
    line: int = 0
    """in that file; 0 if it is not known"""

    @property
    def place(self) -> str:
        return "%s, line %d" % (typed(self.file), self.line) if self.line else typed(self.file)


@dataclass(frozen=True)
class Observation:
    """One installation at one moment. A part that could not be looked at is Unseen, never empty."""

    today: datetime.date
    directory: str
    release: str
    release_is_known: bool
    """false if no image tag names it and the newest is assumed"""
    env: Seen[EnvironmentFile]
    config: Seen[Mapping[str, Any]]
    """the project as compose resolves it: C(docker compose config --format json), with C($) unescaped"""
    containers: Seen[tuple[Running, ...]]
    shell: Mapping[str, str] = field(default_factory=dict)
    """variables of the environment of the audit itself that beat C(.env) in a compose command started there"""
    drift: Seen[tuple[Mapping[str, str], ...]] = ()
    """as RV(selfhost.appwrite.apply#module:drift)"""
    inside: Seen[Inside] = Unseen("the container appwrite was not asked")
    endpoint: Seen[Endpoint] = Unseen("the endpoint was not asked")
    escrow: Seen[Escrow] = Unseen("the audit was not told of an escrow")
    stored: Seen[Stored] = Unseen("the database was not asked")
    bucket: Seen[Listing | None] = None
    """C(None) if the uploads are on the local volume"""
    servers: Seen[tuple[Server, ...]] = ()
    """the database and Redis, if they are no services of the project"""
    project: Seen[ProjectFiles] = Unseen("the project's directory was not looked at")
    given: Seen[tuple[Given, ...]] = ()
    others: Seen[tuple[str, ...]] = ()
    """names of other compose projects that have containers from this directory"""
    peers: tuple[Holder, ...] | None = None
    """the other hosts of the report; C(None) on the host itself, which knows none"""


@dataclass(frozen=True)
class Outcome:
    """What a control found. C(evidence) is a sentence without secrets, and without anything that changes by itself."""

    status: str
    evidence: str
    remedy: str | None = None
    """if it is another than the control's own"""


def passed(evidence: str) -> Outcome:
    return Outcome("pass", evidence)


def failed(evidence: str, remedy: str | None = None) -> Outcome:
    return Outcome("fail", evidence, remedy)


def not_applicable(evidence: str) -> Outcome:
    return Outcome("not_applicable", evidence)


@dataclass(frozen=True)
class Control:
    """One thing that should be so. C(id) is V(group.name) and never changes; the title says what is so when it passes."""

    id: str
    title: str
    severity: str
    rationale: str
    remedy: str
    """the role variable or the command that mends it, as it is typed"""
    reference: str
    """where the fact comes from: release and file of Appwrite, an issue's number, a manual"""
    check: Callable[[Observation], Outcome]

    @property
    def group(self) -> str:
        return self.id.split(".", 1)[0]


@dataclass(frozen=True)
class Waiver:
    """A decision to live with one finding until a day, the last on which it holds."""

    control: str
    justification: str
    expires: datetime.date


@dataclass(frozen=True)
class Finding:
    """A control, applied."""

    id: str
    title: str
    severity: str
    group: str
    status: str
    evidence: str
    rationale: str
    remedy: str
    reference: str
    waiver: Waiver | None = None

    def public(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("id", "title", "severity", "group", "status", "evidence", "rationale", "remedy", "reference")
        }
        if self.waiver is not None:
            found["waiver"] = {"justification": self.waiver.justification, "expires": self.waiver.expires.isoformat()}
        return found


def services(observation: Observation) -> Mapping[str, Mapping[str, Any]]:
    """The services of the project as compose would start them. Raises Unobserved."""
    found: Mapping[str, Mapping[str, Any]] = seen(observation.config).get("services") or {}
    return found


def known_services(observation: Observation) -> Mapping[str, Mapping[str, Any]]:
    """The services as far as they are known; a control that passes asks C(seen_all) whether that is all."""
    return {} if isinstance(observation.config, Unseen) else services(observation)


def known_containers(observation: Observation) -> tuple[Running, ...]:
    """The containers as far as they are known; a control that passes asks C(seen_all) whether that is all."""
    return () if isinstance(observation.containers, Unseen) else observation.containers


def seen_all(observation: Observation) -> None:
    """Raises Unobserved if the services or the containers are unseen."""
    seen(observation.config)
    seen(observation.containers)


def places(observation: Observation, name: str) -> list[tuple[str, str]]:
    """Where a variable has which value: each container that was given it, and each service that a recreate would give it.

    An unset variable is an empty text. Without compose only the C(.env) file is known. No place means that no service receives it.
    """
    if isinstance(observation.config, Unseen):
        return [(".env", seen(observation.env).values.get(name, ""))]
    listed = [(service, options.get("environment") or {}) for service, options in sorted(services(observation).items())]
    receivers = {service: str(environment[name] or "") for service, environment in listed if name in environment}
    return [("service " + service, value) for service, value in receivers.items()] + [
        ("container of " + container.service, container.environment.get(name, ""))
        for container in known_containers(observation)
        if name in container.environment or container.service in receivers
    ]


def settings(observation: Observation, name: str) -> list[tuple[str, str]]:
    """As C(places), but only where the variable is set at all, if to an empty text."""
    if isinstance(observation.config, Unseen):
        values = seen(observation.env).values
        return [(".env", values[name])] if name in values else []
    listed = [(service, options.get("environment") or {}) for service, options in sorted(services(observation).items())]
    return [
        ("service " + service, str(environment[name]))
        for service, environment in listed
        if environment.get(name) is not None
    ] + [
        ("container of " + container.service, container.environment[name])
        for container in known_containers(observation)
        if name in container.environment
    ]


def judge(
    observation: Observation, name: str, good: Callable[[str], bool], shown: Callable[[str], str] = lambda value: value
) -> Outcome:
    """Fails if one place has a bad value, passes if all are good. Without a look at the containers nothing passes, and nothing that
    a release which is not known may do by another variable fails.
    """
    found = places(observation, name)
    if not found and catalogue.is_newer(observation.release):
        raise Unobserved(
            "no service receives %s, and Appwrite %s, which this collection does not know, may have dropped or renamed it"
            % (name, observation.release)
        )
    if not found:
        return failed("no service receives %s, whatever .env says" % name)
    bad: dict[str, list[str]] = {}
    for place, value in found:
        if not good(value):
            bad.setdefault(value, []).append(place)
    if bad:
        return failed(
            "; ".join(
                "%s is %s in %s" % (name, shown(value) or "empty", some(where)) for value, where in sorted(bad.items())
            )
        )
    seen_all(observation)
    return passed(
        "%s is %s wherever it is received"
        % (name, ", ".join(sorted({shown(value) or "empty" for _place, value in found})))
    )


def day(value: Any, option: str) -> datetime.date:
    """YAML makes a date of what looks like one, unless it is in quotes. Raises AppwriteError, which names the option, if it is none."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.datetime.strptime(value, "%Y-%m-%d").date()
    except (TypeError, ValueError):
        raise AppwriteError("%s: %r is not a date; give one such as 2027-01-31" % (option, value)) from None


def some(words: Sequence[str], most: int = 3) -> str:
    """A list in words, of which the first few are named."""
    words = sorted(words)
    return ", ".join(words[:most]) + (" and %d more" % (len(words) - most) if len(words) > most else "")


def typed(path: str) -> str:
    """A path as a shell takes it, on one line whatever is in it."""
    if path.isprintable():
        return shlex.quote(path)
    return "$'%s'" % "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else "\\x%02x" % byte
        for byte in path.encode("utf-8", "surrogateescape")
    )
