# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check names the services that the run then recreates and starts: of the module, of the role, and on two releases of compose."""

from __future__ import annotations

import json

import pytest
from support.stack import small, succeed, take_newest_compose

WRITE = "Secure the .env"
MAILS, CERTIFICATES = "appwrite-worker-mails", "appwrite-worker-certificates"


@pytest.fixture(params=["packaged", pytest.param("newest", marks=pytest.mark.nightly)])
def _compose(request, monkeypatch):
    if request.param == "newest":
        take_newest_compose(monkeypatch)


def sidecars(stack):
    """What depends on others, shares with them, and has a file of its own. The project runs with it."""
    image = stack.project.config()["services"]["redis"]["image"]
    (stack.directory / "side.env").write_text("SIDE_PRICE=3$$\nSIDE_DOMAIN=${_APP_DOMAIN}\n")
    services = {
        MAILS: {"depends_on": {"redis": {"condition": "service_started", "restart": True}}},
        "behind": {"image": image, "depends_on": ["appwrite"]},
        "last": {"image": image, "depends_on": ["behind"]},
        "restarted": {"image": image, "depends_on": {"appwrite": {"condition": "service_started", "restart": True}}},
        "shared": {"image": image, "network_mode": "service:restarted", "command": ["redis-server", "--port", "7000"]},
        "volumes": {"image": image, "volumes_from": ["appwrite:ro"]},
        "side": {"image": image, "env_file": ["side.env"], "environment": {"SIDE_OWN": "a$$b"}},
        "both": {"image": image, "env_file": [".env"]},
    }
    (stack.directory / "docker-compose.override.yml").write_text(json.dumps({"services": services}))
    stack.project.up()


@pytest.mark.usefixtures("_compose")
@small("role")
@pytest.mark.nightly("test_check_of_the_role, _project/test_drift.py")
def test_check_of_the_module(stack):
    sidecars(stack)
    assert succeed("apply", stack.arguments)["changed"] is False, "what shares or has an env_file is as it was started"
    assert not [
        one
        for one in succeed("audit_info", stack.arguments)["findings"]
        if one["id"] == "containers.current" and one["status"] == "fail"
    ]
    for variables in ({"_APP_SMTP_HOST": "mail.example.com"}, {"_APP_REDIS_PASS": "not-a-real-password"}):
        wish = {**stack.arguments, "variables": variables, "unknown": "allow"}
        foreseen = succeed("env", wish, check=True)["recreates"]
        both = {**stack.arguments, "env": {"variables": variables, "unknown": "allow"}, "apply": True}
        checked = succeed("security", both, check=True, diff=True)
        assert succeed("env", wish)["recreates"] == foreseen
        predicted = succeed("apply", stack.arguments, check=True)
        done = succeed("apply", stack.arguments)
        assert foreseen and foreseen == checked["recreated"] == predicted["recreated"] == done["recreated"]
        assert predicted["started"] == done["started"]
        assert [line.partition(":")[0] for line in checked["diff"][1]["after"].splitlines()] == sorted(
            [*done["recreated"], *checked["started"]]
        )
        assert succeed("apply", stack.arguments)["changed"] is False


@pytest.mark.usefixtures("_compose")
@small("role")
@pytest.mark.nightly("test_facts.py, test_apply_prediction")
def test_check_of_the_role(stack):
    sidecars(stack)
    checked = stack.secure("--check", "--diff")
    assert checked.rc == 0, checked.output
    assert "+behind: recreated" in checked.output or "behind" not in checked.result(WRITE)["recreated"]
    done = stack.secure()
    assert done.rc == 0, done.output
    assert checked.result(WRITE)["recreated"] == done.result(WRITE)["recreated"]
    assert {MAILS, CERTIFICATES, "appwrite", "both", "volumes"} <= set(done.result(WRITE)["recreated"])
    assert stack.secure().recap["changed"] == 0
