# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key, its copies, and the file that it is in."""

from __future__ import annotations

import datetime
from dataclasses import replace

from support.observations import DIRECTORY, KEY, NOT_A_KEY, TODAY, secured, with_containers, with_service

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    PRIVATE,
    EnvironmentFile,
    Escrow,
    File,
    Given,
    Holder,
    Observation,
    Server,
    Stored,
    Unseen,
    WorkTree,
)

COMPOSE = f"{DIRECTORY}/docker-compose.yml"
PUBLIC = "your-secret-key"
OTHER = "NotThatRealKeyAtAll" + "0123456789abcdef" * 3
SAME_CIPHER = NOT_A_KEY[:16] + "AnotherTailThatIsNotReal"
WEAK = "WeakWords"
WORKER = "appwrite-worker-mails"
STRAY = File(f"{DIRECTORY}/.env.1763971200.backup", 0o600, (KEY, "_APP_DB_PASS"))
BACKUP = File(f"{DIRECTORY}/.env.20261101T120000Z.bak", 0o600, (KEY,), is_backup=True)


def keyed(key: str | None, release: str = "1.9.6") -> Observation:
    return secured(release, {KEY: key})


VALUES = {"a": True, "b": True}


def peered(*peers: Holder) -> Observation:
    """Beside these hosts, with two sealed values, which its key opens."""
    return secured(stored=Stored(2, 0, "", VALUES), peers=peers)


def running(observation: Observation, key: str | None, service: str | None = None) -> Observation:
    """The containers, or that of one service, made with this key."""

    def change(container):
        if KEY not in container.environment or service not in (None, container.service):
            return container
        environment = {name: value for name, value in container.environment.items() if name != KEY}
        return replace(container, environment={**environment, **({} if key is None else {KEY: key})})

    return with_containers(observation, change)


def file(observation: Observation | None = None, **parts) -> Observation:
    found = observation or secured()
    assert isinstance(found.env, EnvironmentFile)
    return replace(found, env=replace(found.env, **parts))


def mode(value: int) -> Observation:
    return file(file=File(f"{DIRECTORY}/.env", value, (KEY,)))


def in_git(tracked: bool | None, ignored: bool | None) -> Observation:
    return file(work_tree=WorkTree("/opt", tracked, ignored))


def without_docker(key: str | None) -> Observation:
    no_docker = Unseen("docker is not installed")
    return replace(keyed(key), config=no_docker, containers=no_docker)


def escrowed(*escrow) -> Observation:
    return secured(escrow=Escrow(*escrow))


NOT_GIVEN = with_service(secured(), WORKER, environment={"_APP_ENV": "production"})

CASES = {
    "encryption.key_present": {
        "fail": {
            "no line": (keyed(None), "empty"),
            "empty": keyed(""),
            "zero": keyed("0"),
            "oldest release": keyed(None, "1.4.14"),
            "without docker": without_docker(None),
            "containers still have it": (running(keyed(""), NOT_A_KEY), "still runs with one", "container of appwrite"),
            "no file": replace(keyed(""), env=Unseen("it does not exist")),
        },
        "pass": {
            "set": secured(),
            "public is judged apart": keyed(PUBLIC),
            "from the shell": file(values={}),
            "without docker": without_docker(NOT_A_KEY),
        },
        "unknown": {
            "nothing to look at": (
                replace(without_docker(None), env=Unseen("it is not readable")),
                "it is not readable",
            )
        },
    },
    "encryption.key_not_public": {
        "fail": {
            "in the file": (
                keyed(PUBLIC),
                "the public default",
                f"selfhost.appwrite.rotate -e appwrite_rotation_project_src={DIRECTORY}",
            ),
            "in a directory with a blank": (
                replace(keyed(PUBLIC), directory="/opt/my appwrite"),
                """selfhost.appwrite.rotate -e '{"appwrite_rotation_project_src": "/opt/my appwrite"}' --check""",
            ),
            "in a container alone": (running(secured(), PUBLIC, WORKER), f"container of {WORKER}"),
            "without docker": without_docker(PUBLIC),
            "no service receives it": replace(keyed(PUBLIC), config={"services": {}}, containers=()),
        },
        "pass": {"unique": (secured(), fingerprint(NOT_A_KEY))},
        "not_applicable": {"absent": keyed(None)},
        "unknown": {
            "containers unseen": replace(secured(), containers=Unseen("the engine does not answer")),
            "no service receives it": (
                replace(secured(), config={"services": {}}, containers=()),
                "no service of this project receives",
            ),
        },
    },
    "encryption.key_strong": {
        "fail": {
            "short": (
                keyed("Short1"),
                "about 35 bits",
                f"selfhost.appwrite.rotate -e appwrite_rotation_project_src={DIRECTORY}",
            ),
            "digits": (keyed("90210" * 8), "about 53 bits"),
            "one letter": keyed("q" * 64),
            "in a container alone": (running(secured(), "q" * 64, WORKER), f"container of {WORKER}"),
        },
        "pass": {"alphanumeric": secured(), "64 hex digits": (keyed("0123456789abcdef" * 4), "about 64 bits")},
        "not_applicable": {"absent": keyed(None), "public": keyed(PUBLIC)},
    },
    "encryption.key_reaches_services": {
        "fail": {
            "not listed for a service": (NOT_GIVEN, f"gives {WORKER} no key"),
            "a literal empties it": (
                with_service(secured(), WORKER, environment={KEY: None}),
                f"gives {WORKER} no key",
            ),
            "a container was made without": (running(secured(), None, WORKER), f"containers of {WORKER} run without"),
            "a container was made with none": running(secured(), "", WORKER),
            "a container was made with 0": running(secured(), "0", WORKER),
            "an Appwrite image under a name of one's own": (
                with_service(secured(), "my-worker", image="appwrite/appwrite:1.9.6", entrypoint="worker-executions"),
                "gives my-worker no key",
            ),
            "an image of one's own": (
                with_service(
                    secured(given=(Given("backend", KEY, "not_passed"),)),
                    "backend",
                    image="registry.notarealcompany.com/shop:1",
                ),
                "gives backend no key",
            ),
            "though the file has none": (running(running(keyed(""), NOT_A_KEY), "", WORKER), f"containers of {WORKER}"),
        },
        "pass": {
            "all": (secured(), "all 22 services"),
            "the oldest release gives it to fewer": (secured("1.4.14"), "all 14 services"),
            "a service that needs none": with_service(secured(), "adminer", image="adminer", environment={}),
        },
        "not_applicable": {"absent": keyed(None)},
        "unknown": {
            "no service": (replace(secured(), config={"services": {}}), "none of the services"),
            "containers unseen": replace(secured(), containers=Unseen("the engine does not answer")),
        },
    },
    "encryption.key_in_env": {
        "fail": {
            "a literal": (
                secured(given=(Given("appwrite", KEY, "literal", COMPOSE, 12),)),
                f"{COMPOSE}, line 12 gives appwrite its key",
                "has mode 0644",
                f"chmod 600 {COMPOSE}",
                "only then write the bare name",
            ),
            "a file of env_file": (
                secured(given=(Given(WORKER, KEY, "env_file", f"{DIRECTORY}/worker.env", 1),)),
                f"chmod 600 {DIRECTORY}/worker.env",
            ),
        },
        "pass": {
            "its own line": secured(),
            "another line of .env": secured(given=(Given("appwrite", KEY, "other_name"),)),
            "another literal": secured(given=(Given("appwrite", "_APP_ENV", "literal", COMPOSE, 3),)),
        },
        "not_applicable": {"absent": keyed(None)},
        "unknown": {"no compose": secured(given=Unseen("docker is not installed"))},
    },
    "encryption.one_key": {
        "fail": {
            "the file has another": (
                replace(keyed(OTHER), containers=secured().containers),
                fingerprint(OTHER),
                fingerprint(NOT_A_KEY),
                "cannot be read",
                "selfhost.appwrite.drill",
            ),
            "the file has none": (
                replace(keyed(""), containers=secured().containers),
                "empty in .env",
                "selfhost.appwrite.secure",
            ),
            "a container has another": (running(secured(), OTHER, WORKER), f"container of {WORKER}"),
            "a container has none": (running(secured(), "", WORKER), "selfhost.appwrite.secure"),
            "a literal in the compose file": with_service(secured(), WORKER, environment={KEY: OTHER}),
            "the shell gives another": file(values={KEY: OTHER}),
            "the tail differs": (
                replace(keyed(SAME_CIPHER), containers=secured().containers),
                "stored data stays readable",
                "tokens",
            ),
            "public in a container": (running(secured(), PUBLIC, WORKER), "the public default in container"),
        },
        "pass": {"one": secured(), "public everywhere": keyed(PUBLIC)},
        "not_applicable": {"none": keyed(None)},
        "unknown": {"containers unseen": replace(secured(), containers=Unseen("the engine does not answer"))},
    },
    "encryption.key_opens_data": {
        "fail": {
            "none": (
                secured(stored=Stored(0, 7, "_console_users/u1/password")),
                "opens none",
                "_console_users/u1/password",
                "drill",
            ),
            "some": (secured(stored=Stored(1, 1, "_1_users/u1/password")), "only some"),
        },
        "pass": {"all": secured()},
        "not_applicable": {"absent": keyed(None), "nothing stored": secured(stored=Stored(0, 0))},
        "unknown": {"no database": (secured(stored=Unseen("the database does not run")), "does not run")},
    },
    "encryption.one_key_for_all": {
        "fail": {
            "another key": (
                peered(Holder("two", fingerprint(OTHER), {"a": False, "b": False, "c": True})),
                "two has sealed values with this host, and another key; the key of this host opens all",
                "docker compose stop",
            ),
            "that opens the same": peered(Holder("two", fingerprint(SAME_CIPHER), VALUES)),
            "two of three": (
                peered(
                    Holder("two", None, {"a": False}),
                    Holder("three", fingerprint(NOT_A_KEY), {"a": True}),
                    Holder("four", None, {"b": False}),
                ),
                "four, two have",
            ),
            "this one": (
                replace(
                    peered(Holder("two", fingerprint(OTHER), VALUES)),
                    stored=Stored(0, 2, "x", {"a": False, "b": False}),
                ),
                "the key of this host opens none",
            ),
            "a mixture": (
                replace(
                    peered(Holder("two", fingerprint(OTHER), {"a": True, "b": True})),
                    stored=Stored(1, 1, "x", {"a": False, "b": True}),
                ),
                "the key of this host opens some",
            ),
        },
        "pass": {
            "the same": (
                peered(Holder("two", fingerprint(NOT_A_KEY), {"b": True, "d": True})),
                "two has the same sealed values, and the same key",
            )
        },
        "not_applicable": {
            "one host": (secured(), "this is one host"),
            "another database": (peered(Holder("two", fingerprint(OTHER), {"d": True})), "no other host"),
            "one that could not look": peered(Holder("two", fingerprint(OTHER), Unseen("no cryptography"), True)),
            "in the project, and not looked at": replace(
                peered(Holder("two", fingerprint(OTHER), VALUES)), stored=Unseen("the database does not run")
            ),
        },
        "unknown": {
            "outside, and not looked at": (
                replace(
                    peered(Holder("two", fingerprint(OTHER), VALUES)),
                    stored=Unseen("the image mariadb:10.11 is not on this host"),
                    servers=(Server("MariaDB", "db.internal:3306", PRIVATE, "10.0.0.5, a private address"),),
                ),
                "the image mariadb:10.11",
            ),
            "wherever it is": (
                replace(
                    peered(Holder("two", fingerprint(OTHER), VALUES)),
                    stored=Unseen("a connection string"),
                    servers=Unseen("a connection string"),
                ),
                "a connection string",
            ),
        },
    },
    "encryption.key_escrowed": {
        "fail": {
            "none": (escrowed(None), "holds no key", "appwrite_security_escrow: required"),
            "another": (escrowed(fingerprint(OTHER), TODAY), fingerprint(OTHER), "drill"),
            "never proved": (escrowed(fingerprint(NOT_A_KEY)), "never", "drill"),
            "proved long ago": (
                escrowed(fingerprint(NOT_A_KEY), TODAY - datetime.timedelta(91)),
                "2026-08-25",
                "drill",
            ),
        },
        "pass": {
            "proved today": secured(),
            "on the last day": (escrowed(fingerprint(NOT_A_KEY), TODAY - datetime.timedelta(90)), "2026-08-26"),
        },
        "unknown": {
            "not told": (secured(escrow=Unseen("the audit was not told of an escrow")), "not told"),
            "weak": (replace(keyed(WEAK), escrow=Escrow(fingerprint(WEAK), TODAY)), "about 53 bits"),
        },
        "not_applicable": {"absent": keyed(None), "public": keyed(PUBLIC)},
    },
    "encryption.env_not_in_git": {
        "fail": {
            "tracked": (in_git(True, False), "tracked by git in /opt", f"git -C /opt rm --cached {DIRECTORY}/.env"),
            "tracked although ignored": in_git(True, True),
            "not ignored": (in_git(False, False), "not ignored", "echo '.env*' >> /opt/.gitignore"),
            "git is not here": (in_git(None, None), "git is not here to tell"),
        },
        "pass": {"no work tree": secured(), "ignored": in_git(False, True)},
        "unknown": {"unseen": file(work_tree=Unseen("git took too long"))},
    },
    "encryption.env_private": {
        "fail": {
            "the umask's": (mode(0o644), "mode 0644", 'appwrite_security_env_mode: "0600"'),
            "a group reads": mode(0o640),
            "others write": mode(0o602),
        },
        "pass": {"owner": secured(), "owner reads": mode(0o400)},
        "unknown": {"no file": secured(env=Unseen("it does not exist"))},
    },
    "encryption.copies_private": {
        "fail": {
            "a backup": (file(copies=(BACKUP, replace(STRAY, mode=0o644))), "mode 0644", f"chmod 600 {STRAY.path}"),
            "two with names that a shell reads": (
                file(
                    copies=(
                        replace(STRAY, path="/opt/a b", mode=0o644),
                        replace(STRAY, path="/opt/it's\n\udc80", mode=0o604),
                    )
                ),
                r"chmod 600 $'/opt/it\x27s\x0a\x80' '/opt/a b'",
            ),
        },
        "pass": {"none": secured(), "private ones": file(copies=(BACKUP, STRAY))},
    },
    "encryption.no_stray_copies": {
        "fail": {
            "of an upgrade": (
                file(copies=(BACKUP, STRAY)),
                f"{STRAY.path} (_APP_DB_PASS, {KEY})",
                f"rm -i {STRAY.path}",
            )
        },
        "pass": {
            "none": secured(),
            "a compose file that is in use": file(copies=(File(COMPOSE, 0o644, (KEY,)),)),
            "the collection's own": file(copies=(BACKUP, replace(BACKUP, path=BACKUP.path.replace(".bak", "-1.bak")))),
        },
    },
}
WITHOUT_DOCKER = {
    "encryption.key_present",
    "encryption.key_escrowed",
    "encryption.env_not_in_git",
    "encryption.env_private",
    "encryption.copies_private",
    "encryption.no_stray_copies",
}
