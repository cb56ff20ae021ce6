# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set-ups as people have them: values that come from elsewhere than the line of that name in .env."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import replace

import pytest
import yaml
from integration.tls_server import serve
from support.stack import HTTPS, KEY, SMALL, Stack, module, playbook, read_env, refuse, set_env, succeed
from testbed import Project
from testbed._base import clean_environ, run

from ansible_collections.selfhost.appwrite.plugins.module_utils._project import landscape

BARE = (
    "_APP_OPENSSL_KEY_V1",
    "_APP_OPTIONS_FORCE_HTTPS",
    "_APP_OPTIONS_ROUTER_FORCE_HTTPS",
    "_APP_CONSOLE_WHITELIST_ROOT",
    "_APP_ENV",
    "_APP_DOMAIN",
    "_APP_EMAIL_CERTIFICATES",
    "_APP_DB_PASS",
)
WISHES = {
    "https": {"certificate_email": "ops@notarealcompany.com"},
    "console_access": {"root_only": True},
    "encryption_key": {},
    "env": {"replace_default_secrets": True},
}
DOMAIN = "_APP_ENV=production\n_APP_DOMAIN=aw.notarealcompany.com\n"


def written(directory, entries, env, file="docker-compose.yml"):
    """A project of Appwrite and its database that was never started, under a name of its own."""
    lines = "".join(f"      - {entry}\n" for entry in entries)
    text = (
        f"services:\n  appwrite:\n    image: appwrite/appwrite:1.9.6\n    environment:\n{lines}"
        "  mariadb:\n    image: mariadb:10.11\n    environment:\n      - MYSQL_PASSWORD=${_APP_DB_PASS}\n"
        "    volumes: ['data:/var/lib/mysql']\nvolumes:\n  data:\n"
    )
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_text(text)
    (directory / ".env").write_text(f"_APP_DB_HOST=mariadb\n{DOMAIN}{env}")
    (directory / ".env").chmod(0o600)


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / f"never-{secrets.token_hex(4)}"
    directory.mkdir()
    return directory


def secured(directory):
    """Checks, runs, and runs again, which must change nothing."""
    arguments = {"project_src": str(directory), **WISHES}
    foreseen, done = module("security", arguments, check=True), succeed("security", arguments)
    assert [each["name"] for each in foreseen["changes"]] == [each["name"] for each in done["changes"]]
    assert foreseen["recreates"] == done["recreates"]
    assert succeed("security", arguments)["changed"] is False
    return done


def test_key_that_is_absent_under_another_name(project):
    written(project, ("_APP_OPENSSL_KEY_V1=${SHOP_KEY:-your-secret-key}", *BARE[1:]), "")
    assert secured(project)["key"]["state"] == "placeholder_replaced"
    values = read_env(project)
    assert len(values["SHOP_KEY"]) == 64 and "_APP_OPENSSL_KEY_V1" not in values


def test_public_key_in_the_compose_file(project):
    written(project, ("_APP_OPENSSL_KEY_V1=your-secret-key", *BARE[1:]), "")
    message = refuse("security", {"project_src": str(project), **WISHES})
    assert f"{project / 'docker-compose.yml'}, line 5" in message
    assert "Write `- _APP_OPENSSL_KEY_V1` there instead" in message


def test_secrets_of_a_template(project):
    written(
        project,
        BARE,
        "_APP_OPENSSL_KEY_V1=change_this_to_a_long_random_secret\n_APP_DB_PASS=change_db_password\n"
        "_APP_DB_ROOT_PASS=rootsecretpassword\n_APP_SMTP_PASSWORD=password\n",
    )
    changed = {change["name"] for change in secured(project)["changes"]}
    assert changed >= {"_APP_OPENSSL_KEY_V1", "_APP_DB_PASS"}
    assert not changed & {"_APP_DB_ROOT_PASS", "_APP_SMTP_PASSWORD"}, (
        "one reaches no service, the other is not ours to choose"
    )


@pytest.mark.parametrize(
    "entry", ["  - stack/compose.yml\n", "  - path: stack/compose.yml\n    project_directory: .\n"]
)
def test_included_file(project, entry):
    written(project, BARE, "_APP_OPENSSL_KEY_V1=your-secret-key\n", "stack/compose.yml")
    (project / "docker-compose.yml").write_text("include:\n" + entry)
    assert secured(project)["key"]["state"] == "placeholder_replaced"


def _by_another_name(service):
    environment = service["environment"]
    environment[environment.index(KEY)] = KEY + "=${SHOP_KEY}"
    environment[environment.index(HTTPS)] = HTTPS + "=${FORCE_HTTPS:-disabled}"


LITERAL = f"not-a-real-key-{secrets.token_hex(16)}"


def _literally(service):
    environment = service["environment"]
    environment[environment.index(KEY)] = f"{KEY}={LITERAL}"


def _by_env_file(service):
    service["environment"] = [entry for entry in service["environment"] if "=" in entry]
    service["env_file"] = ".env"


@pytest.mark.parametrize(
    "change",
    [
        _by_another_name,
        *(pytest.param(each, marks=pytest.mark.nightly("test_origins.py")) for each in (_literally, _by_env_file)),
    ],
)
@pytest.mark.nightly("test_host.py, test_core_flow.py")
def test_life_of_a_set_up(directory, change, tmp_path):
    """Secured, applied, found unchanged, seen by the drill, and told what a rotation needs."""
    file = directory / "docker-compose.yml"
    project = yaml.safe_load(file.read_text())
    for service in project["services"].values():
        if KEY in (service.get("environment") or ()) and HTTPS in service["environment"]:
            change(service)
        elif KEY in (service.get("environment") or ()):
            service["environment"].remove(KEY)
    file.write_text(yaml.safe_dump(project, sort_keys=False))
    key = "not-a-real-key-" + secrets.token_hex(16)
    set_env(directory, **{KEY: key})
    if change is _by_another_name:
        set_env(directory, SHOP_KEY=key, **{KEY: None})
    elif change is _literally:
        set_env(directory, **{KEY: None})
    stack = Stack(SMALL, Project(directory))
    password = tmp_path / "vault-password"
    password.write_text("not a real vault password\n")
    flags = (f"--vault-password-file={password}",)
    escrow = str(tmp_path / "escrow.yml")
    try:
        first = stack.secure(*flags, escrow_file=escrow)
        assert first.rc == 0, first.output
        assert first.result("Secure the .env")["key"]["state"] == "kept"
        assert stack.secure(*flags, escrow_file=escrow).recap["changed"] == 0
        for service, options in stack.project.config()["services"].items():
            if HTTPS in (options.get("environment") or {}):
                assert stack.project.container_env(service)[HTTPS] == "enabled"
        assert (KEY in read_env(directory)) == (change is _by_env_file)
        info = succeed("instance_info", stack.arguments)
        assert (info["key"]["state"], len(info["container_keys"])) == ("present", 1)
        drill = playbook(
            "selfhost.appwrite.drill",
            {"appwrite_security_project_src": str(directory), "appwrite_security_escrow_file": escrow},
            *flags,
        )
        assert drill.rc == 0, drill.output
        if change is not _by_env_file:
            message = refuse("rekey", {**stack.arguments, "scope": "values"}, check=True)
            assert "First write the same key into .env" in message and key not in json.dumps(message)
    finally:
        stack.project.down()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may listen on port 443, where users are sent")
@pytest.mark.nightly("test_apply.py of module_utils, test_probe.py")
def test_users_who_would_be_redirected_for_ever(tmp_path):
    """What ends TLS answers until Appwrite forces HTTPS, and from then on sends everybody back to where they are: the role goes back, unless
    HTTPS is forced whatever comes of it.
    """
    host = "aw.notarealcompany.com"
    kind = replace(SMALL, services=(*SMALL.services, "traefik"))
    directory = kind.create(tmp_path, f"loop-{secrets.token_hex(4)}").directory
    stack = Stack(kind, Project(directory))
    with serve(loops=lambda: stack.project.container_env("appwrite")[HTTPS] == "enabled", https_port=443):
        file = directory / "docker-compose.yml"
        project = yaml.safe_load(file.read_text())
        traefik = project["services"]["traefik"]
        del traefik["ports"], traefik["networks"]
        traefik["network_mode"] = "host"
        file.write_text(yaml.safe_dump(project, sort_keys=False))
        set_env(directory, **{HTTPS: "disabled", "_APP_DOMAIN": host, KEY: f"not-a-key-{secrets.token_hex(16)}"})
        try:
            stack.project.up()
            stack.project.wait()
            before = stack.env()
            play = stack.secure(escrow="off", force_https="auto")
            assert play.rc and play.recap["failed"] == 1, play.output
            for part in (f"https://{host} redirects to itself for ever", "appwrite_security_force_https"):
                assert part in play.result("Secure the .env")["msg"]
            assert stack.env() == before
            stack.assert_in_force()
            assert set(stack.project.ps().values()) <= {"running", "healthy"}
            regardless = stack.secure(escrow="off", force_https=True)
            assert regardless.rc == 0 and f"https://{host} redirects to itself for ever" in regardless.output
            assert stack.env()[HTTPS] == "enabled"
            stack.assert_in_force()
            assert stack.secure(escrow="off", force_https=False).rc == 0
        finally:
            stack.project.down()


def test_started_with_other_files(directory):
    """As the containers' labels say: further compose files, another .env, and a name of its own, none of which compose would take by itself."""
    name = f"{directory.name}-shop"
    (directory / ".env").rename(directory / "prod.env")
    (directory / "prod.yml").write_text("services:\n  redis:\n    labels: [ours=1]\n")
    options = ("-p", name, "-f", "docker-compose.yml", "-f", "prod.yml", "--env-file", "prod.env")
    run("docker", "compose", *options, "up", "-d", "redis", cwd=directory)
    result = succeed("https", {"project_src": str(directory)}, check=True)
    assert (result["project"], result["env_file"]) == (name, str(directory / "prod.env"))
    assert "redis" not in result["recreates"], "the second file counts"
    for option, other in (("files", ["docker-compose.yml"]), ("env_file", ".env"), ("project_name", "other")):
        message = refuse("https", {"project_src": str(directory), option: other})
        assert message.startswith(f"{option}: ") and f"`{option}`" in message


def test_started_with_values_of_a_shell(directory):
    secret = "not-a-real-password-" + secrets.token_hex(8)
    set_env(directory, _APP_SMTP_PASSWORD=None)
    environ = {**clean_environ(), "_APP_SMTP_PASSWORD": secret}
    run("docker", "compose", "up", "-d", "--no-deps", "appwrite-worker-mails", cwd=directory, environ=environ)
    set_env(directory, _APP_SMTP_HOST="mail.example.com")
    message = refuse("apply", {"project_src": str(directory)}, check=True, secrets=[secret])
    assert "_APP_SMTP_PASSWORD (appwrite-worker-mails)" in message and "Nothing was recreated" in message
    findings = {one["id"]: one for one in succeed("audit_info", {"project_src": str(directory)})["findings"]}
    assert "_APP_SMTP_PASSWORD of appwrite-worker-mails" in findings["containers.nothing_lost"]["evidence"]


@pytest.mark.nightly("test_landscape.py, test_started_with_other_files")
def test_started_with_a_profile(directory):
    """What runs of a profile is recreated with the rest, though nobody names the profile."""
    services = {"side": {"image": "${SIDE_IMAGE}", "profiles": ["more"], "environment": ["_APP_DOMAIN"]}}
    (directory / "docker-compose.override.yml").write_text(json.dumps({"services": services}))
    images = yaml.safe_load((directory / "docker-compose.yml").read_text())["services"]
    set_env(directory, SIDE_IMAGE=images["redis"]["image"])
    run("docker", "compose", "--profile", "more", "up", "-d", "side", cwd=directory)
    wish = {"project_src": str(directory), "variables": {"_APP_DOMAIN": "other.example.com"}}
    assert succeed("env", wish, check=True)["recreates"] == ["side"]
    services["half"] = {**services["side"]}
    (directory / "docker-compose.override.yml").write_text(json.dumps({"services": services}))
    result = succeed("env", wish, check=True)
    assert result["recreates"] == []
    assert any(
        "the service side has containers, and is of a profile that is not enabled (more)" in one
        for one in result["warnings"]
    )


@pytest.mark.nightly("test_landscape.py")
def test_renamed_directory_without_a_container(directory):
    """The volume is there, and its project's name is not that of the directory any more."""
    old = directory.name
    run("docker", "compose", "up", "-d", "mariadb", cwd=directory)
    run("docker", "compose", "down", cwd=directory)
    time.sleep(landscape._NEW)
    moved = directory.rename(directory.with_name(f"{old}-moved"))
    before = (moved / ".env").read_bytes()
    message = refuse("security", {"project_src": str(moved), **WISHES})
    assert f"the volume {old}_appwrite-mariadb of the project {old}" in message and f"to {old}; if this" in message
    assert (moved / ".env").read_bytes() == before
    assert "start it (docker compose up -d mariadb)" in refuse(
        "security", {"project_src": str(moved), **WISHES, "project_name": old}
    )
    assert succeed("security", {"project_src": str(moved), **WISHES, "project_name": f"{old}-moved"}, check=True)[
        "changed"
    ]
    moved.rename(directory)
