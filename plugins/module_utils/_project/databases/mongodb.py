# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MongoDB: how it is recognised, asked and dumped.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json
import shlex

from ansible_collections.selfhost.appwrite.plugins.module_utils._project.databases.model import Database, from_files

OURS = '"selfhost.appwrite." + process.env.HOSTNAME'
"""in JavaScript: how our clients call themselves, by the container that they run in"""
# The password stays in the container's environment: an argument would be seen in the host's process list. A server that has no connection left closes
# each new one, without a word.
CONNECT = r"""
  const {MONGO_INITDB_ROOT_USERNAME: name, MONGO_INITDB_ROOT_PASSWORD: word, DATABASE_HOST: host, DATABASE_PORT: port} = process.env;
  const who = name ? `${encodeURIComponent(name)}:${encodeURIComponent(word)}@` : "";
  const options = "?directConnection=true&serverSelectionTimeoutMS=10000&appName=" + OURS + "EXACT" + (name ? "&authSource=admin" : "");
  let client;
  try {
    client = await Mongo(`mongodb://${who}${host ? host + ":" + port : "127.0.0.1:27017"}/${options}`);
  } catch (error) { throw / closed$|ECONNRESET$/.test(error.message) ? {codeName: "TooManyConnections"} : error; }
""".replace("OURS", OURS)
_LOGIN = from_files("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD")
_CLIENT = _LOGIN + 'SELFHOST_APPWRITE_STORE=1 exec mongosh --quiet --norc --nodb --eval "$0"'
# A dump is a line of a program that puts it back, then lines of JSON: an array for each database and each collection, an object for each document, and a
# text at the end. Numbers keep their types because the client is told to leave them as they are. Errors quote no values.
_EXACT = "&promoteValues=false&bsonRegExp=true"
_FAILED = r"""
  process.stderr.write("MongoDB" + (place ? " in " + place : "") + ": " + (error.why || error.codeName || error.code || error.name) + "\n");
  process.exit(1);
"""
_RESTORE = r"""
let place = "";
const restore = async () => {
  CONNECT
  let target, indexes = [], documents = [], size = 0, ended = false, parts = [];
  const write = async () => {
    if (documents.length) { await target.insertMany(documents, {bypassDocumentValidation: true, writeConcern: {w: "majority", j: true}}); }
    documents = [];
    size = 0;
  };
  const take = async (line) => {
    const read = EJSON.parse(line, {relaxed: false});
    if (line[0] === "{") {
      documents.push(read);
      size += line.length;
      if (size > 4000000 || documents.length >= 1000) { await write(); }
      return;
    }
    await write();
    if (indexes.length) { await target.getDB().runCommand({createIndexes: target.getName(), indexes}); }
    indexes = [];
    ended = read === "END";
    if (ended) { return; }
    const database = client.getDB(read[0]);
    place = read.slice(0, 2).join(".");
    if (read.length === 1) {
      for (const each of await database.getCollectionInfos({}, {nameOnly: true})) {
        if (!each.name.startsWith("system.")) { await database.getCollection(each.name).drop(); }
      }
      return;
    }
    await database.runCommand({create: read[1], ...read[2]});
    target = database.getCollection(read[1]);
    indexes = read[3];
  };
  for await (let chunk of process.stdin) {
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10)) {
      await take(Buffer.concat([...parts, chunk.subarray(0, end)]).toString());
      parts = [];
      chunk = chunk.subarray(end + 1);
    }
    parts.push(chunk);
  }
  if (!ended) { throw {why: "the dump is not complete"}; }
};
return restore().catch((error) => { FAILED });
"""
_DUMP = r"""
let place = "";
const dump = async () => {
  CONNECT
  const spelled = (value) => EJSON.stringify(value, {relaxed: false});
  const isPlain = (value) => typeof value === "object" && value !== null && value._bsontype === undefined && !(value instanceof Date);
  const isDoubtful = (value) => Array.isArray(value) ? value.some(isDoubtful)
    : value instanceof Date ? isNaN(value) : isPlain(value) && Object.keys(value).some((key) => key[0] === "$" || isDoubtful(value[key]));
  let text = RESTORE + "\n";
  const print = (value) => {
    text += spelled(value) + "\n";
    if (text.length > 100000) { process.stdout.write(text); text = ""; }
  };
  const {databases} = await client.getDB("admin").adminCommand({listDatabases: 1, nameOnly: true});
  for (const {name: space} of databases.filter((each) => !["admin", "config", "local"].includes(each.name))) {
    const database = client.getDB(space);
    print([space]);
    for (const {name, type, options} of await database.getCollectionInfos()) {
      if (name.startsWith("system.")) { continue; }
      place = space + "." + name;
      const collection = database.getCollection(name);
      let indexes = [];
      try {
        if (type !== "view") { indexes = await collection.getIndexes(); }
      } catch (error) {
        if (error.codeName === "NamespaceNotFound") { continue; }
        throw error;
      }
      indexes = indexes.filter((each) => each.name !== "_id_" && !each.clustered).map(({v, ns, ...each}) => each);
      print([space, name, options, options.collation ? indexes.map((each) => ({collation: {locale: "simple"}, ...each})) : indexes]);
      if (type === "view") { continue; }
      for await (const document of await collection.find({})) {
        if (isDoubtful(document)) { throw {why: "a document has a field whose name begins with $, or a date of more than 200,000 years"}; }
        print(document);
      }
    }
  }
  print("END");
  process.stdout.write(text);
};
return dump().catch((error) => { FAILED });
"""
_END = "the dump ends here"


def _program(script: str, **parts: str) -> str:
    """On one line, and out of sight of the client, which makes every call in what it is given by itself a hundred times as slow."""
    for name, part in {**parts, "CONNECT": CONNECT.replace("EXACT", _EXACT), "FAILED": _FAILED, "END": _END}.items():
        script = script.replace(name, part)
    return "new Function(%s)()" % json.dumps(" ".join(line.strip() for line in script.strip().split("\n")))


_ASK_MONGODB = r"""
const name = process.env.MONGO_INITDB_ROOT_USERNAME, word = process.env.MONGO_INITDB_ROOT_PASSWORD, host = process.env.DATABASE_HOST;
const who = name ? encodeURIComponent(name) + ":" + encodeURIComponent(word) + "@" : "";
const options = "?directConnection=true&serverSelectionTimeoutMS=10000" + (name ? "&authSource=admin" : "");
const client = Mongo("mongodb://" + who + (host ? host + ":" + process.env.DATABASE_PORT : "127.0.0.1:27017") + "/" + options);
let found = "empty";
for (const each of client.getDB("admin").adminCommand({listDatabases: 1, nameOnly: true}).databases) {
  const database = client.getDB(each.name);
  if (database.getCollectionNames().includes("_console_users") && database.getCollection("_console_users").findOne({}) !== null) { found = "users"; }
}
print("console accounts: " + found);
"""
MONGODB = Database(
    service="mongodb",
    name="MongoDB",
    images=("mongo", "mongodb"),
    adapters=("mongodb",),
    client_image="mongo:8.2.5",
    login={
        "DATABASE_HOST": "_APP_DB_HOST",
        "DATABASE_PORT": "_APP_DB_PORT",
        "MONGO_INITDB_ROOT_USERNAME": "_APP_DB_USER",
        "MONGO_INITDB_ROOT_PASSWORD": "_APP_DB_PASS",
    },
    data=("/data/db",),
    exhausted=r"TooManyConnections|connection \S+ to \S+ closed|read ECONNRESET",
    remedy="look in its log whether it closes connections for another reason, raise net.maxIncomingConnections (--maxConns in the command of its service)",
    question=("sh", "-c", "set -eu\n" + _LOGIN + 'exec mongosh --quiet --norc --nodb --eval "$0"', _ASK_MONGODB),
    script=None,
    client=("sh", "-c", _CLIENT),
    dump=_LOGIN
    + "exec mongosh --quiet --norc --nodb --eval "
    + shlex.quote(_program(_DUMP, RESTORE=json.dumps(_program(_RESTORE)))),
    dumped=b'\n"%s"\n' % _END.encode(),
)
