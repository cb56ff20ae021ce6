<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the API and the workers share: the variables of the container, a client of Redis, a connection to the database.

ini_set('display_errors', 'stderr');
error_reporting(E_ALL);
passthru('testbed-switch fail', $failed);
if ($failed) {
    exit(1);
}

/** A variable, or the default where it is unset or empty. */
function variable(string $name, string $default): string
{
    return getenv($name) ?: $default;
}

/** Whether the container was told to stop. What is in hand is ended first. */
function ended(): bool
{
    static $ended = null;
    if ($ended === null) {
        $ended = false;
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function () use (&$ended) {
                $ended = true;
            });
        }
    }

    return $ended;
}

/** Redis does not answer, or refuses. */
class Away extends Exception
{
}

/** Redis's own protocol. Without a password, as Appwrite's queues are. */
class Redis
{
    private mixed $stream;

    public function __construct()
    {
        $this->stream = @fsockopen(variable('_APP_REDIS_HOST', 'redis'), (int) variable('_APP_REDIS_PORT', '6379'), $number, $words, 1);
        if (!$this->stream) {
            throw new Away("Redis is away: $words");
        }
        stream_set_timeout($this->stream, 3);
    }

    public function ask(string|int|float ...$words): mixed
    {
        $request = '*' . count($words) . "\r\n";
        foreach ($words as $word) {
            $request .= '$' . strlen((string) $word) . "\r\n$word\r\n";
        }
        try {
            if (!$this->stream || @fwrite($this->stream, $request) !== strlen($request)) {
                throw new Away('Redis is away');
            }

            return $this->answer();
        } catch (Away $error) {
            $this->stream = null; // what it answers later belongs to no question
            throw $error;
        }
    }

    private function answer(): mixed
    {
        $line = @fgets($this->stream);
        if (!$line) {
            throw new Away('Redis is away');
        }
        $rest = substr($line, 1, -2);

        return match ($line[0]) {
            '+', ':' => $rest,
            '$' => $rest < 0 ? null : substr(stream_get_contents($this->stream, $rest + 2), 0, -2),
            '*' => $rest < 0 ? null : array_map(fn () => $this->answer(), array_fill(0, (int) $rest, null)),
            default => throw new Away("Redis refuses: $rest"),
        };
    }
}

/** Puts a job into a queue, in the shape of utopia-php/queue. */
function enqueue(Redis $redis, string $queue, array $payload): void
{
    $job = ['pid' => uniqid(more_entropy: true), 'queue' => $queue, 'timestamp' => time(), 'payload' => $payload];
    $redis->ask('LPUSH', "utopia-queue.queue.$queue", json_encode($job));
}

function adapter(): string
{
    return variable('_APP_DB_ADAPTER', 'mariadb');
}

function connect(): PDO
{
    $address = 'host=' . variable('_APP_DB_HOST', adapter()) . ';port=' . variable('_APP_DB_PORT', '3306') . ';dbname=' . variable('_APP_DB_SCHEMA', 'appwrite');
    $options = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC, PDO::ATTR_TIMEOUT => 3];
    $driver = adapter() === 'postgresql' ? "pgsql:$address" : "mysql:$address;charset=utf8mb4";
    $pdo = new PDO($driver, variable('_APP_DB_USER', 'user'), variable('_APP_DB_PASS', ''), $options);
    if (adapter() === 'postgresql') {
        $pdo->exec('SET search_path TO ' . quoted(variable('_APP_DB_SCHEMA', 'appwrite')) . ', public');
    }

    return $pdo;
}

function quoted(string $name): string
{
    return adapter() === 'postgresql' ? "\"$name\"" : "`$name`";
}
