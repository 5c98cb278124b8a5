// Package storetest holds the conformance suite of engines and the models that stores are compared with.
//
//	RunEngine    ──► any store.Engine: order, bounds, deletes, checkpoints, reads beside a flush, reopening
//	RunKeyValue  ──► a store.Set under random operations, compared step by step with a Go map
//	RunVersioned ──► the same for a versioned store, with reads as of any time and restores
//
// They print the seed of a failure. The package takes testing.TB from its callers and belongs in tests only.
package storetest
