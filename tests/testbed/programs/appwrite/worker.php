<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A worker: takes jobs from its queue, in the order in which utopia-php/queue does (src/Queue/Broker/Redis.php), and does nothing but take
// its time. One that is killed in the middle leaves its entries in the list of what is being processed, and without Redis it dies. "all" is
// the worker of all queues that 2.x has (app/worker.php, app/config/workers.php): a process here, a coroutine there, for each queue, so that
// one waits while another works. It has as many jobs of a queue in hand at a time as Appwrite allows, and while there are fewer it waits for
// the next one, as utopia-php/queue 1.3.1 does.

require __DIR__ . '/common.php';

const START_PATIENCE = 30;
const PATIENCE = 6;

/** Each with the most jobs that it has in hand at a time. */
const ALL = [
    'builds' => 8, 'certificates' => 8, 'databases' => 1, 'deletes' => 8, 'executions' => 8, 'functions' => 8, 'jobs' => 8, 'mails' => 1,
    'messaging' => 1, 'migrations' => 1, 'notifications' => 1, 'screenshots' => 8, 'stats-resources' => 1, 'stats-usage' => 8, 'webhooks' => 8,
];

$name = strtolower($argv[1]);
$most = (int) variable('_APP_WORKER_MAX_COROUTINES', '1');
if ($name === 'all') {
    echo "worker started\n";
    $name = apart(array_keys(ALL));
    $most = ALL[$name];
}
$usual = str_starts_with($name, 'databases') ? 'database_db_main' : "v1-$name";
$is_named = $name === 'databases' || version_compare(getenv('_APP_VERSION'), '2.0.0', '<');
$queue = $is_named ? variable('_APP_QUEUE_NAME', $usual) : $usual;
$redis = null;
$seen = microtime(true);
$patience = START_PATIENCE;
$jobs = [];
ended();
echo "worker-$name started\n";
while ($jobs || !ended()) {
    try {
        $redis ??= new Redis();
        if (!ended() && count($jobs) < $most) {
            $found = $redis->ask('BRPOP', "utopia-queue.queue.$queue", $jobs ? 0.05 : 0.5);
            $job = $found ? json_decode($found[1], true) : null;
            if (isset($job['pid'])) {
                take($redis, $queue, $job);
                $jobs[$job['pid']] = microtime(true);
            }
        } else {
            usleep(50_000);
        }
        foreach ($jobs as $pid => $since) {
            if (microtime(true) - $since >= (float) (@file_get_contents('/testbed/slow') ?: 0.1)) {
                finish($redis, $queue, $pid);
                unset($jobs[$pid]);
            }
        }
        $seen = microtime(true);
        $patience = PATIENCE;
    } catch (Away $error) {
        $redis = null;
        $jobs = []; // nobody ends them
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

function take(Redis $redis, string $queue, array $job): void
{
    $redis->ask('SETEX', "utopia-queue.jobs.$queue.$job[pid]", 3600, json_encode($job));
    $redis->ask('LPUSH', "utopia-queue.processing.$queue", $job['pid']);
    $redis->ask('INCR', "utopia-queue.stats.$queue.total");
    $redis->ask('INCR', "utopia-queue.stats.$queue.processing");
}

function finish(Redis $redis, string $queue, string $pid): void
{
    $redis->ask('DEL', "utopia-queue.jobs.$queue.$pid");
    $redis->ask('INCR', "utopia-queue.stats.$queue.success");
    $redis->ask('LREM', "utopia-queue.processing.$queue", 1, $pid);
    $redis->ask('DECR', "utopia-queue.stats.$queue.processing");
}
