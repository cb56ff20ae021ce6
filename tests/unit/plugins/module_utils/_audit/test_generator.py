# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compose generator of Appwrite's documentation hands out with 2.4.0, trap by trap: each is found by a control."""

from __future__ import annotations

import pytest
from support.observations import NOT_A_KEY, secured, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.controls import audit

TRAPS = {
    "_APP_ENV": ("development", "platform.environment_production"),
    "_APP_OPENSSL_KEY_V1": ("your-secret-key", "encryption.key_not_public"),
    "_APP_NOTIFICATIONS_TRACKING_SECRET": ("your-secret-key", "secrets.tracking_secret"),
    "_APP_GEO_SECRET": ("your-secret-key", "secrets.geo_secret"),
    "_APP_JOBS_SECRET": ("your-secret-key", "secrets.jobs_secret"),
    "_APP_USAGE_PASS": ("appwrite", "secrets.usage_password"),
    "_APP_CONNECTIONS_DB_USAGE": ("http://appwrite:appwrite@clickhouse:8123/appwrite", "secrets.usage_password"),
    "_APP_CONNECTIONS_DB_EXECUTIONS": ("http://appwrite:appwrite@clickhouse:8123/appwrite", "secrets.usage_password"),
    "_APP_VCS_GITHUB_WEBHOOK_SECRET": ("github-webhook-secret", "secrets.webhook_secrets"),
    "_APP_VCS_GITEA_WEBHOOK_SECRET": ("gitea-webhook-secret", "secrets.webhook_secrets"),
    "_APP_EXECUTOR_SECRET": ("your-secret-key", "secrets.executor_secret"),
    "_APP_DB_PASS": ("password", "secrets.database_password"),
    "_APP_DB_ROOT_PASS": ("rootsecretpassword", "secrets.database_root_password"),
    "_APP_SMTP_PASSWORD": ("password", "secrets.others_own"),
    "_APP_DOMAIN": ("appwrite.test", "https.domain_real"),
    "_APP_DOMAIN_FUNCTIONS": ("functions.localhost", "https.compute_domains_real"),
    "_APP_DOMAIN_SITES": ("sites.localhost,rebranded.localhost", "https.compute_domains_real"),
    "_APP_DOMAIN_TARGET_CNAME": ("cname.localhost", "https.dns_targets_real"),
    "_APP_DOMAIN_TARGET_A": ("203.0.0.1", "platform.nothing_of_developers"),
    "_APP_DOMAIN_TARGET_AAAA": ("::1", "https.dns_targets_real"),
    "_APP_DOMAIN_TARGET_CAA": ("digicert.com", "platform.nothing_of_developers"),
    "_APP_DNS": ("172.16.238.100", "platform.nothing_of_developers"),
    "_APP_ALLOWED_INTERNAL_ADDRESSES": ("172.16.238.0/24,127.0.0.1,::1", "platform.internal_addresses_closed"),
    "_APP_OPTIONS_FORCE_HTTPS": ("disabled", "https.api_forced"),
    "_APP_OPTIONS_ROUTER_FORCE_HTTPS": ("disabled", "https.router_forced"),
    "_APP_OPTIONS_ROUTER_PROTECTION": ("disabled", "platform.router_protected"),
    "_APP_OPTIONS_ABUSE": ("disabled", "platform.abuse_limited"),
    "_APP_OPTIONS_ABUSE_INCREASED_LIMIT_PROJECTS": ("increased-limit-project", "platform.nothing_of_developers"),
    "_APP_CONSOLE_HOSTNAMES": ("localhost,appwrite.io,*.appwrite.io", "console.no_dead_variables"),
    "_APP_CONSOLE_TRUSTED_PROJECTS": ("trusted-project,another-trusted-project", "platform.nothing_of_developers"),
    "_APP_CONSOLE_WHITELIST_ROOT": ("disabled", "console.signup_limited"),
    "_APP_EMAIL_SECURITY": ("security@appwrite.io", "platform.nothing_of_developers"),
    "_APP_EMAIL_CERTIFICATES": ("certificates@appwrite.io", "https.certificate_email"),
    "_APP_SMTP_HOST": ("maildev", "platform.nothing_of_developers"),
    "_APP_SMTP_SECURE": ("", "platform.mail_encrypted"),
    "_APP_SMS_PROVIDER": ("sms://username:password@mock", "platform.nothing_of_developers"),
    "_APP_LOGGING_CONFIG": ("", "platform.errors_logged"),
    "_APP_GRAPHQL_INTROSPECTION": ("enabled", "platform.schema_closed"),
    "_APP_PWNED_PASSWORDS_DSN": ("mock://localhost", "platform.nothing_of_developers"),
    "_APP_VCS_GITEA_ENDPOINT": ("http://gitea:3000", "platform.nothing_of_developers"),
    "_APP_VCS_GITEA_BROWSER_ENDPOINT": ("http://localhost:9515", "platform.nothing_of_developers"),
}
"""Variable to what the generator's file gives it, and the control that finds it. Read at appwrite/appwrite 33310e0f8036."""


def failing(values):
    made = secured("2.4.0", values)
    made = with_service(
        made, "traefik", ports=[{"target": port, "published": str(port)} for port in (80, 443, 8883, 8084)]
    )
    return {finding.id: finding for finding in audit(made) if finding.status == "fail"}


@pytest.mark.parametrize("name", TRAPS)
def test_each_trap_alone(name):
    value, control = TRAPS[name]
    assert control not in failing({})
    assert name in failing({name: value})[control].evidence or control.startswith(
        ("console.", "encryption.", "secrets.database_root")
    )


def test_all_of_them():
    found = failing({name: value for name, (value, _control) in TRAPS.items()})
    assert {control for _value, control in TRAPS.values()} <= set(found)
    assert "containers.mqtt_local" in found
    said = found["platform.nothing_of_developers"].evidence
    assert all(name in said for name, (_value, control) in TRAPS.items() if control == "platform.nothing_of_developers")
    assert NOT_A_KEY not in str(found)
