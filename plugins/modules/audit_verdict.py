#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: audit_verdict
short_description: Fail a host for what its audit found
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Fails the host if M(selfhost.appwrite.audit_report), as the role P(selfhost.appwrite.appwrite_audit#role) registered it, names findings
    for which it is to fail, and says which they are. Says the host's score otherwise, and where the report is in either case.
  - In a play with C(serial), the first host of the last batch answers for the hosts of the earlier batches, too.
  - The role runs this last, and it takes no options.
attributes:
  check_mode:
    description: Judges in check mode too, since it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: N/A
  idempotent:
    description: Changes nothing.
    support: full
seealso:
  - module: selfhost.appwrite.audit_report
"""

EXAMPLES = r"""
---
- name: Audit, write the report, and fail for findings of this severity or a worse one
  ansible.builtin.import_role:
    name: selfhost.appwrite.appwrite_audit
  vars:
    appwrite_audit_project_src: /opt/appwrite
    appwrite_audit_fail_on: critical
"""

RETURN = r"""
---
msg:
  description: The findings for which the host fails, or its score, and where the report is.
  type: str
  returned: always
  sample: Score 85 of 100. The report is /home/ada/servers/appwrite-audit/report.html
"""
