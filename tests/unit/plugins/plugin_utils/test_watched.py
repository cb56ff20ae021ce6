# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job in the background: what is printed while it works, and how its end is told from its death."""

from __future__ import annotations

import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.selfhost.appwrite.plugins.plugin_utils import _watched
from ansible_collections.selfhost.appwrite.plugins.plugin_utils._watched import WatchedAction

END = {"finished": 1, "changed": False, "phase": "finished"}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(_watched.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(_watched.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def watch(monkeypatch):
    """Watches a job, which is asked for its status and its progress by the second that it is."""
    clock = Clock(monkeypatch)

    def make(status: Callable[[float], Any], progress: Callable[[float], Any]) -> dict[str, Any]:
        def execute(module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
            if module_name == "m":
                assert module_args.keys() == {"a", "progress_file"} and module_args["progress_file"].startswith(
                    "~/jobs/"
                )
                return {"ansible_job_id": "j1"}
            return (
                progress(clock.now)
                if "slurp" in module_name
                else {}
                if module_args["mode"] == "cleanup"
                else status(clock.now)
            )

        action = object.__new__(WatchedAction)
        action._task = SimpleNamespace(async_val=0, check_mode=False)
        action._task_vars = {"inventory_hostname": "one"}
        shell = SimpleNamespace(
            join_path=lambda *parts: "/".join(parts), remove=lambda path, recurse: "rm %s" % path, tmpdir=None
        )
        action._connection = SimpleNamespace(_shell=shell)
        make.removed = []
        stubs = {
            "_execute_module": execute,
            "_make_tmp_path": lambda: "/copied",
            "_low_level_execute_command": lambda command, sudoable: make.removed.append(command),
            "get_shell_option": lambda *_unused, **_more: "~/jobs",
        }
        for name, stub in stubs.items():
            monkeypatch.setattr(action, name, stub)
        return action.watch("m", {"a": 1}, "Mind the journal")

    make.clock = clock
    return make


def told(text: str) -> dict[str, Any]:
    return {"content": base64.b64encode(text.encode()).decode()}


def ends_after(seconds: float) -> Callable[[float], dict[str, Any]]:
    return lambda now: END if now > seconds else {"started": True, "finished": False, "changed": False}


def test_job_that_ends(watch, capsys):
    result = watch(
        lambda now: (
            {**END, "finished": now > 5, "ansible_facts": {"a": 1}, "results_file": "x"} if now > 5 else {"finished": 0}
        ),
        lambda now: told("read\x1b[2J %d 9 %d" % (now, now)),
    )
    assert result == {"changed": False, "phase": "finished"}
    assert watch.removed == ["rm /copied"]
    assert "\x1b" not in capsys.readouterr().out


def test_job_whose_result_says_what_it_has_started(watch):
    """Which async_status takes for a job that has not ended."""
    assert watch(lambda now: {"started": ["redis"], "finished": False, "changed": True}, lambda now: {}) == {
        "started": ["redis"],
        "changed": True,
    }
    assert watch.clock.now < 5


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("starting 0 0 1", "starting"),
        ("dumping 7 0 1", "dumping 7"),
        ("read 5 10 1", "read 5 of 10"),
        ("stopping 3 22 1 appwrite-worker-mails", "stopping 3 of 22, waiting for appwrite-worker-mails"),
        ("verifying 0 0 1 appwrite, redis and 3 more", "verifying, waiting for appwrite, redis and 3 more"),
        (
            "a 1 2 3 \x1b[2J\x9b\tb\r\u202ec\nfatal: [two]: FAILED!",
            "a 1 of 2, waiting for ?[2J\ufffd\ufffd b?\ufffd\ufffd\ufffdc",
        ),
        ("a 1 2 3 " + "x" * 1_000_000, "a 1 of 2, waiting for " + "x" * 392),
        ("a 1 2 3" + " b" * 1_000_000, "a 1 of 2, waiting for " + " ".join("b" * 196)),
        ("", "working"),
        ("\n" * 1_000_000, "working"),
        ("a 1 2", "working"),
    ],
    ids=lambda text: text[:20],
)
def test_line(watch, capsys, said, line):
    watch(ends_after(3), lambda now: told(said))
    assert capsys.readouterr().out == f"one: {line}\n"


def test_when_a_line_is_printed(watch, monkeypatch):
    """Where another thing is done or waited for at once, else after five seconds; it is looked at every second."""
    printed: list[tuple[float, str]] = []
    monkeypatch.setattr(
        _watched, "display", SimpleNamespace(display=lambda line: printed.append((watch.clock.now, line)))
    )
    watch(
        ends_after(24),
        lambda now: told(
            "%s %d 9 %d %s" % ("stopping" if now < 15 else "draining", now, now, "redis" if 7 < now < 15 else "")
        ),
    )
    assert printed == [
        (1, "one: stopping 1 of 9"),
        (6, "one: stopping 6 of 9"),
        (8, "one: stopping 8 of 9, waiting for redis"),
        (13, "one: stopping 13 of 9, waiting for redis"),
        (15, "one: draining 15 of 9"),
        (20, "one: draining 20 of 9"),
    ]


@pytest.mark.parametrize(
    "progress",
    [told("read 1 9 3"), {}, {"content": None}, {"content": 5}, {"content": "%%%"}, told("\x1b" * 50_000)],
    ids=["silent", "gone", "none", "number", "no base64", "long"],
)
def test_job_that_is_dead(watch, progress):
    result = watch(ends_after(1e9), lambda now: progress)
    assert (
        result["failed"]
        and "at work on one stopped responding" in result["msg"]
        and result["msg"].endswith("Mind the journal")
    )
    assert watch.clock.now < 60


def test_job_that_is_forgotten(watch):
    assert (
        "stopped responding" in watch(lambda now: {"failed": True, "msg": "could not find job"}, lambda now: {})["msg"]
    )


def test_job_that_is_slow_but_lives(watch):
    assert "failed" not in watch(ends_after(600), lambda now: told("read 1 9 %d" % (now // 5)))


def test_connection_that_comes_back_or_does_not(watch):
    def lost_until(moment: float) -> Callable[[float], Any]:
        def status(now: float) -> dict[str, Any]:
            if now < moment:
                raise AnsibleConnectionFailure("no route")
            return END

        return status

    assert watch(lost_until(30), lambda now: {})["phase"] == "finished"
    with pytest.raises(AnsibleConnectionFailure, match="continues there; run the same command again"):
        watch(lost_until(1e9), lambda now: {})
