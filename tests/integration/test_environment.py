# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the managed host needs: few processes, an old Python, any docker compose."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.stack import CHECKOUT, WORK, playbook, read_env, small, succeed
from testbed._base import locked

# Writes down every process that the module itself starts.
AUDIT = """\
import sys

def record(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"):
        with open({log!r}, "a") as log:
            print(event, arguments[:2], file=log)

sys.addaudithook(record)
"""
WISH = {
    "encryption_key": {},
    "https": {},
    "console_access": {"root_only": True},
    "env": {"variables": {"_APP_DOMAIN": "a.example.com"}},
}


@small("apply")
def test_processes(stack, tmp_path):
    """security, unchanged, starts at most two processes."""
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(AUDIT.format(log=str(log)))
    arguments = {**stack.arguments, **WISH}
    succeed("security", arguments)
    assert succeed("security", arguments, path=[tmp_path])["changed"] is False
    started = log.read_text().splitlines()
    assert 1 <= len(started) <= 2, started


@pytest.fixture
def core_2_19() -> Path:
    """The programs of the last ansible-core that manages hosts with Python 3.8."""
    pythons = CHECKOUT / ".venv" / "pythons"
    if not (pythons / "python3.8").exists():
        pytest.skip("Python 3.8 is not installed")
    controller = next((path for minor in (13, 12, 11) if (path := pythons / f"python3.{minor}").exists()), None)
    if not controller:
        pytest.skip("no Python that ansible-core 2.19 runs on is installed")
    programs = WORK / "core-2.19" / "bin"
    with locked("core-2.19"):
        if not (programs / "ansible-playbook").exists():
            subprocess.run([controller, "-m", "venv", "--clear", programs.parent], check=True)
            subprocess.run([programs / "pip", "install", "--quiet", "ansible-core==2.19.14"], check=True)
    return programs


PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Write
      selfhost.appwrite.security: "{{ {'project_src': appwrite_security_project_src} | combine(wish) }}"
    - name: Look
      selfhost.appwrite.instance_info:
        project_src: "{{ appwrite_security_project_src }}"
    - name: Apply
      selfhost.appwrite.apply:
        project_src: "{{ appwrite_security_project_src }}"
      check_mode: true
"""


@pytest.mark.nightly("test_sanity.py, and with Python 3.13 test_core_flow.py")
def test_oldest_python(directory, core_2_19):
    variables = {"appwrite_security_project_src": str(directory), "wish": WISH}
    options = {"program": core_2_19 / "ansible-playbook", "python": CHECKOUT / ".venv" / "pythons" / "python3.8"}
    play = playbook(PLAYBOOK, variables, "--diff", **options)
    assert play.rc == 0, play.output
    assert read_env(directory)["_APP_DOMAIN"] == "a.example.com"
    assert play.result("Look")["key"]["state"] == "present"
    assert playbook(PLAYBOOK, variables, **options).recap["changed"] == 1, (
        "only apply, in check mode, would change anything"
    )
