# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The escrow file: whole or as it was, never in clear, never replaced where it cannot be read."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.selfhost.appwrite.plugins.module_utils import _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._seal import new_password, seal, unseal
from ansible_collections.selfhost.appwrite.plugins.plugin_utils import _escrow
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, EscrowError

KEY, OTHER = "not-a-real-key-0123456789", "not-a-real-other-key-0123"
ORIGIN = {"host": "one", "release": "1.9.6"}
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The slowness of the fingerprint has a test of its own."""
    monkeypatch.setattr(_key, "_ROUNDS", 1)
    _key.fingerprint.cache_clear()
    yield
    _key.fingerprint.cache_clear()


@pytest.fixture
def escrow(tmp_path):
    found = Escrow(str(tmp_path / "escrow" / "one.yml"), SECRETS)
    with found.locked():
        found.add(KEY, ORIGIN)
    return found


def opened(path, secrets=None):
    again = Escrow(str(path), SECRETS if secrets is None else secrets)
    again.read()
    return again


def test_kept_and_opened(escrow):
    [entry] = opened(escrow.path).entries
    assert entry["key"] == KEY and entry["fingerprint"] == _key.fingerprint(KEY) and entry["host"] == "one"
    assert stat.S_IMODE(os.stat(escrow.path).st_mode) == 0o600
    assert os.listdir(os.path.dirname(escrow.path)) == ["one.yml"]


def test_older_keys_are_history(escrow):
    for key in (OTHER, KEY, OTHER):
        with escrow.locked():
            escrow.add(key, ORIGIN)
        assert [entry["key"] for entry in opened(escrow.path).entries] == [key, {KEY: OTHER, OTHER: KEY}[key]]


@pytest.mark.parametrize("key", ["key: with 'all' \"that\" # yaml", "clé-非-🔑-0123456789", "not-a-real-\udcff-of-bytes", "two\nlines-0123456789"])
def test_any_key(escrow, key):
    with escrow.locked():
        escrow.add(key, ORIGIN)
    assert opened(escrow.path).key == key


def _sealed(text):
    return VaultLib(SECRETS).encrypt(text)


@pytest.mark.parametrize(("damage", "why"), [
    (lambda path: path.write_bytes(b""), "is damaged"),
    (lambda path: path.write_text("format: 1\nkeys: []\n"), "is damaged"),
    (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot be opened"),
    (lambda path: path.write_text(re.sub(r"\n3\d", "\n39", path.read_text(), count=1) + "00"), "cannot be opened"),
    (lambda path: path.write_bytes(_sealed("just text")), "not an escrow"),
    (lambda path: path.write_bytes(_sealed("a: [")), "not an escrow"),
    (lambda path: path.write_bytes(_sealed("format: 2\nkeys: [{}]")), "not an escrow"),
    (lambda path: path.write_bytes(_sealed("format: 1\nkeys: []")), "not an escrow"),
    (lambda path: path.write_bytes(_sealed(yaml.safe_dump({"format": 1, "keys": [{"key": KEY, "fingerprint": "0" * 16}]}))), "fingerprint"),
    (lambda path: path.unlink() or path.mkdir(), "cannot be read"),
    (lambda path: path.unlink() or path.symlink_to("nothing"), "is a symbolic link to nothing"),
], ids=["empty", "in clear", "truncated", "altered", "text", "broken", "format", "no key", "fingerprint", "directory", "dangling"])
def test_damaged(escrow, tmp_path, damage, why):
    path = tmp_path / "escrow" / "one.yml"
    damage(path)
    with pytest.raises(EscrowError) as caught:
        opened(path)
    assert str(caught.value).startswith(f"escrow_file: {path} ") and why in str(caught.value) and KEY not in str(caught.value)


def test_other_vault_secret_or_none(escrow):
    with pytest.raises(EscrowError, match="encrypted with another vault secret"):
        opened(escrow.path, [("default", VaultSecret(b"not-a-real-wrong-password"))])
    with pytest.raises(EscrowError, match="no vault secret; start Ansible with --vault-password-file"):
        opened(escrow.path, [])


def test_missing_is_empty(tmp_path):
    nothing = opened(tmp_path / "none.yml", [])
    assert (nothing.exists, nothing.key, nothing.entries) == (False, None, [])


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_the_system_says_no(escrow, monkeypatch, call):
    """A broken disk cannot be had in a unit test, so the one call that would report it does."""
    before = open(escrow.path, "rb").read()

    def fail(*_unused):
        raise OSError(errno.ENOSPC, "text")

    monkeypatch.setattr(_escrow.os, call, fail)
    with pytest.raises(EscrowError, match="cannot be written: the disk is full"), escrow.locked():
        escrow.add(OTHER, ORIGIN)
    assert open(escrow.path, "rb").read() == before and os.listdir(os.path.dirname(escrow.path)) == ["one.yml"]


def test_only_ciphertext_reaches_the_disk(escrow, monkeypatch):
    written, real = [], os.write
    monkeypatch.setattr(_escrow.os, "fsync", lambda handle: written.append(os.pread(handle, 1 << 20, 0) if not _is_directory(handle) else b""))
    monkeypatch.setattr(_escrow.os, "write", lambda handle, data: written.append(data) or real(handle, data))
    with escrow.locked():
        escrow.add(OTHER, ORIGIN)
    assert any(data.startswith(b"$ANSIBLE_VAULT;") for data in written) and not any(OTHER.encode() in data for data in written)


def _is_directory(handle):
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def test_symbolic_link_stays_a_link(escrow, tmp_path):
    link = tmp_path / "link.yml"
    link.symlink_to("escrow/one.yml")
    linked = opened(link)
    with linked.locked():
        linked.add(OTHER, ORIGIN)
    assert link.is_symlink() and opened(escrow.path).key == OTHER


def test_one_at_a_time(tmp_path):
    """The lock file goes when nobody holds it, and whoever waited for it does not hold a lock that is gone."""
    inside, most = [], []

    def work():
        with Escrow(str(tmp_path / "one.yml"), SECRETS).locked():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.001)
            inside.pop()

    threads = [threading.Thread(target=work) for _number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20 and os.listdir(tmp_path) == []


def test_locked_for_too_long(escrow, monkeypatch):
    monkeypatch.setattr(_escrow, "LOCK_TIMEOUT", 0.0)
    with escrow.locked(), pytest.raises(EscrowError, match="is locked: another run"), Escrow(escrow.path, SECRETS).locked():
        pass


@pytest.mark.parametrize("secret", ["", "k", KEY, "x" * 1000, "clé-🔑", "\udcff"])
def test_sealed(secret):
    password = new_password()
    sealed = seal(secret, password)
    assert unseal(sealed, password) == secret and len({sealed, seal(secret, password), seal(secret, new_password())}) == 3


@pytest.mark.parametrize("spoil", [lambda sealed: sealed[:-4], lambda sealed: "A" + sealed[1:], lambda sealed: "", lambda sealed: "?"])
def test_sealed_and_spoiled(spoil):
    password = new_password()
    sealed = seal(KEY, password)
    for text, with_what in ((spoil(sealed) if spoil(sealed) != sealed else sealed[1:], password), (sealed, new_password())):
        with pytest.raises(AppwriteError, match="cannot be opened"):
            unseal(text, with_what)
