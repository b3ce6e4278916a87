#!/usr/bin/env bash
# Run a command with a container engine:  docker/with_engine.sh COMMAND...
#
# Where an engine answers already (`docker info`), it is used as it is. Elsewhere root on Debian gets
# a private one: installed if it is missing (apt-get), with everything it writes in a temporary
# folder, without network of its own, and ended with the command, by its own process number. It
# reaches no registry, so the base image of docker/Dockerfile is made here from Debian's packages
# and kept for a week in ~/.cache/regraft.
set -euo pipefail

BASE=python:3.11-slim-bookworm
NEEDED_GB=25
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/regraft
BUNDLE=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
FOLDER=
ENGINE=

say() { echo "[engine] $*" >&2; }

fail() {
  echo "error: $1" >&2
  shift
  printf '  %s\n' "$@" >&2
  exit 2
}

install_engine() {
  command -v dockerd >/dev/null && command -v mmdebstrap >/dev/null && [ -x /usr/bin/docker ] && return
  say "installing docker.io and mmdebstrap (Debian)"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    docker.io containerd runc mmdebstrap iptables; } >"$FOLDER/apt.log" 2>&1 \
    || { tail -5 "$FOLDER/apt.log" >&2; fail "the engine could not be installed" "see above"; }
}

# A stand-in with what the official image promises: Python 3.11 and pip at /usr/local/bin.
make_base() {
  mkdir -p "$CACHE"
  find "$CACHE" -name base.tar -mtime +6 -delete
  [ -f "$CACHE/base.tar" ] && return
  say "making the base image from Debian's packages (about a minute)"
  mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,ca-certificates \
    --dpkgopt=force-unsafe-io \
    --customize-hook='for n in python python3 python3.11; do
        ln -s /usr/bin/python3.11 "$1/usr/local/bin/$n"; done
      rm -f "$1"/usr/lib/python3.11/EXTERNALLY-MANAGED' \
    --customize-hook="upload $BUNDLE /etc/ssl/certs/ca-certificates.crt" \
    bookworm "$FOLDER/base.tar"
  mv "$FOLDER/base.tar" "$CACHE/base.tar"
}

# In a session of its own, so that Ctrl-C does not end it before the command has tidied up; ended
# with this script even by kill -9 (pdeathsig).
start_engine() {
  export DOCKER_HOST=unix://$FOLDER/docker.sock
  mkdir "$FOLDER/bin" && ln -s /usr/bin/docker "$FOLDER/bin/docker"
  export PATH=$FOLDER/bin:$PATH DOCKER_CONFIG=$FOLDER/config DOCKER_BUILDKIT=1
  setsid setpriv --pdeathsig TERM dockerd --host "$DOCKER_HOST" --data-root "$FOLDER/data" \
    --exec-root "$FOLDER/exec" --pidfile "$FOLDER/pid" --storage-driver overlay2 \
    --bridge=none --iptables=false --ip-masq=false >"$FOLDER/engine.log" 2>&1 &
  ENGINE=$!
  for _ in $(seq 120); do
    docker info >/dev/null 2>&1 && return
    kill -0 "$ENGINE" 2>/dev/null || break
    sleep 0.5
  done
  tail -5 "$FOLDER/engine.log" >&2
  fail "the container engine does not start" "its last words are above"
}

# What fails here is ended already, and must not hide how the command ended.
stop_engine() {
  trap '' INT TERM
  if [ -n "$ENGINE" ]; then
    docker ps --quiet 2>/dev/null | xargs --no-run-if-empty docker kill >/dev/null 2>&1 || true
    kill "$ENGINE" 2>/dev/null || true
    wait "$ENGINE" 2>/dev/null || true
  fi
  awk -v folder="$FOLDER/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r \
    | xargs --no-run-if-empty umount --lazy
  rm -rf "$FOLDER"
}

[ $# -gt 0 ] || fail "no command" "docker/with_engine.sh COMMAND..."
if docker info >/dev/null 2>&1; then
  say "using the engine that is there: ${DOCKER_HOST:-the default one}"
  exec "$@"
fi
[ "$(id -u)" = 0 ] || fail "no container engine answers, and only root can start one" \
  "start Docker or name it in DOCKER_HOST, then check with: docker info"
command -v apt-get >/dev/null || fail "no container engine answers, and this is no Debian" \
  "install and start Docker, then check with: docker info"
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/regraft-engine.XXXXXX")
trap stop_engine EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
free_gb=$(($(df --output=avail -k "$FOLDER" | tail -1) / 1024 / 1024))
[ "$free_gb" -ge "$NEEDED_GB" ] || fail "too little disk for images" \
  "where: $FOLDER" "got: $free_gb GB free" "expected: $NEEDED_GB GB" "fix: TMPDIR=FOLDER_ON_A_LARGER_DISK"
install_engine
make_base
start_engine
docker import --change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
  --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
  "$CACHE/base.tar" "$BASE" >/dev/null
say "started; it ends with: $1"
"$@"
