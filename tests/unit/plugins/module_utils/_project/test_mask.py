# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is left in what programs print, however they spell it."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.mask import Mask

SECRET = 'not-a-real-secret-$x"y\\z'


def masking(secrets):
    mask = Mask()
    mask.add(secrets)
    return mask


@pytest.mark.parametrize(
    "printed",
    [
        SECRET,
        SECRET.replace("$", "$$"),
        json.dumps(SECRET),
        '"not-a-real-secret-\\$x\\"y\\\\z"',
        "DSN=redis://:%s@redis" % SECRET,
        "DSN=redis://:%s@redis" % quote(SECRET, safe=""),
        "PDO->__construct('%s...')" % SECRET[:15],
        "Authorization: Basic %s" % b64encode(b"not-a-real-user:" + SECRET.encode()).decode(),
    ],
    ids=[
        "as it is",
        "doubled dollar",
        "JSON",
        "as written in .env",
        "inside",
        "in a URL",
        "the beginning, as PHP prints it",
        "Base64",
    ],
)
def test_mask(printed):
    masked = masking([SECRET])("before %s after" % printed)
    assert (
        "not-a-real" not in masked
        and masked.startswith("before ")
        and masked.endswith(" after")
        and "********" in masked
    )


def test_mask_takes_the_longest_first():
    assert masking(["secret", "secret-and-more"])("secret-and-more") == "********"


@pytest.mark.parametrize("short", ["", "a", "abc", "   "])
def test_mask_leaves_short_words_alone(short):
    assert masking([short])("abc a   b") == "abc a   b"


def test_mask_of_a_secret_with_lines():
    """Logs and errors are masked line by line, and a private key has many."""
    mask = masking(["-----BEGIN NOT A REAL KEY-----\nbm90LWEtcmVhbC1rZXk\n-----END NOT A REAL KEY-----\n"])
    assert "bm90LWEtcmVhbC1rZXk" not in mask("worker: bm90LWEtcmVhbC1rZXk")


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("appwrite", "the service appwrite-worker-usage of appwrite"),
        ("appwrite-network", "the service appwrite-worker-usage"),
        ("Production", "a file for production"),
        ("websites", "the directory /srv/Websites is gone"),
    ],
    ids=["name", "the beginning of a name", "word", "directory"],
)
def test_mask_leaves_words_and_names_of_the_project_alone(secret, text):
    mask = masking([secret])
    mask.spare(lambda: {"appwrite-worker-usage", "appwrite", "Websites"})
    assert mask(text) == text


def test_mask_of_a_secret_that_begins_as_a_name_of_the_project():
    mask = masking(["appwrite-0f1e2d3c4b5a"])
    mask.spare(lambda: {"appwrite-worker"})
    assert mask("appwrite has appwrite-0f1e2d3c4b5a") == "appwrite has ap********"
