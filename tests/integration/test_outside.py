# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database and a Redis that are no services of the project: the rotation of all that is stored there, and a network that is cut in the middle of it."""

from __future__ import annotations

import contextlib
import functools
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from integration.tls_server import certify
from support import stores
from support.outside import CACHE, DATABASE, Divided, Outside
from support.stack import KEY, Stack, module, on, playbook, set_env, succeed, until
from testbed._base import Failed, run
from testbed.dataset import Dataset

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import servers as _servers
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import env_file_of, opened
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.standstill import Redis
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import mariadb as _mariadb
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores import session as _session
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import StoreError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import Session

SERVICES = ("appwrite", "appwrite-worker-mails", "appwrite-task-maintenance")
MARIADB, POSTGRESQL, MONGODB = (
    Outside("1.9.6", name, services=SERVICES, room="outside") for name in ("mariadb", "postgresql", "mongodb")
)
OLD = "UnrealOutside5Lm9K" + secrets.token_hex(16)


class Site:
    """The two projects, with data under a key."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        assert isinstance(stack.project, Divided) and isinstance(stack.kind, Outside)
        self.project, self.outer, self.clients = stack.project, stack.project.outer, stack.kind.clients
        set_env(stack.directory, **{KEY: OLD})
        self.project.up()
        self.project.wait()
        self.root = self.project.uploads()
        for left in self.root.iterdir():
            shutil.rmtree(left)
        self.word = stack.env()["_APP_DB_PASS"]
        self.instances: list[Instance] = []
        self.data = Dataset.make(seed=11, key=OLD, database=stack.kind.database)
        self.data.load(self.outer)
        self.data.write_files(self.root)

    def instance(self) -> Instance:
        found = Instance(str(self.stack.directory), None, [], None, [], None, True)
        found.client_images = self.clients
        self.instances.append(found)
        opened(found, env_file_of(found))
        return found

    def found(self) -> list[str]:
        """Containers with a client."""
        return run(
            "docker", "ps", "--all", "--quiet", "--filter", f"name=selfhost-appwrite-{self.project.name}"
        ).split()

    def assert_under(self, key: str) -> None:
        found = self.data.check(self.outer, self.root, key)
        assert not found.found and found.values and found.files, found.found[:5]

    def rekey(self, **options: Any) -> dict[str, Any]:
        arguments = {**self.stack.arguments, "scope": "values", **self.clients, **options}
        return module("rekey", arguments, secrets=[self.word, OLD])

    @contextlib.contextmanager
    def cut(self, service: str) -> Iterator[None]:
        """It is on no network meanwhile. Neither end is told."""
        container, alias = self.outer.container(service), CACHE if service == "redis" else DATABASE
        address = self.outer.address(service)
        run("docker", "network", "disconnect", self.project.network, container)
        try:
            yield
        finally:
            again = ("--alias", alias, "--alias", service, "--ip", address)
            try:
                run("docker", "network", "connect", *again, self.project.network, container)
            except Failed:  # an address that the engine chose itself cannot be asked for
                run("docker", "network", "connect", *again[:4], self.project.network, container)


@pytest.fixture
def site(stack: Stack) -> Iterator[Site]:
    found = Site(stack)
    yield found
    for left in found.instances:
        for _made, client in left._companions.values():
            client.close()
    assert not found.found()


@on(MARIADB, nightly=[POSTGRESQL, MONGODB])
@pytest.mark.nightly("test_client.py, test_instance.py; test_rotation.py in a project")
def test_rotate(site, tmp_path):
    """By the role, from the rehearsal to the end."""
    (tmp_path / "password").write_text(secrets.token_hex(20))
    site.outer.redis("set", "default-cache-_console:users:1", "{}")
    site.outer.redis("set", "abuse__1", "5")
    variables = {
        "project_src": str(site.stack.directory),
        "confirm": "localhost",
        "escrow_file": str(tmp_path / "escrow.yml"),
        **site.clients,
    }
    played = playbook(
        "selfhost.appwrite.rotate",
        {f"appwrite_rotation_{name}": value for name, value in variables.items()},
        "--vault-password-file",
        str(tmp_path / "password"),
        secrets=[OLD, site.word],
    )
    assert played.rc == 0, played.output
    assert played.result("Show how the rotation ended")["msg"]["phase"] == "finished"
    new = site.stack.env()[KEY]
    assert new != OLD
    site.assert_under(new)
    assert (site.outer.redis("exists", "default-cache-_console:users:1"), site.outer.redis("get", "abuse__1")) == (
        "0",
        "5",
    )
    assert site.found() == [], "a container is left"
    dump = next(site.stack.directory.glob("appwrite-before-rotation-*.gz"))
    assert dump.stat().st_size > 1000
    told = succeed("stored_info", {**site.stack.arguments, "client_image": site.clients["client_image"], "sample": 0})
    assert told["opens"] is True and told["proved"] is True


REFUSED = {
    "a wrong password": (
        {"_APP_DB_PASS": "NotARealWrongWord1"},
        {},
        r"ERROR 1045 .*It is no service of the project, .* _APP_DB_USER and _APP_DB_PASS are right",
    ),
    "no such host": (
        {"_APP_DB_HOST": "gone.notarealcompany.internal"},
        {},
        r"ERROR 2005 .*gone\.notarealcompany\.internal",
    ),
    "no such port": ({"_APP_DB_PORT": "3309"}, {}, "ERROR 2002 .*_APP_DB_HOST, _APP_DB_PORT"),
    "an adapter that is unknown": ({"_APP_DB_ADAPTER": "sqlite"}, {}, "^_APP_DB_ADAPTER: sqlite is no database"),
    "no such image": (
        {},
        {"client_image": "gone.invalid/mariadb:1"},
        "^client_image: the image gone.invalid/mariadb:1",
    ),
    "no such Redis": (
        {"_APP_REDIS_HOST": "gone.notarealcompany.internal"},
        {},
        "^the Redis at gone.*Could not connect to Redis at gone.* _APP_REDIS_PASS are right",
    ),
}


@on(MARIADB)
@pytest.mark.nightly("test_rotate, and in unit/ test_client.py, test_instance.py")
@pytest.mark.parametrize(("values", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(site, values, options, words):
    """In words, and nothing is changed. The containers have another setting then, which is of no interest before."""
    set_env(site.stack.directory, **values)
    refused = site.rekey(new_key="Another" + OLD, **options)
    assert refused["rc"]
    assert re.search(words, refused["msg"]), refused["msg"]
    site.assert_under(OLD)


def as_root(site: Site, mariadb: str, postgresql: str) -> None:
    """Statements in SQL, a command of the shell for PostgreSQL, whose server is started anew then."""
    database = site.stack.kind.database
    container = site.outer.container(database)
    if database == "mariadb":
        login = f"MYSQL_PWD={site.stack.env()['_APP_DB_ROOT_PASS']}"
        run("docker", "exec", "--env", login, container, "mariadb", "--user=root", "--execute", mariadb)
    else:
        run("docker", "exec", container, "sh", "-c", postgresql)
        run("docker", "restart", container)
        site.outer.wait()


@on(MARIADB, POSTGRESQL)
@pytest.mark.nightly("unit/ test_standstill.py for Redis")
def test_refused_replica(site):
    directory = "/var/lib/postgresql/18/data"
    as_root(site, "SET GLOBAL read_only = 1", f"touch {directory}/standby.signal")
    try:
        for check in (True, False):
            arguments = {**site.stack.arguments, "scope": "values", "new_key": "Another" + OLD, **site.clients}
            refused = module("rekey", arguments, check=check, secrets=[site.word, OLD])
            assert refused["rc"] and refused["msg"].startswith("the database is a replica, which takes no changes")
    finally:
        as_root(site, "SET GLOBAL read_only = 0", f"rm {directory}/standby.signal")
    site.assert_under(OLD)


@on(MARIADB, POSTGRESQL)
@pytest.mark.nightly("unit/ test_host.py")
def test_another_machine(site):
    """A session of the same user from elsewhere, as of Appwrite on another host: the rehearsal names it, and the rotation stops."""
    kind, client = (instance := site.instance()).database()
    wait = "SELECT SLEEP(600)" if kind == "mariadb" else "SELECT pg_sleep(600)"
    command = stores.client(kind, client)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    ) as other:
        assert other.stdin
        other.stdin.write(f"{wait};\n")
        other.stdin.flush()
        words = r"other sessions are open at the database \(1\): \w+ from "
        arguments = {**site.stack.arguments, "scope": "values", "new_key": "Another" + OLD, **site.clients}
        until(lambda: bool(re.search(words, " ".join(succeed("rekey", arguments, check=True)["warnings"]))))
        refused = module("rekey", arguments, secrets=[site.word, OLD])
        assert refused["rc"] and re.search(f"^{words}.*Nothing was changed", refused["msg"]), refused["msg"]
        other.kill()
    instance._companions["client_image"][1].close()
    site.assert_under(OLD)
    assert set(site.project.ps().values()) <= {"running", "healthy"}


# --- the audit ---

SPEAKS = {"mariadb": ("MariaDB", 3306), "postgresql": ("PostgreSQL", 5432), "mongodb": ("MongoDB", 27017)}


@on(MARIADB, nightly=[POSTGRESQL, MONGODB])
@pytest.mark.nightly("unit/ test_servers.py, test_sharing.py; test_audit.py")
def test_audit(site):
    """Of servers in containers of another project; asked by their addresses, as if they were elsewhere.

    FerretDB takes the beginning of a handshake for the length of a message, and waits for all of that if it is below its limit of 48 MB.
    """
    kind, port = SPEAKS[site.stack.kind.database]
    told = succeed("audit_info", site.stack.arguments)
    found = {one["id"]: one for one in told["findings"]}
    closed = found["platform.database_closed"]
    where = (
        f"{kind} ({DATABASE}:{port}) is at the container {site.outer.name}-{site.stack.kind.database}-1 of this machine"
    )
    assert closed["status"] == "pass" and closed["evidence"].startswith(where), closed
    assert found["platform.database_encrypted"]["status"] == "not_applicable"
    assert found["platform.database_encrypted_inside"]["status"] == "not_applicable"
    compared = told["compared"]
    assert compared["outside"] is True
    if compared["opens"] is None:  # a machine on which somebody works has the image perhaps
        assert "is not on this host" in compared["unseen"]
    else:
        assert set(compared["opens"].values()) == {True}
    for server, asked in ((site.stack.kind.database, (kind, port)), ("redis", ("Redis", 6379))):
        [tls] = _servers._asked(site.outer.address(server), asked[1], asked[0]) or (True,)
        assert tls is False or tls is None and server == "mongodb"


SWITCH_TLS_ON = {
    "postgresql": """
psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "ALTER SYSTEM SET ssl_cert_file='/tmp/certificate.pem'" \\
    -c "ALTER SYSTEM SET ssl_key_file='/tmp/key.pem'" -c "ALTER SYSTEM SET ssl=on" -c "SELECT pg_reload_conf()"
""",
    "redis": "redis-cli config set tls-cert-file /tmp/certificate.pem tls-key-file /tmp/key.pem tls-auth-clients no tls-port 6390",
}


def speaks_tls(address: str, port: int, kind: str) -> bool:
    return _servers._asked(address, port, kind) == (True,)


@on(POSTGRESQL)
@pytest.mark.nightly("unit/ test_servers.py")
def test_audit_of_tls(site, tmp_path):
    certify(tmp_path, "good")
    for server, (kind, port) in {"postgresql": ("PostgreSQL", 5432), "redis": ("Redis", 6390)}.items():
        container = site.outer.container(server)
        for name in ("certificate.pem", "key.pem"):
            run("docker", "cp", str(tmp_path / name), f"{container}:/tmp/{name}")
        user = run("docker", "exec", container, "sh", "-c", "stat -c %u:%g /proc/1").strip()
        run("docker", "exec", "--user", "0", container, "chown", user, "/tmp/certificate.pem", "/tmp/key.pem")
        run("docker", "exec", container, "sh", "-c", SWITCH_TLS_ON[server])
        until(functools.partial(speaks_tls, site.outer.address(server), port, kind))


# --- cut off in the middle ---

MOMENTS = {
    "reading": (r"SELECT _id, _uid|\"what\":\"page\"", "cut"),
    "writing": (r"UPDATE |\"what\":\"change\"", "cut"),
    "committing": (r"^COMMIT;|\"what\":\"change\"", "cut"),
    "while the server starts anew": (r"UPDATE |\"what\":\"change\"", "restart"),
}


def rotation(site: Site, instance: Instance, new: str) -> tuple[Any, Any]:
    kind, client = instance.database()
    return stores.rotation(kind, client, str(site.root), str(site.stack.directory / ".outside-journal"), OLD, new)


@on(MARIADB, POSTGRESQL, MONGODB)
@pytest.mark.nightly("test_rotate; of a project's own database test_rotation_kill.py")
@pytest.mark.parametrize(("pattern", "what"), MOMENTS.values(), ids=MOMENTS)
def test_cut_off(site, monkeypatch, pattern, what):
    """One sentence with the remedy; everything as before if changes are in a transaction, or else as far as it came. The next one goes on from there."""
    monkeypatch.setattr(_session, "_ANSWER_TIMEOUT", 5)
    post: Callable[[Session, str], int] = Session.post
    new, instance, cuts = "Another" + OLD, site.instance(), contextlib.ExitStack()
    store, rotating = rotation(site, instance, new)

    def cutting(session: Session, statements: str) -> int:
        if re.search(pattern, statements):
            monkeypatch.setattr(Session, "post", post)
            if what == "cut":
                cuts.enter_context(site.cut(site.stack.kind.database))
            else:
                run("docker", "restart", "--time", "0", site.outer.container(site.stack.kind.database))
        return post(session, statements)

    monkeypatch.setattr(Session, "post", cutting)
    words = "did not answer within 5 seconds|the connection was lost|its client has ended|cannot be asked"
    goes_on = what == "restart" and not store.transactional  # MongoDB's driver connects anew, and asks once more
    with cuts, contextlib.suppress(StoreError) if goes_on else pytest.raises(StoreError, match=words):
        rotating.rotate()
    assert Session.post is post, "nothing was cut"
    store.close()
    instance._companions["client_image"][1].close()
    assert site.found() == []
    site.outer.wait()
    monkeypatch.undo()
    monkeypatch.setattr(_mariadb, "LOCK_TIMEOUT", 2)
    instance = site.instance()
    try:
        store, rotating = rotation(site, instance, new)
    except StoreError as error:  # MariaDB was not told that the other end is gone
        said = re.search(r"end it: (KILL \d+)$", str(error))
        assert said, error
        site.outer.query(mariadb=f"{said[1]};")
        store, rotating = rotation(site, instance, new)
    with contextlib.closing(store):
        if store.transactional:
            assert rotating.state() in (("old", "new") if "COMMIT" in pattern else ("old",))
        if rotating.state() != "new":
            rotating.rotate()
        assert rotating.state() == "new" and rotating.sweep() == []
    instance._companions["client_image"][1].close()
    site.assert_under(new)


@on(MARIADB)
@pytest.mark.nightly("unit/ test_client.py")
def test_killed(site, monkeypatch):
    """With the module goes what it has made, though nobody is left who would remove it."""
    instance = site.instance()
    instance.database()
    instance.client("redis_client_image", site.clients["redis_client_image"], {})
    assert len(site.found()) == 2
    for _made, client in instance._companions.values():
        client._process.kill()
    until(lambda: not site.found())


@on(MARIADB)
@pytest.mark.nightly("unit/ test_standstill.py")
def test_redis_with_a_password(site):
    word, instance = "NotARealRedisWord" + secrets.token_hex(4), site.instance()

    def redis(release: str, **values: str) -> Redis:
        given: Any = {"_APP_REDIS_HOST": CACHE, "_APP_REDIS_PASS": word, **values}
        known: Any = SimpleNamespace(
            services={"appwrite": given},
            release=release,
            compose=instance.compose,
            client=instance.client,
            service_at=instance.service_at,
        )
        return Redis(known)

    cache = site.outer.container("redis")
    site.outer.redis("set", "default-cache-1", "{}")
    site.outer.redis("acl", "setuser", "ada", "on", f">{word}1", "~*", "+@all")
    site.outer.redis("config", "set", "requirepass", word)
    try:
        assert redis("1.9.6").forget_documents() == 1
        assert redis("2.4.0", _APP_REDIS_USER="ada", _APP_REDIS_PASS=f"{word}1").waiting() == {}
        for user, password in (("ada", word), ("", f"{word}2"), ("", "")):
            words = f"^the Redis at {CACHE}: .*(WRONGPASS|NOAUTH).* and _APP_REDIS_PASS are right"
            with pytest.raises(AppwriteError, match=words) as failed:
                redis("2.4.0", _APP_REDIS_USER=user, _APP_REDIS_PASS=password)
            assert word not in str(failed.value)
    finally:
        run("docker", "exec", "--env", f"REDISCLI_AUTH={word}", cache, "redis-cli", "config", "set", "requirepass", "")
        instance._companions["redis_client_image"][1].close()
