# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which line a rotation changes, how long it waits for a dump, and whom it takes for a stranger. The rest needs an engine: tests/integration."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import connections as _connections
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import host as _rotation_host
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import standstill as _standstill
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import Journal
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.standstill import Others, Stillness
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Seen, Sessions
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.mongodb import judged

OLD, NEW, PUBLIC = "NotARealOldKey12", "NotARealNewKey12", "your-secret-key"
KEY = "_APP_OPENSSL_KEY_V1"
NAME = "appwrite-before-rotation-20260102T030405Z.gz"


# --- the line of the key ---


ELSEWHERE = {  # how the compose file has it, a line of .env, and what is said
    "another line of .env": (f"- {KEY}=${{SHOP_KEY}}", f"SHOP_KEY={OLD}", "the line SHOP_KEY of .env ({file}, line 7)"),
    "the compose file": (f"- {KEY}={OLD}", "", "elsewhere than .env ({file}, line 7)"),
    "a text around the line": (f"- {KEY}=x${{{KEY}}}", f"{KEY}={OLD}", "elsewhere than .env ({file}, line 7)"),
}


@pytest.mark.parametrize(("entry", "line", "source"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_key_from_elsewhere(run_module, project, without_engine, entry, line, source):
    """It is refused with what to write where, and nothing is changed."""
    file = project / "docker-compose.yml"
    file.write_text(file.read_text().replace(f"- {KEY}", entry))
    with (project / ".env").open("a") as stream:
        stream.write(line + "\n")
    before = {path: path.read_bytes() for path in project.iterdir()}
    message = run_module("rekey", scope="values", new_key=NEW)["msg"]
    assert (
        f"{KEY} of appwrite comes from {source.format(file=file)}, and a rotation changes its own line of .env alone"
        in message
    )
    assert (
        f"First write the same key into .env as the line {KEY}=…, then write `- {KEY}` in the compose file instead"
        in message
    )
    assert OLD not in message and NEW not in message
    assert {path: path.read_bytes() for path in project.iterdir()} == before


def test_key_from_its_own_line(run_module, project, without_engine):
    """With a default, which counts for nothing as long as the line is there."""
    file = project / "docker-compose.yml"
    file.write_text(file.read_text().replace(f"- {KEY}", f"- {KEY}=${{{KEY}:-your-secret-key}}"))
    with (project / ".env").open("a") as stream:
        stream.write(f"{KEY}={OLD}\n")
    found = run_module("rekey", scope="values", step="state")
    assert found["phase"] == "none" and found.get("msg") is None


# --- the dump ---


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(EnvFile(str(tmp_path / ".env")))
    with found.locked(create=True):
        yield found


def dump(journal: Journal, tmp_path: Path, program: str) -> None:
    """By a docker that is this program."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(f"#!/bin/sh\n{program}\n")
    (programs / "docker").chmod(0o755)
    compose = SimpleNamespace(environment={"PATH": f"{programs}:{os.environ['PATH']}"}, mask=lambda text: text)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PATH", compose.environment["PATH"])
        instance: Any = SimpleNamespace(compose=compose, database=lambda: ("mariadb", "id"))
        store: Any = SimpleNamespace(DUMP=("script", b"-- end"))
        _rotation_host.dump(instance, store, journal, NAME, lambda *told: None)


def test_dump(journal, tmp_path):
    dump(journal, tmp_path, "echo 'a row'; echo '-- end'")
    path = tmp_path / NAME
    assert gzip.decompress(path.read_bytes()) == b"a row\n-- end\n" and stat.S_IMODE(path.stat().st_mode) == 0o600


FAILED = {
    "a database that is paused": (
        "echo 'a row'; echo $$ > pid; exec sleep 1000",
        "the database sent nothing for 0 seconds",
    ),
    "one that says nothing more, and does not end": ("exec >&-; exec sleep 1000", "its program did not end"),
    "one that goes on and on": ("while echo 'a row'; do sleep 0.01; done", "it did not end within 1 seconds"),
    "an error": ("echo 'not allowed' >&2; exit 3", r"exit code 3 \(not allowed\)"),
    "half of it": ("echo 'a row'", "it is not complete"),
}


@pytest.mark.parametrize(("program", "words"), FAILED.values(), ids=FAILED)
def test_dump_fails(journal, tmp_path, monkeypatch, program, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_rotation_host, "_SILENCE", 0.5)
    monkeypatch.setattr(_rotation_host, "_DUMPING", 1)
    with pytest.raises(AppwriteError, match=f"^the dump of the database failed: .*{words}.*Nothing was changed"):
        dump(journal, tmp_path, program)
    assert not (tmp_path / NAME).exists()
    if (tmp_path / "pid").exists():
        assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists(), "its client goes on"


def test_dump_waits_for_a_connection(journal, tmp_path):
    (tmp_path / "used").touch()
    refused = "rm used; echo 'half of it'; echo 'ERROR 1040 (08004): Too many connections' >&2; exit 1"
    dump(journal, tmp_path, f"cd {tmp_path}; if [ -e used ]; then {refused}; fi; echo '-- end'")
    assert gzip.decompress((tmp_path / NAME).read_bytes()) == b"-- end\n"


def test_dump_without_a_connection(journal, tmp_path, monkeypatch):
    monkeypatch.setattr(_connections, "PATIENCE", 0.5)
    with pytest.raises(
        AppwriteError,
        match="^the dump of the database failed: PostgreSQL: all of its connections are in use.* Nothing was changed",
    ):
        dump(journal, tmp_path, "echo 'pg_dump: error: FATAL:  sorry, too many clients already' >&2; exit 1")
    assert not (tmp_path / NAME).exists()


def test_dump_overwrites_nothing(journal, tmp_path):
    """In a directory that somebody else may own."""
    (tmp_path / "kept").write_text("kept")
    (tmp_path / NAME).symlink_to("kept")
    with pytest.raises(AppwriteError, match="the dump of the database failed"):
        dump(journal, tmp_path, "echo '-- end'")
    assert (tmp_path / "kept").read_text() == "kept"


# --- who else there is ---


def container(image: str = "appwrite/appwrite:1.9.6", service: str = "appwrite", **environment: str) -> Container:
    return Container("id", service, "running", None, "", 0, 0, "", "", environment, image)


def stillness(old: str) -> Stillness:
    instance: Any = SimpleNamespace(
        services={"appwrite": {}}, listed=lambda service: {}, service_at=lambda host: host or None
    )
    return Stillness(instance, (old, NEW), lambda *told: None)


@pytest.mark.parametrize(
    ("found", "is_holder"),
    [
        (container(**{KEY: "x"}), True),
        (container(), False),
        (container(A_COPY=OLD), True),
        (container(A_COPY=NEW), True),
        (container(A_COPY=OLD + "x"), False),
        (container("mariadb:10.11", "mariadb", **{KEY: OLD}), False),
        (container("redis:7", "redis", A_COPY=OLD), False),
    ],
)
def test_holders(found, is_holder):
    assert stillness(OLD).is_holder(found) == is_holder


@pytest.mark.parametrize(
    ("found", "has_new"),
    [
        (container(**{KEY: NEW}), True),
        (container(**{KEY: OLD}), False),
        (container(A_COPY=NEW), True),
        (container(A_COPY=OLD), False),
        (container(**{KEY: NEW, "A_COPY": OLD}), True),
        (container(**{KEY: ""}), False),
    ],
)
def test_holder_of_the_new_key(found, has_new):
    """A container that has it under another name keeps no rotation from its end."""
    assert stillness(OLD).has_new(found) == has_new


def test_public_default_is_the_secret_of_the_executor_too():
    found = stillness(PUBLIC)
    assert not found.is_holder(container("openruntimes/executor:0.7", "executor", OPR_EXECUTOR_SECRET=PUBLIC))
    assert found.is_holder(container(service="mine", MY_OPENSSL_KEY=PUBLIC))


def item(name: str, project: str | None, networks: Mapping[str, str], **environment: str) -> dict[str, Any]:
    """As the engine says it."""
    return {
        "Name": f"/{name}",
        "Config": {
            "Env": [*map("=".join, environment.items()), "ODD"],
            "Labels": project and {"com.docker.compose.project": project},
        },
        "NetworkSettings": {"Networks": {network: {"IPAddress": address} for network, address in networks.items()}},
        "HostConfig": {},
    }


def others(
    monkeypatch: pytest.MonkeyPatch,
    items: Sequence[Any],
    sessions: Sequence[Seen] = (),
    key: str = OLD,
    blind: str = "",
    address: str = "",
    in_bucket: bool = False,
) -> Others:
    instance: Any = SimpleNamespace(project="mine")
    store: Any = SimpleNamespace(sessions=lambda: Sessions(list(sessions), blind, address))
    found = Others(instance, store, key, in_bucket)
    monkeypatch.setattr(found, "_inspected", lambda: list(items))
    monkeypatch.setattr(_standstill, "_PATIENCE", 0.1)
    return found


MINE = item("mine-appwrite-1", "mine", {"mine_default": "172.20.0.5"}, **{KEY: OLD})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            item("theirs", "other", {}, **{KEY: OLD}),
            "the container theirs of the project other has the encryption key too (_APP_OPENSSL_KEY_V1)",
        ),
        (item("theirs", None, {}, BACKUP_KEY=OLD), "the container theirs has the encryption key too (BACKUP_KEY)"),
        (item("theirs", "other", {}, BACKUP_KEY=OLD + "x"), ""),
        (item("theirs", "other", {}), ""),
    ],
)
def test_holder_elsewhere(monkeypatch, other, words):
    said = others(monkeypatch, [MINE, other]).holders()
    assert said.startswith(words) and bool(said) == bool(words)
    assert OLD not in said


@pytest.mark.parametrize(
    ("networks", "name", "is_other"),
    [
        ({"other_default": ""}, KEY, False),
        ({"mine_default": ""}, KEY, True),
        ({"mine_default": ""}, "OPR_EXECUTOR_SECRET", False),
    ],
)
def test_public_default_elsewhere(monkeypatch, networks, name, is_other):
    """Half of the world has it: another installation on this host does not keep this one from getting rid of it."""
    assert (
        bool(others(monkeypatch, [MINE, item("theirs", "other", networks, **{name: PUBLIC})], key=PUBLIC).holders())
        == is_other
    )


def test_sessions(monkeypatch):
    seen = [
        Seen("user", "172.20.0.5:4000", "appwrite"),
        Seen("root", "10.0.0.9:5000", ""),
        Seen("user", "mine-appwrite-1.mine_default:80", "appwrite"),
    ]
    found = others(monkeypatch, [MINE], seen)
    assert found.sessions(running=True).startswith(
        "other sessions are open at the database (1): root from 10.0.0.9:5000. End "
    )
    assert found.sessions().startswith(
        "other sessions are open at the database (3): user from 172.20.0.5:4000 at appwrite, root from"
    )
    with pytest.raises(AppwriteError, match=r"^other sessions are open at the database \(3\)"):
        found.require_none()
    others(monkeypatch, [MINE]).require_none()


def test_sessions_by_an_address_that_all_of_this_host_have(monkeypatch):
    """Where the database is on another machine: before everything stands still, its own containers cannot be told from the rest of the host."""
    seen = [Seen("user", "203.0.113.5:4000", "appwrite"), Seen("user", "203.0.113.6:4000", "appwrite")]
    found = others(monkeypatch, [MINE], seen, address="203.0.113.5:5000")
    assert "(1): user from 203.0.113.6:4000 at appwrite. " in found.sessions(running=True)
    assert "(2): user from 203.0.113.5:4000" in found.sessions()


def test_sessions_end(monkeypatch):
    """Those of what was just stopped, and of a health check."""
    found = others(monkeypatch, [MINE])
    monkeypatch.setattr(_standstill, "_PATIENCE", 30)
    answers = iter([[Seen("user", "localhost", "")]] * 2 + [[]])
    monkeypatch.setattr(found, "_store", SimpleNamespace(sessions=lambda: Sessions(next(answers))))
    assert found.sessions() == ""


def test_unseen(monkeypatch):
    assert others(monkeypatch, [], blind="it is blind").unseen() == [f"{_standstill.UNSEEN} (it is blind)"]
    assert others(monkeypatch, [], in_bucket=True).unseen() == [_standstill.UNSEEN, _standstill.UNSEEN_FILES]


def test_sessions_of_mongodb():
    """Recorded from MongoDB's manual of currentOp (7.0): clients, ours, and threads of the server itself."""

    def op(address: str, own: bool = False, driver: str = "nodejs") -> dict[str, Any]:
        return {"user": "root", "address": address, "space": "", "own": own, "driver": driver}

    ours = op("127.0.0.1:5000", True)
    found = judged(
        [
            ours,
            op(""),
            op("172.20.0.5:6000"),
            op("127.0.0.1:7000", driver="NetworkInterfaceTL-ReplNetwork"),
            op("127.0.0.1:7001", driver="MongoDB Internal Client"),
        ],
        "10.0.0.9:8000",
    )
    assert found == Sessions([Seen("root", "172.20.0.5:6000", "")], "", "10.0.0.9:8000")
    for blind in ([], [op("172.20.0.5:6000")]):
        assert judged(blind, "").blind == "the database does not say who else is connected"


@pytest.mark.parametrize("kind", ["a volume", "a directory", "a volume that is not on this host"])
def test_where_the_data_is(tmp_path, kind):
    (tmp_path / "data").mkdir()
    place = str(tmp_path / ("elsewhere" if "not" in kind else "data"))
    mounts = (
        ("/etc/mysql", "/etc/mysql", True),
        (place if kind == "a directory" else "shop_data", "/var/lib/mysql", True),
    )
    container = Container("id", "mariadb", "running", None, "", 0, 0, "", "", {}, mounts=mounts)
    compose = SimpleNamespace(docker=lambda command, tolerate: SimpleNamespace(stdout=f"{place}\n"))
    instance: Any = SimpleNamespace(compose=compose, containers=lambda: [container], database=lambda: ("mariadb", "id"))
    assert _rotation_host._data_of(instance) == (None if "not" in kind else place)
