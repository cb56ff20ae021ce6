# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of each file: found again however many there are, and gone with who remembers it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils import _files
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.writes.records import Records


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    handle = os.open(tmp_path, os.O_RDONLY)
    yield handle
    os.close(handle)


def test_records(directory):
    records = Records(directory, lambda record: record[:2])
    every = [[f"{number}\n\ud800", f"{'x' * (number % 3 * 1500)}{number}", number] for number in range(3000)]
    for each in every:
        records.add(each)
    again = [every[7][0], "another", 7]
    records.add(again)
    assert list(records) == [*every, again] and not os.listdir(directory)
    for each in every:
        assert records.find(each[1]) == each
        assert records.find(each[0]) == (again if each is every[7] else each), "the last one"
    assert records.find("another") == again and "another" in records
    assert records.find("x") is None and "" not in records


@pytest.mark.parametrize("taken", [0, 1, 700])
def test_full_disk(directory, monkeypatch, taken):
    """It may be what has just been made that filled it, and to remove that it must be known what is used."""

    def refusing(handle, data):
        if len(list(records)) >= taken:
            os.write(handle, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "")
        real(handle, data)

    real = _files.write
    monkeypatch.setattr(_files, "write", refusing)
    records = Records(directory, lambda record: [record])
    every = [f"{number}" for number in range(taken + 9)]
    for each in every:
        records.add(each)
    assert list(records) == every and all(each in records for each in every) and "x" not in records


@pytest.mark.parametrize("read", [list, lambda records: records.find("a"), lambda records: "a" in records])
def test_disk_that_gives_nothing_back(directory, monkeypatch, read):
    def refusing(*_arguments):
        raise OSError(errno.EIO, "")

    records = Records(directory, lambda record: [record])
    records.add("a")
    monkeypatch.setattr(os, "pread", refusing)
    with pytest.raises(
        AppwriteError,
        match="^what was noted of the files, beside .env, cannot be read: the device reports an input/output error",
    ):
        read(records)


def test_disk_that_takes_no_file(directory, monkeypatch):
    def refusing(*_arguments, **_options):
        raise OSError(errno.EROFS, "")

    monkeypatch.setattr(os, "open", refusing)
    records = Records(directory, lambda record: [record])
    records.add("a")
    assert list(records) == ["a"] and "a" in records and "b" not in records


def test_nothing_stays_open(directory):
    held = len(os.listdir("/proc/self/fd"))
    records = Records(directory, lambda record: [record])
    records.add("a")
    assert len(os.listdir("/proc/self/fd")) == held + 1
    del records
    assert len(os.listdir("/proc/self/fd")) == held


def test_file_system_that_has_only_files_with_names(directory, monkeypatch):
    def real_but_one(path, flags, *arguments, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "")
        return real(path, flags, *arguments, **options)

    real = os.open
    monkeypatch.setattr(os, "open", real_but_one)
    records = Records(directory, lambda record: [record])
    records.add("a")
    assert list(records) == ["a"] and "a" in records and not os.listdir(directory)
