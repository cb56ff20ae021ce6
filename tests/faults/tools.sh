#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes sure that the programs with which the tests make faults and managed hosts are here, and PHP, which judges what is sealed; and with --nightly the auditors
# that the audit runs. Installs what is missing as root on Debian or a relative of it, and says what is missing elsewhere. The tests that need root are skipped
# without it. OpenSSH's server, if it was missing, is not started on this machine, now or at boot.
set -euo pipefail

pairs=(strace:strace setfacl:acl mkfs.ext4:e2fsprogs mkfs.btrfs:btrfs-progs systemd-analyze:systemd php:php-cli
    ssh:openssh-client sshd:openssh-server sudo:sudo unshare:util-linux ip:iproute2)
[ "${1-}" != --nightly ] || pairs+=(lynis:lynis testssl:testssl.sh)
missing=()
for pair in "${pairs[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Some tests need these packages: ${missing[*]}" >&2
    exit 0
fi
echo "Installing ${missing[*]}."
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
fi
flock /var/lib/apt apt-get update -qq
DEBIAN_FRONTEND=noninteractive flock /var/lib/apt apt-get install -yqq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
if [[ " ${missing[*]} " == *" openssh-server "* ]]; then
    update-rc.d ssh disable
    ! command -v systemctl >/dev/null || systemctl --quiet disable ssh.service ssh.socket
fi
