<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A worker: takes one job at a time from its queue, in the order in which utopia-php/queue does (src/Queue/Broker/Redis.php), and does
// nothing but take its time. One that is killed in the middle leaves its entry in the list of what is being processed, and without Redis
// it dies. "all" is the worker of all queues that 2.x has (app/worker.php, app/config/workers.php): a process here, a coroutine there, for
// each queue, so that one waits while another works.

require __DIR__ . '/common.php';

const START_PATIENCE = 30;
const PATIENCE = 6;

const ALL = [
    'builds', 'certificates', 'databases', 'deletes', 'executions', 'functions', 'jobs', 'mails', 'messaging', 'migrations',
    'notifications', 'screenshots', 'stats-resources', 'stats-usage', 'webhooks',
];

$name = strtolower($argv[1]);
if ($name === 'all') {
    echo "worker started\n";
    $name = apart(ALL);
}
$queue = variable('_APP_QUEUE_NAME', str_starts_with($name, 'databases') ? 'database_db_main' : "v1-$name");
$redis = null;
$seen = microtime(true);
$patience = START_PATIENCE;
ended();
echo "worker-$name started\n";
while (!ended()) {
    try {
        $redis ??= new Redis();
        $found = $redis->ask('BRPOP', "utopia-queue.queue.$queue", 0.5);
        $job = $found ? json_decode($found[1], true) : null;
        if (isset($job['pid'])) {
            process($redis, $queue, $job);
        }
        $seen = microtime(true);
        $patience = PATIENCE;
    } catch (Away $error) {
        $redis = null;
        if (microtime(true) - $seen > $patience) {
            fwrite(STDERR, $error->getMessage() . "\n");
            exit(1);
        }
        usleep(200_000);
    }
}

/** A process for each worker. Returns its name in each; the first one ends with them, with the status of one that failed. */
function apart(array $workers): string
{
    $children = [];
    foreach ($workers as $worker) {
        $child = pcntl_fork();
        if ($child === 0) {
            return $worker;
        }
        $children[$child] = $worker;
    }
    $all = function (int $signal) use ($children) {
        foreach (array_keys($children) as $child) {
            posix_kill($child, $signal);
        }
    };
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, $all, false); // or the wait below would go on, and the handler would not run
    pcntl_signal(SIGINT, $all, false);
    for ($failed = 0; $children;) {
        $child = pcntl_wait($status);
        if ($child > 0) {
            unset($children[$child]);
            $failed = $failed ?: pcntl_wexitstatus($status);
        }
    }
    exit($failed);
}

function process(Redis $redis, string $queue, array $job): void
{
    $pid = $job['pid'];
    $redis->ask('SETEX', "utopia-queue.jobs.$queue.$pid", 3600, json_encode($job));
    $redis->ask('LPUSH', "utopia-queue.processing.$queue", $pid);
    $redis->ask('INCR', "utopia-queue.stats.$queue.total");
    $redis->ask('INCR', "utopia-queue.stats.$queue.processing");
    for ($start = microtime(true); microtime(true) - $start < (float) (@file_get_contents('/testbed/slow') ?: 0.1);) {
        usleep(50_000);
    }
    $redis->ask('DEL', "utopia-queue.jobs.$queue.$pid");
    $redis->ask('INCR', "utopia-queue.stats.$queue.success");
    $redis->ask('LREM', "utopia-queue.processing.$queue", 1, $pid);
    $redis->ask('DECR', "utopia-queue.stats.$queue.processing");
}
