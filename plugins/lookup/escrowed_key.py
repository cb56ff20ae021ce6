# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
name: escrowed_key
short_description: Read an encryption key from its escrow file
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Returns the encryption key that is in force in an escrow file, as M(selfhost.appwrite.security) writes it.
  - The file is opened with the vault secrets that Ansible was started with. Use it in tasks with C(no_log), unless the
    option that takes it hides its value, as O(selfhost.appwrite.encryption_key#module:escrowed) does.
  - Name the file in so many words, or by variables of the inventory. One that is named by a fact is named by the managed host.
options:
  _terms:
    description: Escrow files on the controller.
    type: list
    elements: path
    required: true
seealso:
  - module: selfhost.appwrite.security
"""

EXAMPLES = r"""
---
- name: Give a host the key that was saved for it
  selfhost.appwrite.encryption_key:
    project_src: /opt/appwrite
    escrowed: "{{ lookup('selfhost.appwrite.escrowed_key', inventory_dir ~ '/.appwrite-escrow/shop.yml') }}"
"""

RETURN = r"""
---
_raw:
  description: The encryption key of each file. A file that is missing, damaged, or encrypted with another vault secret is an error.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import Escrow, EscrowError


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        return [self._key(str(term)) for term in terms]

    def _key(self, path: str) -> str:
        escrow = Escrow(path, self._loader._vault.secrets)
        escrow.read()
        if escrow.key is None:
            raise EscrowError(
                "escrow_file: %s %s"
                % (escrow.path, "holds no key that is in force" if escrow.entries else "does not exist")
            )
        return escrow.key
