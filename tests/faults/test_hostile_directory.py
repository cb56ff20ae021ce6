# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root works in a directory that somebody else owns, who does there what he can; and no other user of the machine keeps a run from its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from support.rotation import sealed_file

from ansible_collections.selfhost.appwrite.plugins.module_utils._env import file as _env_file
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._progress import SILENT
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import rekey as _rekey
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Cipher, Exchange
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.journal import (
    Journal,
    refuse_unfinished,
    remembered,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.files import Files
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Row
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.successors import Successors

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
OWNER, STRANGER, GROUP = 12345, 23456, 54321
BEFORE, AFTER = b"_APP_ENV=production\n", b"_APP_ENV=development\n"
LOCK = ".selfhost-appwrite-lock"
ROUNDS = 150
STAGED = {"phase": "staged", "new": "NotARealNewKey12"}
KEYS = Exchange(Cipher("NotARealOldKey12"), Cipher("NotARealNewKey12"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Of somebody who is not root, with a way to it for everybody."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.name.startswith(("pytest-", "popen-", "test_")):
            directory.chmod(0o755)
    found = tmp_path / "appwrite"
    found.mkdir()
    write(found / ".env", BEFORE)
    os.chown(found, OWNER, OWNER)
    return found


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Path]:
    """A directory of root's, which must be what it was."""
    found = tmp_path / "roots"
    found.mkdir(0o700)
    for name in ("victim.env", "candidate", "backup"):
        (found / name).write_bytes(b"_APP_OPENSSL_KEY_V1=NotARealKeyOfAnybody\n")
        (found / name).chmod(0o600)
    before = state(found)
    yield found
    assert state(found) == before


def state(directory: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *directory.iterdir()):
        status = path.lstat()
        found[path.name] = (
            status.st_ino,
            status.st_uid,
            status.st_gid,
            status.st_mode,
            status.st_nlink,
            path.is_file() and path.read_bytes(),
        )
    return found


def write(path: Path, data: bytes, owner: int = OWNER) -> None:
    path.write_bytes(data)
    path.chmod(0o600)
    os.chown(path, owner, owner)


def link(path: Path, target: str | Path, owner: int = OWNER) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)


def secure(path: Path, data: bytes = AFTER) -> str | None:
    """What a run does with the file."""
    env_file = EnvFile(str(path))
    with env_file.opened(for_writing=True):
        made = env_file.replace(data, backup=True)
        env_file.prune(2, lambda _data: False)
    return made


def look(path: Path) -> bytes:
    """What a run in check mode, or the audit, does with it."""
    env_file = EnvFile(str(path))
    with env_file.opened(for_writing=False):
        return env_file.data


def refused(path: Path, part: str) -> None:
    before = state(path.parent)
    for work in (look, secure):
        with pytest.raises(AppwriteError) as caught:
            work(path)
        assert str(caught.value).startswith("env_file: ") and part in str(caught.value)
    assert state(path.parent) == before


# --- other users ---


def _become(user: int, work: Callable[[], object], directory: Path, say: int) -> NoReturn:
    try:
        os.chdir(directory)
        os.setgroups([GROUP])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        work()
    except AppwriteError as error:
        os.write(say, str(error).encode())
    except BaseException as error:  # pylint: disable=broad-exception-caught  # the parent asserts it
        os.write(say, repr(error).encode())
    finally:
        os._exit(0)


def as_user(user: int, work: Callable[[], object], directory: Path) -> str:
    """What another user's process, which stands in the directory, has to say; nothing after success."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _become(user, work, directory, writer)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


@contextlib.contextmanager
def meanwhile(user: int, work: Callable[[Callable[[], object]], object], directory: Path) -> Iterator[None]:
    """The same at the same time, from when it has called what it is given, until it is killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _become(user, lambda: work(lambda: os.write(writer, b"begun")), directory, writer)
    os.close(writer)
    try:
        assert os.read(reader, 1000) == b"begun"
        yield
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# --- swapped ---


def _away(name: str, number: int) -> None:
    os.rename(name, f"away{number}")


def _directory_of_links(name: str, number: int, roots: Path) -> None:
    _away(name, number)
    os.mkdir(name)
    for file in ("candidate", "backup"):
        os.symlink(roots / "victim.env", f"{name}/{file}")


def _link_to_a_directory(name: str, number: int, roots: Path) -> None:
    _away(name, number)
    os.symlink(roots, name)


def _own_directory(name: str, number: int, roots: Path) -> None:
    """Whose files are swapped in their turn."""
    del roots
    _away(name, number)
    os.mkdir(name)
    os.chmod(name, 0o777)


def _file(name: str, number: int, roots: Path) -> None:
    del name
    os.symlink(roots / "victim.env", f"link{number}")
    os.rename(f"link{number}", ".env")
    with open(f"file{number}", "wb") as stream:
        stream.write(BEFORE)
    os.rename(f"file{number}", ".env")


def _swap(swap: Callable[[str, int, Path], None], roots: Path) -> Callable[[Callable[[], object]], NoReturn]:
    def work(begun: Callable[[], object]) -> NoReturn:
        begun()
        number = 0
        while True:
            for name in os.listdir("."):
                if not name.startswith(".selfhost-appwrite-") or name == LOCK or os.path.islink(name):
                    continue
                number += 1
                with contextlib.suppress(OSError):
                    for file in ("candidate", "backup") if os.access(name, os.W_OK) else ():
                        os.symlink(roots / "victim.env", f"{name}/new")
                        os.rename(f"{name}/new", f"{name}/{file}")
                    swap(name, number, roots)

    return work


@pytest.mark.parametrize("swap", [_directory_of_links, _link_to_a_directory, _own_directory, _file])
def test_swapped_while_root_replaces(project, roots, swap):
    """The owner puts links in the place of whatever root has just made there."""
    before = state(roots)
    with meanwhile(OWNER, _swap(swap, roots), project):
        for number in range(ROUNDS):
            with contextlib.suppress(AppwriteError):
                secure(project / ".env", b"_APP_LOCALE=%d\n" % number)
            assert state(roots) == before, f"round {number}"
            write(project / "own", BEFORE)
            (project / "own").rename(project / ".env")


@pytest.mark.parametrize("moment", ["_dress", "_switch"])
@pytest.mark.parametrize("swap", [_directory_of_links, _link_to_a_directory, _own_directory])
def test_swapped_in_the_very_moment(project, roots, swap, moment, monkeypatch):
    """Between two steps of root's: under what was a chown by the file's path, and under the rename."""
    real, found = getattr(EnvFile, moment), []

    def step(env_file: EnvFile, *rest: object) -> object:
        found.append(next(path.name for path in project.glob(".selfhost-appwrite-*") if path.name != LOCK))
        assert not as_user(OWNER, lambda: swap(found[0], 1, roots), project)
        return real(env_file, *rest)

    monkeypatch.setattr(EnvFile, moment, step)
    secure(project / ".env")
    assert found and (project / ".env").read_bytes() == AFTER and (project / ".env").stat().st_uid == OWNER
    assert not list((project / "away1").iterdir())


def test_swept_scratch_directories_are_not_followed(project, roots):
    link(project / ".selfhost-appwrite-link", roots)
    (project / ".selfhost-appwrite-mine").mkdir()
    (project / ".selfhost-appwrite-mine" / "candidate").symlink_to(roots / "victim.env")
    (project / ".selfhost-appwrite-theirs").mkdir()
    (project / ".selfhost-appwrite-theirs" / "other").symlink_to(roots)
    secure(project / ".env")
    assert {path.name for path in project.glob(".selfhost-appwrite-*")} == {
        ".selfhost-appwrite-link",
        ".selfhost-appwrite-theirs",
    }


def test_backups_that_are_links_are_neither_read_nor_followed(project, roots):
    for day in range(1, 5):
        link(project / f".env.2020010{day}T000000Z.bak", roots / "victim.env")
    seen: list[bytes] = []
    env_file = EnvFile(str(project / ".env"))
    with env_file.locked():
        env_file.prune(1, lambda data: bool(seen.append(data)))
    assert not seen and len(list(project.glob("*.bak"))) == 4


def test_a_file_without_end_does_not_fill_the_memory(project):
    with (project / ".env").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(AppwriteError, match="^env_file: .* is larger than 16 MiB"):
        look(project / ".env")


def test_what_replaces_a_file_belongs_to_its_owner(project):
    made = secure(project / ".env")
    assert made
    for path in (project / ".env", Path(made)):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (OWNER, OWNER, 0o600)
    assert {path.name for path in project.iterdir()} == {".env", os.path.basename(made)}


# --- led elsewhere ---


@pytest.mark.parametrize("owner", [OWNER, 0], ids=["their link", "a link of root's that they may have moved"])
@pytest.mark.parametrize("target", ["victim.env", "not there"])
def test_link_out_of_their_directory(project, roots, owner, target):
    link(project / ".env", roots / target, owner)
    refused(project / ".env", f"a symbolic link that the user {OWNER} made")


def test_link_by_way_of_another(project, roots):
    link(project / "between", roots)
    link(project / ".env", "between/victim.env")
    refused(project / ".env", "symbolic link")


def test_link_in_the_middle_of_the_path(project, roots):
    link(project / "etc", roots)
    with pytest.raises(AppwriteError, match="symbolic link"):
        secure(project / "etc" / "victim.env")
    with pytest.raises(AppwriteError, match="symbolic link"):
        secure(project / "etc" / ".env")


def test_link_to_another_users_file(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, STRANGER, STRANGER)
    write(elsewhere / ".env", BEFORE, STRANGER)
    link(project / ".env", elsewhere / ".env")
    refused(project / ".env", "symbolic link")
    assert (elsewhere / ".env").read_bytes() == BEFORE


@pytest.mark.parametrize("target", ["real.env", "{}/elsewhere/real.env"])
def test_link_to_what_is_theirs(project, tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    os.chown(tmp_path / "elsewhere", OWNER, OWNER)
    real = project / target.format(tmp_path)
    (project / ".env").rename(real)
    link(project / ".env", target.format(tmp_path))
    assert look(project / ".env") == BEFORE
    secure(project / ".env")
    assert real.read_bytes() == AFTER and real.stat().st_uid == OWNER and (project / ".env").is_symlink()


def test_link_of_roots_leads_wherever_it_leads(project, tmp_path):
    link(tmp_path / "way", project, 0)
    secure(tmp_path / "way" / ".env")
    assert (project / ".env").read_bytes() == AFTER


def test_link_in_a_directory_for_everybody(project, tmp_path, roots):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    link(tmp_path / "shared" / ".env", roots / "victim.env", STRANGER)
    refused(tmp_path / "shared" / ".env", f"the user {STRANGER}")
    link(tmp_path / "shared" / ".env", project / ".env", 0)
    assert look(tmp_path / "shared" / ".env") == BEFORE


def test_another_user_leads_nobody_to_his_own_file(project, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    link(shared / ".env", project / ".env", STRANGER)
    assert "symbolic link" in as_user(OWNER, lambda: secure(shared / ".env"), project)
    link(shared / ".env", project / ".env", OWNER)
    assert not as_user(OWNER, lambda: secure(shared / ".env"), project)
    assert (project / ".env").read_bytes() == AFTER


def test_hard_link_to_a_file_of_roots(project, tmp_path):
    write(tmp_path / "victim", BEFORE, 0)
    (project / ".env").unlink()
    os.link(tmp_path / "victim", project / ".env")
    refused(project / ".env", "2 hard links in a directory that others may write")
    os.chown(project, 0, 0)
    project.chmod(0o1777)
    refused(project / ".env", "2 hard links in a directory that others may write")
    project.chmod(0o755)
    assert look(project / ".env") == BEFORE


def test_file_of_a_third_user(project):
    os.chown(project / ".env", STRANGER, STRANGER)
    refused(project / ".env", f"belongs to the user {STRANGER}, but its directory to the user {OWNER}")
    os.chown(project, 0, 0)
    secure(project / ".env")
    assert (project / ".env").stat().st_uid == STRANGER


def test_file_that_becomes_a_link_between_two_looks(project, roots):
    env_file = EnvFile(str(project / ".env"))
    with env_file.locked():
        link(project / ".env", roots / "victim.env")
        with pytest.raises(AppwriteError, match="somebody else changed"):
            env_file.read()


# --- a rotation ---


@pytest.fixture
def home(project: Path) -> Path:
    """What is around the project, its owner's as well."""
    found = project.parent / "home"
    found.mkdir()
    os.chown(found, OWNER, OWNER)
    project.rename(found / "appwrite")
    return found


def _lead(name: str, target: Path) -> Callable[[], None]:
    """A link in the place of a directory."""

    def work() -> None:
        os.rename(name, "away")
        os.symlink(target, name)

    return work


def rotation_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """One that notes something and ends."""

    def run(procedure: Any) -> dict[str, Any]:
        procedure._journal.replace(STAGED)
        return {}

    monkeypatch.setattr(_rekey.Procedure, "run", run)
    module: Any = SimpleNamespace(check_mode=False, params={})
    monkeypatch.setattr(_rekey, "opened", lambda *_unused: None)
    monkeypatch.setattr(_rekey, "check_line", lambda _instance: None)
    instance: Any = SimpleNamespace(
        env_path=str(project / ".env"), compose=SimpleNamespace(environment={}), warnings=[]
    )
    return lambda: _rekey.rotate(module, instance, SILENT)


@pytest.mark.parametrize("back", [False, True])
def test_journal_is_not_led_elsewhere(home, roots, back, monkeypatch):
    """Not for a moment, nor when the way is right again afterwards."""
    real, before = EnvFile.opened, roots.stat().st_mtime_ns

    def opened(env_file: EnvFile, for_writing: bool) -> contextlib.AbstractContextManager[None]:
        assert not as_user(OWNER, lambda: (os.unlink("appwrite"), os.rename("away", "appwrite")), home)
        return real(env_file, for_writing)

    if back:
        monkeypatch.setattr(EnvFile, "opened", opened)
    rotation = rotation_of(home / "appwrite", monkeypatch)
    assert not as_user(OWNER, _lead("appwrite", roots), home)
    with pytest.raises(AppwriteError, match=f"a symbolic link that the user {OWNER} made"):
        rotation()
    assert roots.stat().st_mtime_ns == before


def test_journal_is_beside_the_file_that_is_locked(home, roots, monkeypatch):
    """Whatever becomes of the path to it."""
    rotation_of(home / "appwrite", monkeypatch)()
    env_file = EnvFile(str(home / "appwrite" / ".env"))
    with env_file.opened(for_writing=True):
        assert not as_user(OWNER, _lead("appwrite", roots), home)
        assert remembered(env_file) == STAGED


@pytest.mark.parametrize("left", [[], ["lock"], ["lock", "state.json"]])
def test_journal_that_only_root_may_look_into(project, left):
    """The owner cannot tell what is in it, and is told what to do."""
    inside = project / ".appwrite-rotation"
    inside.mkdir(mode=0o700)
    for name in left:
        (inside / name).touch(mode=0o600)
    said = as_user(OWNER, lambda: refuse_unfinished(EnvFile(str(project / ".env"))), project)
    assert said.startswith(
        f"{inside}: this user may not look into it, and a rotation that root or another user has begun may be unfinished there. Run as root"
    )
    assert f"sudo rmdir {inside}" in said


def test_a_run_of_roots_removes_an_empty_journal(project):
    (project / ".appwrite-rotation").mkdir(mode=0o700)
    with Journal(EnvFile(str(project / ".env"))).locked(create=True):
        pass
    assert not as_user(OWNER, lambda: refuse_unfinished(EnvFile(str(project / ".env"))), project)


@pytest.fixture
def uploads(home: Path) -> Path:
    """In a directory of somebody who is not root, as a bind mount may be."""
    found = home / "uploads"
    (found / "app-1").mkdir(parents=True)
    return found


def successors(uploads: Path) -> Successors:
    return Successors(str(uploads), os.open(uploads.parent.parent, os.O_RDONLY), "journal")


def sealed(uploads: Path) -> Row:
    """A file, and its row."""
    text, iv, tag = KEYS.old.encrypt(b"NotARealStoredWord1")
    (uploads / "app-1" / "a.txt").write_bytes(text)
    os.chown(uploads / "app-1" / "a.txt", STRANGER, STRANGER)
    return Row(1, "a", sealed_file("/storage/uploads/app-1/a.txt", tag, iv), {})


@pytest.mark.parametrize("moment", ["_open", "_successor", "_note", "_write", "_read"])
def test_uploads_swapped_in_the_very_moment(home, uploads, roots, moment, monkeypatch):
    """All is done in the directory that was there first."""
    (roots / "app-1").mkdir()
    (roots / "app-1" / "a.txt").write_bytes(b"of root")
    real, before, swapped = getattr(Successors, moment), state(roots / "app-1"), []

    def step(files: Successors, *rest: object) -> object:
        if not swapped:
            swapped.append(as_user(OWNER, _lead("uploads", roots), home))
        return real(files, *rest)

    monkeypatch.setattr(Successors, moment, step)
    row, files = sealed(uploads), successors(uploads)
    made = files.prepare(row, KEYS)[1]
    files.remove("/storage/uploads/app-1/a.txt")
    assert swapped == [""] and state(roots / "app-1") == before
    assert [path.name for path in (home / "away" / "app-1").iterdir()] == [os.path.basename(made["path"])]
    shutil.rmtree(roots / "app-1")


@pytest.mark.parametrize("kind", [Files, lambda root: successors(Path(root))], ids=["read", "write"])
def test_uploads_led_elsewhere(home, uploads, roots, kind):
    assert not as_user(OWNER, _lead("uploads", roots), home)
    with pytest.raises(
        AppwriteError,
        match=f"^the uploads: {uploads} leads over a symbolic link that the user {OWNER} made .*; name the directory itself",
    ):
        kind(str(uploads))


@pytest.mark.parametrize("owner", [0, OWNER])
def test_uploads_behind_a_link(home, uploads, tmp_path, owner):
    """Of root's in a place of root's, and of a user's to what is that user's."""
    row = sealed(uploads)
    uploads.rename(home / "real")
    os.chown(home / "real", OWNER, OWNER)
    link((tmp_path if owner == 0 else home) / "way", home / "real", owner)
    assert successors((tmp_path if owner == 0 else home) / "way").prepare(row, KEYS)[1]


# --- the lock ---


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_env_file, "LOCK_TIMEOUT", 0.2)


def _hold(begun: Callable[[], object]) -> NoReturn:
    for flags, name in ((os.O_RDONLY, "."), (os.O_RDWR, LOCK), (os.O_RDWR | os.O_CREAT, LOCK)):
        with contextlib.suppress(OSError):
            fcntl.flock(os.open(name, flags, 0o666), fcntl.LOCK_EX | fcntl.LOCK_NB)
    begun()
    while True:
        time.sleep(60)


@pytest.mark.parametrize("owner", [0, OWNER])
def test_nobody_else_holds_the_lock(project, owner):
    os.chown(project, owner, owner)
    with meanwhile(STRANGER, _hold, project):
        secure(project / ".env")
    assert (project / ".env").read_bytes() == AFTER


def test_nobody_else_takes_a_lock_that_is_left(project):
    env_file = EnvFile(str(project / ".env"))
    with env_file.locked():
        os.link(project / LOCK, project / "left")
    (project / "left").rename(project / LOCK)
    assert (project / LOCK).stat().st_mode & 0o7777 == 0o600
    with meanwhile(STRANGER, _hold, project):
        secure(project / ".env")
    assert not (project / LOCK).exists()


def test_lock_of_a_stranger(project):
    project.chmod(0o1777)
    with meanwhile(STRANGER, _hold, project), pytest.raises(
        AppwriteError, match=f"^env_file: .*: {LOCK} is not a lock created by root.*remove it"
    ):
        secure(project / ".env")
    assert (project / ".env").read_bytes() == BEFORE


@pytest.mark.parametrize("target", ["victim.env", "not there"])
def test_lock_that_is_a_link(project, roots, target):
    link(project / LOCK, roots / target)
    with pytest.raises(AppwriteError, match=f"{LOCK} is not a lock"):
        secure(project / ".env")


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, lambda path: os.link(path.with_name(".env"), path)],
    ids=["directory", "fifo", "hard link"],
)
def test_lock_that_is_none(project, make):
    make(project / LOCK)
    with pytest.raises(AppwriteError, match=f"{LOCK} is not a lock"):
        secure(project / ".env")


def test_roots_run_and_the_owners_wait_for_each_other(project):
    with EnvFile(str(project / ".env")).locked():
        assert (project / LOCK).stat().st_uid == OWNER
        assert "another run has held the lock" in as_user(OWNER, lambda: secure(project / ".env"), project)
    assert not as_user(OWNER, lambda: secure(project / ".env"), project)

    def hold(begun: Callable[[], object]) -> NoReturn:
        with EnvFile(str(project / ".env")).locked():
            begun()
            while True:
                time.sleep(60)

    with meanwhile(OWNER, hold, project), pytest.raises(AppwriteError, match="another run has held the lock"):
        secure(project / ".env", BEFORE)
    secure(project / ".env", BEFORE)


def test_two_of_one_group_wait_for_each_other(project):
    """Neither may open the other's lock, which therefore counts as held."""
    os.chown(project, 0, GROUP)
    project.chmod(0o2770)

    def held() -> None:
        with EnvFile(str(project / ".env")).locked():
            pass

    def hold(begun: Callable[[], object]) -> NoReturn:
        with EnvFile(str(project / ".env")).locked():
            begun()
            while True:
                time.sleep(60)

    with meanwhile(OWNER, hold, project):
        said = as_user(STRANGER, held, project)
    assert "another run has held the lock" in said and f"left {LOCK} there; remove it" in said
    (project / LOCK).unlink()
    assert not as_user(STRANGER, held, project)


def test_who_only_reads_needs_no_lock_and_leaves_nothing(project):
    (project / ".env").chmod(0o644)
    before = state(project)
    with EnvFile(str(project / ".env")).locked():
        assert look(project / ".env") == BEFORE
    assert not as_user(STRANGER, lambda: look(project / ".env"), project)
    assert state(project) == before


def test_who_may_write_nothing_has_nothing_to_lock(project):
    """Such as a run that only applies what is there."""
    (project / ".env").chmod(0o644)

    def work() -> None:
        with EnvFile(str(project / ".env")).opened(for_writing=True):
            pass

    assert not as_user(STRANGER, work, project)
    with EnvFile(str(project / ".env")).locked():
        assert "another run has held the lock" in as_user(STRANGER, work, project)
