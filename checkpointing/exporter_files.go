package checkpointing

import (
	"slices"
)

// taskFiles is what an exporter remembers of a task: the files of its last checkpoints, by ascending ids.
type taskFiles struct {
	sets  []fileSet
	spare *spareFile
}

// fileSet is the state of a task at a checkpoint.
type fileSet struct {
	id      int64
	version uint64
	files   []File
	beside  []string // as the manifest has them, if the checkpoint completes
	done    bool     // the checkpoint has completed
}

// spareFile is a full snapshot that was made beside increments: later checkpoints build on it instead of the chain.
//
// It lies in the folder of checkpoint id. Nothing refers to it before the next checkpoint does, so the manifests name
// it as something that may be needed: [TaskSnapshot.Beside].
type spareFile struct {
	id      int64
	name    string
	version uint64
	file    *File // nil until it is stored
}

// basis is what an increment builds on.
type basis struct {
	version uint64
	chain   []File
}

// basis returns the files that a checkpoint can build on; false if it has to be full.
func (t *taskFiles) basis(base int64) (basis, bool) {
	i := slices.IndexFunc(t.sets, func(s fileSet) bool { return s.id == base })
	if i < 0 || base == 0 {
		return basis{}, false
	}
	set := t.sets[i]
	chain := set.files
	// Its name has to be in the manifest of the base, or it may be deleted at any moment.
	if s := t.spare; s != nil && s.file != nil && len(chain) > 0 && chain[0].Version < s.version &&
		slices.Contains(set.beside, s.name) {
		chain = []File{*s.file}
		for _, f := range set.files {
			if f.Version > s.version {
				chain = append(chain, f)
			}
		}
	}
	if len(chain) == 0 {
		return basis{}, false // the task had no stores
	}
	return basis{version: set.version, chain: slices.Clip(slices.Clone(chain))}, true
}

// remember takes what a checkpoint consists of, and the full snapshot that is to be made beside it, if any. It returns
// what the manifest has to keep beside the files, and whether that snapshot is to be made.
func (t *taskFiles) remember(s fileSet, spare *spareFile) (beside []string, makeSpare bool) {
	switch {
	case len(s.files) == 1 && s.files[0].Version == s.version:
		t.spare = nil // a full one just now: one from before is of no use
	case spare != nil && (t.spare == nil || s.files[0].Name == t.spare.name):
		t.spare, makeSpare = spare, true
	}
	if t.spare != nil && s.files[0].Name != t.spare.name {
		s.beside = []string{t.spare.name}
	}
	t.stored(s)
	return s.beside, makeSpare
}

// stored remembers the files of a checkpoint.
func (t *taskFiles) stored(s fileSet) {
	t.sets = slices.DeleteFunc(t.sets, func(other fileSet) bool { return other.id == s.id })
	t.sets = append(t.sets, s)
	slices.SortFunc(t.sets, func(a, b fileSet) int { return int(a.id - b.id) })
}

// completed forgets what no later checkpoint builds on. Those that were triggered before this one completed may build on
// the one before it. It returns the least version that may still be asked for.
func (t *taskFiles) completed(id int64) (upTo uint64, ok bool) {
	i := slices.IndexFunc(t.sets, func(s fileSet) bool { return s.id == id })
	if i < 0 {
		return 0, false
	}
	t.sets[i].done = true
	keep := i
	for keep > 0 && (keep == i || !t.sets[keep].done) {
		keep--
	}
	t.sets = slices.Delete(t.sets, 0, keep)
	upTo = t.sets[0].version
	for _, s := range t.sets {
		upTo = min(upTo, s.version)
	}
	return upTo, true
}

// aborted forgets the files of a checkpoint. What was made beside one may be deleted by now.
func (t *taskFiles) aborted(id int64) {
	t.sets = slices.DeleteFunc(t.sets, func(s fileSet) bool { return s.id == id })
	t.spare = nil
}
