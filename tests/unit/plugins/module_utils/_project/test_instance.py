# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One installation: its files, its release, what it passes to whom, and whether anyone uses it yet."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, ClassVar

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Published
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import connections as _connections
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import instance as _instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import landscape
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import Compose, ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.mariadb import MARIADB
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.mongodb import MONGODB
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.postgresql import POSTGRESQL
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.opened import opened

KEY = catalogue.KEY
# docker 28.2.2 without the compose plugin, recorded on Debian 12, 2026-11-24
NO_PLUGIN = "printf 'unknown flag: --ansi\\n\\nUsage:  docker [OPTIONS] COMMAND [ARG...]\\n\\n' >&2; exit 125\n"


def instance_of(directory, **options):
    return Instance(
        **{
            "project_src": str(directory),
            "env_file": None,
            "files": [],
            "project_name": None,
            "profiles": [],
            "appwrite_version": None,
            "clean_environment": True,
            **options,
        }
    )


def loaded(directory, text=None, **options):
    instance = instance_of(directory, **options)
    if text is None:
        text = (directory / ".env").read_text()
    else:
        (directory / ".env").write_text(text)
    instance.load(parse(text))
    return instance


def container(service, environment=None, status="running", **more):
    fields = {
        "id": "id-of-" + service,
        "service": service,
        "status": status,
        "health": None,
        "started_at": "",
        "restarts": 0,
        "exit_code": 0,
        "config_hash": "",
        "image": "",
        "environment": environment or {},
        **more,
    }
    return Container(**fields)


# --- the directory and its files ---


@pytest.mark.parametrize(("make", "part"), [(None, "does not exist"), ("file", "is not a directory")])
def test_project_src_that_is_none(tmp_path, make, part):
    if make:
        (tmp_path / "nowhere").touch()
    with pytest.raises(AppwriteError, match="^project_src: .*nowhere %s; name the directory" % part):
        instance_of(tmp_path / "nowhere")


def test_not_a_compose_project(tmp_path, without_docker):
    with pytest.raises(AppwriteError, match="^project_src: .* is not a compose project .*docker-compose.yml"):
        loaded(tmp_path, "")


@pytest.mark.parametrize(
    ("present", "found"),
    [
        (["docker-compose.yml"], ["docker-compose.yml"]),
        (["compose.yaml", "compose.yml", "docker-compose.yml"], ["compose.yaml"]),
        (["compose.yml", "docker-compose.yml"], ["compose.yml"]),
        (["docker-compose.yaml", "docker-compose.yml"], ["docker-compose.yml"]),
        (["docker-compose.yml", "docker-compose.override.yml"], ["docker-compose.yml", "docker-compose.override.yml"]),
        (
            ["docker-compose.yml", "docker-compose.override.yaml"],
            ["docker-compose.yml", "docker-compose.override.yaml"],
        ),
        (["compose.yaml", "compose.override.yml"], ["compose.yaml", "compose.override.yml"]),
        (["compose.yaml", "compose.override.yml", "compose.override.yaml"], ["compose.yaml", "compose.override.yml"]),
        (["compose.yaml", "docker-compose.override.yml"], ["compose.yaml", "docker-compose.override.yml"]),
    ],
)
@pytest.mark.parametrize("asked", ["us", "compose"])
def test_files_as_compose_finds_them(tmp_path, without_engine, present, found, asked):
    """Compose names the files that it reads in no JSON, but each marks a service of its own."""
    for name in present:
        (tmp_path / name).write_text("services:\n  %s:\n    image: x\n" % name.replace(".", "-"))
    instance = instance_of(tmp_path)
    if asked == "us":
        assert [os.path.basename(path) for path in instance.compose_files({})] == found
    else:
        assert sorted(instance.compose.config()["services"]) == sorted(name.replace(".", "-") for name in found)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"COMPOSE_FILE": "a.yml"}, ["a.yml"]),
        ({"COMPOSE_FILE": "a.yml:b.yml"}, ["a.yml", "b.yml"]),
        ({"COMPOSE_FILE": "a.yml;b.yml", "COMPOSE_PATH_SEPARATOR": ";"}, ["a.yml", "b.yml"]),
    ],
)
def test_compose_file_in_the_env_file(project, without_engine, values, found):
    for name in ("a.yml", "b.yml"):
        (project / name).write_text("services:\n  %s:\n    image: x\n" % name[0])
    assert [os.path.relpath(path, project) for path in instance_of(project).compose_files(values)] == found
    instance = loaded(project, "".join('%s="%s"\n' % item for item in values.items()))
    assert len(instance.services) == len(found)


def test_files_option_beats_the_env_file(project):
    assert instance_of(project, files=["docker-compose.yml"]).compose_files({"COMPOSE_FILE": "a.yml"}) == [
        str(project / "docker-compose.yml")
    ]


def test_files_that_are_missing(project):
    with pytest.raises(AppwriteError, match="^files: .*nowhere.yml does not exist"):
        instance_of(project, files=["nowhere.yml"]).compose_files({})
    with pytest.raises(AppwriteError, match="COMPOSE_FILE.*nowhere.yml does not exist"):
        instance_of(project).compose_files({"COMPOSE_FILE": "nowhere.yml"})


@pytest.mark.parametrize(
    ("option", "path"), [(None, ".env"), ("other.env", "other.env"), ("/elsewhere/.env", "/elsewhere/.env")]
)
def test_env_path(project, option, path):
    assert instance_of(project, env_file=option).env_path == os.path.join(project, path)


# --- the release ---

IMAGES = {
    "plain": ("appwrite/appwrite:1.8.1", "1.8.1"),
    "v": ("appwrite/appwrite:v1.6.2", "1.6.2"),
    "registry with a port": ("registry.example.com:5000/mirror/appwrite:1.7.4", "1.7.4"),
    "digest": ("appwrite/appwrite:1.9.0@sha256:" + "0" * 64, "1.9.0"),
    "candidate": ("appwrite/appwrite:1.9.5-rc.1", "1.9.5"),
    "variables": ("${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-1.9.6}", "1.9.6"),
    "quoted": ('"appwrite/appwrite:1.4.14" # theirs', "1.4.14"),
    "no patch": ("appwrite/appwrite:1.6", "1.6.2"),
    "no patch, of a mirror": ("registry.example.com:5000/mirror/appwrite:v1.5", "1.5.11"),
    "no patch, and newer than all that is known": ("appwrite/appwrite:7.0", "7.0.0"),
    "one number": ("appwrite/appwrite:1", "1.9.6"),
}


@pytest.mark.parametrize(("image", "release"), IMAGES.values(), ids=IMAGES)
def test_release(project, without_docker, image, release):
    (project / "docker-compose.yml").write_text(
        f"services:\n  appwrite-console:\n    image: appwrite/console:7.4.7\n  appwrite:\n    image: {image}\n"
    )
    instance = loaded(project)
    newer = ["Appwrite 7.0.0 is newer"] if release == "7.0.0" else []
    assert (instance.release, [text.partition(" than ")[0] for text in instance.warnings]) == (release, newer)


@pytest.mark.parametrize("docker", ["with", "without"])
def test_release_from_a_variable(project, request, docker):
    request.getfixturevalue("without_engine" if docker == "with" else "without_docker")
    (project / "docker-compose.yml").write_text(
        "services:\n  appwrite:\n    image: ${_APP_IMAGE:-appwrite/appwrite}:${_APP_VERSION:-1.9.6}\n"
    )
    assert loaded(project, "_APP_VERSION=1.9.5\n").release == "1.9.5"


@pytest.mark.parametrize(
    "image",
    [
        "appwrite/appwrite:latest",
        "appwrite/appwrite",
        "appwrite/appwrite:20260101",
        "other/image:1.8.1",
        "appwrite/appwrite@sha256:" + "0" * 64,
    ],
)
def test_release_that_cannot_be_read(project, without_docker, image):
    (project / "docker-compose.yml").write_text(f"services:\n  appwrite:\n    image: {image}\n")
    instance = loaded(project)
    assert instance.release == catalogue.NEWEST
    assert "cannot be read from the image tags" in instance.warnings[-1] and "appwrite_version" in instance.warnings[-1]


def of_images(monkeypatch, image, environment, **services):
    """A project of this image, and what the image says of itself; C(None) if it is not here."""
    configured(monkeypatch, {"appwrite": {"image": image, "environment": {}}, **services})
    answer = {} if environment is None else {image: environment}
    monkeypatch.setattr(
        Compose, "image_environments", lambda _self, names: {k: v for k, v in answer.items() if k in names}
    )
    monkeypatch.setattr(Compose, "containers", lambda *_unused: [])


OF_IMAGES = {
    "a digest": ("appwrite/appwrite@sha256:" + "0" * 64, "1.7.4", "1.7.4"),
    "an image of one's own": ("shop/backend:2026-01", "1.8.1", "1.8.1"),
    "a tag that floats": ("appwrite/appwrite:latest", "1.9.0", "1.9.0"),
    "a series, and the image is of it": ("appwrite/appwrite:1.6", "1.6.1", "1.6.1"),
    "a series, and the image is of another": ("appwrite/appwrite:1.6", "1.9.6", "1.6.2"),
    "a tag beats the image": ("appwrite/appwrite:1.8.1", "1.9.6", "1.8.1"),
    "numbers of one's own": ("shop/appwrite:0.3.0", "1.8.1", "1.8.1"),
}


@pytest.mark.parametrize(("image", "said", "release"), OF_IMAGES.values(), ids=OF_IMAGES)
def test_release_that_the_image_says(project, monkeypatch, image, said, release):
    of_images(monkeypatch, image, {"_APP_VERSION": said, "_APP_HOME": "https://appwrite.io"})
    instance = loaded(project, "")
    assert (instance.release, instance.warnings) == (release, [])


@pytest.mark.parametrize(
    ("image", "said"), [("shop/backend:1", None), ("shop/backend:1", "dev"), ("appwrite/appwrite:latest", None)]
)
def test_release_that_nothing_says(project, monkeypatch, image, said):
    of_images(monkeypatch, image, said and {"_APP_VERSION": said, "_APP_HOME": "https://appwrite.io"})
    instance = loaded(project, "")
    assert (instance.release, instance.release_is_known) == (catalogue.NEWEST, False)


@pytest.mark.parametrize(
    "answer",
    [
        "const APP_VERSION_STABLE = '1.6.1'\n",
        "const APP_VERSION_STABLE = '1.6.1'\nconst APP_VERSION_STABLE = '1.6.1'\n",
    ],
)
def test_release_that_a_container_is_asked_for(project, monkeypatch, answer):
    of_images(monkeypatch, "shop/backend:1", {"_APP_VERSION": "dev", "_APP_HOME": "https://appwrite.io"})
    monkeypatch.setattr(Compose, "containers", lambda *_unused: [container("redis"), container("appwrite")])
    asked = []
    monkeypatch.setattr(Instance, "_ask_engine", lambda _self: [])
    monkeypatch.setattr(
        Compose,
        "docker",
        lambda _self, arguments, **_more: (
            asked.append(arguments[1]) or subprocess.CompletedProcess(arguments, 2, answer, "")
        ),
    )
    instance = loaded(project, "")
    assert (instance.release, asked) == ("1.6.1", ["id-of-appwrite"])


@pytest.mark.parametrize(
    "image", ["appwrite/appwrite:1.3.8", "appwrite/appwrite:1.3", "registry.example.com/x/appwrite:0.15.3"]
)
def test_release_that_is_too_old(project, without_docker, image):
    (project / "docker-compose.yml").write_text(f"services:\n  appwrite:\n    image: {image}\n")
    with pytest.raises(
        AppwriteError, match="^Appwrite (1.3.8|1.3.0|0.15.3) is older than 1.4, .* upgrade Appwrite first"
    ):
        loaded(project)
    with pytest.raises(AppwriteError, match="^Appwrite 1.3.8 is older than 1.4, .* upgrade Appwrite first$"):
        loaded(project, appwrite_version="1.3.8")
    assert loaded(project, appwrite_version="1.4.0").release == "1.4.0"


def test_services_of_appwrite_are_told_by_their_images(project, monkeypatch):
    services = {
        "jobs": {"image": "shop/backend:1", "environment": {}},
        "hooks": {"build": {"context": "."}, "environment": None},
        "site": {"image": "shop/site:1", "environment": {"_APP_VERSION": "1"}},
        "cron": {"image": "mirror.example.com/appwrite@sha256:" + "0" * 64},
        "keyed": {"image": "shop/site:1", "environment": {KEY: ""}},
    }
    configured(monkeypatch, services)
    mine = {"_APP_VERSION": "1.8.1", "_APP_HOME": "https://appwrite.io"}
    asked = []

    def environments(_self, names):
        asked.append(sorted(set(names)))
        return {"shop/backend:1": mine, "appwrite-hooks": mine, "shop/site:1": {"_APP_VERSION": "1"}}

    monkeypatch.setattr(Compose, "image_environments", environments)
    assert loaded(project, "").appwrite_services() == ["appwrite", "jobs", "hooks", "cron", "keyed"]
    assert asked == [["appwrite-hooks", services["cron"]["image"], "shop/backend:1", "shop/site:1"]]


def test_no_image_is_asked_if_all_names_are_known(with_volume, monkeypatch):
    asked = []
    monkeypatch.setattr(Instance, "_ask_engine", lambda _self: [])
    monkeypatch.setattr(Compose, "volumes_called", lambda *_unused: [])
    monkeypatch.setattr(Compose, "docker", lambda *_unused, **_more: asked.append(1))
    assert loaded(with_volume, DATABASE).appwrite_services() == ["appwrite"] and not asked


def test_image_with_a_required_variable(project, without_docker):
    """Without compose only the text is known, and this one gives no release; that is a warning and no failure."""
    (project / "docker-compose.yml").write_text(
        "services:\n  appwrite:\n    image: appwrite/appwrite:${_APP_VERSION:?give one}\n"
    )
    assert loaded(project).release == catalogue.NEWEST


def test_stated_release(project, without_docker):
    assert loaded(project, appwrite_version="1.6.2").release == "1.6.2"


@pytest.mark.parametrize("release", ["latest", "1.9", "v1.9.6", "", "1.9.6\n"])
def test_stated_release_that_is_none(project, release):
    with pytest.raises(AppwriteError, match="^appwrite_version: "):
        instance_of(project, appwrite_version=release)


# --- what is passed to whom ---


def test_passed(project, without_engine):
    (project / "docker-compose.yml").write_text(
        (project / "docker-compose.yml").read_text()
        + "  proxy:\n    image: x\n    ports: ['${_APP_HTTP_PORT:-80}:80', '$_APP_HTTPS_PORT:443']\n"
    )
    instance = loaded(project, "_APP_ENV=production\n_APP_HTTPS_PORT=443\n")
    assert instance.passed("_APP_ENV"), "listed and set"
    assert instance.passed("_APP_DB_PASS"), "inside another value"
    assert instance.passed("_APP_HTTP_PORT") and instance.passed("_APP_HTTPS_PORT"), "outside of an environment"
    assert not instance.passed("_APP_REDIS_PASS")
    assert not instance.passed("_APP_DB"), "the beginning of a name is another name"


@pytest.mark.parametrize(
    "listed", ["environment:\n      - {0}\n", "environment:\n      {0}:\n"], ids=["list", "mapping"]
)
def test_passed_though_it_is_not_set_yet(project, without_engine, listed):
    """The file lists it, and so a value would arrive; that it has none so far is why it is being set."""
    (project / "docker-compose.yml").write_text(
        "services:\n  appwrite:\n    image: appwrite/appwrite:1.9.6\n    " + listed.format("_APP_CONSOLE_DOMAIN")
    )
    assert loaded(project, "_APP_ENV=production\n").passed("_APP_CONSOLE_DOMAIN")


def test_drift(project, without_engine, monkeypatch):
    (project / "docker-compose.yml").write_text(
        "services:\n  appwrite:\n    image: appwrite/appwrite:1.9.6\n    environment:\n"
        "      - _APP_ENV\n      - _APP_LOCALE\n      - _APP_DOMAIN=literal.example.com\n"
    )
    instance = loaded(project, "_APP_ENV=production\n_APP_DOMAIN=appwrite.example.com\n_APP_REDIS_HOST=redis\nOURS=1\n")
    monkeypatch.setattr(
        instance.compose,
        "containers",
        lambda *_unused: [
            container("appwrite", {"_APP_ENV": "development", "_APP_DOMAIN": "literal.example.com", "PATH": "/bin"})
        ],
    )
    document = parse((project / ".env").read_text())
    assert instance.drift(document) == [
        {"service": "", "name": "_APP_REDIS_HOST", "kind": "not_passed"},
        {"service": "appwrite", "name": "_APP_DOMAIN", "kind": "overridden"},
        {"service": "appwrite", "name": "_APP_ENV", "kind": "stale"},
    ]


def test_drift_of_a_variable_that_was_removed(project, without_engine, monkeypatch):
    """The container still has what the file no longer says."""
    instance = loaded(project, "_APP_ENV=production\n")
    monkeypatch.setattr(
        instance.compose,
        "containers",
        lambda *_unused: [container("appwrite", {"_APP_ENV": "production", "_APP_DOMAIN": "old.example.com"})],
    )
    assert instance.drift(parse("_APP_ENV=production\n")) == [
        {"service": "appwrite", "name": "_APP_DOMAIN", "kind": "stale"}
    ]


def test_container_keys(project, without_engine, monkeypatch, key):
    instance = loaded(project)
    monkeypatch.setattr(
        instance.compose,
        "containers",
        lambda *_unused: [
            container("appwrite", {KEY: key()}),
            container("appwrite-worker-certificates", {KEY: key()}),
            container("realtime", {KEY: key("b")}),
            container("mariadb", {"MYSQL_PASSWORD": "x"}),
        ],
    )
    assert instance.container_keys() == {key(): ("appwrite", "appwrite-worker-certificates"), key("b"): ("realtime",)}


@pytest.mark.parametrize("text", [f"{KEY}=\n", "_APP_ENV=production\n"], ids=["empty", "no line"])
def test_containers_that_were_created_without_a_key(project, without_engine, monkeypatch, text):
    """The compose file lists it for them, so they have run without one."""
    instance = loaded(project, text)
    monkeypatch.setattr(instance.compose, "containers", lambda *_unused: [container("appwrite"), container("mariadb")])
    assert instance.container_keys() == {"": ("appwrite",)}


def test_container_keys_without_an_engine(project, without_engine):
    assert loaded(project).container_keys() == {}


def test_published(project, without_engine):
    (project / "docker-compose.yml").write_text(
        "services:\n"
        "  front:\n    image: traefik:3\n    command: --a --entrypoints.appwrite_web.forwardedHeaders.insecure\n    ports: ['443:443', '8000-8001:80-81']\n"
        "  nginx:\n    image: nginx\n    ports: [8080:80]\n"
    )
    assert loaded(project).published() == Published("front", (443,), True, ("nginx",))


# --- without docker ---


def test_without_docker_all_but_applying_works(project, without_docker, key):
    instance = loaded(project, f"{KEY}={key()}\n")
    assert not instance.checked and instance.project == "" and instance.services == {}
    assert instance.containers() == [] and instance.container_keys() == {} and instance.published() is None
    assert instance.holds_data().state == "no"
    assert instance.passed("_APP_DB_PASS")


def test_docker_without_compose_is_not_docker_that_is_not_installed(project, fake_docker):
    """The plugin's folder belongs to the system, so a program gives the recorded answer. The engine may well hold a database full of users,
    started by docker-compose or by another account's plugin: a key must not be made up here."""
    fake_docker(NO_PLUGIN)
    instance = loaded(project)
    assert instance.compose.installed and not instance.checked
    assert any("compose plugin" in warning for warning in instance.warnings)
    assert instance.holds_data().state == "unknown"


def test_traces_of_an_engine_without_docker(project, without_docker, monkeypatch):
    """Whoever removed the program may have left the volumes."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert loaded(project).holds_data().state == "unknown"


# --- questions that are asked ahead ---

ROW = landscape.Row("appwrite", "", (), (), "", "appwrite/appwrite:1.9.6", "1")
ALL = ("containers", "hashes", "images", "vars")


@pytest.fixture
def asked(project, without_engine, monkeypatch):
    """Loads the project with an engine whose list has these rows, and returns it with what was asked so far."""

    def load(*rows, text="", expected=ALL, fails=None):
        questions = []

        def answering(name):
            def answer(_compose, *arguments):
                questions.append((name, *map(str, arguments)))
                return {"containers": [container("appwrite", {"_APP_ENV": "a"})], "execute": "printed"}.get(name, {})

            return answer

        for name in ("containers", "hashes", "image_ids", "execute"):
            monkeypatch.setattr(Compose, name, fails if fails and name == "execute" else answering(name))
        listed = [row._replace(directory=str(project), files=(str(project / "docker-compose.yml"),)) for row in rows]
        monkeypatch.setattr(Instance, "_ask_engine", lambda _self: listed)
        (project / ".env").write_text(text)
        instance = instance_of(project)
        instance.load(parse(text), expected=expected)
        return instance, questions

    return load


class Answered:
    """A question whose answer is there at once."""

    def __init__(self, ask):
        answer = ask()
        self.answer = lambda: answer


ROWS = (
    ROW._replace(service="appwrite", id="c2"),
    ROW._replace(service="appwrite", id="c1", oneoff=True),
    ROW._replace(service="mariadb", id="c3", image="mariadb:10.11"),
    ROW._replace(project="other", id="c4"),
)


def test_what_is_expected_is_asked_once(asked):
    instance, questions = asked(*ROWS[:3])
    assert instance.vars("c2") == "printed" and instance.hashes() == instance.image_ids() == {}
    assert instance.containers() is instance.containers()
    assert sorted(question[0] for question in questions) == ["containers", "execute", "hashes", "image_ids"]
    assert ("containers", "appwrite", "False", "['c2', 'c1', 'c3']") in questions, "the list is not asked for again"
    assert ("execute", "c2", "['vars']") in questions, "not in a container of docker compose run"


def test_images_are_asked_for_by_those_of_the_containers(asked):
    """compose need not have answered yet. Those of the project are asked for as well only if they are others."""

    def asked_for(*rows):
        instance, questions = asked(*rows)
        assert instance.image_ids() == {}
        return [question for question in questions if question[0] == "image_ids"]

    one, other, database = (ROW._replace(id="c2"), ROW._replace(id="c2", image="appwrite/appwrite:1.9.5"), ROWS[2])
    assert [len(asked_for(*rows)) for rows in ((one, database), (other, database))] == [1, 2]


def test_fingerprint_is_made_while_compose_answers(asked, key, monkeypatch):
    made = []
    monkeypatch.setattr(_instance, "shown_fingerprint", made.append)
    monkeypatch.setattr(_instance, "Asked", Answered)
    asked(ROWS[0], text="_APP_OPENSSL_KEY_V1=%s\n" % key(), expected=["fingerprint"])
    assert made == [key()]


def test_answers_of_before_do_not_outlive_a_change(asked):
    instance, questions = asked(*ROWS[:3])
    instance.containers()
    instance.forget_containers()
    instance.vars("c2"), instance.hashes(), instance.containers()
    assert [question[0] for question in questions].count("hashes") == 2
    assert [question for question in questions if question[0] == "containers"][1][-1] == "None", "listed anew"
    instance.load(parse(""), expected=ALL)
    instance.hashes()
    assert [question[0] for question in questions].count("hashes") == 3


def test_error_of_what_was_asked_ahead_hides_what_is_secret_by_now(asked):
    """The container's own secrets are known only once it has been looked at."""

    def fails(*_unused):
        raise ComposeError("failed", "docker exec failed: not-a-real-password")

    instance, _questions = asked(*ROWS[:3], fails=fails)
    instance.compose.mask.add(["not-a-real-password"])
    with pytest.raises(ComposeError) as caught:
        instance.vars("c2")
    assert "not-a-real" not in str(caught.value) and caught.value.kind == "failed"


def test_another_container_than_was_asked(asked):
    instance, questions = asked(*ROWS[:3])
    assert instance.vars("c9") == "printed" and ("execute", "c9", "['vars']") in questions


def test_nothing_is_asked_ahead_of_a_file_that_is_not_on_disk(asked):
    instance, questions = asked(*ROWS[:3], expected=())
    instance.load(parse(""), b"", ["hashes", "vars"])
    assert questions == []


def test_profiles_that_are_followed_change_the_hashes(asked, project):
    with (project / "docker-compose.yml").open("a") as stream:
        stream.write("  more:\n    image: redis:7\n    profiles: [more]\n")
    instance, questions = asked(*ROWS[:3], ROW._replace(service="more", id="c5"))
    instance.hashes()
    assert "more" in instance.services and [question[0] for question in questions].count("hashes") == 2


def test_list_is_asked_for_again_if_another_run_held_the_lock(project, without_engine, monkeypatch):
    """What it has started or recreated is not in the list of before."""
    lists = [[], [ROW._replace(directory=str(project), service="appwrite", id="c1")]]
    monkeypatch.setattr(Instance, "_ask_engine", lambda _self: lists.pop(0))
    instance, env_file = instance_of(project), EnvFile(str(project / ".env"))
    env_file.read()
    env_file.was_busy = True
    opened(instance, env_file)
    assert [row.id for row in instance._listed] == ["c1"]


# --- whether anyone uses it: what each finding means; the questions themselves are put to real databases in the integration tests ---


class Engine:
    """Answers in place of an engine, for Compose's methods of the same names."""

    def __init__(self, instance, monkeypatch, volumes=(), containers=(), neighbours=(), answer=""):
        self.questions = []
        monkeypatch.setattr(instance, "neighbours", lambda: set(neighbours))
        for name, value in {"volumes": set(volumes), "containers": list(containers), "execute": answer}.items():
            monkeypatch.setattr(
                instance.compose, name, lambda *arguments, name=name, value=value: self._answer(name, value)
            )

    def _answer(self, name, value):
        self.questions.append(name)
        if isinstance(value, Exception):
            raise value
        return value


DATABASE = "_APP_DB_HOST=mariadb\n"
VOLUME = "appwrite_data"


@pytest.fixture
def with_volume(project, monkeypatch):
    """The configuration in the form in which compose 2.26.1 prints it (2026-11-24), since so many real ones would take their time."""
    configured(
        monkeypatch,
        {
            "mariadb": {
                "image": "mariadb:10.11",
                "volumes": [
                    {"type": "volume", "source": "data", "target": "/var/lib/mysql", "volume": {}},
                    {
                        "type": "bind",
                        "source": str(project),
                        "target": "/etc/mysql",
                        "read_only": True,
                        "bind": {"create_host_path": True},
                    },
                ],
            }
        },
    )
    return project


def configured(monkeypatch, services):
    services = {
        "appwrite": {"image": "appwrite/appwrite:1.9.6", "environment": {}},
        "redis": {"image": "redis:7"},
        **services,
    }
    monkeypatch.setattr(Compose, "installed", True)
    monkeypatch.setattr(
        Compose,
        "config",
        lambda *_unused: {"name": "appwrite", "services": services, "volumes": {"data": {"name": VOLUME}}},
    )


DATA = {
    "no volume": ({}, "no", "no volume"),
    "another project's volume": ({"volumes": ["other_data"]}, "no", "no volume"),
    "volume and no container": ({"volumes": [VOLUME]}, "unknown", "docker compose up -d mariadb"),
    "volume and a stopped container": (
        {"volumes": [VOLUME], "containers": [container("mariadb", status="exited")]},
        "unknown",
        "is not running",
    ),
    "container and no volume": ({"containers": [container("mariadb", status="created")]}, "unknown", "is not running"),
    "asked: a user": (
        {"volumes": [VOLUME], "containers": [container("mariadb")], "answer": "console accounts: users\n"},
        "yes",
        "a console account",
    ),
    "asked: nobody": (
        {"volumes": [VOLUME], "containers": [container("mariadb")], "answer": "console accounts: empty\n"},
        "no",
        "nobody has signed up",
    ),
    "asked: no answer": (
        {"volumes": [VOLUME], "containers": [container("mariadb")], "answer": ""},
        "unknown",
        "no clear answer",
    ),
    "asked: failed": (
        {
            "volumes": [VOLUME],
            "containers": [container("mariadb")],
            "answer": ComposeError("failed", "docker exec failed: ERROR 1045"),
        },
        "unknown",
        "ERROR 1045",
    ),
    "asked: no connection is free": (
        {
            "volumes": [VOLUME],
            "containers": [container("mariadb")],
            "answer": ComposeError("failed", "docker exec failed: ERROR 1040 (08004): Too many"),
        },
        "unknown",
        "MariaDB: all of its connections are in use",
    ),
}


@pytest.mark.parametrize(("engine", "state", "part"), DATA.values(), ids=DATA)
def test_holds_data(with_volume, monkeypatch, engine, state, part):
    instance = loaded(with_volume, DATABASE)
    monkeypatch.setattr(_connections, "PATIENCE", 0)
    Engine(instance, monkeypatch, **engine)
    evidence = instance.holds_data()
    assert (evidence.state, part in evidence.reason) == (state, True), evidence.reason


@pytest.mark.parametrize("client", ["mariadb", "psql"])
@pytest.mark.parametrize("fails", [1, 2, 3, 0])
def test_a_question_that_fails_is_no_answer(tmp_path, client, fails):
    """Each is a connection of its own, and any of them may be refused. The schemas are two, and the second has an account."""
    program = f"""#!/bin/sh
n=$(($(cat {tmp_path}/n) + 1)); echo $n >{tmp_path}/n
[ $n != {fails} ] || exit 1
case $n in 1) echo one; echo two;; 3) echo 1;; esac
"""
    (tmp_path / "n").write_text("0")
    (tmp_path / client).write_text(program)
    (tmp_path / client).chmod(0o755)
    script = {"mariadb": MARIADB.script, "psql": POSTGRESQL.script}[client]
    done = subprocess.run(
        ["sh", "-s"],
        input=script,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == ((1, "") if fails else (0, "console accounts: users\n"))


def test_holds_data_is_unknown_without_an_engine(with_volume, without_engine):
    evidence = loaded(with_volume, DATABASE).holds_data()
    assert evidence.state == "unknown" and "the Docker Engine does not answer" in evidence.reason


@pytest.mark.parametrize("host", ["db.example.com", "appwrite", "redis"])
def test_holds_data_of_a_database_elsewhere(with_volume, monkeypatch, host):
    instance = loaded(with_volume, f"_APP_DB_HOST={host}\n")
    Engine(instance, monkeypatch, containers=[], answer="")
    monkeypatch.setattr(instance, "client", lambda *_unused: "client")
    evidence = instance.holds_data()
    assert evidence.state == "unknown" and host in evidence.reason


INSIDE = {"_APP_DB_HOST": "db.example.com", "_APP_DB_PORT": "3307"}
FROM_INSIDE = {
    "a user": (
        INSIDE,
        "running",
        "console accounts: users\n",
        "yes",
        "a console account exists in the database at db.example.com",
    ),
    "nobody": (INSIDE, "running", "console accounts: empty\n", "no", "nobody has signed up"),
    "no answer": (INSIDE, "running", "", "unknown", "did not answer clearly"),
    "no way": (
        INSIDE,
        "running",
        ComposeError("failed", "Connection refused"),
        "unknown",
        "did not answer: Connection refused",
    ),
    "stopped, asked by a client": (INSIDE, "exited", "console accounts: empty\n", "no", "nobody has signed up"),
    "stopped, and no answer": (
        INSIDE,
        "exited",
        "",
        "unknown",
        "no container of Appwrite runs with it that could be asked whether anyone signed up, and one with the database's client did not answer clearly",
    ),
    "another host": (
        {**INSIDE, "_APP_DB_HOST": "former"},
        "running",
        "console accounts: empty\n",
        "unknown",
        "no container",
    ),
    "another port": (
        {"_APP_DB_HOST": "db.example.com"},
        "running",
        "console accounts: empty\n",
        "unknown",
        "no container",
    ),
}


@pytest.mark.parametrize(("environment", "status", "answer", "state", "part"), FROM_INSIDE.values(), ids=FROM_INSIDE)
def test_a_database_elsewhere_is_asked_from_inside(project, monkeypatch, environment, status, answer, state, part):
    configured(monkeypatch, {"appwrite": {"image": "appwrite/appwrite:1.8.1", "environment": INSIDE}})
    instance = loaded(project, "_APP_DB_HOST=other\n")
    Engine(instance, monkeypatch, containers=[container("appwrite", environment, status)], answer=answer)
    monkeypatch.setattr(instance, "client", lambda *_unused: "client")
    evidence = instance.holds_data()
    assert (evidence.state, part in evidence.reason) == (state, True), evidence.reason
    assert evidence.elsewhere and not evidence.never_started


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("shop-db", {}),
        ("the-db", {"container_name": "the-db"}),
        ("appwrite-shop-db-1", {}),
        ("db.internal", {"hostname": "db.internal"}),
        ("data", {"networks": {"default": None, "back": {"aliases": ["store", "data"]}}}),
    ],
)
def test_database_by_what_the_api_gets(project, monkeypatch, host, more):
    configured(
        monkeypatch,
        {
            "appwrite": {"image": "appwrite/appwrite:1.8.1", "environment": {"_APP_DB_HOST": host}},
            "appwrite-worker": {"image": "appwrite/appwrite:1.8.1", "environment": {"_APP_DB_HOST": "else"}},
            "shop-db": {"image": "mariadb:10.11", **more},
        },
    )
    instance = loaded(project, "_APP_DB_HOST=mariadb\n")
    Engine(instance, monkeypatch, containers=[container("shop-db")])
    assert instance.database() == ("mariadb", "id-of-shop-db")


# --- a database that is no service of the project, in a container with its client ---

LOGIN = {"_APP_DB_USER": "ada", "_APP_DB_PASS": "NotARealDatabaseWord1", "_APP_DB_SCHEMA": "shop"}
OUTSIDE = {
    "MariaDB": (
        {"_APP_DB_ADAPTER": "mariadb", "_APP_DB_PORT": "3307"},
        ("mariadb", "mariadb:10.11"),
        {"DATABASE_PORT": "3307", "MYSQL_USER": "ada", "MYSQL_DATABASE": "shop"},
    ),
    "no adapter": (
        {},
        ("mongodb", "mongo:8.2.5"),
        {"DATABASE_PORT": "27017", "MONGO_INITDB_ROOT_PASSWORD": LOGIN["_APP_DB_PASS"]},
    ),
    "MySQL": ({"_APP_DB_ADAPTER": "MySQL"}, ("mariadb", "mariadb:10.11"), {"DATABASE_HOST": "db.internal"}),
    "PostgreSQL": (
        {"_APP_DB_ADAPTER": "postgresql"},
        ("postgresql", "appwrite/postgres:0.1.0"),
        {"PGHOST": "db.internal", "PGPORT": "5432", "POSTGRES_DB": "shop"},
    ),
    "MongoDB": (
        {"_APP_DB_ADAPTER": "mongodb"},
        ("mongodb", "mongo:8.2.5"),
        {"DATABASE_PORT": "27017", "MONGO_INITDB_ROOT_USERNAME": "ada"},
    ),
}


class Started:
    """In place of a container."""

    made: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, compose, *arguments):
        self.made.append(arguments)
        self.id, self.is_up = f"client-{len(self.made)}", True

    def close(self):
        self.is_up = False


@pytest.fixture
def outside(project, monkeypatch):
    """Loads the project with these values of Appwrite's, whose database is no service of it."""

    def load(given, images=("",), release="1.9.6"):
        environment = {"_APP_DB_HOST": "db.internal", **LOGIN, **given}
        service = {
            "image": f"appwrite/appwrite:{release}",
            "environment": environment,
            "networks": {"default": None, "outer": None},
            "dns": ["10.0.0.2"],
        }
        networks = {"default": {"name": "shop_default"}, "outer": {"name": "databases", "external": True}}
        monkeypatch.setattr(Compose, "installed", True)
        monkeypatch.setattr(
            Compose,
            "config",
            lambda *_unused: {"name": "shop", "services": {"appwrite": service}, "networks": networks},
        )
        monkeypatch.setattr(
            Compose, "image_ids", lambda _self, names: {name: "id" for name in names if "" in images or name in images}
        )
        monkeypatch.setattr(_instance, "Client", Started)
        Started.made.clear()
        return loaded(project, "")

    return load


@pytest.mark.parametrize(("given", "found", "part"), OUTSIDE.values(), ids=OUTSIDE)
def test_database_outside(outside, given, found, part):
    instance = outside(given)
    assert not instance.is_database_elsewhere
    assert instance.database() == (found[0], "client-1") and instance.database()[1] == "client-1"
    assert instance.is_database_elsewhere
    ((project, image, way, networks, environment),) = Started.made
    assert (project, image, list(networks)) == ("shop", found[1], ["shop_default", "databases"])
    assert way["dns"] == ["10.0.0.2"] and part.items() <= environment.items()


@pytest.mark.parametrize(
    ("release", "given", "kind"),
    [
        ("1.6.2", {}, "mariadb"),
        ("1.8.1", {"_APP_DB_ADAPTER": "postgresql"}, "mariadb"),
        ("1.9.0", {}, "mongodb"),
        ("2.4.0", {}, "postgresql"),
    ],
)
def test_database_outside_by_the_release(outside, release, given, kind):
    """As its C(app/init/registers.php) has it."""
    assert outside(given, release=release).database()[0] == kind


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"_APP_DB_ADAPTER": "mysql"}, [("MariaDB", "db.internal", "3306"), ("Redis", "redis", "6379")]),
        (
            {"_APP_DB_PORT": "27018", "_APP_REDIS_HOST": "cache.internal", "_APP_REDIS_PORT": "6380"},
            [("MongoDB", "db.internal", "27018"), ("Redis", "cache.internal", "6380")],
        ),
        ({"_APP_DB_HOST": "appwrite", "_APP_REDIS_HOST": "appwrite"}, []),
    ],
    ids=["by default", "as set", "a service of the project"],
)
def test_servers_outside(outside, given, found):
    instance = outside({"_APP_DB_PORT": "", **given})
    assert instance.outside() == found and not Started.made


@pytest.mark.parametrize(
    ("given", "release", "message"),
    [
        (
            {"_APP_CONNECTIONS_QUEUE": "redis_main=redis://one:6379"},
            "1.6.1",
            "^_APP_CONNECTIONS_QUEUE: tells Appwrite where its servers are",
        ),
        ({"_APP_DB_ADAPTER": "sqlite"}, "1.9.6", "^_APP_DB_ADAPTER: sqlite is no database"),
    ],
)
def test_servers_outside_that_are_not_known(outside, given, release, message):
    with pytest.raises(AppwriteError, match=message):
        outside(given, release=release).outside()


@pytest.mark.parametrize("name", ["_APP_CONNECTIONS_DB_CONSOLE", "_APP_CONNECTIONS_DB_PROJECT"])
def test_databases_that_other_variables_name(outside, name):
    """Of which nothing would be sealed anew, and whether anybody signed up would be asked elsewhere."""
    given = {name: "db_main=mariadb://ada:NotARealDatabaseWord1@one:3306/shop"}
    instance = outside(given, release="1.6.1")
    evidence = instance.holds_data()
    assert (evidence.state, evidence.elsewhere, instance.never_started()) == ("unknown", True, False)
    with pytest.raises(AppwriteError, match=rf"^{name}: tells Appwrite where .* _APP_DB_HOST") as caught:
        instance.database()
    assert "NotAReal" not in str(caught.value) + evidence.reason and not Started.made
    assert outside(given, release="1.6.2").database()[0] == "mariadb"


def test_database_outside_by_an_image_of_ones_own(outside):
    instance = outside({"_APP_DB_ADAPTER": "mariadb"})
    instance.client_images = {"client_image": "registry.internal/mariadb:11", "redis_client_image": None}
    instance.database()
    instance.client("redis_client_image", "redis:7", {})
    assert [arguments[1] for arguments in Started.made] == ["registry.internal/mariadb:11", "redis:7"]


def test_client_that_ended_is_made_anew(outside):
    instance = outside({"_APP_DB_ADAPTER": "mariadb"})
    instance.database()
    instance._companions["client_image"][1].close()
    assert instance.database()[1] == "client-2"


def test_client_of_other_settings_is_made_anew(outside):
    """It has the host and the login in its environment: what was read anew must not be asked where it was before."""
    instance = outside({"_APP_DB_ADAPTER": "mariadb"})
    assert instance.database()[1] == instance.database()[1] == "client-1"
    before = instance._companions["client_image"][1]
    instance.config["services"]["appwrite"]["environment"].update(_APP_OPENSSL_KEY_V1="NotARealKey12345")
    assert instance.database()[1] == "client-1", "it knows nothing of this, and may be in use"
    instance.config["services"]["appwrite"]["environment"]["_APP_DB_HOST"] = "other.internal"
    assert instance.database()[1] == "client-2" and not before.is_up
    assert Started.made[-1][-1]["DATABASE_HOST"] == "other.internal"


def test_database_outside_that_is_unknown(outside):
    with pytest.raises(
        AppwriteError,
        match="^_APP_DB_ADAPTER: sqlite is no database that this collection knows; it knows mariadb, mysql, ",
    ):
        outside({"_APP_DB_ADAPTER": "sqlite"}).database()


def test_image_of_a_client_that_is_not_here(outside, monkeypatch):
    instance = outside({"_APP_DB_ADAPTER": "mariadb"}, images=())
    pulled = []

    def docker(_self, arguments, **_more):
        pulled.append(arguments[-1])
        raise ComposeError("failed", "docker pull failed: no route to host")

    monkeypatch.setattr(Compose, "docker", docker)
    with pytest.raises(
        AppwriteError,
        match=r"^the image mariadb:10\.11, .* is not on this host; load it \(docker pull mariadb:10\.11\)$",
    ):
        instance.database()
    assert not pulled, "a module that has no such option pulls nothing"
    instance.client_images = {"client_image": None}
    with pytest.raises(
        AppwriteError,
        match=r"^client_image: the image mariadb:10\.11, .* cannot be pulled \(docker pull failed: no route to host\); load it .*, or name another one$",
    ):
        instance.database()
    monkeypatch.setattr(Compose, "docker", lambda _self, arguments, **_more: pulled.append(arguments))
    assert instance.database() == ("mariadb", "client-1") and pulled[-1] == ["pull", "--quiet", "mariadb:10.11"]


@pytest.mark.parametrize(
    "place", [{}, {"DATABASE_HOST": "db.internal", "DATABASE_PORT": "3307"}], ids=["inside", "outside"]
)
@pytest.mark.parametrize("part", ["client", "dump", "question"])
def test_mariadb_is_asked_where_it_is(tmp_path, place, part):
    for name in ("mariadb", "mariadb-dump"):
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/asked\necho shop\n')
        (tmp_path / name).chmod(0o755)
    command = {
        "client": list(MARIADB.client),
        "dump": ["sh", "-c", MARIADB.dump],
        "question": ["sh", "-c", MARIADB.script],
    }[part]
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "MYSQL_USER": "ada",
        "MYSQL_PASSWORD": "NotARealDatabaseWord1",
    }
    subprocess.run(command, env={**environment, **place}, capture_output=True, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    calls = asked.count("--user=ada")
    assert calls == {"client": 1, "dump": 2, "question": 2}[part]
    assert asked.count("--host=db.internal") == asked.count("--port=3307") == (calls if place else 0)
    assert "NotARealDatabaseWord1" not in asked


@pytest.mark.parametrize(
    ("services", "api"),
    [
        ({"appwrite": {}}, "appwrite"),
        ({"appwrite": {"entrypoint": ["worker-mails"]}, "backend": {}}, "appwrite"),
        ({"jobs": {"entrypoint": ["worker-mails"]}, "backend": {}}, "backend"),
        ({"jobs": {"entrypoint": ["worker-mails"]}, "backend": {"command": ["php", "app/http.php"]}}, "backend"),
        ({"jobs": {"entrypoint": ["worker-mails"]}}, "jobs"),
    ],
)
def test_service_of_the_api(project, monkeypatch, services, api):
    found = {name: {"image": "appwrite/appwrite:1.8.1", "environment": {}, **more} for name, more in services.items()}
    monkeypatch.setattr(Compose, "installed", True)
    monkeypatch.setattr(Compose, "config", lambda *_unused: {"name": "shop", "services": found})
    assert loaded(project, "").api() == api


@pytest.mark.parametrize(
    ("services", "databases"),
    [
        ({}, {}),
        ({"shop-db": {"image": "mysql:8"}}, {"shop-db": "mariadb"}),
        ({"mariadb": {"image": "ours:1"}, "blog": {"image": "mysql:8"}}, {"mariadb": "mariadb"}),
        ({"one": {"image": "postgres:16"}, "two": {"image": "mongo:7"}}, {"one": "postgresql", "two": "mongodb"}),
    ],
)
def test_databases(project, monkeypatch, services, databases):
    configured(monkeypatch, services)
    monkeypatch.setattr(Compose, "image_environments", lambda *_unused: {})
    assert loaded(project, "").databases == databases


PASSWORDS = {
    "mariadb": ("mariadb", MARIADB.script, "MYSQL_PWD", {"MYSQL_USER": "ada"}, "MYSQL_PASSWORD"),
    "mariadb by its own name": ("mariadb", MARIADB.script, "MYSQL_PWD", {"MARIADB_USER": "ada"}, "MARIADB_PASSWORD"),
    "mariadb with root alone": ("mariadb", MARIADB.script, "MYSQL_PWD", {}, "MARIADB_ROOT_PASSWORD"),
    "postgresql": ("psql", POSTGRESQL.script, "PGPASSWORD", {}, "POSTGRES_PASSWORD"),
    "mongodb": ("mongosh", None, "MONGO_INITDB_ROOT_PASSWORD", {}, "MONGO_INITDB_ROOT_PASSWORD"),
}


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize(("client", "script", "taken", "more", "name"), PASSWORDS.values(), ids=PASSWORDS)
def test_password_of_a_database(tmp_path, client, script, taken, more, name, as_file):
    """Of a file, which compose puts there, as of the environment; a file that cannot be read is no answer."""
    (tmp_path / "word").write_text("of a database\n")
    (tmp_path / client).write_text(f"#!/bin/sh\nprintenv {taken} >>{tmp_path}/got\n")
    (tmp_path / client).chmod(0o755)
    given = {f"{name}_FILE": f"{tmp_path}/word"} if as_file else {name: "of a database"}
    command = MONGODB.question if script is None else ("sh", "-s")

    def ask():
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **more, **given}
        return subprocess.run(command, input=script or "", env=environment, capture_output=True, text=True, check=False)

    assert ask().returncode == 0
    assert set((tmp_path / "got").read_text().splitlines()) == {"of a database"}
    if as_file:
        (tmp_path / "word").unlink()
        assert ask().returncode


def test_holds_data_of_another_project_name(with_volume, monkeypatch):
    """The same directory under another name has another volume, and it may be the one with the data."""
    instance = loaded(with_volume, DATABASE)
    Engine(instance, monkeypatch, neighbours={"former"})
    evidence = instance.holds_data()
    assert evidence.state == "unknown" and "former" in evidence.reason and "project_name" in evidence.reason


@pytest.mark.parametrize("case", DATA)
def test_never_started_is_known_without_asking_the_database(with_volume, monkeypatch, case):
    engine, state, _part = DATA[case]
    instance = loaded(with_volume, DATABASE)
    asked = Engine(instance, monkeypatch, **{**engine, "answer": ComposeError("failed", "asked")}).questions
    found = instance.never_started()
    assert "execute" not in asked and found is instance.holds_data().never_started


def test_a_database_that_has_a_container_has_no_volumes_looked_for(with_volume, monkeypatch):
    instance = loaded(with_volume, DATABASE)
    asked = Engine(instance, monkeypatch, containers=[container("mariadb")]).questions
    assert instance.never_started() is False and asked == ["containers"]


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (None, "no"),
        ([], "no"),
        (["lost+found"], "no"),
        (["ibdata1"], "unknown"),
        (["lost+found", "ibdata1"], "unknown"),
    ],
)
def test_holds_data_in_a_bind_mount(project, without_engine, monkeypatch, content, state):
    (project / "docker-compose.yml").write_text(
        (project / "docker-compose.yml").read_text() + "    volumes: ['./db:/var/lib/mysql']\n"
    )
    if content is not None:
        (project / "db").mkdir()
        for name in content:
            (project / "db" / name).touch()
    instance = loaded(project, DATABASE)
    Engine(instance, monkeypatch)
    assert instance.holds_data().state == state


@pytest.mark.parametrize(
    ("service", "image"),
    [
        ("mariadb", "mariadb:10.11"),
        ("db", "mariadb:10.11"),
        ("db", "mysql@sha256:" + "0" * 64),
        ("db", "registry.example.com:5000/postgres"),
        ("postgresql", "ours:1"),
        ("mongodb", "mongo:8.2.5"),
        ("mariadb", "registry.example.com/ours/database:7"),
    ],
)
def test_database_is_recognised(project, monkeypatch, service, image):
    configured(monkeypatch, {service: {"image": image, "container_name": f"the-{service}"}})
    for host in (service, f"the-{service}"):
        instance = loaded(project, f"_APP_DB_HOST={host}\n")
        Engine(instance, monkeypatch, containers=[container(service)], answer="console accounts: users\n")
        assert instance.holds_data().state == "yes"


def test_holds_data_is_asked_once(with_volume, monkeypatch):
    """Each question costs a process, and several settings ask."""
    instance = loaded(with_volume, DATABASE)
    engine = Engine(
        instance, monkeypatch, volumes=[VOLUME], containers=[container("mariadb")], answer="console accounts: users\n"
    )
    assert [instance.holds_data().state for _unused in range(3)] == ["yes"] * 3
    assert engine.questions.count("execute") == 1


def test_the_questions_hold_no_secret():
    """Passwords stay in the container's environment, where the questions look for them."""
    assert 'MYSQL_PWD="${MYSQL_PASSWORD' in MARIADB.script and "--password" not in MARIADB.script
    assert 'PGPASSWORD="${POSTGRES_PASSWORD' in POSTGRESQL.script
    assert "process.env.MONGO_INITDB_ROOT_PASSWORD" in MONGODB.question[-1]


@pytest.mark.parametrize("script", [MARIADB.script, POSTGRESQL.script])
def test_the_questions_are_shell(script, tmp_path):
    """With no client to be found they fail rather than say that nobody has signed up."""
    done = subprocess.run(
        [shutil.which("sh"), "-s"],
        input=script,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode and "console accounts" not in done.stdout


def test_another_file_may_name_another_database(project, without_docker, monkeypatch):
    """What was found out of the data holds for the file that was asked with, and so do the containers and the values that were read."""
    instance = loaded(project)
    monkeypatch.setattr(instance, "_evidence", "of the earlier file")
    monkeypatch.setattr(instance, "sample", "of the earlier file")
    instance.load(parse("_APP_DB_HOST=db.notarealcompany.com\n"))
    assert (instance._evidence, instance._containers, instance.sample) == (None, None, None)
