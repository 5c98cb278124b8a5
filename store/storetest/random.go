package storetest

import (
	"math/rand/v2"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// step is an operation on a model and its store. It is chosen in proportion to its weight.
type step struct {
	weight int
	run    func()
}

// randomly runs so many steps, chosen at random.
func randomly(rng *rand.Rand, count int, steps []step) {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for range count {
		n := rng.IntN(total)
		for _, s := range steps {
			if n -= s.weight; n < 0 {
				s.run()
				break
			}
		}
	}
}

// appendBatch appends copies of the records of a batch to a changelog, with their offsets in it.
func appendBatch(log []record.Raw, batch *record.Batch) []record.Raw {
	for i := range batch.Len() {
		r := batch.At(i)
		r.Key, r.Value, r.Offset = slices.Clone(r.Key), slices.Clone(r.Value), int64(len(log))
		log = append(log, r)
	}
	return log
}
