# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test may rely on: the collection and the testbed can be imported, and CI skips nothing in silence; and the order of the tests."""

from __future__ import annotations

import datetime
import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import settings

ROOT = Path(__file__).parent
WORK = ROOT / ".work"
IMPORT = WORK / "import"
_LONGEST_FIRST = ("sanity", "faults", "integration")
_LEFT = pytest.StashKey[int]()
"""how many tests were left for the night"""


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

pytest_plugins = [*(["covered.plugin"] if os.environ.get("SELFHOST_COVERAGE") else []), "support.fixtures"]


SEED = os.environ.setdefault("SEED", f"{datetime.date.today():%Y%m%d}")
"""What is generated is the same all day, on each worker, and something else the next day."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = SEED
    settings.register_profile(
        "daily", settings(), derandomize=False, deadline=None
    )  # its own of CI is the same for ever
    settings.load_profile("daily")


def pytest_report_header() -> str:
    return f"seed of what is generated: SEED={SEED}"


def _allowed_skips() -> tuple[str, ...]:
    section = (
        (ROOT / "tests" / "README.md").read_text("utf-8").partition("## Skips that CI allows")[2].partition("\n## ")[0]
    )
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
        [kind] = item.path.relative_to(ROOT).parts[1:2]
        if kind in ("integration", "sanity"):
            item.add_marker(kind)
        if kind == "browser":
            item.add_marker("nightly")
        if "collection_copy" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("collection_copy"))
        group = _group(item)
        if group and config.getoption("loadgroup", False) and not item.nodeid.endswith(f"@{group}"):
            # pytest-xdist 3.8 keeps a group together by a suffix that it sets where pytest before 9.2 read it.
            item._id = coerce_node_id(f"{item.nodeid}@{group}")
    if os.environ.get("NIGHTLY") != "true":
        left = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left)
        config.stash[_LEFT] = len(left)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    _sort(items)


def _group(item: pytest.Item) -> str:
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else ""


def _sort(items: list[pytest.Item]) -> None:
    """A group's tests follow each other, so that its project is started once. What takes longest begins first: in the end no worker waits for another's."""

    def place(item: pytest.Item) -> int:
        kind = item.path.relative_to(ROOT).parts[1]
        return _LONGEST_FIRST.index(kind) if kind in _LONGEST_FIRST else len(_LONGEST_FIRST)

    size = Counter(filter(None, map(_group, items)))
    first: dict[str, int] = {}
    for item in items:
        first[_group(item)] = min(place(item), first.get(_group(item), place(item)))

    def key(item: pytest.Item) -> tuple[int, int, str]:
        group = _group(item)
        return (first[group], -size[group], group) if group else (place(item), 0, "")

    items.sort(key=key)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash.get(_LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    node.config.stash[_LEFT] = getattr(node, "workeroutput", {}).get("left", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left := config.stash.get(_LEFT, 0):
        terminalreporter.write_line(f"Tests left for `make nightly`: {left}")
