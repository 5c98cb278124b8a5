package task

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// output collects what the task writes to one topic until the commit: one batch per partition. Owned by the task
// goroutine.
type output struct {
	task    *Task
	topic   string
	batches []*record.Batch // by partition, nil while empty
	active  []int32         // partitions with a batch
	bytes   int
	robin   int32 // next partition for null keys
	// origin is the header that names the task, on records of repartition topics while checkpoints are enabled.
	origin record.Header
}

var _ processor.Output = (*output)(nil)

// recordOverheadBytes is what a record costs beside its key and value: the entry in the batch.
const recordOverheadBytes = 40

// Send implements processor.Output.
func (o *output) Send(key, value []byte, timestamp int64, headers []record.Header) error {
	n := int32(len(o.batches))
	if key == nil {
		// Round robin by record keeps the choice deterministic for the test driver; Kafka's sticky choice is not.
		o.robin = (o.robin + 1) % n
		o.append(o.robin, nil, value, timestamp, headers)
		return nil
	}
	o.append(processor.DefaultPartition(key, n), key, value, timestamp, headers)
	return nil
}

// SendTo implements processor.Output.
func (o *output) SendTo(partition int32, key, value []byte, timestamp int64, headers []record.Header) error {
	if partition < 0 || int(partition) >= len(o.batches) {
		return fmt.Errorf("task: partition %d of topic %q does not exist: it has %d", partition, o.topic, len(o.batches))
	}
	o.append(partition, key, value, timestamp, headers)
	return nil
}

// Partitions implements processor.Output.
func (o *output) Partitions() int32 { return int32(len(o.batches)) }

func (o *output) append(partition int32, key, value []byte, timestamp int64, headers []record.Header) {
	b := o.batches[partition]
	if b == nil {
		b = o.task.newBatch(record.TopicPartition{Topic: o.topic, Partition: partition})
		o.batches[partition] = b
		o.active = append(o.active, partition)
	}
	b.Append(key, value, timestamp, headers)
	o.bytes += len(key) + len(value) + recordOverheadBytes
	if o.origin.Value != nil {
		b.AddHeader(o.origin)
		o.bytes += len(o.origin.Value)
	}
}

// seal moves the batches of the epoch to dst and starts empty.
func (o *output) seal(dst []*record.Batch) []*record.Batch {
	for _, p := range o.active {
		dst = append(dst, o.batches[p])
		o.batches[p] = nil
	}
	o.active, o.bytes = o.active[:0], 0
	return dst
}

// Outputs yields what the active epoch has written so far, in the order of topics and for each of partitions: the
// batches that Seal will hand out, before they are sealed. A test driver looks into them between two records; the
// runtime must not, since nothing in them is committed. They hold until the next call of another method.
func (t *Task) Outputs() iter.Seq[*record.Batch] {
	return func(yield func(*record.Batch) bool) {
		for _, topic := range slices.Sorted(maps.Keys(t.outputs)) {
			for _, b := range t.outputs[topic].batches {
				if b != nil && !yield(b) {
					return
				}
			}
		}
	}
}

// drop forgets the batches of the epoch.
func (o *output) drop() {
	for _, p := range o.active {
		o.task.recycle(o.batches[p])
		o.batches[p] = nil
	}
	o.active, o.bytes = o.active[:0], 0
}

// spareBatchesMax and spareBatchBytesMax bound the memory kept for reuse between epochs.
const (
	spareBatchesMax    = 16
	spareBatchBytesMax = 8 << 20
)

func (t *Task) newBatch(tp record.TopicPartition) *record.Batch {
	b := &record.Batch{}
	if n := len(t.spare); n > 0 {
		b, t.spare = t.spare[n-1], t.spare[:n-1]
	}
	b.TopicPartition = tp
	return b
}

func (t *Task) recycle(b *record.Batch) {
	if b.Bytes() > spareBatchBytesMax || len(t.spare) >= spareBatchesMax {
		return
	}
	b.Reset()
	t.spare = append(t.spare, b)
}
