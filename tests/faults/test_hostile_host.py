# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host in other hands names nothing on its controller: no file, no task, no host, no severity; and what it says is shown, never done."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from faults.hostile import Interpreter, Site, cores, escapes, failures, programs_of
from support.search import search
from support.stack import CHECKOUT, KEY, without

OURS = ("security", "instance_info", "encryption_key", "apply", "rekey", "stored_info", "audit_info")
BUILTIN = ("setup", "stat", "tempfile", "copy", "lineinfile", "file", "slurp", "systemd", "command")
SECRET = "unreal-7Wq3-Zx9Kd5-of-the-controller"
ESCAPE = "\x1b]0;unreal-title\x07\x1b[2J\x9b2J\x08\x0d\x0bunreal-words"
FINDING = {
    "id": "https.api_forced",
    "title": "t",
    "severity": "low",
    "group": "https",
    "status": "pass",
    "evidence": "e",
    "rationale": "r",
    "remedy": "r",
    "reference": "https://appwrite.io",
}
AUDITED = {"changed": False, "findings": [FINDING], "score": 100, "release": "1.9.6", "project": "p", "parameters": {}}
REKEY = ("async_wrapper", "rekey")
REHEARSED = {"changed": False, "report": {"state": "old", "collections": [], "undecryptable": []}, "stops_working": []}

TIMED = {"appwrite_audit_timer": True}
GATHER = "- hosts: all\n  gather_facts: true\n  gather_subset: ['!all', '!min']\n  tasks: []\n"
NAMED = {
    "secure": ("appwrite_security_env_template", "safe_dir", "inventory_hostname", "inventory_dir", "group_names"),
    "audit": ("appwrite_audit_fail_on", "appwrite_audit_waivers_file", "inventory_dir"),
    "rotate": ("appwrite_rotation_confirm", "appwrite_security_cluster", "safe_dir"),
    "drill": ("appwrite_security_escrow_file", "safe_dir"),
}
"""What the facts of a host are called, a host for each."""
ROLES = ("audit", "security", "security/drill", "rotation")


def to_the_end(*roles: str, hosts: str = "all") -> str:
    """A play of each role, whatever fails in it."""
    tasks = [
        {
            "ansible.builtin.include_role": {
                "name": f"selfhost.appwrite.appwrite_{role}",
                "tasks_from": tasks or "main",
                "apply": {"ignore_errors": True, "ignore_unreachable": True},
            },
            "vars": {"appwrite_rotation_confirm": "{{ inventory_hostname }}"},
        }
        for role, _slash, tasks in (one.partition("/") for one in roles)
    ]
    return f"- hosts: '{hosts}'\n  gather_facts: false\n  tasks: {json.dumps(tasks)}\n"


@pytest.fixture(scope="module", params=cores())
def programs(request: pytest.FixtureRequest) -> Path:
    return programs_of(request.param)


@pytest.fixture
def site(programs: Path, tmp_path: Path) -> Site:
    return Site(tmp_path, programs)


@pytest.fixture
def add(site: Site, directory: Path, tmp_path: Path) -> Callable[..., Interpreter]:
    """A host with a project of which nothing was ever started, and that has no key."""
    without(directory, KEY)
    return lambda name, **variables: site.add(
        name, shutil.copytree(directory, tmp_path / f"{directory.name}-{name}"), **variables
    )


@pytest.fixture
def timer(tmp_path: Path) -> list[str]:
    """Flags with which the audit's timer is installed here."""
    root = tmp_path / "root"
    for part in ("etc/systemd/system", "etc/cron.d", "usr/local/lib", "textfile"):
        (root / part).mkdir(parents=True)
    return [
        "-e",
        json.dumps(
            {
                "__appwrite_audit_root": str(root),
                "__appwrite_audit_crons": [Path(sys.executable).name],
                "appwrite_audit_textfile_dir": str(root / "textfile"),
            }
        ),
    ]


def having(pythons: dict[str, Interpreter], secret: str) -> list[str]:
    """Those that were given the secret, whole or in pieces."""
    return [name for name, python in pythons.items() if search(frozenset([secret]))(python.received())]


@pytest.mark.nightly("test_escrow_table.py, test_text_is_never_a_template")
def test_another_host_s_key(site, add, tmp_path):
    """The drill sends an escrowed key to the host that it is of, and to no other, whatever that host says."""
    for name in ("victim", "path", "between", "folder"):
        add(name)
    play = site.run("secure")
    assert play.rc == 0, play.output
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(site.safe / "victim.yml", elsewhere / "folder.yml")
    kept = {path.name: path.read_bytes() for path in site.safe.iterdir()}
    hosts = site.pythons
    hosts["victim"].answer()
    hosts["path"].answer(appwrite_security_escrow_file=str(site.safe / "victim.yml"))
    hosts["between"].answer(
        dict.fromkeys(BUILTIN, {"ansible_facts": {"appwrite_security_escrow_file": str(site.safe / "victim.yml")}})
    )
    hosts["folder"].answer(safe_dir=str(elsewhere))
    play = site.run("drill")
    assert site.key("victim") in hosts.pop("victim").received(), play.output
    assert having(hosts, site.key("victim")) == [], play.output
    assert {path.name: path.read_bytes() for path in site.safe.iterdir()} == kept


@pytest.mark.nightly("test_another_host_s_key, test_escrow_table.py")
def test_another_cluster_s_key(site, add):
    """Neither by the name of the cluster, nor by a name of its own for itself."""
    add("member", appwrite_security_cluster="shop", appwrite_security_escrow_file=None)
    assert site.run("secure").rc == 0
    add("cluster", appwrite_security_escrow_file=None).answer(
        instead={"audit_info": [AUDITED]}, appwrite_security_cluster="shop"
    )
    add("name", appwrite_security_escrow_file=None).answer(instead={"audit_info": [AUDITED]}, inventory_hostname="shop")
    play = site.run("audit:cluster,name", "secure")
    assert "member" not in failures(play) and len(site.key("member")) == 64, play.output
    assert having({name: site.pythons[name] for name in ("cluster", "name")}, site.key("member")) == [], play.output


@pytest.mark.nightly("test_role_settings.py, test_text_is_never_a_template")
def test_audit_then_secure(site, add, tmp_path):
    """What the audit has brought is no template and no task, and names none: not for secure, nor for another audit after it."""
    secret, tasks, waivers, elsewhere = (
        tmp_path / "secret",
        tmp_path / "tasks.yml",
        tmp_path / "waivers.yml",
        tmp_path / "elsewhere",
    )
    secret.write_text(f"_APP_SMTP_HOST={SECRET}\n")
    tasks.write_text(json.dumps([{"name": "Leave a mark", "ansible.builtin.debug": {"msg": site.touch}}]))
    waivers.write_text(
        json.dumps([{"control": "host.observed", "hosts": "all", "justification": SECRET, "expires": "2999-12-31"}])
    )
    add("honest")
    add("report").answer(
        instead={"audit_info": [{**AUDITED, "findings": [{**FINDING, "evidence": site.touch}]}]},
        appwrite_security_env_template=str(site.reports / "report.json"),
    )
    moved = {
        "file": {"appwrite_security_env_template": str(secret)},
        "read": {"appwrite_security_safe_read_tasks": str(tasks)},
        "write": {"appwrite_security_safe_write_tasks": str(tasks)},
        "waivers": {"appwrite_audit_waivers_file": str(waivers)},
        "folder": {"safe_dir": str(elsewhere)},
    }
    for name, facts in moved.items():
        add(name).answer(instead={"audit_info": [AUDITED]}, **facts)
    add("inventory", appwrite_security_escrow_file=None).answer(
        instead={"audit_info": [AUDITED]}, inventory_dir=str(elsewhere)
    )
    play = site.run("audit", "secure", "audit:!honest")
    assert not site.mark.exists(), play.output
    assert not elsewhere.exists(), play.output
    assert having(site.pythons, SECRET) == [], play.output
    assert len(site.key("honest")) == 64 and (site.safe / "honest.yml").exists() and "honest" not in failures(play), (
        play.output
    )


def test_audit_is_the_operator_s(site, add, tmp_path):
    """The first host of a fleet does not say how bad is bad, nor where the report is to be, for all."""
    site.everyone["appwrite_audit_fail_on"] = "high"
    elsewhere = tmp_path / "elsewhere"
    add("first").answer(
        appwrite_audit_fail_on="never", appwrite_audit_report_dir=str(elsewhere), inventory_dir=str(elsewhere)
    )
    add("victim")
    play = site.run("audit")
    assert play.rc == 2 and "encryption.key_present" in failures(play)["victim"], play.output
    assert not elsewhere.exists()
    assert {host["host"] for host in site.report()["hosts"]} == {"first", "victim"}


@pytest.mark.nightly("test_role_settings.py, test_audit_is_the_operator_s")
def test_rotation_is_the_operator_s(site, add, tmp_path):
    """No host confirms its own rotation, brings tasks into it, or says where the keys are kept. Its rehearsal is made up, so that it gets far."""
    tasks, own, elsewhere = tmp_path / "tasks.yml", tmp_path / "own.yml", tmp_path / "elsewhere"
    tasks.write_text(json.dumps([{"ansible.builtin.debug": {"msg": site.touch}}]))
    own.write_text(tasks.read_text().replace(str(site.mark), str(tmp_path / "own-mark")))
    moved = {
        "tasks": {"appwrite_rotation_backup_tasks": str(tasks)},
        "escrow": {"appwrite_rotation_escrow_file": str(elsewhere / "escrow.yml")},
        "security": {"appwrite_security_escrow_file": str(elsewhere / "escrow.yml")},
        "folder": {"safe_dir": str(elsewhere)},
    }
    add("honest", appwrite_rotation_confirm="honest", appwrite_rotation_backup_tasks=str(own)).answer(
        instead=dict.fromkeys(REKEY, [REHEARSED])
    )
    for name, facts in moved.items():
        add(name, appwrite_rotation_confirm=name).answer(instead=dict.fromkeys(REKEY, [REHEARSED]), **facts)
    add("confirm").answer(instead={"audit_info": [AUDITED]}, appwrite_rotation_confirm="confirm")
    add("name", appwrite_rotation_confirm="victim").answer(
        instead={"audit_info": [AUDITED]}, inventory_hostname="victim"
    )
    play = site.run("audit:confirm,name", "rotate")
    assert not site.mark.exists() and not elsewhere.exists(), play.output
    assert (tmp_path / "own-mark").exists(), play.output
    for name in ("confirm", "name"):
        assert set(site.pythons[name].modules()) == {"audit_info"} and name in failures(play), play.output


@pytest.mark.nightly("test_role_settings.py, test_audit_then_secure")
def test_facts_from_elsewhere(site, add, tmp_path):
    """By another play, and from a cache: each role says so before it asks the host anything."""
    hosts = {}
    for playbook, names in NAMED.items():
        for name in names:
            host = f"{playbook}-{name.replace('_', '-')}"
            hosts[host] = name
            value = {"group_names": ["x"], "appwrite_audit_fail_on": "never"}.get(name, str(tmp_path / "none"))
            add(host, appwrite_rotation_confirm=host).answer(instead={"setup": [{"ansible_facts": {name: value}}]})
    for playbook in ("secure", "audit"):
        add(f"{playbook}-honest")
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "cache")}
    for step, gathered in (([GATHER], {"setup"}), ([], set())):
        # A play of which every host fails is the last one.
        plays = [
            site.run(*step, *(f"{playbook}:{playbook}-*" for playbook in some), **cache)
            for some in (("secure", "audit", "rotate"), ("drill",))
        ]
        play, said = plays[0], {**failures(plays[0]), **failures(plays[1])}
        assert {host: set(site.pythons[host].modules()) for host in hosts} == dict.fromkeys(hosts, gathered), (
            play.output
        )
        assert {
            host: said.get(host)
            for host, name in hosts.items()
            if not re.search(rf"\b{name}\b.*\bfact\b", said.get(host, ""))
        } == {}, play.output
        assert not {"secure-honest", "audit-honest"} & set(said), play.output
        assert len(site.key("secure-honest")) == 64 and "audit_info" in site.pythons["audit-honest"].modules()
        for python in site.pythons.values():
            python.answer()


@pytest.mark.nightly("test_role_settings.py, test_another_host_s_key")
def test_facts_are_not_injected(site, add, timer, tmp_path):
    """With what the documentation tells to set, all of it works for an honest host, the timer too, and a fact moves nothing."""
    (site.directory / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = False\n")
    elsewhere = tmp_path / "elsewhere"
    add("honest", appwrite_audit_timer=True)
    add("hostile").answer(
        safe_dir=str(elsewhere),
        appwrite_security_escrow_file=str(elsewhere / "x.yml"),
        inventory_hostname="honest",
        inventory_dir=str(elsewhere),
        appwrite_security_env_template=str(site.password),
        appwrite_audit_report_dir=str(elsewhere),
    )
    play = site.run(GATHER, "secure", "audit", "drill", flags=timer)
    assert len(site.key("honest")) == 64 and (site.safe / "honest.yml").exists(), play.output
    assert list((tmp_path / "root").glob("usr/local/lib/*.pyz")) and list(
        (tmp_path / "root").glob("textfile/*.prom")
    ), play.output
    assert not elsewhere.exists(), play.output
    hosts = {"hostile": site.pythons["hostile"]}
    assert having(hosts, site.key("honest")) == having(hosts, site.password.read_text()) == [], play.output


@pytest.mark.nightly("test_action.py, test_terminal_and_progress")
def test_terminal(site, add):
    """What a host says is printed without what a terminal would do with it, if a module of this collection says it."""
    said = {"warnings": [ESCAPE], "deprecations": [{"msg": ESCAPE, "version": "9", "collection_name": "unreal.words"}]}
    add("warns").answer(dict.fromkeys(OURS, said))
    add("fails").answer(
        instead=dict.fromkeys(
            OURS, [{"failed": True, "msg": ESCAPE, "exception": ESCAPE, "module_stderr": ESCAPE, **said}]
        )
    )
    add("stutters").answer(instead=dict.fromkeys(OURS, [ESCAPE]))
    play = site.run(to_the_end(*ROLES))
    assert "unreal-words" in play.output
    assert escapes(play.output) == []


def test_terminal_and_progress(site, add):
    """How far a rotation is comes from a file on the host, and who is at the console from its database."""
    job = {"ansible_job_id": "1.2", "started": 1, "finished": 0, "results_file": "x"}
    lines = [
        {"changed": False, "encoding": "base64", "content": base64.b64encode(text).decode()}
        for text in (
            b"reads 1 2 1 mails",
            b"\x1b[2J\x1b]0;unreal\x07 1 2 2",
            b"reads \x08\x1b[31m 2 3 \x1b[31m\nfatal: [victim]",
        )
    ]
    found = {
        **REHEARSED,
        "console": {"accounts": {"count": 1, "newest": [{"email": ESCAPE}]}},
        "end_sessions": "console",
        "ended_sessions": 1,
    }
    add("hostile", appwrite_rotation_confirm="hostile").answer(
        instead={
            "async_wrapper": [job],
            "slurp": lines,
            "async_status": [*[job] * len(lines), {**found, "ansible_job_id": "1.2", "finished": 1}],
        }
    )
    play = site.run("rotate", flags=["--check"])
    assert "hostile: reads 1 of 2, waiting for mails\n" in play.output and "unreal-words" in play.output, play.output
    assert escapes(play.output) == [] and "victim" not in play.output


@pytest.mark.nightly("test_action.py, test_text_is_never_a_template")
def test_keys_that_ansible_acts_on(site, add, tmp_path):
    """No host is added, nothing is counted, none is spared, and the others are judged as ever."""
    site.everyone["appwrite_audit_fail_on"] = "high"
    evil = Interpreter(tmp_path / "evil")
    host = {
        "host_name": "evil",
        "groups": ["evils"],
        "host_vars": {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(evil.path),
            "appwrite_audit_project_src": str(tmp_path),
        },
    }
    wishes = {
        "adds": {
            "add_host": host,
            "add_group": {"group": "evils"},
            "ansible_stats": {"data": {"unreal-stats": 1}, "per_host": False, "aggregate": True},
        },
        "hides": {"results": [{"add_host": host, "unreachable": True}], "unreachable": True, "skipped": True},
    }
    for name, keys in wishes.items():
        add(name).answer(dict.fromkeys(OURS, keys))
    add("victim")
    play = site.run(to_the_end(*ROLES, hosts="all,!victim"), "audit")
    assert play.rc == 2 and "encryption.key_present" in failures(play)["victim"], play.output
    assert "unreal-stats" not in play.output.partition("CUSTOM STATS")[2]
    assert "[evil]" not in play.output and not evil.modules(), play.output
    assert play.recap["unreachable"] == 0, play.output


def test_text_is_never_a_template(site, add, timer):
    """Whatever a host says, at whatever depth, where all goes well and where it fails."""
    text = site.touch
    said = {
        "audit_info": {
            **AUDITED,
            "findings": [{**dict.fromkeys(FINDING, text), "severity": "high", "status": "fail"}],
            "release": text,
            "parameters": {text: [text]},
        },
        "security": {
            "changed": True,
            "key": {"state": text, "fingerprint": text},
            "changes": [{"name": text}],
            "recreates": [text],
            "backup_file": text,
        },
        "apply": {"failed": True, "msg": text},
        "instance_info": {
            "changed": False,
            "env_file": text,
            "key": {"fingerprint": text},
            "container_keys": {text: [text]},
        },
        "encryption_key": {"changed": False, "key": {"fingerprint": text}, "msg": text},
        "slurp": {
            "content": base64.b64encode(
                json.dumps({"escrow": {"proved": "2026-01-01", "fingerprint": text}}).encode()
            ).decode()
        },
        "tempfile": {"changed": True, "path": text},
        "stat": {"stat": {"exists": True, "checksum": text, "path": text}},
        "setup": {"ansible_facts": {"ansible_service_mgr": text, "ansible_python": {"executable": text}}},
        **dict.fromkeys(
            REKEY,
            {
                **REHEARSED,
                "report": {"state": text, "collections": [{text: text}], "undecryptable": [text]},
                "stops_working": [text],
                "phase": text,
                "console": {"accounts": {"count": text, "newest": [{"email": text, text: text}]}},
                "end_sessions": text,
                "ended_sessions": text,
                "msg": text,
                "key": {"fingerprint": text},
                "new_key": {"fingerprint": text},
                "downtime": text,
                "dump_file": text,
                "warnings": [text],
            },
        ),
    }
    add("invents", **TIMED, appwrite_security_apply=True).answer(instead={name: [one] for name, one in said.items()})
    add("appends", **TIMED).answer(append=text)
    failed = {"failed": True, "msg": text, "exception": text, text: [{text: text}]}
    add("fails", **TIMED).answer(instead=dict.fromkeys((*OURS, *BUILTIN, "async_wrapper"), [failed]))
    play = site.run(to_the_end("audit", "security", "security/drill", "rotation"), flags=timer)
    assert (
        all(name in play.output for name in ("[invents]", "[appends]", "[fails]"))
        and "security" in site.pythons["invents"].modules()
    )
    assert not site.mark.exists(), play.output


@pytest.mark.nightly("test_audit_report.py, test_keys_that_ansible_acts_on")
def test_one_bad_answer(site, add):
    """What is no finding concerns the host alone that said so."""
    site.everyone["appwrite_audit_fail_on"] = "high"
    add("victim")
    bad = {
        "severity": [{**FINDING, "severity": "awful"}],
        "status": [{**FINDING, "status": "fine"}],
        "missing": [{"id": "https.api_forced"}],
        "type": "none",
        "nested": [[FINDING]],
        "number": [{**FINDING, "evidence": 1.5, "title": None}],
    }
    for name, findings in bad.items():
        add(name).answer(instead={"audit_info": [{**AUDITED, "findings": findings}]})
    add("score").answer(instead={"audit_info": [{**AUDITED, "score": "a hundred"}]})
    add("nothing").answer(instead={"audit_info": [[]]})
    play = site.run("audit")
    assert play.rc == 2 and "encryption.key_present" in failures(play)["victim"], play.output
    report = site.report()
    jsonschema.Draft202012Validator(json.loads((CHECKOUT / "docs" / "audit-report.schema.json").read_text())).validate(
        report
    )
    hosts = {host["host"]: host for host in report["hosts"]}
    assert set(hosts) == set(site.hosts) and len(hosts["victim"]["findings"]) > 10
    assert [
        name
        for name in (*bad, "score", "nothing")
        if name != "number" and {one["status"] for one in hosts[name]["findings"]} <= {"pass"}
    ] == []
