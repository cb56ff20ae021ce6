# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a fresh project, secure it with the installed collection, show before and after, remove it.

The plays run over SSH by a user who has sudo, if such a host can be had here, and else on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.hosts import Host, lacks
from testbed import Project

DOMAIN = "appwrite.example.com"
_CAPPED = 40
"""The most that a project scores while a critical control fails."""
ANSWERS = {
    "appwrite_security_certificate_email": "admin@example.com",
    "appwrite_security_force_https": True,  # which is not done by itself for a name that is nobody's
    "appwrite_security_env_mode": "0600",
    "appwrite_security_variables": {"_APP_DOMAIN": DOMAIN},
}


def _look(project: Project, home: Path) -> dict[str, object]:
    """What instance_info says of the project."""
    module = (
        home
        / "collections"
        / "ansible_collections"
        / "selfhost"
        / "appwrite"
        / "plugins"
        / "modules"
        / "instance_info.py"
    )
    done = subprocess.run(
        [sys.executable, module],
        env={**os.environ, "PYTHONPATH": str(home / "collections")},
        check=True,
        capture_output=True,
        text=True,
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"project_src": str(project.directory)}}),
    )
    return json.loads(done.stdout)


def _play(
    name: str, reached: Mapping[str, str], answers: Mapping[str, object], *flags: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    """reached: how Ansible reaches the host, in environment variables."""
    return subprocess.run(
        [
            "ansible-playbook",
            f"selfhost.appwrite.{name}",
            "--inventory",
            f"{DOMAIN},",
            *flags,
            "--extra-vars",
            json.dumps(answers),
        ],
        env={**os.environ, **reached},
        check=False,
        text=True,
        **options,
    )


def _secure(project: Project, reached: Mapping[str, str]) -> int:
    return _play("secure", reached, {"appwrite_project_src": str(project.directory), **ANSWERS}, "--diff").returncode


def _audit(project: Project, reports: Path, reached: Mapping[str, str]) -> dict[str, object]:
    """What the audit's report says of the project."""
    answers = {
        "appwrite_project_src": str(project.directory),
        "appwrite_audit_report_dir": str(reports),
        "appwrite_audit_fail_on": "never",
        "appwrite_audit_third_parties": [],
    }
    done = _play("audit", reached, answers, capture_output=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads((reports / "report.json").read_text())["hosts"][0]


def _failing(audited: dict[str, object], *severities: str) -> int:
    return sum(finding["status"] == "fail" and finding["severity"] in severities for finding in audited["findings"])


def _rows(project: Project, seen: dict[str, object], audited: dict[str, object]) -> list[tuple[str, str, bool]]:
    """Subject, what is so, and whether it is good."""
    values, key = seen["variables"], seen["key"]
    services = {name: project.container_env(name) for name in seen["services"]}
    carriers = [name for name, environment in services.items() if "_APP_OPENSSL_KEY_V1" in environment]
    public = [name for name in carriers if services[name]["_APP_OPENSSL_KEY_V1"] == "your-secret-key"]
    unique = key["state"] == "present"
    stale = [entry for entry in seen["drift"] if entry["kind"] == "stale"]
    mode = (project.directory / ".env").stat().st_mode & 0o777

    def forced(name: str) -> tuple[str, bool]:
        return ("forced" if values[name] == "enabled" else "not forced", values[name] == "enabled")

    return [
        ("Encryption key", f"unique, {key['effective_bits']} bits" if unique else "your-secret-key", unique),
        ("Administrators can be forged", "no" if unique and not public else "yes", unique and not public),
        ("Containers with a unique key", f"{len(carriers) - len(public)} of {len(carriers)}", not public),
        ("HTTPS for API and console", *forced("_APP_OPTIONS_FORCE_HTTPS")),
        ("HTTPS for functions and sites", *forced("_APP_OPTIONS_ROUTER_FORCE_HTTPS")),
        ("Public name", values["_APP_DOMAIN"], values["_APP_DOMAIN"] == DOMAIN),
        (
            "Certificate e-mail",
            values.get("_APP_EMAIL_CERTIFICATES") or "none",
            bool(values.get("_APP_EMAIL_CERTIFICATES")),
        ),
        (
            "Console sign-up",
            "first account" if values["_APP_CONSOLE_WHITELIST_ROOT"] == "enabled" else "open",
            values["_APP_CONSOLE_WHITELIST_ROOT"] == "enabled",
        ),
        ("Containers behind .env", str(len({entry["service"] for entry in stale})), not stale),
        ("Mode of .env", f"{mode:04o}", not mode & 0o077),
        ("Audit: critical findings", str(_failing(audited, "critical")), not _failing(audited, "critical")),
        ("Audit: high findings", str(_failing(audited, "high")), not _failing(audited, "high")),
        ("Audit: score of 100", str(audited["score"]), audited["score"] > _CAPPED),
    ]


def _table(before: list[tuple[str, str, bool]], after: list[tuple[str, str, bool]]) -> str:
    rows = [("", "before", "after"), *((subject, old, new) for (subject, old, _b), (_s, new, _a) in zip(before, after))]
    marks = [("", ""), *((_mark(old[2]), _mark(new[2])) for old, new in zip(before, after))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    rule = [(width + (2 if column == 0 else 4)) * "─" for column, width in enumerate(widths)]
    lines = ["┌" + "┬".join(rule) + "┐"]
    for number, (row, mark) in enumerate(zip(rows, marks)):
        cells = [f" {row[0]:<{widths[0]}} "]
        cells += [f" {mark[column - 1] or ' '} {row[column]:<{widths[column]}} " for column in (1, 2)]
        lines.append("│" + "│".join(cells) + "│")
        if not number:
            lines.append("├" + "┼".join(rule) + "┤")
    return "\n".join([*lines, "└" + "┴".join(rule) + "┘"])


def _mark(good: bool) -> str:
    if not sys.stdout.isatty():
        return "✔" if good else "✘"
    return f"\033[{32 if good else 31}m{'✔' if good else '✘'}\033[0m"


def _reached(running: contextlib.ExitStack) -> Mapping[str, str]:
    if reason := lacks():
        print(f"The plays run on this machine: {reason}", flush=True)
        return {"ANSIBLE_TRANSPORT": "local", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    print("The plays reach it over SSH, as a user who has sudo", flush=True)
    return {**running.enter_context(Host()).environ, "ANSIBLE_BECOME": "true"}


def main() -> int:
    home = Path(sys.argv[1])
    print("== Start a fresh Appwrite 1.9.6 project as the command-line installer leaves it", flush=True)
    project = Project.create(home, "1.9.6")
    started = time.monotonic()
    with contextlib.ExitStack() as running:
        running.callback(project.down)
        project.up()
        project.wait()
        print(f"{len(project.ps())} services are up after {time.monotonic() - started:.0f} s", flush=True)
        reached = _reached(running)
        reports = home / "audit"
        shutil.rmtree(reports, ignore_errors=True)
        print("== ansible-playbook selfhost.appwrite.audit", flush=True)
        before = _rows(project, _look(project, home), _audit(project, reports, reached))
        print("== ansible-playbook selfhost.appwrite.secure --diff", flush=True)
        if status := _secure(project, reached):
            return status
        print("== ansible-playbook selfhost.appwrite.audit", flush=True)
        after = _rows(project, _look(project, home), _audit(project, reports, reached))
    print(_table(before, after))
    print("The audit's page, which shows both:", (reports / "report.html").relative_to(Path.cwd()))
    print(
        "The project was removed from the engine; its files and the backup of .env are in",
        project.directory.relative_to(Path.cwd()),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
