# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
name: escrow_state
short_description: Tell which encryption key an escrow file holds, without the key
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Opens an escrow file, as M(selfhost.appwrite.security) writes it, with the vault secrets that Ansible was started with, and returns
    what M(selfhost.appwrite.audit_info) takes as O(selfhost.appwrite.audit_info#module:escrow).
  - A file that cannot be opened is no error, but a reason in words. The key itself is not returned.
options:
  _terms:
    description: Escrow files on the controller.
    type: list
    elements: path
    required: true
  owner:
    description:
      - Whose key it must be, as RV(selfhost.appwrite.role_settings#module:escrow). The file of another one counts as a file that cannot be opened.
    type: dict
seealso:
  - module: selfhost.appwrite.audit_info
  - plugin: selfhost.appwrite.escrowed_key
    plugin_type: lookup
"""

EXAMPLES = r"""
---
- name: Audit the installation and the escrow of its key
  selfhost.appwrite.audit_info:
    project_src: /opt/appwrite
    escrow: "{{ lookup('selfhost.appwrite.escrow_state', inventory_dir ~ '/.appwrite-escrow/shop.yml') }}"
"""

RETURN = r"""
---
_raw:
  description:
    - For each file the C(fingerprint) of the key that is in force, as RV(selfhost.appwrite.encryption_key#module:key.fingerprint), and today
      as the day on which that was C(proved), in UTC. The C(fingerprint) alone is returned, and is V(none), if there is no such file.
    - If the file cannot be opened, or the key in it is weak, the reason as C(unseen).
  type: list
  elements: dict
  sample:
    - fingerprint: 0f1e2d3c4b5a6978
      proved: "2026-11-24"
"""

import datetime
from typing import Any

from ansible.plugins.lookup import LookupBase

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import shown_fingerprint, told
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, EscrowError, Owner


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        given = kwargs.get("owner")
        owner = Owner(given["host"], given.get("cluster"), given.get("project_src") or "") if given else None
        return [state_of(Escrow(str(term), self._loader._vault.secrets, owner=owner)) for term in terms]


def state_of(escrow: Escrow) -> dict[str, Any]:
    """What an audit is told of the key in the file, or why it cannot be told."""
    try:
        escrow.read()
    except EscrowError as error:
        return {"unseen": str(error)}
    if escrow.key is None:
        return {"fingerprint": None}
    fingerprint = shown_fingerprint(escrow.key)
    if fingerprint is None:
        return {
            "unseen": "escrow_file: the key in %s is %s, so its fingerprint is told to nobody; rotate it"
            % (escrow.path, told(escrow.key))
        }
    return {"fingerprint": fingerprint, "proved": datetime.datetime.now(datetime.timezone.utc).date().isoformat()}
