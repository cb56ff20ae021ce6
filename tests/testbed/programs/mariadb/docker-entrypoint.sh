#!/bin/sh
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Reads the environment that the official image reads, at the first start only.
set -eu
testbed-switch fail || exit 1

literal() { printf "'%s'" "$(printf %s "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")"; }

first_start() {
    root=$(literal "${MYSQL_ROOT_PASSWORD:?must be set at the first start}")
    user=$(literal "${MYSQL_USER:?must be set at the first start}")
    password=$(literal "${MYSQL_PASSWORD:?must be set at the first start}")
    database=${MYSQL_DATABASE:?must be set at the first start}
    cat <<SQL
ALTER USER root@localhost IDENTIFIED BY $root;
CREATE USER root@'%' IDENTIFIED BY $root;
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
CREATE USER healthcheck@localhost;
CREATE DATABASE \`$database\`;
CREATE USER $user@'%' IDENTIFIED BY $password;
GRANT ALL ON \`$database\`.* TO $user@'%';
USE \`$database\`;
SQL
    cat /usr/local/share/testbed/console.sql
}

mkdir -p /run/mysqld
if [ ! -d /var/lib/mysql/mysql ]; then
    umask 077
    first_start >/run/first-start.sql
    cp -a /usr/local/share/testbed/data/. /var/lib/mysql/
    set -- "$@" --init-file=/run/first-start.sql
fi
exec "$@" --user=root
