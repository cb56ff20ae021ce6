# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.origin import (
    ENV,
    FILE,
    LITERAL,
    MIXED,
    NOWHERE,
    OTHER,
    Origin,
    Place,
    Reference,
    env_files,
    environment_with,
    gap,
    included,
    names_used,
    origin,
    place,
    references,
    written,
)

DOT_ENV, OTHERS = "/srv/.env", "/srv/others.env"


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("", []),
        ("plain", []),
        ("$$A and $1 and $", []),
        ("$A", [Reference("A", "", True)]),
        ("${A}", [Reference("A", "", True)]),
        ("x${A}", [Reference("A", "", False)]),
        ("${A}x", [Reference("A", "", False)]),
        ("$A$B", [Reference("A", "", False), Reference("B", "", False)]),
        ("${A:-x}", [Reference("A", ":-", True)]),
        ("${A-}", [Reference("A", "-", True)]),
        ("${A:?must be set}", [Reference("A", ":?", True)]),
        ("${A:+x}", [Reference("A", ":+", True)]),
        ("${A:-${B:-x}}", [Reference("A", ":-", True), Reference("B", ":-", False)]),
        ("${A:-${B}}/x", [Reference("A", ":-", False), Reference("B", "", False)]),
        ("${A:-a}${B}", [Reference("A", ":-", False), Reference("B", "", False)]),
    ],
)
def test_references(expression, found):
    assert references(expression) == found


@pytest.mark.parametrize("environment", [["A", "B=", "C=x=y", "D=$E"], {"A": None, "B": "", "C": "x=y", "D": "$E"}])
def test_written(environment):
    assert written({"environment": environment}) == {"A": None, "B": "", "C": "x=y", "D": "$E"}


def test_written_by_yaml():
    assert written({"environment": {"A": 5, "B": True}}) == {"A": "5", "B": "true"}
    assert written({}) == {}


@pytest.mark.parametrize(
    ("listed", "paths"),
    [
        (None, []),
        (DOT_ENV, [DOT_ENV]),
        ([DOT_ENV, OTHERS], [DOT_ENV, OTHERS]),
        ([{"path": DOT_ENV, "required": False}], [DOT_ENV]),
    ],
)
def test_env_files(listed, paths):
    assert env_files({"env_file": listed}) == paths


@pytest.mark.parametrize(
    ("environment", "files", "found"),
    [
        (["X"], [], Origin(ENV, "X")),
        (["X=$X"], [], Origin(ENV, "X")),
        (["X=${X:-enabled}"], [], Origin(ENV, "X")),
        (["X=$OTHER"], [], Origin(OTHER, "OTHER")),
        (["X=${OTHER:-y}"], [], Origin(OTHER, "OTHER")),
        (["X=y"], [], Origin(LITERAL)),
        (["X="], [], Origin(LITERAL)),
        (["X=y"], [DOT_ENV], Origin(LITERAL)),
        (["X=http://${OTHER}/v1"], [], Origin(MIXED)),
        (["X=${OTHER:+y}"], [], Origin(MIXED)),
        (["X=$$OTHER"], [], Origin(LITERAL)),
        ([], [], Origin(NOWHERE)),
        ([], [DOT_ENV], Origin(ENV, "X")),
        ([], [OTHERS], Origin(FILE, file=OTHERS)),
        ([], [DOT_ENV, OTHERS], Origin(FILE, file=OTHERS)),
        ([], [OTHERS, DOT_ENV], Origin(ENV, "X")),
    ],
)
def test_origin(environment, files, found):
    service = {"environment": environment, "env_file": files}
    assert origin("X", service, DOT_ENV, {DOT_ENV: {"X": "1"}, OTHERS: {"X": "2"}}) == found


def test_origin_of_a_variable_that_only_another_file_lacks():
    service = {"env_file": [DOT_ENV, OTHERS]}
    assert origin("Y", service, DOT_ENV, {DOT_ENV: {"X": "1"}, OTHERS: {"X": "2"}}) == Origin(ENV, "Y")


def test_environment_with():
    service = {"environment": ["B=literal", "C"], "env_file": [DOT_ENV, OTHERS]}
    contents = {DOT_ENV: {"A": "old", "B": "old", "GONE": "old"}, OTHERS: {"D": "others"}}
    resolved = {"A": "old", "B": "literal", "C": "new", "D": "others", "GONE": "old"}
    values = {"A": "new", "B": "new", "D": "new"}
    assert environment_with(resolved, service, DOT_ENV, contents, values) == {
        "A": "new",
        "B": "literal",
        "C": "new",
        "D": "others",
    }
    assert environment_with(resolved, {"env_file": OTHERS}, DOT_ENV, contents, values) == resolved


def test_names_used():
    services = [{"environment": ["A", "B=${C}"]}, {"environment": {"D": None}}]
    assert names_used(services, ["image: x:${VERSION:-1}\nenvironment:\n- B=${C}\n"]) == {"A", "C", "D", "VERSION"}


TEXT = """\
x-common: &common
  environment:
    - SHARED=literal
services:
  # a comment
  appwrite:   # the API
    image: appwrite/appwrite
    environment:
      - _APP_ENV

      - _APP_DOMAIN=one.notarealcompany.com
  "worker":
    <<: *common
  mapped:
    environment:
      _APP_DOMAIN: two.notarealcompany.com
      "_APP_ENV" : production
  bare:
    image: appwrite/appwrite
volumes:
  appwrite:
    _APP_ENV: a trap
"""


@pytest.mark.parametrize(
    ("service", "name", "number", "bare"),
    [
        ("appwrite", "_APP_ENV", 9, "- _APP_ENV"),
        ("appwrite", "_APP_DOMAIN", 11, "- _APP_DOMAIN"),
        ("mapped", "_APP_DOMAIN", 16, "_APP_DOMAIN: ${_APP_DOMAIN}"),
        ("mapped", "_APP_ENV", 17, "_APP_ENV: ${_APP_ENV}"),
        ("worker", "SHARED", 3, "- SHARED"),
    ],
)
def test_place(service, name, number, bare):
    assert place([("a.yml", TEXT)], service, name) == Place("a.yml", number, bare)


def test_place_in_the_last_file():
    override = "services:\n  appwrite:\n    environment:\n      _APP_DOMAIN: x\n"
    assert str(place([("a.yml", TEXT), ("b.yml", override)], "appwrite", "_APP_DOMAIN")) == "b.yml, line 4"


def test_place_in_its_own_service_and_not_in_the_last_file():
    override = "services:\n  another:\n    environment:\n      _APP_DOMAIN: x\n"
    assert str(place([("a.yml", TEXT), ("b.yml", override)], "appwrite", "_APP_DOMAIN")) == "a.yml, line 11"


def test_no_place():
    assert place([("a.yml", TEXT)], "appwrite", "_APP_MISSING") is None


@pytest.mark.parametrize(
    ("service", "number", "bare"),
    [
        ("appwrite", 8, "- _APP_NEW"),
        ("mapped", 15, "_APP_NEW: ${_APP_NEW}"),
        ("bare", 18, "environment: [_APP_NEW]"),
        ("missing", 0, "- _APP_NEW"),
    ],
)
def test_gap(service, number, bare):
    assert gap([("a.yml", TEXT)], service, "_APP_NEW") == Place("a.yml", number, bare)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("services:\n  include:\n    - a.yml\n", []),
        (
            "include:\n  - a.yml  # ours\n  - 'b.yml'\nservices:\n  x:\n    - c.yml\n",
            [(["a.yml"], ""), (["b.yml"], "")],
        ),
        ("include: [a.yml, b.yml]\n", [(["a.yml"], ""), (["b.yml"], "")]),
        ("name: x\ninclude:\n- path: a.yml\n  project_directory: .\n- b.yml\n", [(["a.yml"], "."), (["b.yml"], "")]),
        ("include:\n  - path: [a.yml, b.yml]\n    env_file: .env\n", [(["a.yml", "b.yml"], "")]),
        ("include:\n  - path:\n      - a.yml\n      - b.yml\n    project_directory: d\n", [(["a.yml", "b.yml"], "d")]),
    ],
)
def test_included(text, found):
    assert included(text) == found
