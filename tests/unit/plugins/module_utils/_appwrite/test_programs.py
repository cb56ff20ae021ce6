# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container does with jobs, by what it runs. How Appwrite 1.4.14 to 2.4.0 start their services stands in their compose templates."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._appwrite.programs import (
    API,
    EVERY,
    TASK,
    UNKNOWN,
    WORKER,
    part_of,
)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (["schedule-functions"], TASK),
        (["schedule-executions"], TASK),
        (["schedule-messages"], TASK),
        (["schedule"], TASK),
        (["maintenance"], TASK),
        (["interval"], TASK),
        (["stats-resources"], TASK),
        (["usage", "--type=timeseries"], TASK),
        (["volume-sync"], TASK),
        (["php", "/usr/src/code/app/cli.php", "maintenance"], TASK),
        (["sh", "-c", "exec /usr/local/bin/schedule-functions"], TASK),
        (["docker-php-entrypoint", "php", "app/http.php"], API),
        (["php", "app/http.php", "-dopcache.preload=preload.php"], API),
        (["realtime"], API),
        (["php", "/usr/src/code/app/realtime.php"], API),
        (["migrate"], UNKNOWN),
        (["sleep", "infinity"], UNKNOWN),
        ([], UNKNOWN),
        (["mqtt"], API),
    ],
)
@pytest.mark.parametrize("release", ["1.9.6", "2.4.0"])
def test_kind(program, kind, release):
    found = part_of(program, {"_APP_QUEUE_NAME": "v1-mine"}, release)
    assert (found.kind, found.queue) == (kind, "")


@pytest.mark.parametrize(
    ("program", "queue"),
    [
        (["worker-stats-usage"], "v1-stats-usage"),
        (["worker-stats-resources"], "v1-stats-resources"),
        (["worker-usage-dump"], "v1-usage-dump"),
        (["/usr/local/bin/worker-mails"], "v1-mails"),
        (["worker-databases"], "database_db_main"),
        (["worker-databases_fra1"], "database_db_main"),
        (["docker-php-entrypoint", "php", "/usr/src/code/app/worker.php", "Audits"], "v1-audits"),
        (["sh", "-c", "worker-builds >/log"], "v1-builds"),
    ],
)
def test_queue(program, queue):
    """The names of two workers hold those of tasks."""
    assert part_of(program, {}, "1.9.6")[::3] == (WORKER, queue)
    assert (
        part_of(program, {"_APP_QUEUE_NAME": "database_db_fra1_self_hosted_01"}, "1.9.6").queue
        == "database_db_fra1_self_hosted_01"
    )


@pytest.mark.parametrize(
    ("program", "variable", "usual"),
    [
        ("worker-databases", "_APP_QUEUE_NAME", "database_db_main"),
        ("worker-stats-usage", "_APP_STATS_USAGE_QUEUE_NAME", "v1-stats-usage"),
        ("worker-deletes", "_APP_DELETE_QUEUE_NAME", "v1-deletes"),
        ("worker-webhooks", "_APP_WEBHOOK_QUEUE_NAME", "v1-webhooks"),
    ],
)
def test_queue_of_2_x(program, variable, usual):
    """Each has a variable of its own."""
    others = dict.fromkeys({"_APP_QUEUE_NAME", "_APP_MAILS_QUEUE_NAME"} - {variable}, "v1-other")
    assert part_of([program], others, "2.4.0").queue == usual
    assert part_of([program], {**others, variable: "v1-mine"}, "2.4.0").queue == "v1-mine"


@pytest.mark.parametrize("program", [["worker"], ["php", "app/worker.php"], ["php", "app/worker.php", "all"]])
def test_worker_of_all_queues(program):
    """Of 2.x. The variable names the queue of one of its many."""
    found = part_of(program, {"_APP_QUEUE_NAME": "v1-mine"}, "2.4.0")
    assert (found.kind, found.queue, found.grace) == (WORKER, EVERY, 300)
