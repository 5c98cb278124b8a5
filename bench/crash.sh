#!/usr/bin/env bash
# Exactly once, whatever is killed: two instances count under load on a real broker while one kind of fault strikes at
# random moments. At the end every input record must have exactly one committed output, and each total must be right.
#
#   bench/crash.sh kill   [option...]   kill -9 of one or both instances, restarts
#   bench/crash.sh stop   [option...]   SIGSTOP for longer than the session timeout, takeover by the other, SIGCONT
#   bench/crash.sh broker [option...]   kill -9 of the broker, restart
#
#   --seed N        repeats the random moments of a run (default: a new one, which is printed)
#   --rounds N      faults (default: kill 20, stop 3, broker 3)
#   --records N     at least so many records, more if the faults take longer (1000000)
#   --rate N        records a second (20000)
#   --keys N        (10000)
#   --session-ms N  session timeout of the instances (6000)
#   --patience S    seconds to catch up at the end (180)
#
# Environment: PEER (tidemark, or kafka-streams) and that of bench/tools.sh, but always with a broker of its own. The logs of
# a failed run stay in WORK/crash.
set -euo pipefail
# shellcheck source=tools.sh
. "$(dirname "$0")/tools.sh"

fault=${1:-}
shift || true
case $fault in
  kill) rounds=20;;
  stop | broker) rounds=3;;
  *) sed -n '/^#   bench/p' "$0" >&2; exit 2;;
esac
seed=$RANDOM records=1000000 rate=20000 keys=10000 session_ms=6000 patience=180
while [ $# -gt 0 ]; do
  case $1 in
    --seed) seed=$2;;
    --rounds) rounds=$2;;
    --records) records=$2;;
    --rate) rate=$2;;
    --keys) keys=$2;;
    --session-ms) session_ms=$2;;
    --patience) patience=$2;;
    *) echo "unknown option $1" >&2; exit 2;;
  esac
  shift 2
done
peer=${PEER:-tidemark}
id=crash-$fault-$$
dir=$WORK/crash/$id
mkdir -p "$dir"
RANDOM=$seed
echo "crash.sh $fault: $peer, seed $seed, $rounds rounds, at least $records records" >&2

fail() {
  say "FAILED: $1"
  echo "seed $seed; logs in $dir" >&2
  exit 1
}

build "$peer"
unset BOOTSTRAP BROKER_PID
broker_options=(--set broker.session.timeout.ms=3000 --set broker.heartbeat.interval.ms=500 --set group.min.session.timeout.ms=1000)
broker "${broker_options[@]}"
say "built, and the broker is up"

pids=()
loader=
cleanup() { end_all "${pids[@]}" $loader; }
trap cleanup EXIT

# start INSTANCE: each has its own state directory, and takes it up again when it is restarted
start() {
  command_of "$peer"
  "${program[@]}" --state-dir "$dir/state-$1" --serve true --workload count --cache off --mode eos --commit-ms 100 \
    --in "in-$id" --out "out-$id" --app-id "$id" --session-ms "$session_ms" --threads 1 \
    $([ "$peer" = tidemark ] || echo "--instance-id i$1") >>"$dir/instance-$1.out" 2>>"$dir/instance-$1.log" &
  pids[$1]=$!
}

alive() { kill -0 "${pids[$1]}" 2>/dev/null; }

# No instance may end by itself.
check() {
  local i
  for i in 0 1; do
    alive "$i" || { tail -20 "$dir/instance-$i.log" >&2; fail "instance $i ended by itself"; }
  done
  [ -z "$loader" ] || kill -0 "$loader" 2>/dev/null || { tail -20 "$dir/load.log" >&2; fail "the load ended by itself"; }
}

# moved SECONDS WHY: every partition's committed offset must move
moved() {
  tool Lag --in "in-$id" --app-id "$id" --moved true --wait-seconds "$1" >>"$dir/lag.log" || fail "$2"
}

strike_kill() {
  random 500 3000
  pause_ms "$n"
  check
  random 0 4
  local victims
  case $n in
    0) victims="0 1";;
    1 | 2) victims=0;;
    *) victims=1;;
  esac
  local v
  for v in $victims; do kill -9 "${pids[$v]}"; done
  for v in $victims; do wait "${pids[$v]}" 2>/dev/null || true; done
  random 0 1500
  say "round $1: killed instance $victims, restart after $n ms"
  pause_ms "$n"
  for v in $victims; do start "$v"; done
}

strike_stop() {
  random 1000 3000
  pause_ms "$n"
  check
  local v=$(($1 % 2))
  kill -STOP "${pids[$v]}"
  say "round $1: stopped instance $v"
  random 3000 6000
  pause_ms $((session_ms + n))
  moved 60 "nobody took over the partitions of stopped instance $v"
  say "round $1: the other took over; instance $v goes on as a zombie"
  kill -CONT "${pids[$v]}"
  random 4000 8000
  pause_ms "$n"
  check
  moved 60 "after the return of instance $v not every partition has an owner"
}

strike_broker() {
  random 2000 6000
  pause_ms "$n"
  check
  "$bench/kafka/kafka.sh" kill --dir "$own_broker"
  random 0 3000
  say "round $1: killed the broker, restart after $n ms"
  pause_ms "$n"
  "$bench/kafka/kafka.sh" start --dir "$own_broker" --heap "${HEAP:-1g}" >/dev/null
  say "round $1: the broker is back"
  moved 90 "processing did not go on after the broker's restart"
  check
}

tool Load --topic "in-$id" --records 0 >>"$dir/load.log"
start 0
start 1
tool Load --topic "in-$id" --records "$records" --rate "$rate" --keys "$keys" --seed "$seed" --stop-file "$dir/stop" >>"$dir/load.log" 2>&1 &
loader=$!
moved 60 "processing did not start"
say "processing"
for round in $(seq "$rounds"); do "strike_$fault" "$round"; done
check
touch "$dir/stop"
say "faults are over, loading the rest"
wait "$loader" || { tail -20 "$dir/load.log" >&2; fail "the load failed"; }
loader=
tool Lag --in "in-$id" --app-id "$id" --wait-seconds "$patience" >>"$dir/lag.log" || fail "not caught up"
check
say "caught up"
for i in 0 1; do kill -TERM "${pids[$i]}"; done
for i in 0 1; do
  status=0
  wait "${pids[$i]}" || status=$?
  # A JVM that ends by a signal reports 143 however clean it closed.
  [ "$status" = 0 ] || [ "$peer" != tidemark ] || { tail -20 "$dir/instance-$i.log" >&2; fail "instance $i closed with status $status"; }
done
pids=()
verify=$(tool Verify --workload count --every true --in "in-$id" --out "out-$id") || fail "wrong results: ${verify:-none}"
echo "{\"crash\":\"$fault\",\"peer\":\"$peer\",\"seed\":$seed,\"rounds\":$rounds,\"seconds\":$SECONDS,\"verify\":$verify}"
rm -rf "$dir"
