# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Appwrite's own upgrade makes of C(.env), which it reads with a parser of its own, writes anew, and hands to compose.

The rules are those of C(src/Appwrite/Docker/Env.php), C(app/views/install/env.phtml) and
C(src/Appwrite/Platform/Tasks/Install.php) in 1.4.14 to 1.9.6, and of 2.x in appwrite/appwrite 0cefd0615350. The installer of the
newer release runs, so a file meets that of its own kind and those of all later ones.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Callable, Iterator, Mapping, NamedTuple

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

ROUNDS = 3
_PHP_SPACE = " \t\n\r\0\x0b"
_UNREAD_SINCE = (2, 0, 1)
"""C(variables.php) of later releases was not to be had, so that it may name what came with them."""
_RESET = (
    "_APP_EXECUTOR_HOST",
    "_APP_JOBS_HOST",
    "_APP_JOBS_ENDPOINT",
    "_APP_BROWSER_HOST",
    "_APP_FUNCTIONS_MAINTENANCE_INTERVAL",
    "_APP_COMPUTE_MAINTENANCE_INTERVAL",
)
"""C('overwrite' => true) in C(variables.php)."""
_FORCED = {"_APP_DB_HOST": tuple(catalogue.DATABASE_PORTS), "_APP_DB_PORT": tuple(catalogue.DATABASE_PORTS.values())}
"""Set from the adapter since 1.9.0 (appwrite/appwrite#11902)."""


def loss(name: str, value: str, text: str, release: str) -> str | None:
    """Why an upgrade from this release would not keep the value that C(text) holds for the name; None if it does."""
    variable = catalogue.get(name)
    may_be_named = variable is not None and not catalogue.is_older(variable.rows[0][0], _UNREAD_SINCE)
    if not catalogue.documented(name, release) and not may_be_named:
        return "it drops what Appwrite's variables.php does not name"
    usual = catalogue.default(name, release) or ""
    if name in _RESET and value != usual:
        return "it sets this to the default"
    if value and value not in _FORCED.get(name, (value,)):
        return "from 1.9.0 on it sets this to the bundled database's"
    for kind in _KINDS:
        at = kind.newest if catalogue.is_older(release, kind.since) else release
        is_met = kind.until is None or catalogue.is_older(release, kind.until)
        if is_met and not _survives(name, value, text, catalogue.default(name, at) or "", kind):
            return kind.loses
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


def _read_lines(text: str) -> Iterator[tuple[str, str]]:
    for row in text.split("\n"):
        key, sign, value = row.partition("=")
        if sign:
            yield key.strip(_PHP_SPACE), value.strip(_PHP_SPACE)


def _read_unquoted(text: str) -> Iterator[tuple[str, str]]:
    for key, value in _read_lines(text):
        yield key, value[1:-1] if value[:1] in ('"', "'") and value[:1] == value[-1:] else value


def _read_quoted(text: str) -> Iterator[tuple[str, str]]:
    """Quotes may span lines; in double ones there are escapes."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) % (len(text) + 1)
        key, sign, _value = text[start:end].partition("=")
        begin, start = start + len(key) + 1, end + 1
        if not sign or key.lstrip(" \t")[:1] in ("", "#") or not key.strip(_PHP_SPACE):
            continue
        while text[begin : begin + 1] in (" ", "\t"):
            begin += 1
        if text[begin : begin + 1] == "\r":
            start = _next_line(text, begin)
            yield key.strip(_PHP_SPACE), ""
            continue
        if text[begin : begin + 1] not in ("'", '"'):
            bare = _COMMENT.split(_without_return(text[begin:end]), 1)[0]
            yield key.strip(_PHP_SPACE), bare.rstrip(" \t")
            continue
        value, after = _within_quotes(text, begin)
        if value is None:
            value = _without_return(text[begin + 1 : end])
        else:
            start = _next_line(text, after)
        yield key.strip(_PHP_SPACE), value


def _within_quotes(text: str, begin: int) -> tuple[str | None, int]:
    """The value, and where its closing quote ends; C(None) if there is none before the next variable's opening one."""
    quote, position, value, is_beyond = text[begin], begin + 1, "", False
    while position < len(text):
        char = text[position]
        is_beyond = is_beyond or char in "\r\n"
        if char == quote:
            line = text[text.rfind("\n", 0, position) + 1 : position]
            return (None, 0) if is_beyond and _OPENER.fullmatch(line) else (value, position + 1)
        if quote == '"' and char == "\\" and position + 1 < len(text):
            after = text[position + 1]
            value += _ESCAPES.get(after, char + after)
            position += 2
        else:
            value += char
            position += 1
    return None, 0


def _next_line(text: str, position: int) -> int:
    while position < len(text) and text[position] not in "\r\n":
        position += 1
    return position + (2 if text.startswith("\r\n", position) else 1)


def _without_return(text: str) -> str:
    return text[:-1] if text.endswith("\r") else text


def _written_escaped(value: str) -> str:
    return '"%s"' % re.sub(r'(["\\$`])', r"\\\1", value) if value else ""


def _written_in_one_line(value: str) -> str:
    for char, letter in (("\n", "n"), ("\r", "r"), ("\t", "t")):
        value = value.replace(char, "\0" + letter)
    return _written_escaped(value).replace("\0", "\\")


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'", "$": "$", "`": "`"}
_COMMENT = re.compile(r"\s+#", re.ASCII)
_OPENER = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*=\s*", re.ASCII)


class _Kind(NamedTuple):
    """One way to read and write."""

    since: tuple[int, ...]
    newest: str
    """known release that has it"""
    until: tuple[int, ...] | None
    """the first release that has another way; C(None) if none is known"""
    read: Callable[[str], Iterator[tuple[str, str]]]
    write: Callable[[str], str]
    loses: str


_KINDS = (
    _Kind(
        (2,),
        catalogue.NEWEST,
        None,
        _read_quoted,
        _written_in_one_line,
        "from 2.0.0 on it keeps values without backticks, and neither `export` nor variables in a value",
    ),
    _Kind(
        (1, 9),
        "1.9.6",
        (2,),
        _read_unquoted,
        _written_escaped,
        'in 1.9 it keeps values of one line without \\, ", $ and backticks, and no `export`',
    ),
    _Kind(
        (1, 4),
        "1.8.1",
        (1, 9),
        _read_lines,
        str,
        "up to 1.8.1 it makes the quotes, which this value needs in .env, a part of it",
    ),
)


@lru_cache(maxsize=8)
def _values(read: Callable[[str], Iterator[tuple[str, str]]], text: str) -> Mapping[str, str]:
    return dict(read(text))


def _survives(name: str, value: str, text: str, usual: str, kind: _Kind) -> bool:
    """Both what the installer's shell hands to compose, which beats the file, and what compose reads in the file afterwards."""
    for _round in range(ROUNDS):
        read = _values(kind.read, text).get(name, usual)
        if read != value:
            return False
        text = "%s=%s\n" % (name, kind.write(read))
        try:
            if parse(text).values.get(name, "") != value:
                return False
        except AppwriteError:
            return False
    return True
