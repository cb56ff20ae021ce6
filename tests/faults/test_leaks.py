# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret, no piece of one in any spelling, and no quick hash of one is in anything that a run prints or leaves."""

from __future__ import annotations

import base64
import json
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from faults.leaks import GONE, World
from support.search import fast_hashes, forms, hashes_in, search
from support.stack import KEY, Play, read_env, set_env, small
from testbed._base import run

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint

SECRETS = {
    "_APP_SMTP_PASSWORD": "not-a-real-\"smtp\"-$pass-'word'-" + "\\x" * 4 + "-&-<smtp>-%41-smtp",
    "_APP_EXECUTOR_SECRET": "not a réal #exécutor ${secret} " + "long" * 100,
    "_APP_DB_PASS": "notrealpassofuser",
    "_APP_DB_ROOT_PASS": "not-a-real-root-`pass`-$$word",
    "_APP_VCS_GITHUB_PRIVATE_KEY": "-----BEGIN NOT A REAL KEY-----\nbm90LWEtcmVhbC1rZXktaGVyZQ\n-----END NOT A REAL KEY-----\n",
}
NEW = {
    "_APP_SMTP_PASSWORD": SECRETS["_APP_SMTP_PASSWORD"][::-1],
    "_APP_EXECUTOR_SECRET": SECRETS["_APP_EXECUTOR_SECRET"][::-1],
}
KEYS = ["not-a-real-$key-with-'all'-\"that\"-" + digits * 3 for digits in ("0123456789abcdef", "fedcba9876543210")]
LITERAL = "not-a-real-literal-in-yaml-text"
TAIL = "longlonglongtail"
"""behind an unescaped $, so that compose takes it for a name"""
NAME = "notRealKeyThatCouldBeTheNameOfAVariable"
WRAPPED = "bm90cmVhbHdyYXBwZW", "Rub3RyZWFsd3JhcHBlZA"
"""a key that was pasted in two lines, so that its end reads as a name"""
ALL = [*SECRETS.values(), *NEW.values(), *KEYS, LITERAL, TAIL, NAME, *WRAPPED]


@pytest.fixture
def world():
    """Its path must be short, since Ansible makes sockets there."""
    with tempfile.TemporaryDirectory(prefix="leaks-") as root:
        yield World(Path(root))


# --- what must be found ---

PLANTED = {  # word to the channels that it is found in
    "wallaby umbrella": {"stdout", "callback", "junit", "log", "facts", "files"},
    "quokka xylophone": {"stderr", "callback", "log", "files"},
    "ocelot zeppelin": {"syslog"},
    "axolotl trumpet": {"processes"},
    "narwhal bassoon": {"processes"},
    "capybara fiddle": {"files"},
    "pangolin guitar": {"files"},
    "meerkat ukulele": {"files"},
    "dormouse-zither": {"retry", "stdout", "junit", "log", "facts", "processes", "files"},
    "badger piccolo!": set(),
}
LEAKY = """
import base64, json, os, subprocess, urllib.parse
from ansible.module_utils.basic import AnsibleModule

def write(path, text, mode):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "w") as stream:
        stream.write(text)

module = AnsibleModule({"words": {"type": "path"}})
result, warning, log, argument, environment, kept, widened, moved, host, private = json.load(open(module.params["words"]))
os.chdir(os.environ["TMPDIR"])
module.warn(warning)
module.log(urllib.parse.quote(log))
subprocess.run(["true", base64.b64encode(b"user:" + argument.encode()).decode()])
subprocess.run(["/bin/true"], env={"HEX": environment[2:12].encode().hex()})
write(os.path.abspath("kept"), kept, 0o644)
write(os.path.abspath("widened"), widened, 0o600)
os.chmod(os.path.abspath("widened"), 0o644)
write(os.path.abspath("draft"), moved, 0o644)
os.chmod(os.path.abspath("draft"), 0o600)
os.rename(os.path.abspath("draft"), os.path.abspath("moved"))
write(os.path.abspath("owned"), private, 0o600)
os.mkdir(os.path.abspath("closed"), 0o700)
write(os.path.abspath("closed/open"), private, 0o644)
write(os.path.abspath("gone"), private, 0o644)
os.unlink(os.path.abspath("gone"))
module.exit_json(told=json.dumps(result[3:11]))
"""


def test_planted(world, tmp_path):
    """What a module leaks on purpose is found in every channel, so that nothing found means nothing there."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "leaky.py").write_text(LEAKY)
    words = tmp_path / "words"
    words.write_text(json.dumps(list(PLANTED)))
    world.host = next(word for word, channels in PLANTED.items() if "retry" in channels)
    world.run(
        [
            {"leaky": {"words": str(words)}, "register": "leaked"},
            {"set_fact": {"kept": "{{ leaked.told }}", "cacheable": True}},
            {"fail": {}},
        ],
        environ={"ANSIBLE_LIBRARY": str(library)},
    )
    channels = world.channels()
    found = {word: {name for name, text in channels.items() if search(frozenset([word]))(text)} for word in PLANTED}
    assert found == PLANTED
    assert channels["files"].count(GONE) == 1 and "/gone came and went" in channels["files"]


@pytest.mark.parametrize(
    "text",
    [
        *sorted(forms("$a 'b'\"\\é")),
        base64.b64encode(b"user:$a 'b'\"\\" + "é".encode()).decode(),
        json.dumps(["$a 'b'\"\\é"]),
        repr("$a 'b'\"\\é"),
    ],
)
def test_spellings(text):
    secret = "before-$a 'b'\"\\é-after"
    assert search(frozenset([secret]))(f"some text {text} and more")
    assert not search(frozenset([secret]))("before, $a 'b'")


def test_quick_hashes():
    for digits in fast_hashes("a secret"):
        assert hashes_in(f"key {digits}0123", ["a secret"]) and not hashes_in(f"key {digits[:7]}", ["a secret"])


# --- what must not ---


def _copy(template: Path, parent: Path, name: str, **values: str | None) -> Path:
    """A project with secrets, which only its owner may read."""
    directory = shutil.copytree(template, parent / f"{template.name}-{name}")
    set_env(directory, **{**SECRETS, KEY: None, **values})
    (directory / ".env").chmod(0o600)
    return directory


def _append(directory: Path, text: str, name: str = ".env") -> Path:
    with (directory / name).open("a") as stream:
        stream.write(text)
    return directory


class _Tasks:
    """Tasks, each of which must fail with some words, or succeed where there are none."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        words: str,
        module: str,
        directory: Path,
        *,
        extra: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        number = len(self.tasks)
        self.options.append({"project_src": str(directory), **options})
        self.tasks.append(
            {
                "name": f"{name} | {words}",
                f"selfhost.appwrite.{module}": f"{{{{ options[{number}] }}}}",
                "register": f"result{number}",
                "ignore_errors": True,
                **(extra or {}),
            }
        )

    def run(self, world: World, *projects: Path, first: Sequence[dict[str, Any]] = (), **environ: str) -> Play:
        """All of them, then their results kept as facts, and a failure."""
        results = [f"result{number}" for number in range(len(self.tasks))]
        end = [
            {"set_fact": {"kept": f"{{{{ [{', '.join(results)}] }}}}", "cacheable": True}},
            {"name": "The end | requested", "fail": {}},
        ]
        return Play.read(*world.run([*first, *self.tasks, *end], self.options, projects, environ))


def _check(world: World, play: Play, secrets: Iterable[str], others: Iterable[str] = ()) -> None:
    """Every task went as foreseen, nothing is found, and what looks like a fingerprint is one, also of other values."""
    assert "PLAY RECAP" in play.output, play.output
    for name, result in play.results.items():
        words = name.partition(" | ")[2]
        assert (play.states[name] == "fatal") == bool(words) and words in str(result.get("msg", "")), (name, result)
    secrets = set(secrets)
    wanted = search(frozenset(secrets))
    channels = world.channels()
    found = {name: leaks for name, text in channels.items() if (leaks := [*wanted(text), *hashes_in(text, secrets)])}
    assert not found, "\n".join(
        f"{name}: {leaks[:5]}\n{_around(channels[name], leaks[0])}" for name, leaks in found.items()
    )
    assert GONE not in channels["files"]
    told = set(re.findall(r"fingerprint\W{1,8}([0-9a-f]{16})\b", "".join(channels.values())))
    assert told and told <= {fingerprint(secret) for secret in secrets.union(others)}
    print(
        f"channels: {len(channels)}, of {sum(map(len, channels.values()))} characters; tasks: {len(play.results)}; processes: {world.executed()}; "
        f"secrets: {len(secrets)}; pieces in all spellings: {wanted.count}; found: {len(found)}"
    )


def _around(text: str, piece: str) -> str:
    place = text.find(piece)
    return text[max(0, place - 300) : place + 300]


@pytest.mark.nightly("test_applied, and every module() and playbook() of a test")
def test_refused(world, _template, tmp_path):
    plain, keyed = _copy(_template, tmp_path, "plain"), _copy(_template, tmp_path, "keyed", **{KEY: KEYS[0]})
    broken = _append(_copy(_template, tmp_path, "broken"), f"_APP_DB_PASS='{KEYS[0]}\n")
    invalid = _copy(_template, tmp_path, "invalid")
    (invalid / "docker-compose.yml").chmod(0o600)
    (invalid / "docker-compose.yml").write_text(
        f'services: {{appwrite: {{image: a, environment: ["_APP_SMTP_PASSWORD={LITERAL}${{"]}}}}'
    )
    tasks = _Tasks()

    def refused(name: str, words: str, directory: Path = plain, module: str = "security", **options: Any) -> None:
        tasks.add(name, words, module, directory, **options)

    refused("another setting", "CIDR", encryption_key={"key": KEYS[0]}, console_access={"ips": ["10.0.0.0/8"]})
    refused(
        "a list for a variable",
        "is a list",
        encryption_key={"key": KEYS[0]},
        env={"variables": {"_APP_SMTP_PASSWORD": [KEYS[1]]}},
    )
    refused(
        "a list for a key", "is not text", encryption_key={"key": [KEYS[0]]}, console_access={"ips": ["10.0.0.0/8"]}
    )
    refused("no such option", "Unsupported parameters", encryption_key={"key": KEYS[0], "no_such": KEYS[1]})
    refused("text for options", "dict", encryption_key=KEYS[0])
    refused("a list for options", "dict", encryption_key=[KEYS[0]])
    refused("a list for variables", "dict", env={"variables": [KEYS[0]]})
    refused("broken content", "compose would reject it", env={"content": f"_APP_DB_PASS='{KEYS[0]}"})
    refused("unknown name", "is not a variable", env={"variables": {"_APP_DB_PAS": KEYS[0]}})
    refused("a key as a name", "is not a variable", env={"variables": {KEYS[0]: "x"}})
    refused("a key that can be a name", "is not a variable", env={"variables": {NAME: "x"}})
    refused("a key as an allowed name", "is not a valid name", env={"variables": {KEYS[0]: "x"}, "unknown": "allow"})
    refused("a wrapped key", "is not a variable", env={"content": f"_APP_LOGGING_CONFIG={WRAPPED[0]}\n{WRAPPED[1]}=\n"})
    refused("alphabet", "break its DSN", env={"variables": {"_APP_DB_PASS": KEYS[0] + "+"}})
    refused("NUL", "cannot be written", module="encryption_key", key=KEYS[0] + "\0")
    refused("short", "shorter than 16", module="encryption_key", key=KEYS[0][:15])
    refused("another key", "already set", keyed, "encryption_key", key=KEYS[1])
    refused("broken file", "compose rejects", broken)
    refused("broken rollback", "compose rejects", keyed, "apply", rollback_file=str(broken / ".env"))
    refused("broken compose file", "rejects the project", invalid, "instance_info")
    play = tasks.run(world, plain, keyed, broken, invalid, ANSIBLE_PIPELINING="true")
    _check(world, play, ALL, ["x", KEYS[0] + "+", KEYS[0] + "\0", KEYS[0][:15]])


@pytest.fixture
def _engine(_template):
    """Runs docker and removes in the end what it made."""
    made: list[tuple[str, str]] = []

    def create(kind: str, *arguments: str) -> None:
        made.append((kind, run("docker", kind, "create", *arguments).strip()))

    yield create
    for kind, name in made:
        run("docker", kind, "rm", name)


@pytest.mark.nightly("test_module.py, test_applied")
def test_written_and_broken_off(world, _template, tmp_path, _engine):
    plain, pasted = _copy(_template, tmp_path, "plain"), _copy(_template, tmp_path, "pasted")
    killed, broken = _copy(_template, tmp_path, "killed"), _copy(_template, tmp_path, "broken")
    sticky, split = _copy(_template, tmp_path, "sticky", **{KEY: KEYS[0]}), _copy(_template, tmp_path, "split")
    _append(pasted, f"_APP_LOGGING_CONFIG=prefix${TAIL}\nOURS={WRAPPED[0]}\n{WRAPPED[1]}=\n")
    _engine("volume", f"{sticky.name}_appwrite-mariadb")
    image = run("docker", "compose", "config", "--images", "appwrite", cwd=split).split()[0]
    for service, key in zip(("appwrite", "appwrite-worker-mails"), KEYS, strict=True):
        labels = {"project": split.name, "service": service, "oneoff": "False"}
        _engine(
            "container",
            *(word for name, value in labels.items() for word in ("--label", f"com.docker.compose.{name}={value}")),
            "--env",
            f"{KEY}={key}",
            image,
        )
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text("#!/bin/sh\nkill -KILL $PPID\n")
    (programs / "docker").chmod(0o755)
    # An error that nobody foresaw cannot be had otherwise: what is foreseen is handled.
    (programs / "sitecustomize.py").write_text(
        f"import os\ndef memfd_create(*_arguments):\n    raise RuntimeError(open({str(broken / '.env')!r}).read())\nos.memfd_create = memfd_create\n"
    )

    wish = {
        "encryption_key": {"key": KEYS[0]},
        "https": {"certificate_email": "admin@example.com"},
        "console_access": {"root_only": False, "emails": ["ada@example.com"], "ips": ["2001:db8::7"]},
        "env": {"variables": NEW},
    }
    tasks = _Tasks()
    tasks.add("foretold", "", "security", plain, **wish, extra={"check_mode": True})
    tasks.add("written", "", "security", plain, **wish)
    tasks.add("looked at", "", "instance_info", plain)
    tasks.add("from a template", "", "env", plain, content=(pasted / ".env").read_text(), unknown="warn")
    tasks.add("names and pieces", "", "instance_info", pasted)
    tasks.add(
        "killed", "odule", "security", killed, **wish, extra={"environment": {"PATH": f"{programs}:/usr/bin:/bin"}}
    )
    tasks.add(
        "internal error",
        "internal error (RuntimeError at",
        "security",
        broken,
        **wish,
        extra={"environment": {"PYTHONPATH": str(programs)}},
    )
    tasks.add(
        "sticky", "cannot be changed in .env alone", "security", sticky, env={"variables": {"_APP_DB_PASS": NAME}}
    )
    tasks.add("containers disagree", "disagree about it", "encryption_key", split)
    play = tasks.run(world, plain, pasted, killed, broken, sticky, split)
    assert read_env(plain)[KEY] == KEYS[0] and KEY not in read_env(killed)
    _check(world, play, ALL, ["prefix"])


@small("apply")
def test_applied(world, stack):
    """The role on a running project, and a service that prints every secret before it fails."""
    set_env(stack.directory, **{name: value for name, value in SECRETS.items() if "DB" not in name})
    _append(stack.directory, f"_APP_LOGGING_CONFIG=prefix${TAIL}\n")
    (stack.directory / ".env").chmod(0o600)
    tasks = _Tasks()
    role = {
        "include_role": {"name": "selfhost.appwrite.appwrite_security"},
        "vars": {
            "appwrite_security_project_src": str(stack.directory),
            "appwrite_security_variables": {"_APP_DOMAIN": "appwrite.example.com"},
        },
    }
    tasks.add("looked at", "", "instance_info", stack.directory)
    play = tasks.run(world, stack.directory, first=[role])
    key = stack.env()[KEY]
    _check(world, play, [*ALL, key], ["prefix"])

    secret, worker = SECRETS["_APP_SMTP_PASSWORD"], "appwrite-worker-mails"
    set_env(stack.directory, _APP_DOMAIN="other.example.com")
    stack.project.fail(
        worker,
        "\n".join(
            [
                f"cannot log in with {secret}",
                f"new PDO('mysql:host', 'user', '{key[:15]}...')",
                json.dumps([secret]),
                repr(secret),
                urllib.parse.quote(secret),
                f"Basic {base64.b64encode(b'user:' + key.encode()).decode()}",
                *SECRETS["_APP_VCS_GITHUB_PRIVATE_KEY"].splitlines(),
                "",
            ]
        ),
    )
    (stack.directory / ".testbed" / worker / "fail").chmod(0o600)
    tasks = _Tasks()
    tasks.add("applied", f"the service {worker} ", "apply", stack.directory)
    play = tasks.run(world)
    _check(world, play, [*ALL, key], ["prefix"])
    assert "cannot log in with ****" in play.output
