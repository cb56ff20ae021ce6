# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key is saved on the controller before it is used, comes back from there, and is one for all hosts of a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Owner, default_path
from testbed._base import clean_environ
from testbed.dataset import Dataset

from integration.support import CHECKOUT, KEY, WORK, Play, assert_no_leak, playbook, read_env, set_env, small, succeed, tree, type_in, without

PLACEHOLDER = "your-secret-key"
PASSWORD = "unreal-9Kd3-Tw5uP8-vault"
OWN_KEY = "notreal-Zk4Qw8-Jx2Vt6-Bn9"


class Controller:
    """An inventory, a vault password, and the collection's playbooks run with them."""

    def __init__(self, directory: Path, hosts: dict[str, Path], **variables: str) -> None:
        self.directory = directory
        self.password = directory / "vault-password"
        self.password.write_text(PASSWORD)
        self.escrows = directory / ".appwrite-escrow"
        self.hosts = hosts
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {name: {**local, **variables, "appwrite_security_project_src": str(path)} for name, path in hosts.items()}
        (directory / "inventory.yml").write_text(json.dumps({"all": {"hosts": inventory}}))

    def file(self, name: str = "one") -> Path:
        """Of a host, or of a cluster."""
        owner = Owner(name, None, str(self.hosts[name])) if name in self.hosts else Owner("", name)
        return Path(default_path(str(self.escrows), owner))

    def run(self, *flags: str, playbook: str = "secure", vault: bool | Path = True, verbosity: str = "-v", **variables: object) -> Play:
        extra = {"appwrite_security_apply": False, **{f"appwrite_security_{name}": value for name, value in variables.items()}}
        password = [f"--vault-password-file={self.password if vault is True else vault}"] if vault else []
        settings = {"ANSIBLE_HOME": str(WORK / "ansible"), "ANSIBLE_COLLECTIONS_PATH": str(WORK / "import"), "ANSIBLE_NOCOLOR": "true",
                    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
        done = subprocess.run(
            [CHECKOUT / ".venv/bin/ansible-playbook", "-i", self.directory / "inventory.yml", "-e", json.dumps(extra), verbosity, *password, *flags,
             playbook if "/" in playbook else f"selfhost.appwrite.{playbook}"],
            env={**clean_environ(), **settings}, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False)
        assert "Traceback" not in done.stdout, done.stdout
        assert_no_leak(done.stdout, {PASSWORD, *self.keys_on_hosts(), *(entry["key"] for file in self.escrows.glob("*.yml") for entry in self.entries(file))})
        return Play.read(done.returncode, done.stdout)

    def keys_on_hosts(self) -> list[str]:
        values = (read_env(path).get(KEY) or PLACEHOLDER for path in self.hosts.values() if (path / ".env").exists())
        return [value for value in values if value != PLACEHOLDER]

    def entries(self, file: Path | None = None) -> list[dict]:
        """What is in an escrow file, nothing where it cannot be opened."""
        try:
            text = VaultLib([("default", VaultSecret(PASSWORD.encode()))]).decrypt((file or self.file()).read_bytes())
        except (OSError, AnsibleError):
            return []
        return yaml.safe_load(text)["keys"]


@pytest.fixture
def controller(directory, tmp_path):
    (tmp_path / "controller").mkdir()
    return Controller(tmp_path / "controller", {"one": directory})


def message(play: Play) -> str:
    return play.result("Secure the .env")["msg"]


# --- saved ---


def test_saved_before_it_is_used(controller, directory):
    """Generated: the same key is in the escrow, in the file, and nowhere in clear. The second run changes nothing on either side."""
    set_env(directory, **{KEY: PLACEHOLDER})
    play = controller.run()
    assert play.rc == 0, play.output
    result = play.result("Secure the .env")
    assert result["escrow"] == {"state": "written", "file": str(controller.file())} and result["key"]["state"] == "placeholder_replaced"
    shown = subprocess.run(
        [CHECKOUT / ".venv/bin/ansible-vault", "view", f"--vault-password-file={controller.password}", controller.file()],
        env={**clean_environ(), "ANSIBLE_HOME": str(WORK / "ansible")}, capture_output=True, text=True, check=True).stdout
    [entry] = yaml.safe_load(shown)["keys"]
    assert entry["key"] == read_env(directory)[KEY] and entry["fingerprint"] == result["key"]["fingerprint"]
    assert (entry["host"], entry["project_src"], entry["release"]) == ("one", str(directory), "1.9.6")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["saved"])
    assert stat.S_IMODE(controller.file().stat().st_mode) == 0o600 and stat.S_IMODE(controller.escrows.stat().st_mode) == 0o700
    before = tree(controller.directory)
    again = controller.run()
    assert again.recap["changed"] == 0 and again.result("Secure the .env")["escrow"]["state"] == "kept"
    assert tree(controller.directory) == before
    assert entry["key"].encode() not in b"".join(path.read_bytes() for path in controller.directory.rglob("*") if path.is_file())


def test_adopted(controller, directory):
    """An installation that has its own key keeps it, and from now on it is in the escrow."""
    set_env(directory, **{KEY: OWN_KEY})
    play = controller.run()
    assert play.result("Secure the .env")["key"]["state"] == "kept" and [entry["key"] for entry in controller.entries()] == [OWN_KEY]
    assert read_env(directory)[KEY] == OWN_KEY


def test_supplied(controller, directory):
    without(directory, KEY)
    play = controller.run(encryption_key=OWN_KEY)
    assert play.result("Secure the .env")["key"]["state"] == "supplied" and [entry["key"] for entry in controller.entries()] == [OWN_KEY]
    assert controller.run(encryption_key=OWN_KEY).recap["changed"] == 0


def test_check_mode_writes_nothing_anywhere(controller, directory):
    without(directory, KEY)
    before = tree(directory), tree(controller.directory)
    play = controller.run("--check", escrow="required")
    assert play.rc == 0 and play.result("Secure the .env")["escrow"]["state"] == "written" and play.recap["changed"]
    assert (tree(directory), tree(controller.directory)) == before


def test_no_vault_secret(controller, directory):
    """auto says how, required stops before anything is changed, off says nothing."""
    without(directory, KEY)
    before = tree(directory)
    play = controller.run(vault=False, escrow="required")
    assert play.rc == 2 and "no vault secret" in play.output and "--vault-password-file" in play.output and tree(directory) == before
    play = controller.run("--check", vault=False, escrow="off")
    assert play.rc == 0 and "vault secret" not in play.output
    play = controller.run(vault=False)
    assert play.rc == 0 and "was given no vault secret: start Ansible with --vault-password-file" in play.output
    assert not controller.escrows.exists()


def test_public_default_is_not_worth_saving(controller, directory):
    """A refusal, too, leaves no trace on the controller."""
    set_env(directory, **{KEY: PLACEHOLDER, "_APP_DB_HOST": "db.example.com"})
    play = controller.run()
    assert play.rc == 2 and "is the public default" in message(play) and not list(controller.escrows.iterdir())


# --- restored ---


def test_restored(controller, directory):
    """Exactly the escrowed key comes back. Where nobody can say any more whether there is data, it is put back by hand."""
    assert controller.run().rc == 0
    key = read_env(directory)[KEY]
    for lost in ("", f"{KEY}={PLACEHOLDER}\n"):
        without(directory, KEY, lost)
        play = controller.run()
        assert play.rc == 0, play.output
        assert play.result("Secure the .env")["key"]["state"] == "restored" and read_env(directory)[KEY] == key
    assert controller.run().recap["changed"] == 0
    set_env(directory, _APP_DB_HOST="db.example.com", **{KEY: None})
    play = controller.run()
    assert play.rc == 2 and "write the line of the right key into .env by hand, and it is kept" in message(play)
    set_env(directory, **{KEY: key})
    assert controller.run().recap["changed"] == 0


def test_disagreement(controller, directory):
    """Refused with both fingerprints and the two ways out, which then work."""
    assert controller.run().rc == 0
    [escrowed] = controller.entries()
    set_env(directory, **{KEY: OWN_KEY})
    before = tree(directory), tree(controller.directory)
    play = controller.run()
    assert play.rc == 2 and (tree(directory), tree(controller.directory)) == before
    said = message(play)
    assert escrowed["fingerprint"] in said and "If the escrow is right, remove the line" in said and "pass it as `key`" in said
    assert controller.run(encryption_key="not-a-real-key-of-neither").rc == 2
    assert controller.run(encryption_key=OWN_KEY).rc == 0
    assert [entry["key"] for entry in controller.entries()] == [OWN_KEY, escrowed["key"]], "the older one is history"
    assert controller.run().recap["changed"] == 0
    set_env(directory, **{KEY: escrowed["key"]})
    assert controller.run().rc == 2
    without(directory, KEY)
    assert controller.run().rc == 0 and read_env(directory)[KEY] == OWN_KEY


def test_key_for_a_host_that_has_none(controller, directory):
    """A passed key that the escrow does not know is not taken where the host cannot confirm it."""
    assert controller.run().rc == 0
    without(directory, KEY)
    before = tree(directory), tree(controller.directory)
    play = controller.run(encryption_key=OWN_KEY)
    assert play.rc == 2 and "the host has neither" in play.output and (tree(directory), tree(controller.directory)) == before


def test_escrow_that_cannot_be_opened(controller, directory, tmp_path):
    """Damaged, or another or no vault password: refused, and neither it nor the host is touched."""
    assert controller.run().rc == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("not-a-real-wrong-password")
    without(directory, KEY)
    for vault, words in ((wrong, "encrypted with another vault secret"), (False, "Ansible was given no vault secret"), (True, "damaged")):
        if vault is True:
            controller.file().write_bytes(controller.file().read_bytes()[:-200])
        before = tree(directory), tree(controller.directory)
        play = controller.run(vault=vault)
        assert play.rc == 2 and "escrow_file: " in message(play) and words in message(play)
        assert (tree(directory), tree(controller.directory)) == before


@pytest.fixture
def read_only(tmp_path):
    """Makes a directory read-only, also for root."""
    made = []

    def make(path: Path) -> None:
        subprocess.run(["mount", "--bind", path, path], check=True)
        made.append(path)
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)

    def undo() -> None:
        while made:
            subprocess.run(["umount", made.pop()], check=True)

    make.undo = undo
    yield make
    undo()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_read_only_controller(controller, directory, read_only):
    """Found out before anything is changed on the host."""
    without(directory, KEY)
    before = tree(directory)
    controller.escrows.mkdir()
    read_only(controller.escrows)
    play = controller.run()
    assert play.rc == 2 and "read-only" in message(play) and tree(directory) == before
    read_only.undo()
    assert controller.run().rc == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_ends_between_escrow_and_file(controller, directory, read_only):
    """The key that was saved for a host is the one that the next run gives it."""
    without(directory, KEY)
    read_only(directory)
    play = controller.run()
    assert play.rc == 2 and "read-only" in message(play)
    [entry] = controller.entries()
    read_only.undo()
    assert controller.run().rc == 0 and read_env(directory)[KEY] == entry["key"] and len(controller.entries()) == 1


def test_two_at_once(controller, directory):
    without(directory, KEY)
    with ThreadPoolExecutor(2) as pool:
        plays = list(pool.map(lambda _number: controller.run(), range(2)))
    assert [play.rc for play in plays] == [0, 0], "\n".join(play.output for play in plays)
    assert [entry["key"] for entry in controller.entries()] == [read_env(directory)[KEY]]
    assert list(controller.escrows.iterdir()) == [controller.file()]


@pytest.mark.parametrize(("options", "said"), [
    ({"encryption_key": OWN_KEY, "escrow": "off"}, "encryption_key: is not a dictionary"), ({}, "escrow_file: is missing"),
    ({"escrow": "perhaps"}, "value of escrow must be one of")], ids=["text", "no file", "choice"])
def test_wrong_value(directory, options, said):
    before = tree(directory)
    task = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Try\n      selfhost.appwrite.key_escrow: '{{ options }}'\n"
    play = playbook(task, {"options": {"project_src": str(directory), **options}}, secrets=[OWN_KEY], verbosity="-vvv")
    assert play.rc == 2 and said in play.result("Try")["msg"] and tree(directory) == before


# --- many hosts ---


def _fleet(directory: Path, tmp_path: Path, count: int, **variables: str) -> Controller:
    (tmp_path / "controller").mkdir()
    hosts = {f"host{number:02}": shutil.copytree(directory, tmp_path / f"{directory.name}-{number:02}") for number in range(count)}
    for path in hosts.values():
        without(path, KEY)
    return Controller(tmp_path / "controller", hosts, **variables)


def test_fleet(directory, tmp_path):
    """One file and one key for each host. Nothing more is sent to a host that is as wished than without escrow."""
    fleet = _fleet(directory, tmp_path, 5)
    play = fleet.run("--forks=5")
    assert play.rc == 0, play.output
    for name, path in fleet.hosts.items():
        assert [entry["key"] for entry in fleet.entries(fleet.file(name))] == [read_env(path)[KEY]]
    assert len(set(fleet.keys_on_hosts())) == 5
    sent = [fleet.run("--limit=host00", verbosity="-vvv", escrow=escrow).output.count("Using module file") for escrow in ("auto", "off")]
    assert sent[0] == sent[1] == 1


def test_cluster(directory, tmp_path):
    """Ten forks on twenty hosts that share a database generate exactly one key; a host that comes later gets it, one with another is refused."""
    cluster = _fleet(directory, tmp_path, 22, appwrite_security_cluster="shop")
    *_others, stranger, late = cluster.hosts.values()
    play = cluster.run("--forks=10", "--limit=all,!host20,!host21")
    assert play.rc == 0, play.output
    [entry] = cluster.entries(cluster.file("shop"))
    assert set(cluster.keys_on_hosts()) == {entry["key"]} and entry["cluster"] == "shop"
    set_env(stranger, **{KEY: OWN_KEY})
    play = cluster.run("--limit=host20,host21")
    assert play.rc == 2 and read_env(stranger)[KEY] == OWN_KEY and read_env(late)[KEY] == entry["key"]
    assert "disagree" in play.output and cluster.entries(cluster.file("shop")) == [entry]


def test_cluster_takes_the_key_that_the_first_host_has(directory, tmp_path):
    cluster = _fleet(directory, tmp_path, 3, appwrite_security_cluster="shop")
    set_env(cluster.hosts["host00"], **{KEY: OWN_KEY})
    assert cluster.run("--forks=1").rc == 0
    assert set(cluster.keys_on_hosts()) == {OWN_KEY}


def test_cluster_without_an_escrow(directory, tmp_path):
    cluster = _fleet(directory, tmp_path, 2, appwrite_security_cluster="shop")
    for options in ({"vault": False}, {"escrow": "off"}):
        assert "need one key" in cluster.run(**options).output and not cluster.keys_on_hosts()
    assert cluster.run(vault=False, encryption_key=OWN_KEY).rc == 0 and cluster.keys_on_hosts() == [OWN_KEY, OWN_KEY]


# --- other safes ---


def test_a_safe_of_your_own(controller, directory):
    """README.md's example, with a fake safe: a command that keeps secrets in files."""
    without(directory, KEY)
    safe = controller.directory / "safe"
    safe.write_text('#!/bin/sh\nd="$(dirname "$0")/kept"; mkdir -p "$d"\ncase $1 in get) cat "$d/$2" 2>/dev/null;; put) cat >"$d/$2";; esac\n')
    safe.chmod(0o755)
    examples = re.findall(r"^```yaml\n(# safe-(\w+)\.yml\n.*?)^```", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for text, name in examples:
        (controller.directory / f"safe-{name}.yml").write_text(text.replace("cmd: safe ", f"cmd: {safe} "))
    variables = {f"safe_{name}_tasks": str(controller.directory / f"safe-{name}.yml") for name in ("read", "write")}
    assert controller.run("--check", **variables).rc == 0 and not list(controller.directory.glob("kept/*"))
    play = controller.run("--diff", verbosity="-vvvv", **variables)
    assert play.rc == 0, play.output
    key = read_env(directory)[KEY]
    assert [path.read_text() for path in (controller.directory / "kept").iterdir()] == [key] and not controller.escrows.exists()
    assert controller.run(**variables).recap["changed"] == 0
    without(directory, KEY)
    assert controller.run(**variables).result("Secure the .env")["key"]["state"] == "restored" and read_env(directory)[KEY] == key


# --- the drill ---


@small("role")
def test_drill(stack, directory, tmp_path):
    """Neither the installation nor the controller is touched. What was not opened is not proved, and another key in the escrow is found out."""
    (tmp_path / "controller").mkdir()
    controller = Controller(tmp_path / "controller", {"one": stack.directory})
    assert controller.run(apply=True).rc == 0
    before = tree(stack.directory), tree(controller.directory), stack.ids()
    assert controller.run("--check", playbook="drill").rc == 0
    play = controller.run(playbook="drill")
    assert play.rc == 0 and play.recap["changed"] == 0, play.output
    [entry] = controller.entries()
    proved = play.result("Show what was proved")["msg"]
    assert proved.startswith("Proved on 20") and entry["fingerprint"] in proved and "nobody has signed up" in proved
    assert (tree(stack.directory), tree(controller.directory), stack.ids()) == before
    stack.project.compose("stop", "mariadb")
    play = controller.run(playbook="drill")
    assert play.rc == 2 and "Not proved" in play.output and "docker compose up -d mariadb" in play.output
    assert controller.run(playbook="drill", drill_data=False).rc == 0, "the key alone was asked for"
    stack.project.compose("start", "mariadb")
    stack.project.wait()
    controller.file().unlink()
    set_env(directory, **{KEY: OWN_KEY})
    assert Controller(controller.directory, {"one": directory}).run().rc == 0
    controller = Controller(controller.directory, {"one": stack.directory})
    assert controller.run(playbook="drill").rc == 2


@small("lost")
def test_everything_lost_but_the_inventory(stack, tmp_path):
    """The page of README.md, command by command, on a server that was rebuilt with its old volumes and the installer's file."""
    controller = Controller(tmp_path, {"appwrite.example.com": stack.directory})
    (tmp_path / "inventory.ini").write_text(f"appwrite.example.com ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    assert controller.run(apply=True).rc == 0
    key, database = stack.env()[KEY], stack.env()["_APP_DB_PASS"]
    data = Dataset.make(seed=7, key=key, database=stack.kind.database, file_bytes=50_000)
    data.load(stack.project)
    data.write_files(stack.project.uploads())
    stack.project.compose("down")
    set_env(stack.directory, **{KEY: PLACEHOLDER})
    page = (CHECKOUT / "README.md").read_text().partition("### If you lose everything but your inventory\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^ *[$#] (.*)", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        command = command.replace("appwrite.example.com@opt-appwrite.yml", controller.file("appwrite.example.com").name)
        done = type_in(command.replace("/opt/appwrite", str(stack.directory)), tmp_path)
        assert not done.returncode, done.stdout + done.stderr
        if " up -d " in command:
            stack.project.wait()
        if "secure" in command:
            assert '"state": "restored"' in done.stdout
    assert "Proved on 20" in done.stdout and "it opens the " in done.stdout
    assert stack.env()[KEY] == stack.project.container_env("appwrite")[KEY] == key and stack.env()["_APP_DB_PASS"] == database
    assert succeed("apply", stack.arguments)["changed"] is False
