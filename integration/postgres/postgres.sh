#!/usr/bin/env bash
# A real PostgreSQL on 127.0.0.1, with prepared transactions. Takes the machine's programs (initdb and postgres in PATH,
# in POSTGRES_BIN, or where Debian has them), else those of a Maven artifact, which needs mvn, flock, tar and xz.
# POSTGRES_BIN=maven takes those of the artifact in any case.
#
#   postgres.sh fetch                                  downloads it, if the machine has none, and nothing else
#   postgres.sh have                                   tells whether start works without a download
#   postgres.sh start --dir D [--owner PID] [--prepared N]
#                                                      prints the URL of its database "postgres", user "postgres"
#   postgres.sh stop --dir D                           kill -9, and removes D
#
# start writes D/pid, D/url and D/postgres.log. --owner ends the server and removes D soon after process PID has ended,
# however it ended. PostgreSQL refuses to run as root: it then runs as the user "postgres", or as "nobody".
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cmd=${1:-}
shift || true
dir=
owner=
prepared=64
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=$2; shift 2;;
    --owner) owner=$2; shift 2;;
    --prepared) prepared=$2; shift 2;; # max_prepared_transactions
    *) echo "postgres.sh: unknown option $1" >&2; exit 2;;
  esac
done

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

alive() { [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

# A port below the ephemeral range, so that no outgoing connection takes it meanwhile.
free_port() {
  local p
  while :; do
    p=$((20000 + RANDOM % 12000))
    listening "$p" || { echo "$p"; return; }
  done
}

# The directory of the machine's own programs, the newest first; nothing if it has none.
installed() {
  local bin
  [ "${POSTGRES_BIN:-}" != maven ] || return 0
  for bin in "${POSTGRES_BIN:-}" "$(dirname "$(readlink -f "$(command -v initdb || echo /none)")")" \
    $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV); do
    [ -n "$bin" ] && [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && { echo "$bin"; return; }
  done
}

# Several test binaries may want it at once.
fetch() {
  [ -z "$(installed)" ] && [ ! -f "$here/target/complete" ] || return 0
  mkdir -p "$here/target"
  (
    flock 9
    [ -f "$here/target/complete" ] || { mvn -q -B -Dstyle.color=never -f "$here/pom.xml" generate-resources >&2 && touch "$here/target/complete"; }
  ) 9>"$here/target/lock"
}

# Ends the server when its owner is gone. It sleeps without holding any of our file descriptors.
watch() {
  [ -n "$owner" ] || return 0
  # shellcheck disable=SC2016
  nohup setsid bash -c '
    while [ -d "$1" ] && kill -0 "$2" 2>/dev/null; do sleep 1; done
    [ ! -f "$1/pid" ] || kill -9 "$(cat "$1/pid")" 2>/dev/null
    sleep 1 # its children end when they notice
    rm -rf "$1"' watch "$dir" "$owner" >/dev/null 2>&1 </dev/null &
}

# as_server runs a program as somebody who is not root.
as_server() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
    return
  fi
  local user=nobody
  ! id -u postgres >/dev/null 2>&1 || user=postgres
  setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"
}

start() {
  fetch
  mkdir -p "$dir/data"
  local bin port
  bin=$(installed)
  if [ -z "$bin" ]; then
    # Unpacked where the server's user can read it, whatever the rights of this folder are.
    mkdir -p "$dir/pgsql"
    tar -xJf "$here"/target/postgres/*.txz -C "$dir/pgsql"
    bin=$dir/pgsql/bin
  fi
  if [ "$(id -u)" = 0 ]; then
    chmod 755 "$dir"
    local user=nobody
    ! id -u postgres >/dev/null 2>&1 || user=postgres
    chown -R "$user" "$dir/data"
  fi
  (cd / && as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync) >"$dir/postgres.log" 2>&1 || {
    cat "$dir/postgres.log" >&2
    exit 1
  }
  port=$(free_port)
  (
    cd /
    exec 9>&-
    as_server nohup setsid "$bin/postgres" -D "$dir/data" -h 127.0.0.1 -p "$port" -k "$dir/data" \
      -c max_prepared_transactions="$prepared" -c max_connections=200 -c shared_buffers=32MB >>"$dir/postgres.log" 2>&1 </dev/null &
  )
  for _ in $(seq 600); do
    if [ ! -f "$dir/pid" ] && [ -s "$dir/data/postmaster.pid" ]; then
      head -1 "$dir/data/postmaster.pid" >"$dir/pid"
      watch
    fi
    if grep -q 'ready to accept connections' "$dir/postgres.log" && listening "$port"; then
      echo "postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable" | tee "$dir/url"
      return
    fi
    ! grep -q 'FATAL' "$dir/postgres.log" || { tail -30 "$dir/postgres.log" >&2; echo "postgres.sh: the server does not start" >&2; exit 1; }
    sleep 0.1
  done
  echo "postgres.sh: not ready after 60 s, see $dir/postgres.log" >&2
  exit 1
}

stop() {
  if alive; then
    kill -9 "$(cat "$dir/pid")"
    sleep 1 # its children end when they notice
  fi
  rm -rf "$dir"
}

[ "$cmd" = fetch ] || [ "$cmd" = have ] || [ -n "$dir" ] || cmd=
case $cmd in
  fetch) fetch;;
  have) [ -n "$(installed)" ] || [ -f "$here/target/complete" ];;
  start) start;;
  stop) stop;;
  *) sed -n '2,/^set/p' "$0" | sed '$d' >&2; exit 2;;
esac
