# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of a real project: what it sees, that it changes nothing, and that what it cannot see is not taken for good."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import date, timedelta

import pytest
from integration.tls_server import serve
from support.stack import HTTPS, KEY, NOT_A_KEY, on_every_kind, refuse, set_env, small, succeed, tree
from testbed import images
from testbed._base import clean_environ, run

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import STATUSES
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import env_file_of, opened

SMTP = {"_APP_SMTP_HOST": "mariadb", "_APP_SMTP_PORT": "3306", "_APP_SMTP_SECURE": "tls"}


def audit(stack, **options):
    """Control to finding. Nothing on disk or in the engine may have moved."""
    before = tree(stack.directory), stack.ids()
    result = succeed("audit_info", {**stack.arguments, **options.pop("arguments", {})}, **options)
    assert (tree(stack.directory), stack.ids()) == before
    assert not result["changed"]
    return {finding["id"]: finding for finding in result["findings"]}


def statuses(findings, *names):
    return [findings[name]["status"] for name in names]


@small("audit")
def test_a_fresh_installation_and_a_secured_one(stack):
    fresh = succeed("audit_info", stack.arguments)
    again = succeed("audit_info", stack.arguments, check=True)
    assert json.dumps(fresh["findings"]) == json.dumps(again["findings"])
    assert [finding["id"] for finding in fresh["findings"]] == [control.id for control in CONTROLS]
    assert {finding["status"] for finding in fresh["findings"]} <= set(STATUSES)
    assert (fresh["worst"], fresh["score"] <= 40, fresh["release"], fresh["project"]) == (
        "critical",
        True,
        "1.9.6",
        stack.project.name,
    )
    stack.secure(
        variables={"_APP_DOMAIN": "appwrite.notarealcompany.com"},
        certificate_email="certs@example.org",
        env_mode="0600",
    )
    secured = succeed("audit_info", stack.arguments)
    mended = {finding["id"] for finding in secured["findings"] if finding["status"] == "pass"}
    mended -= {finding["id"] for finding in fresh["findings"] if finding["status"] == "pass"}
    assert mended >= {
        "encryption.key_not_public",
        "encryption.key_strong",
        "encryption.env_private",
        "https.api_forced",
        "https.router_forced",
        "https.domain_real",
        "secrets.executor_secret",
    }
    assert secured["score"] > fresh["score"] and secured["worst"] != "critical"


@small("audit")
def test_what_only_the_file_says_is_not_believed(stack):
    set_env(stack.directory, **{HTTPS: "enabled", KEY: NOT_A_KEY})
    findings = audit(stack)
    assert statuses(findings, "https.api_forced", "encryption.one_key", "containers.current") == [
        "fail",
        "fail",
        "fail",
    ]
    assert "container of appwrite" in findings["https.api_forced"]["evidence"]
    assert fingerprint(NOT_A_KEY) in findings["encryption.one_key"]["evidence"]


@small("audit")
def test_an_engine_that_does_not_answer_lets_nothing_pass(stack):
    findings = audit(stack, environ={**clean_environ(), "DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert findings["host.observed"]["status"] == "fail" and "does not answer" in findings["host.observed"]["evidence"]
    assert (
        statuses(
            findings,
            "platform.environment_production",
            "containers.running",
            "host.database_reached",
            "encryption.key_reaches_services",
        )
        == ["unknown"] * 4
    )
    assert statuses(findings, "encryption.key_not_public", "https.api_forced") == ["fail", "fail"]


@small("audit")
def test_a_release_that_is_not_known(stack):
    """Its container is asked for its variables; nothing is refused for what this collection does not know."""
    arguments = {**stack.arguments, "appwrite_version": "9.9.0"}
    instance = Instance(str(stack.directory), None, [], None, [], "9.9.0", True)
    opened(instance, env_file_of(instance))
    assert instance.release.defaults == {
        name: catalogue.default(name, "1.9.6")
        for name in catalogue.names("1.9.6")
        if catalogue.documented(name, "1.9.6")
    }
    known, unknown = (succeed("audit_info", each)["findings"] for each in (stack.arguments, arguments))
    assert [finding["id"] for finding in known] == [finding["id"] for finding in unknown]
    assert not [finding["evidence"] for finding in unknown if "internal error" in finding["evidence"]]
    told = succeed("env", {**arguments, "variables": {"_APP_LOCALE": "de"}})
    assert told["release"] == "9.9.0" and sum("is newer than" in warning for warning in told["warnings"]) == 1


@small("audit")
def test_half_an_installation_gives_findings(stack, tmp_path):
    (stack.directory / ".env").unlink()
    findings = audit(stack)
    assert findings["host.observed"]["status"] == "fail" and "does not exist" in findings["host.observed"]["evidence"]
    (stack.directory / ".env").write_text("_APP_ENV='never closed\n")
    assert audit(stack)["host.observed"]["status"] == "fail"
    half = tmp_path / "half"
    half.mkdir()
    (half / ".env").write_text(f"{KEY}=your-secret-key\n")
    findings = {finding["id"]: finding for finding in succeed("audit_info", {"project_src": str(half)})["findings"]}
    assert statuses(findings, "encryption.key_not_public", "host.observed", "containers.running") == [
        "fail",
        "fail",
        "unknown",
    ]


@small("audit")
def test_inside_is_what_doctor_sees(stack):
    set_env(stack.directory, **SMTP)
    stack.project.up()
    stack.project.wait()
    findings = audit(stack)
    reached = [
        "host.database_reached",
        "host.cache_reached",
        "host.mail_reached",
        "host.volumes_usable",
        "platform.mail_encrypted",
    ]
    assert statuses(findings, *reached) == ["pass"] * 5
    assert findings["secrets.redis_password"]["status"] == "fail"
    set_env(stack.directory, _APP_SMTP_HOST="192.0.2.1", _APP_STORAGE_ANTIVIRUS="enabled")
    stack.project.up()
    stack.project.wait()
    assert statuses(audit(stack), "host.mail_reached", "host.scanner_reached", "platform.scanner_there") == [
        "fail",
        "fail",
        "fail",
    ]
    stack.project.compose("stop", "appwrite")
    assert statuses(audit(stack), "host.database_reached", "containers.running") == ["unknown", "fail"]


@small("audit")
def test_copies_and_work_trees(stack, tmp_path):
    set_env(stack.directory, **{KEY: NOT_A_KEY})
    copy = stack.directory / "notes" / "old.txt"
    copy.parent.mkdir()
    copy.write_text(f"the key was {NOT_A_KEY}\n")
    copy.chmod(0o644)
    findings = audit(stack)
    assert statuses(
        findings, "encryption.copies_private", "encryption.no_stray_copies", "encryption.env_not_in_git"
    ) == ["fail", "fail", "pass"]
    assert "notes/old.txt" in findings["encryption.copies_private"]["evidence"]
    shutil.rmtree(copy.parent)
    run("git", "init", "--quiet", str(stack.directory))
    assert audit(stack)["encryption.env_not_in_git"]["status"] == "fail"
    (stack.directory / ".gitignore").write_text(".env\n")
    assert audit(stack)["encryption.env_not_in_git"]["status"] == "pass"
    shutil.rmtree(stack.directory / ".git")


@small("audit")
@pytest.mark.parametrize("name, mode", [(".", 0o777), ("docker-compose.yml", 0o664)])
def test_what_others_may_write(stack, name, mode):
    """Until what the remedy says is typed."""
    control, path = "host.project_not_writable", stack.directory / name
    assert audit(stack)[control]["status"] == "pass"
    path.chmod(mode)
    finding = audit(stack)[control]
    assert finding["status"] == "fail" and f"{path} has mode {mode:04o}" in finding["evidence"]
    run("sh", "-c", finding["remedy"])
    assert audit(stack)[control]["status"] == "pass"


@small("audit")
def test_escrow_and_waivers(stack):
    set_env(stack.directory, **{KEY: NOT_A_KEY})
    today, soon = date.today().isoformat(), (date.today() + timedelta(days=30)).isoformat()
    mine = {"fingerprint": fingerprint(NOT_A_KEY), "proved": today}
    assert audit(stack)["encryption.key_escrowed"]["status"] == "unknown"
    assert audit(stack, arguments={"escrow": mine})["encryption.key_escrowed"]["status"] == "pass"
    assert (
        audit(stack, arguments={"escrow": {"unseen": "no vault secret"}})["encryption.key_escrowed"]["evidence"]
        == "no vault secret"
    )
    assert (
        audit(stack, arguments={"escrow": {**mine, "fingerprint": "0" * 16}})["encryption.key_escrowed"]["status"]
        == "fail"
    )
    waiver = {"control": "https.api_forced", "justification": "a proxy does it", "expires": soon}
    waived = audit(stack, arguments={"waivers": [waiver]})["https.api_forced"]
    assert (waived["status"], waived["waiver"]) == ("waived", {"justification": "a proxy does it", "expires": soon})
    expired = audit(stack, arguments={"waivers": [{**waiver, "expires": "2026-01-01"}]})["https.api_forced"]
    assert expired["status"] == "fail" and "expired on 2026-01-01" in expired["evidence"]


@small("audit")
@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"waivers": [{"control": "https.api", "justification": "x", "expires": "2027-01-01"}]},
            "waivers[0].control: there is no control 'https.api'",
        ),
        (
            {"waivers": [{"control": "https.api_forced", "justification": " ", "expires": "2027-01-01"}]},
            "waivers[0].justification: is missing",
        ),
        (
            {"waivers": [{"control": "https.api_forced", "justification": "x", "expires": "soon"}]},
            "waivers[0].expires: 'soon' is not a date",
        ),
        ({"escrow": {"fingerprint": "0" * 16, "proved": "yesterday"}}, "escrow.proved: 'yesterday' is not a date"),
        ({"third_party_timeout": 0}, "third_party_timeout: 0"),
        ({"endpoint": {"https_port": 70000}}, "endpoint.https_port: 70000"),
        ({"files": ["nowhere.yml"]}, "files:"),
        ({"project_src": "/nonexistent/appwrite"}, "project_src: /nonexistent/appwrite does not exist"),
    ],
)
def test_bad_input_is_refused_in_words(stack, arguments, message):
    assert message in refuse("audit_info", {**stack.arguments, **arguments})


LIVE = (
    "https.http_redirects",
    "https.no_redirect_loop",
    "https.certificate_trusted",
    "https.certificate_name",
    "https.certificate_lasts",
    "https.old_tls_refused",
    "https.modern_tls_spoken",
    "https.hsts_sent",
)


@small("audit")
@pytest.mark.parametrize(
    "served, failing",
    [
        ({}, set()),
        ({"certificate": "expired"}, {"https.certificate_trusted", "https.certificate_lasts"}),
        ({"certificate": "self_signed"}, {"https.certificate_trusted"}),
        ({"certificate": "wrong_name"}, {"https.certificate_name"}),
        ({"protocols": "old"}, {"https.old_tls_refused"}),
        ({"protocols": "oldest"}, {"https.old_tls_refused", "https.modern_tls_spoken", "https.certificate_trusted"}),
        ({"redirect": "loop"}, {"https.no_redirect_loop"}),
        ({"redirect": "none", "hsts": None}, {"https.http_redirects", "https.hsts_sent"}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_answers_under_the_domain(stack, served, failing):
    with serve(**served) as endpoint:
        set_env(stack.directory, _APP_DOMAIN=endpoint.host)
        where = {"host": endpoint.address, "http_port": endpoint.http_port, "https_port": endpoint.https_port}
        findings = audit(
            stack, arguments={"endpoint": where}, environ={**clean_environ(), "SSL_CERT_FILE": str(endpoint.ca_file)}
        )
        assert {name for name in LIVE if findings[name]["status"] == "fail"} == failing
        assert {findings[name]["status"] for name in set(LIVE) - failing} == {"pass"}


@small("audit")
def test_a_console_that_answers_in_clear(stack):
    """As behind Appwrite's own Traefik, if HTTPS is forced: the API redirects, the console's container does not."""
    with serve(console=True) as endpoint:
        set_env(stack.directory, _APP_DOMAIN=endpoint.host, **{HTTPS: "enabled"})
        where = {"host": endpoint.address, "http_port": endpoint.http_port, "https_port": endpoint.https_port}
        findings = audit(stack, arguments={"endpoint": where})
    assert statuses(findings, "https.http_redirects", "https.console_redirects") == ["pass", "fail"]
    assert "/console/ answers 200" in findings["https.console_redirects"]["evidence"]


@small("audit")
def test_nobody_there(stack):
    set_env(stack.directory, _APP_DOMAIN="appwrite.notarealcompany.com")
    findings = audit(stack, arguments={"endpoint": {"host": "127.0.0.1", "http_port": 9, "https_port": 9}})
    assert set(statuses(findings, *LIVE)) == {"unknown"}


@small("audit")
def test_a_password_of_redis_is_seen(stack):
    container = next(
        name
        for name in run("docker", "ps", "--format", "{{.Names}}").split()
        if name.startswith(f"{stack.project.name}-redis")
    )
    ask = [
        "docker",
        "exec",
        "-e",
        "REDISCLI_AUTH=NotARealRedisWord1",
        container,
        "redis-cli",
        "config",
        "set",
        "requirepass",
    ]
    subprocess.run([*ask, "NotARealRedisWord1"], check=True, capture_output=True)
    try:
        assert "answers whoever" not in audit(stack)["secrets.redis_password"]["evidence"]
    finally:
        subprocess.run([*ask, ""], check=True, capture_output=True)


@small("audit")
def test_a_redis_of_another_project(stack):
    """Under a name that this machine cannot look up, and published to everybody."""
    alias, name = "cache.notarealcompany.internal", f"{stack.project.name}-outside"
    network = ("--network", f"{stack.project.name}_appwrite", "--network-alias", alias, "--publish", "0.0.0.0::6379")
    run("docker", "run", "--detach", "--rm", "--name", name, *network, images.redis())
    try:
        set_env(stack.directory, _APP_REDIS_HOST=alias)
        findings = audit(stack)
        port = run("docker", "port", name, "6379").split()[0].rpartition(":")[2]
    finally:
        run("docker", "rm", "--force", "--volumes", name)
    closed = findings["platform.database_closed"]
    assert (closed["status"], closed["evidence"]) == (
        "fail",
        f"Redis ({alias}:6379): the container {name} publishes it on port {port} of every address of this machine",
    )
    encrypted = findings["platform.database_encrypted"]
    assert (encrypted["status"], encrypted["evidence"]) == (
        "not_applicable",
        f"nothing goes there over the internet: Redis ({alias}:6379) is at the container {name} of this machine",
    )


@on_every_kind()
def test_on_every_kind(stack):
    """Each release and database: everything can be looked at, and what is reported is what the installer left."""
    findings = audit(stack)
    assert (
        statuses(
            findings,
            "host.observed",
            "host.database_reached",
            "host.cache_reached",
            "encryption.key_reaches_services",
            "encryption.one_key",
            "containers.running",
            "containers.current",
        )
        == ["pass"] * 7
    )
    assert statuses(findings, "encryption.key_not_public", "secrets.executor_secret") == ["fail", "fail"]
