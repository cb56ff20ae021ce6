# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a running project by its playbook: everything that was stored opens with the new key, by PHP's own openssl."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support.stack import (
    CHECKOUT,
    KEY,
    Kind,
    assert_no_leak,
    module,
    official,
    on,
    playbook,
    refuse,
    set_env,
    succeed,
    type_in,
    until,
)
from testbed._base import clean_environ, run
from testbed.dataset import Dataset
from testbed.traffic import Traffic

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    ALPHANUMERIC,
    GUARD,
    fingerprint,
    shown_fingerprint,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import unseal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report import report

OLD = "UnrealQx7Vb2Lm9K" + "Zt5Rw8Jy3Hn6Pg0C" * 2
OWN = OLD + secrets.token_hex(3)
"""The key of another project on this engine stops a rotation, and the tests of several may run at once."""
NEW = "AlsoNotRealKey2Wv9" + "Bd4Fs7Tq1Xk8Mr5Y" * 2
PUBLIC = "your-secret-key"
USAGE = "appwrite-worker-stats-usage"
_OF_1 = ("appwrite", "appwrite-worker-mails", "appwrite-task-maintenance", USAGE, "redis")
_OF_2 = (
    *("appwrite", "appwrite-worker", "appwrite-mqtt", "appwrite-task-scheduler"),
    *("appwrite-task-maintenance", "clickhouse", "orchestrator", "redis"),
)
KINDS = [
    Kind("1.9.6", "mariadb", services=(*_OF_1, "mariadb"), room="rotate"),
    Kind("2.4.0", "postgresql", services=(*_OF_2, "postgresql"), room="rotate"),
    Kind("1.9.6", "mongodb", services=(*_OF_1, "mongodb"), room="rotate"),
]
BY_NIGHT = [
    Kind("1.9.6", "postgresql", services=(*_OF_1, "postgresql"), room="rotate"),
    *(Kind("2.4.0", name, services=(*_OF_2, name), room="rotate") for name in ("mariadb", "mongodb")),
    Kind("2.4.0", "postgresql", room="rotate", topology="separate"),
    *official(),
]
REFUSED = Kind(services=("appwrite", "appwrite-worker-mails", "redis", "mariadb"), room="rotate-refused")
WORKER, QUEUE = "appwrite-worker-mails", "v1-mails"


class Vault:
    """A stack with data under a key, and a controller that keeps keys."""

    def __init__(self, stack, directory: Path, key: str, data: Dataset) -> None:
        self.stack = stack
        self.key = key
        self.data = data
        self.root = stack.project.uploads()
        self.password = directory / "password"
        self.password.write_text("".join(secrets.choice(ALPHANUMERIC) for _unused in range(40)))
        self.escrow = directory / "escrow.yml"
        set_env(stack.directory, **{KEY: key})
        stack.project.up()
        stack.project.wait()
        for left in self.root.iterdir():  # by the test before
            shutil.rmtree(left)
        data.load(stack.project)
        data.write_files(self.root)

    def rotate(self, *flags, vault=True, name="selfhost.appwrite.rotate", **variables):
        extra = {
            "project_src": str(self.stack.directory),
            "confirm": "localhost",
            "escrow_file": str(self.escrow),
            **variables,
        }
        flags = (*flags, "--vault-password-file", str(self.password)) if vault else flags
        return playbook(
            name, {f"appwrite_rotation_{name}": value for name, value in extra.items()}, *flags, secrets=[self.key]
        )

    def _ansible_vault(self, verb):
        return run(
            str(CHECKOUT / ".venv" / "bin" / "ansible-vault"),
            verb,
            "--vault-password-file",
            str(self.password),
            str(self.escrow),
        )

    def keys(self):
        """In the order in which the escrow has them."""
        return [
            line.partition(": ")[2] for line in self._ansible_vault("view").splitlines() if line.startswith("- key: ")
        ]

    def cut_off(self):
        """The escrow, as it is where the controller was lost while the host went on: the new key is on its way still."""
        content = yaml.safe_load(self._ansible_vault("view"))
        new, *others = content["keys"]
        self.escrow.write_text(
            yaml.safe_dump({**content, "keys": [*others, {**new, "pending": True}]}, sort_keys=False)
        )
        self._ansible_vault("encrypt")

    def assert_under(self, key, ended=()):
        """ended: collections of the console that are empty now."""
        found = self.data.check(self.stack.project, self.root, key)
        lost = [
            ("lost", f"{table.collection} {row.uid}")
            for table in self.data.tables
            if table.namespace == "_console" and table.uid in ended
            for row in self.data.rows(table)
        ]
        assert sorted(found.found) == sorted(lost), found.found[:5]
        assert found.values and found.files
        assert self.stack.env()[KEY] == key
        config = self.stack.project.config()["services"]
        holders = [service for service, options in config.items() if KEY in (options.get("environment") or {})]
        assert holders
        for service in holders:
            assert self.stack.project.container_env(service)[KEY] == key
        assert set(self.stack.project.ps().values()) <= {"running", "healthy"}
        assert not (self.stack.directory / ".appwrite-rotation").exists()

    @contextlib.contextmanager
    def traffic(self):
        """Nothing of what the API acknowledges meanwhile is lost, whatever is done to it."""
        with Traffic(self.stack.project) as found:
            yield
        assert not (wrong := found.check()), wrong[:5]
        assert found.requests
        print(found)

    def redis(self, *words):
        return self.stack.project.redis(*words)


def make_vault(stack, directory, key, **options):
    return Vault(stack, directory, key, Dataset.make(seed=7, key=key, database=stack.kind.database, **options))


@pytest.fixture
def vault(stack, tmp_path):
    """On PostgreSQL under the installer's public key."""
    return make_vault(stack, tmp_path, PUBLIC if stack.kind.database == "postgresql" else OWN + stack.kind.database)


@contextlib.contextmanager
def a_job_left_over(project):
    """By a worker that was killed, and runs again. That it rests cannot be seen if it has several in hand at a time, as from 2.0 on."""
    [worker] = project.ps().keys() & {WORKER, "appwrite-worker"}
    project.slow(worker, 600)
    project.enqueue(QUEUE)
    in_hand = f"utopia-queue.processing.{QUEUE}"
    until(lambda: project.redis("llen", in_hand) == "1")
    run("docker", "kill", project.container(worker))
    job = project.redis("lindex", in_hand, "0")
    until(lambda: int(project.redis("object", "idletime", f"utopia-queue.jobs.{QUEUE}.{job}")) > 6)
    project.heal(worker)
    project.up()
    yield
    project.redis("del", in_hand)


@on(*KINDS, nightly=BY_NIGHT)
def test_rotate(vault):
    vault.redis("set", "default-cache-_console:users:1", "{}")
    vault.redis("set", "abuse__1", "5")
    rehearsed = vault.rotate("--check")
    assert (rehearsed.rc, rehearsed.recap["changed"]) == (0, 0), rehearsed.output
    said = rehearsed.result("Show what the rehearsal found")["msg"]
    assert said["opened_by_neither_key"] == "none" and " open with the key in force" in said["values"]
    found = rehearsed.result("Rehearse the rotation while everything runs")
    assert found["report"]["state"] == "old" and found["report"]["undecryptable"] == []
    files = sum(one["bytes"] for one in found["report"]["collections"])
    assert found["disk_needed"]["files"] == files > 0 < found["disk_needed"]["database"]
    is_public = vault.key == PUBLIC
    strangers = found if "console" in found else None
    assert bool(strangers) == is_public
    count = 0
    if is_public:
        count = len(
            list(vault.data.rows(next(table for table in vault.data.tables if table.collection == "_console_sessions")))
        )
        listed = strangers["console"]
        assert (
            said["sessions_to_end"] == f"console: {count}"
            and listed["sessions"]["count"] == len(listed["sessions"]["newest"]) == count > 0
        )
        assert all(listed[kind]["newest"] for kind in ("accounts", "api_keys", "dev_keys"))
    vault.assert_under(vault.key)
    with a_job_left_over(vault.stack.project), vault.traffic():
        played = vault.rotate()
    assert played.rc == 0, played.output
    assert f"left over in {QUEUE} (1)" in played.output
    new = vault.keys()[0]
    assert len(new) == 64
    assert_no_leak(played.output, [new])
    vault.assert_under(new, ended=("sessions", "tokens", "sessions_perms") if is_public else ())
    assert vault.keys()[1:] == [vault.key] * (not is_public)
    assert (vault.redis("exists", "default-cache-_console:users:1"), vault.redis("get", "abuse__1")) == ("0", "5")
    said = played.result("Show how the rotation ended")["msg"]
    assert (said["phase"], said["old_key"], said["new_key"]) == (
        "finished",
        shown_fingerprint(vault.key),
        fingerprint(new),
    )
    assert int(said["ended_sessions"]) == count
    api, background, whole = map(int, re.findall(r"(\d+) s", said["downtime"]))
    assert 0 < api <= background <= whole
    assert re.search(r"\d+ file tokens", said["does_not_work_any_more"])
    left = [Path(each.split(", ")[0]) for each in said["remains"]]
    assert all(path.exists() for path in left) and [path.suffix for path in left] == [".gz", ".bak"]
    assert re.search(r"^localhost: start(ing|ed)\b", played.output, re.MULTILINE), (
        "no line of progress while everything starts"
    )
    dumps = list(vault.stack.directory.glob("appwrite-before-rotation-*.gz"))
    assert [path.stat().st_mode & 0o777 for path in dumps] == [0o600]
    assert succeed("stored_info", {**vault.stack.arguments, "sample": 0})["opens"] is True
    assert succeed("stored_info", {**vault.stack.arguments, "key": vault.key})["opens"] is False


@on(KINDS[0])
@pytest.mark.nightly("test_rotate, test_steps, test_stores.py, test_procedure.py")
def test_rotate_what_is_half_lost_and_busy(stack, tmp_path):
    """Values that no key opens stop it until they are waived; a job that waits stops it until it is done; a container of `compose run` goes too."""
    vault = make_vault(stack, tmp_path, OWN, strangers=2, file_bytes=50_000)
    refused = vault.rotate()
    assert refused.rc == 2
    message = refused.result("Rotate the key")["msg"]
    assert (
        message.startswith("appwrite_rotation_waivers: 2 sealed values or files cannot be opened")
        and "Nothing was changed" in message
    )
    found = refused.result("Rehearse the rotation while everything runs")["report"]["undecryptable"]
    assert len(found) == 2 and {one["column"] for one in found} == {"password"}
    waivers = ["/".join((one["collection"], one["id"], one["column"])) for one in found]
    vault.assert_under(OWN)

    one_off = stack.project.compose("run", "--detach", "--no-deps", "appwrite-worker-mails").strip()
    stack.project.slow(WORKER, 600)
    stack.project.enqueue(QUEUE)
    refused = vault.rotate(waivers=waivers, drain_timeout=2)
    assert refused.rc == 2
    assert refused.result("Rotate the key")["msg"].startswith(
        "drain_timeout: after 2 seconds jobs still wait or run in v1-mails ("
    )
    vault.assert_under(OWN)
    assert list(stack.directory.glob("appwrite-before-rotation-*")) == []
    assert not [path for path in vault.root.rglob("*") if re.search(r"-[0-9a-f]{16}(\.|$)", path.name)], (
        "successors that nothing uses"
    )

    stack.project.heal(WORKER)
    until(lambda: stack.project.jobs(QUEUE) == 0)
    with vault.traffic():
        played = vault.rotate(waivers=waivers)
    assert played.rc == 0, played.output
    vault.assert_under(vault.keys()[0])
    assert one_off not in run("docker", "ps", "--all", "--format", "{{.Names}}")


@on(KINDS[0])
@pytest.mark.nightly("test_rotate, test_every_page_is_typed_in")
def test_guide(vault, tmp_path, host):
    """The page of the documentation, command by command, over SSH."""
    (tmp_path / "inventory.ini").write_text("[appwrite]\nappwrite.example.com ansible_become=true\n")
    (tmp_path / "vault-password").write_text(vault.password.read_text())
    page = (CHECKOUT / "docs" / "docsite" / "rst" / "rotation.rst").read_text()
    commands = re.findall(r"^ *\$ (.*)", page, re.MULTILINE)
    ends = {
        "--check": 0,
        "confirm=appwrite.example.com": 0,
        "abort=true": 2,
        'sample=0"': 0,
        "project_src=/opt/appwrite": 0,
        "scope=tokens": 0,
    }
    assert len(commands) == len(ends)
    for command, (end, rc) in zip(commands, ends.items()):
        assert command.endswith(end)
        done = type_in(command.replace("/opt/appwrite", str(vault.stack.directory)), tmp_path, **host.environ)
        assert done.returncode == rc, done.stdout + done.stderr
        if end == "abort=true":
            assert "abort: no rotation is under way" in done.stdout
        if end == 'sample=0"':
            assert '"opens": true' in done.stdout
    assert re.findall(r"^\$ (.*rotate.*)", (CHECKOUT / "README.md").read_text(), re.MULTILINE) == commands[:2]
    vault.assert_under(vault.stack.env()[KEY])


@on(KINDS[1])
@pytest.mark.nightly("test_rotate, test_remedies.py")
def test_public_key_says_what_to_do(vault):
    """Once somebody has signed up it cannot simply be replaced. The commands that are named do it."""
    said = playbook(
        "selfhost.appwrite.secure",
        {"appwrite_security_project_src": str(vault.stack.directory), "appwrite_security_escrow": "off"},
    )
    assert said.rc == 0, said.output
    command = f"ansible-playbook selfhost.appwrite.rotate -e appwrite_rotation_project_src={vault.stack.directory}"
    told = said.result("Show the result")["msg"]["replace_the_public_key"]
    assert f"{command} -e appwrite_rotation_confirm=localhost --check" in told
    assert f"{command} --check" in "".join(succeed("encryption_key", vault.stack.arguments)["warnings"])
    finding = next(
        one
        for one in succeed("audit_info", vault.stack.arguments)["findings"]
        if one["id"] == "encryption.key_not_public"
    )
    assert (finding["status"], finding["remedy"]) == ("fail", f"{command} --check")


@on(KINDS[1])
@pytest.mark.nightly("test_rotate, test_sessions_end_as_the_first_run_was_told")
def test_public_key_and_no_session_ends(vault):
    """Where the operator says so. They are listed all the same."""
    played = vault.rotate(end_sessions="none")
    assert played.rc == 0, played.output
    assert played.result("Show what the rehearsal found")["msg"]["sessions_to_end"] == "none: 0"
    assert played.result("Rehearse the rotation while everything runs")["console"]["sessions"]["newest"]
    assert int(played.result("Show how the rotation ended")["msg"]["ended_sessions"]) == 0
    vault.assert_under(vault.keys()[0])


# --- what is refused, and changes nothing ---


@pytest.fixture(scope="module")
def _loaded(_running, tmp_path_factory):
    return make_vault(_running, tmp_path_factory.mktemp("vault"), OLD, file_bytes=50_000)


@pytest.fixture
def loaded(_loaded):
    """A project with data for all tests, none of which changes anything. Its file is as before afterwards."""
    env = _loaded.stack.directory / ".env"
    before = env.read_bytes()
    yield _loaded
    if env.read_bytes() != before:
        env.write_bytes(before)


def refused(loaded, values=None, **options):
    if values:
        set_env(loaded.stack.directory, **values)
    ids = loaded.stack.ids()
    message = refuse(
        "rekey", {**loaded.stack.arguments, "scope": "values", "new_key": NEW, **options}, secrets=[OLD, NEW]
    )
    assert loaded.stack.ids() == ids
    assert set(loaded.stack.project.ps().values()) <= {"running", "healthy"}
    return message


OPTIONS = {
    "another key than the one in force": ({"key": "AnotherUnrealKeyOfMine"}, "key: is not the one in"),
    "the same key": ({"new_key": OLD}, "new_key: is the key that is in force already"),
    "the same first 16 bytes": (
        {"new_key": OLD[:16] + "AndAnotherUnrealTail"},
        "new_key: has the same first 16 bytes as the key in force",
    ),
    "a short key": ({"new_key": "Unreal15BytesXX"}, "new_key: is shorter than 16 bytes"),
    "a placeholder": ({"new_key": PUBLIC}, "new_key: is a public placeholder"),
    "no key": ({"new_key": None}, "new_key: is missing"),
    "nothing to abort": ({"abort": True}, "abort: no rotation is under way"),
    "a waiver that names nothing": ({"waivers": ["users"]}, "waivers: 'users' is not collection/id/column"),
    "a password that could be guessed": ({"seal": "p" * 31}, "seal: must be at least 32 characters long"),
    "less than nothing": ({"sample": -1}, "sample: must be at least 0, got -1"),
    "tokens with another cipher": (
        {"scope": "tokens"},
        "new_key: does not have the first 16 bytes of the key in force",
    ),
    "tokens without a key": ({"scope": "tokens", "new_key": None}, "new_key: is missing"),
    "an end of sessions without a rotation": (
        {"scope": "tokens", "end_sessions": "all"},
        "end_sessions: sessions are ended with `scope`: values alone",
    ),
}


@on(REFUSED)
@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_refused_option(loaded, options, words):
    assert refused(loaded, **options).startswith(words)


FILES = {
    "the containers have another key": (
        {KEY: "AnotherUnrealKeyOfMine"},
        "the containers of appwrite, appwrite-worker-mails run with another key",
    ),
    "no key": ({KEY: ""}, f"{KEY} is empty"),
    "files in an object store without a key": (
        {"_APP_STORAGE_DEVICE": "s3"},
        "_APP_STORAGE_S3_ACCESS_KEY: lacks the access key of the device s3",
    ),
    "a database elsewhere": (
        {"_APP_DB_HOST": "db.notarealcompany.com"},
        "client_image: the image gone.invalid/mariadb:1, from which a container is needed, is not on this host and cannot be pulled",
    ),
    "a Redis elsewhere": (
        {"_APP_REDIS_HOST": "cache.notarealcompany.com"},
        "redis_client_image: the image gone.invalid/redis:1, from which a container is needed, is not on this host",
    ),
}


@on(REFUSED)
@pytest.mark.parametrize(("values", "words"), FILES.values(), ids=FILES)
def test_refused_file(loaded, values, words):
    images = {"client_image": "gone.invalid/mariadb:1", "redis_client_image": "gone.invalid/redis:1"}
    assert refused(loaded, values, **images).startswith(words)


@on(REFUSED)
def test_refused_key_that_opens_nothing(loaded):
    """The file and the containers agree, but what is stored was sealed with another key. Two hosts of which one has it are known by what they share."""
    right = succeed("audit_info", loaded.stack.arguments)
    set_env(loaded.stack.directory, **{KEY: "AnotherUnrealKeyOfMine"})
    loaded.stack.project.up()
    loaded.stack.project.wait()
    try:
        assert refused(loaded).startswith("key: the key in .env opens none of the ")
        result = succeed("audit_info", loaded.stack.arguments)
        assert next(one for one in result["findings"] if one["id"] == "encryption.key_opens_data")["status"] == "fail"
        told = [answer["compared"]["opens"] for answer in (right, result)]
        assert told[0] and told[0].keys() == told[1].keys()
        assert (set(told[0].values()), set(told[1].values())) == ({True}, {False})
        hosts = report([{"host": "one", "audit": right}, {"host": "two", "audit": result}], "2026-11-30T12:00:00Z")[
            "hosts"
        ]
        found = {
            host["host"]: one for host in hosts for one in host["findings"] if one["id"] == "encryption.one_key_for_all"
        }
        assert [found[name]["status"] for name in ("one", "two")] == ["fail", "fail"]
        assert "two has sealed values with this host, and another key" in found["one"]["evidence"]
        assert OLD not in f"{right} {result}"
    finally:
        set_env(loaded.stack.directory, **{KEY: OLD})
        loaded.stack.project.up()
        loaded.stack.project.wait()


@on(REFUSED)
def test_refused_dead_engine(loaded):
    environ = {**clean_environ(), "DOCKER_HOST": "unix:///nonexistent.sock"}
    message = refuse("rekey", {**loaded.stack.arguments, "scope": "values", "new_key": NEW}, environ=environ)
    assert message.startswith("the Docker Engine does not answer; start it")
    found = succeed("stored_info", loaded.stack.arguments, environ=environ)
    assert (found["proved"], found["opens"], found["report"]) == (
        False,
        False,
        None,
    ) and "the Docker Engine does not answer; start it" in found["verdict"]


@on(REFUSED)
def test_refused_two_at_once(loaded):
    directory = loaded.stack.directory / ".appwrite-rotation"
    directory.mkdir(mode=0o700)
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert refused(loaded).startswith("another rotation of this project is running")
    finally:
        os.close(handle)
        (directory / "lock").unlink()
        directory.rmdir()


@on(REFUSED)
@pytest.mark.nightly("test_standstill.py")
def test_refused_while_a_build_runs(loaded):
    """The orchestrator of Appwrite 2.x makes containers outside of the project. Everything runs again."""
    labels = [word for label in ("managed-by=jobs-service", "job.id=1-a-build") for word in ("--label", label)]
    image = run("docker", "inspect", "--format", "{{.Image}}", loaded.stack.ids()["redis"]).strip()
    network = f"{loaded.stack.project.name}_appwrite"
    words = ("run", "--detach", "--rm", "--network", network, "--entrypoint", "sleep")
    build = run("docker", *words, *labels, image, "3600").strip()
    try:
        rehearsed = succeed(
            "rekey", {**loaded.stack.arguments, "scope": "values", "new_key": NEW}, check=True, secrets=[OLD, NEW]
        )
        assert [each for each in rehearsed["warnings"] if "orchestrator (1: 1-a-build)" in each]
        assert refused(loaded, drain_timeout=1, dump=False).startswith(
            "drain_timeout: after 1 seconds jobs still wait or run in v1-builds (1), and nothing was changed"
        )
    finally:
        run("docker", "rm", "--force", build)


# --- who else may write ---


@on(REFUSED)
@pytest.mark.nightly("test_standstill.py, test_stores.py")
def test_refused_while_another_is_connected(loaded):
    """Everything has been stopped by then, and runs again. The rehearsal has said so before."""
    container = loaded.stack.ids()["mariadb"]
    client = [
        "docker",
        "exec",
        "--interactive",
        container,
        "sh",
        "-c",
        'MYSQL_PWD="$MYSQL_PASSWORD" exec mariadb --user="$MYSQL_USER" --unbuffered appwrite',
    ]
    with subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        session.stdin.write("SELECT 'a word';\n")
        session.stdin.flush()
        session.stdout.readline()
        words = "other sessions are open at the database (1): user from localhost at appwrite"
        rehearsed = succeed("rekey", {**loaded.stack.arguments, "scope": "values"}, check=True)
        assert any(warning.startswith(words) for warning in rehearsed["warnings"])
        ids = loaded.stack.ids()
        message = refuse("rekey", {**loaded.stack.arguments, "scope": "values", "new_key": NEW})
        assert message.startswith(words) and message.endswith("Nothing was changed") and "SELECT" not in message
        session.stdin.close()
    loaded.stack.project.wait()
    assert loaded.stack.ids() == ids
    assert any(
        warning.startswith("other machines can be seen only by their sessions") for warning in rehearsed["warnings"]
    )


@on(REFUSED)
def test_refused_while_another_container_has_the_key(loaded):
    """Of another project, under a name of its own, and stopped: it may start at any time."""
    image = run("docker", "inspect", "--format", "{{.Config.Image}}", loaded.stack.ids()["redis"]).strip()
    name = f"{loaded.stack.project.name}-another"
    run(
        "docker",
        "create",
        "--name",
        name,
        "--label",
        "com.docker.compose.project=another",
        "--env",
        f"A_COPY={OLD}",
        image,
    )
    try:
        words = f"the container {name} of the project another has the encryption key too (A_COPY)"
        assert refused(loaded).startswith(words)
        assert any(
            warning.startswith(words)
            for warning in succeed("rekey", {**loaded.stack.arguments, "scope": "values"}, check=True)["warnings"]
        )
    finally:
        run("docker", "rm", name)


# --- a rotation in short steps ---


@on(REFUSED)
def test_steps(loaded):
    """The new key is noted by a short call, and nothing is handed to what runs for long. What fails before anything was done leaves nothing."""
    arguments = {**loaded.stack.arguments, "scope": "values"}
    directory = loaded.stack.directory / ".appwrite-rotation"
    password = "NotARealPassword" * 2

    def state(**options):
        return succeed("rekey", {**arguments, "step": "state", "seal": password, **options}, secrets=[OLD, NEW])

    def key(name, found):
        return found[name] and unseal(found[name]["sealed"], password)

    none = state()
    assert (none["phase"], none["changed"], none["project"]) == ("none", False, loaded.stack.project.name)
    assert (key("key", none), none["new_key"], key("env_key", none)) == (OLD, None, OLD)
    assert state(scope="tokens")["phase"] == "none" and not directory.exists()
    stage = {**arguments, "step": "stage", "new_key": NEW}
    foreseen = succeed("rekey", stage, check=True)
    assert (foreseen["changed"], foreseen["phase"]) == (True, "staged") and not directory.exists()
    for changed in (True, False):
        staged = succeed("rekey", stage, secrets=[OLD, NEW])
        assert (staged["changed"], staged["phase"], staged["new_key"]["fingerprint"]) == (
            changed,
            "staged",
            fingerprint(NEW),
        )
        assert sorted(os.listdir(directory)) == ["state.json"]
    found = state()
    assert (found["phase"], key("key", found), key("new_key", found), key("env_key", found)) == (
        "staged",
        OLD,
        NEW,
        OLD,
    )
    for options in ({"step": "stage"}, {"step": "whole"}):
        assert refuse("rekey", {**arguments, **options, "new_key": "AnotherUnrealKeyOfMine"}).startswith(
            "new_key: another run has staged another key ("
        )
    for options, words in (
        (({"new_key": None}), "new_key: is missing"),
        ({"new_key": OLD}, "new_key: is the key that is in force"),
        ({"scope": "tokens"}, "step: scope: tokens is one step"),
    ):
        assert refuse("rekey", {**stage, **options}).startswith(words)
    assert succeed("rekey", arguments, check=True)["new_key"]["fingerprint"] == fingerprint(NEW)
    succeed("encryption_key", loaded.stack.arguments)  # nothing has happened yet, so nobody is kept from anything
    loaded.stack.project.slow(WORKER, 600)
    loaded.stack.project.enqueue(QUEUE)
    try:
        failed = module("rekey", {**arguments, "drain_timeout": 1}, secrets=[OLD, NEW])
        assert failed["msg"].startswith("drain_timeout: after 1 seconds jobs still wait or run in v1-mails (")
    finally:
        loaded.stack.project.heal(WORKER)
    until(lambda: loaded.stack.project.jobs(QUEUE) == 0)
    loaded.stack.project.wait()
    assert state()["phase"] == "none" and not directory.exists()
    succeed("rekey", stage, secrets=[OLD, NEW])
    assert succeed("rekey", {**arguments, "abort": True})["phase"] == "aborted"
    assert state()["phase"] == "none" and not directory.exists()


@on(REFUSED)
def test_guard_without_a_journal(loaded):
    """It can still be said which key opens what is stored."""
    env = loaded.stack.directory / ".env"
    set_env(loaded.stack.directory, **{KEY: "x"})
    env.write_text(env.read_text().replace(f"{KEY}=x", GUARD))
    found = succeed("rekey", {**loaded.stack.arguments, "scope": "values", "step": "state"})
    assert (found["phase"], found["key"], found["new_key"], found["env_key"], found["project"]) == (
        "none",
        None,
        None,
        None,
        loaded.stack.project.name,
    )
    assert succeed("stored_info", {**loaded.stack.arguments, "key": OLD})["opens"] is True
    for name, options in (("rekey", {"scope": "values"}), ("stored_info", {})):
        assert refuse(name, {**loaded.stack.arguments, **options}).startswith(
            "env_file: a rotation of the encryption key of "
        )


@on(REFUSED)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_refused_where_there_is_no_room(loaded, tmp_path):
    """The files fit where they are, and not twice."""
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(small))
    override = loaded.stack.directory / "docker-compose.override.yml"
    try:
        run("cp", "-a", f"{loaded.root}/.", str(small))
        (small / "filler").write_bytes(b"\0" * (shutil.disk_usage(small).free - 20_000))
        mount = {"type": "bind", "source": str(small), "target": "/storage/uploads"}
        override.write_text(json.dumps({"services": {"appwrite": {"volumes": [mount]}}}))
        assert " MB free, but the newly sealed data needs " in refused(loaded)
    finally:
        override.unlink(missing_ok=True)
        run("umount", str(small))


@on(REFUSED)
def test_refused_without_cryptography(loaded, tmp_path):
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography" / "__init__.py").write_text("raise ImportError('not installed here')\n")
    message = refuse("rekey", {**loaded.stack.arguments, "scope": "values", "new_key": NEW}, path=[tmp_path])
    assert message.startswith("the Python of this host lacks the package cryptography") and message.endswith(
        "install python3-cryptography there"
    )


@on(REFUSED)
@pytest.mark.nightly("test_rekey.py, test_refused_option")
def test_refused_play(loaded, tmp_path):
    def said(play, task):
        assert play.rc == 2, play.output
        loaded.assert_under(OLD)
        return play.result(task)["msg"]

    assert said(loaded.rotate(confirm="another"), "Check the variables").startswith(
        "appwrite_rotation_confirm: rotating stops this Appwrite for a while"
    )
    play = playbook(
        "selfhost.appwrite.rotate",
        {
            "appwrite_rotation_project_src": str(loaded.stack.directory),
            "appwrite_rotation_confirm": "localhost",
            "appwrite_security_cluster": "eu",
        },
    )
    assert "while; set it to eu, or run with --check to rehearse" in said(play, "Check the variables")
    assert "was given no vault secret" in said(loaded.rotate(vault=False), "Rehearse")
    tasks = tmp_path / "tasks.yml"
    tasks.write_text("- name: Make a snapshot\n  ansible.builtin.fail:\n    msg: the storage is gone\n")
    assert said(loaded.rotate(backup_tasks=str(tasks)), "Make a snapshot") == "the storage is gone"
    assert not loaded.escrow.exists()


@on(REFUSED)
def test_verify_elsewhere(loaded):
    """A container with a copy of the database, which is the database itself here. Its files are left out."""
    container = next(identity for service, identity in loaded.stack.ids().items() if service == "mariadb")
    result = succeed("stored_info", {**loaded.stack.arguments, "container": container, "sample": 0})
    assert result["opens"] and not any(one["files"].get("old") for one in result["report"]["collections"])
    redis = loaded.stack.ids()["redis"]
    other = {**loaded.stack.arguments, "container": "not-a-container"}
    assert refuse("stored_info", other).startswith("container: not-a-container is not a running container")
    assert "is not MariaDB, PostgreSQL or MongoDB" in refuse(
        "stored_info", {**loaded.stack.arguments, "container": redis}
    )


# --- the tail, which changes the key of the project, and so comes last ---


@on(REFUSED)
def test_tokens(loaded):
    """No stored value changes, and every container gets the new key."""
    play = loaded.rotate(scope="tokens")
    assert play.rc == 0, play.output
    new, old = loaded.keys()
    assert old == OLD and new[:16] == OLD[:16] and new[16:] != OLD[16:] and len(new) == 64
    assert_no_leak(play.output, [new])
    loaded.assert_under(new)
    assert play.recap["changed"] == 2
    loaded.cut_off()
    play = loaded.rotate(scope="tokens")
    assert play.rc == 0, play.output
    said = play.result("Show how the rotation ended")["msg"]
    assert (said["phase"], said["old_key"], said["new_key"]) == (
        "written",
        fingerprint(OLD),
        fingerprint(new),
    ) and loaded.keys() == [new, old]
    for key, words in (
        (PUBLIC, "is the public default"),
        ("Unreal16BytesXXX", "has no more than the 16 bytes that AES uses"),
        ("", "is empty"),
    ):
        assert words in refused(loaded, {KEY: key}, scope="tokens", new_key=NEW)


class Hosts:
    """Two hosts that share a database, in one project: what one of them has in its directory is put away while it is the other one."""

    def __init__(self, directory: Path, aside: Path) -> None:
        self._directory = directory
        self._aside = aside
        self._now = "member"
        for name in ("member", "conductor"):
            (aside / name).mkdir()
        shutil.copyfile(directory / ".env", aside / "conductor" / ".env")

    def change(self) -> None:
        before, self._now = self._now, "member" if self._now == "conductor" else "conductor"
        for source, target in ((self._directory, self._aside / before), (self._aside / self._now, self._directory)):
            for name in (".env", ".appwrite-rotation"):
                if (source / name).exists():
                    shutil.move(source / name, target / name)


@on(REFUSED)
@pytest.mark.nightly("test_member.py, test_procedure.py, test_cluster.py")
def test_steps_of_a_cluster(stack, tmp_path):
    vault = make_vault(stack, tmp_path, OWN, file_bytes=50_000)
    env, new = stack.directory / ".env", secrets.token_hex(32)
    before = env.read_bytes()

    def ask(step, check=False, **options):
        arguments = {**stack.arguments, "scope": "values", "step": step, "dump": False, **options}
        return succeed("rekey", arguments, check=check, secrets=[OWN, new])

    def phase(step, **options):
        return ask(step, **options)["phase"]

    def start():
        stack.project.up()
        stack.project.wait()

    looked = ask("still", check=True)
    assert looked["phase"] == "none" and looked["release"] == "1.9.6" and looked["database"]
    assert phase("still") == "guarded" and GUARD in env.read_text()
    assert not {"appwrite", WORKER} & stack.ids().keys()
    assert phase("still", abort=True) == "aborted" and env.read_bytes() == before
    start()
    vault.assert_under(OWN)
    hosts = Hosts(stack.directory, tmp_path)
    assert phase("still") == "guarded"
    hosts.change()
    assert phase("stage", new_key=new) == "staged"
    assert phase("seal") == "sealed" and GUARD in env.read_text()
    hosts.change()
    assert phase("still", check=True) == "guarded"
    assert phase("write", new_key=new) == "written" and stack.env()[KEY] == new
    hosts.change()
    assert phase("whole") == "written" and stack.env()[KEY] == new
    start()
    hosts.change()
    assert phase("write", new_key=new) == "finished"
    hosts.change()
    assert phase("whole") == "finished"
    vault.assert_under(new)
    assert phase("write", new_key=new) == "finished"
