#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: role_settings
short_description: Check a role's variables on the controller, before the managed host is asked anything
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Refuses every variable that begins with the name of a role of this collection, or with C(appwrite_project_),
    and is none of these roles', and names the nearest one. A
    misspelled variable would otherwise be ignored. Refuses what the role's argument specification does not allow, so that a playbook
    can import the role with C(rolespec_validate=false) and save a task for each host. All that is wrong with the variables is in one message.
  - Facts outrank the defaults of roles and the inventory, and a managed host can return any fact with any module's result. A host that
    somebody took over could so name a file, a task file, or a severity on the controller.
  - The roles of this collection run this first, and use what it returns from then on. A registered result outranks facts.
  - Fails if a fact of the host has the name of a variable of these roles, or of a variable that O(names) or the place of the escrow file
    are made from. With C(inject_facts_as_vars = False) in C(ansible.cfg) no fact takes a variable's place, and only what is made from
    C(ansible_facts) is refused.
  - Finds the files that the operator names by a relative path. A template, a file with tasks and a file with waivers are looked for in the
    directory of the playbook and of the inventory, each time first in the folder of its kind there (C(templates), C(tasks), C(files)), and in
    the roles that this role was called from. An escrow file and the directory of reports are beside the inventory. For hosts that are named on
    the command line alone, the current directory stands for that of the inventory.
  - Says which escrow file is the host's. One by default is named after the host or cluster and the project directory, so that no two
    installations share one. A file with the name of an earlier release of this collection is renamed if it belongs to this host.
  - For C(appwrite_audit) it reads the waivers and the escrow file. For C(appwrite_rotation) it refuses a host or cluster that was not confirmed,
    unless in check mode. Hosts that share one database must all be in the same batch of the play, with the strategy C(linear) and without C(run_once), and
    cannot have only their tokens rotated.
options:
  role:
    description: The role whose variables they are.
    type: str
    choices: [appwrite_audit, appwrite_rotation, appwrite_security]
    required: true
  names:
    description: Variables that name something on the controller, without the role's name in front.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode, and then renames no file.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: N/A
  idempotent:
    description: Changes nothing when run again.
    support: full
seealso:
  - module: selfhost.appwrite.security
"""

EXAMPLES = r"""
---
- name: Check the variables of the role
  selfhost.appwrite.role_settings:
    role: appwrite_security
    names: [env_template]
  vars:
    appwrite_security_project_src: /opt/appwrite
  register: settled
"""

RETURN = r"""
---
settings:
  description: The value of each of O(names), or V(none) if it is not set. That of a file or directory is its whole path.
  type: dict
  returned: success
project:
  description:
    - How the project is started, by the names of the modules' options, from C(appwrite_project_env_file), C(appwrite_project_files),
      C(appwrite_project_name), C(appwrite_project_profiles), C(appwrite_project_version) and C(appwrite_project_clean_environment), or else from
      the C(module_defaults) of this collection's action group. Those that are not set are left out.
  type: dict
  returned: success
  sample: {"files": ["docker-compose.yml", "docker-compose.prod.yml"]}
escrow:
  description: The escrow file, and whose key it holds.
  type: dict
  returned: success
  contains:
    file:
      description: Its path on the controller.
      type: str
    host:
      description: The host's name in the inventory.
      type: str
    cluster:
      description: The cluster that the host belongs to; V(none) if it belongs to none.
      type: str
    project_src:
      description: The project directory on the managed host, from the role's own variable or from C(appwrite_project_src).
      type: str
    state:
      description: For C(appwrite_audit) what P(selfhost.appwrite.escrow_state#lookup) returns for the file.
      type: dict
members:
  description:
    - For C(appwrite_rotation) the hosts whose C(appwrite_security_cluster) is the same, in the order of the inventory. The first one conducts the
      rotation. Without a cluster, and for the other roles, the host alone.
  type: list
  elements: str
  returned: success
waivers:
  description: Those of the file with waivers that are for the host; empty if there is no such file.
  type: list
  elements: dict
  returned: success
"""
