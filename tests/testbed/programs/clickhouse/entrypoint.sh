#!/bin/sh
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ClickHouse's port for HTTP: a database that says nothing, behind a login. As the official image does, it makes its user anew with each
# container; one with a wrong password gets 401 here, 403 there.
printf '/:%s:%s\n' "$CLICKHOUSE_USER" "$CLICKHOUSE_PASSWORD" >/tmp/users
mkdir -p /srv/clickhouse
: >"/srv/clickhouse/$CLICKHOUSE_DB"
httpd -p 8123 -c /tmp/users -h /srv/clickhouse
exec idle
