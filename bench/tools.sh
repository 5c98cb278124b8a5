#!/usr/bin/env bash
# What the benchmark scripts share; they source it. Builds the programs, starts a broker unless BOOTSTRAP (and
# BROKER_PID) name a running one, and runs the neutral Java tools.
#
# Environment: BOOTSTRAP, BROKER_PID; WORK, the scratch folder (bench/work); HEAP of the broker (1g).
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=${WORK:-$bench/work}
mkdir -p "$WORK/bin" "$WORK/state"

jvm=(java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$bench/peer/target/classes:$bench/peer/target/lib/*")

# build PEER...: the tools and the programs of these peers
build() {
  mvn -q -B -Dstyle.color=never -f "$bench/peer/pom.xml" compile
  (cd "$bench/.." && go build -o "$WORK/bin/" ./bench/floor ./bench/summary)
  if [[ " $* " == *" tidemark "* ]]; then
    (cd "$bench/.." && go build -o "$WORK/bin/" ./bench/streams ./bench/query)
  fi
}

# broker [kafka.sh option...]: sets BOOTSTRAP and BROKER_PID; the broker ends with this script.
broker() {
  [ -z "${BOOTSTRAP:-}" ] || return 0
  BOOTSTRAP=$("$bench/kafka/kafka.sh" start --dir "$WORK/kafka-$$" --heap "${HEAP:-1g}" --owner $$ "$@")
  BROKER_PID=$(cat "$WORK/kafka-$$/pid")
  own_broker=$WORK/kafka-$$
}

own_broker=
stop_broker() { [ -z "$own_broker" ] || "$bench/kafka/kafka.sh" stop --dir "$own_broker" --wipe; }

# end_all PID...: kills what still runs, and the broker if it is this script's.
end_all() {
  local p
  for p in "$@"; do kill -9 "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  stop_broker
}

say() { printf '%4d s  %s\n' "$SECONDS" "$1" >&2; }

# random LOW HIGH: sets n
random() { n=$(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1))); }

pause_ms() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

# tool CLASS [option...]
tool() {
  local class=$1
  shift
  "${jvm[@]}" -Xmx3g "bench.$class" --bootstrap "$BOOTSTRAP" "$@"
}

# command_of PEER: sets the array program to what runs it.
command_of() {
  case $1 in
    floor) program=("$WORK/bin/floor");;
    tidemark) program=("$WORK/bin/streams");;
    kafka-streams) program=("${jvm[@]}" -Xmx2g bench.KStreamsBench);;
    *) echo "unknown peer $1" >&2; exit 2;;
  esac
  program+=(--bootstrap "$BOOTSTRAP" --broker-pid "${BROKER_PID:-0}")
}
