# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands for C(rekey) and C(apply) on a host of a cluster: no engine, no database, only what a role's tasks are told, and what the next one may do.

C(state.json) in the project's directory is the host, and those in the directories beside it are the others of the cluster. C(wish) there is what it shall
fail at, or die of.
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.selfhost.appwrite.plugins.module_utils._apply import APPLY_OPTIONS
from ansible_collections.selfhost.appwrite.plugins.module_utils._envelope import seal
from ansible_collections.selfhost.appwrite.plugins.module_utils._rotation.rekey import REKEY_OPTIONS


class Host:
    def __init__(self, module):
        self.module = module
        self.given = module.params
        self.directory = self.given["project_src"]
        self.now = self.read(self.directory)

    @staticmethod
    def read(directory):
        with open(os.path.join(directory, "state.json")) as stream:
            return json.load(stream)

    def others(self):
        beside = os.path.dirname(self.directory)
        return [
            self.read(os.path.join(beside, name))
            for name in sorted(os.listdir(beside))
            if name != os.path.basename(self.directory)
        ]

    def save(self, **changes):
        if not self.module.check_mode:
            self.now.update(changes)
            path = os.path.join(self.directory, "state.json")
            with open(path + ".new", "w") as stream:
                json.dump(self.now, stream)
            os.replace(path + ".new", path)  # the others read it meanwhile

    def tell(self, phase, **more):
        described = {name: self.described(self.now.get(name)) for name in ("key", "new_key")}
        self.module.exit_json(
            **{"changed": True, "phase": phase, "project": "appwrite", "warnings": [], **described, **more}
        )

    def described(self, key):
        sealed = {"sealed": seal(key, self.given["seal"])} if key and self.given.get("seal") else {}
        return {"fingerprint": key, "public": False, **sealed} if key else None

    def fail(self, words):
        self.module.fail_json(msg=words)

    def require(self, holds, words):
        if not holds:
            self.fail("the stand-in: " + words)

    def work(self):
        step = self.given["step"] if self.given["scope"] else "apply"
        step = "abort " + step if self.given["abort"] and step in ("whole", "still") else step
        step += " in check mode" if self.module.check_mode else ""
        wish = self.now["wishes"].pop(step, None)
        self.save(asked=[*self.now["asked"], step])
        if wish == "die":
            os._exit(1)
        if wish:
            self.fail(wish)
        getattr(self, step.replace(" ", "_"))()

    def still_in_check_mode(self):
        is_begun = self.now["guarded"] or self.now["phase"] in ("guarded", "sealed", "written")
        told = {} if is_begun else {"release": "1.9.6", "database": self.now["database"]}
        self.tell(self.now["phase"], now=time.time() + self.now["ahead"], part=self.now["part"], **told)

    def whole_in_check_mode(self):
        self.tell("rehearsed", report=None, stops_working=[])

    def state(self):
        self.tell(self.now["phase"])

    def stage(self):
        self.save(new_key=self.now["new_key"] or self.given["new_key"])
        if self.now["phase"] == "none":
            self.save(phase="staged", part="conductor")
        self.tell(self.now["phase"])

    def still(self):
        self.save(phase="guarded", guarded=True, running=None, part="member")
        self.tell("guarded", release="1.9.6")

    def seal(self):
        self.require(self.now["new_key"], "no key was staged")
        self.require(all(other["guarded"] and not other["running"] for other in self.others()), "another host runs")
        self.save(phase="sealed", guarded=True, running=None)
        self.tell("sealed")

    def write(self):
        if self.now["phase"] == "none":
            self.require(self.now["key"] == self.given["new_key"], "another key is in force")
            self.tell("finished")
        if self.now["phase"] == "written":
            if self.now["running"] != self.now["key"]:
                self.tell("written", changed=False)
            self.save(phase="none", new_key=None, part=None)
            self.tell("finished", remains=["the backup of %s" % os.path.basename(self.directory)])
        self.require(any(other["new_key"] == self.given["new_key"] for other in self.others()), "it is another key")
        self.save(phase="written", key=self.given["new_key"], new_key=self.given["new_key"], guarded=False)
        self.tell("written")

    def whole(self):
        if self.now["phase"] == "sealed":
            self.require(
                all(other["key"] == self.now["new_key"] for other in self.others()), "another host has the old key"
            )
            self.save(phase="written", guarded=False)
            self.tell("written")
        self.require(self.now["phase"] == "written", "nothing is sealed")
        self.require(self.now["running"] == self.now["new_key"], "not everything runs")
        self.require(all(other["phase"] == "none" for other in self.others()), "another host has not ended")
        told = {"new_key": self.described(self.now["new_key"]), "downtime": None, "stops_working": [], "remains": []}
        self.save(phase="none", key=self.now["new_key"], new_key=None, part=None)
        self.tell("finished", **told)

    def abort_whole(self):
        self.require(self.now["phase"] != "sealed", "no way back")
        self.save(phase="none", new_key=None, guarded=False, part=None)
        self.tell("aborted")

    def abort_still(self):
        self.require(all(other["phase"] != "sealed" for other in self.others()), "it is sealed")
        self.save(phase="none", guarded=False, part=None)
        self.tell("aborted")

    def apply(self):
        self.require(
            not any(host["guarded"] for host in [self.now, *self.others()]) or self.now["phase"] == "none",
            "a host is guarded",
        )
        self.save(running=self.now["new_key"] if self.now["phase"] == "written" else self.now["key"])
        self.module.exit_json(changed=True, recreated=[], started=[], services={}, drift=[], warnings=[])


def main():
    spec = {**APPLY_OPTIONS, **REKEY_OPTIONS, "scope": {"type": "str"}}
    Host(AnsibleModule(spec, supports_check_mode=True)).work()


if __name__ == "__main__":
    main()
