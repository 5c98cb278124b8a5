package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

// ReadCommitted returns every record of a topic that a read_committed consumer sees, up to its last stable offsets at
// the time of the call, in order of partition and offset. It decides itself what is aborted, from the broker's list
// and the markers.
func (c *Cluster) ReadCommitted(t testing.TB, topic string) []Record {
	t.Helper()
	return c.read(t, topic, sarama.ReadCommitted)
}

// ReadUncommitted returns every record, also those of open and aborted transactions.
func (c *Cluster) ReadUncommitted(t testing.TB, topic string) []Record {
	t.Helper()
	return c.read(t, topic, sarama.ReadUncommitted)
}

func (c *Cluster) read(t testing.TB, topic string, isolation sarama.IsolationLevel) []Record {
	t.Helper()
	client := c.client(t)
	defer func() { _ = client.Close() }()
	ids := partitions(t, client, topic)
	slices.Sort(ids)
	var all []Record
	for _, p := range ids {
		r := reader{topic: topic, partition: p, isolation: isolation}
		eventually(t, fmt.Sprintf("start of %s-%d", topic, p), func() (err error) {
			r.next, err = client.GetOffset(topic, p, sarama.OffsetOldest)
			return err
		})
		eventually(t, fmt.Sprintf("read %s-%d", topic, p), func() error { return r.read(client) })
		all = append(all, r.records...)
	}
	return all
}

// reader reads one partition from next to the end that the first answer names.
type reader struct {
	topic     string
	partition int32
	isolation sarama.IsolationLevel
	next      int64
	end       int64
	known     bool // end is
	records   []Record
}

func (r *reader) read(client sarama.Client) error {
	leader, err := client.Leader(r.topic, r.partition)
	if err != nil {
		return err
	}
	for !r.known || r.next < r.end {
		if err := r.fetch(leader); err != nil {
			return errors.Join(err, client.RefreshMetadata(r.topic))
		}
	}
	return nil
}

func (r *reader) fetch(leader *sarama.Broker) error {
	req := &sarama.FetchRequest{
		Version: 11, MaxWaitTime: 100, MaxBytes: fetchBytesMax, Isolation: r.isolation, SessionEpoch: -1,
	}
	req.AddBlock(r.topic, r.partition, r.next, fetchBytesMax, -1)
	resp, err := leader.Fetch(req)
	if err != nil {
		return err
	}
	block := resp.GetBlock(r.topic, r.partition)
	if block == nil {
		return fmt.Errorf("the broker's answer lacks %s-%d", r.topic, r.partition)
	}
	if block.Err != sarama.ErrNoError {
		return block.Err
	}
	if !r.known {
		r.known, r.end = true, block.HighWaterMarkOffset
		if r.isolation == sarama.ReadCommitted {
			r.end = block.LastStableOffset
		}
	}
	r.take(block)
	return nil
}

// take keeps the records of one answer that are below the end and not aborted.
func (r *reader) take(block *sarama.FetchResponseBlock) {
	pending := slices.Clone(block.AbortedTransactions)
	slices.SortFunc(pending, func(a, b *sarama.AbortedTransaction) int { return int(a.FirstOffset - b.FirstOffset) })
	aborted := map[int64]bool{} // producers whose records are being skipped
	for _, set := range block.RecordsSet {
		b := set.RecordBatch
		if b == nil || b.PartialTrailingRecord {
			return
		}
		for len(pending) > 0 && pending[0].FirstOffset <= b.LastOffset() {
			aborted[pending[0].ProducerID] = true
			pending = pending[1:]
		}
		if b.Control && isAbortMarker(b) {
			delete(aborted, b.ProducerID)
		}
		skip := b.Control || b.IsTransactional && aborted[b.ProducerID] && r.isolation == sarama.ReadCommitted
		for _, rec := range b.Records {
			offset := b.FirstOffset + rec.OffsetDelta
			if !skip && offset >= r.next && offset < r.end {
				r.records = append(r.records, r.convert(b, rec, offset))
			}
		}
		r.next = max(r.next, b.LastOffset()+1)
	}
}

// isAbortMarker reads a control record's key: version and type, 0 is abort.
func isAbortMarker(b *sarama.RecordBatch) bool {
	return len(b.Records) == 1 && len(b.Records[0].Key) >= 4 && binary.BigEndian.Uint16(b.Records[0].Key[2:]) == 0
}

func (r *reader) convert(b *sarama.RecordBatch, rec *sarama.Record, offset int64) Record {
	out := Record{
		Topic: r.topic, Partition: r.partition, Offset: offset,
		Key: rec.Key, Value: rec.Value, Timestamp: b.FirstTimestamp.Add(rec.TimestampDelta),
	}
	for _, h := range rec.Headers {
		out.Headers = append(out.Headers, record.Header{Key: string(h.Key), Value: h.Value})
	}
	return out
}

// AwaitDecided waits until no transaction is open in a topic. Offsets that a transaction has committed may be visible
// before its records are, on a real broker.
func (c *Cluster) AwaitDecided(t testing.TB, topic string) {
	t.Helper()
	client := c.client(t)
	defer func() { _ = client.Close() }()
	for _, p := range partitions(t, client, topic) {
		eventually(t, fmt.Sprintf("end of transactions in %s-%d", topic, p), func() error {
			end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
			if err != nil {
				return err
			}
			leader, err := client.Leader(topic, p)
			if err != nil {
				return err
			}
			r := reader{topic: topic, partition: p, isolation: sarama.ReadCommitted, next: end}
			if err := r.fetch(leader); err != nil {
				return err
			}
			if r.end < end {
				return fmt.Errorf("the last stable offset is %d of %d", r.end, end)
			}
			return nil
		})
	}
}
