#!/usr/bin/env bash
# Queries while instances come and go: four instances count under load on a real broker, a client puts 10,000 queries a
# second to them, and one kind of disturbance goes round. Every answer must be right, or a clear error that may be retried.
#
#   bench/query.sh restart [option...]   SIGTERM and restart of one instance after the other
#   bench/query.sh kill    [option...]   kill -9 and restart of one instance after the other
#   bench/query.sh stop    [option...]   SIGSTOP of one for longer than the session timeout, SIGCONT: a zombie that is asked
#
#   --seed N          (a new one, which is printed)
#   --rounds N        how often it goes round all instances (restart, kill 2; stop 1)
#   --instances N     (4)
#   --queries N       a second (10000)
#   --rate N          records a second (20000)
#   --keys N          (10000)
#   --standbys N      copies of each task; with some of them queries take stale answers, too (0)
#   --session-ms N    session timeout of the instances (6000)
#   --patience-ms N   how long a query is retried (10000)
#   --profile FILE    a CPU profile of the client
#   --port N          of the first instance, the others have the next ones (17450)
#
# Environment: that of bench/tools.sh, but always with a broker of its own. The logs of a failed run stay in WORK/query.
set -euo pipefail
# shellcheck source=tools.sh
. "$(dirname "$0")/tools.sh"

fault=${1:-}
shift || true
case $fault in
  restart | kill) rounds=2;;
  stop) rounds=1;;
  *) sed -n '/^#   bench/p' "$0" >&2; exit 2;;
esac
seed=$RANDOM instances=4 queries=10000 rate=20000 keys=10000 standbys=0 session_ms=6000 patience_ms=10000 port=17450 profile=()
while [ $# -gt 0 ]; do
  case $1 in
    --seed) seed=$2;;
    --rounds) rounds=$2;;
    --instances) instances=$2;;
    --queries) queries=$2;;
    --rate) rate=$2;;
    --keys) keys=$2;;
    --standbys) standbys=$2;;
    --session-ms) session_ms=$2;;
    --patience-ms) patience_ms=$2;;
    --port) port=$2;;
    --profile) profile=(--profile "$2");;
    *) echo "unknown option $1" >&2; exit 2;;
  esac
  shift 2
done
id=query-$fault-$$
dir=$WORK/query/$id
mkdir -p "$dir"
RANDOM=$seed
last=$((instances - 1))
echo "query.sh $fault: seed $seed, $rounds rounds over $instances instances, $queries queries/s, $rate records/s" >&2

fail() {
  say "FAILED: $1"
  echo "seed $seed; logs in $dir" >&2
  exit 1
}

build tidemark
unset BOOTSTRAP BROKER_PID
broker --set group.min.session.timeout.ms=1000
say "built, and the broker is up"

pids=()
loader=
asker=
cleanup() { end_all "${pids[@]}" $loader $asker; }
trap cleanup EXIT

address() { echo "127.0.0.1:$((port + $1))"; }

# start INSTANCE: each has its own state directory and address, and takes them up again when it is restarted
start() {
  command_of tidemark
  : >"$dir/instance-$1.out"
  "${program[@]}" --state-dir "$dir/state-$1" --serve true --workload count --mode eos --commit-ms 100 \
    --in "in-$id" --out "out-$id" --app-id "$id" --session-ms "$session_ms" --threads 1 --standby-replicas "$standbys" \
    --query-addr "$(address "$1")" >>"$dir/instance-$1.out" 2>>"$dir/instance-$1.log" &
  pids[$1]=$!
}

# await INSTANCE: it processes
await() {
  local i
  for i in $(seq 600); do
    grep -q 'STATE RUNNING' "$dir/instance-$1.out" && return 0
    kill -0 "${pids[$1]}" 2>/dev/null || break
    sleep 0.1
  done
  tail -20 "$dir/instance-$1.log" >&2
  fail "instance $1 does not process"
}

# Nothing may end by itself.
check() {
  local i
  for i in $(seq 0 "$last"); do
    kill -0 "${pids[$i]}" 2>/dev/null || { tail -20 "$dir/instance-$i.log" >&2; fail "instance $i ended by itself"; }
  done
  kill -0 "$loader" 2>/dev/null || { tail -20 "$dir/load.log" >&2; fail "the load ended by itself"; }
  kill -0 "$asker" 2>/dev/null || { tail -20 "$dir/query.log" >&2; fail "the queries ended by themselves"; }
}

disturb() {
  case $fault in
    restart)
      kill -TERM "${pids[$1]}"
      wait "${pids[$1]}" || fail "instance $1 closed with status $?"
      start "$1"
      await "$1"
      say "restarted instance $1"
      ;;
    kill)
      kill -9 "${pids[$1]}"
      wait "${pids[$1]}" 2>/dev/null || true
      random 0 1500
      pause_ms "$n"
      start "$1"
      await "$1"
      say "killed instance $1, restarted after $n ms"
      ;;
    stop)
      kill -STOP "${pids[$1]}"
      random 2000 4000
      pause_ms $((session_ms + n))
      kill -CONT "${pids[$1]}"
      say "stopped instance $1 for $((session_ms + n)) ms"
      ;;
  esac
}

tool Load --topic "in-$id" --records 0 --partitions $((instances * 4)) >>"$dir/load.log"
for i in $(seq 0 "$last"); do start "$i"; done
tool Load --topic "in-$id" --records $((rate * 10)) --rate "$rate" --keys "$keys" --seed "$seed" --stop-file "$dir/stop" >>"$dir/load.log" 2>&1 &
loader=$!
for i in $(seq 0 "$last"); do await "$i"; done
say "processing"
servers=$(for i in $(seq 0 "$last"); do address "$i"; done | paste -sd,)
"$WORK/bin/query" --bootstrap "$BOOTSTRAP" --in "in-$id" --servers "$servers" --stop-file "$dir/stop-queries" --rate "$queries" \
  --keys "$keys" --clients "$instances" "${profile[@]}" --patience-ms "$patience_ms" --seed "$seed" \
  --standby "$([ "$standbys" = 0 ] && echo false || echo true)" >"$dir/query.out" 2>"$dir/query.log" &
asker=$!
pause_ms 5000
for round in $(seq "$rounds"); do
  for i in $(seq 0 "$last"); do
    disturb "$i"
    random 2000 4000
    pause_ms "$n"
    check
  done
  say "round $round is over"
done
touch "$dir/stop"
wait "$loader" || { tail -20 "$dir/load.log" >&2; fail "the load failed"; }
loader=
touch "$dir/stop-queries"
say "waiting for the last answers"
wait "$asker" || { cat "$dir/query.out" "$dir/query.log" >&2; fail "the queries failed"; }
asker=
for i in $(seq 0 "$last"); do kill -TERM "${pids[$i]}"; done
for i in $(seq 0 "$last"); do
  wait "${pids[$i]}" || { tail -20 "$dir/instance-$i.log" >&2; fail "instance $i closed with an error"; }
done
pids=()
echo "{\"fault\":\"$fault\",\"seed\":$seed,\"rounds\":$rounds,\"instances\":$instances,\"session_ms\":$session_ms,\"queries\":$(cat "$dir/query.out")}"
rm -rf "$dir"
