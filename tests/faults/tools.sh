#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes sure that the programs with which the tests make faults are here, the auditors that the audit runs, and PHP, which judges what is sealed: installs what is
# missing as root on Debian or a relative of it, and says what is missing elsewhere. The tests that need root are skipped without it.
set -euo pipefail

missing=()
for pair in strace:strace setfacl:acl mkfs.ext4:e2fsprogs mkfs.btrfs:btrfs-progs lynis:lynis testssl:testssl.sh systemd-analyze:systemd php:php-cli; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Some tests need these packages: ${missing[*]}" >&2
    exit 0
fi
echo "Installing ${missing[*]}."
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
