# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records C(make demo) as docs/images/demo.svg, and its table as docs/images/before-after.svg."""

from __future__ import annotations

import io
import os
import pty
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


def record(*command: str) -> str:
    """What a program prints to a terminal."""
    heard = bytearray()

    def hear(handle: int) -> bytes:
        data = os.read(handle, 65536)
        heard.extend(data)
        return data

    if status := pty.spawn(command, hear):
        raise SystemExit(status)
    said = heard.decode().replace("\r\n", "\n").replace(str(ROOT), "~/selfhost.appwrite")
    return said.replace(
        str(ROOT)[1:].replace("/", "-"), "home-ada-selfhost.appwrite"
    )  # as an escrow file's name has it


def draw(name: str, title: str, output: str) -> None:
    text = Text.from_ansi(output.strip("\n"))
    console = Console(
        record=True, width=min(140, max(map(len, text.plain.split("\n")))), file=io.StringIO(), force_terminal=True
    )
    console.print(text, no_wrap=True, overflow="ellipsis")
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
