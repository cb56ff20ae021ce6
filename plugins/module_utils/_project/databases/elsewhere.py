# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that is no service of the project: asked from inside Appwrite's own container, whose PHP has the drivers, the credentials and the way there.

Appwrite 1.4.14 to 1.9.6 reads these variables in C(app/init/registers.php) (1.4.14: C(app/init.php)).

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

SAME = ("_APP_DB_ADAPTER", "_APP_DB_HOST", "_APP_DB_PORT", "_APP_DB_SCHEMA")
"""What has to be the same in the container as in the project, so that it is the right database that answers."""
COMMAND = ("php",)
_QUESTION = r"""<?php
ini_set('display_errors', '0');
function given(string $name, string $default): string { return getenv($name) ?: $default; }
function has_users(): bool
{
    [$host, $user, $password] = [given('_APP_DB_HOST', ''), given('_APP_DB_USER', ''), given('_APP_DB_PASS', '')];
    if ('KIND' === 'mongodb') {
        $address = sprintf('mongodb://%s:%s/?serverSelectionTimeoutMS=10000&directConnection=true', $host, given('_APP_DB_PORT', '27017'));
        $login = $user === '' ? [] : ['username' => $user, 'password' => $password, 'authSource' => 'admin'];
        $server = new MongoDB\Driver\Manager($address, $login);
        $listed = $server->executeCommand('admin', new MongoDB\Driver\Command(['listDatabases' => 1, 'nameOnly' => true]))->toArray();
        foreach ($listed[0]->databases as $database) {
            $first = new MongoDB\Driver\Query([], ['limit' => 1]);
            if ($server->executeQuery($database->name . '._console_users', $first)->toArray()) { return true; }
        }
        return false;
    }
    $isPostgres = 'KIND' === 'postgresql';
    [$driver, $port, $quote] = $isPostgres ? ['pgsql', '5432', '"'] : ['mysql', '3306', '`'];
    $address = sprintf('%s:host=%s;port=%s', $driver, $host, given('_APP_DB_PORT', $port));
    $address .= $isPostgres ? ';dbname=' . given('_APP_DB_SCHEMA', 'appwrite') : ';charset=utf8mb4';
    $server = new PDO($address, $user, $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 10]);
    $schemas = $server->query("SELECT table_schema FROM information_schema.tables WHERE table_name = '_console_users'");
    foreach ($schemas->fetchAll(PDO::FETCH_COLUMN) as $schema) {
        $table = $quote . str_replace($quote, $quote . $quote, $schema) . $quote . '._console_users';
        if ($server->query("SELECT 1 FROM $table LIMIT 1")->fetch()) { return true; }
    }
    return false;
}
try {
    echo 'console accounts: ', has_users() ? 'users' : 'empty', "\n";
} catch (Throwable $error) {
    file_put_contents('php://stderr', $error->getMessage() . "\n");
    exit(1);
}
"""


def question(kind: str) -> str:
    """For standard input of C(COMMAND). kind: the name of the database."""
    return _QUESTION.replace("KIND", kind)
