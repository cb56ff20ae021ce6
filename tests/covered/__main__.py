# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what `make coverage` has recorded."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from covered import HOME, ROOT
from covered.record import Run, listing, lost, read, table


def report() -> int:
    """Writes the tables and the record of the last run."""
    run = Run()
    files = {test.partition("::")[0] for item in run.items for test in run.tests(item)} - {""}
    parts = {str(path) for name in files for path in Path(name).parents if len(path.parts) > 1}
    (HOME / "files.txt").write_text("\n".join(table(run)) + "\n", "utf-8")
    alone = {
        name: run.only(lambda test, name=name: test.startswith((f"{name}::", f"{name}/")))
        for name in sorted(files | parts)
    }
    lines = [f"{len(found):6} {name}" for name, found in alone.items()]
    lines += [line for name in sorted(files) if alone[name] for line in ("", name, *listing(alone[name]))]
    (HOME / "only.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (HOME / "record.json").write_text(
        json.dumps(run.kept(), indent=0, ensure_ascii=False, sort_keys=True) + "\n", "utf-8"
    )
    print((HOME / "files.txt").read_text("utf-8").splitlines()[-1])
    print(f"coverage: {HOME.relative_to(ROOT)}/files.txt, only.txt, record.json")
    return 0


def only(tests: list[str]) -> int:
    """Prints what only tests whose names begin so cover, in the last run."""
    found = Run().only(lambda test: test.startswith(tuple(tests)))
    print("\n".join(listing(found)) or "other tests cover all that these do")
    return 0


def compare(before: Path, after: Path) -> int:
    """Prints what one record covers and another does not. Returns 1 where something is still there that was covered."""
    uncovered, gone = lost(read(before), read(after))
    for title, found in (
        ("covered before, uncovered now", uncovered),
        ("covered before, not in plugins/ any more", gone),
    ):
        print(f"{title}: {len(found)}", *(f"  {file}: {scope}: {text}" for file, scope, text in found), sep="\n")
    return int(bool(uncovered))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m covered", description=__doc__)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("report", help=report.__doc__).set_defaults(run=report)
    command = commands.add_parser("only", help=only.__doc__)
    command.add_argument(
        "tests",
        nargs="+",
        metavar="TEST",
        help="tests/faults, tests/unit/plugins/test_rooms.py, or a test's whole name",
    )
    command.set_defaults(run=only)
    command = commands.add_parser("compare", help=compare.__doc__)
    command.add_argument("before", type=Path)
    command.add_argument("after", type=Path)
    command.set_defaults(run=compare)
    chosen = vars(parser.parse_args())
    return int(chosen.pop("run")(**chosen))


sys.exit(main())
