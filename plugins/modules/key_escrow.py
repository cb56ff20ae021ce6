#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: key_escrow
short_description: Secure the .env file and keep its encryption key in an escrow file on the controller
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Takes every option of M(selfhost.appwrite.security) and does what it does, but saves the encryption key on the controller first.
    A key that is generated, supplied, recovered or found is in the escrow file before the C(.env) file holds it and before any container
    is started with it.
  - An absent key is put back from the escrow. Where the escrow and the host disagree, nothing is changed.
  - The file is encrypted by ansible-vault with a vault secret that Ansible was started with, so C(ansible-vault view) opens it. It is
    never on disk in clear, is replaced in one step, and keeps older keys as history.
  - Defaults of the action group reach it, defaults of M(selfhost.appwrite.security) alone do not.
options:
  escrow:
    description:
      - V(auto) saves the key where Ansible was given a vault secret, and warns where it was not.
      - V(required) fails there before anything is changed.
      - V(off) is M(selfhost.appwrite.security) alone.
      - An escrow file that is there and cannot be opened is always an error.
    type: str
    choices: [auto, required, 'off']
    default: auto
  escrow_file:
    description:
      - The escrow file on the controller. Its directory is made where it is missing. Needed unless O(escrow=off).
      - One installation has one file. It says which host, or O(cluster), and which project it is for, and is refused for any other.
      - In an inventory that is a directory, name a hidden one, which Ansible does not read as hosts.
    type: path
  cluster:
    description:
      - The name of a group of hosts that share one database and so one encryption key, and that are given the same O(escrow_file).
      - The first host's key goes to all; a host with another key is refused. Needs an escrow, or O(encryption_key) with a key.
    type: str
  encryption_key:
    description: See O(selfhost.appwrite.security#module:encryption_key).
    type: dict
  https:
    description: See O(selfhost.appwrite.security#module:https).
    type: dict
  console_access:
    description: See O(selfhost.appwrite.security#module:console_access).
    type: dict
  env:
    description: See O(selfhost.appwrite.security#module:env).
    type: dict
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.writing
  - selfhost.appwrite.project.writes
seealso:
  - module: selfhost.appwrite.security
  - plugin: selfhost.appwrite.escrowed_key
    plugin_type: lookup
"""

EXAMPLES = r"""
---
- name: Secure the installation, but not without a copy of its key
  selfhost.appwrite.key_escrow:
    project_src: /opt/appwrite
    https:
      certificate_email: admin@example.com
    escrow: required
    escrow_file: "{{ inventory_dir }}/.appwrite-escrow/shop.yml"
"""

RETURN = r"""
---
escrow:
  description: What became of the escrow file. The other values are those of M(selfhost.appwrite.security).
  type: dict
  returned: success, unless O(escrow=off)
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
backup_file:
  description: See RV(selfhost.appwrite.security#module:backup_file).
  type: str
  returned: success
key:
  description: See RV(selfhost.appwrite.security#module:key).
  type: dict
  returned: success
"""
