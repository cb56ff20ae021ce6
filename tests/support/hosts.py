# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed hosts as people have them: reached over a real sshd, as a user who is not root and has sudo."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pytest
from testbed._base import Failed, run

_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_SSHD = shutil.which("sshd", path=_PATH)
_PASSWORD = "not-a-real-password-of-a-user"
"""that sudo asks for"""
ASKED, NOT_ASKED = "ada", "grace"
"""Users of every host. Both have sudo, and only the first is asked for a password. Neither is in the group of the engine's socket."""
_IDS = {ASKED: 61234, NOT_ASKED: 61235}
_RECORDED = "SELFHOST_COVERAGE", "SELFHOST_COVERAGE_TEST"
"""What reaches the modules there, so that C(make coverage) records them."""
_ACCOUNTS = Path("/etc/passwd"), Path("/etc/shadow"), Path("/etc/group"), Path("/etc/sudoers")
_SSHD_CONFIG = """\
ListenAddress {address}:{port}
HostKey {home}/host_key
AuthorizedKeysFile {home}/user_key.pub
# The directory above may be one that everybody may write to.
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
PidFile none
LogLevel VERBOSE
MaxStartups 100
Subsystem sftp internal-sftp
SetEnv {environ}
"""
_SSH_CONFIG = f"""\
Host *
HostName {{address}}
Port {{port}}
User {ASKED}
IdentityFile {{home}}/user_key
IdentitiesOnly yes
HostKeyAlias host
UserKnownHostsFile {{home}}/known_hosts
GlobalKnownHostsFile none
"""
_SUDOERS = f"""\
Defaults env_reset, use_pty, lecture=never, timestamp_timeout=0
Defaults secure_path="{{path}}"
Defaults env_keep += "TMPDIR {" ".join(_RECORDED)}"
root ALL=(ALL:ALL) ALL
{ASKED} ALL=(ALL:ALL) ALL
{NOT_ASKED} ALL=(ALL:ALL) NOPASSWD: ALL
"""
_START = """\
set -e
home=$1 sshd=$2
for file in passwd shadow group sudoers; do mount --bind "$home/etc/$file" "/etc/$file"; done
exec "$sshd" -D -f "$home/sshd_config" -E "$home/log"
"""


def lacks() -> str:
    """Why no host can be had here, as tests/README.md lists it; empty if it can."""
    if os.geteuid():
        return "only root may mount a file system: a managed host has users of its own"
    missing = [program for program in ("sshd", "sudo", "ssh", "unshare") if not shutil.which(program, path=_PATH)]
    return f"sshd is not at hand: {', '.join(missing)}; tests/faults/tools.sh installs it" if missing else ""


def require() -> None:
    """Skips the test if no host can be had here."""
    if reason := lacks():
        pytest.skip(reason)  # "sshd is not at hand", or "only root may": both are in the list of tests/README.md


class Host:
    """A managed host, which is this machine behind an sshd, with users and homes of its own, and with this machine's engine and other files.

    As a context manager it ends with every process that was started on it.
    """

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self._within: Sequence[str] = ("unshare", "--mount", "--propagation", "slave")
        """before a command that runs there"""
        self.home = Path(tempfile.mkdtemp(prefix="appwrite-host-"))  # short, since it has sockets in it
        self.log = self.home / "log"
        self.ssh_config = self.home / "ssh_config"
        self.homes = {"root": self.home / "root", **{user: self.home / user for user in _IDS}}
        self.tmp = self.home / "tmp"
        """Where programs put temporary files there, and nobody else does."""

    def __enter__(self) -> Host:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def variables(self, user: str = ASKED) -> dict[str, Any]:
        """With which Ansible reaches it, and becomes root there."""
        return {
            "ansible_connection": "ssh",
            "ansible_user": user,
            "ansible_ssh_common_args": f"-F {self.ssh_config}",
            "ansible_control_path_dir": f"{self.home}/cp",
            "ansible_python_interpreter": sys.executable,
            **({"ansible_become": True} if user != "root" else {}),
            **({"ansible_become_password": _PASSWORD} if user == ASKED else {}),
        }

    @property
    def environ(self) -> Mapping[str, str]:
        """For somebody who types commands as ASKED: every name in an inventory is this host. The inventory says whether to become root."""
        return {
            "ANSIBLE_SSH_COMMON_ARGS": f"-F {self.ssh_config}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{self.home}/cp",
            "ANSIBLE_PIPELINING": "false",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_BECOME_PASSWORD_FILE": f"{self.home}/become_password",
        }

    def ids(self, user: str) -> tuple[int, int]:
        """The numbers of a user and of his group."""
        return _IDS[user], _IDS[user]

    def run(self, command: str, user: str = ASKED) -> str:
        """What a shell line prints there. Raises Failed if its status is not 0."""
        return run("ssh", "-F", self.ssh_config, "-l", user, "host", command)

    def install(self, program: str, text: str) -> None:
        """A program that root finds there before all others of its name."""
        path = self.home / "bin" / program
        path.write_text(text)
        path.chmod(0o755)

    def at_terminal(self, command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> tuple[str, int]:
        """What a command prints on a terminal of 24 lines and 80 columns, and its status. Whoever asks for the password of ASKED gets it."""
        output, status = pexpect.run(
            shlex.join(command),
            timeout=None,
            withexitstatus=True,
            events={"(?i)become password: ": f"{_PASSWORD}\n"},
            cwd=directory,
            env=environ,
            encoding="utf-8",
        )
        return output.replace("\r\n", "\n"), status

    def processes(self) -> set[int]:
        """All that run on it, its sshd included."""
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(path / "ns" / "mnt") == self._namespace:
                    found.add(int(path.name))
        return found

    def disconnect(self) -> None:
        """Every connection to it is lost."""
        for process in self.processes() - self.at_work() - {self._sshd.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def at_work(self) -> set[int]:
        """What runs on it beside sshd."""
        found = set()
        for process in self.processes():
            with contextlib.suppress(OSError):
                if not Path(f"/proc/{process}/exe").samefile(str(_SSHD)):
                    found.add(process)
        return found

    def _start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.home.chmod(0o755)
        for name, mode in (("etc", 0o755), ("bin", 0o755), ("cp", 0o700), ("tmp", 0o1777), ("root", 0o700)):
            (self.home / name).mkdir()
            (self.home / name).chmod(mode)
        for key in ("host_key", "user_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.home / key)
        (self.home / "known_hosts").write_text(f"host {(self.home / 'host_key.pub').read_text()}")
        self.ssh_config.write_text(_SSH_CONFIG.format(home=self.home, address=self.address, port=port))
        (self.home / "become_password").touch(mode=0o600)
        (self.home / "become_password").write_text(_PASSWORD)
        environ = {"TMPDIR": self.tmp, **{name: os.environ[name] for name in _RECORDED if name in os.environ}}
        (self.home / "sshd_config").write_text(
            _SSHD_CONFIG.format(
                home=self.home,
                address=self.address,
                port=port,
                environ=" ".join(f"{name}={value}" for name, value in environ.items()),
            )
        )
        self._write_accounts()
        self._port = port
        self.start()

    def start(self) -> None:
        """Lets its sshd listen."""
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # a started service has made it, which is wanted
        self._sshd = subprocess.Popen(
            [*self._within, "sh", "-c", _START, "sh", self.home, _SSHD],
            env={"PATH": _PATH},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self._port), timeout=1):
                break
            if self._sshd.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"The sshd does not answer:\n{self.log.read_text() if self.log.exists() else ''}")
            time.sleep(0.02)
        self._namespace = os.readlink(f"/proc/{self._sshd.pid}/ns/mnt")

    def _write_accounts(self) -> None:
        """Those of this machine, with homes below this host's, and the users."""
        hashed = run("openssl", "passwd", "-6", "-stdin", input=_PASSWORD).strip()
        texts = {path.name: path.read_text() for path in _ACCOUNTS[:3]}
        lines = texts["passwd"].splitlines()
        texts["passwd"] = "".join(
            (f"root:x:0:0:root:{self.homes['root']}:/bin/sh" if line.startswith("root:") else line) + "\n"
            for line in lines
        )
        for user, number in _IDS.items():
            texts["passwd"] += f"{user}:x:{number}:{number}::{self.homes[user]}:/bin/sh\n"
            texts["shadow"] += f"{user}:{hashed}:20000:0:99999:7:::\n"
            texts["group"] += f"{user}:x:{number}:\n"
            self.homes[user].mkdir(mode=0o700)
            os.chown(self.homes[user], number, number)
        texts["sudoers"] = _SUDOERS.format(path=f"{self.home}/bin:{_PATH}")
        for path in _ACCOUNTS:
            copy = self.home / "etc" / path.name
            copy.write_text(texts[path.name])
            found = path.stat()
            copy.chmod(found.st_mode & 0o7777)
            os.chown(copy, found.st_uid, found.st_gid)

    def stop(self) -> None:
        """Ends every process on it, its sshd too."""
        if hasattr(self, "_namespace"):
            while found := self.processes():
                for process in found:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                self._sshd.poll()
                time.sleep(0.01)
            del self._namespace  # whose number another may get

    def _end(self) -> None:
        self.stop()
        shutil.rmtree(self.home)
