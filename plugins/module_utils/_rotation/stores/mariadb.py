# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appwrite's tables in MariaDB.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.mariadb import MARIADB
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import inside
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import Seen, Sessions, StoreError
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import LOCK_TIMEOUT, LOST
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.sql import SqlStore, text_of

_LOCK = "selfhost.appwrite"
_ASKED = 5
"""times that it is looked who answers"""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DENIED = "its user may not do this; grant it all privileges on Appwrite's database"


class MariaDB(SqlStore):
    """Read by MariaDB's own client."""

    NAME = MARIADB.name
    DUMP = MARIADB.dump, MARIADB.dumped
    PRINT = "%s;"
    SIZE = "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED) FROM information_schema.tables"
    LENGTH = "LENGTH"
    QUOTE = "`"
    REPLICA = "SELECT @@global.read_only NOT IN ('0', 'OFF')"  # a choice of four from MariaDB 12 on
    READ_ONLY = "SET SESSION TRANSACTION READ ONLY;"
    ERROR = r"(?m)^ERROR (\d+)"
    REASONS = {
        "1021": "its disk is full; free some space and run again",
        "1030": "its storage engine reports an error, most often that its disk is full; look at its log (docker logs) and run again",
        "1044": _DENIED,
        "1114": "its disk is full, or that of its temporary files (tmpdir) is; free some space and run again",
        "1142": _DENIED,
        "1153": "a value is larger than its max_allowed_packet; raise that and run again",
        "1193": "it does not know a setting of MariaDB's. If it is MySQL, this collection cannot read it",
        "1205": "another session has held a lock for too long: a service of Appwrite still runs, or another rotation",
        "1213": "another session got in the way (a deadlock): a service of Appwrite still runs",
        "1290": "it is read-only",
        "1406": "a new value does not fit into its column",
        "2006": LOST,
        "2013": LOST,
        "2026": LOST,
    }

    @staticmethod
    def client(container: str) -> list[str]:
        return inside(container, MARIADB.client)

    def _open(self) -> None:
        self._session.ask(
            "SET NAMES utf8mb4; SET character_set_results = NULL, autocommit = 1,"
            " sql_mode = 'NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES', max_statement_time = 0, wait_timeout = 31536000;"
        )
        if self._query(
            "SHOW VARIABLES LIKE 'wsrep_sync_wait'"
        ):  # what another server of a Galera cluster has committed is to be seen
            self._session.ask("SET SESSION wsrep_sync_wait = 7;")
        if self._query("SELECT GET_LOCK('%s', %d)" % (_LOCK, LOCK_TIMEOUT)) != [[b"1"]]:
            ((other,),) = self._query("SELECT COALESCE(IS_USED_LOCK('%s'), 0)" % _LOCK)
            raise StoreError(
                "%s: another session of this collection has been working on it for %d seconds; wait until it ends and run again. If nothing is at the other "
                "end of it any more, as after a network that failed, end it: KILL %d"
                % (self.NAME, LOCK_TIMEOUT, int(other))
            )
        self._lower_case = self._query("SELECT @@lower_case_table_names") == [[b"1"]]

    def is_replica(self) -> bool:
        """Also if it is a proxy that has others answer what is no part of a transaction."""
        return super().is_replica() or self._answers() != self._answers("START TRANSACTION READ WRITE;", "ROLLBACK;")

    def _answers(self, before: str = "", after: str = "") -> set[bytes]:
        """The servers that do."""
        self._session.ask(before)
        found = {
            self._query("SELECT CONCAT_WS('/', @@hostname, @@port, @@server_id)")[0][0] for _number in range(_ASKED)
        }
        self._session.ask(after)
        return found

    def _server_name(self, name: str) -> str:
        return name.lower() if self._lower_case else name

    def _literal(self, value: str) -> str:
        return "_utf8mb4'%s'" % value.replace("'", "''")

    def sessions(self) -> Sessions:
        """Without those that only copy what is written here elsewhere, and without those of the server's own machine that have chosen no
        database, if that is another machine: there a provider's own program watches (rdsadmin of Amazon RDS), and Appwrite chooses its database as
        it connects (appwrite 1.9.6, app/init/registers.php).
        """
        found = [
            Seen(*map(text_of, fields))
            for fields in self._query(
                "SELECT user, host, COALESCE(db, '') FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command <> 'Daemon'"
                " AND command NOT LIKE 'Binlog Dump%' AND user NOT IN ('system user', 'event_scheduler')"
            )
        ]
        spaces = {table.space for table in self.tables()}
        sees_all = self._query(
            "SELECT COUNT(*) FROM information_schema.user_privileges WHERE privilege_type IN ('PROCESS', 'SUPER')"
        ) != [[b"0"]]
        ((own,),) = self._query(
            "SELECT IF(host = 'localhost', '', host) FROM information_schema.processlist WHERE id = CONNECTION_ID()"
        )
        size = sum(int(value) for _name, value in self._query("SHOW STATUS LIKE 'wsrep_cluster_size'"))
        blind = [
            *(["the sessions of the user that asks it, who lacks the privilege PROCESS"] if not sees_all else []),
            *(["the sessions at one of the %d servers of its Galera cluster" % size] if size > 1 else []),
        ]
        address = text_of(own)
        return Sessions(
            [
                each
                for each in found
                if (each.space in spaces if each.space else not (address and each.address.startswith(_LOOPBACK)))
            ],
            "the database shows only %s" % ", and only ".join(blind) if blind else "",
            address,
        )
