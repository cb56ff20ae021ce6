#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: https
short_description: Force HTTPS for a self-hosted Appwrite
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Sets in the C(.env) file that HTTPS is forced for the API, functions and sites, in the variables that the installed release reads.
  - Forced is what Appwrite itself answers. 1.9.6 redirects GET, without port and query, answers POST and HEAD with 500, and OPTIONS with 204. It exempts
    the hosts C(localhost) and that of C(_APP_MIGRATION_HOST). Behind its Traefik the console's pages (C(/console/), from 2.0.0 C(/)) and realtime
    (C(ws://)) are not covered, unless Traefik redirects them by the labels that the guide "Behind another proxy" has.
  - Warns if the release, the domain or the environment makes forcing useless, or an endless redirect.
options:
  force:
    description:
      - Whether HTTPS is forced for the API, by which the console works, too (C(_APP_OPTIONS_FORCE_HTTPS)).
      - V(auto) forces it unless users would be locked out, as far as the project shows it. Then the variable stays as it is, with a warning. That is so
        if C(_APP_DOMAIN) is no public name, if Traefik answers on another port than 443 or on none, if a service of the project is a tunnel or
        another proxy that Traefik does not trust, and if the project has no Traefik.
      - V(true) forces it regardless, with the same warning. A redirect that never ends, which is seen once it is applied
        (O(selfhost.appwrite.security#module:apply)), is then told of as well, and undoes nothing; with V(auto) the earlier file is put back.
    type: str
    choices: [auto, 'true', 'false']
    default: 'true'
  force_router:
    description:
      - Whether HTTPS is forced for the domains of functions and sites, but for those with a redirect rule. This is C(_APP_OPTIONS_ROUTER_FORCE_HTTPS)
        from Appwrite 1.7.0 on, and C(_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS) before.
      - Defaults to the value of O(force), with the same meaning.
    type: str
    choices: [auto, 'true', 'false']
  certificate_email:
    description:
      - The address that the certificate authority may write to. This is C(_APP_EMAIL_CERTIFICATES) from Appwrite 1.5.8 on, and
        C(_APP_SYSTEM_SECURITY_EMAIL_ADDRESS) before.
      - Left as it is if not given.
    type: str
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
- name: Force HTTPS
  selfhost.appwrite.https:
    project_src: /opt/appwrite
    certificate_email: admin@example.com

- name: Force HTTPS for the API only
  selfhost.appwrite.https:
    project_src: /opt/appwrite
    force_router: false
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
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import https
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.transaction import WRITING_OPTIONS, write_one


def main() -> None:
    run({**WRITING_OPTIONS, **https.OPTIONS}, write_one(https))


if __name__ == "__main__":
    main()
