package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// Limits of the loop.
const (
	fetchBytesMax     = 1 << 20 // per partition and fetch
	fetchWaitMs       = 50
	fetchesAhead      = 2
	epochRecordsMax   = 400_000 // counted while the last epoch is being committed, before counting has to wait
	recordsPerRequest = 15_000  // of a partition: below max.message.bytes (1 MB) at 60 bytes a record
)

// counter is the state of one key. Owned by the count goroutine.
type counter struct {
	key   []byte
	count uint64
	dirty bool
}

// partition is the state of one input partition, owned by the count goroutine, and its part of the epoch.
type partition struct {
	id      int32
	next    int64
	end     int64
	counts  map[string]*counter
	dirty   []*counter      // --cache on: keys changed in this epoch
	updates []sarama.Record // --cache off: every update of this epoch
	values  []byte          // memory of the values of updates
	stamp   time.Duration   // timestamp of the last record, since the batch's first
	base    time.Time       // timestamp of the last batch
}

// epoch is what one transaction commits.
type epoch struct {
	records map[int32][]sarama.Record
	offsets map[int32]int64
	stamps  map[int32]time.Time
}

// worker is one line of three goroutines.
type worker struct {
	plan       plan
	partitions map[int32]*partition
	producer   *producer
	fetch      *sarama.Broker
	commits    int           // read after all is committed
	stall      time.Duration // time that counting waited for a commit
}

func startWorkers(p plan, ends map[int32]int64) ([]*worker, <-chan error) {
	failed := make(chan error, p.threads)
	workers := make([]*worker, p.threads)
	for i := range workers {
		w := &worker{plan: p, partitions: map[int32]*partition{}}
		for id, end := range ends {
			if int(id)%p.threads == i {
				w.partitions[id] = &partition{id: id, end: end, counts: map[string]*counter{}}
			}
		}
		workers[i] = w
		go func() {
			if err := w.run(fmt.Sprintf("%s-%d", p.group, i)); err != nil {
				failed <- err
			}
		}()
	}
	return workers, failed
}

// run counts until all partitions are at their ends and the last epoch is with the committer, then waits for it.
func (w *worker) run(transactionalID string) error {
	var err error
	if w.producer, err = newProducer(w.plan, transactionalID); err != nil {
		return err
	}
	if w.fetch, err = dial(w.plan.addr); err != nil {
		return err
	}
	responses := make(chan *sarama.FetchResponse, fetchesAhead)
	failed := make(chan error, 2)
	go func() {
		if err := w.runFetch(responses); err != nil {
			failed <- err
		}
	}()

	free := make(chan struct{}, 1) // holds a token while no epoch is being committed
	free <- struct{}{}
	last, counted := time.Now(), 0
	hand := func() {
		before := time.Now()
		<-free
		w.stall += time.Since(before)
		e := w.cut()
		last, counted = time.Now(), 0
		w.commits++
		go func() {
			if err := w.producer.commit(e); err != nil {
				failed <- err
				return
			}
			free <- struct{}{}
		}()
	}
	open := 0
	for _, p := range w.partitions {
		if p.end > 0 {
			open++
		}
	}
	for open > 0 {
		select {
		case err := <-failed:
			return err
		case r := <-responses:
			n, ended, err := w.count(r)
			if err != nil {
				return err
			}
			counted += n
			open -= ended
		case <-time.After(w.plan.commitEvery):
		}
		if counted == 0 || time.Since(last) < w.plan.commitEvery {
			continue
		}
		if len(free) > 0 || counted > epochRecordsMax {
			hand()
		}
	}
	if counted > 0 {
		hand()
	}
	select {
	case err := <-failed:
		return err
	case <-free:
		return nil
	}
}

// runFetch reads ahead until every partition is at its end.
func (w *worker) runFetch(to chan<- *sarama.FetchResponse) error {
	next := map[int32]int64{}
	for id := range w.partitions {
		next[id] = 0
	}
	for {
		req := &sarama.FetchRequest{
			Version: 11, MaxWaitTime: fetchWaitMs, MinBytes: 1, MaxBytes: 64 << 20,
			Isolation: sarama.ReadCommitted, SessionEpoch: -1,
		}
		open := false
		for id, offset := range next {
			if offset < w.partitions[id].end {
				req.AddBlock(w.plan.in, id, offset, fetchBytesMax, -1)
				open = true
			}
		}
		if !open {
			return nil
		}
		r, err := w.fetch.Fetch(req)
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		for id, block := range r.Blocks[w.plan.in] {
			for _, records := range block.RecordsSet {
				if b := records.RecordBatch; b != nil && !b.PartialTrailingRecord {
					next[id] = max(next[id], b.LastOffset()+1)
				}
			}
		}
		to <- r
	}
}

// count takes one response and returns the number of records in it and of partitions that have reached their ends.
func (w *worker) count(r *sarama.FetchResponse) (n, ended int, err error) {
	for id, block := range r.Blocks[w.plan.in] {
		if block.Err != sarama.ErrNoError {
			return n, ended, fmt.Errorf("fetch of %s-%d: %w", w.plan.in, id, block.Err)
		}
		p := w.partitions[id]
		was := p.next
		for _, records := range block.RecordsSet {
			if b := records.RecordBatch; b != nil && !b.Control && !b.PartialTrailingRecord {
				n += p.countBatch(b, w.plan.cache)
			}
		}
		if was < p.end && p.next >= p.end {
			ended++
		}
	}
	return n, ended, nil
}

func (p *partition) countBatch(b *sarama.RecordBatch, cache bool) (n int) {
	for _, r := range b.Records {
		offset := b.FirstOffset + r.OffsetDelta
		if offset < p.next {
			continue // a batch is delivered whole, even if it was asked for from its middle
		}
		c := p.counts[string(r.Key)]
		if c == nil {
			c = &counter{key: append([]byte(nil), r.Key...)}
			p.counts[string(c.key)] = c
		}
		c.count++
		n++
		p.next = offset + 1
		p.stamp = r.TimestampDelta
		if !cache {
			at := len(p.values)
			p.values = binary.BigEndian.AppendUint64(p.values, c.count)
			p.updates = append(p.updates, sarama.Record{Key: c.key, Value: p.values[at : at+8 : at+8], Headers: r.Headers})
		} else if !c.dirty {
			c.dirty = true
			p.dirty = append(p.dirty, c)
		}
	}
	p.base = b.FirstTimestamp
	return n
}

// cut ends the epoch: what changed since the last one is encoded, and counting goes on into fresh memory.
func (w *worker) cut() *epoch {
	e := &epoch{records: map[int32][]sarama.Record{}, offsets: map[int32]int64{}, stamps: map[int32]time.Time{}}
	for id, p := range w.partitions {
		records := p.updates
		if w.plan.cache {
			records = make([]sarama.Record, len(p.dirty))
			values := make([]byte, 0, 8*len(p.dirty))
			for i, c := range p.dirty {
				values = binary.BigEndian.AppendUint64(values, c.count)
				records[i] = sarama.Record{Key: c.key, Value: values[8*i : 8*i+8 : 8*i+8]}
				c.dirty = false
			}
		}
		if len(records) == 0 {
			continue
		}
		e.records[id], e.offsets[id], e.stamps[id] = records, p.next, p.base.Add(p.stamp)
		p.dirty = p.dirty[:0]
		p.updates, p.values = make([]sarama.Record, 0, len(records)), make([]byte, 0, 8*len(records))
	}
	return e
}
