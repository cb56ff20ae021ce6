# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes long runs in the background of the managed host, so that a lost connection does not end it, and is watched from here.

This is a private plugin utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._action import HostAction, answer, printable

_LONGEST = 7 * 24 * 3600
_POLL = 1.0
_TELL = 5.0
"""Seconds after which a line is printed at the latest, also if it is the same."""
_SILENCE = 45.0
"""Seconds without a sign of life after which the job on the host is gone: it gives one every five (C(_progress_file.Progress))."""
_LINE = 400
"""Characters of what a host says of its progress that are looked at."""
_T = TypeVar("_T")

display = Display()


class WatchedAction(HostAction):
    """An action whose module takes the option C(progress_file). It may be handed no secret: its arguments lie in a file while it works."""

    def watch(self, module: str, arguments: Mapping[str, Any], lost: str) -> dict[str, Any]:
        """lost: what has become of its work, and what to do, if the job dies without a result."""
        # where whoever the module runs as may write, unlike in the connection's directory
        progress = self._connection._shell.join_path(self._jobs, "selfhost-appwrite-" + secrets.token_hex(8))
        copied = self._connection._shell.tmpdir or self._make_tmp_path()
        self._task.async_val = _LONGEST
        try:
            started = self._execute_module(
                module_name=module,
                module_args={**arguments, "progress_file": progress},
                task_vars=self._task_vars,
                wrap_async=True,
            )
            if not started.get("ansible_job_id"):
                return answer(started)
            found = self._wait(str(started["ansible_job_id"]), progress)
            if not C.DEFAULT_KEEP_REMOTE_FILES:  # what is killed removes nothing, and what is not does so late
                self._low_level_execute_command(self._connection._shell.remove(copied, recurse=True), sudoable=False)
            return found or {
                "failed": True,
                "msg": (
                    "the process that was at work on %s stopped responding: the machine was rebooted, or the process was killed. %s"
                    % (self.host, lost)
                ),
            }
        finally:
            self._task.async_val = 0

    @property
    def _jobs(self) -> str:
        return str(self.get_shell_option("async_dir", default="~/.ansible_async"))

    def _wait(self, job: str, progress: str) -> dict[str, Any] | None:
        """The job's result, or nothing if it is lost."""
        alive = time.monotonic()
        said, shown, due = ["working", "0", "0", ""], [""], alive
        while True:
            time.sleep(_POLL)
            status = self._patiently(
                lambda: self._poll("ansible.legacy.async_status", jid=job, mode="status", _async_dir=self._jobs)
            )
            if status.get("msg") == "could not find job":
                return None
            # async_status takes a result with a "started" of its own, as that of apply, for a job that runs
            if status.get("finished") or status.get("failed") or isinstance(status.get("started"), list):
                self._poll("ansible.legacy.async_status", jid=job, mode="cleanup", _async_dir=self._jobs)
                return answer(
                    {
                        name: value
                        for name, value in status.items()
                        if name not in ("stdout", "stderr", "stdout_lines", "stderr_lines")
                    }
                )
            words = self._patiently(lambda: self._progress(progress))
            now = time.monotonic()
            if len(words) >= 4 and words[3] != said[3]:
                said, alive = words, now
            if now - alive > _SILENCE:
                self._poll("ansible.legacy.async_status", jid=job, mode="cleanup", _async_dir=self._jobs)
                return None
            about = [said[0], *said[4:]]
            if about != shown or now >= due:
                display.display("%s: %s" % (self.host, _line(said)))
                shown, due = about, now + _TELL

    def _progress(self, path: str) -> list[str]:
        content = self._poll("ansible.legacy.slurp", src=path).get("content")
        try:
            return (
                printable(base64.b64decode(content or "")[:_LINE].decode("ascii", "replace")).partition("\n")[0].split()
            )
        except (TypeError, ValueError):
            return []

    def _poll(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A question to the host, which is asked in check mode too."""
        with self._check_mode(False):
            found: dict[str, Any] = self._execute_module(
                module_name=name, module_args=arguments, task_vars=self._task_vars
            )
        return found

    def _patiently(self, question: Callable[[], _T]) -> _T:
        """The job goes on if the connection is lost, and so does this for a while."""
        lost = time.monotonic()
        while True:
            try:
                return question()
            except AnsibleConnectionFailure as error:
                if time.monotonic() - lost > _SILENCE:
                    raise AnsibleConnectionFailure(
                        "%s. What was begun on the host continues there; run the same command again, which waits for it or resumes it"
                        % error
                    ) from None
            time.sleep(_POLL)


def _line(said: Sequence[str]) -> str:
    phase, done, total, _beat, *waiting = said
    line = (
        phase
        if (done, total) == ("0", "0")
        else "%s %s" % (phase, done)
        if total == "0"
        else "%s %s of %s" % (phase, done, total)
    )
    return "%s, waiting for %s" % (line, " ".join(waiting)) if waiting else line
