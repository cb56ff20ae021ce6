# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written is applied in the same run, and what has become of the file is said if that fails. No engine: applying is given here."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _secured
from ansible_collections.selfhost.appwrite.plugins.module_utils._apply import ApplyError
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance

FOUND = {
    "changed": True,
    "recreated": ["appwrite"],
    "started": [],
    "services": ["appwrite"],
    "drift": [],
    "warnings": ["told by apply"],
    "diff": {"before": "", "after": "", "before_header": "containers", "after_header": "containers"},
}
CHANGE = {"env": {"variables": {"_APP_ENV": "development"}}}


@pytest.fixture
def ways():
    """How it was applied."""
    return []


@pytest.fixture
def secured(run_module, without_engine, monkeypatch, ways):
    """Runs C(security) with an engine that does, or fails to do, what is asked."""

    def run(fails="", back=None, check=False, **parameters):
        order = []
        ways.clear()

        def applied(way, instance, _document):
            order.append(instance.services["appwrite"].get("_APP_ENV"))
            ways.append(way)
            if fails:
                raise fails if isinstance(fails, Exception) else ApplyError(fails, service="appwrite")
            return FOUND

        def gone_back(way, *_more):
            assert way.goes_back
            order.append("back")
            if isinstance(back, Exception):
                raise back
            return {**FOUND, "warnings": ["told on the way back"]}

        monkeypatch.setattr(Instance, "containers", lambda _self: [])
        monkeypatch.setattr(_secured, "applied", applied)
        monkeypatch.setattr(_secured, "gone_back", gone_back)
        return run_module("security", check=check, **{"apply": True, **parameters}), order

    return run


def test_what_was_written_is_applied(secured):
    result, order = secured(**CHANGE)
    assert order == ["development"]
    assert result["changed"] and result["recreated"] == ["appwrite"] and len(result["diff"]) == 2
    assert "told by apply" in result["warnings"]


def test_nothing_is_applied_unasked(secured):
    result, order = secured(**CHANGE, apply=False)
    assert result["changed"] and order == [] and "recreated" not in result


def test_check_foresees_both(secured, project):
    """What the file on disk asks for already, and what the candidate does."""
    before = (project / ".env").read_bytes()
    result, order = secured(check=True, **CHANGE)
    assert order == ["production"] and result["changed"]
    assert result["recreated"] == ["appwrite"] and "drift" not in result
    assert (project / ".env").read_bytes() == before


def test_check_that_has_nothing_to_write(secured, project):
    """What is left is what the file on disk asks for, compared with what runs."""
    before = (project / ".env").read_bytes()
    result, order = secured(check=True)
    assert order == ["production"] and result["changes"] == []
    assert (result["changed"], result["recreated"], result["drift"]) == (True, ["appwrite"], [])
    assert (project / ".env").read_bytes() == before


WAYS = {
    "put back": ({}, None, CHANGE, True, "The old .env file was put back and applied."),
    "not wanted": ({"rollback": False}, None, CHANGE, False, "The .env file was not rolled back."),
    "fails too": ({}, AppwriteError("no space"), CHANGE, False, "Going back failed too: no space"),
    "no backup": ({"backup": False}, None, CHANGE, False, "There is no earlier .env file to go back to"),
    "nothing written": ({}, None, {}, False, "This run had not changed the .env file"),
}


@pytest.mark.parametrize(("options", "back", "wish", "rolled_back", "words"), WAYS.values(), ids=WAYS)
def test_failure_says_what_became_of_the_file(secured, options, back, wish, rolled_back, words):
    result, _order = secured("the service appwrite is unhealthy.", back, **options, **wish)
    assert result["failed"] and result["msg"].startswith(f"the service appwrite is unhealthy. {words}")
    assert (result["rolled_back"], result["service"]) == (rolled_back, "appwrite")
    assert ("told on the way back" in result["warnings"]) is rolled_back


@pytest.mark.parametrize("host", ["without_docker", "without_engine"])
def test_what_cannot_be_applied_is_not_written(run_module, project, request, host):
    request.getfixturevalue(host)
    before = {path: path.read_bytes() for path in project.iterdir()}
    result = run_module("security", apply=True, **CHANGE)
    assert "docker compose is not installed" in result["msg"] or "the Docker Engine does not answer" in result["msg"]
    assert {path: path.read_bytes() for path in project.iterdir()} == before


def test_what_would_be_refused_once_it_is_written_is_not_written(secured, project, monkeypatch):
    """Such as another name for the project, of which the containers know nothing."""
    before = (project / ".env").read_bytes()

    def refused(instance, *_more):
        if "other" in instance.values.get("COMPOSE_PROJECT_NAME", ""):
            raise AppwriteError("project_name: a second Appwrite would be started")

    monkeypatch.setattr(Instance, "_look_for_volumes", refused)
    result, order = secured(env={"variables": {"COMPOSE_PROJECT_NAME": "other"}})
    assert result["msg"].startswith("project_name: ") and order == []
    assert (project / ".env").read_bytes() == before


def test_failure_that_nobody_foresaw(secured):
    """It is put back as after any other, and the failure's own text, which could hold a secret, is not told."""
    result, order = secured(ValueError("not-a-real-secret"), **CHANGE)
    assert result["msg"].startswith("internal error (ValueError at ") and "was put back" in result["msg"]
    assert "not-a-real-secret" not in result["msg"] and order == ["development", "back"]


@pytest.mark.parametrize(("force", "regardless"), [("true", True), ("auto", False), ("false", False)])
def test_https_that_is_forced_regardless(secured, ways, force, regardless):
    secured(https={"force": force})
    assert [way.regardless for way in ways] == [regardless]


def test_no_time_to_wait(secured, project):
    before = (project / ".env").read_bytes()
    result, order = secured(timeout=0, **CHANGE)
    assert result["msg"] == "timeout: must be at least 1 second, got 0" and order == []
    assert (project / ".env").read_bytes() == before
