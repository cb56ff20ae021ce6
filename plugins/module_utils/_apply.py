# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(docker compose up -d): predicted before, waited for, verified in every container, and undone if it fails.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import glob
import os
import re
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Collection, Iterator, Mapping, NamedTuple, Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence, Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    in_force,
    public_keys,
    same_cipher,
    told,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, encode
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._module import undisturbed
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT, Tell, some_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress_file import Progress
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.backups import (
    BACKUP_KEEP,
    backup_keep,
    prune_backups,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import Facts, Prediction, predict
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.facts import facts_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.landscape import orphans, taken_away
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import (
    document_of,
    instance_of,
    opened,
    opened_with,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import refuse_unfinished, remembered
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.opening import opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.phases import WRITTEN

SETTLED = 2.0
"""Seconds that a started container must run before it counts as up: one that dies at once must not pass. On a host that is overloaded they are more."""
_AT_ONCE, _LONGEST = 4, 60.0
"""Processes of each core up to which a container soon comes to where it dies, if it does; and seconds that it gets at most."""
_RESTARTS = 3
"""One or two are usual while the database is not up yet."""
_POLL = 0.5
_LOOK = 2.0
"""Seconds between two looks at the engine while compose is at work."""
_LOG_LINES = 15
_PRINTED = re.compile(r"- ([A-Z_][A-Z0-9_]*)=(.*)", re.DOTALL)


APPLY_OPTIONS: dict[str, dict[str, Any]] = {
    "verify": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    "pull": {"type": "str", "choices": ["policy", "always", "missing", "never"], "default": "policy"},
    "rollback_file": {"type": "path"},
    "backup_keep": BACKUP_KEEP,
    "progress": {"type": "bool", "default": False},
    "progress_file": {"type": "path"},
}


class Way(NamedTuple):
    """How a project is applied. C(timeout) is in seconds."""

    check_mode: bool
    verify: bool
    timeout: int
    pull: str = "policy"
    goes_back: bool = False
    """whether an earlier file is applied, and what is not well may be so because of the later one"""
    excused: Collection[str] = ()
    """then, the services that were not well before the later file was applied either"""
    regardless: bool = False
    """whether HTTPS is forced whatever becomes of it: an endless redirect is told of, and fails nothing"""
    foreseen: Collection[str] = ()
    """in check mode, the services that a change of the file recreates which was itself only checked"""


_GOES_ON = "Everything that is stored is under the new key, and .env has it. Mend what is named here, and run the rotation again, which goes on from here"


class ApplyError(AppwriteError):
    """The project did not come up or does not run on its file. C(details) goes into the module's result."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def apply(module: AnsibleModule) -> dict[str, Any]:
    """The result of the module C(apply).

    Raises AppwriteError for an option out of range, and ApplyError, with C(drift), C(recreated) and C(services), if something does not come up
    or is not in force.
    """
    tell = Progress(module.params["progress_file"]) if module.params["progress_file"] else SILENT
    back = module.params["rollback_file"]
    way = way_of(module, module.params["pull"], back is not None)
    keep = backup_keep(module.params)
    instance = instance_of(module.params)
    env_file = EnvFile(instance.env_path)
    with env_file.opened(for_writing=not module.check_mode):
        key = in_force(document_of(env_file, instance).values)
        refuse_unfinished(env_file, key if back is None else None)
        missing = ". Run Appwrite's installer first"
        document = opened(instance, env_file, missing, expected=() if back is not None else expected(way))
        try:
            if back is not None:
                return gone_back(way, instance, env_file, back, keep, tell)
            journal = remembered(env_file)
            rotated = journal["new"] if journal.get("phase") == WRITTEN else None
            return dict(applied(way, instance, document, tell, rotated), backup_file=None)
        except ApplyError as error:
            error.details.setdefault("warnings", instance.warnings)
            if remembered(env_file).get("phase") != WRITTEN:
                raise
            raise ApplyError("%s. %s" % (error, _GOES_ON), **error.details) from None


def way_of(module: AnsibleModule, pull: str = "policy", goes_back: bool = False) -> Way:
    """By a module's options. Raises AppwriteError for a C(timeout) that is none."""
    if module.params["timeout"] <= 0:
        raise AppwriteError("timeout: must be at least 1 second, got %d" % module.params["timeout"])
    return Way(module.check_mode, module.params["verify"], module.params["timeout"], pull, goes_back)


def expected(way: Way) -> list[str]:
    """What C(applied) asks in any case, for C(Instance.load)."""
    return ["containers", "hashes", "images"] + ["vars"] * (way.verify and not way.check_mode)


def gone_back(
    way: Way, instance: Instance, env_file: EnvFile, path: str, keep: int, tell: Tell = SILENT
) -> dict[str, Any]:
    """Puts a backup in the place of the file, with the key that is to stay, and applies it.

    Raises ApplyError if that does not come up; the backup is in place then.
    """
    data, kept = _way_back(instance, path)
    backup_file = None
    replaced = data != env_file.data
    if replaced and not way.check_mode:
        backup_file = env_file.replace(data, True)
    try:
        document = opened_with(instance, data)
        if backup_file:
            prune_backups(env_file, document, keep, instance.key_line())
        result = applied(way, instance, document, tell)
        return dict(result, backup_file=backup_file, changed=replaced or result["changed"])
    except AppwriteError as error:
        if way.check_mode:
            raise
        raise ApplyError(
            "%s was put back, but could not be applied: %s%s" % (path, error, kept and ". " + kept),
            **getattr(error, "details", {}),
        ) from None


def applied(
    way: Way, instance: Instance, document: Document, tell: Tell = SILENT, rotated: str | None = None
) -> dict[str, Any]:
    """Brings the containers to what the file on disk says, which is loaded.

    rotated: the key under which a rotation has just sealed everything, as it has looked itself.
    Raises ApplyError, with C(drift), C(recreated) and C(services), if something does not come up or is not in force.
    """
    timeout = way.timeout
    facts = facts_of(instance)
    before, prediction = facts.containers, predict(facts)
    failing = way.excused if way.goes_back else not_well(before)
    if way.check_mode:
        prediction = prediction.with_foreseen(way.foreseen)
    _guard_shell(instance, document, facts, prediction)
    _guard_key(instance, facts, prediction, timeout, tell)
    _guard_start(way, instance, facts, prediction, rotated, tell)
    warnings = list(instance.warnings)
    warnings += _said_before(instance, facts)
    recreated, started = sorted(prediction.recreated), list(prediction.started)
    if way.check_mode:
        drift = [entry for entry in instance.drift(document) if entry["kind"] != "stale"]
    else:
        # A run that was killed while it waited is ended by the next one.
        awaited = {
            container.service
            for container in before
            if container.status == "running" and not (_trouble(container) or _is_up(container))
        }
        if prediction.changes or way.pull == "always":
            touched = {*recreated, *started}
            warnings += _compose_warnings(_up(way, instance, before, touched, tell, scale=facts.scaled))
            recreated, started = _what_happened(before, instance.containers())
            awaited |= set(recreated) | set(started)
        else:
            warnings += [
                "the service %s is %s" % (container.service, container.health or container.status)
                for container in before
                if _trouble(container)
            ]
        if awaited:
            warnings += _wait(instance, awaited, timeout, tell, before, failing)
        tell("verifying", 0, 0, "appwrite")
        drift = instance.drift(document)
        if way.verify:
            _verify(instance, drift)
            if recreated and not way.goes_back:
                warnings += _looped(way, instance, facts)
    return {
        "changed": bool(recreated or started),
        "recreated": recreated,
        "started": started,
        "drift": drift,
        "services": sorted(facts.services),
        "warnings": warnings,
        "diff": _diff(before, prediction),
    }


def _looped(way: Way, instance: Instance, before: Facts) -> list[str]:
    """Warnings. Raises AppwriteError for a loop that is not to be borne."""
    from ansible_collections.selfhost.appwrite.plugins.module_utils._locked_out import (
        refuse_loop,  # what asks by HTTP is not loaded in a run that changes nothing
    )

    try:
        refuse_loop(instance, before)
    except AppwriteError as loop:
        if not way.regardless:
            raise
        return [str(loop)]
    return []


def _up(
    way: Way,
    instance: Instance,
    before: Sequence[Container],
    touched: Collection[str],
    tell: Tell,
    alone: str | None = None,
    scale: Mapping[str, int] | None = None,
) -> str:
    started = {container.service for container in before if container.status != "created"}
    for container in before:
        # A compose that was killed left it to take another's place. The next one would fail on its name, once for each service.
        if container.status == "created" and container.service in started:
            instance.compose.docker(["rm", container.id], tolerate=True)
    try:
        with undisturbed(signal.SIGTERM), _looked_at(instance, before, touched, tell):
            said = instance.compose.up(way.timeout, way.pull, alone, scale)
    except ComposeError as error:
        raise _up_failed(instance, before, error) from None
    instance.forget_containers()
    return said


@contextmanager
def _looked_at(instance: Instance, before: Sequence[Container], touched: Collection[str], tell: Tell) -> Iterator[None]:
    """compose says nothing before it has ended; the engine knows meanwhile which services are up."""
    known, over = {(container.id, container.started_at) for container in before}, threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            with suppress(ComposeError):  # which compose meets as well
                begun = [
                    container
                    for container in instance.compose.containers(instance.project)
                    if container.service in touched
                    and container.status != "created"
                    and (container.id, container.started_at) not in known
                ]
                coming = {container.service for container in begun if not _is_up(container)}
                missing = {*touched}.difference(container.service for container in begun)
                if not over.is_set():
                    tell("starting", len(touched) - len(coming | missing), len(touched), some_of(coming or missing))

    tell("starting", 0, len(touched), some_of(touched))
    if tell is not SILENT:
        threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _guard_shell(instance: Instance, document: Document, facts: Facts, prediction: Prediction) -> None:
    """Stops a recreate that would take values from containers which have them from a shell or a secrets manager.

    The key is left to C(_guard_key), which asks whether it matters.
    """
    lost: dict[str, list[str]] = {}
    removed = _once_set(instance)
    for container in facts.containers:
        if container.service in prediction.recreated:
            listed = instance.listed(container.service)
            for name in taken_away(listed, dict(container.environment), [catalogue.KEY, *document.values], removed):
                lost.setdefault(name, []).append(container.service)
    if lost:
        raise ApplyError(
            "the containers have %s from outside of the project, such as a shell or a secrets manager, and would lose it by being recreated. "
            "Nothing was recreated. Write these lines into .env, an empty one for what is not wanted any more; or hand the values in by the "
            "environment of the task, with `clean_environment` set to false"
            % ", ".join("%s (%s)" % (name, some_of(services)) for name, services in sorted(lost.items()))
        )


def _once_set(instance: Instance) -> list[str]:
    """The names that an earlier .env has set, as far as its backups can be read: what is missing now was removed on purpose."""
    names: set[str] = set()
    for path in glob.glob(glob.escape(instance.env_path) + ".*.bak"):
        with suppress(AppwriteError):
            backup = EnvFile(path)
            backup.read()
            names |= set(document_of(backup, instance).values)
    return sorted(names)


def _said_before(instance: Instance, facts: Facts) -> list[str]:
    said = [
        "%s was scaled by hand to %d containers, which is kept" % (service, count)
        for service, count in facts.scaled.items()
    ]
    left = orphans([container.service for container in facts.containers], [*facts.services, *instance.dormant])
    if left:
        said.append(
            "the compose files have no service %s any more, and its containers are left as they are; "
            "docker compose up -d --remove-orphans takes them away" % ", ".join(left)
        )
    return said


def _guard_key(instance: Instance, facts: Facts, prediction: Prediction, timeout: float, tell: Tell) -> None:
    """Stops a recreate that would put another key on data than the one that opens it."""
    for container in filter(_has_run, facts.containers):
        running, coming = in_force(container.environment), in_force(facts.environments.get(container.service, {}))
        if (
            not running
            or not facts.takes_key(container.service)
            or container.service not in prediction.recreated
            or same_cipher(running, coming)
        ):
            continue
        evidence = _evidence(instance, timeout, tell)
        if evidence.state == "no":
            return
        differ = "%s in .env (%s) is not the one that %s runs with (%s)" % (
            catalogue.KEY,
            told(coming),
            container.service,
            told(running),
        )
        if evidence.state == "unknown":
            raise ApplyError(
                "%s, and %s. A recreate could make that data unreadable. %s. Or put the running key back into .env: remove the line and run "
                "selfhost.appwrite.encryption_key, which recovers it" % (differ, evidence.reason, evidence.remedy),
                service=container.service,
            )
        tell("opening", 0, 0)
        tried = _tried(instance, [coming, running], differ)
        if tried.proves(coming):
            instance.warnings.append("%s, and opens what is stored, which the other one does not" % differ)
        elif tried.looked and not tried.opened[running]:
            raise ApplyError(
                "%s, and %s%s" % (differ, evidence.reason, _none_opens(tried, coming)), service=container.service
            )
        else:
            raise ApplyError(
                "%s, and %s%s. A recreate would make that data unreadable. Put the running key back into .env: remove the line and run "
                "selfhost.appwrite.encryption_key, which recovers it"
                % (differ, evidence.reason, ", whose data the running key opens" if tried.looked else ""),
                service=container.service,
            )


def _guard_start(
    way: Way, instance: Instance, facts: Facts, prediction: Prediction, rotated: str | None, tell: Tell
) -> None:
    """Stops a start on data with a key that no container has run with, unless it opens some of that. The database is started for it alone."""
    timeout = way.timeout
    carried = [
        in_force(container.environment)
        for container in facts.containers
        if _has_run(container) and (catalogue.KEY in container.environment or facts.takes_key(container.service))
    ]
    carried += [] if rotated is None else [rotated]
    coming = {
        in_force(facts.environments[service]): service
        for service in [*prediction.recreated, *prediction.started]
        if facts.takes_key(service)
    }
    fresh = {key: service for key, service in coming.items() if not any(same_cipher(key, other) for other in carried)}
    if not fresh:
        return
    evidence, left = _evidence(instance, timeout, tell), ""
    if evidence.stopped and way.check_mode:
        instance.warnings.append(
            "%s is started first, and then it is tried whether the key in .env opens what is stored" % evidence.stopped
        )
        return
    if evidence.stopped:
        left = "; the service %s was started for that and is left running" % evidence.stopped
        _up(way, instance, facts.containers, [evidence.stopped], tell, evidence.stopped)
        evidence = _answer(instance, evidence.stopped, timeout, tell)
    if evidence.state == "no":
        return
    for key, service in fresh.items():
        what = "%s in .env (%s) is in no container of this project that has run" % (catalogue.KEY, told(key))
        if evidence.state == "unknown":
            raise ApplyError(
                "%s, so it is started only after it has opened some of what is stored, and %s. %s. Nothing with a key was started%s"
                % (what, evidence.reason, evidence.remedy, left),
                service=service,
            )
        tell("opening", 0, 0)
        tried = _tried(instance, [key], what + left)
        if tried.looked and not tried.proves(key):
            raise ApplyError(
                "%s, and %s%s. Nothing with a key was started%s"
                % (what, evidence.reason, _none_opens(tried, key), left),
                service=service,
            )
        if tried.opened[key] < tried.looked:
            instance.warnings.append(
                "%s. Of %d values looked at, %s; it cannot open the others" % (what, tried.looked, _openers(tried))
            )


def _has_run(container: Container) -> bool:
    """One that was only created, since a start failed before its turn, vouches for no key."""
    return container.status != "created"


def _tried(instance: Instance, keys: Sequence[str], what: str) -> Opening:
    """These keys and all others that are known here, on a sample of what is stored."""
    in_play = [*keys, *instance.container_keys()]
    try:
        tried = opening(instance, list(dict.fromkeys([*in_play, *public_keys()])))
        return replace(tried, bygone=[key for key in public_keys() if key not in in_play])
    except AppwriteError as error:
        raise ApplyError("%s, and it cannot be tried on what is stored: %s" % (what, error)) from None


def _none_opens(tried: Opening, coming: str | None = None) -> str:
    """The end of a sentence, if the key at hand does not open what is stored, or not all of it."""
    by_hand = ". If the one in .env is the right one all the same, start it by hand: docker compose up -d"
    return (
        ". Of %d values looked at, %s. Put the right key into .env: selfhost.appwrite.encryption_key tries those of the escrow and of the containers%s"
        % (
            tried.looked,
            _openers(tried) or "it opens none, and neither does any other key that is known here",
            by_hand if coming is not None and tried.opened[coming] else "",
        )
    )


def _openers(tried: Opening) -> str:
    return " and ".join("%s opens %d" % (told(key), count) for key, count in tried.opened.items() if count)


def _evidence(instance: Instance, timeout: float, tell: Tell) -> Evidence:
    """Whether there is data, with patience for a database that is starting."""
    evidence = instance.holds_data()
    return _answer(instance, evidence.starting, timeout, tell) if evidence.starting else evidence


def _answer(instance: Instance, service: str, timeout: float, tell: Tell) -> Evidence:
    """Returns when the database of a service answers, or will not."""
    deadline = time.monotonic() + timeout
    while True:
        instance.forget_evidence()
        mine = [container for container in instance.containers() if container.service == service]
        for container in mine:
            trouble = _trouble(container)
            if trouble:
                raise _did_not_come_up(instance, container, trouble)
        healthy = any(container.health == "healthy" for container in mine)
        evidence = instance.holds_data()
        if evidence.state != "unknown" or healthy or time.monotonic() > deadline:
            return evidence
        tell("starting", 0, 0, service)
        time.sleep(_POLL)


def _what_happened(before: Sequence[Container], after: Sequence[Container]) -> tuple[list[str], list[str]]:
    known = {container.id: container for container in before}
    services = {container.service for container in before}
    recreated = {
        container.service for container in after if container.id not in known and container.service in services
    }
    started = {
        container.service for container in after if container.id not in known and container.service not in services
    }
    started |= {
        container.service
        for container in after
        if container.id in known
        and container.started_at != known[container.id].started_at
        and container.restarts
        <= known[container.id].restarts  # else the engine has done it, as it does with what fails
    }
    return sorted(recreated), sorted(started - recreated)


def _wait(
    instance: Instance,
    touched: set[str],
    timeout: float,
    tell: Tell,
    before: Sequence[Container] = (),
    failing: Collection[str] = (),
) -> list[str]:
    """Returns when the services are up, with what is to be told of those that were not well before either: these fail nothing.

    failing: the services that were not well before. If an earlier file is applied, they may be so because of the later one, and none is excused.

    A service that had no container before may be started again as often as it takes, since what it builds on starts for the first time too.
    """
    deadline = time.monotonic() + timeout
    known = {container.service for container in before}
    while True:
        mine = [container for container in instance.containers() if container.service in touched]
        for container in mine:
            trouble = _trouble(container)
            if (
                trouble
                and container.service not in failing
                and (container.service in known or not _restarts(container))
            ):
                raise _did_not_come_up(instance, container, trouble)
        late = time.monotonic() > deadline
        waiting = [container for container in mine if not _is_up(container, late) or _trouble(container)]
        if all(container.service in failing and (late or _trouble(container)) for container in waiting):
            return [
                "the service %s failed before this run, and does so after it: it %s"
                % (container.service, _trouble(container) or "is not up")
                for container in waiting
            ]
        if late:
            first = next(container for container in waiting if container.service not in failing)
            raise _did_not_come_up(instance, first, "is not up after %d seconds" % timeout)
        coming = {container.service for container in waiting}
        tell("started", len(touched) - len(coming), len(touched), some_of(coming))
        time.sleep(_pause(waiting))
        instance.forget_containers()


def _pause(waiting: Sequence[Container]) -> float:
    """Seconds until another look is worth it: no longer than the youngest container needs to count as up."""
    left = max((_settled() - _age(container) for container in waiting if container.status == "running"), default=0.0)
    return min(_POLL, left) if left > 0 else _POLL


def not_well(containers: Sequence[Container]) -> set[str]:
    """The services that fail by now."""
    return {container.service for container in containers if _trouble(container)}


def _restarts(container: Container) -> bool:
    """Whether the engine goes on trying."""
    return container.status in ("running", "restarting") and container.health != "unhealthy"


def _trouble(container: Container) -> str:
    if container.health == "unhealthy" and container.status == "running":  # the engine says it of what was stopped, too
        return "is unhealthy"
    if container.restarts >= _RESTARTS and not (container.status == "running" and _age(container) >= SETTLED):
        return "keeps restarting (exit code %d)" % container.exit_code
    if container.status in ("exited", "dead") and container.exit_code:
        return "exited with code %d" % container.exit_code
    return ""


def _is_up(container: Container, late: bool = False) -> bool:
    """late: whether there is no time left to wait longer than anywhere."""
    if container.status == "exited":
        return True
    settled = SETTLED if late else _settled()
    return container.status == "running" and container.health in (None, "healthy") and _age(container) >= settled


def _settled() -> float:
    """Seconds: with fifty projects that start on two cores a container ran for half a minute before its program had failed."""
    return min(SETTLED * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / _AT_ONCE), _LONGEST)


def _age(container: Container) -> float:
    return time.time() - container.started


def _did_not_come_up(instance: Instance, container: Container, trouble: str) -> ApplyError:
    log = instance.compose.logs(container.id, _LOG_LINES)
    return ApplyError(
        "the service %s %s. Its last log lines: %s" % (container.service, trouble, " | ".join(log) or "(none)"),
        service=container.service,
        log=log,
    )


def _up_failed(instance: Instance, before: Sequence[Container], error: ComposeError) -> AppwriteError:
    """compose names a container in prose; the states say which service it was. One that stands still since before is not the reason."""
    instance.forget_containers()
    failing = not_well(before)
    try:
        for container in sorted(instance.containers(), key=lambda one: one.service in failing):
            trouble = _trouble(container) or ("is restarting" if container.status == "restarting" else "")
            if trouble and (container.status == "running" or container not in before):
                return _did_not_come_up(instance, container, trouble)
    except ComposeError:
        pass
    return error


def _verify(instance: Instance, drift: Sequence[Mapping[str, str]]) -> None:
    stale = [entry for entry in drift if entry["kind"] == "stale"]
    if stale:
        services: dict[str, list[str]] = {}
        for entry in stale:
            services.setdefault(entry["name"], []).append(entry["service"])
        raise ApplyError(
            "containers run with other values than those in .env: %s"
            % "; ".join("%s in %s" % (name, some_of(those)) for name, those in services.items()),
            drift=list(drift),
        )
    running = [
        container
        for container in instance.containers()
        if container.service == "appwrite" and container.status == "running"
    ]
    if not running:
        raise ApplyError("the service appwrite is not running, so its variables cannot be verified", service="appwrite")
    container = running[0]
    try:
        printed = printed_variables(instance.vars(container.id))
    except ComposeError as error:
        raise ApplyError(
            "exec appwrite vars failed, so the values in force cannot be verified: %s" % error, service="appwrite"
        ) from None
    wrong = sorted(
        name for name, value in printed.items() if _printed(value) != _printed(container.environment.get(name, ""))
    )
    if wrong or not printed:
        raise ApplyError(
            "exec appwrite vars does not agree with the container's environment: %s"
            % (", ".join(wrong) or "it printed no variable"),
            service="appwrite",
        )


def _printed(value: str) -> str:
    """As C(vars) prints it: what is unset is empty."""
    return "" if value in catalogue.UNSET else value.strip()


def printed_variables(text: str) -> dict[str, str]:
    """What C(vars) printed: lines C(- NAME=value); a value may go on over further lines."""
    found: dict[str, str] = {}
    last = None
    for line in text[:-1].split("\n"):
        printed = _PRINTED.match(line)
        if printed:
            last = printed.group(1)
            found[last] = printed.group(2)
        elif last is not None:
            found[last] += "\n" + line
    return found


def _compose_warnings(text: str) -> list[str]:
    """compose's own warnings, once each."""
    lines = [
        line.partition('level=warning msg="')[2].rstrip('"').replace('\\"', '"')
        for line in text.splitlines()
        if "level=warning" in line
    ]
    return ["docker compose: %s" % line for line in dict.fromkeys(lines) if line]


def _diff(before: Sequence[Container], prediction: Prediction) -> dict[str, str]:
    present = {container.service: container.status for container in before}
    old, new = [], []
    for service in sorted(set(prediction.recreated) | set(prediction.started)):
        old.append("%s: %s\n" % (service, present.get(service, "absent")))
        new.append("%s: %s\n" % (service, prediction.recreated.get(service, "started")))
    return {"before_header": "containers", "after_header": "containers", "before": "".join(old), "after": "".join(new)}


def _way_back(instance: Instance, path: str) -> tuple[bytes, str]:
    """The file as a backup of it has it. A key that opens what is stored, or may, is kept, and why."""
    backup = EnvFile(path, "rollback_file")
    backup.read()
    if not backup.exists:
        raise AppwriteError("rollback_file: %s does not exist" % path)
    old = document_of(backup, instance, "rollback_file")
    line = instance.key_line()
    data, key, kept = backup.data, in_force(instance.values), ""
    former = in_force({catalogue.KEY: old.values.get(line, "")}) if line else key
    if not same_cipher(key, former):
        kept = _why_kept(instance, key, former)
    if kept:
        kept = "%s is not rolled back: %s" % (catalogue.KEY, kept)
        data = encode(old.edit({line: key}, catalogue.kin))
        instance.warnings.append(kept)
    return data, kept


def _why_kept(instance: Instance, key: str, old: str) -> str:
    """Why this key must stay; empty if the old one may take its place. Raises AppwriteError if neither may be in force."""
    evidence = instance.holds_data()
    if evidence.state == "yes":
        tried = _tried(
            instance, [old, key], "rollback_file: its key (%s) is not the one in .env (%s)" % (told(old), told(key))
        )
        if tried.proves(old):
            return ""
        if tried.opened[key]:
            return "the key in .env opens what is stored, and that of the backup does not open all of it"
        if tried.looked:
            raise ApplyError(
                "rollback_file: neither its key (%s) nor the one in .env (%s) opens what is stored, and nothing was changed%s"
                % (told(old), told(key), _none_opens(tried))
            )
    try:
        containers = instance.containers()
    except ComposeError:
        ran, may_have_run, runs_old = False, True, False
    else:
        ran = any(
            same_cipher(in_force(container.environment), key)
            for container in containers
            if catalogue.KEY in container.environment
        )
        takers = {service for service in instance.services if catalogue.KEY in instance.listed(service)}
        may_have_run = bool(takers - {container.service for container in containers})
        runs_old = all(
            same_cipher(in_force(container.environment), old) for container in containers if container.service in takers
        )
    if key and (ran or may_have_run):
        return "containers %s run with the new key" % ("have" if ran else "may have")
    if evidence.state == "unknown" and (may_have_run or not runs_old):
        raise ApplyError(
            "rollback_file: its key (%s) is put in force only after it has opened some of what is stored, and %s. Nothing was changed. %s"
            % (told(old), evidence.reason, evidence.remedy)
        )
    return ""
