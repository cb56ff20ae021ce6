# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(report.html) in headless Chromium. Its fixture sees in every test that the console is empty and that nothing is requested."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from browser import sample
from browser.conftest import STRANGE
from playwright.sync_api import Locator, Page, expect

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.page import page

ROOT = Path(__file__).parents[2]


def shown(found: Page, selector: str) -> int:
    return found.locator(f"{selector}:visible").count()


def field(found: Page, name: str) -> Locator:
    return found.get_by_role("search").get_by_label(name, exact=True)


def tick(found: Page, name: str) -> None:
    found.locator("fieldset label", has_text=name).click()


def count_of(findings: list[dict[str, Any]], **wanted: str) -> int:
    return sum(all(finding[name] == value for name, value in wanted.items()) for finding in findings)


def at(found: Page, end: str) -> None:
    expect(found).to_have_url(re.compile(re.escape(end) + "$"))


def result(found: Page) -> str:
    return found.locator("#result").inner_text()


@pytest.fixture(scope="module")
def findings() -> list[dict[str, Any]]:
    return [{**finding, "host": host["host"]} for host in sample.fleet()[0]["hosts"] for finding in host["findings"]]


# --- what it says ---


def test_every_finding_is_there(opened, findings):
    found = opened()
    assert result(found) == f"{len(findings)} findings, {len({finding['id'] for finding in findings})} controls"
    assert found.locator(".on > li").count() == len(findings)
    for severity in ("critical", "high", "medium", "low"):
        row = found.locator(".counts tbody tr", has_text=re.compile(severity, re.IGNORECASE)).locator("td")
        numbers = [int(text.split()[0]) for text in row.all_inner_texts()]
        assert numbers == [
            count_of(findings, severity=severity, status=status) for status in ("fail", "unknown", "waived", "pass")
        ]


def test_waivers(opened):
    found = opened()
    for words in (
        "Waived until 2027-02-28: Only our own",
        "Waiver ends soon, on 2026-12-10: Reached",
        "Waiver expired on 2026-10-31: Until",
    ):
        expect(found.locator(".waiver", has_text=words).first).to_be_visible()


@pytest.mark.parametrize(
    ("older", "words"),
    [(0, "This is the first report"), (1, "2 reports since 2026-11-17"), (8, "9 reports since 2026-09-29")],
)
def test_trend(older, words):
    now, history = sample.fleet(reports=older + 1)
    html = page(now, history)
    assert words in re.sub(r"<[^>]+>", "", html.split('id="h-trend"')[1])
    assert html.count('<polyline class="line"') == bool(older)
    assert html.count('<path class="dot"') == (older + 1) * bool(older)


def test_trend_compares_the_same_hosts():
    """An older report of more hosts than the last has, or of others, makes the line of those that are still there."""
    now, (oldest, older) = sample.fleet(reports=3)
    here = now["hosts"][0]
    html = page({**now, "hosts": [here]}, [{**oldest, "hosts": oldest["hosts"][1:]}, older])
    assert "2 reports since" in html
    before = next(host["score"] for host in older["hosts"] if host["host"] == here["host"])
    assert f"The score went from {before} to {here['score']} in 2 reports." in html


@pytest.mark.parametrize("name", ["one", "nothing", "none"])
def test_small_reports(opened, name):
    found = opened(name)
    heading = {
        "one": "on appwrite.example.com",
        "nothing": "Nothing fails on appwrite.example.com",
        "none": "No installation was audited",
    }[name]
    expect(found.locator("h1")).to_contain_text(heading)
    assert found.locator("#host").is_visible() is False


# --- how it is found ---


def test_filters(opened, findings):
    found = opened()
    tick(found, "High")
    tick(found, "Failing")
    number = count_of(findings, severity="high", status="fail")
    assert result(found).startswith(f"{number} of {len(findings)} findings")
    at(found, "#severity=high&status=fail")
    field(found, "Group").select_option("Secrets")
    field(found, "Host").select_option("demo.example.com")
    assert result(found) == "{} of {} findings, 3 controls, 1 host".format(
        count_of(findings, severity="high", status="fail", group="secrets", host="demo.example.com"), len(findings)
    )
    assert shown(found, ".control") == 3 and shown(found, ".on > li") == 3
    found.get_by_role("button", name="Show all").click()
    assert result(found).startswith(f"{len(findings)} findings")
    at(found, "fleet.html")


def test_search(opened):
    found = opened()
    field(found, "Search").fill("REDIS us-2 ")
    at(found, "#q=REDIS+us-2")
    assert {text.split("\n")[0] for text in found.locator(".control:visible h4").all_inner_texts()} >= {
        "Redis asks for a password"
    }
    assert set(found.locator(".control:visible .on > li:visible").all_inner_texts()) == {"us-2.example.com"}
    field(found, "Search").fill("no such words")
    expect(found.get_by_text("No finding is like that.")).to_be_visible()
    assert result(found).startswith("0 of ") and shown(found, ".severity") == 0


def test_passes_are_folded_until_they_are_asked_for(opened, findings):
    found = opened()
    assert shown(found, ".row[data-status=pass]") == 0
    tick(found, "Passing")
    assert result(found).startswith(f"{count_of(findings, status='pass')} of ")
    assert shown(found, ".row[data-status=pass]") == found.locator(".row[data-status=pass]").count()
    assert shown(found, ".row[data-status=fail]") == 0


def test_address_keeps_the_filters(opened, findings):
    found = opened(address="#q=key&severity=critical,high&group=encryption&host=lab.example.com")
    assert field(found, "Search").input_value() == "key"
    assert field(found, "Group").input_value() == "encryption"
    assert field(found, "Host").input_value() == "lab.example.com"
    assert [box.input_value() for box in found.locator(":checked[type=checkbox]").all()] == ["critical", "high"]
    expect(found.locator("#findings")).to_be_in_viewport()
    before = result(found)
    found.reload()
    assert result(found) == before != f"{len(findings)} findings"
    found.evaluate("location.hash = '#group=nothing&severity=none&host=nobody'")
    expect(found.locator("#result")).to_contain_text(f"{len(findings)} findings")


def test_address_of_a_control(opened):
    found = opened(address="#encryption.key_present")
    expect(found.locator("[id='encryption.key_present']")).to_be_in_viewport()
    passing = found.locator(".rest .control").first
    anchor = passing.get_attribute("id")
    found.evaluate("name => { location.hash = '#' + name }", anchor)
    expect(passing).to_be_in_viewport()


def test_heat_map(opened, findings):
    found = opened()
    row = found.locator(".heat tbody tr", has_text="demo.example.com")
    failing = count_of(findings, host="demo.example.com", group="secrets", status="fail")
    field = row.get_by_role("link", name=f"{failing} failing, worst high")
    field.click()
    at(found, "#group=secrets&host=demo.example.com&status=fail")
    assert shown(found, ".on > li") == failing
    expect(found.locator("#findings")).to_be_focused()
    assert field.get_attribute("aria-current") == "true"
    row.get_by_role("link", name="demo.example.com").click()
    at(found, "#host=demo.example.com&status=fail%2Cunknown%2Cwaived")
    found.go_back()
    assert shown(found, ".on > li") == failing
    found.locator(".counts a").first.click()
    at(found, "#severity=critical&status=fail")
    assert found.locator(".heat thead th").all_inner_texts()[:3] == ["Host", "Score", "Trend"]
    assert found.locator(".heat tbody tr").count() == len(sample.HOSTS)


def test_keyboard_alone(opened, findings):
    found = opened()
    found.keyboard.press("Tab")
    expect(found.get_by_text("Skip to the findings")).to_be_in_viewport()
    found.keyboard.press("Enter")
    expect(found.locator("#findings")).to_be_focused()
    found.keyboard.press("Tab")
    expect(field(found, "Search")).to_be_focused()
    found.keyboard.type("key")
    for _number in range(3):
        found.keyboard.press("Tab")
    found.keyboard.press("Space")
    at(found, "#q=key&severity=critical")
    label = found.locator("label", has=found.locator("[value=critical]"))
    assert label.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    found.locator(".heat tbody a.cell").first.focus()
    assert found.locator(".heat tbody a.cell").first.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    found.keyboard.press("Enter")
    expect(found).to_have_url(re.compile("#group=.*&host="))
    found.get_by_role("button", name="Dark").focus()
    found.keyboard.press("Enter")
    assert found.evaluate("document.documentElement.dataset.theme") == "dark"


def test_copy(opened, findings):
    found = opened(permissions=["clipboard-read", "clipboard-write"])
    block = found.locator(".command").first
    remedy = block.locator("code").inner_text()
    assert remedy in {finding["remedy"] for finding in findings}
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("button")).to_have_text("Copied")
    expect(found.locator("#said")).to_have_text("Copied")
    assert found.evaluate("navigator.clipboard.readText()") == remedy
    expect(block.get_by_role("button")).to_have_text("Copy")


def test_copy_without_https(chromium, written):
    """Where a web server hands the page out over HTTP, there is no clipboard but the selection's."""
    with chromium.new_context() as context:
        context.route(
            "http://audit.example.com/", lambda route: route.fulfill(path=written("fleet"), content_type="text/html")
        )
        found = context.new_page()
        found.goto("http://audit.example.com/")
        assert found.evaluate("navigator.clipboard === undefined")
        block = found.locator(".command").first
        block.get_by_role("button", name="Copy").click()
        expect(block.get_by_role("button")).to_have_text("Copied")
        field(found, "Search").focus()
        found.keyboard.press("Control+V")
        assert field(found, "Search").input_value() == block.locator("code").inner_text()


def test_without_javascript(opened, findings):
    found = opened(java_script_enabled=False)
    assert shown(found, "button") == shown(found, "input") == shown(found, "select") == 0
    titles = set(found.locator(".control:visible h4").all_inner_texts())
    assert titles >= {finding["title"] for finding in findings if finding["status"] == "fail"}
    assert shown(found, ".row[data-status=fail]") == found.locator(".row[data-status=fail]").count()
    found.locator(".rest summary").first.click()
    assert shown(found, ".rest .row") > 0


# --- how it looks ---


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("three", 1280, "light"),
        ("three", 1280, "dark"),
        ("three", 360, "dark"),
        ("strange", 1280, "light"),
        ("one", 800, "light"),
        ("nothing", 360, "dark"),
    ],
)
def test_accessible(opened, name, width, scheme):
    axe = sorted((ROOT / ".work" / "browser").glob("axe-core@*/node_modules/axe-core/axe.min.js"))
    if not axe:
        pytest.skip("npm is not at hand")
    found = opened(name, width=width, color_scheme=scheme)
    if scheme == "dark":
        tick(found, "Passing")
        tick(found, "High")
    found.evaluate(axe[-1].read_text("utf-8"))
    violations = found.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations] == []


@pytest.mark.parametrize("width", [360, 800, 1280])
@pytest.mark.parametrize("name", ["fleet", "strange"])
def test_no_horizontal_overflow(opened, name, width):
    found = opened(name, width=width)
    found.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert found.evaluate("document.documentElement.scrollWidth") <= width
    outside = "[...document.querySelectorAll('main *')].filter(one => !one.closest('.scroll, .vh') && one.getBoundingClientRect().right > innerWidth + 1)"
    assert found.evaluate(f"{outside}.map(one => one.outerHTML.slice(0, 200))") == []


def test_strange_texts_are_only_text(opened):
    found = opened("strange")
    names = set(found.locator(".heat tbody th a").all_inner_texts())
    assert {name.replace("\n", "") for name in names} == {
        text.replace("\u202e", "\\u{202e}").replace("\u2066", "\\u{2066}") for text in STRANGE
    }
    assert found.locator("script").count() == 1
    assert found.locator("img, b, iframe, [onerror], [onload]").count() == 0
    assert found.locator("a[href^=javascript]").count() == 0
    field(found, "Host").select_option(STRANGE[1])
    assert set(found.locator(".on > li:not([hidden])").all_text_contents()) == {STRANGE[1]}
    before = result(found)
    found.reload()
    assert result(found) == before and field(found, "Host").input_value() == STRANGE[1]


def test_theme_is_kept(opened):
    found = opened(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = found.evaluate(background)
    found.get_by_role("button", name="Dark").click()
    dark = found.evaluate(background)
    assert light == "rgb(255, 255, 255)" != dark
    found.reload()
    assert found.evaluate(background) == dark
    expect(found.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    found.emulate_media(media="print")
    assert found.evaluate(background) == light


@pytest.mark.parametrize("javascript", [True, False])
def test_print(opened, javascript):
    """All is there on paper but what one clicks; and a finding is not torn apart."""
    found = opened(java_script_enabled=javascript, color_scheme="dark")
    found.emulate_media(media="print", color_scheme="dark")
    assert shown(found, "button") == shown(found, "input") == shown(found, "select") == 0
    rows = found.locator(".row")
    heights = [
        row["height"]
        for row in (one.bounding_box() for one in (rows.first, rows.last, found.locator(".rest .row").first))
        if row
    ]
    assert len(heights) == 3 and min(heights) > 10
    assert found.locator(".control").first.evaluate("node => getComputedStyle(node).breakInside") == "avoid"
    printed = found.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF-") and len(re.findall(rb"/Type\s*/Page\b", printed)) > 5
    assert b"/MediaBox [0 0 594.95996 841.91998]" in printed


# --- the file ---


def test_same_bytes():
    """Whatever the order of sets is in this run of Python."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.page import page\n"
        "from browser import sample\nsys.stdout.write(page(*sample.fleet(reports=2)))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", program, str(ROOT / ".work" / "import"), str(ROOT / "tests")],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1
    now, history = sample.fleet(reports=2)
    kept = copy.deepcopy((now, history))
    assert page(now, history).encode() in made and (now, history) == kept


def test_size():
    assert len(page(*sample.fleet(hosts=50)).encode()) < 1_000_000
