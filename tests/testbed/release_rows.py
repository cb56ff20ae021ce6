# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue's rows that a checkout of Appwrite changes, against the newest release that the catalogue has: for a review.

What is compared: C(app/config/variables.php), which PHP reads, and the C(docker-compose.yml) that is the installer's template since
2.0, as C(src/Appwrite/Docker/Compose/Generator.php) cuts it by default: without the services of a profile that is not chosen.
The kind of a new variable is guessed.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ._base import Failed, catalogue, run

VARIABLES, TEMPLATE, CONSTANTS = "app/config/variables.php", "docker-compose.yml", "app/init/constants.php"
_CHOSEN = {"combined", "embedding", "postgresql"}
"""Profiles that the installer keeps by default."""
_STABLE = re.compile(r"APP_VERSION_STABLE\W+'([\d.]+)'")
_NAME = re.compile(r"(?<!\$)(?:\$\$)*\$\{?(_APP_[A-Z0-9_]+)")
_SECRETIVE = re.compile("_(KEY|PASS|PASSWORD|SECRET|TOKEN|DSN)(_|$)")


def documented(checkout: Path) -> dict[str, str]:
    """Variable to default, in their order."""
    catalogue()
    from ansible_collections.selfhost.appwrite.plugins.module_utils._project import own_variables

    if shutil.which("php") is None:
        raise Failed("php is not installed; make tools installs it")
    path = _existing(checkout / VARIABLES)
    found = own_variables.answered(
        run(*own_variables.COMMAND, input=own_variables.QUESTION.replace(own_variables.PATH, str(path)))
    )
    if found is None:
        raise Failed(f"{path} is no list of variables that PHP reads")
    return found


def passed(template: str) -> dict[str, set[str]]:
    """Variable to the services that list it; to none if the file only puts it in. In the order of their first place."""
    services = {
        name: service
        for name, service in yaml.safe_load(template)["services"].items()
        if not service.get("profiles") or _CHOSEN.intersection(service["profiles"])
    }
    found: dict[str, set[str]] = {}
    for name, service in services.items():
        for entry in service.get("environment") or ():
            variable = str(entry).partition("=")[0]
            if variable.startswith("_APP_"):
                found.setdefault(variable, set()).add(name)
    for variable in _NAME.findall(json.dumps(services)):
        found.setdefault(variable, set())
    return found


def changed(release: str, defaults: Mapping[str, str], lists: Mapping[str, set[str]]) -> list[str]:
    """The lines, each group's under its heading."""
    known = catalogue()
    lines: dict[str, list[str]] = {}
    place = known.GROUPS[0]
    for name in dict.fromkeys((*defaults, *lists, *known.names(known.NEWEST))):
        default, services, before = defaults.get(name), lists.get(name), known.get(name)
        place = before.group if before and name in defaults else place
        now = (default, sorted(services or ()), services is not None)
        if before and now == (
            known.default(name, known.NEWEST),
            list(known.services(name, known.NEWEST)),
            bool(known._rows(name, known.NEWEST) and known._rows(name, known.NEWEST)[-1][2]),
        ):
            continue
        row = (release.removesuffix(".0"), default, "" if services is None else short(services, release) or "$")
        rows = [*(old for old in before.rows if old[0] != row[0]), row] if before else [row]
        group = before.group if before else place if name in defaults else "Compose"
        lines.setdefault(group, []).append(_line(name, before, rows, default))
    return [line for group, found in lines.items() for line in (f"# {group}", *found)]


def short(services: Iterable[str], release: str) -> str:
    """The services as a row of the catalogue names them: by a group if that is all of them, or all but for two."""
    known = catalogue()
    left, words = set(services), []
    for group, spared in (("@all", 2), ("@workers", 0), ("@tasks", 0)):
        members = known._expand(group, release)
        missing = members - left
        if len(members) > 2 and len(missing) <= spared and members & left:
            words += [group, *(f"-{service.removeprefix('appwrite-')}" for service in sorted(missing))]
            left -= members
    return " ".join([*sorted(service.removeprefix("appwrite-") for service in left), *words])


def _line(name: str, before: Any, rows: Iterable[tuple[str, str | None, str]], default: str | None) -> str:
    def text(value: str | None) -> str:
        return "None" if value is None else json.dumps(value, ensure_ascii=False)

    parts = [text(name), text(before.kind if before else _kind(name, default))]
    parts += [f"({', '.join(map(text, row))})" for row in rows]
    if before:
        public = [value for value in before.public_defaults if value not in {row[1] for row in before.rows}]
        named = {"unread": before.unread, "use": before.successor, "public": "".join(public[:1])}
        parts += ["sticky=True"] * before.sticky + [f"{key}={text(value)}" for key, value in named.items() if value]
    return f"_v({', '.join(parts)}),"


def _kind(name: str, default: str | None) -> str:
    if _SECRETIVE.search(name):
        return "secret"
    if default in ("enabled", "disabled"):
        return "switch"
    return "integer" if default and default.isdigit() else "text"


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise Failed(f"{path} does not exist; name a checkout of appwrite/appwrite, 2.0 or later, as FROM")
    return path


def main(arguments: list[str]) -> int:
    try:
        checkout = Path(arguments[0] if arguments else "").resolve()
        defaults, template = documented(checkout), _existing(checkout / TEMPLATE).read_text("utf-8")
        stable = _STABLE.search(_existing(checkout / CONSTANTS).read_text("utf-8"))
        release = arguments[1] if len(arguments) > 1 else stable.group(1) if stable else catalogue().NEWEST
        print("\n".join(changed(release, defaults, passed(template))))
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
