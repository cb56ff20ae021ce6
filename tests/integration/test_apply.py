# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying: what is refused, what is waited for, what is told of a service that does not come up."""

from __future__ import annotations

import re

import pytest
from support.stack import HTTPS, KEY, NOT_A_KEY, before_docker, playbook, refuse, set_env, small, succeed, tree, until
from testbed._base import clean_environ, run

WORKER = "appwrite-worker-mails"
QUICK = {"interval": "1s", "timeout": "2s", "retries": 1, "start_period": "0s"}
APPLY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Apply
      selfhost.appwrite.apply:
        project_src: "{{ project_src }}"
        progress: true
"""


@small("apply")
def test_changed_key_is_refused(stack):
    """A key that was edited by hand is not put on data that is sealed with the one that runs."""
    succeed("encryption_key", stack.arguments)
    succeed("apply", stack.arguments)
    stack.project.sign_up("ada@example.com")
    key, ids = stack.env()[KEY], stack.ids()
    for edited in (NOT_A_KEY, ""):
        set_env(stack.directory, **{KEY: edited})
        for check in (True, False):
            message = refuse("apply", stack.arguments, check=check, secrets=[key, NOT_A_KEY])
            assert (
                KEY in message
                and "a console account exists" in message
                and "selfhost.appwrite.encryption_key" in message
            )
    assert stack.ids() == ids

    set_env(stack.directory, **{KEY: key[:16] + "0" * 48})
    assert "appwrite" in succeed("apply", stack.arguments, secrets=[key])["recreated"], (
        "AES takes the first 16 bytes alone"
    )


@small("apply")
def test_unchanged_run_asks_each_question_once(stack, tmp_path):
    """Six processes; a list of containers comes first, and the rest is asked side by side."""
    wish = {
        **stack.arguments,
        **{"apply": True, "encryption_key": {}, "https": {}, "console_access": {}},
        "env": {"replace_default_secrets": True},
    }
    succeed("security", wish)
    calls = tmp_path / "calls"
    environ = before_docker(tmp_path, f'echo "$*" >>"{calls}"')
    assert succeed("security", wish, environ=environ)["changed"] is False
    asked = calls.read_text().splitlines()
    questions = [
        "ps ",
        "config --format json",
        "config --hash",
        "^inspect --type container",
        "^image inspect",
        "exec -i .* vars$",
    ]
    assert re.match(questions[0], asked[0]) and len(asked) == 6
    assert all(sum(bool(re.search(question, call)) for call in asked) == 1 for question in questions), asked


@small("apply")
def test_stopped_service_is_started(stack):
    stack.project.compose("stop", WORKER)
    stack.project.compose("rm", "--force", "appwrite-worker-certificates", "--stop")
    for check in (True, False):
        result = succeed("apply", stack.arguments, check=check)
        assert (result["recreated"], result["started"]) == ([], ["appwrite-worker-certificates", WORKER])
    assert stack.project.ps()[WORKER] == "running"


@small("apply")
def test_service_that_exits(stack):
    stack.project.fail(WORKER, "first line\nFatal error: the program cannot start\n")
    succeed("env", {**stack.arguments, "variables": {"_APP_SMTP_HOST": "mail.example.com"}})
    message = refuse("apply", stack.arguments)
    assert WORKER in message and "Fatal error: the program cannot start" in message and "first line" in message


@small("apply")
@pytest.mark.nightly("test_drift.py")
def test_bystander(stack):
    """A service that failed before is named, and fails nothing; nor is what the engine does with it a change."""
    image = stack.project.config()["services"]["redis"]["image"]
    stack.override(
        "bystander", image=image, command=["sh", "-c", "exit 3"], restart="always", environment=["_APP_SMTP_HOST"]
    )
    stack.project.compose("up", "--detach", "bystander")
    try:
        until(lambda: int(run("docker", "inspect", "--format", "{{.RestartCount}}", stack.ids()["bystander"])) >= 3)
        assert succeed("apply", stack.arguments)["changed"] is False
        succeed("env", {**stack.arguments, "variables": {"_APP_SMTP_HOST": "mail.example.com"}})
        predicted, done = succeed("apply", stack.arguments, check=True), succeed("apply", stack.arguments)
        assert done["recreated"] == predicted["recreated"] and "bystander" in done["recreated"]
        assert any(
            one.startswith("the service bystander failed before this run, and does so after it")
            for one in done["warnings"]
        )
    finally:  # which nothing else would remove with the next test's compose files
        stack.project.compose("rm", "--stop", "--force", "bystander")


@small("apply")
def test_service_that_is_unhealthy(stack):
    stack.override("appwrite", healthcheck={"test": ["CMD", "curl", "-fsS", "http://localhost/"], **QUICK})
    stack.project.unhealthy("appwrite")
    message = refuse("apply", stack.arguments)
    assert "the service appwrite is unhealthy" in message


@small("apply")
def test_database_that_is_unhealthy(stack):
    """compose itself waits for it, and names a container in prose only."""
    stack.override("mariadb", healthcheck={"test": ["CMD", "healthcheck.sh"], **QUICK})
    stack.project.unhealthy("mariadb")
    assert "the service mariadb is unhealthy" in refuse("apply", stack.arguments)


@small("apply")
def test_timeout(stack):
    stack.override(WORKER, healthcheck={"test": ["CMD", "false"], "interval": "1s", "retries": 1000})
    message = refuse("apply", {**stack.arguments, "timeout": 5})
    assert WORKER in message and "5 seconds" in message


@small("apply")
@pytest.mark.nightly("test_rotate, test_watched.py")
def test_progress(stack):
    """A play says which service it waits for, and ends with all that the module says. The health check's first answer takes its interval."""
    stack.override(WORKER, healthcheck={"test": ["CMD", "true"], "interval": "8s"})
    stack.project.compose("rm", "--stop", "--force", WORKER)
    played = playbook(APPLY, stack.arguments)
    assert f"\nlocalhost: started 0 of 1, waiting for {WORKER}\n" in played.output, played.output
    assert (played.rc, played.results["Apply"]["recreated"], played.results["Apply"]["started"]) == (0, [], [WORKER])

    stack.override("mariadb", healthcheck={"test": ["CMD", "healthcheck.sh"], "interval": "8s"})
    played = playbook(APPLY, stack.arguments)
    assert played.rc == 0 and re.search(
        r"^localhost: starting \d of \d, waiting for mariadb$", played.output, re.MULTILINE
    ), "compose itself waits for it"


@small("apply")
def test_literal_in_the_compose_file(stack):
    stack.override("appwrite", environment=["_APP_ENV=development"])
    result = succeed("apply", stack.arguments)
    assert {"service": "appwrite", "name": "_APP_ENV", "kind": "overridden"} in result["drift"]
    message = refuse("env", {**stack.arguments, "variables": {"_APP_ENV": "production"}})
    assert "_APP_ENV of appwrite is written in the compose file itself" in message


@small("apply")
def test_container_that_differs(stack):
    """Containers that another run made from other values are stale, and are told of before they are replaced."""
    succeed("https", stack.arguments)
    drift = succeed("instance_info", stack.arguments)["drift"]
    assert {"service": "appwrite", "name": HTTPS, "kind": "stale"} in drift


@small("apply")
def test_pull(stack):
    files, ids = tree(stack.directory), stack.ids()
    assert succeed("apply", {**stack.arguments, "pull": "never"})["changed"] is False
    message = refuse("apply", {**stack.arguments, "pull": "always", "timeout": 60})
    assert "docker compose up" in message
    assert (tree(stack.directory), stack.ids()) == (files, ids)


@small("apply")
def test_variables_of_the_shell(stack):
    environ = {**clean_environ(), "_APP_DOMAIN": "leftover.example.com", "COMPOSE_PROJECT_NAME": "leftover"}
    assert succeed("apply", stack.arguments, environ=environ)["changed"] is False
    del environ["COMPOSE_PROJECT_NAME"]
    raw = {**stack.arguments, "clean_environment": False}
    assert "appwrite" in succeed("apply", raw, check=True, environ=environ)["recreated"]
    assert "_APP_DOMAIN would not reach" in refuse(
        "env", {**raw, "variables": {"_APP_DOMAIN": "appwrite.example.com"}}, environ=environ
    )


@small("apply")
def test_verify(stack):
    """`vars` of a container that answers otherwise than it was made."""
    stack.override("appwrite", volumes=["./vars:/usr/local/bin/vars:ro"])
    (stack.directory / "vars").write_text('#!/bin/sh\necho "- _APP_ENV=other"\n')
    (stack.directory / "vars").chmod(0o755)
    message = refuse("apply", stack.arguments)
    assert "exec appwrite vars does not agree" in message and "_APP_ENV" in message
    assert succeed("apply", {**stack.arguments, "verify": False})["changed"] is False


@small("apply")
@pytest.mark.nightly("test_drift.py")
def test_image_that_moved(stack):
    """A name that means another image by now is predicted as compose does it."""
    name = "testbed.invalid/moved:1"
    run("docker", "tag", stack.project.config()["services"][WORKER]["image"], name)
    stack.override(WORKER, image=name)
    try:
        succeed("apply", stack.arguments)
        run("docker", "commit", "--change", "LABEL moved=1", stack.ids()[WORKER], name)
        predicted = succeed("apply", stack.arguments, check=True)
        assert predicted["recreated"] == succeed("apply", stack.arguments)["recreated"] == [WORKER]
    finally:
        stack.project.compose("rm", "--stop", "--force", WORKER)
        run("docker", "image", "rm", "--force", name)


def test_nothing_runs_yet(directory):
    result = succeed("apply", {"project_src": str(directory)}, check=True)
    assert (result["changed"], result["recreated"], result["started"]) == (True, [], result["services"])


def test_passed_to_no_service(directory):
    message = refuse("env", {"project_src": str(directory), "variables": {"_APP_INTERVAL_DOMAIN_VERIFICATION": "120"}})
    assert "_APP_INTERVAL_DOMAIN_VERIFICATION would reach no service: this project has none" in message
