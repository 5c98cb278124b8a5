// Package storetest holds the conformance suites of engines and of custom stores, and the models that the stores of
// package store are compared with.
//
//	RunEngine               ──► any store.Engine: order, bounds, deletes, checkpoints, reads beside a flush, reopening
//	RunKeyValue             ──► a store.Set under random operations, compared step by step with a Go map
//	RunWindow, RunSession   ──► the same for rows that expire
//	RunVersioned            ──► the same for a versioned store, with reads as of any time and restores
//	RunCustom               ──► a store of yours: epochs, rollbacks, and what its changelog restores
//
// All print the seed of a failure. The package takes testing.TB from its callers and belongs in tests only.
package storetest
