# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``appwrite upgrade`` does to a ``.env``: its reader and its writer, told again in Python.

The real ones are PHP inside Appwrite's image, which cannot be had without an image registry, and their text is not ours to copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue

OVERWRITTEN = {
    "_APP_EXECUTOR_HOST",
    "_APP_JOBS_HOST",
    "_APP_JOBS_ENDPOINT",
    "_APP_BROWSER_HOST",
    "_APP_FUNCTIONS_MAINTENANCE_INTERVAL",
    "_APP_COMPUTE_MAINTENANCE_INTERVAL",
}
BUNDLED = {"mariadb": ("mariadb", "3306"), "mongodb": ("mongodb", "27017"), "postgresql": ("postgresql", "5432")}
_ENTRY = re.compile(
    r"""^(?![ \t]*\#)([^=\n]+)=[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\n]*))""", re.MULTILINE | re.DOTALL
)
"""What the installer of 2.x reads as a variable; a quote that nothing closes is not told of here."""
_WHITE = " \t\n\r\0\x0b"


class Installer:
    """The installer of one release."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.new = catalogue._version(release) >= (1, 9)
        self.newest = catalogue._version(release) >= (2,)

    def upgrade(self, text: str) -> tuple[str, dict[str, str]]:
        """The file afterwards, and the variables of the shell in which compose is started."""
        values = {
            name: catalogue.default(name, self.release) or ""
            for name in catalogue.names(self.release)
            if catalogue.documented(name, self.release)
        }
        values.update((name, value) for name, value in self._read(text).items() if name in values.keys() - OVERWRITTEN)
        if self.new:
            values["_APP_DB_HOST"], values["_APP_DB_PORT"] = BUNDLED[values.get("_APP_DB_ADAPTER") or "mariadb"]
        written = "".join(f"{name}={self._written(value)}\n" for name, value in values.items())
        return written, {name: value for name, value in values.items() if value and (self.new or value != "0")}

    def _read(self, text: str) -> Mapping[str, str]:
        if self.newest:
            return {found[1].strip(_WHITE): _newest_value(found) for found in _ENTRY.finditer(text)}
        values = {}
        for line in text.split("\n"):
            name, assigned, value = line.partition("=")
            if assigned and name.strip(_WHITE):
                values[name.strip(_WHITE)] = self._unquoted(value.strip(_WHITE))
        return values

    def _unquoted(self, value: str) -> str:
        quoted = any(value.startswith(mark) and value.endswith(mark) for mark in "\"'")
        return value[1:-1] if self.new and quoted else value

    def _written(self, value: str) -> str:
        if not self.new:
            return value
        letters = {"\n": "n", "\r": "r", "\t": "t"} if self.newest else {}
        return value and '"%s"' % "".join(
            "\\" + letters.get(one, one) if one in letters or one in '"\\$`' else one for one in value
        )


def _newest_value(found: re.Match[str]) -> str:
    _whole, _key, double, single, bare = found[0], *found.groups()
    if double is not None:
        return re.sub(r"\\([nrt\\\"'$`])", lambda one: {"n": "\n", "r": "\r", "t": "\t"}.get(one[1], one[1]), double)
    return re.split(r"\s+#", bare)[0].rstrip(" \t") if single is None else single
