# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on hosts that share a database, by the real Ansible, its escrow and its barriers; what works on the hosts is C(cluster_host.py)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultSecret
from support import plays
from support.stack import CHECKOUT, Play, type_in

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, Owner

KEY = "unreal-4Tz8-Pw2Lm6-key-of-the-cluster"
PASSWORD = "unreal-2Hn8-Vq4Zt7-vault"
ROTATE = "- import_playbook: selfhost.appwrite.rotate\n"
FREE = "- hosts: all\n  gather_facts: false\n  strategy: free\n  roles: [selfhost.appwrite.appwrite_rotation]\n"
GATHERS = FREE.replace("strategy: free", "").replace("false", "true")
SERIAL = FREE.replace("strategy: free", "serial: 1")


class Site:
    """A controller, and the hosts of one cluster."""

    def __init__(self, directory: Path, number: int) -> None:
        self.directory = directory
        self.names = ["host%d" % each for each in range(number)]
        self.collections = _collections(directory / "collections")
        for name in self.names:
            (directory / "hosts" / name).mkdir(parents=True)
            self.set(
                name,
                phase="none",
                key=KEY,
                new_key=None,
                guarded=False,
                running=KEY,
                asked=[],
                wishes={},
                database=["d"],
                ahead=0,
                part=None,
            )
        self.variables: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        self.everyone = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "appwrite_project_src": f"{directory}/hosts/{{{{ inventory_hostname }}}}",
            "appwrite_security_cluster": "shop",
        }
        (directory / "password").write_text(PASSWORD)

    def set(self, name: str, **changes: Any) -> None:
        path = self.directory / "hosts" / name / "state.json"
        path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))

    def host(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "hosts" / name / "state.json").read_text())
        return found

    def rotate(self, *flags: str, play: str = ROTATE, **variables: Any) -> Play:
        inventory = {"all": {"hosts": self.variables, "vars": self.everyone}}
        (self.directory / "inventory.json").write_text(json.dumps(inventory))
        (self.directory / "play.yml").write_text(play)
        for name in self.names:
            self.set(name, asked=[])
        given = {"appwrite_rotation_confirm": "shop", **variables}
        done = plays.run(
            *(
                "-i",
                "inventory.json",
                "-v",
                "--vault-password-file",
                "password",
                "-e",
                json.dumps(given),
                *flags,
                "play.yml",
            ),
            directory=self.directory,
            collections=str(self.collections),
        )
        return Play.read(done.returncode, done.stdout)

    def assert_all(self, key: str | None = None, **wanted: Any) -> None:
        """key: nothing for a new one, the same on all."""
        hosts = [self.host(name) for name in self.names]
        for host in hosts:
            assert {name: host[name] for name in wanted} == wanted
            assert host["key"] == host["running"] == (key or hosts[0]["key"])
        assert key or hosts[0]["key"] != KEY


def _collections(directory: Path) -> Path:
    """This one, with stand-ins for what works on a host."""
    ours = directory / "ansible_collections" / "selfhost" / "appwrite"
    (ours / "plugins" / "modules").mkdir(parents=True)
    for source, target in (
        (CHECKOUT, ours),
        (CHECKOUT / "plugins", ours / "plugins"),
        (CHECKOUT / "plugins" / "modules", ours / "plugins" / "modules"),
    ):
        for path in source.iterdir():
            if not (target / path.name).exists() and not path.name.startswith("."):
                (target / path.name).symlink_to(path)
    for name in ("rekey.py", "apply.py"):
        (ours / "plugins" / "modules" / name).unlink()
        shutil.copyfile(Path(__file__).with_name("cluster_host.py"), ours / "plugins" / "modules" / name)
    return directory


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(tmp_path, getattr(request, "param", 2))


WHOLE = [*("state", "stage", "state", "seal"), *("state", "stage", "whole", "apply", "state", "stage", "whole")]
PART = ["still", "write", "apply", "write"]


def test_rotate(site):
    """Not the half of it; and then the whole."""
    play = site.rotate("--limit", "host0")
    assert play.rc == 2 and "host1 is not in this play, or cannot be reached" in play.output, play.output
    site.assert_all(KEY, phase="none", asked=[])
    play = site.rotate()
    assert play.rc == 0 and "the backup of host1" in play.output, play.output
    site.assert_all(phase="none", guarded=False)
    assert [site.host(name)["asked"] for name in site.names] == [WHOLE, PART]


@pytest.mark.nightly("test_rotate, test_member.py for the steps, test_role_settings.py, test_cluster.py of the filters")
class TestMore:
    def refused(self, site, words, *flags, **options):
        play = site.rotate(*flags, **options)
        assert play.rc != 0 and words in play.output, play.output
        site.assert_all(KEY, phase="none", guarded=False)
        assert all(set(site.host(name)["asked"]) <= {"still in check mode"} for name in site.names)

    def test_half(self, site):
        self.refused(site, "host1 is not in this play", play=SERIAL)
        self.refused(site, "for which the play needs the strategy linear", play=FREE)
        self.refused(site, "appwrite_rotation_confirm: rotating stops", appwrite_rotation_confirm="host0")
        self.refused(site, "of hosts that share one database only the whole key", appwrite_rotation_scope="tokens")

    @pytest.mark.parametrize("site", [3], indirect=True)
    def test_slices_of_a_job(self, site, tmp_path):
        """By ansible-runner, as AWX has it run: each slice has an inventory of every second host, which is a program, and no other."""
        escrow_file = tmp_path / "escrow.yml"
        for name in site.names:
            escrow = Escrow(str(escrow_file), [("default", VaultSecret(PASSWORD.encode()))], owner=Owner(name, "shop"))
            escrow.read()
            escrow.add(KEY, {})
        for number, hosts in enumerate((site.names[0::2], site.names[1::2], site.names)):
            job = tmp_path / str(number)
            variables = {name: site.everyone for name in hosts}
            told = {"all": {"children": ["shop"]}, "shop": {"hosts": hosts}, "_meta": {"hostvars": variables}}
            extra = {"appwrite_rotation_confirm": "shop", "appwrite_rotation_escrow_file": str(escrow_file)}
            program = f"#!{sys.executable}\nprint({json.dumps(told)!r})\n"
            texts = {"inventory/hosts": program, "env/extravars": json.dumps(extra), "project/rotate.yml": ROTATE}
            for file, text in texts.items():
                (job / file).parent.mkdir(parents=True, exist_ok=True)
                (job / file).write_text(text)
            (job / "inventory/hosts").chmod(0o700)
            flags = f"--vault-password-file {site.directory}/password"
            done = type_in(
                f"ansible-runner run {job} -p rotate.yml --cmdline '{flags}'",
                tmp_path,
                ANSIBLE_COLLECTIONS_PATH=str(site.collections),
            )
            if hosts != site.names:
                assert done.returncode == 2 and "leave job slicing at 1" in " ".join(done.stdout.split()), done.stdout
                site.assert_all(KEY, phase="none", guarded=False, asked=[])
        assert done.returncode == 0, done.stdout
        site.assert_all(phase="none", guarded=False)

    def test_host_is_down(self, site):
        """From the start, or since it was looked at."""
        site.variables["host1"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        self.refused(site, "host1 has failed or cannot be reached")
        self.refused(site, "host1 is not in this play", play=GATHERS)

    def test_differences(self, site):
        site.set("host1", database=["another"], ahead=100)
        self.refused(site, "do not share a database")

    @pytest.mark.parametrize("site", [3], indirect=True)
    def test_rehearsal(self, site):
        play = site.rotate("--check")
        assert play.rc == 0, play.output
        site.assert_all(KEY, phase="none")
        assert [site.host(name)["asked"] for name in site.names] == [[]] * 3

    @pytest.mark.parametrize("site", [3], indirect=True)
    @pytest.mark.parametrize(
        ("host", "step", "phases"),
        [
            ("host1", "still", ["none", "none", "none"]),
            ("host0", "seal", ["none", "none", "none"]),
            ("host2", "write", ["sealed", "written", "guarded"]),
            ("host0", "whole", ["sealed", "written", "written"]),
            ("host1", "apply", ["written", "written", "none"]),
        ],
    )
    def test_dies(self, site, host, step, phases):
        """In any step of any host; the next run ends it."""
        site.set(host, wishes={step: "unreal fault"})
        play = site.rotate()
        assert play.rc == 2 and "unreal fault" in play.output, play.output
        assert ("All hosts have gone back to the old key" in play.output) == (phases == ["none"] * 3)
        assert [site.host(name)["phase"] for name in site.names] == phases
        play = site.rotate()
        assert play.rc == 0, play.output
        site.assert_all(phase="none", guarded=False)

    @pytest.mark.parametrize("words", ["ignore_errors: true", "run_once: true", "ignore_unreachable: true"])
    def test_play_that_goes_on_after_failures(self, site, words):
        """It does not go past what the role stops at."""
        site.set("host1", wishes={"still": "unreal fault"}, database=["d"])
        play = site.rotate(play=FREE.replace("strategy: free", words))
        assert "unreal fault" in play.output or "leave out `run_once`" in play.output, play.output
        site.assert_all(KEY, phase="none", guarded=False)
        assert not {"write", "whole"} & {step for name in site.names for step in site.host(name)["asked"]}

    def test_order_of_the_inventory(self, site):
        site.set("host1", phase="sealed", guarded=True, running=None, part="conductor")
        site.set("host0", phase="guarded", guarded=True, running=None, part="member")
        for abort in (False, True):
            play = site.rotate(appwrite_rotation_abort=abort)
            assert play.rc == 2 and "host1 conducts a rotation that is unfinished" in play.output, play.output
            assert all(set(site.host(name)["asked"]) <= {"still in check mode"} for name in site.names)

    @pytest.mark.parametrize("site", [3], indirect=True)
    def test_goes_back(self, site):
        """From where the conductor is guarded, and then from where it says that it cannot."""
        site.set("host0", phase="guarded", guarded=True, running=None, new_key="unreal-new-key-of-nobody-at-all-0000")
        for name in ("host1", "host2"):
            site.set(name, phase="guarded", guarded=True, running=None)
        play = site.rotate(appwrite_rotation_abort=True)
        assert play.rc == 0, play.output
        site.assert_all(KEY, phase="none", guarded=False)
        site.set("host0", phase="sealed", guarded=True, running=None, new_key="unreal-new-key-of-nobody-at-all-0000")
        play = site.rotate(appwrite_rotation_abort=True)
        assert play.rc == 2 and "no way back" in play.output and site.host("host0")["phase"] == "sealed", play.output
