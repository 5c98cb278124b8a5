package kafka

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

var _ worker.Fetcher = (*Fetcher)(nil)

const (
	// batchesMax is how many batches of a partition may be out: one being processed, one waiting, so that the worker
	// never waits for the network and memory stays bounded by two fetches per partition.
	batchesMax = 2
	// busyWait replaces MaxWait while a partition is left out of the request, because it has its batches out: it may
	// be released the next moment and must not wait for the end of a long poll.
	busyWait = 10 * time.Millisecond
	// paceRecords is what few records are, see FetcherConfig.Pace.
	paceRecords = 256
	// fetchBytesLimit is how far a fetch may grow for a batch that exceeds PartitionBytesMax.
	fetchBytesLimit = 256 << 20
	// attemptsMax bounds retries of errors that usually do not pass: undecodable responses, unknown server errors.
	attemptsMax = 10
	// metadataTimeout bounds the search for leaders at one broker; the next search begins with another one.
	metadataTimeout = 5 * time.Second
)

// FetcherConfig configures a [Fetcher]. The zero value is usable.
type FetcherConfig struct {
	// MaxWait is how long the broker may hold back an answer while there is no data (fetch.max.wait.ms). It is also how
	// long a newly added partition may have to wait. Defaults to 100 ms.
	MaxWait time.Duration
	// PartitionBytesMax bounds what one fetch brings of one partition (max.partition.fetch.bytes); a larger batch comes
	// whole nevertheless. Defaults to 1 MiB.
	PartitionBytesMax int32
	// ResponseBytesMax bounds one response (fetch.max.bytes). Defaults to 16 MiB.
	ResponseBytesMax int32
	// UnknownTopicTimeout is how long a topic may be unknown to the brokers before that is an error. Defaults to 30 s.
	UnknownTopicTimeout time.Duration
	// Pace is the least time from one fetch to the next while a fetch brings few records: at a moderate rate every
	// record would be a fetch of its own otherwise, which keeps the broker busy. Defaults to 0, none.
	Pace time.Duration
	// Logger defaults to none.
	Logger *slog.Logger
}

func (c FetcherConfig) withDefaults() FetcherConfig {
	c.MaxWait = cmp.Or(c.MaxWait, 100*time.Millisecond)
	c.PartitionBytesMax = cmp.Or(c.PartitionBytesMax, 1<<20)
	c.ResponseBytesMax = max(cmp.Or(c.ResponseBytesMax, 16<<20), c.PartitionBytesMax)
	c.UnknownTopicTimeout = cmp.Or(c.UnknownTopicTimeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Fetcher reads partitions, read_committed, for one worker.
//
// Goroutines: runLeaders finds the leaders of partitions that have none and starts runBroker for a broker when it first
// leads something. runBroker owns one connection; it sends one fetch for all its partitions that are due, converts the
// answer and hands it to the worker. All end with Close.
//
//	Add ──► homeless ──runLeaders──► due at its leader ──runBroker──► in flight ──► delivered ──Release──► due
//	            ▲                                                        │
//	            └──────────── leader moved, broker gone ─────────────────┘
//
// Not sarama.Consumer: it passes every message through two channels, which alone costs more than our whole budget.
type Fetcher struct {
	client *Client
	conns  *conns
	conf   FetcherConfig
	out    chan *worker.Fetched
	find   chan struct{} // wakes runLeaders
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		generation uint64
		parts      map[record.TopicPartition]*fetchPartition
		brokers    map[int32]*fetchBroker
	}
}

// fetchPartition is the state of one Add. Guarded by Fetcher.mu.
type fetchPartition struct {
	tp         record.TopicPartition
	generation uint64
	// offset is where the next fetch begins. Invariant: grows.
	offset int64
	// leader is the broker to ask, -1: homeless.
	leader   int32
	inFlight bool
	// out counts batches that the worker has not released. Invariant: 0 <= out <= batchesMax.
	out      int
	outBytes int // of those batches
	bytesMax int32
	// told: the worker knows where the partition ended when it was first asked, which it must also if it ended at offset.
	told bool
	// ended: an error was delivered, nothing more is fetched.
	ended bool
	// solo: the last response with it could not be decoded; it is fetched alone to find the culprit.
	solo      bool
	failures  int // in a row
	backoff   backoff
	notBefore time.Time
	// unknownSince is when the brokers first said that they do not know the topic, zero: they do.
	unknownSince time.Time
}

// fetchBroker is a broker that leads, or led, one of our partitions.
type fetchBroker struct {
	id   int32
	wake chan struct{}
}

// NewFetcher starts a fetcher without partitions.
func NewFetcher(client *Client, conf FetcherConfig) *Fetcher {
	f := &Fetcher{
		client: client, conf: conf.withDefaults(),
		out:  make(chan *worker.Fetched, 64),
		find: make(chan struct{}, 1),
	}
	f.conns = client.newConns("fetch", f.conf.MaxWait+client.conf.Net.ReadTimeout)
	f.mu.parts = make(map[record.TopicPartition]*fetchPartition)
	f.mu.brokers = make(map[int32]*fetchBroker)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.wg.Go(func() { f.runLeaders(ctx) })
	return f
}

// Add implements [worker.Fetcher].
func (f *Fetcher) Add(tp record.TopicPartition, offset int64) {
	f.mu.Lock()
	f.mu.generation++
	leader := int32(-1)
	if old := f.mu.parts[tp]; old != nil {
		leader = old.leader // it has only moved
	}
	f.mu.parts[tp] = &fetchPartition{
		tp: tp, generation: f.mu.generation, offset: offset, leader: leader, bytesMax: f.conf.PartitionBytesMax,
		backoff: backoff{first: 10 * time.Millisecond, max: time.Second},
	}
	b := f.mu.brokers[leader]
	f.mu.Unlock()
	f.wakeUp(b)
}

// Remove implements [worker.Fetcher].
func (f *Fetcher) Remove(tp record.TopicPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mu.parts, tp)
}

// Batches implements [worker.Fetcher]. The channel is never closed.
func (f *Fetcher) Batches() <-chan *worker.Fetched { return f.out }

// Stale implements [worker.Fetcher].
func (f *Fetcher) Stale(b *worker.Fetched) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.mu.parts[b.TopicPartition]
	return p == nil || p.generation != b.Generation
}

// Release implements [worker.Fetcher].
func (f *Fetcher) Release(b *worker.Fetched) {
	f.mu.Lock()
	p := f.mu.parts[b.TopicPartition]
	if p == nil || p.generation != b.Generation || p.out == 0 {
		f.mu.Unlock()
		return
	}
	p.out--
	p.outBytes -= b.Bytes
	home := f.mu.brokers[p.leader]
	f.mu.Unlock()
	f.wakeUp(home)
}

// Buffered implements [worker.Fetcher].
func (f *Fetcher) Buffered(tp record.TopicPartition) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.mu.parts[tp]; p != nil {
		return p.outBytes
	}
	return 0
}

// Close implements [worker.Fetcher]. It waits for the goroutines.
func (f *Fetcher) Close() error {
	f.cancel()
	err := f.conns.Close()
	f.wg.Wait()
	return err
}

// wakeUp tells a broker's goroutine to look for work; without a broker runLeaders is meant.
func (f *Fetcher) wakeUp(b *fetchBroker) {
	wake := f.find
	if b != nil {
		wake = b.wake
	}
	select {
	case wake <- struct{}{}:
	default: // it has not looked since the last time
	}
}

// deliver hands a batch to the worker, unless the partition was moved or removed meanwhile.
func (f *Fetcher) deliver(ctx context.Context, p *fetchPartition, b *worker.Fetched) {
	f.mu.Lock()
	if f.mu.parts[p.tp] != p {
		f.mu.Unlock()
		return
	}
	b.TopicPartition, b.Generation = p.tp, p.generation
	p.offset = b.Next
	p.told = true
	p.out++
	p.outBytes += b.Bytes
	p.ended = b.Err != nil
	f.mu.Unlock()
	select {
	case f.out <- b:
	case <-ctx.Done():
	}
}

// fail ends the fetching of a partition with an error for the worker.
func (f *Fetcher) fail(ctx context.Context, p *fetchPartition, err error) {
	f.mu.Lock()
	b := &worker.Fetched{Next: p.offset, HighWatermark: -1, Err: err}
	f.mu.Unlock()
	f.deliver(ctx, p, b)
}

// postponeLocked makes a partition wait, longer each time until a fetch succeeds. homeless: its leader is not the one
// we asked.
func (f *Fetcher) postponeLocked(p *fetchPartition, homeless bool) {
	p.failures++
	p.notBefore = time.Now().Add(p.backoff.step())
	if homeless {
		p.leader = -1
		f.client.forgetLeader(p.tp)
	}
}

// waitAny blocks until wake, the instant at (zero: none), or the end of ctx; false at the end.
func waitAny(ctx context.Context, wake <-chan struct{}, at time.Time) bool {
	var due <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-wake:
	case <-due:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// earliest returns the earlier of two instants of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
