#!/bin/sh
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Reads the environment that the official image reads, at the first start only.
set -eu
testbed-switch fail || exit 1
data=/var/lib/postgresql/18/data

# shellcheck disable=SC2016  # the shell that su starts expands it
words='exec "$0" "$@"'
as_postgres() { su -m -s /bin/sh -- postgres -c "$words" "$@"; }
identifier() { printf '"%s"' "$(printf %s "$1" | sed 's/"/""/g')"; }
literal() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

mkdir -p "$data" /run/postgresql
chown postgres:postgres "$data" /run/postgresql
chmod 0700 "$data"
if [ ! -e "$data/PG_VERSION" ]; then
    user=$(identifier "${POSTGRES_USER:-postgres}")
    database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
    password=$(literal "${POSTGRES_PASSWORD:?must be set at the first start}")
    cp -a /usr/local/share/testbed/data/. "$data/"
    {
        echo "CREATE ROLE $user SUPERUSER LOGIN PASSWORD $password;"
        [ "$database" = postgres ] || echo "CREATE DATABASE $(identifier "$database") OWNER $user;"
    } | as_postgres /usr/local/bin/postgres --single -D "$data" -F postgres >/dev/null
    {
        echo "SET SESSION AUTHORIZATION $user;"
        echo "CREATE SCHEMA IF NOT EXISTS $(identifier "$database");"
        echo "SET search_path TO $(identifier "$database");"
        cat /usr/local/share/testbed/console.sql
    } | as_postgres /usr/local/bin/postgres --single -D "$data" -F "$database" >/dev/null
fi
program=$1
shift
exec su -m -s /bin/sh -- postgres -c "$words" "/usr/local/bin/$program" -D "$data" "$@"
