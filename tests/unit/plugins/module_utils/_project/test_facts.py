# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hashes that C(up) gives its containers where C(config --hash) has others; the real compose makes them, without an engine."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import facts
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import service_environment
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import env_file_of, opened


def container(service, number="1"):
    return Container("id-%s-%s" % (service, number), service, "running", None, "", 0, 0, "", "image", {}, number=number)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, {}),
        ({"network_mode": "host", "pid": "container:x"}, {}),
        ({"network_mode": "service:a"}, {"network_mode": "container:1"}),
        ({"ipc": "service:a", "pid": "service:gone"}, {"ipc": "container:1"}),
        ({"volumes_from": ["a:ro", "gone", "container:b"]}, {"volumes_from": ["1", "gone", "b"]}),
    ],
)
def test_what_is_shared(service, expected):
    assert facts._with_ids(service, {"a": "1"}) == expected


def test_hashes(project, without_engine):
    """Of what has an env_file or shares, another one than that of the files; of the rest, the same."""
    with (project / "docker-compose.yml").open("a") as stream:
        stream.write(
            "  side:\n    image: redis\n    env_file: side.env\n    environment: [PRICE=a$$b]\n"
            "  shared:\n    image: redis\n    network_mode: service:mariadb\n"
            "  volumes:\n    image: redis\n    volumes_from: [mariadb]\n"
        )
    (project / "side.env").write_text("A=1\n")
    instance = Instance(str(project), None, [], None, [], None, True)
    opened(instance, env_file_of(instance))
    plain = instance.compose.hashes()
    found = facts.hashes(instance, [container("mariadb", "2"), container("mariadb")])
    assert {name for name in plain if plain[name] != found[name]} == {"side", "shared", "volumes"}
    (project / "side.env").write_text("A=2\n")
    opened(instance, env_file_of(instance))
    other = facts.hashes(instance, [container("mariadb")])
    assert {name for name in found if other[name] != found[name]} == {"side"}
    assert other["shared"] != facts.hashes(instance, [])["shared"]


SIDE = """\
  side:
    image: redis
    env_file: [.env, side.env]
    environment: [SIDE_UNSET, SIDE_LISTED, "SIDE_PRICE=a$$b"]
  other:
    image: redis
    env_file: side.env
"""


def test_hashes_of_a_file_that_is_not_written_yet(project, without_engine, monkeypatch):
    """They are those that the project has once it is; compose reads an env_file from the disk."""
    with (project / "docker-compose.yml").open("a") as stream:
        stream.write(SIDE)
    (project / "side.env").write_text("SIDE_FILE=1\n")
    monkeypatch.setattr(Instance, "containers", lambda _self: [])
    monkeypatch.setattr(Compose, "image_ids", lambda *_unused: {})
    instance = Instance(str(project), None, [], None, [], None, True)
    opened(instance, env_file_of(instance))
    before = facts.hashes(instance, [])
    data = (project / ".env").read_bytes() + b"SIDE_LISTED=now\nSIDE_OWN=b$$c\nSIDE_FILE=side.env comes later\n"
    config = instance.compose.config(data)
    environments = instance.written.with_candidate(service_environment(config), parse(decode(data)).values)
    foreseen = facts.facts_of(instance, facts.Candidate(data, config, environments)).hashes
    (project / ".env").write_bytes(data)
    instance = Instance(str(project), None, [], None, [], None, True)
    opened(instance, env_file_of(instance))
    assert foreseen == facts.hashes(instance, [])
    assert {name for name in before if before[name] != foreseen[name]} == {"side"}
