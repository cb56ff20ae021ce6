#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: instance_info
short_description: Tell what is known of a self-hosted Appwrite
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Returns the release, the services, whether the installation holds data, the state of its encryption key, where the containers differ
    from the C(.env) file, where the services have their variables
    from, and the variables. Of a secret only a fingerprint is returned, and of a weak one its strength alone.
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.reads
seealso:
  - module: selfhost.appwrite.security
"""

EXAMPLES = r"""
---
- name: Describe the installation
  selfhost.appwrite.instance_info:
    project_src: /opt/appwrite
  register: appwrite

- name: Fail if the encryption key is public
  ansible.builtin.assert:
    that: appwrite.key.state not in ['placeholder', 'absent']
"""

RETURN = r"""
---
release:
  description: The release of Appwrite.
  type: str
  returned: success
  sample: 1.9.6
env_file:
  description: The path of the C(.env) file.
  type: str
  returned: success
  sample: /opt/appwrite/.env
project:
  description: The name of the compose project; empty if C(docker compose) is not installed.
  type: str
  returned: success
services:
  description: Each service of the project with its containers' state.
  type: dict
  returned: success
  sample: {"appwrite": "running (healthy)", "redis": "absent"}
holds_data:
  description: Whether anyone has signed up to the console yet, V(yes), V(no), or V(unknown).
  type: str
  returned: success
holds_data_reason:
  description: How that is known, or why not.
  type: str
  returned: success
key:
  description: What may be said of the encryption key in the C(.env) file.
  type: dict
  returned: success
  contains:
    state:
      description: V(present), V(placeholder) for the public default, or V(absent).
      type: str
    fingerprint:
      description: As RV(selfhost.appwrite.encryption_key#module:key.fingerprint), or V(none) if it is absent or weak.
      type: str
    effective_bits:
      description: As RV(selfhost.appwrite.encryption_key#module:key.effective_bits).
      type: int
container_keys:
  description:
    - The fingerprint of each encryption key that containers of the project were created with, and their services. Weak keys are told by their
      strength, in words, in place of a fingerprint.
  type: dict
  returned: success
  sample: {"0f1e2d3c4b5a6978": ["appwrite", "appwrite-worker-builds"]}
drift:
  description: As RV(selfhost.appwrite.apply#module:drift), but for V(not_passed), which is counted in RV(origins.unused).
  type: list
  elements: dict
  returned: success
origins:
  description: Where the services that run an Appwrite image, or are given its key, have their variables from.
  type: dict
  returned: success
  contains:
    by_name:
      description: How many variables come from the line of that name in the C(.env) file, in every service that takes them.
      type: int
    unused:
      description: How many variables of Appwrite in the C(.env) file no service takes. The installer writes some that this release does not read.
      type: int
    others:
      description: Name of every other variable to its origins, of which it has several if services differ.
      type: dict
      contains:
        kind:
          description:
            - V(env), the line of that name; V(other_name), the line RV(origins.others.name) of the C(.env) file.
            - V(env_file), a file that the service names in C(env_file); V(literal), the compose file itself.
            - V(expression), the compose file, together with other variables.
            - V(not_passed), the service runs an Appwrite image and is not given the encryption key.
          type: str
        name:
          description: The name of the line in the C(.env) file; empty if it is not from there.
          type: str
        file:
          description: The path of the file that gives the value, unless that is the C(.env) file or none does.
          type: str
        line:
          description: The number of the line in RV(origins.others.file), from 1; V(0) if it is not known.
          type: int
        services:
          description: Those that have it from there.
          type: list
          elements: str
  sample:
    by_name: 118
    unused: 26
    others:
      _APP_OPENSSL_KEY_V1:
        - {"kind": "other_name", "name": "APPWRITE_KEY", "file": "", "line": 0, "services": ["appwrite", "appwrite-worker-mails"]}
variables:
  description:
    - Name to effective value of each variable in the C(.env) file, as C(docker compose) reads it. A secret of Appwrite is shown as its fingerprint,
      and if it is weak as its strength; of a variable that Appwrite does not know only the strength of its value is shown.
  type: dict
  returned: success
  sample: {"_APP_ENV": "production", "_APP_OPENSSL_KEY_V1": "(secret, fingerprint 0f1e2d3c4b5a6978)", "MY_TOKEN": "(secret, about 95 bits)"}
warnings:
  description: What could not be found out, in words.
  type: list
  elements: str
  returned: when there are any
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils import _module
from ansible_collections.selfhost.appwrite.plugins.module_utils._instance_info import describe
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS


def main() -> None:
    _module.run(PROJECT_OPTIONS, describe)


if __name__ == "__main__":
    main()
