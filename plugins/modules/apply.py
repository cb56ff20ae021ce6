#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: apply
short_description: Apply the .env file of a self-hosted Appwrite and verify it in every container
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Runs C(docker compose up -d) if the configuration hashes, image ids and states say that it would change something, waits until every
    touched service is up and healthy, and compares the real environment of every container with the C(.env) file.
  - Also runs C(exec appwrite vars) and checks that what it prints agrees.
  - If HTTPS is newly forced, asks for C(_APP_DOMAIN) on the host itself, and fails if HTTPS redirects to itself for ever. What cannot be asked is no
    failure.
  - Services that an earlier run left starting are waited for too.
  - Fails with the name of the service and its last log lines if one does not come up.
  - If the installation holds data, containers are recreated with another encryption key than the one they run with only if that one opens a sample of
    what is stored and the running one does not; and a key that no container has run with, as after C(docker compose down), is started only after it has
    opened some. If the database does not run, it is started for that alone, and is left running. If it does not answer yet, it is waited for.
  - What only the public default opens counts for nothing if neither the file nor a container has that any more. A warning says how much it is.
  - A database that is no service of the project is asked in Appwrite's own container, or else in one with its client, as
    O(selfhost.appwrite.rekey#module:client_image) says, if that image is on the host. If neither can be, a key that no container has run with is started
    by hand.
options:
  verify:
    description:
      - Whether to fail if a container does not run on what the file says, or C(exec appwrite vars) does not agree, or if HTTPS that is newly forced
        redirects to itself for ever.
    type: bool
    default: true
  timeout:
    description:
      - How long to wait for C(docker compose up -d), for the database to answer, and then for the services to be up and healthy, in seconds each.
    type: int
    default: 300
  pull:
    description:
      - Which images C(docker compose up -d) pulls, as its own option C(--pull). V(policy) leaves it to the compose file.
      - V(always) runs it even if nothing seems to change.
    type: str
    choices: [policy, always, missing, never]
    default: policy
  rollback_file:
    description:
      - A backup of the C(.env) file, as RV(selfhost.appwrite.security#module:backup_file), which takes the place of the file before it is
        applied. The file as it was is kept as a backup of its own, see RV(backup_file).
      - A relative path starts at the directory of the connection, as with other modules, so name the whole path. In check mode the recreates are those that
        the present file asks for.
      - If the backup has another encryption key and data is stored, that key must open it; otherwise the one in the file stays. Nothing is
        done if neither opens it.
      - If nobody has signed up yet, a key that a container has, or may have, run with stays in the file.
    type: path
  backup_keep:
    description:
      - How many backups of the C(.env) file stay if O(rollback_file) makes one more. At least 1.
      - A backup that holds another encryption key than the file is never removed.
    type: int
    default: 10
  progress:
    description:
      - >-
        Whether to run in the background of the managed host and print what is done and which services are waited for, every 5 seconds or when that
        changes, such as C(appwrite.example.com: started 19 of 22, waiting for appwrite-worker-mails).
      - A play that is interrupted leaves the job at work, and the next run waits for that, at most for 5 minutes.
      - In check mode it makes no difference.
    type: bool
    default: false
  progress_file:
    description: As O(selfhost.appwrite.rekey#module:progress_file). With O(progress=true) the action names one itself.
    type: path
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.writes
seealso:
  - module: selfhost.appwrite.security
"""

EXAMPLES = r"""
---
- name: Recreate what changed and verify it
  selfhost.appwrite.apply:
    project_src: /opt/appwrite

- name: Put the earlier file back and apply it
  selfhost.appwrite.apply:
    project_src: /opt/appwrite
    rollback_file: /opt/appwrite/.env.20261124T030000Z.bak

- name: Start everything and report the progress
  selfhost.appwrite.apply:
    project_src: /opt/appwrite
    progress: true
"""

RETURN = r"""
---
recreated:
  description: Services whose containers were replaced, or would be in check mode.
  type: list
  elements: str
  returned: success
started:
  description: Services that had no running container, or too few.
  type: list
  elements: str
  returned: success
services:
  description: All services of the project.
  type: list
  elements: str
  returned: success
drift:
  description: Where the containers are not, or the compose file does not let them be, what the C(.env) file says.
  type: list
  elements: dict
  returned: success, and if a container does not run on the file
  contains:
    service:
      description: The service; empty if the kind is V(not_passed).
      type: str
    name:
      description: The name of the variable.
      type: str
    kind:
      description:
        - V(stale), the container is older than the file; V(overridden), a literal in the compose file or the shell beats the file;
          V(not_passed), the compose file passes the variable to no service.
      type: str
  sample:
    - service: ""
      name: _APP_USAGE_AGGREGATION_INTERVAL
      kind: not_passed
warnings:
  description: What C(docker compose) warned of, without secrets, and services that were not well before.
  type: list
  elements: str
  returned: when there are any
service:
  description: The service that the failure is about.
  type: str
  returned: failure of a single service
log:
  description: Its last log lines, without secrets.
  type: list
  elements: str
  returned: failure, if a service did not come up
backup_file:
  description: The copy of the file as it was before O(rollback_file) took its place, or V(none) if nothing was replaced.
  type: str
  returned: success
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils import _module
from ansible_collections.selfhost.appwrite.plugins.module_utils._apply import APPLY_OPTIONS, apply
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS


def main() -> None:
    _module.run({**PROJECT_OPTIONS, **APPLY_OPTIONS}, apply)


if __name__ == "__main__":
    main()
