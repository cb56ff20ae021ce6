# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Appwrite's collections look like (1.9.6, app/config/collections): those with sealed columns, and some without. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Column(NamedTuple):
    name: str
    size: int = 255
    type: str = "string"
    array: bool = False
    filters: tuple[str, ...] = ()

    @property
    def sealed(self) -> bool:
        return "encrypt" in self.filters

    def attribute(self) -> dict[str, Any]:
        return {
            "$id": self.name,
            "type": self.type,
            "format": "",
            "size": self.size,
            "signed": True,
            "required": False,
            "default": None,
            "array": self.array,
            "filters": list(self.filters),
        }


def _sealed(name: str, size: int, *filters: str, array: bool = False) -> Column:
    return Column(name, size, array=array, filters=(*filters, "encrypt"))


_DATE = Column("expire", 0, "datetime", filters=("datetime",))
_ENABLED = Column("enabled", 0, "boolean")
_COUNT = Column("count", 8, "integer")
COMMON = {
    "users": (
        Column("name", 256),
        Column("email", 320),
        _sealed("password", 16384),
        Column("passwordUpdate", 0, "datetime"),
        _ENABLED,
        _sealed("mfaRecoveryCodes", 256, array=True),
        Column("labels", 128, array=True),
        Column("prefs", 65535, filters=("json",)),
        *(Column(name, 0, "datetime", filters=("datetime",)) for name in ("registration", "accessedAt")),
    ),
    "tokens": (Column("userId"), Column("type", 0, "integer"), _sealed("secret", 512), _DATE),
    "authenticators": (Column("userId"), Column("verified", 0, "boolean"), _sealed("data", 65535, "json")),
    "challenges": (Column("userId"), _sealed("token", 512), _sealed("code", 512), _DATE),
    "sessions": (
        Column("provider", 128),
        _sealed("providerAccessToken", 16384),
        _sealed("providerRefreshToken", 16384),
        _sealed("secret", 512),
        Column("userAgent", 16384),
        _DATE,
        *map(Column, ("userId", "ip", "countryCode", "clientName")),
    ),
    "identities": (
        Column("provider", 128),
        _sealed("providerAccessToken", 16384),
        _sealed("providerRefreshToken", 16384),
        _sealed("secrets", 16384, "json"),
        Column("scopes", 16384, array=True),
    ),
    "teams": (Column("name", 128), Column("total", 0, "integer"), Column("prefs", 65535, filters=("json",))),
    "memberships": (Column("userId"), Column("roles", 128, array=True), _sealed("secret", 256)),
    "providers": (
        Column("name", 128),
        _ENABLED,
        _sealed("credentials", 16384, "json"),
        Column("options", 16384, filters=("json",)),
    ),
}
CONSOLE = {
    **COMMON,
    "projects": (
        Column("name", 128),
        Column("services", 16384, filters=("json",)),
        _sealed("smtp", 16384, "json"),
        _sealed("oAuthProviders", 16384, "json"),
        Column("accessedAt", 0, "datetime"),
    ),
    "schedules": (Column("resourceId"), Column("active", 0, "boolean"), _sealed("data", 65535, "json")),
    "keys": (
        Column("name"),
        Column("scopes", 255, array=True),
        _sealed("secret", 512),
        _DATE,
        Column("resourceType"),
        Column("resourceId"),
    ),
    "devKeys": (Column("name"), _sealed("secret", 512), _DATE, Column("projectId")),
    "webhooks": (Column("url"), Column("httpUser"), _sealed("httpPass", 255), Column("signatureKey", 2048)),
    "installations": (
        Column("organization"),
        _sealed("personalAccessToken", 256),
        _sealed("personalRefreshToken", 256),
    ),
}
PROJECT = {
    **COMMON,
    "functions": (Column("name", 2048), Column("vars", 16384), Column("timeout", 0, "integer")),
    "variables": (Column("key"), _sealed("value", 8192), Column("secret", 0, "boolean")),
    "migrations": (
        Column("status"),
        _sealed("credentials", 65536, "json"),
        Column("options", 65536, filters=("json",)),
    ),
    "resourceTokens": (Column("resourceId"), _sealed("secret", 512), _DATE),
    "buckets": (Column("name", 128), Column("encryption", 0, "boolean"), Column("compression", 16)),
}
FILES = (
    Column("bucketId"),
    Column("name", 2048),
    Column("path", 2048),
    Column("signature", 2048),
    Column("mimeType"),
    Column("sizeOriginal", 8, "integer"),
    Column("algorithm"),
    Column("openSSLVersion", 64),
    Column("openSSLCipher", 64),
    Column("openSSLTag", 2048),
    Column("openSSLIV", 2048),
    Column("chunksTotal", 0, "integer"),
    Column("chunksUploaded", 0, "integer"),
)
# Columns that users made: their names may be reserved words, have a hyphen, capitals, or a period, which is no part of the column's name.
USER = (
    Column("title"),
    _sealed("ssn", 512),
    _sealed("order", 16_777_215),
    _sealed("Geheim-Nr", 256, array=True),
    _sealed("pin.code", 512),
    Column("notes", 16_777_215),
    Column("tags", 256, array=True),
    _COUNT,
)
# The crash of a server between two steps leaves the metadata with an attribute, or a collection, that the database doesn't have.
VANISHED = _sealed("vanished", 512)
METADATA = (
    Column("name", 256),
    Column("attributes", 1_000_000, filters=("json",)),
    Column("indexes", 1_000_000, filters=("json",)),
    Column("documentSecurity", 0, "boolean"),
)
# The project that traffic.py writes to, while everything else is at rest.
TRAFFIC = "_77"
TRAFFIC_ROWS = (
    Column("title"),
    _sealed("ssn", 512),
    _sealed("notes", 16_777_215),
    _sealed("codes", 256, array=True),
    _COUNT,
)
PERMISSIONS = (Column("_type", 12), Column("_permission"), Column("_document"))


@dataclass(frozen=True)
class Table:
    """One table, or collection of MongoDB."""

    namespace: str
    uid: str
    """of the collection, in the metadata"""
    name: str
    """as the database has it"""
    columns: tuple[Column, ...]
    sealed: Mapping[Any, tuple[Column, ...]]
    """tenant to the columns that are sealed for it; the only tenant of tables that aren't shared is C(None)"""
    number: int
    listed: tuple[Column, ...] = ()
    """what the metadata has more than the table"""

    @property
    def collection(self) -> str:
        return f"{self.namespace}_{self.uid}"

    @property
    def shared(self) -> bool:
        return None not in self.sealed

    @property
    def bare(self) -> bool:
        """Without the columns that every document has."""
        return self.columns is PERMISSIONS

    @property
    def holds_files(self) -> bool:
        return self.columns is FILES


class Row(NamedTuple):
    id: Any
    uid: str
    tenant: Any
    sealed: tuple[Column, ...]
    values: dict[str, Any]
    """column to value; of a sealed one, what seal.php is asked to seal"""
