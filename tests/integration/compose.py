# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker compose, asked what it reads in a ``.env``."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import encode

Values = dict[str, "str | None"]
Environ = t.Mapping[str, str]


# what 2.26.1 rejects and a newer release accepts, by a part of our reason
LENIENT = {
    "${": "B=1\nA=${B:-${C}\n",  # compose-go 2.10.1 and later do not look into the unused half of a conditional
    "without a": "=1\n",  # 5.6.0 passes over a value without a name, and so over a bare name at the end of a file
    "NUL": 'A="\\0000"\n',
}


class Rejected(t.NamedTuple):
    message: str


Answer = t.Union[Values, Rejected]


class Compose:
    """Asks `docker compose config` what it reads; a rejection is an answer too."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = _program()
        self.lenient = [reason for reason, text in LENIENT.items() if isinstance(self.ask(text, (), {}), dict)]

    def ask(self, text: str, names: t.Iterable[str], environ: Environ) -> Answer:
        """One file, read as a user's command reads it."""
        (self._directory / "one.env").write_bytes(encode(text))
        answer = self._config({"services": {"s": _service(names)}}, environ, "--env-file", "one.env")
        return answer if isinstance(answer, Rejected) else answer["s"]

    def ask_all(self, files: t.Sequence[tuple[str, t.Iterable[str]]], environ: Environ) -> list[Values] | Rejected:
        """Many files in one call, as the environments of included projects; compose's second reading is not made here."""
        for number, (text, names) in enumerate(files):
            self._write("%d.json" % number, {"services": {"s%d" % number: _service(names)}})
            (self._directory / ("%d.env" % number)).write_bytes(encode(text))
        includes = [{"path": "%d.json" % number, "env_file": "%d.env" % number} for number in range(len(files))]
        answer = self._config({"include": includes}, environ)
        return answer if isinstance(answer, Rejected) else [answer["s%d" % number] for number in range(len(files))]

    def _write(self, name: str, project: dict[str, t.Any]) -> None:
        (self._directory / name).write_text(json.dumps(project), encoding="ascii")

    def _config(self, project: dict[str, t.Any], environ: Environ, *options: str) -> dict[str, Values] | Rejected:
        self._write("compose.json", {"name": "dotenv", **project})
        ours = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
        done = subprocess.run(
            [self._program, "--file", "compose.json", *options, "config", "--format", "json"],
            cwd=self._directory,
            env={**ours, **environ},
            capture_output=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            return Rejected(done.stderr.decode("utf-8", "replace"))
        services = json.loads(done.stdout)["services"]
        return {
            service: {
                name: value and value.replace("$$", "$") for name, value in (content["environment"] or {}).items()
            }
            for service, content in services.items()
        }


@functools.cache
def _program() -> str:
    """The file that `docker compose` runs, started directly: that halves the time of a call."""
    plugins = json.loads(subprocess.check_output(["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"]))
    return str(next(plugin["Path"] for plugin in plugins if plugin["Name"] == "compose"))


def _service(names: t.Iterable[str]) -> dict[str, t.Any]:
    return {"image": "none", "environment": sorted({*names, "A"})}
