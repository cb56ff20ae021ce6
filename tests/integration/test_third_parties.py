# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lynis and testssl.sh themselves, on this machine and on endpoints of which it is known what is wrong with them."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from integration.tls_server import HOST, serve
from support.stack import NOT_A_KEY

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import third_parties as _third_parties
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import Observation, Unseen
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.probe import probe

ENOUGH = 500
LOCK = Path("/run/lynis.pid")
# One test at a time: lynis refuses to run twice, and what they leave behind is looked for.
ALONE = pytest.mark.xdist_group("auditors")
CALLS = (
    "openat,?open,?creat,?mkdir,mkdirat,?rename,renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?rmdir,"
    "?chmod,fchmod,fchmodat,?chown,?lchown,fchown,fchownat,truncate,?mknod,mknodat"
)
WRITTEN = re.compile(r'(?!.* = -1 E)(?!.*"/(?:dev|proc)/)(?:(?!open)|.*O_(?:WRONLY|RDWR|CREAT))')
OWN = re.compile(r'"(?:[^"]*/appwrite-audit-\w+(?:/\w+)?|/tmp/lynis\.\w+|/var/run/lynis\.pid)"')


def observation(endpoint=None) -> Observation:
    nothing = Unseen("nobody looked")
    return Observation(
        datetime.date(2026, 1, 1),
        "/opt/appwrite",
        "1.9.6",
        True,
        nothing,
        nothing,
        nothing,
        endpoint=endpoint or nothing,
    )


def observed(served) -> Observation:
    return observation(probe(served.host, served.address, served.http_port, served.https_port))


def run(*names: str, seen: Observation | None = None, timeout: float = ENOUGH):
    return {finding.id: finding for finding in _third_parties.run(names, seen or observation(), timeout)}


def installed(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if not path:
        pytest.skip(f"an auditor is not at hand: {name}")
    return path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell script before all programs of its name on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return put


@pytest.fixture
def lock():
    """Of root's lynis. There is one for the whole machine, and it is not taken from a lynis that really runs."""
    assert not LOCK.exists(), "lynis runs on this machine; try again when it is done"
    yield LOCK
    LOCK.unlink(missing_ok=True)


def ends(pid: int) -> bool:
    """Soon: one that was killed needs a moment."""
    for _try in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


# --- testssl.sh ---


@pytest.mark.nightly
@ALONE
def test_endpoints_are_told_apart(tmp_path, monkeypatch, stand_in):
    """One has all of its checks, the others only those of the protocols and the certificate, to be quick."""
    program = installed("testssl")
    with ExitStack() as stack:
        served = {
            kind: stack.enter_context(serve(*kind.split()))
            for kind in ("good modern", "expired old", "self_signed modern")
        }
        trusted = tmp_path / "trusted.pem"
        trusted.write_text("".join(each.ca_file.read_text() for each in served.values()))
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        stand_in(
            "testssl",
            f"""
            case "$*" in *:{served["good modern"].https_port}) exec {program} "$@";; esac
            for word; do shift; case $word in -s|-f|-P|-h|-U);; *) set -- "$@" "$word";; esac; done
            exec {program} "$@\"""",
        )
        seen = [observed(each) for each in served.values()]
        with ThreadPoolExecutor(len(served)) as pool:
            found = dict(zip(served, pool.map(lambda each: run("testssl", seen=each), seen), strict=True))
    assert {findings["testssl.ran"].status for findings in found.values()} == {"pass"}
    good, expired, self_signed = (
        {name.partition(".")[2]: each for name, each in findings.items()} for findings in found.values()
    )
    assert not good.keys() & {
        "cert_chain_of_trust",
        "cert_expirationStatus",
        "cert_trust",
        "TLS1",
        "TLS1_1",
        "heartbleed",
    }
    assert good["HSTS_time"].severity == "medium", "Appwrite's is shorter than what it wants"
    assert (expired["cert_expirationStatus"].status, expired["cert_expirationStatus"].severity) == ("fail", "critical")
    assert f"{served['expired old'].not_after:%Y-%m-%d}" in expired["cert_expirationStatus"].evidence
    assert expired.keys() >= {"TLS1", "TLS1_1", "cert_chain_of_trust"}
    assert "self signed" in self_signed["cert_chain_of_trust"].evidence
    assert "TLS1" not in self_signed
    assert not list(Path("/tmp").glob("testssl.*"))


def test_an_endpoint_that_does_not_answer_is_unknown_at_once(stand_in):
    stand_in("testssl", "exit 0")
    with serve() as served:
        nobody = observation(probe(served.host, served.address, served.https_port, served.http_port))
    for seen, words in ((nobody, "over TLS"), (observation(), "nobody looked")):
        found = run("testssl", seen=seen)
        assert (list(found), found["testssl.ran"].status) == (["testssl.ran"], "unknown")
        assert words in found["testssl.ran"].evidence


def test_no_odd_name_reaches_it(tmp_path, stand_in):
    stand_in("testssl", f"touch {tmp_path}/started")
    with serve() as served:
        for host in ("$(id)", "--help", "a b", "a\n", ""):
            found = run(
                "testssl",
                seen=observation(replace(probe(HOST, served.address, served.http_port, served.https_port), host=host)),
            )
            assert "is not the name of a host" in found["testssl.ran"].evidence
    assert not (tmp_path / "started").exists()


# --- lynis ---


@pytest.mark.nightly
@ALONE
def test_lynis_audits_this_machine_and_changes_nothing(tmp_path, stand_in, lock):
    """Of its tests those that ask the package manager, which are the ones that would change something, and a few more."""
    program = installed("lynis")
    (tmp_path / "trace").mkdir()
    stand_in(
        "lynis",
        f"""
        exec strace -ff -qq --seccomp-bpf -e signal=none -e trace={CALLS} -o {tmp_path}/trace/of \\
            {program} "$@" --no-plugins --tests-from-group "ports_packages banners\"""",
    )
    found = run("lynis")
    assert found["lynis.ran"].status == "pass", found
    assert "lynis.BANN-7126" in found or "lynis.PKGS-7370" in found, "a bare machine has neither a banner nor debsums"
    written = [
        line
        for path in (tmp_path / "trace").iterdir()
        for line in path.read_text(errors="replace").splitlines()
        if WRITTEN.match(line)
    ]
    assert any(OWN.search(line) for line in written)
    assert not [line for line in written if not OWN.search(line)]
    assert not lock.exists()
    assert not list(Path("/tmp").glob("lynis.*"))


@pytest.mark.nightly
@ALONE
def test_a_lynis_that_is_ended_leaves_nothing_behind(lock):
    installed("lynis")
    found = run("lynis", timeout=3)
    assert (list(found), found["lynis.ran"].status) == (["lynis.ran"], "unknown")
    assert not lock.exists()
    assert not list(Path("/tmp").glob("lynis.*"))


@ALONE
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write the lock of root's lynis")
@pytest.mark.parametrize(("whose", "stays"), [("$$", False), ("1", True)])
def test_a_lock_is_taken_away_if_it_is_of_the_lynis_that_was_killed(monkeypatch, stand_in, lock, whose, stays):
    monkeypatch.setattr(_third_parties, "_GRACE", 0.2)  # so as not to wait for a program that is known not to listen
    stand_in("lynis", f"trap '' TERM\necho {whose} >{lock}\nwhile :; do sleep 1; done")
    assert run("lynis", timeout=3)["lynis.ran"].status == "unknown"
    assert lock.exists() == stays


@pytest.mark.nightly
@ALONE
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write the lock of root's lynis")
def test_another_lynis_goes_on_undisturbed(lock):
    installed("lynis")
    lock.write_text("1\n")
    found = run("lynis")["lynis.ran"]
    assert (found.status, lock.read_text()) == ("unknown", "1\n")
    assert "multiple" in found.evidence


# --- both ---


def test_when_time_is_up_no_process_is_left(tmp_path, stand_in):
    """Neither of two that run at the same time, nor what they started, whether it listens to SIGTERM or not."""
    for name in ("lynis", "testssl"):
        stand_in(
            name,
            f"""
            sh -c "trap '' TERM; echo \\$\\$ >{tmp_path}/{name}.deaf; exec sleep 1000" &
            sleep 1000 & echo $! >{tmp_path}/{name}.child
            echo $$ >{tmp_path}/{name}.itself
            wait""",
        )
    with serve() as served:
        found = run("lynis", "testssl", seen=observed(served), timeout=6)
    assert {name: finding.status for name, finding in found.items()} == {
        "lynis.ran": "unknown",
        "testssl.ran": "unknown",
    }
    assert all("within 6 seconds, and was stopped" in finding.evidence for finding in found.values())
    started = {path.name: int(path.read_text()) for path in tmp_path.glob("*.*")}
    assert len(started) == 6
    assert not [name for name, pid in started.items() if not ends(pid)]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo first; echo 'no disk' >&2; exit 3", "it gave no complete report, and said: first no disk"),
        ("exit 0", "and said: nothing"),
        (
            'echo "$*" | grep -q report || exit 1; while [ $1 != --report-file ]; do shift; done; echo lynis_version=3 >$2',
            "and said: nothing",
        ),
        ("kill -9 $$", "and said: nothing"),
    ],
    ids=["fails", "silent", "half a report", "killed"],
)
def test_what_goes_wrong_is_unknown_and_says_why(stand_in, script, words):
    stand_in("lynis", script)
    found = run("lynis")
    assert (list(found), found["lynis.ran"].status) == (["lynis.ran"], "unknown")
    assert words in found["lynis.ran"].evidence


def test_what_they_write_is_bounded(monkeypatch, stand_in):
    """What they look at may have them say anything, for as long as they may."""
    monkeypatch.setattr(_third_parties, "_LARGEST", 1 << 20)
    stand_in("lynis", "exec yes")
    found = run("lynis")["lynis.ran"]
    assert found.status == "unknown" and found.evidence.startswith("it gave no complete report, and said: y y ")


def test_a_program_that_does_not_start_is_unknown(tmp_path, stand_in):
    stand_in("lynis", "")
    (tmp_path / "bin" / "lynis").write_text("#!/nonexistent/shell\n")
    assert (
        run("lynis")["lynis.ran"].evidence == "it could not be run: it, or a directory on the way to it, does not exist"
    )


def test_what_is_not_installed_or_not_asked_for_says_nothing(tmp_path, monkeypatch, stand_in):
    stand_in("testssl", f"touch {tmp_path}/started")
    assert run() == {}
    monkeypatch.setattr(_third_parties, "_PLACES", ())  # they are installed on this machine
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    assert run("lynis") == {}
    assert not (tmp_path / "started").exists()


def test_they_are_given_nothing_but_what_they_need(tmp_path, monkeypatch, stand_in):
    monkeypatch.setenv("_APP_OPENSSL_KEY_V1", NOT_A_KEY)
    kept = tmp_path / "kept"
    stand_in("lynis", f"{{ env; pwd; stat -c 'mode %a' .; readlink /proc/$$/fd/0; echo \"$*\"; }} >{kept}")
    run("lynis")
    told = kept.read_text()
    assert NOT_A_KEY not in told
    assert {"LC_ALL=C", "mode 700", "/dev/null"} <= set(told.splitlines())
    scratch = re.search(r"^PWD=(.+)$", told, re.MULTILINE)[1]
    assert f"HOME={scratch}" in told
    assert f"--report-file {scratch}/report" in told
    assert not Path(scratch).exists()
