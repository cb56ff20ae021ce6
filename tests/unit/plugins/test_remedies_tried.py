# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refusal or a warning tells to set is set here, and then it is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.landscape import Row

from .test_remedies import MARKED, named

KEY = "_APP_OPENSSL_KEY_V1=not-a-real-key-0f1e2d3c4b5a69788796a5b4c3d2e1f0\n"


class Tried(NamedTuple):
    words: str
    """of the message that names the remedy"""
    module: str
    options: dict[str, Any]
    remedy: dict[str, Any]
    arrange: Callable[[Any, Any], None] = lambda _project, _monkeypatch: None


def written(text: str, name: str = ".env") -> Callable[[Any, Any], None]:
    return lambda project, _monkeypatch: (project / name).write_text(text)


def ran(**labels: Any) -> Callable[[Any, Any], None]:
    """Containers that were started so."""

    def arrange(project: Any, monkeypatch: Any) -> None:
        fields = {
            "project": "appwrite",
            "directory": str(project),
            "files": (str(project / "docker-compose.yml"),),
            "env_files": (),
            "stack": "",
            "image": "appwrite/appwrite:1.9.6",
            "created": "1",
            "service": "appwrite",
        }
        row = Row(**{**fields, **{name: placed(project, value) for name, value in labels.items()}})
        monkeypatch.setattr(Instance, "_ask_engine", lambda _self: [row])

    return arrange


def placed(project: Any, value: Any) -> Any:
    """The paths of a label are in the project's directory."""
    if isinstance(value, tuple):
        return tuple(str(project / name) for name in value)
    return value


def more_files(project: Any, monkeypatch: Any) -> None:
    (project / "prod.yml").write_text("services: {appwrite: {hostname: a}}\n")
    ran(files=("docker-compose.yml", "prod.yml"))(project, monkeypatch)


def another_env_file(project: Any, monkeypatch: Any) -> None:
    for name in (".env", "prod.env"):
        (project / name).write_text(KEY)
    ran(env_files=("prod.env",))(project, monkeypatch)


def with_profile(project: Any, monkeypatch: Any) -> None:
    with (project / "docker-compose.yml").open("a") as stream:
        stream.write("".join(f"  {name}:\n    image: redis:7\n    profiles: [more]\n" for name in ("side", "half")))
    ran(service="side")(project, monkeypatch)


def without_tag(project: Any, monkeypatch: Any) -> None:
    path = project / "docker-compose.yml"
    path.write_text(path.read_text().replace("appwrite/appwrite:1.9.6", "appwrite/appwrite:latest"))
    monkeypatch.setattr(Compose, "image_environments", lambda *_unused: {})


def readable(project: Any, _monkeypatch: Any) -> None:
    (project / ".env").chmod(0o644)


def missing(project: Any, monkeypatch: Any) -> None:
    (project / ".env").unlink()
    monkeypatch.setattr(
        Instance, "holds_data", lambda _self: Evidence("no", "it was never started", never_started=True)
    )


def missing_with_a_name(project: Any, monkeypatch: Any) -> None:
    with (project / "docker-compose.yml").open("a") as stream:
        stream.write("  side:\n    image: redis:7\n    hostname: $SHOP_HOST\n")
    missing(project, monkeypatch)


LISTED = {"_APP_CONSOLE_WHITELIST_EMAILS": "ada@example.com", "_APP_CONSOLE_WHITELIST_ROOT": "disabled"}
NOBODY = "".join(f"{name}={value}\n" for name, value in LISTED.items())
TRIED = {
    "root_only": Tried(
        "set `root_only`", "console_access", {"root_only": "auto"}, {"root_only": "true"}, written(NOBODY)
    ),
    "root_only, to keep": Tried(
        "set it to false", "console_access", {"root_only": "auto"}, {"root_only": "false"}, written(NOBODY)
    ),
    "placeholder": Tried(
        "keep it with `placeholder` set to keep",
        "encryption_key",
        {},
        {"placeholder": "keep"},
        written("_APP_OPENSSL_KEY_V1=your-secret-key\n"),
    ),
    "force": Tried("set `force`", "https", {"force": "auto"}, {"force": "true"}, written("_APP_DOMAIN=localhost\n")),
    "certificate_email": Tried(
        "Set `certificate_email`",
        "https",
        {"force": "true"},
        {"certificate_email": "ops@notarealcompany.com"},
        written("_APP_DOMAIN=aw.notarealcompany.com\n_APP_ENV=production\n"),
    ),
    "create": Tried("have it created", "env", {"variables": {"_APP_ENV": "production"}}, {"create": True}, missing),
    "content": Tried(
        "as a template", "env", {"variables": {"_APP_ENV": "production"}}, {"content": "# ours\n"}, missing
    ),
    "variables": Tried(
        "Set `variables`",
        "env",
        {"variables": {}, "create": True},
        {"variables": {"SHOP_HOST": "shop"}},
        missing_with_a_name,
    ),
    "mode": Tried("Set `mode` to '0600'", "https", {}, {"mode": "0600"}, readable),
    "unknown": Tried("Set `unknown` to", "env", {"variables": {"SHOP_OWN": "1"}}, {"unknown": "allow"}),
    "profiles": Tried("Set `profiles`", "https", {}, {"profiles": ["more"]}, with_profile),
    "appwrite_version": Tried("Set `appwrite_version`", "https", {}, {"appwrite_version": "1.9.6"}, without_tag),
    "project_name": Tried(
        "Set `project_name`", "https", {"project_name": "other"}, {"project_name": "appwrite"}, ran()
    ),
    "project_name, moved": Tried(
        "set `project_name`", "https", {}, {"project_name": "old"}, ran(project="old", directory="/nonexistent/old")
    ),
    "project_name, swarm": Tried(
        "say so by `project_name`",
        "https",
        {},
        {"project_name": "appwrite"},
        ran(project="", directory="", stack="shop"),
    ),
    "files": Tried(
        "Set `files`", "https", {}, {"files": ["docker-compose.yml"]}, ran(files=("docker-compose.yml", "gone.yml"))
    ),
    "files, left out": Tried(
        "Add it to `files`",
        "https",
        {"files": ["docker-compose.yml"]},
        {"files": ["docker-compose.yml", "prod.yml"]},
        more_files,
    ),
    "env_file": Tried("Leave `env_file`", "https", {"env_file": ".env"}, {"env_file": None}, another_env_file),
}
ELSEWHERE = {
    "variables": "module_utils/_settings/test_origins.py, test_names_that_a_new_file_lacks",
    "key": "module_utils/_settings/test_encryption_key.py",
    "project_src": "the run would be that of another directory",
    "clean_environment": "tests/integration/test_set_ups.py, test_started_with_values_of_a_shell",
}


@pytest.mark.parametrize("tried", TRIED.values(), ids=TRIED)
def test_remedy(run_module, project, without_engine, monkeypatch, tried):
    (project / ".env").write_text(f"_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n{KEY}")
    tried.arrange(project, monkeypatch)
    result = run_module(tried.module, check=True, **tried.options)
    assert tried.words in json.dumps([result.get("msg"), result["warnings"]])
    options = {name: value for name, value in {**tried.options, **tried.remedy}.items() if value is not None}
    mended = run_module(tried.module, check=True, **options)
    assert not mended.get("failed"), mended["msg"]
    assert tried.words not in json.dumps(mended["warnings"])


def test_each_is_tried():
    assert {name.partition(",")[0] for name in TRIED} | set(ELSEWHERE) >= set(named(MARKED))
