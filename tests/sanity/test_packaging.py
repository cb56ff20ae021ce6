# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is published: licences, changelog, the archive for Galaxy, and an execution environment that is made with it."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
import yaml
from support.checkers import ROOT, check

PUBLISHED = {
    "CHANGELOG.rst",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "REUSE.toml",
    "SECURITY.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}


def test_licences(collection_copy):
    check("reuse", "lint", cwd=collection_copy)


def test_changelog(collection_copy, checker_environment):
    check("antsibull-changelog", "lint", cwd=collection_copy, env=checker_environment)
    check(
        "antsibull-changelog",
        "lint-changelog-yaml",
        "changelogs/changelog.yaml",
        cwd=collection_copy,
        env=checker_environment,
    )


@pytest.fixture(scope="module")
def archive(collection_copy, checker_environment, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("archive")
    check(
        "ansible-galaxy",
        "collection",
        "build",
        "--output-path",
        directory,
        cwd=collection_copy,
        env=checker_environment,
    )
    [path] = directory.iterdir()
    return path


def test_archive_holds_what_users_need(archive):
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert {name.partition("/")[0] for name in names} <= PUBLISHED
    assert "docs/images/audit-report-light.png" not in names


def test_execution_environment(archive, checker_environment, tmp_path):
    """The archive in a definition, and what it asks of the image where it is installed."""
    definition = {
        "version": 3,
        "images": {"base_image": {"name": "registry.example.com/base:1"}},
        "additional_build_files": [{"src": str(archive), "dest": "collections"}],
        "dependencies": {"galaxy": {"collections": [{"name": f"_build/collections/{archive.name}", "type": "file"}]}},
    }
    (tmp_path / "execution-environment.yml").write_text(yaml.safe_dump(definition))
    check("ansible-builder", "create", cwd=tmp_path, env=checker_environment)
    assert archive.name in (tmp_path / "context/_build/requirements.yml").read_text()
    assert (tmp_path / "context/_build/collections" / archive.name).is_file()

    check(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--force",
        "--collections-path",
        tmp_path / "installed",
        archive,
        cwd=tmp_path,
        env=checker_environment,
    )
    asked = yaml.safe_load(
        check("ansible-builder", "introspect", tmp_path / "installed", cwd=tmp_path, env=checker_environment)
    )
    assert [line.partition(" ")[0] for line in asked["python"]] == ["cryptography"]
    assert not asked["system"]


def test_hooks_run_what_is_here():
    """Nothing is fetched for a commit, and each hook calls a target of the Makefile or a program of .venv."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, argument, *_more = hook["entry"].split()
        assert hook["language"] == "system"
        assert argument in targets if program == "make" else (ROOT / program).is_file()


def test_devcontainer_is_json():
    assert json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["image"].startswith("debian:")
