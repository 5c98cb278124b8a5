// Package cases reads the cases of the conformance corpus, builds their topologies with the DSL and compares what the
// test driver gives. A topology is a list of steps, so that a program can make one up as well: see
// integration/metamorphic. FORMAT.md, one folder up, describes the steps.
package cases
