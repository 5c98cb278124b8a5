package store

import "sync/atomic"

// Limits of memory budgets.
const (
	// budgetBytesDefault is the budget of an instance that sets none.
	budgetBytesDefault = 512 << 20
	// shareBytesMin is what a task gets however many there are: less would turn every commit into a flush.
	shareBytesMin = 8 << 20

	memtableBytesMin = 4 << 20 // values above 15 % of it go to the value log, which nothing collects
	memtableBytesMax = 32 << 20
)

// Budget is the memory for state of one instance, divided evenly among its open sets. Safe for concurrent use.
//
// Of a task's share S = total / open sets (but at least 8 MiB):
//
//	S/4  is the limit of the active tables; as much again the frozen ones hold, and while a flush runs the active
//	     ones may reach twice the limit before the commit waits: at most 3/4 S, normally 1/2 S
//	S/16 is each of Badger's memtables, normally one, up to three (between 4 and 32 MiB)
//
// While a snapshot is loaded beside processing, in place of the memtables:
//
//	S/4  is what was flushed since; a flush that finds more waits for the load
//	S/16 is for blocks of the snapshot, but at least 2 MiB
//
// Twice as much for tables during a restore and until the first flush after it. Badger's tables are memory-mapped
// files: they are the operating system's page cache, and not counted.
// Badger's part is fixed when a set opens, the limit of the tables follows the number of open sets at each commit.
// Uncommitted writes count towards the tables; see [Set.UncommittedBytes] for bounding them.
type Budget struct {
	total int64
	sets  atomic.Int64
}

// NewBudget returns a budget of that many bytes; 0 or less means 512 MiB.
func NewBudget(totalBytes int64) *Budget {
	if totalBytes <= 0 {
		totalBytes = budgetBytesDefault
	}
	return &Budget{total: totalBytes}
}

// Total returns the bytes of the whole budget.
func (b *Budget) Total() int64 { return b.total }

func (b *Budget) join()  { b.sets.Add(1) }
func (b *Budget) leave() { b.sets.Add(-1) }

func (b *Budget) share() int64 { return max(b.total/max(b.sets.Load(), 1), shareBytesMin) }

// tableBytesMax is the size of a set's active tables at which they are frozen.
func (b *Budget) tableBytesMax() int { return int(b.share() / 4) }

// lazyOverlayBytes is what a [lazyEngine] keeps of flushes, lazyBlocksBytes what it keeps of files.
func (b *Budget) lazyOverlayBytes() int { return int(b.share() / 4) }

const lazyBlocksBytesMin = 2 << 20

func (b *Budget) lazyBlocksBytes() int { return int(max(b.share()/16, lazyBlocksBytesMin)) }

func (b *Budget) memtableBytes() int64 {
	return min(max(b.share()/16, memtableBytesMin), memtableBytesMax)
}
