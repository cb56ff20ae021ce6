#!/usr/bin/env bash
# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes sure that a docker client, an engine and `docker compose` v2 are here.
#
#   engine.sh         installs what is missing (root on Debian or a relative of it) and starts an engine if none answers
#   engine.sh stop    stops the engine that this script started, and no other
#
# Exit status: 0 all there, 1 something went wrong, 3 something is missing and may not be installed here.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$checkout/.work/engine
pidfile=$state/dockerd.pid
log=$state/dockerd.log
# The oldest release of Debian whose docker-compose package is version 2, for machines whose own is still version 1.
compose_suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'engine: %s\n' "$*" >&2; }

# missing WHAT REMEDY
missing() {
    say "$1"
    say "$2"
    exit 3
}

# The recorded engine's pid, if that process still is the dockerd that was started with our pidfile.
our_engine() {
    local pid
    pid=$(cat "$pidfile" 2>/dev/null) || return 1
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "--pidfile $pidfile" || return 1
    printf '%s\n' "$pid"
}

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }

may_install() { [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; }

# One at a time, since setup.sh and tools.sh may be at it too.
apt() { DEBIAN_FRONTEND=noninteractive flock /var/lib/apt apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$state/apt.log" 2>&1; }

install() {
    say "installing $*"
    apt update || true # one broken third-party source does not matter if the packages are found
    apt install -y --no-install-recommends "$@" || {
        tail -n 20 "$state/apt.log" >&2
        say "apt-get could not install $*: see $state/apt.log"
        exit 1
    }
}

install_engine() {
    may_install || missing "Docker is not installed." \
        "Install Docker Engine and the compose plugin (on Debian: docker.io and docker-compose), or run this as root on Debian."
    install docker.io
    hash -r
}

# Debian 13 and later have the plugin as docker-compose, Ubuntu as docker-compose-v2; for Debian 12 and older it is fetched from
# $compose_suite through sources of its own, so that nothing else of the system is taken from there.
install_compose() {
    may_install || missing "'docker compose' (version 2) is not installed." \
        "Install the compose plugin for this docker client, or run this as root on Debian."
    apt update || true
    local package
    for package in docker-compose docker-compose-v2; do
        if apt-cache policy "$package" | grep -qE '^ *Candidate: ([0-9]+:)?([2-9]|[1-9][0-9]+)\.'; then
            install "$package"
            return
        fi
    done
    fetch_compose
}

fetch_compose() {
    local root=$state/apt codename
    local -a options
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    rm -rf "$root"
    mkdir -p "$root/lists/partial" "$root/archives/partial" "$root/out"
    # Debian's own sources as apt knows them, with the suite replaced.
    apt-get indextargets --format "deb [signed-by=$keyring] \$(REPO_URI) $compose_suite main" \
        "Created-By: Packages" "Origin: Debian" "Codename: $codename" "Component: main" | sort -u >"$root/sources.list"
    [[ -s $root/sources.list ]] || missing "No package of 'docker compose' (version 2) is to be had from this system's sources." \
        "Install the compose plugin for this docker client by hand."
    options=(-o "Dir::Etc::SourceList=$root/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$root/lists" -o "Dir::Cache=$root" -o APT::Sandbox::User=root)
    say "fetching docker-compose from Debian's $compose_suite"
    if ! { apt "${options[@]}" update && (cd "$root" && apt "${options[@]}" download docker-compose) &&
        dpkg -x "$root"/docker-compose_*.deb "$root/out"; }; then
        tail -n 20 "$state/apt.log" >&2
        say "docker-compose could not be fetched: see $state/apt.log"
        exit 1
    fi
    command install -D -m 0755 "$root/out/usr/libexec/docker/cli-plugins/docker-compose" \
        /usr/libexec/docker/cli-plugins/docker-compose
    rm -rf "$root"
}

# Where systemd runs, the engine is the system's service; elsewhere dockerd runs in the background in a session of its own.
start_engine() {
    [[ $EUID -eq 0 ]] || missing "No Docker Engine answers ($(docker version 2>&1 >/dev/null | head -n 1))" \
        "Start the engine, or give this user access to its socket (group docker), or run this as root."
    command -v dockerd >/dev/null || install_engine
    engine_answers && return # the package may have started it
    if [[ -d /run/systemd/system ]]; then
        say "starting the system's docker service"
        systemctl start docker
    elif ! our_engine >/dev/null; then
        [[ -z ${DOCKER_HOST:-} ]] || missing "No Docker Engine answers at DOCKER_HOST." "Start it, or unset DOCKER_HOST."
        say "starting dockerd (log: $log)"
        mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup || true
        rm -f "$pidfile"
        # Each project has networks of its own, and docker's own pools end at thirty.
        setsid nohup dockerd --default-address-pool base=172.16.0.0/12,size=24 --pidfile "$pidfile" </dev/null >"$log" 2>&1 9>&- &
    fi
    local attempt
    for ((attempt = 0; attempt < 120; attempt++)); do
        engine_answers && return
        sleep 0.5
    done
    tail -n 20 "$log" >&2 || true
    say "the engine does not answer: see $log"
    exit 1
}

ensure() {
    command -v docker >/dev/null || install_engine
    engine_answers || start_engine
    docker compose version >/dev/null 2>&1 || install_compose
    say "engine $(docker version --format '{{.Server.Version}}'), client $(docker version --format '{{.Client.Version}}')," \
        "compose $(docker compose version --short)"
}

stop() {
    local pid attempt
    if ! pid=$(our_engine); then
        say "no engine of ours runs"
        return
    fi
    kill -TERM "$pid"
    for ((attempt = 0; attempt < 120; attempt++)); do
        our_engine >/dev/null || {
            rm -f "$pidfile"
            say "stopped"
            return
        }
        sleep 0.5
    done
    say "dockerd (process $pid) does not stop"
    exit 1
}

case ${1:-ensure} in
ensure | stop)
    if [[ ${1:-} == stop && ! -e $state ]]; then
        say "no engine of ours runs"
        exit 0
    fi
    mkdir -p "$state"
    exec 9>"$state/lock"
    flock 9
    "${1:-ensure}"
    ;;
*)
    say "usage: engine.sh [stop]"
    exit 2
    ;;
esac
