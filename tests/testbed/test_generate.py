# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compose files and .env that projects are made of, without an engine."""

from __future__ import annotations

import pytest
import yaml

from testbed import generate
from testbed._base import GENERATED, at_least, catalogue, official_files, service_names
from testbed.images import entrypoint

PORTS = (20080, 20443, 20883, 20084)
PREFIX = "testbed.invalid/0123456789ab/"
VARIABLES = catalogue()
RELEASES = [(release, "mariadb") for release in GENERATED] + [("1.9.6", "mongodb"), ("1.9.6", "postgresql")]


def environments(text: str) -> dict[str, set[str]]:
    """Per service of a compose file the names of Appwrite's own variables that it lists."""
    return {
        name: {line.split("=")[0] for line in service.get("environment") or () if line.startswith("_APP_")}
        for name, service in yaml.safe_load(text)["services"].items()
    }


@pytest.mark.parametrize(("release", "database"), RELEASES)
def test_services_list_what_the_catalogue_says(release, database):
    found = environments(generate.compose(release, database, PORTS, PREFIX))
    for service in service_names(release):
        wanted = {name for name in VARIABLES.names(release) if service in VARIABLES.services(name, release)}
        assert found[service] == {name for name in wanted if name.startswith("_APP_")}, service
    assert {"traefik", "redis", "openruntimes-executor", database} <= set(found)


def test_like_appwrites_own_files():
    """Those of 2.x are of a state before the release, or leave a database out: ours have what they have. In the topology C(separate) each of ours is
    given what the combined one gets, and one variable is passed by that topology alone."""
    files = official_files()
    if not files:
        pytest.skip("APPWRITE_COMPOSE_DIR is not set: nothing of Appwrite's to compare with")
    for file, release, database, topology in files:
        ours = environments(generate.compose(release, database, PORTS, PREFIX, topology))
        theirs = environments(file.read_text("utf-8"))
        if not at_least(release, "2.0.0"):
            assert ours == theirs, file.name
        more = {"_APP_MAINTENANCE_RETENTION_EXECUTION"} if topology == "separate" else set()
        assert all(theirs[name] - more <= ours[name] for name in theirs), file.name


@pytest.mark.parametrize(("topology", "with_key", "services"), [("combined", 7, 18), ("separate", 24, 35)])
def test_topologies_of_2(topology, with_key, services):
    """As many as the official file of 2.4.0 has."""
    text = generate.compose("2.4.0", "postgresql", PORTS, PREFIX, topology)
    found = environments(text)
    assert len([name for name, listed in found.items() if "_APP_OPENSSL_KEY_V1" in listed]) == with_key
    assert len(found) == services
    assert yaml.safe_load(text)["services"]["traefik"]["ports"][2:] == [
        "${_APP_MQTT_PORT:-8883}:8883",
        "${_APP_MQTT_WSS_PORT:-8084}:8084",
    ]


@pytest.mark.parametrize(
    ("release", "image", "port", "checks"),
    [
        ("1.6.2", f"{PREFIX}appwrite/appwrite:1.6.2", "20080:80", 0),
        ("1.8.1", f"{PREFIX}appwrite/appwrite:1.8.1", "20080:80", 0),
        ("1.9.6", "${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-latest}", "${_APP_HTTP_PORT:-80}:80", 4),
        ("2.4.0", "${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-latest}", "${_APP_HTTP_PORT:-80}:80", 7),
    ],
)
def test_compose_in_the_form_of_its_release(release, image, port, checks):
    services = yaml.safe_load(generate.compose(release, "mariadb", PORTS, PREFIX))["services"]
    assert {services[name]["image"] for name in generate.appwrite_services(release)} == {image}
    assert services["traefik"]["ports"][0] == port
    assert sum("healthcheck" in service for service in services.values()) == checks
    assert not any("container_name" in service for service in services.values())
    assert {name for name, service in services.items() if "stop_grace_period" in service} == set(
        generate.appwrite_services(release)
    )


@pytest.mark.parametrize(
    ("release", "lines"),
    [
        ("1.6.2", ["_APP_OPENSSL_KEY_V1=your-secret-key", "_APP_DB_HOST=mariadb", "_APP_CONSOLE_WHITELIST_EMAILS="]),
        ("1.9.0", ['_APP_OPENSSL_KEY_V1="your-secret-key"', '_APP_DB_ADAPTER="mariadb"']),
        (
            "1.9.6",
            [
                '_APP_DB_ROOT_PASS="rootsecretpassword"',
                '_APP_HTTP_PORT="20080"',
                '_APP_VERSION="1.9.6"',
                "_APP_REDIS_PASS=",
            ],
        ),
    ],
)
def test_dotenv_in_the_form_of_its_release(release, lines):
    written = generate.dotenv(release, "mariadb", PORTS, PREFIX).splitlines()
    assert set(lines) <= set(written)
    names = [line.split("=")[0] for line in written]
    documented = [name for name in VARIABLES.names(release) if VARIABLES.documented(name, release)]
    assert names[: len(documented)] == documented


@pytest.mark.parametrize(("database", "port"), [("mariadb", 3306), ("mongodb", 27017), ("postgresql", 5432)])
def test_dotenv_names_its_database(database, port):
    text = generate.dotenv("1.9.6", database, PORTS, PREFIX)
    assert f'_APP_DB_ADAPTER="{database}"\n_APP_DB_HOST="{database}"\n_APP_DB_PORT="{port}"\n' in text


def test_override_leaves_nothing_that_collides():
    config = {
        "services": {
            "traefik": {
                "image": "traefik:3.6",
                "container_name": "appwrite-traefik",
                "ports": [{"target": 80, "published": "80"}, {"target": 443, "published": "443"}],
                "volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}],
            },
            "appwrite": {
                "image": "${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-latest}",
                "ports": ["${_APP_HTTP_PORT:-80}:80"],
                "volumes": [{"type": "volume", "source": "appwrite-uploads", "target": "/storage/uploads"}],
                "healthcheck": {"test": ["CMD-SHELL", "curl $$HOST"], "interval": "5s", "retries": 12},
            },
        },
        "networks": {"gateway": {"name": "gateway"}},
        "volumes": {"appwrite-builds": {"name": "appwrite-builds"}},
    }
    text = generate.override(config, "appwrite-tb-01234567", PORTS, PREFIX)
    assert text.count("!override") == 1
    found = yaml.safe_load(text.replace("!override", ""))
    traefik, appwrite = found["services"]["traefik"], found["services"]["appwrite"]
    assert traefik["ports"] == ["20080:80", "20443:443"]
    assert traefik["volumes"] == ["./.testbed/traefik:/testbed:ro", "./.testbed/traefik/host:/var/run/docker.sock"]
    assert appwrite["image"] == PREFIX + config["services"]["appwrite"]["image"]
    assert appwrite["container_name"] == "appwrite-tb-01234567-appwrite"
    assert "ports" not in appwrite
    assert appwrite["healthcheck"]["test"] == ["CMD", "testbed-check", "sh", "-c", "curl $$HOST"]
    assert "healthcheck" not in traefik
    assert found["networks"] == {"gateway": {"name": "appwrite-tb-01234567_gateway"}}
    assert found["volumes"] == {"appwrite-builds": {"name": "appwrite-tb-01234567_appwrite-builds"}}


@pytest.mark.parametrize(
    ("service", "program"),
    [
        ("appwrite-realtime", "realtime"),
        ("appwrite-worker-mails", "worker-mails"),
        ("appwrite-task-scheduler-functions", "schedule-functions"),
        ("appwrite-task-stats-resources", "stats-resources"),
        ("appwrite-maintenance", "maintenance"),
        ("appwrite-worker", "worker"),
        ("appwrite-task-scheduler", "schedule"),
        ("appwrite-mqtt", "mqtt"),
    ],
)
def test_entrypoint(service, program):
    assert entrypoint(service) == program


@pytest.mark.parametrize(("value", "written"), [("", ""), ("a b", '"a b"'), ('a"$`\\', '"a\\"\\$\\`\\\\"')])
def test_quoted_as_the_installer_does(value, written):
    assert generate._quoted(value) == written
