# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: how it is recognised, asked and dumped.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import Database, from_files

# The password stays in the container's environment: an argument would be seen in the host's process list.
_LOGIN = (
    from_files("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
    + r"""
export PGPASSWORD="${POSTGRES_PASSWORD:-}" PGUSER="${POSTGRES_USER:-postgres}"
export PGDATABASE="${POSTGRES_DB:-$PGUSER}" PGCONNECT_TIMEOUT=10
"""
)
_CLIENT = (
    _LOGIN
    + r"""
export PGCLIENTENCODING=UTF8
exec psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --set=VERBOSITY=sqlstate
"""
)
_SQL_TABLES = "SELECT table_schema FROM information_schema.tables WHERE table_name = '_console_users'"
# Each question is a connection of its own, and the shell ends at one that fails only if its answer is assigned: no answer must not be taken for an empty
# one.
_ASK_POSTGRESQL = (
    "set -eu\n"
    + _LOGIN
    + r"""
ask() { psql --no-psqlrc --tuples-only --no-align --command="$1" </dev/null; }
found=empty
schemas="$(ask "SQL_TABLES")"
for schema in $schemas; do
    row="$(ask "SELECT 1 FROM \"$schema\"._console_users LIMIT 1")"
    if [ -n "$row" ]; then found=users; fi
done
echo "console accounts: $found"
""".replace("SQL_TABLES", _SQL_TABLES)
)
POSTGRESQL = Database(
    service="postgresql",
    name="PostgreSQL",
    images=("postgres", "postgresql"),
    adapters=("postgresql", "postgres"),
    client_image="appwrite/postgres:0.1.0",
    login={
        "PGHOST": "_APP_DB_HOST",
        "PGPORT": "_APP_DB_PORT",
        "POSTGRES_USER": "_APP_DB_USER",
        "POSTGRES_PASSWORD": "_APP_DB_PASS",
        "POSTGRES_DB": "_APP_DB_SCHEMA",
    },
    data=("/var/lib/postgresql/data", "/var/lib/postgresql"),
    exhausted=r"sorry, too many clients already|remaining connection slots are reserved|too many connections for (?:role|database)",
    remedy="raise max_connections (-c max_connections=300 in the command of its service), or the CONNECTION LIMIT of its user or database",
    question=("sh", "-s"),
    script=_ASK_POSTGRESQL,
    client=("sh", "-c", _CLIENT),
    # It is put back as a new database: objects that were made since, and depend on others, would not let those be replaced.
    dump=_LOGIN + "exec pg_dump --create --clean --if-exists",
    dumped=b"\n-- PostgreSQL database dump complete\n--\n",
)
