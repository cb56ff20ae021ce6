# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's life: run, and what of its parameters and findings may be shown.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import copy
import re
import signal
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils import _zipped

_zipped.compile_once()

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import effective_bits, told
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, unforeseen

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}|[a-z][a-z_]{0,63}|.{0,7}")
_ODD = "(a name that may be a secret)"


class _Unlogged(AnsibleModule):
    """Ansible writes the raw parameters to the host's log. C(no_log=True) would not stop it: the task's own C(no_log), false, takes its place."""

    def log(self, msg: str, log_args: Any = None) -> None:
        pass


def run(specification: Mapping[str, Any], work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """A module's life: declare, work, and end in a result or in words. Ctrl-C and a lost connection do not stop it halfway."""
    with undisturbed(signal.SIGHUP, signal.SIGINT):
        _run(specification, work)


@contextmanager
def undisturbed(*signals: int) -> Iterator[None]:
    """What the signals ask for is not done. Programs that are started meanwhile do it."""
    before = {number: signal.signal(number, lambda *_unused: None) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(specification: Mapping[str, Any], work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    module = _Unlogged(
        argument_spec=copy.deepcopy(dict(specification)), supports_check_mode=True
    )  # which fills in its defaults
    try:
        result = work(module)
    except AppwriteError as error:
        details = dict(getattr(error, "details", {}))
        for warning in details.pop("warnings", ()):
            module.warn(_without_odd_names(warning, module))
        module.fail_json(msg=_without_odd_names(str(error), module), invocation=_invocation(module), **details)
    except Exception as error:  # pylint: disable=broad-exception-caught  # a traceback could hold a secret
        module.fail_json(msg=unforeseen(error), invocation=_invocation(module))
    for warning in result.pop("warnings"):
        module.warn(_without_odd_names(warning, module))
    module.exit_json(invocation=_invocation(module), **result)


def shown(name: str, value: str | None, compared: bool = False) -> str | None:
    """A value as it may be printed. Of a user's own variable only its strength is told, unless it is compared: fingerprints are slow to make."""
    if not value or not catalogue.is_secret(name):
        return value
    if catalogue.is_public_default(name, value):
        return "(public default)"
    if not compared and catalogue.get(name) is None:
        return "(secret, about %d bits)" % effective_bits(value)
    return "(secret, %s)" % told(value)


def shown_name(name: str) -> str:
    """A variable's name as it may be printed: a key that was wrapped, or put where a name belongs, passes for one."""
    return name if catalogue.get(name) is not None or _NAME.fullmatch(name) else _ODD


def _without_odd_names(text: str, module: AnsibleModule) -> str:
    names = {
        name for options in [module.params, module.params.get("env") or {}] for name in options.get("variables") or {}
    }
    for options in (module.params, module.params.get("env") or {}):
        try:
            names |= set(parse(options.get("content") or "").values)
        except AppwriteError:
            pass
    for name in names:
        if shown_name(name) == _ODD:
            text = text.replace(repr(name), _ODD).replace(name, _ODD)
    return text


def _invocation(module: AnsibleModule) -> dict[str, Any]:
    """The parameters as they may be shown: what a variable's name makes secret is shown by its strength or fingerprint, a file not at all."""

    def masked(options: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in options.items():
            if name == "variables" and isinstance(value, dict):
                found[name] = {
                    shown_name(inner): shown(inner, None if item is None else str(item))
                    for inner, item in value.items()
                }
            else:
                found[name] = masked(value) if isinstance(value, dict) else value
        return found

    return {"module_args": masked(module.params)}
