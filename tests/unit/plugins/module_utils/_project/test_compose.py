# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker compose as a subprocess: what it is asked, what its answers and errors become, and that no secret passes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._project import compose as _compose
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose, ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import service_environment

SECRET = 'not-a-real-secret-$x"y\\z'

# --- errors: recorded with `LANG=C` on Debian 12, 2026-11-24; name, command, standard error, kind, a part of the words ---

UNREACHABLE = [
    (
        "docker 28.2.2",
        ["ps"],
        "Cannot connect to the Docker daemon at unix:///nonexistent. Is the docker daemon running?\n",
    ),
    (
        "docker 28.2.2, TCP",
        ["ps"],
        "Cannot connect to the Docker daemon at tcp://127.0.0.1:9. Is the docker daemon running?\n",
    ),
    (
        "docker 20.10.24",
        ["ps"],
        "Cannot connect to the Docker daemon at unix:///nonexistent. Is the docker daemon running?\n",
    ),
    (
        "compose 2.26.1",
        ["compose", "up"],
        "Cannot connect to the Docker daemon at unix:///nonexistent. Is the docker daemon running?\n",
    ),
]
_DENIED = (
    'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http://%%2Fvar%%2Frun%%2F'
    'docker.sock/v1.%s/containers/json": dial unix /var/run/docker.sock: connect: permission denied\n'
)
DENIED = [
    ("docker 28.2.2", ["ps"], _DENIED % "50"),
    ("docker 20.10.24", ["ps"], _DENIED % "24"),
    ("compose 2.26.1", ["compose", "up"], _DENIED % "45"),
]
MISSING = [
    (
        "docker 28.2.2",
        ["compose", "--ansi", "never", "config"],
        "unknown flag: --ansi\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n\nRun 'docker --help' for more information\n",
    ),
    (
        "docker 20.10.24",
        ["compose", "--ansi", "never", "config"],
        "unknown flag: --ansi\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\nOptions:\n"
        '      --config string      Location of client config files (default\n                           "/home/user/.docker")\n',
    ),
]
# all compose 2.26.1
REJECTED = [
    ("bad YAML", "yaml: line 4: mapping values are not allowed in this context\n", "line 4"),
    (
        "bad reference",
        "invalid interpolation format for services.a.environment.[].\nYou may need to escape any $ with another $.\nA=${broken\n",
        "services.a.environment",
    ),
    ("no such file", "open /tmp/p/nosuch.yml: no such file or directory\n", "nosuch.yml"),
    ("a space in a name", "failed to read /tmp/p/bad.env: line 1: key cannot contain a space\n", "line 1"),
]


@pytest.mark.parametrize(
    ("command", "stderr", "kind", "part"),
    [
        *((command, stderr, "unreachable", "systemctl start docker") for _name, command, stderr in UNREACHABLE),
        *((command, stderr, "denied", "become") for _name, command, stderr in DENIED),
        *((command, stderr, "missing", "install the compose plugin") for _name, command, stderr in MISSING),
        *((["compose", "config"], stderr, "rejected", part) for _name, stderr, part in REJECTED),
        (["compose", "up"], "no such service: nosuch\n", "failed", "no such service: nosuch"),
        (["compose", "up"], "", "failed", "it gave no reason"),
    ],
)
def test_errors(tmp_path, command, stderr, kind, part):
    error = Compose(str(tmp_path))._error(" ".join(command), stderr)
    assert (error.kind, part in str(error), "\n" in str(error)) == (kind, True, False), str(error)


def test_value_in_an_error_of_compose_is_hidden(tmp_path):
    """Recorded from compose 2.26.1 on 2026-11-24: it prints the rest of the line that it could not read."""
    error = Compose(str(tmp_path))._error(
        "compose config", 'failed to read .env: line 3: unterminated quoted value "not a real secret\n'
    )
    assert "line 3" in str(error) and "real" not in str(error) and "secret" not in str(error)


# --- the real docker and compose, without an engine ---


@pytest.fixture
def compose(project, without_engine):
    return Compose(str(project))


def test_config(compose):
    config = compose.config()
    assert config["name"] == "appwrite"
    assert service_environment(config)["appwrite"]["_APP_DOMAIN"] == "appwrite.example.com"


def test_config_with_a_candidate(compose, project):
    """By memory: nothing is beside the file, and the file stays as it is."""
    before = (project / ".env").read_bytes()
    config = compose.config(b'_APP_DOMAIN="a$$b \\"c\\" $$$$"\n_APP_DB_PASS=x\n')
    assert service_environment(config)["appwrite"] == {"_APP_DOMAIN": 'a$b "c" $$'}
    assert service_environment(config)["mariadb"] == {"MYSQL_PASSWORD": "x"}
    assert (project / ".env").read_bytes() == before and sorted(os.listdir(project)) == [".env", "docker-compose.yml"]


def test_hashes_and_version(compose):
    assert set(compose.hashes()) == {"appwrite", "appwrite-worker-certificates", "mariadb"}
    assert all(len(digest) == 64 for digest in compose.hashes().values())
    assert tuple(compose.version()) >= _compose.OLDEST


@pytest.mark.parametrize(
    "ask", [lambda c: c.containers("p"), lambda c: c.volumes(), lambda c: c.execute("x", ["vars"])]
)
def test_engine_down(compose, ask):
    with pytest.raises(ComposeError, match="the Docker Engine does not answer; start it") as caught:
        ask(compose)
    assert caught.value.kind == "unreachable"


def test_engine_down_with_up(compose):
    with pytest.raises(ComposeError) as caught:
        compose.up(10, "never")
    assert caught.value.kind == "unreachable"


@pytest.mark.parametrize(
    ("text", "part"), [("services:\n  a:\n  image: x\n   b: 1\n", "line 4"), ("services: [\n", "yaml"), ("a: b\n", "a")]
)
def test_file_that_compose_rejects(compose, project, text, part):
    (project / "docker-compose.yml").write_text(text)
    with pytest.raises(ComposeError, match="docker compose config rejects the project: .*%s" % part) as caught:
        compose.config()
    assert caught.value.kind == "rejected"


def test_options_reach_compose(project, without_engine):
    (project / "more.yml").write_text("services:\n  appwrite:\n    profiles: [more]\n    hostname: more\n")
    (project / "other.env").write_text("_APP_DOMAIN=other.example.com\n")
    compose = Compose(str(project), str(project / "other.env"), ["docker-compose.yml", "more.yml"], "named", ["more"])
    config = compose.config()
    assert (config["name"], config["services"]["appwrite"]["hostname"]) == ("named", "more")
    assert config["services"]["appwrite"]["environment"]["_APP_DOMAIN"] == "other.example.com"


def test_leftovers_of_the_shell(project, without_engine, monkeypatch):
    for name in ("_APP_DOMAIN", "COMPOSE_PROJECT_NAME", "OPEN_RUNTIMES_X", "DOCKERHUB_PULL_USERNAME"):
        monkeypatch.setenv(name, "leftover")
    clean, told = Compose(str(project)), Compose(str(project), clean_environment=False)
    assert service_environment(clean.config())["appwrite"]["_APP_DOMAIN"] == "appwrite.example.com"
    assert service_environment(told.config())["appwrite"]["_APP_DOMAIN"] == "leftover"
    assert (clean.config()["name"], told.config()["name"]) == ("appwrite", "leftover")
    assert "leftover" not in clean.environment.values()


# --- docker as it cannot be had: its own absence, and answers that would need an engine ---


def test_docker_missing(project, without_docker):
    compose = Compose(str(project))
    assert not compose.installed
    with pytest.raises(ComposeError, match="docker is not installed on this host") as caught:
        compose.config()
    assert caught.value.kind == "missing"


def test_docker_that_may_not_be_run(project, tmp_path, without_docker, monkeypatch):
    """Root may run whatever has a run bit, so a directory stands for what the kernel refuses to run."""
    (tmp_path / "fake" / "docker").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "fake"))
    with pytest.raises(ComposeError, match="may not be run by this user; use become") as caught:
        Compose(str(project)).config()
    assert caught.value.kind == "denied"


def test_directory_that_is_gone(project, without_engine):
    compose = Compose(str(project / "gone"))
    with pytest.raises(ComposeError, match="project_src: .*gone is gone"):
        compose.config()


def test_answer_that_is_no_json(project, fake_docker):
    """No release within reach prints another format, so a program does that stands for one."""
    fake_docker("echo name: appwrite\n")
    with pytest.raises(ComposeError, match="did not print JSON"):
        Compose(str(project)).config()


def test_docker_that_a_short_path_does_not_name(project, without_docker, tmp_path, monkeypatch):
    """A task's PATH may lack the directory of a docker that is there, and with it the data."""
    (tmp_path / "snap").mkdir()
    (tmp_path / "snap" / "docker").write_text("#!/bin/sh\necho 2.40.3\n")
    (tmp_path / "snap" / "docker").chmod(0o755)
    assert Compose(str(project)).trace() is None
    monkeypatch.setattr(_compose, "_PLACES", (str(tmp_path / "snap"),))
    compose = Compose(str(project))
    assert compose.installed and compose.trace() == "the program docker" and tuple(compose.version()) == (2, 40, 3)


@pytest.mark.parametrize("trace", ["socket", "DOCKER_HOST"])
def test_traces_of_an_engine(project, without_docker, tmp_path, monkeypatch, trace):
    if trace == "socket":
        (tmp_path / "socket").touch()
        monkeypatch.setattr(_compose, "_TRACES", (str(tmp_path / "none"), str(tmp_path / "socket")))
    else:
        monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    compose = Compose(str(project))
    assert not compose.installed and compose.trace().endswith(trace)


def test_program_that_hangs(project, fake_docker, tmp_path):
    """The real one hangs only where an engine does."""
    fake_docker('sleep 60 &\necho $! > "%s"\nwait\n' % (tmp_path / "child"))
    with pytest.raises(ComposeError, match="docker compose up did not end within 2 seconds"):
        Compose(str(project)).up(2, "policy")
    child = int((tmp_path / "child").read_text())
    with pytest.raises(ProcessLookupError):  # nor does what it has started go on by itself
        for _unused in range(100):
            os.kill(child, 0)
            if "\nState:\tZ" in Path(f"/proc/{child}/status").read_text("utf-8"):
                raise ProcessLookupError
            time.sleep(0.02)


def test_secrets_do_not_become_arguments(project, fake_docker, tmp_path):
    """The real one keeps no record of its arguments."""
    fake_docker('echo "$*" >> "%s"\necho "{}"\n' % (tmp_path / "arguments"))
    compose = Compose(str(project))
    compose.config(SECRET.encode())
    compose.execute("container", ["sh", "-s"], SECRET)
    said = (tmp_path / "arguments").read_text()
    assert SECRET not in said and said.splitlines()[1] == "exec -i container sh -s"


def test_script_goes_in_by_standard_input(project, fake_docker):
    """A container to run it in needs an engine."""
    fake_docker("cat\n")
    assert Compose(str(project)).execute("container", ["sh", "-s"], SECRET) == SECRET


def inspected(**state):
    return {
        "Id": "c1",
        "Image": "sha256:0",
        "RestartCount": 2,
        "State": {"Status": "running", "ExitCode": 0, "StartedAt": "2026-11-24T03:00:00.1Z", **state},
        "Config": {
            "Env": ["_APP_ENV=production", "A=b=c", "EMPTY=", "NO_SIGN"],
            "Labels": {_compose.SERVICE_LABEL: "appwrite", _compose.HASH_LABEL: "abc", _compose.ONEOFF_LABEL: "False"},
        },
    }


def test_container():
    container = _compose._container(inspected(Health={"Status": "healthy"}))
    assert (container.id, container.service, container.status, container.health, container.restarts) == (
        "c1",
        "appwrite",
        "running",
        "healthy",
        2,
    )
    assert (container.config_hash, container.image, container.exit_code) == ("abc", "sha256:0", 0)
    assert container.environment == {"_APP_ENV": "production", "A": "b=c", "EMPTY": ""}
    assert _compose._container(inspected()).health is None


def test_containers_without_those_of_run(project, fake_docker, tmp_path):
    """Containers need an engine; the integration tests ask a real one."""
    oneoff = inspected()
    oneoff["Config"]["Labels"][_compose.ONEOFF_LABEL] = "True"
    (tmp_path / "inspect.json").write_text(json.dumps([oneoff, inspected()]))
    fake_docker('if [ "$1" = ps ]; then echo c1; else cat "%s"; fi\n' % (tmp_path / "inspect.json"))
    assert [container.id for container in Compose(str(project)).containers("appwrite")] == ["c1"]


# --- masking ---


def test_without_values():
    hidden = _compose._without_values
    assert (
        hidden('unexpected character "+" in variable name near "not-a-real-secret\\nA=b"')
        == 'unexpected character "+" in variable name near (hidden)'
    )
    assert hidden("bad value 'not-a-real-secret' here") == "bad value (hidden) here"
    assert (
        hidden('line 2: unexpected character "!" in variable name "not-a-real!secret"')
        == 'line 2: unexpected character "!" in variable name (hidden)'
    )
    assert hidden('Invalid template: "not-a-real-${secret"') == "Invalid template: (hidden)"
    assert hidden("yaml: unknown anchor 'not-a-real-secret' referenced") == "yaml: unknown anchor (hidden) referenced"
    text = "invalid interpolation format for services.a.environment.[].\nYou may need to escape any $ with another $.\n"
    assert hidden(text + "A=not-a-real${ secret\nof two lines") == text + "(hidden)"
    assert hidden("no such service: near") == "no such service: near"


def test_without_decoration():
    text = (
        'time="2026-11-24T06:37:09Z" level=warning msg="The \\"tTail\\" variable is not set. Defaulting to a blank string."\n'
        'time="2026-11-24T06:37:09Z" level=error msg="it broke"\n'
        "\n Container appwrite  Error \n"
        "See 'docker --help'.\n"
    )
    assert _compose._without_decoration(text) == "it broke\nContainer appwrite  Error"


def test_end_of_a_long_error(project, fake_docker):
    fake_docker("seq -f 'line %g' 9 >&2; exit 1\n")
    with pytest.raises(ComposeError, match="rejects the project: line 5; line 6; line 7; line 8; line 9$"):
        Compose(str(project)).config()


# --- what is read out of the configuration ---


def test_unescaped():
    assert _compose._unescaped({"a": ["$$x", "$$$$", 1, None], "b": "a$b"}) == {"a": ["$x", "$$", 1, None], "b": "a$b"}


@pytest.mark.parametrize(
    ("printed", "old"),
    [
        ("2.26.1-4", False),
        ("v2.26.0", False),
        ("2.25.0", True),
        ("1.29.2", True),
        ("5.0.0", False),
        ("2.40.3-desktop.1", False),
        ("dev", False),
    ],
)
def test_version(project, fake_docker, printed, old):
    """Other releases than the one that is installed cannot be had here; each prints its version alone on a line."""
    fake_docker("echo %s\n" % printed)
    assert (tuple(Compose(str(project)).version()) < _compose.OLDEST) == old
