#!/usr/bin/python
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rekey
short_description: Seal every stored value anew under another encryption key
version_added: 1.0.0
author:
  - selfhost.appwrite contributors (@selfhost)
description:
  - Appwrite has no rotation of C(_APP_OPENSSL_KEY_V1), and a key that is changed in C(.env) alone loses every stored password, OAuth secret and
    API key. This seals everything anew under another key, and then changes it in C(.env).
  - The role P(selfhost.appwrite.appwrite_rotation#role) runs it in the right order, and is what you want. It is safe to interrupt at any point;
    run again it goes on where it stopped.
  - In check mode it is the rehearsal, which opens every value and file while everything runs and changes nothing.
  - It runs in three parts, since the project has to be started in between. The first ends with RV(phase=written), when the new key is in C(.env)
    and nothing that takes it runs; M(selfhost.appwrite.apply) starts everything; the same task again ends with RV(phase=finished).
  - While data may be sealed with either key, C(.env) holds a guard in the place of the key, with which C(docker compose) starts nothing.
  - On the controller it keeps both keys in the escrow file before anything is changed, and tells what is being done and waited for, every 5 seconds or when
    that changes.
  - Hosts that share a database are rotated together. One of them conducts, with O(step=stage), and with O(step=seal) while all others stand still behind the
    same guard, with O(step=still). When everything is sealed, these take the new key with O(step=write), and the conductor with O(step=whole); then all are
    started. Each host goes on where it was, so that the same order of steps can be run again after any failure.
options:
  scope:
    description:
      - V(values) seals every stored value and file anew.
      - V(tokens) changes what follows the first 16 bytes of the key, which AES does not use. Every token that was issued becomes invalid, and no data
        has to change.
    type: str
    choices: [values, tokens]
    required: true
  step:
    description:
      - V(whole) does what O(scope) says. V(state) and V(stage) are how the action prepares it with short calls, so that what runs in the background for
        long is handed no key.
      - V(state) says how far a rotation is, by C(.env) and what is noted beside it alone, and changes nothing.
      - V(stage) notes O(new_key), or one that is generated and kept in O(escrow_file) first, on the managed host, for its owner alone. O(scope=values) then
        takes it from there. If the last run had ended on the host, this ends with RV(phase=finished). Nothing else is changed, and
        O(abort=true) ends it again.
      - The others are of a rotation of hosts that share a database, and of O(scope=values) alone. V(seal) is for the host that conducts it, and
        ends when everything is sealed and the guard still stands, with RV(phase=sealed); V(whole) then writes the new key. It fails if sessions of the
        others are open at the database.
      - V(still) is for each of the others. It puts the guard into C(.env), removes what has the key, and ends with RV(phase=guarded). It waits until few jobs
        wait and none is in hand that takes long, closes the API, and gives each worker five minutes for the job that it has; what waits then is for the
        conductor's workers, or for this host's own afterwards. In check mode it says what the hosts are compared by. With O(abort=true) it goes back,
        which is right only if the conductor has gone back, and is refused if nothing opens with the old key.
      - V(write) is for each of the others when the conductor has sealed. It tries O(new_key) on what is stored in its own database, empties its cache, and puts
        the key into C(.env), which ends with RV(phase=written). When everything runs with it, V(write) again ends with RV(phase=finished).
    type: str
    choices: [whole, state, stage, seal, still, write]
    default: whole
  key:
    description: The key to open values with. It must be the one in C(.env), which is the default.
    type: str
  new_key:
    description:
      - The key to seal with. Defaults to the one that was noted with O(step=stage), or one that is generated and kept in O(escrow_file).
      - Once one was noted another one is refused, until the rotation has ended.
      - With O(scope=tokens) it must begin with the same 16 bytes as the old one.
    type: str
  escrow_file:
    description:
      - The escrow file on the controller, as M(selfhost.appwrite.security) writes it. It gets both keys before anything is changed.
      - Needed unless O(new_key) is given, which you then keep yourself.
    type: path
  cluster:
    description: The cluster that the host belongs to, as O(selfhost.appwrite.security#module:cluster), if the escrow file is a cluster's.
    type: str
  abort:
    description: Go back to the old key, while that is still possible. The message says where it is not.
    type: bool
    default: false
  waivers:
    description:
      - Values and files that no key opens and that are left as they are, each as C(collection/id/column) as the rehearsal names it. Any other one
        stops the rotation before anything is changed.
    type: list
    elements: str
    default: []
  sample:
    description: About how many rows of each table to open at the end of a rotation; V(0) for all.
    type: int
    default: 1000
  dump:
    description:
      - Make a dump of the database first, beside the C(.env) file and for its owner alone. It needs the old key, which stays in the escrow.
      - Turn it off if you make a snapshot yourself.
    type: bool
    default: true
  drain_timeout:
    description:
      - Seconds that the queues are given, first while the API is open still, until few jobs wait and those have ended that ran; and once more when it is
        closed, until there is none. After that everything runs again as before, and the task fails.
      - From Appwrite 2.0 on, builds that the orchestrator runs count as jobs of the queue V(v1-builds) while the API is open. One may take as long as
        C(_APP_COMPUTE_BUILD_TIMEOUT) says, 2700 seconds by default.
    type: int
    default: 300
  leave_queues:
    description:
      - Queues that are not waited for, such as V(v1-mails). Jobs that wait there stay where they are, and hold nothing that is sealed. One that a worker
        has in hand is given five minutes; after that it is lost. With V(v1-builds), builds that run go on without the API, and may fail.
      - Needed if jobs wait that no running worker takes. That stops the rotation before anything is, and the rehearsal warns of it.
    type: list
    elements: str
    default: []
  end_sessions:
    description:
      - With O(scope=values), whose sessions end with the key. A session that somebody made with a key that was public or had leaked goes on working
        after the rotation otherwise, since it is stored as any other.
      - V(console) ends those of the console's users, who sign in again. V(all) ends those of every project's users, too. V(none) ends none.
      - Tokens that a session can be made from end as well, such as magic links, e-mail codes and password recoveries under way; they are asked for again.
      - The default is V(console) if the key in force is a public default, and V(none) otherwise.
      - On MariaDB and PostgreSQL they are removed in the transaction in which everything is sealed. On MongoDB they are removed after that; once it has begun,
        O(abort) brings none of them back.
      - A rotation that was interrupted goes on with what the run that began it was told, and another value is refused until it has ended.
    type: str
    choices: [console, all, none]
  seal:
    description:
      - A one-time password of at least 32 characters, with which the old key is returned in RV(key.sealed); other known keys are returned in the same way
        under their own names.
    type: str
  client_image:
    description:
      - The image with the client of the database, if that is no service of the project. It is asked from a container of that image then, in the networks of
        Appwrite's API, with the host, port, database, user and password that Appwrite has, and nothing of them is an argument. The container ends with the
        module.
      - The default is that of Appwrite's own compose files, V(mariadb:10.11), V(appwrite/postgres:0.1.0) or V(mongo:8.2.5). An image that is not on the host is
        pulled, in check mode too. PostgreSQL's dump needs a client that is not older than the server.
      - Appwrite knows no setting for TLS to its database. MariaDB's and PostgreSQL's clients speak it if the server does, without looking at its certificate.
    type: str
  redis_client_image:
    description:
      - The same for Redis, with C(redis-cli). Appwrite speaks no TLS to it, and reads its user from Appwrite 2.1 on. The default is V(redis:7.4.7-alpine).
    type: str
  progress_file:
    description:
      - A file on the managed host that is overwritten with what is being done, how far that is, a number that rises every 5 seconds for as long as the
        module lives, and what is waited for. It is removed in the end. The action names one itself, from which it shows how far it is.
    type: path
  backup_keep:
    description: As O(selfhost.appwrite.security#module:backup_keep), with O(scope=tokens). A rotation of the values removes no backup.
    type: int
    default: 10
extends_documentation_fragment:
  - selfhost.appwrite.project
  - selfhost.appwrite.project.host
  - selfhost.appwrite.project.action_group
requirements:
  - cryptography on the managed host (Debian's C(python3-cryptography))
  - boto3 on the managed host (Debian's C(python3-boto3)), if files are in an object store
attributes:
  check_mode:
    description: In check mode it is the rehearsal.
    support: full
  diff_mode:
    description: There is nothing to show; what was sealed anew cannot be told apart by looking.
    support: none
  idempotent:
    description: Each run goes on where the last one stopped; when a rotation has ended, the next one begins another.
    support: none
seealso:
  - module: selfhost.appwrite.security
  - module: selfhost.appwrite.apply
  - module: selfhost.appwrite.stored_info
"""

EXAMPLES = r"""
---
- name: Rehearse the rotation by opening everything that is stored
  selfhost.appwrite.rekey:
    project_src: /opt/appwrite
    scope: values
    escrow_file: /etc/ansible/escrow/appwrite.yml
  check_mode: true
"""

RETURN = r"""
---
phase:
  description:
    - V(rehearsed), or how far the rotation is, V(written) if the project has to be started now, V(finished) or V(aborted).
    - In check mode on an unfinished rotation also V(prepared), V(guarded) or V(sealed).
    - With O(step=seal) V(sealed), with O(step=still) V(guarded) or V(aborted), with O(step=write) V(written) or V(finished).
    - With O(step=state) or O(step=stage), and in check mode with O(step=still), V(none), V(staged) or one of the others, as it is noted.
  type: str
  returned: success
release:
  description: The release of Appwrite.
  type: str
  returned: in check mode with O(step=still), unless the host stands still
database:
  description: A digest of each of the first sealed values of the console, by which the database is known again on another host.
  type: list
  elements: str
  returned: as RV(release)
part:
  description: Whether the host is V(conductor) or V(member) in a rotation that is unfinished there. Null if there is none.
  type: str
  returned: in check mode with O(step=still)
now:
  description: The host's clock, in seconds since 1970.
  type: float
  returned: in check mode with O(step=still)
clock:
  description: Between which two numbers of seconds the host's clock is ahead of the controller's.
  type: list
  elements: float
  returned: as RV(now)
project:
  description: The name of the compose project.
  type: str
  returned: with O(step=state) and O(step=stage)
env_key:
  description: What may be said of the key in C(.env), as RV(key). Null if it has none, or a guard.
  type: dict
  returned: with O(step=state) and O(step=stage)
report:
  description:
    - For each collection how many values and files open with the old key, the new one, neither, and how many are not sealed; the bytes of its files;
      and those that no key opens, by collection, id and column.
  type: dict
  returned: success with O(step=whole) and O(scope=values), unless it was aborted
stops_working:
  description: What is signed with the key and has to be issued again, with counts if there are any.
  type: list
  elements: str
  returned: with O(scope=values) and O(step=whole)
expected_downtime:
  description: As RV(downtime), by what the rehearsal took and what services of Appwrite 1.9.6 were seen to take to stop, with no jobs waiting.
  type: dict
  returned: in check mode with O(scope=values), unless a rotation is under way
disk_needed:
  description: Bytes that a rotation needs beside what is there.
  type: dict
  returned: in check mode with O(scope=values)
  contains:
    files:
      description: In the directory of the uploads, or in the bucket, since old files are removed last.
      type: int
    database:
      description: In the database's volume, at most, since a transaction keeps both versions of a row, and the new values are staged before.
      type: int
    dump:
      description: Beside the C(.env) file, at most.
      type: int
bucket_traffic:
  description: What a rotation asks of the object store that files are in, by and large. Null if they are on the local volume.
  type: dict
  returned: in check mode with O(scope=values), unless a rotation is under way
  contains:
    requests:
      description: How many requests it makes.
      type: int
    bytes:
      description: How many bytes go over the network, both ways.
      type: int
    versioned:
      description: Whether the bucket keeps versions. Then every version of an object that is replaced is removed.
      type: bool
end_sessions:
  description: Whose sessions end, as O(end_sessions) or its default.
  type: str
  returned: as RV(console)
ended_sessions:
  description: How many sessions were ended; in check mode how many would be. Tokens are not counted.
  type: int
  returned: with O(scope=values) and O(step=whole)
console:
  description:
    - What somebody else may have made at the console with the key, each kind as RV(ignore:count) of all that are there and the RV(ignore:newest) 200
      of them, the last one first. It is not known since when a key is public, so that all are listed, whoever made them.
    - What others chose, such as names and user agents, is cut off after 200 characters. There is no secret in it. Times are in UTC, and null if
      Appwrite has none.
  type: dict
  returned: with O(scope=values) if the key is a public default or sessions end, in check mode and by the run that seals everything
  contains:
    accounts:
      description: For each RV(ignore:id), RV(ignore:email), when it was RV(ignore:registered), and when it last RV(ignore:accessed) the console, to the day.
      type: dict
    sessions:
      description:
        - For each its RV(ignore:user)'s id, when it was RV(ignore:created), from which RV(ignore:ip) and RV(ignore:country), with which RV(ignore:client)
          and RV(ignore:user_agent), and the RV(ignore:provider) of the sign-in. The provider V(server) is a session that was made for a user by an
          administrator or an API key, which the console itself never does.
      type: dict
    api_keys:
      description:
        - API keys, for each its RV(ignore:id), RV(ignore:name), when it was RV(ignore:created), and its RV(ignore:owner), V(projects/<id>), or from
          Appwrite 1.9 on V(teams/<id>) (an organization) and V(users/<id>) (an account), too.
      type: dict
    dev_keys:
      description: The same of dev keys.
      type: dict
downtime:
  description: How long things stood still, in seconds, each until its containers were started again. What Appwrite takes until it answers comes on top.
  type: dict
  returned: with RV(phase=finished)
  contains:
    api:
      description: From when the API was closed.
      type: int
    background:
      description: From when the first scheduler was stopped until the last scheduler or worker was started.
      type: int
    whole:
      description: From the beginning to the end of the rotation, most of which Appwrite was running.
      type: int
remains:
  description: Each file that is left in the project's directory, with why, and when it may be removed. A failure says the same in its message.
  type: list
  elements: str
  returned: with O(scope=values) and O(step=whole)
key:
  description:
    - What may be said of the key in force before.
    - With O(step=state) and O(step=stage), of the key that stored data is under as far as that is noted; null if nothing says so.
  type: dict
  returned: success
  contains:
    fingerprint:
      description: As RV(selfhost.appwrite.encryption_key#module:key.fingerprint).
      type: str
    public:
      description: Whether it is a public default.
      type: bool
    sealed:
      description: The key itself, with O(seal). P(selfhost.appwrite.unseal#filter) opens it.
      type: str
new_key:
  description: The same of the new key, null if none is noted, or in check mode none is given.
  type: dict
  returned: success
dump_file:
  description: The dump of the database.
  type: str
  returned: with O(scope=values) and O(step=whole)
backup_file:
  description: The C(.env) file of before.
  type: str
  returned: with O(step=whole)
"""

from ansible_collections.selfhost.appwrite.plugins.module_utils._module import run
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.rekey import REKEY_OPTIONS, rekey


def main() -> None:
    run(REKEY_OPTIONS, rekey)


if __name__ == "__main__":
    main()
