#!/usr/bin/env bash
# A real schema registry on 127.0.0.1: Apicurio from Maven, in memory. Needs java 17+, mvn and flock.
#
#   apicurio.sh fetch                                  downloads it and nothing else
#   apicurio.sh start --dir D [--owner PID]            prints the URL of its Confluent-compatible interface
#   apicurio.sh stop --dir D                           kill -9, and removes D
#
# start writes D/pid, D/url and D/registry.log. --owner ends the registry and removes D soon after process PID has ended,
# however it ended.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cmd=${1:-}
shift || true
dir=
owner=
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=$2; shift 2;;
    --owner) owner=$2; shift 2;;
    *) echo "apicurio.sh: unknown option $1" >&2; exit 2;;
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

# Several test binaries may want it at once.
fetch() {
  [ ! -f "$here/target/complete" ] || return 0
  mkdir -p "$here/target"
  (
    flock 9
    [ -f "$here/target/complete" ] || { mvn -q -B -Dstyle.color=never -f "$here/pom.xml" generate-resources >&2 && touch "$here/target/complete"; }
  ) 9>"$here/target/lock"
}

# Ends the registry when its owner is gone. It sleeps without holding any of our file descriptors.
watch() {
  [ -n "$owner" ] || return 0
  # shellcheck disable=SC2016
  nohup setsid bash -c '
    while [ -d "$1" ] && kill -0 "$2" 2>/dev/null; do sleep 1; done
    [ ! -f "$1/pid" ] || kill -9 "$(cat "$1/pid")" 2>/dev/null
    rm -rf "$1"' watch "$dir" "$owner" >/dev/null 2>&1 </dev/null &
}

start() {
  fetch
  mkdir -p "$dir"
  local port
  port=$(free_port)
  nohup setsid java -Xmx256m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
    -jar "$here"/target/apicurio/apicurio-registry-app-*-runner.jar >"$dir/registry.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  watch
  for _ in $(seq 600); do
    alive || { tail -30 "$dir/registry.log" >&2; echo "apicurio.sh: the registry died" >&2; exit 1; }
    if grep -q 'Listening on' "$dir/registry.log" && listening "$port"; then
      echo "http://127.0.0.1:$port/apis/ccompat/v7" | tee "$dir/url"
      return
    fi
    sleep 0.1
  done
  echo "apicurio.sh: not ready after 60 s, see $dir/registry.log" >&2
  exit 1
}

stop() {
  if alive; then
    kill -9 "$(cat "$dir/pid")"
  fi
  rm -rf "$dir"
}

[ "$cmd" = fetch ] || [ -n "$dir" ] || cmd=
case $cmd in
  fetch) fetch;;
  start) start;;
  stop) stop;;
  *) sed -n '2,/^set/p' "$0" | sed '$d' >&2; exit 2;;
esac
