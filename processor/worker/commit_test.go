package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// brokerModel is what a broker does, as far as a commit can tell: it keeps the records and offsets of transactions that
// commit. The fault is injected at the n-th call.
type brokerModel struct {
	mu      sync.Mutex // Send and SendOffsets overlap
	calls   int
	failAt  int   // 0: never
	failure error // what the failing call returns
	// applied says whether the failing Commit took effect nevertheless.
	applied bool

	open      bool
	staged    []string
	offsets   map[record.TopicPartition]eos.Offset
	committed []string
	stable    map[record.TopicPartition]eos.Offset
	log       []string
	member    eos.Member
}

func newBrokerModel() *brokerModel {
	return &brokerModel{
		stable: make(map[record.TopicPartition]eos.Offset),
		member: eos.Member{GroupID: "app", MemberID: "m", Generation: 1},
	}
}

func (b *brokerModel) call(name string) error {
	b.calls++
	b.log = append(b.log, name)
	if b.calls == b.failAt {
		return b.failure
	}
	return nil
}

func (b *brokerModel) failNext(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failAt, b.failure = b.calls+1, err
}

// inits is how often Init was called.
func (b *brokerModel) inits() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, call := range b.log {
		if call == "init" {
			n++
		}
	}
	return n
}

func (b *brokerModel) Init(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("init"); err != nil {
		return err
	}
	b.open, b.staged, b.offsets = false, nil, nil
	return nil
}

func (b *brokerModel) Begin(context.Context, []record.TopicPartition, bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("begin"); err != nil {
		return err
	}
	if b.open {
		return fmt.Errorf("a transaction is open: %w", eos.ErrFatal)
	}
	b.open = true
	return nil
}

func (b *brokerModel) Send(_ context.Context, batches []*record.Batch) ([]int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("send"); err != nil {
		return nil, err
	}
	ends := make([]int64, len(batches))
	for i, batch := range batches {
		for j := range batch.Len() {
			b.staged = append(b.staged, string(batch.At(j).Value))
		}
		ends[i] = int64(len(b.committed) + len(b.staged))
	}
	return ends, nil
}

func (b *brokerModel) SendOffsets(_ context.Context, m eos.Member, offsets map[record.TopicPartition]eos.Offset) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("offsets"); err != nil {
		return err
	}
	if m != b.member {
		return fmt.Errorf("generation %d: %w", m.Generation, eos.ErrGeneration)
	}
	b.offsets = offsets
	return nil
}

func (b *brokerModel) Commit(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.call("commit")
	if err == nil || b.applied {
		b.committed = append(b.committed, b.staged...)
		maps.Copy(b.stable, b.offsets)
		b.open, b.staged = false, nil
	}
	return err
}

func (b *brokerModel) Abort(ctx context.Context) error { return b.Init(ctx) }
func (b *brokerModel) TransactionalID() string         { return "app-p-0" }
func (b *brokerModel) Close() error                    { return nil }

func (b *brokerModel) CommittedOffsets(
	_ context.Context, _ string, tps []record.TopicPartition,
) (map[record.TopicPartition]eos.Offset, error) {
	if err := b.call("ask"); err != nil {
		return nil, err
	}
	out := make(map[record.TopicPartition]eos.Offset)
	for _, tp := range tps {
		if o, ok := b.stable[tp]; ok {
			out[tp] = o
		}
	}
	return out, nil
}

// askOnly is an Admin of which a commit may use only CommittedOffsets.
type askOnly struct {
	Admin

	model *brokerModel
}

func (a askOnly) CommittedOffsets(
	ctx context.Context, group string, tps []record.TopicPartition,
) (map[record.TopicPartition]eos.Offset, error) {
	return a.model.CommittedOffsets(ctx, group, tps)
}

// Found by killing a broker: a failed transaction's markers were lost, the restore of the worker's own task waited for
// them, and nothing made the producer look, because a worker without tasks commits nothing.
func TestProducerIsInitialisedWithoutAnotherCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrokerModel()
		c := newTestCommitter(b)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.run(ctx)
		inits := func() int {
			synctest.Wait()
			return b.inits()
		}
		c.requests <- testTransaction(b, 1)
		require.True(t, (<-c.outcomes).committed)
		time.Sleep(time.Hour)
		require.Zero(t, inits(), "a producer in order is left alone")

		b.failNext(eos.ErrAborted)
		c.requests <- testTransaction(b, 2)
		require.False(t, (<-c.outcomes).committed)
		b.failNext(eos.ErrAborted) // the first attempt
		time.Sleep(reinitDelay)
		require.Equal(t, 1, inits())
		time.Sleep(reinitDelay)
		require.Equal(t, 2, inits(), "again, since it failed")
		time.Sleep(time.Hour)
		require.Equal(t, 2, inits())

		// On request, also where everything looked well from here.
		require.NoError(t, c.settleLast(ctx))
		require.Equal(t, 3, inits())
		cancel()
		c.wait()
		require.ErrorIs(t, c.settleLast(t.Context()), ErrStopped)
	})
}

// slowInit lets Init last until its context ends.
type slowInit struct {
	*brokerModel

	entered chan struct{}
}

func (s slowInit) Init(ctx context.Context) error {
	s.entered <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// A hand-over that runs out of time interrupts its commit also where that has to wait for something else first.
func TestCommitIsInterruptedBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrokerModel()
		slow := slowInit{brokerModel: b, entered: make(chan struct{}, 10)}
		c := newTestCommitter(b)
		c.producer = slow
		ctx, cancel := context.WithCancel(t.Context())
		go c.run(ctx)
		settled := make(chan error, 1)
		go func() { settled <- c.settleLast(ctx) }()
		<-slow.entered
		c.requests <- testTransaction(b, 1)
		began := time.Now()
		c.interrupt()
		require.False(t, (<-c.outcomes).committed)
		require.ErrorIs(t, <-settled, context.Canceled)
		require.Zero(t, time.Since(began))
		c.mu.Lock()
		require.False(t, c.mu.interrupted)
		c.mu.Unlock()
		cancel()
		c.wait()
	})
}

func newTestCommitter(b *brokerModel) *committer {
	c := newCommitter(Config{
		Guarantee: eos.ExactlyOnceV2, Producer: b, Admin: askOnly{model: b}, Member: func() eos.Member { return b.member },
		Logger: slog.New(slog.DiscardHandler),
	})
	return c
}

func testTransaction(b *brokerModel, n int) *transaction {
	in, out := record.TopicPartition{Topic: "in"}, record.TopicPartition{Topic: "out"}
	batch := &record.Batch{TopicPartition: out}
	batch.Append(nil, fmt.Appendf(nil, "v%d", n), 0, nil)
	m := eos.Metadata{TransactionalID: b.TransactionalID(), Epoch: record.Epoch(n), StreamTime: -1}
	return &transaction{
		batches: []*record.Batch{batch}, member: b.member,
		offsets: map[record.TopicPartition]eos.Offset{in: {Offset: int64(n), Metadata: m.Encode()}},
	}
}

// Whatever call fails, and however: what commit says of the transaction is what the broker has, and trying dropped
// transactions again gives each record exactly once.
func TestCommitTellsTheTruth(t *testing.T) {
	failures := map[string]error{
		"aborted": eos.ErrAborted, "unmarked": errors.New("something"), "fenced": eos.ErrFenced,
		"unknown": eos.ErrUnknownOutcome,
	}
	for name, failure := range failures {
		for _, applied := range []bool{false, true} {
			if applied && name != "unknown" {
				continue // an answer that says no means no
			}
			t.Run(fmt.Sprintf("%s/applied=%t", name, applied), func(t *testing.T) {
				for failAt := 1; ; failAt++ {
					b := newBrokerModel()
					c := newTestCommitter(b)
					b.failAt, b.failure, b.applied = failAt, failure, applied
					for n := 1; n <= 3; n++ {
						for tries := 0; ; tries++ {
							require.Less(t, tries, 5, "call %d: %v", failAt, b.log)
							before := len(b.committed)
							o := c.commit(t.Context(), testTransaction(b, n))
							arrived := len(b.committed) > before
							if o.failed {
								// Nobody knows: only after an unknown outcome that could not be asked about.
								require.ErrorIs(t, o.err, failure)
								return
							}
							require.Equal(t, arrived, o.committed, "call %d: %v", failAt, b.log)
							if o.committed {
								break
							}
						}
					}
					require.Equal(t, []string{"v1", "v2", "v3"}, b.committed, "call %d: %v", failAt, b.log)
					if b.calls < failAt {
						return // a run without any failure: every call has failed once
					}
				}
			})
		}
	}
}

// A rebalance in the middle of a commit: the group refuses the old generation, and the transaction goes on under the
// new one.
func TestCommitGoesOnAtTheNextGeneration(t *testing.T) {
	b := newBrokerModel()
	c := newTestCommitter(b)
	old := b.member
	asked := 0
	c.member = func() eos.Member {
		asked++
		if asked < 4 { // the new generation arrives while the committer waits for it
			return old
		}
		return b.member
	}
	x := testTransaction(b, 1)
	b.member.Generation = 2
	o := c.commit(t.Context(), x)
	require.True(t, o.committed, "%v", o.err)
	require.Equal(t, []string{"v1"}, b.committed)
}

// A member that lost its membership must not commit under the new one: others may have its partitions.
func TestCommitIsDroppedWhenMembershipWasLost(t *testing.T) {
	b := newBrokerModel()
	c := newTestCommitter(b)
	x := testTransaction(b, 1)
	b.member = eos.Member{GroupID: "app", MemberID: "another", Generation: 5}
	o := c.commit(t.Context(), x)
	require.False(t, o.committed)
	require.ErrorIs(t, o.err, eos.ErrAborted)
	require.Empty(t, b.committed)
}

// A commit of unknown outcome that cannot be decided at once stays unknown: dropping it would count its input twice if
// it is in.
func TestUnknownOutcomeThatCannotBeDecided(t *testing.T) {
	for _, applied := range []bool{false, true} {
		b := newBrokerModel()
		c := newTestCommitter(b)
		x := testTransaction(b, 1)
		b.applied, b.failAt, b.failure = applied, 4, eos.ErrUnknownOutcome // the commit
		c.producer = initFails{b}
		o := c.commit(t.Context(), x)
		require.True(t, o.failed)
		require.False(t, o.committed)
		require.ErrorContains(t, o.err, "unknown outcome")
	}
}

// initFails is a producer that cannot be initialised again.
type initFails struct{ eos.Producer }

func (initFails) Init(context.Context) error { return eos.ErrAborted }
