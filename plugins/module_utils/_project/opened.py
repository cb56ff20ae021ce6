# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to open a project, by a module's options: what its C(.env) says, and what compose makes of the whole.

The audit alone goes on if a part of that fails (C(_audit.observe)), and takes the parts one by one.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from typing import Any, Collection, Mapping

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite import variables as catalogue
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import GUARD, MARK
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import Document, decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._options import PROJECT_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance


def instance_of(parameters: Mapping[str, Any]) -> Instance:
    return Instance(**{name: parameters[name] for name in PROJECT_OPTIONS})


def env_file_of(instance: Instance) -> EnvFile:
    """The file as it is on disk, or is missing there; without a lock, for who writes nothing."""
    env_file = EnvFile(instance.env_path)
    env_file.read()
    return env_file


def document_of(env_file: EnvFile, instance: Instance, option: str = "env_file") -> Document:
    """What the file says. Raises AppwriteError with C(option), path, line and cause if compose rejects it, or a rotation guards it."""
    try:
        return parse(decode(env_file.data), instance.compose.environment)
    except AppwriteError as error:
        if GUARD.encode() in env_file.data:
            raise AppwriteError(
                "%s: a rotation of the encryption key of %s is unfinished; run ansible-playbook selfhost.appwrite.rotate again"
                % (option, env_file.path)
            ) from None
        raise AppwriteError("%s: compose rejects %s: %s" % (option, env_file.path, error)) from None


def opened(
    instance: Instance,
    env_file: EnvFile,
    missing: str | None = None,
    compose: bool = True,
    past_guard: bool = False,
    expected: Collection[str] = (),
) -> Document:
    """What the file says, which has been read, and the project as compose makes it of that file. The file is parsed and compose asked once.

    missing: what is added to the refusal if there is no file; None if there need be none.
    compose: whether it is refused if there is no compose to ask.
    past_guard: whether the file is also read while the guard of a rotation stands in it; its key is C(MARK) then.
    expected: see C(Instance.load).
    Raises AppwriteError if compose rejects the file or the project, with the line.
    """
    data = env_file.data
    if past_guard and GUARD.encode() in data:
        data = data.replace(GUARD.encode(), ("%s=%s" % (catalogue.KEY, MARK)).encode())
        return opened_with(instance, data)
    document = document_of(env_file, instance)
    if missing is not None and not env_file.exists:
        instance.compose_files({})
        raise AppwriteError("env_file: %s does not exist%s" % (env_file.path, missing))
    if env_file.was_busy:
        instance.look_around()
    instance.load(document, None if env_file.exists else b"", expected)
    if compose:
        instance.require_compose()
    return document


def opened_with(instance: Instance, data: bytes, config: dict[str, Any] | None = None) -> Document:
    """The same with other content in the place of the file's, such as that of a backup. C(config): what compose has made of it already."""
    document = parse(decode(data), instance.compose.environment)
    instance.load(document, data, config=config)
    instance.require_compose()
    return document
