# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a secret could come to light when Ansible runs."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed._base import CHECKOUT, clean_environ

# --- a place to run plays in ---

# Every result, as a callback that makes JSON of them sees it; ansible-core comes with none that does.
_CALLBACK = """
import json, os
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "everything"

    def _write(self, result, **_more):
        with open(os.environ["EVERYTHING"], "a") as stream:
            print(json.dumps(result.result if hasattr(result, "result") else result._result, default=str), file=stream)

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = v2_on_file_diff = _write
    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = v2_runner_retry = _write
"""
# A /dev of the play's own, with a log in it: not every machine has one, and it would not be ours to read.
_OWN_LOG = """
dev=$1 log=$2
shift 2
mount -t tmpfs none "$dev"
for each in null zero full random urandom tty; do
    : >"$dev/$each"
    mount --bind "/dev/$each" "$dev/$each"
done
for each in pts shm; do
    mkdir "$dev/$each"
    mount --rbind "/dev/$each" "$dev/$each"
done
ln -s /proc/self/fd "$dev/fd"
ln -s fd/0 "$dev/stdin"
ln -s fd/1 "$dev/stdout"
ln -s fd/2 "$dev/stderr"
: >"$dev/log"
mount --bind "$log" "$dev/log"
mount --rbind "$dev" /dev
exec "$@"
"""
_CALLS = "execve,?open,openat,?creat,?mkdir,mkdirat,?rename,renameat,renameat2,?chmod,fchmod,fchmodat"
_OPENED = re.compile(r"(?:open|openat|creat)\(.*(?:O_CREAT|creat\().*, (0[0-7]*)\) += \d+<(/.*)>$")
_MADE = re.compile(r'mkdir(?:at)?\((?:AT_FDCWD<[^>]*>, )?"(/[^"]*)", (0[0-7]*)\) += 0$')
_MOVED = re.compile(r'rename(?:at2?)?\((?:AT_FDCWD<[^>]*>, )?"([^"]*)", (?:AT_FDCWD<[^>]*>, )?"([^"]*)".*\) += 0$')
_CHANGED = re.compile(r'f?chmod(?:at)?\((?:AT_FDCWD<[^>]*>, |\d+<)?"?([^">]*)[">], (0[0-7]*)\) += 0$')


class World:
    """Runs plays, and keeps everything that they print, log, cache, hand to other programs, and let others read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = "localhost"
        self.output = {"stdout": "", "stderr": ""}
        self.syslog: list[str] = []
        self._projects: list[Path] = []
        self._traces = 0
        for name in ("callback", "facts", "junit", "retry", "home", "dev", "scratch"):
            (root / name).mkdir()
        (root / "trace").mkdir(mode=0o700)
        (root / "callback" / "everything.py").write_text(_CALLBACK)

    def environ(self) -> dict[str, str]:
        root = self.root
        return {
            **{name: value for name, value in clean_environ().items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work" / "import"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_HOME": f"{root}/home",
            "ANSIBLE_LOCAL_TEMP": f"{root}/local",
            "ANSIBLE_REMOTE_TEMP": f"{root}/remote",
            "TMPDIR": f"{root}/scratch",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_KEEP_REMOTE_FILES": "0",
            "ANSIBLE_CALLBACK_PLUGINS": f"{root}/callback",
            "ANSIBLE_CALLBACKS_ENABLED": "junit,everything",
            "EVERYTHING": f"{root}/everything",
            "JUNIT_OUTPUT_DIR": f"{root}/junit",
            "ANSIBLE_LOG_PATH": f"{root}/log",
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": f"{root}/facts",
            "ANSIBLE_RETRY_FILES_ENABLED": "true",
            "ANSIBLE_RETRY_FILES_SAVE_PATH": f"{root}/retry",
        }

    def run(
        self,
        tasks: list[dict[str, Any]],
        options: Any = None,
        projects: Iterable[Path] = (),
        environ: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Runs tasks at Ansible's most talkative and returns its status and output.

        options: a variable for the tasks, in a file as an inventory's secrets are; lines of a playbook may be printed where a task fails.
        """
        self._projects += projects
        self._traces += 1
        source = self.root / f"play{self._traces}.yml"
        source.write_text(
            json.dumps([{"hosts": "all", "gather_facts": True, "gather_subset": ["!all"], "tasks": tasks}])
        )
        variables = self.root / f"variables{self._traces}.json"
        variables.touch(mode=0o600)
        variables.write_text(json.dumps({"ansible_python_interpreter": sys.executable, "options": options}))
        trace = (
            "strace",
            "-ff",
            "--seccomp-bpf",
            "-qq",
            "-y",
            "-v",
            "-s",
            "1000000",
            "-e",
            "signal=none",
            "-e",
            f"trace={_CALLS}",
            "-o",
            self.root / "trace" / str(self._traces),
        )
        own = () if os.geteuid() == 0 else ("--map-root-user",)
        with _log(self.root / "syslog", self.syslog) as log:
            done = subprocess.run(
                [
                    "unshare",
                    *own,
                    "--mount",
                    "sh",
                    "-euc",
                    _OWN_LOG,
                    "sh",
                    self.root / "dev",
                    log,
                    *trace,
                    Path(sys.executable).with_name("ansible-playbook"),
                    "--inventory",
                    f"{self.host},",
                    "--connection",
                    "local",
                    "-vvvv",
                    "--diff",
                    "--extra-vars",
                    f"@{variables}",
                    source,
                ],
                env={**self.environ(), **(environ or {})},
                cwd=self.root / "scratch",
                umask=0o022,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        self.output["stdout"] += done.stdout
        self.output["stderr"] += done.stderr
        return done.returncode, done.stdout + done.stderr

    def channels(self) -> dict[str, str]:
        """Name to all that went that way."""
        executed = [line for line in self._trace() if line.startswith("execve(")]
        kept = {
            name: "\n".join(
                f"{path.name}\n{path.read_text()}" for path in sorted((self.root / name).rglob("*")) if path.is_file()
            )
            for name in ("facts", "junit", "retry")
        }
        return {
            **self.output,
            **kept,
            "callback": (self.root / "everything").read_text(),
            "log": (self.root / "log").read_text(),
            "syslog": "\n".join(self.syslog),
            "processes": "\n".join(executed),
            "files": "\n".join(self._exposed()),
        }

    def executed(self) -> int:
        return sum(line.startswith("execve(") for line in self._trace())

    def _trace(self) -> list[str]:
        return [
            line
            for path in sorted((self.root / "trace").iterdir())
            for line in path.read_text(errors="replace").splitlines()
        ]

    def _exposed(self) -> Iterator[str]:
        """What others could read at any time, with its path. A file that is gone is told of whatever was in it: nobody can know any more."""
        private, opened, moved = set(), set(), {}
        for line in self._trace():
            if found := _OPENED.match(line):
                opened |= {found[2]} if int(found[1], 8) & 0o044 else set()
            elif found := _CHANGED.match(line):
                opened |= {found[1]} if int(found[2], 8) & 0o044 else set()
            elif found := _MOVED.match(line):
                moved[found[1]] = found[2]
            elif (found := _MADE.match(line)) and not int(found[2], 8) & 0o011:
                private.add(found[1])
        present = {
            str(path)
            for top in (*self._projects, self.root)
            for path in top.rglob("*")
            if path.is_file() and path.stat().st_mode & 0o044
        }
        for name in sorted(opened | present):
            end = Path(moved.get(name, name))
            if any(
                str(above) in private or above.exists() and not above.stat().st_mode & 0o011
                for above in self._above(end)
            ):
                continue
            try:
                if stat.S_ISREG(end.stat().st_mode):
                    yield f"{end}\n{end.read_bytes().decode(errors='replace')}"
            except FileNotFoundError:
                yield f"{end} came and went\n{GONE}"

    def _above(self, path: Path) -> Iterator[Path]:
        """The directories on the way to a file that are the play's: where this place and the projects are, is pytest's choice."""
        for above in path.parents:
            if above in (self.root, *self._projects):
                return
            yield above


GONE = "others could read it, and what was in it cannot be told"


class _log:
    """Listens as the system's logger does."""

    def __init__(self, path: Path, messages: list[str]) -> None:
        self._path = path
        self._messages = messages
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Path:
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self._path

    def _listen(self) -> None:
        while message := self._socket.recv(1 << 20):
            self._messages.append(message.decode(errors="replace"))

    def __exit__(self, *_error: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self._path))
        self._thread.join()
        self._socket.close()
