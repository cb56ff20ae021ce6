# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images are told apart by their names, and containers are counted as compose counts them."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import image, replicas

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("appwrite/appwrite:1.6", "1.6"),
        ("appwrite:v1", "1"),
        ("appwrite/appwrite:1.6-ours", "1.6"),
        ("appwrite/appwrite:1.6.2", None),
        ("appwrite/appwrite:latest", None),
        ("appwrite/console:7.4", None),
    ],
)
def test_series(text, series):
    assert image(text).series == series


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest", "name"),
    [
        ("mariadb", "mariadb", "", "", "mariadb"),
        ("mariadb:10.11", "mariadb", "10.11", "", "mariadb"),
        ("appwrite/appwrite:1.9.6", "appwrite/appwrite", "1.9.6", "", "appwrite"),
        ("registry.example.com:5000/library/redis", "registry.example.com:5000/library/redis", "", "", "redis"),
        (
            "registry.example.com:5000/redis:7.4.7-alpine",
            "registry.example.com:5000/redis",
            "7.4.7-alpine",
            "",
            "redis",
        ),
        (f"mongo@{DIGEST}", "mongo", "", DIGEST, "mongo"),
        (f"localhost:5000/mongo:8.2.5@{DIGEST}", "localhost:5000/mongo", "8.2.5", DIGEST, "mongo"),
        ("", "", "", "", ""),
        (":1.0", ":1.0", "", "", ":1.0"),
    ],
)
def test_image(text, repository, tag, digest, name):
    found = image(text)
    assert (*found, found.name) == (repository, tag, digest, name)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("appwrite/appwrite:1.9.6", "1.9.6"),
        ("appwrite:v1.9.6", "1.9.6"),
        ("registry.example.com:5000/ours/appwrite:1.9.6-rc.1", "1.9.6"),
        (f"appwrite/appwrite:1.9.6@{DIGEST}", "1.9.6"),
        ("appwrite/appwrite:latest", None),
        ("appwrite/appwrite:1.9", None),
        ("appwrite/appwrite:1.9.6.1", None),
        ("appwrite/console:7.4.11", None),
        ("notappwrite:1.9.6", None),
        ("appwrite/appwrite", None),
        ("", None),
    ],
)
def test_release(text, release):
    assert image(text).release == release


@pytest.mark.parametrize(
    ("service", "count"),
    [
        ({}, 1),
        ({"scale": 2}, 2),
        ({"scale": 0}, 0),
        ({"deploy": None}, 1),
        ({"deploy": {}}, 1),
        ({"deploy": {"replicas": 3}}, 3),
        ({"deploy": {"replicas": 0}, "scale": 1}, 0),
    ],
)
def test_replicas(service, count):
    assert replicas(service) == count
