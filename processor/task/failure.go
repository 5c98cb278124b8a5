package task

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// panicError carries a recovered panic of user code to the place that decides about it.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprint(e.value) }

// decidedError is an error about which the handler has been asked already.
type decidedError struct{ error }

func (e *decidedError) Unwrap() error { return e.error }

// guard runs user code and turns a panic into an error.
func guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r, stack: debug.Stack()}
		}
	}()
	return fn()
}

// userError says in which node, and on which record, user code failed. during is empty while a record is processed.
func (t *Task) userError(err error, during string) error {
	var already *processor.UserError
	if errors.As(err, &already) && already.Task != (record.TaskID{}) {
		already.During = during
		return err
	}
	u := &processor.UserError{Task: t.cfg.ID, Node: t.running, During: during, Err: err}
	if already != nil {
		u.Node, u.Err = already.Node, already.Err
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		u.Stack, u.Err = p.stack, p
	}
	if during == "" {
		u.TopicPartition = record.TopicPartition{Topic: t.meta.Topic, Partition: t.meta.Partition}
		u.Offset = t.meta.Offset
	}
	return u
}

// broken tells errors of the machine from those of user code, through which they pass: no handler may skip a record
// because a file is damaged, a disk is full, a broker or a schema registry does not answer, or results that must not
// leave early have no room. A record without a time is another matter: whoever wants to skip such records says so by
// their extractor.
func broken(err error) bool {
	var corrupt *store.CorruptError
	var flush *store.FlushError
	var load *store.LoadError
	var lookup *processor.LookupError
	var timestamp *processor.TimestampError // Kafka Streams asks no handler about it either
	var full *processor.BufferFullError
	var unavailable *serde.UnavailableError
	return errors.As(err, &corrupt) || errors.As(err, &flush) || errors.As(err, &load) || errors.As(err, &lookup) ||
		errors.As(err, &timestamp) || errors.As(err, &unavailable) || errors.As(err, &full) ||
		errors.Is(err, store.ErrClosed)
}

// isUsers tells whether an error came from user code. Anything else would come again for ever.
func isUsers(err error) bool {
	var ue *processor.UserError
	var p *panicError
	var codec *store.CodecError
	return errors.As(err, &ue) || errors.As(err, &p) || errors.As(err, &codec)
}

// failedWithout asks the handler about a failure of user code that no record is to blame for. A dead letter then has
// neither key nor value, and says in its headers what happened. nil means: go on.
func (t *Task) failedWithout(err error, during string, now int64) error {
	if broken(err) {
		return fmt.Errorf("task %s: %w", t.cfg.ID, err)
	}
	err = t.userError(err, during)
	f := processor.Failure{Task: t.cfg.ID, Stage: processor.Processing, Node: t.running, Err: err}
	if ue, ok := errors.AsType[*processor.UserError](err); ok {
		f.Node = ue.Node
	}
	f.Record.Timestamp, f.Record.Offset = now, -1
	return t.handle(t.cfg.Handlers.Processing, f, func(topic string) error {
		out, err := t.Output(topic)
		if err != nil {
			return err
		}
		return out.Send(nil, nil, now, deadLetterHeaders(f))
	})
}

// failed asks the handler about the record that was just taken from the queue. nil means: go on with the next one. What
// the record had already written stays, as in Kafka Streams.
func (t *Task) failed(q *queue, err error) error {
	if broken(err) {
		return fmt.Errorf("task %s: %w", t.cfg.ID, err)
	}
	f := processor.Failure{Task: t.cfg.ID, TopicPartition: q.tp, Record: q.last()}
	f.Record.Timestamp, f.Record.Headers, f.Record.Offset = t.meta.Timestamp, t.meta.Headers, t.meta.Offset
	handler := t.cfg.Handlers.Processing
	if de, ok := errors.AsType[*processor.DeserializationError](err); ok {
		f.Stage, f.Node, f.Err = processor.Deserialization, de.Node, fmt.Errorf("task %s: %s offset %d: %w (set "+
			"OnDeserializationError to skip or dead-letter such records)", t.cfg.ID, q.tp, t.meta.Offset, err)
		handler = t.cfg.Handlers.Deserialization
	} else {
		err = t.userError(err, "")
		var ue *processor.UserError
		errors.As(err, &ue)
		f.Stage, f.Node, f.Err = processor.Processing, ue.Node, err
	}
	return t.handle(handler, f, func(topic string) error {
		out, err := t.Output(topic)
		if err != nil {
			return err
		}
		return out.Send(f.Record.Key, f.Record.Value, f.Record.Timestamp, deadLetterHeaders(f))
	})
}

// HandleRefused asks the production handler about a record of a sealed epoch that the broker refuses. A dead letter is
// added to the same epoch. The caller takes the record out.
func (t *Task) HandleRefused(handler processor.Handler, e *Epoch, f processor.Failure) error {
	return t.handle(handler, f, func(topic string) error {
		out, err := t.Output(topic)
		if err != nil {
			return err
		}
		tp := record.TopicPartition{Topic: t.cfg.Physical(topic)}
		if tp.Topic == f.TopicPartition.Topic {
			return errors.New("it refuses the record, too")
		}
		if f.Record.Key != nil {
			tp.Partition = processor.DefaultPartition(f.Record.Key, out.Partitions())
		}
		b := t.newBatch(tp)
		b.Append(f.Record.Key, f.Record.Value, f.Record.Timestamp, deadLetterHeaders(f))
		e.Batches = append(e.Batches, b)
		return nil
	})
}

// handle asks a handler and carries its decision out. It returns the failure if the application must stop.
func (t *Task) handle(handler processor.Handler, f processor.Failure, deadLetter func(topic string) error) error {
	if handler == nil {
		return f.Err
	}
	var action processor.Action
	if err := guard(func() error { action = handler(f); return nil }); err != nil {
		return errors.Join(f.Err, fmt.Errorf("task %s: the %s handler panicked: %w", t.cfg.ID, f.Stage, err))
	}
	if action.IsFail() {
		return f.Err
	}
	t.metrics.Failed++
	topic := action.DeadLetterTopic()
	t.cfg.Logger.Warn("record failed", slog.String("stage", f.Stage.String()), slog.String("task", t.cfg.ID.String()),
		slog.String("node", f.Node), slog.String("topic", f.TopicPartition.Topic),
		slog.Int("partition", int(f.TopicPartition.Partition)), slog.Int64("offset", f.Record.Offset),
		slog.String("dead_letter", topic), slog.Any("error", f.Err))
	if topic == "" {
		return nil
	}
	if err := deadLetter(topic); broken(err) {
		// Not the failure's error too: after a restart the record comes again, and with it the failure.
		return fmt.Errorf("task %s: dead-letter topic %q: %w", t.cfg.ID, topic, err)
	} else if err != nil {
		return errors.Join(f.Err, fmt.Errorf("task %s: dead-letter topic %q: %w", t.cfg.ID, topic, err))
	}
	return nil
}

// deadLetterHeaders are the record's own headers and where it comes from, under the names of KIP-1034.
func deadLetterHeaders(f processor.Failure) []record.Header {
	h := append([]record.Header(nil), f.Record.Headers...)
	add := func(name, value string) {
		h = append(h, record.Header{Key: "__streams.errors." + name, Value: []byte(value)})
	}
	add("exception", typeOf(f.Err))
	add("message", f.Err.Error())
	var ue *processor.UserError
	if errors.As(f.Err, &ue) && ue.Stack != nil {
		add("stacktrace", string(ue.Stack))
	}
	if f.TopicPartition.Topic == "" {
		return h
	}
	add("topic", f.TopicPartition.Topic)
	add("partition", strconv.Itoa(int(f.TopicPartition.Partition)))
	add("offset", strconv.FormatInt(f.Record.Offset, 10))
	return h
}

// typeOf names the type that a reader can match on, behind the layers that only add a place.
func typeOf(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e.(type) { //nolint:errorlint // the chain is walked here
		case *processor.DeserializationError, *processor.UserError, *eos.RecordTooLargeError:
			return fmt.Sprintf("%T", e)
		}
	}
	return fmt.Sprintf("%T", err)
}
