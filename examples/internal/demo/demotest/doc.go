// Package demotest runs the topology of a demo in a test, without any broker.
//
//	[]demo.Record ──► tidemarktest: the topology, with topics in memory ──► results, to compare
//
// It is a package of its own so that the examples do not link package testing. Its functions belong to the goroutine of
// their test.
package demotest
