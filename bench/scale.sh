#!/usr/bin/env bash
# What users of the outputs feel while instances come and go: separate processes on a real broker under a steady load.
#
#   bench/scale.sh scale   [option...]   1 -> 2 -> 4 -> 2 -> 1 instances
#   bench/scale.sh rolling [option...]   4 instances, each restarted in turn
#   bench/scale.sh crash   [option...]   3 instances and 1 standby: kill -9 of one that does not come back, then of one that does
#
#   --peer P        tidemark, or kafka-streams (tidemark)
#   --keys N        of state, 100 bytes each, made before the load (1000000)
#   --rate N        records a second (4000)
#   --partitions N  (16)
#   --step S        seconds between two changes (25; Kafka Streams looks once a minute whether a warm-up is done: give it 90)
#   --session-ms N  session timeout (6000)
#
# Prints one JSON line for each phase (bench/peer, ScaleProbe has the fields), the result of Verify, and writes the time series
# to RESULTS (bench/results)/scale-SCENARIO-PEER.csv. Exit status 1 if a result is wrong. Environment: that of bench/tools.sh.
set -euo pipefail
# shellcheck source=tools.sh
. "$(dirname "$0")/tools.sh"

scenario=${1:-}
shift || true
case $scenario in
  scale | rolling | crash) ;;
  *) sed -n '/^#   bench/p' "$0" >&2; exit 2;;
esac
peer=tidemark keys=1000000 rate=4000 partitions=16 step=25 session_ms=6000
while [ $# -gt 0 ]; do
  case $1 in
    --peer) peer=$2;;
    --keys) keys=$2;;
    --rate) rate=$2;;
    --partitions) partitions=$2;;
    --step) step=$2;;
    --session-ms) session_ms=$2;;
    *) echo "unknown option $1" >&2; exit 2;;
  esac
  shift 2
done
results=${RESULTS:-$bench/results}
mkdir -p "$results"
id=scale-$scenario-$$
dir=$WORK/scale/$id
mkdir -p "$dir"
build "$peer"
broker --set broker.session.timeout.ms=3000 --set group.min.session.timeout.ms=1000 --set group.initial.rebalance.delay.ms=0

pids=()
probe=
cleanup() { end_all "${pids[@]}" $probe; }
trap cleanup EXIT

fail() {
  say "FAILED: $1; logs in $dir"
  exit 1
}

standbys=0
[ "$scenario" != crash ] || standbys=1

# start INSTANCE: scale-in has to leave the group; restarts and crashes come back as the same static member.
start() {
  local options=(--standby-replicas "$standbys")
  [ "$scenario" != scale ] || options+=(--leave-group true)
  if [ "$peer" = kafka-streams ]; then
    options+=(--instance-id "i$1") # dynamic members do not leave when they close
    program=("${jvm[@]}" -Xmx768m bench.KStreamsBench --bootstrap "$BOOTSTRAP")
  else
    program=("$WORK/bin/streams" --bootstrap "$BOOTSTRAP" --log info)
  fi
  "${program[@]}" --state-dir "$dir/state-$1" --serve true --workload restore --cache off --mode eos --commit-ms 100 \
    --in "in-$id" --out "out-$id" --app-id "$id" --session-ms "$session_ms" --threads 1 "${options[@]}" \
    >>"$dir/instance-$1.out" 2>>"$dir/instance-$1.log" &
  pids[$1]=$!
}

# stop INSTANCE [SIGNAL]
stop() {
  kill "-${2:-TERM}" "${pids[$1]}" 2>/dev/null || true
  wait "${pids[$1]}" 2>/dev/null || true
  unset "pids[$1]"
}

running() { # INSTANCE TIMES: waits until it has said so that often
  local i
  for i in $(seq 1200); do
    [ "$(grep -c 'STATE RUNNING' "$dir/instance-$1.out")" -lt "$2" ] || return 0
    kill -0 "${pids[$1]}" 2>/dev/null || { tail -5 "$dir/instance-$1.log" >&2; fail "instance $1 ended by itself"; }
    sleep 0.1
  done
  fail "instance $1 does not run"
}

mark() {
  echo "$(date +%s%3N) $1" >>"$dir/marks"
  say "$1"
}

tool Load --topic "in-$id" --partitions "$partitions" --records "$keys" --keys "$keys" --dist seq >"$dir/load.log"
case $scenario in
  scale) instances=1;;
  rolling) instances=4;;
  crash) instances=3;;
esac
for i in $(seq 0 $((instances - 1))); do start "$i"; done
running 0 1
tool Lag --in "in-$id" --app-id "$id" --wait-seconds 300 >/dev/null || fail "state not made"
sleep 10 # standbys, and the balance of instances that came one after the other
say "state of $keys keys is there"
: >"$dir/marks"
tool ScaleProbe --peer "$peer" --in "in-$id" --out "out-$id" --app-id "$id" --rate "$rate" --keys "$keys" --from "$keys" \
  --stop-file "$dir/stop" --marks "$dir/marks" --csv "$results/scale-$scenario-$peer.csv" >"$dir/probe.out" 2>"$dir/probe.log" &
probe=$!
sleep 30 # the broker's virtual machine compiles what this load uses
mark "steady"
sleep 15
case $scenario in
  scale)
    mark "1 to 2"; start 1; sleep "$step"
    mark "2 to 4"; start 2; start 3; sleep "$step"
    mark "4 to 2"; kill -TERM "${pids[3]}"; stop 2; stop 3; sleep "$step"
    mark "2 to 1"; stop 1; sleep "$step";;
  rolling)
    for i in 0 1 2 3; do
      mark "restart $i"
      stop "$i"; start "$i"; running "$i" 2
      say "restarted"
      sleep "$step"
    done;;
  crash)
    mark "kill 0"; stop 0 KILL; sleep "$step"
    mark "kill 1, restart"; stop 1 KILL; start 1; sleep "$step";;
esac
touch "$dir/stop"
wait "$probe" || { tail -20 "$dir/probe.log" >&2; fail "the probe failed"; }
probe=
cat "$dir/probe.out"
tool Lag --in "in-$id" --app-id "$id" --wait-seconds 120 >/dev/null || fail "not caught up"
for i in "${!pids[@]}"; do stop "$i"; done
tool Verify --workload restore --every true --in "in-$id" --out "out-$id" || fail "wrong results"
[ -n "${KEEP:-}" ] || rm -rf "$dir"
