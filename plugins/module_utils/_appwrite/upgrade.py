# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Appwrite's own upgrade makes of C(.env), which it reads with a parser of its own, writes anew, and hands to compose.

The rules are those of C(src/Appwrite/Docker/Env.php), C(app/views/install/env.phtml) and
C(src/Appwrite/Platform/Tasks/Install.php) in 1.4.14 to 1.9.6. The installer of the newer release runs, so a file of 1.8.1 or
earlier may meet both of its kinds.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from typing import Iterable, Iterator, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

ROUNDS = 3
_PHP_SPACE = " \t\n\r\0\x0b"
_UNQUOTES_SINCE = (1, 9)
_RESET = (
    "_APP_EXECUTOR_HOST",
    "_APP_BROWSER_HOST",
    "_APP_FUNCTIONS_MAINTENANCE_INTERVAL",
    "_APP_COMPUTE_MAINTENANCE_INTERVAL",
)
"""C('overwrite' => true) in C(variables.php)."""
_FORCED = {"_APP_DB_HOST": tuple(catalogue.DATABASE_PORTS), "_APP_DB_PORT": tuple(catalogue.DATABASE_PORTS.values())}
"""Set from the adapter since 1.9.0 (appwrite/appwrite#11902)."""


def loss(name: str, value: str, text: str, release: str) -> str | None:
    """Why an upgrade from this release would not keep the value that C(text) holds for the name; None if it does."""
    if not catalogue.documented(name, release):
        return "it drops what Appwrite's variables.php does not name"
    usual = catalogue.default(name, release) or ""
    if name in _RESET and value != usual:
        return "it sets this to the default"
    if value and value not in _FORCED.get(name, (value,)):
        return "from 1.9.0 on it sets this to the bundled database's"
    if not _survives(name, value, text, usual, True):
        return 'from 1.9.0 on it keeps values of one line without \\, ", $ and backticks, and no `export`'
    if catalogue.is_older(release, _UNQUOTES_SINCE) and not _survives(name, value, text, usual, False):
        return "up to 1.8.1 it makes the quotes, which this value needs in .env, a part of it"
    return None


def warnings(values: Mapping[str, str], text: str, release: str) -> Iterator[str]:
    """At most one, for all of these values."""
    lost: dict[str, list[str]] = {}
    for name, value in sorted(values.items()):
        reason = loss(name, value, text, release)
        if reason:
            lost.setdefault(reason, []).append(name)
    if lost:
        yield (
            "Appwrite's own upgrade would not keep everything that was written, so run this again after each: %s"
            % "; ".join("%s (%s)" % (", ".join(names), reason) for reason, names in lost.items())
        )


def _survives(name: str, value: str, text: str, usual: str, unquotes: bool) -> bool:
    """Both what the installer's shell hands to compose, which beats the file, and what compose reads in the file afterwards."""
    for _round in range(ROUNDS):
        read = _read(text.split("\n"), name, usual, unquotes)
        if read != value:
            return False
        text = "%s=%s\n" % (name, _written(read) if unquotes else read)
        try:
            if parse(text).values.get(name, "") != value:
                return False
        except AppwriteError:
            return False
    return True


def _read(rows: Iterable[str], name: str, usual: str, unquotes: bool) -> str:
    found = usual
    for row in rows:
        key, sign, value = row.partition("=")
        if sign and key.strip(_PHP_SPACE) == name:
            found = value.strip(_PHP_SPACE)
            if unquotes and found[:1] in ('"', "'") and found[:1] == found[-1:]:
                found = found[1:-1]
    return found


def _written(value: str) -> str:
    return '"%s"' % re.sub(r'(["\\$`])', r"\\\1", value) if value else ""
