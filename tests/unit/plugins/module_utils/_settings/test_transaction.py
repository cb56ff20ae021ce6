# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A writing module reads once, plans everything, and replaces the file once or not at all; and says so without a secret."""

from __future__ import annotations

import ast
import fcntl
import grp
import importlib
import json
import os
import pwd
import re
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from ansible_collections.selfhost.appwrite.plugins.module_utils import _instance_info as _report
from ansible_collections.selfhost.appwrite.plugins.module_utils._apply import APPLY_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.examine import AUDIT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import ESCROW_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.rekey import REKEY_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._secured import (
    NESTED_OPTIONS,
    SECURED_OPTIONS,
    SETTINGS,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import transaction as _transaction

ROOT = next(parent for parent in Path(__file__).parents if (parent / "galaxy.yml").exists())
KEY = catalogue.KEY
PUBLIC = "your-secret-key"
SECRET = "not-a-real-secret-0123456789abcdef"
FINE = "_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_EMAIL_CERTIFICATES=ops@example.com\n"


def listing(project):
    return {entry.name: (entry.read_bytes(), stat.S_IMODE(entry.stat().st_mode)) for entry in project.iterdir()}


@pytest.fixture
def refused(run_module, project):
    """The message of a run that fails; nothing on disk may have moved, in check mode or out of it."""

    def run(name, **parameters):
        before = listing(project) if project.is_dir() else None
        first, second = (run_module(name, check=check, **parameters) for check in (True, False))
        assert first["failed"] and second["failed"] and first["msg"] == second["msg"]
        assert (listing(project) if project.is_dir() else None) == before
        assert "Traceback" not in json.dumps(second) and "internal error" not in second["msg"]
        return second["msg"]

    return run


# --- the four steps of every writing module ---

STEPS = {
    "encryption_key": {},
    "encryption_key with a key": {"key": SECRET},
    "https": {"certificate_email": "ops@example.com"},
    "console_access": {"root_only": False, "emails": ["b@example.com", "A@example.com"], "ips": []},
    "env": {"variables": {"_APP_SMTP_PASSWORD": SECRET, "_APP_ENV": None}},
    "env with a template": {"content": FINE},
    "security": {
        "encryption_key": {},
        "https": {},
        "console_access": {"root_only": True},
        "env": {"variables": {"_APP_LOCALE": "de"}},
    },
}


@pytest.mark.parametrize("case", STEPS)
def test_four_steps(run_module, project, without_docker, case):
    name, parameters, path = case.split()[0], STEPS[case], project / ".env"
    before = listing(project)
    predicted = run_module(name, check=True, **parameters)
    assert predicted["changed"] and listing(project) == before and predicted["backup_file"] is None
    changed = run_module(name, **parameters)
    after = path.read_bytes()
    assert changed["changed"] and after != before[".env"][0]
    if "encryption_key" not in case and case != "security":
        assert (changed["changes"], changed["diff"]) == (predicted["changes"], predicted["diff"])
    with open(changed["backup_file"], "rb") as stream:
        assert stream.read() == before[".env"][0]
    assert changed["env_file"] == str(path)
    for check in (True, False):
        again = run_module(name, check=check, **parameters)
        assert (again["changed"], again["changes"], again["backup_file"], again["diff"]["before"]) == (
            False,
            [],
            None,
            again["diff"]["after"],
        )
        assert path.read_bytes() == after
    assert len(list(project.iterdir())) == 3
    assert SECRET not in json.dumps([predicted, changed, again])
    assert (SECRET.encode() in after) == (SECRET in json.dumps(parameters))


def test_only_the_assignments_that_change_are_touched(run_module, project, without_docker):
    text = b"\xef\xbb\xbf# ours \r\n\r\nexport _APP_ENV = 'development' \r\n  _APP_DOMAIN: a.example.com # note\r\n_APP_LOCALE=en"
    (project / ".env").write_bytes(text)
    run_module("env", variables={"_APP_LOCALE": "de"}, backup=False)
    assert (project / ".env").read_bytes() == text[:-2] + b"de"
    assert sorted(os.listdir(project)) == [".env", "docker-compose.yml"]


def test_generated_key_is_in_force_and_not_shown(run_module, project, without_docker):
    result = run_module("encryption_key")
    made = re.search(rf"^{KEY}=([A-Za-z0-9]{{64}})$", (project / ".env").read_text(), re.MULTILINE).group(1)
    assert made not in json.dumps(result) and result["key"]["state"] == "generated"
    assert result["key"]["fingerprint"] in result["diff"]["after"]


def test_a_new_file_from_a_template(run_module, project, without_docker):
    (project / ".env").unlink()
    result = run_module("security", encryption_key={}, https={}, env={"content": FINE})
    assert result["changed"] and result["backup_file"] is None and result["key"]["state"] == "generated"
    assert listing(project)[".env"][1] == 0o600 and b"_APP_OPTIONS_FORCE_HTTPS=enabled" in listing(project)[".env"][0]


@pytest.mark.parametrize("line", ["", f"{KEY}=\n", f"{KEY}={PUBLIC}\n"], ids=["no line", "empty", "placeholder"])
def test_a_template_and_a_fresh_installation(run_module, project, without_docker, line):
    """The command-line installer has left the public key, and the template, as templates should, has no key at all."""
    (project / ".env").write_text(FINE + f"{KEY}={PUBLIC}\n")
    result = run_module("security", encryption_key={}, env={"content": FINE + line})
    assert result.get("msg") is None
    assert (
        result["key"]["state"] in ("generated", "placeholder_replaced") and PUBLIC not in (project / ".env").read_text()
    )
    after = (project / ".env").read_bytes()
    again = run_module("security", encryption_key={}, env={"content": FINE + line})
    assert (again.get("msg"), again["changed"]) == (None, False) and (project / ".env").read_bytes() == after


def test_a_template_and_a_key_that_is_there(run_module, project, without_docker):
    (project / ".env").write_text(FINE + f"{KEY}={SECRET}\n")
    result = run_module("security", encryption_key={}, https={}, env={"content": FINE})
    assert result["key"]["state"] == "kept" and f"{KEY}={SECRET}\n" in (project / ".env").read_text()


def test_the_lock_is_held_while_the_file_is_replaced(run_module, project, without_docker, monkeypatch):
    seen = []
    replace = _transaction.EnvFile.replace
    monkeypatch.setattr(
        _transaction.EnvFile, "replace", lambda self, *rest: seen.append(_locked(project)) or replace(self, *rest)
    )
    run_module("encryption_key")
    assert seen == [True] and not _locked(project)


def _locked(directory):
    try:
        handle = os.open(directory / ".selfhost-appwrite-lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


# --- refusals ---


@pytest.mark.parametrize(
    ("name", "parameters", "part"),
    [
        ("encryption_key", {"length": 31}, "length: "),
        ("encryption_key", {"key": "short"}, "key: "),
        ("https", {"certificate_email": "nobody"}, "certificate_email: "),
        ("console_access", {"ips": ["10.0.0.0/8"]}, "ips: "),
        ("env", {"variables": {"_APP_DOMAINS": "x"}}, "variables: _APP_DOMAINS"),
        ("env", {"variables": {"_APP_ENV": "a\0b"}, "unknown": "allow"}, "_APP_ENV"),
        ("env", {"variables": {"A B": "x"}, "unknown": "allow"}, "'A B'"),
        ("env", {"content": "A='\n", "unknown": "allow"}, "content: "),
        ("security", {"https": {}, "env": {"variables": {"_APP_OPTIONS_FORCE_HTTPS": "disabled"}}}, "set twice"),
        ("security", {"https": {}, "console_access": {"emails": ["nobody"]}}, "emails: "),
        ("security", {"env": {"variables": {KEY: SECRET}}}, KEY),
        ("https", {"appwrite_version": "latest"}, "appwrite_version: "),
        ("https", {"env_file": "/nonexistent/.env"}, "env_file: "),
        ("https", {"env_file": "other.env"}, "env_file: "),
        ("https", {"files": ["other.yml"]}, "files: "),
        ("https", {"project_src": "/nonexistent"}, "project_src: "),
        ("apply", {}, "docker compose is not installed"),
        ("apply", {"rollback_file": "/nonexistent/.env"}, "docker compose is not installed"),
    ],
)
def test_bad_input(refused, without_docker, name, parameters, part):
    message = refused(name, **parameters)
    assert part in message and SECRET not in message


@pytest.mark.parametrize("name", ["encryption_key", "https", "console_access", "env", "security", "apply"])
def test_no_env_file(refused, project, without_docker, name):
    (project / ".env").unlink()
    assert re.match("env_file: .* does not exist. Run Appwrite's installer first", refused(name))


@pytest.mark.parametrize("name", ["encryption_key", "security", "apply", "instance_info"])
def test_not_a_compose_project(refused, project, without_docker, name):
    (project / "docker-compose.yml").unlink()
    assert refused(name).startswith("project_src: ")
    (project / ".env").unlink()
    if name != "instance_info":
        assert refused(name).startswith("project_src: ")


@pytest.mark.parametrize("name", ["encryption_key", "security", "apply", "instance_info"])
def test_env_file_that_compose_rejects(refused, project, without_docker, name):
    (project / ".env").write_text(f"_APP_ENV=production\n{KEY}='{SECRET}\n")
    message = refused(name)
    assert message.startswith("env_file: compose rejects") and "line 2" in message and SECRET not in message


def test_hard_link_is_refused_in_check_mode_too(refused, project, without_docker):
    """Check mode says what a run would do."""
    os.link(project / ".env", project / "other")
    assert "hard links" in refused("encryption_key")


# --- what is shown ---


def test_no_fingerprint_is_made_that_nobody_compares(run_module, project, without_docker, monkeypatch):
    """Each takes its time, and there may be hundreds of variables."""
    made = []
    monkeypatch.setattr(_key, "fingerprint", lambda value: made.append(value) or "0" * 16)
    own = {f"OURS_{letter}": f"{SECRET}{letter}" for letter in "ABCDEFGH"}
    (project / ".env").write_text(
        "".join(
            f"{name}={value}\n" for name, value in {**own, KEY: SECRET, "_APP_SMTP_PASSWORD": "notarealword"}.items()
        )
    )
    result = run_module("instance_info")
    assert set(made) == {SECRET}, "the weak password has none"
    assert all(result["variables"][name].startswith("(secret, about ") for name in own)
    assert result["variables"]["_APP_SMTP_PASSWORD"].startswith("(secret, a weak one, of about ")
    made.clear()
    result = run_module("env", unknown="allow", variables={**own, "OURS_A": SECRET + "x"})
    assert set(made) == {own["OURS_A"], SECRET + "x"}, "the one that changes is told from what it was"
    assert SECRET not in json.dumps(result)


def test_weak_keys_of_containers_are_told_by_their_strength():
    instance = SimpleNamespace(
        container_keys=lambda: {"notarealkey": ("b", "d"), "notanotherk": ("a",), SECRET: ("c",), "": ("e",)}
    )
    assert _report._container_keys(instance) == {
        "a weak one, of about 51 bits": ["a", "b", "d"],
        _key.fingerprint(SECRET): ["c"],
    }


def test_what_is_masked():
    """Not the settings of compose: a project's name, masked, would make every message unreadable."""
    values = {
        KEY: SECRET,
        "_APP_DB_PASS": "password",
        "_APP_ENV": "production",
        "COMPOSE_PROJECT_NAME": "appwrite",
        "COMPOSE_FILE": "docker-compose.yml",
    }
    assert catalogue.secrets_of(values) == [SECRET]


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True)])
def test_mode_is_warned_of(run_module, project, without_docker, mode, warned):
    (project / ".env").chmod(mode)
    result = run_module("console_access", root_only=True)
    assert any("%04o" % mode in warning for warning in result["warnings"]) == warned


def test_mode_alone_is_a_change(run_module, project, without_docker):
    (project / ".env").chmod(0o644)
    before = (project / ".env").read_bytes()
    assert run_module("env", check=True, mode="0600")["changed"] and listing(project)[".env"][1] == 0o644
    result = run_module("env", mode="0600")
    assert (
        result["changed"]
        and result["changes"] == []
        and listing(project) == {**listing(project), ".env": (before, 0o600)}
    )
    assert not run_module("env", mode="0600")["changed"]


@pytest.mark.parametrize(
    ("mode", "members", "private"),
    [
        (0o644, [], 0o600),
        (0o664, [], 0o600),
        (0o644, ["somebody"], 0o640),
        (0o664, ["somebody"], 0o640),
        (0o604, ["somebody"], 0o600),
        (0o600, ["somebody"], 0o600),
        (0o400, [], 0o400),
    ],
)
def test_private_mode(run_module, project, without_docker, monkeypatch, mode, members, private):
    """A group that somebody else is in keeps its right, since somebody gave it that."""
    (project / ".env").chmod(mode)
    monkeypatch.setattr(grp, "getgrgid", lambda _group: SimpleNamespace(gr_mem=members))
    monkeypatch.setattr(pwd, "getpwall", lambda: [])
    assert run_module("env", check=True, mode="private")["changed"] == (mode != private)
    assert run_module("env", mode="private")["changed"] == (mode != private)
    assert listing(project)[".env"][1] == private
    assert not run_module("env", mode="private")["changed"]


@pytest.mark.parametrize("mode", [600, 416, "u=rw", "0888", "", True, "07777"])
def test_mode_that_is_none(refused, without_docker, mode):
    assert refused("env", mode=mode).startswith("mode: ")


def test_older_copies_of_a_secret_are_warned_of(run_module, project, without_docker):
    (project / ".env").write_text(FINE + f"# {KEY}=not-a-real-old-key\n")
    (warning,) = [warning for warning in run_module("encryption_key")["warnings"] if "older copy" in warning]
    assert KEY in warning and "not-a-real" not in warning


# --- with compose, but no engine ---


def test_recreates(run_module, project, without_engine):
    (project / ".env").write_text(
        FINE + f"{KEY}={SECRET}\n_APP_OPTIONS_FORCE_HTTPS=disabled\n_APP_OPTIONS_ROUTER_FORCE_HTTPS=disabled\n"
    )
    result = run_module("https", certificate_email="other@example.com")
    assert (result.get("msg"), result.get("recreates")) == (None, ["appwrite", "appwrite-worker-certificates"])
    assert run_module("https", certificate_email="other@example.com")["recreates"] == []


def test_variables_that_have_no_line_yet(run_module, project, without_engine):
    """The compose file lists them, so that a value arrives as soon as there is one."""
    result = run_module("https")
    assert (result.get("msg"), result.get("recreates")) == (None, ["appwrite"])
    assert "_APP_OPTIONS_FORCE_HTTPS=enabled" in (project / ".env").read_text()


def test_variable_that_no_service_would_receive(refused, project, without_engine):
    message = refused("env", variables={"_APP_SMTP_HOST": "smtp.example.com"})
    assert (
        message.startswith("_APP_SMTP_HOST would reach no service")
        and "- _APP_SMTP_HOST" in message
        and "environment:" in message
    )


def test_variable_that_a_literal_beats(refused, project, without_engine):
    compose_file = project / "docker-compose.yml"
    compose_file.write_text(compose_file.read_text().replace("- _APP_ENV\n", "- _APP_ENV=development\n", 1))
    message = refused("env", variables={"_APP_ENV": "production"})
    assert message == refused("env", variables={"_APP_ENV": "production"})
    assert message.startswith("_APP_ENV of appwrite is written in the compose file itself") and "line 5" in message


def test_variable_that_the_shell_beats(refused, project, without_engine, monkeypatch):
    monkeypatch.setenv("_APP_ENV", "development")
    (project / ".env").write_text("_APP_ENV=\n")
    assert "the shell" in refused("env", variables={"_APP_ENV": "production"}, clean_environment=False)


def test_candidate_that_compose_rejects(refused, project, without_engine):
    """The port is one in our eyes, and compose has the last word."""
    compose_file = project / "docker-compose.yml"
    compose_file.write_text(compose_file.read_text() + "  proxy:\n    image: x\n    ports: ['${OUR_PORT:-80}:80']\n")
    assert "rejects the project" in refused("env", variables={"OUR_PORT": "none"}, unknown="allow")


def test_compose_file_that_compose_rejects(refused, project, without_engine):
    (project / "docker-compose.yml").write_text("services:\n  a:\n  image: x\n   b: 1\n")
    message = refused("https")
    assert "docker compose config rejects the project" in message and "line 4" in message


def test_placeholder_and_no_engine(refused, project, without_engine):
    (project / ".env").write_text(FINE + f"{KEY}={PUBLIC}\n")
    compose_file = project / "docker-compose.yml"
    compose_file.write_text(compose_file.read_text() + "  mongodb:\n    image: mongo:8\n")
    message = refused("encryption_key")
    assert "the Docker Engine does not answer" in message and "with `placeholder` set to keep" in message


def test_new_env_file_of_another_name(run_module, project, without_engine):
    """There is nothing to read yet, and compose must not be asked to read it."""
    result = run_module("env", env_file="other.env", content="_APP_ENV=production\n")
    assert (result.get("msg"), (project / "other.env").exists()) == (None, True)


def test_unchanged_run_starts_two_processes(run_module, project, without_engine, monkeypatch):
    (project / ".env").write_text(
        FINE + f"{KEY}={SECRET}\n_APP_OPTIONS_FORCE_HTTPS=enabled\n_APP_OPTIONS_ROUTER_FORCE_HTTPS=enabled\n"
    )
    started = []
    real = Compose._run
    monkeypatch.setattr(
        Compose,
        "_run",
        lambda self, *rest, **more: started.append((self.directory, rest[0])) or real(self, *rest, **more),
    )
    assert run_module("security", encryption_key={}, https={})["changed"] is False
    assert [command[1] for directory, command in started if directory == str(project)] == ["ps", "compose"]


# --- what is declared ---

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
OPTIONS = {name: setting.OPTIONS for name, setting in SETTINGS.items()}
OPTIONS.update({"security": {**NESTED_OPTIONS, **ESCROW_OPTIONS, **SECURED_OPTIONS}, "apply": APPLY_OPTIONS})
OPTIONS.update(
    {
        name: {option: details for option, details in options.items() if option not in _transaction.PROJECT_OPTIONS}
        for name, options in {"audit_info": AUDIT_OPTIONS, "rekey": REKEY_OPTIONS}.items()
    }
)


def documented(name):
    return (
        yaml.safe_load(
            importlib.import_module(f"ansible_collections.selfhost.appwrite.plugins.modules.{name}").DOCUMENTATION
        )["options"]
        or {}
    )


def same(declared, told):
    assert set(declared) == set(told)
    for name, option in declared.items():
        for field in ("type", "default", "choices", "elements", "required"):
            assert option.get(field) == told[name].get(field), f"{name}: {field}"
        if "options" in option:
            same(option["options"], told[name]["suboptions"])


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_are_documented_as_they_are_declared(name):
    same(OPTIONS[name], documented(name))


@pytest.mark.parametrize("name", SETTINGS)
def test_security_takes_the_options_of_the_single_modules(name):
    assert NESTED_OPTIONS[name]["options"] is SETTINGS[name].OPTIONS
    told = documented("security")[name]["suboptions"]
    assert {option: {**details, "description": None} for option, details in told.items()} == {
        option: {**details, "description": None} for option, details in documented(name).items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_modules_hold_no_logic(name):
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{name}.py").read_text())
    allowed = (ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.If)
    assert all(isinstance(node, allowed) for node in tree.body)
    assert [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)] == [
        "DOCUMENTATION",
        "EXAMPLES",
        "RETURN",
    ]
    if (ROOT / "plugins" / "action" / f"{name}.py").exists():
        return
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert main.name == "main" and main.end_lineno - main.lineno <= 5


def test_action_group_has_every_module():
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert sorted(groups["appwrite"]) == [
        name for name in MODULES if name not in ("audit_report", "audit_verdict", "role_settings")
    ]  # which know no project


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_role(role):
    """What may be set has a type, a default where the specification says so, a place in the defaults file and in the README."""
    directory = ROOT / "roles" / role
    specifications = yaml.safe_load((directory / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    told = {name: option for entry in specifications.values() for name, option in entry["options"].items()}
    text = (directory / "defaults" / "main.yml").read_text()
    defaults = yaml.safe_load(text)
    assert all(name.startswith(role + "_") for name in told)
    assert {name: option["default"] for name, option in told.items() if "default" in option} == defaults
    assert set(told) == set(re.findall(rf"\b{role}_\w+", text))
    tasks = "".join(path.read_text() for path in (directory / "tasks").iterdir())
    handed_out = {"appwrite_security_key_to_save"} if role == "appwrite_security" else set()
    settled = {
        f"{role}_{name}"
        for names in re.findall(r"^    names: \[(.+)\]$", tasks, re.MULTILINE)
        for name in names.split(", ")
    }
    settled |= {
        name for name in (f"{role}_project_src", f"{role}_escrow_file", "appwrite_security_cluster") if name in told
    }
    assert set(re.findall(rf"\b(?<!_){role}_\w+", tasks)) - handed_out | settled == set(told)
    readme = directory / "README.md"
    if readme.exists():
        assert set(told) | handed_out == set(re.findall(rf"`({role}_\w+)`", readme.read_text()))


def test_what_is_asked_for_goes_before_a_default(run_module, project, without_docker):
    root = "_APP_CONSOLE_WHITELIST_ROOT"
    result = run_module(
        "security", console_access={"root_only": "auto"}, env={"variables": {root: "disabled", "_APP_LOCALE": "de"}}
    )
    assert [change["after"] for change in result["changes"] if change["name"] == root] == ["disabled"]


@pytest.mark.parametrize(
    ("root_only", "value"),
    [("auto", "enabled"), ("true", "enabled"), (True, "enabled"), ("false", "disabled"), (False, "disabled")],
)
def test_words_and_booleans(run_module, project, without_docker, root_only, value):
    run_module("console_access", root_only=root_only)
    assert f"_APP_CONSOLE_WHITELIST_ROOT={value}\n" in (project / ".env").read_text()
