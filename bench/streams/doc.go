// Command streams runs Tidemark on one benchmark workload, with the options and the result line of the Kafka Streams
// peer (bench/peer, KStreamsBench), so that the same tools load, verify, time and kill both.
//
//	streams --bootstrap A --in T --out T --state-dir D [--app-id ID] [--workload count|restore|repartition]
//	        [--mode eos|alo] [--threads N] [--cache on|off] [--commit-ms N] [--instance-id ID] [--session-ms N]
//	        [--leave-group BOOL] [--standby-replicas N] [--state-mb N]
//	        [--broker-pid PID] [--dist D] [--keys N] [--groups N] [--log LEVEL]
//	        [--checkpoint-ms N] [--checkpoint-dir DIR] [--incremental BOOL] [--unaligned BOOL]
//	        [--checkpoint-lazy BOOL]
//	        [--query-addr HOST:PORT]
//	        [--serve true] [--debug-addr HOST:PORT] [--cpu-profile FILE] [--trace FILE]
//
// Batch (default): runs until every input and repartition partition is committed to its end, prints one JSON line,
// closes. With --serve true it prints "STATE RUNNING" when it processes, "RESTORED n" after a store was restored from
// its changelog, and runs until SIGTERM or SIGINT. --debug-addr serves /stats and pprof, --query-addr queries.
//
// The state lies in <state-dir>/<app-id>. Each process of an application needs a state directory of its own.
package main
