#!/usr/bin/env bash
# Hot keys overwritten fast, then a light load: the state directory, memory and goroutines must stay bounded.
#
#   bench/soak.sh [option...]
#
#   --busy S        seconds of it (600)
#   --rate N        records a second in them, 0 for as fast as Load can (100000: about 10 GB of input in ten minutes)
#   --light S       seconds of light load after it (600)
#   --keys N        (20000, zipf)
#   --light-rate N  records a second (200)
#   --every S       seconds between samples (15)
#
# Prints one line for each sample as a Markdown table, then checks: state directory at the end <= 3 x live data (and at most 64 MB
# more), resident memory and goroutines in the last quarter of the busy phase <= 1.25 x those of its second quarter. Exit
# status 1 if a limit is passed or the results are wrong. Environment: that of bench/tools.sh.
set -euo pipefail
# shellcheck source=tools.sh
. "$(dirname "$0")/tools.sh"

busy=600 rate=100000 light=600 keys=20000 light_rate=200 every=15
while [ $# -gt 0 ]; do
  case $1 in
    --busy) busy=$2;;
    --rate) rate=$2;;
    --light) light=$2;;
    --keys) keys=$2;;
    --light-rate) light_rate=$2;;
    --every) every=$2;;
    *) echo "unknown option $1" >&2; exit 2;;
  esac
  shift 2
done
id=soak-$$
dir=$WORK/soak/$id
mkdir -p "$dir"
build tidemark
broker
port=$((20000 + RANDOM % 12000))

app=
loader=
cleanup() { end_all $app $loader; }
trap cleanup EXIT

start_load() { # PHASE RECORDS RATE FROM
  tool Load --topic "in-$id" --records "$2" --rate "$3" --from "$4" --keys "$keys" --dist zipf --stop-file "$dir/stop-$1" >"$dir/load-$1.log" 2>&1 &
  loader=$!
}

end_load() { # PHASE: sets loaded
  touch "$dir/stop-$1"
  wait "$loader" || { cat "$dir/load-$1.log" >&2; exit 1; }
  loader=
  loaded=$(sed -n 's/.*"records":\([0-9]*\).*/\1/p' "$dir/load-$1.log")
}

# sample PHASE: one row of the table and of the file
sample() {
  local stats goroutines heap rss state lag
  kill -0 "$app" 2>/dev/null || { tail -20 "$dir/app.log" >&2; echo "the application ended by itself" >&2; exit 1; }
  stats=$(curl -sf --max-time 5 "http://127.0.0.1:$port/stats") || { echo "no answer from the application" >&2; exit 1; }
  read -r _ goroutines _ heap _ rss <<<"$stats"
  state=$({ du -sk "$dir/state" 2>/dev/null || true; } | awk '{ printf "%.1f", $1 / 1024 }')
  lag=$(tool Lag --in "in-$id" --app-id "$id")
  echo "$1 $((SECONDS - began)) $goroutines $heap $rss $state $lag" >>"$dir/samples"
  echo "| $1 | $((SECONDS - began)) | $goroutines | $heap | $rss | $state | $lag |"
}

run_phase() { # PHASE SECONDS
  local until=$((SECONDS + $2))
  while [ "$SECONDS" -lt "$until" ]; do
    sleep "$every"
    sample "$1"
  done
}

tool Load --topic "in-$id" --records 0 >/dev/null
"$WORK/bin/streams" --bootstrap "$BOOTSTRAP" --serve true --workload restore --in "in-$id" --out "out-$id" --app-id "$id" \
  --state-dir "$dir/state" --mode eos --commit-ms 100 --threads 1 --debug-addr "127.0.0.1:$port" >"$dir/app.out" 2>"$dir/app.log" &
app=$!
for _ in $(seq 150); do
  ! grep -q 'STATE RUNNING' "$dir/app.out" || break
  sleep 0.2
done
began=$SECONDS
echo "| phase | s | goroutines | heap MB | RSS MB | state MB | lag |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
start_load busy 1 "$rate" 0
run_phase busy "$busy"
end_load busy
tool Lag --in "in-$id" --app-id "$id" --wait-seconds 300 >/dev/null
start_load light 1 "$light_rate" "$loaded"
run_phase light "$light"
end_load light
tool Lag --in "in-$id" --app-id "$id" --wait-seconds 60 >/dev/null
sample end
kill -TERM "$app"
wait "$app" || { tail -20 "$dir/app.log" >&2; echo "the application did not close cleanly" >&2; exit 1; }
app=
closed=$(du -sk "$dir/state" | awk '{ printf "%.1f", $1 / 1024 }')
verify=$(tool Verify --workload restore --in "in-$id" --out "out-$id") || { echo "wrong results: ${verify:-none}" >&2; exit 1; }
echo
echo "$verify"
# Live data: a key is 9 bytes and its state 100.
awk -v keys="$keys" -v closed="$closed" '
  $1 == "busy" { n++; goroutines[n] = $3; rss[n] = $5 }
  { state = $6 }
  function mean(a, from, to,   i, sum) { for (i = from; i <= to; i++) sum += a[i]; return sum / (to - from + 1) }
  function limit(what, value, max) {
    printf "%s: %.1f, limit %.1f: %s\n", what, value, max, value <= max ? "ok" : "PASSED OVER"
    if (value > max) bad = 1
  }
  END {
    live = keys * 109 / 1048576
    limit("state directory at the end, MB (live data " sprintf("%.1f", live) ")", state, 3 * live + 64)
    printf "state directory after close: %.1f MB\n", closed
    q = int(n / 4)
    if (q > 0) {
      limit("RSS of the last quarter of the busy phase, MB", mean(rss, n - q + 1, n), 1.25 * mean(rss, q + 1, 2 * q))
      limit("goroutines of the last quarter of the busy phase", mean(goroutines, n - q + 1, n), 1.25 * mean(goroutines, q + 1, 2 * q) + 2)
    }
    exit bad
  }' "$dir/samples"
rm -rf "$dir"
