# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken from the labels of containers, and what is refused because of them."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project import landscape
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.landscape import Row, Started

HERE = "/srv/site"
BASE, MORE = HERE + "/docker-compose.yml", HERE + "/live.yml"
NOTHING = Started((), None, None)


def row(**more):
    fields = {
        "project": "site",
        "directory": HERE,
        "files": (BASE,),
        "env_files": (),
        "stack": "",
        "image": "appwrite/appwrite:1.8.1",
        "created": "1",
    }
    return Row(**{**fields, **more})


def started(rows, asked=NOTHING, own=(), gone=()):
    return landscape.started(
        rows, HERE, asked, [BASE], HERE + "/.env", own, lambda path: path, lambda path: path not in gone
    )


def alone(rows, project="site", named=False, gone=()):
    landscape.check_alone(rows, project, HERE, named, lambda path: path, lambda path: path not in gone)


def test_rows():
    text = (
        "site\t/srv/site\t/a.yml,/b.yml\t/x.env\t\tappwrite/appwrite:1\t2026\tapi\tTrue\tc1\n"
        "\t\t\t\tshop\tredis:7\t2026\t\t\tc2\n<none>\n"
    )
    assert landscape.rows(text) == [
        Row("site", HERE, ("/a.yml", "/b.yml"), ("/x.env",), "", "appwrite/appwrite:1", "2026", "api", True, "c1"),
        Row("", "", (), (), "shop", "redis:7", "2026", id="c2"),
    ]


FOLLOWED = {
    "nothing runs": ([], NOTHING, (), NOTHING),
    "another directory": ([row(directory="/srv/other")], NOTHING, (), NOTHING),
    "by default": ([row()], NOTHING, (), Started((), None, "site")),
    "another name": ([row(project="shop")], NOTHING, (), Started((), None, "shop")),
    "several files": ([row(files=(BASE, MORE))], NOTHING, (), Started((BASE, MORE), None, "site")),
    "files that .env names": ([row(files=(BASE, MORE))], NOTHING, ("COMPOSE_FILE",), Started((), None, "site")),
    "one env file": ([row(env_files=("/x.env",))], NOTHING, (), Started((), "/x.env", "site")),
    "the newest counts": (
        [row(created="2"), row(files=(BASE, MORE), created="1")],
        NOTHING,
        (),
        Started((), None, "site"),
    ),
    "asked for": ([row()], Started((BASE, MORE), None, "site"), (), Started((BASE, MORE), None, "site")),
    "one beside it that is no Appwrite": (
        [row(), row(project="blog", image="nginx")],
        NOTHING,
        (),
        Started((), None, "site"),
    ),
}


@pytest.mark.parametrize(("rows", "asked", "own", "expected"), FOLLOWED.values(), ids=FOLLOWED)
def test_followed(rows, asked, own, expected):
    assert started(rows, asked, own) == expected


def test_one_of_several_projects_has_the_usual_name():
    assert started([row(project="shop", files=(MORE,)), row()]) == Started((), None, "site")


CONTRADICTED = {
    "several projects": ([row(project="blog"), row(project="shop")], NOTHING, (), "several projects"),
    "another name": ([row(project="shop")], Started((), None, "site"), (), "`project_name`"),
    "a file left out": ([row(files=(BASE, MORE))], Started((BASE,), None, None), (), MORE),
    "a file that is gone": ([row(files=(BASE, MORE))], NOTHING, (MORE,), "does not exist any more"),
    "several env files": ([row(env_files=("/a", "/b"))], NOTHING, (), "/a, /b"),
    "another env file": ([row(env_files=("/a",))], Started((), "/b", None), (), "`env_file`"),
}


@pytest.mark.parametrize(("rows", "asked", "gone", "words"), CONTRADICTED.values(), ids=CONTRADICTED)
def test_contradicted(rows, asked, gone, words):
    with pytest.raises(AppwriteError) as caught:
        started(rows, asked, gone=gone)
    assert words in str(caught.value)


NOT_ALONE = {
    "swarm": ([row(project="", directory="", stack="shop")], (), "stack shop of a swarm"),
    "moved": ([row(project="old", directory="/srv/old")], ("/srv/old",), "set `project_name`"),
    "same name elsewhere": ([row(directory="/srv/other")], (), "/srv/other"),
    "renamed in .env": ([row(project="old")], (), "second Appwrite"),
}


@pytest.mark.parametrize(("rows", "gone", "words"), NOT_ALONE.values(), ids=NOT_ALONE)
def test_not_alone(rows, gone, words):
    with pytest.raises(AppwriteError) as caught:
        alone(rows, gone=gone)
    assert words in str(caught.value)


def test_alone():
    alone([])
    alone([row()])
    alone([row(directory="/srv/old")], gone=["/srv/old"])
    alone([row(project="old", directory="/srv/old")])
    alone([row(project="", directory="", stack="shop")], named=True)


def test_scaled():
    assert landscape.scaled({"mails": 3, "api": 1, "gone": 2, "off": 1}, {"mails": 1, "api": 1, "off": 0}) == {
        "mails": 3
    }


def test_orphans():
    assert landscape.orphans(["a", "old", ""], ["a", "b"]) == ["old"]


def test_taken_away():
    listed = {"A": None, "B": "", "C": "set", "D": None, "E": None, "F": None}
    running = {"A": "1", "B": "2", "C": "3", "D": "", "E": "5", "F": "6"}
    assert landscape.taken_away(listed, running, ["E"], ["F"]) == ["A", "B"]


PROFILES = {
    "none": ({"a": {}, "b": {"profiles": ["x"]}}, ["a"], [], {}),
    "all of it runs": ({"a": {}, "b": {"profiles": ["x"]}, "c": {"profiles": ["x"]}}, ["a", "b", "c"], ["x"], {}),
    "a part of it runs": ({"b": {"profiles": ["x"]}, "c": {"profiles": ["x"]}}, ["b"], [], {"b": ["x"]}),
    "one of two": ({"b": {"profiles": ["x", "y"]}, "c": {"profiles": ["x"]}}, ["b"], ["y"], {}),
    "not in the files": ({"a": {}}, ["a", "gone"], [], {}),
}


@pytest.mark.parametrize(("services", "present", "whole", "left"), PROFILES.values(), ids=PROFILES)
def test_followed_profiles(services, present, whole, left):
    assert landscape.followed_profiles(services, present) == (whole, left)


def test_volumes_from_before_a_renaming():
    old = landscape.Volume("old_data", "old", 100.0)
    with pytest.raises(AppwriteError, match="set `project_name` to old"):
        landscape.refuse_volumes([old], 99.0, 200.0, "site", HERE)
    landscape.refuse_volumes([old], 101.0, 200.0, "site", HERE)
    landscape.refuse_volumes([old], 99.0, 101.0, "site", HERE)
