// Package measure is what the benchmark programs share: options, the JSON result line, figures of processes and of the
// machine from /proc (Linux), and a view of topics and committed offsets that is independent of the library.
//
//	bench/floor ──┐                      ┌─► /proc (CPU seconds, peak memory)
//	bench/streams ┴─► measure ───────────┴─► broker (end offsets, committed offsets, bytes on disk) ──► one JSON line
//
// Its names and units are those of the Java peer (bench/peer), so that lines of all programs go into one table.
// Everything here is safe for concurrent use except [Line], which belongs to one goroutine.
package measure
