# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host in other hands names nothing on its controller: no file, no task, no host, no severity; and what it says is shown, never done."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.support import KEY, without

from faults.hostile import Interpreter, Site, cores, escapes, failures, programs_of
from faults.leaks import search

OURS = ("security", "instance_info", "encryption_key", "apply", "rekey", "audit_info")
BUILTIN = ("setup", "stat", "tempfile", "copy", "lineinfile", "file", "slurp", "systemd", "command")
SECRET = "unreal-7Wq3-Zx9Kd5-of-the-controller"
ESCAPE = "\x1b]0;unreal-title\x07\x1b[2J\x9b2J\x08\x0d\x0bunreal-words"
FINDING = {"id": "https.api_forced", "title": "t", "severity": "low", "group": "https", "status": "pass", "evidence": "e", "rationale": "r", "remedy": "r",
           "reference": "https://appwrite.io"}
AUDITED = {"changed": False, "findings": [FINDING], "score": 100, "release": "1.9.6", "project": "p", "parameters": {}}
REHEARSED = {"changed": False, "report": {"state": "old", "collections": [], "undecryptable": []}, "stops_working": []}


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
    return lambda name, **variables: site.add(name, shutil.copytree(directory, tmp_path / f"{directory.name}-{name}"), **variables)


def test_another_host_s_key(site, add, tmp_path):
    """The drill sends an escrowed key to the host that it is of, and to no other, whatever that host calls itself."""
    add("victim")
    for name in ("path", "between", "folder", "name"):
        add(name)
    play = site.run("secure")
    assert play.rc == 0, play.output
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(site.safe / "victim.yml", elsewhere / "folder.yml")
    kept = {path.name: path.read_bytes() for path in site.safe.iterdir()}
    victims, pythons = site.key("victim"), site.pythons
    pythons["victim"].answer()
    pythons["path"].answer(appwrite_security_escrow_file=str(site.safe / "victim.yml"))
    moved = {"ansible_facts": {"appwrite_security_escrow_file": str(site.safe / "victim.yml")}}
    pythons["between"].answer(add=dict.fromkeys(BUILTIN, moved))
    pythons["folder"].answer(safe_dir=str(elsewhere))
    pythons["name"].answer(inventory_hostname="victim")
    play = site.run("drill")
    assert victims in pythons["victim"].received(), play.output
    assert {name: search(frozenset([victims]))(python.received()) for name, python in pythons.items() if name != "victim"} == dict.fromkeys(
        ["path", "between", "folder", "name"], []), play.output
    assert {path.name: path.read_bytes() for path in site.safe.iterdir()} == kept


def test_another_cluster_s_key(site, add):
    add("member", appwrite_security_cluster="shop", appwrite_security_escrow_file=None)
    add("stranger", appwrite_security_escrow_file=None)
    assert site.run("secure:member").rc == 0
    site.pythons["stranger"].answer(appwrite_security_cluster="shop")
    play = site.run("audit", "secure", "audit", "drill")
    assert len(site.key("member")) == 64 and not search(frozenset([site.key("member")]))(site.pythons["stranger"].received()), play.output
    assert site.key("stranger") != site.key("member")


def test_audit_then_secure(site, add, tmp_path):
    """What the audit has brought is no template and no task, and names none: not for secure, nor for another audit after it."""
    secret, tasks, waivers, elsewhere = tmp_path / "secret", tmp_path / "tasks.yml", tmp_path / "waivers.yml", tmp_path / "elsewhere"
    secret.write_text(f"_APP_SMTP_HOST={SECRET}\n")
    tasks.write_text(json.dumps([{"name": "Leave a mark", "ansible.builtin.debug": {"msg": site.touch}}]))
    waivers.write_text(json.dumps([{"control": "host.observed", "hosts": "all", "justification": SECRET, "expires": "2999-12-31"}]))
    add("honest")
    add("report").answer(
        {"audit_info": {"findings": [{**FINDING, "evidence": site.touch}]}}, appwrite_security_env_template=str(site.reports / "report.json"))
    moved = {
        "file": {"appwrite_security_env_template": str(secret)},
        "read": {"appwrite_security_safe_read_tasks": str(tasks)},
        "write": {"appwrite_security_safe_write_tasks": str(tasks)},
        "waivers": {"appwrite_audit_waivers_file": str(waivers)},
        "folder": {"safe_dir": str(elsewhere)},
    }
    for name, facts in moved.items():
        add(name).answer(**facts)
    add("inventory", appwrite_security_escrow_file=None).answer(inventory_dir=str(elsewhere))
    play = site.run("audit", "secure", "audit")
    assert not site.mark.exists(), play.output
    assert not elsewhere.exists(), play.output
    assert {name: SECRET in python.received() for name, python in site.pythons.items()} == dict.fromkeys(site.hosts, False), play.output
    assert len(site.key("honest")) == 64 and (site.safe / "honest.yml").exists() and "honest" not in failures(play), play.output
    assert "honest" in {host["host"] for host in json.loads((site.reports / "report.json").read_text())["hosts"]}


def test_audit_is_the_operator_s(site, add, tmp_path):
    """The first host of a fleet does not say how bad is bad, nor where the report is to be, for all."""
    site.everyone["appwrite_audit_fail_on"] = "high"
    elsewhere = tmp_path / "elsewhere"
    add("first").answer(appwrite_audit_fail_on="never", appwrite_audit_report_dir=str(elsewhere), inventory_dir=str(elsewhere))
    add("victim")
    play = site.run("audit")
    assert play.rc == 2 and "encryption.key_present" in failures(play)["victim"], play.output
    assert not elsewhere.exists()
    assert {host["host"] for host in json.loads((site.reports / "report.json").read_text())["hosts"]} == {"first", "victim"}


def test_rotation_is_the_operator_s(site, add, tmp_path):
    """No host confirms its own rotation, brings tasks into it, or says where the keys are kept. What it says of the rehearsal is made up, so that it gets far."""
    tasks, own, elsewhere = tmp_path / "tasks.yml", tmp_path / "own.yml", tmp_path / "elsewhere"
    tasks.write_text(json.dumps([{"ansible.builtin.debug": {"msg": site.touch}}]))
    own.write_text(tasks.read_text().replace(str(site.mark), str(tmp_path / "own-mark")))
    moved = {
        "tasks": {"appwrite_rotation_backup_tasks": str(tasks)},
        "escrow": {"appwrite_rotation_escrow_file": str(elsewhere / "escrow.yml")},
        "security": {"appwrite_security_escrow_file": str(elsewhere / "escrow.yml")},
        "folder": {"safe_dir": str(elsewhere)},
        "name": {"inventory_hostname": "victim"},
    }
    add("honest", appwrite_rotation_confirm="honest", appwrite_rotation_backup_tasks=str(own)).answer(
        instead={"async_wrapper": [REHEARSED], "rekey": [REHEARSED]})
    for name, facts in moved.items():
        add(name, appwrite_rotation_confirm=name).answer(instead={"async_wrapper": [REHEARSED], "rekey": [REHEARSED]}, **facts)
    add("confirm").answer({"audit_info": AUDITED}, appwrite_rotation_confirm="confirm")
    play = site.run("audit:confirm", "rotate")
    assert not site.mark.exists() and not elsewhere.exists(), play.output
    assert (tmp_path / "own-mark").exists(), play.output
    assert set(site.pythons["confirm"].modules()) == {"audit_info"}, play.output
    assert "appwrite_rotation_confirm" in failures(play)["confirm"]


GATHER = "- hosts: all\n  gather_facts: true\n  gather_subset: ['!all', '!min']\n  tasks: []\n"
NAMED = {
    "secure": ("appwrite_security_env_template", "safe_dir", "inventory_hostname", "inventory_dir", "group_names"),
    "audit": ("appwrite_audit_fail_on", "appwrite_audit_waivers_file", "inventory_dir"),
    "rotate": ("appwrite_rotation_confirm", "appwrite_security_cluster", "safe_dir"),
    "drill": ("appwrite_security_escrow_file", "safe_dir"),
}


def test_facts_from_elsewhere(site, add, tmp_path):
    """By another play, and from a cache: each role says so before it asks the host anything."""
    hosts = {}
    for playbook, names in NAMED.items():
        for name in names:
            host = f"{playbook}-{name.replace('_', '-')}"
            hosts[host] = name
            add(host, appwrite_rotation_confirm=host).answer({"setup": {"ansible_facts": {name: ["x"] if name == "group_names" else str(tmp_path / "none")}}})
    for playbook in ("secure", "audit"):
        add(f"{playbook}-honest")
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "cache")}
    playbooks = [f"{playbook}:{playbook}-*" for playbook in NAMED]
    for step, gathered in ((GATHER, {"setup"}), ("", set())):
        play = site.run(*filter(None, [step]), *playbooks, **cache)
        assert play.rc == 2
        said = failures(play)
        assert {host: set(site.pythons[host].modules()) for host in hosts} == dict.fromkeys(hosts, gathered), play.output
        assert {host: name for host, name in hosts.items() if not re.search(rf"\bfacts?\b.*\b{name}\b", said.get(host, ""))} == {}, play.output
        assert not {"secure-honest", "audit-honest"} & set(said), play.output
        assert len(site.key("secure-honest")) == 64 and "audit_info" in site.pythons["audit-honest"].modules()
        for python in site.pythons.values():
            python.answer()


def test_facts_are_not_injected(site, add, tmp_path):
    """With what the documentation tells to set, all of it works for an honest host, the timer too, and a fact moves nothing."""
    (site.directory / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = False\n")
    elsewhere = tmp_path / "elsewhere"
    root = {"__appwrite_audit_root": str(tmp_path / "root"), "appwrite_audit_textfile_dir": str(tmp_path / "root" / "textfile"),
            "appwrite_audit_timer": True}
    for part in ("etc/systemd/system", "etc/cron.d", "usr/local/lib", "textfile"):
        (tmp_path / "root" / part).mkdir(parents=True)
    add("honest", **root)
    add("hostile").answer(
        safe_dir=str(elsewhere), appwrite_security_escrow_file=str(elsewhere / "x.yml"), inventory_hostname="honest", inventory_dir=str(elsewhere),
        appwrite_security_env_template=str(site.password), appwrite_audit_report_dir=str(elsewhere))
    play = site.run(GATHER, "audit", "secure", "audit", "drill")
    assert len(site.key("honest")) == 64 and (site.safe / "honest.yml").exists() and site.key("honest") in site.pythons["honest"].received(), play.output
    assert list((tmp_path / "root" / "usr/local/lib").iterdir()), play.output
    assert not elsewhere.exists(), play.output
    received = site.pythons["hostile"].received()
    assert not search(frozenset([site.key("honest")]))(received) and site.password.read_text() not in received


@pytest.mark.parametrize("modules", [OURS, BUILTIN], ids=["ours", "builtin"])
def test_terminal(site, add, modules, tmp_path):
    """What a host says is printed without what a terminal would do with it."""
    said = {"warnings": [ESCAPE], "deprecations": [{"msg": ESCAPE, "version": "9", "collection_name": "unreal.words"}]}
    failed = {"failed": True, "msg": ESCAPE, "exception": ESCAPE, "module_stderr": ESCAPE, **said}
    root = {"__appwrite_audit_root": str(tmp_path / "root"), "appwrite_audit_textfile_dir": str(tmp_path / "root" / "textfile"),
            "appwrite_audit_timer": True}
    for part in ("etc/systemd/system", "etc/cron.d", "usr/local/lib", "textfile"):
        (tmp_path / "root" / part).mkdir(parents=True)
    for name in ("warns", "fails", "stutters"):
        add(name, appwrite_rotation_confirm=name, **root)
    assert site.run("secure").rc == 0
    site.pythons["warns"].answer(dict.fromkeys(modules, said))
    site.pythons["fails"].answer(instead=dict.fromkeys(modules, [failed]))
    site.pythons["stutters"].answer(instead=dict.fromkeys(modules, [ESCAPE]))
    output = "".join(site.run(name, flags=flags).output for name in ("audit", "secure", "drill") for flags in [()])
    assert "unreal-words" in output
    assert escapes(output) == []


def test_terminal_and_progress(site, add):
    """How far a rotation is comes from a file on the host."""
    job = {"ansible_job_id": "1.2", "started": 1, "finished": 0, "results_file": "x"}
    lines = [{"changed": False, "encoding": "base64", "content": base64.b64encode(text.encode()).decode()} for text in (
        "reads 1 2", "\x1b[2J\x1b]0;unreal\x07 1 2", "reads \x08\x9b2J 2", "{{1/0}} 2 2")]
    add("hostile", appwrite_rotation_confirm="hostile").answer(instead={
        "async_wrapper": [job], "slurp": lines, "async_status": [*[job] * len(lines), {**REHEARSED, "ansible_job_id": "1.2", "finished": 1}]})
    play = site.run("rotate", flags=["--check"])
    assert "hostile: reads 1 of 2" in play.output, play.output
    assert escapes(play.output) == []


@pytest.mark.parametrize("modules", [OURS, BUILTIN], ids=["ours", "builtin"])
def test_keys_that_ansible_acts_on(site, add, modules, tmp_path):
    """No host is added, nothing is counted, none is spared, and the others are audited, secured and drilled as ever."""
    site.everyone["appwrite_audit_fail_on"] = "high"
    root = {"__appwrite_audit_root": str(tmp_path / "root"), "appwrite_audit_textfile_dir": str(tmp_path / "root" / "textfile"),
            "appwrite_audit_timer": True}
    for part in ("etc/systemd/system", "etc/cron.d", "usr/local/lib", "textfile"):
        (tmp_path / "root" / part).mkdir(parents=True)
    evil = Interpreter(tmp_path / "evil")
    host_vars = {**site.everyone, "ansible_python_interpreter": str(evil.path), "appwrite_security_project_src": "/", "appwrite_audit_project_src": "/"}
    wishes = {
        "adds": {"add_host": {"host_name": "evil", "groups": ["evils"], "host_vars": host_vars}},
        "groups": {"add_group": {"group": "evils"}, "parent_groups": ["all"]},
        "counts": {"ansible_stats": {"data": {"unreal-stats": 1}, "per_host": False, "aggregate": True}},
        "lists": {"results": [{"add_host": {"host_name": "evil", "groups": [], "host_vars": host_vars}, "unreachable": True}]},
        "hides": {"unreachable": True, "skipped": True},
        "internal": {"_ansible_no_log": True, "_ansible_delegated_vars": {"ansible_host": "evil"}, "_ansible_verbose_override": True},
    }
    add("victim")
    for name in wishes:
        add(name, **root)
    assert site.run("secure").rc == 0
    for name, keys in wishes.items():
        site.pythons[name].answer(dict.fromkeys(modules, keys))
    play = site.run("drill", "secure", "audit")
    for play in (site.run("drill", "secure:all"), site.run("secure", "audit"), site.run("audit", "secure:all")):
        assert play.rc == 2, play.output
        assert "unreal-stats" not in play.output.partition("CUSTOM STATS")[2]
        assert "[evil]" not in play.output and not evil.modules(), play.output
    assert "victim" in failures(play)


def test_text_is_never_a_template(site, add, tmp_path):
    """Whatever a host says, at whatever depth, where all goes well and where it fails."""


def test_one_bad_answer(site, add):
    """A finding that is none is the finding of that host alone."""
