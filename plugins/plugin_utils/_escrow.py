# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An encryption key kept on the controller, in a file that ansible-vault opens and that is never there in clear.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import re
import shlex
import string
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, match_encrypt_secret

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, words

FORMAT = 1
LOCK_TIMEOUT = 600.0
_DENIED = "run Ansible as the user who may write there, or name another place"
HOW = "start Ansible with --vault-password-file, --vault-id or --ask-vault-pass"
_LONGEST_PART = 110
_HEAD = (
    "# The encryption key (_APP_OPENSSL_KEY_V1) of a self-hosted Appwrite. Whoever loses it loses every stored password, OAuth secret\n"
    "# and API key; whoever has it can forge an administrator. The first entry is in force, the others are history.\n"
)


class EscrowError(AnsibleError):
    """The escrow cannot be read or written; nothing was changed in it."""


@dataclass(frozen=True)
class Owner:
    """Whose key a file holds: a host's, for one project, or that of a cluster, whose hosts share a database and so a key."""

    host: str
    cluster: str | None = None
    project_src: str = ""
    project: str = ""
    """the compose project's name, as far as it is known"""

    def __str__(self) -> str:
        if self.cluster:
            return "the cluster %s" % self.cluster
        return "%s of %s%s" % (
            self.project_src or "a project",
            self.host or "a host",
            " (project %s)" % self.project if self.project else "",
        )

    def public(self) -> dict[str, str]:
        """As it stands in the file."""
        if self.cluster:
            return {"cluster": _plain(self.cluster)}
        return {
            name: _plain(value)
            for name, value in (("host", self.host), ("project_src", self.project_src), ("project", self.project))
            if value
        }

    def is_of(self, origin: Mapping[str, str]) -> bool:
        """Whether that is what stands in a file of this owner's. What it does not say counts for nothing."""
        if self.cluster or "cluster" in origin:
            return origin.get("cluster") == self.cluster
        mine = self.public()
        return all(mine[name] == origin[name] for name in mine.keys() & origin.keys())


def default_path(folder: str, owner: Owner) -> str:
    """A name of its own for each owner: whatever is not a letter or digit is written as its number."""
    place = "-".join(_encoded(part, ".") for part in owner.project_src.split("/") if part)
    parts = ("", _encoded(owner.cluster, "-.")) if owner.cluster else (_encoded(owner.host, "-."), place)
    return os.path.join(folder, "%s.yml" % "@".join(map(_bounded, parts)))


def former_path(folder: str, owner: Owner) -> str:
    """The name that it was given once, which several owners may have in common."""
    return os.path.join(folder, "%s.yml" % re.sub("[^A-Za-z0-9._-]", "_", owner.cluster or owner.host))


class Escrow:
    """One escrow file. C(secrets) are the vault secrets that Ansible was started with."""

    def __init__(
        self,
        path: str,
        secrets: list[tuple[str, Any]] | None,
        encrypt_vault_id: str | None = None,
        owner: Owner | None = None,
    ) -> None:
        """owner: whose it must be, and who it is made for if it does not exist yet."""
        self.path = os.path.abspath(os.path.expandvars(os.path.expanduser(path)))
        self._secrets = secrets or []
        self._encrypt_vault_id = encrypt_vault_id
        self._owner = owner
        self._origin: dict[str, str] = {}
        self.entries: list[dict[str, Any]] = []
        self.hosts: list[str] = []
        """of a cluster, those that are known to have its key, sorted"""

    @property
    def usable(self) -> bool:
        """Whether there is a vault secret to open or write it with."""
        return bool(self._secrets)

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.path)

    @property
    def key(self) -> str | None:
        """The one in force."""
        return next(
            (entry["key"] for entry in self.entries if not entry.get("pending") and not entry.get("given_up")), None
        )

    @property
    def others(self) -> list[str]:
        """All but the one in force."""
        return [entry["key"] for entry in self.entries if entry["key"] != self.key]

    @property
    def pending(self) -> str | None:
        """One that a rotation is on its way to."""
        return next((entry["key"] for entry in self.entries if entry.get("pending")), None)

    def read(self) -> None:
        """Raises EscrowError if there is a file that is not a whole escrow, that no vault secret opens, or that is another's than the owner's."""
        self.entries, self._origin, self.hosts = [], {}, []
        with self._words("read"):
            try:
                with open(self.path, "rb") as stream:
                    ciphertext = stream.read()
            except FileNotFoundError:
                if self.exists:
                    raise self._error("is a broken symbolic link; remove it or name the file itself") from None
                return
        if not self.usable:
            raise self._error("cannot be opened: Ansible was given no vault secret; %s" % HOW)
        if not VaultLib.is_encrypted(ciphertext):
            raise self._error("is damaged: it is not encrypted by ansible-vault")
        try:
            text = VaultLib(self._secrets).decrypt(ciphertext).decode("utf-8")
        except (AnsibleError, UnicodeError, ValueError):
            raise self._error(
                "cannot be opened: it is damaged, or was encrypted with another vault secret than Ansible was given"
            ) from None
        self.entries = self._entries_of(text)
        if self._owner is not None:
            self.require(self._owner)

    def require(self, owner: Owner) -> None:
        """Raises EscrowError if the file is not this owner's, whose key alone it may give away. What is known of the owner is written with the next key."""
        if self.entries and not owner.is_of(self._origin):
            raise self._error(
                "holds the key of %s, and this is %s. Name the file of this installation. If it is the same one under another name, write that under `for` in "
                "the file (host, project_src and project, or cluster): ansible-vault edit %s"
                % (Owner(**{"host": "", **self._origin}), owner, shlex.quote(self.path))
            )
        self._owner = owner

    def _entries_of(self, text: str) -> list[dict[str, Any]]:
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError:
            content = None
        entries = content.get("keys") if isinstance(content, dict) and content.get("format") == FORMAT else None
        if not isinstance(entries, list) or not entries:
            raise self._error("is damaged: it opens, but its content is not an escrow")
        for entry in entries:
            if (
                not isinstance(entry, dict)
                or not isinstance(entry.get("key"), str)
                or entry.get("fingerprint") != fingerprint(entry["key"])
            ):
                raise self._error("is damaged: a key in it does not match the fingerprint recorded beside it")
        told = content.get("for") or next((entry for entry in entries if "host" in entry), {})
        self._origin = self._origin_of(told)
        hosts = told.get("hosts") or []
        if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
            raise self._error(
                "is damaged: `hosts` in it is not a list of names; write each on a line of its own, in quotes: ansible-vault edit %s"
                % shlex.quote(self.path)
            )
        self.hosts = sorted(hosts)
        return entries

    def _origin_of(self, told: Any) -> dict[str, str]:
        """A file that was written before it had a place for that says it with its newest key."""
        if not isinstance(told, dict):
            raise self._error("is damaged: its entry `for` does not name an owner")
        names = ("cluster",) if told.get("cluster") else ("host", "project_src", "project")
        found = {name: str(told[name]) for name in names if told.get(name)}
        return {
            **found,
            **({"project_src": posixpath.normpath(found["project_src"])} if "project_src" in found else {}),
        }

    def add(self, key: str, notes: Mapping[str, str]) -> None:
        """Puts a key in force, keeps what was there as history, and has it all on disk when it returns. Call it under C(locked).

        notes: what else is known of the installation, for people.
        """
        self._save([_entry(key, notes), *(one for one in self.entries if one["key"] != key)])

    @property
    def misses_host(self) -> bool:
        """Whether the owner's host is one of a cluster that the file does not have yet."""
        return bool(self._owner and self._owner.cluster and self._owner.host not in self.hosts)

    def join(self) -> None:
        """Notes that the owner's host is one of the cluster's."""
        with self.locked():
            self.read()
            if self.entries and self.misses_host:  # else somebody took the file away meanwhile, or has noted it
                self._save(self.entries)

    def stage(self, key: str, notes: Mapping[str, str]) -> None:
        """Saves a key that is not in force yet, as C(add) does. Another one that no rotation took stays as history."""
        self._save(
            [*(one for one in _given_up(self.entries) if one["key"] != key), {**_entry(key, notes), "pending": True}]
        )

    def discard(self, key: str) -> None:
        """Takes back what C(stage()) saved, of a key that no host was told."""
        left = [entry for entry in self.entries if entry["key"] != key]
        if left:
            self._save(left)
            return
        with self._words("removed"):
            with _files.beside(os.path.realpath(self.path)) as (directory, name):
                _files.remove(directory, name)
                _files.sync(directory)
        self.entries = []

    def unstage(self) -> None:
        """The rotation was given up. The key that was pending, if there is one, stays as history, and was never in force."""
        if self.pending:
            self._save(_given_up(self.entries))

    def moved_to(self, path: str, owner: Owner, dry_run: bool) -> str:
        """Gives a file that is this owner's another name, and returns where it is then. Another's stays.

        Without a vault secret it cannot be told whose it is.
        """
        if not self.usable:
            return self.path
        with contextlib.nullcontext() if dry_run else self.locked():
            self.read()
            if not self.entries or not owner.is_of(self._origin):
                return path
            if dry_run:
                return self.path
            with self._words("renamed"):
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                _files.move(self.path, path)
        return path

    def _save(self, entries: list[dict[str, Any]]) -> None:
        origin = {**self._origin, **(self._owner.public() if self._owner else {})}
        mine = {_plain(self._owner.host)} if self._owner and self._owner.cluster else set()
        hosts = sorted({*self.hosts, *mine})
        owned = {"for": {**origin, **({"hosts": hosts} if hosts else {})}} if origin else {}
        text = _HEAD + yaml.safe_dump(
            {"format": FORMAT, **owned, "keys": entries}, sort_keys=False, allow_unicode=False
        )
        vault_id, secret = match_encrypt_secret(self._secrets, encrypt_vault_id=self._encrypt_vault_id)
        ciphertext = VaultLib(self._secrets).encrypt(text, secret, vault_id if vault_id != "default" else None)
        with self._words("written"), _files.beside(os.path.realpath(self.path)) as (directory, name):
            _files.replace(directory, {name: ciphertext})
        self.entries, self._origin, self.hosts = entries, origin, hosts

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this controller at a time. The directory is made if it is missing; the lock file does not stay. Raises OSError."""
        with contextlib.ExitStack() as held:
            with self._words("locked"):
                os.makedirs(os.path.dirname(os.path.realpath(self.path)), mode=0o700, exist_ok=True)
                directory, name = held.enter_context(_files.beside(os.path.realpath(self.path)))
                if not held.enter_context(
                    _files.locked(directory, name + ".lock", "escrow_file: %s" % self.path, LOCK_TIMEOUT)
                ):
                    raise PermissionError(errno.EACCES, "")
            yield

    def check_writable(self) -> None:
        """Tries what C(add) will have to do, before anything is done elsewhere that it must not be too late for."""
        with self._words("written"), _files.beside(os.path.realpath(self.path)) as (directory, _name):
            with _files.nameless(directory):
                pass

    @contextlib.contextmanager
    def _words(self, done: str) -> Iterator[None]:
        try:
            with words("escrow_file: %s" % self.path, done, denied=_DENIED):
                yield
        except AppwriteError as error:
            raise EscrowError(str(error)) from None

    def _error(self, text: str) -> EscrowError:
        return EscrowError("escrow_file: %s %s" % (self.path, text))


def _given_up(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """No key is on its way any more."""
    return [
        {**{name: value for name, value in entry.items() if name != "pending"}, "given_up": True}
        if entry.get("pending")
        else entry
        for entry in entries
    ]


def _entry(key: str, notes: Mapping[str, str]) -> dict[str, Any]:
    saved = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "key": key,
        "fingerprint": fingerprint(key),
        "saved": saved,
        **{name: _plain(value) for name, value in notes.items() if value},
    }


def _plain(text: str) -> str:
    """Of the type that YAML can write: Ansible marks its texts by types of its own, of which C(str()) makes the same again."""
    return "".join([text])


def _encoded(text: str, plain: str) -> str:
    """For a part of a file's name, another one for each text: letters, digits and what is C(plain) stand for themselves."""
    kept = string.ascii_letters + string.digits + plain
    return "".join(
        chr(byte) if chr(byte) in kept else "_%02x" % byte for byte in text.encode("utf-8", "surrogateescape")
    )


def _bounded(part: str) -> str:
    """A file's name has 255 bytes at most."""
    return (
        part
        if len(part) <= _LONGEST_PART
        else "%s_%s" % (part[: _LONGEST_PART - 65], hashlib.sha256(part.encode()).hexdigest())
    )
