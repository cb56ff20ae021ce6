# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One installation: its directory, its release, its services, and whether anyone uses it yet.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import Any, Callable, Collection, Iterable, Mapping, Sequence, TypeVar

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import images as _project
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Evidence, Published, published
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import in_force, shown_fingerprint
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError, words
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import landscape, own_variables
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.asked import Asked
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.client import (
    WAY,
    Client,
    Companion,
    Mounted,
    require_image,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import (
    FILE_NAMES,
    OVERRIDE_NAMES,
    Compose,
    ComposeError,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.connections import patiently
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases import elsewhere as _elsewhere
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import DATABASES, kind_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import Database
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.drift import drift, service_environment
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.engine import refuse_other_engines
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.origin import Origin, names_used
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.written import Written

_T = TypeVar("_T")
_IMAGE_LINE = re.compile(r"^\s*image:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)
_HALF = re.compile('service "([^"]+)" has neither an image nor a build context')
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_NO_DSNS = "If it names one server alone, write that one into _APP_DB_HOST and the variables beside it, and leave this one out; several cannot be asked"
_NEWER = (
    "is newer than %s, the newest release that this collection knows. It is taken for that one, but for what the project's compose file, "
    "and Appwrite's own list of variables in a container that runs, say otherwise" % catalogue.NEWEST
)
# Appwrite 1.4.14 has the constant in the first of these files, 1.9.6 in the second.
_OWN_WORD = (
    "grep -ohE \"APP_VERSION_STABLE *[=,] *'[0-9.]+'\" /usr/src/code/app/init.php /usr/src/code/app/init/constants.php"
)


class Instance:
    """What is asked of the project is asked once and kept, since each question costs a process."""

    def __init__(
        self,
        project_src: str,
        env_file: str | None,
        files: Sequence[str],
        project_name: str | None,
        profiles: Sequence[str],
        appwrite_version: str | None,
        clean_environment: bool,
    ) -> None:
        self.directory = os.path.abspath(project_src)
        self.env_path = os.path.join(self.directory, env_file or ".env")
        self.warnings: list[str] = []
        self.values: Mapping[str, str] = {}
        """What .env says, and what Appwrite's services get instead."""
        self._lines: Mapping[str, str] = {}
        self.files: list[str] = []
        self.release = ""
        self.release_is_known = True
        self.dormant: list[str] = []
        """services with containers, of profiles that are not enabled"""
        self._stated_release = appwrite_version
        self._files = list(files)
        self._profiles = list(profiles)
        self._check_directory()
        self.compose = Compose(self.directory, None, (), None, (), clean_environment)
        refuse_other_engines(self.compose)
        self.look_around()
        self._is_named = project_name is not None
        began = self._started(files, self.env_path if env_file else None, project_name)
        self._files = list(began.files)
        self._name = began.project_name
        self.env_path = began.env_file or self.env_path
        self.compose = Compose(
            self.directory, began.env_file, began.files, began.project_name, profiles, clean_environment
        )
        if appwrite_version is not None and not _RELEASE.fullmatch(appwrite_version):
            raise AppwriteError(
                "appwrite_version: %r is not a release; give three numbers such as %s"
                % (appwrite_version, catalogue.NEWEST)
            )
        if project_name is not None and not _PROJECT.fullmatch(project_name):
            raise AppwriteError(
                "project_name: %r is not a valid name for a compose project; use lower-case letters, digits, - and _, a letter or digit first"
                % project_name
            )
        self._config: dict[str, Any] | None = None
        self._containers: list[Container] | None = None
        self.written = Written(self.compose, self.env_path, (), None)
        self._evidence: Evidence | None = None
        self._image_environments: dict[str, dict[str, str]] | None = None
        self._ahead: dict[tuple[str, str], Asked[Any]] = {}
        """questions of this load that were put before somebody wants their answers"""
        self.sample: Any = None
        """of the sealed values, once C(_rotation.stored) has read it"""
        self.client_images: Mapping[str, str | None] | None = None
        """by the names of the options that name them, for modules that have these; only they pull images"""
        self._companions: dict[str, tuple[Any, Companion]] = {}
        """by option or volume, each with what it was made of"""

    def _check_directory(self) -> None:
        if not os.path.isdir(self.directory):
            what = "is not a directory" if os.path.exists(self.directory) else "does not exist"
            raise AppwriteError(
                "project_src: %s %s; name the directory that holds Appwrite's docker-compose.yml"
                % (self.directory, what)
            )
        with words("project_src: %s" % self.directory, "read"):
            os.listdir(self.directory)

    def look_around(self) -> None:
        """Has the engine list its containers. Those of the project are taken from that list once, unless it was waited for something since."""
        self._listed = self._ask_engine()
        self._rows = self._listed or []

    def _ask_engine(self) -> list[landscape.Row] | None:
        """Every container that the engine has; C(None) if it does not answer."""
        try:
            return self._list()
        except ComposeError:
            return None

    def _list(self) -> list[landscape.Row]:
        return landscape.rows(self.compose.docker(["ps", "--all", "--no-trunc", "--format", landscape.FORMAT]).stdout)

    def _started(self, files: Sequence[str], env_file: str | None, project_name: str | None) -> landscape.Started:
        asked = landscape.Started(tuple(files), env_file, project_name)
        if not self._rows:
            return asked
        return landscape.started(
            self._rows,
            self.directory,
            asked._replace(files=tuple(os.path.join(self.directory, name) for name in files)),
            [os.path.join(self.directory, name) for name in FILE_NAMES + OVERRIDE_NAMES],
            os.path.join(self.directory, ".env"),
            _settled(self.env_path),
            os.path.realpath,
            os.path.exists,
        )

    def compose_files(self, values: Mapping[str, str]) -> list[str]:
        """The project's files. C(COMPOSE_FILE) in C(.env) counts, as it does for compose.

        Raises AppwriteError if there is none, or one that is named does not exist.
        """
        option, named = "files", self._files
        if not named:
            option = "COMPOSE_FILE in .env"
            named = [
                part
                for part in values.get("COMPOSE_FILE", "").split(values.get("COMPOSE_PATH_SEPARATOR") or os.pathsep)
                if part
            ]
        if named:
            paths = [os.path.join(self.directory, name) for name in named]
            for path in paths:
                if not os.path.isfile(path):
                    raise AppwriteError("%s: %s does not exist" % (option, path))
            return paths
        for name in FILE_NAMES:
            path = os.path.join(self.directory, name)
            if os.path.isfile(path):
                overrides = (os.path.join(self.directory, other) for other in OVERRIDE_NAMES)
                return [path] + [other for other in overrides if os.path.isfile(other)][:1]
        raise AppwriteError(
            "project_src: %s is not a compose project (it holds none of %s); name the directory that holds Appwrite's docker-compose.yml"
            % (self.directory, ", ".join(FILE_NAMES))
        )

    def load(
        self,
        document: Document,
        instead: bytes | None = None,
        expected: Collection[str] = (),
        config: dict[str, Any] | None = None,
    ) -> None:
        """Reads the project with the C(.env) on disk, or with other content. Where docker is not installed, only the files' text is known.

        expected: what will be asked of the project on disk in any case, and is asked at once: V(containers), V(hashes), V(images), V(vars),
        V(fingerprint).
        config: what compose has made of it already.
        Raises ComposeError if compose rejects the project, and AppwriteError if it is not to be touched or its release is older than 1.4.
        """
        self.values = self._lines = document.values
        self._containers = self._evidence = None
        self._ahead.clear()
        self.sample = None
        self.compose.mask.add(catalogue.secrets_of(document.values), document.unset_references)
        try:
            self.files = self.compose_files(document.values)
            self.written = Written(self.compose, self.env_path, self.files, instead)
            self.compose.mask.spare(self.written.called)
            if self.compose.installed:
                if config is None:
                    self._ask_compose(instead, expected)
                else:
                    self._config = config
                self._follow_profiles(instead)
                if "images" in expected and self.checked:
                    self._ask_for_images(self._image_names())
                self.values = self._in_force(document.values)
                landscape.check_alone(
                    self._rows, self.project, self.directory, self._is_named, os.path.realpath, os.path.exists
                )
                self._look_for_volumes()
        finally:
            self.release = self._find_release()
        if catalogue.is_newer(self.release) and not any(_NEWER in warning for warning in self.warnings):
            self.warnings.append("Appwrite %s %s" % (self.release, _NEWER))
        if self.checked and not catalogue.is_known(self.release):
            self.release = self._corrected(self.release)
        if catalogue.too_old(self.release):
            raise AppwriteError(
                "Appwrite %s is older than 1.4, the oldest release that this collection knows; upgrade Appwrite first%s"
                % (
                    self.release,
                    "" if self._stated_release else ", or set `appwrite_version` if the tag of its image misleads",
                )
            )

    def _ask_compose(self, instead: bytes | None, expected: Collection[str]) -> None:
        config = Asked(lambda: self.compose.config(instead))
        if instead is None and expected:
            self._ask_ahead(expected)
        try:
            self._config = config.answer()
        except ComposeError as error:
            if error.kind != "missing":
                raise self._explained(error) from None
            self.warnings.append("the project was not checked by compose: %s" % error)

    def _ask_ahead(self, expected: Collection[str]) -> None:
        name = self._name or self._lines.get("COMPOSE_PROJECT_NAME") or ""
        mine = [row for row in self._listed or () if name and row.project == name]
        if "hashes" in expected:
            self._ahead["hashes", ""] = Asked(self.compose.hashes)
        if mine and "containers" in expected:
            self._ahead["containers", name] = Asked(lambda: self.compose.containers(name, False, _ids(mine)))
        if "fingerprint" in expected:  # which takes as long as a process, and is remembered
            Asked(lambda: shown_fingerprint(in_force(self._lines)))
        if mine and "images" in expected:
            self._ask_for_images({row.image for row in mine if not row.oneoff})
        apis = sorted(_ids(row for row in mine if row.service == "appwrite" and not row.oneoff))
        if apis and "vars" in expected:
            self._ahead["vars", apis[0]] = Asked(lambda: self.compose.execute(apis[0], ["vars"]))

    def _ask_for_images(self, names: Collection[str]) -> None:
        """Unless they are asked for already: the containers tell ahead of compose which images the project has, if nothing is to change."""
        question = "images", _joined(names)
        if question not in self._ahead:
            self._ahead[question] = Asked(lambda: self.compose.image_ids(names))

    def _answer(self, question: str, of: str, ask: Callable[[], _T]) -> _T:
        """The answer that was asked for ahead, or else one to be had now."""
        asked = self._ahead.pop((question, of), None)
        if asked is None:
            return ask()
        try:
            return asked.answer()
        except ComposeError as error:  # with what is secret by now, too
            raise ComposeError(error.kind, self.compose.mask(str(error))) from None

    def _follow_profiles(self, instead: bytes | None) -> None:
        """Enables the profiles whose services run, unless somebody says which; a recreate would leave those as they are."""
        named = self._profiles or self._lines.get("COMPOSE_PROFILES") or "COMPOSE_PROFILES" in self.compose.environment
        enabled = self.config.get("services") or {}
        present = {row.service for row in self._rows if row.project == self.project} - {""}
        if not self.checked or named or present <= enabled.keys():
            return
        services = self.compose.whole_config(instead)["services"]
        profiles, left = landscape.followed_profiles(services, present | enabled.keys())
        if profiles:
            self.compose.enable(profiles)
            self._ahead.pop(("hashes", ""), None)
            self._config = self.compose.config(instead)
        self.dormant = list(left)
        self.warnings += [
            "the service %s has containers, and is of a profile that is not enabled (%s), so they are left as they are. Set `profiles`"
            % (name, ", ".join(mine))
            for name, mine in left.items()
        ]

    def _look_for_volumes(self) -> None:
        """Of the same installation before its directory was renamed, if no container of it is left that would tell."""
        present = {row.project for row in self._rows}
        if not self.checked or self._is_named or self.project in present:
            return
        volumes = self.config.get("volumes") or {}
        mounts = [mount for name in self.databases for mount in self.config["services"][name].get("volumes") or []]
        keys = {str(mount.get("source")) for mount in mounts if mount.get("type") == "volume"}
        with os.scandir(self.directory) as entries:
            since = min(
                entry.stat(follow_symlinks=False).st_ctime for entry in entries
            )  # renaming a directory leaves it
        with suppress(ComposeError):
            for key in sorted(key for key in keys if (volumes.get(key) or {}).get("name") == self.project + "_" + key):
                found = self.compose.volumes_called(key)
                if all(volume.project != self.project for volume in found):
                    landscape.refuse_volumes(
                        [volume for volume in found if volume.project and volume.project not in present],
                        since,
                        time.time(),
                        self.project,
                        self.directory,
                    )

    def _explained(self, error: ComposeError) -> ComposeError:
        """The same, with the place of a service that is only half there."""
        found = _HALF.search(str(error))
        place = self.written.service_line(found.group(1)) if found else None
        if found is None or place is None:
            return error
        return ComposeError(
            error.kind,
            "files: the service %s (%s) has no image, since no other compose file has that service; an upgrade may have removed it. "
            "Remove it there, or give it the name that the service has now" % (found.group(1), place),
        )

    def _in_force(self, values: Mapping[str, str]) -> Mapping[str, str]:
        """What .env says, and what Appwrite's services get instead if that is one and the same for all of them."""
        got: dict[str, set[str]] = {}
        services = self.services
        for service in self.appwrite_services():
            for name, value in services[service].items():
                if catalogue.get(name) is not None:
                    got.setdefault(name, set()).add(value)
        others = {name: next(iter(found)) for name, found in got.items() if len(found) == 1}
        self.compose.mask.add(catalogue.secrets_of(others), frozenset())
        return {**values, **{name: value for name, value in others.items() if value or name in values}}

    def appwrite_services(self) -> list[str]:
        """The services that run an Appwrite image, by its name or by what it sets itself, or are given its key; by whatever name."""
        return [
            name
            for name, service in self.config.get("services", {}).items()
            if catalogue.KEY in (service.get("environment") or {}) or self._runs_appwrite(name)
        ]

    def _runs_appwrite(self, service: str) -> bool:
        image = _project.image(self.config["services"][service].get("image", ""))
        return image.name == "appwrite" or _project.is_appwrite(self._set_by_image(service))

    def _set_by_image(self, service: str) -> Mapping[str, str]:
        """The environment that a service has from its image, asked of all images at once whose names do not say enough; empty for others."""
        images = {name: self._image_of(name) for name in self.config["services"]}
        if self._image_environments is None:
            unsaid = [text for text in images.values() if _says_too_little(text)]
            try:
                self._image_environments = self.compose.image_environments(unsaid)
            except ComposeError:
                self._image_environments = {}
        return self._image_environments.get(images[service], {})

    def _image_of(self, service: str) -> str:
        """The name of its image; of one that is built, the name that compose gives it."""
        return str(self.config["services"][service].get("image") or "%s-%s" % (self.project, service))

    def origins(self) -> dict[str, dict[tuple[Origin, str, int], list[str]]]:
        """Each variable of Appwrite's services to where it comes from (see C(Written.source)), and which of them have it from there.

        A service that runs an Appwrite image has the key in any case, if only from nowhere. Raises ComposeError if compose rejects the project.
        """
        found: dict[str, dict[tuple[Origin, str, int], list[str]]] = {}
        for service in self.appwrite_services():
            names = {*self.listed(service), *self.services[service]}
            if self._runs_appwrite(service):
                names.add(catalogue.KEY)
            for name in names:
                found.setdefault(name, {}).setdefault(self.written.source(service, name), []).append(service)
        return found

    def key_line(self) -> str:
        """The name of the line of .env that Appwrite's services have, or would have, their key from; empty if none has it from there."""
        listed = [service for service in self.appwrite_services() if catalogue.KEY in self.listed(service)]
        given = {service: self.services[service].get(catalogue.KEY, "") for service in listed}
        if not given or all(key and key == self._lines.get(catalogue.KEY) for key in given.values()):
            return catalogue.KEY
        lines = {self.written.origin(service, catalogue.KEY).name for service in listed}
        return lines.pop() if len(lines) == 1 else ""

    def given_keys(self) -> dict[str, tuple[str, ...]]:
        """Encryption key to the services that the project, as it is written now, would start with it."""
        services = self.services
        found: dict[str, list[str]] = {}
        for service in self.appwrite_services():
            if catalogue.KEY in services[service]:
                found.setdefault(in_force(services[service]), []).append(service)
        return {key: tuple(names) for key, names in found.items()}

    @property
    def config(self) -> dict[str, Any]:
        return self._config or {}

    @property
    def checked(self) -> bool:
        """Whether compose is here to ask."""
        return self._config is not None

    @property
    def project(self) -> str:
        return self.config.get("name", "")

    @property
    def services(self) -> dict[str, dict[str, str]]:
        return service_environment(self.config)

    def listed(self, service: str) -> dict[str, Any]:
        """What the compose file lists for a service. A name that is nowhere set has C(None)."""
        return self.config.get("services", {}).get(service, {}).get("environment") or {}

    def passed(self, name: str) -> bool:
        """Whether the project hands this variable to a service, by its name or inside another value."""
        if any(name in self.listed(service) for service in self.config.get("services") or {}):
            return True
        mention = r"\$(?:\{%s[:?+\-}]|%s\b)" % (name, name)
        if any(name in text and re.search(mention, text) for _path, text in self.written.texts):
            return True
        return self.written.has_env_files and any(
            self.written.passes(service, name) for service in self.appwrite_services()
        )

    def _find_release(self) -> str:
        if self._stated_release:
            return self._stated_release
        if self.checked:
            images = {name: service.get("image", "") for name, service in self.config["services"].items()}
            ordered = [images.get("appwrite", "")] + list(images.values())
        else:
            ordered = [
                _resolved(image, self.values)
                for _path, text in self.written.texts
                for image in _IMAGE_LINE.findall(text)
            ]
        tags = [_project.image(image) for image in ordered]
        exact = next((tag.release for tag in tags if tag.release), None)
        if exact and not catalogue.too_old(exact):
            return exact
        own = self._own_words() if self.checked else []
        for series in (tag.series for tag in tags if tag.series):
            found = next((word for word in own if word.startswith(series + ".")), None) or catalogue.newest_of(series)
            if found and not catalogue.too_old(found):
                return found
        for release in [*own, exact, *(catalogue.newest_of(tag.series) for tag in tags if tag.series)]:
            if release:
                return release
        release = self._asked_release() if self.checked else None
        if release:
            return release
        self.release_is_known = False
        self.warnings.append(
            "the release cannot be read from the image tags of the compose file, nor from the images; taken to be %s. Set `appwrite_version`"
            % catalogue.NEWEST
        )
        return catalogue.NEWEST

    def _corrected(self, release: str) -> str:
        """The release with what the compose file passes, and what Appwrite's own container says of its variables."""
        passed: dict[str, list[str]] = {}
        for service in self.services:
            for name in self.listed(service):
                passed.setdefault(name, []).append(service)
        others = names_used((), (text for _path, text in self.written.texts))
        if self.written.has_env_files:
            others.update(name for name in catalogue.names() if self.passed(name))
        return catalogue.Corrected(release, {**dict.fromkeys(others, ()), **passed}, self._own_defaults())

    def _own_defaults(self) -> Mapping[str, str] | None:
        """Variable to default, asked of the container of the API if it was made of the image that the project names now."""
        api = self.api()
        try:
            for container in self.containers() if api else ():
                if (container.service, container.status) == (api, "running") and container.image_name == self._image_of(
                    api
                ):
                    return own_variables.answered(
                        self.compose.execute(container.id, own_variables.COMMAND, own_variables.QUESTION)
                    )
        except AppwriteError:
            pass
        return None

    def _own_words(self) -> list[str]:
        """The releases that the images of Appwrite's services name in their environment."""
        said = (self._set_by_image(service).get("_APP_VERSION", "") for service in self.appwrite_services())
        return [word for word in said if _RELEASE.fullmatch(word)]

    def _asked_release(self) -> str | None:
        """What the program in a running container says, which a development build of an image has nowhere else."""
        services = self.appwrite_services()
        try:
            for container in self.containers():
                if container.service in services and container.status == "running":
                    answer = self.compose.docker(["exec", container.id, "sh", "-c", _OWN_WORD], tolerate=True).stdout
                    found = _RELEASE.search(answer)
                    return found.group() if found else None
        except ComposeError:
            pass
        return None

    @property
    def databases(self) -> dict[str, str]:
        """The services of the project that are one of Appwrite's databases, by the names of its own compose file or else by their images, and which."""
        services = self.config.get("services", {})
        named = {database.service: database.service for database in DATABASES if database.service in services}
        kinds = {name: kind_of(service.get("image", "")) for name, service in services.items()}
        return named or {name: kind for name, kind in kinds.items() if kind}

    def containers(self) -> list[Container]:
        if self._containers is None:
            listed, self._listed = self._listed, None
            mine = None if listed is None else _ids(row for row in listed if row.project == self.project)
            self._containers = (
                self._answer("containers", self.project, lambda: self.compose.containers(self.project, False, mine))
                if self.checked
                else []
            )
            for container in self._containers:
                self.compose.mask.add(
                    catalogue.secrets_of(
                        {
                            name: value
                            for name, value in container.environment.items()
                            if catalogue.get(name) is not None
                        }
                    )
                )
        return self._containers

    def hashes(self) -> dict[str, str]:
        """C(Compose.hashes) of the project on disk."""
        return self._answer("hashes", "", self.compose.hashes)

    def image_ids(self) -> dict[str, str]:
        """C(Compose.image_ids) of the project's images."""
        names = self._image_names()
        return self._answer("images", _joined(names), lambda: self.compose.image_ids(names))

    def _image_names(self) -> list[str]:
        return [service.get("image", "") for service in self.config["services"].values()]

    def vars(self, container: str) -> str:
        """What C(vars) prints in a container of Appwrite's API. Raises ComposeError if it cannot be run."""
        return self._answer("vars", container, lambda: self.compose.execute(container, ["vars"]))

    def forget_containers(self) -> None:
        self._containers = self._listed = None
        self._ahead.clear()

    def forget_evidence(self) -> None:
        """Call it while the database starts."""
        self.forget_containers()
        self._evidence = None

    def neighbours(self) -> set[str]:
        """The names of the other compose projects that have containers from this directory. Raises ComposeError if the engine does not answer."""
        rows, here = self._rows or self._list(), os.path.realpath(self.directory)
        mine = (row.project for row in rows if row.directory and os.path.realpath(row.directory) == here)
        return {*mine} - {self.project, ""}

    def container_keys(self) -> dict[str, tuple[str, ...]]:
        """Encryption key to the services whose containers were created with it. Empty where the engine does not answer."""
        try:
            containers = self.containers()
        except ComposeError:
            return {}
        found: dict[str, list[str]] = {}
        for container in containers:
            if catalogue.KEY in container.environment or catalogue.KEY in self.listed(container.service):
                found.setdefault(in_force(container.environment), []).append(container.service)
        return {key: tuple(services) for key, services in found.items()}

    def drift(self, document: Document) -> list[dict[str, str]]:
        """Where what runs, or would run, is not what C(.env) says: C(service), C(name), C(kind). Raises ComposeError where the engine does not answer."""
        services = self.services
        listed = {service: self.listed(service) for service in services}
        return drift(document.values, listed, services, self.containers(), self.passed)

    def require_compose(self) -> None:
        """Call it after C(load). Raises AppwriteError if docker compose is not installed."""
        if not self.checked:
            raise AppwriteError(
                "docker compose is not installed on this host; install Docker Engine with the compose plugin, 2.26 or newer"
            )

    def published(self) -> Published | None:
        return published(self.config["services"]) if self.checked else None

    def holds_data(self) -> Evidence:
        """Whether anyone uses the installation: no volume of the database, or no console account in it, means no."""
        if self._evidence is None:
            self._evidence = self._look_for_data()
        return self._evidence

    def never_started(self) -> bool:
        """Whether not even the database has been created, as C(holds_data) would say too, but without asking that."""
        if self._evidence is None and self.checked and not self._dsns():
            service, _database = self._database(self._database_host())
            try:
                return service is not None and not self.neighbours() and not self._has_storage(service)
            except ComposeError:
                return False
        return self.holds_data().never_started

    def _look_for_data(self) -> Evidence:
        if not self.checked:
            trace = self.compose.trace()
            if trace:
                return Evidence(
                    "unknown",
                    "docker compose does not answer on this host, but %s shows that an engine is or was here" % trace,
                    remedy="Install the compose plugin, 2.26 or newer, beside the engine, and run again",
                )
            return Evidence("no", "docker is not installed on this host", never_started=True)
        if self._dsns():
            return Evidence("unknown", self._dsns(), remedy=_NO_DSNS, elsewhere=True)
        host = self._database_host()
        service, database = self._database(host)
        try:
            if service is None or database is None:
                return self._ask_from_outside(host)
            return self._ask(service, database)
        except ComposeError as error:
            return _not_found_out(error)

    def _ask_from_outside(self, host: str) -> Evidence:
        """Of a database that is no service of the project: in Appwrite's own container, which has all that it takes, or in one with the database's client."""
        what = "the database host %s is not a database service of this project" % host
        api = self.api()
        wanted = {name: self.services.get(api, {}).get(name, "") for name in _elsewhere.SAME}
        mine = [container for container in self.containers() if container.service == api]
        same = [
            container
            for container in mine
            if all(container.environment.get(name, "") == value for name, value in wanted.items())
        ]
        running = [container for container in same if container.status == "running"]
        who = "no container of Appwrite runs with it that could be asked whether anyone signed up"
        remedy = "Start Appwrite by hand with the key that it had (docker compose up -d), so that its container can be asked, and run again"
        if not running and same != mine:  # where it was before may be where the data is
            return Evidence("unknown", "%s, and %s" % (what, who), remedy=remedy, elsewhere=True)
        try:
            if running:
                who = "the container of %s, asked whether anyone signed up," % api
                remedy = "Wait until Appwrite reaches its database, and run again"
                place, command, script = running[0].id, _elsewhere.COMMAND, _elsewhere.question(self._kind_elsewhere())
            else:
                who += ", and one with the database's client"
                place, command, script = self._client_and_question()
            answer = patiently(lambda: self.compose.execute(place, command, script))
        except AppwriteError as error:
            answer, failed = "", ": %s" % error
        else:
            failed = " clearly"
        return _answered(answer, "the database at %s" % host, elsewhere=True) or Evidence(
            "unknown", "%s, and %s did not answer%s" % (what, who, failed), remedy=remedy, elsewhere=True
        )

    def _client_and_question(self) -> tuple[str, tuple[str, ...], str | None]:
        kind, place = self.database()
        database = next(each for each in DATABASES if each.service == kind)
        return place, database.question, database.script

    def api(self) -> str:
        """The service that runs the API: what its image starts by itself, or that program by name; empty if there is none."""
        found = self.appwrite_services()
        services = self.config["services"]
        mine = [
            name
            for name in found
            if all(
                str(word).endswith(("php", "http.php", "docker-php-entrypoint"))
                for option in ("entrypoint", "command")
                for word in services[name].get(option) or []
            )
        ]
        return next((name for name in [*mine, *found] if name == "appwrite"), next(iter([*mine, *found]), ""))

    def _database_host(self) -> str:
        only = next(iter(self.databases)) if len(self.databases) == 1 else None
        return (
            catalogue.given(self.services.get(self.api(), {}), "_APP_DB_HOST")
            or catalogue.given(self.values, "_APP_DB_HOST")
            or only
            or catalogue.default("_APP_DB_HOST", self.release)
            or "mariadb"
        )

    def database(self) -> tuple[str, str]:
        """Which of Appwrite's databases it works on, and the id of the container to ask it in: its own, or one with its client.

        Raises AppwriteError if there is none.
        """
        if self._dsns():
            raise AppwriteError("%s. %s" % (self._dsns(), _NO_DSNS))
        host = self._database_host()
        service, database = self._database(host)
        if service is None or database is None:
            return self._database_elsewhere(host)
        running = [
            container
            for container in self.containers()
            if container.service == service and container.status == "running"
        ]
        if not running:
            raise AppwriteError("the database %s does not run; start it (docker compose up -d %s)" % (service, service))
        return database.service, running[0].id

    def _dsns(self) -> str:
        """That other variables say where the data is, in words; empty if they do not."""
        name = catalogue.connection(self.services.get(self.api(), {}), self.release, catalogue.DATABASE_DSNS)
        return (
            name and "%s: tells Appwrite where its databases are, and this collection reads _APP_DB_HOST alone" % name
        )

    def _kind_elsewhere(self) -> str:
        """The name of a database that is no service of the project.

        Appwrite knows MariaDB alone before 1.9, takes MongoDB from then on if no adapter is named, and PostgreSQL from 2.0 on (C(app/init/registers.php)).
        """
        if catalogue.is_older(self.release, (1, 9, 0)):
            return "mariadb"
        usual = "mongodb" if catalogue.is_older(self.release, (2, 0, 0)) else "postgresql"
        adapter = catalogue.given(self.services.get(self.api(), {}), "_APP_DB_ADAPTER") or usual
        kind = next((each.service for each in DATABASES if adapter.lower() in each.adapters), None)
        if kind is None:
            raise AppwriteError(
                "_APP_DB_ADAPTER: %s is no database that this collection knows; it knows %s"
                % (adapter, ", ".join(each for known in DATABASES for each in known.adapters))
            )
        return kind

    def outside(self) -> list[tuple[str, str, str]]:
        """What kind of server, its host and its port, for the database and Redis that are no services of the project.

        Raises AppwriteError if nothing says where these are, if other variables do, or if the database is one that this collection does not know.
        """
        if not self.api():
            raise AppwriteError("no service of the project runs Appwrite, whose settings say where its database is")
        values = self.services.get(self.api(), {})
        name = catalogue.connection(values, self.release, (*catalogue.DATABASE_DSNS, *catalogue.REDIS_DSNS))
        if name:
            raise AppwriteError(
                "%s: tells Appwrite where its servers are, and this collection reads _APP_DB_HOST and _APP_REDIS_HOST alone"
                % name
            )
        database, redis = self._database_host(), catalogue.given(values, "_APP_REDIS_HOST") or "redis"
        found = []
        if self.service_at(database) is None:
            kind, port = self._database_and_port()
            found.append((kind.name, database, port))
        if self.service_at(redis) is None:
            found.append(("Redis", redis, catalogue.given(values, "_APP_REDIS_PORT") or "6379"))
        return found

    def _database_and_port(self) -> tuple[Database, str]:
        """Of one that is no service of the project."""
        kind = self._kind_elsewhere()
        database = next(each for each in DATABASES if each.service == kind)
        given = catalogue.given(self.services.get(self.api(), {}), "_APP_DB_PORT")
        return database, given or catalogue.DATABASE_PORTS[database.service]

    def _database_elsewhere(self, host: str) -> tuple[str, str]:
        database, port = self._database_and_port()
        values = {**self.services.get(self.api(), {}), "_APP_DB_HOST": host, "_APP_DB_PORT": port}
        login = {name: catalogue.given(values, variable) for name, variable in database.login.items()}
        return database.service, self.client("client_image", database.client_image, login)

    def client(self, option: str, image: str, environment: Mapping[str, str]) -> str:
        """The id of a container in Appwrite's networks with a client of what is no service of the project, kept until this process ends.

        option: which names the image, if it is not the usual one. Raises AppwriteError if there is no such image, or it does not start.
        """
        image = (self.client_images or {}).get(option) or image
        return self._kept(option, Client, (image, self.way(), self.networks(), environment), option).id

    def keep_mounted(self, volume: str) -> None:
        """Until this process ends, by a container of Appwrite's image. Raises AppwriteError if there is no such image, or it does not start."""
        self._kept("volume " + volume, Mounted, (self._image_of("appwrite"), volume))

    def _kept(self, name: str, kind: type[Any], wanted: tuple[Any, ...], option: str = "") -> Companion:
        """wanted: its image, and what else it is made of, which is something else if the project was read anew with other settings."""
        made, companion = self._companions.get(name, (None, None))
        if companion is None or not companion.is_up or made != wanted:
            if companion is not None:
                companion.close()
            require_image(self.compose, wanted[0], option, bool(option) and self.client_images is not None)
            companion = kind(self.compose, self.project, *wanted)
            self._companions[name] = wanted, companion
        return companion

    def way(self) -> dict[str, Any]:
        """What the project says of how Appwrite's API reaches other hosts, besides its networks."""
        service = self.config["services"].get(self.api(), {})
        return {name: service.get(name) for name in WAY}

    def networks(self) -> list[str]:
        """Those of Appwrite's API, as the engine calls them."""
        service, known = self.config["services"].get(self.api(), {}), self.config.get("networks") or {}
        return [known.get(name, {}).get("name", name) for name in service.get("networks") or {}]

    @property
    def is_database_elsewhere(self) -> bool:
        """Whether it was asked for in a container with its client."""
        return "client_image" in self._companions

    def service_at(self, host: str) -> str | None:
        """The service that the others reach by this name."""
        services = self.config["services"].items()
        return next((name for name, service in services if host in self._hosts(name, service)), None)

    def _database(self, host: str) -> tuple[str | None, Database | None]:
        for name, service in self.config["services"].items():
            if host in self._hosts(name, service):
                kind = kind_of(service.get("image", ""))
                for database in DATABASES:
                    if database.service in (kind, name):
                        return name, database
        return None, None

    def _hosts(self, name: str, service: Mapping[str, Any]) -> list[Any]:
        """The names by which the others reach a service."""
        networks = (network or {} for network in (service.get("networks") or {}).values())
        aliases = [alias for network in networks for alias in network.get("aliases") or []]
        own = service.get("container_name") or "%s-%s-1" % (self.project, name)
        return [name, own, service.get("hostname"), *aliases]

    def _ask(self, service: str, database: Database) -> Evidence:
        elsewhere = self.neighbours()
        if elsewhere:
            return Evidence(
                "unknown",
                "containers of another project name (%s) were started from this directory, while this run looks at %s; "
                "set `project_name`" % (", ".join(sorted(elsewhere)), self.project),
                remedy="Set `project_name` and run again",
            )
        if not self._has_storage(service):
            return Evidence("no", "the database of project %s has no volume yet" % self.project, never_started=True)
        running = [
            container
            for container in self.containers()
            if container.service == service and container.status == "running"
        ]
        if not running:
            return Evidence(
                "unknown",
                "the database has a volume but the service %s is not running, so it cannot be asked whether anyone signed up; "
                "start it (docker compose up -d %s)" % (service, service),
                stopped=service,
            )
        try:
            answer = patiently(lambda: self.compose.execute(running[0].id, database.question, database.script))
        except AppwriteError as error:
            return _not_found_out(error, service)
        return _answered(answer, "the database of project %s" % self.project) or Evidence(
            "unknown",
            "the database of service %s gave no clear answer whether anyone signed up" % service,
            starting=service,
        )

    def is_new(self, program: str) -> bool:
        """Whether the project has services whose image is of this program, and none of them was ever started."""
        services = self.config.get("services", {})
        found = [
            name for name, service in services.items() if program in re.split("[/:-]", str(service.get("image") or ""))
        ]
        try:
            return bool(found) and not any(self._has_storage(name) for name in found)
        except ComposeError:
            return False

    def _has_storage(self, service: str) -> bool:
        if any(container.service == service for container in self.containers()):
            return True
        volumes = self.config.get("volumes") or {}
        existing = self.compose.volumes()
        for mount in self.config["services"][service].get("volumes") or []:
            if mount.get("read_only"):
                continue
            source = mount.get("source", "")
            if mount.get("type") == "volume" and (volumes.get(source) or {}).get("name", source) in existing:
                return True
            if mount.get("type") == "bind" and _has_entries(source):
                return True
        return False


def _ids(rows: Iterable[landscape.Row]) -> list[str]:
    return [row.id for row in rows]


def _joined(images: Iterable[str]) -> str:
    return " ".join(sorted({*images} - {""}))


def _settled(env_path: str) -> list[str]:
    """What .env says of the project itself, as far as it can be read."""
    try:
        with open(env_path, encoding="utf-8", errors="replace") as stream:
            return re.findall(
                r"^\s*(?:export\s+)?(COMPOSE_FILE|COMPOSE_PROJECT_NAME)\s*=\s*\S", stream.read(), re.MULTILINE
            )
    except OSError:
        return []


def _says_too_little(text: str) -> bool:
    """Whether the name of an image leaves open if it is Appwrite's, or which release."""
    image = _project.image(text)
    return not (image.is_other or kind_of(text) or image.release and not catalogue.too_old(image.release))


def _resolved(image: str, values: Mapping[str, str]) -> str:
    try:
        return parse("IMAGE=%s\n" % image, values).values["IMAGE"]
    except AppwriteError:
        return ""


def _answered(answer: str, where: str, elsewhere: bool = False) -> Evidence | None:
    if "console accounts: users" in answer:
        return Evidence("yes", "a console account exists in %s" % where, elsewhere=elsewhere)
    if "console accounts: empty" in answer:
        return Evidence("no", "nobody has signed up to the console yet, as %s says" % where, elsewhere=elsewhere)
    return None


def _not_found_out(error: AppwriteError, starting: str = "") -> Evidence:
    return Evidence(
        "unknown", "it cannot be found out whether the installation holds data: %s" % error, starting=starting
    )


def _has_entries(directory: str) -> bool:
    """Whether a directory holds anything, or may: one that cannot be read counts as full, and a disk that was just made for it as empty."""
    try:
        return os.path.isdir(directory) and bool(set(os.listdir(directory)) - {"lost+found"})
    except OSError:
        return True
