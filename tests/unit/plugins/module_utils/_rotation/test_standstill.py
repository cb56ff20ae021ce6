# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order things are stopped, and what is waited for. That containers and Redis behave so is seen in tests/integration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from support.objects import settings

from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.container import Container
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation import standstill as _standstill
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.standstill import Redis, Stillness

OLD, NEW = "NotARealOldKey12", "NotARealNewKey12"
PROGRAMS = {
    "appwrite": ["php", "app/http.php"],
    "appwrite-realtime": ["realtime"],
    "worker-of-mails": ["worker-mails"],
    "stats": ["worker-stats-usage"],
    "tasks": ["maintenance"],
}
ADDRESSES = {service: f"172.20.0.{number}" for number, service in enumerate(PROGRAMS, 2)}


class Queues:
    """A Redis whose queues are one after the other as they are given here, and stay like the last."""

    def __init__(self, *states: tuple[dict[str, int], dict[str, Iterable[str]], Iterable[str]]) -> None:
        """Each: what waits, what is in hand, which services rest."""
        self.states = list(states)
        self.asked = 0
        self.idle: dict[tuple[str, str], int] = {}
        """job to the seconds since it was taken"""

    def waiting(self) -> dict[str, int]:
        return self.states[0][0]

    def in_hand(self) -> dict[str, set[str]]:
        return {queue: set(jobs) for queue, jobs in self.states[0][1].items()}

    def taken(self, in_hand: dict[str, set[str]]) -> dict[tuple[str, str], int]:
        return {
            (queue, job): self.idle[queue, job]
            for queue, jobs in in_hand.items()
            for job in jobs & {each for _queue, each in self.idle}
        }

    def resting(self) -> dict[str, int]:
        found = {ADDRESSES[service]: 1 for service in self.states[0][2]}
        self.asked += 1
        if len(self.states) > 1:
            self.states.pop(0)
        return found


class Stack:
    def __init__(self, *more: Container, **programs: list[str]) -> None:
        self.done: list[Any] = []
        self.containers = [
            Container(
                service,
                service,
                "running",
                None,
                "2026-11-24T03:00:00Z",
                0,
                0,
                "",
                "",
                {"_APP_OPENSSL_KEY_V1": OLD},
                program=tuple(program),
                addresses=(ADDRESSES.get(service, "172.20.0.99"),),
            )
            for service, program in {**PROGRAMS, **programs}.items()
        ]
        self.containers += more
        self.settings: dict[str, str] = {}
        """Appwrite's own"""
        self.builds: list[str] = []
        """one after the other what the engine says, the last for ever"""
        instance = SimpleNamespace(
            project="appwrite",
            release="1.9.6",
            services={},
            listed=lambda service: self.settings,
            service_at={"redis": "redis", "minio": "objects", "cache": "valkey"}.get,
            config={"networks": {"appwrite": {"name": "appwrite"}}},
            compose=SimpleNamespace(docker=self.docker, containers=lambda project, oneoff: self.containers),
        )
        self.told: list[tuple[str, int, int, str]] = []
        self.stillness = Stillness(instance, (OLD, NEW), lambda *each: self.told.append(each))

    def docker(self, arguments: list[str], timeout: float = 0) -> Any:
        if arguments[0] == "ps":
            said = self.builds.pop(0) if len(self.builds) > 1 else "".join(self.builds)
            return SimpleNamespace(stdout=said)
        return self.done.append((arguments[3], int(arguments[2])))

    def make(self, queues: Queues, leave: Iterable[str] = (), timeout: int = 30) -> list[str]:
        return self.stillness.make(queues, timeout, list(leave), lambda: self.done.append("closing"))


QUIET: tuple[Any, Any, Any] = ({}, {}, ())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(_standstill.time, "sleep", lambda _seconds: None)


def test_order():
    stack = Stack(
        Container("stopped", "stopped", "exited", None, "", 0, 0, "", "", {"_APP_OPENSSL_KEY_V1": OLD}),
        **{"odd one": ["sleep", "9"]},
    )
    assert stack.make(Queues(QUIET)) == []
    assert stack.done[:2] == [("tasks", 5), "closing"]
    assert set(stack.done[2:4]) == {("appwrite", 30), ("appwrite-realtime", 5)}
    assert set(stack.done[4:]) == {("worker-of-mails", 15), ("stats", 15), ("odd one", 300)}
    assert stack.told[0] == ("stopping", 0, 1, "tasks") and ("stopping", 2, 2, "") in stack.told


def test_drained_before_and_after_the_api_is_closed():
    stack = Stack()
    queues = Queues(*[({"v1-stats-usage": jobs}, {}, ()) for jobs in (50, 20, 20, 3)], QUIET)
    stack.make(queues)
    assert queues.asked == 5
    assert [each for each in stack.told if each[0] == "draining"] == [
        ("draining", 0, 50, "v1-stats-usage (50)"),
        ("draining", 0, 20, "v1-stats-usage (20)"),
        ("draining", 17, 20, "v1-stats-usage (3)"),
    ]


def test_others_make_and_take_jobs_too():
    """There may never be none: what is closed waits for no more, and each worker is given time for the job that it has. Queues may be others' to take."""
    stack = Stack()
    queues = Queues(({"v1-stats-usage": 3, "v1-gone": 2}, {"v1-mails": ["1"]}, ["worker-of-mails"]))
    left = stack.stillness.make(queues, 30, [], lambda: stack.done.append("closing"), alone=False)
    assert stack.done[:2] == [("tasks", 5), "closing"]
    assert set(stack.done[4:]) == {("worker-of-mails", 300), ("stats", 300)}
    assert left and "v1-gone (2), v1-stats-usage (3)" in left[0]


@pytest.mark.parametrize(
    "states",
    [
        [({}, {"v1-mails": ["1"]}, ()), QUIET],
        [
            ({}, {"v1-mails": ["1"]}, ()),
            ({}, {"v1-mails": ["1"]}, ["stats"]),
            ({}, {"v1-mails": ["1"]}, ["worker-of-mails"]),
            QUIET,
        ],
        [({}, {"v1-mails": ["1", "2"]}, ()), ({}, {"v1-mails": ["2"]}, ()), QUIET],
    ],
    ids=["ended", "left over", "one after the other"],
)
def test_job_in_hand(states):
    """It is given its time while the API serves, unless its worker waits for another one already."""
    stack, queues = Stack(), Queues(*states)
    stack.make(queues)
    assert queues.asked >= len(states) and ("draining", 0, 0, "v1-mails (1)") in stack.told


def test_one_job_after_the_other_is_no_reason_to_wait():
    """As there is with traffic: then the ones of the beginning have ended."""
    stack = Stack()
    closed = []
    queues = Queues(*[({}, {"v1-stats-usage": [job]}, ()) for job in "123"], QUIET)
    stack.stillness.make(queues, 30, [], lambda: closed.append(queues.asked))
    assert (closed, queues.asked) == ([2], 4)


@pytest.mark.parametrize("processes", ["1", "2", "many"])
def test_of_several_processes_all_must_rest(processes):
    stack = Stack()
    for container in stack.containers:
        container.environment["_APP_WORKERS_NUM"] = processes
    queues = Queues(({}, {"v1-mails": ["1"]}, ["worker-of-mails"]), QUIET)
    stack.make(queues)
    assert bool([each for each in stack.told if each[0] == "draining"]) == (processes != "1")


def test_left_over():
    stack = Stack()
    assert stack.make(Queues(({}, {"v1-mails": ["1", "2"], "v1-gone": ["3"]}, ["worker-of-mails"]))) == [
        "jobs that a worker was processing when it was killed, now or long ago, are left over in v1-gone (1), v1-mails (2), and Appwrite will not resume them"
    ]


AGES = ((600, 600, True), (604, 600, True), (606, 600, False), (606, -3000, True))


@pytest.mark.parametrize(
    ("idle", "age", "waits"),
    [({}, 600, True), *(({("v1-mails", "1"): idle}, age, waits) for idle, age, waits in AGES)],
    ids=["not known", "taken since", "it cannot be told", "left over", "the clock was set back"],
)
def test_a_job_that_was_taken_before_its_worker_was_started(monkeypatch, idle, age, waits):
    """Of a worker that has several in hand at a time it cannot be said that it rests."""
    stack = Stack(**{"worker-of-all": ["worker"]})
    began = stack.containers[0].started
    monkeypatch.setattr(_standstill.time, "time", lambda: began + age)
    queues = Queues(({}, {"v1-mails": ["1"]}, ["worker-of-mails"]))
    queues.idle = idle
    if waits:
        with pytest.raises(AppwriteError, match="^drain_timeout: after 0 seconds"):
            stack.make(queues, timeout=0)
    else:
        assert "left over in v1-mails (1)" in stack.make(queues, timeout=0)[0]


def test_refilled():
    assert Stack().make(Queues(QUIET, QUIET, ({"v1-stats-usage": 2}, {}, ()))) == [
        "jobs wait in v1-stats-usage (2) until a worker takes them; they hold nothing that is sealed"
    ]


@pytest.mark.parametrize("dead", [False, True])
def test_nobody_takes_them(dead):
    queue = "v1-mails" if dead else "v1-webhooks"
    stack = Stack()
    if dead:
        stack.containers = [container for container in stack.containers if container.service != "worker-of-mails"]
    queues = Queues(({queue: 3}, {}, ()))
    with pytest.raises(AppwriteError) as caught:
        stack.make(queues)
    assert str(caught.value) == (
        f"leave_queues: no running worker takes the jobs waiting in {queue} (3). Start it, or name each in `leave_queues`: "
        "they stay where they are. Nothing was changed"
    )
    assert stack.done == []
    assert stack.make(queues, [queue]) == [
        f"jobs wait in {queue} (3) until a worker takes them; they hold nothing that is sealed"
    ]


def test_somebody_unknown_may_take_them():
    stack = Stack(**{"odd one": ["my-worker"]})
    assert stack.stillness.stranded(Queues(({"v1-webhooks": 3}, {}, ())), []) == ""


@pytest.mark.parametrize(
    ("state", "named"), [(({"v1-mails": 25}, {}, ()), "v1-mails (25)"), (({}, {"v1-mails": ["1"]}, ()), "v1-mails (1)")]
)
def test_never_at_an_end(state, named):
    """The API is not closed for nothing."""
    stack = Stack()
    with pytest.raises(
        AppwriteError,
        match=r"^drain_timeout: after 0 seconds jobs still wait or run in v1-mails \(\d+\), and nothing was changed",
    ) as caught:
        stack.make(Queues(state), timeout=0)
    assert named in str(caught.value) and stack.done == [("tasks", 5)]
    assert stack.make(Queues(state), ["v1-mails"], timeout=0)
    assert ("worker-of-mails", 300) in stack.done, "it may have a job in hand"


def test_job_that_takes_long_and_others_beside_it(monkeypatch):
    """Of two processes one goes on taking jobs."""
    stack = Stack()
    closed = []
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(_standstill.time, "monotonic", lambda: next(clock))
    queues = Queues(*[({}, {"v1-mails": ["long", str(number)]}, ()) for number in range(9)], QUIET)
    stack.stillness.make(queues, 300, [], lambda: closed.append(queues.asked))
    assert closed == [10]


def test_api_is_not_closed_for_long(monkeypatch):
    stack = Stack()
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(_standstill.time, "monotonic", lambda: next(clock))
    with pytest.raises(AppwriteError, match="^drain_timeout: after 60 seconds with the API closed jobs still wait"):
        stack.make(Queues(QUIET, ({"v1-mails": 1}, {}, ())), timeout=300)


BUILD = "".join(f"shop-1-build\t{where}\n" for where in ("appwrite", "bridge")) + "other-2-build\tanother\n\tappwrite\n"


def test_builds_are_waited_for_while_the_api_is_open():
    """They need it: they fetch the source from it, and tell it how they ended. Those of another installation are none of ours."""
    stack = Stack()
    stack.builds = [BUILD, BUILD, ""]
    stack.make(Queues(QUIET))
    assert [each for each in stack.told if each[0] == "draining"] == [("draining", 0, 0, "v1-builds (1)")] * 2
    assert Stack().stillness.builds() == ""


def test_builds_that_do_not_end():
    stack = Stack()
    stack.builds = [BUILD]
    assert "orchestrator (1: shop-1-build)" in stack.stillness.builds()
    with pytest.raises(
        AppwriteError, match=r"^drain_timeout: after 0 seconds jobs still wait or run in v1-builds \(1\)"
    ):
        stack.make(Queues(QUIET), timeout=0)
    assert stack.done == [("tasks", 5)]
    [left] = stack.make(Queues(QUIET), ["v1-builds"], timeout=0)
    assert left.startswith("builds that run as jobs of the orchestrator (shop-1-build) were begun with the old key")


def test_worker_of_all_queues():
    """It takes the jobs of each, and waits for the next while it has some in hand."""
    stack = Stack(**{"worker-of-mails": ["worker"]})
    assert stack.stillness.stranded(Queues(({"v1-webhooks": 3}, {}, ())), []) == ""
    stack.containers[2].environment["_APP_WORKER_MAX_COROUTINES"] = "78"
    queues = Queues(*[({}, {"v1-webhooks": ["1"]}, ["worker-of-mails"])] * 3, QUIET)
    stack.make(queues)
    assert len([each for each in stack.told if each[0] == "draining"]) == 3
    assert ("worker-of-mails", 300) in stack.done


def test_expected():
    assert Stack().stillness.expected() == (5, 9)
    assert Stack(**{"odd one": ["sleep", "9"]}).stillness.expected() == (5, 15)
    old = Stack().stillness
    old._instance.release = "1.8.1"
    assert old.expected() == (5, 20)


def test_started():
    assert Stack().stillness.started() == {"API": 1795489200.0, "worker": 1795489200.0, "task": 1795489200.0}


@pytest.mark.parametrize("host", ["minio", "storage.notarealcompany.com"])
def test_what_is_needed_stays(host):
    """With the key too, as by C(env_file): behind the guard nobody could start it again."""
    keyed = [
        Container(name, name, "running", None, "", 0, 0, "", "", {"_APP_OPENSSL_KEY_V1": OLD}, image)
        for name, image in (("db", "mariadb:10.11"), ("valkey", "valkey:8"), ("objects", "minio:1"), ("other", "o:1"))
    ]
    stack = Stack(*keyed)
    stack.stillness._instance.services = {"appwrite": {"_APP_REDIS_HOST": "cache"}}
    stack.settings = settings(f"http://{host}:9000")
    kept = {"db", "valkey", *(["objects"] if host == "minio" else [])}
    assert {each.id for each in stack.stillness.holders()} == {*PROGRAMS, "objects", "other"} - kept
    assert {each.id for each in keyed if stack.stillness.is_needed(each)} == kept


ANSWERS = {
    "ping": "PONG\n",
    "role": "master\n0\n\n",
    "--scan --pattern utopia-queue.queue.*": 'utopia-queue.queue.v1-mails\nutopia-queue.queue.v1-"odd"\nutopia-queue.queue.gone\n',
    "--scan --pattern utopia-queue.processing.*": "utopia-queue.processing.v1-mails\nutopia-queue.processing.gone\n",
    'LLEN "utopia-queue.queue.v1-mails"\nLLEN "utopia-queue.queue.v1-\\"odd\\""\nLLEN "utopia-queue.queue.gone"\n': "3\n1\n0\n",
    'LRANGE "utopia-queue.processing.v1-mails" 0 -1\n': "65f1\n65f2\n",
    'LRANGE "utopia-queue.processing.gone" 0 -1\n': "\n",
    'OBJECT IDLETIME "utopia-queue.jobs.v1-mails.65f1"\nOBJECT IDLETIME "utopia-queue.jobs.v1-mails.65f2"\n': "12\n\n",
    "CLIENT LIST\n": "id=3 addr=172.20.0.4:41000 laddr=172.20.0.3:6379 fd=8 name= age=9 idle=1 flags=b db=0 cmd=brpop\n"
    "id=4 addr=[fd00::4]:41000 laddr=[fd00::3]:6379 fd=9 name= age=9 idle=1 flags=bP db=0 cmd=brpop\n"
    "id=5 addr=172.20.0.4:41002 laddr=172.20.0.3:6379 fd=10 name= age=9 idle=1 flags=N db=0 cmd=get\n",
}


def redis(answers: dict[str, str]) -> Redis:
    def docker(arguments: list[str], script: str, more: dict[str, str]) -> Any:
        assert not more
        return SimpleNamespace(stdout=answers[script or " ".join(arguments[arguments.index("redis-cli") + 1 :])])

    return Redis(project_with(docker))


def project_with(
    docker: Any, values: Mapping[str, str] | None = None, elsewhere: bool = False, release: str = "2.1.0"
) -> Any:
    """Its Redis is a service, or a server that a container C(client) reaches."""
    container = Container("r", "redis", "running", None, "", 0, 0, "", "", {})
    return SimpleNamespace(
        release=release,
        services={"appwrite": values or {}},
        containers=lambda: [container],
        compose=SimpleNamespace(docker=docker, environment={}),
        service_at=lambda host: None if elsewhere else host,
        client=lambda option, image, environment: f"client of {option} {image} {environment}",
    )


def test_redis():
    found = redis(ANSWERS)
    assert found.waiting() == {"v1-mails": 3, 'v1-"odd"': 1}
    assert found.in_hand() == {"v1-mails": {"65f1", "65f2"}}
    assert found.resting() == {"172.20.0.4": 1, "fd00::4": 1}
    assert found.taken(found.in_hand()) == {("v1-mails", "65f1"): 12} and found.taken({}) == {}


@pytest.mark.parametrize(
    "answer",
    ["ERR An LFU maxmemory policy is selected, idle time not tracked\n\n", "NOPERM this user has no permissions\n"],
)
def test_redis_does_not_say_when_a_job_was_taken(answer):
    asked = 'OBJECT IDLETIME "utopia-queue.jobs.v1-mails.65f1"\n'
    assert redis({**ANSWERS, asked: answer}).taken({"v1-mails": {"65f1"}}) == {}


def test_password_of_redis():
    """It goes to its calls alone: everything else that is started shares one environment."""
    calls: list[tuple[list[str], dict[str, str]]] = []

    def docker(arguments: list[str], script: str, more: dict[str, str]) -> Any:
        calls.append((arguments, dict(more)))
        return SimpleNamespace(stdout="" if more else "NOAUTH Authentication required.\n")

    project = project_with(docker, {"_APP_REDIS_PASS": "NotARealRedisWord1"})
    assert Redis(project).forget_documents() == 0
    assert [more for _arguments, more in calls] == [
        {},
        *[{"REDISCLI_AUTH": "NotARealRedisWord1"}] * 2,
    ] and project.compose.environment == {}
    assert calls[1][0][:4] == ["exec", "-i", "--env=REDISCLI_AUTH", "r"] and "NotARealRedisWord1" not in str(
        calls[1][0]
    )


def test_redis_does_not_say_who_rests():
    assert (
        redis(
            {**ANSWERS, "CLIENT LIST\n": "NOPERM this user has no permissions to run the 'client|list' command\n"}
        ).resting()
        == {}
    )


def test_start():
    """Nothing is asked of the engine for nothing; what is known of the containers is old afterwards."""
    asked: list[Any] = []
    compose = SimpleNamespace(docker=lambda arguments, **options: asked.append((arguments, options["tolerate"])))
    instance: Any = SimpleNamespace(compose=compose, forget_containers=lambda: asked.append("forgotten"))
    _standstill.start(instance, [], lambda *told: asked.append(told))
    assert asked == []
    _standstill.start(instance, Stack().containers[:2], lambda *told: asked.append(told))
    assert asked == [
        ("starting", 0, 2, "appwrite, appwrite-realtime"),
        (["start", "appwrite", "appwrite-realtime"], True),
        "forgotten",
    ]


ELSEWHERE = {"_APP_REDIS_HOST": "cache.internal", "_APP_REDIS_USER": "ada", "_APP_REDIS_PASS": "NotARealRedisWord1"}


@pytest.mark.parametrize(
    ("values", "release", "way"),
    [
        ({}, "2.1.0", ["-h", "cache.internal", "-p", "6379", "--user", "ada"]),
        ({"_APP_REDIS_PORT": "6380"}, "2.0.0", ["-h", "cache.internal", "-p", "6380"]),
        ({"_APP_REDIS_USER": ""}, "2.4.0", ["-h", "cache.internal", "-p", "6379"]),
    ],
    ids=["with a user", "before users", "without a user"],
)
def test_redis_elsewhere(values, release, way):
    calls: list[list[str]] = []

    def docker(arguments: list[str], script: str, more: dict[str, str]) -> Any:
        calls.append(arguments)
        assert "NotARealRedisWord1" not in str(arguments)
        return SimpleNamespace(stdout="master\n" if more else "NOAUTH Authentication required.\n")

    Redis(project_with(docker, {**ELSEWHERE, **values}, True, release))
    client = "client of redis_client_image redis:7.4.7-alpine {}"
    assert calls[0] == ["exec", "-i", client, "redis-cli", *way[:4], "ping"]
    assert calls[1] == ["exec", "-i", "--env=REDISCLI_AUTH", client, "redis-cli", *way, "role"]


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "MOVED 866 10.0.0.2:6379",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
def test_redis_that_refuses(error):
    """In the place of any answer: it is neither an empty queue nor an empty cache."""
    names = "utopia-queue.queue.v1-mails\nutopia-queue.queue.v1-audits\n"
    lengths = 'LLEN "utopia-queue.queue.v1-mails"\nLLEN "utopia-queue.queue.v1-audits"\n'
    found = redis(
        {
            **ANSWERS,
            "--scan --pattern utopia-queue.queue.*": names,
            lengths: f"0\n{error}\n",
            "--scan --pattern default-cache*": "default-cache-1\n",
            'UNLINK "default-cache-1"\n': f"{error}\n",
        }
    )
    for ask in (found.waiting, found.forget_documents):
        with pytest.raises(AppwriteError, match=f"^Redis refuses a command: {error[:9]}"):
            ask()


def test_redis_that_does_not_run():
    project = project_with(None)
    project.containers = lambda: []
    with pytest.raises(
        AppwriteError, match=r"^the Redis redis is not a running container of this project, .*; start it"
    ):
        Redis(project)


@pytest.mark.parametrize("elsewhere", [True, False], ids=["elsewhere", "a service"])
def test_redis_that_does_not_answer(elsewhere):
    """Of one elsewhere it is told from where it was asked, and by which variables."""

    def docker(arguments: list[str], script: str, more: dict[str, str]) -> Any:
        raise AppwriteError("docker exec failed: Could not connect to Redis")

    with pytest.raises(AppwriteError) as caught:
        Redis(project_with(docker, ELSEWHERE if elsewhere else {}, elsewhere))
    said = str(caught.value)
    assert "Could not connect to Redis" in said and ELSEWHERE["_APP_REDIS_PASS"] not in said
    assert said.startswith("the Redis at cache.internal: ") == ("_APP_REDIS_PORT" in said) == elsewhere


def test_redis_that_is_starting():
    """Whoever connects is patient then."""
    with pytest.raises(AppwriteError, match=r"^the Redis at redis is still reading its data; run again"):
        redis({**ANSWERS, "role": "LOADING Redis is loading the dataset in memory\n"})


def test_redis_that_is_a_sentinel():
    with pytest.raises(AppwriteError, match=r"^_APP_REDIS_HOST: redis is a sentinel, .*; name the Redis"):
        redis({**ANSWERS, "role": "sentinel\nmymaster\n"})


@pytest.mark.parametrize("name", ["_APP_CONNECTIONS_CACHE", "_APP_CONNECTIONS_QUEUE", "_APP_CONNECTIONS_PUBSUB"])
def test_redis_that_other_variables_name(name):
    values = {name: "redis_main=redis://ada:NotARealRedisWord1@one:6379"}
    asked: list[Any] = []
    with pytest.raises(AppwriteError, match=f"^{name}: tells Appwrite where its Redis is.* _APP_REDIS_HOST") as caught:
        Redis(project_with(lambda *arguments, **_more: asked.append(arguments), values, release="1.6.1"))
    assert not asked and "NotAReal" not in str(caught.value)


def test_redis_that_takes_no_changes():
    with pytest.raises(AppwriteError, match=r"^the Redis at redis is a replica.*have Appwrite use the primary"):
        redis({**ANSWERS, "role": "slave\n10.0.0.1\n6379\nconnected\n0\n"})
    scan, unlink = "--scan --pattern default-cache*", 'UNLINK "default-cache-1"\n'
    since = redis(
        {**ANSWERS, scan: "default-cache-1\n", unlink: "READONLY You can't write against a read only replica.\n"}
    )
    with pytest.raises(AppwriteError, match="^Redis refuses a command: READONLY"):
        since.forget_documents()
