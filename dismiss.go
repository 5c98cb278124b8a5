package tidemark

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// A member that is lost may leave transactions open. Who takes its tasks over ends those that hold up the tasks'
// offsets and changelogs; one that has only written outputs or repartition topics would hold up their readers until its
// timeout (transaction.timeout.ms). The leader of the group knows who is a member, and ends the transactions of all
// others.

// roster is what the leader of the group knows of its members. Owned by the group's goroutine.
type roster struct {
	workers map[string]int // by process id, of members of this and earlier rebalances; nil before the first
}

// update takes the members of a rebalance, for good, and returns those that were members before and are not any more.
func (r *roster) update(now map[string]int) (gone map[string]int) {
	gone = make(map[string]int)
	for process, n := range r.workers {
		if _, ok := now[process]; !ok {
			gone[process] = n
		}
	}
	r.workers = now
	return gone
}

// transactionalID names the producer of a worker: the process id outlives restarts, so that the next life of a process
// ends what the one before has left open.
func transactionalID(application, process string, worker int) string {
	return fmt.Sprintf("%s-%s-%d", application, process, worker)
}

// processOf is the process id in a transactional id.
func processOf(application, id string) (process string, ok bool) {
	rest, ok := strings.CutPrefix(id, application+"-")
	if !ok {
		return "", false
	}
	at := strings.LastIndexByte(rest, '-')
	if at < 0 {
		return "", false
	}
	return rest[:at], true
}

// lastOwnersTimeout bounds a question that the rebalance waits for, once.
const lastOwnersTimeout = time.Second

// dismiss ends, in the background, the transactions of processes that are no members any more: those that left since
// the rebalance before, and at our first one as leader those that committed offsets last. These are read here and now,
// before the next owners commit.
func (in *incarnation) dismiss(ctx context.Context, workers map[string]int) {
	application, logger := in.app.cfg.ApplicationID, in.app.cfg.Logger
	first := in.roster.workers == nil
	var ids []string
	for process, n := range in.roster.update(workers) {
		for i := range n {
			ids = append(ids, transactionalID(application, process, i))
		}
	}
	if first {
		owners, err := in.lastOwners(ctx)
		if err != nil {
			logger.Warn("cannot look for owners that are gone: their transactions end with their timeout",
				slog.Any("error", err))
		}
		for _, id := range owners {
			process, ok := processOf(application, id)
			if _, member := workers[process]; ok && !member {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return
	}
	in.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, in.app.cfg.TransactionTimeout) // then they are over
		defer cancel()
		for _, id := range ids {
			logger.Info("ending what a process has left open that is no member any more",
				slog.String("transactional_id", id))
			if err := in.admin.FenceProducer(ctx, id); err != nil && ctx.Err() == nil {
				logger.Warn("cannot end a transaction: readers of what it wrote wait for its timeout",
					slog.String("transactional_id", id), slog.Any("error", err))
			}
		}
	})
}

// lastOwners are the transactional ids that committed offsets of our inputs last.
func (in *incarnation) lastOwners(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lastOwnersTimeout)
	defer cancel()
	offsets, err := in.lastCommits(ctx)
	return named(offsets, func(m eos.Metadata) string { return m.TransactionalID }), err
}

// lastCommits are the committed offsets of all inputs, whatever is pending.
func (in *incarnation) lastCommits(ctx context.Context) (map[record.TopicPartition]eos.Offset, error) {
	var inputs []record.TopicPartition
	for _, t := range in.topics.tasks {
		inputs = append(inputs, t.Partitions...)
	}
	return in.admin.PossiblyUnstableOffsets(ctx, in.app.cfg.ApplicationID, inputs)
}

// named returns the names in the metadata of committed offsets, each once, but for "".
func named(offsets map[record.TopicPartition]eos.Offset, name func(eos.Metadata) string) []string {
	var names []string
	for _, o := range offsets {
		if m, err := eos.ParseMetadata(o.Metadata); err == nil && name(m) != "" {
			names = append(names, name(m))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
