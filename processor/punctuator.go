package processor

// Punctuator is called at the times for which [Context.Schedule] asked: with the stream time or the wall clock in
// milliseconds since the Unix epoch, from the task goroutine. Its error is handled like that of a processor.
type Punctuator func(timestamp int64) error

// Cancellable is a scheduled punctuator (Kafka Streams' Cancellable). The zero value is cancelled.
type Cancellable struct{ cancel func() }

// Cancel ends the punctuator. It may be called more than once, also by the punctuator itself.
func (c Cancellable) Cancel() {
	if c.cancel != nil {
		c.cancel()
	}
}
