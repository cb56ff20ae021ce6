# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appwrite's tables in PostgreSQL.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import inside
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.postgresql import POSTGRESQL
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Seen, Sessions, md5
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import LOCK_TIMEOUT, LOST
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sql import SqlStore, text_of

_LOCK = int.from_bytes(b"selfhost", "big")
_LONGEST_NAME = 63


class PostgreSQL(SqlStore):
    """Read by PostgreSQL's own client."""

    NAME = POSTGRESQL.name
    DUMP = POSTGRESQL.dump, POSTGRESQL.dumped
    PRINT = "COPY (%s) TO STDOUT;"
    SIZE = "SELECT pg_database_size(current_database())"
    LENGTH = "octet_length"
    QUOTE = '"'
    REPLICA = "SELECT pg_is_in_recovery()::int"
    READ_ONLY = "SET default_transaction_read_only = on;"
    ERROR = r"(?m)^(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5})$"
    REASONS = {
        "22001": "a new value does not fit into its column",
        "25006": "it is read-only",
        "40P01": "another session got in the way (a deadlock): a service of Appwrite still runs",
        "42501": "its user may not do this; make it the owner of Appwrite's tables, and grant it TEMPORARY on the database",
        "53100": "its disk is full; free some space and run again",
        "55P03": "another session has held a lock for %d seconds: another rotation, or a service of Appwrite that still runs"
        % LOCK_TIMEOUT,
        "57P01": LOST,
    }

    @staticmethod
    def client(container: str) -> list[str]:
        return inside(container, POSTGRESQL.client)

    def _open(self) -> None:
        self._session.ask(
            "SET client_min_messages = error; SET standard_conforming_strings = on; SET synchronous_commit = on; SET lock_timeout = '%ds';"
            " SET enable_hashjoin = off; SET enable_mergejoin = off;" % LOCK_TIMEOUT
        )
        self._query(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN"
            " ('statement_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')"
        )
        # What a network that fails leaves of a session goes before the next one has waited for its lock in vain.
        self._query(
            "SELECT set_config(name, CASE name WHEN 'tcp_user_timeout' THEN '40000' WHEN 'tcp_keepalives_count' THEN '3' ELSE '10' END, false)"
            " FROM pg_settings WHERE name IN ('tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'tcp_user_timeout')"
        )
        self._query("SELECT pg_advisory_lock(%d)" % _LOCK)

    def sessions(self) -> Sessions:
        ((own,),) = self._query("SELECT COALESCE(host(inet_client_addr()), '')")
        return Sessions(
            [
                Seen(*map(text_of, fields))
                for fields in self._query(
                    "SELECT COALESCE(usename, ''), COALESCE(host(client_addr) || ':' || client_port, 'localhost'), datname FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database() AND usesysid IS NOT NULL"
                    " AND COALESCE(backend_type, 'client backend') = 'client backend'"
                )
            ],
            address=text_of(own),
        )

    def _literal(self, value: str) -> str:
        return "'%s'" % value.replace("'", "''")

    def _text(self, name: str) -> str:
        return name + "::text"

    def _server_name(self, name: str) -> str:
        """As utopia-php/database does it."""
        if len(name) <= _LONGEST_NAME:
            return name
        digest = md5(name.encode()).hexdigest()
        last = name.rpartition("_")[2]
        return "%s_%s" % (digest, last) if last and len(digest) + 1 + len(last) <= _LONGEST_NAME else digest
