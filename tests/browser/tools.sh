#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes sure that the browser is here (installed as root on Debian or a relative of it), and axe-core, which npm fetches into
# .work/browser. Says what is missing elsewhere: the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

axe="axe-core@4.14.1"
if ! command -v chromium >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo 'Installing chromium.'
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends chromium </dev/null >/dev/null
    else
        echo 'Some tests need Chromium (Debian: chromium).' >&2
    fi
fi
target=.work/browser/$axe
if [ ! -d "$target" ]; then
    if command -v npm >/dev/null; then
        mkdir -p .work/browser
        fresh=$(mktemp -d .work/browser/XXXXXX)
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$fresh" "$axe" </dev/null >/dev/null
        mv -T "$fresh" "$target" || rm -rf "$fresh"
    else
        echo 'Some tests need npm (Debian: npm).' >&2
    fi
fi
