# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit without a controller: the program, its timer, and what Prometheus and Grafana make of its metrics."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from support.stack import CHECKOUT, Play, assert_no_leak, playbook, read_env, small, succeed, tree
from testbed._base import clean_environ, run
from testbed.images import Unavailable
from testbed.prometheus import promtool

from ansible_collections.selfhost.appwrite.plugins.filter.timer import unit_name
from ansible_collections.selfhost.appwrite.plugins.lookup.audit_program import pack
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.metrics import METRICS, VALUES
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import STATUSES

DOCS = CHECKOUT / "docs" / "monitoring"
RULES = DOCS / "appwrite-audit.rules.yml"
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text())
TEMPLATES = CHECKOUT / "roles" / "appwrite_audit" / "templates"
STATUS = "appwrite_audit_control_status"
NOBODY = {"host": "127.0.0.1", "http_port": 1, "https_port": 1}
"""An endpoint where nothing answers, so that no test asks a server on the network."""
OLDEST = min(
    (CHECKOUT / ".venv" / "pythons").glob("python3.*"),
    key=lambda path: int(path.suffix[1:]),
    default=Path(sys.executable),
)


class Host:
    """What a timer has on a managed host: the program and its configuration."""

    def __init__(self, place: Path, directory: Path) -> None:
        self.directory = directory
        self.program = place / "appwrite-audit.pyz"
        with self.program.open("wb") as stream:
            pack(stream)
        self.file = place / "appwrite-audit.json"
        self.textfile = place / "textfile" / "appwrite_audit.prom"
        self.textfile.parent.mkdir()
        self.config: dict[str, Any] = {
            "audit": {"project_src": str(directory), "endpoint": NOBODY},
            "textfile": str(self.textfile),
        }

    def run(self, *flags: str, config: str | None = None, python: Path = OLDEST) -> subprocess.CompletedProcess[str]:
        """As cron runs it, with next to no environment. The oldest Python that is here has no Ansible to lean on."""
        self.file.write_text(json.dumps(self.config) if config is None else config)
        done = subprocess.run(
            [python, "-I", self.program, "--config", self.file, *flags],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr + (self.textfile.read_text() if self.textfile.is_file() else "")
        assert "Traceback" not in said
        assert_no_leak(
            said,
            {
                value
                for name, value in read_env(self.directory).items()
                if len(value) >= 8 and catalogue.is_secret(name) and not catalogue.is_public_default(name, value)
            },
        )
        return done

    def complaint(self, **options: Any) -> str:
        """The one line of a run that failed."""
        done = self.run(**options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
        return done.stderr

    def samples(self) -> dict[str, dict[str, int]]:
        """Metric to the control that a sample is of, or an empty text, to its value."""
        found: dict[str, dict[str, int]] = {}
        for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\d+)$", self.textfile.read_text(), re.MULTILINE):
            assert f'directory="{self.config["audit"]["project_src"]}"' in labels
            control = re.search(r'control="([^"]*)"', labels)
            found.setdefault(name, {})[control[1] if control else ""] = int(value)
        return found


@pytest.fixture
def host(tmp_path: Path, directory: Path) -> Host:
    return Host(tmp_path, directory)


@pytest.fixture(scope="session")
def checker() -> Path:
    try:
        return promtool()
    except Unavailable as reason:
        pytest.skip(f"promtool is not at hand: {reason}")


@small("audit")
def test_program(stack, checker, tmp_path):
    """It finds what the module finds, since it is the same code, and writes it down for Prometheus."""
    host = Host(tmp_path, stack.directory)
    done = host.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    findings = succeed("audit_info", {**stack.arguments, "endpoint": NOBODY})["findings"]
    samples = host.samples()
    statuses = {found["id"]: found["status"] for found in findings}
    if subprocess.run([OLDEST, "-Ic", "import cryptography"], capture_output=True, check=False).returncode:
        statuses["encryption.key_opens_data"] = "unknown"
    assert samples[STATUS] == {name: VALUES[status] for name, status in statuses.items() if status in VALUES}
    assert {"pass", "fail", "unknown"} <= set(statuses.values()), (
        "the metrics of an audit that finds nothing prove nothing"
    )
    assert samples["appwrite_audit_success"] == samples["appwrite_audit_info"] == {"": 1}
    assert stat.S_IMODE(host.textfile.stat().st_mode) == 0o644
    assert [path.name for path in host.textfile.parent.iterdir()] == [host.textfile.name]
    assert run(checker, "check", "metrics", input=host.textfile.read_text()) == ""

    host.textfile.unlink()
    done = host.run("--print")
    assert (done.returncode, done.stderr) == (1, "")
    printed = re.findall(rf"^({'|'.join(STATUSES)}) +\w+ +(\S+): ", done.stdout, re.MULTILINE)
    assert {name: status for status, name in printed} == statuses
    assert [STATUSES.index(status) for status, _name in printed] == sorted(
        STATUSES.index(status) for status, _name in printed
    )
    assert not host.textfile.exists()


def test_audit_that_cannot_be_made(host):
    """Metrics say so, and what an earlier run found is gone."""
    assert host.run().returncode == 0
    earlier = host.samples()
    host.config["audit"]["project_src"] = "/nonexistent"
    assert "project_src: /nonexistent does not exist" in host.complaint()
    samples = host.samples()
    assert samples.pop("appwrite_audit_success") == {"": 0}
    assert (
        samples.pop("appwrite_audit_last_run_timestamp_seconds")[""]
        >= earlier["appwrite_audit_last_run_timestamp_seconds"][""]
    )
    assert not samples


def test_unforeseen_failure(host):
    """What an exception says may be a secret."""
    host.config["audit"]["project_src"] = ["NotARealDatabaseWord1"]
    complaint = host.complaint()
    assert "internal error (" in complaint and "NotAReal" not in complaint


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ('{"textfile": "/nonexistent/a.prom"}', "audit: is missing"),
        ('{"audit": {}, "textfile": "/nonexistent/a.prom"}', "audit: project_src: is missing"),
        (
            '{"audit": {"project_src": "/srv", "verify": true}, "textfile": "/nonexistent/a.prom"}',
            "audit: verify: there is no such option",
        ),
        (
            '{"audit": {"project_src": "/srv", "waivers": [{}]}, "textfile": "/nonexistent/a.prom"}',
            "waivers: control: is missing",
        ),
        (
            '{"audit": {"project_src": "/nonexistent"}, "textfile": "/nonexistent/a.prom"}',
            "textfile: /nonexistent/a.prom cannot be written",
        ),
    ],
    ids=str,
)
def test_wrong_configuration(host, config, words):
    assert words in host.complaint(config=config)


def test_missing_configuration(host):
    done = subprocess.run(
        [OLDEST, "-I", host.program, "--config", "/nonexistent"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "--config: /nonexistent cannot be read" in done.stderr


def test_follows_nothing_in_the_exporters_directory(host, tmp_path):
    """The directory may belong to a user who would have root write elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    host.textfile.symlink_to(victim)
    host.textfile.with_name(host.textfile.name + ".new").symlink_to(victim)
    assert host.run().returncode == 0
    assert victim.read_text() == "untouched"
    assert not host.textfile.is_symlink() and host.samples()


def test_same_bytes_every_time(host, tmp_path):
    """Else each run of the role would be a change."""
    with (tmp_path / "again").open("wb") as stream:
        pack(stream)
    assert (tmp_path / "again").read_bytes() == host.program.read_bytes()
    with zipfile.ZipFile(host.program) as archive:
        assert {(entry.date_time[0], entry.compress_type) for entry in archive.infolist()} == {
            (1980, zipfile.ZIP_STORED)
        }
        assert not [name for name in archive.namelist() if b"import AnsibleModule" in archive.read(name)], (
            "what changes things stays at home"
        )


class Timer:
    """A managed host without systemd, of which the role writes below a directory of its own."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.root = root
        for part in ("usr/local/lib", "etc/cron.d"):
            (root / part).mkdir(parents=True)
        self.directory = directory
        self.variables = {
            "appwrite_audit_textfile_dir": str(root / "textfile"),
            "appwrite_audit_endpoint": NOBODY,
            "__appwrite_audit_root": str(root),
            "__appwrite_audit_crons": [Path(sys.executable).name],
        }

    def play(self, *steps: dict[str, Any], tasks_from: str = "timer_present", **variables: Any) -> Play:
        """The role's timer, once for each step, in one play, since each of its tasks costs as much as a test.

        steps: what the controller knows of the escrow, as C(escrow), another project than the timer's, as C(project), and whether to C(check).
        """
        tasks = []
        for step in steps:
            role = {
                "name": "selfhost.appwrite.appwrite_audit",
                "tasks_from": tasks_from,
                "apply": {"check_mode": step.get("check", False)},
            }
            settled = {
                "escrow": {"project_src": str(step.get("project", self.directory)), "state": step.get("escrow", {})},
                "project": {},
                "waivers": [],
            }
            known = {"__appwrite_audit_settled": settled, "__appwrite_audit_audited": {"failed": True}}
            tasks += [
                {"ansible.builtin.include_role": role, "vars": known},
                {
                    "ansible.builtin.debug": {
                        "msg": "{{ q('ansible.builtin.fileglob', __appwrite_audit_root ~ '/etc/*', __appwrite_audit_root ~ '/etc/cron.d/*') }}"
                    }
                },
            ]
        return playbook(
            yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]),
            {**self.variables, **variables},
            environ={**clean_environ(), "ANSIBLE_PIPELINING": "true"},
        )

    def files(self) -> dict[str, int]:
        return {
            name: stat.S_IMODE(mode) for name, (mode, _content) in tree(self.root).items() if not stat.S_ISDIR(mode)
        }


def _states(play: Play, task: str) -> list[str]:
    """Of a task, step by step."""
    return re.findall(rf"^TASK \[.*{task}.*\] \**\n(?:.*\n)*?(changed|ok|skipping): ", play.output, re.MULTILINE)


def test_timer(directory, tmp_path):
    """Checked, applied, applied again, run as cron runs it, and removed."""
    timer = Timer(tmp_path / "root", directory)
    proved = [{"fingerprint": "0f1e2d3c4b5a6978", "proved": f"2026-11-{day:02}"} for day in (1, 8, 9)]
    steps = [{"escrow": escrow} for escrow in (proved[0], *proved, {"unseen": "no vault secret"})]
    play = timer.play({**steps[0], "check": True}, *steps[1:])
    assert play.rc == 0, play.output
    assert _states(play, "Write the configuration") == ["changed", "changed", "ok", "changed", "ok"], (
        "a proof is written down when it is a week older"
    )
    for task in ("Copy the program", "Create the directory", "Write the crontab"):
        assert _states(play, task) == ["changed", "changed", "ok", "ok", "ok"], task
    assert _states(play, "Run the program once") == ["skipping", "ok", "skipping", "ok", "skipping"]
    assert [bool(files) for files in re.findall(r'"msg": \[(.*?)\]', play.output, re.DOTALL)] == [
        False,
        True,
        True,
        True,
        True,
    ]
    place = unit_name(str(directory))
    name, metrics = f"appwrite-audit-{place}", f"textfile/appwrite_audit_{place}.prom"
    assert timer.files() == {
        f"usr/local/lib/{name}.pyz": 0o644,
        f"etc/{name}.json": 0o600,
        f"etc/cron.d/{name}": 0o644,
        metrics: 0o644,
    }
    config = json.loads((timer.root / f"etc/{name}.json").read_text())
    assert config["audit"]["escrow"] == proved[2], "a controller without a vault secret does not undo a proof"

    (timer.root / metrics).unlink()
    table = (timer.root / f"etc/cron.d/{name}").read_text()
    minute, hour, *days, user, command = table.splitlines()[-1].split(None, 6)
    assert (minute, hour, days, user) == ("17", "3", ["*", "*", "*"], "root")
    path = re.search("^PATH=(.*)$", table, re.MULTILINE)[1]
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": path, "HOME": "/root", "SHELL": "/bin/sh", "LOGNAME": "root"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "cron would mail what is printed"
    assert "appwrite_audit_success{" in (timer.root / metrics).read_text()

    play = timer.play({}, tasks_from="timer_absent")
    assert play.rc == 0 and play.recap["changed"] == 1 and not timer.files(), play.output


@pytest.mark.nightly("test_timer, tests/unit/plugins/filter/test_timer.py")
def test_projects_of_like_names(directory, tmp_path):
    """Each has a timer of its own."""
    one, other = (directory.rename(tmp_path / "app-1"), tmp_path / "app_1")
    shutil.copytree(one, other)
    timer = Timer(tmp_path / "root", one)

    def of(*projects: Path) -> set[str]:
        names = [unit_name(str(project)) for project in projects]
        return {
            place % name
            for name in names
            for place in (
                "usr/local/lib/appwrite-audit-%s.pyz",
                "etc/appwrite-audit-%s.json",
                "etc/cron.d/appwrite-audit-%s",
                "textfile/appwrite_audit_%s.prom",
            )
        }

    play = timer.play({"project": one}, {"project": other})
    assert play.rc == 0 and timer.files().keys() == of(one, other), play.output
    assert timer.play({"project": one}, tasks_from="timer_absent").rc == 0
    assert timer.files().keys() == of(other)


@pytest.mark.nightly("test_wrong_configuration, test_timer")
def test_configuration_that_a_host_has_spoiled(directory, tmp_path):
    """It is read for a proof, which it does not hold, and never as a template."""
    found = json.dumps({"audit": {"escrow": {"fingerprint": "{{ 1 / 0 }}", "proved": "{{ 1 / 0 }}"}}})
    timer = Timer(tmp_path / "root", directory)
    config = timer.root / f"etc/appwrite-audit-{unit_name(str(directory))}.json"
    config.write_text(found)
    play = timer.play({"escrow": {"unseen": "no vault secret"}})
    assert play.rc == 0, play.output
    assert json.loads(config.read_text())["audit"]["escrow"] == {"unseen": "no vault secret"}


def test_schedule_that_cron_cannot_keep(directory, tmp_path):
    timer = Timer(tmp_path / "root", directory)
    play = timer.play({}, appwrite_audit_timer_schedule="Mon *-*-* 03:17:00")
    assert play.rc == 2 and "appwrite_audit_timer_schedule: this host has no systemd" in play.output
    assert not timer.files()


def test_neither_systemd_nor_cron(directory, tmp_path):
    timer = Timer(tmp_path / "root", directory)
    for check in (True, False):
        play = timer.play({"check": check}, __appwrite_audit_crons=["no-such-daemon"])
        assert (
            play.rc == 2 and "appwrite_audit_timer: neither systemd nor a cron daemon runs on this host" in play.output
        )
    assert not timer.files()


def test_units(tmp_path):
    """systemd's own checkers on the units; there is no systemd here to start them with."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    for kind in ("service", "timer"):
        template = jinja2.Template(
            (TEMPLATES / f"appwrite-audit.{kind}.j2").read_text(), undefined=jinja2.StrictUndefined
        )
        (tmp_path / f"appwrite-audit-opt-appwrite.{kind}").write_text(
            template.render(
                ansible_managed="Ansible managed",
                ansible_facts={"python": {"executable": sys.executable}},
                __appwrite_audit_place="opt-appwrite",
                __appwrite_audit_program="/usr/local/lib/appwrite-audit-opt-appwrite.pyz",
                __appwrite_audit_config="/etc/appwrite-audit-opt-appwrite.json",
                appwrite_audit_textfile_dir="/var/lib/prometheus/node-exporter",
                appwrite_audit_timer_schedule="*-*-* 03:17:00",
            )
            + "\n"
        )
    done = subprocess.run(
        ["systemd-analyze", "verify", *tmp_path.glob("*.*")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    run("systemd-analyze", "security", "--offline=true", "--threshold=25", next(tmp_path.glob("*.service")))


def test_rules(checker):
    """Each alert is given and not given where it should be."""
    run(checker, "check", "rules", RULES)
    run(checker, "test", "rules", DOCS / "appwrite-audit.rules.test.yml")
    tested = yaml.safe_load((DOCS / "appwrite-audit.rules.test.yml").read_text())["tests"]
    given = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    spared = {case["alertname"] for test in tested for case in test["alert_rule_test"] if not case["exp_alerts"]}
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    assert {rule["alert"] for rule in group["rules"]} == given == spared


def _queries() -> list[str]:
    variables = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + [
        re.fullmatch(r"label_values\((.*), \w+\)", variable)[1] for variable in variables
    ]


def test_queries(checker, tmp_path):
    """Prometheus understands what the dashboard asks, and the program writes every metric that is asked for."""
    queries = [re.sub(r"\$\w+", ".*", query) for query in _queries()]
    rules = [{"record": f"dashboard:query{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(checker, "check", "rules", tmp_path / "rules.yml")
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    for query in queries + [rule["expr"] for rule in group["rules"]]:
        asked = set(re.findall(r"appwrite_\w+", query))
        assert asked and asked <= METRICS.keys(), query
    assert {name for query in queries for name in re.findall(r"appwrite_\w+", query)} == METRICS.keys(), (
        "the dashboard shows everything"
    )


def test_dashboard_can_be_imported():
    """It names no data source, number or address of the Grafana that it was made with."""
    assert DASHBOARD["id"] is None and DASHBOARD["schemaVersion"] >= 39
    places = [(panel["id"], *panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len({number for number, *_place in places}) == len(places)
    cells = [
        (x + right, y + down)
        for _number, x, y, width, height in places
        for right in range(width)
        for down in range(height)
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _y in cells) < 24
    sources = re.findall(r'"uid": "(.*)"', json.dumps(DASHBOARD["panels"] + DASHBOARD["templating"]["list"], indent=0))
    assert set(sources) == {"${datasource}"}
    assert "://" not in json.dumps(DASHBOARD)
