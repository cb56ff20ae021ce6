# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows from a checkout that is made from the catalogue itself, and from one in which a few things are others."""

from __future__ import annotations

import json
import shutil

import pytest

from . import release_rows
from ._base import catalogue

RELEASE = "9.9.0"
KNOWN = catalogue()
DEFAULTS = {
    name: default for name in KNOWN.names(KNOWN.NEWEST) if (default := KNOWN.default(name, KNOWN.NEWEST)) is not None
}
LISTS = {
    name: set(KNOWN.services(name, KNOWN.NEWEST))
    for name in KNOWN.names(KNOWN.NEWEST)
    if KNOWN._rows(name, KNOWN.NEWEST)[-1][2]
}


def checkout(directory, defaults=DEFAULTS, lists=LISTS, more=""):
    services = {}
    for name, receivers in lists.items():
        for service in receivers:
            services.setdefault(service, {"environment": []})["environment"].append(name)
    inserted = [f"X=${{{name}:-}}" for name, receivers in lists.items() if not receivers]
    services["executor"] = {"environment": [*inserted, "OTHER=$$_APP_NO_VARIABLE"]}
    services["appwrite-worker-mails"] = {"profiles": ["separate"], "environment": ["_APP_SEPARATE"]}
    variables = "\n".join(f"['name' => '{name}', 'default' => '{default}']," for name, default in defaults.items())
    for path, text in {
        release_rows.VARIABLES: f"<?php return [['category' => 'All', 'variables' => [{variables}]]];{more}",
        release_rows.TEMPLATE: json.dumps({"services": services}),
        release_rows.CONSTANTS: f"<?php\nconst APP_VERSION_STABLE = '{RELEASE}';\n",
    }.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory


pytestmark = pytest.mark.skipif(
    not shutil.which("php"), reason="php is not at hand: it reads the checkout's list of variables"
)


@pytest.fixture
def rows(tmp_path, capsys):
    def printed(*more, **what):
        assert release_rows.main([str(checkout(tmp_path, **what)), *more]) == 0
        return capsys.readouterr().out.splitlines()

    return printed


def test_nothing_changed(rows):
    assert rows() == [""]


def test_what_changed(rows):
    defaults = {**DEFAULTS, "_APP_LOCALE": "de", "_APP_RING_SECRET": "your-secret-key", "_APP_RING": "enabled"}
    del defaults["_APP_EDITION"]
    everyone = set(KNOWN.services(KNOWN.KEY, KNOWN.NEWEST))
    lists = {**LISTS, "_APP_RING_SECRET": everyone, "_APP_DNS": {"appwrite"}, "_APP_RING_TAG": set()}
    lists["_APP_OPTIONS_ABUSE"] = everyone - {"appwrite-mqtt"}
    del lists["_APP_EDITION"]
    found = rows(defaults=defaults, lists=lists)
    for line in (
        '_v("_APP_EDITION", "text", ("1.9.5", None, "appwrite"), ("2.0", "self-hosted", "appwrite task-maintenance"), ("9.9", None, "")),',
        '_v("_APP_LOCALE", "text", ("1.4", "en", "appwrite"), ("9.9", "de", "appwrite")),',
        '_v("_APP_DNS", "ips", ("1.8", "8.8.8.8", "@targets"), ("9.9", "8.8.8.8", "appwrite")),',
        '_v("_APP_RING_SECRET", "secret", ("9.9", "your-secret-key", "@all")),',
        '_v("_APP_RING", "switch", ("9.9", "enabled", "")),',
        '_v("_APP_RING_TAG", "text", ("9.9", None, "$")),',
    ):
        assert line in found
    assert any(line.startswith('_v("_APP_OPTIONS_ABUSE"') and '"@all -mqtt")' in line for line in found)
    assert len([line for line in found if line.startswith("_v(")]) == 7
    assert found.index("# Compose") < found.index('_v("_APP_RING_TAG", "text", ("9.9", None, "$")),')


def test_a_row_says_what_the_checkout_has(rows):
    """What is printed is Python that the catalogue takes, and its row gives the services back."""
    lists = {**LISTS, KNOWN.KEY: set(KNOWN.services(KNOWN.KEY, KNOWN.NEWEST)) - {"appwrite-mqtt"}}
    [heading, line] = rows("9.9.1", lists=lists)
    made = eval(line.rstrip(","), {"_v": KNOWN._v})("General")
    assert (heading, made.sticky, made.rows[-1][0]) == ("# General", True, "9.9.1")
    assert KNOWN._expand(made.rows[-1][2], RELEASE) == lists[KNOWN.KEY]


@pytest.mark.parametrize("missing", [release_rows.VARIABLES, release_rows.TEMPLATE, release_rows.CONSTANTS, None])
def test_what_is_no_checkout(tmp_path, capsys, missing):
    path = checkout(tmp_path, more="" if missing else "this is not PHP")
    if missing:
        (path / missing).unlink()
    assert release_rows.main([str(path)]) == 1
    said = capsys.readouterr().err
    assert (missing or "php") in said and "Traceback" not in said
    assert release_rows.main([]) == 1
