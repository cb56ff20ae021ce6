# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an installation stores what it seals, and whether a key opens that.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from itertools import islice
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence, Union
from urllib.parse import urlsplit

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.devices import Device, device_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.evidence import Opening
from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import cipher_key, generate
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT, Tell
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.client import UNLABELLED
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.connections import patiently
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.known import kind_of
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.instance import Instance
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import (
    METHOD,
    PLAIN,
    Cipher,
    Exchange,
    Parts,
    at_hand,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import (
    Examination,
    Report,
    digest,
    first_values,
    sealed,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.files import Files
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.mariadb import MariaDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    Look,
    Row,
    Store,
    StoredFiles,
    Table,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.mongodb import MongoDB
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import (
    Bucket,
    Objects,
    StoreOfObjects,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.postgresql import PostgreSQL
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sealed import SealedFiles

_ROWS = 5
"""of each table that a sample is taken from"""
_TABLES = 50
"""besides the console's"""
_BYTES = 8 << 20
"""of sealed values, after which a sample is large enough"""
_LEFT_OUT = "files are left out: %s"
READING: Mapping[str, type[Any]] = {"mariadb": MariaDB, "postgresql": PostgreSQL, "mongodb": MongoDB}
_ASKED_FROM = (
    "It is no service of the project, and was asked from a container in the networks of Appwrite's API: see that Appwrite itself reaches it, and that "
    "_APP_DB_HOST, _APP_DB_PORT, _APP_DB_USER and _APP_DB_PASS are right"
)
_PHP = (
    """
$asked = json_decode(stream_get_contents(STDIN), true);
$opens = fn($key, $value) => openssl_decrypt($value[0], '%s', base64_decode($key), 0, hex2bin($value[1]), hex2bin($value[2])) !== false;
echo json_encode(array_map(fn($key) => array_map(fn($value) => @$opens($key, $value), $asked['values']), $asked['keys']));
"""
    % METHOD
)


class Looked(NamedTuple):
    report: Report
    warnings: list[str]
    first: Mapping[str, bool]
    """digest of each of the console's first sealed values to whether the key opens it"""


class InBucket(NamedTuple):
    """Files in an object store."""

    bucket: Bucket
    local: str | None
    """the directory of the local volume, if there is one beside it"""


Uploads = Union[str, InBucket]
"""a directory of this host, or a bucket"""


class _NoFiles:
    """A database without its files: what is stored in rows can be opened all the same."""

    def look(self, row: Row, exchange: Exchange) -> Look:
        return Look(PLAIN)

    def each(self, work: Callable[[Any], Any], those: Sequence[Any]) -> Iterable[Any]:
        return map(work, those)

    def doubt(self, row: Row) -> str:
        return ""


def check_sample(sample: int) -> None:
    """Raises AppwriteError for less than 0."""
    if sample < 0:
        raise AppwriteError("sample: must be at least 0, got %d; 0 means all values" % sample)


def look(
    instance: Instance, key: str, sample: int | None, container: str | None = None, progress: Tell = SILENT
) -> Looked:
    """Opens about C(sample) rows of each table with a key, or all; what it opens counts as C(old). Writes nothing.

    container: the name of one with a copy of the database, to look at instead; there are no files then.
    Raises AppwriteError if there is nothing to look at.
    """
    warnings: list[str] = []
    files: StoredFiles = _NoFiles()
    if container is None:
        try:
            files = files_in(uploads_of(instance))
        except AppwriteError as error:
            warnings.append(_LEFT_OUT % error)
    store = store_of(instance, container, progress)

    def looked(files: StoredFiles) -> Looked:
        cipher = Cipher(key)
        report = Examination(store, files, cipher, Cipher(generate(32)), (), progress).rehearse(sample)
        first = {digest(parts): cipher.decrypt(*parts) is not None for parts in first_values(store)}
        return Looked(report, warnings, first)

    try:
        return looked(files)
    except StoreOfObjects as error:
        warnings.append(_LEFT_OUT % error)
        return looked(_NoFiles())
    finally:
        store.close()


def opening(instance: Instance, keys: Sequence[str]) -> Opening:
    """How many values of a sample of what is stored each of these keys opens. Writes nothing, and reads the sample once.

    Raises AppwriteError if that cannot be found out.
    """
    instance.compose.mask.add(keys)
    if instance.sample is None:
        store = store_of(instance)
        try:
            instance.sample = _sample(store)
        finally:
            store.close()
    if not instance.sample and instance.is_database_elsewhere and instance.holds_data().state == "yes":
        raise AppwriteError(
            "_APP_DB_HOST: a console account exists in the database, and a container with its client finds nothing there that is sealed: the name may lead "
            "it to another server. See that it leads to the same one from each of the networks of Appwrite's API, and run again"
        )
    values = [parts for parts in instance.sample if parts]
    tried = (
        (_open_here if at_hand() else _open_in_image)(instance, keys, values)
        if keys and values
        else [[] for _key in keys]
    )
    return Opening(len(instance.sample), dict(zip(keys, map(sum, tried))))


def _sample(store: Store) -> list[Parts | None]:
    """Some sealed values from all over the database. If there seems to be none, all of it is read up to the first."""
    tables = [table for table in store.tables() if table.columns]
    found, size = [], 0
    for parts in sealed(store, _some(tables), _ROWS):
        found.append(parts)
        size += len(parts[0]) if parts else 0
        if size > _BYTES:
            break
    return found or list(islice(sealed(store, tables, None), 1))


def _some(tables: Sequence[Table]) -> list[Table]:
    """Those of the console, which every installation has, and as many others as a run can wait for."""
    console = [table for table in tables if table.collection.startswith("_console_")]
    others = [table for table in tables if table not in console]
    return console + others[:: max(1, -(-len(others) // _TABLES))]


def _open_here(_instance: Instance, keys: Sequence[str], values: Sequence[Parts]) -> list[list[bool]]:
    """For each key whether it opens each value."""
    return [[cipher.decrypt(*parts) is not None for parts in values] for cipher in map(Cipher, keys)]


def _open_in_image(instance: Instance, keys: Sequence[str], values: Sequence[Parts]) -> list[list[bool]]:
    """The same by the PHP of Appwrite's image, in a container that reaches nothing and is reached by nothing but its standard input."""
    image = instance.config["services"].get("appwrite", {}).get("image", "")
    if not image:
        raise _cannot_open("the project has no service appwrite, whose image could do it")
    if not instance.compose.image_ids([image]):
        raise _cannot_open(
            "the image %s, which could do it, is not on this host" % image,
            ", or pull the image (docker compose pull appwrite)",
        )
    asked = {
        "keys": [base64.b64encode(cipher_key(key)).decode("ascii") for key in keys],
        "values": [[data.decode("ascii"), iv, tag] for data, iv, tag in values],
    }
    name = "selfhost-appwrite-%s-%s" % (instance.project, secrets.token_hex(8))
    confined = ["--network", "none", "--read-only", "--cap-drop", "ALL", "--log-driver", "none", *UNLABELLED]
    command = (
        ["run", "--rm", "--interactive", "--name", name]
        + confined
        + ["--entrypoint", "php", image, "-n", "-d", "memory_limit=-1", "-r", _PHP]
    )
    try:
        answer = instance.compose.docker(command, json.dumps(asked)).stdout
    except ComposeError as error:
        instance.compose.docker(["rm", "--force", name], tolerate=True)
        raise _cannot_open("the PHP of %s did not do it either (%s)" % (image, error)) from None
    try:
        tried: list[list[bool]] = json.loads(answer)
        if [[type(each) for each in one] for one in tried] != [[bool] * len(values)] * len(keys):
            raise ValueError
    except (TypeError, ValueError):
        raise _cannot_open("the PHP of %s gave no clear answer" % image) from None
    return tried


def _cannot_open(why: str, other_way: str = "") -> AppwriteError:
    return AppwriteError(
        "no key can be tried on what is stored: the Python of this host lacks the package cryptography, and %s. Install python3-cryptography there%s"
        % (why, other_way)
    )


def store_of(
    instance: Instance,
    container: str | None = None,
    progress: Tell = SILENT,
    stores: Mapping[str, type[Any]] | None = None,
) -> Any:
    """The database of the project, or the one that runs in a container of that name, on one connection until it is closed.

    stores: the class for each kind of database, by default those that only read; with these MariaDB and PostgreSQL themselves refuse
    every change on the connection.

    Waits for a connection while all are in use. Raises AppwriteError if there is no database to ask.
    """
    kind: str | None
    if container is None:
        kind, found = instance.database()
    else:
        answer = instance.compose.docker(
            ["inspect", "--type", "container", "--format", "{{.State.Status}} {{.Config.Image}}", container],
            tolerate=True,
        )
        status, _blank, image = answer.stdout.strip().partition(" ")
        if status != "running":
            raise AppwriteError("container: %s is not a running container" % container)
        kind, found = kind_of(image), container
        if kind is None:
            raise AppwriteError("container: the image of %s is not MariaDB, PostgreSQL or MongoDB" % container)
    store = (stores or READING)[kind]
    try:
        return patiently(lambda: store(store.client(found), instance.compose.environment), progress)
    except AppwriteError as error:
        if container is None and instance.is_database_elsewhere:
            raise AppwriteError("%s. %s" % (error, _ASKED_FROM)) from None
        raise


def uploads_of(instance: Instance) -> Uploads:
    """Where the files are, by the settings that the service C(appwrite) has.

    Raises AppwriteError if they cannot be reached: the volume is not on this host, a setting of the bucket is missing, or boto3 is.
    """
    device = device_of(instance.listed("appwrite"))
    if device is None:
        return _volume_of(instance)
    instance.compose.mask.add([device.access_key, device.secret])
    try:
        local: str | None = _volume_of(instance)
    except AppwriteError:
        local = None
    return InBucket(Bucket(device, instance.compose.mask, elsewhere(instance, device)), local)


def files_in(uploads: Uploads) -> SealedFiles:
    """The files, as they are read. Raises AppwriteError if the directory cannot be opened."""
    return Files(uploads) if isinstance(uploads, str) else Objects(*uploads)


def elsewhere(instance: Instance, device: Device) -> dict[str, str]:
    """Where to connect to for a store that is a service of the project, under whose name containers alone know it."""
    parts, service = urlsplit(device.endpoint), instance.service_at(device.host)
    return {
        parts.netloc: _place_of(container.addresses[0], parts.port)
        for container in (instance.containers() if service else ())
        if container.service == service and container.status == "running" and container.addresses
    }


def _place_of(address: str, port: int | None) -> str:
    host = "[%s]" % address if ":" in address else address
    return host if port is None else "%s:%d" % (host, port)


def _volume_of(instance: Instance) -> str:
    """The directory of this host that the containers have as C(/storage/uploads)."""
    for mount in instance.config["services"].get("appwrite", {}).get("volumes") or []:
        if mount.get("target") == "/storage/uploads" and mount.get("type") == "bind":
            return str(mount["source"])
        if mount.get("target") == "/storage/uploads" and mount.get("source"):
            name = ((instance.config.get("volumes") or {}).get(mount["source"]) or {}).get("name", mount["source"])
            return _place_on_host(instance, name)
    raise AppwriteError("the service appwrite has no volume at /storage/uploads, so its files cannot be found")


def _place_on_host(instance: Instance, name: str) -> str:
    """Of a volume. One with a device (NFS, CIFS, another directory) or of another driver is mounted there only while a container uses it."""
    found = _inspected(instance, name)
    if found and (found["Driver"] != "local" or not {"device", "type"}.isdisjoint(found["Options"] or ())):
        instance.keep_mounted(name)
        found = _inspected(instance, name)  # only now some drivers say where
    path = found.get("Mountpoint", "")
    if path and os.path.isdir(path):
        return str(path)
    raise AppwriteError(
        "the volume %s cannot be found on this host (%s); run this where the engine runs, as root"
        % (name, path or "no such volume")
    )


def _inspected(instance: Instance, volume: str) -> dict[str, Any]:
    """What the engine says of it, nothing if it knows none."""
    try:
        [found] = json.loads(instance.compose.docker(["volume", "inspect", volume]).stdout)
    except ComposeError as error:
        if error.kind != "failed":
            raise
        return {}
    return dict(found)
