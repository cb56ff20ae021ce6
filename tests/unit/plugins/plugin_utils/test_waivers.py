# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hands to the audit: the waivers that are for a host, and what the controller knows of the escrowed key."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret

from ansible_collections.selfhost.appwrite.plugins.filter.waivers_for import FilterModule
from ansible_collections.selfhost.appwrite.plugins.lookup.escrow_state import LookupModule
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow

ROOT = Path(__file__).parents[4]
waivers_for = FilterModule().filters()["waivers_for"]
CONTROL = "host.observed"
ENTRY = f"- {{control: {CONTROL}, hosts: all, justification: Replaced in spring, expires: 2027-03-31}}\n"
WAIVER = {"control": CONTROL, "justification": "Replaced in spring", "expires": "2027-03-31"}
KEY = "not-a-real-key-0123456789"
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]


def picked(text, host="web-1", groups=("appwrite", "web")):
    return waivers_for(yaml.safe_load(text), host, list(groups))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]"])
def test_none(text):
    assert picked(text) == []


@pytest.mark.parametrize(
    ("hosts", "matches"),
    [
        ("all", True),
        ("web-1", True),
        ("web-*", True),
        ("'web-[12]'", True),
        ("web", True),
        ("'we?'", True),
        ("['db*', 'web-1']", True),
        ("'*'", True),
        ("WEB-1", False),
        ("web-", False),
        ("db*", False),
        ("[]", None),
        ("", None),
        ("1", None),
        ("[1]", None),
        ("{web-1: 1}", None),
    ],
)
def test_hosts(hosts, matches):
    """A name or pattern of hosts or groups, or several."""
    text = ENTRY.replace("hosts: all", f"hosts: {hosts}")
    if matches is None:
        with pytest.raises(AnsibleFilterError, match="entry 1: hosts has to be a name or pattern .* write `all`"):
            picked(text)
    else:
        assert picked(text) == ([WAIVER] if matches else [])


@pytest.mark.parametrize("day", ["2027-03-31", "'2027-03-31'"])
def test_day(day):
    """YAML makes a date of the one, and a text of the other."""
    assert picked(ENTRY.replace("2027-03-31", day)) == [WAIVER]


@pytest.mark.parametrize("name", ["lynis.SSH-7408", "testssl.heartbleed", CONTROL])
def test_controls(name):
    assert [waiver["control"] for waiver in picked(ENTRY.replace(CONTROL, name))] == [name]


def test_all_that_match_in_their_order():
    text = ENTRY + ENTRY.replace("all", "other") + ENTRY.replace("spring", "autumn")
    assert [waiver["justification"] for waiver in picked(text)] == ["Replaced in spring", "Replaced in autumn"]


def test_documented_examples():
    readme = (ROOT / "roles" / "appwrite_audit" / "README.md").read_text()
    comment = re.findall(r"^  # (.*\n)", (ROOT / "plugins" / "filter" / "waivers_for.yml").read_text(), re.MULTILINE)
    for text in (re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)[-1], "".join(comment[1:])):
        assert len(picked(text, "test-1", ["staging"])) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("waivers: []", "the waivers are no list; write each as an entry with control, hosts, justification, expires"),
        ("- all\n", "entry 1 has no dictionary; write control, hosts, justification, expires"),
        (ENTRY + ENTRY.replace("expires", "until"), "entry 2 has until; write control"),
        (
            ENTRY.replace(f"control: {CONTROL}, ", ""),
            "entry 1: control: there is no control None; take the id from a finding",
        ),
        (
            ENTRY.replace(CONTROL, "host.observd"),
            "entry 1: control: there is no control 'host.observd'; is host.observed meant?",
        ),
        (ENTRY.replace(CONTROL, "lynis"), "entry 1: control: there is no control 'lynis'"),
        (ENTRY.replace("hosts: all, ", ""), "entry 1: hosts has to be"),
        (ENTRY.replace("justification: Replaced in spring, ", ""), "entry 1: justification: is missing; say why"),
        (ENTRY.replace("Replaced in spring", "' '"), "entry 1: justification: is missing"),
        (
            ENTRY.replace(", expires: 2027-03-31", ""),
            "entry 1: expires: None is not a date; give one such as 2027-01-31",
        ),
        (ENTRY.replace("2027-03-31", "next year"), "entry 1: expires: 'next year' is not a date"),
        (ENTRY.replace("2027-03-31", "'2027-02-30'"), "entry 1: expires: '2027-02-30' is not a date"),
        (ENTRY.replace("2027-03-31", "2027-03-31T00:00:00Z"), "entry 1: expires: datetime"),
        (ENTRY.replace("2027-03-31", "20270331"), "entry 1: expires: 20270331 is not a date"),
    ],
)
def test_bad_entry(text, message):
    """Whether it is for this host or not."""
    for host in ("web-1", "other"):
        with pytest.raises(AnsibleFilterError) as caught:
            picked(text, host, ["all"])
        assert str(caught.value).startswith("waivers_for: " + message)


# --- the lookup escrow_state ---


@pytest.fixture
def state(quick_fingerprints):
    """The lookup, with the vault secrets that Ansible was started with."""

    def look(path, secrets=tuple(SECRETS)):
        loader = DataLoader()
        loader.set_vault_secrets(list(secrets))
        [found] = LookupModule(loader=loader).run([str(path)])
        assert KEY not in str(found)
        return found

    return look


@pytest.fixture
def file(tmp_path):
    escrow = Escrow(str(tmp_path / "one.yml"), SECRETS)
    with escrow.locked():
        escrow.add(KEY, {})
    return tmp_path / "one.yml"


def test_state(state, file):
    days = {datetime.datetime.now(datetime.timezone.utc).date().isoformat()}
    found = state(file)
    days.add(datetime.datetime.now(datetime.timezone.utc).date().isoformat())
    assert found == {"fingerprint": _key.fingerprint(KEY), "proved": found["proved"]} and found["proved"] in days


def test_state_of_a_weak_key(state, tmp_path):
    """Its fingerprint would help to guess it."""
    escrow = Escrow(str(tmp_path / "weak.yml"), SECRETS)
    with escrow.locked():
        escrow.add("notarealkey", {})
    found = state(tmp_path / "weak.yml")
    assert (
        set(found) == {"unseen"}
        and "a weak one, of about 51 bits" in found["unseen"]
        and "rotate it" in found["unseen"]
    )
    assert _key.fingerprint("notarealkey") not in str(found)


@pytest.mark.parametrize("secrets", [(), tuple(SECRETS)], ids=["no secret", "secret"])
def test_state_of_no_file(state, tmp_path, secrets):
    assert state(tmp_path / "none.yml", secrets) == {"fingerprint": None}


@pytest.mark.parametrize(
    ("secrets", "damage", "why"),
    [
        ((), b"", "no vault secret; start Ansible with --vault-password-file"),
        ([("default", VaultSecret(b"not-a-real-wrong-password"))], b"", "encrypted with another vault secret"),
        (SECRETS, b"x", "cannot be opened: it is damaged"),
    ],
    ids=["no secret", "other secret", "damaged"],
)
def test_state_unseen(state, file, secrets, damage, why):
    file.write_bytes(file.read_bytes() + damage)
    found = state(file, secrets)
    assert set(found) == {"unseen"} and found["unseen"].startswith(f"escrow_file: {file} ") and why in found["unseen"]
