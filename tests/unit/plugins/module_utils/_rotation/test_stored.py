# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of what is stored, and which key opens it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from support.objects import ACCESS, NAME, SECRET, settings
from support.rotation import BUCKET, USERS, Memory

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import ComposeError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import cipher as _cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import stored as _stored
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import OLD, Cipher
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Row, Table
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.objects import StoreOfObjects

ONE, TWO = "one-is-not-a-real-key-0123456789", "two-is-not-a-real-key-0123456789"
SEALED = Cipher(ONE).seal(b"NotARealPassword1")


class Store:
    """Tables of rows with one column; notes which were read, and how."""

    def __init__(self, **tables):
        self.values = {Table("appwrite", name, name, ("secret",)): rows for name, rows in tables.items()}
        self.values[Table("appwrite", "_1_bucket_1", "_1_bucket_1", (), True)] = [SEALED]
        self.read = []
        self.closed = 0

    def tables(self):
        return list(self.values)

    def rows(self, table, sample=None):
        self.read.append((table.name, sample))
        for value in self.values[table][:sample]:
            yield [Row(1, "row", {} if value == "absent" else {"secret": value}, {})]

    def close(self):
        self.closed += 1


class Instance:
    def __init__(self, monkeypatch, store, answer="", images=("image",)):
        monkeypatch.setattr(_stored, "store_of", lambda _instance: store)
        self.sample = None
        self.is_database_elsewhere = False
        self.commands = []
        self.masked = []
        self.config = {"services": {"appwrite": {"image": "image"}}}

        def docker(arguments, script=None, timeout=0, tolerate=False):
            self.commands.append((arguments, script))
            if isinstance(answer, Exception) and not tolerate:
                raise answer
            return SimpleNamespace(stdout=answer)

        self.project = "appwrite"
        self.compose = SimpleNamespace(
            docker=docker,
            mask=SimpleNamespace(add=self.masked.extend),
            image_ids=lambda names: {name: "id" for name in names if name in images},
        )


def opened(*arguments, keys=(ONE, TWO), **options):
    return _stored.opening(Instance(*arguments, **options), keys)


def test_opening(monkeypatch):
    store = Store(
        _console_users=[SEALED, None, Cipher(TWO).seal(b""), "absent", "plain"], _1_users=[[SEALED, None, SEALED]]
    )
    instance = Instance(monkeypatch, store)
    found = _stored.opening(instance, [ONE, TWO, "three-is-none"])
    assert (found.looked, found.opened) == (4, {ONE: 3, TWO: 1, "three-is-none": 0})
    assert set(instance.masked) >= {ONE, TWO} and store.closed == 1
    assert _stored.opening(instance, [TWO]).opened == {TWO: 1} and store.closed == 1, "the database is asked once"


def test_what_no_key_can_open_counts(monkeypatch):
    odd = [SEALED.replace("aes-128-gcm", "aes-256-gcm"), SEALED.replace('"iv":"', '"iv":"00'), '{"data":']
    found = opened(monkeypatch, Store(_console_users=odd))
    assert (found.looked, found.opened) == (3, {ONE: 0, TWO: 0})


def test_sample_that_holds_nothing(monkeypatch):
    """Then all is read, up to the first."""
    store = Store(_console_users=[None] * 20, _1_users=[None] * 20 + [SEALED, SEALED])
    assert opened(monkeypatch, store).opened == {ONE: 1, TWO: 0}
    assert store.read == [("_console_users", 5), ("_1_users", 5), ("_console_users", None), ("_1_users", None)]
    found = opened(monkeypatch, Store(_console_users=[None]))
    assert (found.looked, found.opened) == (0, {ONE: 0, TWO: 0})


@pytest.mark.parametrize("state", ["yes", "no", "unknown"])
def test_nothing_where_somebody_has_signed_up(monkeypatch, state):
    """Another server has answered: that no value speaks against a key is no word for it."""
    instance = Instance(monkeypatch, Store(_console_users=[None]))
    instance.is_database_elsewhere = True
    instance.holds_data = lambda: SimpleNamespace(state=state)
    if state != "yes":
        assert _stored.opening(instance, [ONE]).looked == 0
        return
    with pytest.raises(AppwriteError, match=r"^_APP_DB_HOST: a console account exists .* lead it to another server\."):
        _stored.opening(instance, [ONE])


def test_sample_is_bounded(monkeypatch):
    many = Store(**{f"_{number}_users": [SEALED] for number in range(1000)}, _console_users=[SEALED])
    assert opened(monkeypatch, many).looked == 51
    assert {name for name, _sample in many.read} >= {"_console_users", "_0_users", "_980_users"}
    monkeypatch.setattr(_stored, "_BYTES", 50)
    assert opened(monkeypatch, many).looked == 3


def test_store_is_closed_whatever_happens(monkeypatch):
    store = Store()
    monkeypatch.setattr(store, "tables", lambda: {}["none"])
    with pytest.raises(KeyError):
        opened(monkeypatch, store)
    assert store.closed == 1


# --- without cryptography ---


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr(_cipher, "_MISSING", True)


def test_in_the_image(monkeypatch, without):
    """Keys and values go in by standard input, into a container that nothing leaves but the answer."""
    instance = Instance(monkeypatch, Store(_console_users=[SEALED, '{"data":']), "[[true],[false]]")
    found = _stored.opening(instance, [ONE, TWO])
    assert (found.looked, found.opened) == (2, {ONE: 1, TWO: 0})
    assert len(instance.commands) == 1
    arguments, script = instance.commands[0]
    line = " ".join(arguments)
    assert (
        "--network none --read-only --cap-drop ALL --log-driver none --label com.docker.compose.project= --entrypoint php image"
        in line
        and ONE[:8] not in line
        and SEALED[9:20] not in line
    )
    assert set(json.loads(script)) == {"keys", "values"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"images": ()},
            "the image image, which could do it, is not on this host. Install python3-cryptography there, or pull the image (docker compose pull appwrite)",
        ),
        (
            {"answer": ComposeError("failed", "docker run failed: no php")},
            "did not do it either (docker run failed: no php). Install python3-cryptography",
        ),
        *(
            ({"answer": answer}, "gave no clear answer")
            for answer in ("", "null", "[]", "[[true]]", "[[true],[1]]", "[[true],[false,false]]", "[true,false]")
        ),
    ],
)
def test_not_even_in_the_image(monkeypatch, without, options, words):
    instance = Instance(monkeypatch, Store(_console_users=[SEALED]), **options)
    with pytest.raises(AppwriteError) as caught:
        _stored.opening(instance, [ONE, TWO])
    assert str(caught.value).startswith(
        "no key can be tried on what is stored: the Python of this host lacks"
    ) and words in str(caught.value)
    assert len(instance.commands) == {"images": 0}.get(next(iter(options)), 2 if "either" in words else 1), (
        "a container that hangs is removed"
    )


def test_without_a_service_whose_image_could(monkeypatch, without):
    instance = Instance(monkeypatch, Store(_console_users=[SEALED]))
    instance.config = {"services": {}}
    with pytest.raises(AppwriteError, match="the project has no service appwrite, whose image could do it"):
        _stored.opening(instance, [ONE])


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not at hand: it judges its own part")
def test_php(monkeypatch):
    """The real one says the same as this Python does, of keys of any length and of values that are damaged."""
    keys = [ONE, TWO, "short", "", "ключ-не-настоящий"]
    values = [Cipher(key).seal(text) for key in keys for text in (b"", b"NotARealPassword1")]
    parts = json.loads(SEALED)
    values += [
        json.dumps({**parts, "tag": "z" * 32}),
        json.dumps({**parts, "iv": "z" * 24}),
        json.dumps({**parts, "data": parts["data"][::-1]}),
    ]
    store = Store(_console_users=values[:5], _console_keys=values[5:10], _1_users=values[10:])
    instance = Instance(monkeypatch, store)

    def docker(arguments, script=None, timeout=0, tolerate=False):
        return subprocess.run(
            ["php", *arguments[arguments.index("image") + 1 :]],
            input=script,
            capture_output=True,
            text=True,
            check=True,
        )

    instance.compose.docker = docker
    here = _stored.opening(instance, keys)
    monkeypatch.setattr(_cipher, "_MISSING", True)
    by_php = _stored.opening(instance, keys)
    assert by_php == here and here.looked == len(values) and here.opened == {key: 2 for key in keys}


# --- where files are ---


class InStore:
    """A project whose files are in an object store, with a container that may be it."""

    def __init__(self, values, status="running", volumes=()):
        self.masked = []
        self.config = {"services": {"appwrite": {"volumes": list(volumes)}}}
        self.values = values
        container = SimpleNamespace(service="minio", status=status, addresses=("172.18.0.9",))
        self.containers = lambda: [container]
        self.compose = SimpleNamespace(mask=SimpleNamespace(add=self.masked.extend))

    def listed(self, _service):
        return self.values

    def service_at(self, host):
        return {"minio": "minio", "objects": "minio"}.get(host)


def asked(monkeypatch, instance):
    """What a bucket is made of."""
    monkeypatch.setattr(_stored, "Bucket", lambda *arguments: arguments)
    return _stored.uploads_of(instance)


@pytest.mark.parametrize("name", ["minio", "objects"])
def test_uploads_in_a_store(monkeypatch, tmp_path, name):
    mount = {"target": "/storage/uploads", "type": "bind", "source": str(tmp_path)}
    instance = InStore(settings(f"http://{name}:9000"), volumes=[mount])
    (device, conceal, elsewhere), local = asked(monkeypatch, instance)
    assert (device.endpoint, elsewhere, local) == (
        f"http://{name}:9000",
        {f"{name}:9000": "172.18.0.9:9000"},
        str(tmp_path),
    )
    assert conceal is instance.compose.mask and set(instance.masked) == {ACCESS, SECRET}


@pytest.mark.parametrize(
    ("endpoint", "status"), [("http://minio:9000", "exited"), ("https://s3.notarealcompany.com", "running")]
)
def test_store_elsewhere(monkeypatch, endpoint, status):
    (_device, _conceal, elsewhere), local = asked(monkeypatch, InStore(settings(endpoint), status))
    assert (elsewhere, local) == ({}, None)


def test_place_of_a_store():
    places = [_stored._place_of(*each) for each in (("172.18.0.9", 9000), ("172.18.0.9", None), ("fd00::9", 9000))]
    assert places == ["172.18.0.9:9000", "172.18.0.9", "[fd00::9]:9000"]


def test_connection_goes_before_the_device(monkeypatch):
    """As Appwrite has it: a device that is left at local says nothing then."""
    dsn = f"s3://{ACCESS}:{SECRET}@localhost/{NAME}?region=eu-central-1"
    values = {"_APP_STORAGE_DEVICE": "local", "_APP_CONNECTIONS_STORAGE": dsn}
    (device, *_rest), _local = asked(monkeypatch, InStore(values))
    assert device.endpoint == f"https://{NAME}.s3.eu-central-1.amazonaws.com"


def test_store_that_does_not_answer(monkeypatch):
    """The rows can be opened all the same, and it is said that the files were not."""

    class Gone(_stored._NoFiles):
        def look(self, row, exchange):
            raise StoreOfObjects("the store is gone")

    row = {"path": "p", "openSSLCipher": "aes-128-gcm", "openSSLVersion": "1", "chunksTotal": 1, "chunksUploaded": 1}
    store = Memory({USERS: [{"password": SEALED, "codes": None}], BUCKET: [row]})
    monkeypatch.setattr(_stored, "store_of", lambda *_arguments: store)
    monkeypatch.setattr(_stored, "uploads_of", lambda _instance: None)
    monkeypatch.setattr(_stored, "files_in", lambda _uploads: Gone())
    looked = _stored.look(SimpleNamespace(), ONE, 5)
    assert looked.warnings == ["files are left out: the store is gone"] and looked.report.count(OLD) == 1
    assert store.closed


@pytest.mark.parametrize(("key", "opens"), [(ONE, True), (TWO, False)])
def test_a_database_is_known_again(monkeypatch, key, opens):
    """By what is random in its first values, whichever key is tried. Neither a value nor what seals it is in that."""
    monkeypatch.setattr(_stored, "store_of", lambda *_arguments: Memory({USERS: [{"password": SEALED, "codes": None}]}))
    monkeypatch.setattr(_stored, "uploads_of", lambda _instance: None)
    monkeypatch.setattr(_stored, "files_in", lambda _uploads: _stored._NoFiles())
    [(digest, found)] = _stored.look(SimpleNamespace(), key, 5).first.items()
    sealed = json.loads(SEALED)
    expected = hashlib.sha256(f"{sealed['iv']} {sealed['tag']}".encode()).hexdigest()[:16]
    assert (digest, found) == (expected, opens)


VOLUMES = {
    "a directory of the engine": (["local", None], False),
    "one with a size": (["local", {"size": "10g"}], False),
    "NFS": (["local", {"type": "nfs", "o": "addr=192.0.2.1", "device": ":/uploads"}], True),
    "another directory": (["local", {"type": "none", "o": "bind", "device": "/srv/uploads"}], True),
    "memory": (["local", {"type": "tmpfs"}], True),
    "another driver": (["rclone", {}], True),
}


@pytest.mark.parametrize(("volume", "is_mounted"), VOLUMES.values(), ids=VOLUMES)
def test_volume_that_is_mounted_while_it_is_used(tmp_path, volume, is_mounted):
    """Before that some drivers say no place, and the place of others is empty."""
    kept = []
    place = "" if volume[0] == "rclone" else str(tmp_path)

    def docker(command):
        assert command == ["volume", "inspect", "shop_uploads"]
        found = {"Driver": volume[0], "Options": volume[1], "Mountpoint": str(tmp_path) if kept else place}
        return SimpleNamespace(stdout=json.dumps([found]))

    instance = SimpleNamespace(
        config={
            "services": {"appwrite": {"volumes": [{"target": "/storage/uploads", "type": "volume", "source": "up"}]}},
            "volumes": {"up": {"name": "shop_uploads"}},
        },
        compose=SimpleNamespace(docker=docker),
        keep_mounted=kept.append,
    )
    assert _stored._volume_of(instance) == str(tmp_path)
    assert kept == ["shop_uploads"] * is_mounted
