# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role: used in a playbook of one's own, with a template, and going back where it fails."""

from __future__ import annotations

import json

import pytest
from support.stack import HTTPS, KEY, ROOT_ONLY, playbook, read_env, small, succeed, tree

WRITE = "Secure the .env"
WORKER = "appwrite-worker-mails"

OWN_PLAYBOOK = """\
- hosts: all
  gather_facts: false
  module_defaults:
    group/selfhost.appwrite.appwrite:
      files: [stack.yml]
      appwrite_version: 1.6.2
  roles:
    - role: selfhost.appwrite.appwrite_security
"""
SINGLE_MODULE = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Limit sign-up
      selfhost.appwrite.console_access:
        project_src: "{{ appwrite_security_project_src }}"
        root_only: false
"""
ALL_ROLES = """\
- hosts: all
  gather_facts: false
  roles:
    - role: selfhost.appwrite.appwrite_security
    - role: selfhost.appwrite.appwrite_audit
"""
PLAIN_PLAYBOOK = """\
- hosts: all
  gather_facts: false
  roles:
    - role: selfhost.appwrite.appwrite_security
"""
WAIVERS = "- {control: containers.come_back, hosts: one, justification: Replaced in spring, expires: 2999-03-31}\n"
TEMPLATE = """\
# rendered for {{ inventory_hostname }}
_APP_ENV=production
_APP_DOMAIN={{ domain }}
_APP_OPENSSL_KEY_V1=your-secret-key
_APP_DB_HOST=mariadb
_APP_DB_PORT=3306
_APP_DB_SCHEMA=appwrite
_APP_DB_USER=user
_APP_REDIS_HOST=redis
_APP_REDIS_PORT=6379
"""


@pytest.mark.parametrize(
    ("play", "more"),
    [
        (OWN_PLAYBOOK, {}),
        pytest.param(
            PLAIN_PLAYBOOK,
            {"appwrite_project_files": ["stack.yml"], "appwrite_project_version": "1.6.2"},
            marks=pytest.mark.nightly("test_role_settings.py"),
        ),
    ],
    ids=["module_defaults", "variables"],
)
def test_how_the_project_is_started(directory, play, more):
    """The group of all modules takes the options that say so, and so do the variables that all roles share."""
    text = (
        (directory / "docker-compose.yml")
        .read_text()
        .replace("_APP_OPTIONS_ROUTER_FORCE_HTTPS", "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS")
    )
    (directory / "docker-compose.yml").unlink()
    (directory / "stack.yml").write_text(text)
    variables = {"appwrite_security_project_src": str(directory), "appwrite_security_apply": False, **more}
    played = playbook(play, variables)
    assert played.rc == 0, played.output
    written = {change["name"] for change in played.result(WRITE)["changes"]}
    assert "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS" in written, "the variable of the release that was stated"
    assert playbook(play, variables).recap["changed"] == 0


def test_single_module(directory):
    variables = {"appwrite_security_project_src": str(directory)}
    assert [playbook(SINGLE_MODULE, variables).recap["changed"] for _run in range(2)] == [1, 0]
    assert read_env(directory)[ROOT_ONLY] == "disabled"


def test_variables_that_are_none_of_the_roles(directory):
    """All that is wrong is said at once, before the host is asked anything; the same name on another host does not matter."""
    files = tree(directory)
    mistaken = {"appwrite_security_force_http": False, "appwrite_rotation_scpoe": "tokens"}
    play = playbook("selfhost.appwrite.secure", mistaken)
    assert play.rc == 2 and WRITE not in play.output
    said = play.result("Check the variables")["msg"]
    for words in (
        "appwrite_rotation_scpoe: no role of this collection has this variable; is appwrite_rotation_scope meant?",
        "appwrite_security_force_http: no role of this collection has this variable; is appwrite_security_force_https meant?",
        "appwrite_security_project_src: is missing",
    ):
        assert words in said
    inventory = directory.parent / "hosts.json"
    hosts = {"one": {"ansible_connection": "local"}, "other": mistaken}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    given = {"appwrite_project_src": str(directory), "appwrite_security_apply": False}
    play = playbook("selfhost.appwrite.secure", given, "--inventory", str(inventory), "--limit", "one", "--check")
    assert play.rc == 0, play.output
    assert tree(directory) == files


def test_one_project_for_all_roles(directory):
    """Whatever a file is for, it is found beside the playbook and beside the inventory."""
    place = directory.parent / "site"
    for folder in ("play/templates", "inventory"):
        (place / folder).mkdir(parents=True)
    (place / "play" / "templates" / "env.j2").write_text(TEMPLATE)
    (place / "inventory" / "waivers.yml").write_text(WAIVERS)
    (place / "inventory" / "hosts.json").write_text(
        json.dumps({"all": {"hosts": {"one": {"ansible_connection": "local"}}}})
    )
    (place / "play" / "site.yml").write_text(ALL_ROLES)
    variables = {
        "appwrite_project_src": str(directory),
        "appwrite_security_apply": False,
        "appwrite_security_env_template": "env.j2",
        "appwrite_audit_waivers_file": "waivers.yml",
        "appwrite_audit_third_parties": [],
        "appwrite_audit_fail_on": "never",
        "domain": "appwrite.example.com",
    }
    hosts = str(place / "inventory" / "hosts.json")
    play = playbook(place / "play" / "site.yml", variables, "--inventory", hosts, "--limit", "one")
    assert play.rc == 0, play.output
    assert read_env(directory)["_APP_DOMAIN"] == "appwrite.example.com"
    report = (place / "inventory" / "appwrite-audit" / "report.md").read_text()
    assert "Replaced in spring" in report


@small("role")
@pytest.mark.nightly("test_transaction.py, test_four_steps.py, test_rollback")
def test_template(stack, tmp_path):
    """A placeholder in the template neither replaces the real key nor the passwords of a database that holds data."""
    assert stack.secure().rc == 0
    stack.project.sign_up("ada@example.com")
    before = stack.env()
    template = tmp_path / "env.j2"
    template.write_text(TEMPLATE + "".join(f'{name}="{before[name]}"\n' for name in ("_APP_IMAGE", "_APP_VERSION")))
    variables = {
        "appwrite_security_project_src": str(stack.directory),
        "appwrite_security_env_template": str(template),
        "domain": "appwrite.example.com",
    }
    play = playbook("selfhost.appwrite.secure", variables, "--diff")
    assert play.rc == 0, play.output
    after = stack.env()
    assert after["_APP_DOMAIN"] == "appwrite.example.com"
    for name in (KEY, "_APP_DB_PASS", "_APP_DB_ROOT_PASS"):
        assert after[name] == before[name]
    assert after[HTTPS] == after[ROOT_ONLY] == "enabled"
    assert (stack.directory / ".env").read_text().startswith("# rendered for localhost\n")
    assert "_APP_SMTP_HOST" not in after
    assert playbook("selfhost.appwrite.secure", variables).recap["changed"] == 0


def _dislikes_https(stack) -> None:
    """From now on the service appwrite is only healthy as long as HTTPS is not forced."""
    stack.override(
        "appwrite",
        healthcheck={
            "test": ["CMD-SHELL", f'[ "$${HTTPS}" != enabled ]'],
            "interval": "1s",
            "timeout": "2s",
            "retries": 1,
            "start_period": "0s",
        },
    )
    succeed("apply", stack.arguments)


@small("role")
def test_rollback(stack):
    """The old file is back byte for byte, the old values run, and the play fails with the reason."""
    succeed("encryption_key", stack.arguments)
    _dislikes_https(stack)
    old = (stack.directory / ".env").read_bytes()
    play = stack.secure("--diff")
    assert play.rc == 2
    assert (stack.directory / ".env").read_bytes() == old
    reason = play.result(WRITE)["msg"]
    assert "the service appwrite is unhealthy" in reason and "was put back and applied" in reason
    assert stack.project.container_env("appwrite")[HTTPS] != "enabled"
    assert set(stack.project.ps().values()) <= {"running", "healthy"}
    assert succeed("apply", stack.arguments)["changed"] is False


@small("role")
@pytest.mark.nightly("test_secured.py, test_rollback")
def test_rollback_keeps_a_key_that_ran(stack):
    """Containers ran with the new key, and data may be sealed with it."""
    _dislikes_https(stack)
    old = stack.env()
    play = stack.secure()
    assert play.rc == 2, play.output
    new = stack.env()
    assert new[KEY] != old[KEY] and {**new, KEY: ""} == {**old, KEY: ""}
    assert stack.project.container_env("appwrite")[KEY] == new[KEY]


@small("role")
@pytest.mark.nightly("test_secured.py")
def test_rollback_that_fails_too(stack):
    stack.project.fail(WORKER, "Fatal error: no way\n")
    play = stack.secure()
    assert play.rc == 2
    reason = play.result(WRITE)["msg"]
    assert WORKER in reason and "Fatal error: no way" in reason and "could not be applied" in reason


@small("role")
@pytest.mark.nightly("test_secured.py")
def test_no_rollback(stack):
    stack.project.fail(WORKER)
    play = stack.secure(rollback=False)
    assert play.rc == 2 and "was not rolled back" in play.result(WRITE)["msg"]
    assert stack.env()[HTTPS] == "enabled"


@small("role")
@pytest.mark.nightly("test_secured.py")
def test_failure_without_change_of_the_file(stack):
    """There is nothing to roll back where the file was as wished before."""
    assert stack.secure(apply=False).rc == 0
    files = tree(stack.directory)
    stack.project.fail(WORKER)
    play = stack.secure()
    assert play.rc == 2 and WORKER in play.result(WRITE)["msg"]
    assert set(tree(stack.directory)) - {f".testbed/{WORKER}/fail"} == set(files)


@small("role")
def test_refusal_touches_nothing(stack):
    """A refusal is an ordinary failure: nothing is rolled back, no container is touched."""
    files, ids = tree(stack.directory), stack.ids()
    play = stack.secure(console_ips=["10.0.0.0/8"])
    assert play.rc == 2 and play.recap["rescued"] == 0 and "CIDR" in play.output
    assert (tree(stack.directory), stack.ids()) == (files, ids)
