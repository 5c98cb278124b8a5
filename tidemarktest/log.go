package tidemarktest

import (
	"bytes"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// topicLog is a topic in memory, with its only partition. A record's offset is its index.
type topicLog struct {
	topic   string
	records []logged
	// committed is how many records were there at the last commit.
	committed int
	// reader is who reads the topic, nil if nobody does.
	reader logReader
	// positions are those of the test's Outputs.
	positions []*int
}

// logReader is a task, or the global stores.
type logReader interface {
	add(topic string, raw record.Raw) error
}

type logged struct {
	record.Raw

	// piped says that the record came from the test and not from a task: a crash does not undo it.
	piped bool
}

// append copies a record to the end of the log and queues it for the task that reads it.
func (l *topicLog) append(r record.Raw, piped bool) error {
	r = cloneRaw(r, int64(len(l.records)))
	l.records = append(l.records, logged{r, piped})
	if l.reader == nil {
		return nil
	}
	return l.reader.add(l.topic, r)
}

// dropUncommitted removes what tasks wrote since the last commit.
func (l *topicLog) dropUncommitted() {
	kept := l.records[:l.committed:l.committed]
	for _, r := range l.records[l.committed:] {
		if r.piped {
			r.Offset = int64(len(kept))
			kept = append(kept, r)
		}
	}
	l.records = kept
	for _, p := range l.positions {
		*p = min(*p, l.committed)
	}
}

// cloneRaw copies a record, which may lie in a batch that is reused.
func cloneRaw(r record.Raw, offset int64) record.Raw {
	r.Key, r.Value, r.Offset = bytes.Clone(r.Key), bytes.Clone(r.Value), offset
	r.Headers = slices.Clone(r.Headers)
	for i, h := range r.Headers {
		r.Headers[i].Value = bytes.Clone(h.Value)
	}
	return r
}
