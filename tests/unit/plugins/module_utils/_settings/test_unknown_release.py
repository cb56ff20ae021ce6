# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that the catalogue doesn't know, which adds, drops and renames variables; compose itself resolves the project."""

from __future__ import annotations

import json

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance

IMAGE = "appwrite/appwrite:9.9.0"
KEY = "not-a-real-key-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
DROPPED = "_APP_LOCALE"
RENAMED = {
    "_APP_OPTIONS_ROUTER_FORCE_HTTPS": "_APP_OPTIONS_GATEWAY_FORCE_HTTPS",
    "_APP_CONSOLE_WHITELIST_ROOT": "_APP_CONSOLE_SIGNUP_ROOT",
    "_APP_EMAIL_CERTIFICATES": "_APP_CERTIFICATES_CONTACT",
}
ADDED = ("_APP_RING_SECRET", "_APP_RING_SIZE")
PASSED = (catalogue.KEY, "_APP_ENV", "_APP_DOMAIN", "_APP_OPTIONS_FORCE_HTTPS", *RENAMED.values(), *ADDED)
COMPOSE_FILE = (
    f"services:\n  appwrite:\n    image: {IMAGE}\n    environment:\n"
    + "".join(f"      - {name}\n" for name in PASSED)
    + "  ring:\n    image: appwrite/ring:${_APP_RING_VERSION:-1}\n    environment:\n      - RING=${_APP_RING_SIZE:-3}\n"
    + "  traefik:\n    image: traefik:3.6\n    ports: ['80:80', '443:443']\n"
    + "  postgresql:\n    image: appwrite/postgres:0.1.0\n    environment:\n      - POSTGRES_PASSWORD=${_APP_DB_PASS}\n"
)
VALUES = f"_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n{catalogue.KEY}={KEY}\n{DROPPED}=en\n"
DOCUMENTED = {**dict.fromkeys(PASSED, ""), "_APP_RING_SECRET": "ring", "_APP_HIDDEN": "on", "_APP_DOMAIN": "localhost"}
BY_ITSELF = {
    "https": {"force": "auto"},
    "console_access": {"root_only": "auto"},
    "encryption_key": {},
    "env": {"replace_default_secrets": True},
}
BY_WISH = {
    "https": {"force": "true", "certificate_email": "ops@notarealcompany.com"},
    "console_access": {"root_only": "true", "emails": ["ops@notarealcompany.com"]},
    "encryption_key": {},
}


@pytest.fixture
def secure(project, run_module, without_engine):
    """Runs, and runs again, which must change nothing; both say once which release it is taken for."""
    (project / "docker-compose.yml").write_text(COMPOSE_FILE)
    (project / ".env").write_text(VALUES)

    def run(**wishes):
        done, again = (run_module("security", **wishes) for _time in range(2))
        for result in (done, again):
            assert not result.get("failed"), result["msg"]
            assert sum("is newer than" in warning for warning in result["warnings"]) == 1
        assert (again["changed"], again["changes"]) == (False, [])
        assert KEY not in json.dumps([done, again])
        return done

    return run


@pytest.fixture
def container(monkeypatch):
    """Appwrite's container, which says of its variables what it is told to; gives how often it was asked."""

    def make(documented, image=IMAGE, status="running"):
        asked = []
        found = Container("c1", "appwrite", status, None, "", 0, 0, "", "sha256:1", {}, image)
        monkeypatch.setattr(Instance, "containers", lambda _self: [found])

        def answer(_self, identity, command, script=None):
            asked.append((identity, *command))
            return "variables: %s\n" % json.dumps(documented)

        monkeypatch.setattr(Compose, "execute", answer)
        return asked

    return make


@pytest.fixture
def never_started(monkeypatch):
    monkeypatch.setattr(Instance, "_has_storage", lambda _self, _service: False)
    monkeypatch.setattr(Instance, "neighbours", lambda _self: set())


def written(project):
    return dict(line.split("=", 1) for line in (project / ".env").read_text().splitlines() if "=" in line)


def test_nothing_is_refused(secure, project):
    done = secure(**BY_ITSELF)
    assert done["release"] == "9.9.0" and done["recreates"] == ["appwrite"]
    assert written(project)["_APP_OPTIONS_FORCE_HTTPS"] == "enabled"
    assert not RENAMED.keys() & written(project).keys()


def test_wishes_that_it_may_have_no_variable_for(secure, project):
    done = secure(**BY_WISH)
    left = {warning.split()[0] for warning in done["warnings"] if "may have dropped or renamed it" in warning}
    assert left == {*RENAMED, "_APP_CONSOLE_WHITELIST_EMAILS"}
    assert not left & written(project).keys()


def test_its_own_names(secure, project):
    variables = {"_APP_RING_SIZE": "5", "_APP_OPTIONS_GATEWAY_FORCE_HTTPS": "enabled", "_APP_RING_VERSION": "2"}
    done = secure(env={"variables": variables})
    assert done["recreates"] == ["appwrite", "ring"] and variables.items() <= written(project).items()
    assert [warning for warning in done["warnings"] if "is newer than" not in warning] == []


def test_what_it_dropped_is_not_refused(secure, project):
    done = secure(env={"variables": {DROPPED: "de"}})
    assert not done["changed"] and any(warning.startswith(DROPPED) for warning in done["warnings"])


def test_a_misspelt_name_is_refused_still(run_module, project, secure):
    said = run_module("security", env={"variables": {"_APP_RING_SICE": "5"}})["msg"]
    assert "is _APP_RING_SIZE meant?" in said and written(project)[DROPPED] == "en"


def test_a_value_of_the_wrong_kind_is_refused_still(run_module, secure):
    assert (
        "exactly enabled or disabled" in run_module("security", env={"variables": {"_APP_OPTIONS_ABUSE": "on"}})["msg"]
    )


def test_where_the_key_goes_is_not_guessed(run_module, secure, project, never_started):
    (project / "docker-compose.yml").write_text(COMPOSE_FILE.replace(catalogue.KEY, "_APP_ENCRYPTION_KEY"))
    (project / ".env").write_text(VALUES.replace(catalogue.KEY, "_APP_ENCRYPTION_KEY"))
    result = run_module("security", encryption_key={})
    assert result["failed"] and f"{catalogue.KEY} would reach no service" in result["msg"]


def test_its_own_secret(secure, project):
    (project / ".env").write_text(VALUES + "_APP_RING_SECRET=your-secret-key\n_APP_RING_SIZE=your-secret-key\n")
    done = secure(**BY_ITSELF)
    [warning] = [warning for warning in done["warnings"] if "has a public value" in warning]
    assert warning.startswith("_APP_RING_SECRET") and written(project)["_APP_RING_SECRET"] == "your-secret-key"


def test_a_whole_file(run_module, secure, project, never_started):
    (project / ".env").unlink()
    done = run_module("env", create=True)
    assert not done.get("failed"), done["msg"]
    made = written(project).keys() - {""}
    assert not made & {DROPPED, *RENAMED, *ADDED} and made >= {catalogue.KEY, "_APP_DOMAIN", "_APP_DB_PASS"}


def test_what_the_container_says(secure, project, container):
    asked = container(DOCUMENTED)
    (project / ".env").write_text(VALUES + "_APP_RING_SECRET=ring\n")
    done = secure(env={"variables": {"_APP_HIDDEN": "off", "_APP_RING_SIZE": "5"}, "replace_default_secrets": True})
    assert asked == [("c1", "php")] * 2
    assert any("passes _APP_HIDDEN to no service" in warning for warning in done["warnings"])
    assert any(warning.startswith("_APP_RING_SECRET has a public value") for warning in done["warnings"])
    assert not any("upgrade would not keep" in warning for warning in done["warnings"])


def test_what_the_container_does_not_document_is_lost_at_an_upgrade(secure, container):
    container({name: "" for name in DOCUMENTED if name != "_APP_RING_SIZE"})
    done = secure(env={"variables": {"_APP_RING_SIZE": "5"}})
    assert any("_APP_RING_SIZE (it drops what" in warning for warning in done["warnings"])


@pytest.mark.parametrize(
    "state", [{"image": "appwrite/appwrite:2.4.0"}, {"status": "exited"}, {"documented": None}, {"documented": {}}]
)
def test_a_container_that_cannot_say(secure, container, state):
    asked = container(**{"documented": {"_APP_ENV": ""}, **state})
    secure(env={"variables": {"_APP_RING_SIZE": "5"}})
    assert bool(asked) == ("documented" in state)


def test_a_release_between_two_that_are_known(run_module, project, without_engine):
    (project / "docker-compose.yml").write_text(COMPOSE_FILE.replace("9.9.0", "2.2.0"))
    (project / ".env").write_text(VALUES)
    assert not run_module("security", env={"variables": {"_APP_RING_SIZE": "5"}})["warnings"]
    assert "would reach no service" in run_module("security", **BY_WISH)["msg"]


def test_instance_info(run_module, secure):
    told = run_module("instance_info")
    assert told["release"] == "9.9.0" and not told.get("failed")
