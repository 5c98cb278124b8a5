package eos

import (
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// The class of an error says what the caller has to do.
var (
	// ErrFenced: a newer owner exists. Give the tasks up and rejoin the group.
	ErrFenced = errors.New("fenced by a newer owner")
	// ErrGeneration: the group has moved to another generation. The transaction is intact: take the member's new
	// identity and call SendOffsets again, or Abort if the partitions are no longer ours.
	ErrGeneration = errors.New("the consumer group is at another generation")
	// ErrAborted: this transaction can only be aborted: drop the epoch, rewind the inputs, go on.
	ErrAborted = errors.New("the transaction must be aborted")
	// ErrUnknownOutcome: the commit may or may not have happened. Init, then read the committed offsets.
	ErrUnknownOutcome = errors.New("the outcome of the commit is unknown")
	// ErrFatal: no retry will help (authorization, unsupported version). Stop and report.
	ErrFatal = errors.New("not recoverable")
	// ErrForeignMetadata: committed offsets carry text that this version did not write.
	ErrForeignMetadata = errors.New("unknown offset metadata")
)

// Class is the action that an error of a Producer asks for.
type Class int

// Classes, from harmless to fatal.
const (
	ClassNone Class = iota
	ClassGeneration
	ClassAborted
	ClassUnknownOutcome
	ClassFenced
	ClassRecord // *RecordTooLargeError: the production handler decides
	ClassFatal
)

// Classify tells what to do about an error of a Producer. Anything unmarked can only be aborted.
func Classify(err error) Class {
	var tooLarge *RecordTooLargeError
	switch {
	case err == nil:
		return ClassNone
	case errors.Is(err, ErrFenced):
		return ClassFenced
	case errors.Is(err, ErrFatal):
		return ClassFatal
	case errors.As(err, &tooLarge):
		return ClassRecord
	case errors.Is(err, ErrUnknownOutcome):
		return ClassUnknownOutcome
	case errors.Is(err, ErrGeneration):
		return ClassGeneration
	}
	return ClassAborted
}

// RecordTooLargeError reports a record that the broker or the producer's limit refuses (max.message.bytes).
type RecordTooLargeError struct {
	TopicPartition record.TopicPartition
	Batch          *record.Batch // the one that was given to Send: several may be for the same partition
	Index          int           // of the record in Batch
	SizeBytes      int
	LimitBytes     int // 0: the broker refused it and its limit is not known
	Err            error
}

func (e *RecordTooLargeError) Error() string {
	limit := "the broker's max.message.bytes"
	if e.LimitBytes > 0 {
		limit = fmt.Sprintf("the limit of %d bytes", e.LimitBytes)
	}
	return fmt.Sprintf("eos: record of %d bytes for %s exceeds %s: raise max.message.bytes of the topic and "+
		"Config.MaxRequestBytes, or set OnProductionError to skip or dead-letter it", e.SizeBytes, e.TopicPartition, limit)
}

func (e *RecordTooLargeError) Unwrap() error { return e.Err }
