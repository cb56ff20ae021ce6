# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any variables: names and values are checked, and nothing that data hangs on is changed."""

from __future__ import annotations

import re

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings import variables as setting
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Refusal

KEY = "_APP_OPENSSL_KEY_V1"
PUBLIC = "your-secret-key"
PASSWORD = "notarealpassword"


def plan(installation, **options):
    return setting.plan(
        installation,
        {
            "variables": {},
            "content": None,
            "unknown": "fail",
            "create": False,
            "replace_default_secrets": False,
            **options,
        },
    )


def refused(installation, **options):
    with pytest.raises(Refusal) as caught:
        plan(installation, **options)
    return str(caught.value)


# --- names ---


def test_known_names(installation):
    planned = plan(
        installation(),
        variables={"_APP_ENV": "production", "_APP_DOMAIN": "appwrite.example.com", "_APP_SMTP_HOST": None},
    )
    assert planned.changes == {"_APP_ENV": "production", "_APP_DOMAIN": "appwrite.example.com", "_APP_SMTP_HOST": None}
    assert planned.warnings == [] and planned.content is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("_APP_DOMAINS", "_APP_DOMAIN"),
        ("_app_domain", "_APP_DOMAIN"),
        ("_APP_SMTP_PASWORD", "_APP_SMTP_PASSWORD"),
        ("TZ", None),
    ],
)
def test_unknown_name(installation, name, near):
    message = refused(installation(), variables={name: "x"})
    assert message.startswith(f"variables: {name} is not a variable of Appwrite 1.9.6")
    assert f"is {near} meant?" in message if near else "Set `unknown` to warn or allow" in message
    assert plan(installation(), variables={name: "x"}, unknown="allow").warnings == []
    (warning,) = plan(installation(), variables={name: "x"}, unknown="warn").warnings
    assert name in warning


def test_unknown_name_may_be_removed(installation):
    assert plan(installation({"TZ": "UTC"}), variables={"TZ": None}).changes == {"TZ": None}


def test_name_that_nothing_reads_in_this_release(installation):
    (warning,) = plan(installation(), variables={"_APP_CONSOLE_HOSTNAMES": "console.example.com"}).warnings
    assert "_APP_CONSOLE_HOSTNAMES has no effect" in warning and "_APP_CONSOLE_DOMAIN" in warning
    assert (
        plan(installation(release="1.8.1"), variables={"_APP_CONSOLE_HOSTNAMES": "console.example.com"}).warnings == []
    )


def test_name_of_a_later_release(installation):
    (warning,) = plan(installation(release="1.6.2"), variables={"_APP_OPTIONS_ROUTER_FORCE_HTTPS": "enabled"}).warnings
    assert "came with 1.7" in warning and "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS" in warning


# --- values ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_APP_OPTIONS_ABUSE", "on"),
        ("_APP_SMTP_PORT", "smtp"),
        ("_APP_SMTP_PORT", 70000),
        ("_APP_CONSOLE_WHITELIST_EMAILS", "a@x.io, b@x.io"),
        ("_APP_CONSOLE_WHITELIST_IPS", "10.0.0.0/8"),
        ("_APP_ENV", "staging"),
        ("_APP_DOMAIN", "https://appwrite.example.com"),
    ],
)
def test_value_of_the_wrong_kind(installation, name, value):
    assert refused(installation(), variables={name: value}).startswith(f"variables: {name}: the value must ")
    assert refused(installation(), content=f"{name}={value}\n").startswith(f"content: {name}: the value must ")


def test_value_of_a_secret_is_not_in_the_message(installation):
    message = refused(installation(), variables={"_APP_DB_PASS": PASSWORD + "#"})
    assert message.startswith("variables: _APP_DB_PASS: ") and PASSWORD not in message


@pytest.mark.parametrize(("value", "text"), [(587, "587"), (0, "0"), ("587", "587"), ("", "")])
def test_numbers_are_text(installation, value, text):
    assert plan(installation(), variables={"_APP_SMTP_PORT": value}).changes == {"_APP_SMTP_PORT": text}


@pytest.mark.parametrize("value", [True, False])
def test_booleans_are_refused(installation, value):
    message = refused(installation(), variables={"_APP_OPTIONS_ABUSE": value})
    assert f"_APP_OPTIONS_ABUSE is the YAML boolean {str(value).lower()}" in message and '"enabled"' in message


@pytest.mark.parametrize("value", [["a@x.io"], {"a": 1}])
def test_lists_and_dicts_are_refused(installation, value):
    message = refused(installation(), variables={"_APP_CONSOLE_WHITELIST_EMAILS": value})
    assert type(value).__name__ in message and "comma" in message


# --- sticky variables ---

STICKY = {"_APP_DB_PASS": PASSWORD, "_APP_DB_HOST": "mariadb"}


@pytest.mark.parametrize("data", ["yes", "unknown"])
@pytest.mark.parametrize("value", ["anotherpassword", None, ""])
def test_sticky_of_an_installation_with_data(installation, data, value):
    message = refused(installation(STICKY, data=data), variables={"_APP_DB_PASS": value})
    assert (
        message.startswith("variables: _APP_DB_PASS cannot be changed in .env alone")
        and f"the evidence is {data}" in message
    )
    assert PASSWORD not in message and "anotherpassword" not in message


@pytest.mark.parametrize("value", ["anotherpassword", None])
def test_sticky_of_an_installation_without_data(installation, value):
    assert plan(installation(STICKY), variables={"_APP_DB_PASS": value}).changes == {"_APP_DB_PASS": value}


def test_sticky_that_stays_is_not_asked_about(installation):
    asked = []
    assert plan(installation(STICKY, data="yes", asked=asked), variables=STICKY).changes == STICKY
    assert asked == []


@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
@pytest.mark.parametrize(
    "present", [None, "", PUBLIC, "not-a-real-key-" * 4], ids=["absent", "empty", "placeholder", "present"]
)
@pytest.mark.parametrize("value", ["another-unreal-key-" * 4, PUBLIC], ids=["a key", "the placeholder"])
def test_the_key_is_not_set_here(installation, data, present, value):
    values = {} if present is None else {KEY: present}
    if value == present:
        assert plan(installation(values, data=data), variables={KEY: value}).changes == {KEY: value}
    else:
        message = refused(installation(values, data=data), variables={KEY: value})
        assert message.startswith(f"variables: {KEY} is not set here") and "encryption_key" in message


@pytest.mark.parametrize("present", [PUBLIC, "not-a-real-key-" * 4], ids=["placeholder", "present"])
def test_the_key_is_not_removed_here(installation, present):
    assert "encryption_key" in refused(installation({KEY: present}), variables={KEY: None})


# --- a whole file ---

REAL_KEY = "not-a-real-key-" * 4


def test_template_replaces_the_file(installation):
    planned = plan(
        installation({"_APP_ENV": "development", "TZ": "UTC"}),
        content="# ours\n_APP_ENV=production\n",
        variables={"_APP_DOMAIN": "a.example.com"},
    )
    assert planned.content == "# ours\n_APP_ENV=production\n"
    assert planned.changes == {"_APP_DOMAIN": "a.example.com"}


def test_template_without_a_newline_gets_one(installation):
    assert plan(installation(), content="_APP_ENV=production").content == "_APP_ENV=production\n"


@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
@pytest.mark.parametrize(
    "offered",
    ["", f"{KEY}=\n", f"{KEY}={PUBLIC}\n", f"{KEY}={REAL_KEY}\n"],
    ids=["no line", "empty", "placeholder", "same"],
)
def test_template_never_drops_the_key(installation, data, offered):
    planned = plan(installation({KEY: REAL_KEY}, data=data), content="_APP_ENV=production\n" + offered)
    assert planned.kept == ({} if REAL_KEY in offered else {KEY: REAL_KEY})


@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
def test_template_never_changes_the_key(installation, data):
    message = refused(installation({KEY: REAL_KEY}, data=data), content=f"{KEY}={'another-unreal-key-' * 4}\n")
    assert message.startswith(f"content: {KEY} is not set here") and "unreal" not in message


@pytest.mark.parametrize("data", ["yes", "unknown"])
def test_template_does_not_set_an_absent_key_past_the_checks(installation, data):
    """Absent with data is refused or recovered by the key's own setting; a template must not be the way round it."""
    found = installation({"_APP_ENV": "production"}, data=data, keys={REAL_KEY: ("appwrite",)})
    assert refused(found, content=f"{KEY}={'another-unreal-key-' * 4}\n").startswith(f"content: {KEY}")


@pytest.mark.parametrize("data", ["yes", "unknown"])
@pytest.mark.parametrize(
    "offered", ["", "_APP_DB_PASS=\n", "_APP_DB_PASS=password\n"], ids=["no line", "empty", "public default"]
)
def test_template_keeps_sticky_variables_of_an_installation_with_data(installation, data, offered):
    planned = plan(installation(STICKY, data=data), content="_APP_ENV=production\n" + offered)
    assert planned.kept == STICKY


def test_template_drops_sticky_variables_of_an_installation_without_data(installation):
    planned = plan(installation(STICKY), content="_APP_ENV=production\n")
    assert not planned.changes and not planned.kept


def test_template_does_not_change_sticky_variables_of_an_installation_with_data(installation):
    message = refused(installation(STICKY, data="yes"), content="_APP_DB_PASS=anotherpassword\n")
    assert message.startswith("content: _APP_DB_PASS cannot be changed") and "anotherpassword" not in message


def test_template_with_an_unknown_name(installation):
    assert refused(installation(), content="_APP_DOMAINS=x\n").startswith("content: _APP_DOMAINS is not a variable")
    assert plan(installation(), content="TZ=UTC\n", unknown="allow").warnings == []


def test_variables_beat_the_template(installation):
    planned = plan(installation(), content="_APP_SMTP_PORT=smtp\n", variables={"_APP_SMTP_PORT": 587})
    assert planned.changes == {"_APP_SMTP_PORT": "587"}


def test_template_that_compose_rejects(installation):
    with pytest.raises(AppwriteError, match="^content: .*line 2"):
        plan(installation(), content="_APP_ENV=production\n_APP_DOMAIN='a.example.com\n")


# --- a whole file of its own ---

RELEASES = ["1.4.14", "1.6.2", "1.8.1", "1.9.0", "1.9.6"]
SECRETS = ["_APP_DB_PASS", "_APP_DB_ROOT_PASS", "_APP_EXECUTOR_SECRET"]


def created(installation, **what):
    wanted = plan(installation({}, exists=False, never_started=True, **what), create=True)
    return parse(wanted.content).values


@pytest.mark.parametrize("release", RELEASES)
def test_created_file_is_complete(installation, release):
    """Every documented variable with its default, but for the secrets that the whole world knows."""
    values = created(installation, release=release, databases={"mariadb": "mariadb"})
    for name in catalogue.names(release):
        if (
            catalogue.documented(name, release)
            and not name.startswith("_APP_DB_")
            and name not in SECRETS + [catalogue.KEY]
        ):
            assert values[name] == catalogue.default(name, release), name
    assert values[catalogue.KEY] == "", "left to the setting that knows when it may be made"
    for name in set(SECRETS) & set(catalogue.names(release)):
        assert re.fullmatch("[A-Za-z0-9]{32}", values[name])
    assert len({values[name] for name in SECRETS}) == 3
    assert not [name for name, value in values.items() if catalogue.is_public_default(name, value)]


@pytest.mark.parametrize("database, port", catalogue.DATABASE_PORTS.items())
def test_created_file_names_the_database_of_the_project(installation, database, port):
    values = created(installation, release="1.9.6", databases={database: database})
    assert [values[f"_APP_DB_{name}"] for name in ("ADAPTER", "HOST", "PORT")] == [database, database, port]
    assert values["_APP_VERSION"] == "1.9.6" and values["_APP_IMAGE"] == "appwrite/appwrite"


def test_nothing_is_created_over_a_file(installation):
    assert plan(installation({"_APP_ENV": "production"}), create=True).content is None


@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
def test_nothing_is_created_for_a_database_that_exists(installation, data):
    said = refused(installation({}, exists=False, data=data), create=True)
    assert said.startswith("create: there is no .env, but this installation was started before") and "backup" in said


@pytest.mark.parametrize("databases", [{}, {"mariadb": "mariadb", "mongodb": "mongodb"}])
def test_nothing_is_created_where_the_database_is_not_clear(installation, databases):
    assert "which database" in refused(
        installation({}, exists=False, never_started=True, databases=databases), create=True
    )


# --- public defaults ---

DEFAULTS = {
    "_APP_DB_PASS": "password",
    "_APP_DB_ROOT_PASS": "rootsecretpassword",
    "_APP_EXECUTOR_SECRET": "your-secret-key",
    "_APP_SMTP_PASSWORD": "",
}


@pytest.mark.parametrize("data", ["yes", "no", "unknown"])
def test_default_secrets_of_a_running_installation(installation, data):
    """The database was created with its own; they are not free any more."""
    wanted = plan(installation(DEFAULTS, data=data), replace_default_secrets=True)
    assert list(wanted.changes) == ["_APP_EXECUTOR_SECRET"] and re.fullmatch(
        "[A-Za-z0-9]{32}", wanted.changes["_APP_EXECUTOR_SECRET"]
    )
    [warning] = wanted.warnings
    assert "created with the public default of _APP_DB_PASS and _APP_DB_ROOT_PASS, which stays" in warning
    assert not plan(installation({**DEFAULTS, **wanted.changes}, data=data), replace_default_secrets=True).changes


def test_default_secrets_before_the_first_start(installation):
    wanted = plan(installation(DEFAULTS, never_started=True), replace_default_secrets=True)
    assert sorted(wanted.changes) == SECRETS and len(set(wanted.changes.values())) == 3


def test_default_secrets_stay_where_nobody_asked(installation):
    assert not plan(installation(DEFAULTS, never_started=True)).changes


def test_a_secret_that_was_asked_for_is_not_replaced(installation):
    variables = {"_APP_EXECUTOR_SECRET": "not-a-real-secret"}
    assert plan(installation(DEFAULTS), variables=variables, replace_default_secrets=True).changes == variables


def test_a_template_with_a_default_does_not_bring_it_back(installation):
    wanted = plan(
        installation({"_APP_EXECUTOR_SECRET": "not-a-real-secret"}),
        content="_APP_EXECUTOR_SECRET=your-secret-key\n",
        replace_default_secrets=True,
    )
    assert wanted.kept == {"_APP_EXECUTOR_SECRET": "not-a-real-secret"} and not wanted.changes


# --- public defaults of 2.x ---

OF_SERVICES = ["_APP_EXECUTOR_SECRET", "_APP_GEO_SECRET", "_APP_JOBS_SECRET", "_APP_NOTIFICATIONS_TRACKING_SECRET"]
PUBLIC_DSN = "http://appwrite:appwrite@clickhouse:8123/appwrite"
USAGE = {
    "_APP_USAGE_PASS": "appwrite",
    "_APP_CONNECTIONS_DB_USAGE": PUBLIC_DSN,
    "_APP_CONNECTIONS_DB_EXECUTIONS": PUBLIC_DSN,
}
REPLACE = {"replace_default_secrets": True}


def newest(installation, values, **what):
    return installation(values, release="2.4.0", **what)


@pytest.mark.parametrize(("data", "told"), [("yes", True), ("unknown", True), ("no", False)])
def test_secrets_between_services(installation, data, told):
    values = dict.fromkeys(OF_SERVICES, "your-secret-key")
    wanted = plan(newest(installation, values, data=data), **REPLACE)
    assert sorted(wanted.changes) == OF_SERVICES and len(set(wanted.changes.values())) == 4
    assert wanted.optional == set(OF_SERVICES)
    assert any("build that runs" in warning for warning in wanted.warnings) == told


def test_the_password_of_clickhouse_and_the_strings_that_repeat_it(installation):
    wanted = plan(newest(installation, USAGE, data="yes", is_new=lambda kind: kind == "clickhouse"), **REPLACE)
    password = wanted.changes["_APP_USAGE_PASS"]
    assert re.fullmatch("[A-Za-z0-9]{32}", password)
    for name in ("_APP_CONNECTIONS_DB_USAGE", "_APP_CONNECTIONS_DB_EXECUTIONS"):
        assert wanted.changes[name] == f"http://appwrite:{password}@clickhouse:8123/appwrite"
    assert wanted.together == [frozenset(USAGE)]
    again = plan(newest(installation, {**USAGE, **wanted.changes}, is_new=lambda _kind: True), **REPLACE)
    assert not again.changes and not again.warnings


@pytest.mark.parametrize("without", [*USAGE, None])
def test_of_the_strings_only_those_that_are_there(installation, without):
    values = {name: value for name, value in USAGE.items() if name != without}
    wanted = plan(newest(installation, values, is_new=lambda _kind: True), **REPLACE)
    assert wanted.changes.keys() == values.keys() | {"_APP_USAGE_PASS"}


def test_a_string_with_another_password_stays(installation):
    own = "http://usage:not-a-real-word@ch.notarealcompany.com:8123/usage"
    wanted = plan(
        newest(installation, {**USAGE, "_APP_CONNECTIONS_DB_USAGE": own}, is_new=lambda _kind: True), **REPLACE
    )
    assert wanted.changes.keys() == {"_APP_USAGE_PASS", "_APP_CONNECTIONS_DB_EXECUTIONS"}


def test_the_password_of_a_clickhouse_that_was_started(installation):
    wanted = plan(newest(installation, USAGE), **REPLACE)
    assert not wanted.changes
    [warning] = wanted.warnings
    assert all(name in warning for name in USAGE) and "`variables`" in warning


OWN_USAGE = {name: value.replace(":appwrite@", r":not-a\1-real@") for name, value in USAGE.items()}
OWN_USAGE["_APP_USAGE_PASS"] = r"not-a\1-real"


@pytest.mark.parametrize("before", [USAGE, {name: USAGE[name] for name in USAGE if name != "_APP_USAGE_PASS"}])
@pytest.mark.parametrize("named", [1, 2, 3])
def test_a_password_of_clickhouse_that_was_asked_for(installation, before, named):
    """The strings that repeat it follow, in words."""
    variables = dict(list(OWN_USAGE.items())[:named])
    wanted = plan(newest(installation, before, is_new=lambda _kind: True), variables=variables, **REPLACE)
    assert wanted.changes == OWN_USAGE
    followed = [f"{name} repeats _APP_USAGE_PASS, so it is set, too" for name in list(OWN_USAGE)[named:]]
    assert wanted.warnings == followed


def test_strings_that_do_not_follow_the_password_of_clickhouse(installation):
    """What leads elsewhere, or reaches nobody."""
    own = {**USAGE, "_APP_CONNECTIONS_DB_USAGE": "http://usage:not-a-real-word@ch.notarealcompany.com:8123/usage"}
    variables = {"_APP_USAGE_PASS": "not-a-real-password"}
    project = newest(installation, own, passed=lambda name: name != "_APP_CONNECTIONS_DB_EXECUTIONS")
    assert plan(project, variables=variables).changes == variables


@pytest.mark.parametrize(
    "variables",
    [
        {"_APP_CONNECTIONS_DB_USAGE": OWN_USAGE["_APP_CONNECTIONS_DB_USAGE"]},
        {"_APP_USAGE_PASS": "another-unreal", **{name: OWN_USAGE[name] for name in list(USAGE)[1:]}},
        {"_APP_USAGE_PASS": None, "_APP_CONNECTIONS_DB_EXECUTIONS": OWN_USAGE["_APP_CONNECTIONS_DB_EXECUTIONS"]},
    ],
)
def test_connection_strings_with_another_password_than_clickhouse(installation, variables):
    said = refused(newest(installation, USAGE), variables=variables)
    assert said.startswith("variables: the password in _APP_CONNECTIONS_DB_")
    assert "give _APP_USAGE_PASS" in said and "unreal" not in said and "not-a" not in said


def test_a_template_with_half_a_password_of_clickhouse(installation):
    content = "".join(f"{name}={value}\n" for name, value in {**USAGE, "_APP_USAGE_PASS": "not-a-real"}.items())
    assert refused(newest(installation, USAGE), content=content).startswith("content: the password in _APP_CONN")


def test_a_template_does_not_bring_the_password_of_clickhouse_back(installation):
    own = {name: value.replace("appwrite", "not-a-real-password") for name, value in USAGE.items()}
    content = "".join(f"{name}={value}\n" for name, value in USAGE.items())
    wanted = plan(newest(installation, own, is_new=lambda _kind: True), content=content, **REPLACE)
    assert (wanted.kept, wanted.changes) == (own, {})


@pytest.mark.parametrize("name", ["GITHUB", "GITEA"])
def test_secrets_of_webhooks_until_a_provider_has_them(installation, name):
    values = {f"_APP_VCS_{name}_WEBHOOK_SECRET": f"{name.lower()}-webhook-secret"}
    assert plan(newest(installation, values), **REPLACE).changes.keys() == values.keys()
    wanted = plan(newest(installation, {**values, f"_APP_VCS_{name}_CLIENT_ID": "not-a-real-id"}), **REPLACE)
    assert not wanted.changes and "the provider of the repositories has too" in wanted.warnings[0]
