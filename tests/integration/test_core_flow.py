# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on every release, database and compose file: one run secures a fresh stack, the second changes nothing."""

from __future__ import annotations

import re

from support.stack import HTTPS, KEY, ROOT_ONLY, Stack, every_kind, on, on_every_kind, succeed, tree

WRITE = "Secure the .env"


def router(release: str) -> str:
    return "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS" if release == "1.6.2" else "_APP_OPTIONS_ROUTER_FORCE_HTTPS"


def check_flow(stack: Stack) -> None:
    files, ids = tree(stack.directory), stack.ids()
    assert stack.env()[KEY] == "your-secret-key"

    checked = stack.secure("--check", "--diff")
    assert checked.rc == 0, checked.output
    assert checked.recap["changed"] == 1
    assert (tree(stack.directory), stack.ids()) == (files, ids)
    predicted = set(checked.result(WRITE)["recreated"])
    assert (
        predicted
        and set(re.split(r"[:,] ", checked.result("Show the result")["msg"]["recreated_services"])[1:]) == predicted
    )

    secured = stack.secure("--diff")
    assert secured.rc == 0, secured.output
    assert secured.recap["changed"] == 1
    written = secured.result(WRITE)
    changed = {"changes", "key", "recreates"}
    assert {name: checked.result(WRITE)[name] for name in changed - {"key", "changes"}} == {
        name: written[name] for name in changed - {"key", "changes"}
    }
    assert [change["name"] for change in checked.result(WRITE)["changes"]] == [
        change["name"] for change in written["changes"]
    ]
    assert written["key"]["state"] == checked.result(WRITE)["key"]["state"] == "placeholder_replaced"

    values = stack.env()
    assert re.fullmatch("[A-Za-z0-9]{64}", values[KEY])
    assert values[HTTPS] == values[router(stack.kind.release)] == values[ROOT_ONLY] == "enabled"
    new = {service for service, container in stack.ids().items() if container != ids[service]}
    assert set(written["recreated"]) == new
    assert predicted == new
    for service, options in stack.project.config()["services"].items():
        if KEY in (options.get("environment") or {}):
            assert service in predicted
            assert stack.project.container_env(service)[KEY] == values[KEY]
    stack.assert_in_force()

    files, ids = tree(stack.directory), stack.ids()
    again = stack.secure()
    assert again.rc == 0, again.output
    assert again.recap["changed"] == 0
    assert (tree(stack.directory), stack.ids()) == (files, ids)


def check_prediction(stack: Stack) -> None:
    """In check mode apply says exactly what it then does."""
    succeed("env", {**stack.arguments, "variables": {"_APP_SMTP_HOST": "mail.example.com"}})
    ids = stack.ids()
    predicted = succeed("apply", stack.arguments, check=True)
    assert stack.ids() == ids
    applied = succeed("apply", stack.arguments)
    assert applied["changed"] and predicted["changed"]
    assert (
        predicted["recreated"]
        == applied["recreated"]
        == sorted(service for service, one in stack.ids().items() if one != ids[service])
    )
    assert predicted["started"] == applied["started"] == []
    assert succeed("apply", stack.arguments)["changed"] is False


@on_every_kind()
def test_secure(stack):
    check_flow(stack)


@on(
    *(kind for kind in every_kind() if kind.database == "mariadb" and kind.release == "1.9.6"),
    nightly=[kind for kind in every_kind() if kind.database == "mariadb" and kind.release not in ("1.8.1", "1.9.6")],
)
def test_apply_prediction(stack):
    check_prediction(stack)
