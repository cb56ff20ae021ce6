# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key is saved on the controller before it is used, comes back from there, and is one for all hosts of a cluster: by the real Ansible and its vault.

What the action does in each situation is in tests/unit/plugins/action/test_security.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret
from support import plays
from support.stack import (
    CHECKOUT,
    KEY,
    SMALL,
    WORK,
    Kind,
    Play,
    assert_no_leak,
    official,
    on,
    read_env,
    set_env,
    succeed,
    tree,
    type_in,
    without,
)
from testbed._base import clean_environ
from testbed.dataset import Dataset

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Owner, default_path

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
        inventory = {
            name: {**local, **variables, "appwrite_security_project_src": str(path)} for name, path in hosts.items()
        }
        (directory / "inventory.yml").write_text(json.dumps({"all": {"hosts": inventory}}))

    def file(self, name: str = "one") -> Path:
        """Of a host, or of a cluster."""
        owner = Owner(name, None, str(self.hosts[name])) if name in self.hosts else Owner("", name)
        return Path(default_path(str(self.escrows), owner))

    def run(
        self,
        *flags: str,
        playbook: str = "secure",
        vault: bool | Path = True,
        verbosity: str = "-v",
        **variables: object,
    ) -> Play:
        extra = {
            "appwrite_security_apply": False,
            **{f"appwrite_security_{name}": value for name, value in variables.items()},
        }
        password = [f"--vault-password-file={self.password if vault is True else vault}"] if vault else []
        done = plays.run(
            *("-i", self.directory / "inventory.yml", "-e", json.dumps(extra), verbosity, *password, *flags),
            playbook if "/" in playbook else f"selfhost.appwrite.{playbook}",
            directory=self.directory,
            environ={"ANSIBLE_PIPELINING": "true", **clean_environ()},
        )
        assert "Traceback" not in done.stdout, done.stdout
        assert_no_leak(
            done.stdout,
            {
                PASSWORD,
                *self.keys_on_hosts(),
                *(entry["key"] for file in self.escrows.glob("*.yml") for entry in self.entries(file)),
            },
        )
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


# --- saved and restored ---


@pytest.mark.nightly("test_escrow_table.py, test_everything_lost_but_the_inventory")
def test_life_of_a_key(controller, directory):
    """Foreseen, saved and written, nowhere in clear; put back when it is lost, disputed when there is another one, and replaced by word alone."""
    set_env(directory, **{KEY: PLACEHOLDER})
    before = tree(directory), tree(controller.directory)
    play = controller.run("--check", escrow="required")
    assert play.rc == 0 and play.result("Secure the .env")["escrow"]["state"] == "written" and play.recap["changed"]
    assert (tree(directory), tree(controller.directory)) == before

    play = controller.run()
    assert play.rc == 0, play.output
    result = play.result("Secure the .env")
    assert (
        result["escrow"] == {"state": "written", "file": str(controller.file())}
        and result["key"]["state"] == "placeholder_replaced"
    )
    shown = subprocess.run(
        [
            CHECKOUT / ".venv/bin/ansible-vault",
            "view",
            f"--vault-password-file={controller.password}",
            controller.file(),
        ],
        env={**clean_environ(), "ANSIBLE_HOME": str(WORK / "ansible")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    [entry] = yaml.safe_load(shown)["keys"]
    assert entry["key"] == read_env(directory)[KEY] and entry["fingerprint"] == result["key"]["fingerprint"]
    assert (entry["host"], entry["project_src"], entry["release"]) == ("one", str(directory), "1.9.6")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["saved"])
    assert (
        stat.S_IMODE(controller.file().stat().st_mode) == 0o600
        and stat.S_IMODE(controller.escrows.stat().st_mode) == 0o700
    )
    assert entry["key"].encode() not in b"".join(
        path.read_bytes() for path in controller.directory.rglob("*") if path.is_file()
    )

    kept = tree(controller.directory)
    without(directory, KEY)
    play = controller.run()
    assert play.rc == 0, play.output
    result = play.result("Secure the .env")
    assert (result["escrow"]["state"], result["key"]["state"]) == ("kept", "restored") and read_env(directory)[
        KEY
    ] == entry["key"]

    set_env(directory, **{KEY: OWN_KEY})
    before = tree(directory)
    play = controller.run()
    assert play.rc == 2 and (tree(directory), tree(controller.directory)) == (before, kept)
    said = message(play)
    assert (
        entry["fingerprint"] in said
        and "If the escrow is right, remove the line" in said
        and "pass it as appwrite_security_encryption_key" in said
    )

    assert controller.run(encryption_key=OWN_KEY).rc == 0
    assert [one["key"] for one in controller.entries()] == [OWN_KEY, entry["key"]], "the older one is history"
    assert controller.run().recap["changed"] == 0


def test_no_vault_secret(controller, directory):
    without(directory, KEY)
    before = tree(directory)
    play = controller.run(vault=False, escrow="required")
    assert play.rc == 2 and "no vault secret" in play.output and "--vault-password-file" in play.output
    assert tree(directory) == before and not controller.escrows.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_ends_between_escrow_and_file(controller, directory):
    """The key that was saved for a host is the one that the next run gives it."""
    without(directory, KEY)
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        play = controller.run()
    finally:
        subprocess.run(["umount", directory], check=True)
    assert play.rc == 2 and "read-only" in message(play)
    [entry] = controller.entries()
    assert controller.run().rc == 0 and read_env(directory)[KEY] == entry["key"] and len(controller.entries()) == 1


# --- many hosts ---


@pytest.mark.nightly("test_security.py, test_escrow.py of plugin_utils, test_life_of_a_key")
def test_cluster(directory, tmp_path):
    """Eight forks on ten hosts that share a database generate exactly one key; a host that comes later gets it, one with another is refused."""
    (tmp_path / "controller").mkdir()
    hosts = {
        f"host{number:02}": shutil.copytree(directory, tmp_path / f"{directory.name}-{number:02}")
        for number in range(12)
    }
    for path in hosts.values():
        without(path, KEY)
    cluster = Controller(tmp_path / "controller", hosts, appwrite_security_cluster="shop")
    *_others, stranger, late = hosts.values()
    play = cluster.run("--forks=8", "--limit=all,!host10,!host11")
    assert play.rc == 0, play.output
    [entry] = cluster.entries(cluster.file("shop"))
    assert (
        len(cluster.keys_on_hosts()) == 10
        and set(cluster.keys_on_hosts()) == {entry["key"]}
        and entry["cluster"] == "shop"
    )
    assert list(cluster.escrows.iterdir()) == [cluster.file("shop")]
    set_env(stranger, **{KEY: OWN_KEY})
    play = cluster.run("--limit=host10,host11")
    assert play.rc == 2 and read_env(stranger)[KEY] == OWN_KEY and read_env(late)[KEY] == entry["key"]
    assert "disagree" in play.output and cluster.entries(cluster.file("shop")) == [entry]


# --- other safes ---


@pytest.mark.nightly("test_escrow_table.py, test_ends_between_escrow_and_file")
def test_a_safe_of_your_own(controller, directory):
    """The guide's example, with a fake safe: a command that keeps secrets in files."""
    without(directory, KEY)
    safe = controller.directory / "safe"
    safe.write_text(
        '#!/bin/sh\nd="$(dirname "$0")/kept"; mkdir -p "$d"\ncase $1 in get) cat "$d/$2" 2>/dev/null;; put) cat >"$d/$2";; esac\n'
    )
    safe.chmod(0o755)
    examples = re.findall(
        r"^   :caption: safe-(\w+)\.yml\n\n((?:   .*\n|\n)+)",
        (CHECKOUT / "docs/docsite/rst/escrow.rst").read_text(),
        re.MULTILINE,
    )
    for name, text in examples:
        (controller.directory / f"safe-{name}.yml").write_text(
            textwrap.dedent(text).replace("cmd: safe ", f"cmd: {safe} ")
        )
    variables = {f"safe_{name}_tasks": str(controller.directory / f"safe-{name}.yml") for name in ("read", "write")}
    assert controller.run("--check", **variables).rc == 0 and not list(controller.directory.glob("kept/*"))
    play = controller.run("--diff", verbosity="-vvvv", **variables)
    assert play.rc == 0, play.output
    key = read_env(directory)[KEY]
    assert [path.read_text() for path in (controller.directory / "kept").iterdir()] == [
        key
    ] and not controller.escrows.exists()
    without(directory, KEY)
    assert (
        controller.run(**variables).result("Secure the .env")["key"]["state"] == "restored"
        and read_env(directory)[KEY] == key
    )


# --- the worst ---


@on(
    Kind("2.4.0", "postgresql", services=("appwrite", "appwrite-worker", "redis", "postgresql"), room="lost"),
    nightly=[replace(SMALL, room="lost"), *official()],
)
def test_everything_lost_but_the_inventory(stack, tmp_path):
    """The guide, command by command, on a server that was rebuilt with its old volumes and the installer's file.

    It ends with the drill, which touches neither side and proves nothing where it cannot look.
    """
    controller = Controller(tmp_path, {"appwrite.example.com": stack.directory})
    (tmp_path / "inventory.ini").write_text(
        f"appwrite.example.com ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    )
    assert controller.run(apply=True).rc == 0
    key, database = stack.env()[KEY], stack.env()["_APP_DB_PASS"]
    data = Dataset.make(seed=7, key=key, database=stack.kind.database, file_bytes=50_000)
    data.load(stack.project)
    data.write_files(stack.project.uploads())
    stack.project.compose("down")
    set_env(stack.directory, **{KEY: PLACEHOLDER})
    page = (CHECKOUT / "docs/docsite/rst/lost_everything.rst").read_text()
    commands = re.findall(r"^ *[$#] (.*)", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        command = command.replace("appwrite.example.com@opt-appwrite.yml", controller.file("appwrite.example.com").name)
        done = type_in(
            command.replace("/opt/appwrite", str(stack.directory)).replace("mariadb", stack.kind.database), tmp_path
        )
        assert not done.returncode, done.stdout + done.stderr
        if " up -d " in command:
            stack.project.wait()
        if "secure" in command:
            assert '"encryption_key": "restored, ' in done.stdout
    assert "Proved on 20" in done.stdout and "it opens the " in done.stdout
    assert (
        stack.env()[KEY] == stack.project.container_env("appwrite")[KEY] == key
        and stack.env()["_APP_DB_PASS"] == database
    )
    assert succeed("apply", stack.arguments)["changed"] is False
    stack.project.compose("stop", stack.kind.database)
    before = tree(stack.directory), tree(controller.directory), stack.ids()
    play = controller.run("--check", playbook="drill")
    assert (
        play.rc == 2
        and "Not proved" in play.output
        and f"docker compose up -d {stack.kind.database}" in play.output
        and play.recap["changed"] == 0
    )
    assert (tree(stack.directory), tree(controller.directory), stack.ids()) == before
