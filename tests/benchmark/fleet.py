# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit of a fleet costs: the playbook audit.yml over SSH on 1 to 50 hosts, side by side in one run; and one host's audit alone.

A host has an sshd of its own. All see this machine's engine and one running project, so controller and hosts share the cores of one
machine: what a host costs here is the work of both. It asserts nothing: machines differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ansible.parsing.vault import VaultSecret
from measure import FORKS, HERE, FleetRuns, machine
from support.hosts import Host, lacks
from support.stack import NOT_A_KEY, SMALL
from testbed import Project

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow

SIZES = (1, 5, 10, 25, 50)
ROUNDS = 3
SINGLE_ROUNDS = 3
"""in each of them"""
EXEC = "docker compose exec -T appwrite true"
EMPTY = "ansible -m empty"
AUDIT = "ansible -m selfhost.appwrite.audit_info"
PASSWORD = b"not-a-real-vault-password"
WAIVERS = """\
- {control: containers.proxy_socket_read_only, hosts: all, justification: Nobody but us reaches them., expires: 2099-12-31}
- {control: platform.scanner_there, hosts: "host-0*", justification: Nobody uploads files there., expires: 2099-12-31}
- {control: https.certificate_email, hosts: [staging, test], justification: Their certificates are bought., expires: 2099-12-31}
"""


class Bench(FleetRuns):
    def __init__(self, home: Path, project: Project, hosts: Mapping[str, Host]) -> None:
        """A user has a vault password, each host's key in escrow, and waivers."""
        (home / "password").write_bytes(PASSWORD)
        (home / "waivers.yml").write_text(WAIVERS)
        for host in hosts:
            escrow = Escrow(str(home / f"{host}.escrow.yml"), [("default", VaultSecret(PASSWORD))])
            escrow.add(NOT_A_KEY, {"origin": "generated"})
        variables = {
            "appwrite_audit_project_src": str(project.directory),
            "appwrite_audit_fail_on": "never",
            "appwrite_audit_third_parties": [],
            "appwrite_audit_escrow_file": f"{home}/{{{{ inventory_hostname }}}}.escrow.yml",
            "appwrite_audit_waivers_file": f"{home}/waivers.yml",
        }
        environment = {"ANSIBLE_VAULT_PASSWORD_FILE": f"{home}/password", "ANSIBLE_PIPELINING": "true"}
        super().__init__(home, hosts, SIZES, variables, environment)
        self.hosts = hosts
        self.commands: dict[int, set[int]] = {}
        """how many commands a host was sent over SSH for its audit"""

    def audit(self, size: int) -> None:
        names = list(self.hosts)[:size]
        logs = [self.hosts[name].log for name in names]
        for log in logs:
            os.truncate(log, 0)
        with tempfile.TemporaryDirectory(dir=self._home) as reports:
            self.play("audit", size, "selfhost.appwrite.audit", appwrite_audit_report_dir=reports)
            reported = json.loads(Path(reports, "report.json").read_text())["hosts"]
        if [host["host"] for host in reported if host["release"]] != names:
            sys.exit(f"Not every host was audited: {reported}")
        self.commands.setdefault(size, set()).update(log.read_text().count("Starting session: command") for log in logs)

    def alone(self, name: str, *arguments: str) -> None:
        here = "localhost", "--inventory", "localhost,", "--connection", "local"
        python = json.dumps({"ansible_python_interpreter": sys.executable})
        self.time(
            name, Path(sys.executable).parent / "ansible", *here, "--extra-vars", python, "--module-name", *arguments
        )


def show(bench: Bench) -> None:
    print(f"{machine()}. Seconds as median (lowest to highest).\n")
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
        f"\nfurther: what each host after the first adds, beside its ratio to that of {FORKS} hosts; {FORKS} are worked on at a time\n"
        "work: the part of it that is processor time of the controller\ncommands: what a host was sent over SSH for its audit"
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("Terminated."))
    if reason := lacks():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="appwrite-fleet-") as name, contextlib.ExitStack() as running:
        home = Path(name)
        project = SMALL.create(home)
        try:
            project.up()
            project.wait()
            hosts = {f"host-{number:02}": running.enter_context(Host()) for number in range(1, max(SIZES) + 1)}
            bench = Bench(home, project, hosts)
            bench.audit(1)  # compiles what is compiled once
            bench.seconds.clear()
            bench.work.clear()
            for number in range(ROUNDS):
                print(f"Round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", flush=True)
                for size in SIZES if number % 2 else SIZES[::-1]:
                    bench.play("empty", size, HERE / "empty.yml")
                    bench.audit(size)
                for _number in range(SINGLE_ROUNDS):
                    bench.time(
                        EXEC,
                        "docker",
                        "compose",
                        "--project-directory",
                        project.directory,
                        "exec",
                        "-T",
                        "appwrite",
                        "true",
                    )
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
