# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit of a fleet costs: the playbook audit.yml over SSH on 1 to 50 hosts, side by side in one run; and one host's audit alone.

A host is a network namespace with an sshd of its own. All see this machine's files, its engine and one running project, so controller
and hosts share the cores of one machine: what a host costs here is the work of both. It asserts nothing: machines differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible.parsing.vault import VaultSecret
from support.stack import NOT_A_KEY, SMALL
from testbed import Project
from testbed._base import Failed, clean_environ, run

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow
from conftest import WORK  # which also makes the collection importable

HERE = Path(__file__).parent
SIZES = (1, 5, 10, 25, 50)
BASE = 10
"""The others are compared with as many hosts as Ansible works on at a time."""
ROUNDS = 3
SINGLE_ROUNDS = 3
"""in each of them"""
EXEC = "docker compose exec -T appwrite true"
EMPTY = "ansible -m empty"
AUDIT = "ansible -m selfhost.appwrite.audit_info"
NAME = "appwrite-fleet"
"""Of the bridge; the names of the namespaces begin with it."""
SUBNET = "198.18.231"
"""Of the range that RFC 2544 keeps for benchmarks, so that no real network has it."""
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd wants this directory, empty, which a started service has made."""
PASSWORD = b"not-a-real-vault-password"
SSHD = """\
HostKey {home}/host_key
AuthorizedKeysFile {home}/user_key.pub
# Only its owner may enter the directory of the keys, but everybody may write to the one above it.
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
PidFile none
LogLevel VERBOSE
"""
WAIVERS = """\
- {control: containers.proxy_socket_read_only, hosts: all, justification: Nobody but us reaches them., expires: 2099-12-31}
- {control: platform.scanner_there, hosts: "host-0*", justification: Nobody uploads files there., expires: 2099-12-31}
- {control: https.certificate_email, hosts: [staging, test], justification: Their certificates are bought., expires: 2099-12-31}
"""


@contextlib.contextmanager
def network(home: Path, hosts: dict[str, str]) -> Iterator[None]:
    """Hosts of these names at these addresses, which this machine reaches by SSH. Nothing of them is left in the end."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0{NAME}")
        except OSError:
            sys.exit("Another run is at it on this machine: wait until it ends.")
        remove()  # what a killed run left
        if run("ip", "route", "show", "root", f"{SUBNET}.0/24"):
            sys.exit(f"This machine has a route within {SUBNET}.0/24: write another network into SUBNET.")
        found = PRIVILEGE_SEPARATION.exists()
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        try:
            make(home, hosts)
            yield
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            remove()
            if not found:
                PRIVILEGE_SEPARATION.rmdir()


def make(home: Path, hosts: dict[str, str]) -> None:
    for key in ("host_key", "user_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", home / key)
    (home / "known_hosts").write_text(f"{SUBNET}.* {(home / 'host_key.pub').read_text()}")
    (home / "sshd_config").write_text(SSHD.format(home=home))
    run("ip", "link", "add", NAME, "type", "bridge")
    run("ip", "address", "add", f"{SUBNET}.1/24", "dev", NAME)
    run("ip", "link", "set", NAME, "up")
    for number, (host, address) in enumerate(hosts.items(), 1):
        namespace = f"{NAME}-{host}"
        run("ip", "netns", "add", namespace)
        run(
            "ip",
            "link",
            "add",
            f"appwrite-f{number}",
            "master",
            NAME,
            "up",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace,
        )
        run(
            "ip",
            "-netns",
            namespace,
            "-batch",
            "-",
            input=f"link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n",
        )
        # Not by ip-netns-exec(8), which would hide parts of /sys from what runs there.
        subprocess.Popen(
            [
                "nsenter",
                f"--net=/run/netns/{namespace}",
                shutil.which("sshd"),
                "-D",
                "-f",
                home / "sshd_config",
                "-E",
                home / f"{host}.log",
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    for host, address in hosts.items():
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=1):
                break
            if time.monotonic() > deadline:
                sys.exit(f"The sshd of {host} does not answer:\n{(home / f'{host}.log').read_text()}")
            time.sleep(0.05)


def remove() -> None:
    """All that has the names that make() gives."""
    names = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(f"{NAME}-")]
    for name in names:
        for process in run("ip", "netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        run("ip", "netns", "delete", name)
    if Path("/sys/class/net", NAME).exists():
        for port in json.loads(run("ip", "-json", "link", "show", "master", NAME)):
            with contextlib.suppress(Failed):  # the kernel may be removing it with its namespace
                run("ip", "link", "delete", port["ifname"])
        run("ip", "link", "delete", NAME)


class Bench:
    def __init__(self, home: Path, project: Project, hosts: Sequence[str]) -> None:
        self.home, self.project, self.hosts = home, project, hosts
        self.seconds: dict[str, list[float]] = {}
        self.work: dict[str, list[float]] = {}
        """seconds of processor time of the controller's processes"""
        self.commands: dict[int, set[int]] = {}
        """how many commands a host was sent over SSH for its audit"""
        self.environment = {
            **clean_environ(),
            "ANSIBLE_CONFIG": f"{home}/ansible.cfg",
            "ANSIBLE_HOME": str(WORK / "benchmark"),
            "ANSIBLE_COLLECTIONS_PATH": str(WORK / "import"),
            "ANSIBLE_LIBRARY": str(HERE / "library"),
            "ANSIBLE_VAULT_PASSWORD_FILE": f"{home}/password",
            "ANSIBLE_PIPELINING": "true",
        }

    def time(self, name: str, *words: str | Path) -> None:
        used, started = _used(), time.perf_counter()
        done = subprocess.run(
            words, cwd=self.project.directory, env=self.environment, check=False, capture_output=True, text=True
        )
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        self.work.setdefault(name, []).append(_used() - used)
        if done.returncode:
            sys.exit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")

    def play(self, name: str, size: int, playbook: str | Path, **variables: object) -> None:
        """Over connections of its own, as once a day."""
        with tempfile.TemporaryDirectory(dir=self.home) as connections:
            self.environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = connections
            self.time(
                f"{name} {size}",
                _program("ansible-playbook"),
                playbook,
                "--inventory",
                self.home / "inventory.yml",
                "--limit",
                f"first_{size}",
                "--forks",
                str(BASE),
                "--extra-vars",
                json.dumps(variables),
            )

    def audit(self, size: int) -> None:
        logs = [self.home / f"{host}.log" for host in self.hosts[:size]]
        for log in logs:
            os.truncate(log, 0)
        with tempfile.TemporaryDirectory(dir=self.home) as reports:
            self.play("audit", size, "selfhost.appwrite.audit", appwrite_audit_report_dir=reports)
            reported = json.loads(Path(reports, "report.json").read_text())["hosts"]
        if [host["host"] for host in reported if host["release"]] != list(self.hosts[:size]):
            sys.exit(f"Not every host was audited: {reported}")
        self.commands.setdefault(size, set()).update(log.read_text().count("Starting session: command") for log in logs)

    def alone(self, name: str, *arguments: str) -> None:
        self.time(
            name,
            _program("ansible"),
            "localhost",
            "--inventory",
            "localhost,",
            "--connection",
            "local",
            "--extra-vars",
            json.dumps({"ansible_python_interpreter": sys.executable}),
            "--module-name",
            *arguments,
        )

    def middle(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> str:
        return f"{self.middle(name):7.2f} ({min(self.seconds[name]):.2f} to {max(self.seconds[name]):.2f})"

    def further(self, name: str, size: int) -> str:
        """What each host after the first adds, in seconds and in the controller's processor time; each with its ratio to that of BASE hosts."""

        def each(measured: dict[str, list[float]], hosts: int) -> float:
            return (statistics.median(measured[f"{name} {hosts}"]) - statistics.median(measured[f"{name} 1"])) / (
                hosts - 1
            )

        return "".join(
            f"{each(measured, size):9.3f}{each(measured, size) / each(measured, BASE):6.2f}" if size > 1 else " " * 15
            for measured in (self.seconds, self.work)
        )


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _program(name: str) -> Path:
    return Path(sys.executable).parent / name


def prepare(home: Path, project: Project, hosts: dict[str, str]) -> None:
    """What a user has: an inventory, a vault password, each host's key in escrow, waivers."""
    (home / "ansible.cfg").touch()
    (home / "password").write_bytes(PASSWORD)
    (home / "waivers.yml").write_text(WAIVERS)
    for host in hosts:
        Escrow(str(home / f"{host}.escrow.yml"), [("default", VaultSecret(PASSWORD))]).add(
            NOT_A_KEY, {"origin": "generated"}
        )
    (home / "inventory.yml").write_text(
        json.dumps(
            {
                "all": {
                    "hosts": {host: {"ansible_host": address} for host, address in hosts.items()},
                    "children": {f"first_{size}": {"hosts": dict.fromkeys(list(hosts)[:size])} for size in SIZES},
                    "vars": {
                        "ansible_user": "root",
                        "ansible_ssh_private_key_file": f"{home}/user_key",
                        "ansible_python_interpreter": sys.executable,
                        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={home}/known_hosts",
                        "appwrite_audit_project_src": str(project.directory),
                        "appwrite_audit_fail_on": "never",
                        "appwrite_audit_third_parties": [],
                        "appwrite_audit_escrow_file": f"{home}/{{{{ inventory_hostname }}}}.escrow.yml",
                        "appwrite_audit_waivers_file": f"{home}/waivers.yml",
                    },
                }
            }
        )
    )


def show(bench: Bench) -> None:
    print(f"{os.cpu_count()} cores. Seconds as median (lowest to highest).\n")
    for name in (EXEC, EMPTY, AUDIT):
        print(f"{name:<40} {bench.spread(name)}")
    own = bench.middle(AUDIT) - bench.middle(EMPTY)
    for what, seconds in ((AUDIT, bench.middle(AUDIT)), ("the same less the empty module", own)):
        print(
            f"{what}: {seconds - bench.middle(EXEC):.2f} s more than the exec, {seconds / bench.middle(EXEC):.2f} times as much"
        )
    print(f"\n{'':<40}{'the audit':<44}  {'an empty module'}")
    print(
        f"{'hosts':>5}  {'seconds':<26}{'/ hosts':>8}"
        + f"{'further':>9}{'ratio':>6}{'work':>9}{'ratio':>6}{'commands':>10}  "
        f"{'further':>9}{'ratio':>6}{'work':>9}{'ratio':>6}"
    )
    for size in SIZES:
        print(
            f"{size:>5}  {bench.spread(f'audit {size}'):<26}{bench.middle(f'audit {size}') / size:8.2f}{bench.further('audit', size)}"
            f"{'-'.join(map(str, sorted(bench.commands[size]))):>10}  {bench.further('empty', size)}"
        )
    print(
        f"\nfurther: what each host after the first adds, beside its ratio to that of {BASE} hosts; {BASE} are worked on at a time\n"
        "work: the part of it that is processor time of the controller\ncommands: what a host was sent over SSH for its audit"
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("Terminated."))
    hosts = {f"host-{number:02}": f"{SUBNET}.{number + 10}" for number in range(1, max(SIZES) + 1)}
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as name:
        home = Path(name)
        project = SMALL.create(home)
        try:
            project.up()
            project.wait()
            with network(home, hosts):
                prepare(home, project, hosts)
                bench = Bench(home, project, list(hosts))
                bench.audit(1)  # compiles what is compiled once
                bench.seconds.clear()
                bench.work.clear()
                for number in range(ROUNDS):
                    print(f"Round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", flush=True)
                    for size in SIZES if number % 2 else SIZES[::-1]:
                        bench.play("empty", size, HERE / "empty.yml")
                        bench.audit(size)
                    for _number in range(SINGLE_ROUNDS):
                        bench.time(EXEC, "docker", "compose", "exec", "-T", "appwrite", "true")
                        bench.alone(EMPTY, "empty")
                        bench.alone(
                            AUDIT,
                            "selfhost.appwrite.audit_info",
                            "--args",
                            json.dumps({"project_src": str(project.directory)}),
                        )
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            project.down()
    show(bench)


if __name__ == "__main__":
    main()
