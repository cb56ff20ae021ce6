# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read and edit the text of a C(.env) file exactly as docker compose (2.18 and later) reads it.

Pure: no files, no processes. No message of this file contains a value, or a name that might be a piece of one.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Callable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

# What Go, in which compose is written, calls a space; Python's str.strip() also removes U+001C to U+001F.
_LINE_SPACE = "\t\v\f\r \x85\xa0"
_SPACE = _LINE_SPACE + "\n\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_BOM = "\ufeff"

_SPACES = re.compile("[%s]*" % _SPACE)
_LINE_SPACES = re.compile("[%s]*" % _LINE_SPACE)
_EXPORT = re.compile("export(?=[\t\n\f\r ])[%s]*" % _LINE_SPACE)
_NAME_END = re.compile("[=:\n]")
_QUOTED = {
    "'": ("single", re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'", re.DOTALL)),
    '"': ("double", re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)),
}
_ESCAPE = re.compile(r'\\(?:0([0-9]{0,3})|([abcfnrtv$"\\]))')
# \c stays as it is; \$ becomes $$, which the expansion turns into $.
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "c": "\\c",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "$": "$$",
    '"': '"',
    "\\": "\\",
}
# Matching without regard to case, Go counts the long s and the Kelvin sign as letters of the alphabet.
_REFERENCE = re.compile("\\$(?:(\\$)|([{]?)([A-Za-z_\u017f\u212a][A-Za-z0-9_\u017f\u212a]*)|[{])")
_OPERATOR = re.compile(":?[-+?]")
_MAX_NESTING = 50
_NUL = "value contains a NUL character, which no environment variable can hold"

_WRITABLE_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile("[A-Za-z0-9_./:@%+,=-]*")
_ASSIGNED = re.compile(r"(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=")
_WIDE = re.compile("\udcff\udcfe|\udcfe\udcff|(?:[^\0]\0){4}|(?:\0[^\0]){4}")
"""The beginning of a file in UTF-16, as C(decode) reads it."""
_COMMENTED = re.compile(r"#[#\s]*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=(.*)")


class DotenvError(AppwriteError):
    """The text is one that compose rejects. C(line) counts from 1; C(reason) is safe to print."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__("line %d: %s" % (line, reason))
        self.line = line
        self.reason = reason


class _Rejected(Exception):
    """The reason why a value cannot be expanded."""


@dataclass(frozen=True)
class Assignment:
    """One statement of the text.

    C(start) to C(end) is the statement with a leading C(export), without the newline; C(value_start) to
    C(value_end) its value with the quotes. A bare value's statement includes the comment behind it. C(line) counts
    from 1. C(style) is C(bare), C(single), C(double) or C(inherited); an inherited name that the shell does not
    have has the C(value) None.
    """

    name: str
    start: int
    end: int
    value_start: int
    value_end: int
    line: int
    style: str
    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Comment:
    start: int
    end: int


class Document:
    """A text and what compose reads in it; made by C(parse).

    C(assignments) are in the order of the text. C(values) holds, for every name that gets one, the value that is in
    force in the file; the shell's precedence over it is the caller's concern. C(unset_references) are the names that
    compose warns about, in clear, because a C($name) of a value is not set: each may be a piece of a secret.
    """

    def __init__(self, text: str, environ: Mapping[str, str]) -> None:
        self.text = text
        self._environ = environ
        statements, self._comments = _scan(text)
        unset: set[str] = set()
        self.assignments, self.values, self._uses = _evaluate(text, statements, environ, unset)
        self.unset_references = frozenset(unset)
        for one in self.assignments:
            if not one.name:
                raise DotenvError(one.line, "a value without a name; write NAME=value, or put a # before a comment")
            if "\0" in self.values.get(one.name, "") and one.name not in environ:
                raise DotenvError(one.line, "the " + _NUL)
        # compose puts what it has read into its own environment, then reads the file a second time
        _evaluate(text, statements, {**self.values, **environ}, set())

    def effective(self, name: str) -> Assignment | None:
        """The assignment whose value is in force, or None."""
        return next((one for one in reversed(self.assignments) if one.name == name and one.value is not None), None)

    def has_dead_copy(self, name: str) -> bool:
        """Whether a duplicate or a comment holds a value of this name that is not in force."""
        effective = self.effective(name)
        if any(
            one.name == name and one.value and one.style != "inherited" and one is not effective
            for one in self.assignments
        ):
            return True
        commented = (_COMMENTED.match(self.text, comment.start, comment.end) for comment in self._comments)
        return any(
            match and match.group(1) == name and match.group(2).split(" #", 1)[0].strip(_SPACE + "'\"")
            for match in commented
        )

    def references(self, name: str) -> tuple[str, ...]:
        """The names whose values refer to this one, directly or through others."""
        found = {name}
        while True:
            more = {user for user, used in self._uses.items() if used & found} - found
            if not more:
                return tuple(user for user in self._uses if user in found and user != name)
            found |= more

    def edit(
        self, changes: Mapping[str, str | None], kin: Callable[[str], Sequence[str]] = lambda unused_name: ()
    ) -> str:
        """The text with these values in force; None removes every assignment of a name.

        A value that is in force already changes no byte. Otherwise the assignment in force is changed in place. A new
        name goes behind the line that has it commented out, else beside those that C(kin) returns (a group in its
        order, the name itself included), else to the end. Raises C(AppwriteError) if a name or a value cannot
        be written, and if compose would read anything else than was asked for.
        """
        for name in changes:
            if not _WRITABLE_NAME.fullmatch(name):
                raise AppwriteError(
                    "%r is not a valid name for an environment variable; use letters, digits and _, and no digit first"
                    % name
                )
        moving = {name for name, value in changes.items() if self.values.get(name) != value}
        moving.update(*map(self.references, moving))
        text = self.text
        for name, value in changes.items():
            if value is None:
                text = _remove(text, name)
            elif name in moving:
                text = _put(text, name, value, kin(name), self._environ)
        if text != self.text:
            self._verify(text, changes)
        return text

    def _verify(self, text: str, changes: Mapping[str, str | None]) -> None:
        try:
            after = parse(text, self._environ)
        except DotenvError as exc:
            raise DotenvError(exc.line, "after this change, %s" % exc.reason) from None
        touched = {user for name in changes for document in (self, after) for user in document.references(name)}
        wanted = {**{name: value for name, value in self.values.items() if name not in touched}, **changes}
        for name in {*wanted, *after.values} - (touched - set(changes)):
            if after.values.get(name) != wanted.get(name):
                raise AppwriteError("internal error: refused to write a file that compose would not read as asked")


def parse(text: str, environ: Mapping[str, str] | None = None) -> Document:
    """Read a text as compose does with C(environ) as its shell's environment (default: an empty one).

    Raises C(DotenvError) if compose rejects it. If releases of compose differ, a text that one of them
    rejects is rejected: before compose-go 2.10.1 the unused half of C(${name:-default}) is evaluated too; a value
    with a NUL or without a name (as a bare name at the very end is read) is an error for 2.26.1 and not for 5.6.0.
    """
    return Document(text, environ or {})


def quote(value: str) -> str:
    """The value as compose reads it back, and a shell too if there is a way: bare if that is safe, else in double quotes, or with a backtick in single
    ones.

    Raises C(AppwriteError) for NUL and lone surrogates.
    """
    return value if _BARE.fullmatch(value) else _in_quotes(value)


def decode(data: bytes) -> str:
    """The text of a file's bytes; foreign bytes and a byte order mark survive a round trip through C(encode)."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of a file's text, the reverse of C(decode)."""
    return text.encode("utf-8", "surrogateescape")


def _in_quotes(value: str) -> str:
    if "\0" in value:
        raise AppwriteError("a " + _NUL)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise AppwriteError("a value is not valid Unicode text; give it in UTF-8") from None
    if "`" in value and "'" not in value and "\\" not in value:
        return "'%s'" % value
    return '"%s"' % re.sub(r'([\\"$])', r"\\\1", value)


def _text_start(text: str) -> int:
    return 1 if text.startswith(_BOM) else 0


def _line_end(text: str, pos: int) -> int:
    end = text.find("\n", pos)
    return len(text) if end < 0 else end


def _skip(spaces: re.Pattern[str], text: str, pos: int) -> int:
    match = spaces.match(text, pos)
    return match.end() if match else pos


def _scan(text: str) -> tuple[list[Assignment], list[_Comment]]:
    """The statements, without their values, and the comments of a text."""
    statements: list[Assignment] = []
    comments: list[_Comment] = []
    if _WIDE.match(text):
        raise DotenvError(1, "the file is in UTF-16; save it in UTF-8, such as by: iconv -f UTF-16 -t UTF-8")
    line = 1
    pos = counted = _text_start(text)
    while True:
        pos = _skip(_SPACES, text, pos)
        line += text.count("\n", counted, pos)
        counted = start = pos
        if pos == len(text):
            return statements, comments
        if text[pos] == "#":
            pos = _line_end(text, pos)
            comments.append(_Comment(start, pos))
            continue
        pos = _skip(_EXPORT, text, pos)
        match = _NAME_END.search(text, pos)
        name_end = match.start() if match else len(text)
        name = text[pos:name_end]
        if not all(char in _LINE_SPACE or char in "_.-[]" or unicodedata.category(char)[0] in "LN" for char in name):
            raise DotenvError(line, _cause("unexpected character in a name", text, start, line, statements))
        if not match:
            raise DotenvError(line, "a name without a value at the end of the file; put a = or a newline after it")
        name = name.rstrip(_SPACE)
        if " " in name:
            raise DotenvError(line, _cause("a name contains a space", text, start, line, statements))
        if match.group() == "\n":
            if name:
                end = pos + len(name)
                statements.append(Assignment(name, start, end, end, end, line, "inherited"))
            pos = name_end
            continue
        value_start = _skip(_LINE_SPACES, text, name_end + 1)
        style, quoted = _QUOTED.get(text[value_start : value_start + 1], ("bare", None))
        if quoted:
            match = quoted.match(text, value_start)
            if not match:
                raise DotenvError(
                    line, "a quoted value does not end; close its quote, or double the backslash before it"
                )
            end = value_end = pos = match.end()
        else:
            pos = _line_end(text, value_start)
            end = pos - 1 if text[pos - 1 : pos + 1] == "\r\n" else pos
            value_end = value_start + len(text[value_start:pos].split(" #", 1)[0].rstrip(_SPACE))
            if value_start == value_end:
                value_start = value_end = min(value_start, end)
        statements.append(Assignment(name, start, end, value_start, value_end, line, style))


def _cause(what: str, text: str, start: int, line: int, statements: Sequence[Assignment]) -> str:
    """What is likely to be wrong with a line that does not begin with a name; C(what) if there is no telling."""
    remedy = "write NAME=value, or put a # before a comment"
    if text[start] in "/;":
        return "a line that begins with %s is no comment; put a # there to take it out, or else remove it" % text[start]
    for back, before in enumerate(reversed(statements), 1):
        if before.line != line - back or _ASSIGNED.match(text, start):
            break
        if before.style == "bare" and before.value_end > before.value_start:
            return (
                "the value that begins in line %d seems to go on here, and has no quotes; put all of it in double quotes, or else %s"
                % (before.line, remedy)
            )
        if before.style != "inherited":
            break
    return "%s; %s" % (what, remedy)


def _evaluate(
    text: str, statements: Sequence[Assignment], environ: Mapping[str, str], unset: set[str]
) -> tuple[tuple[Assignment, ...], dict[str, str], dict[str, set[str]]]:
    """The statements with their values, the values in force, and the names that each name refers to; adds to C(unset)."""
    assignments = []
    values: dict[str, str] = {}
    uses: dict[str, set[str]] = {}
    for one in statements:
        used = uses.setdefault(one.name, set())

        def lookup(name: str, used: set[str] = used) -> str | None:
            used.add(name)
            return environ.get(name, values.get(name))

        raw = text[one.value_start : one.value_end]
        try:
            if one.style == "inherited":
                value = environ.get(one.name)
            elif one.style == "single":
                value = raw[1:-1].replace("\\'", "'")
            elif one.style == "double":
                value = _expand(_ESCAPE.sub(_unescape, raw[1:-1].replace('\\"', '"')), lookup, unset)
            else:
                value = _expand(raw, lookup, unset)
        except _Rejected as exc:
            raise DotenvError(one.line, str(exc)) from None
        if value is not None:
            values[one.name] = value
        assignments.append(replace(one, value=value))
    return tuple(assignments), values, uses


def _unescape(match: re.Match[str]) -> str:
    octal, char = match.groups()
    if char:
        return _ESCAPED[char]
    return chr(int(octal, 8)) if re.fullmatch("[0-3][0-7][0-7]", octal) else "\\" + octal


def _expand(value: str, lookup: Callable[[str], str | None], unset: set[str], nesting: int = 0) -> str:
    """Replace C($name) and its kind. Both halves of a conditional are evaluated, as compose-go before 2.10.1 does."""
    if nesting > _MAX_NESTING:
        raise _Rejected("${} is nested more than %d deep" % _MAX_NESTING)
    result = []
    pos = 0
    for match in iter(lambda: _REFERENCE.search(value, pos), None):
        result.append(value[pos : match.start()])
        dollar, brace, name = match.groups()
        pos = match.end()
        operator = _OPERATOR.match(value, pos) if brace else None
        if dollar:
            result.append("$")
        elif name and (not brace or value.startswith("}", pos)):
            found = lookup(name)
            if found is None:
                unset.add(name)
            result.append(found or "")
            pos += len(brace)
        elif operator and value.find("}", pos, _line_end(value, pos)) >= 0:
            close = _closing_brace(value, match.start())
            word = _expand(value[operator.end() : close], lookup, unset, nesting + 1)
            result.append(_choose(operator.group(), lookup(name), word))
            pos = close + 1
        else:
            raise _Rejected("a ${ that is not a complete reference; write $$, or \\$ in double quotes, for a literal $")
    result.append(value[pos:])
    return "".join(result)


def _closing_brace(value: str, pos: int) -> int:
    """The brace that closes the reference at C(pos), else the last of the line.

    As in compose, the character after an opening brace does not count.
    """
    last = value.rfind("}", pos, _line_end(value, pos))
    nesting = 0
    while pos < last:
        if value[pos] == "{":
            nesting += 1
            pos += 1
        elif value[pos] == "}":
            nesting -= 1
            if not nesting:
                return pos
        pos += 1
    return last


def _choose(operator: str, found: str | None, word: str) -> str:
    given = found is not None if len(operator) == 1 else bool(found)
    if operator[-1] == "+":
        return word if given else found or ""
    if given:
        return found or ""
    if operator[-1] == "?":
        raise _Rejected("a variable that a ${…?…} requires is not set")
    return word


def _put(text: str, name: str, value: str, kin: Sequence[str], environ: Mapping[str, str]) -> str:
    """The text with the value in force, in place if the name has an assignment."""
    statements, comments = _scan(text)
    own = [one for one in statements if one.name == name]
    given = [one for one in own if one.style != "inherited" or name in environ]
    if not own:
        pos = _place(text, name, kin, statements, comments)
        before = text.rfind("\n", 0, pos)
        newline = "\r\n" if text[: _line_end(text, 0) if before < 0 else before].endswith("\r") else "\n"
        glue = "" if pos == _text_start(text) or text[pos - 1] == "\n" else newline
        return "%s%s%s=%s%s%s" % (text[:pos], glue, name, quote(value), newline, text[pos:])
    target = (given or own)[-1]
    behind = text[target.value_end : _line_end(text, target.value_end)]
    bare = not behind.strip(_SPACE) or (value and not behind.split(" #", 1)[0].strip(_SPACE))
    return "%s%s%s%s" % (
        text[: target.value_start],
        "=" if target.style == "inherited" else "",
        quote(value) if bare else _in_quotes(value),
        text[target.value_end :],
    )


def _place(
    text: str, name: str, kin: Sequence[str], statements: Sequence[Assignment], comments: Sequence[_Comment]
) -> int:
    """Where the line of a new name begins."""
    for comment in reversed(comments):
        match = _COMMENTED.match(text, comment.start, comment.end)
        if match and match.group(1) == name:
            return min(comment.end + 1, len(text))
    index = kin.index(name) if name in kin else len(kin)
    for before in reversed(kin[:index]):
        ends = [one.end for one in statements if one.name == before]
        if ends:
            end = _line_end(text, ends[-1])
            for one in statements:
                if one.start < end < one.end:
                    end = _line_end(text, one.end)
            return min(end + 1, len(text))
    for after in kin[index + 1 :]:
        starts = [one.start for one in statements if one.name == after]
        if starts:
            start = text.rfind("\n", 0, starts[0]) + 1
            for one in reversed(statements):
                if one.start < start <= one.end:
                    start = text.rfind("\n", 0, one.start) + 1
            return max(start, _text_start(text))
    return len(text)


def _remove(text: str, name: str) -> str:
    """The text without any assignment of the name; a line that held nothing else goes with its comment."""
    for one in reversed(_scan(text)[0]):
        if one.name != name:
            continue
        line_start = max(text.rfind("\n", 0, one.start) + 1, _text_start(text))
        line_end = _line_end(text, one.end)
        behind = text[one.end : line_end].lstrip(_LINE_SPACE)
        alone = not text[line_start : one.start].strip(_SPACE)
        if alone and behind[:1] in ("", "#"):
            text = text[:line_start] + text[line_end + 1 :]
        elif behind[:1] in ("", "#"):
            text = text[: one.start].rstrip(_LINE_SPACE) + text[one.end :]
        else:
            text = text[: one.start] + text[line_end - len(behind) :]
    return text
