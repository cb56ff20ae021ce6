# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project as its files are written, before any variable is put in: where each value of each service comes from.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import origin
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.asked import Asked
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose, ComposeError

_CALLED = re.compile(
    r"""^\s*(?:-\s+)?(?:(?:image|container_name|hostname):\s*["']?([^\s"'#]+)|["']?([\w.-]+)["']?\s*:(?=\s|$))""",
    re.MULTILINE,
)
"""The value of a key that names something, or else the key."""


class Written:
    """Everything is read when it is asked for, and once: a run that changes nothing needs none of it.

    files: the paths of the compose files.
    candidate: the content that stands for the .env file; C(None) if that is read from the disk.
    """

    def __init__(self, compose: Compose, env_path: str, files: Sequence[str], candidate: bytes | None) -> None:
        self._compose = compose
        self._env_path = env_path
        self._files = files
        self._candidate = candidate
        self._texts: list[tuple[str, str]] = []
        self._services: dict[str, Any] | None = None
        self._contents: dict[str, dict[str, str]] | None = None
        self._included: list[tuple[list[str], str]] = []

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Path and text of each compose file, those behind that others include.

        Raises AppwriteError if one cannot be read.
        """
        self._include()
        return self._texts

    def _include(self) -> list[tuple[list[str], str]]:
        """Paths and directory of what the files include."""
        if not self._texts:
            self._texts, waiting = [], list(self._files)
            while waiting:
                path = waiting.pop(0)
                text = _read(path)
                self._texts.append((path, text))
                for paths, directory in origin.included(text):
                    found = [os.path.join(os.path.dirname(path), part) for part in paths]
                    found = [part for part in found if os.path.isfile(part)]
                    if found and not any(part == known for part in found for known, _text in self._texts):
                        self._included.append((found, os.path.join(os.path.dirname(path), directory)))
                        waiting += found
        return self._included

    @property
    def services(self) -> dict[str, Any]:
        """The services before any variable is put in; of those in files that are included too.

        Raises ComposeError if compose rejects the project.
        """
        if self._services is None:
            included = self._include()
            asked = Asked(lambda: self._compose.as_written(self._candidate))
            self._compose.require_new()
            self._services = dict(asked.answer()["services"])
            for paths, directory in included:
                try:
                    parts = self._compose.as_written(self._candidate, (paths, directory))
                except ComposeError:
                    continue  # it needs what another file declares, and is read as compose resolves it
                self._services.update(
                    {name: service for name, service in parts["services"].items() if name in self._services}
                )
        return self._services

    @property
    def contents(self) -> dict[str, dict[str, str]]:
        """Path of each C(env_file) to the variables in it, as they are on the disk."""
        if self._contents is None:
            paths = {path for service in self.services.values() for path in origin.env_files(service)}
            self._contents = {path: _variables(path, self._compose.environment) for path in sorted(paths)}
        return self._contents

    @property
    def has_env_files(self) -> bool:
        """Whether a service may get variables from a file of its own."""
        return any("env_file" in text for _path, text in self.texts)

    def origin(self, service: str, name: str) -> origin.Origin:
        return origin.origin(name, self.services.get(service, {}), self._env_path, self.contents)

    def passes(self, service: str, name: str) -> bool:
        """Whether a service gets a variable once it is set."""
        return self.origin(service, name).kind != origin.NOWHERE

    def with_candidate(
        self, services: Mapping[str, Mapping[str, str]], values: Mapping[str, str]
    ) -> dict[str, Mapping[str, str]]:
        """What services get if .env has these values; compose reads the one that C(env_file) names from the disk."""
        if not self.has_env_files:
            return dict(services)
        return {
            name: origin.environment_with(
                environment, self.services.get(name, {}), self._env_path, self.contents, values
            )
            for name, environment in services.items()
        }

    def names(self) -> set[str]:
        """Every variable that the project itself looks up."""
        texts = (text for _path, text in self.texts)
        return origin.names_used(self.services.values(), texts)

    def unset(self, values: Mapping[str, str]) -> list[str]:
        """The variables that the files put in without a default, and that neither these values nor the shell give."""
        lines = (line for _path, text in self.texts for line in text.splitlines() if not line.lstrip().startswith("#"))
        names = {found.name for line in lines for found in origin.references(line) if not found.operator}
        return sorted(names - {*values, *self._compose.environment})

    def called(self) -> set[str]:
        """What the project's parts are called: its directory, its files, and in these every key, image and container."""
        found = set(self._env_path.split(os.sep))
        with suppress(AppwriteError):
            for path, text in self.texts:
                found |= {os.path.basename(path), *(name or key for name, key in _CALLED.findall(text))}
        return found

    def place(self, service: str, name: str) -> origin.Place | None:
        """The line of a compose file that gives a service a variable."""
        return origin.place(self.texts, service, name)

    def service_line(self, service: str) -> origin.Place | None:
        """The line that begins a service, of several files the last one's; C(None) if it is not found."""
        return origin.service_line(self.texts, service)

    def source(self, service: str, name: str) -> tuple[origin.Origin, str, int]:
        """The origin of a variable in a service; the file that gives it, unless that is .env; and the number of its line there.

        The file is empty if .env or nothing gives it, and the number is 0 if the line is not known.
        """
        found = self.origin(service, name)
        if found.kind == origin.FILE:
            return found, found.file, self.line_of(found.file, name)
        place = self.place(service, name) if found.kind in (origin.LITERAL, origin.MIXED) else None
        return found, place.path if place else "", place.number if place else 0

    def gap(self, services: Iterable[str], name: str) -> origin.Place:
        """Where a line would have to be added so that the first of these services gets a variable."""
        return origin.gap(self.texts, next(iter(services), ""), name)

    def line_of(self, path: str, name: str) -> int:
        """The number of the line that sets a variable in a file of C(env_file), from 1; 0 if there is none."""
        lines = _read(path).splitlines()
        starts = (name + "=", "export %s=" % name)
        return next((number for number, line in enumerate(lines, 1) if line.lstrip().startswith(starts)), 0)


def _read(path: str) -> str:
    with words("files: %s" % path, "read"), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _variables(path: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Empty if compose, too, would have nothing from it."""
    try:
        with words("env_file: %s" % path, "read"), open(path, "rb") as stream:
            data = stream.read()
        return dict(parse(decode(data), environment).values)
    except AppwriteError:
        return {}
