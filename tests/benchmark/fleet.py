# Copyright: (c) 2026, selfhost.appwrite contributors
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

import conftest  # noqa: F401  # from here on the collection can be imported
from ansible.parsing.vault import VaultSecret
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow
from integration.support import NOT_A_KEY, SMALL, WORK
from testbed import Project
from testbed._base import clean_environ, run

SIZES = (1, 5, 10, 25, 50)
BASE = 10
"""The others are compared with as many hosts as Ansible works on at a time."""
ROUNDS = 3
SINGLE_ROUNDS = 7
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
        run("ip", "link", "add", f"appwrite-f{number}", "master", NAME, "up", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "-netns", namespace, "-batch", "-", input=f"link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n")
        # Not by ip-netns-exec(8), which would hide parts of /sys from what runs there.
        subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", shutil.which("sshd"), "-D", "-f", home / "sshd_config", "-E", home / f"{host}.log"],
            stdin=subprocess.DEVNULL, start_new_session=True)
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
            with contextlib.suppress(Exception):  # the kernel may be removing it with its namespace
                run("ip", "link", "delete", port["ifname"])
        run("ip", "link", "delete", NAME)


class Bench:
    def __init__(self, home: Path, project: Project, hosts: Sequence[str]) -> None:
        self.home, self.project, self.hosts = home, project, hosts
        self.seconds: dict[object, list[float]] = {}
        self.work: dict[object, list[float]] = {}
        """seconds of processor time of the controller's processes"""
        self.commands: dict[int, set[int]] = {}
        """how many commands a host was sent over SSH"""
        self.environment = {
            **clean_environ(), "ANSIBLE_CONFIG": f"{home}/ansible.cfg", "ANSIBLE_HOME": str(WORK / "benchmark"),
            "ANSIBLE_COLLECTIONS_PATH": str(WORK / "import"), "ANSIBLE_LIBRARY": str(Path(__file__).parent / "library"),
            "ANSIBLE_VAULT_PASSWORD_FILE": f"{home}/password", "ANSIBLE_PIPELINING": "true", "PYTHONPYCACHEPREFIX": str(WORK / "pycache")}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or Ansible itself would be compiled anew each time

    def time(self, name: object, *words: str | Path) -> None:
        used, started = _used(), time.perf_counter()
        done = subprocess.run(words, cwd=self.project.directory, env=self.environment, check=False, capture_output=True, text=True)
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        self.work.setdefault(name, []).append(_used() - used)
        if done.returncode:
            sys.exit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")

    def audit(self, size: int) -> None:
        """Without a connection that is still open, as once a day."""
        hosts = self.hosts[:size]
        logs = [self.home / f"{host}.log" for host in hosts]
        for log in logs:
            os.truncate(log, 0)
        with tempfile.TemporaryDirectory(dir=self.home) as scratch:
            self.environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = f"{self.home}/{Path(scratch).name}/cp"
            self.time(
                size, _program("ansible-playbook"), "selfhost.appwrite.audit", "--inventory", self.home / "inventory.yml", "--forks", str(BASE),
                "--extra-vars", json.dumps({"appwrite_hosts": f"first_{size}", "appwrite_audit_report_dir": scratch}))
            reported = json.loads(Path(scratch, "report.json").read_text())["hosts"]
        if [host["host"] for host in reported if host["release"]] != list(hosts):
            sys.exit(f"Not every host was audited: {reported}")
        self.commands.setdefault(size, set()).update(log.read_text().count("Starting session: command") for log in logs)

    def alone(self, name: str, module: str, **arguments: str) -> None:
        self.time(
            name, _program("ansible"), "localhost", "--inventory", "localhost,", "--connection", "local", "--module-name", module,
            *(["--args", json.dumps(arguments)] if arguments else ()), "--extra-vars", json.dumps({"ansible_python_interpreter": sys.executable}))

    def middle(self, name: object) -> float:
        return statistics.median(self.seconds[name])

    def further(self, size: int, measured: dict[object, list[float]]) -> float:
        """What each host after the first adds."""
        return (statistics.median(measured[size]) - statistics.median(measured[1])) / (size - 1)

    def spread(self, name: object) -> str:
        return f"{self.middle(name):7.2f} ({min(self.seconds[name]):.2f} to {max(self.seconds[name]):.2f})"


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _program(name: str) -> Path:
    return Path(sys.executable).parent / name


def prepare(home: Path, project: Project, hosts: dict[str, str]) -> None:
    """What a user has: an inventory, a vault password, an escrow of each host's key, waivers."""
    (home / "ansible.cfg").touch()
    (home / "password").write_bytes(PASSWORD)
    (home / "waivers.yml").write_text(WAIVERS)
    for host in hosts:
        Escrow(str(home / f"{host}.escrow.yml"), [("default", VaultSecret(PASSWORD))]).add(NOT_A_KEY, {"origin": "generated"})
    (home / "inventory.yml").write_text(json.dumps({"all": {
        "hosts": {host: {"ansible_host": address} for host, address in hosts.items()},
        "children": {f"first_{size}": {"hosts": dict.fromkeys(list(hosts)[:size])} for size in SIZES},
        "vars": {
            "ansible_user": "root", "ansible_ssh_private_key_file": f"{home}/user_key", "ansible_python_interpreter": sys.executable,
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={home}/known_hosts",
            "appwrite_audit_project_src": str(project.directory), "appwrite_audit_fail_on": "never", "appwrite_audit_third_parties": [],
            "appwrite_audit_escrow_file": f"{home}/{{{{ inventory_hostname }}}}.escrow.yml", "appwrite_audit_waivers_file": f"{home}/waivers.yml"}}}))


def show(bench: Bench, load: float) -> None:
    floor, empty, audit = SINGLE = "docker compose exec -T appwrite true", "an empty module", "audit_info"
    print(f"{os.cpu_count()} cores, which controller and hosts share; load before: {load:.1f}. Seconds as median (lowest to highest).\n")
    print(f"{'one host, no network':<40}")
    for name in SINGLE:
        print(f"{name:<40} {bench.spread(name)}" + ("" if name == floor else "  with the start of `ansible`"))
    own = bench.middle(audit) - bench.middle(empty)
    print(f"audit_info takes {bench.middle(audit) - bench.middle(floor):.2f} s over the exec, {bench.middle(audit) / bench.middle(floor):.2f} times as long;"
          f" without the start of `ansible` {own - bench.middle(floor):.2f} s, {own / bench.middle(floor):.2f} times as long.\n")
    print(f"{'hosts':>5} {'seconds':^27}{'/ hosts':>9}{'further':>9}{'ratio':>7}{'controller':>12}{'further':>9}{'ratio':>7}{'commands':>10}")
    for size in SIZES:
        row = f"{size:>5} {bench.spread(size):<27}{bench.middle(size) / size:9.2f}"
        for measured, lead in ((bench.seconds, ""), (bench.work, f"{statistics.median(bench.work[size]):12.2f}")):
            row += lead + (f"{bench.further(size, measured):9.3f}{bench.further(size, measured) / bench.further(BASE, measured):7.2f}" if size > 1 else " " * 16)
        print(row + f"{'-'.join(map(str, sorted(bench.commands[size]))):>10}")
    print(f"\nfurther: what each host after the first adds, and its ratio to that of {BASE} hosts. controller: processor time of Ansible's processes.\n"
          "commands: how many each host was sent over SSH.")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("Terminated."))
    load = os.getloadavg()[0]
    hosts = {f"host-{number:02}": f"{SUBNET}.{number + 10}" for number in range(1, max(SIZES) + 1)}
    project = SMALL.create(WORK / "benchmark")
    try:
        project.up()
        project.wait()
        with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as name, network(Path(name), hosts):
            prepare(Path(name), project, hosts)
            bench = Bench(Path(name), project, list(hosts))
            bench.audit(1)  # compiles what is compiled once
            bench.seconds.clear()
            bench.work.clear()
            for number in range(ROUNDS):
                for size in SIZES if number % 2 else SIZES[::-1]:
                    bench.audit(size)
            for _number in range(SINGLE_ROUNDS):
                bench.time("docker compose exec -T appwrite true", "docker", "compose", "exec", "-T", "appwrite", "true")
                bench.alone("an empty module", "empty")
                bench.alone("audit_info", "selfhost.appwrite.audit_info", project_src=str(project.directory))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        project.down()
    show(bench, load)


if __name__ == "__main__":
    main()
