# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key meets data only after it has opened some of it, in this Python or by the PHP of Appwrite's image."""

from __future__ import annotations

import contextlib
import shutil

import pytest
from support.stack import KEY, Kind, on, refuse, set_env, succeed, without
from testbed._base import run
from testbed.dataset import Dataset

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.key import fingerprint

RIGHT = "UnrealKp4Ys9Dw2J" + "Zt5Rw8Jy3Hn6Pg0C" * 2
WRONG = "AlsoNotRealKey2Wv9" + "Bd4Fs7Tq1Xk8Mr5Y" * 2
HOLDERS = ("appwrite", "appwrite-worker-mails")
KINDS = [
    Kind(database=name, services=(*HOLDERS, "redis", name), room="opening")
    for name in ("mariadb", "postgresql", "mongodb")
]


class Loaded:
    """A stack whose data is under a key that it runs with."""

    def __init__(self, stack, data) -> None:
        self.stack = stack
        self.project = stack.project
        self.database = stack.kind.database
        self.data = data
        set_env(stack.directory, **{KEY: RIGHT})
        self.project.up()
        self.project.wait()
        data.load(self.project)

    def remove_holders(self):
        self.project.compose("rm", "--stop", "--force", *HOLDERS)

    def lose(self):
        """The line of the key, and what remembers it."""
        without(self.stack.directory, KEY)
        self.remove_holders()

    def set(self, **options):
        return succeed("encryption_key", {**self.stack.arguments, **options}, secrets=[RIGHT, WRONG])["key"]["state"]

    def refused(self, name="encryption_key", path=(), **options):
        ids = self.stack.ids()
        message = refuse(name, {**self.stack.arguments, **options}, secrets=[RIGHT, WRONG], path=path)
        if name != "apply":
            assert self.stack.ids() == ids
        assert not run("docker", "ps", "--all", "--quiet", "--filter", f"name=selfhost-appwrite-{self.project.name}-")
        return message


@pytest.fixture(scope="module")
def _data():
    found = {}
    return lambda database: found.setdefault(database, Dataset.make(seed=11, key=RIGHT, database=database))


@pytest.fixture
def loaded(stack, _data):
    return Loaded(stack, _data(stack.kind.database))


@pytest.fixture(
    params=[pytest.param("cryptography", marks=pytest.mark.nightly("test_evidence.py, test_restored[PHP]")), "PHP"]
)
def path(request, tmp_path):
    """Directories of a Python that has, or has not, the package cryptography."""
    if request.param == "cryptography":
        return []
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography" / "__init__.py").write_text("raise ImportError('not installed here')\n")
    return [tmp_path]


@on(KINDS[0], nightly=KINDS[1:])
def test_restored(loaded, path):
    """The escrow of another installation, or of before a rotation, is not put over what it does not open."""
    loaded.lose()
    said = loaded.refused(path=path, escrowed=WRONG)
    assert (
        f"the escrowed key (fingerprint {fingerprint(WRONG)}) does not open what is stored, and nothing was changed"
        in said
    )
    assert "none opens with any key that is known here" in said
    said = loaded.refused(path=path, escrowed=WRONG, candidates=["NotARealKeyOfNobody", RIGHT])
    assert f"an older key of the escrow (fingerprint {fingerprint(RIGHT)}) opens " in said
    assert "a rotation of the key is unfinished" in loaded.refused(path=path, escrowed=WRONG, pending=RIGHT)
    result = succeed("encryption_key", {**loaded.stack.arguments, "escrowed": RIGHT}, secrets=[RIGHT], path=path)
    assert (result["key"]["state"], loaded.stack.env()[KEY]) == ("restored", RIGHT)


@on(KINDS[0])
@pytest.mark.nightly("test_encryption_key.py of _settings, test_restored")
def test_restored_where_containers_carry_the_right_one(loaded):
    without(loaded.stack.directory, KEY)
    said = loaded.refused(escrowed=WRONG)
    assert f"the key of the containers ({', '.join(HOLDERS)}) (fingerprint {fingerprint(RIGHT)}) opens " in said
    assert "move the escrow file away, then run again: it is recovered from there" in said
    assert loaded.set() == "recovered"


@on(KINDS[0])
@pytest.mark.nightly("test_encryption_key.py of _settings, test_restored")
def test_supplied_and_recovered(loaded):
    loaded.lose()
    assert f"the key that was passed (fingerprint {fingerprint(WRONG)}) does not open what is stored" in loaded.refused(
        key=WRONG
    )
    set_env(loaded.stack.directory, **{KEY: WRONG})
    loaded.project.up()
    loaded.project.wait()
    for value in ("", "your-secret-key"):
        set_env(loaded.stack.directory, **{KEY: value})
        said = loaded.refused()
        assert (
            f"the key of the containers ({', '.join(HOLDERS)}) (fingerprint {fingerprint(WRONG)}) does not open what is stored"
            in said
        )
    assert loaded.set(key=RIGHT) == "placeholder_replaced"
    result = succeed("apply", loaded.stack.arguments, secrets=[RIGHT, WRONG])
    assert set(HOLDERS) <= set(result["recreated"]) and any(
        "opens what is stored, which the other one does not" in each for each in result["warnings"]
    )


@on(KINDS[0])
@pytest.mark.nightly("test_evidence.py, test_supplied_and_recovered")
def test_disagreement(loaded):
    """The advice is to put the key in force that opens what is stored, whichever of the two it is."""
    said = loaded.refused(escrowed=WRONG)
    assert (
        f"the key in .env (fingerprint {fingerprint(RIGHT)}) opens " in said
        and ": pass it as `key`" in said
        and "remove the line" not in said
    )
    set_env(loaded.stack.directory, **{KEY: WRONG})
    said = loaded.refused(escrowed=RIGHT)
    assert (
        f"the escrowed key (fingerprint {fingerprint(RIGHT)}) opens " in said
        and "remove the line from .env and run again: it is put back" in said
    )
    assert "a rotation of the key is ending" in loaded.refused(escrowed=RIGHT, pending=WRONG)
    without(loaded.stack.directory, KEY)
    assert loaded.set(escrowed=RIGHT) == "restored"


@on(KINDS[0])
@pytest.mark.nightly("test_evidence.py, test_nothing_can_be_opened")
def test_nothing_can_be_asked(loaded):
    loaded.lose()
    loaded.project.compose("stop", "mariadb")
    for options in ({"escrowed": RIGHT}, {"key": RIGHT}):
        said = loaded.refused(**options)
        assert (
            "only after it has opened some of what is stored" in said
            and "start it (docker compose up -d mariadb)" in said
        )
    found = succeed("stored_info", {**loaded.stack.arguments, "key": RIGHT}, secrets=[RIGHT, WRONG])
    assert (found["tried"], found["opens"], found["report"]) == (False, False, None)
    assert (
        "was not opened: the database mariadb does not run; start it (docker compose up -d mariadb)" in found["verdict"]
    )
    loaded.project.up("mariadb")
    loaded.project.query(mariadb="SELECT 1;")
    assert loaded.set(escrowed=RIGHT) == "restored"


@on(KINDS[0])
@pytest.mark.parametrize(
    ("image", "words"),
    [
        pytest.param(
            None,
            "the image testbed.invalid/absent:1, which could do it, is not on this host. Install python3-cryptography there, or pull the image",
            marks=pytest.mark.nightly("_rotation/test_stored.py, test_nothing_can_be_opened[without PHP]"),
        ),
        ("redis", "did not do it either (docker run failed: "),
    ],
    ids=["absent", "without PHP"],
)
@pytest.mark.parametrize("path", ["PHP"], indirect=True)
def test_nothing_can_be_opened(loaded, path, image, words):
    services = loaded.project.config()["services"]
    loaded.lose()
    loaded.stack.override("appwrite", image=services[image]["image"] if image else "testbed.invalid/absent:1")
    said = loaded.refused(path=path, escrowed=RIGHT)
    assert (
        "no key can be tried on what is stored: the Python of this host lacks the package cryptography" in said
        and words in said
    )


@on(KINDS[0], nightly=KINDS[1:])
def test_apply_after_down(loaded):
    """No container knows the key any more: what is in the file is tried before anything starts with it."""
    loaded.project.compose("down")
    set_env(loaded.stack.directory, **{KEY: WRONG})
    with _started_alone(loaded):
        said = loaded.refused("apply")
        assert (
            f"{KEY} in .env (fingerprint {fingerprint(WRONG)}) is in no container of this project that has run, and a console account exists"
            in said
        )
        assert (
            "Nothing with a key was started" in said
            and f"the service {loaded.database} was started for that and is left running" in said
        )
    said = loaded.refused("apply")
    assert "Nothing with a key was started" in said and "left running" not in said
    set_env(loaded.stack.directory, **{KEY: RIGHT})
    loaded.project.compose("down")
    check = succeed("apply", loaded.stack.arguments, check=True)
    assert (
        any(f"{loaded.database} is started first" in warning for warning in check["warnings"])
        and not loaded.stack.ids()
    )
    result = succeed("apply", loaded.stack.arguments)
    assert set(result["started"]) == set(loaded.stack.kind.services)
    assert succeed("apply", loaded.stack.arguments)["changed"] is False


@on(KINDS[0])
@pytest.mark.nightly("test_evidence.py, test_apply_after_down")
def test_apply_where_containers_were_only_created(loaded):
    """As a start leaves them that failed before their turn: they vouch for no key."""
    loaded.project.compose("down")
    set_env(loaded.stack.directory, **{KEY: WRONG})
    loaded.project.compose("create")
    said = loaded.refused("apply")
    assert "is in no container of this project that has run" in said and "Nothing with a key was started" in said
    set_env(loaded.stack.directory, **{KEY: RIGHT})
    assert set(HOLDERS) <= {*succeed("apply", loaded.stack.arguments)["recreated"]}


@on(KINDS[0], nightly=KINDS[1:])
@pytest.mark.nightly("test_apply_after_down")
def test_apply_where_the_database_is_starting(loaded):
    loaded.project.compose("down")
    loaded.project.compose("up", "--detach", loaded.database)
    assert set(HOLDERS) <= {*succeed("apply", loaded.stack.arguments)["started"]}


@on(KINDS[0], nightly=KINDS[1:])
@pytest.mark.nightly("test_escrow_table.py, test_restored")
def test_a_rotation_that_only_the_escrow_remembers(loaded, path):
    """The project's directory was put back from a backup of before, the database was not."""
    set_env(loaded.stack.directory, **{KEY: WRONG})
    said = loaded.refused(path=path, escrowed=WRONG, pending=RIGHT)
    assert (
        "a rotation of the key is unfinished" in said
        and f"the pending key of the escrow (fingerprint {fingerprint(RIGHT)}) opens " in said
    )
    loaded.project.compose("stop", loaded.database)
    said = loaded.refused(path=path, escrowed=WRONG, pending=RIGHT)
    assert "a rotation may be unfinished" in said and f"start it (docker compose up -d {loaded.database})" in said


@contextlib.contextmanager
def _started_alone(loaded):
    assert not loaded.stack.ids()
    yield
    assert set(loaded.stack.ids()) == {loaded.database}


@on(KINDS[0])
@pytest.mark.nightly("test_apply_after_down, test_restored")
def test_rollback(loaded):
    """A backup of before a rotation is not put over what was sealed anew."""
    backup = loaded.stack.directory / "old.bak"
    shutil.copy(loaded.stack.directory / ".env", backup)
    set_env(loaded.stack.directory, **{KEY: WRONG})
    shutil.move(loaded.stack.directory / ".env", loaded.stack.directory / "wrong.bak")
    shutil.copy(backup, loaded.stack.directory / ".env")
    rollback = {**loaded.stack.arguments, "rollback_file": str(loaded.stack.directory / "wrong.bak")}
    result = succeed("apply", rollback, secrets=[RIGHT, WRONG])
    assert any("is not rolled back: the key in .env opens what is stored" in warning for warning in result["warnings"])
    assert loaded.stack.env()[KEY] == RIGHT
    set_env(loaded.stack.directory, **{KEY: WRONG})
    result = succeed("apply", {**rollback, "rollback_file": str(backup)}, secrets=[RIGHT, WRONG])
    assert loaded.stack.env()[KEY] == RIGHT and not result["recreated"]
