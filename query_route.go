package tidemark

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
)

// router finds who can answer, asks, and follows a task that moves. Of an App, or of a QueryClient, which has no local.
//
//	ask ──► local? ──► owner, as the cluster is known ──► its standbys, if stale answers will do
//	 ▲         page by page: each goes on behind the last one, whoever answers it
//	 └── pause, look at the cluster again ◄── refused, unreachable, cut off
type router struct {
	local   func(ctx context.Context, q *ask) (reply, error) // nil: there is none
	self    string                                           // our own endpoint
	cluster *clusterCache                                    // nil: only local answers
	remote  *remote
	clock   clock.Clock
}

// stream yields the pages of an answer, until there are no more or yield returns false. Every one is right as of some
// moment of the call; what goes wrong in between is tried again until ctx or the patience ends.
func (r *router) stream(ctx context.Context, q ask, patience time.Duration, yield func(reply) bool) error {
	bounded, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	var wait pauses
	var since time.Time
	for {
		progress, done := false, false
		err := r.attempt(bounded, &q, since, func(p reply) bool {
			progress = true
			q.question.After = p.page.Next
			done = !yield(p) || p.page.Next == nil
			return !done
		})
		switch {
		case done:
			return nil
		case err == nil:
			err = errors.New("the answer ended early")
		case bounded.Err() == nil && !mayRetry(err):
			return final(&q, err)
		case r.cluster == nil && isElsewhere(err):
			return err // to become a NotHereError
		}
		since = r.clock.Now()
		if progress {
			wait = pauses{}
		}
		if bounded.Err() != nil || !wait.wait(bounded, r.clock) {
			return &UnavailableError{
				Store: q.store, Partition: q.partition, Retriable: true, Err: err, Cause: endOf(ctx),
			}
		}
	}
}

// errPatience ends a query that was retried for as long as its reader wants.
var errPatience = errors.New("the time for retries is over")

// attempt asks whoever should know, best first, until somebody answers. What nobody has answered is the error of the
// first that was asked: that one should have.
func (r *router) attempt(ctx context.Context, q *ask, since time.Time, yield func(reply) bool) (err error) {
	if err := endOf(ctx); err != nil {
		return err
	}
	asked := false
	if r.local != nil {
		if asked, err = r.attemptLocal(ctx, q, yield); asked {
			return err
		}
	}
	if r.cluster == nil {
		return err
	}
	c, lookErr := r.cluster.get(ctx, since)
	if lookErr != nil {
		return fmt.Errorf("find out who has what: %w", lookErr)
	}
	endpoints, lookErr := c.candidates(q)
	if lookErr != nil {
		return lookErr
	}
	answered := false
	first := err
	for _, endpoint := range endpoints {
		if endpoint == r.self && r.local != nil {
			continue
		}
		err := r.remote.ask(ctx, endpoint, q, func(p reply) bool { answered = true; return yield(p) })
		if err == nil || answered || ctx.Err() != nil || !mayRetry(err) {
			return err
		}
		if !asked {
			asked, first = true, err
		}
	}
	return first
}

// attemptLocal asks this instance. asked is false if others may know better.
func (r *router) attemptLocal(ctx context.Context, q *ask, yield func(reply) bool) (asked bool, err error) {
	for page := *q; ; asked = true {
		p, err := r.local(ctx, &page)
		if err != nil {
			return asked || !othersMayKnow(err), err
		}
		if !yield(p) {
			return true, nil
		}
		page.question.After = p.page.Next
	}
}

// candidates returns the endpoints to ask, the best first.
func (c *cluster) candidates(q *ask) ([]string, error) {
	s, ok := c.stores[q.store]
	if !ok {
		return nil, refuse(refusedQuestion, Running, "the topology has no store %q that can be queried", q.store)
	}
	if s.Global {
		return c.all, nil
	}
	if q.partition < 0 || q.partition >= s.Partitions {
		return nil, refuse(refusedQuestion, Running, "store %q has partitions 0 to %d, and not %d", q.store, s.Partitions-1,
			q.partition)
	}
	id := record.TaskID{Subtopology: s.Subtopology, Partition: q.partition}
	var endpoints []string
	if owner, ok := c.active[id]; ok {
		endpoints = append(endpoints, owner)
	}
	if q.stale != nil {
		endpoints = append(endpoints, c.standbys[id]...)
	}
	if len(endpoints) == 0 {
		return nil, refuse(refusedElsewhere, Running, "no instance with a Config.ApplicationServer has task %s at present",
			id)
	}
	return slices.Compact(endpoints), nil
}

// isElsewhere reports that an instance does not have the task.
func isElsewhere(err error) bool {
	no, ok := errors.AsType[*refusal](err)
	return ok && no.code == refusedElsewhere
}

// othersMayKnow reports that an instance has refused for what it is, and not for how far it is.
func othersMayKnow(err error) bool {
	no, ok := errors.AsType[*refusal](err)
	return ok && (no.code == refusedElsewhere || no.code == refusedUnconfirmed || no.code == refusedStale)
}

// mayRetry reports whether an attempt that failed may do better later.
func mayRetry(err error) bool {
	if no, ok := errors.AsType[*refusal](err); ok {
		return no.retriable()
	}
	if far, ok := errors.AsType[*unreachable](err); ok {
		return !far.final
	}
	return true // of the look at the cluster
}

// final is the error of a query that no retry mends.
func final(q *ask, err error) error {
	if no, ok := errors.AsType[*refusal](err); ok && no.code == refusedQuestion {
		return fmt.Errorf("tidemark: query of store %q: %w", q.store, err)
	}
	return &UnavailableError{Store: q.store, Partition: q.partition, Err: err}
}
