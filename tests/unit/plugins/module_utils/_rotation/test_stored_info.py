# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was not compared and opened is not proved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable, Mapping

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence, Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import stored_info as _stored_info
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import OLD

YES, NO, UNKNOWN = (Evidence(state, "the evidence is %s" % state) for state in ("yes", "no", "unknown"))


class Instance:
    """As far as it is asked here."""

    def __init__(self, keys: Mapping[str, tuple[str, ...]], evidence: Evidence, engine: bool) -> None:
        self.compose = SimpleNamespace(mask=SimpleNamespace(add=lambda secrets: None))
        self.warnings: list[str] = []
        self.load = self.require_compose = lambda *_unused: None
        self._engine = engine
        self.container_keys = lambda: keys
        self.holds_data = lambda: evidence

    def containers(self) -> list[Any]:
        if not self._engine:
            raise ComposeError("unreachable", "the Docker Engine does not answer; start it")
        return []


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, key: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    def run(
        env: str | None = None,
        keys: Mapping[str, tuple[str, ...]] | None = None,
        evidence: Evidence = YES,
        engine: bool = True,
        opened: int = 3,
        closed: int = 0,
        down: str = "",
        here: bool = True,
        data: bool = True,
        guarded: bool = False,
        container: str | None = None,
        given: bool = True,
    ) -> dict[str, Any]:
        def answer(found: Any) -> Any:
            if down:
                raise AppwriteError(down)
            return found

        monkeypatch.setattr(_key, "_ROUNDS", 1)
        values = {_key.NAME: key() if env is None else env}
        env_file = SimpleNamespace(path="/opt/appwrite/.env", data=_key.GUARD.encode() if guarded else b"")
        monkeypatch.setattr(_stored_info, "env_file_of", lambda instance: env_file)
        monkeypatch.setattr(
            _stored_info, "opened", lambda instance, env_file, past_guard: setattr(instance, "values", values)
        )
        monkeypatch.setattr(_stored_info, "at_hand", lambda: here)
        report = SimpleNamespace(
            count=lambda verdict: opened if verdict == OLD else 0,
            undecryptable_count=closed,
            public=lambda: {"state": "old"},
        )
        monkeypatch.setattr(
            _stored_info, "look", lambda *_unused, **_more: answer(SimpleNamespace(report=report, warnings=[]))
        )
        monkeypatch.setattr(
            _stored_info, "opening", lambda instance, tried: answer(Opening(opened + closed, {tried[0]: opened}))
        )
        instance: Any = Instance({key(): ("appwrite", "worker")} if keys is None else keys, evidence, engine)
        monkeypatch.setattr(_stored_info, "instance_of", lambda parameters: instance)
        module: Any = SimpleNamespace(
            params={
                "key": key() if given else None,
                "data": data,
                "sample": 10,
                "client_image": None,
                "container": container,
                "progress_file": None,
            }
        )
        found = _stored_info.stored_info(module)
        assert key() not in str(found) and found["changed"] is False
        assert (found["report"] is not None) == (data and here and not down and (evidence != NO or bool(container))), (
            found
        )
        assert found["opens"] == ("it opens the" in found["verdict"])
        return found

    return run


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "all 2 services with a key have it; it opens the 3 stored values"),
        ({"here": False}, "it opens the 3 stored values"),
        ({"evidence": NO}, "nothing is stored that it could open"),
        ({"evidence": UNKNOWN}, "it opens the 3"),
        ({"data": False}, "was not opened, as requested"),
        ({"container": "copy", "evidence": NO}, "it opens the 3"),
        ({"given": False}, "it opens the 3"),
    ],
)
def test_proved(examine, how, words):
    found = examine(**how)
    assert found["proved"] and words in found["verdict"] and "it is the key in .env" in found["verdict"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"env": "another-not-a-real-key-0123"}, "the key in .env is another one"),
        ({"env": ""}, "there is no key in .env"),
        ({"keys": {}}, "start the project (docker compose up -d)"),
        ({"keys": {"": ("worker",)}}, "containers have another key: no key in worker"),
        ({"engine": False}, "the Docker Engine does not answer"),
        ({"closed": 2}, "2 of the 5 stored values"),
        ({"opened": 0, "closed": 4}, "4 of the 4"),
        ({"opened": 0}, "no sealed value could be found"),
        ({"down": "the database mariadb does not run; start it"}, "was not opened: the database mariadb"),
        ({"here": False, "closed": 1}, "1 of the 4"),
        ({"here": False, "down": "no image"}, "no image"),
        ({"evidence": UNKNOWN, "down": "the database mariadb does not run"}, "does not run"),
        (
            {"guarded": True},
            "no key in .env, since a rotation is unfinished; run ansible-playbook selfhost.appwrite.rotate",
        ),
    ],
)
def test_not_proved(examine, how, words):
    found = examine(**how)
    assert not found["proved"] and words in found["verdict"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"env": "", "given": False}, "^key: is missing, and /opt/appwrite/.env has none$"),
        (
            {"container": "copy", "down": "container: copy is not a running container"},
            "^container: copy is not a running container$",
        ),
        ({"container": "copy", "here": False, "down": "the Python of this host lacks"}, "lacks"),
    ],
)
def test_refused(examine, how, words):
    with pytest.raises(AppwriteError, match=words):
        examine(**how)


def test_sample():
    module: Any = SimpleNamespace(params={"progress_file": None, "sample": -1})
    with pytest.raises(AppwriteError, match="^sample: must be at least 0, got -1; 0 means all values$"):
        _stored_info.stored_info(module)
