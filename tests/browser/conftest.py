# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports as pages, and a browser that tells what it did."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import sample
from playwright.sync_api import Browser, Page, sync_playwright

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.page import page

THREE = ("lab.", "school.", "staging.")
"""which together have every severity and every status"""
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STRANGE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "</script><svg onload=alert(3)>",
    "web & co; <b>bold</b>",
    "{{ 7 * 7 }}",
    "javascript:alert(4)",
    "\u202egnp.exe\u2066",
    "a" * 300,
    "w" * 60 + "." + "m" * 60 + ".example.com",
    "\U0001f98a\u200d\U0001f427 ホスト",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("Chromium is not at hand")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a page: of a V(fleet), of V(three) of its hosts, of V(one), of one where V(nothing) fails, of V(strange) texts, of V(none)."""
    directory = tmp_path_factory.mktemp("pages")
    now, older = sample.fleet()
    best = next(host for host in now["hosts"] if host["host"] == "appwrite.example.com")
    passed = {**best, "findings": [finding for finding in best["findings"] if finding["status"] == "pass"]}
    reports: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
        "fleet": (now, older),
        "three": ({**now, "hosts": [host for host in now["hosts"] if host["host"].startswith(THREE)]}, older),
        "one": ({**now, "hosts": [best]}, older[-1:]),
        "nothing": ({**now, "hosts": [passed]}, []),
        "strange": (sample.strange(STRANGE), []),
        "none": ({**now, "hosts": []}, older),
    }

    def write(name: str) -> Path:
        path = directory / f"{name}.html"
        if not path.exists():
            path.write_text(page(*reports[name]), "utf-8")
        return path

    return write


@pytest.fixture
def opened(chromium: Browser, written: Callable[[str], Path]) -> Iterator[Callable[..., Page]]:
    """Opens a page, and in the end sees that it complained of nothing, asked for nothing, and opened no dialog."""
    heard: list[str] = []
    contexts = []

    def open_page(name: str = "fleet", address: str = "", width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        found = context.new_page()
        path = written(name)
        found.on("console", lambda message: heard.append(f"console: {message.text}"))
        found.on("pageerror", lambda error: heard.append(f"error: {error}"))
        found.on("dialog", lambda dialog: (heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        found.on(
            "request",
            lambda request: request.url.startswith(("data:", path.as_uri())) or heard.append(f"request: {request.url}"),
        )
        found.goto(path.as_uri() + address)
        return found

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []
