# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB: how it is recognised, asked and dumped.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import Database, from_files

# The password stays in the container's environment: an argument would be seen in the host's process list. Appwrite's own PDO asks for no TLS; a server
# that has it is spoken to with it, whoever its certificate is from, as MariaDB's clients did up to 11.3. MySQL's own knows none of these two options.
_NAMES = [kind + part for kind in ("MYSQL", "MARIADB") for part in ("_USER", "_PASSWORD", "_ROOT_PASSWORD")]
_LOGIN = (
    from_files(*_NAMES)
    + r"""
user="${MYSQL_USER:-${MARIADB_USER:-}}"
export MYSQL_PWD="${MYSQL_PASSWORD:-${MARIADB_PASSWORD:-}}"
if [ -z "$user" ]; then user=root MYSQL_PWD="${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}}"; fi
server="${DATABASE_HOST:+--host=$DATABASE_HOST
--port=$DATABASE_PORT
--protocol=tcp
--ssl
--skip-ssl-verify-server-cert}"
"""
)
# One that connects anew by itself would go on without its transaction.
_CLIENT = (
    _LOGIN
    + r"""
exec "$(command -v mariadb || command -v mysql)" --user="$user" $server --connect-timeout=10 --batch --binary-mode --quick \
    --unbuffered --skip-column-names --skip-reconnect --max-allowed-packet=1G
"""
)
# Whatever the rotation would change. What was made since does not stay if the dump is put back: a new collection may get the name of a left table.
_DUMP = (
    _LOGIN
    + r"""
names="$("$(command -v mariadb || command -v mysql)" --user="$user" $server --batch --raw --skip-column-names \
    --execute="SELECT DISTINCT table_schema FROM information_schema.tables WHERE RIGHT(table_name, 10) = '__metadata'")" || exit
names="${names:-${MYSQL_DATABASE:-${MARIADB_DATABASE:-}}}"
set -f
IFS='
'
for name in $names; do
    printf 'USE `%s`;\n' "$name"
    cat <<'SQL'
SET foreign_key_checks = 0, lock_wait_timeout = 60;
DELIMITER //
BEGIN NOT ATOMIC
  FOR found IN (SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()) DO
    EXECUTE IMMEDIATE CONCAT('DROP ', IF(found.table_type IN ('VIEW', 'SEQUENCE'), found.table_type, 'TABLE'), ' `', REPLACE(found.table_name, '`', '``'), '`');
  END FOR;
END//
DELIMITER ;
SQL
done
exec "$(command -v mariadb-dump || command -v mysqldump)" --user="$user" $server --single-transaction --quick --no-tablespaces --hex-blob \
    --default-character-set=utf8mb4 --max-allowed-packet=1G --databases $names
"""
)
_SQL_TABLES = "SELECT table_schema FROM information_schema.tables WHERE table_name = '_console_users'"
# Each question is a connection of its own, and the shell ends at one that fails only if its answer is assigned: no answer must not be taken for an empty
# one.
_ASK_MARIADB = (
    "set -eu\n"
    + _LOGIN
    + r"""
ask() { "$(command -v mariadb || command -v mysql)" --user="$user" $server --batch --skip-column-names --execute="$1" </dev/null; }
found=empty
schemas="$(ask "SQL_TABLES")"
for schema in $schemas; do
    row="$(ask "SELECT 1 FROM \`$schema\`._console_users LIMIT 1")"
    if [ -n "$row" ]; then found=users; fi
done
echo "console accounts: $found"
""".replace("SQL_TABLES", _SQL_TABLES)
)
MARIADB = Database(
    service="mariadb",
    name="MariaDB",
    images=("mariadb", "mysql"),
    adapters=("mariadb", "mysql"),
    client_image="mariadb:10.11",
    login={
        "DATABASE_HOST": "_APP_DB_HOST",
        "DATABASE_PORT": "_APP_DB_PORT",
        "MYSQL_USER": "_APP_DB_USER",
        "MYSQL_PASSWORD": "_APP_DB_PASS",
        "MYSQL_DATABASE": "_APP_DB_SCHEMA",
    },
    data=("/var/lib/mysql",),
    exhausted=r"(?i)\berror:? 1040\b|max_user_connections",
    remedy="raise max_connections (--max-connections=300 in the command of its service, or at once as its root: SET GLOBAL max_connections = 300), or "
    "max_user_connections",
    question=("sh", "-s"),
    script=_ASK_MARIADB,
    client=("sh", "-c", _CLIENT),
    dump=_DUMP,
    dumped=b"\n-- Dump completed",
)
