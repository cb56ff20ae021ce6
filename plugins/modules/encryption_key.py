#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: encryption_key
short_description: Set the encryption key of a self-hosted Appwrite when it is absent
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Sets C(_APP_OPENSSL_KEY_V1) in the C(.env) file of a self-hosted Appwrite when it is absent, and never changes one that is there.
    A changed key makes every stored password, OAuth secret and API key unreadable.
  - Absent is a missing line, a commented line, an empty value, a name alone on its line, and the public placeholder V(your-secret-key)
    that Appwrite's 1.9 command-line installer leaves.
  - A new key is made only if the installation provably holds no data. It holds none if docker is not installed, if the database
    has no volume, or if the database itself, asked in its own container, knows no console account yet. A database that is no service of the project
    is asked from inside the running container of Appwrite's API, or from one with its client.
  - An absent key that a container of the same project still has is recovered from there.
  - If the installation holds data, a key is set only after it has opened a sample of what is stored. That is read from the database in its own
    container, which has to run, and opened by the Python package C(cryptography) on the host, or else by the PHP of Appwrite's image, in a container
    without network. A database that is no service of the project is read from a container with its client, as
    O(selfhost.appwrite.rekey#module:client_image) says, if that image is on the host.
options:
  key:
    description:
      - The key to use when none is set, for example a lost one from a safe. If the installation holds data, it must open what is stored.
      - Refused if it is empty, a known placeholder, not expressible in a C(.env) file, or not the key that is set. If nothing is stored yet, also if it is
        shorter than 16 bytes.
    type: raw
  length:
    description:
      - The number of characters of a generated key, from V(32) to V(256). They are drawn from C([A-Za-z0-9]).
      - AES-128 takes the first 16 of them, which hold 95 bits; the signatures of tokens use them all.
    type: int
    default: 64
  placeholder:
    description:
      - What to do if the public placeholder is set.
      - V(replace_if_unused) replaces it if the installation provably holds no data, keeps it with a warning if it holds some,
        and refuses if that cannot be found out. If it cannot be found out because the database is no service of the project and Appwrite does not run,
        it keeps it with a warning, so that everything else is secured; start Appwrite and run again.
      - V(keep) keeps it with a warning.
    type: str
    choices: [replace_if_unused, keep]
    default: replace_if_unused
  escrowed:
    description:
      - The key that was saved for this installation, as M(selfhost.appwrite.security) does. It is put back if the key is absent.
      - Refused if another key is set. The message says which of the two opens what is stored.
    type: str
  pending:
    description:
      - The key to which a rotation is on its way, as M(selfhost.appwrite.security) finds it in the escrow file.
      - If it is the one that is set, the rotation is ending; if it opens some of what is stored, the rotation is unfinished, whatever the C(.env) file says.
        The run stops and says so. It also stops if the database does not answer.
    type: str
    version_added: 1.0.0
  candidates:
    description:
      - Further keys that may open what is stored, as M(selfhost.appwrite.security) finds them in the escrow file as its history.
      - None of them is ever set. If the key that would be set does not open what is stored, the message says which of these does.
    type: list
    elements: str
    version_added: 1.0.0
  seal:
    description:
      - A random password of at least 32 characters, used for this task alone, with which the key is returned in RV(key.sealed).
        P(selfhost.appwrite.unseal#filter) opens it, so that the key can be saved elsewhere without being printed or logged.
    type: str
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.writing
  - selfhost.appwrite.project.writes
seealso:
  - module: selfhost.appwrite.security
  - module: selfhost.appwrite.apply
"""

EXAMPLES = r"""
---
- name: Set a unique encryption key right after installation
  selfhost.appwrite.encryption_key:
    project_src: /opt/appwrite

- name: Give a second host the key of the first
  selfhost.appwrite.encryption_key:
    project_src: /opt/appwrite
    key: "{{ vault_appwrite_encryption_key }}"
"""

RETURN = r"""
---
env_file:
  description: The file that was looked at, and changed if RV(ignore:changed) is true.
  type: str
  returned: success
  sample: /opt/appwrite/.env
backup_file:
  description: The copy of the file as it was before, or V(none) if nothing was changed or no backup was asked for.
  type: str
  returned: success
  sample: /opt/appwrite/.env.20261124T030000Z.bak
changes:
  description: Each variable whose effective value changes, as C(docker compose) reads the file. A secret is shown as its fingerprint or strength.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the variable.
      type: str
    before:
      description: The value before, or V(none) if the variable was not set.
      type: str
    after:
      description: The value after, or V(none) if the variable is not set any more.
      type: str
  sample:
    - name: _APP_OPTIONS_FORCE_HTTPS
      before: disabled
      after: enabled
project:
  description: The name of the compose project; empty if C(docker compose) is not installed.
  type: str
  returned: success
release:
  description: The release of Appwrite.
  type: str
  returned: success
  sample: 1.9.6
recreates:
  description:
    - The services whose containers C(docker compose up -d) recreates if the file is changed so, those that follow another one among them. Empty if nothing
      is changed.
    - If no engine answers, the services that would receive other values than before.
  type: list
  elements: str
  returned: success, if C(docker compose) is installed
  sample: [appwrite, appwrite-worker-builds]
warnings:
  description: What does not do what it looks like, in words.
  type: list
  elements: str
  returned: when there are any
key:
  description: What may be said of the encryption key.
  type: dict
  returned: success
  contains:
    state:
      description:
        - V(kept), it was there and is untouched; V(generated); V(supplied), it was passed; V(recovered), it was absent from the file and
          taken from the project's own containers; V(restored), it was absent and put back from the escrow; V(placeholder_replaced), the
          public default was there and nobody had used the installation; V(placeholder_kept), the public default is there and stays.
      type: str
    fingerprint:
      description:
        - 16 hexadecimal digits that are the same for the same key, and slow to guess the key from; V(none) of a weak key, and in check mode
          of one that would be generated.
      type: str
    effective_bits:
      description: The strength in bits that AES-128 gets, which takes only the first 16 bytes of the key. 0 for a public default.
      type: int
    sealed:
      description: The key itself, sealed with the password that was passed.
      type: str
      returned: when O(seal) was passed
  sample:
    state: generated
    fingerprint: 0f1e2d3c4b5a6978
    effective_bits: 95
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils._module import run
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.opening import opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import encryption_key
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import WRITING_OPTIONS, write_one


def main() -> None:
    run({**WRITING_OPTIONS, **encryption_key.OPTIONS}, write_one(encryption_key, opening))


if __name__ == "__main__":
    main()
