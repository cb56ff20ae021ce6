#!/bin/sh
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# FerretDB under the name of mongod. Reads the environment that the official image reads, at the first start only, and the
# replica set's name from the command line.
set -eu
testbed-switch fail || exit 1

replica_set=
while [ $# -gt 0 ]; do
    [ "$1" != --replSet ] || replica_set=$2
    shift
done

export FERRETDB_SETUP_DATABASE=admin FERRETDB_SETUP_USERNAME="${MONGO_INITDB_ROOT_USERNAME-}" \
    FERRETDB_SETUP_PASSWORD="${MONGO_INITDB_ROOT_PASSWORD-}"

# serve ADDRESS
serve() {
    exec ferretdb --handler=sqlite --sqlite-url=file:/data/db/ --state-dir=/data/db --listen-addr="$1" --debug-addr=- \
        --telemetry=disable --log-level=ERROR --repl-set-name="$replica_set" --test-enable-new-auth
}

mkdir -p /data/db
if [ ! -e /data/db/initialised ]; then
    serve 127.0.0.1:27018 &
    server=$!
    set -- /docker-entrypoint-initdb.d/*.js
    [ -e "$1" ] || set -- /mongo-init.js # where the file of 2.4.0 mounts it
    attempts=0
    until mongosh --port 27018 -u "$MONGO_INITDB_ROOT_USERNAME" -p "$MONGO_INITDB_ROOT_PASSWORD" \
        --authenticationDatabase admin --quiet "$MONGO_INITDB_DATABASE" \
        "$@" /usr/local/share/testbed/console.js; do
        attempts=$((attempts + 1))
        [ $attempts -lt 10 ] || exit 1
        sleep 1
    done
    kill $server
    wait $server || true
    : >/data/db/initialised
fi
serve 0.0.0.0:27017
