package registry

import (
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// NewWithTime is New with a time of the test's.
func NewWithTime(cfg Config, now func() time.Time) (*Client, error) {
	return newClient(cfg, clock.Fixed(now))
}
