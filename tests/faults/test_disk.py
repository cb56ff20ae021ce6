# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the disk does not give, what others do at the same moment, and what a file may look like: on file systems of their own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faults.disks import full, mounted, run
from support.absent import NO_DOCKER
from support.stack import HTTPS, module, read_env, refuse, succeed, tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
WISH = {"https": {}}
OTHER, GROUP, STRANGER = 12345, 54321, "23456"


def strace(*injections: str) -> tuple[str, ...]:
    """A prefix that lets the n-th call of a name fail; the writes to a project are the first that a module makes."""
    names = ",".join(injection.partition(":")[0] for injection in injections)
    return (
        *NO_DOCKER,
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={names}",
        *(part for each in injections for part in ("-e", f"inject={each}")),
    )


@pytest.fixture(scope="module")
def _disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With few inodes, and blocks so small that a file takes several."""
    with mounted(
        tmp_path_factory.mktemp("disk") / "ext4.image", "4M", "mkfs.ext4", "-q", "-b", "1024", "-m", "0", "-N", "64"
    ) as place:
        yield place


@pytest.fixture
def disk(_disk: Path) -> Iterator[Path]:
    yield _disk
    for path in _disk.iterdir():
        if path.name != "lost+found":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def lay(template: Path, directory: Path) -> Path:
    directory.mkdir()
    for name in (".env", "docker-compose.yml"):
        shutil.copyfile(template / name, directory / name)
    return directory


@pytest.fixture
def project(_template: Path, disk: Path) -> Path:
    return lay(_template, disk / "appwrite")


def whole(directory: Path) -> dict[str, tuple[Any, ...]]:
    """tree() with all that an inode has but its times of access and change."""

    def inode(path: Path) -> tuple[Any, ...]:
        status = path.lstat()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        return status.st_ino, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns, attributes

    return {name: (*found, *inode(directory / name)) for name, found in tree(directory).items()}


def secure(directory: Path, **options: Any) -> dict[str, Any]:
    found = succeed("security", {"project_src": str(directory), **WISH, **options}, prefix=NO_DOCKER)
    assert read_env(directory)[HTTPS] == "enabled" and not list(directory.rglob(".selfhost-appwrite-*"))
    return found


def refused(directory: Path, prefix: Sequence[str] = NO_DOCKER, check: bool = False) -> str:
    before = whole(directory)
    message = refuse("security", {"project_src": str(directory), **WISH}, prefix=prefix, check=check)
    assert whole(directory) == before
    assert message.startswith("env_file: ")
    return message


# --- the disk ---


@contextlib.contextmanager
def no_inodes(disk: Path, room: int) -> Iterator[None]:
    (disk / "fillers").mkdir()
    for number in range(os.statvfs(disk).f_ffree - room):
        (disk / "fillers" / str(number)).touch()
    try:
        yield
    finally:
        shutil.rmtree(disk / "fillers")


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    run("mount", "-o", "remount,ro", disk)
    try:
        yield
    finally:
        run("mount", "-o", "remount,rw", disk)


@contextlib.contextmanager
def flag(path: Path, letter: str) -> Iterator[None]:
    run("chattr", f"+{letter}", path)
    try:
        yield
    finally:
        run("chattr", f"-{letter}", path)


FAULTS: dict[str, tuple[Callable[[Path], contextlib.AbstractContextManager[None]], str]] = {
    "no block": (lambda project: full(project.parent, 0), "the disk is full; free some space"),
    "no block for a backup": (lambda project: full(project.parent, 3), "the disk is full"),
    "no block for a candidate": (lambda project: full(project.parent, 8), "the disk is full"),
    "no inode": (lambda project: no_inodes(project.parent, 0), "df -i"),
    "no inode for a backup": (lambda project: no_inodes(project.parent, 2), "df -i"),
    "no inode for a candidate": (lambda project: no_inodes(project.parent, 3), "df -i"),
    "read-only": (lambda project: read_only(project.parent), "the file system is read-only; mount it writable"),
    "immutable file": (lambda project: flag(project / ".env", "i"), "immutable (lsattr)"),
    "append-only file": (lambda project: flag(project / ".env", "a"), "immutable (lsattr)"),
    "immutable directory": (lambda project: flag(project, "i"), "immutable (lsattr)"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
def test_disk(project, fault, words):
    with fault(project):
        assert words in refused(project)
    secure(project)


def test_append_only_directory(project):
    """Nothing can be removed from it again, not even what was made before that showed; it is for its owner alone."""
    before = whole(project)
    with flag(project, "a"):
        message = module("security", {"project_src": str(project), **WISH}, prefix=NO_DOCKER)["msg"]
    assert message.startswith("env_file: ") and "immutable (lsattr)" in message
    after = whole(project)
    assert {name: after[name] for name in before} == before
    assert not any(after[name][0] & 0o077 for name in after.keys() - before.keys())
    secure(project)


@pytest.mark.parametrize(
    ("fault", "words"),
    {
        "mkdirat:error=EIO:when=1": "look at the kernel's log",
        "write:error=ENOSPC:when=1": "the disk is full",
        "write:error=EIO:when=2": "input/output error",
        "fsync:error=EIO:when=1": "input/output error",
        "fsync:error=ENOSPC:when=2": "the disk is full",
        "fsync:error=EDQUOT:when=3": "quota is used up",
        "renameat:error=EIO:when=1": "input/output error",
        "fchmod:error=EPERM:when=1": "needs become",
        "renameat2:error=EIO:when=1": "input/output error",
        "flock:error=ENOLCK": "no working locks (flock)",
        "flock:error=EOPNOTSUPP": "no working locks (flock)",
        "flock:error=EIO": "cannot be locked",
    }.items(),
)
def test_call_fails(project, fault, words):
    assert words in refused(project, strace(fault))
    secure(project)


def test_call_fails_after_the_replacement(project):
    """The file is the new one by then; whether it would outlive a power cut is open."""
    told = module("security", {"project_src": str(project), **WISH}, prefix=strace("fsync:error=EIO:when=4"))
    assert told["rc"] and "was replaced, but it is not certain" in told["msg"]
    assert not secure(project)["changed"]


def test_read_fails(project):
    path = str(project / ".env")
    assert "input/output error" in refused(
        project, (*NO_DOCKER, "strace", "-qq", "-o", "/dev/null", "-P", path, "-e", "inject=read:error=EIO")
    )
    secure(project)


def test_owner_cannot_be_given(project):
    """The file would become the task's own."""
    os.chown(project / ".env", OTHER, GROUP)
    assert "needs become" in refused(project, (*NO_DOCKER, "setpriv", "--bounding-set", "-chown"))
    secure(project)


def test_quota(_template, tmp_path):
    """On btrfs, whose quotas need no option of the kernel's."""
    with mounted(tmp_path / "btrfs.image", "120M", "mkfs.btrfs", "-q") as place:
        run("btrfs", "quota", "enable", place)
        run("btrfs", "subvolume", "create", place / "volume")
        project = lay(_template, place / "volume" / "appwrite")
        os.sync()
        run("btrfs", "qgroup", "limit", "1", place / "volume")
        assert "quota is used up" in refused(project)
        run("btrfs", "quota", "disable", place)
        secure(project)


# --- others, at the same moment ---


@contextlib.contextmanager
def paused(project: Path, log: Path, moment: int, *faults: str) -> Iterator[Future[dict[str, Any]]]:
    """A run that is stopped behind its n-th fsync: the second has put the backup on disk, the third the candidate, which then takes the file's place."""
    command = [
        "strace",
        "-f",
        "-o",
        log,
        "-e",
        "trace=fsync,renameat2",
        "-e",
        f"inject=fsync:signal=SIGSTOP:when={moment}",
    ]
    command += [part for fault in faults for part in ("-e", f"inject={fault}")]
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(module, "security", {"project_src": str(project), **WISH}, prefix=(*NO_DOCKER, *command))
        while not (
            found := re.search(r"^(\d+) +--- stopped by SIGSTOP", log.read_text() if log.exists() else "", re.MULTILINE)
        ):
            assert not future.done(), future.result()
            time.sleep(0.01)
        try:
            yield future
        finally:
            os.kill(int(found[1]), signal.SIGCONT)


def theirs(project: Path) -> dict[str, tuple[Any, ...]]:
    return {
        name: found
        for name, found in whole(project).items()
        if not name.startswith(".selfhost-appwrite-") and not name.endswith(".bak")
    }


def _rename_over(path: Path) -> None:
    path.with_name("theirs").write_text("_APP_ENV=development\n")
    path.with_name("theirs").rename(path)


MEDDLE: dict[str, Callable[[Path], object]] = {
    "written": lambda path: path.open("a").write("_APP_SMTP_HOST=theirs\n"),
    "replaced": _rename_over,
    "mode": lambda path: path.chmod(0o600),
    "owner": lambda path: os.chown(path, OTHER, -1),
    "removed": lambda path: path.unlink(),
    "made a link": lambda path: path.rename(path.with_name("real")).with_name(".env").symlink_to("real"),
}


@pytest.mark.parametrize("faults", [(), ("renameat2:error=EINVAL",)], ids=["", "no exchange"])
@pytest.mark.parametrize("meddle", MEDDLE.values(), ids=MEDDLE)
def test_changed_meanwhile(project, tmp_path, meddle, faults):
    with paused(project, tmp_path / "log", 3, *faults) as future:
        meddle(project / ".env")
        expected = theirs(project)
    assert "somebody else changed" in future.result()["msg"]
    assert whole(project) == expected
    if expected.keys() & {".env"}:
        secure(project)


def test_removed_before_it_is_looked_at_again(project, tmp_path):
    with paused(project, tmp_path / "log", 2) as future:
        (project / ".env").unlink()
    assert "somebody else changed" in future.result()["msg"]
    assert set(tree(project)) == {"docker-compose.yml"}


@pytest.mark.parametrize("moment", [2, 3])
@pytest.mark.parametrize("instead", [False, True], ids=["", "another instead"])
def test_directory_moved_away(_template, project, tmp_path, moment, instead):
    """What the run had made is where the directory is now, and goes with its next run."""
    before, away = whole(project), project.with_name("away")
    with paused(project, tmp_path / "log", moment) as future:
        project.rename(away)
        expected = whole(lay(_template, project)) if instead else None
    message = future.result()["msg"]
    assert message.startswith("env_file: ") and ("somebody else changed" in message or "does not exist" in message)
    assert project.exists() == instead and (not instead or whole(project) == expected)
    assert theirs(away) == before
    secure(away)


def test_directory_removed(project, tmp_path):
    with paused(project, tmp_path / "log", 3) as future:
        shutil.rmtree(project)
    assert future.result()["msg"].startswith("env_file: ")
    assert not project.exists()


# --- what the file may be ---


@pytest.mark.parametrize(
    "target", ["real.env", "../elsewhere/real.env", "{disk}/elsewhere/real.env"], ids=["beside", "relative", "absolute"]
)
@pytest.mark.parametrize("dangling", [False, True], ids=["", "dangling"])
def test_symbolic_link(project, disk, target, dangling):
    """The link stays, and the backup is beside the file that it leads to."""
    (disk / "elsewhere").mkdir()
    target = target.format(disk=disk)
    real = project / target
    (project / ".env").rename(real)
    (project / ".env").symlink_to(target)
    if dangling:
        real.unlink()
    done = secure(project, **({"env": {"content": f"{HTTPS}=enabled\n"}} if dangling else {}))
    assert os.readlink(project / ".env") == target and read_env(real.parent, real.name)[HTTPS] == "enabled"
    assert dangling or Path(done["backup_file"]).parent == real.parent.resolve()


@pytest.mark.parametrize("check", [True, False])
def test_bind_mounted(project, disk, check):
    """Such a file cannot be replaced, so check mode does not promise it."""
    (disk / "source").write_bytes((project / ".env").read_bytes())
    run("mount", "--bind", disk / "source", project / ".env")
    try:
        assert "is a mount point of its own" in refused(project, check=check)
    finally:
        run("umount", project / ".env")
    secure(project)


def test_mounted_directory(project, disk):
    """Nothing is special about a file that is mounted with its directory."""
    (disk / "place").mkdir()
    run("mount", "--bind", project, disk / "place")
    try:
        secure(disk / "place")
    finally:
        run("umount", disk / "place")


@pytest.mark.parametrize("check", [True, False])
def test_hard_link(project, check):
    os.link(project / ".env", project / "other")
    assert "2 hard links" in refused(project, check=check)


@pytest.mark.parametrize(
    ("mode", "options", "wanted"), [(0o440, {}, 0o440), (0o1664, {}, 0o1664), (0o644, {"mode": "0640"}, 0o640)]
)
def test_owner_and_mode(project, mode, options, wanted):
    """A wider mode than it needs is the user's to narrow, and is told of."""
    os.chown(project / ".env", OTHER, GROUP)
    (project / ".env").chmod(mode)
    warned = any(
        "is accessible to users other than its owner" in warning for warning in secure(project, **options)["warnings"]
    )
    status = (project / ".env").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (OTHER, GROUP, wanted) and warned


@pytest.mark.parametrize("mode", [0o2775, 0o1777])
@pytest.mark.parametrize("new", [True, False], ids=["new", ""])
def test_odd_directory(project, mode, new):
    """A new file has the group that its directory gives; one that was there keeps its own."""
    os.chown(project, -1, GROUP)
    project.chmod(mode)
    if new:
        (project / ".env").unlink()
    secure(project, **({"env": {"content": f"{HTTPS}=enabled\n"}} if new else {}))
    status = (project / ".env").stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (
        (GROUP if mode == 0o2775 else 0, 0o600) if new else (0, 0o644)
    )


def readable(project: Path, name: str) -> bool:
    """Whether a stranger may read it who is in the directory already."""
    command = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups", "cat", name]
    return not subprocess.run(command, cwd=project, capture_output=True, check=False).returncode


def test_acl_and_labels(project):
    path = project / ".env"
    path.chmod(0o640)
    run("setfacl", "-m", f"u:{STRANGER}:r,g:{GROUP}:rw,m::r", path)
    for name in ("user.note", "trusted.note", "security.selinux"):
        os.setxattr(path, name, b"system_u:object_r:etc_t:s0")
    before = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    backup = secure(project)["backup_file"]
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == before and len(before) == 4
    assert readable(project, ".env") and not readable(project, backup)
    secure(project, mode="0600")
    assert set(os.listxattr(path)) == before.keys() - {"system.posix_acl_access"} and not readable(project, ".env")


@pytest.mark.parametrize(
    "options", [{}, {"mode": "0640"}, {"env": {"content": f"{HTTPS}=enabled\n"}}], ids=["", "mode", "new"]
)
def test_default_acl(project, options):
    """What a directory's default ACL gives to a new file would be a wider way to the old secrets."""
    path = project / ".env"
    path.chmod(0o640)
    run("setfacl", "-m", f"d:u:{STRANGER}:rwx,d:o::rx", project)
    if "env" in options:
        path.unlink()
    backup = secure(project, **options)["backup_file"]
    assert stat.S_IMODE(path.stat().st_mode) == (0o600 if "env" in options else 0o640)
    assert not any(readable(project, file) for file in (".env", backup) if file)
    path.chmod(0o644)
    assert readable(project, ".env")
