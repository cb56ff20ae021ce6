#!/bin/sh
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
testbed-switch fail || exit 1
mkdir -p /data
cd /data || exit 1
exec "$@" --protected-mode no
