// Package storagetest has the acceptance suite of storages, and a storage that fails on demand.
//
//	Run(t, open)      ──► any storage.Storage: whole or not at all, exclusive, listing, deleting, contexts, remains
//	Faulty.Arm(fault) ──► a storage whose next calls refuse, hang, run full, break off, lie or flip bits
//
// A backend of yours should pass Run. The package takes testing.T from its callers and belongs in tests only. It starts
// goroutines only inside a test that waits for them.
package storagetest
