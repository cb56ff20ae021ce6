#!/bin/sh
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
testbed-switch unhealthy && exec mariadb --user=healthcheck --host=localhost --batch --skip-column-names --execute 'SELECT 1'
