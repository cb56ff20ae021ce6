#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: audit_info
short_description: Audit the security of a self-hosted Appwrite
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Looks at the C(.env) file and its copies, at what C(docker compose) makes of the project, at every container, from inside the container
    C(appwrite), at a database and a Redis outside the project, and at what answers under its domain, and says of each control
    whether it passes, with evidence and remedy.
  - Changes nothing. If something cannot be looked at, the controls that need it are V(unknown), which never counts as passed; so a host
    without docker, or with half an installation, gives findings. Only a directory that does not exist is an error.
  - No secret is in a finding. Evidence holds nothing that changes by itself, so that an unchanged installation gives the same findings.
  - The role P(selfhost.appwrite.appwrite_audit#role) runs it on many hosts and writes the reports.
options:
  endpoint:
    description: Where the installation is asked over the network. Unset, what C(_APP_DOMAIN) resolves to on the managed host.
    type: dict
    default: {}
    suboptions:
      host:
        description:
          - An address to connect to instead, for example V(127.0.0.1) if the managed host cannot reach its own public address.
          - The name that is asked for, and that the certificate has to be for, stays C(_APP_DOMAIN).
        type: str
      http_port:
        description: The port of HTTP.
        type: int
        default: 80
      https_port:
        description: The port of HTTPS.
        type: int
        default: 443
  escrow:
    description:
      - What the controller knows of the escrowed encryption key, as P(selfhost.appwrite.escrow_state#lookup) returns it. Unset, the control
        about it is V(unknown).
    type: dict
    suboptions:
      fingerprint:
        description: As RV(selfhost.appwrite.encryption_key#module:key.fingerprint), of the key in the escrow; unset if it holds none.
        type: str
      proved:
        description: The day on which the controller last opened the escrow, as C(YYYY-MM-DD). A proof holds for 90 days.
        type: str
      unseen:
        description: Why the controller could not look into the escrow.
        type: str
  waivers:
    description:
      - Findings to live with. One that a waiver is for is V(waived) instead of V(fail) or V(unknown), and shown with its justification.
    type: list
    elements: dict
    default: []
    suboptions:
      control:
        description: The finding's RV(findings[].id).
        type: str
        required: true
      justification:
        description: Why, in words.
        type: str
        required: true
      expires:
        description: The last day on which the waiver holds, as C(YYYY-MM-DD).
        type: str
        required: true
  third_parties:
    description:
      - Other auditors to run on the managed host if they are installed, and whose findings to return too, C(lynis) for the host and
        C(testssl) for the TLS endpoint.
    type: list
    elements: str
    choices: [lynis, testssl]
    default: []
  third_party_timeout:
    description: Seconds after which another auditor is stopped. Its finding is then V(unknown).
    type: int
    default: 300
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
  - selfhost.appwrite.project.reads
seealso:
  - module: selfhost.appwrite.security
  - module: selfhost.appwrite.instance_info
"""

EXAMPLES = r"""
---
- name: Audit the installation
  selfhost.appwrite.audit_info:
    project_src: /opt/appwrite
    endpoint:
      host: 127.0.0.1
  register: appwrite

- name: Fail if a critical control fails
  ansible.builtin.assert:
    that: appwrite.findings | selectattr('status', 'eq', 'fail') | selectattr('severity', 'eq', 'critical') | length == 0
"""

RETURN = r"""
---
release:
  description: The release of Appwrite.
  type: str
  returned: success
  sample: 1.9.6
project:
  description: The name of the compose project; empty if C(docker compose) could not tell.
  type: str
  returned: success
score:
  description:
    - 0 to 100, the share of the applicable controls that pass, by weight (critical 10, high 5, medium 2, low 1). What fails, is waived or is
      unknown counts as not passed. While a critical control fails or is unknown the whole is worth 40 points, while a high one does or is, 70.
    - The findings of O(third_parties) do not count.
  type: int
  returned: success
worst:
  description: The severity of the worst failing finding, or V(none).
  type: str
  returned: success
findings:
  description: One for each control and in the same order always, then those of O(third_parties).
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: The control's name, which never changes, as C(group.name).
      type: str
    title:
      description: What is so if it passes.
      type: str
    severity:
      description: V(critical), V(high), V(medium) or V(low).
      type: str
    group:
      description: The first part of the id.
      type: str
    status:
      description: V(pass), V(fail), V(waived), V(not_applicable) or V(unknown).
      type: str
    evidence:
      description: What was found.
      type: str
    rationale:
      description: Why it matters.
      type: str
    remedy:
      description: The role variable or the command that mends it.
      type: str
    reference:
      description: Where the fact comes from.
      type: str
    waiver:
      description: Its justification and the day on which it expires, if there is one.
      type: dict
parameters:
  description: Which installation was audited, for those who do it again. The options of the project and O(endpoint), as they were in force.
  type: dict
  returned: success
certificate_expires:
  description: When the endpoint's certificate ends, in UTC; V(none) if it was not seen.
  type: str
  returned: success
  sample: "2027-03-01T12:00:00Z"
escrow_proved:
  description: O(escrow.proved), if the escrow holds the key that is in force; otherwise V(none).
  type: str
  returned: success
  sample: "2026-11-24"
compared:
  description:
    - By what M(selfhost.appwrite.audit_report) compares the host with others that have the same database. No secret is in it, and nothing from which
      one could be guessed.
  type: dict
  returned: success
  contains:
    fingerprint:
      description: As RV(selfhost.appwrite.encryption_key#module:key.fingerprint); V(none) for a key that could be guessed.
      type: str
    opens:
      description:
        - A digest of what is random in each of the first sealed values of the console, to whether the key in force opens that value; V(none) if they were
          not looked at.
      type: dict
    unseen:
      description: Why not.
      type: str
    outside:
      description: Whether the database is no service of the project, or cannot be told to be one.
      type: bool
    release:
      description: RV(release), or an empty text if no image names it.
      type: str
  sample: {"fingerprint": "3f0a6c2b9d1e4857", "opens": {"9b1c5e0f7a2d4836": true}, "unseen": "", "outside": true, "release": "1.9.6"}
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils import _module
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.examine import AUDIT_OPTIONS, examine


def main() -> None:
    _module.run(AUDIT_OPTIONS, lambda module: examine(module.params))


if __name__ == "__main__":
    main()
