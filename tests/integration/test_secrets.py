# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is in anything that Ansible prints at its most talkative, whatever characters it has."""

from __future__ import annotations

import pytest

from integration.support import KEY, playbook, read_env, set_env, small, without

SECRETS = {
    "_APP_SMTP_PASSWORD": "not-a-real-\"smtp\"-$pass-'word'-" + "\\x" * 4,
    "_APP_EXECUTOR_SECRET": "not a real #executor ${secret} " + "long" * 100,
    "_APP_DB_ROOT_PASS": "not-a-real-root-`pass`-$$word",
}
NOT_A_KEY = "not-a-real-$key-with-'all'-\"that\"-" + "0123456789abcdef" * 3
PARTS = ["$pass-'word'", "executor ${secret}", "not-a-real", "longlonglong"]
"""A piece of a secret is one too."""

MODULE = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: One module
      selfhost.appwrite.{name}: "{{{{ options }}}}"
"""


def run(directory, name: str, *flags: str, **options):
    return playbook(
        MODULE.format(name=name), {"options": {"project_src": str(directory), **options}}, "--diff", *flags,
        secrets=[*SECRETS.values(), NOT_A_KEY, *PARTS], verbosity="-vvvv")


@pytest.fixture
def secret_directory(directory):
    set_env(directory, **SECRETS)
    without(directory, KEY, f"{KEY}=\n")
    return directory


@pytest.mark.parametrize("flags", [("--check",), ()], ids=["check", "run"])
def test_written(secret_directory, flags):
    variables = {name: value[::-1] for name, value in SECRETS.items() if "DB" not in name}
    play = playbook(
        MODULE.format(name="security"), {"options": {
            "project_src": str(secret_directory), "encryption_key": {"key": NOT_A_KEY}, "env": {"variables": variables}}},
        "--diff", *flags, secrets=[*SECRETS.values(), *variables.values(), NOT_A_KEY, *PARTS], verbosity="-vvvv")
    assert play.rc == 0, play.output
    assert read_env(secret_directory)["_APP_SMTP_PASSWORD"] == (SECRETS if flags else variables)["_APP_SMTP_PASSWORD"]


def test_content(secret_directory):
    content = (secret_directory / ".env").read_text().replace("mail", "post")
    assert run(secret_directory, "env", content=content).rc == 0


@pytest.mark.parametrize("option", [
    {"encryption_key": {"key": NOT_A_KEY}, "console_access": {"ips": ["10.0.0.0/8"]}},
    {"encryption_key": {"key": NOT_A_KEY}, "env": {"variables": {"_APP_SMTP_PASSWORD": [NOT_A_KEY]}}},
    {"encryption_key": {"key": NOT_A_KEY, "no_such": NOT_A_KEY}},
    {"env": {"content": f"_APP_DB_PASS='{NOT_A_KEY}"}},
    {"env": {"variables": {"_APP_DB_PAS": NOT_A_KEY}}},
    {"env": {"variables": {"_APP_DB_ROOT_PASS": NOT_A_KEY}}},
], ids=["other setting", "list", "no such option", "broken content", "unknown name", "alphabet"])
def test_refused(secret_directory, option):
    assert run(secret_directory, "security", **option).rc == 2


def test_env_that_compose_rejects(secret_directory):
    """compose quotes the file's text in its own message."""
    path = secret_directory / ".env"
    path.write_text(path.read_text() + f"_APP_DB_PASS='{NOT_A_KEY}\n")
    for name in ("security", "apply", "instance_info"):
        assert run(secret_directory, name).rc == 2


def test_unescaped_dollar(secret_directory):
    """compose warns of the name behind an unescaped $, which is a piece of the secret."""
    path = secret_directory / ".env"
    path.write_text(path.read_text() + "_APP_SMS_FROM=x\n_APP_LOGGING_CONFIG=prefix$longlonglongtail\n")
    for name in ("security", "instance_info"):
        assert run(secret_directory, name).rc == 0


@small("role")
def test_applied_and_failed(stack):
    set_env(stack.directory, **{name: value for name, value in SECRETS.items() if "DB" not in name})
    path = stack.directory / ".env"
    path.write_text(path.read_text() + "_APP_LOGGING_CONFIG=prefix$longlonglongtail\n")
    assert run(stack.directory, "apply").rc == 0
    set_env(stack.directory, _APP_DOMAIN="appwrite.example.com")
    worker = "appwrite-worker-mails"
    stack.project.fail(worker, f"cannot log in with {SECRETS['_APP_SMTP_PASSWORD']}\n{SECRETS['_APP_EXECUTOR_SECRET']}\n")
    play = run(stack.directory, "apply")
    assert play.rc == 2 and worker in play.output and "cannot log in" in play.output
