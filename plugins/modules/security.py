#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: security
short_description: Secure the .env file of a self-hosted Appwrite in one transaction
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Sets the encryption key when it is absent, forces HTTPS, limits who may sign up to the console, and sets further variables,
    with one lock, one backup, one difference and one replacement of the C(.env) file.
  - A refusal anywhere leaves every byte as it was.
  - Nothing is applied to running containers; see M(selfhost.appwrite.apply).
options:
  encryption_key:
    description:
      - The options of M(selfhost.appwrite.encryption_key). V({}) uses its defaults; left alone where not given.
    type: dict
    suboptions:
      key:
        description: See O(selfhost.appwrite.encryption_key#module:key).
        type: raw
      length:
        description: See O(selfhost.appwrite.encryption_key#module:length).
        type: int
        default: 64
      placeholder:
        description: See O(selfhost.appwrite.encryption_key#module:placeholder).
        type: str
        choices: [replace_if_unused, keep]
        default: replace_if_unused
      escrowed:
        description: See O(selfhost.appwrite.encryption_key#module:escrowed).
        type: str
      pending:
        description: See O(selfhost.appwrite.encryption_key#module:pending).
        type: str
        version_added: 1.1.0
      candidates:
        description: See O(selfhost.appwrite.encryption_key#module:candidates).
        type: list
        elements: str
        version_added: 1.1.0
      seal:
        description: See O(selfhost.appwrite.encryption_key#module:seal).
        type: str
  https:
    description:
      - The options of M(selfhost.appwrite.https). V({}) uses its defaults; left alone where not given.
    type: dict
    suboptions:
      force:
        description: See O(selfhost.appwrite.https#module:force).
        type: bool
        default: true
      force_router:
        description: See O(selfhost.appwrite.https#module:force_router).
        type: bool
      certificate_email:
        description: See O(selfhost.appwrite.https#module:certificate_email).
        type: str
  console_access:
    description:
      - The options of M(selfhost.appwrite.console_access). Left alone where not given.
    type: dict
    suboptions:
      root_only:
        description: See O(selfhost.appwrite.console_access#module:root_only).
        type: bool
      emails:
        description: See O(selfhost.appwrite.console_access#module:emails).
        type: list
        elements: str
      ips:
        description: See O(selfhost.appwrite.console_access#module:ips).
        type: list
        elements: str
  env:
    description:
      - The options of M(selfhost.appwrite.env). Left alone where not given.
    type: dict
    suboptions:
      variables:
        description: See O(selfhost.appwrite.env#module:variables).
        type: dict
        default: {}
      content:
        description: See O(selfhost.appwrite.env#module:content).
        type: str
      unknown:
        description: See O(selfhost.appwrite.env#module:unknown).
        type: str
        choices: [fail, warn, allow]
        default: fail
      create:
        description: See O(selfhost.appwrite.env#module:create).
        type: bool
        default: false
      replace_default_secrets:
        description: See O(selfhost.appwrite.env#module:replace_default_secrets).
        type: bool
        default: false
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.writing
  - selfhost.appwrite.project.writes
seealso:
  - module: selfhost.appwrite.apply
  - module: selfhost.appwrite.encryption_key
  - module: selfhost.appwrite.https
  - module: selfhost.appwrite.console_access
  - module: selfhost.appwrite.env
"""

EXAMPLES = r"""
---
- name: Secure the installation
  selfhost.appwrite.security:
    project_src: /opt/appwrite
    encryption_key: {}
    https:
      certificate_email: admin@example.com
    console_access:
      root_only: true
    env:
      variables:
        _APP_DOMAIN: appwrite.example.com
"""

RETURN = r"""
---
env_file:
  description: The file that was looked at, and changed where RV(ignore:changed) is true.
  type: str
  returned: success
  sample: /opt/appwrite/.env
backup_file:
  description: The copy of the file as it was before, or V(none) where nothing was changed or no backup was asked for.
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
      description: The value before, or V(none) where the variable was not set.
      type: str
    after:
      description: The value after, or V(none) where the variable is not set any more.
      type: str
  sample:
    - name: _APP_OPTIONS_FORCE_HTTPS
      before: disabled
      after: enabled
project:
  description: The name of the compose project; empty where C(docker compose) is not installed.
  type: str
  returned: success
release:
  description: The release of Appwrite.
  type: str
  returned: success
  sample: 1.9.6
recreates:
  description: The services that receive other values than before, and which the next C(docker compose up -d) recreates.
  type: list
  elements: str
  returned: success, where C(docker compose) is installed
  sample: [appwrite, appwrite-worker-builds]
warnings:
  description: What does not do what it looks like, in words.
  type: list
  elements: str
  returned: when there are any
key:
  description: What may be said of the encryption key.
  type: dict
  returned: success, where O(encryption_key) was given
  contains:
    state:
      description:
        - V(kept), it was there and is untouched; V(generated); V(supplied), it was passed; V(recovered), it was absent from the file and
          taken from the project's own containers; V(restored), it was absent and put back from the escrow; V(placeholder_replaced), the
          public default was there and nobody had used the installation; V(placeholder_kept), the public default is there and stays.
      type: str
    fingerprint:
      description: 16 hexadecimal digits that are the same for the same key, and slow to guess the key from; V(none) of a weak key.
      type: str
    effective_bits:
      description: The strength in bits that AES-128 gets, which takes only the first 16 bytes of the key. 0 for a public default.
      type: int
    sealed:
      description: The key itself, sealed with the password that was passed.
      type: str
      returned: where seal was passed
  sample:
    state: generated
    fingerprint: 0f1e2d3c4b5a6978
    effective_bits: 95
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils._module import run
from ansible_collections.selfhost.appwrite.plugins.module_utils._transaction import NESTED_OPTIONS, WRITING_OPTIONS, write_all


def main() -> None:
    run({**WRITING_OPTIONS, **NESTED_OPTIONS}, write_all)


if __name__ == "__main__":
    main()
