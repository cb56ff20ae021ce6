# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The testbed's stand-ins behave as Appwrite was seen to: what hears a signal, what is in Redis, and what another key does to what is stored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from support.stack import KEY, Kind, Stack, needs_php, on, set_env, succeed, until
from testbed import images
from testbed._base import Failed, run
from testbed.dataset import Dataset
from testbed.project import Project
from testbed.traffic import Traffic

pytestmark = pytest.mark.skipif(
    os.environ.get("TESTBED_IMAGES") == "official", reason="TESTBED_IMAGES is official: there are no stand-ins"
)
SERVICES = (
    "appwrite",
    "appwrite-worker-mails",
    "appwrite-worker-stats-usage",
    "appwrite-task-scheduler-functions",
    "redis",
)
KINDS = [
    Kind(database=database, services=(*SERVICES, database), room="stand-ins") for database in ("mariadb", "postgresql")
]
NEWEST = Kind(
    "2.4.0",
    "postgresql",
    services=("appwrite", "appwrite-worker", "clickhouse", "redis", "postgresql"),
    room="stand-ins",
)
WORKER = "appwrite-worker-mails"
pytestmark = pytest.mark.nightly("nothing of plugins/ runs here; test_rotation.py has the same projects at work")
OWN, OTHER = "NotARealStandInKey1", "AnotherNotRealStandInKey1"


@pytest.fixture
def project(stack: Stack) -> Iterator[Project]:
    stack.project.redis("flushall")
    return stack.project


def stop(project: Project, service: str, seconds: int) -> int:
    """The exit status of a container that is given so long."""
    container = project.container(service)
    run("docker", "stop", "--time", str(seconds), container)
    return int(run("docker", "container", "inspect", "--format", "{{.State.ExitCode}}", container))


@on(KINDS[0])
def test_who_hears_that_it_is_to_stop(project):
    assert stop(project, "appwrite-task-scheduler-functions", 1) == 137
    assert [stop(project, service, 30) for service in ("appwrite", WORKER, "appwrite-worker-stats-usage")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("release", "program", "status"),
    [
        ("1.8.1", "worker-mails", 137),
        ("1.8.1", "realtime", 137),
        ("1.8.1", "stats-resources", 137),
        ("1.9.6", "worker-mails", 0),
        ("1.9.6", "interval", 0),
        ("1.9.6", "stats-resources", 137),
    ],
)
def test_first_process_of_a_release(release, program, status):
    """Before 1.9.0 it was a shell, which passes no signal on."""
    container = run(
        "docker", "run", "--detach", "--network", "none", "--entrypoint", program, images.stand_in(release)
    ).strip()
    try:
        until(lambda: f"{program} started" in run("docker", "logs", container))
        run("docker", "stop", "--time", "5" if status == 0 else "1", container)
        assert int(run("docker", "container", "inspect", "--format", "{{.State.ExitCode}}", container)) == status
    finally:
        run("docker", "rm", "--force", container)


@pytest.mark.parametrize("program", ["worker", "interval", "docker-php-entrypoint"])
@pytest.mark.parametrize(("release", "key", "stays"), [("2.4.0", "", False), ("2.4.0", OWN, True), ("2.0.0", "", True)])
def test_an_empty_key(release, program, key, stays):
    """From 2.4.0 on nothing starts without one."""
    given = ("--env", f"{KEY}={key}", "--entrypoint", program)
    command = ("php", "app/http.php") if program == "docker-php-entrypoint" else ()
    container = run(
        "docker", "run", "--detach", "--network", "none", *given, images.stand_in(release), *command
    ).strip()
    try:
        if stays:
            until(lambda: " started" in run("docker", "logs", container).lower())
        else:
            assert run("docker", "wait", container).strip() == "1"
    finally:
        run("docker", "rm", "--force", container)


@on(NEWEST)
def test_the_worker_of_all_queues(project):
    """As many at a time of one queue as Appwrite allows, and of each queue whatever the others do."""
    project.slow("appwrite-worker", 3600)
    for queue in ("v1-mails", "v1-functions"):
        project.enqueue(queue, 10)
    until(lambda: project.redis("llen", "utopia-queue.processing.v1-functions") == "8")
    until(lambda: project.redis("llen", "utopia-queue.processing.v1-mails") == "1")
    container = project.container("appwrite-worker")
    run("docker", "kill", "--signal", "TERM", container)
    project.slow("appwrite-worker", 0.1)
    assert run("docker", "wait", container).strip() == "0"
    assert [project.jobs(queue) for queue in ("v1-mails", "v1-functions")] == [9, 2]
    project.heal("appwrite-worker")
    project.up()
    until(lambda: project.jobs("v1-mails") + project.jobs("v1-functions") == 0)


@on(NEWEST)
def test_clickhouse_wants_its_password(project):
    def ask(password):
        asked = f"exit((int) (@file_get_contents('http://appwrite:{password}@clickhouse:8123/appwrite') === false));"
        run("docker", "exec", project.container("appwrite"), "php", "-r", asked)

    assert project.ps()["clickhouse"] == "healthy"
    ask("appwrite")
    with pytest.raises(Failed):
        ask("another")


@on(KINDS[0])
def test_a_worker_ends_its_job(project):
    """One at a time, and what waits goes on waiting."""
    project.slow(WORKER, 3600)
    project.enqueue("v1-mails", 3)
    until(lambda: project.redis("llen", "utopia-queue.processing.v1-mails") == "1")
    assert project.jobs("v1-mails") == 3
    container = project.container(WORKER)
    run("docker", "kill", "--signal", "TERM", container)
    project.slow(WORKER, 0.1)
    assert run("docker", "wait", container).strip() == "0"
    assert project.redis("get", "utopia-queue.stats.v1-mails.success") == "1"
    assert (
        project.redis("llen", "utopia-queue.queue.v1-mails"),
        project.redis("llen", "utopia-queue.processing.v1-mails"),
    ) == ("2", "0")
    assert project.redis("keys", "utopia-queue.jobs.*") == ""
    project.heal(WORKER)
    project.up()
    until(lambda: project.jobs("v1-mails") == 0)


@on(KINDS[0])
def test_a_job_whose_worker_is_killed_stays(project):
    project.slow(WORKER, 600)
    project.enqueue("v1-mails")
    until(lambda: project.redis("llen", "utopia-queue.processing.v1-mails") == "1")
    run("docker", "kill", project.container(WORKER))
    project.heal(WORKER)
    project.up()
    project.enqueue("v1-mails")
    until(lambda: project.redis("get", "utopia-queue.stats.v1-mails.success") == "1")
    assert (
        project.redis("llen", "utopia-queue.queue.v1-mails"),
        project.redis("llen", "utopia-queue.processing.v1-mails"),
    ) == ("0", "1")


@on(KINDS[0])
def test_a_worker_dies_without_redis(project):
    run("docker", "stop", project.container("redis"))
    container = project.container(WORKER)
    until(
        lambda: (
            run(
                "docker", "container", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container
            ).split()
            == ["exited", "1"]
        )
    )
    assert project.ps()["appwrite"] in ("healthy", "running")


@on(KINDS[0])
def test_a_request_queues_a_job(project):
    usage = "v1-stats-usage"
    stop(project, "appwrite-worker-stats-usage", 30)
    with Traffic(project, rate=20) as traffic:
        until(lambda: traffic.requests > 20)
    jobs = [json.loads(line) for line in project.redis("lrange", f"utopia-queue.queue.{usage}", "0", "-1").splitlines()]
    assert traffic.requests - 10 <= len(jobs) <= traffic.requests + traffic.errors, "only the version is free"
    assert {tuple(job) for job in jobs} == {("pid", "queue", "timestamp", "payload")} and {
        job["queue"] for job in jobs
    } == {usage}
    assert len({job["pid"] for job in jobs}) == len(jobs)
    before = project.jobs(usage)
    assert traffic.check() == [] and project.jobs(usage) == before


@on(*KINDS)
def test_traffic_survives_restarts(project):
    with Traffic(project, rate=20) as traffic:
        until(lambda: traffic.requests > 60)
        project.compose("restart", "appwrite")
        until(lambda: traffic.requests > 80)
        project.compose("up", "--detach", "--force-recreate", "appwrite")
        until(lambda: traffic.requests > 120)
    project.wait()
    print(traffic)
    assert traffic.check() == []
    assert traffic.errors and traffic.away


@on(*KINDS)
@needs_php
def test_traffic_beside_a_data_set(stack, project):
    """A rotation looks at both, and neither is in the other's way."""
    data, root = (
        Dataset.make(seed=3, key=stack.env()[KEY], database=stack.kind.database, file_bytes=20_000),
        project.uploads(),
    )
    data.load(project)
    data.write_files(root)
    with Traffic(project, rate=20) as traffic:
        until(lambda: traffic.requests > 40)
    report = succeed("stored_info", {**stack.arguments, "sample": 0})["report"]
    sealed = {one["collection"]: one for one in report["collections"] if one["collection"].startswith("_77_")}
    assert sealed.keys() == {"_77_database_1_collection_1", "_77_bucket_1"} and report["undecryptable"] == []
    assert sealed["_77_database_1_collection_1"]["values"]["old"] and sealed["_77_bucket_1"]["files"]["old"]
    assert data.check(project, root, stack.env()[KEY]).found == []
    data.reset(project, root)
    assert traffic.check() == []


@on(*KINDS)
def test_another_key_loses_what_is_changed(stack, project):
    """Silently: what cannot be opened is empty, and is sealed so with the next change. A file is sent as it is stored."""

    def take(key):
        set_env(stack.directory, **{KEY: key})
        project.up("appwrite")
        project.wait()

    take(OWN)
    with Traffic(project, rate=20) as traffic:
        until(lambda: traffic.requests > 40)
    assert traffic.check() == []
    first = next(uid for client in traffic._clients for uid in client.documents)
    take(OTHER)
    found = traffic.check()
    assert found and {words.partition(": ")[2] for words in found} == {
        "ssn is empty, notes is empty, codes is different",
        "another content",
    }
    assert (
        traffic.request("PATCH", f"/v1/databases/1/collections/1/documents/{first}", b'{"data": {"count": 5}}').status
        == 200
    )
    take(OWN)
    assert {words.split()[1] for words in traffic.check()} == {f"{first}:"}


@on(KINDS[1])
def test_connections(project):
    with project.connections(2) as held:
        assert held == 2
    with project.connections(50) as held:
        assert held < 50
        client = [
            "docker",
            "exec",
            project.container("postgresql"),
            "sh",
            "-c",
            'exec psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "SELECT 1"',
        ]
        with pytest.raises(Failed, match="too many clients already"):
            run(*client)
    until(lambda: project.query(postgresql="SELECT 1;").strip() == "1")
