#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: console_access
short_description: Limit who may sign up to the console of a self-hosted Appwrite
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Sets C(_APP_CONSOLE_WHITELIST_ROOT), C(_APP_CONSOLE_WHITELIST_EMAILS) and C(_APP_CONSOLE_WHITELIST_IPS) in the C(.env) file, the lists
    exactly as Appwrite splits and compares them, which is without spaces, in lower case, without duplicates and in a stable order.
  - Appwrite checks them when somebody signs up with a password, never at login, and requires all of them at once.
  - By magic URL, e-mail one-time password and OAuth only O(root_only) limits, and who is invited to a team passes every limit (run on 1.9.6).
  - Refuses entries that Appwrite could never match, and warns if the settings together do not do what they look like.
options:
  root_only:
    description:
      - Whether only one console account can ever sign up. To admit several people by their address this must be V(false).
      - V(auto) is V(true), unless C(.env) has C(_APP_CONSOLE_WHITELIST_ROOT=disabled) together with a list of e-mail or IP addresses. That is
        left as it is, with a warning.
      - Left as it is if not given.
    type: str
    choices: [auto, 'true', 'false']
  emails:
    description:
      - E-mail addresses that may sign up. Whole addresses; from Appwrite 2.0.0 on also C(*@) and a domain, for the addresses of exactly that domain.
      - Any other wildcard is refused, since Appwrite ignores it without a word, and before 2.0.0 it knows none.
      - Left as they are if not given; an empty list clears them.
    type: list
    elements: str
  ips:
    description:
      - IP addresses from which people may sign up. Single addresses; Appwrite knows no CIDR. An IPv6 address is written in its canonical form. A client's
        address is the leftmost of C(X-Forwarded-For), compared as text.
      - Left as they are if not given; an empty list clears them.
    type: list
    elements: str
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.writing
  - selfhost.appwrite.project.writes
seealso:
  - module: selfhost.appwrite.security
"""

EXAMPLES = r"""
---
- name: Let only the first account sign up
  selfhost.appwrite.console_access:
    project_src: /opt/appwrite
    root_only: true

- name: Let two people sign up and nobody else
  selfhost.appwrite.console_access:
    project_src: /opt/appwrite
    root_only: false
    emails:
      - ada@example.com
      - grace@example.com
    ips: []
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
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils._module import run
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import console_access
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import WRITING_OPTIONS, write_one


def main() -> None:
    run({**WRITING_OPTIONS, **console_access.OPTIONS}, write_one(console_access))


if __name__ == "__main__":
    main()
