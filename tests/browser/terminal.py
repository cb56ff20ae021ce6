# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records C(make demo), on a terminal of 80 columns, as docs/images/demo.svg, and its table as docs/images/before-after.svg."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pexpect
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


def record(command: str) -> str:
    """What a program prints to a terminal of 24 lines and 80 columns."""
    heard, status = pexpect.run(command, timeout=None, withexitstatus=True, encoding="utf-8", cwd=ROOT)
    if status:
        raise SystemExit(heard)
    said = heard.replace("\r\n", "\n").replace(str(ROOT), "~/selfhost.appwrite")
    return said.replace(
        str(ROOT)[1:].replace("/", "-"), "home-ada-selfhost.appwrite"
    )  # as an escrow file's name has it


def draw(name: str, title: str, output: str) -> None:
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(output.strip("\n")), overflow="fold")
    drawn = console.export_svg(title=title, theme=MONOKAI, unique_id=name)
    drawn = re.sub(
        r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL
    )  # of a server on the Internet; the reader's own will do
    (IMAGES / f"{name}.svg").write_text("".join(line.rstrip() + "\n" for line in drawn.splitlines()))


def main() -> None:
    output = record("tests/demo.sh")
    draw("demo", "make demo", "$ make demo\n" + output)
    draw("before-after", "make demo", output[output.index("┌") : output.index("┘") + 1])


if __name__ == "__main__":
    main()
