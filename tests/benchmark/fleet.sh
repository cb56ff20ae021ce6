#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What `make bench-fleet` runs. Installs what is missing as root on Debian or a relative of it, and sees that OpenSSH's server, if it
# was missing, is not started on this machine, now or at boot.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin:/sbin

install() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$@" </dev/null >/dev/null
    if [[ " $* " == *" openssh-server "* ]]; then
        update-rc.d ssh disable
        if command -v systemctl >/dev/null; then
            systemctl --quiet disable ssh.service ssh.socket
        fi
    fi
)

missing=()
for pair in sshd:openssh-server ssh:openssh-client ip:iproute2 nsenter:util-linux; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if [ "$(id -u)" != 0 ]; then
    echo "Only root may make network namespaces." >&2
    exit 3
fi
if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "These packages are needed: ${missing[*]}" >&2
        exit 3
    fi
    echo "Installing ${missing[*]}."
    install "${missing[@]}"
fi
PYTHONPATH=.:tests exec .venv/bin/python tests/benchmark/fleet.py
