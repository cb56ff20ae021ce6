# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rotation decides, on a store in memory: real databases, and the death of whoever takes part, are in tests/faults and tests/integration.

No real store can be had change its mind at a given moment, or be without transactions where there is no MongoDB.
"""

from __future__ import annotations

import copy
import dataclasses
import errno
import json
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.rotation import BUCKET, NEW, OLD, OTHER, PROJECTS, SESSIONS, USERS, WORD, Place, opened

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher, Exchange
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.examine import Examination
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.files import Files
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Row, StoreError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes import sealing as _sealing
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.successors import Successors


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def without_transactions(tmp_path: Path) -> Place:
    return Place(tmp_path, transactional=False)


def failing(moment: str, number: int = 1) -> Callable[[str], None]:
    """Raises at the nth call of that name, as a lost connection does."""
    seen: list[str] = []

    def fail(call: str) -> None:
        seen.append(call)
        if call == moment and seen.count(call) == number:
            raise StoreError("the connection was lost")

    return fail


# --- what is found ---


def test_report(place):
    place.store.content[USERS] += [
        {"password": NEW.seal(WORD), "codes": [OTHER.seal(WORD), OLD.seal(WORD)]},
        {"password": "plain"},
    ]
    place.store.content[BUCKET] += [
        place.file("new.txt", WORD, NEW),
        place.file("open.txt", WORD, openSSLCipher=None),
        place.file("half.txt", WORD, chunksUploaded="0"),
        place.file("none.txt", WORD, openSSLCipher=""),
    ]
    report = place.rotation().rehearse()
    sizes = [
        len((place.root / "app-1" / name).read_bytes()) for name in ("file0.txt", "file1.txt", "file2.txt", "new.txt")
    ]
    assert report.public() == {
        "state": "mixed",
        "collections": [
            {"collection": "_1_bucket_4", "values": {}, "files": {"old": 3, "new": 1, "plain": 3}, "bytes": sum(sizes)},
            {
                "collection": "_console_users",
                "values": {"old": 4, "new": 1, "neither": 1, "plain": 4},
                "files": {},
                "bytes": 0,
            },
        ],
        "undecryptable": [
            {"collection": "_console_users", "id": "_console_users3", "column": "codes", "reason": "no key opens it"}
        ],
        "undecryptable_count": 1,
        "unwaived_count": 1,
    }
    json.dumps(report.public())


@pytest.mark.parametrize(("keep", "state"), [(0, "empty"), (1, "old")])
def test_state(place, keep, state):
    for table in place.store.content:
        place.store.content[table] = place.store.content[table][:keep]
    assert place.rotation().state() == state
    place.rotation().rotate()
    assert place.rotation().state() == (state if state == "empty" else "new")


def test_wrong_keys(place):
    with pytest.raises(AppwriteError, match="neither key opens any of the 6 sealed values and files: both are wrong"):
        Examination(place.store, Files(str(place.root)), OTHER, Cipher("AnotherWrongKey1")).state()


def test_another_database(place):
    """Where nothing of Appwrite's is seen, nothing would be found to be done, and the next step would change the key."""
    del place.store.content[USERS]
    for what in (place.rotation().state, place.rotation().rotate, place.rotation().undo):
        with pytest.raises(AppwriteError, match="^the database holds no sealed columns of Appwrite's console"):
            what()


def test_files_that_cannot_be_opened(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    whole = place.file("whole.txt", WORD)
    (outside / "whole.txt").write_bytes((place.root / "app-1" / "whole.txt").read_bytes())
    (place.root / "link").symlink_to(outside)
    (place.root / "app-1" / "link.txt").symlink_to(outside / "whole.txt")
    (place.root / "app-1" / "directory").mkdir()
    os.mkfifo(place.root / "app-1" / "pipe")
    elsewhere, over = "its path does not lead to where files are", "its path leads over a symbolic link or a file"
    paths = {
        "/storage/uploads/../outside/whole.txt": elsewhere,
        "/storage/uploads/": elsewhere,
        "/etc/passwd": elsewhere,
        "": elsewhere,
        "/storage/uploads/app-1/./whole.txt": elsewhere,
        "/storage/uploads/nul\0": elsewhere,
        "/storage/uploads/link/whole.txt": over,
        "/storage/uploads/app-1/link.txt": over,
        "/storage/uploads/app-1/whole.txt/x": over,
        "/storage/uploads/app-1/directory": "it is not a regular file",
        "/storage/uploads/app-1/pipe": "it is not a regular file",
        "/storage/uploads/app-1/gone.txt": "it is missing",
        "/storage/uploads/gone/gone.txt": "it is missing",
        "/storage/uploads/app-1/" + "x" * 300: "its path is too long",
        "/storage/uploads/" + "x" * 300 + "/x.txt": "its path is too long",
        "/storage/uploads/app-1/" + "\U0001d4b3" * 100: "its path is too long",
        "/storage/uploads/app-1/\ud800": elsewhere,
    }
    rows = [{**whole, "path": path} for path in paths]
    rows += [
        {**whole, "openSSLVersion": "2"},
        {**whole, "openSSLCipher": "aes-256-gcm"},
        {**whole, "openSSLTag": None},
        {**whole, "openSSLIV": "é"},
        place.file("other.txt", WORD, OTHER),
    ]
    place.store.content[BUCKET] = rows
    found = place.rotation().rehearse().undecryptable
    json.dumps([each._asdict() for each in found]).encode()
    assert [each.reason for each in found] == [
        *paths.values(),
        *["it is sealed in another way"] * 2,
        *["no key opens it"] * 3,
    ]
    before = place.files
    place.rotation(*(each[:3] for each in found)).rotate()
    assert place.store.content[BUCKET] == rows and place.files == before and (outside / "whole.txt").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a device")
def test_device(place, monkeypatch):
    """To open one may do something by itself: rewind a tape, start a watchdog. It can be waived like all that no key opens."""

    def watched(path: Any, *arguments: Any, **options: Any) -> int:
        assert path != b"device.txt", "it was opened"
        return real(path, *arguments, **options)

    real = os.open
    place.store.content[BUCKET].append({**place.store.content[BUCKET][0], "path": "/storage/uploads/app-1/device.txt"})
    os.mknod(place.root / "app-1" / "device.txt", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    monkeypatch.setattr(os, "open", watched)
    assert [each.reason for each in place.rotation().rehearse().undecryptable] == ["it is not a regular file"]
    place.rotation(("_1_bucket_4", "_1_bucket_43", "path")).rotate()
    assert place.store.content[BUCKET][3]["path"].endswith("device.txt")


def test_file_that_becomes_something_else(place, monkeypatch):
    """Between the look at its type and the opening, by somebody who may write there."""

    def swapped(path: Any, *arguments: Any, **options: Any) -> int:
        if path == b"file1.txt":
            os.unlink(place.root / "app-1" / "file1.txt")
            os.mkfifo(place.root / "app-1" / "file1.txt")
        return real(path, *arguments, **options)

    real = os.open
    monkeypatch.setattr(os, "open", swapped)
    assert [each.reason for each in place.rotation().rehearse().undecryptable] == ["it is not a regular file"]


def test_file_that_is_too_large(place):
    """A sparse one takes no room on the disk, and all of the memory."""
    with open(place.root / "app-1" / "file1.txt", "r+b") as stream:
        stream.truncate(1 << 40)
    place.store.content[BUCKET].append(place.file("large.txt", WORD * (20_000_000 // len(WORD))))
    report = place.rotation().rehearse()
    assert [each.reason for each in report.undecryptable] == ["it is larger than anything that Appwrite seals"]
    assert report.collections["_1_bucket_4"].files["old"] == 3


def test_waiver_of_an_id_with_a_slash(place):
    real = place.store.rows
    place.store.rows = lambda table, sample=None: (
        [dataclasses.replace(row, uid="a/b\ud800") for row in rows] for rows in real(table, sample)
    )
    (place.root / "app-1" / "file1.txt").unlink()
    found = place.rotation().rehearse().undecryptable
    assert [each.id for each in found] == ["a/b\\ud800"]
    assert place.rotation(tuple("/".join(found[0][:3]).split("/", 2))).rehearse().unwaived_count == 0


def test_file_that_cannot_be_read(place, monkeypatch):
    """That is no loss to be waived, but something to be mended."""

    def denied(path: Any, *arguments: Any, **options: Any) -> int:
        if path == b"file1.txt":
            raise PermissionError(errno.EACCES, "")
        return real(path, *arguments, **options)

    real = os.open
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(AppwriteError, match="^file /storage/uploads/app-1/file1.txt cannot be read: permission denied"):
        place.rotation().rehearse()


@pytest.mark.parametrize("kind", ["nothing", "a file"])
def test_no_uploads(tmp_path, kind):
    if kind == "a file":
        (tmp_path / "gone").touch()
    with pytest.raises(AppwriteError, match="it must be what the containers have as /storage/uploads"):
        Files(str(tmp_path / "gone"))


def test_nothing_of_the_uploads_stays_open(place):
    def held() -> int:
        return sum(os.path.realpath(handle).startswith(str(place.root)) for handle in Path("/proc/self/fd").iterdir())

    rotation = place.rotation()
    rotation.rotate()
    assert held() == 1
    del rotation
    assert held() == 0


def test_progress(place):
    told: list[tuple[str, int, int]] = []
    place.rotation(progress=lambda *each: told.append(each)).rotate()
    for phase, last in (("seal", 6), ("verify", 6), ("remove", 3)):
        numbers = [each for each in told if each[0] == phase]
        assert numbers[-1][1:] == (last, last)
        assert [done for _phase, done, _total in numbers] == sorted({done for _phase, done, _total in numbers})
    assert [total for phase, _done, total in told if phase != "remove"] == [6] * 10


# --- successors that are made before ---


def test_prepared(place, monkeypatch):
    """With the API open already, so that nothing is left to be read of them behind the guard."""
    rows, names = copy.deepcopy(place.store.content), place.files
    rotation = place.rotation()
    rotation.prepare()
    assert place.store.content == rows and len(place.files) == 6
    monkeypatch.setattr(Successors, "_read", lambda _self, path: pytest.fail(f"{path} is read again"))
    monkeypatch.setattr(
        place.store, "change", lambda table, _changes: pytest.fail(f"{table} is not written from the stage")
    )
    report = rotation.rotate()
    assert report.state == "new" and report.collections[BUCKET.collection].files["new"] == 3
    monkeypatch.undo()
    place.assert_all_under(NEW)
    assert len(place.files) == 3 and not set(names) & set(place.files)


@pytest.mark.parametrize(
    "what",
    ["value", "array", "new user", "file", "same file", "row", "successor", "no successor", "all", "new row", "no row"],
)
def test_changed_since_it_was_prepared(place, what):
    rotation = place.rotation()
    rotation.prepare()
    files, users = place.store.content[BUCKET], place.store.content[USERS]
    if what == "value":
        users[0]["password"] = OLD.seal(WORD)
    elif what == "array":
        users[0]["codes"] = [OLD.seal(WORD), None]
    elif what == "new user":
        users.append({"password": None, "codes": [OLD.seal(WORD)]})
    elif what == "file":
        files[1].update(place.file("file1.txt", WORD))
    elif what == "same file":
        (place.root / "app-1" / "file1.txt").write_bytes((place.root / "app-1" / "file1.txt").read_bytes())
    elif what == "row":
        (place.root / "app-1" / "file1.txt").unlink()
        files[1].update(place.file("moved.txt", WORD))
    elif what == "successor":
        next((place.root / "app-1").glob("file1-*")).write_bytes(b"cut")
    elif what == "no successor":
        next((place.root / "app-1").glob("file1-*")).unlink()
    elif what == "all":
        for path in (place.root / "app-1").glob("file?-*"):
            path.unlink()
    elif what == "new row":
        files.append(place.file("new.txt", WORD * 3))
    else:
        (place.root / "app-1" / "file2.txt").unlink()
        del files[2]
    rotation.rotate()
    place.assert_all_under(NEW)
    assert what != "new user" or opened(NEW, place.store.content[USERS][3]["codes"][0]) == WORD


@pytest.mark.parametrize("with_its_row", [True, False])
def test_removed_after_it_was_looked_at(place, with_its_row):
    """By what works in the background while the API is being closed. A row that is left has the successor, which is there."""
    rotation = place.rotation()
    rotation.prepare()
    assert rotation.look_again().result() == []
    (place.root / "app-1" / "file2.txt").unlink()
    if with_its_row:
        del place.store.content[BUCKET][2]
    rotation.rotate()
    place.assert_all_under(NEW)
    assert len(place.files) == 3 - with_its_row


@pytest.mark.parametrize(
    "column", ["openSSLCipher", "openSSLVersion", "openSSLIV", "openSSLTag", "chunksTotal", "chunksUploaded"]
)
def test_row_of_a_file_is_another_since_it_was_prepared(place, column):
    """Then it does not get the seals that were staged for it, whatever it says now."""
    rotation = place.rotation(("_1_bucket_4", "_1_bucket_41", "path"))
    rotation.prepare()
    row = place.store.content[BUCKET][1]
    row[column] = "7"
    before = dict(row)
    rotation.rotate()
    assert row == before == place.store.content[BUCKET][1] and (place.root / "app-1" / "file1.txt").exists()
    assert len(place.files) == 3


def test_some_files_are_lost_since_it_was_prepared(place):
    """They are no other place than the one where the rest are, though that is not looked at again."""
    rotation = place.rotation()
    rotation.prepare()
    for number in (1, 2):
        (place.root / "app-1" / f"file{number}.txt").unlink()
    with pytest.raises(AppwriteError, match="^2 sealed values or files cannot be opened .* waive each"):
        rotation.rotate()


def test_database_that_loses_what_was_staged(place, monkeypatch):
    rotation = place.rotation()
    rotation.prepare()
    monkeypatch.setattr(place.store, "taken", lambda table: 2 if table is BUCKET else 0)
    with pytest.raises(AppwriteError, match="^not everything in _1_bucket_4 can be opened with the new key"):
        rotation.rotate()
    place.assert_all_under(OLD)


def test_stage_under_another_key(place):
    """What it wrote is read back, like all else."""
    rotation = place.rotation()
    rotation.prepare()
    place.store.staged[USERS][0].values["password"] = OTHER.seal(WORD)
    with pytest.raises(AppwriteError, match="cannot be opened with the old key"):
        rotation.rotate()
    place.assert_all_under(OLD)


def test_bucket_is_made_and_another_removed_meanwhile(place, monkeypatch):
    rotation = place.rotation()
    assert rotation.rehearse().state == "old"
    other = dataclasses.replace(BUCKET, name="_1_bucket_5", collection="_1_bucket_5")
    place.store.content[other] = [place.file("file3.txt", WORD * 3)]
    rotation.prepare()
    place.store.content[BUCKET] += place.store.content.pop(other)
    users = dataclasses.replace(USERS, name="_2_users", collection="_2_users")
    place.store.content[users] = [{"password": OLD.seal(WORD), "codes": None}]
    rotation.rotate()
    place.assert_all_under(NEW)
    assert opened(NEW, place.store.content[users][0]["password"]) == WORD


@pytest.mark.parametrize("moment", ["_successor", "_write"])
def test_directory_is_removed_while_its_files_get_successors(place, monkeypatch, moment):
    """As Appwrite does with a bucket that somebody deletes."""
    real, calls = getattr(Successors, moment), []

    def call(self, *arguments):
        if not calls:
            calls.append(1)
            shutil.rmtree(place.root / "app-1")
        return real(self, *arguments)

    monkeypatch.setattr(Successors, moment, call)
    place.rotation().prepare()
    assert place.files == []


def test_replaced_files_stay_until_the_end(place):
    """Also where a run goes on with one that has died behind its commit; and what somebody has put into such a place since then is his."""
    names = place.files
    place.rotation().rotate(sweep=False)
    again = place.rotation()
    again.rotate(sweep=False)
    assert len(place.files) == 6 and set(names) < set(place.files)
    sealed = time.time()
    time.sleep(0.05)  # the kernel's clock for files is coarser
    row = place.store.content[BUCKET][0]
    row.update(place.file(names[0].partition("/")[2], b"", NEW))
    (place.root / names[1]).write_bytes(b"uploaded again, and its row is not read yet")
    assert again.sweep(before=sealed) == []
    assert (place.root / names[0]).exists() and (place.root / names[1]).read_bytes().startswith(b"uploaded")
    assert not (place.root / names[2]).exists() and not place.journal.exists()


@pytest.mark.parametrize("odd", [[], ["a"], None, "x" * 3000])
def test_prepared_rows_of_somebody_hostile(without_transactions, odd):
    """As MongoDB may have them."""
    place = without_transactions
    rows = copy.deepcopy(place.store.content[BUCKET])
    for name in ("path", "openSSLIV", "openSSLTag", "openSSLVersion", "openSSLCipher"):
        place.store.content[BUCKET].append({**copy.deepcopy(rows[0]), name: odd})
    waived = [("_1_bucket_4", f"_1_bucket_4{number}", "path") for number in range(3, 8)]
    rotation = place.rotation(*waived)
    rotation.prepare()
    rotation.rotate()
    assert [row["path"] != before["path"] for row, before in zip(place.store.content[BUCKET], rows)] == [True] * 3


@pytest.mark.parametrize("moment", ["begin", "take", "change"])
def test_prepared_and_given_up(place, moment):
    names = place.files
    place.rotation().prepare()
    assert not place.rotation().sweep()
    assert place.files == names and not place.journal.exists()
    rotation = place.rotation()
    rotation.prepare()
    place.store.content[USERS][1]["password"] = OLD.seal(WORD)  # which is left to be changed
    place.store.fail = failing(moment)
    with pytest.raises(StoreError):
        rotation.rotate()
    place.store.content[USERS][1]["password"] = None
    assert place.files == names and not place.journal.exists()
    place.assert_all_under(OLD)


# --- there and back ---


def test_rotate(place):
    old = copy.deepcopy(place.store.content), place.files
    assert place.rotation().rotate().state == "old"
    place.assert_all_under(NEW)
    names = place.files
    assert len(names) == 3 and not set(names) & set(old[1])
    assert place.finish() == "new"
    assert place.files == names
    assert place.undo() == "old"
    place.assert_all_under(OLD)
    assert [len(name) for name in place.files] == [len(name) for name in names], "names do not grow"
    assert place.undo() == place.finish() == "old"


def test_legacy_secrets_inside(place):
    inner = {"githubSecret": json.loads(OLD.seal(WORD))}
    place.store.content[PROJECTS] = [{"oAuthProviders": OLD.seal(json.dumps(inner).encode())}]
    place.store.content[USERS] = [{"password": OLD.seal(json.dumps(inner).encode())}]
    place.rotation().rotate()
    found = json.loads(opened(NEW, place.store.content[PROJECTS][0]["oAuthProviders"]))
    assert opened(NEW, json.dumps(found["githubSecret"])) == WORD
    assert json.loads(opened(NEW, place.store.content[USERS][0]["password"])) == inner, "it may be anything there"


def test_values_under_the_new_key_already(place):
    kept = NEW.seal(WORD)
    place.store.content[USERS][1]["password"] = kept
    place.rotation().rotate()
    assert place.store.content[USERS][1]["password"] == kept


@pytest.mark.parametrize("waived", [False, True])
def test_undecryptable(place, waived):
    lost = [OTHER.seal(WORD), OLD.seal(WORD)]
    place.store.content[USERS][1]["codes"] = lost
    (place.root / "app-1" / "file1.txt").unlink()
    before = copy.deepcopy(place.store.content)
    waivers = [("_console_users", "_console_users1", "codes"), *[("_1_bucket_4", "_1_bucket_41", "path")] * waived]
    if not waived:
        with pytest.raises(
            AppwriteError,
            match=r"^1 sealed values or files .* the first one in _1_bucket_4: _1_bucket_41, column path \(it is missing\)",
        ):
            place.rotation(*waivers).rotate()
        assert place.store.content == before and not place.journal.exists()
    else:
        place.rotation(*waivers).rotate()
        codes = place.store.content[USERS][1]["codes"]
        assert codes[0] == lost[0] and opened(NEW, codes[1]) == WORD, "the rest of the array is not lost"
        assert place.store.content[BUCKET][1] == before[BUCKET][1]


# --- what goes wrong ---


@pytest.mark.parametrize(("moment", "number"), [("begin", 1), ("change", 1), ("change", 2), ("change", 3)])
def test_nothing_has_happened(place, moment, number):
    place.store.fail = failing(moment, number)
    with pytest.raises(StoreError):
        place.rotation().rotate()
    place.assert_all_under(OLD)


def test_changed_meanwhile(place):
    place.store.change = lambda table, changes: len(changes) - (table is BUCKET)
    with pytest.raises(
        AppwriteError,
        match="^somebody else has changed _1_bucket_4 in the meantime: a service of Appwrite still runs. Nothing was changed$",
    ):
        place.rotation().rotate()
    place.assert_all_under(OLD)


@pytest.mark.parametrize("table", [USERS, BUCKET])
def test_database_that_does_not_do_what_it_says(place, table):
    real = place.store.change
    place.store.change = lambda which, changes: len(changes) if which is table else real(which, changes)
    with pytest.raises(
        AppwriteError,
        match=f"^not everything in {table.collection} can be opened with the new key .* so nothing was changed$",
    ):
        place.rotation().rotate()
    place.assert_all_under(OLD)


@pytest.mark.parametrize("moment", ["commit", "committed"])
def test_connection_lost_at_commit(place, moment):
    """Nobody knows at first what has become of it, so both files of each pair stay."""
    place.store.fail = failing(moment)
    with pytest.raises(StoreError):
        place.rotation().rotate()
    assert len(place.files) == 6
    assert place.journal.stat().st_mode & 0o777 == 0o600
    assert place.finish() == ("old" if moment == "commit" else "new")
    place.assert_all_under(OLD if moment == "commit" else NEW)


@pytest.mark.parametrize("name", ["write", "fsync", "open"])
@pytest.mark.parametrize("number", range(1, 9))
def test_disk_full(place, monkeypatch, name, number):
    """What it can do without is a file that has no name, in the place of which there is memory."""
    real, calls, thread = getattr(os, name), [], threading.get_ident()
    is_nameless = False

    def full(*arguments: Any, **options: Any) -> Any:
        nonlocal is_nameless
        if threading.get_ident() == thread and (
            name != "open" or arguments[1] & os.O_CREAT
        ):  # those of pytest's workers write, too
            calls.append(1)
            if len(calls) == number:
                is_nameless = name == "write" and os.readlink(f"/proc/self/fd/{arguments[0]}").endswith(" (deleted)")
                raise OSError(errno.ENOSPC, "")
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, full)
    try:
        place.rotation().rotate()
    except AppwriteError as error:
        assert "the disk is full" in str(error)
        monkeypatch.undo()
        assert place.finish() in ("old", "new")
    else:
        assert is_nameless or len(calls) < number
        place.assert_all_under(NEW)
    place.assert_all_under(OLD if place.rotation().state() == "old" else NEW)


def test_file_that_reads_back_otherwise(place, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data).replace(b"A", b"B")))
    for number in range(3):
        place.store.content[BUCKET][number] = place.file(f"file{number}.txt", WORD * 1000)
    with pytest.raises(AppwriteError, match="what was read back differs from what was written"):
        place.rotation().rotate()
    assert place.files == [f"app-1/file{number}.txt" for number in range(3)]


def test_successor_that_somebody_removes_at_once(place, monkeypatch):
    real = Successors._write

    def write(files: Successors, path: str, text: bytes, like: os.stat_result) -> None:
        real(files, path, text, like)
        (place.root / "app-1" / Path(path).name).unlink()

    monkeypatch.setattr(Successors, "_write", write)
    with pytest.raises(AppwriteError, match=r"^file /storage/uploads/app-1/file\d.txt: it is missing$"):
        place.rotation().rotate()
    monkeypatch.undo()
    assert place.finish() == "old"


def test_more_files_than_are_removed_at_a_time(place, monkeypatch):
    monkeypatch.setattr(_sealing, "_PAIRS", 2)
    place.rotation().rotate()
    place.assert_all_under(NEW)
    assert not place.journal.exists()


def test_old_file_that_cannot_be_removed(place, monkeypatch):
    def refuse(path: Any, **options: Any) -> None:
        if path == b"file1.txt":
            raise OSError(errno.EROFS, "")
        real(path, **options)

    real = os.unlink
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(
        AppwriteError,
        match="^everything is sealed with the new key, but some files sealed with the old one could not be removed: .* Run again$",
    ):
        place.rotation().rotate()
    monkeypatch.undo()
    assert place.finish() == "new"
    place.assert_all_under(NEW)


# --- files ---


def test_journal_of_a_run_that_died(place):
    """Of its last line only a part may be there, and of what it lists no file, or both."""
    place.journal.write_text(
        '\n["/storage/uploads/app-1/file1.txt", "/storage/uploads/app-1/file1-0.txt"]\n\n["/storage/uploads/app-1/gone.txt", '
        '"/storage/uploads/app-1/gone-1.txt"]\n\n["/storage/uploads/app-1/file2.txt", "/storage/upl'
    )
    (place.root / "app-1" / "file1-0.txt").write_text("leftover")
    place.file("kept.txt", b"nobody's")
    assert place.finish() == "old"
    assert "app-1/file1-0.txt" not in place.files and "app-1/kept.txt" in place.files
    (place.root / "app-1" / "kept.txt").unlink()
    place.assert_all_under(OLD)


def test_journal_goes_on_after_half_a_line(place):
    place.journal.write_text('\n["/storage/uploads/app-1/file2.txt", "/storage/upl')
    files = place.successors()
    row = next(iter(place.store.rows(BUCKET)))[0]
    new = files.prepare(row, Exchange(OLD, NEW))[1]["path"]
    assert list(files.pairs()) == [[(row.values["path"], new)]]


def test_no_old_file_is_removed_without_a_row(place):
    """Its row may have gone with a dump that somebody has put back."""
    place.rotation()
    place.journal.write_text('["/storage/uploads/app-1/file1.txt", "/storage/uploads/app-1/file1-0.txt"]\n')
    (place.root / "app-1" / "file1-0.txt").write_text("leftover")
    del place.store.content[BUCKET][1]
    place.finish()
    assert place.files == ["app-1/file0.txt", "app-1/file1.txt", "app-1/file2.txt"]


def test_two_rows_with_one_file(place):
    place.store.content[BUCKET].append(dict(place.store.content[BUCKET][1]))
    place.rotation().rotate()
    rows = place.store.content[BUCKET]
    assert len({row["path"] for row in rows}) == len(place.files) == 3
    for number, row in ((1, rows[1]), (1, rows[3])):
        assert (
            NEW.decrypt(
                (place.root / row["path"].removeprefix("/storage/uploads/")).read_bytes(),
                row["openSSLIV"],
                row["openSSLTag"],
            )
            == WORD * number
        )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.txt", r"a-[0-9a-f]{16}\.txt"),
        ("a.", r"a-[0-9a-f]{16}\."),
        ("a", r"a-[0-9a-f]{16}"),
        ("a.b c'𝒳", r"a-[0-9a-f]{16}\.b c'𝒳"),
        ("a-0123456789abcdef.txt", r"a-(?!0123456789abcdef)[0-9a-f]{16}\.txt"),
        ("0123456789abcdef.txt", r"0123456789abcdef-[0-9a-f]{16}\.txt"),
        ("0123456789abcdef0.txt", r"-[0-9a-f]{16}\.txt"),
        ("0123456789abcdef0123.txt", r"012-(?!456789abcdef0123)[0-9a-f]{16}\.txt"),
    ],
)
def test_name(place, name, wanted):
    row = Row(1, "a", place.file(name, WORD), {})
    found = place.successors().prepare(row, Exchange(OLD, NEW))[1]["path"]
    assert re.fullmatch(f"/storage/uploads/app-1/{wanted}", found)


LONG = {
    "extension": "a." + "x" * 220,
    "nothing but extension": "a." + "x" * 253,
    "stem": "x" * 251 + ".txt",
    "of several bytes": "a." + "\U0001d4b3" * 60,
    "no extension": "\u0142" * 127,
}


@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
def test_long_name(place, name):
    """There is room for a successor of every name, again and again."""
    place.store.content[BUCKET][1] = place.file(name, WORD)
    names = [name]
    for key in (NEW, OLD, NEW):
        assert place.rotation().rotate() if key is NEW else place.undo()
        row = place.store.content[BUCKET][1]
        names.append(row["path"].rpartition("/")[2])
        assert key.decrypt((place.root / "app-1" / names[-1]).read_bytes(), row["openSSLIV"], row["openSSLTag"]) == WORD
    assert len(set(names)) == 4 and max(len(each.encode()) for each in names) <= 255
    assert len({len(each) for each in names[1:]}) == 1, "names do not grow"
    assert os.path.splitext(name)[1][:16] in names[-1]
    assert len(place.files) == 4, "nothing is left over"


def test_path_as_long_as_its_column(place):
    above = "/".join(["d" * 200] * 10)
    (place.root / above).mkdir(parents=True)
    row = place.file("a.txt", WORD)
    name = "n" * (2048 - len(f"/storage/uploads/{above}/.txt")) + ".txt"
    directory = place.root
    (place.root / "app-1" / "a.txt").rename(directory / above / name)
    place.store.content[BUCKET].append({**row, "path": f"/storage/uploads/{above}/{name}"})
    place.rotation().rotate()
    assert len(place.store.content[BUCKET][3]["path"]) == 2048


# --- what will be written, tried before ---


def test_directories_are_tried(place):
    """Nothing stays of that, and a directory that takes no file is found before anything is changed."""
    before = place.files
    assert place.rotation().rehearse(foresee=True).unwritable == []
    assert place.files == before and not place.journal.exists()
    assert Examination(place.store, Files(str(place.root)), OLD, NEW).rehearse(foresee=True).unwritable == []


ERRORS = {
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
}


@pytest.mark.parametrize(("number", "words"), ERRORS.items(), ids=ERRORS.values())
@pytest.mark.parametrize("call", ["open", "write", "fchmod"])
def test_directory_that_takes_no_file(place, monkeypatch, number, words, call):
    def refuse(first: Any, *arguments: Any, **options: Any) -> Any:
        if call != "open" or arguments[0] & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, "")
        return real(first, *arguments, **options)

    real = getattr(os, call)
    monkeypatch.setattr(os, call, refuse)
    found = place.rotation().rehearse(foresee=True).unwritable
    assert len(found) == 1 and found[0].startswith(f"/storage/uploads/app-1: {words}")


def test_file_system_without_files_that_have_no_name(place, monkeypatch):
    def older(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "")
        made.append(flags & os.O_CREAT)
        return real(path, flags, *arguments, **options)

    real, made, before = os.open, [], place.files
    monkeypatch.setattr(os, "open", older)
    assert place.rotation().rehearse(foresee=True).unwritable == []
    assert any(made) and place.files == before


@pytest.mark.parametrize("what", ["access", "read-only"])
def test_directory_that_would_take_no_file(place, monkeypatch, what):
    """The rehearsal in check mode makes none."""
    if what == "access":
        monkeypatch.setattr(os, "access", lambda *arguments, **options: False)
    else:
        real = os.fstatvfs
        monkeypatch.setattr(os, "fstatvfs", lambda handle: os.statvfs_result((*real(handle)[:8], os.ST_RDONLY, 255)))
    found = Examination(place.store, Files(str(place.root)), OLD, NEW).rehearse(foresee=True).unwritable
    assert len(found) == 1 and found[0].startswith("/storage/uploads/app-1: ")


# --- what cannot be removed ---


def keep_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file is immutable, which it cannot be made without root."""

    def refuse(path: Any, **options: Any) -> None:
        if path == b"file1.txt":
            raise OSError(errno.EPERM, "")
        real(path, **options)

    real = os.unlink
    monkeypatch.setattr(os, "unlink", refuse)


def test_sweep_goes_on(place, monkeypatch):
    """One file that cannot be removed keeps no other, and stays noted."""
    keep_file(monkeypatch)
    place.rotation().rotate(sweep=False)
    rotation = place.rotation()
    left = rotation.sweep()
    assert len(left) == 1 and left[0].startswith("file /storage/uploads/app-1/file1.txt cannot be removed")
    assert len(place.files) == 4 and place.journal.exists()
    assert place.rotation().undo() == "old", "nor does it keep anybody from going back"
    monkeypatch.undo()
    assert place.rotation().sweep() == []
    place.assert_all_under(OLD)


def test_a_rotation_that_fails_takes_back_only_what_is_its_own(place, monkeypatch):
    """What an earlier one has made is in use, though it is still noted."""
    keep_file(monkeypatch)
    place.rotation().rotate(sweep=False)
    place.store.fail = failing("commit")
    rotation = place.rotation()
    place.store.fail = failing("change", 3)
    with pytest.raises(StoreError):
        rotation.undo()
    monkeypatch.undo()
    assert place.finish() == "new"
    place.assert_all_under(NEW)


def test_journal_with_anything_in_it(place):
    place.journal.write_text(
        '5\n[1, 2]\n{"a": 1}\n[null, {}]\nnull\n["a"]\n\xff\n[["/storage/uploads/app-1/file1.txt"], "x"]\n'
    )
    assert place.finish() == "old"
    place.assert_all_under(OLD)


# --- without transactions ---


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("forward", [True, False])
def test_interrupted_without_transactions(without_transactions, number, forward):
    place = without_transactions
    place.store.fail = failing("change", number)
    with pytest.raises(StoreError):
        place.rotation().rotate()
    assert place.rotation().state() == ("old" if number == 1 else "mixed")
    if number == 1 and forward:
        assert place.finish() == "old"
        place.assert_all_under(OLD)
        return
    assert (place.finish() if forward else place.undo()) == ("new" if forward else "old")
    place.assert_all_under(NEW if forward else OLD)


def test_changed_meanwhile_without_transactions(without_transactions):
    place = without_transactions
    real, calls = place.store.change, []
    place.store.change = lambda table, changes: real(table, changes) - (calls.append(1) or len(calls) == 1)
    with pytest.raises(AppwriteError, match="Stop it and run again$"):
        place.rotation().rotate()
    assert place.finish() == "new"
    place.assert_all_under(NEW)


# --- sessions that end ---


@pytest.mark.parametrize("moment", ["clear", "commit"])
def test_sessions_end_with_the_rotation_or_not_at_all(place, moment):
    place.store.content[SESSIONS] = [{"secret": OLD.seal(WORD)}]
    place.store.fail = failing(moment)
    with pytest.raises(StoreError):
        place.rotation().rotate(ending="console")
    assert place.finish() == "old"
    place.assert_all_under(OLD)
    assert opened(OLD, place.store.content[SESSIONS][0]["secret"]) == WORD
    place.rotation().rotate(ending="console")
    place.assert_all_under(NEW)
    assert place.store.content[SESSIONS] == []


def test_sessions_end_last_without_transactions(without_transactions):
    """What is left to do then can be done by itself."""
    place = without_transactions
    place.store.content[SESSIONS] = [{"secret": OLD.seal(WORD)}]
    place.store.fail = failing("clear")
    with pytest.raises(StoreError):
        place.rotation().rotate(sweep=False, ending="console")
    assert place.rotation().state() == "new" and place.store.content[SESSIONS]
    place.rotation().rotate(ending="console")
    place.rotation().sweep()
    place.assert_all_under(NEW)
    assert place.store.content[SESSIONS] == []


def test_sessions_stay(place):
    place.store.content[SESSIONS] = [{"secret": OLD.seal(WORD)}]
    place.rotation().rotate()
    place.undo()
    assert opened(OLD, place.store.content[SESSIONS][0]["secret"]) == WORD
