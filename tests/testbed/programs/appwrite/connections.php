<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Opens so many connections to the database, prints how many it got, and holds them until its standard input ends.

require __DIR__ . '/common.php';

$held = [];
try {
    while (count($held) < $argv[1]) {
        $held[] = connect();
    }
} catch (PDOException) {
}
echo count($held), "\n";
fgets(STDIN);
