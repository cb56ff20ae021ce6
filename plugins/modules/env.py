#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: env
short_description: Set any variables of a self-hosted Appwrite, checked against the catalogue of its release
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Sets variables in the C(.env) file one by one, or hands in the whole file as a rendered template, or both.
  - Each name is checked against the catalogue of the installed release, each value against the kind of its variable.
  - Only the bytes of the assignments that change are touched, and the values are written so that C(docker compose) reads back exactly them.
  - What a change in the file alone would break on an installation that holds data is refused. Those are the encryption key and the
    credentials and the address of the database.
options:
  variables:
    description:
      - Names and values. V(null) removes a variable.
      - If C(_APP_USAGE_PASS) is among them (Appwrite 2.4.0), the two connection strings that repeat it are set, too, and a warning says so.
    type: dict
    default: {}
  content:
    description:
      - The whole file, for example a rendered template. O(variables) are set in it.
      - It never removes or changes the encryption key, nor the credentials of the database of an installation that holds data.
    type: str
  unknown:
    description:
      - What to do with a name that no release of Appwrite knows.
    type: str
    choices: [fail, warn, allow]
    default: fail
  create:
    description:
      - Whether to write a whole file if there is none, with every variable of the release, its default, and secrets of its own instead
        of the public defaults. The encryption key is left to M(selfhost.appwrite.encryption_key).
      - Refused if the installation was started before, since a new file would not fit its database.
    type: bool
    default: false
  replace_default_secrets:
    description:
      - Whether to replace the public defaults of secrets that may be changed, such as C(_APP_EXECUTOR_SECRET), by random ones of
        32 characters. Those of the database and ClickHouse are only replaced before these were first started, and those of webhooks
        before a provider of repositories is connected. A secret is left, with a warning, if a service would keep the old one.
    type: bool
    default: false
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
- name: Set the public name and the mail server
  selfhost.appwrite.env:
    project_src: /opt/appwrite
    variables:
      _APP_DOMAIN: appwrite.example.com
      _APP_SMTP_HOST: mail.example.com
      _APP_SMTP_PORT: "587"
      _APP_SMTP_SECURE: tls
      _APP_SMTP_PASSWORD: "{{ vault_smtp_password }}"

- name: Render the whole file from a template and keep the encryption key
  selfhost.appwrite.env:
    project_src: /opt/appwrite
    content: "{{ lookup('ansible.builtin.template', 'appwrite.env.j2') }}"
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
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import WRITING_OPTIONS, write_one


def main() -> None:
    run({**WRITING_OPTIONS, **variables.OPTIONS}, write_one(variables))


if __name__ == "__main__":
    main()
