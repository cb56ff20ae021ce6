#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: audit_report
short_description: Write the audits of many hosts as reports on the controller
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Takes the results of M(selfhost.appwrite.audit_info) on all hosts of a play, and writes one report in five formats into a directory on
    the controller, C(report.json), C(report.sarif) (SARIF 2.1.0), C(report.junit.xml), C(report.md), and C(report.html), a page that
    needs nothing but itself.
  - C(docs/audit-report.schema.json) of the collection is the JSON schema of C(report.json).
  - A host that could not be reached, or whose audit failed, is in the report with the failing finding C(host.observed) and the score 0.
  - What a host answers is checked. If it is not what M(selfhost.appwrite.audit_info) returns, the host is in the report with the finding
    C(host.observed) alone, which is V(unknown) and says why. A control that the answer leaves out is V(unknown), titles, severities and reasons
    are those of the collection on the controller, and the score is made again. No answer changes what is said of another host, but one
    that has the sealed values of that host's database.
  - Hosts whose answers have digests of sealed values in common share a database, or have copies of it. The controls C(encryption.one_key_for_all) and
    C(containers.one_release_for_all) compare them, and fail on each of those that differ.
  - The files are for their owner alone, and are replaced when all of them are on disk. Those of an unchanged state differ by their time alone.
  - The directory C(history) keeps a copy of each C(report.json) under its time, of which the page shows the trend. None is kept of a report
    that a play with C(serial) writes before it has got to all of its hosts.
  - The role P(selfhost.appwrite.appwrite_audit#role) uses it.
options:
  report_dir:
    description:
      - The directory on the controller. It is made if it is missing, for its owner alone.
    type: path
    required: true
  hosts:
    description:
      - The hosts to report on. They need not have names that are fit to be shown.
      - By default all hosts of the play, with what the role P(selfhost.appwrite.appwrite_audit#role) registered on each. A host that the role
        refused to ask has the refusal as its answer.
    type: list
    elements: dict
    suboptions:
      host:
        description: The host's name in the inventory.
        type: str
        required: true
      audit:
        description:
          - What M(selfhost.appwrite.audit_info) returned on it, a failure included. Unset or empty if the play did not get that far.
        type: raw
      waivers:
        description:
          - What the host was given as O(selfhost.appwrite.audit_info#module:waivers). A finding that the answer calls V(waived) and that none of
            these is for is V(fail). Unset, the waivers of the answer are believed.
        type: list
        elements: dict
        suboptions:
          control:
            description: The finding's RV(selfhost.appwrite.audit_info#module:findings[].id).
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
  keep:
    description:
      - How many reports stay in C(history), this one included. With V(0) this one is not kept, and none is removed.
    type: int
    default: 90
  fail_on:
    description:
      - The severity from which on a failing finding is named in RV(report.failing). C(host.observed) is named if it is V(unknown), too.
    type: str
    choices: [critical, high, medium, low, never]
    default: never
attributes:
  check_mode:
    description: Writes the reports in check mode too, since they say what is found and change no managed host.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: Is never V(changed). What is written differs by its time.
    support: full
seealso:
  - module: selfhost.appwrite.audit_info
"""

EXAMPLES = r"""
---
- name: Audit the installation
  selfhost.appwrite.audit_info:
    project_src: /opt/appwrite
  register: audited
  ignore_errors: true
  ignore_unreachable: true

- name: Write the report of this host
  selfhost.appwrite.audit_report:
    report_dir: "{{ inventory_dir }}/appwrite-audit"
    hosts:
      - host: "{{ inventory_hostname }}"
        audit: "{{ audited }}"
"""

RETURN = r"""
---
report:
  description: A summary.
  type: dict
  returned: success
  contains:
    path:
      description: Where C(report.html) is; the other formats are beside it.
      type: str
    generated_at:
      description: The time that stands in every format, in UTC.
      type: str
    hosts:
      description:
        - Name of each host to its C(score), and to how many of its findings fail (by severity), are C(unknown), C(waived), C(pass) and
          C(not_applicable).
      type: dict
    failing:
      description: Each host with findings for which it is to fail at O(fail_on), and their ids, worst first.
      type: dict
    pending:
      description: Hosts of later batches, to which the play has yet to get.
      type: list
      elements: str
  sample:
    path: /home/ada/servers/appwrite-audit/report.html
    generated_at: "2026-11-24T03:17:00Z"
    hosts: {"one": {"score": 40, "critical": 1, "high": 0, "medium": 2, "low": 0, "unknown": 0, "waived": 1, "pass": 58, "not_applicable": 5}}
    failing: {"one": ["encryption.key_not_public"]}
    pending: []
"""
