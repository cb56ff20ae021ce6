# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation as a site, in .work/docs/html, and no dead link in it nor in the Markdown beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cmarkgfm
import pytest
from support.checkers import BIN, ROOT, WORK, check

DOCS = WORK / "docs"
SITE = DOCS / "html"
PICTURES = "https://raw.githubusercontent.com/ansible-collections/selfhost.appwrite/main/docs/images/"
COPY = DOCS / "ansible_collections" / "selfhost" / "appwrite"


class _Page(HTMLParser):
    """The links of a page, and the anchors that links may lead to."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self._heading: str | None = None
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.links += [given[name] for name in ("href", "src") if name in given]
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if re.fullmatch("h[1-6]", tag):
            self._heading = ""

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading += data

    def handle_endtag(self, tag: str) -> None:
        if self._heading is not None and re.fullmatch("h[1-6]", tag):
            self.anchors.add(re.sub(r"[^\w\- ]", "", self._heading.lower()).replace(" ", "-"))  # as GitHub names it
            self._heading = None


def _read(path: Path) -> _Page:
    content = path.read_text("utf-8")
    if path.suffix == ".md":
        content = cmarkgfm.github_flavored_markdown_to_html(content, cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE)
    return _Page(content)


def _dead_links(paths: list[Path]) -> list[str]:
    pages = {path: _read(path) for path in paths}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme or parts.netloc:
                good = (
                    parts.scheme == "https"
                    and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)
                    and not re.search(r"\s", link)
                )
            elif parts.fragment and target.suffix in (".html", ".md"):
                good = target.is_file() and unquote(parts.fragment) in (pages.get(target) or _read(target)).anchors
            else:
                good = target.exists()
            if not good:
                dead.append(f"{path}: {link}")
    return dead


@pytest.fixture(scope="session")
def site(collection_copy, checker_environment) -> Path:
    """Built from a copy in which what is not released yet is in the changelog, with the pictures of this checkout."""
    shutil.rmtree(DOCS, ignore_errors=True)
    shutil.copytree(collection_copy, COPY, symlinks=True)
    environment = {**checker_environment, "ANSIBLE_COLLECTIONS_PATH": str(DOCS)}
    if any(COPY.glob("changelogs/fragments/*.yml")):
        check("antsibull-changelog", "release", "--update-existing", cwd=COPY, env=environment)
    (DOCS / "rst").mkdir(mode=0o755)
    check(
        "antsibull-docs",
        "--config-file",
        "docs/antsibull-docs.cfg",
        "collection",
        "--use-current",
        "--squash-hierarchy",
        "--fail-on-error",
        "--cleanup",
        "everything",
        "--dest-dir",
        DOCS / "rst",
        "selfhost.appwrite",
        cwd=COPY,
        env=environment,
    )
    shutil.copytree(COPY / "docs" / "images", SITE / "images")
    for guide in (DOCS / "rst" / "docsite").glob("*.rst"):
        guide.write_text(guide.read_text("utf-8").replace(PICTURES, "../images/"), "utf-8")
    check(
        "sphinx-build", "--fail-on-warning", "--keep-going", "-c", "docs", DOCS / "rst", SITE, cwd=COPY, env=environment
    )
    return SITE


def test_site(site):
    """A page for each module, plugin, role and guide, and every link of the site leads somewhere."""
    wanted = {f"{path.stem}_module" for path in ROOT.glob("plugins/modules/*.py")}
    wanted |= {f"{path.stem}_lookup" for path in ROOT.glob("plugins/lookup/*.py")} | {
        f"{path.stem}_filter" for path in ROOT.glob("plugins/filter/*.yml")
    }
    wanted |= {f"{path.name}_role" for path in ROOT.glob("roles/*")}
    wanted |= {f"docsite/{path.stem}" for path in ROOT.glob("docs/docsite/rst/*.rst")}
    pages = sorted(site.rglob("*.html"))
    assert wanted <= {str(page.relative_to(site).with_suffix("")) for page in pages}
    assert _dead_links(pages) == []


def test_lint(site, checker_environment):
    """Where the name of its temporary directory happens to end with "_", antsibull-docs 2 writes a reference to it that leads nowhere: it takes another one."""
    options = ("--plugin-docs", "--validate-collection-refs", "all", "--check-extra-docs-refs")
    for _attempt in range(5):
        process = subprocess.run(
            [BIN / "antsibull-docs", "lint-collection-docs", *options, "."],
            cwd=COPY,
            env={**checker_environment, "ANSIBLE_COLLECTIONS_PATH": str(DOCS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if 'Unknown target name: "antsibull-docs-' not in process.stdout:
            break
    assert process.returncode == 0, process.stdout


def test_markdown():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert _dead_links([ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]) == []


@pytest.mark.parametrize(
    "link",
    ["missing.md", "#missing", "there.md#missing", "http://example.com", "https://localhost/", "https://example"],
)
def test_dead_links_are_found(link, tmp_path):
    (tmp_path / "there.md").write_text("# There\n")
    (tmp_path / "page.md").write_text(
        f"# A page: `code`\n\n[good](#a-page-code) [good](there.md#there) [good](https://example.com/) [dead]({link})\n"
    )
    assert [dead.partition(": ")[2] for dead in _dead_links([tmp_path / "page.md"])] == [link]
