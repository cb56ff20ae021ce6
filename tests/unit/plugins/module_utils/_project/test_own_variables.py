# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The question is asked of PHP itself, on an invented list."""

from __future__ import annotations

import subprocess

import pytest
from support.stack import needs_php

from ansible_collections.selfhost.appwrite.plugins.module_utils._project import own_variables

LIST = """<?php
use Some\\Where\\Config;
return [
    ['category' => 'General', 'variables' => [
        ['name' => '_APP_LOCALE', 'default' => 'en', 'description' => 'Ünïcode ' . \\implode(', ', \\array_keys(Config::getParam('runtimes')))],
        ['name' => '_APP_RING_SECRET', 'default' => 'your-secret-key', 'filter' => 'token'],
    ]],
    ['category' => 'Empty'],
    ['category' => 'Other', 'variables' => [['name' => '_APP_COUNT', 'default' => 5], ['name' => '_APP_NONE']]],
];
"""
FOUND = {"_APP_LOCALE": "en", "_APP_RING_SECRET": "your-secret-key", "_APP_COUNT": "5", "_APP_NONE": ""}


def asked(question):
    return subprocess.run(own_variables.COMMAND, input=question, capture_output=True, text=True, check=False).stdout


@needs_php
def test_question(tmp_path):
    path = tmp_path / "variables.php"
    path.write_text(LIST)
    assert own_variables.answered(asked(own_variables.QUESTION.replace(own_variables.PATH, str(path)))) == FOUND


@needs_php
@pytest.mark.parametrize("text", ["<?php return 5;", "<?php this is not PHP", "<?php return [];", None])
def test_list_that_is_none(tmp_path, text):
    path = tmp_path / "variables.php"
    if text is not None:
        path.write_text(text)
    assert own_variables.answered(asked(own_variables.QUESTION.replace(own_variables.PATH, str(path)))) is None


@pytest.mark.parametrize(
    "output", ["", "bash: php: not found\n", "variables: {}", "variables: [1]", "variables: {", "variables: null"]
)
def test_no_answer(output):
    assert own_variables.answered(output) is None


def test_answer_behind_other_lines():
    assert own_variables.answered('Warning: something\nvariables: {"_APP_A": "b"}\n') == {"_APP_A": "b"}
