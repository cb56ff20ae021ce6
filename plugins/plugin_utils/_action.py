# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a managed host may do to its controller: answer, in data. Every module of this collection is run through C(HostAction).

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from jinja2 import Environment, TemplateError, nodes

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._words import worded, words

_ACTED_ON = frozenset(
    {
        "add_group",
        "add_host",
        "deprecations",
        "exception",
        "finished",
        "include",
        "include_args",
        "results",
        "results_file",
        "skipped",
        "unreachable",
    }
)
"""What Ansible takes from a result for a wish of its own, besides all that begins with C(ansible_)."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
"""in the text of a JSON string"""
_UNUSUAL = re.compile(r"[^ -~\n\t]")
"""what a text is searched for control characters in: to look at each of its characters takes long"""
_DEEPEST = 50
"""No answer of ours is nested deeper; ansible-core 2.21 fails for the whole fleet on a variable that is nested 400 deep."""
_OURS = ("appwrite_project_", "appwrite_security_", "appwrite_audit_", "appwrite_rotation_", "__appwrite_")
"""How the variables of this collection's roles begin."""
_MAGIC = frozenset(
    {
        "inventory_hostname",
        "inventory_dir",
        "group_names",
        "cycler",
        "dict",
        "joiner",
        "lipsum",
        "lookup",
        "namespace",
        "now",
        "omit",
        "q",
        "query",
        "range",
        "undef",
    }
)
"""Magic variables that facts outrank, by which hosts are told apart, and what templates call."""
_OF_HOSTS = ("ansible_facts", "ansible_local", "hostvars", "vars")
"""Variables with facts in them, whatever C(ansible.cfg) says."""


class ControllerAction(ActionBase):
    """Runs on the controller alone, in check mode too."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False


class HostAction(ActionBase):
    """Runs a module on the managed host, and passes on what it says as data alone.

    A task cannot be C(async): what such a task returns reaches the controller past this class.
    """

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        refuse_facts(self._task_vars, ())
        if C.config.get_config_value_and_origin("INTERPRETER_PYTHON", variables=self._task_vars)[1] == "default":
            self._task_vars["ansible_python_interpreter"] = "auto_silent"  # a warning for each host would hide ours
        try:
            result = self.work()
        except AnsibleActionFail as error:
            raise AnsibleActionFail(words(str(error), self._role, self._task_vars)) from None
        if isinstance(result.get("msg"), str):
            result["msg"] = words(result["msg"], self._role, self._task_vars)
        return result

    def work(self) -> dict[str, Any]:
        """The module of the task's name, with the task's arguments."""
        return self.ask(self._task.action, self._task.args)

    @property
    def host(self) -> str:
        """As the inventory has it: C(run()) has seen that no fact stands in its place."""
        return str(self._task_vars["inventory_hostname"])

    def own(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the task's arguments that the action takes itself, in their types, with the defaults of those that are missing."""
        return validated(options, {name: value for name, value in self._task.args.items() if name in options})

    def ask(self, module: str, arguments: Mapping[str, Any], check_mode: bool | None = None) -> dict[str, Any]:
        """check_mode: whether the module runs in check mode, if not as the task does."""
        with self._check_mode(self._task.check_mode if check_mode is None else check_mode):
            result = answer(
                self._execute_module(module_name=module, module_args=dict(arguments), task_vars=self._task_vars)
            )
        if self._discovered_interpreter_key:  # the controller's own finding, without which each task would look again
            result["ansible_facts"] = {self._discovered_interpreter_key: self._discovered_interpreter}
        return result

    def _parse_returned_data(self, res: Mapping[str, Any], *more: Any) -> Any:
        """ansible-core 2.19 and later show a module's warnings out of what it printed, before anybody else sees them."""
        return super()._parse_returned_data(
            {
                **res,
                **{
                    name: worded(_harmless(res[name]), self._role, self._task_vars)
                    for name in ("stdout", "stderr")
                    if name in res
                },
            },
            *more,
        )

    @property
    def _role(self) -> str:
        """Of the task, without its namespace; an empty text for none."""
        return str(getattr(self._task, "_role", None) or "").rpartition(".")[2]

    @contextlib.contextmanager
    def _check_mode(self, wanted: bool) -> Iterator[None]:
        before, self._task.check_mode = self._task.check_mode, wanted
        try:
            yield
        finally:
            self._task.check_mode = before


def validated(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """An action's arguments. Raises AnsibleActionFail with all that is wrong with them."""
    checked = ArgumentSpecValidator(options).validate(given)
    if checked.error_messages:
        raise AnsibleActionFail("; ".join(checked.error_messages))
    found: dict[str, Any] = checked.validated_parameters
    return found


def answer(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a host returned, without all that Ansible would act on and without control characters."""
    kept = {
        name: value
        for name, value in result.items()
        if isinstance(name, str) and not name.startswith(("ansible_", "_ansible_")) and name not in _ACTED_ON
    }
    if "warnings" in kept:
        kept["warnings"] = (
            [_sentence(warning) for warning in kept["warnings"]] if isinstance(kept["warnings"], (list, tuple)) else []
        )
    try:
        return {printable(name): _cleaned(value) for name, value in kept.items()}
    except RecursionError:
        return {"failed": True, "msg": "the managed host's answer is nested too deeply to be read"}


def _harmless(text: str) -> str:
    """What a module printed, without control characters, as they are or as JSON writes them. A line that comes from a terminal ends with two."""

    def written(match: re.Match[str]) -> str:
        if match[1] is None:
            return "?" if match[0] in ("\\b", "\\f", "\\r") else match[0]
        category = unicodedata.category(chr(int(match[1], 16)))
        return "?" if category[0] == "C" and category != "Cs" and match[1].lower() not in ("0009", "000a") else match[0]

    return _ESCAPE.sub(written, printable(text.replace("\r\n", "\n")))


def _sentence(warning: Any) -> str:
    """ansible-core 2.19 and later make an object of a module's warning."""
    return str(getattr(getattr(warning, "event", None), "msg", warning))


def _cleaned(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {
            printable(name) if isinstance(name, str) else name: _cleaned(inner, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner, depth + 1) for inner in value]
    return value


def printable(text: str) -> str:
    """A host's text as a terminal may be given it: no control characters but the ends of lines and tabs, none that turn text around."""
    if text.isprintable():
        return text
    return _UNUSUAL.sub(lambda found: "?" if unicodedata.category(found[0])[0] == "C" else found[0], text)


def refuse_facts(variables: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises AnsibleActionFail if a fact of the host has the name of a variable that is the operator's to set.

    Facts outrank the defaults of roles and the inventory, and a host can return any: with a module's result, or in a fact cache.

    names: variables that name something on the controller. What their values are made from is the operator's, too.
    """
    injected = C.config.get_config_value("INJECT_FACTS_AS_VARS")
    facts = {name for name in variables.get("ansible_facts") or {} if isinstance(name, str)} if injected else set()
    for name in sorted(facts):
        if name.startswith(_OURS) or name in _MAGIC:
            raise AnsibleActionFail(
                "%s: a fact of this host has the name of this variable, and would take its place. The variable is the operator's to set: remove the fact "
                "(--flush-cache, if facts are cached), or set inject_facts_as_vars = False in ansible.cfg, and run again. Nothing was changed"
                % printable(name)
            )
    for name in names:
        for source in _sources(name, variables):
            if (
                source in _OF_HOSTS
                or source in facts
                or source.startswith("ansible_")
                and source[len("ansible_") :] in facts
            ):
                raise AnsibleActionFail(
                    "%s: is made from %s, which is %s, and a managed host must not decide what the controller does. Use a variable of the inventory instead. "
                    "Nothing was changed"
                    % (name, source, "a place for facts of hosts" if source in _OF_HOSTS else "a fact of this host")
                )


def _sources(name: str, variables: Mapping[str, Any]) -> set[str]:
    """The variables that the value of one is made from, itself included."""
    found, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _named_in(variables.get(name))
    return found


def _named_in(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [name for inner in value.values() for name in _named_in(inner)]
    if isinstance(value, (list, tuple)):
        return [name for inner in value for name in _named_in(inner)]
    if not isinstance(value, str) or "{" not in value:
        return []
    try:
        found = list(
            Environment().parse(value).find_all(nodes.Name)
        )  # what jinja2.meta does needs all of Ansible's filters
    except TemplateError:  # Ansible complains of it itself, if it is used
        return []
    return sorted(
        {name.name for name in found if name.ctx == "load"} - {name.name for name in found if name.ctx != "load"}
    )
