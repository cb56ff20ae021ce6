# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""An encryption key kept on the controller, in a file that ansible-vault opens and that is never there in clear."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, match_encrypt_secret
from ansible_collections.selfhost.appwrite.plugins.module_utils._env_file import reason
from ansible_collections.selfhost.appwrite.plugins.module_utils._key import fingerprint

FORMAT = 1
LOCK_TIMEOUT = 600.0
_HEAD = (
    "# The encryption key (_APP_OPENSSL_KEY_V1) of a self-hosted Appwrite. Whoever loses it loses every stored password, OAuth secret\n"
    "# and API key; whoever has it can forge an administrator. The first entry is in force, the others are history.\n")


class EscrowError(AnsibleError):
    """The escrow cannot be read or written; nothing was changed in it."""


class Escrow:
    """One escrow file. C(secrets) are the vault secrets that Ansible was started with."""

    def __init__(self, path: str, secrets: list[tuple[str, Any]] | None, encrypt_vault_id: str | None = None) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self._secrets = secrets or []
        self._encrypt_vault_id = encrypt_vault_id
        self.entries: list[dict[str, Any]] = []

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
        return next((entry["key"] for entry in self.entries if not entry.get("pending")), None)

    @property
    def pending(self) -> str | None:
        """One that a rotation is on its way to."""
        return next((entry["key"] for entry in self.entries if entry.get("pending")), None)

    def read(self) -> None:
        """Raises EscrowError where there is a file that is not a whole escrow, or that no vault secret opens."""
        self.entries = []
        try:
            with open(self.path, "rb") as stream:
                ciphertext = stream.read()
        except FileNotFoundError:
            if self.exists:
                raise self._error("is a symbolic link to nothing") from None
            return
        except OSError as error:
            raise self._error("cannot be read: %s" % reason(error)) from None
        if not self.usable:
            raise self._error("cannot be opened: Ansible was given no vault secret; add --vault-password-file, --vault-id or --ask-vault-pass")
        if not VaultLib.is_encrypted(ciphertext):
            raise self._error("is damaged: it is not encrypted by ansible-vault")
        try:
            text = VaultLib(self._secrets).decrypt(ciphertext).decode("utf-8")
        except (AnsibleError, UnicodeError, ValueError):
            raise self._error("cannot be opened: it is damaged, or was encrypted with another vault secret than Ansible was given") from None
        self.entries = self._entries_of(text)

    def _entries_of(self, text: str) -> list[dict[str, Any]]:
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError:
            content = None
        entries = content.get("keys") if isinstance(content, dict) and content.get("format") == FORMAT else None
        if not isinstance(entries, list) or not entries:
            raise self._error("is damaged: it opens, but what is inside is not an escrow")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("key"), str) or entry.get("fingerprint") != fingerprint(entry["key"]):
                raise self._error("is damaged: a key inside does not have the fingerprint that stands beside it")
        return entries

    def add(self, key: str, origin: Mapping[str, Any]) -> None:
        """Puts a key in force, keeps what was there as history, and has it all on disk when it returns. Call it under C(locked)."""
        self._save([_entry(key, origin), *(one for one in self.entries if one["key"] != key)])

    def stage(self, key: str, origin: Mapping[str, Any]) -> None:
        """Saves a key that is not in force yet, as C(add) does. Another one that no rotation took stays as history."""
        self._save([*_settled(self.entries), {**_entry(key, origin), "pending": True}])

    def unstage(self) -> None:
        """The rotation was given up. The key stays as history."""
        self._save(_settled(self.entries))

    def _save(self, entries: list[dict[str, Any]]) -> None:
        text = _HEAD + yaml.safe_dump({"format": FORMAT, "keys": entries}, sort_keys=False, allow_unicode=False)
        vault_id, secret = match_encrypt_secret(self._secrets, encrypt_vault_id=self._encrypt_vault_id)
        ciphertext = VaultLib(self._secrets).encrypt(text, secret, vault_id if vault_id != "default" else None)
        with self._words("written"):
            self._replace(ciphertext)
        self.entries = entries

    def _replace(self, ciphertext: bytes) -> None:
        target = os.path.realpath(self.path)
        directory = os.path.dirname(target)
        handle, draft = tempfile.mkstemp(prefix=".appwrite-escrow-", dir=directory)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(ciphertext)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this controller at a time. The directory is made where it is missing; the lock file does not stay."""
        path = os.path.realpath(self.path) + ".lock"
        with self._words("written"):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            handle = self._lock(path)
        try:
            yield
        finally:
            os.unlink(path)
            os.close(handle)

    def _lock(self, path: str) -> int:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_nlink:
                    return handle
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                    os.close(handle)
                    raise
            os.close(handle)
            if time.monotonic() > deadline:
                raise self._error("is locked: another run has been at it for %d seconds" % LOCK_TIMEOUT)
            time.sleep(0.1)

    def check_writable(self) -> None:
        """Tries what C(add) will have to do, before anything is done elsewhere that it must not be too late for."""
        with self._words("written"):
            handle, draft = tempfile.mkstemp(prefix=".appwrite-escrow-", dir=os.path.dirname(os.path.realpath(self.path)))
            os.close(handle)
            os.unlink(draft)

    @contextlib.contextmanager
    def _words(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error("cannot be %s: %s" % (what, reason(error))) from None

    def _error(self, text: str) -> EscrowError:
        return EscrowError("escrow_file: %s %s" % (self.path, text))


def _settled(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in entry.items() if name != "pending"} for entry in entries]


def _entry(key: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": key, "fingerprint": fingerprint(key), "saved": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **origin}
