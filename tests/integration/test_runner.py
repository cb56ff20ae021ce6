# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook under ansible-runner, which AWX runs it with and which writes down all that happens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from integration.support import KEY, _secrets_in, assert_no_leak, small, tree, type_in


def _run(directory: Path, ident: str, *flags: str) -> dict[str, dict[str, int]]:
    """What a run counted, a mapping of host to number for each kind."""
    done = type_in(
        f"ansible-runner run . --ident {ident} --playbook selfhost.appwrite.secure --cmdline={' '.join(('--diff', *flags))!r}", directory)
    assert done.returncode == 0, done.stdout + done.stderr
    events: list[dict[str, Any]] = [json.loads(path.read_text()) for path in (directory / "artifacts" / ident / "job_events").glob("*.json")]
    [counted] = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    return counted


@small("runner")
def test_secure(stack, tmp_path):
    for name, content in {
        "inventory/hosts": f"appwrite.example.com ansible_connection=local ansible_python_interpreter={sys.executable}\n",
        "env/extravars": json.dumps({"appwrite_security_project_src": str(stack.directory)}),
        "project/README": "The playbook is the collection's.\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    files, ids, public = tree(stack.directory), stack.ids(), stack.env()[KEY]

    assert _run(tmp_path, "check", "--check")["changed"] == {"appwrite.example.com": 2}
    assert (tree(stack.directory), stack.ids()) == (files, ids)

    assert _run(tmp_path, "secure")["changed"] == {"appwrite.example.com": 2}
    assert stack.env()[KEY] != public
    stack.assert_in_force()

    assert not _run(tmp_path, "again")["changed"]

    written = "".join(path.read_text() for path in (tmp_path / "artifacts").rglob("*") if path.is_file())
    assert "Secure the .env" in written
    assert_no_leak(written, _secrets_in(stack.directory))
