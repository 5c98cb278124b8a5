package tidemark

import (
	"context"
	"errors"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// ask is a question and who may answer it.
type ask struct {
	store string
	// partition of the store; anyPartition for a global store, which is whole everywhere.
	partition int32
	// partitions is how many the store has, as far as who asks knows: another number would mean another partition for
	// the key. 0 of a global store.
	partitions int32
	question   store.Question
	stale      *StaleBound // nil: only the owner may answer
	atLeast    Position
}

// StaleBound bounds what a standby may be behind that answers in its owner's place.
type StaleBound struct {
	// MaxLag is how many records of its changelogs it may be behind, as of the last end it has seen. 0: any number.
	MaxLag int64
	// MaxAge is how long ago it may have been at the end of its changelogs. 0: any time.
	MaxAge time.Duration
}

// QueryInfo says where an answer comes from.
type QueryInfo struct {
	// Instance is the Config.ApplicationServer of who answered; "" if it is this instance.
	Instance string
	// Partition of the store; -1 of a global one.
	Partition int32
	// Standby says that a copy of the task has answered, for a query with [Reader.Stale]. Lag is then how many records
	// it was behind its changelogs, and Age how long ago it had caught up last.
	Standby bool
	Lag     int64
	Age     time.Duration
	// Position is what the owner had committed of its inputs: the answer has the effects of everything before, and of
	// nothing behind it unless it was asked for what is uncommitted. A standby does not know it: nil.
	Position Position
}

// reply is a page of an answer.
type reply struct {
	page store.Page
	info QueryInfo
}

// answer answers from what this instance has at this moment, or refuses.
//
// An answer of an owner is right because of its order: the store is read by the worker that has the task, and only then
// is the membership looked at. As long as the group has confirmed us within the session timeout nobody else has
// committed anything for our tasks, so what was read was all there was. A process that slept in between finds its
// session expired, and refuses.
func (a *App) answer(ctx context.Context, q *ask) (reply, error) {
	in, state := a.running()
	if in == nil {
		return reply{}, refuse(refusedElsewhere, state, "the instance does not run (%s)", state)
	}
	if a.globalStore(q.store) != nil {
		return in.answerGlobal(ctx, q, state)
	}
	sub, err := a.subtopologyOf(q.store)
	if err != nil {
		return reply{}, refuse(refusedQuestion, state, "%v", err)
	}
	if n := a.partitionsOf(sub); q.partitions != n {
		return reply{}, refuse(refusedElsewhere, state, "store %q has %d partitions, and the query is for one of %d", q.store,
			n, q.partitions)
	}
	id := record.TaskID{Subtopology: sub, Partition: q.partition}
	r, err := in.answerOwned(ctx, id, q, state)
	if no, ok := errors.AsType[*refusal](err); ok && no.code == refusedElsewhere && q.stale != nil {
		return in.answerStandby(ctx, id, q, state)
	}
	return r, err
}

// answerOwned reads a task that this instance runs.
func (in *incarnation) answerOwned(ctx context.Context, id record.TaskID, q *ask, state State) (r reply, err error) {
	r.info.Partition = id.Partition
	elsewhere := refuse(refusedElsewhere, state, "task %s is not, or not yet, on that instance (%s)", id, state)
	w, ok := in.manager.WorkerOf(id)
	if !ok {
		return r, elsewhere
	}
	err = w.ReadCommitted(ctx, id, func(t *task.Task, committed map[record.TopicPartition]task.Position) error {
		r.info.Position = make(Position, len(committed))
		for tp, p := range committed {
			r.info.Position[tp] = p.Offset
		}
		return readStore(t, q, &r, state)
	})
	switch {
	case errors.Is(err, worker.ErrNoTask), errors.Is(err, worker.ErrStopped):
		return r, elsewhere
	case err != nil:
		return r, failure(ctx, err, state)
	case !in.app.clock.Now().Before(in.group.ConfirmedUntil()):
		return r, refuse(refusedUnconfirmed, state, "the group has not confirmed the instance that has task %s", id)
	}
	return r, nil
}

// answerStandby reads a copy that follows its changelogs here.
func (in *incarnation) answerStandby(ctx context.Context, id record.TaskID, q *ask, state State) (r reply, err error) {
	r.info = QueryInfo{Partition: id.Partition, Standby: true}
	if len(q.atLeast) > 0 {
		return r, refuse(refusedElsewhere, state, "only the owner of task %s knows what it has committed, and that instance "+
			"is not", id)
	}
	err = in.manager.ReadStandby(ctx, id, func(t *task.Task, s worker.Staleness) error {
		r.info.Lag, r.info.Age = s.Lag, neverCaughtUp
		if !s.At.IsZero() {
			r.info.Age = max(0, in.app.clock.Since(s.At))
		}
		if b := q.stale; b.MaxLag > 0 && s.Lag > b.MaxLag || b.MaxAge > 0 && r.info.Age > b.MaxAge {
			return refuse(refusedStale, state, "the standby of task %s is %d records and %v behind", id, s.Lag, r.info.Age)
		}
		return readStore(t, q, &r, state)
	})
	switch {
	case errors.Is(err, worker.ErrNoTask), errors.Is(err, worker.ErrStopped):
		return r, refuse(refusedElsewhere, state, "neither task %s nor a standby of it is on that instance (%s)", id, state)
	case err != nil:
		return r, failure(ctx, err, state)
	}
	return r, nil
}

// neverCaughtUp is the age of a standby that has not been at the end of its changelogs yet.
const neverCaughtUp = time.Duration(1<<63 - 1)

// readStore puts the question to the store of a task, on the goroutine that owns it.
func readStore(t *task.Task, q *ask, r *reply, state State) error {
	if err := q.demands(r.info.Position, state); err != nil {
		return err
	}
	s, ok := t.Stores().Store(q.store)
	if !ok {
		return refuse(refusedQuestion, state, "task %s has no store %q", t.ID(), q.store)
	}
	return readQueryable(s, q, r, state)
}

func readQueryable(s store.Store, q *ask, r *reply, state State) (err error) {
	queryable, ok := s.(store.Queryable)
	if !ok {
		return refuse(refusedQuestion, state, "store %q is a %T, which cannot be queried", q.store, s)
	}
	r.page, err = queryable.Query(&q.question)
	return err
}

// demands refuses if what the query demands is not committed yet.
func (q *ask) demands(committed Position, state State) error {
	if len(q.atLeast) == 0 {
		return nil
	}
	ok, err := q.atLeast.reached(committed)
	switch {
	case err != nil:
		return refuse(refusedQuestion, state, "%v", err)
	case !ok:
		return refuse(refusedBehind, state, "partition %d has committed %v, and the query demands %v", q.partition, committed,
			q.atLeast)
	}
	return nil
}

// answerGlobal reads the global stores of this instance. They are in no group: there is no other owner.
func (in *incarnation) answerGlobal(ctx context.Context, q *ask, state State) (r reply, err error) {
	r.info.Partition = anyPartition
	in.reading.RLock()
	defer in.reading.RUnlock()
	if in.global == nil || in.globalClosed {
		return r, refuse(refusedElsewhere, state, "the global stores are not open (%s)", state)
	}
	r.info.Position = make(Position)
	for _, s := range in.global.Snapshot() { // before the read, which may see more
		if s.Store != q.store {
			continue
		}
		for _, i := range s.Inputs {
			r.info.Position[i.TopicPartition] = i.Committed
		}
	}
	if err := q.demands(r.info.Position, state); err != nil {
		return r, err
	}
	s, _, err := in.globalView(q.store)
	if err == nil {
		err = readQueryable(s, q, &r, state)
	}
	if err != nil {
		return r, failure(ctx, err, state)
	}
	return r, nil
}

// failure makes a refusal of what a store failed with.
func failure(ctx context.Context, err error, state State) error {
	var no *refusal
	var question *store.QuestionError
	switch {
	case errors.As(err, &no):
		return no
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	case errors.As(err, &question):
		return refuse(refusedQuestion, state, "%v", err)
	case errors.Is(err, store.ErrClosed):
		return refuse(refusedElsewhere, state, "%v", err)
	}
	return refuse(refusedFailed, state, "%v", err)
}

// pauses are the waits between attempts.
type pauses struct{ next time.Duration }

// Bounds of the waits between attempts of a query: a commit takes longer than the first, and a rebalance than the last.
const (
	pauseMin = 4 * time.Millisecond
	pauseMax = 100 * time.Millisecond
)

// wait waits for the next attempt, or returns false when ctx has ended.
func (p *pauses) wait(ctx context.Context, c clock.Clock) bool {
	p.next = min(max(2*p.next, pauseMin), pauseMax)
	t := c.NewTimer(p.next)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
