# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appwrite's collections in MongoDB.

Its transactions end after a minute, so that every change is one of its own: a document is written where it still has the old values. The client
runs a script that answers requests, a line of JSON each, until its standard input ends. Then it finishes what it is at, and ends.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import inside
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.mongodb import CONNECT, MONGODB, OURS
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.cipher import Value
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.model import (
    BUCKET,
    FILE_COLUMNS,
    SHOWN,
    Row,
    Seen,
    Sessions,
    Store,
    StoreError,
    Table,
    clean,
)
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.stores.session import LOCK_TIMEOUT, Session

_PAGE = 500
"""documents read at a time"""
REQUEST = 1 << 20
"""bytes of values sent or read at a time, unless one document has more"""
_SLICES = 10
"""places of a collection that a sample is taken from"""
_TEXTS: Any = ""
_OBJECT_IDS: Any = {"$oid": "0" * 24}
"""The first ids of the types that Appwrite's documents have: a comparison finds only those of the same type."""
_NO_FIELDS = ("", "_id", "_uid", "_tenant")
_NUMBERS = ("$numberInt", "$numberLong", "$numberDouble")

# A client whose other end was killed may still be at a request; it is known by its environment, since mongosh overwrites its arguments. Messages of
# errors may quote values.
_SCRIPT = (
    r"""
const serve = async () => {
  const fs = require("fs");
  const spelled = (value) => EJSON.stringify(value, {relaxed: false});
  const read = (value) => EJSON.deserialize({value}, {relaxed: false}).value;
  const started = (process) => Number(fs.readFileSync(`/proc/${process}/stat`, "utf8").split(") ").pop().split(" ")[19]);
  const before = () => fs.readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && Number(name) !== process.pid && fs.readFileSync(`/proc/${name}/environ`, "utf8").includes("SELFHOST_APPWRITE_STORE=")
        && (started(name) - started(process.pid) || Number(name) - process.pid) < 0;
    } catch (error) { return false; }
  }).length > 0;
  for (let tenths = 0; before(); tenths += 1) {
    if (tenths > TIMEOUT * 10) { throw {codeName: "Busy"}; }
    await sleep(100);
  }
  CONNECT
  const at = (place) => client.getDB(place[0]).getCollection(place[1]);
  // The answer ends at 16 MB by itself. A call costs the client much more than what it is about.
  const find = async (place, query) => (await client.getDB(place[0]).runCommand({find: place[1], ...query})).cursor;
  const does = {
    places: async () => {
      const found = [], {databases} = await client.getDB("admin").adminCommand({listDatabases: 1, nameOnly: true});
      for (const {name} of databases) {
        if (!["admin", "config", "local"].includes(name)) { found.push(...(await client.getDB(name).getCollectionNames()).map((each) => [name, each])); }
      }
      return found;
    },
    metadata: async ({place}) => (await at(place).find({}, {_uid: 1, _tenant: 1, attributes: 1}).toArray())
      .filter(({_uid, attributes}) => String(_uid).startsWith("bucket_") || (typeof attributes === "string" ? attributes.includes("encrypt") : attributes)),
    count: async ({place}) => await at(place).countDocuments({}),
    size: async () => (await client.getDB("admin").adminCommand({listDatabases: 1})).totalSize,
    others: async ({place, known}) => (await find(place, {filter: {_id: {$not: {$type: known}}}, projection: {_id: 1}, limit: 1})).firstBatch.length > 0,
    page: async ({place, fields, from, after, skip, limit, size}) => {
      const filter = from !== undefined ? {_id: {$gte: read(from)}} : after !== undefined ? {_id: {$gt: read(after)}} : {};
      const projection = Object.fromEntries(fields.map((field) => [field, 1]));
      const {id, firstBatch} = await find(place, {filter, projection, sort: {_id: 1}, skip, limit, batchSize: limit});
      const open = Number(id) !== 0;
      if (open) { await client.getDB(place[0]).runCommand({killCursors: place[1], cursors: [NumberLong(String(id))]}); }
      let length = 0, count = 0;
      while (count < firstBatch.length && length < size) { length += spelled(firstBatch[count++]).length; }
      return {found: firstBatch.slice(0, count), more: count < firstBatch.length || count === limit || open};
    },
    newest: async ({place, fields, limit, length}) => {
      const text = (value) => value === undefined || value === null ? "" : value instanceof Date ? value.toJSON() || "" : String(value);
      const {firstBatch} = await find(place, {sort: {_createdAt: -1, _id: -1}, limit, batchSize: limit, singleBatch: true,
        projection: Object.fromEntries(fields.map((field) => [field, 1]))});
      return firstBatch.map((each) => Object.fromEntries(fields.map((field) => [field, [...text(each[field])].slice(0, length).join("")])));
    },
    sessions: async () => {
      const asked = async (whose) => (await client.getDB("admin").adminCommand({currentOp: 1, $all: true, ...whose})).inprog;
      try {
        return (await asked({}).catch(() => asked({$ownOps: true}))).map((each) => ({
          user: String(((each.effectiveUsers || [])[0] || {}).user || ""), address: String(each.client || ""), space: String(each.ns || "").split(".")[0],
          own: each.appName === (OURS), driver: String(((each.clientMetadata || {}).driver || {}).name || "")}));
      } catch (error) {
        if (error.name !== "MongoServerError") { throw error; }
        return [];
      }
    },
    writable: async () => (await client.getDB("admin").runCommand({hello: 1})).isWritablePrimary,
    address: async () => String((await client.getDB("admin").runCommand({whatsmyuri: 1})).you || "").replace(/^127\..*/, ""),
    MORE
  };
  for await (const line of require("readline").createInterface({input: process.stdin})) {
    const asked = line ? JSON.parse(line) : undefined;
    if (typeof asked === "string") { process.stdout.write(asked + "\n"); }
    else if (asked !== undefined) { process.stdout.write(spelled(await does[asked.what](asked)) + "\n"); }
  }
};
serve().catch((error) => { process.stderr.write("ERROR " + (error.codeName || error.code || error.name) + "\n"); });
""".replace("CONNECT", CONNECT.replace("EXACT", ""))
    .replace("TIMEOUT", str(LOCK_TIMEOUT))
    .replace("OURS", OURS)
)


class MongoDB(Store):
    """Read by a script of ours in MongoDB's own client."""

    transactional = False
    NAME = MONGODB.name
    DUMP = MONGODB.dump, MONGODB.dumped
    REASONS = {
        "AuthenticationFailed": "it refuses the user and password in the environment of the container that asks it",
        "Busy": "another session of this collection has been working on it for %d seconds; wait until it ends and run again"
        % LOCK_TIMEOUT,
        "MongoNetworkError": "the connection was lost",
        "MongoServerSelectionError": "it does not answer",
        "NotWritablePrimary": "this node is not the primary one",
        "OutOfDiskSpace": "its disk is full; free some space and run again",
        "Unauthorized": "the user in the environment of the container that asks it may not do this",
    }

    REQUESTS = ""
    """what the script answers besides, as members of its C(does)"""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """command: C(client()) of a container. environ: for it."""
        self._listed: dict[Table, dict[str, set[str]]] = {}
        self._session = Session(command, self.NAME, '"%s"', r"(?m)^ERROR (\w+)", self.REASONS, environ)
        self._session.ask("")

    @classmethod
    def client(cls, container: str) -> list[str]:
        """Starts the client in the database's container, with the credentials of its environment."""
        return inside(container, (*MONGODB.client, _SCRIPT.replace("MORE", cls.REQUESTS)))

    def tables(self) -> list[Table]:
        if not self._listed:
            self._find_tables()
        return list(self._listed)

    def forget_tables(self) -> None:
        self._listed = {}

    def count(self, table: Table) -> int:
        return whole(self._ask("count", table))

    def size(self) -> int:
        return whole(self._ask("size"))

    def rows(self, table: Table, sample: int | None = None) -> Iterator[list[Row]]:
        """Pages of documents, at most C(sample) of them in several slices. Raises StoreError for ids of other types than Appwrite's."""
        if sample is not None:
            count, slices = self.count(table), min(_SLICES, sample)
            for number in range(slices):
                found, _more = self._page(table, skip=count * number // slices, limit=-(-sample // slices))
                if found:
                    yield found
            return
        yield from self._all(table, _TEXTS)
        if self._ask("others", table, known=["string"]):
            yield from self._all(table, _OBJECT_IDS)
            if self._ask("others", table, known=["string", "objectId"]):
                raise StoreError(
                    "%s: %s.%s has documents whose ids are neither texts nor object ids, as Appwrite's are"
                    % (self.NAME, table.space, table.name)
                )

    def _all(self, table: Table, first: Any) -> Iterator[list[Row]]:
        """Every document with an id of this type."""
        place, more = {"from": first}, True
        while more:
            found, more = self._page(table, **place)
            if found:
                place = {"after": found[-1].key}
                yield found

    def sessions(self) -> Sessions:
        return judged(self._ask("sessions"), self._ask("address"))

    def is_replica(self) -> bool:
        return not self._ask("writable")

    def newest(self, table: Table, fields: Sequence[str], limit: int) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._ask("newest", table, fields=fields, limit=limit, length=SHOWN)
        return found

    def close(self) -> None:
        self._session.close()

    def _find_tables(self) -> None:
        present = {(place[0], place[1]) for place in self._ask("places")}
        listed: dict[tuple[str, str], dict[str, set[str]]] = {}
        buckets = set()
        for space, name in sorted(present):
            for document in self._ask("metadata", (space, name)) if name.endswith("__metadata") else ():
                uid = str(document.get("_uid"))
                place = space, name[: -len("__metadata")] + "_" + clean(uid)
                try:
                    sealed = {
                        str(each["$id"]).replace(".", "__dot__")
                        for each in json.loads(document["attributes"])
                        if "encrypt" in (each.get("filters") or ())
                    }
                except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                    raise StoreError(
                        "%s: the attributes of the collection %s in %s.%s are not JSON, so it is not known which of its fields are sealed"
                        % (self.NAME, uid, space, name)
                    ) from None
                if any(each in _NO_FIELDS or each.startswith("$") or "\0" in each for each in sealed):
                    raise StoreError(
                        "%s: the collection %s in %s.%s lists a sealed field whose name no field of Appwrite's can have"
                        % (self.NAME, uid, space, name)
                    )
                if place in present and (sealed or BUCKET.match(uid)):
                    listed.setdefault(place, {}).setdefault(_tenant(document), set()).update(sealed)
                    if BUCKET.match(uid):
                        buckets.add(place)
        for place in sorted(listed):
            columns = tuple(sorted(set().union(*listed[place].values())))
            self._listed[Table(place[0], place[1], place[1], columns, place in buckets)] = listed[place]

    def _page(self, table: Table, skip: int = 0, limit: int | None = None, **place: Any) -> tuple[list[Row], bool]:
        """Documents from a place on, at most so many and fewer if they are large; whether there may be more."""
        fields = ["_uid", "_tenant", *table.columns, *(FILE_COLUMNS if table.holds_files else ())]
        answer = self._ask("page", table, fields=fields, skip=skip, limit=limit or _PAGE, size=REQUEST, **place)
        return [self._row(table, document) for document in answer["found"]], answer["more"]

    def _row(self, table: Table, document: Mapping[str, Any]) -> Row:
        listed = self._listed[table]
        names = (
            listed.get("", set())
            | listed.get(_tenant(document), set())
            | set(FILE_COLUMNS if table.holds_files else ())
        )
        raw = {name: document.get(name) for name in sorted(names)}
        return Row(
            document["_id"], str(document.get("_uid")), {name: _value(value) for name, value in raw.items()}, raw
        )

    def _ask(self, what: str, place: Any = None, **details: Any) -> Any:
        if isinstance(place, Table):
            place = place.space, place.name
        lines = self._session.ask(json.dumps({"what": what, "place": place, **details}, separators=(",", ":")))
        return json.loads(lines[0][0].decode("utf-8", "surrogateescape"))


def _tenant(document: Mapping[str, Any]) -> str:
    """Empty for all."""
    tenant = document.get("_tenant")
    return "" if tenant is None else str(_number(tenant))


def judged(found: Sequence[Mapping[str, Any]], address: str) -> Sessions:
    """What C(currentOp) says of who is connected, without the server's own threads. Some servers know the command and say nothing.

    address: of this connection, as the server sees it.
    """
    clients = [
        each
        for each in found
        if each["address"] and not each["driver"].startswith(("MongoDB Internal", "NetworkInterfaceTL"))
    ]
    blind = "" if any(each["own"] for each in clients) else "the database does not say who else is connected"
    return Sessions(
        [Seen(each["user"], each["address"], each["space"]) for each in clients if not each["own"]], blind, address
    )


def _number(value: Any) -> Any:
    """Numbers are spelled with their type."""
    found = next((value[name] for name in _NUMBERS if name in value), value) if isinstance(value, dict) else value
    return found[:-2] if isinstance(value, dict) and isinstance(found, str) and found.endswith(".0") else found


def whole(answer: Any) -> int:
    return int(float(_number(answer)))


def _value(raw: Any) -> Value:
    found = _number(raw)
    if (
        found is None
        or isinstance(found, str)
        or isinstance(found, list)
        and all(each is None or isinstance(each, str) for each in found)
    ):
        return found
    return "(neither a text nor a list of texts)"
