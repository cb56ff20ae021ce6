# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup by which a playbook hands a module the key that was saved."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret

from ansible_collections.selfhost.appwrite.plugins.lookup.escrowed_key import LookupModule
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow

KEY, OTHER = "not-a-real-key-0123456789", "not-a-real-other-key-0123"
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]
pytestmark = pytest.mark.usefixtures("quick_fingerprints")


@pytest.fixture
def files(tmp_path):
    """Of two hosts. The first had another key before."""
    for name, keys in {"one": (OTHER, KEY), "two": (OTHER,)}.items():
        escrow = Escrow(str(tmp_path / name), SECRETS)
        with escrow.locked():
            for key in keys:
                escrow.add(key, {})
    return [str(tmp_path / name) for name in ("one", "two")]


def look(paths, secrets=tuple(SECRETS)):
    loader = DataLoader()
    loader.set_vault_secrets(list(secrets))
    return LookupModule(loader=loader).run(paths)


def test_the_key_in_force_of_each(files):
    assert look(files) == [KEY, OTHER]


@pytest.mark.parametrize(
    ("secrets", "words"),
    [((), "vault"), ([("default", VaultSecret(b"another-unreal-password"))], "vault")],
    ids=["no vault secret", "another vault secret"],
)
def test_not_opened(files, secrets, words):
    with pytest.raises(AnsibleError, match=words) as caught:
        look(files, secrets)
    assert KEY not in str(caught.value) and OTHER not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(AnsibleError, match="^escrow_file: .*/none does not exist$"):
        look([str(tmp_path / "none")])


def test_a_key_that_never_came_into_force(tmp_path):
    escrow = Escrow(str(tmp_path / "one"), SECRETS)
    with escrow.locked():
        escrow.stage(KEY, {})
    with pytest.raises(AnsibleError, match="^escrow_file: .*/one holds no key that is in force$"):
        look([str(tmp_path / "one")])
