#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: stored_info
short_description: Tell whether an encryption key opens what a self-hosted Appwrite has stored
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Compares a key with the one in C(.env) and in every container, and opens stored values and files with it. It changes nothing; on MariaDB and PostgreSQL
    its sessions cannot write.
  - Whatever could not be looked at is not proved, and RV(verdict) says why. It fails if there is no key to try, if C(docker compose) is missing or rejects the
    project, or if O(container) cannot be looked at.
options:
  key:
    description: The key to try. Defaults to the one in O(escrow_file), or without that to the one in C(.env).
    type: str
  escrow_file:
    description: An escrow file on the controller, as M(selfhost.appwrite.security) writes it, from which the key is read.
    type: path
  cluster:
    description: The cluster that the host belongs to, as O(selfhost.appwrite.security#module:cluster), if the escrow file is a cluster's.
    type: str
  data:
    description: Whether to open what is stored. With V(false), the key is only compared.
    type: bool
    default: true
  sample:
    description: About how many rows of each table to open; V(0) for all.
    type: int
    default: 1000
  container:
    description:
      - The name of another container whose database to look at, such as a replica or a restored dump. Files are left out then.
    type: str
  client_image:
    description: As O(selfhost.appwrite.rekey#module:client_image).
    type: str
  progress_file:
    description: As O(selfhost.appwrite.rekey#module:progress_file).
    type: path
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.reads
requirements:
  - cryptography on the managed host (Debian's C(python3-cryptography)); without it the PHP of Appwrite's image opens a sample of the values, and no file
  - boto3 on the managed host (Debian's C(python3-boto3)), if files are in an object store; without it they are left out
seealso:
  - module: selfhost.appwrite.rekey
"""

EXAMPLES = r"""
---
- name: Check whether the key opens what is stored
  selfhost.appwrite.stored_info:
    project_src: /opt/appwrite
  register: stored

- name: Fail if the key does not open what is stored
  ansible.builtin.assert:
    that: stored.opens
    fail_msg: "{{ stored.verdict }}"
"""

RETURN = r"""
---
proved:
  description:
    - Whether the key is the one in C(.env) and in every container, and opens what is stored. If nobody has signed up, nothing is stored, and nothing has to
      open.
  type: bool
  returned: success
verdict:
  description: The same in words, with the fingerprint of the key.
  type: str
  returned: success
tried:
  description: Whether what is stored could be looked at, or nothing is stored.
  type: bool
  returned: success
opens:
  description: Whether the key opens everything that was looked at, and there was something to open.
  type: bool
  returned: success
report:
  description: As RV(selfhost.appwrite.rekey#module:report), if C(old) is what the key opens. Null if nothing was opened, or PHP did it.
  type: dict
  returned: success
key:
  description: What may be said of the key.
  type: dict
  returned: success
  contains:
    fingerprint:
      description: As RV(selfhost.appwrite.encryption_key#module:key.fingerprint).
      type: str
    public:
      description: Whether it is a public default.
      type: bool
warnings:
  description: What could not be found out, in words.
  type: list
  elements: str
  returned: when there are any
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils._module import run
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stored_info import (
    STORED_INFO_OPTIONS,
    stored_info,
)


def main() -> None:
    run(STORED_INFO_OPTIONS, stored_info)


if __name__ == "__main__":
    main()
