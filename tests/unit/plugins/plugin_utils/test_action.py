# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a managed host returns is data, and its facts name nothing on the controller."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import (
    _harmless,
    answer,
    printable,
    refuse_facts,
)

ESCROW = "appwrite_security_escrow_file"


def test_answer_drops_what_ansible_acts_on():
    acted_on = {
        "ansible_facts": {ESCROW: "/srv/other.yml"},
        "ansible_stats": {"data": {}},
        "ansible_job_id": "j1",
        "_ansible_no_log": False,
        "_ansible_verbose_always": True,
        "add_host": {"host_name": "evil"},
        "add_group": "evil",
        "results": [{"failed": False}],
        "unreachable": True,
        "skipped": True,
        "deprecations": [{"msg": "x"}],
        "exception": "Traceback",
        "include": "x.yml",
    }
    ours = {"changed": True, "msg": "done", "key": {"state": "kept"}, "started": ["redis"]}
    assert answer({**ours, **acted_on}) == ours


def test_answer_has_no_control_characters_at_any_depth():
    escape = "\x1b]0;title\x07\x1b[2Jred\u202e"
    found = answer(
        {
            "msg": escape,
            "warnings": [escape],
            "diff": {"before": "a\n\tb" + escape},
            escape: [[{"x": escape}], 5, None, True],
        }
    )
    assert not [
        character for character in str(found).replace("\\n", "").replace("\\t", "") if not character.isprintable()
    ]
    assert found["diff"]["before"].startswith("a\n\tb?")


def test_answer_makes_sentences_of_warnings():
    """ansible-core 2.19 and later make objects of them."""
    event = SimpleNamespace(event=SimpleNamespace(msg="mind \x1b[31mthis"))
    assert answer({"warnings": [event, "plain"]})["warnings"] == ["mind ?[31mthis", "plain"]
    assert answer({"warnings": "no list"})["warnings"] == []


@pytest.mark.parametrize("depth", [100, 100_000])
def test_answer_that_is_too_deep(depth):
    deep: list = []
    for _unused in range(depth):
        deep = [deep]
    assert answer({"changed": False, "findings": deep})["failed"] is True


@pytest.mark.parametrize("text", ["plain", "zwei Zeilen\nund\tTab", "ünïcödé 🔑"])
def test_printable_keeps_text(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"msg": "\\u001b[2J\\u009b\\u202e\\b\\r\\f"}', "?[2J?????"),
        ('{"msg": "a\\nb\\tc\\u000a\\u0009"}', "a\nb\tc\n\t"),
        ('{"msg": "\\\\u001b \\ud83d\\udd11 \\"quoted\\" \\/"}', '\\u001b 🔑 "quoted" /'),
        ('{"msg": "\x1b[2J"}', "?[2J"),
        ('\r\n{"msg": "over a terminal"}\r\n', "over a terminal"),
    ],
)
def test_what_a_module_printed(text, shown):
    """Before Ansible reads it, since newer releases show its warnings then."""
    assert json.loads(_harmless(text))["msg"] == shown


# --- facts ---


@pytest.fixture(params=[True, False], ids=["injected", "not injected"])
def injected(request, monkeypatch):
    """Whether ansible.cfg has facts take the place of variables."""
    real = constants.config.get_config_value
    monkeypatch.setattr(
        constants.config,
        "get_config_value",
        lambda name, *rest, **more: request.param if name == "INJECT_FACTS_AS_VARS" else real(name, *rest, **more),
    )
    return request.param


def refusal(facts, names=(), **variables):
    """The words, or nothing."""
    try:
        refuse_facts({"ansible_facts": facts, "inventory_hostname": "one", **variables}, names)
    except AnsibleActionFail as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "name",
    [
        ESCROW,
        "appwrite_audit_fail_on",
        "appwrite_rotation_backup_tasks",
        "__appwrite_security_settled",
        "inventory_hostname",
        "inventory_dir",
        "group_names",
        "omit",
        "lookup",
        "query",
        "now",
    ],
)
def test_fact_with_the_name_of_a_variable(injected, name):
    words = refusal({name: "x", "distribution": "Debian"})
    assert words.startswith(f"{name}: a fact of this host has the name of this variable") == injected
    assert not words or "inject_facts_as_vars = False" in words


@pytest.mark.parametrize(
    "facts",
    [{}, {"distribution": "Debian", "packages": {}, "services": {}, "local": {"appwrite_security": 1}}],
    ids=["none", "usual"],
)
def test_usual_facts(injected, facts):
    assert not refusal(facts, [ESCROW], **{ESCROW: "{{ inventory_dir }}/{{ inventory_hostname }}.yml"})


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({ESCROW: "{{ safe_dir }}/one.yml", "safe_dir": "/srv"}, "safe_dir"),
        ({ESCROW: "{{ places.safe }}/one.yml", "places": {"safe": ["{{ root | default('/') }}"]}, "root": "/"}, "root"),
        ({ESCROW: "{% if where is defined %}{{ where }}{% endif %}"}, "where"),
        ({ESCROW: "{{ ansible_hostname }}.yml"}, "ansible_hostname"),
        ({ESCROW: "{{ lookup('ansible.builtin.env', 'HOME') }}/{{ site | selfhost.appwrite.some_filter }}"}, "site"),
        ({ESCROW: "/srv/{{ x }}", "x": "{{ y }}", "y": "{{ x }}{{ loop_end }}"}, "loop_end"),
    ],
)
def test_variable_that_is_made_from_a_fact(injected, variables, source):
    words = refusal({source.removeprefix("ansible_"): "/etc"}, [ESCROW], **variables)
    assert words.startswith(f"{ESCROW}: is made from {source}, which is a fact of this host") == injected


@pytest.mark.parametrize("source", ["ansible_facts", "ansible_local", "hostvars", "vars"])
def test_variable_that_is_made_from_what_holds_facts(injected, source):
    """Which no setting of ansible.cfg takes out of the host's hands."""
    assert f"is made from {source}, which is a place for facts of hosts" in refusal(
        {}, [ESCROW], **{ESCROW: "{{ %s['hostname'] }}.yml" % source}
    )


@pytest.mark.parametrize("text", ["{{ unfinished", "{% endif %}", "no template", "{a}"])
def test_text_that_is_no_template(injected, text):
    assert not refusal({"unfinished": 1}, [ESCROW], **{ESCROW: text})
