# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: an installation of plain values, a small project on disk, and docker as it may be found."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import pytest
from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import PASS_VARS

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence, Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import compose as _compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Installation

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core 2.18 and before

    @contextlib.contextmanager
    def patch_module_args(arguments: dict[str, Any]) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as environment:
            environment.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
            yield


INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}
"""Newer releases of ansible-core leave the invocation out otherwise."""
COMPOSE_FILE = """\
services:
  appwrite:
    image: appwrite/appwrite:1.9.6
    environment:
      - _APP_ENV
      - _APP_DOMAIN
      - _APP_OPENSSL_KEY_V1
      - _APP_OPTIONS_FORCE_HTTPS
      - _APP_OPTIONS_ROUTER_FORCE_HTTPS
      - _APP_CONSOLE_WHITELIST_ROOT
      - _APP_CONSOLE_WHITELIST_EMAILS
      - _APP_CONSOLE_WHITELIST_IPS
      - _APP_SMTP_PASSWORD
  appwrite-worker-certificates:
    image: appwrite/appwrite:1.9.6
    environment:
      - _APP_ENV
      - _APP_OPENSSL_KEY_V1
      - _APP_EMAIL_CERTIFICATES
  mariadb:
    image: mariadb:10.11
    environment:
      - MYSQL_PASSWORD=${_APP_DB_PASS}
"""


@pytest.fixture
def key() -> Callable[[str], str]:
    """An encryption key that nobody would take for a real one; another letter makes another key."""

    def make(letter: str = "a") -> str:
        return (letter * 4 + "-not-a-real-key-") * 3

    return make


@pytest.fixture
def installation() -> Callable[..., Installation]:
    """An installation that notes in C(asked) which of the dear questions were put to it. C(opens): a key to how many sealed values it opens."""

    def make(
        values: Mapping[str, str] | None = None,
        release: str = "1.9.6",
        data: str = "no",
        keys: Mapping[str, tuple[str, ...]] | None = None,
        asked: list[str] | None = None,
        never_started: bool = False,
        opens: Mapping[str, int] | AppwriteError | None = None,
        elsewhere: bool = False,
        **more: Any,
    ) -> Installation:
        def answer(question: str, value: Any) -> Any:
            if asked is not None:
                asked.append(question)
            return value

        def tried(candidates: Sequence[str]) -> Opening:
            if isinstance(opens, AppwriteError):
                raise opens
            found = opens or {}
            answer("opens", None)
            return Opening(sum(found.values()), {key: found.get(key, 0) for key in candidates})

        evidence = Evidence(data, "the evidence is %s" % data, never_started, elsewhere=elsewhere)
        return Installation(
            release,
            values or {},
            lambda: answer("data", evidence),
            lambda: answer("keys", keys or {}),
            tried,
            never_started=lambda: never_started,
            **more,
        )

    return make


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project directory with a compose file and a C(.env)."""
    directory = tmp_path / "appwrite"
    directory.mkdir()
    (directory / "docker-compose.yml").write_text(COMPOSE_FILE)
    (directory / ".env").write_text("# ours\n_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n")
    (directory / ".env").chmod(0o600)
    return directory


@pytest.fixture
def without_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which there is no docker, nor has been one."""
    for places in ("_PLACES", "_TRACES"):
        monkeypatch.setattr(_compose, places, ())
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real docker and compose, which reach no engine: what is tested here must not depend on one, nor touch it."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script first on PATH under the name of docker. A test that uses it says why the real one cannot be had."""

    def make(script: str) -> None:
        program = tmp_path / "fake" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", "%s%s%s" % (program.parent, os.pathsep, os.environ["PATH"]))

    return make


@pytest.fixture
def quick_fingerprints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They are slow to make, which is what they are for and has a test of its own."""
    monkeypatch.setattr(_key, "_ROUNDS", 1)
    _key.fingerprint.cache_clear()
    yield
    _key.fingerprint.cache_clear()


@pytest.fixture
def run_module(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, project: Path
) -> Callable[..., dict[str, Any]]:
    """Runs a module of the collection as Ansible does, but in this process, and returns what it printed."""
    monkeypatch.setattr(_key, "_ROUNDS", 1)

    def run(name: str, check: bool = False, **parameters: Any) -> dict[str, Any]:
        warnings: list[str] = []
        monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warnings.append(text))
        module = importlib.import_module(f"ansible_collections.selfhost.appwrite.plugins.modules.{name}")
        with patch_module_args({"project_src": str(project), "_ansible_check_mode": check, **INVOCATION, **parameters}):
            with pytest.raises(SystemExit):
                module.main()
        printed, complaints = capsys.readouterr()
        assert complaints == ""
        result: dict[str, Any] = json.loads(printed)
        return {**result, "warnings": warnings}

    return run
