# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other auditors of this host, if they are installed: run side by side, within bounds, and without leaving anything behind.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import ssl
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._audit import lynis, testssl
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.model import (
    Finding,
    Observation,
    Unobserved,
    seen,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._audit.probe import resolved
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import reason
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.compose import search_path

_PROGRAMS = {each.PROGRAM.group: each for each in (lynis, testssl)}
_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_GRACE = 10.0
_LAST_LINES = 3
_LARGEST = 16 << 20
"""Bytes of each file that they write, and of what is read of one: what they look at is not always well-meaning."""
_RESOLVE = 10.0
_TRUST_STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
_HOST = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*\Z")
# lynis reads it after the profiles of the host. It would fetch lists of packages, as the tests that are skipped would even so, ask for its
# own newest release, and, if the host's profile says so, send its report away: now to where nobody listens.
_PROFILE = """\
refresh-repositories=no
skip-upgrade-test=yes
upload-server=127.0.0.1:9
skip-test=PKGS-7328
skip-test=PKGS-7330
skip-test=PKGS-7352
skip-test=PKGS-7354
skip-test=PKGS-7383
skip-test=PKGS-7384
skip-test=PKGS-7386
"""
# apt-get, when lynis asks it what it would upgrade, would log how it planned that, renew its caches, and keep others from the lock.
_APT = """\
Debug::NoLocking "true";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log::Planner "/dev/null";
"""
# Protocols, categories of ciphers, forward secrecy, the preferences and the certificates of the server, headers, vulnerabilities: all of
# testssl.sh but what takes longest and says least, to try each cipher by itself and to play each browser. Releases differ in the long names.
_CHECKS = ("-p", "-s", "-f", "-P", "-S", "-h", "-U")


def run(names: Sequence[str], observation: Observation, timeout: float) -> list[Finding]:
    """What those of C(THIRD_PARTIES) that are asked for and installed find. One that is not installed says nothing.

    After C(timeout) seconds those that still run are ended.
    """
    path = search_path(os.environ, _PLACES)
    installed = {name: program for name in names for program in [_find(name, path)] if program}
    if not installed:
        return []
    with ThreadPoolExecutor(len(installed)) as pool:  # each waits for its own, so that lynis meets no zombie of ours
        found = pool.map(lambda name: _run(name, installed[name], path, observation, timeout), installed)
        return [finding for findings in found for finding in findings]


def _find(name: str, path: str) -> str | None:
    return next(
        (
            program
            for program in (shutil.which(command, path=path) for command in _PROGRAMS[name].PROGRAM.commands)
            if program
        ),
        None,
    )


def _run(name: str, program: str, path: str, observation: Observation, timeout: float) -> list[Finding]:
    auditor = _PROGRAMS[name]
    try:
        with tempfile.TemporaryDirectory(prefix="appwrite-audit-") as scratch:
            report, output = os.path.join(scratch, "report"), os.path.join(scratch, "output")
            arguments = _lynis(scratch, report) if name == "lynis" else _testssl(report, observation)
            if not _completes([program] + arguments, scratch, path, output, timeout):
                raise Unobserved("it did not end within %d seconds, and was stopped" % timeout)
            try:
                return auditor.read(_text(report))
            except Unobserved as incomplete:
                raise Unobserved(
                    str(incomplete) or "it gave no complete report, and said: %s" % _last_lines(output)
                ) from None
    except Unobserved as unseen:
        return [auditor.PROGRAM.did_not_run(str(unseen))]
    except OSError as error:
        return [auditor.PROGRAM.did_not_run("it could not be run: %s" % reason(error))]


def _lynis(scratch: str, report: str) -> list[str]:
    profile = os.path.join(scratch, "profile.prf")
    for name, content in ((profile, _PROFILE), (os.path.join(scratch, "apt.conf"), _APT)):
        with open(name, "w", encoding="ascii") as stream:
            stream.write(content)
    # --cronjob: if another lynis runs it ends, and does not take away the other's lock.
    return [
        "audit",
        "system",
        "--cronjob",
        "--quick",
        "--no-colors",
        "--no-log",
        "--report-file",
        report,
        "--profile",
        profile,
    ]


def _testssl(report: str, observation: Observation) -> list[str]:
    """Raises Unobserved if no TLS answers: testssl.sh would take its time, and tell of all that is not offered."""
    endpoint = seen(observation.endpoint)
    seen(endpoint.certificate)
    if not _HOST.match(endpoint.host):
        raise Unobserved("%r is not the name of a host" % endpoint.host)
    place, _colon, port = endpoint.address.rpartition(":")
    address = str(resolved(place, int(port), _RESOLVE)[0][4][0])
    trusted = next(filter(os.path.isfile, filter(None, (ssl.get_default_verify_paths().cafile,) + _TRUST_STORES)), None)
    return (
        list(_CHECKS)
        + (["--add-ca", trusted] if trusted else [])
        + (["-6"] if ":" in address else [])
        + [
            "--ip",
            address,
            "--nodns",
            "none",
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--openssl-timeout",
            "10",
            "--jsonfile-pretty",
            report,
            "https://%s:%s" % (endpoint.host, port),
        ]
    )


def _completes(command: list[str], scratch: str, path: str, output: str, timeout: float) -> bool:
    environment: dict[str, str] = {
        "PATH": path,
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C",
        "LC_ALL": "C",
        "TERM": "dumb",
        "APT_CONFIG": os.path.join(scratch, "apt.conf"),
    }
    with open(output, "wb") as stream:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command knows no time limit
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with suppress(OSError, ValueError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_LARGEST, _LARGEST))
        process.wait(timeout)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends all that it started, too, and the lock of a lynis that had no time to, which would keep the next one from running."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(_GRACE)
    with suppress(OSError):
        if _text("/run/lynis.pid").strip() == str(process.pid):
            os.unlink("/run/lynis.pid")


def _text(path: str) -> str:
    with suppress(FileNotFoundError):
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(_LARGEST)
    return ""


def _last_lines(output: str) -> str:
    return " ".join([line for line in _text(output).splitlines() if line.strip()][-_LAST_LINES:]) or "nothing"
