#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What `make demo` runs: a fresh Appwrite-shaped project as the command-line installer leaves it, secured by the collection
# as a user would install it, and a table of before and after. The project is removed at the end.

set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/.work/demo
rm -rf "$home/collections" "$home/build"
mkdir -p "$home"

export ANSIBLE_HOME=$home/ansible ANSIBLE_COLLECTIONS_PATH=$home/collections ANSIBLE_DISPLAY_SKIPPED_HOSTS=False
PATH=$PWD/.venv/bin:$PATH

echo '== Build and install the collection'
ansible-galaxy collection build --force --output-path "$home/build" . >"$home/build.log" 2>&1 || { cat "$home/build.log"; exit 1; }
ansible-galaxy collection install --force --offline "$home"/build/*.tar.gz >"$home/build.log" 2>&1 || { cat "$home/build.log"; exit 1; }
tail -n 1 "$home/build.log"

exec python tests/demo.py "$home"
