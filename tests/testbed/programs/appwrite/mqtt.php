<?php
// Copyright (c) 2026, selfhost.appwrite contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The MQTT broker: takes connections, and says nothing. Its health check asks for no more.

require __DIR__ . '/common.php';

$server = stream_socket_server('tcp://0.0.0.0:1883');
echo "mqtt started\n";
while (!ended()) {
    @stream_socket_accept($server, 0.5);
}
