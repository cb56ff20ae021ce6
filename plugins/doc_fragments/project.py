# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
---
options:
  project_src:
    description:
      - The directory on the managed host that holds Appwrite's C(docker-compose.yml).
      - The project's name is the one that C(docker compose) derives from this path, as it is written here, unless O(project_name) says otherwise.
    type: path
    required: true
  env_file:
    description:
      - The C(.env) file. A relative path starts at O(project_src).
      - Defaults to C(.env) in O(project_src). A symbolic link is followed and stays a link.
      - A link that another user than root and the one who runs the task made, or could make, is refused unless it leads into a directory of that
        user's own; then name the file itself.
    type: path
  files:
    description:
      - Compose files to use instead of the ones that C(docker compose) finds in O(project_src).
      - A relative path starts at O(project_src).
    type: list
    elements: path
    default: []
  project_name:
    description:
      - The name of the compose project, if it is not the one that C(docker compose) derives by itself.
    type: str
  profiles:
    description:
      - Compose profiles to enable.
    type: list
    elements: str
    default: []
  appwrite_version:
    description:
      - The release of Appwrite, for example V(1.9.6).
      - Defaults to what the image tags of the compose file say; a tag such as V(1.6) stands for the newest known release of that series. If they do not
        say it, as that of an image of one's own, the image says it (C(_APP_VERSION) in its environment), or its running container is asked.
      - If nothing says it, it is the newest release that this collection knows, with a warning.
      - A release that is newer is taken for the newest that this collection knows, with a warning, but for what the project's compose
        file, and the list of variables in Appwrite's own container if that runs, say otherwise. So no variable is refused that the
        release has; one that it may have dropped or renamed is left as it is, and told of.
      - Releases before V(1.4) are refused.
    type: str
  clean_environment:
    description:
      - Run C(docker compose) without the variables C(_APP_*), C(COMPOSE_*), C(OPEN_RUNTIMES_*) and C(DOCKERHUB_PULL_*) of the environment
        that the task runs in. They would beat the C(.env) file.
    type: bool
    default: true
"""

    WRITING = r"""
---
options:
  backup:
    description:
      - Keep a copy of the C(.env) file as it was before a change, beside it and with mode 0600. See RV(backup_file).
    type: bool
    default: true
  backup_keep:
    description:
      - How many backups of the C(.env) file stay; the oldest beyond that number are removed after a new one was made. At least 1.
      - A backup that holds another encryption key than the file, or that cannot be read, is never removed.
    type: int
    default: 10
  mode:
    description:
      - The mode of the C(.env) file, in octal and in quotes, for example V('0600').
      - V(private) takes the right to read it from everybody but its owner. A group keeps the right that it has if somebody else is in it.
      - Left as it is if not given, with a warning if it is open to others than the file's owner. A new file is 0600.
    type: raw
"""

    ACTION_GROUP = r"""
---
attributes:
  action_group:
    description: Use C(group/selfhost.appwrite.appwrite) in C(module_defaults) to set defaults for all modules of this collection.
    support: full
    membership:
      - selfhost.appwrite.appwrite
"""

    WRITES = r"""
---
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, without changing it.
    support: full
  diff_mode:
    description: Returns what has changed, or would change. A secret is shown as its fingerprint.
    support: full
  idempotent:
    description: Changes nothing when run again with the same parameters.
    support: full
"""

    READS = r"""
---
attributes:
  check_mode:
    description: Changes nothing, in check mode or out of it.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: N/A
  idempotent:
    description: Changes nothing.
    support: full
"""

    HOST = r"""
---
options: {}
requirements:
  - Python 3.8 or newer on the managed host, of which only the standard library is used
  - C(docker compose) 2.26 or newer on the managed host; without it a C(.env) can be prepared, but neither checked by compose nor applied
  - the Docker Engine on the managed host itself, neither Podman nor one that C(DOCKER_HOST) or a docker context has on another machine
"""
