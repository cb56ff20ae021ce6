# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built with Go or fetched with npm or pip, once, into .work/testbed/."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

from ._base import WORK, Failed, clean_environ, locked, run

COMPOSE = "github.com/docker/compose/v5"
ACTIONLINT = "github.com/rhysd/actionlint v1.7.12"
FERRETDB = "github.com/FerretDB/FerretDB v1.24.2"
VERSITYGW = "github.com/versity/versitygw v1.8.0"
MONGOSH = "mongosh@2.12.0"
COMMUNITY = "ansible==12.3.0"


def ferretdb() -> Path:
    """The FerretDB server, a static program."""
    module, version = FERRETDB.split()
    target = WORK / "ferretdb" / version / "ferretdb"
    with locked("go"):
        if not target.exists():
            build = _module(target.parent, f"{module}/cmd/ferretdb@{version}")
            # Its start-up code demands a file that is made when a release is built, and is not in the published module.
            source = build / "source"
            shutil.copytree(_go(build, "list", "-m", "-f", "{{.Dir}}", module).strip(), source, dirs_exist_ok=True)
            (source / "build" / "version" / "version.txt").write_text(version)
            _go(build, "mod", "edit", "-replace", f"{module}=./source")
            _go(build, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), f"{module}/cmd/ferretdb")
            shutil.rmtree(build)
    return target


def actionlint() -> Path:
    """The checker of GitHub's workflows. Needs go on this machine."""
    return _built(ACTIONLINT)


def versitygw() -> Path:
    """A server of the S3 API that people run, on a directory of this machine. Needs go."""
    return _built(VERSITYGW)


def mongosh() -> Path:
    """The node_modules directory that holds MongoDB's client."""
    target = WORK / "mongosh" / MONGOSH / "node_modules"
    with locked("npm"):
        if not target.exists():
            prefix = target.parent.with_name("installing")
            shutil.rmtree(prefix, ignore_errors=True)
            prefix.mkdir(parents=True)
            run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", prefix, MONGOSH)
            for pattern in ("*.map", "*.d.ts"):
                for file in prefix.rglob(pattern):
                    file.unlink()
            prefix.rename(target.parent)
    return target


def community() -> Path:
    """A directory for ANSIBLE_COLLECTIONS_PATH with community.docker, out of the community's package."""
    target = WORK / "community" / COMMUNITY
    with locked("community"):
        if not target.exists():
            fetched = target.with_name("fetching")
            shutil.rmtree(fetched, ignore_errors=True)
            run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fetched, COMMUNITY)
            [wheel] = fetched.glob("*.whl")
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(
                    fetched,
                    [
                        name
                        for name in packed.namelist()
                        if name.startswith("ansible_collections/community/docker/")
                        or name.startswith("ansible_collections/community/library_inventory_filtering_v1/")
                    ],
                )
            wheel.unlink()
            fetched.rename(target)
    return target


def newest_compose() -> Path | None:
    """A directory to set DOCKER_CONFIG to, so that `docker compose` is the newest release that this machine's Go can build.

    None where there is no Go. The name of the directory is the release.
    """
    if not shutil.which("go"):
        return None
    directory = WORK.parent / "compose"
    with locked("go"):
        if found := sorted(directory.glob("*/cli-plugins/docker-compose")):
            return found[-1].parents[1]
        probe = _module(directory / "probe")
        versions = _go(probe, "list", "-m", "-versions", COMPOSE).split()[1:]
        shutil.rmtree(probe.parent)
        for version in reversed(versions):
            if "-" in version:
                continue
            target = directory / version / "cli-plugins" / "docker-compose"
            try:
                build = _module(target.parent, f"{COMPOSE}/cmd@{version}")
            except Failed:  # this release wants a newer Go
                shutil.rmtree(target.parents[1])
                continue
            flags = f"-s -w -X {COMPOSE}/internal.Version={version}"
            _go(build, "build", "-trimpath", "-ldflags", flags, "-o", str(target), f"{COMPOSE}/cmd")
            shutil.rmtree(build)
            return target.parents[1]
    return None


def _built(pin: str) -> Path:
    """The program that a module is about, a static one."""
    module, version = pin.split()
    name = module.rpartition("/")[2]
    target = WORK / name / version / name
    with locked("go"):
        if not target.exists():
            build = _module(target.parent, f"{module}/cmd/{name}@{version}")
            _go(build, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), f"{module}/cmd/{name}")
            shutil.rmtree(build)
    return target


def _module(directory: Path, *packages: str) -> Path:
    """An empty Go module in a new directory there, with the packages added."""
    build = directory / "build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    (build / "go.mod").write_text("module testbed\n\ngo 1.22\n")
    for package in packages:
        _go(build, "get", package)
    return build


def _go(cwd: Path, *arguments: str) -> str:
    environ = {
        **clean_environ(),
        "GOMODCACHE": str(WORK / "go" / "modules"),
        "GOCACHE": str(WORK / "go" / "cache"),
        "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    return run("nice", "go", *arguments, cwd=cwd, environ=environ)
