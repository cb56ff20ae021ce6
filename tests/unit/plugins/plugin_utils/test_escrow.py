# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The escrow file: whole or as it was, never in clear, never replaced where it cannot be read."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
import threading
import time
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import key as _key
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import new_password, seal, unseal
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.plugin_utils import _escrow
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import (
    Escrow,
    EscrowError,
    Owner,
    default_path,
    former_path,
)

KEY, OTHER = "not-a-real-key-0123456789", "not-a-real-other-key-0123"
ORIGIN = {"host": "one", "release": "1.9.6"}
SECRETS = [("default", VaultSecret(b"not-a-real-vault-password"))]
pytestmark = pytest.mark.usefixtures("quick_fingerprints")


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


@pytest.mark.parametrize(
    "key",
    ["key: with 'all' \"that\" # yaml", "clé-非-🔑-0123456789", "not-a-real-\udcff-of-bytes", "two\nlines-0123456789"],
)
def test_any_key(escrow, key):
    with escrow.locked():
        escrow.add(key, ORIGIN)
    assert opened(escrow.path).key == key


def _sealed(text):
    return VaultLib(SECRETS).encrypt(text)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_text("format: 1\nkeys: []\n"), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot be opened"),
        (lambda path: path.write_text(re.sub(r"\n3\d", "\n39", path.read_text(), count=1) + "00"), "cannot be opened"),
        (lambda path: path.write_bytes(_sealed("just text")), "not an escrow"),
        (lambda path: path.write_bytes(_sealed("a: [")), "not an escrow"),
        (lambda path: path.write_bytes(_sealed("format: 2\nkeys: [{}]")), "not an escrow"),
        (lambda path: path.write_bytes(_sealed("format: 1\nkeys: []")), "not an escrow"),
        (
            lambda path: path.write_bytes(
                _sealed(yaml.safe_dump({"format": 1, "keys": [{"key": KEY, "fingerprint": "0" * 16}]}))
            ),
            "fingerprint",
        ),
        (lambda path: path.unlink() or path.mkdir(), "cannot be read"),
        (
            lambda path: path.unlink() or path.symlink_to("nothing"),
            "is a broken symbolic link; remove it or name the file itself",
        ),
    ],
    ids=[
        "empty",
        "in clear",
        "truncated",
        "altered",
        "text",
        "broken",
        "format",
        "no key",
        "fingerprint",
        "directory",
        "dangling",
    ],
)
def test_damaged(escrow, tmp_path, damage, why):
    path = tmp_path / "escrow" / "one.yml"
    damage(path)
    with pytest.raises(EscrowError) as caught:
        opened(path)
    assert (
        str(caught.value).startswith(f"escrow_file: {path} ")
        and why in str(caught.value)
        and KEY not in str(caught.value)
    )


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

    def fail(*_unused, **_directories):
        raise OSError(errno.ENOSPC, "text")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(EscrowError, match="cannot be written: the disk is full"), escrow.locked():
        escrow.add(OTHER, ORIGIN)
    assert open(escrow.path, "rb").read() == before and os.listdir(os.path.dirname(escrow.path)) == ["one.yml"]


def test_only_ciphertext_reaches_the_disk(escrow, monkeypatch):
    written, real = [], os.write
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: written.append(b"" if _is_directory(handle) else Path(f"/proc/self/fd/{handle}").read_bytes()),
    )
    monkeypatch.setattr(os, "write", lambda handle, data: written.append(bytes(data)) or real(handle, data))
    with escrow.locked():
        escrow.add(OTHER, ORIGIN)
    assert any(data.startswith(b"$ANSIBLE_VAULT;") for data in written) and not any(
        OTHER.encode() in data for data in written
    )


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


def test_no_locks(escrow, monkeypatch):
    """As on a network's file system without them, which cannot be had in a unit test."""

    def fail(*_unused):
        raise OSError(errno.ENOLCK, "text")

    monkeypatch.setattr(_files.fcntl, "flock", fail)
    with pytest.raises(EscrowError, match="cannot be locked"), escrow.locked():
        pass


def test_locked_for_too_long(escrow, monkeypatch):
    monkeypatch.setattr(_escrow, "LOCK_TIMEOUT", 0.0)
    with escrow.locked(), pytest.raises(EscrowError, match="^escrow_file: .*: another run has held the lock"), Escrow(
        escrow.path, SECRETS
    ).locked():
        pass


@pytest.mark.parametrize("secret", ["", "k", KEY, "x" * 1000, "clé-🔑", "\udcff"])
def test_sealed(secret):
    password = new_password()
    sealed = seal(secret, password)
    assert (
        unseal(sealed, password) == secret and len({sealed, seal(secret, password), seal(secret, new_password())}) == 3
    )


@pytest.mark.parametrize(
    "spoil", [lambda sealed: sealed[:-4], lambda sealed: "A" + sealed[1:], lambda sealed: "", lambda sealed: "?"]
)
def test_sealed_and_spoiled(spoil):
    password = new_password()
    sealed = seal(KEY, password)
    for text, with_what in (
        (spoil(sealed) if spoil(sealed) != sealed else sealed[1:], password),
        (sealed, new_password()),
    ):
        with pytest.raises(AppwriteError, match="cannot be opened"):
            unseal(text, with_what)


# --- whose it is ---

ONE = Owner("one", None, "/opt/appwrite", "appwrite")


def owned(tmp_path, owner, name="owned.yml"):
    found = Escrow(str(tmp_path / name), SECRETS, owner=owner)
    with found.locked():
        found.read()
        found.add(KEY, {"host": owner.host})
    return found


@pytest.mark.parametrize(
    ("owner", "mine"),
    [
        (ONE, True),
        (Owner("one", None, "/opt/appwrite"), True),
        (Owner("two", None, "/opt/appwrite", "appwrite"), False),
        (Owner("one", None, "/opt/shop", "appwrite"), False),
        (Owner("one", None, "/opt/appwrite", "shop"), False),
        (Owner("one", "shop", "/opt/appwrite"), False),
    ],
)
def test_refused_for_another(tmp_path, owner, mine):
    owned(tmp_path, ONE)
    again = Escrow(str(tmp_path / "owned.yml"), SECRETS, owner=owner)
    if mine:
        again.read()
        assert again.key == KEY
    else:
        with pytest.raises(EscrowError, match="holds the key of /opt/appwrite of one .*ansible-vault edit") as caught:
            again.read()
        assert KEY not in str(caught.value)


def test_cluster_is_one_owner_whatever_the_host(tmp_path):
    owned(tmp_path, Owner("one", "shop", "/opt/appwrite"))
    again = Escrow(str(tmp_path / "owned.yml"), SECRETS, owner=Owner("two", "shop", "/srv/appwrite"))
    again.read()
    assert again.key == KEY
    with pytest.raises(EscrowError, match="holds the key of the cluster shop"):
        Escrow(str(tmp_path / "owned.yml"), SECRETS, owner=ONE).read()


def test_hosts_of_a_cluster(tmp_path):
    """Each that has had the key, once; and none of a file of one host."""
    owned(tmp_path, Owner("two", "shop", "/opt/appwrite"))
    for host in ("one", "two", "one"):
        found = Escrow(str(tmp_path / "owned.yml"), SECRETS, owner=Owner(host, "shop", "/opt/appwrite"))
        found.join()
    again = opened(tmp_path / "owned.yml")
    assert again.hosts == ["one", "two"] and again.key == KEY and again._origin == {"cluster": "shop"}
    alone = owned(tmp_path, ONE, "alone.yml")
    alone.join()
    assert opened(tmp_path / "alone.yml").hosts == []


def test_no_host_joins_a_file_that_was_taken_away(tmp_path):
    """What is left would be an escrow without a key."""
    owned(tmp_path, Owner("two", "shop", "/opt/appwrite"))
    found = Escrow(str(tmp_path / "owned.yml"), SECRETS, owner=Owner("one", "shop", "/opt/appwrite"))
    found.read()
    os.unlink(found.path)
    found.join()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("told", ["one, two", [1, 2], {"one": None}])
def test_hosts_that_are_none(tmp_path, told):
    owner = {"cluster": "shop", "hosts": told}
    text = {"format": 1, "for": owner, "keys": [{"key": KEY, "fingerprint": _key.fingerprint(KEY)}]}
    (tmp_path / "x.yml").write_bytes(_sealed(yaml.safe_dump(text)))
    with pytest.raises(EscrowError, match="is damaged: `hosts` in it is not a list of names; .* ansible-vault edit"):
        opened(tmp_path / "x.yml")


def test_file_of_before_says_it_with_its_newest_key(tmp_path):
    text = yaml.safe_dump(
        {
            "format": 1,
            "keys": [{"key": KEY, "fingerprint": _key.fingerprint(KEY), "host": "two", "project_src": "/opt/appwrite"}],
        }
    )
    (tmp_path / "two.yml").write_bytes(_sealed(text))
    opened(tmp_path / "two.yml")
    with pytest.raises(EscrowError, match="holds the key of /opt/appwrite of two"):
        Escrow(str(tmp_path / "two.yml"), SECRETS, owner=ONE).read()


@pytest.mark.parametrize("told", ["text", ["list"], 5])
def test_owner_that_is_none(tmp_path, told):
    (tmp_path / "x.yml").write_bytes(
        _sealed(
            yaml.safe_dump({"format": 1, "for": told, "keys": [{"key": KEY, "fingerprint": _key.fingerprint(KEY)}]})
        )
    )
    with pytest.raises(EscrowError, match="is damaged"):
        opened(tmp_path / "x.yml")


def test_project_is_written_when_it_is_known(tmp_path):
    found = owned(tmp_path, Owner("one", None, "/opt/appwrite"))
    found.require(ONE)
    with found.locked():
        found.add(OTHER, {})
    with pytest.raises(EscrowError, match="project appwrite"):
        Escrow(found.path, SECRETS, owner=Owner("one", None, "/opt/appwrite", "shop")).read()


# --- its name ---

_NAMES = st.text(st.sampled_from("ab1/_-.@ é~"), min_size=1, max_size=12)
_OWNERS = st.builds(Owner, _NAMES, st.none() | _NAMES, _NAMES.map(lambda text: posixpath.normpath("/" + text)))


@given(_OWNERS, _OWNERS)
def test_no_two_owners_share_a_name(left, right):
    def same(owner):
        return owner.cluster or (owner.host, owner.project_src.lstrip("/"))

    paths = [default_path("/e", owner) for owner in (left, right)]
    assert (paths[0] == paths[1]) == (same(left) == same(right) and bool(left.cluster) == bool(right.cluster))
    assert all(os.path.dirname(path) == "/e" and len(os.path.basename(path)) < 256 for path in paths)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Owner("appwrite.example.com", None, "/opt/appwrite"), "appwrite.example.com@opt-appwrite.yml"),
        (Owner("one", "shop", "/x"), "@shop.yml"),
        (Owner("web/1", None, "/opt/app-1"), "web_2f1@opt-app_2d1.yml"),
        (Owner("web_1", None, "/opt/app_1"), "web_5f1@opt-app_5f1.yml"),
    ],
)
def test_name(owner, name):
    assert default_path("/e", owner) == f"/e/{name}"


def test_long_names():
    owners = [Owner("h" * 300 + end, None, "/x" * 300) for end in "ab"]
    paths = [default_path("/e", owner) for owner in owners]
    assert paths[0] != paths[1] and all(len(os.path.basename(path)) < 256 for path in paths)


@pytest.mark.parametrize("dry_run", [True, False])
def test_name_of_before(tmp_path, dry_run):
    """Two hosts had it in common: it becomes that of the one whose key it holds."""
    web = [Owner(host, None, "/opt/appwrite") for host in ("web/1", "web_1")]
    former = former_path(str(tmp_path), web[0])
    assert former == former_path(str(tmp_path), web[1])
    owned(tmp_path, web[0], os.path.basename(former))
    paths = [default_path(str(tmp_path), owner) for owner in web]
    moved = [Escrow(former, SECRETS).moved_to(path, owner, dry_run) for owner, path in reversed(list(zip(web, paths)))]
    assert moved == [paths[1], former if dry_run else paths[0]]
    assert sorted(map(str, tmp_path.iterdir())) == [former if dry_run else paths[0]]
    assert Escrow(former, []).moved_to(paths[0], web[0], dry_run) == former, "it cannot be told whose it is"
