#!/usr/bin/env bash
# Many tasks in one process: what a thousand of them take to start, in memory, in goroutines and in files, and to come back.
#
#   bench/tasks.sh [option...]
#
#   --tasks N      partitions of the input, and so tasks with state (1000)
#   --records N    (2000000)
#   --keys N       (100000)
#   --threads N    workers (2)
#   --port N       of the debug server (17460)
#
# Prints a table row for each phase: seconds to it (start: all tasks run; load: everything is processed), resident memory, heap,
# goroutines, open files, size of the state directory. Exit status 1 if a result is wrong. Environment: that of bench/tools.sh.
set -euo pipefail
# shellcheck source=tools.sh
. "$(dirname "$0")/tools.sh"

tasks=1000 records=2000000 keys=100000 threads=2 port=17460
while [ $# -gt 0 ]; do
  case $1 in
    --tasks) tasks=$2;;
    --records) records=$2;;
    --keys) keys=$2;;
    --threads) threads=$2;;
    --port) port=$2;;
    *) echo "unknown option $1" >&2; exit 2;;
  esac
  shift 2
done
id=tasks-$$
dir=$WORK/tasks/$id
mkdir -p "$dir"
build tidemark
broker

app=
cleanup() { end_all $app; }
trap cleanup EXIT

fail() {
  say "FAILED: $1; logs in $dir"
  exit 1
}

# start TIMES: starts the instance and waits until it has been running so often
start() {
  began=$(date +%s%3N)
  "$WORK/bin/streams" --bootstrap "$BOOTSTRAP" --serve true --workload count --in "in-$id" --out "out-$id" --app-id "$id" \
    --state-dir "$dir/state" --mode eos --commit-ms 100 --threads "$threads" --debug-addr "127.0.0.1:$port" \
    >>"$dir/app.out" 2>>"$dir/app.log" &
  app=$!
  local i
  for i in $(seq 3000); do
    [ "$(grep -c 'STATE RUNNING' "$dir/app.out")" -lt "$1" ] || return 0
    kill -0 "$app" 2>/dev/null || { tail -5 "$dir/app.log" >&2; fail "the instance ended by itself"; }
    sleep 0.1
  done
  fail "the instance does not run"
}

# sample PHASE: a row, with the time since began
sample() {
  local now goroutines heap rss
  now=$(date +%s%3N)
  read -r _ goroutines _ heap _ rss <<<"$(curl -sf --max-time 5 "http://127.0.0.1:$port/stats")" || fail "no answer from the instance"
  echo "| $1 | $(awk "BEGIN { print ($now - $began) / 1000 }") | $rss | $heap | $goroutines |" \
    "$(find "/proc/$app/fd" 2>/dev/null | wc -l) | $(du -sm "$dir/state" | cut -f1) |"
}

caught_up() { tool Lag --in "in-$id" --app-id "$id" --wait-seconds 300 >/dev/null || fail "not caught up"; }

tool Load --topic "in-$id" --records 0 --partitions "$tasks" >"$dir/load.log"
echo "| phase of $tasks tasks | s | RSS MB | heap MB | goroutines | files | state MB |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
start 1
sample "first start"
tool Load --topic "in-$id" --records "$records" --keys "$keys" --partitions "$tasks" >>"$dir/load.log"
began=$(date +%s%3N)
caught_up
sample "$records records later"
kill -TERM "$app"
wait "$app" || fail "the instance closed with an error"
start 2
sample "restart"
kill -9 "$app"
wait "$app" 2>/dev/null || true
start 3
sample "start after kill -9"
kill -TERM "$app"
wait "$app" || fail "the instance closed with an error"
app=
tool Verify --workload count --in "in-$id" --out "out-$id" || fail "wrong results"
[ -n "${KEEP:-}" ] || rm -rf "$dir"
