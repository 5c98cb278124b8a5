package tidemark

import (
	"context"
	"fmt"
)

// NotHereError says that this instance cannot answer about a store: it does not process the partition, or not yet. Only
// queries that are not routed end with it: those of an App without Config.ApplicationServer, and with [Reader.Here].
type NotHereError struct {
	Store     string
	Partition int32 // -1: it has no partition of the store
	State     State
}

// Error names the store, the partition and what to do.
func (e *NotHereError) Error() string {
	what := "no partition of it is"
	if e.Partition != anyPartition {
		what = fmt.Sprintf("partition %d is not, or not yet,", e.Partition)
	}
	return fmt.Sprintf("tidemark: store %q: %s on this instance (%s): ask the others, or again when the tasks have "+
		"settled", e.Store, what, e.State)
}

// UnavailableError says that a query got no answer in the time that it had: the task moves or restarts, its instance
// cannot be reached, or nobody is as far as the query demands. No answer was ever given in its place.
type UnavailableError struct {
	Store     string
	Partition int32 // -1: before the partition was known
	// Retriable says that the same query may be answered later. If not, somebody has to act first, as Err says.
	Retriable bool
	// Err is what the last attempt failed with; nil if there was none.
	Err error
	// Cause is the error of the query's context, if that has ended; else nil.
	Cause error
}

// Error says what happened last, and what to do.
func (e *UnavailableError) Error() string {
	what, hint := fmt.Sprintf("partition %d", e.Partition), "ask again"
	if e.Partition == anyPartition {
		what = "no partition known"
	}
	if !e.Retriable {
		hint = "asking again will not help"
	}
	return fmt.Sprintf("tidemark: store %q: %s: nobody answers: %v: %s", e.Store, what, e.Err, hint)
}

// Unwrap returns both errors that there are.
func (e *UnavailableError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Err, e.Cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// refusalCode is why an instance does not answer.
type refusalCode uint8

// Refusals. Their numbers are in docs/format/query.md.
const (
	// refusedElsewhere: it does not have the task, or not yet.
	refusedElsewhere refusalCode = iota + 1
	// refusedUnconfirmed: the group has not confirmed it for a session timeout, so that another one may have its tasks.
	refusedUnconfirmed
	// refusedBehind: it has not committed what the query demands.
	refusedBehind
	// refusedStale: its standby is too far behind.
	refusedStale
	// refusedBusy: it answers as many queries as it takes at a time.
	refusedBusy
	// refusedQuestion: the question is wrong, for every instance.
	refusedQuestion
	// refusedFailed: it failed, and would again.
	refusedFailed

	refusalCodes
)

// refusal is the answer of an instance that has none.
type refusal struct {
	code  refusalCode
	state State
	text  string
}

func (e *refusal) Error() string { return e.text }

// retriable reports whether the same or another instance may answer later.
func (e *refusal) retriable() bool { return e.code < refusedQuestion }

func refuse(code refusalCode, state State, format string, args ...any) *refusal {
	return &refusal{code: code, state: state, text: fmt.Sprintf(format, args...)}
}

// unreachable is a failure on the way to an instance.
type unreachable struct {
	endpoint string
	err      error
	final    bool // somebody has to act
}

func (e *unreachable) Error() string { return fmt.Sprintf("ask %s: %v", e.endpoint, e.err) }

func (e *unreachable) Unwrap() error { return e.err }

// endOf returns why a context has ended, nil if it has not.
func endOf(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
