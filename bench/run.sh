#!/usr/bin/env bash
# Tidemark, Kafka Streams and the floor side by side on one real broker. Repetitions are interleaved, so that a slow
# minute of the machine hits all of them. Every run is verified. Lines go to RESULTS, tables to standard output.
#
#   bench/run.sh [count zipf commit latency restore windowed join repartition]     default: all of these
#   bench/run.sh checkpoint snapshot     what checkpoints cost, and what they save in a restore with many updates of each key
#
# Environment: RECORDS (2000000), KEYS (100000), REPS (5), WARMUP (2), RESTORE_KEYS (2000000), RESULTS (a new file in bench/results),
# PEERS ("floor tidemark kafka-streams"), and that of bench/tools.sh.
set -euo pipefail
# shellcheck source=tools.sh
. "$(dirname "$0")/tools.sh"

RECORDS=${RECORDS:-2000000} KEYS=${KEYS:-100000} REPS=${REPS:-5} RESTORE_KEYS=${RESTORE_KEYS:-2000000} WARMUP=${WARMUP:-2}
RESULTS=${RESULTS:-$bench/results/$(date +%Y%m%d-%H%M%S).jsonl}
read -ra peers <<<"${PEERS:-floor tidemark kafka-streams}"
mkdir -p "$(dirname "$RESULTS")"

build "${peers[@]}"
broker
trap stop_broker EXIT

emit() { echo "$1" | tee -a "$RESULTS" >&2; }

wanted() { [[ " ${peers[*]} " == *" $1 "* ]]; }

load_table() {
  tool Load --once true --topic table --compact true --records "$KEYS" --keys "$KEYS" --dist seq --seed 1 \
    --epoch $((1700000000000 - KEYS - 1)) >&2
}

load() { tool Load --once true --topic "in-$1" --records "$RECORDS" --keys "$KEYS" --dist "$1" >&2; }

# batch PEER WORKLOAD DIST REP [option...]: run, verify, one line, clean up
batch() {
  local peer=$1 workload=$2 dist=$3 rep=$4 id line verify extra=()
  shift 4
  [ "$workload" != join ] || extra=(--table table)
  wanted "$peer" || return 0
  id=$peer-$workload-$rep-$RANDOM
  command_of "$peer"
  line=$(timeout 300 "${program[@]}" --state-dir "$WORK/state" --workload "$workload" --in "in-$dist" --out "out-$id" --app-id "$id" --dist "$dist" --keys "$KEYS" "${extra[@]}" "$@") || true
  verify=$(tool Verify --workload "$workload" --in "in-$dist" --out "out-$id" --drop "$id-" "${extra[@]}") || true
  if [ -n "$line" ]; then
    emit "${line%\}},\"rep\":$rep,\"verify\":${verify:-null}}"
  else
    echo "$id FAILED, see above" >&2
  fi
  rm -rf "${WORK:?}/state/$id"
}

# latency PEER REP [option...]
latency() {
  local peer=$1 rep=$2 id line verify pid
  shift 2
  wanted "$peer" || return 0
  id=$peer-latency-$rep-$RANDOM
  command_of "$peer"
  tool Load --topic "in-$id" --records 0 >&2
  : >"$WORK/$id.out"
  "${program[@]}" --state-dir "$WORK/state" --serve true --workload count --in "in-$id" --out "out-$id" --app-id "$id" "$@" >"$WORK/$id.out" &
  pid=$!
  for _ in $(seq 150); do
    ! grep -q 'STATE RUNNING' "$WORK/$id.out" || break
    sleep 0.2
  done
  line=$(tool LatencyProbe --in "in-$id" --out "out-$id" --peer "$peer" --app-pid "$pid" --broker-pid "${BROKER_PID:-0}" "$@") || true
  kill "$pid" 2>/dev/null || true
  wait "$pid" || true
  verify=$(tool Verify --in "in-$id" --out "out-$id" --drop "$id-,in-$id") || true
  [ -z "$line" ] || emit "${line%\}},\"rep\":$rep,\"verify\":${verify:-null}}"
  rm -rf "${WORK:?}/state/$id" "$WORK/$id.out"
}

# restore PEER VARIANT [option...]: with the options of RestoreProbe in the array probe
restore() {
  local peer=$1 variant=$2 id verify
  shift 2
  wanted "$peer" || return 0
  id=$peer-restore-$RANDOM
  command_of "$peer"
  tool RestoreProbe --in "in-$id" --out "out-$id" --app-id "$id" --state-dir "$WORK/state/$id" --keys "$RESTORE_KEYS" --variant "$variant" \
    "${probe[@]}" --peer "$peer" --broker-pid "${BROKER_PID:-0}" \
    -- "${program[@]}" --state-dir "$WORK/state" --serve true --workload restore --in "in-$id" --out "out-$id" --app-id "$id" "$@" | tee -a "$RESULTS" >&2
  verify=$(tool Verify --workload restore --in "in-$id" --out "out-$id" --drop "$id-,in-$id") || true
  emit "{\"peer\":\"$peer\",\"workload\":\"restore\",\"scenario\":\"verify\",\"variant\":\"$variant\",\"keys\":$RESTORE_KEYS,\"verify\":${verify:-null}}"
  rm -rf "${WORK:?}/state/$id"
}

run_count() {
  load uniform
  local rep threads cache peer
  for rep in $(seq "$REPS"); do
    for threads in 1 2; do
      for cache in on off; do
        for peer in "${peers[@]}"; do
          batch "$peer" count uniform "$rep" --mode eos --commit-ms 100 --threads "$threads" --cache "$cache"
        done
      done
    done
  done
}

run_zipf() {
  load zipf
  local rep peer
  for rep in $(seq "$REPS"); do
    for peer in "${peers[@]}"; do
      batch "$peer" count zipf "$rep" --mode eos --commit-ms 100 --threads 1 --cache on
    done
  done
}

# Throughput at a short commit interval, and without transactions.
run_commit() {
  load uniform
  local rep peer ms
  for rep in $(seq "$REPS"); do
    for peer in "${peers[@]}"; do
      for ms in 100 10; do
        batch "$peer" count uniform "$rep" --mode eos --commit-ms "$ms" --threads 1 --cache on
      done
      batch "$peer" count uniform "$rep" --mode eos --commit-ms 10 --threads 1 --cache off
      [ "$peer" = floor ] || batch "$peer" count uniform "$rep" --mode alo --commit-ms 1000 --threads 1 --cache on
    done
  done
}

# A broker that has just started compiles its code for a minute, on the cores that the transactions need: WARMUP runs
# of each peer go before and do not count.
run_latency() {
  local rep ms peer results=$RESULTS
  RESULTS=/dev/null
  for rep in $(seq "$WARMUP"); do
    for peer in tidemark kafka-streams; do
      latency "$peer" "$rep" --mode eos --cache off --commit-ms 10
    done
  done
  RESULTS=$results
  for rep in $(seq "$REPS"); do
    for ms in 100 10; do
      for peer in tidemark kafka-streams; do
        latency "$peer" "$rep" --mode eos --cache off --commit-ms "$ms"
      done
    done
  done
}

run_restore() {
  local probe=(--scenarios clean,kill9,wiped)
  restore tidemark default --mode eos
  restore tidemark static --mode eos --instance-id one
  restore kafka-streams static --mode eos --instance-id one
  restore kafka-streams default --mode eos
}

# operators WORKLOAD: with a cache, at one and two threads; the peer's better setting counts.
operators() {
  load uniform
  [ "$1" != join ] || load_table
  local rep peer threads
  for rep in $(seq "$REPS"); do
    for threads in 1 2; do
      for peer in tidemark kafka-streams; do
        batch "$peer" "$1" uniform "$rep" --mode eos --commit-ms 100 --threads "$threads" --cache on
      done
    done
  done
}

# Pairs of runs with and without a checkpoint every CHECKPOINT_MS, long enough for several of them, and latency beside
# them.
run_checkpoint() {
  local rep ms records=$RECORDS
  RECORDS=${CHECKPOINT_RECORDS:-24000000} KEYS=${CHECKPOINT_KEYS:-$KEYS} load uniform
  for rep in $(seq "$REPS"); do
    for ms in 0 "${CHECKPOINT_MS:-10000}"; do
      KEYS=${CHECKPOINT_KEYS:-$KEYS} batch tidemark count uniform "$rep" --mode eos --commit-ms 100 --threads 2 --cache on --checkpoint-ms "$ms"
    done
  done
  for rep in $(seq "$REPS"); do
    for ms in 0 1000; do
      latency tidemark "$rep" --mode eos --cache off --commit-ms 100 --checkpoint-ms "$ms"
    done
  done
  RECORDS=$records
}

# A restart without local state, with UPDATES records of each key in the changelog: snapshot and tail, the tail with the
# snapshot beside processing, and for the peer all of it.
run_snapshot() {
  local probe=(--updates "${UPDATES:-10}" --settle-ms 8000 --patience 1200 --scenarios wiped)
  restore tidemark snapshot --mode eos --instance-id one --checkpoint-ms 5000
  restore tidemark lazy --mode eos --instance-id one --checkpoint-ms 5000 --checkpoint-lazy true
  restore tidemark changelog --mode eos --instance-id one
  restore kafka-streams changelog --mode eos --instance-id one
}

[ $# -gt 0 ] || set -- count zipf commit latency restore windowed join repartition
for what; do
  case $what in
    count | zipf | commit | latency | restore | checkpoint | snapshot) "run_$what";;
    windowed | join | repartition) operators "$what";;
    *) echo "unknown workload $what" >&2; exit 2;;
  esac
done
echo "Lines: $RESULTS"
"$WORK/bin/summary" "$RESULTS"
