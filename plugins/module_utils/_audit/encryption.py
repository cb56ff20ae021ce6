# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption: whether there is a good key, one alone, wherever it is needed, in escrow, and nowhere that others can read.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.images import image
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import (
    NAME,
    effective_bits,
    in_force,
    is_public,
    same_cipher,
    shown_fingerprint,
    told,
    weakness,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Control,
    File,
    Observation,
    Outcome,
    Unobserved,
    Unseen,
    failed,
    judge,
    known_containers,
    not_applicable,
    passed,
    places,
    seen,
    seen_all,
    services,
    some,
    typed,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.sharing import ONE_KEY
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.origin import NOWHERE
from ansible_collections.selfhost.appwrite.plugins.module_utils._settings.model import rotation_of

_OTHERS = 0o077
_SHOWN = 10
"""How many files are named in evidence; a remedy names all."""
PROOF_HOLDS = datetime.timedelta(days=90)
_NO_KEY = "there is no encryption key"
_SECURE = "ansible-playbook selfhost.appwrite.secure"
_DRILL = "ansible-playbook selfhost.appwrite.drill"


def _key(value: str) -> str:
    return in_force({NAME: value})


def _shown(value: str) -> str:
    key = _key(value)
    if not key:
        return "empty"
    return "the key with %s" % told(key) if shown_fingerprint(key) else told(key)


def _has_a_key(observation: Observation) -> bool:
    return any(_key(value) for _place, value in _everywhere(observation))


def _everywhere(observation: Observation) -> list[tuple[str, str]]:
    """The places of the key, of which C(.env) is one also where compose is here."""
    found = places(observation, NAME)
    if isinstance(observation.env, Unseen) or isinstance(observation.config, Unseen):
        return found
    return [(".env", observation.env.values.get(NAME, ""))] + found


def _judge(observation: Observation, good: Callable[[str], bool], shown: Callable[[str], str]) -> Outcome:
    """As C(judge), but that no service receives the key is for C(encryption.key_reaches_services) to say."""
    if not places(observation, NAME):
        observation = replace(observation, config=Unseen("no service of this project receives %s" % NAME))
    return judge(observation, NAME, good, shown)


def _present(observation: Observation) -> Outcome:
    found = _everywhere(observation)
    running = sorted({place for place, value in found if place.startswith("container") and _key(value)})
    if any(_key(value) for place, value in found if not place.startswith("container")):
        return passed("%s is set" % NAME)
    return failed(
        "%s is empty or 0, which is read as unset%s"
        % (NAME, "; the next recreate takes it from %s, which still runs with one" % some(running) if running else "")
    )


def _not_public(observation: Observation) -> Outcome:
    if not _has_a_key(observation):
        return not_applicable(_NO_KEY)
    return _rotated(observation, _judge(observation, lambda value: not is_public(value), _shown))


def _strong(observation: Observation) -> Outcome:
    keys = {_key(value) for _place, value in _everywhere(observation)}
    if all(not key or is_public(key) for key in keys):
        return not_applicable("there is no key that is not public")
    return _rotated(
        observation,
        _judge(
            observation,
            lambda value: weakness(_key(value)) is None,
            lambda value: "about %d bits strong (its first 16 bytes count)" % effective_bits(_key(value)),
        ),
    )


def _rotated(observation: Observation, outcome: Outcome) -> Outcome:
    return replace(outcome, remedy=_rehearsal(observation.directory)) if outcome.status == "fail" else outcome


def _rehearsal(directory: str = "") -> str:
    return rotation_of(directory) + " --check"


def _needing_key(release: str, present: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """By what a service runs: an Appwrite image does, whatever the service is called, but for processes that are known not to."""
    takers = set(catalogue.services(NAME, release))
    known = {service for variable in catalogue.names(release) for service in catalogue.services(variable, release)}

    def needs(name: str, options: Mapping[str, Any]) -> bool:
        if not _is_appwrite(options):
            return name in takers
        entrypoint = options.get("entrypoint") or []
        program = "appwrite-%s" % (entrypoint if isinstance(entrypoint, str) else next(iter(entrypoint), ""))
        return (program if program in known else name) not in known - takers

    return [name for name, options in present.items() if needs(name, options)]


def _is_appwrite(options: Mapping[str, Any]) -> bool:
    return image(str(options.get("image") or "")).name == "appwrite"


def _from_env(observation: Observation) -> Outcome:
    if not _has_a_key(observation):
        return not_applicable(_NO_KEY)
    found = [given for given in seen(observation.given) if given.name == NAME and given.file]
    seen(observation.config)
    if not found:
        return passed("no other file than .env gives a service %s" % NAME)
    by_place: dict[str, list[str]] = {}
    for given in found:
        by_place.setdefault(given.place, []).append(given.service)
    entries = () if isinstance(observation.project, Unseen) else observation.project.entries
    files = sorted({given.file for given in found})
    modes = ["%s has mode %04o" % (typed(entry.path), entry.mode) for entry in entries if entry.path in files]
    return failed(
        "; ".join(
            ["%s gives %s its key" % (place, some(services)) for place, services in sorted(by_place.items())] + modes
        ),
        "chmod 600 %s (then copy the key into .env, as a line %s=…, and only then write the bare name %s in its place there)"
        % (" ".join(map(typed, files)), NAME, NAME),
    )


def _reaches(observation: Observation) -> Outcome:
    present = services(observation)
    unkeyed = {
        given.service
        for given in (() if isinstance(observation.given, Unseen) else observation.given)
        if (given.name, given.kind) == (NAME, NOWHERE)
    }
    needing = _needing_key(observation.release, present)
    needed = [
        name for name, options in present.items() if name in needing or name in unkeyed and not _is_appwrite(options)
    ]
    if not needed:
        raise Unobserved("the project has none of the services that need the key")
    if not _has_a_key(observation):
        return not_applicable(_NO_KEY)
    without = [
        service for service in needed if not _key(str((present[service].get("environment") or {}).get(NAME) or ""))
    ]
    started = sorted(
        {
            container.service
            for container in known_containers(observation)
            if container.service in needed and not in_force(container.environment)
        }
    )
    said = ["the project gives %s no key" % some(without)] if without else []
    said += ["containers of %s run without a key" % some(started)] if started else []
    if said:
        return failed("; ".join(said))
    seen(observation.containers)
    return passed("%s reaches all %d services of this project that need it" % (NAME, len(needed)))


def _one(observation: Observation) -> Outcome:
    found = _everywhere(observation)
    keys: dict[str, list[str]] = {}
    for place, value in found:
        keys.setdefault(_key(value), []).append(place)
    if not any(keys):
        return not_applicable(_NO_KEY)
    if len(keys) > 1:
        first = next(iter(keys))
        same = all(key and same_cipher(first, key) for key in keys)
        return failed(
            "%s is %s; %s"
            % (
                NAME,
                "; ".join("%s in %s" % (_shown(key), some(where)) for key, where in sorted(keys.items())),
                "all begin with the same 16 bytes, so stored data stays readable, but tokens that one signed are refused by the others"
                if same
                else "what one sealed cannot be read with another, and the next recreate makes one of them the only one",
            ),
            _SECURE if len([key for key in keys if key]) == 1 else None,
        )
    seen(observation.env)
    seen_all(observation)
    return passed("%s is %s in .env, in the configuration and in every container" % (NAME, _shown(next(iter(keys)))))


def _opens_data(observation: Observation) -> Outcome:
    if not in_force(seen(observation.env).values):
        return not_applicable(_NO_KEY)
    stored = seen(observation.stored)
    if stored.closed:
        return failed(
            "the key in .env opens %s of the sealed values that were looked at; %s is one that it does not open"
            % ("only some" if stored.opened else "none", stored.first)
        )
    return (
        passed("the key in .env opens all that was looked at")
        if stored.opened
        else not_applicable("nothing is stored that was sealed")
    )


def _escrowed(observation: Observation) -> Outcome:
    key = in_force(seen(observation.env).values)
    if not key or is_public(key):
        return not_applicable("there is no key that could be lost")
    escrow = seen(observation.escrow)
    if escrow.fingerprint is None:
        return failed("the escrow holds no key")
    if shown_fingerprint(key) is None:
        raise Unobserved(
            "the key is %s: a fingerprint of it would help to guess it, so it is not compared with the escrow's; rotate it"
            % told(key)
        )
    if escrow.fingerprint != shown_fingerprint(key):
        return failed(
            "the escrow holds the key with fingerprint %s, and .env %s" % (escrow.fingerprint, _shown(key)), _DRILL
        )
    if escrow.proved is None:
        return failed("the escrow has never been opened to prove that it holds this key", _DRILL)
    if observation.today - escrow.proved > PROOF_HOLDS:
        return failed(
            "the escrow was last proved to hold this key on %s; prove it every %d days"
            % (escrow.proved, PROOF_HOLDS.days),
            _DRILL,
        )
    return passed("the escrow was proved to hold this key on %s" % escrow.proved)


def _not_in_git(observation: Observation) -> Outcome:
    env = seen(observation.env)
    tree, path = seen(env.work_tree), typed(env.file.path)
    if tree is None:
        return passed("%s is in no git work tree" % path)
    root = typed(tree.root)
    if tree.tracked:
        return failed(
            "%s is tracked by git in %s, and so are the secrets of every commit" % (path, root),
            "git -C %s rm --cached %s" % (root, path),
        )
    if tree.ignored is None:
        return failed(
            "%s is in the git work tree %s, and git is not here to tell whether it is ignored, or does not trust that work tree"
            % (path, root),
            "git -C %s check-ignore %s" % (root, path),
        )
    if not tree.ignored:
        name = env.file.path.rsplit("/", 1)[-1]
        return failed(
            "%s is not ignored in the git work tree %s: the next git add takes it" % (path, root),
            "echo %s >> %s" % (typed(name + "*"), typed(tree.root + "/.gitignore")),
        )
    return passed("%s is ignored by git in %s" % (path, root))


def _private(observation: Observation) -> Outcome:
    return replace(_closed([seen(observation.env).file], ""), remedy=None)


def _copies_private(observation: Observation) -> Outcome:
    return _closed(seen(observation.env).copies, "no other file of the project's directory holds one of its secrets")


def _closed(files: Sequence[File], none: str) -> Outcome:
    is_open = [file for file in files if file.mode & _OTHERS]
    modes = some(["%s has mode %04o" % (typed(file.path), file.mode) for file in is_open or files], _SHOWN)
    if is_open:
        return failed(modes, "chmod 600 %s" % " ".join(sorted(typed(file.path) for file in is_open)))
    return passed(modes or none)


def _no_stray_copies(observation: Observation) -> Outcome:
    copies = seen(observation.env).copies
    project = () if isinstance(observation.project, Unseen) else observation.project.entries
    given = () if isinstance(observation.given, Unseen) else observation.given
    used = {entry.path for entry in project} | {one.file for one in given}
    stray = [file for file in copies if not file.is_backup and file.path not in used]
    if stray:
        return failed(
            "secrets of .env are also in %s"
            % some(["%s (%s)" % (typed(file.path), some(file.holds)) for file in stray], _SHOWN),
            "rm -i %s" % " ".join(sorted(typed(file.path) for file in stray)),
        )
    return passed("only .env and the collection's own backups of it hold its secrets")


CONTROLS = (
    Control(
        "encryption.key_present",
        "An encryption key is set",
        "critical",
        "Without a key Appwrite seals passwords, OAuth secrets and API keys with 16 zero bytes, and says nothing.",
        _SECURE,
        "Appwrite 1.4.14 to 1.9.6: app/config/variables.php, src/Appwrite/OpenSSL/OpenSSL.php; appwrite/appwrite#8861, #6043",
        _present,
    ),
    Control(
        "encryption.key_not_public",
        "The encryption key is not a public default",
        "critical",
        "The installer's default is the same everywhere: with nothing else, whoever can reach the API signs a JWT for any user id, an administrator's "
        "too, and an ephemeral key that lists the console's users; whoever gets a dump of the database can read it. A rotation ends both, "
        "and those sessions of the console's users that somebody may have made meanwhile.",
        _rehearsal(),
        "appwrite/appwrite#13769; Appwrite 1.9.6: app/config/variables.php, and run",
        _not_public,
    ),
    Control(
        "encryption.key_strong",
        "The encryption key has at least 64 effective bits",
        "high",
        "AES-128 takes the first 16 bytes of the key and no more, so a short key, or a long one that begins with few different "
        "characters, can be guessed from one sealed value.",
        _rehearsal(),
        "Appwrite 1.9.6: src/Appwrite/OpenSSL/OpenSSL.php; PHP manual, openssl_encrypt",
        _strong,
    ),
    Control(
        "encryption.key_reaches_services",
        "The encryption key reaches every service that needs it",
        "critical",
        "A service without the key seals with none, and answers with what it cannot open: one such worker made every API key of 1.9.0 fail.",
        "%s (after adding %s to the environment of each service that the compose file does not give it)"
        % (_SECURE, NAME),
        "appwrite/appwrite#12622, #6199",
        _reaches,
    ),
    Control(
        "encryption.key_in_env",
        "No other file than .env gives the encryption key",
        "medium",
        "A compose file is kept in git, copied and shown around, and others may read it. The key there is in force all the same, so it stays until "
        "it is safe in .env.",
        "chmod 600 docker-compose.yml",
        "Docker Compose, precedence of environment variables",
        _from_env,
    ),
    Control(
        "encryption.one_key",
        "One encryption key is in force everywhere",
        "critical",
        "Data is sealed with the key that the containers run with. If .env holds another, the next recreate makes that data "
        "unreadable, without an error.",
        "ansible-playbook selfhost.appwrite.drill (says which of them the escrow holds; recreate nothing until .env holds the key that "
        "opens the data)",
        "Appwrite 1.9.6: app/init/database/filters.php; appwrite/appwrite#12622",
        _one,
    ),
    Control(
        "encryption.key_opens_data",
        "The encryption key opens what is stored",
        "high",
        "With another key Appwrite reads sealed values as empty, says nothing, and stores them so with the next update of the row: they are lost "
        "then, one after the other.",
        "%s (says which key the escrow holds; change nothing until the one that opens the data is back in .env)"
        % _DRILL,
        "Appwrite 1.9.6: app/init/database/filters.php; utopia-php/database 6.0.0",
        _opens_data,
    ),
    ONE_KEY,
    Control(
        "encryption.key_escrowed",
        "The encryption key is in escrow, and that was proved in the last 90 days",
        "high",
        "A database dump without the key is lost data. A copy that was never opened may be useless.",
        "appwrite_security_escrow: required",
        "Appwrite 1.9.6: app/init/database/filters.php",
        _escrowed,
    ),
    Control(
        "encryption.env_not_in_git",
        "The .env file is not in a git work tree, or is ignored there",
        "high",
        "What git tracks once is in every clone and every backup of the repository for good, also after it was removed.",
        "echo '.env*' >> .gitignore",
        "git manual: gitignore",
        _not_in_git,
    ),
    Control(
        "encryption.env_private",
        "Only its owner may read the .env file",
        "high",
        "It holds every secret of the installation, and the installers write it with the umask, which is 0644 on most systems.",
        'appwrite_security_env_mode: "0600"',
        "Appwrite 1.9.6: src/Appwrite/Platform/Tasks/Install.php",
        _private,
    ),
    Control(
        "encryption.copies_private",
        "Only their owner may read the copies of its secrets",
        "high",
        "Each upgrade leaves a backup of .env beside it, readable as the umask has it, and a secret is as safe as its most open copy.",
        "chmod 600 .env.*",
        "Appwrite 1.9.6: src/Appwrite/Platform/Tasks/Install.php",
        _copies_private,
    ),
    Control(
        "encryption.no_stray_copies",
        "No forgotten file holds a copy of its secrets",
        "low",
        "A file that nobody remembers is missed when secrets are changed, moved or kept from somebody. Look into it before it goes: it "
        "may hold an older key that nothing else does.",
        "rm -i .env.*.backup",
        "Appwrite 1.9.6: src/Appwrite/Platform/Tasks/Install.php",
        _no_stray_copies,
    ),
)
