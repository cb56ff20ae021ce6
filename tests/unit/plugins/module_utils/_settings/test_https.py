# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS is forced in the variables that the release reads, and one is told where that makes it no safer."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Published
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import https as setting
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Refusal

API, FUNCTIONS, ROUTER = (f"_APP_OPTIONS_{part}FORCE_HTTPS" for part in ("", "FUNCTIONS_", "ROUTER_"))
OLD_EMAIL, EMAIL = "_APP_SYSTEM_SECURITY_EMAIL_ADDRESS", "_APP_EMAIL_CERTIFICATES"
FINE = {"_APP_DOMAIN": "appwrite.notarealcompany.com", "_APP_ENV": "production", EMAIL: "admin@example.com"}


def plan(installation, **options):
    return setting.plan(installation, {"force": "true", "force_router": None, "certificate_email": None, **options})


@pytest.mark.parametrize(
    ("release", "router", "email"),
    [
        ("1.4.14", FUNCTIONS, OLD_EMAIL),
        ("1.5.0", FUNCTIONS, OLD_EMAIL),
        ("1.5.1", FUNCTIONS, OLD_EMAIL),
        ("1.5.7", FUNCTIONS, OLD_EMAIL),
        ("1.5.8", FUNCTIONS, EMAIL),
        ("1.5.11", FUNCTIONS, EMAIL),
        ("1.6.2", FUNCTIONS, EMAIL),
        ("1.7.0", ROUTER, EMAIL),
        ("1.8.1", ROUTER, EMAIL),
        ("1.9.0", ROUTER, EMAIL),
        ("1.9.6", ROUTER, EMAIL),
        ("2.0.0", ROUTER, EMAIL),
    ],
)
def test_variables_of_the_release(installation, release, router, email):
    """The code of 1.5.1 looks for the newer address first, but no compose file passes it before 1.5.8."""
    planned = plan(installation(FINE, release), certificate_email="ops@example.com")
    assert planned.changes == {API: "enabled", router: "enabled", email: "ops@example.com"}


@pytest.mark.parametrize("release", ["1.4.0", "1.4.3"])
def test_release_that_cannot_force_it_for_functions(installation, release):
    """The variable for functions came with 1.4.4: to write another that nothing reads would look like a success."""
    planned = plan(installation(FINE, release))
    assert all(catalogue.is_read(name, release) for name in planned.changes)


@pytest.mark.parametrize(
    ("options", "api", "router"),
    [
        ({}, "enabled", "enabled"),
        ({"force": "false"}, "disabled", "disabled"),
        ({"force_router": "false"}, "enabled", "disabled"),
        ({"force": "false", "force_router": "true"}, "disabled", "enabled"),
    ],
)
def test_switches(installation, options, api, router):
    planned = plan(installation(FINE), **options)
    assert (planned.changes, planned.warnings) == ({API: api, ROUTER: router}, [])


@pytest.mark.parametrize("address", ["", "0", "admin", "admin@example", "a b@example.com", "admin@example.com\n"])
def test_certificate_email_that_is_none(installation, address):
    with pytest.raises(Refusal, match="^certificate_email: "):
        plan(installation(FINE), certificate_email=address)


# --- where forcing is useless ---


@pytest.mark.parametrize(
    ("domain", "part"),
    [
        ("", "_APP_DOMAIN is empty"),
        ("localhost", "localhost"),
        ("LOCALHOST", "localhost"),
        ("localhost:8080", "localhost"),
        ("appwrite.localhost", "localhost"),
        ("203.0.113.7", "address"),
        ("203.0.113.7:8443", "address"),
        ("2001:db8::7", "address"),
        ("appwrite", "without a dot"),
        ("appwrite.localhost:8080", "localhost"),
        ("appwrite .notarealcompany.com", "not a host name"),
        ("notarealcompany.1", "not a host name"),
        ("appwrite.local", "under .local"),
        ("Appwrite.LAN.", "under .lan"),
        ("appwrite.example.com", "example.com is reserved for examples"),
        ("example.org:443", "example.org is reserved for examples"),
    ],
)
def test_domain_that_is_not_public(installation, domain, part):
    (warning,) = plan(installation({**FINE, "_APP_DOMAIN": domain, EMAIL: ""})).warnings
    assert warning.startswith("_APP_DOMAIN is ") and part in warning


@pytest.mark.parametrize(
    "domain",
    [
        "appwrite.notarealcompany.com",
        "appwrite.notarealcompany.com:443",
        "Notarealexample.COM.",
        "xn--bcher-kva.a_b.local.de",
    ],
)
def test_domain_that_is_public(installation, domain):
    assert plan(installation({**FINE, "_APP_DOMAIN": domain})).warnings == []


def test_no_certificate_email(installation):
    (warning,) = plan(installation({**FINE, EMAIL: ""})).warnings
    assert warning.startswith(EMAIL) and "certificate_email" in warning
    assert plan(installation({**FINE, EMAIL: ""}), certificate_email="ops@example.com").warnings == []


def test_domain_that_is_exempt(installation):
    (warning,) = plan(installation({**FINE, "_APP_MIGRATION_HOST": FINE["_APP_DOMAIN"]})).warnings
    assert "_APP_MIGRATION_HOST, for which Appwrite 1.9.6 forces no HTTPS" in warning
    assert plan(installation({**FINE, "_APP_MIGRATION_HOST": "appwrite"})).warnings == []


@pytest.mark.parametrize("environment", ["", "development", "Production"])
def test_not_in_production(installation, environment):
    (warning,) = plan(installation({**FINE, "_APP_ENV": environment})).warnings
    assert warning.startswith("_APP_ENV is not 'production'")


def test_nothing_to_warn_of_where_nothing_is_forced(installation):
    assert plan(installation({}, published=Published()), force="false").warnings == []


# --- where forcing is a loop ---


BEHIND = {
    "no compose to ask": (None, ""),
    "published": (Published("traefik", (443,)), ""),
    "published twice": (Published("traefik", (8443, 443)), ""),
    "elsewhere": (Published("edge", (8443,)), "published on port 8443"),
    "not published": (Published("edge"), "in the command of the service edge"),
    "not published, trusting": (Published("traefik", trusting=True), ""),
    "elsewhere, trusting": (Published("traefik", (8443,), trusting=True), ""),
    "a tunnel": (Published("traefik", (443,), before=("door",)), "TLS seems to end at door"),
    "a tunnel, trusted": (Published("traefik", (443,), True, ("door",)), ""),
    "no Traefik": (Published(), "must send X-Forwarded-Proto"),
    "a proxy and no Traefik": (Published(before=("nginx",)), "TLS ends at nginx. That must send X-Forwarded-Proto"),
}


@pytest.mark.parametrize(("published", "part"), BEHIND.values(), ids=BEHIND)
def test_what_stands_before(installation, published, part):
    forced = plan(installation(FINE, published=published))
    assert forced.changes == {API: "enabled", ROUTER: "enabled"}
    assert bool(forced.warnings) == bool(part) and part in "".join(forced.warnings)
    auto = plan(installation(FINE, published=published), force="auto")
    if not part:
        assert (auto.changes, auto.warnings) == (forced.changes, [])
    else:
        (warning,) = auto.warnings
        assert auto.changes == {} and forced.warnings[0] in warning
        assert warning.startswith(f"{API} and {ROUTER} stay as before (not set, not set)")
        assert "`force`" in warning


@pytest.mark.parametrize("domain", ["", "localhost", "192.168.1.5", "appwrite.lan", "appwrite"])
def test_auto_without_a_public_name(installation, domain):
    planned = plan(installation({**FINE, "_APP_DOMAIN": domain, API: "disabled"}), force="auto")
    (warning,) = planned.warnings
    assert planned.changes == {} and "(disabled, not set)" in warning and "_APP_DOMAIN is " in warning


def test_auto_keeps_what_is_forced_already(installation):
    """Nobody is locked out anew, so that is no reason to warn of; what forcing lacks is said as ever."""
    forced = installation({**FINE, "_APP_DOMAIN": "localhost", API: "enabled", ROUTER: "enabled"})
    planned = plan(forced, force="auto")
    assert planned.changes == {API: "enabled", ROUTER: "enabled"}
    assert not any("locked out" in warning for warning in planned.warnings) and "'localhost'" in planned.warnings[0]


def test_auto_for_one_of_two(installation):
    behind = installation(FINE, published=Published("traefik"))
    assert plan(behind, force="auto", force_router="true").changes == {ROUTER: "enabled"}
    assert plan(behind, force="true", force_router="auto").changes == {API: "enabled"}
    planned = plan(behind, force="auto", force_router="false", certificate_email="ops@example.com")
    assert planned.changes == {ROUTER: "disabled", EMAIL: "ops@example.com"}
    assert planned.warnings[0].startswith(f"{API} stays as before")


def test_auto_of_a_release_without_the_router(installation):
    planned = plan(installation({**FINE, "_APP_DOMAIN": "localhost"}, "1.4.0"), force="auto")
    assert planned.changes == {} and len(planned.warnings) == 1
