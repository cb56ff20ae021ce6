# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a ``.env`` is read and edited. The reading was recorded from docker compose; the integration test asks it again."""

from __future__ import annotations

import random
import re
import typing as t
from types import MappingProxyType

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import (
    DotenvError,
    decode,
    encode,
    parse,
    quote,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

SECRET = "not-a-real-key-" + "0123456789abcdef" * 2


class Case(t.NamedTuple):
    """A text, and the values that compose reads with this environment; or the line for which it rejects the text."""

    text: str
    expected: dict[str, str] | int
    environ: t.Mapping[str, str] = MappingProxyType({})


# recorded from `docker compose --env-file F config --format json`, docker compose 2.26.1, on 2026-11-24
COMPOSE_2_26_1: dict[str, dict[str, Case]] = {
    "statements": {
        "one": Case("A=1\n", {"A": "1"}),
        "no final newline": Case("A=1", {"A": "1"}),
        "empty file": Case("", {}),
        "only a newline": Case("\n", {}),
        "only spaces": Case(" \t \n  ", {}),
        "byte order mark": Case("\ufeffA=1\n", {"A": "1"}),
        "byte order mark before a comment": Case("\ufeff# A=1\nB=2\n", {"B": "2"}),
        "byte order mark before a space": Case("\ufeff A=1\n", {"A": "1"}),
        "two byte order marks": Case("\ufeff\ufeffA=1\n", 1),
        "byte order mark on line 2": Case("A=1\n\ufeffB=2\n", 2),
        "byte order mark in a value": Case("A=\ufeff1\n", {"A": "\ufeff1"}),
        "comment": Case("# A=1\nB=2\n", {"B": "2"}),
        "comment without a newline": Case("B=2\n# A=1", {"B": "2"}),
        "indented comment": Case("  \t# A=1\nB=2\n", {"B": "2"}),
        "comment with quotes": Case("# don't \"\nB=2\n", {"B": "2"}),
        "comment with a broken reference": Case("# ${A\nB=2\n", {"B": "2"}),
        "comment behind a no-break space": Case("\xa0# A=1\nB=2\n", {"B": "2"}),
        "empty comment": Case("#\nB=2\n", {"B": "2"}),
        "blank lines": Case("\n\nA=1\n\n \nB=2\n\n", {"A": "1", "B": "2"}),
        "indented": Case("   A=1\n\tB=2\n", {"A": "1", "B": "2"}),
        "indented by a wide space": Case("\u3000A=1\n", {"A": "1"}),
        "colon": Case("A:1\n", {"A": "1"}),
        "colon and space": Case("A: 1\n", {"A": "1"}),
        "colon and double quotes": Case('A: "1 2"\n', {"A": "1 2"}),
        "colon, then equals sign": Case("A: B=1\n", {"A": "B=1"}),
        "equals sign, then colon": Case("A=B:1\n", {"A": "B:1"}),
        "colon and equals sign": Case("A:=1\n", {"A": "=1"}),
        "spaces round =": Case("A = 1\n", {"A": "1"}),
        "tabs round =": Case("A\t=\t1\n", {"A": "1"}),
        "no-break spaces round =": Case("A\xa0=\xa01\n", {"A": "1"}),
        "next-line characters round =": Case("A\x85=\x851\n", {"A": "1"}),
        "carriage return before a value": Case("A=\r1\n", {"A": "1"}),
        "space inside a name": Case("B=2\nA C=1\n", 2),
        "space inside a bare name": Case("B=2\nA C\n", 2),
        "tab inside a name": Case("A\tC=1\n", {"A\tC": "1"}),
        "export": Case("export A=1\n", {"A": "1"}),
        "export and tab": Case("export\tA=1\n", {"A": "1"}),
        "export and many spaces": Case("export   A=1\n", {"A": "1"}),
        "indented export": Case("  export A=1\n", {"A": "1"}),
        "export and colon": Case("export A: 1\n", {"A": "1"}),
        "export twice": Case("export export A=1\n", 1),
        "a name that begins with export": Case("exportA=1\n", {"exportA": "1"}),
        "a name that is export": Case("export=1\n", {"export": "1"}),
        "export and space before =": Case("B=1\nexport =1\n", 2),
        "export and no-break space": Case("export\xa0A=1\n", {"export\xa0A": "1"}),
        "export alone": Case("export\nA=1\n", {"A": "1"}),
        "export alone at the end": Case("A=1\nexport", 2),
        "export and a space at the end": Case("A=1\nexport ", 2),
        "export of a bare name": Case("export A\nB=1\n", {"A": "shell", "B": "1"}, {"A": "shell"}),
        "dots, dashes and brackets in a name": Case("A.B-C[0]=1\n", {"A.B-C[0]": "1"}),
        "a name that begins with a digit": Case("1A=1\n", {"1A": "1"}),
        "letters beyond ASCII in a name": Case("\xc4\u4e2d=1\n", {"\xc4\u4e2d": "1"}),
        "numbers beyond ASCII in a name": Case("A\u0663\xb2=1\n", {"A\u0663\xb2": "1"}),
        "a combining accent in a name": Case("A\u0301=1\n", 1),
        "lower case": Case("a=1\nA=2\n", {"A": "2", "a": "1"}),
        "dollar in a name": Case("B=1\n$A=1\n", 2),
        "quote in a name": Case('"A"=1\n', 1),
        "slash in a name": Case("A/B=1\n", 1),
        "hash in a name": Case("A#B=1\n", 1),
        "nothing before =": Case("B=1\n=1\n", 2),
        "prose": Case("B=1\nthis is prose\n", 2),
        "prose with punctuation": Case("B=1\nprose!\n", 2),
        "a bad line behind a bad reference": Case("A=1\n\n?\nB=2\n", 3),
        "duplicate": Case("A=1\nA=2\n", {"A": "2"}),
        "duplicate, the last one empty": Case("A=1\nA=\n", {"A": ""}),
        "duplicate, quoted": Case("A='1'\nA=\"2\"\nA=3\n", {"A": "3"}),
        "carriage returns": Case("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        "carriage returns behind a comment": Case("# c\r\nA=1 # d\r\n", {"A": "1"}),
        "carriage returns behind quotes": Case("A=\"1\"\r\nB='2'\r\n", {"A": "1", "B": "2"}),
        "carriage returns behind a bare name": Case("A\r\nB=2\r\n", {"A": "shell", "B": "2"}, {"A": "shell"}),
        "carriage return in a multi-line value": Case("A=\"1\r\n2\"\r\nB='1\r\n2'\r\n", {"A": "1\r\n2", "B": "1\r\n2"}),
        "carriage return at the end": Case("A=1\r", {"A": "1"}),
        "carriage returns alone": Case("A=1\rB=2\r", {"A": "1\rB=2"}),
        "carriage return behind nothing": Case("A=\r\nB=2\r\n", {"A": "", "B": "2"}),
    },
    "inherited": {
        "bare name": Case("A\nB=1\n", {"B": "1"}),
        "bare name that the shell has": Case("A\nB=1\n", {"A": "shell", "B": "1"}, {"A": "shell"}),
        "bare name that the shell has empty": Case("A\nB=1\n", {"A": "", "B": "1"}, {"A": ""}),
        "bare name with trailing spaces": Case("A  \nB=1\n", {"A": "shell", "B": "1"}, {"A": "shell"}),
        "bare name at the end of the file": Case("B=1\nA", 2),
        "bare name at the end that the shell has": Case("B=1\nA", 2, {"A": "shell"}),
        "bare name behind its value": Case("A=1\nA\n", {"A": "1"}),
        "bare name before its value": Case("A\nA=1\n", {"A": "1"}),
        "bare name behind its value, and the shell has it": Case(
            "A=1\nB=$A\nA\n", {"A": "shell", "B": "shell"}, {"A": "shell"}
        ),
        "bare name and a later reference": Case("A\nB=$A\n", {"A": "shell", "B": "shell"}, {"A": "shell"}),
        "bare name and a later reference to nothing": Case("A\nB=x$A\n", {"B": "x"}),
        "shell before file in a reference": Case("A=1\nB=$A\n", {"A": "1", "B": "shell"}, {"A": "shell"}),
        "empty shell before file in a reference": Case("A=1\nB=x$A\n", {"A": "1", "B": "x"}, {"A": ""}),
        "reference to the shell alone": Case("B=$C\n", {"B": "shell"}, {"C": "shell"}),
        "value of the shell is not expanded": Case("B=$C\n", {"B": "$D"}, {"C": "$D"}),
    },
    "bare": {
        "word": Case("A=word\n", {"A": "word"}),
        "empty": Case("A=\n", {"A": ""}),
        "empty at the end of the file": Case("A=", {"A": ""}),
        "empty and spaces": Case("A=   \nB=1\n", {"A": "", "B": "1"}),
        "inner spaces": Case("A=a b  c\n", {"A": "a b  c"}),
        "trailing spaces": Case("A=a \t \n", {"A": "a"}),
        "trailing no-break space": Case("A=a\xa0\n", {"A": "a"}),
        "trailing wide spaces": Case("A=a\u3000\u2003\u2028\n", {"A": "a"}),
        "trailing unit separator is data": Case("A=a\x1f\n", {"A": "a\x1f"}),
        "leading wide space is data": Case("A=\u3000a\n", {"A": "\u3000a"}),
        "leading tab": Case("A=\ta\n", {"A": "a"}),
        "leading vertical tab and form feed": Case("A=\x0b\x0ca\n", {"A": "a"}),
        "comment": Case("A=a # b\n", {"A": "a"}),
        "comment without a space": Case("A=a #b\n", {"A": "a"}),
        "comment mark without a space": Case("A=a#b\n", {"A": "a#b"}),
        "comment behind a tab is data": Case("A=a\t#b\n", {"A": "a\t#b"}),
        "comment behind a tab and a space": Case("A=a\t #b\n", {"A": "a"}),
        "comment behind a no-break space is data": Case("A=a\xa0#b\n", {"A": "a\xa0#b"}),
        "two comment marks": Case("A=a#b #c #d\n", {"A": "a#b"}),
        "comment in place of a value": Case("A= # note\n", {"A": "# note"}),
        "comment mark as value": Case("A=#b\n", {"A": "#b"}),
        "comment behind two spaces in place of a value": Case("A=  #b\n", {"A": "#b"}),
        "comment mark in a comment mark's comment": Case("A= # a # b\n", {"A": "# a"}),
        "equals signs": Case("A=a==\nB==\n", {"A": "a==", "B": "="}),
        "quotes inside": Case("A=a\"b'c\n", {"A": "a\"b'c"}),
        "quote at the end": Case('A=a"\n', {"A": 'a"'}),
        "backslashes": Case("A=a\\nb\\\\c\\\n", {"A": "a\\nb\\\\c\\"}),
        "backslash before a newline does not continue": Case("A=a\\\nB=b\n", {"A": "a\\", "B": "b"}),
        "backslash before a dollar": Case("C=x\nA=a\\$C\n", {"A": "a\\x", "C": "x"}),
        "backtick": Case("A=`id`\n", {"A": "`id`"}),
        "Unicode": Case("A=gr\xfc\xdf \u4e2d\u6587 \U0001f511\n", {"A": "gr\xfc\xdf \u4e2d\u6587 \U0001f511"}),
        "emoji and zero width joiner": Case(
            "A=\U0001f469\u200d\U0001f4bb\u200b\n", {"A": "\U0001f469\u200d\U0001f4bb\u200b"}
        ),
        "lone carriage return inside": Case("A=a\rb\n", {"A": "a\rb"}),
        "NUL": Case("B=1\nA=a\x00b\n", 2),
        "control characters": Case("A=a\x01\x07\x1b\x7fb\n", {"A": "a\x01\x07\x1b\x7fb"}),
        "line separator inside": Case("A=a\u2028b\n", {"A": "a\u2028b"}),
        "looks like two assignments": Case("A=1 B=2\n", {"A": "1 B=2"}),
        "spaces round a second =": Case("A=1 = 2\n", {"A": "1 = 2"}),
    },
    "single quotes": {
        "word": Case("A='word'\n", {"A": "word"}),
        "empty": Case("A=''\n", {"A": ""}),
        "spaces kept": Case("A=' a '\n", {"A": " a "}),
        "hash kept": Case("A='a # b'\n", {"A": "a # b"}),
        "dollar kept": Case("B=x\nA='$B ${B} $$'\n", {"A": "$B ${B} $$", "B": "x"}),
        "broken reference kept": Case("A='${B'\n", {"A": "${B"}),
        "backslashes kept": Case("A='a\\nb\\tc\\\\d\\$e'\n", {"A": "a\\nb\\tc\\\\d\\$e"}),
        "escaped quote": Case("A='it\\'s'\n", {"A": "it's"}),
        "escaped quotes alone": Case("A='\\'\\''\n", {"A": "''"}),
        "double quote inside": Case("A='a\"b'\n", {"A": 'a"b'}),
        "ends in two backslashes": Case("A='abc\\\\'\n", {"A": "abc\\\\"}),
        "ends in one backslash": Case("B=1\nA='abc\\'\n", 2),
        "ends in three backslashes": Case("B=1\nA='abc\\\\\\'\n", 2),
        "three backslashes before a quote": Case("A='abc\\\\\\'d'\n", {"A": "abc\\\\'d"}),
        "multi-line": Case("A='1\n2\n'\nB=3\n", {"A": "1\n2\n", "B": "3"}),
        "multi-line that looks like assignments": Case(
            "A='1\nB=2\n# C=3\nexport D=4'\nE=5\n", {"A": "1\nB=2\n# C=3\nexport D=4", "E": "5"}
        ),
        "unterminated": Case("B=1\n\nA='1\nC=2\n", 3),
        "comment behind": Case("A='a' # b\n", {"A": "a"}),
        "comment mark behind": Case("A='a'#b\n", {"A": "a"}),
        "no newline": Case("A='a'", {"A": "a"}),
        "spaces before": Case("A=   'a'\n", {"A": "a"}),
        "NUL": Case("A='a\x00b'\n", 1),
    },
    "double quotes": {
        "word": Case('A="word"\n', {"A": "word"}),
        "empty": Case('A=""\n', {"A": ""}),
        "spaces kept": Case('A=" a "\n', {"A": " a "}),
        "hash kept": Case('A="a # b"\n', {"A": "a # b"}),
        "single quote inside": Case('A="it\'s"\n', {"A": "it's"}),
        "escaped quote": Case('A="a\\"b"\n', {"A": 'a"b'}),
        "escaped quotes alone": Case('A="\\"\\""\n', {"A": '""'}),
        "control escapes": Case('A="\\a\\b\\f\\n\\r\\t\\v"\n', {"A": "\x07\x08\x0c\n\r\t\x0b"}),
        "escape c": Case('A="a\\cb"\n', {"A": "a\\cb"}),
        "escaped backslash": Case('A="a\\\\b"\n', {"A": "a\\b"}),
        "escaped backslash before n": Case('A="a\\\\nb"\n', {"A": "a\\nb"}),
        "ends in an escaped backslash": Case('A="a\\\\"\n', {"A": "a\\"}),
        "escaped backslash and quote": Case('A="a\\\\\\"b"\n', {"A": 'a\\"b'}),
        "escaped dollar": Case('B=x\nA="a\\$B"\n', {"A": "a$B", "B": "x"}),
        "escaped dollar and brace": Case('B=x\nA="a\\${B}"\n', {"A": "a${B}", "B": "x"}),
        "escaped backslash before a dollar": Case('B=x\nA="a\\\\$B"\n', {"A": "a\\x", "B": "x"}),
        "escaped dollar before a dollar": Case('B=x\nA="\\$$B"\n', {"A": "$x", "B": "x"}),
        "escaped backtick": Case('A="a\\`b"\n', {"A": "a\\`b"}),
        "Windows path": Case('A="C:\\temp\\new"\n', {"A": "C:\temp\new"}),
        "unknown escapes": Case('A="\\x41\\u0041\\e\\ \\1\\\'"\n', {"A": "\\x41\\u0041\\e\\ \\1\\'"}),
        "octal": Case('A="\\0101\\0123"\n', {"A": "AS"}),
        "octal beyond ASCII": Case('A="\\0377\\0200"\n', {"A": "\xff\x80"}),
        "octal above a byte": Case('A="\\0400\\0777"\n', {"A": "\\400\\777"}),
        "short octal": Case('A="\\0\\01\\012"\n', {"A": "\\\\1\\12"}),
        "octal with four digits": Case('A="\\01012"\n', {"A": "A2"}),
        "octal that is none": Case('A="\\0189\\08"\n', {"A": "\\189\\8"}),
        "octal NUL": Case('B=1\nA="\\0000"\n', 2),
        "octal NUL under a shell's value": Case('B=1\nA="\\0000"\n', {"A": "\x00", "B": "1"}, {"A": "shell"}),
        "octal NUL before a later value": Case('A="\\0000"\nA=1\n', {"A": "1"}),
        "octal dollar is expanded": Case('B=x\nA="\\0044B"\n', {"A": "x", "B": "x"}),
        "octal backslash is not decoded again": Case('A="\\0134n"\n', {"A": "\\n"}),
        "multi-line": Case('A="1\n2\n"\nB=3\n', {"A": "1\n2\n", "B": "3"}),
        "multi-line that looks like assignments": Case(
            'A="1\nB=2\n# C=3\n D: 4"\nE=5\n', {"A": "1\nB=2\n# C=3\n D: 4", "E": "5"}
        ),
        "backslash before a newline": Case('A="1\\\n2"\n', {"A": "1\\\n2"}),
        "backslash at a quote of a later line": Case('A="1\n2\\"\n3"\n', {"A": '1\n2"\n3'}),
        "unterminated": Case('B=1\n\nA="1\nC=2\n', 3),
        "unterminated by an escape": Case('B=1\nA="1\\"\n', 2),
        "unterminated and alone": Case('A="', 1),
        "reference": Case('B=x\nA="a $B b"\n', {"A": "a x b", "B": "x"}),
        "reference over lines": Case('B=x\nA="1\n$B\n${B}"\n', {"A": "1\nx\nx", "B": "x"}),
        "comment behind": Case('A="a" # b\n', {"A": "a"}),
        "comment mark behind": Case('A="a"#b\n', {"A": "a"}),
        "no newline": Case('A="a"', {"A": "a"}),
        "Unicode": Case('A="gr\xfc\xdf \U0001f511"\n', {"A": "gr\xfc\xdf \U0001f511"}),
        "no-break space kept": Case('A="\xa0a\xa0"\n', {"A": "\xa0a\xa0"}),
    },
    "behind a closing quote": {
        "a statement": Case('A="x" B=2\n', {"A": "x", "B": "2"}),
        "a statement without a space": Case("A='x'B=2\n", {"A": "x", "B": "2"}),
        "three statements": Case("A='x' B=\"y\" C=z # d\n", {"A": "x", "B": "y", "C": "z"}),
        "a comment hides the rest": Case('A="x" # B=2\n', {"A": "x"}),
        "an export": Case('A="x" export B=2\n', {"A": "x", "B": "2"}),
        "a bare name": Case('A="x" B\nC=1\n', {"A": "x", "B": "shell", "C": "1"}, {"B": "shell"}),
        "a bare name at the end of the file": Case('A="x" B', 1),
        "a word with a space": Case('A="x" y z\nB=1\n', 1),
        "a quote": Case('A="x""y"\n', 1),
        "a number": Case('A="x"1\nB=2\n', {"A": "x", "B": "2"}),
        "a statement behind a multi-line value": Case('A="x\ny" B=2\nC=3\n', {"A": "x\ny", "B": "2", "C": "3"}),
        "an equals sign": Case('B=1\nA="x"=2\n', 2),
    },
    "references": {
        "name": Case("B=x\nA=$B\n", {"A": "x", "B": "x"}),
        "name in braces": Case("B=x\nA=${B}y\n", {"A": "xy", "B": "x"}),
        "name ends at a dash": Case("B=x\nA=$B-y\n", {"A": "x-y", "B": "x"}),
        "name takes digits": Case("B1=x\nA=$B1\n", {"A": "x", "B1": "x"}),
        "name in lower case": Case("b=x\nA=$b\n", {"A": "x", "b": "x"}),
        "name with a dot ends there": Case("B=x\nA=$B.C\n", {"A": "x.C", "B": "x"}),
        "name ends at a letter beyond ASCII": Case("B=x\nA=$B\xe4\n", {"A": "x\xe4", "B": "x"}),
        "long s and Kelvin sign are letters": Case(
            "\u212aB=x\nA=$\u212aB ${\u017fC-y}\n", {"A": "x y", "\u212aB": "x"}
        ),
        "unset": Case("A=x$B.\n", {"A": "x."}),
        "unset in braces": Case("A=x${B}y\n", {"A": "xy"}),
        "unset piece of a secret": Case("K=SeCr$tTail\n", {"K": "SeCr"}),
        "later": Case("A=x$B\nB=1\n", {"A": "x", "B": "1"}),
        "itself": Case("A=1\nA=$A$A\n", {"A": "11"}),
        "itself, unset": Case("A=x$A\n", {"A": "x"}),
        "earlier duplicate": Case("A=1\nB=$A\nA=2\n", {"A": "2", "B": "1"}),
        "two dollars": Case("B=x\nA=a$$B\n", {"A": "a$B", "B": "x"}),
        "three dollars": Case("B=x\nA=a$$$B\n", {"A": "a$x", "B": "x"}),
        "four dollars": Case("A=$$$$\n", {"A": "$$"}),
        "dollar and digit": Case("A=a$1b\n", {"A": "a$1b"}),
        "dollar at the end": Case("A=a$\n", {"A": "a$"}),
        "dollar alone": Case("A=$\n", {"A": "$"}),
        "dollar and parenthesis": Case("A=$(id)\n", {"A": "$(id)"}),
        "dollar and space": Case("A=a $ b\n", {"A": "a $ b"}),
        "dollar and closing brace": Case("A=a$}b\n", {"A": "a$}b"}),
        "value of a reference is not expanded": Case("C=x\nB='$C'\nA=$B\n", {"A": "$C", "B": "$C", "C": "x"}),
        "comment behind": Case("B=x\nA=$B # c\n", {"A": "x", "B": "x"}),
        "comment mark inside": Case("B=x\nA=${B:-a #b}\n", 2),
        "empty braces": Case("B=1\nA=${}\n", 2),
        "digit in braces": Case("B=1\nA=${1}\n", 2),
        "space in braces": Case("B=1\nA=${ B}\n", 2),
        "space behind the name": Case("B=1\nA=${B }\n", 2),
        "dash in a name": Case("B=1\nA=${B-C}\n", {"A": "1", "B": "1"}),
        "dot in a name": Case("B=1\nA=${B.C}\n", 2),
        "unclosed": Case("B=1\nA=${B\n", 2),
        "unclosed broken": Case("A=a ${broken\n", 1),
        "unclosed with an operator": Case("B=1\nA=${B:-x\n", 2),
        "unclosed on its line": Case('B=1\nA="${B:-x\n}"\n', 2),
        "unclosed by a bad operator": Case("B=1\nA=${B:x}\n", 2),
        "unclosed by another bad operator": Case("B=1\nA=${B!x}\n", 2),
        "unclosed behind a dollar pair": Case("A=$${B\n", {"A": "${B"}),
        "brace without a name": Case("A=a{B}\n", {"A": "a{B}"}),
        "dash, unset": Case("A=${B-d}\n", {"A": "d"}),
        "dash, empty": Case("B=\nA=${B-d}\n", {"A": "", "B": ""}),
        "dash, set": Case("B=x\nA=${B-d}\n", {"A": "x", "B": "x"}),
        "colon dash, unset": Case("A=${B:-d}\n", {"A": "d"}),
        "colon dash, empty": Case("B=\nA=${B:-d}\n", {"A": "d", "B": ""}),
        "colon dash, set": Case("B=x\nA=${B:-d}\n", {"A": "x", "B": "x"}),
        "plus, unset": Case("A=${B+r}\n", {"A": ""}),
        "plus, empty": Case("B=\nA=${B+r}\n", {"A": "r", "B": ""}),
        "plus, set": Case("B=x\nA=${B+r}\n", {"A": "r", "B": "x"}),
        "colon plus, unset": Case("A=${B:+r}\n", {"A": ""}),
        "colon plus, empty": Case("B=\nA=${B:+r}\n", {"A": "", "B": ""}),
        "colon plus, set": Case("B=x\nA=${B:+r}\n", {"A": "r", "B": "x"}),
        "question mark, unset": Case("C=1\nA=${B?e}\n", 2),
        "question mark, empty": Case("B=\nA=${B?e}\n", {"A": "", "B": ""}),
        "question mark, set": Case("B=x\nA=${B?e}\n", {"A": "x", "B": "x"}),
        "colon question mark, unset": Case("C=1\nA=${B:?e}\n", 2),
        "colon question mark, empty": Case("B=\nA=${B:?e}\n", 2),
        "colon question mark, set": Case("B=x\nA=${B:?e}\n", {"A": "x", "B": "x"}),
        "colon question mark, empty later": Case("B=x\nA=${B:?e}\nB=\n", 2),
        "colon question mark, set by the shell": Case("A=${B:?e}\n", {"A": "shell"}, {"B": "shell"}),
        "empty default": Case("A=${B:-}\n", {"A": ""}),
        "default with an operator": Case("A=${B:-c:-d}\n", {"A": "c:-d"}),
        "default with a question mark": Case("A=${B-c?d}\n", {"A": "c?d"}),
        "default with spaces and quotes": Case("A=${B:-a 'b' \"c\"}\n", {"A": "a 'b' \"c\""}),
        "default with a name": Case("C=x\nA=${B:-$C}\n", {"A": "x", "C": "x"}),
        "default with a name in braces": Case("C=x\nA=${B:-${C}}\n", {"A": "x", "C": "x"}),
        "default with a default": Case("A=${B:-${C:-d}e}\n", {"A": "de"}),
        "default three deep": Case("A=${B:-${C:-${D:-d}}}\n", {"A": "d"}),
        "default with braces": Case("A=${B:-{}}\n", {"A": "{}"}),
        "default with a word in braces": Case("A=${B:-{x}}y\n", {"A": "{x}y"}),
        "default with a closing brace too many": Case("A=${B:-x}}\n", {"A": "x}"}),
        "default with an opening brace": Case("A=${B:-{x}\n", {"A": "{x"}),
        "default with an unset name": Case("A=${B:-$C}\n", {"A": ""}),
        "default with an unclosed reference": Case("A=${B:-${C}\n", 1),
        "unused default with an unclosed reference": Case("B=1\nA=${B:-${C}\n", 2),
        "unused default with a requirement": Case("B=1\nA=${B:-${C:?e}}\n", 2),
        "unused replacement with a requirement": Case("A=${B:+${C:?e}}\n", 1),
        "two in a row": Case("A=${B:-x}${C:-y}\n", {"A": "xy"}),
        "two with text": Case("A=${B:-x} and ${C:-y} and $D\n", {"A": "x and y and "}),
        "three with dollars": Case("D=z\nA=${B:-x}$$${D}$$D\n", {"A": "x$z$D", "D": "z"}),
        "one, then an unclosed one": Case("A=${B:-x} ${C\n", 1),
        "one, then a digit": Case("A=${B:-x}$1$\n", {"A": "x$1$"}),
        "over two lines": Case('D=z\nA="${B:-x}\n${C:-y} ${D}"\n', {"A": "x\ny z", "D": "z"}),
        "in double quotes with an escaped quote": Case('A="${B:-\\"x\\"}"\n', {"A": '"x"'}),
        "in double quotes with an escaped dollar": Case('A="${B:-\\$x}"\n', {"A": "$x"}),
        "in double quotes with escapes": Case('A="${B:-a\\tb}"\n', {"A": "a\tb"}),
    },
}

READ = {"%s: %s" % (group, name): case for group, cases in COMPOSE_2_26_1.items() for name, case in cases.items()}

VALUES = (
    "",
    "plain",
    "a b",
    " lead",
    "trail ",
    "a #b",
    "#b",
    "a#b",
    "it's",
    '"',
    '"quoted"',
    "\\",
    "\\n",
    "a\\",
    "a\\\\",
    "'",
    "''\\'",
    "$",
    "$$",
    "pa$word",
    "${B}",
    "${broken",
    "$(id)",
    "`id`",
    "line 1\nB=2\n# C=3\n",
    "\n",
    "\r\n",
    "\t",
    "a\tb",
    "\xa0",
    "\ufeff",
    "grüß 中文 🔑",
    "\u2028",
    "\x1b[0m",
    "\x7f",
    "=",
    ":",
    "a=b",
    "!important",
    "%41",
    "{}",
    "a,b",
    SECRET,
    "x" * 100_000,
)

EDIT: dict[str, tuple[str, dict[str, str | None], str]] = {
    "in place": ("A=1\nB=2\nC=3\n", {"B": "x"}, "A=1\nB=x\nC=3\n"),
    "several": ("A=1\nB=2\nC=3\n", {"C": "z", "A": "x"}, "A=x\nB=2\nC=z\n"),
    "equal": ("A = 1 # c\n", {"A": "1"}, "A = 1 # c\n"),
    "equal in single quotes": ("A='a b'\n", {"A": "a b"}, "A='a b'\n"),
    "equal by a reference": ("B=x\nA=$B\n", {"A": "x"}, "B=x\nA=$B\n"),
    "equal and absent": ("B=x", {"A": None}, "B=x"),
    "needs quotes": ("A=1\n", {"A": 'a "b" $c \\'}, 'A="a \\"b\\" \\$c \\\\"\n'),
    "needs no quotes any more": ("A='a b'\n", {"A": "ab"}, "A=ab\n"),
    "to nothing": ("A=1\nB=2\n", {"A": ""}, "A=\nB=2\n"),
    "from nothing": ("A=\nB=2\n", {"A": "1"}, "A=1\nB=2\n"),
    "from nothing and spaces": ("A= \t\nB=2\n", {"A": "1"}, "A= \t1\nB=2\n"),
    "from nothing, no newline": ("A=", {"A": "1"}, "A=1"),
    "from a comment that is a value": ("A= # put it here\nB=2\n", {"A": "1"}, "A= 1\nB=2\n"),
    "export and spaces": ("  export  A =  1  \n", {"A": "2"}, "  export  A =  2  \n"),
    "colon": ("A: 1\n", {"A": "2"}, "A: 2\n"),
    "comment": ("A=1 # c\n", {"A": "2"}, "A=2 # c\n"),
    "comment and quotes": ("A=1 # c\n", {"A": "a b"}, 'A="a b" # c\n'),
    "comment and nothing": ("A=1 # c\n", {"A": ""}, 'A="" # c\n'),
    "comment behind quotes": ('A="1" # c\n', {"A": "2"}, "A=2 # c\n"),
    "comment behind quotes and a tab": ('A="1"\t# c\n', {"A": "2"}, 'A="2"\t# c\n'),
    "comment mark behind quotes": ("A='1'#c\n", {"A": "2"}, 'A="2"#c\n'),
    "statement behind": ('A="x" B=2\n', {"A": "y"}, 'A="y" B=2\n'),
    "statement behind, to nothing": ('A="x" B=2\n', {"A": ""}, 'A="" B=2\n'),
    "statement right behind": ("A='x'B=2 # c\n", {"A": "y", "B": "3"}, 'A="y"B=3 # c\n'),
    "multi-line": ("A='1\nB=2\n'\nB=3\n", {"A": "x", "B": "4"}, "A=x\nB=4\n"),
    "name inside a multi-line value": ("A='1\nB=2\n'\nC=3\n", {"B": "4"}, "A='1\nB=2\n'\nC=3\nB=4\n"),
    "to multi-line": ("A=1\nB=2\n", {"A": "1\nB=3"}, 'A="1\nB=3"\nB=2\n'),
    "duplicates": ("A=1\nB=2\nA=3\n", {"A": "x"}, "A=1\nB=2\nA=x\n"),
    "duplicate on one line": ("A='1'A='2'\n", {"A": "x"}, "A='1'A=x\n"),
    "bare name": ("A\nB=2\n", {"A": "1"}, "A=1\nB=2\n"),
    "bare name with export and spaces": ("export A  \r\nB=2\r\n", {"A": "a b"}, 'export A="a b"  \r\nB=2\r\n'),
    "bare name behind its value": ("A=1\nA\n", {"A": "2"}, "A=2\nA\n"),
    "bare name, to nothing": ("A\n", {"A": ""}, "A=\n"),
    "carriage returns": ("A=1\r\nB=\r\nC='3'\r\n", {"A": "x", "B": "y", "C": "z"}, "A=x\r\nB=y\r\nC=z\r\n"),
    "carriage returns, new": ("A=1\r\n", {"B": "2"}, "A=1\r\nB=2\r\n"),
    "carriage returns, comment": ("#A=\r\nB=2\r\n", {"A": "1"}, "#A=\r\nA=1\r\nB=2\r\n"),
    "byte order mark": ("\ufeffA=1\n", {"A": "2"}, "\ufeffA=2\n"),
    "byte order mark and new": ("\ufeff", {"A": "1"}, "\ufeffA=1\n"),
    "byte order mark and before": ("\ufeffK2=1\n", {"K1": "2"}, "\ufeffK1=2\nK2=1\n"),
    "byte order mark and removed": ("\ufeffA=1\nB=2\n", {"A": None}, "\ufeffB=2\n"),
    "foreign bytes": ("# \udcff\nA=\udce9\nB=1\n", {"B": "2"}, "# \udcff\nA=\udce9\nB=2\n"),
    "a value that referred to another": ("A=x\nB=$A\n", {"A": "y", "B": "x"}, "A=y\nB=x\n"),
    "a value that refers to another": ("A=x\nB=$A\n", {"A": "y"}, "A=y\nB=$A\n"),
    "a value that refers to another, both": ("A=x\nB=$A\n", {"A": "y", "B": "y"}, "A=y\nB=y\n"),
    "new": ("A=1\n", {"B": "2"}, "A=1\nB=2\n"),
    "new behind no newline": ("A=1", {"B": "2"}, "A=1\nB=2\n"),
    "new in nothing": ("", {"B": "2"}, "B=2\n"),
    "new and empty": ("A=1\n", {"B": ""}, "A=1\nB=\n"),
    "new at its commented line": ("A=1\n# B=\nC=3\n", {"B": "2"}, "A=1\n# B=\nB=2\nC=3\n"),
    "new at its commented value": ("A=1\n#B=old\nC=3\n", {"B": "2"}, "A=1\n#B=old\nB=2\nC=3\n"),
    "new at its commented export": ("## export B = old\nC=3\n", {"B": "2"}, "## export B = old\nB=2\nC=3\n"),
    "new at its last commented line": ("#B=1\nA=1\n#B=2\nC=3\n", {"B": "x"}, "#B=1\nA=1\n#B=2\nB=x\nC=3\n"),
    "new at its commented last line": ("A=1\n#B=", {"B": "2"}, "A=1\n#B=\nB=2\n"),
    "new, a comment inside a value": ("A='\n#B=\n'\nC=3\n", {"B": "2"}, "A='\n#B=\n'\nC=3\nB=2\n"),
    "new, a comment about it": ("# B is for bees\nC=3\n", {"B": "2"}, "# B is for bees\nC=3\nB=2\n"),
    "new, a longer name commented out": ("# BB=1\nC=3\n", {"B": "2"}, "# BB=1\nC=3\nB=2\n"),
    "commented out and assigned": ("#A=1\nB=2\nA=3\n", {"A": "x"}, "#A=1\nB=2\nA=x\n"),
    "new behind its kin": ("K1=1\nK2=2\nZ=9\n", {"K3": "3"}, "K1=1\nK2=2\nK3=3\nZ=9\n"),
    "new between its kin": ("K1=1\nK3=3\nZ=9\n", {"K2": "2"}, "K1=1\nK2=2\nK3=3\nZ=9\n"),
    "new before its kin": ("Y=8\n K2=2\nZ=9\n", {"K1": "1"}, "Y=8\nK1=1\n K2=2\nZ=9\n"),
    "new and all kin new": ("Z=9\n", {"K3": "3", "K1": "1", "K2": "2"}, "Z=9\nK1=1\nK2=2\nK3=3\n"),
    "new behind kin at the end": ("Z=9\nK1=1", {"K2": "2"}, "Z=9\nK1=1\nK2=2\n"),
    "new behind multi-line kin": ("K1='1\n2' B='3\n4'\nZ=9\n", {"K2": "2"}, "K1='1\n2' B='3\n4'\nK2=2\nZ=9\n"),
    "new before kin behind multi-line": ("Y=8\nB='3\n4' K2=2\nZ=9\n", {"K1": "1"}, "Y=8\nK1=1\nB='3\n4' K2=2\nZ=9\n"),
    "new behind the last kin of its name": ("K1=1\nZ=9\nK1=2\nY=8\n", {"K2": "2"}, "K1=1\nZ=9\nK1=2\nK2=2\nY=8\n"),
    "removed": ("A=1\nB=2\nC=3\n", {"B": None}, "A=1\nC=3\n"),
    "removed with its comment": ("A=1\nB=2 # c\nC=3\n", {"B": None}, "A=1\nC=3\n"),
    "removed with the comment behind quotes": ("A=1\n  B='2' # c\nC=3\n", {"B": None}, "A=1\nC=3\n"),
    "removed everywhere": ("B=1\nA=1\nB\nexport B='2\n3'\nC=3\n", {"B": None}, "A=1\nC=3\n"),
    "removed twice on a line": ("B='1' B='2'\nC=3\n", {"B": None}, "C=3\n"),
    "removed first on a line": ("  B='1' C=3 # c\n", {"B": None}, "  C=3 # c\n"),
    "removed last on a line": ("C='3' B=1\r\nD=4\r\n", {"B": None}, "C='3'\r\nD=4\r\n"),
    "removed before a comment": ("C='3' B='1' # c\n", {"B": None}, "C='3' # c\n"),
    "removed amid a line": ("C='3' B='1' D=4\n", {"B": None}, "C='3' D=4\n"),
    "removed at the end": ("A=1\nB=2", {"B": None}, "A=1\n"),
    "removed, the comment stays": ("#B=1\nB=2\n", {"B": None}, "#B=1\n"),
    "removed alone": ("B=2\n", {"B": None}, ""),
    "removed with what referred to it": ("B=2\nA=${B?e}\n", {"B": None, "A": None}, ""),
    "removed, and its reference set": ("B=2\nA=${B?e}\n", {"B": None, "A": "2"}, "A=2\n"),
}


def kin(name: str) -> t.Sequence[str]:
    return ("K1", "K2", "K3") if name.startswith("K") else ()


@pytest.mark.parametrize("case", READ.values(), ids=READ)
def test_read(case: Case) -> None:
    if isinstance(case.expected, int):
        with pytest.raises(DotenvError) as caught:
            parse(case.text, case.environ)
        assert caught.value.line == case.expected
        assert str(caught.value) == "line %d: %s" % (case.expected, caught.value.reason)
    else:
        assert parse(case.text, case.environ).values == case.expected


@pytest.mark.parametrize("case", READ.values(), ids=READ)
def test_edit_moves_no_other_byte(case: Case) -> None:
    if isinstance(case.expected, int):
        return
    document = parse(case.text, case.environ)
    for name in filter(re.compile("[A-Za-z_][A-Za-z0-9_]*").fullmatch, sorted(document.values)):
        for value in VALUES[1:]:
            changed = document.edit({name: value})
            old = document.effective(name)
            assert old is not None
            assert changed.startswith(case.text[: old.start]) and changed.endswith(case.text[old.end :])
            assert parse(changed, case.environ).values[name] == value
            assert parse(changed, case.environ).edit({name: value}) == changed


def test_assignments_cover_what_they_say() -> None:
    text = "\ufeff\n  export A = 'x' B: \"y\" # c\nC\nD=z # c\r\nE= \r\n"
    assignments = parse(text, {"C": "shell"}).assignments
    assert [
        (one.line, one.style, text[one.start : one.end], text[one.value_start : one.value_end], one.value)
        for one in assignments
    ] == [
        (2, "single", "export A = 'x'", "'x'", "x"),
        (2, "double", 'B: "y"', '"y"', "y"),
        (3, "inherited", "C", "", "shell"),
        (4, "bare", "D=z # c", "z", "z"),
        (5, "bare", "E= ", "", ""),
    ]
    assert parse("C\nA=1\n").assignments[0].value is None


def test_effective_is_the_last_that_gives_a_value() -> None:
    text = "A=1\nA=2\nA\n"
    assert (parse(text).effective("A") or pytest.fail()).line == 2
    assert (parse(text, {"A": "x"}).effective("A") or pytest.fail()).line == 3
    assert parse("A\n").effective("A") is None
    assert parse(text).effective("B") is None


@pytest.mark.parametrize(
    "text",
    [
        "A=old\nA=new\n",
        "A=1\n# A=1\n",
        "# A='old' # really\n",
        "#A='open\n",
        "#A=$C\n",
        "## export A = x\n",
        "F='\n' # A=1\n",
        "A=1\nA=\n",
    ],
)
def test_has_dead_copy(text: str) -> None:
    assert parse(text).has_dead_copy("A")
    assert not parse(text).has_dead_copy("B")


@pytest.mark.parametrize(
    "text", ["A=1\n", "A=1\nA\n", "A=\nA=1\n", "#A=\n", "# A= # really\n", "# A\n# A: 1\n# AA=1\n", "F='\n# A=1\n'\n"]
)
def test_has_no_dead_copy(text: str) -> None:
    assert not parse(text).has_dead_copy("A")


def test_dead_copy_of_an_inherited_name() -> None:
    assert parse("A=old\nA\n", {"A": "shell"}).has_dead_copy("A")
    assert "old" not in repr(parse("A=old\n").assignments)


def test_references() -> None:
    document = parse("A=1\nB=$A\nC=\"${B:-x}\"\nD='$A'\nE=${X:-$A}\nA=$A\n")
    assert document.references("A") == ("B", "C", "E")
    assert document.references("B") == ("C",)
    assert document.references("X") == ("E",)
    assert document.references("D") == ()


def test_unset_references() -> None:
    document = parse("K=SeCr$tTail\nA=${B}${C:-$D}${E+x}${F}$$G\nB=1\nF\n", {"F": ""})
    assert document.unset_references == {"tTail", "B", "D"}


@pytest.mark.parametrize(("text", "changes", "expected"), EDIT.values(), ids=EDIT)
def test_edit(text: str, changes: dict[str, str | None], expected: str) -> None:
    assert parse(text).edit(changes, kin) == expected
    assert parse(expected).edit(changes, kin) == expected


def test_edit_with_a_shell() -> None:
    document = parse("A=1\nA\nB\n", {"A": "shell"})
    assert document.edit({"A": "shell"}) == "A=1\nA\nB\n"
    assert document.edit({"A": "2"}) == "A=1\nA=2\nB\n"
    assert document.edit({"B": "2"}) == "A=1\nA\nB=2\n"


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A\n", "Ä", "A-B", "#A"])
def test_edit_refuses_names(name: str) -> None:
    for value in ("x", None):
        with pytest.raises(AppwriteError, match="is not a valid name for an environment variable"):
            parse("A=1\n").edit({name: value})


@pytest.mark.parametrize(("value", "message"), [("a\0b", "NUL"), ("a\udcff", "Unicode"), ("\ud83d", "Unicode")])
def test_edit_refuses_values(value: str, message: str) -> None:
    with pytest.raises(AppwriteError, match=message):
        parse("A=1\n").edit({"A": value})
    with pytest.raises(AppwriteError, match=message):
        quote(value)


def test_edit_refuses_what_compose_would_reject() -> None:
    with pytest.raises(DotenvError, match="^line 1: after this change, a variable that a .* requires is not set$"):
        parse("B=2\nA=${B:?e}\n").edit({"B": None})
    with pytest.raises(DotenvError, match="^line 2: after this change"):
        parse("B=2\nA=${B:?e}\n").edit({"B": ""})


def test_edit_of_many() -> None:
    names = ["N%03d" % number for number in range(150)]
    text = "".join("%s=%s\n" % (name, name.lower()) for name in names[::2])
    changed = parse(text).edit(dict.fromkeys(reversed(names), "x"), lambda name: names)
    assert changed == "".join("%s=x\n" % name for name in names)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_quote(value: str) -> None:
    assert parse("A=%s\n" % quote(value), {"B": "shell"}).values == {"A": value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("aB9_./:@%+,=-", "aB9_./:@%+,=-"),
        (" ", '" "'),
        ("a'b", '"a\'b"'),
        ('a"b', '"a\\"b"'),
        ("a\\", '"a\\\\"'),
        ("$A", '"\\$A"'),
        ("#", '"#"'),
        ("a\nb", '"a\nb"'),
        ("a\n", '"a\n"'),
        ("ü", '"ü"'),
        ("a`b", '"a`b"'),
    ],
)
def test_quote_form(value: str, expected: str) -> None:
    assert quote(value) == expected


def test_quote_at_random() -> None:
    chance = random.Random(2)
    for alphabet in ("aZ0_./:@%+,=-", "ab \\\"'$#{}\n\r\t`", "".join(map(chr, range(1, 0x300))) + "\u2028🔑"):
        for _unused in range(1000):
            value = "".join(chance.choices(alphabet, k=chance.randrange(40)))
            assert parse("A=%s\nB=1\n" % quote(value)).values == {"A": value, "B": "1"}


def test_bytes_survive() -> None:
    data = b"\xef\xbb\xbf# \xff\xfe\xe9\nA=\xed\xa0\x80\xc3\xa4\r\n"
    assert encode(decode(data)) == data
    assert encode(parse(decode(data)).edit({"B": "ä"})) == data + 'B="ä"\r\n'.encode()


@pytest.mark.parametrize(
    "text",
    [
        "%s\n",
        "A='%s\n",
        'A="%s',
        "A=${%s\n",
        "A=${X:?%s}\n",
        "A=${%s?}\n",
        "%s=${\n",
        "A %s=1\n",
        "=%s\n",
        "A='%s\0'\n",
        "B=1\n%s",
    ],
)
def test_refusals_keep_secrets(text: str) -> None:
    secret = "!" * text.startswith("%s\n") + SECRET.replace("-", "_")
    with pytest.raises(DotenvError) as caught:
        parse(text % secret)
    shown = "%s %r" % (caught.value, caught.value)
    assert not any(secret[start : start + 8] in shown for start in range(len(secret) - 8))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DotenvError, match="^line 1: .*nested"):
        parse("A=" + "${A:-" * 1000 + "}" * 1000)
