# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says when it ends, and never says."""

from __future__ import annotations

import json
import re
import signal

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._env import file as _env_file
from ansible_collections.selfhost.appwrite.plugins.module_utils._module import shown, shown_name

KEY = _key.NAME
PUBLIC = "your-secret-key"
SECRET = "not-a-real-secret-0123456789abcdef"


def test_unforeseen_error_tells_no_more_than_its_place(run_module, project, without_docker, monkeypatch):
    def fail(*_unused):
        raise ValueError(SECRET)

    monkeypatch.setattr(_env_file.EnvFile, "read", fail)
    result = run_module("encryption_key")
    assert re.match(r"internal error \(ValueError at test_module.py:\d+\)", result["msg"]) and SECRET not in json.dumps(
        result
    )


def test_signals_of_who_went_away(run_module, project, without_docker, monkeypatch):
    read, before = _env_file.EnvFile.read, [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)]

    def interrupted(file):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
        read(file)

    monkeypatch.setattr(_env_file.EnvFile, "read", interrupted)
    assert not run_module("encryption_key").get("failed")
    assert [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)] == before


def test_parameters_are_shown_without_secrets(run_module, project, without_docker):
    result = run_module(
        "security",
        encryption_key={"key": SECRET},
        env={
            "content": f"_APP_ENV=production\n_APP_SMTP_PASSWORD={SECRET}x\n",
            "variables": {"_APP_REDIS_PASS": None, "_APP_EXECUTOR_SECRET": SECRET + "y", "_APP_LOCALE": "de"},
        },
    )
    assert SECRET not in json.dumps(result)
    shown = result["invocation"]["module_args"]["env"]["variables"]
    assert shown["_APP_LOCALE"] == "de" and "fingerprint" in shown["_APP_EXECUTOR_SECRET"]
    assert shown["_APP_REDIS_PASS"] is None, "a null removes the variable: there is nothing to take a fingerprint of"


def test_shown():
    assert shown("_APP_ENV", "production") == "production"
    assert shown(KEY, None) is None and shown(KEY, "") == ""
    assert shown(KEY, PUBLIC) == "(public default)"
    assert re.fullmatch(r"\(secret, fingerprint [0-9a-f]{16}\)", shown(KEY, SECRET))
    assert shown("OURS_AND_UNKNOWN", SECRET) == "(secret, about %d bits)" % _key.effective_bits(SECRET)
    assert shown("OURS_AND_UNKNOWN", SECRET, compared=True) == shown(KEY, SECRET)


def test_names_that_may_be_secrets():
    assert [shown_name(name) for name in ("_APP_ENV", "OURS", "http_proxy", "_")] == [
        "_APP_ENV",
        "OURS",
        "http_proxy",
        "_",
    ]
    assert shown_name(SECRET) == "(a name that may be a secret)"
