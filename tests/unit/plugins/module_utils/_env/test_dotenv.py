# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a ``.env`` is read and edited. The reading was recorded from docker compose; the integration test asks it again."""

from __future__ import annotations

import random
import re
import subprocess
import typing as t

import pytest
from support.dotenv import READ, VALUES, Case

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import (
    DotenvError,
    decode,
    encode,
    parse,
    quote,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError

SECRET = "not-a-real-key-" + "0123456789abcdef" * 2


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
        ("a`b", "'a`b'"),
        ("a$`b\n", "'a$`b\n'"),
        ("a`b'c", '"a`b\'c"'),
        ("a`b\\", '"a`b\\\\"'),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "A=-----BEGIN KEY-----\nab+c\nB=1\n",
            "line 2: the value that begins in line 1 seems to go on here, and has no quotes",
        ),
        ("A=-----BEGIN KEY-----\nabcd\nab+c==\n", "line 3: the value that begins in line 1 seems to go on here"),
        ("A=-----BEGIN KEY-----\nabcd\n-----END KEY-----\n", "line 3: the value that begins in line 1 seems to go on"),
        ("A=1\n\na b\n", "line 3: a name contains a space; write NAME=value"),
        ("A=1\n\n!b\n", "line 3: unexpected character in a name; write NAME=value"),
        ("A='1'\n!b\n", "line 2: unexpected character in a name"),
        ("A=1\n/B=2\n", "line 2: a line that begins with / is no comment; put a # there"),
        ("; a comment\n", "line 1: a line that begins with ; is no comment"),
    ],
)
def test_cause(text: str, words: str) -> None:
    with pytest.raises(DotenvError) as caught:
        parse(text)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(encoding: str) -> None:
    with pytest.raises(DotenvError, match="^line 1: the file is in UTF-16; save it in UTF-8, such as by: iconv"):
        parse(decode("A=1\nB=2\n".encode(encoding)))


@pytest.mark.parametrize("value", ["a`id`b", "$HOME `id`", 'a"b', "a\\b", "a'b", "a b#c", "x\ny"])
def test_a_shell_reads_the_same(value: str) -> None:
    done = subprocess.run(["sh", "-c", f'A={quote(value)}\nprintf %s "$A"'], capture_output=True, text=True, check=True)
    assert done.stdout == value
