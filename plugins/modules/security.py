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
  - With O(escrow_file) it saves the encryption key on the controller first. A key that is generated, supplied, recovered or found is in the
    escrow file before the C(.env) file holds it and before any container is started with it. An absent key is put back from the escrow.
    If the escrow and the host disagree, nothing is changed.
  - A refusal anywhere leaves every byte as it was.
  - With O(apply), the containers are brought to what the file says in the same round trip, and verified, as by M(selfhost.appwrite.apply). If that
    fails, the earlier file is put back and applied. Without it, nothing is applied to running containers.
options:
  escrow:
    description:
      - V(auto) saves the key if O(escrow_file) is given and Ansible was given a vault secret, and warns if there is a file to save it in but no
        vault secret.
      - V(required) fails if one of the two is missing, before anything is changed.
      - V(off) saves no key, even with O(escrow_file).
      - An escrow file that is there and cannot be opened is always an error, except with V(off).
    type: str
    choices: [auto, required, 'off']
    default: auto
  escrow_file:
    description:
      - The escrow file on the controller. Its directory is made if it is missing. Without this option no key is saved.
      - The file is encrypted by ansible-vault with a vault secret that Ansible was started with, so C(ansible-vault view) opens it. It is
        never on disk in clear, is replaced in one step, and keeps older keys as history.
      - One installation has one file. It says which host, or O(cluster), and which project it is for, and is refused for any other.
      - In an inventory that is a directory, name a hidden one, which Ansible does not read as hosts.
    type: path
  cluster:
    description:
      - The name of a group of hosts that share one database and so one encryption key, and that are given the same O(escrow_file).
      - The first host's key goes to all; a host with another key is refused. Needs an escrow, or O(encryption_key) with a key.
    type: str
  encryption_key:
    description:
      - The options of M(selfhost.appwrite.encryption_key). V({}) uses its defaults, and so does an escrow if this is not given; without an
        escrow the key is left alone then.
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
        version_added: 1.0.0
      candidates:
        description: See O(selfhost.appwrite.encryption_key#module:candidates).
        type: list
        elements: str
        version_added: 1.0.0
      seal:
        description: See O(selfhost.appwrite.encryption_key#module:seal).
        type: str
  https:
    description:
      - The options of M(selfhost.appwrite.https). V({}) applies the defaults; if omitted, these settings are not changed.
    type: dict
    suboptions:
      force:
        description: See O(selfhost.appwrite.https#module:force).
        type: str
        choices: [auto, 'true', 'false']
        default: 'true'
      force_router:
        description: See O(selfhost.appwrite.https#module:force_router).
        type: str
        choices: [auto, 'true', 'false']
      certificate_email:
        description: See O(selfhost.appwrite.https#module:certificate_email).
        type: str
  console_access:
    description:
      - The options of M(selfhost.appwrite.console_access). Left alone if not given.
    type: dict
    suboptions:
      root_only:
        description: See O(selfhost.appwrite.console_access#module:root_only).
        type: str
        choices: [auto, 'true', 'false']
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
      - The options of M(selfhost.appwrite.env). Left alone if not given.
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
  apply:
    description:
      - Whether the containers are recreated that receive other values, waited for, and verified.
      - In check mode, RV(recreated) says which would be.
    type: bool
    default: false
  verify:
    description: With O(apply), see O(selfhost.appwrite.apply#module:verify).
    type: bool
    default: true
  timeout:
    description: With O(apply), see O(selfhost.appwrite.apply#module:timeout). In seconds.
    type: int
    default: 300
  rollback:
    description:
      - With O(apply), whether the earlier file is put back and applied if a container does not come up or is not on what the file says. The task fails
        in any case. See O(selfhost.appwrite.apply#module:rollback_file) for what becomes of a new key then.
    type: bool
    default: true
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.writing
  - selfhost.appwrite.project.writes
seealso:
  - module: selfhost.appwrite.apply
  - plugin: selfhost.appwrite.escrowed_key
    plugin_type: lookup
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

- name: Secure the installation, recreate what changed, and go back if that fails
  selfhost.appwrite.security:
    project_src: /opt/appwrite
    encryption_key: {}
    https:
      certificate_email: admin@example.com
    console_access:
      root_only: true
    apply: true

- name: Secure the installation only if its key can be kept in escrow
  selfhost.appwrite.security:
    project_src: /opt/appwrite
    https:
      certificate_email: admin@example.com
    escrow: required
    escrow_file: "{{ inventory_dir }}/.appwrite-escrow/shop.yml"
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
recreated:
  description: As RV(selfhost.appwrite.apply#module:recreated).
  type: list
  elements: str
  returned: success, with O(apply)
started:
  description: As RV(selfhost.appwrite.apply#module:started).
  type: list
  elements: str
  returned: success, with O(apply), and not if a check would look for a key that is not in the file yet
services:
  description: As RV(selfhost.appwrite.apply#module:services).
  type: list
  elements: str
  returned: as RV(started)
drift:
  description: As RV(selfhost.appwrite.apply#module:drift).
  type: list
  elements: dict
  returned: as RV(started), but not in check mode if the file would change; and if a container does not run on the file
rolled_back:
  description: Whether the earlier file was put back and applied.
  type: bool
  returned: failure, with O(apply), if the file was written or was right already and something did not come up
warnings:
  description: What does not do what it looks like, in words.
  type: list
  elements: str
  returned: when there are any
escrow:
  description: What became of the escrow file.
  type: dict
  returned: success, with O(escrow_file) unless O(escrow=off)
  contains:
    state:
      description:
        - V(kept), it held the key already; V(written), the key was saved in it; V(none), there is no vault secret to save it with, or
          only the public default to be saved.
      type: str
    file:
      description: The path of the file on the controller.
      type: str
  sample:
    state: written
    file: /home/ada/servers/.appwrite-escrow/appwrite.example.com.yml
key:
  description: What may be said of the encryption key.
  type: dict
  returned: success, with O(encryption_key) or an escrow
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
      returned: when O(encryption_key.seal) was passed
  sample:
    state: generated
    fingerprint: 0f1e2d3c4b5a6978
    effective_bits: 95
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils._module import run
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import ESCROW_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._secured import NESTED_OPTIONS, SECURED_OPTIONS, secure
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import WRITING_OPTIONS


def main() -> None:
    run({**WRITING_OPTIONS, **NESTED_OPTIONS, **ESCROW_OPTIONS, **SECURED_OPTIONS}, secure)


if __name__ == "__main__":
    main()
