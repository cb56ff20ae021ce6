# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test may rely on: the collection and the testbed can be imported, and CI skips nothing in silence."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id

ROOT = Path(__file__).parent
WORK = ROOT / ".work"
IMPORT = WORK / "import"


def _link_collection() -> None:
    """Let `ansible_collections.selfhost.appwrite` be imported from this checkout, whatever its directory is called."""
    link = IMPORT / "ansible_collections" / "selfhost" / "appwrite"
    target = "../../../.."
    if link.is_symlink() and os.readlink(link) == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".appwrite.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


# Everything that the tests start is compiled once, away from the checkout.
sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(WORK / "pycache"))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(WORK / "hypothesis"))
_link_collection()
sys.path[:0] = [str(IMPORT), str(ROOT / "tests")]

pytest_plugins = [*(["covered.plugin"] if os.environ.get("SELFHOST_COVERAGE") else []), "integration.fixtures"]


def _allowed_skips() -> tuple[str, ...]:
    section = (ROOT / "tests" / "README.md").read_text("utf-8").partition("## Skips that CI allows")[2].partition("\n## ")[0]
    return tuple(re.findall(r"^- `(.+?)`", section, re.MULTILINE))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    return _judge_skip((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report():
    return _judge_skip((yield))


def _judge_skip(report):
    """Under CI, a skip fails unless tests/README.md lists the beginning of its reason."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(_allowed_skips()):
            report.outcome = "failed"
            report.longrepr = f"skipped under CI: {reason} (tests/README.md lists the reasons that CI allows)"
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(ROOT).parts[1:2]
        if kind in (("integration",), ("sanity",)):
            item.add_marker(kind[0])
        if "collection_copy" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("collection_copy"))
        group = item.get_closest_marker("xdist_group")
        if group and config.getoption("loadgroup", False) and not item.nodeid.endswith(f"@{group.args[0]}"):
            # pytest-xdist 3.8 keeps a group together by a suffix that it sets where pytest before 9.2 read it.
            item._id = coerce_node_id(f"{item.nodeid}@{group.args[0]}")
