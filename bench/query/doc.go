// Command query puts a steady number of queries a second to the instances of the count workload, checks every answer,
// and prints one JSON line.
//
//	query --bootstrap A --in T --servers HOST:PORT,... --stop-file F [--rate N] [--keys N] [--clients N]
//	      [--patience-ms N] [--standby true] [--seed N] [--profile FILE]
//
// It queries as long as F does not exist, with some clients (4) that know one instance each at first. A query begins
// at its time whatever became of those before it, so that a slow answer does not slow the questions down, and its
// latency counts from there. An answer is right if it is at least the greatest one that had been given for the key
// before the query began; at the end, all keys together must have all records of the topic, and no answer may have been
// greater than the last. A query without an answer must end with an UnavailableError that is retriable.
package main
