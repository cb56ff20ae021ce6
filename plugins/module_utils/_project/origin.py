# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the value of a service's variable comes from, by compose's own word. Pure.

compose tells twice what a service gets: C(config) resolves it, C(config --no-interpolate) leaves bare names, C(${…})
and the lists of C(env_file) as they are written (compose 2.26.1, executed).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

ENV, OTHER, FILE, LITERAL, MIXED, NOWHERE = "env", "other_name", "env_file", "literal", "expression", "not_passed"
_TOKEN = re.compile(
    r"\$(?:\$|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?P<operator>:?[-?+])?)"
)
_SERVICE = re.compile(r"""(?P<indent>\s*)(["']?)(?P<name>[A-Za-z0-9._-]+)\2\s*:\s*(?:[&#].*|<<.*)?$""")
_COMMENT = re.compile(r"(^|\s)#.*")
_ENTRY = r"""^\s*(?P<dash>-\s*)?["']?%s["']?\s*(?:[=:#]|["']?\s*$)"""
_INLINE = r"""[\[{,]\s*["']?%s["']?\s*(?P<sign>[=:])"""


class Origin(NamedTuple):
    """Where one service has one variable from."""

    kind: str
    """V(env): the line of that name in the .env file; V(other_name): the line of another name there; V(env_file): a file of
    C(env_file); V(literal): the compose file itself; V(expression): the compose file, with other variables in it;
    V(not_passed): nowhere, since the service is not given the variable"""
    name: str = ""
    """that of the line which is read, for V(env) and V(other_name)"""
    file: str = ""
    """that which gives the value, for V(env_file)"""


class Reference(NamedTuple):
    """One C(${NAME…}) in an expression of a compose file."""

    name: str
    operator: str
    """such as V(:-); empty if there is none"""
    whole: bool
    """whether the expression is nothing else"""


class Place(NamedTuple):
    """A line of a compose file."""

    path: str
    number: int
    """from 1; 0 if only the file is known"""
    bare: str
    """what to write there so that the value comes from .env"""

    def __str__(self) -> str:
        return "%s, line %d" % (self.path, self.number) if self.number else self.path


def references(expression: str) -> list[Reference]:
    """The variables that an expression of a compose file names, those inside a default too."""
    found = []
    for token in _TOKEN.finditer(expression):
        name = token.group("bare") or token.group("braced")
        if name:
            whole = token.start() == 0 and token.end() + _rest(expression, token) == len(expression)
            found.append(Reference(name, token.group("operator") or "", whole))
    return found


def _rest(expression: str, token: re.Match[str]) -> int:
    """How many characters there are from the end of a token to the end of its braces."""
    if token.group("braced") is None:
        return 0
    depth, position = 1, token.end()
    while depth and position < len(expression):
        opens = expression.startswith("${", position)
        depth += opens - (expression[position] == "}")
        position += 2 if opens else 1
    return position - token.end()


def written(service: Mapping[str, Any]) -> dict[str, str | None]:
    """What a service's C(environment) says before anything is put in: C(None) for a bare name."""
    listed = service.get("environment") or {}
    if isinstance(listed, Mapping):
        return {name: None if value is None else _text(value) for name, value in listed.items()}
    split = (str(entry).partition("=") for entry in listed)
    return {name: value if equals else None for name, equals, value in split}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def env_files(service: Mapping[str, Any]) -> list[str]:
    """The paths of a service's C(env_file), of which a later one beats an earlier one."""
    listed = service.get("env_file") or []
    entries = [listed] if isinstance(listed, (str, Mapping)) else listed
    return [entry if isinstance(entry, str) else str(entry.get("path", "")) for entry in entries]


def origin(name: str, service: Mapping[str, Any], env_path: str, contents: Mapping[str, Mapping[str, str]]) -> Origin:
    """The origin of a variable in a service.

    service: as it is written, from C(config --no-interpolate).
    contents: path of each C(env_file) to the variables in it.
    """
    entries = written(service)
    if name in entries:
        expression = entries[name]
        if expression is None:
            return Origin(ENV, name)
        found = references(expression)
        if not found:
            return Origin(LITERAL)
        if not found[0].whole or "+" in found[0].operator:
            return Origin(MIXED)
        return Origin(ENV if found[0].name == name else OTHER, found[0].name)
    for path in reversed(env_files(service)):
        if name in contents.get(path, ()):
            return Origin(ENV, name) if path == env_path else Origin(FILE, file=path)
    return Origin(ENV, name) if env_path in env_files(service) else Origin(NOWHERE)


def environment_with(
    resolved: Mapping[str, str],
    service: Mapping[str, Any],
    env_path: str,
    contents: Mapping[str, Mapping[str, str]],
    values: Mapping[str, str],
) -> dict[str, str]:
    """What a service would get if its C(env_file) had other content at C(env_path), which compose still reads from the disk.

    resolved: what compose says that it gets.
    contents: path of each C(env_file) to the variables in it, as they are on the disk.
    values: the variables of that other content.
    """
    paths = env_files(service)
    if env_path not in paths:
        return dict(resolved)
    merged: dict[str, str] = {}
    for path in paths:
        merged.update(values if path == env_path else contents.get(path, {}))
    entries = written(service)
    kept = {name: value for name, value in resolved.items() if name in entries}
    return {**{name: value for name, value in merged.items() if name not in entries}, **kept}


def included(text: str) -> list[tuple[list[str], str]]:
    """Paths, and the project directory if one is named, of each entry of a compose file's C(include)."""
    found: list[tuple[list[str], str]] = []
    inside, listing = False, False
    for line in text.splitlines():
        bare = _COMMENT.sub("", line).strip()
        if not bare:
            continue
        if not line[0].isspace() and not bare.startswith("-"):
            inside, listing = bare.startswith("include:"), False
            found += [([path], "") for path in _flow(bare.partition(":")[2])] if inside else []
            continue
        if not inside:
            continue
        fresh = bare.startswith("-")
        key, colon, value = bare.lstrip("- ").partition(":")
        if fresh and not colon and not listing:
            found.append(([_unquoted(key)], ""))
        elif fresh and not colon:
            found[-1][0].append(_unquoted(key))
        else:
            if fresh:
                found.append(([], ""))
            listing = key == "path" and not value.strip()
            if found and key == "path" and not listing:
                found[-1][0].extend(_flow(value))
            elif found and key == "project_directory":
                found[-1] = (found[-1][0], _unquoted(value))
    return [(paths, directory) for paths, directory in found if paths]


def _flow(value: str) -> list[str]:
    return [_unquoted(part) for part in value.strip().strip("[]").split(",") if part.strip()]


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'")


def names_used(services: Iterable[Mapping[str, Any]], texts: Iterable[str]) -> set[str]:
    """Every name that the project looks up: bare entries of C(environment), and what is put in anywhere in its files."""
    found = {name for service in services for name, value in written(service).items() if value is None}
    return found.union(*([reference.name for reference in references(text)] for text in texts))


def place(texts: Sequence[tuple[str, str]], service: str, name: str) -> Place | None:
    """The line that gives a service a variable, of several files the last one's: in the service's own block, or else anywhere in
    the file, since an anchor may bring it.

    texts: path and text of each compose file, in their order.
    """
    entry, inline = re.compile(_ENTRY % re.escape(name)), re.compile(_INLINE % re.escape(name))
    for lines_of in (_block, lambda lines, _service: range(len(lines))):
        for path, text in reversed(texts):
            lines = text.splitlines()
            for number in lines_of(lines, service):
                found = entry.match(lines[number])
                if found:
                    return Place(path, number + 1, _bare(name, found.group("dash")))
                found = inline.search(lines[number])
                if found:
                    return Place(path, number + 1, name if found.group("sign") == "=" else _bare(name, None))
    return None


def service_line(texts: Sequence[tuple[str, str]], service: str) -> Place | None:
    """The line that begins a service, of several files the last one's."""
    for path, text in reversed(texts):
        block = _block(text.splitlines(), service)
        if block:
            return Place(path, block[0], "")
    return None


def gap(texts: Sequence[tuple[str, str]], service: str, name: str) -> Place:
    """Where a line would have to be added so that a service gets a variable."""
    for path, text in texts:
        lines = text.splitlines()
        block = _block(lines, service)
        for number in block:
            if lines[number].strip().rstrip(":").strip("\"'") == "environment":
                following = lines[number + 1] if number + 1 < len(lines) else ""
                return Place(path, number + 1, _bare(name, "- " if following.strip().startswith("-") else None))
        if block:
            return Place(path, block[0], "environment: [%s]" % name)
    return Place(texts[0][0] if texts else "the compose file", 0, _bare(name, "- "))


def _bare(name: str, dash: str | None) -> str:
    return "- %s" % name if dash else "%s: ${%s}" % (name, name)


def _block(lines: Sequence[str], service: str) -> range:
    """The numbers, from 0, of the lines below a service's own one."""
    inside, depth = False, -1
    for number, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            inside, depth = bool(re.match(r"services\s*:", line)), -1
            continue
        if not inside:
            continue
        depth = indent if depth < 0 else depth
        found = _SERVICE.match(line)
        if indent == depth and found and found.group("name") == service:
            end = number + 1
            while end < len(lines) and _belongs(lines[end], depth):
                end += 1
            return range(number + 1, end)
    return range(0)


def _belongs(line: str, depth: int) -> bool:
    return not line.strip() or line.lstrip().startswith("#") or len(line) - len(line.lstrip()) > depth
