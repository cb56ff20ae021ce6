# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says when it ends, and never says."""

from __future__ import annotations

import json
import re
import signal

import pytest

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


ODD = "(a name that may be a secret)"
WRAPPED = "bm90cmVhbHdyYXBwZW", "Rub3RyZWFsd3JhcHBlZA"
"""a key that was pasted in two lines, so that its end reads as a name"""


@pytest.mark.parametrize("name", [SECRET, "not-a-'real'-\\secret-0123456789"], ids=["plain", "what repr escapes"])
def test_key_where_a_name_belongs(run_module, project, without_docker, name):
    """It is refused, and what is said of it has other words in its place."""
    before = (project / ".env").read_bytes()
    for result in (
        run_module("env", variables={name: "x"}),
        run_module("security", env={"variables": {name: "x"}}),
        run_module("security", env={"variables": {name: "x"}, "unknown": "allow"}),
    ):
        assert result["failed"] and ODD in result["msg"]
        assert name not in json.dumps(result) and repr(name)[1:-1] not in result["msg"]
    assert (project / ".env").read_bytes() == before


@pytest.mark.parametrize("unknown", ["fail", "warn"])
def test_wrapped_key_in_content(run_module, project, without_docker, unknown):
    """Neither a message nor a warning has its end."""
    content = f"_APP_ENV=production\n_APP_LOGGING_CONFIG={WRAPPED[0]}\n{WRAPPED[1]}=\n"
    result = run_module("env", content=content, unknown=unknown)
    said = [result["msg"]] if unknown == "fail" else result["warnings"]
    assert result.get("failed", False) == (unknown == "fail") and any(ODD in each for each in said)
    assert not [part for part in WRAPPED if part in json.dumps(result)]
