package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// inputsChangedError ends an incarnation whose inputs are not those of its start any more. It is no failure: the next
// incarnation takes them in, or says why it cannot.
type inputsChangedError struct {
	what string
	// gone says that a topic was deleted: what is being committed for it cannot succeed.
	gone bool
}

func (e *inputsChangedError) Error() string { return "tidemark: " + e.what }

// changedInputs compares the inputs with what they are now: nil if nothing has changed.
func (t *topics) changedInputs(ctx context.Context) (changed *inputsChangedError, err error) {
	now, _, err := resolvePatterns(ctx, t.applicationID, t.plan, t.admin)
	if _, ok := errors.AsType[*processor.PatternError](err); ok {
		return &inputsChangedError{what: err.Error()}, nil // the next start ends with it
	}
	if err != nil {
		return nil, err
	}
	var what []string
	had, has := t.plan.Matched(), now.Matched()
	for _, topic := range has {
		if !slices.Contains(had, topic) {
			what = append(what, fmt.Sprintf("topic %q matches a pattern now", topic))
		}
	}
	gone := false
	for _, topic := range had {
		if !slices.Contains(has, topic) {
			gone = true
			what = append(what, fmt.Sprintf("topic %q, which matched a pattern, is gone", topic))
		}
	}
	sources := t.sources()
	for _, g := range t.plan.Globals {
		sources = append(sources, g.Topic())
	}
	found, err := t.admin.Partitions(ctx, sources)
	if err != nil {
		return nil, err
	}
	for _, name := range sources {
		if n := found[name]; n != 0 && n != t.partitions[name] {
			what = append(what, fmt.Sprintf("input topic %q had %d partitions and has %d", name, t.partitions[name], n))
		}
	}
	if len(what) == 0 {
		return nil, nil //nolint:nilnil // nothing has changed
	}
	return &inputsChangedError{what: strings.Join(what, "; "), gone: gone}, nil
}

// watchInputs ends the incarnation when its inputs have changed: every now and then it looks, and whenever the group
// shows that another member knows other inputs. Brokers hear of topics at different times, so it then looks more than
// once.
func (in *incarnation) watchInputs(ctx context.Context) {
	regular := in.app.clock.NewTicker(in.app.cfg.MetadataMaxAge)
	defer regular.Stop()
	soon := in.app.clock.NewTicker(min(time.Second, in.app.cfg.MetadataMaxAge))
	defer soon.Stop()
	looks := 0
	for {
		select {
		case <-in.disagree:
			looks = looksMax
		case <-soon.C:
			if looks == 0 {
				continue
			}
			looks--
		case <-regular.C:
		case <-ctx.Done():
			return
		}
		// A broker that does not answer is noticed elsewhere.
		if changed, err := in.topics.changedInputs(ctx); err == nil && changed != nil {
			in.fail(changed)
			return
		}
	}
}

const looksMax = 5

// goneTimeout bounds the end of an incarnation that reads a deleted topic: a commit with an offset for it is repeated
// until somebody stops it, and dropped then.
const goneTimeout = time.Second

// closing is the context in which an incarnation that ends with err commits and hands over. A rebalance may wait for a
// commit that cannot succeed, and hold its tasks: leave ends the membership, and with it that. It would be needed for
// commits only, and none will follow.
func (in *incarnation) closing(ctx context.Context, err error, leave func()) (context.Context, context.CancelFunc) {
	patience := in.app.cfg.CloseTimeout
	if in.leavesGroup() {
		patience /= 2 // the other half was for others to take our tasks
	}
	if changed, ok := errors.AsType[*inputsChangedError](err); ok && changed.gone {
		leave()
		patience = min(goneTimeout, patience)
	}
	return context.WithTimeout(ctx, patience)
}

// blameInputs returns why an incarnation has really ended: a topic that was deleted shows in errors of all kinds.
func (in *incarnation) blameInputs(ctx context.Context, err error) error {
	_, told := errors.AsType[*inputsChangedError](err)
	if told || errors.Is(err, errStopped) || !in.topics.plan.HasPatterns() || !restartable(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, min(5*time.Second, in.app.cfg.ConnectTimeout))
	defer cancel()
	changed, lookErr := in.topics.changedInputs(ctx)
	if lookErr != nil || changed == nil {
		return err
	}
	in.app.cfg.Logger.Warn("failed while inputs were changing", slog.Any("error", err))
	return changed
}

// firstInputs are the inputs as they were when the application started: what is added later has no records from before.
type firstInputs struct {
	mu     sync.Mutex
	counts map[string]int32 // nil: not known yet
}

// start notes the inputs of the first incarnation.
func (f *firstInputs) start(t *topics) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts != nil {
		return
	}
	f.counts = make(map[string]int32)
	for _, topic := range t.sources() {
		f.counts[topic] = t.partitions[topic]
	}
}

// before returns how many partitions inputs had before this incarnation: as the description of what ran last has them,
// or else as this process has found them first.
func (f *firstInputs) before(stored *topology.Description) map[string]int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := make(map[string]int32)
	maps.Copy(counts, f.counts)
	if stored != nil {
		for _, t := range stored.Topics {
			if t.Read && !t.Repartition && t.Partitions > 0 {
				counts[t.Name] = t.Partitions
			}
		}
	}
	return counts
}

// added reports whether a partition has come since.
func (f *firstInputs) added(tp record.TopicPartition) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts != nil && tp.Partition >= f.counts[tp.Topic]
}

// sourceOf returns the source node that reads a physical topic, nil if there is none.
func (t *topics) sourceOf(topic string) *processor.Node {
	for _, n := range t.plan.Nodes {
		if n.Kind == processor.SourceNode && slices.ContainsFunc(n.Topics, func(name string) bool {
			return t.physical(name) == topic
		}) {
			return n
		}
	}
	return nil
}
