#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What `make bench-rotation` runs.

set -euo pipefail
cd "$(dirname "$0")/../.."
tests/faults/tools.sh
if ! command -v php >/dev/null; then
    echo "PHP is needed, which seals the values." >&2
    exit 3
fi
PYTHONPATH=tests:.work/import exec .venv/bin/python tests/benchmark/rotation.py "$@"
