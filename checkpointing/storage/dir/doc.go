// Package dir keeps objects in a directory: of a disk for one machine, of a shared file system (NFS, CephFS, EFS, a
// volume of a cluster) for several.
//
//	Create ──► <name>~<random> ──Commit: sync, rename or link, sync of the folders──► <name> ──► Open, List
//
// All instances of an application, and those that restore its checkpoints, need the same directory. A process that dies
// leaves temporary files, which List does not show and Sweep removes. A Storage is safe for concurrent use, also by
// several processes, and starts no goroutine.
package dir
