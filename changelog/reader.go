package changelog

import (
	"context"

	"github.com/tidemarkio/tidemark/record"
)

// Reader is the port to a changelog partition. internal/kafka implements it.
type Reader interface {
	// Read passes the committed records of [from, to) to fn, batch by batch in order, while the next batch is being
	// fetched. next is the position behind the batch, transaction markers included. It returns when next reached to,
	// ctx ended, or fn failed. If from lies below the log's start the error is ErrPositionLost.
	Read(
		ctx context.Context, tp record.TopicPartition, from, to int64, fn func(records []record.Raw, next int64) error,
	) error
}
