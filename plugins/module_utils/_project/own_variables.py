# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables Appwrite itself documents, asked of its container, whose PHP reads its own list of them. Pure.

Appwrite 1.4.14 to 1.9.6 has the list in C(app/config/variables.php): groups, each with C(variables), each with C(name) and C(default).
Descriptions call classes, such as C(Config::getParam('runtimes')), which must not do more here than be there.

This is a private module utility of selfhost.appwrite: no stability is promised outside the collection.
"""

from __future__ import annotations

import json

PATH = "/usr/src/code/app/config/variables.php"
COMMAND = ("php",)
_MARK = "variables: "
QUESTION = r"""<?php
ini_set('display_errors', '0');
spl_autoload_register(function (string $class): void {
    [$name, $space] = array_map('strrev', explode('\\', strrev($class), 2) + ['', '']);
    eval(($space ? "namespace $space; " : '') . "class $name { public static function __callStatic(\$name, \$given) { return []; } }");
});
$found = [];
foreach (include '%s' as $group) {
    foreach ($group['variables'] ?? [] as $variable) {
        $found[$variable['name']] = (string) ($variable['default'] ?? '');
    }
}
echo "\n", '%s', json_encode((object) $found, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
""" % (PATH, _MARK)


def answered(output: str) -> dict[str, str] | None:
    """Variable to default; C(None) if that is no answer."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            try:
                found = json.loads(line[len(_MARK) :])
            except ValueError:
                return None
            if isinstance(found, dict) and found:
                return {name: str(default) for name, default in found.items()}
    return None
