# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any variables, one by one or as a whole rendered file, checked against the catalogue of the release.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import generate
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.placeholder import is_placeholder
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse, quote
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import Installation, Plan, Refusal

OPTIONS: dict[str, dict[str, Any]] = {
    "variables": {"type": "dict", "default": {}, "no_log": False},
    "content": {"type": "str", "no_log": True},
    "unknown": {"type": "str", "choices": ["fail", "warn", "allow"], "default": "fail"},
    "create": {"type": "bool", "default": False},
    "replace_default_secrets": {"type": "bool", "default": False, "no_log": False},
}
_SECRET_LENGTH = 32
_JOBS = "_APP_JOBS_SECRET"
_USAGE_PASSWORD = "appwrite"
"""What the compose file of 2.4.0 gives ClickHouse if _APP_USAGE_PASS is not set."""
_AT_CLICKHOUSE = re.compile(r"(?<=://)([^:/@]*):.*@(?=clickhouse([:/]|$))")
"""Whom a connection string presents to the project's own ClickHouse, as the compose file of 2.4.0 calls it."""
_PROVIDERS = {
    "_APP_VCS_GITEA_WEBHOOK_SECRET": ("_APP_VCS_GITEA_CLIENT_ID",),
    "_APP_VCS_GITHUB_WEBHOOK_SECRET": ("_APP_VCS_GITHUB_APP_ID", "_APP_VCS_GITHUB_CLIENT_ID"),
}
"""Secrets that somebody else has too, as soon as one of these is set."""
_SECRETIVE = re.compile("_(KEY|PASS|PASSWORD|SECRET|TOKEN)(_|$)")
_OF_COMPOSE = ("COMPOSE_", "DOCKER_")
"""What the names of compose's and docker's own variables begin with."""
_USUAL = re.compile("(?!_APP_)[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,15}){0,5}")
"""A name as people choose them; the second half of a secret that was wrapped is none."""


def plan(installation: Installation, options: Mapping[str, Any]) -> Plan:
    """Raises Refusal, with all of C(variables) that cannot be written in one message."""
    release = installation.release
    wanted = Plan()
    named = {name: _text(name, value) for name, value in options["variables"].items()}
    refusals: list[str] = []
    for name, value in named.items():
        wanted.warnings += _name_warnings(name, value, installation, options["unknown"], "variables", refusals)
        problem = None if value is None else catalogue.problem(name, value, release)
        if problem:
            refusals.append("variables: %s: %s" % (name, problem))
    if refusals:
        raise Refusal("; ".join(refusals))
    if options["content"] is not None:
        _template(installation, options, named, wanted)
    else:
        if options["create"] and not installation.exists:
            wanted.content = _complete(installation, wanted.generated)
        _refuse_sticky(installation, named, "variables")
        wanted.changes = dict(named)
        _fit_usage_password(installation, named, installation.values, "variables", wanted)
    if options["replace_default_secrets"]:
        _replace_default_secrets(installation, wanted)
    return wanted


def _complete(installation: Installation, generated: set[str]) -> str:
    """Every variable of the release with its default, for the database that the project has. The encryption key has a setting of its own."""
    evidence = installation.holds_data()
    if not evidence.never_started:
        raise Refusal(
            "create: there is no .env, but this installation was started before: %s. A new file would not fit its database. "
            "Put a backup of the old file back" % evidence.reason
        )
    if len(installation.databases) != 1:
        raise Refusal(
            "create: the project has %s, so it cannot be told which database the file should name; run Appwrite's installer, or give `content`"
            % (
                "the database services %s" % ", ".join(installation.databases)
                if installation.databases
                else "no known database service"
            )
        )
    [(service, database)] = installation.databases.items()
    release = installation.release
    special = {
        catalogue.KEY: "",
        "_APP_DB_ADAPTER": database,
        "_APP_DB_HOST": service,
        "_APP_DB_PORT": catalogue.DATABASE_PORTS[database],
        "_APP_IMAGE": "appwrite/appwrite",
        "_APP_VERSION": release,
        "_APP_HTTP_PORT": "80",
        "_APP_HTTPS_PORT": "443",
    }
    lines: list[str] = []
    group = ""
    for name in catalogue.names(release):
        entry, value = catalogue.get(name), special.get(name, catalogue.default(name, release))
        if entry is None or value is None:
            continue
        if entry.group != group:
            group = entry.group
            lines += ["", "# %s" % group] if lines else ["# %s" % group]
        if entry.public_defaults and value in entry.public_defaults:
            value = generate(_SECRET_LENGTH)
            generated.add(value)
        lines.append("%s=%s" % (name, quote(value)))
    return "\n".join(lines) + "\n"


def _replace_default_secrets(installation: Installation, wanted: Plan) -> None:
    """Those of the database only if it was never created; the encryption key has a setting of its own."""
    offered = parse(wanted.content).values if wanted.content is not None else installation.values
    created_with = []
    for name in catalogue.names(installation.release):
        entry = catalogue.get(name)
        if entry is None and _is_public(name, offered.get(name, ""), installation.release):
            wanted.warnings.append(
                "%s has a public value, and this collection does not know if it may be changed: see what Appwrite %s says of it, then change it "
                "by `variables`" % (name, installation.release)
            )
        if entry is None or name in (catalogue.KEY, *catalogue.USAGE) or name in wanted.changes or name in wanted.kept:
            continue
        if not entry.public_defaults or not catalogue.is_public_default(name, offered.get(name, "")):
            continue
        current = installation.values.get(name, "")
        if current and not catalogue.is_public_default(name, current):
            wanted.kept[name] = current
        elif not installation.passed(name):
            continue
        elif entry.sticky and not installation.never_started():
            created_with.append(name)
        elif any(catalogue.given(offered, other) for other in _PROVIDERS.get(name, ())):
            wanted.warnings.append(
                "%s has a public value, which the provider of the repositories has too: change it there, and then by `variables`"
                % name
            )
        else:
            wanted.changes[name] = value = generate(_SECRET_LENGTH)
            wanted.generated.add(value)
            wanted.optional.add(name)
    if created_with:
        wanted.warnings.append(
            "the database was created with the public default of %s, which stays: change it in the database and in .env. The guide 'Secure a server "
            "that is in use' has the commands for MariaDB and PostgreSQL" % " and ".join(created_with)
        )
    if _JOBS in wanted.optional and installation.holds_data().state != "no":
        wanted.warnings.append(
            "%s is replaced: the report of a build that runs while the services are created anew is not believed, so that build fails; "
            "start it again" % _JOBS
        )
    _replace_usage_password(installation, offered, wanted)


def _is_public(name: str, value: str, release: str) -> bool:
    """Whether a variable that the catalogue does not know is a secret, by its name, and has its default or a placeholder."""
    return bool(value and _SECRETIVE.search(name)) and (
        is_placeholder(value) or value == catalogue.default(name, release)
    )


def _replace_usage_password(installation: Installation, offered: Mapping[str, str], wanted: Plan) -> None:
    """It and the connection strings that repeat it, at once, and only if ClickHouse was never started."""
    name, *strings = catalogue.USAGE
    given = {one: offered[one] for one in catalogue.USAGE if offered.get(one) and installation.passed(one)}
    password = given.get(name, _USAGE_PASSWORD)
    inside = ":%s@" % password
    given = {one: value for one, value in given.items() if one == name or inside in value}
    if not given or not catalogue.is_public_default(name, password) or wanted.changes.keys() & catalogue.USAGE:
        return
    current = installation.values.get(name, "")
    if current and not catalogue.is_public_default(name, current):
        wanted.kept.update({one: installation.values[one] for one in catalogue.USAGE if one in installation.values})
    elif not installation.is_new("clickhouse"):
        wanted.warnings.append(
            "%s keeps its public value, since it cannot be told that ClickHouse was never started. Its image makes the user anew with each "
            "container, so set %s to a new one by `variables`; %s follow" % (name, name, " and ".join(strings))
        )
    else:
        fresh = generate(_SECRET_LENGTH)
        changes = {one: value.replace(inside, ":%s@" % fresh) for one, value in given.items() if one != name}
        wanted.changes.update({name: fresh, **changes})
        wanted.generated.update({fresh, *changes.values()})
        wanted.optional.update({name, *changes})
        wanted.together.append(frozenset({name, *changes}))


def _fit_usage_password(
    installation: Installation, given: Mapping[str, str | None], base: Mapping[str, str], option: str, wanted: Plan
) -> None:
    """Whoever sets ClickHouse's password sets it in the connection strings too, and the other way round."""
    name, *strings = catalogue.USAGE
    values = {**base, **given}
    password = values.get(name) or _USAGE_PASSWORD
    for one in strings if given.keys() & catalogue.USAGE else ():
        value = values.get(one) or ""
        fitting = _AT_CLICKHOUSE.sub(lambda found: "%s:%s@" % (found[1], password), value)
        if fitting != value and one in given:
            raise Refusal(
                "%s: the password in %s is not that of ClickHouse; give %s, and put the same before the @ in %s"
                % (option, one, name, " and ".join(strings))
            )
        if fitting != value and installation.passed(one):
            wanted.changes[one] = fitting
            wanted.warnings.append("%s repeats %s, so it is set, too" % (one, name))


def _template(
    installation: Installation, options: Mapping[str, Any], named: Mapping[str, str | None], wanted: Plan
) -> None:
    """The rendered file becomes the base; a key and the sticky variables of an installation with data outlive it."""
    content = options["content"]
    if not content.strip():
        raise Refusal("content: is empty; render the whole file, or leave it out")
    wanted.content = content if content.endswith("\n") else content + "\n"
    try:
        rendered = parse(wanted.content).values
    except AppwriteError as error:
        raise Refusal("content: compose would reject it: %s" % error) from None
    refusals: list[str] = []
    for name, value in rendered.items():
        if name in named:
            continue
        wanted.warnings += _name_warnings(name, value, installation, options["unknown"], "content", refusals)
        problem = catalogue.problem(name, value, installation.release)
        if problem and installation.values.get(name) != value:
            refusals.append("content: %s: %s" % (name, problem))
    if refusals:
        raise Refusal("; ".join(refusals))
    _refuse_sticky(installation, named, "variables")
    wanted.changes = dict(named)
    _fit_usage_password(installation, {**rendered, **named}, {}, "content", wanted)
    for name in catalogue.names():
        entry, current, offered = catalogue.get(name), installation.values.get(name, ""), rendered.get(name, "")
        if entry is None or not entry.sticky or name in named or offered == current:
            continue
        if offered and not catalogue.is_public_default(name, offered):
            _refuse_sticky(installation, {name: offered}, "content")
        elif name == catalogue.KEY or (current and installation.holds_data().state != "no"):
            wanted.kept[name] = current


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise Refusal(
            'variables: %s is the YAML boolean %s; Appwrite compares words, so quote the one that is meant, such as "enabled" or "disabled"'
            % (name, str(value).lower())
        )
    if isinstance(value, (int, float)):
        return str(value)
    raise Refusal(
        "variables: %s is a %s; give text (Appwrite's lists are joined with a comma and no space)"
        % (name, type(value).__name__)
    )


def _name_warnings(
    name: str, value: str | None, installation: Installation, unknown: str, option: str, refusals: list[str]
) -> list[str]:
    """A name that neither a release nor the project knows is an error; one that has no effect in this release is told of, unless it
    is only the default. In a template only what looks like a variable of Appwrite is one: the rest is the template's own."""
    release = installation.release
    if value is None:
        return []
    if name not in (*catalogue.names(), *catalogue.names(release)):
        if name.startswith(_OF_COMPOSE) or name in installation.names():
            return []
        near = catalogue.suggest(name, release)
        if option == "content" and not near and _USUAL.fullmatch(name):
            return []
        message = "%s: %s is not a variable of Appwrite %s, and nothing in this project uses it%s" % (
            option,
            name,
            release,
            "; is %s meant?" % near if near else "",
        )
        if unknown == "fail":
            refusals.append(message + ("" if near else ". Set `unknown` to warn or allow to write it all the same"))
        return [message] if unknown == "warn" else []
    if value and value != catalogue.default(name, release) and not catalogue.is_read(name, release):
        return ["%s: %s has no effect: %s" % (option, name, catalogue.why_unread(name, release))]
    return []


def _refuse_sticky(installation: Installation, changes: Mapping[str, str | None], option: str) -> None:
    for name, value in changes.items():
        entry, present = catalogue.get(name), installation.values.get(name, "")
        if entry is None or not entry.sticky or (value or "") == present:
            continue
        if name == catalogue.KEY:
            raise Refusal(
                "%s: %s is not set here; leave it out, and pass a key that you have as the option key of encryption_key, which sets it "
                "when it is absent and never changes it" % (option, name)
            )
        if (value or "") == (present or catalogue.default(name, installation.release) or ""):
            continue
        evidence = installation.holds_data()
        if evidence.state != "no":
            raise Refusal(
                "%s: %s cannot be changed in .env alone, because %s and its database was created with the old value. "
                "Change it in the database first, then in .env by hand" % (option, name, evidence.reason)
            )
