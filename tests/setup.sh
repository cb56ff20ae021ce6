#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes .venv: links to every usable Python 3.8 or newer in .venv/pythons, and tests/requirements.txt installed under the
# newest of them, or under the one that PYTHON names.

set -euo pipefail
cd "$(dirname "$0")/.."

usable='import ensurepip, sys, venv; sys.prefix == sys.base_prefix and print(sys.executable)'

find_python() { # find_python MINOR: the path of a Python 3.MINOR that can make virtual environments
    local candidate path
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$1."*/bin/python3 $(type -aP "python3.$1"); do
        path=$("$candidate" -c "$usable" 2>/dev/null </dev/null) && [ -n "$path" ] && echo "$path" && return
    done
    return 1
}

find_pythons() { # sets pythons (MINOR -> path) and newest
    local minor path
    declare -gA pythons=()
    newest=''
    for minor in {8..30}; do
        path=$(find_python "$minor") || continue
        pythons[$minor]=$path
        [ "$minor" -lt 11 ] || newest=$path
    done
}

find_pythons
if [ -z "${PYTHON:-$newest}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo 'Installing python3-venv.'
    flock /var/lib/apt apt-get update -qq && DEBIAN_FRONTEND=noninteractive flock /var/lib/apt apt-get install -yqq python3 python3-venv </dev/null
    find_pythons
fi
python=${PYTHON:-$newest}
if [ -z "$python" ]; then
    echo 'Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3-venv).' >&2
    exit 3
fi

version='import sys; print("%d.%d" % sys.version_info[:2])'
chosen=$("$python" -c "$version")
if [ "$(.venv/bin/python -c "$version" 2>/dev/null)" != "$chosen" ]; then
    "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt </dev/null

for packages in .venv/lib/python3.*/site-packages; do # what `make coverage` records every process by
    cp tests/covered/start.pth "$packages/selfhost-coverage.pth"
done

rm -rf .venv/pythons
mkdir .venv/pythons
for minor in "${!pythons[@]}"; do
    ln -s "${pythons[$minor]}" ".venv/pythons/python3.$minor"
done
.venv/bin/python - "$python" <<'EOF'
import importlib.metadata, platform, sys
print(f".venv: Python {platform.python_version()} ({sys.argv[1]}), ansible-core {importlib.metadata.version('ansible-core')}")
EOF
touch .venv/stamp
