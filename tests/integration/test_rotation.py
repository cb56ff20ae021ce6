# Copyright: (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a running project by its playbook: everything that was stored opens with the new key, by PHP's own openssl."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import ALPHABET
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.encryption_key import fingerprint
from testbed._base import run
from testbed.dataset import Dataset

from integration.support import CHECKOUT, KEY, Kind, on, playbook, set_env, succeed

OLD = "UnrealQx7Vb2Lm9K" + "Zt5Rw8Jy3Hn6Pg0C" * 2
SERVICES = ("appwrite", "appwrite-worker-mails", "appwrite-task-maintenance", "redis")
MARIADB, POSTGRESQL, MONGODB = KINDS = [Kind(database=name, services=(*SERVICES, name), room="rotate") for name in ("mariadb", "postgresql", "mongodb")]


class Vault:
    """A stack with data under a key, and a controller that keeps keys."""

    def __init__(self, stack, directory: Path) -> None:
        self.stack = stack
        self.data = Dataset.make(seed=7, key=OLD, database=stack.kind.database)
        self.root = Path(run("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{stack.project.name}_appwrite-uploads").strip())
        self.password = directory / "password"
        self.password.write_text("".join(secrets.choice(ALPHABET) for _unused in range(40)))
        self.escrow = directory / "escrow.yml"
        set_env(stack.directory, **{KEY: OLD})
        stack.project.up()
        stack.project.wait()
        self.data.load(stack.project)
        self.data.write_files(self.root)

    def rotate(self, *flags, **variables):
        # mongodump can be had neither from Debian nor as a Go module.
        extra = {"project_src": str(self.stack.directory), "confirm": "localhost", "escrow_file": str(self.escrow),
                 "dump": self.stack.kind.database != "mongodb", **variables}
        return playbook("selfhost.appwrite.rotate", {f"appwrite_rotation_{name}": value for name, value in extra.items()},
                        "--vault-password-file", str(self.password), *flags, secrets=[OLD])

    def keys(self):
        """In the order in which the escrow has them."""
        text = run(str(CHECKOUT / ".venv" / "bin" / "ansible-vault"), "view", "--vault-password-file", str(self.password), str(self.escrow))
        return [line.partition(": ")[2] for line in text.splitlines() if line.startswith("- key: ")]

    def assert_under(self, key):
        found = self.data.check(self.stack.project, self.root, key)
        assert not found.found, found.found[:5]
        assert found.values and found.files
        assert self.stack.env()[KEY] == key
        for service in ("appwrite", "appwrite-worker-mails", "appwrite-task-maintenance"):
            assert self.stack.project.container_env(service)[KEY] == key
        assert set(self.stack.project.ps().values()) <= {"running", "healthy"}
        assert not (self.stack.directory / ".appwrite-rotation").exists()


@pytest.fixture
def vault(stack, tmp_path):
    with stack.kept():
        yield Vault(stack, tmp_path)


def redis(vault, *words):
    return vault.stack.project.compose("exec", "-T", "redis", "redis-cli", *words).strip()


@on(*KINDS)
def test_rotate(vault):
    redis(vault, "set", "default-cache-_console:users:1", "{}")
    redis(vault, "set", "abuse__1", "5")
    rehearsed = vault.rotate("--check")
    assert (rehearsed.rc, rehearsed.recap["changed"]) == (0, 0), rehearsed.output
    vault.assert_under(OLD)
    played = vault.rotate()
    assert played.rc == 0, played.output
    old, new = vault.keys()[1], vault.keys()[0]
    assert old == OLD and len(new) == 64 and new != old
    vault.assert_under(new)
    assert (redis(vault, "exists", "default-cache-_console:users:1"), redis(vault, "get", "abuse__1")) == ("0", "5")
    said = played.result("Say how it ended")["msg"]
    assert (said["phase"], said["old_key"], said["new_key"]) == ("finished", fingerprint(OLD), fingerprint(new))
    assert "localhost: " in played.output, "no line of progress"
    assert succeed("rekey", {**vault.stack.arguments, "sample": 0})["opens"] is True
    assert succeed("rekey", {**vault.stack.arguments, "key": OLD})["opens"] is False
