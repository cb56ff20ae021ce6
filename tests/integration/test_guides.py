# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every page of the documentation, typed in from its first line to its last: the first steps by day, most others by night. How: C(reader.py)."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from integration.installer import Installer
from integration.reader import PAGES, AtTerminal, Reader, blocks
from support.stack import (
    CHECKOUT,
    HTTPS,
    KEY,
    NOT_A_KEY,
    SMALL,
    Kind,
    Stack,
    _secrets_in,
    assert_no_leak,
    made,
    official,
    on,
    set_env,
    small,
    succeed,
    without,
)
from testbed import Project
from testbed._base import run
from testbed.dataset import Dataset
from testbed.tools import community

from ansible_collections.selfhost.appwrite.plugins.filter.timer import unit_name
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import CONTROLS

TYPED_IN_ELSEWHERE = {
    "rotation": "test_rotation.py",
    "many_servers": "test_fleet.py",
    "escrow": "test_escrow.py, test_a_safe_of_your_own; every guide runs the drill",
    "lost_everything": "test_escrow.py, test_everything_lost_but_the_inventory",
    "trouble": "test_backups.py, test_put_back_and_applied",
    "my_setup": "test_set_ups.py",
    "releases": "test_core_flow.py, test_fresh.py, test_escrow.py, test_rotation.py, test_guides.py",
    "audit_doctor": "there is nothing to type in",
}


@pytest.fixture
def reader(stack, tmp_path, host):
    return Reader(tmp_path, stack, host)


@small("role")
def test_quickstart(stack, tmp_path, host):
    reader = AtTerminal(tmp_path, stack, host)
    reader.installs()
    reader.read("quickstart")
    assert "Proved on 20" in reader.output
    assert reader.stack.env()[HTTPS] == "enabled" and len(reader.stack.env()[KEY]) == 64
    reader.stack.assert_in_force()


@pytest.mark.nightly
@small("existing")
def test_existing(reader):
    reader.prepare()
    set_env(reader.stack.directory, **{KEY: NOT_A_KEY})
    reader.stack.project.up()
    reader.stack.project.wait()
    data = Dataset.make(seed=7, key=NOT_A_KEY, database=reader.stack.kind.database, file_bytes=50_000)
    data.load(reader.stack.project)
    data.write_files(reader.stack.project.uploads())
    reader.read("existing")
    assert reader.stack.env()[KEY] == NOT_A_KEY
    assert reader.stack.env()["_APP_CONSOLE_WHITELIST_EMAILS"] == "ada@notarealcompany.com,grace@notarealcompany.com"
    reader.stack.assert_in_force()


@on(
    replace(SMALL, room="password"),
    nightly=[Kind(database="postgresql", services=("appwrite", "redis", "postgresql"), room="password")],
)
@pytest.mark.nightly("test_quickstart")
def test_password_of_the_database(stack, tmp_path):
    """The script of the page on a database that was created with the public one, and what the play says before."""
    name, database = "_APP_DB_PASS", stack.kind.database
    old = stack.env()[name]
    told = succeed("env", {**stack.arguments, "variables": {}, "replace_default_secrets": True})
    assert [warning for warning in told["warnings"] if f"created with the public default of {name}" in warning]
    assert stack.env()[name] == old
    [script] = (block.text for block in blocks("existing") if f" -T {database} " in block.text)
    script = script.replace("/opt/appwrite", str(stack.directory))
    for new in ("$(openssl rand -hex 24)", old):  # and back, for the tests that come after
        (tmp_path / "script").write_text(script.replace("$(openssl rand -hex 24)", new))
        run("sh", tmp_path / "script")
        stack.project.wait()
        assert succeed("instance_info", stack.arguments)["holds_data"] != "unknown"
        stack.assert_in_force()
        assert (stack.env()[name] == old) == (new == old)


@pytest.mark.nightly
def test_fresh(directory, tmp_path, host):
    stack = Stack(SMALL, Project(directory))
    try:
        reader = Reader(tmp_path, stack, host)
        reader.prepare()
        reader.read("fresh")
        assert stack.env()["_APP_DOMAIN"] == "appwrite.notarealcompany.com"
        assert "password" not in (stack.env()["_APP_DB_PASS"], stack.env()["_APP_DB_ROOT_PASS"])
        stack.assert_in_force()
    finally:
        stack.project.down()


@pytest.mark.nightly
@small("guides")
def test_behind_a_proxy(reader):
    reader.prepare()
    reader.read("behind_a_proxy")
    assert reader.stack.env()[HTTPS] == "disabled"


@pytest.mark.skipif(not official(), reason="APPWRITE_COMPOSE_DIR is not set")
def test_lines_for_traefik():
    """They name entry points and routers that Appwrite's own files have."""
    pages = {block.caption.partition(" ")[0]: yaml.safe_load(block.text) for block in blocks("behind_a_proxy")[::-1]}
    for kind in official():
        services = yaml.safe_load(kind.file.read_text())["services"]
        for line in pages["docker-compose.yml"]:
            start = line.partition("forwardedHeaders")[0] + "address="
            assert any(flag.startswith(start) for flag in services["traefik"]["command"])
        for name, service in pages["docker-compose.override.yml"]["services"].items():
            for router in (
                label.partition(".middlewares=")[0] for label in service["labels"] if ".middlewares=" in label
            ):
                assert f"{router}.entrypoints=appwrite_web" in services[name]["labels"]


def test_labels_of_the_audit():
    """Who reads the finding and who reads the page write the same."""
    [written] = (yaml.safe_load(block.text) for block in blocks("behind_a_proxy") if "override" in block.caption)
    [remedy] = (control.remedy for control in CONTROLS if control.id == "https.console_redirects")
    assert yaml.safe_load(remedy.partition("put ")[2].partition(" into docker-compose.override.yml;")[0]) == written


@pytest.mark.nightly
@small("guides")
def test_after_an_upgrade(reader):
    def upgrade(reader):
        path, stand_ins = reader.stack.directory / ".env", reader.stack.env()
        path.write_text(Installer("1.9.6").upgrade(path.read_text())[0])
        dropped = stand_ins.keys() - reader.stack.env().keys()
        set_env(reader.stack.directory, **{name: stand_ins[name] for name in dropped}, **{HTTPS: "disabled"})

    reader.prepare()
    reader.secure()
    key = reader.stack.env()[KEY]
    reader.read("after_an_upgrade", upgrade)
    assert reader.stack.env()[KEY] == key and reader.stack.env()[HTTPS] == "enabled"


OF_THE_NEWEST = ("appwrite", "appwrite-worker", "appwrite-geo", "clickhouse", "traefik", "redis")
STAND_INS = ("_APP_IMAGE", "_APP_VERSION", "_APP_HTTP_PORT", "_APP_HTTPS_PORT", "_APP_MQTT_PORT", "_APP_MQTT_WSS_PORT")
CLICKHOUSE = ("_APP_CONNECTIONS_DB_USAGE", "_APP_CONNECTIONS_DB_EXECUTIONS")
CHOICES = {
    "appwrite_security_certificate_email": "ops@notarealcompany.com",
    "appwrite_security_console_root_only": False,
    "appwrite_security_console_emails": ["ada@notarealcompany.com"],
    "appwrite_security_variables": {"_APP_SMTP_PASSWORD": "not'a\"real #one", "_APP_DOMAIN": "a.notarealcompany.com"},
}
NEW_SECRETS = {
    "_APP_JOBS_SECRET": "secrets.jobs_secret",
    "_APP_GEO_SECRET": "secrets.geo_secret",
    "_APP_NOTIFICATIONS_TRACKING_SECRET": "secrets.tracking_secret",
}


def upgrade_to_the_newest(reader: Reader, is_started: bool) -> None:
    """The files as its installer writes them, and the start that it makes, if it is not told to leave that."""
    stack = reader.stack
    kind = Kind("2.4.0", stack.kind.database, services=(*OF_THE_NEWEST, stack.kind.database))
    newest = kind.create(reader.place / "newest")
    try:
        made = Stack(kind, newest).env()
        text = Installer(kind.release).upgrade((stack.directory / ".env").read_text())[0]
        shutil.copytree(newest.directory, stack.directory, dirs_exist_ok=True)
        (stack.directory / ".env").write_text(text)
    finally:
        newest.down()
    strings = dict.fromkeys(CLICKHOUSE, "http://appwrite:appwrite@clickhouse:8123/appwrite")
    public = {"_APP_USAGE_PASS": "appwrite", **strings}
    set_env(stack.directory, **{name: made[name] for name in STAND_INS}, **public)
    if is_started:
        stack.project.compose("up", "--detach", "--remove-orphans", "--renew-anon-volumes")
        stack.project.wait()


def findings(stack: Stack) -> dict[str, str]:
    return {one["id"]: one["status"] for one in succeed("audit_info", stack.arguments)["findings"]}


@pytest.mark.nightly("test_upgrade.py, test_core_flow.py")
@pytest.mark.parametrize(("database", "is_started"), [("mariadb", True), ("mariadb", False), ("mongodb", True)])
def test_from_1_9_6_to_the_newest(tmp_path, host, database, is_started):
    """On running projects: key and choices stay, what is stored opens, and what came with a public value is replaced."""
    kind = Kind("1.9.6", database, services=(*SMALL.services[:-1], database))
    stack = made(kind, tmp_path / "projects")
    try:
        stack.project.up()
        stack.project.wait()
        reader = Reader(tmp_path, stack, host)
        reader.prepare()
        reader.write("host_vars/appwrite.example.com.yml", json.dumps(CHOICES))
        reader.secure()
        secured = stack.env()
        data = Dataset.make(seed=7, key=secured[KEY], database=database, file_bytes=50_000)
        data.load(stack.project)
        data.write_files(stack.project.uploads())

        def upgrade(reader: Reader) -> None:
            upgrade_to_the_newest(reader, is_started)
            found = findings(stack)
            assert [found[control] for control in (*NEW_SECRETS.values(), "secrets.usage_password")] == ["fail"] * 4

        reader.read("after_an_upgrade", upgrade)
        assert (findings(stack)["secrets.usage_password"] == "fail") == is_started
        upgraded = stack.env()
        chosen = (KEY, HTTPS, *CHOICES["appwrite_security_variables"], "_APP_DB_PASS", "_APP_EXECUTOR_SECRET")
        chosen += ("_APP_EMAIL_CERTIFICATES", "_APP_CONSOLE_WHITELIST_ROOT", "_APP_CONSOLE_WHITELIST_EMAILS")
        assert [upgraded[name] for name in chosen] == [secured[name] for name in chosen]
        assert len({upgraded[name] for name in NEW_SECRETS} - {"your-secret-key"}) == len(NEW_SECRETS)

        [ports] = (yaml.safe_load(block.text) for block in blocks("after_an_upgrade") if block.language == "yaml")
        assert list(ports) == ["appwrite_security_variables"]
        named = {
            name: value.replace(value.rpartition(":")[2], upgraded[name])
            for name, value in ports["appwrite_security_variables"].items()
        }
        if is_started:
            named["_APP_USAGE_PASS"] = "not-a-real-" + upgraded[KEY][:9]
        written = succeed("env", {**stack.arguments, "variables": named})
        follow = [f"{name} repeats _APP_USAGE_PASS, so it is set, too" for name in CLICKHOUSE]
        assert [warning for warning in written["warnings"] if "repeats" in warning] == follow * is_started
        told = succeed("apply", stack.arguments)["warnings"]
        assert any("--remove-orphans" in warning for warning in told) == (not is_started)
        stack.project.compose("up", "--detach", "--remove-orphans")
        stack.assert_in_force()
        login = "exit((int) (@file_get_contents(getenv('%s')) === false));"
        for name in CLICKHOUSE:
            stack.project.compose("exec", "-T", "appwrite", "php", "-r", login % name)
            assert "appwrite:appwrite@" not in stack.env()[name]
        found = findings(stack)
        mended = (*NEW_SECRETS.values(), "secrets.usage_password", "containers.mqtt_local", "containers.no_orphans")
        assert {control: found[control] for control in mended} == dict.fromkeys(mended, "pass")
        assert data.check(stack.project, stack.project.uploads(), stack.env()[KEY]).found == []
        assert succeed("stored_info", {**stack.arguments, "sample": 0})["opens"] is True
    finally:
        stack.project.down()


@pytest.mark.nightly
@small("guides")
def test_audit(reader):
    """Below a root of its own, so that no timer is left."""
    root = reader.place / "root"
    for part in ("usr/local/lib", "etc/cron.d"):
        (root / part).mkdir(parents=True)
    reader.prepare()
    place = unit_name(str(reader.stack.directory))
    shown = (
        "python3 /usr/local/lib/appwrite-audit-opt-appwrite.pyz --config /etc/appwrite-audit-opt-appwrite.json --print"
    )
    reader.replaced |= {
        "2027-03-31": f"{datetime.date.today() + datetime.timedelta(days=30)}",
        f"{shown}": f"{sys.executable} {root}/usr/local/lib/appwrite-audit-{place}.pyz --config {root}/etc/appwrite-audit-{place}.json --print",
        "appwrite.audit ": f"appwrite.audit -e __appwrite_audit_root={root} -e appwrite_audit_textfile_dir={root}/textfile "
        f"""-e '{{"__appwrite_audit_crons": ["{Path(sys.executable).name}"]}}' """,
    }
    reader.read(
        "audit",
        ends={
            "ansible-playbook selfhost.appwrite.audit": 2,
            "ansible-playbook selfhost.appwrite.audit -e appwrite_audit_fail_on=critical": 2,
            shown: 1,
        },
    )
    assert (reader.place / "appwrite-audit" / "report.html").is_file()
    assert "waived" in reader.output and "containers.release_not_vulnerable" in reader.output


@pytest.mark.nightly
@small("guides")
def test_closed_network(reader):
    reader.prepare()
    reader.installs()
    reader.read("closed_network")
    reader.stack.assert_in_force()


@pytest.mark.nightly
@small("guides")
def test_awx(reader):
    reader.prepare()
    reader.write("runner/inventory/group_vars/all.yml", "ansible_become: true\n")
    reader.read("awx")
    reader.stack.assert_in_force()
    written = "".join(path.read_text() for path in (reader.place / "runner" / "artifacts").rglob("*") if path.is_file())
    assert "Secure the .env" in written
    assert_no_leak(written, _secrets_in(reader.stack.directory))
    specs = yaml.safe_load((CHECKOUT / "roles" / "appwrite_security" / "meta" / "argument_specs.yml").read_text())[
        "argument_specs"
    ]["main"]["options"]
    [survey] = (json.loads(block.text) for block in blocks("awx") if block.language == "json")
    for question in survey["spec"]:
        wanted = specs[question["variable"]]
        assert question["required"] >= wanted.get("required", False)
        assert question.get("choices") == wanted.get("choices") and wanted["type"] in ("str", "path")


@pytest.mark.nightly
@small("role")
def test_community_docker(reader):
    reader.prepare()
    reader.environ["ANSIBLE_COLLECTIONS_PATH"] = f"{CHECKOUT}/.work/import:{community()}"
    reader.read("community_docker")
    reader.stack.assert_in_force()


@pytest.mark.nightly
@small("guides-lost-key")
def test_lost_key(reader):
    """On a project of its own, since it leaves data behind."""
    reader.prepare()
    reader.secure()
    key = reader.stack.env()[KEY]
    data = Dataset.make(seed=7, key=key, database="mariadb")
    data.load(reader.stack.project)
    data.write_files(reader.stack.project.uploads())
    without(reader.stack.directory, KEY)
    reader.write("key-to-try", key)
    reader.read("lost_key")
    assert reader.stack.env()[KEY] == key
    reader.stack.assert_in_force()


READMES = [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("roles/*/README.md"))]
SNIPPETS = [
    (path, *found)
    for path in READMES
    for found in re.findall(r"^ *```(console|yaml)\n(.*?)^ *```$", path.read_text(), re.MULTILINE | re.DOTALL)
]
TESTED_ELSEWHERE = {
    r"make (demo|test) ": "the continuous integration runs them",
    r"ansible-playbook selfhost\.appwrite\.rotate ": "test_rotation.py, test_guide",
}


def elsewhere(text: str) -> bool:
    return any(re.match(pattern, text) for pattern in TESTED_ELSEWHERE)


@small("role")
@pytest.mark.nightly("test_quickstart, test_guide, test_everything_lost_but_the_inventory")
def test_commands_of_the_readme(reader):
    """On a controller that has the inventory and a vault password."""
    reader.prepare()
    (reader.place / "ansible.cfg").unlink()
    for path, language, text in SNIPPETS:
        for command in re.findall(r"^ *[$#] (.*)", text, re.MULTILINE) if language == "console" else ():
            if command.startswith("ansible-galaxy"):
                reader.installs()
                reader.type(
                    f"cd selfhost.appwrite && {command.replace('build &&', 'build --output-path $OLDPWD && cd $OLDPWD &&')}"
                )
            elif not elsewhere(command):
                if ".drill" in command:
                    reader.type(command.replace(".drill", ".secure"))
                reader.type(command, 2 if "appwrite.audit" in command else 0)
    reader.stack.assert_in_force()


@small("role")
@pytest.mark.nightly("test_lint.py, test_quickstart")
def test_yaml_of_the_readmes(reader):
    """A play as it is, a task in a play, and the waivers as a file that the play names."""
    reader.prepare()
    reader.replaced["project_name: appwrite"] = f"project_name: {reader.stack.project.name}"
    texts = [text for _path, language, text in SNIPPETS if language == "yaml" and not elsewhere(text)]
    [waivers] = (text for text in texts if "justification" in text)
    reader.write("waivers.yml", waivers)
    for text in texts:
        if text == waivers:
            continue
        [first] = yaml.safe_load(text)
        reader.write(
            "site.yml",
            text
            if "hosts" in first
            else yaml.safe_dump([{"hosts": "appwrite", "gather_facts": False, "tasks": [first]}]),
        )
        reader.type("ansible-playbook site.yml", 2 if "appwrite_audit" in text else 0)
    reader.stack.assert_in_force()


def test_every_page_is_typed_in():
    here = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in PAGES.glob("*.rst")} - here == TYPED_IN_ELSEWHERE.keys()
