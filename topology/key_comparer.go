package topology

import (
	"bytes"

	"github.com/tidemarkio/tidemark/serde"
)

// keyComparer compares keys by their encodings. Owned by the task goroutine.
type keyComparer[K any] struct {
	serde   serde.Serde[K]
	scratch [2][]byte
}

func (c *keyComparer[K]) equal(a, b K) (bool, error) {
	for i, k := range [2]K{a, b} {
		encoded, err := c.serde.Append(c.scratch[i][:0], k)
		if err != nil {
			return false, err
		}
		c.scratch[i] = encoded
	}
	return bytes.Equal(c.scratch[0], c.scratch[1]), nil
}
