# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that may hold the only copy of a key outlives those that are kept for their age."""

from __future__ import annotations

import pytest

from ansible_collections.selfhost.appwrite.plugins.module_utils._env.dotenv import decode, parse
from ansible_collections.selfhost.appwrite.plugins.module_utils._env.file import EnvFile
from ansible_collections.selfhost.appwrite.plugins.module_utils._errors import AppwriteError
from ansible_collections.selfhost.appwrite.plugins.module_utils._project.backups import backup_keep, prune_backups

KEY = "_APP_OPENSSL_KEY_V1"
HERE, OTHER = "not-a-real-key-of-the-file", "not-a-real-key-of-another-time"
OLD, NEWEST = ".env.20261124T030000Z.bak", ".env.20261125T030000Z.bak"
CONTENTS = {  # of a backup that is older than all that are kept, and whether it stays
    "another key": (f"{KEY}={OTHER}\n", KEY, True),
    "another key in quotes": (f"{KEY}='{OTHER}'\n", KEY, True),
    "the key of the file": (f"{KEY}={HERE}\n", KEY, False),
    "no key": ("_APP_ENV=production\n", KEY, False),
    "an empty key": (f"{KEY}=\n", KEY, False),
    "what Appwrite reads as empty": (f"{KEY}=0\n", KEY, False),
    "the public default": (f"{KEY}=your-secret-key\n", KEY, False),
    "what compose would not read": (f"A='\n{KEY}={HERE}\n", KEY, True),
    "no text": (b"\xff\xfe", KEY, True),
    "another key in the line that has it": (f"SHOP_KEY={OTHER}\n{KEY}={HERE}\n", "SHOP_KEY", True),
    "another key in a line that nobody reads": (f"SHOP_KEY={HERE}\n{KEY}={OTHER}\n", "SHOP_KEY", False),
}


@pytest.mark.parametrize(("content", "line", "stays"), CONTENTS.values(), ids=CONTENTS)
def test_last_copy_of_a_key_stays(tmp_path, content, line, stays):
    text = f"{line}={HERE}\n"
    (tmp_path / ".env").write_text(text)
    (tmp_path / OLD).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / NEWEST).write_text(f"{line}={HERE}\n_APP_LOCALE=de\n")
    env_file = EnvFile(str(tmp_path / ".env"))
    with env_file.locked():
        prune_backups(env_file, parse(decode(text.encode())), 1, line)
    assert (tmp_path / OLD).exists() == stays and (tmp_path / NEWEST).exists()


@pytest.mark.parametrize("keep", [0, -1])
def test_no_way_back(keep):
    with pytest.raises(AppwriteError, match=f"^backup_keep: must be at least 1, got {keep}$"):
        backup_keep({"backup_keep": keep})
