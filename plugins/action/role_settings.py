# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settles a role's variables on the controller, before the first contact with the host. See C(plugins/modules/role_settings.py)."""

from __future__ import annotations

import difflib
import functools
import os
import posixpath
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.loader import filter_loader, test_loader

from ansible_collections.selfhost.appwrite.plugins.filter.waivers_for import waivers_for
from ansible_collections.selfhost.appwrite.plugins.lookup.escrow_state import state_of
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import (
    ControllerAction,
    printable,
    refuse_facts,
    validated,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._escrow import (
    Escrow,
    EscrowError,
    Owner,
    default_path,
    former_path,
)
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._words import CLUSTER, PROJECT, PROJECT_SRC, ROLES

_ROLES = Path(__file__).parents[2] / "roles"
OPTIONS: dict[str, dict[str, Any]] = {
    "role": {"type": "str", "required": True, "choices": list(ROLES)},
    "names": {"type": "list", "elements": "str", "default": []},
}
_PREFIXES = (*("%s_" % role for role in ROLES), "appwrite_project_")
_FOLDER = ".appwrite-escrow"
_GROUP = "group/selfhost.appwrite.appwrite"
_HANDED_OUT = "appwrite_security_key_to_save"
"""Set by the role for the operator's tasks, so that nobody's argument specification has it."""
_FOLDERS = {
    "backup_tasks": "tasks",
    "env_template": "templates",
    "safe_read_tasks": "tasks",
    "safe_write_tasks": "tasks",
    "waivers_file": "files",
}
"""The files that the operator brings, each with the folder in which Ansible looks for its kind."""


class ActionModule(ControllerAction):
    """Asks the managed host nothing."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises AnsibleActionFail, with all that is wrong with the role's variables in one message."""
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        options = validated(OPTIONS, self._task.args)
        self._role = str(options["role"])  # without Ansible's tags, with which it is another key to what is cached
        names = ["%s_%s" % (self._role, name) for name in options["names"]]
        escrow_files = ["%s_escrow_file" % self._role, "appwrite_security_escrow_file"]
        refuse_facts(self._task_vars, [*names, *escrow_files, CLUSTER, *PROJECT.values()])
        self._wrong = [*unknown(self._task_vars), *self._of_other_types()]
        self._inventory = home(self._text("inventory_dir"))
        owner = Owner(str(self._task_vars["inventory_hostname"]), self._text(CLUSTER), self._project())
        file = next(filter(None, map(self._text, escrow_files)), None)
        settings = {name[len(self._role) + 1 :]: self._setting(name) for name in names}
        members = [owner.host]
        if self._role == "appwrite_rotation":
            self._confirmed(settings.get("confirm"), owner)
            members = self._members(owner, file)
        waivers = self._waivers(settings.get("waivers_file"), owner.host)
        defaults = self._defaults_of_modules()
        project = {option: self._given(name, defaults.get(option)) for option, name in PROJECT.items()}
        if self._wrong:
            raise AnsibleActionFail("%s. Nothing was changed" % ". ".join(self._wrong))
        file = beside(self._inventory, file) if file else self._default(owner)
        return {
            "changed": False,
            "settings": settings,
            "project": {option: value for option, value in project.items() if value is not None},
            "escrow": {
                "file": file,
                "host": owner.host,
                "cluster": owner.cluster,
                "project_src": owner.project_src,
                **({"state": self._state(file, owner)} if self._role == "appwrite_audit" else {}),
            },
            "waivers": waivers,
            "members": members,
        }

    def _of_other_types(self) -> list[str]:
        """What is wrong by the role's argument specification. A playbook that has it checked here need not have Ansible do it by a task."""
        options = specification(self._role)
        given = {name: self._value(name) for name in options if name in self._task_vars}
        return list(map(printable, ArgumentSpecValidator(options).validate(given).error_messages))

    def _defaults_of_modules(self) -> dict[str, Any]:
        """Those of the group of all modules, which an option that a role's task omits would hide."""
        found: dict[str, Any] = {}
        for defaults in self._task.module_defaults or []:
            found = self._templar.template(defaults.get(_GROUP)) or found
        return found

    def _project(self) -> str:
        name = "%s_project_src" % self._role
        found = self._text(name) or self._text(PROJECT_SRC)
        if not found:
            self._wrong.append(
                "%s: is missing; name the directory on the managed host that holds Appwrite's docker-compose.yml, or set %s for all roles"
                % (name, PROJECT_SRC)
            )
        return posixpath.normpath(found or "")

    def _confirmed(self, confirm: Any, owner: Owner) -> None:
        name = owner.cluster or owner.host
        if not self._task.check_mode and confirm != name:
            self._wrong.append(
                "appwrite_rotation_confirm: rotating stops this Appwrite for a while; set it to %s, or run with --check to rehearse"
                % name
            )

    def _members(self, owner: Owner, file: str | None) -> list[str]:
        """The hosts that share the database, in the order of the inventory. They have to be in one batch of a play, which goes from task to task with all.

        file: what a variable names as the escrow file.
        """
        if not owner.cluster:
            return [owner.host]
        members = members_of(owner.cluster, self._task_vars["hostvars"], self._task_vars["groups"]["all"])
        if owner.host not in members:
            self._wrong.append(
                "%s: is set for this play or role alone, so it is not known which other hosts belong to %s; set it in the inventory (group_vars)"
                % (CLUSTER, owner.cluster)
            )
            return [owner.host]
        self._left_out(owner, members, file)
        if len(members) == 1:
            return members
        missing = [host for host in members if host not in self._task_vars["ansible_play_batch"]]
        if missing:
            self._wrong.append(
                "%s: hosts that share one database are rotated together, since any of them would write with the old key meanwhile, and %s %s not in this play, "
                "or cannot be reached: see that all of %s run, and leave out `serial` and `--limit`"
                % (CLUSTER, ", ".join(missing), "is" if len(missing) == 1 else "are", owner.cluster)
            )
        strategy = str(self._task.get_play().strategy).rpartition(".")[2]
        if strategy != "linear":
            self._wrong.append(
                "%s: hosts that share one database are rotated step by step, for which the play needs the strategy linear, which is Ansible's default, and "
                "not %s" % (CLUSTER, strategy)
            )
        if self._task.run_once:
            self._wrong.append(
                "%s: hosts that share one database each have a part in the rotation; leave out `run_once`" % CLUSTER
            )
        if self._value("appwrite_rotation_scope") == "tokens":
            self._wrong.append(
                "appwrite_rotation_scope: of hosts that share one database only the whole key can be rotated; leave it out"
            )
        return members

    def _left_out(self, owner: Owner, members: list[str], file: str | None) -> None:
        """An inventory may have but a part of the hosts: each slice of a job of AWX has one of its own, and a host that is disabled there is in none."""
        path = beside(self._inventory, file) if file else default_path(beside(self._inventory, _FOLDER), owner)
        escrow = Escrow(path, self._loader._vault.secrets, owner=owner)
        if not escrow.usable:  # without which nothing is rotated or rehearsed
            return
        try:
            escrow.read()
        except EscrowError as error:
            self._wrong.append(str(error))
        left_out = [printable(host) for host in escrow.hosts if host not in members]
        if left_out:
            self._wrong.append(
                "%s: by the escrow file %s %s, too, which this inventory does not say. Hosts that share one database are rotated together: in AWX leave job "
                "slicing at 1, and no host of a cluster disabled. Of a host that has gone for good, remove the name from `hosts` in the file "
                "(ansible-vault edit %s)"
                % (
                    CLUSTER,
                    path,
                    "%s belongs to %s" % (left_out[0], owner.cluster)
                    if len(left_out) == 1
                    else "%s belong to %s" % (", ".join(left_out), owner.cluster),
                    shlex.quote(path),
                )
            )

    def _waivers(self, path: str | None, host: str) -> list[dict[str, str]]:
        """Those that are for the host, of all that are in the file."""
        if not path:
            return []
        try:
            return waivers_for(self._loader.load_from_file(path), host, list(self._task_vars.get("group_names") or []))
        except AnsibleError as error:
            self._wrong.append("appwrite_audit_waivers_file: %s: %s" % (path, str(error).removeprefix("waivers_for: ")))
        return []

    def _state(self, file: str, owner: Owner) -> dict[str, Any]:
        if self._value("appwrite_audit_escrow") != "auto":
            return {"unseen": "appwrite_audit_escrow is off"}
        return state_of(Escrow(file, self._loader._vault.secrets, owner=owner))

    def _default(self, owner: Owner) -> str:
        folder = beside(self._inventory, _FOLDER)
        path, former = default_path(folder, owner), former_path(folder, owner)
        if os.path.lexists(path) or not os.path.lexists(former):
            return path
        escrow = Escrow(former, self._loader._vault.secrets, C.DEFAULT_VAULT_ENCRYPT_IDENTITY)
        try:
            return escrow.moved_to(path, owner, dry_run=self._task.check_mode)
        except EscrowError:
            if self._role == "appwrite_audit":  # which reports it
                return former
            raise

    def _setting(self, name: str) -> Any:
        """The value of a variable; of one that names a file, its path on the controller, or C(None) if it names none."""
        short = name[len(self._role) + 1 :]
        if short == "report_dir":
            return beside(self._inventory, self._text(name) or "appwrite-audit")
        if short not in _FOLDERS:
            return self._value(name)
        given = self._text(name)
        if given is None:
            return None
        places = [
            os.path.join(place, folder)
            for place in (*self._callers(), self._loader.get_basedir(), self._inventory)
            for folder in (_FOLDERS[short], "")
        ]
        found = first_there(given, places)
        if found is None:
            self._wrong.append(
                "%s: there is no file %s; name one in the directory of the playbook or of the inventory, or give its whole path"
                % (name, " or ".join(dict.fromkeys(beside(place, given) for place in places)))
            )
        return found

    def _callers(self) -> Iterator[str]:
        """The directories of roles that this role was called from: not its own, in which files of the same name lie."""
        for path in self._task.get_search_path():
            if not Path(path).is_relative_to(_ROLES):
                yield path

    def _text(self, name: str) -> str | None:
        value = self._value(name)
        if value in (None, "", False):
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self._wrong.append("%s: is not text; write it in quotes" % name)
            return None
        return str(value)

    def _value(self, name: str) -> Any:
        return self._templar.template(self._task_vars[name]) if name in self._task_vars else None

    def _given(self, name: str, default: Any) -> Any:
        """A variable's value, or the default if that is missing or empty."""
        value = self._value(name)
        return default if value in (None, "", []) else value


def members_of(cluster: str, hostvars: Any, hosts: Iterable[str]) -> list[str]:
    """Those of these hosts that belong to a cluster. hostvars: Ansible's. Raises AnsibleActionFail if a fact of any of them would decide that."""
    found = []
    for host in hosts:
        refuse_facts(hostvars.raw_get(host), [CLUSTER])
        if str(hostvars[host].get(CLUSTER) or "") == cluster:
            found.append(host)
    return found


def unknown(variables: Iterable[str]) -> Iterator[str]:
    """What is wrong with each variable that begins with a role's name and is no role's."""
    known = variables_of_roles()
    for name in sorted(variables):
        if name.startswith(_PREFIXES) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0)
            prefix = [prefix for prefix in _PREFIXES if name.startswith(prefix)][0]
            yield (
                "%s: no role of this collection has this variable; is %s meant? Give one of your own a name that does not begin with %s"
                % (printable(name), near[0], prefix)
            )


@functools.cache
def specification(role: str) -> dict[str, Any]:
    """The options of a role's argument specification, whatever the entry point."""
    entries = yaml_load((_ROLES / role / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"].values()
    return {name: option for entry in entries for name, option in entry["options"].items()}


@functools.cache
def variables_of_roles() -> frozenset[str]:
    """All that their argument specifications have, and those that all roles share."""
    return frozenset(name for role in OPTIONS["role"]["choices"] for name in specification(role)) | {
        _HANDED_OUT,
        PROJECT_SRC,
        *PROJECT.values(),
    }


def home(inventory_dir: str | None) -> str:
    """The inventory's directory, or the current one for hosts of the command line, of which Ansible says that it is C("None")."""
    return inventory_dir if inventory_dir and os.path.isabs(inventory_dir) else os.environ.get("PWD") or os.getcwd()


def beside(directory: str, path: str) -> str:
    """An operator's path as it is if it is whole, and beginning at the directory if it is not."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(path)))


def first_there(path: str, directories: Iterable[str]) -> str | None:
    """The first file of this path below one of the directories; C(None) if there is none."""
    return next(filter(os.path.isfile, (beside(directory, path) for directory in directories)), None)


# Ansible imports an action where it forks a process for each host and task, all of which inherit what is found, loaded or read here.
variables_of_roles()
filter_loader.get("default")
test_loader.get("defined")
