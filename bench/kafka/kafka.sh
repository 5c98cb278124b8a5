#!/usr/bin/env bash
# A real single-node Apache Kafka (KRaft) on 127.0.0.1, from its Maven jars. Needs java 17+, mvn and flock.
#
#   kafka.sh fetch                        downloads the jars and nothing else
#   kafka.sh start [--dir D] [--port N] [--heap 1g] [--owner PID] [--set name=value]...
#   kafka.sh kill  [--dir D]              kill -9; start with the same D brings it back on the same port
#   kafka.sh stop  [--dir D] [--wipe]     SIGTERM, and kill -9 after 30 s; --wipe removes D
#
# start prints the bootstrap address and writes D/pid, D/bootstrap and D/broker.log. D defaults to a folder of this name
# below TMPDIR, the port to a free one. --owner ends the broker and removes D soon after process PID has ended, however
# it ended. --set adds a line to server.properties.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cmd=${1:-}
shift || true
dir=${TMPDIR:-/tmp}/tidemark-kafka
port=
heap=1g
owner=
wipe=
settings=()
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=$2; shift 2;;
    --port) port=$2; shift 2;;
    --heap) heap=$2; shift 2;;
    --owner) owner=$2; shift 2;;
    --set) settings+=("$2"); shift 2;;
    --wipe) wipe=1; shift;;
    *) echo "kafka.sh: unknown option $1" >&2; exit 2;;
  esac
done

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

alive() { [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

# A port below the ephemeral range, so that no outgoing connection takes it while the broker is down.
free_port() {
  local p
  while :; do
    p=$((20000 + RANDOM % 12000))
    listening "$p" || { echo "$p"; return; }
  done
}

# Several test binaries may want the jars at once.
fetch() {
  [ ! -f "$here/target/complete" ] || return 0
  mkdir -p "$here/target"
  (
    flock 9
    [ -f "$here/target/complete" ] || { mvn -q -B -Dstyle.color=never -f "$here/pom.xml" generate-resources >&2 && touch "$here/target/complete"; }
  ) 9>"$here/target/lock"
}

java_options=(
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.coordinator.transaction=info
  -Dorg.slf4j.simpleLogger.showDateTime=true
  -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info
)

configure() {
  local controller
  controller=$(free_port)
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# Benchmarks load records with old timestamps: nothing is deleted by time.
log.retention.ms=-1
log.retention.check.interval.ms=3600000
transaction.max.timeout.ms=3600000
P
  [ ${#settings[@]} -eq 0 ] || printf '%s\n' "${settings[@]}" >>"$dir/server.properties"
}

format() {
  local id
  id=A$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | cut -c2-22)
  java -Xmx256m "${java_options[@]}" -cp "$here/target/lib/*" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" \
    >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; exit 1; }
}

# Ends the broker when its owner is gone. It sleeps without holding any of our file descriptors.
watch() {
  [ -n "$owner" ] || return 0
  # shellcheck disable=SC2016
  nohup setsid bash -c '
    while [ -d "$1" ] && kill -0 "$2" 2>/dev/null; do sleep 1; done
    [ ! -f "$1/pid" ] || kill -9 "$(cat "$1/pid")" 2>/dev/null
    rm -rf "$1"' watch "$dir" "$owner" >/dev/null 2>&1 </dev/null &
}

start() {
  if alive; then
    echo "kafka.sh: already running" >&2
    cat "$dir/bootstrap"
    return
  fi
  fetch
  mkdir -p "$dir"
  local again=
  if [ -f "$dir/data/meta.properties" ]; then
    again=1
    [ -n "$port" ] || port=$(sed 's/.*://' "$dir/bootstrap")
  else
    [ -n "$port" ] || port=$(free_port)
  fi
  for _ in $(seq 50); do # a killed broker's socket may need a moment
    listening "$port" || break
    sleep 0.1
  done
  ! listening "$port" || { echo "kafka.sh: port $port is taken" >&2; exit 1; }
  if [ -z "$again" ]; then
    configure
    format
    watch
  fi
  : >"$dir/broker.log"
  nohup setsid java -Xms"$heap" -Xmx"$heap" "${java_options[@]}" -cp "$here/target/lib/*" kafka.Kafka "$dir/server.properties" \
    >"$dir/broker.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for _ in $(seq 600); do
    alive || { tail -30 "$dir/broker.log" >&2; echo "kafka.sh: the broker died" >&2; exit 1; }
    if grep -q 'Kafka Server started' "$dir/broker.log" && listening "$port"; then
      echo "127.0.0.1:$port" | tee "$dir/bootstrap"
      return
    fi
    sleep 0.1
  done
  echo "kafka.sh: not ready after 60 s, see $dir/broker.log" >&2
  exit 1
}

stop() {
  if alive; then
    local p
    p=$(cat "$dir/pid")
    kill "$p"
    for _ in $(seq 150); do
      kill -0 "$p" 2>/dev/null || break
      sleep 0.2
    done
    ! kill -0 "$p" 2>/dev/null || kill -9 "$p"
  fi
  rm -f "$dir/pid"
  [ -z "$wipe" ] || rm -rf "$dir"
}

kill9() {
  alive || { echo "kafka.sh: not running" >&2; exit 1; }
  local p
  p=$(cat "$dir/pid")
  kill -9 "$p"
  while kill -0 "$p" 2>/dev/null; do sleep 0.05; done
  rm -f "$dir/pid"
}

case $cmd in
  fetch) fetch;;
  start) start;;
  kill) kill9;;
  stop) stop;;
  *) sed -n '2,/^set/p' "$0" | sed '$d' >&2; exit 2;;
esac
