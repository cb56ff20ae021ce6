# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `up -d` would do, what it did, and whether everything runs on the file; without an engine, whose answers are given here."""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.selfhost.appwrite.plugins.module_utils import _apply, _locked_out
from ansible_collections.selfhost.appwrite.plugins.module_utils._apply import printed_variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Answer
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose, ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import Prediction
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import stored as _stored

KEY = catalogue.KEY
OLD = "2026-11-24T03:00:00.123456789Z"
SECRET = "not-a-real-secret-0123456789abcdef"


def container(service="appwrite", **more):
    return Container(
        **{
            "id": "id-of-" + service,
            "service": service,
            "status": "running",
            "health": None,
            "started_at": OLD,
            "restarts": 0,
            "exit_code": 0,
            "config_hash": "hash-of-" + service,
            "image": "image",
            "environment": {},
            **more,
        }
    )


# --- what happened ---

HAPPENED = {
    "nothing": ([container()], [container()], ([], [])),
    "recreated": ([container()], [container(id="new")], (["appwrite"], [])),
    "started first": ([], [container()], ([], ["appwrite"])),
    "started again": ([container(status="exited")], [container(started_at="2026-11-24T04:00:00Z")], ([], ["appwrite"])),
    "one of two recreated": (
        [container(), container("redis")],
        [container(id="new"), container("redis")],
        (["appwrite"], []),
    ),
    "scaled": ([container()], [container(), container(id="second")], (["appwrite"], [])),
    "gone": ([container()], [], ([], [])),
    "restarted by the engine": (
        [container(restarts=3)],
        [container(restarts=4, started_at="2026-11-24T04:00:00Z")],
        ([], []),
    ),
    "recreated and started": (
        [container(), container("redis", status="exited")],
        [container(id="new"), container("redis", started_at="2026-11-24T04:00:00Z")],
        (["appwrite"], ["redis"]),
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), HAPPENED.values(), ids=HAPPENED)
def test_what_happened(before, after, expected):
    assert _apply._what_happened(before, after) == expected


# --- well or not ---

STATES = {
    "running": ({}, "", True),
    "healthy": ({"health": "healthy"}, "", True),
    "starting": ({"health": "starting"}, "", False),
    "unhealthy": ({"health": "unhealthy"}, "is unhealthy", None),
    "stopped, which the engine calls unhealthy": ({"status": "exited", "health": "unhealthy"}, "", True),
    "created": ({"status": "created", "started_at": "0001-01-01T00:00:00Z"}, "", False),
    "done": ({"status": "exited"}, "", True),
    "failed": ({"status": "exited", "exit_code": 3}, "exited with code 3", None),
    "dead": ({"status": "dead", "exit_code": 137}, "exited with code 137", None),
    "restarting": ({"status": "restarting", "restarts": 4, "exit_code": 1}, "keeps restarting (exit code 1)", None),
}


@pytest.mark.parametrize(("state", "trouble", "up"), STATES.values(), ids=STATES)
def test_states(state, trouble, up):
    assert _apply._trouble(container(**state)) == trouble
    assert up is None or _apply._is_up(container(**state)) == up


def test_one_restart_before_the_database_answered_is_no_trouble():
    """Workers end where the database is not up yet, and the engine starts them again: what counts is that this one now stays up."""
    assert _apply._trouble(container(restarts=1, health="healthy")) == ""


@pytest.mark.parametrize(
    ("load", "seconds"),
    [(0.0, 2.0), (8.0, 2.0), (80.0, 20.0), (8000.0, 60.0)],
    ids=["idle", "busy", "over", "hopeless"],
)
def test_just_started_is_not_up_yet(monkeypatch, load, seconds):
    """On a host that is overloaded a container comes late to where it dies."""
    monkeypatch.setattr(_apply.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(_apply.os, "cpu_count", lambda: 2)
    ages = iter([seconds - 0.1, seconds])
    monkeypatch.setattr(_apply, "_age", lambda _unused: next(ages))
    assert [_apply._is_up(container()) for _unused in range(2)] == [False, True]


def test_overloaded_host_fails_nothing_that_is_up(monkeypatch):
    """Neither because the time is up, nor because it was started again while its database was not up yet."""
    monkeypatch.setattr(_apply.os, "getloadavg", lambda: (8000.0, 0.0, 0.0))
    monkeypatch.setattr(_apply, "_age", lambda _unused: 5.0)
    often = container(restarts=_apply._RESTARTS)
    assert not _apply._is_up(often) and _apply._is_up(often, late=True) and _apply._trouble(often) == ""
    instance: Any = SimpleNamespace(containers=lambda: [often], forget_containers=lambda: None)
    assert _apply._wait(instance, {"appwrite"}, -1.0, lambda *_unused: None, [often]) == []


@pytest.mark.parametrize(
    "started_at", [OLD, "2026-11-24T03:00:00Z", "0001-01-01T00:00:00Z", "2026-11-24T03:00:00.1+00:00"]
)
def test_age(started_at):
    assert _apply._age(container(started_at=started_at)) > 0


# --- what vars prints ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("no variable\n", {}),
        ("- _APP_ENV=production\n- _APP_LOCALE=\n", {"_APP_ENV": "production", "_APP_LOCALE": ""}),
        ("- _APP_SMTP_PASSWORD=a=b==\n", {"_APP_SMTP_PASSWORD": "a=b=="}),
        (
            "- _APP_SMTP_PASSWORD=one\ntwo\n- three=3\n- _APP_ENV=production\n",
            {"_APP_SMTP_PASSWORD": "one\ntwo\n- three=3", "_APP_ENV": "production"},
        ),
        ("- _APP_LOCALE=a\u2028b\x0cc\n", {"_APP_LOCALE": "a\u2028b\x0cc"}),
    ],
    ids=["nothing", "other text", "two", "equals signs", "lines", "what only Python takes for a line's end"],
)
def test_printed_variables(text, found):
    assert printed_variables(text) == found


def test_printed_variable_of_a_release_that_is_newer_than_the_catalogue():
    assert (
        printed_variables("- _APP_ENV=production\n- _APP_NOT_INVENTED_YET=1\n- _APP_LOCALE=en\n")["_APP_ENV"]
        == "production"
    )


@pytest.mark.parametrize(("left", "right"), [("", "0"), (" a", "a"), ("a\n", "a")])
def test_what_vars_cannot_tell_apart(left, right):
    assert _apply._printed(left) == _apply._printed(right)


# --- words ---


def test_compose_warnings():
    """Recorded from compose 2.26.1 on 2026-11-24."""
    line = 'time="2026-11-24T06:37:09Z" level=warning msg="The \\"NAME\\" variable is not set. Defaulting to a blank string."\n'
    assert _apply._compose_warnings(line * 3 + " Container appwrite  Started\n") == [
        'docker compose: The "NAME" variable is not set. Defaulting to a blank string.'
    ]
    assert _apply._compose_warnings("") == []


def test_diff():
    prediction = Prediction({"appwrite": "recreated with _APP_ENV"}, ("redis",))
    diff = _apply._diff([container(), container("mariadb")], prediction)
    assert (diff["before"], diff["after"]) == (
        "appwrite: running\nredis: absent\n",
        "appwrite: recreated with _APP_ENV\nredis: started\n",
    )
    nothing = _apply._diff([container()], Prediction({}, ()))
    assert nothing["before"] == nothing["after"] == ""


# --- the whole, on answers of an engine ---


READ: dict[str, Any] = {}
"""What the real compose made of each project that was read so far."""


class Engine:
    """Stands where Compose would ask an engine; the project itself is read by the real compose."""

    def __init__(self, monkeypatch):
        self.now, self.then, self.calls, self.said, self.log = [], None, [], "", "it broke"
        self.printed, self.evidence, self.volumes = "- _APP_ENV=production\n", "", set()
        self.opens: Any = {}
        real = {name: getattr(Compose, name) for name in ("config", "version")}
        for name, answer in {
            "config": lambda compose, *rest: self._once(real["config"], compose, *rest),
            "version": lambda compose: self._once(real["version"], compose),
            "containers": lambda *_unused: list(self.now),
            "volumes": lambda *_unused: self.volumes,
            "hashes": lambda *_unused: {
                name: "hash-of-" + name for name in ("appwrite", "appwrite-worker-certificates", "mariadb")
            },
            "image_ids": lambda *_unused: {},
            "up": functools.partialmethod(_up, self),
            "logs": lambda compose, *_unused: [compose.mask(self.log)],
            "execute": functools.partialmethod(_execute, self),
        }.items():
            monkeypatch.setattr(Compose, name, answer)
        monkeypatch.setattr(Instance, "_ask_engine", lambda _instance: [])
        monkeypatch.setattr(Instance, "neighbours", lambda _instance: set())
        monkeypatch.setattr(_apply, "_POLL", 0)
        monkeypatch.setattr(_stored, "opening", self._opening)

    def _opening(self, _instance, keys):
        for error in [self.opens] * isinstance(self.opens, Exception):
            raise error
        return Opening(sum(self.opens.values()), {key: self.opens.get(key, 0) for key in keys})

    def _once(self, ask, compose, *candidate):
        files = [(Path(compose.directory) / name).read_bytes() for name in ("docker-compose.yml", ".env")]
        question = (ask, *files, candidate)
        if question not in READ:
            READ[question] = ask(compose, *candidate)
        return READ[question]


def _up(compose, engine, timeout, pull, alone=None, _scale=None):
    engine.calls.append("up %s" % alone if alone else "up")
    if isinstance(engine.then, Exception):
        raise engine.then
    engine.now = [one for one in engine.then if one.service == alone] if alone else engine.then
    return compose.mask(engine.said)


def _execute(_compose, engine, _container, command, *_rest):
    return engine.printed if command == ["vars"] else engine.evidence


ENVIRONMENT = {"_APP_ENV": "production", "_APP_DOMAIN": "appwrite.example.com", KEY: SECRET}
NAMES = ("_APP_ENV", "_APP_DOMAIN", KEY)


@pytest.fixture
def engine(monkeypatch, without_engine, project):
    (project / ".env").write_text("".join(f"{name}={ENVIRONMENT[name]}\n" for name in NAMES))
    engine = Engine(monkeypatch)
    engine.now = [
        container(environment=ENVIRONMENT),
        container("appwrite-worker-certificates", environment={name: ENVIRONMENT[name] for name in ("_APP_ENV", KEY)}),
        container("mariadb", environment={"MYSQL_PASSWORD": ""}),
    ]
    engine.then = [replace(one, id="new-" + one.id, started_at="2026-11-24T04:00:00Z") for one in engine.now]
    return engine


def outdate(engine, **environment):
    engine.now[0] = replace(engine.now[0], config_hash="other", environment={**ENVIRONMENT, **environment})
    engine.then = [engine.then[0], *engine.now[1:]]


def test_nothing_to_do(run_module, engine):
    result = run_module("apply")
    assert (result["changed"], result["recreated"], result["started"], result["drift"], engine.calls) == (
        False,
        [],
        [],
        [],
        [],
    )
    assert result["services"] == ["appwrite", "appwrite-worker-certificates", "mariadb"]
    assert result["warnings"] == []


def test_facts_are_asked_for_once(run_module, engine, monkeypatch):
    """As long as nothing has changed; each question costs a process."""
    asked = []
    for name in ("config", "version", "containers", "hashes", "image_ids"):
        monkeypatch.setattr(
            Compose, name, lambda *rest, _name=name, _real=getattr(Compose, name): asked.append(_name) or _real(*rest)
        )
    run_module("apply")
    assert sorted(asked) == ["config", "containers", "hashes", "image_ids"]


def test_recreated_as_predicted(run_module, engine):
    outdate(engine, _APP_ENV="development")
    engine.now.pop()
    predicted = run_module("apply", check=True)
    assert engine.calls == []
    engine.then = [*engine.then[:2], container("mariadb", environment={"MYSQL_PASSWORD": ""})]
    done = run_module("apply")
    assert engine.calls == ["up"]
    for result in (predicted, done):
        assert (result["changed"], result["recreated"], result["started"], result["drift"]) == (
            True,
            ["appwrite"],
            ["mariadb"],
            [],
        )
    assert predicted["diff"] == done["diff"] and "_APP_ENV" in done["diff"]["after"]
    assert run_module("apply")["changed"] is False or engine.now[0].config_hash == "other"


def test_stopped_is_started(run_module, engine):
    engine.now[0] = replace(engine.now[0], status="exited", exit_code=137)
    engine.then = [
        replace(engine.now[0], status="running", exit_code=0, started_at="2026-11-24T04:00:00Z"),
        *engine.now[1:],
    ]
    assert run_module("apply", check=True)["started"] == ["appwrite"]
    assert run_module("apply")["started"] == ["appwrite"]


def test_stale_after_up_is_a_failure(run_module, engine):
    outdate(engine)
    engine.then[0] = replace(engine.then[0], environment={**ENVIRONMENT, "_APP_DOMAIN": "old.example.com"})
    result = run_module("apply")
    assert result["failed"] and "_APP_DOMAIN in appwrite" in result["msg"]
    assert result["drift"] == [{"service": "appwrite", "name": "_APP_DOMAIN", "kind": "stale"}]
    assert not run_module("apply", verify=False).get("failed")


@pytest.mark.parametrize(
    ("printed", "part"),
    [
        ("- _APP_ENV=development\n", "does not agree with the container's environment: _APP_ENV"),
        ("- _APP_LOCALE=de\n", "_APP_LOCALE"),
        ("", "printed no variable"),
    ],
)
def test_vars_that_do_not_agree(run_module, engine, printed, part):
    engine.printed = printed
    assert part in run_module("apply")["msg"]
    assert "msg" not in run_module("apply", verify=False)


@pytest.mark.parametrize(
    "state", [{"health": "unhealthy"}, {"status": "exited", "exit_code": 1}, {"status": "restarting", "restarts": 3}]
)
def test_service_that_does_not_come_up(run_module, engine, state):
    outdate(engine)
    engine.then[0] = replace(engine.then[0], **state)
    result = run_module("apply")
    assert result["failed"] and (result["service"], result["log"]) == ("appwrite", ["it broke"])
    assert result["msg"].startswith("the service appwrite ") and result["msg"].endswith("Its last log lines: it broke")


def test_service_that_is_not_up_in_time(run_module, engine):
    outdate(engine)
    engine.then[0] = replace(engine.then[0], health="starting")
    assert "is not up after 1 seconds" in run_module("apply", timeout=1)["msg"]


def test_up_that_fails(run_module, engine):
    outdate(engine)
    engine.then = ComposeError("failed", "docker compose up failed: port is already allocated")
    assert run_module("apply")["msg"] == "docker compose up failed: port is already allocated"


@pytest.fixture
def dying(engine, monkeypatch):
    """It dies while compose works, and answers nothing from then on."""
    gone = ComposeError("unreachable", "the Docker Engine does not answer: connection refused")

    def fail(*_unused):
        raise gone

    def up(*_unused):
        engine.calls.append("up")
        for name in ("containers", "hashes", "image_ids", "execute", "up"):
            monkeypatch.setattr(Compose, name, fail)
        raise ComposeError("failed", "docker compose up failed: unexpected EOF")

    monkeypatch.setattr(Compose, "up", up)
    return engine


def test_engine_that_dies_during_up(run_module, dying):
    """What compose said of it is told: which service it was cannot be asked any more."""
    outdate(dying)
    assert run_module("apply")["msg"] == "docker compose up failed: unexpected EOF"


def test_way_back_of_an_engine_that_dies_during_up(run_module, dying, project):
    """The earlier file is in place again though nothing can be applied, but for the key: something may have been sealed with that."""
    (project / ".env").write_text("_APP_ENV=production\n")
    dying.now = []
    result = run_module("security", apply=True, encryption_key={}, env={"variables": {"_APP_ENV": "development"}})
    for words in (
        "docker compose up failed: unexpected EOF. Going back failed too: ",
        " was put back, but could not be applied: the Docker Engine does not answer",
        f". {KEY} is not rolled back: containers may have run with the new key",
    ):
        assert words in result["msg"]
    assert (result["rolled_back"], dying.calls) == (False, ["up"])
    first, key = (project / ".env").read_text().splitlines()
    assert first == "_APP_ENV=production" and re.fullmatch(KEY + "=[0-9A-Za-z]{64}", key)


def test_up_that_fails_beside_a_service_that_restarted_once(run_module, engine):
    """A port that is taken is not the fault of a service that runs well."""
    outdate(engine)
    engine.now[1] = replace(engine.now[1], restarts=1, health="healthy")
    engine.then = ComposeError("failed", "docker compose up failed: port is already allocated")
    assert "port is already allocated" in run_module("apply")["msg"]


def test_up_that_fails_beside_a_service_that_stood_still(run_module, engine):
    outdate(engine)
    engine.now[1] = replace(engine.now[1], status="exited", exit_code=137)
    engine.then = ComposeError("failed", "docker compose up failed: port is already allocated")
    assert "port is already allocated" in run_module("apply")["msg"]
    assert engine.calls == ["up"]


def test_what_an_interrupted_up_left_is_removed(run_module, engine, monkeypatch):
    """Only what never ran, and only beside another container of its service."""
    outdate(engine)
    never = {"status": "created", "started_at": "0001-01-01T00:00:00Z"}
    engine.now += [container(id="temporary", **never), container("redis", **never)]
    monkeypatch.setattr(Compose, "docker", lambda _compose, arguments, **_unused: engine.calls.append(arguments))
    run_module("apply")
    assert engine.calls == [["rm", "temporary"], "up"]


def test_service_that_an_interrupted_run_started(run_module, engine):
    """It is waited for although there is nothing left to change: it may not come up."""
    engine.now[0] = replace(engine.now[0], health="starting")
    assert "the service appwrite is not up after 1 seconds" in run_module("apply", timeout=1)["msg"]
    assert engine.calls == []


def test_service_that_was_unwell_before(run_module, engine):
    engine.now[1] = replace(engine.now[1], health="unhealthy")
    assert run_module("apply")["warnings"] == ["the service appwrite-worker-certificates is unhealthy"]


def test_bystander(run_module, engine):
    """It failed before, is recreated with the rest, and goes on failing."""
    outdate(engine)
    engine.now[1] = replace(engine.now[1], status="restarting", restarts=9, exit_code=3, config_hash="other")
    engine.then[1] = replace(engine.then[1], id="new", status="restarting", restarts=3, exit_code=3)
    result = run_module("apply")
    assert not result.get("failed"), result["msg"]
    assert result["warnings"] == [
        "the service appwrite-worker-certificates failed before this run, and does so after it: it keeps restarting (exit code 3)"
    ]


def test_bystander_alone(run_module, engine):
    engine.now[1] = replace(engine.now[1], status="restarting", restarts=9, exit_code=3)
    for check in (True, False):
        result = run_module("apply", check=check)
        assert (result["changed"], result["started"], engine.calls) == (False, [], [])


def test_first_start_waits_whatever_restarts(run_module, engine, monkeypatch):
    """What a service builds on starts for the first time, too."""
    up, engine.now = engine.now, []
    engine.then = [replace(up[0], status="restarting", restarts=7, exit_code=1), *up[1:]]
    monkeypatch.setattr(_apply.time, "sleep", lambda _seconds: setattr(engine, "now", up))
    assert not run_module("apply", verify=False).get("failed")


def test_warnings_hold_no_piece_of_a_secret(run_module, engine, project):
    """compose warns of a name that is not set, and in `pa$word` that name is the half of a password. Recorded from 2.26.1, 2026-11-24."""
    (project / ".env").write_text(
        "".join(f"{name}={ENVIRONMENT[name]}\n" for name in NAMES) + "_APP_SMTP_PASSWORD=not-a-real-$tTailOfASecret\n"
    )
    outdate(engine)
    engine.then[0] = replace(engine.then[0], environment={**ENVIRONMENT, "_APP_SMTP_PASSWORD": "not-a-real-"})
    engine.said = 'time="2026-11-24T06:37:09Z" level=warning msg="The \\"tTailOfASecret\\" variable is not set. Defaulting to a blank string."\n'
    result = run_module("apply")
    assert engine.calls == ["up"] and "tTailOfASecret" not in json.dumps(result)


@pytest.mark.parametrize("where", ["in the file that is put back", "in the containers that run"])
def test_secrets_of_before_are_masked_too(run_module, engine, project, where):
    """A service that logs the password it cannot use logs the one that it was started with."""
    old = "not-a-real-old-password"
    outdate(engine, **({} if "file" in where else {"_APP_SMTP_PASSWORD": old}))
    (project / "old.bak").write_text((project / ".env").read_text() + f"_APP_SMTP_PASSWORD={old}\n")
    (project / ".env.20261124T030000Z.bak").write_text(f"_APP_SMTP_PASSWORD={old}\n")
    engine.then = ComposeError("failed", "docker compose up failed")
    engine.now[1] = replace(engine.now[1], health="unhealthy")
    engine.log = "cannot log in with " + old
    result = run_module("apply", **({"rollback_file": str(project / "old.bak")} if "file" in where else {}))
    assert result["failed"] and "cannot log in" in result["msg"] and old not in json.dumps(result)


# --- HTTPS that locks everybody out ---


HTTPS = "_APP_OPTIONS_FORCE_HTTPS"
LOOP = "https://aw.notarealcompany.com redirects to itself for ever"
TRAEFIK = """\
  traefik:
    image: traefik:2.11
    command: [--entrypoints.appwrite_websecure.address=:443]
    ports: ["443:443"]
"""


@pytest.fixture
def looping(engine, project, monkeypatch):
    """What ends TLS answers until the containers force HTTPS, and from then on sends everybody back to where they are. Nothing forces it yet."""
    file = project / "docker-compose.yml"
    file.write_text(file.read_text() + TRAEFIK)
    forced = f"{HTTPS}=disabled\n_APP_OPTIONS_ROUTER_FORCE_HTTPS=disabled\n"
    text = (project / ".env").read_text().replace("appwrite.example.com", "aw.notarealcompany.com")
    (project / ".env").write_text(text + forced)
    engine.now[0] = replace(engine.now[0], environment={**ENVIRONMENT, HTTPS: "disabled"}, config_hash="other")
    engine.now.append(container("traefik"))

    services = yaml.safe_load(file.read_text())["services"]

    def up(_compose, *_rest):
        engine.calls.append("up")
        values = dict(line.split("=", 1) for line in (project / ".env").read_text().splitlines() if "=" in line)
        for number, one in enumerate(engine.now[:2]):
            environment = {name: values[name] for name in services[one.service]["environment"] if name in values}
            engine.now[number] = replace(one, id=f"made-by-up-{len(engine.calls)}", environment=environment)
        return ""

    def get(*_unused):
        if engine.now[0].environment[HTTPS] == "enabled":
            return Answer(301, "https://aw.notarealcompany.com/v1/health/version")
        return Answer(200)

    monkeypatch.setattr(Compose, "up", up)
    monkeypatch.setattr(_locked_out, "get", get)
    return engine


def test_users_who_would_be_redirected_for_ever(run_module, looping, project):
    """The file goes back, and is applied again."""
    before = (project / ".env").read_bytes()
    result = run_module("security", apply=True, https={"force": "auto"})
    assert result["msg"].startswith(f"HTTPS is forced now, and {LOOP}.") and "set `force` to false" in result["msg"]
    assert result["msg"].endswith("The old .env file was put back and applied.") and result["rolled_back"] is True
    assert (project / ".env").read_bytes() == before and looping.calls == ["up", "up"]
    assert looping.now[0].environment[HTTPS] == "disabled"


@pytest.mark.parametrize("force", ["auto", "true"])
def test_redirect_for_ever_that_the_file_asked_for_before(run_module, looping, project, force):
    """It stays, and is a failure unless HTTPS is to be forced whatever comes of it."""
    edited = (project / ".env").read_text().replace("=disabled", "=enabled")
    (project / ".env").write_text(edited)
    result = run_module("security", apply=True, https={"force": force})
    assert (LOOP in result.get("msg", ""), any(LOOP in warning for warning in result["warnings"])) == (
        force == "auto",
        force == "true",
    )
    assert (project / ".env").read_text() == edited and looping.calls == ["up"]
    assert looping.now[0].environment[HTTPS] == "enabled"


# --- the key ---


@pytest.mark.parametrize(
    "line", [f"{KEY}=another-unreal-key-0123456789\n", f"{KEY}=\n", ""], ids=["another", "empty", "no line"]
)
@pytest.mark.parametrize("check", [True, False])
def test_another_key_is_not_applied_to_data(run_module, engine, project, line, check):
    (project / ".env").write_text(
        "_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_DB_HOST=mariadb\n" + line
    )
    engine.now[0] = replace(engine.now[0], config_hash="other")
    engine.evidence = "console accounts: users\n"
    result = run_module("apply", check=check)
    assert (
        result.get("failed")
        and KEY in result["msg"]
        and "selfhost.appwrite.encryption_key" in result["msg"]
        and engine.calls == []
    )
    assert SECRET not in json.dumps(result) and "unreal" not in json.dumps(result)


def test_another_key_is_applied_where_there_is_no_data(run_module, engine, project):
    (project / ".env").write_text(
        f"_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_DB_HOST=mariadb\n{KEY}=another-unreal-key-0123456789\n"
    )
    engine.now[0] = replace(engine.now[0], config_hash="other")
    engine.evidence = "console accounts: empty\n"
    assert run_module("apply", check=True)["recreated"] == ["appwrite"]


def test_another_tail_opens_the_same_data(run_module, engine, project):
    (project / ".env").write_text(
        f"_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_DB_HOST=mariadb\n{KEY}={SECRET[:16]}-and-another-tail\n"
    )
    engine.now[0] = replace(engine.now[0], config_hash="other")
    engine.evidence = "console accounts: users\n"
    assert run_module("apply", check=True)["recreated"] == ["appwrite"]


OTHER = "another-unreal-key-0123456789"
USERS = "console accounts: users\n"


def rekeyed(engine, project, key=OTHER):
    """Another key in the file than the one that runs."""
    (project / ".env").write_text(
        f"_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_DB_HOST=mariadb\n{KEY}={key}\n"
    )
    engine.now[:2] = [replace(one, config_hash="other") for one in engine.now[:2]]
    engine.then = [replace(one, environment={**one.environment, KEY: key}) for one in engine.then[:2]] + engine.now[2:]
    engine.evidence = USERS


@pytest.mark.parametrize("check", [True, False])
def test_another_key_that_opens_what_is_stored(run_module, engine, project, check):
    rekeyed(engine, project)
    engine.opens = {OTHER: 7}
    result = run_module("apply", check=check)
    assert result.get("msg") is None and "appwrite" in result["recreated"]
    assert "and opens what is stored, which the other one does not" in result["warnings"][0]


@pytest.mark.parametrize(
    ("opens", "words"),
    [
        (
            {SECRET: 7},
            "whose data the running key opens. A recreate would make that data unreadable. Put the running key back",
        ),
        ({SECRET: 6, OTHER: 1}, "whose data the running key opens"),
        (
            {"not-a-real-key-of-nobody": 7},
            "Of 7 values looked at, it opens none, and neither does any other key that is known here. Put the right key into .env",
        ),
        ({"your-secret-key": 7}, "Of 7 values looked at, the public default opens 7. Put the right key into .env"),
        (AppwriteError("install it"), "and it cannot be tried on what is stored: install it"),
    ],
    ids=["running", "both", "neither", "public", "cannot be opened"],
)
def test_another_key_that_does_not_open_what_is_stored(run_module, engine, project, opens, words):
    rekeyed(engine, project)
    engine.opens = opens
    result = run_module("apply")
    assert result.get("failed") and words in result["msg"] and engine.calls == []


def test_another_key_where_nothing_can_be_asked(run_module, engine, project):
    rekeyed(engine, project)
    engine.now.pop()
    engine.volumes = {"appwrite_mariadb"}
    engine.evidence = ""
    engine.now.append(container("mariadb", environment={"MYSQL_PASSWORD": ""}, status="exited"))
    result = run_module("apply")
    assert (
        result.get("failed")
        and "start it (docker compose up -d mariadb). A recreate could make that data unreadable. Start the database"
        in result["msg"]
    )
    assert engine.calls == []


def gone(engine, database="running"):
    """After all containers but the database's were removed."""
    engine.evidence = USERS
    engine.now = [replace(engine.now[2], status=database)]
    engine.then[2] = replace(
        engine.now[0], status="running", started_at=OLD if database == "running" else "2026-11-24T04:00:00Z"
    )


@pytest.mark.parametrize("opens", [{SECRET: 7}, {}], ids=["opens", "nothing sealed"])
@pytest.mark.parametrize(("database", "first"), [("running", []), ("exited", ["up mariadb"])])
def test_start_with_a_key_that_no_container_has(run_module, engine, opens, database, first):
    gone(engine, database)
    engine.opens = opens
    predicted = run_module("apply", check=True)
    assert predicted["changed"] and engine.calls == []
    assert any("mariadb is started first" in warning for warning in predicted["warnings"]) == bool(first)
    result = run_module("apply")
    assert result.get("msg") is None and engine.calls == [*first, "up"]
    assert result["started"] == ["appwrite", "appwrite-worker-certificates", *(["mariadb"] * bool(first))]


@pytest.mark.parametrize(
    ("opens", "words"),
    [
        (
            {"not-a-real-key-of-nobody": 7},
            "is in no container of this project that has run, and a console account exists in the database of project appwrite. "
            "Of 7 values looked at, it opens none, and neither does any other key that is known here",
        ),
        ({"your-secret-key": 7}, "Of 7 values looked at, the public default opens 7. Put the right key into .env"),
        (AppwriteError("install it"), "and it cannot be tried on what is stored: install it"),
    ],
    ids=["none", "public", "cannot be opened"],
)
@pytest.mark.parametrize("database", ["running", "exited"])
def test_start_with_a_key_that_opens_nothing(run_module, engine, opens, words, database):
    gone(engine, database)
    engine.opens = opens
    result = run_module("apply")
    assert result.get("failed") and words in result["msg"] and "up" not in engine.calls
    assert (
        ("the service mariadb was started for that and is left running" in result["msg"])
        == (database == "exited")
        == bool(engine.calls)
    )


@pytest.mark.parametrize(
    "opens", [{SECRET: 5, "your-secret-key": 2}, {SECRET: 5, "not-a-real-key-of-nobody": 2}], ids=["public", "unknown"]
)
def test_start_with_a_key_that_opens_a_part(run_module, engine, opens):
    """An installation that began on the public default, with another key put in by hand later: what is under the first was closed long ago."""
    gone(engine)
    engine.opens = opens
    result = run_module("apply")
    assert result.get("msg") is None and engine.calls == ["up"]
    openers = "opens 5 and the public default opens 2" if "your-secret-key" in opens else "opens 5"
    assert (
        f"{openers}; it cannot open the others" in result["warnings"][0]
        and "Of 7 values looked at" in result["warnings"][0]
    )


@pytest.mark.parametrize("other", [OTHER, "your-secret-key"])
def test_start_with_a_key_beside_another_one_in_force(run_module, engine, other):
    """A container still has the other one, so that is not left over. Who knows better has a way."""
    gone(engine)
    engine.now.append(container(environment={**ENVIRONMENT, KEY: other}))
    engine.opens = {SECRET: 5, other: 2}
    message = run_module("apply")["msg"]
    assert " opens 2. Put the right key into .env" in message and engine.calls == []
    assert (
        ". If the one in .env is the right one all the same, start it by hand: docker compose up -d. Nothing with a key was started"
        in message
    )


@pytest.mark.parametrize("other", ["your-secret-key", "not-a-real-key-of-nobody"])
def test_another_key_beside_what_is_left_over(run_module, engine, project, other):
    rekeyed(engine, project)
    engine.opens = {OTHER: 5, other: 2}
    assert run_module("apply").get("msg") is None and engine.calls == ["up"]


def test_another_key_beside_that_of_a_third_container(run_module, engine, project):
    rekeyed(engine, project)
    engine.now.append(container("redis", environment={KEY: "a-third-unreal-key-0123456789"}))
    engine.opens = {OTHER: 5, "a-third-unreal-key-0123456789": 2}
    message = run_module("apply")["msg"]
    assert (
        "is not the one that appwrite runs with" in message
        and message.endswith("start it by hand: docker compose up -d")
        and engine.calls == []
    )


def rotating(project, phase):
    """It is in the middle of a rotation."""
    (project / ".appwrite-rotation").mkdir(mode=0o700)
    content = {"phase": phase, "old": OTHER, "new": SECRET, "env": "QQ=="}
    (project / ".appwrite-rotation" / "state.json").write_text(json.dumps(content))
    (project / ".appwrite-rotation" / "state.json").chmod(0o600)


@pytest.mark.parametrize("phase", ["written", "staged"])
def test_start_at_the_end_of_a_rotation(run_module, engine, project, phase):
    """It has looked at everything itself; what it was told to leave behind is no reason to stop now."""
    gone(engine)
    rotating(project, phase)
    engine.opens = AssertionError("asked") if phase == "written" else {OTHER: 7}
    result = run_module("apply")
    assert (result.get("msg") is None) == (phase == "written") == bool(engine.calls)


def test_start_that_fails_at_the_end_of_a_rotation(run_module, engine, project):
    """It says how far the rotation is, which goes on from there."""
    gone(engine)
    rotating(project, "written")
    engine.then[1] = replace(engine.then[1], status="exited", exit_code=1)
    message = run_module("apply")["msg"]
    assert message.startswith("the service appwrite-worker-certificates exited with code 1")
    assert message.endswith(". Mend what is named here, and run the rotation again, which goes on from here")


@pytest.mark.parametrize("database", ["running", "exited"])
def test_start_with_a_key_that_was_only_created(run_module, engine, database):
    """An up that failed on a port leaves containers that never ran."""
    gone(engine, database)
    engine.now += [container(environment=ENVIRONMENT, status="created", started_at="0001-01-01T00:00:00Z")]
    engine.opens = {"not-a-real-key-of-nobody": 7}
    result = run_module("apply")
    assert (
        "is in no container of this project that has run, and a console account exists" in result["msg"]
        and "up" not in engine.calls
    )


def test_another_key_than_one_that_was_only_created(run_module, engine, project):
    """Nothing runs with that, and nothing sealed is stored that could tell."""
    engine.now[:2] = [
        container(
            environment={**ENVIRONMENT, KEY: OTHER},
            status="created",
            started_at="0001-01-01T00:00:00Z",
            config_hash="other",
        )
    ]
    engine.evidence = USERS
    assert run_module("apply").get("msg") is None and engine.calls == ["up"]


@pytest.mark.parametrize("recreated", [True, False])
@pytest.mark.parametrize(
    "silence", ["", ComposeError("failed", "docker exec failed: cannot connect")], ids=["no answer", "error"]
)
def test_a_database_that_is_starting(run_module, engine, project, monkeypatch, silence, recreated):
    """Its container runs, but it does not answer yet."""
    if recreated:
        rekeyed(engine, project)
    else:
        gone(engine)
    engine.opens = {OTHER if recreated else SECRET: 7}
    answers = [silence, silence, USERS]

    def execute(_compose, _container, command, *_rest):
        found = engine.printed if command == ["vars"] else answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(Compose, "execute", execute)
    assert run_module("apply").get("msg") is None and engine.calls == ["up"] and not answers


def test_start_where_the_database_does_not_come_up(run_module, engine):
    gone(engine, "exited")
    engine.then = [replace(engine.then[2], status="exited", exit_code=1)]
    result = run_module("apply")
    assert result["msg"].startswith("the service mariadb exited with code 1") and engine.calls == ["up mariadb"]


@pytest.mark.parametrize("health", [None, "healthy"])
def test_start_where_the_database_does_not_answer(run_module, engine, health):
    gone(engine, "exited")
    engine.evidence = ""
    engine.then[2] = replace(engine.then[2], health=health)
    result = run_module("apply", timeout=1)
    assert (
        "only after it has opened some of what is stored, and the database of service mariadb gave no clear answer"
        in result["msg"]
    )
    assert "Nothing with a key was started; the service mariadb was started" in result["msg"] and engine.calls == [
        "up mariadb"
    ]


def test_start_where_the_database_is_elsewhere(run_module, engine, project):
    (project / ".env").write_text((project / ".env").read_text() + "_APP_DB_HOST=db.example.com\n")
    gone(engine)
    result = run_module("apply")
    assert (
        "db.example.com is not a database service" in result["msg"]
        and "Start Appwrite by hand with the key that it had (docker compose up -d)" in result["msg"]
    )
    assert engine.calls == []


def test_start_under_another_project_name(run_module, engine, project, monkeypatch):
    """Not even a database is started."""
    gone(engine, "exited")
    monkeypatch.setattr(Instance, "neighbours", lambda _instance: {"mine"})
    result = run_module("apply")
    assert (
        "containers of another project name (mine)" in result["msg"]
        and "Set `project_name`" in result["msg"]
        and engine.calls == []
    )


@pytest.mark.parametrize("key", [SECRET, SECRET[:16] + "-and-another-tail"])
def test_start_with_a_key_that_a_container_has(run_module, engine, key):
    """Nothing is asked, as in a run that changes nothing."""
    engine.opens = AssertionError("asked")
    engine.now = [replace(engine.now[1], environment={**engine.now[1].environment, KEY: key}), engine.now[2]]
    assert run_module("apply", check=True)["started"] == ["appwrite"]


def test_start_where_there_is_no_data(run_module, engine):
    engine.opens = AssertionError("asked")
    engine.now = []
    assert run_module("apply").get("msg") is None and engine.calls == ["up"]


# --- back ---


def test_rollback(run_module, engine, project):
    current = (project / ".env").read_bytes()
    (project / "old.bak").write_text(f"_APP_ENV=development\n{KEY}={SECRET}\n")
    outdate(engine)
    engine.then[0] = replace(engine.then[0], environment={"_APP_ENV": "development", KEY: SECRET})
    engine.now[1] = replace(engine.now[1], environment={"_APP_ENV": "development", KEY: SECRET})
    engine.printed = "- _APP_ENV=development\n"
    engine.then[1] = engine.now[1]
    result = run_module("apply", rollback_file=str(project / "old.bak"))
    assert result.get("msg") is None and (project / ".env").read_bytes() == (project / "old.bak").read_bytes()
    with open(result["backup_file"], "rb") as stream:
        assert stream.read() == current


@pytest.mark.parametrize("line", ["", f"{KEY}=your-secret-key\n"], ids=["no line", "placeholder"])
def test_rollback_keeps_a_key_that_has_run(run_module, engine, project, line):
    (project / "old.bak").write_text("_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n" + line)
    result = run_module("apply", rollback_file=str(project / "old.bak"))
    assert f"{KEY}={SECRET}\n" in (project / ".env").read_text()
    assert any("not rolled back" in warning for warning in result["warnings"])
    assert result["changed"] == bool(result["backup_file"]) and not result["recreated"]


@pytest.mark.parametrize("gone", [False, True])
def test_rollback_of_a_key_that_no_container_has(run_module, engine, project, gone):
    """A container that is gone may have run with it."""
    old = {**ENVIRONMENT, KEY: "your-secret-key"}
    (project / "old.bak").write_text("".join(f"{name}={value}\n" for name, value in old.items()))
    engine.now = [
        replace(one, environment={name: old[name] for name in one.environment if name in old}) for one in engine.now
    ]
    del engine.now[1 : 1 + gone]
    run_module("apply", rollback_file=str(project / "old.bak"), timeout=1)
    assert (f"{KEY}={SECRET}\n" in (project / ".env").read_text()) == gone


@pytest.mark.parametrize("known", [True, False])
def test_rollback_that_cannot_be_applied(run_module, engine, project, monkeypatch, known):
    """The message says what became of the file, and of the key."""
    (project / "old.bak").write_text("_APP_ENV=development\n")
    if known:
        outdate(engine)
        engine.then = ComposeError("failed", "docker compose up failed: no way")
    else:

        def fail(*_unused):
            raise ComposeError("unreachable", "no way")

        monkeypatch.setattr(Compose, "containers", fail)
    message = run_module("apply", rollback_file=str(project / "old.bak"))["msg"]
    assert "old.bak was put back" in message and f"containers {'have' if known else 'may have'} run" in message
    assert "could not be applied" in message and "no way" in message
    assert (project / ".env").read_text() == f"_APP_ENV=development\n{KEY}={SECRET}\n"


BACK = {
    "the old key opens": (USERS, {OTHER: 7}, OTHER, None),
    "the new key opens": (
        USERS,
        {SECRET: 7},
        SECRET,
        "the key in .env opens what is stored, and that of the backup does not open all of it",
    ),
    "both": (USERS, {SECRET: 1, OTHER: 6}, SECRET, "that of the backup does not open all of it"),
    "nothing sealed": (USERS, {}, SECRET, "containers have run with the new key"),
    "nobody has signed up": ("console accounts: empty\n", {OTHER: 7}, SECRET, "containers have run with the new key"),
    "no answer": ("", {OTHER: 7}, SECRET, "containers have run with the new key"),
}


@pytest.mark.parametrize(("evidence", "opens", "key", "words"), BACK.values(), ids=BACK)
def test_rollback_of_another_key(run_module, engine, project, evidence, opens, key, words):
    (project / "old.bak").write_text(
        "".join(f"{name}={value}\n" for name, value in {**ENVIRONMENT, KEY: OTHER}.items())
    )
    engine.evidence, engine.opens = evidence, opens
    engine.then = [
        replace(one, environment={**one.environment, KEY: key}) if KEY in one.environment else one for one in engine.now
    ]
    engine.now = [
        replace(one, config_hash="other") if KEY in one.environment and key == OTHER else one for one in engine.now
    ]
    result = run_module("apply", rollback_file=str(project / "old.bak"))
    assert result.get("msg") is None and f"{KEY}={key}\n" in (project / ".env").read_text()
    assert words is None or any(words in warning for warning in result["warnings"])


@pytest.mark.parametrize(
    ("opens", "words"),
    [
        ({"not-a-real-key-of-nobody": 7}, "rollback_file: neither its key"),
        (AppwriteError("install it"), "rollback_file: its key"),
    ],
)
def test_rollback_where_no_key_may_be_in_force(run_module, engine, project, opens, words):
    before = (project / ".env").read_bytes()
    (project / "old.bak").write_text(f"{KEY}={OTHER}\n")
    engine.evidence, engine.opens = USERS, opens
    result = run_module("apply", rollback_file=str(project / "old.bak"))
    assert result["msg"].startswith(words) and (project / ".env").read_bytes() == before and engine.calls == []


def test_rollback_to_a_key_where_nothing_can_be_asked(run_module, engine, project):
    """The file has none, and no container has the backup's."""
    (project / ".env").write_text("_APP_ENV=production\n")
    (project / "old.bak").write_text(f"{KEY}={OTHER}\n")
    message = run_module("apply", rollback_file=str(project / "old.bak"))["msg"]
    assert (
        message.startswith("rollback_file: its key")
        and "only after it has opened some" in message
        and "gave no clear answer" in message
    )
    assert (project / ".env").read_text() == "_APP_ENV=production\n"


def test_rollback_in_check_mode(run_module, engine, project):
    before = (project / ".env").read_bytes()
    (project / "old.bak").write_text("_APP_ENV=development\n")
    assert run_module("apply", check=True, rollback_file=str(project / "old.bak"))["changed"] is True
    assert "does not exist" in run_module("apply", check=True, rollback_file=str(project / "older.bak"))["msg"]
    assert (project / ".env").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "part"), [(None, "rollback_file: .* does not exist"), ("A='\n", "rollback_file: .*line 1")]
)
def test_rollback_file_that_is_none(run_module, engine, project, content, part):
    before = (project / ".env").read_bytes()
    if content:
        (project / "old.bak").write_text(content)
    result = run_module("apply", rollback_file=str(project / "old.bak"))
    assert result["failed"] and re.match(part, result["msg"]) and (project / ".env").read_bytes() == before


# --- what it tells ---


@pytest.fixture
def told(monkeypatch):
    """What a run with a progress file has told, each once."""
    found: list[tuple[Any, ...]] = []

    def tell(*said):
        if said not in found[-1:]:
            found.append(said)

    monkeypatch.setattr(_apply, "Progress", lambda path: tell)
    monkeypatch.setattr(_apply, "_LOOK", 0.01)
    return found


def test_tells_what_compose_has_not_started_and_then_what_is_not_up(run_module, engine, told, monkeypatch):
    """Before anything has begun those that are to come, and then those that have begun. Nobody says what was up before."""
    outdate(engine)
    engine.now[1] = replace(engine.now[1], config_hash="other")
    old, new = (
        engine.now,
        [
            *(replace(one, id="new-" + one.id, started_at="2026-11-24T04:00:00Z") for one in engine.now[:2]),
            engine.now[2],
        ],
    )
    steps = [
        (old, (0, 2, "appwrite, appwrite-worker-certificates")),
        ([replace(new[0], status="created"), *old[1:]], (0, 2, "appwrite, appwrite-worker-certificates")),
        ([old[0], replace(new[1], health="starting"), old[2]], (0, 2, "appwrite-worker-certificates")),
        ([old[0], *new[1:]], (1, 2, "appwrite")),
    ]

    def up(_compose, _timeout, _pull, _alone=None, _scale=None):
        for containers, said in steps:
            engine.now = containers
            deadline = time.monotonic() + 30
            while told[-1:] != [("starting", *said)]:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        engine.now = [replace(new[0], health="starting"), *new[1:]]
        return ""

    def look(*_unused):
        if told[-1:] == [("started", 1, 2, "appwrite")]:
            engine.now = new
        return list(engine.now)

    monkeypatch.setattr(Compose, "up", up)
    monkeypatch.setattr(Compose, "containers", look)
    result = run_module("apply", progress_file="/nonexistent")
    assert result["recreated"] == ["appwrite", "appwrite-worker-certificates"]
    assert told[-2:] == [("started", 1, 2, "appwrite"), ("verifying", 0, 0, "appwrite")]


def test_tells_that_a_key_is_tried(run_module, engine, told, project):
    (project / ".env").write_text(
        f"_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_DB_HOST=mariadb\n{KEY}={OTHER}\n"
    )
    engine.now[0] = replace(engine.now[0], config_hash="other")
    engine.evidence, engine.opens = USERS, {OTHER: 0, SECRET: 3}
    assert run_module("apply", progress_file="/nonexistent")["failed"] and told == [("opening", 0, 0)]


def test_asks_the_engine_for_nobody(run_module, engine, monkeypatch):
    outdate(engine)
    monkeypatch.setattr(_apply, "threading", SimpleNamespace(Event=threading.Event))
    assert run_module("apply")["changed"]
