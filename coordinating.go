package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// coordinating runs a checkpointing.Coordinator while this member owns the first task: it feeds it with the control
// topic, the time and what became of its actions. Whatever fails, the term ends, and the next one begins with what the
// topic says.
type coordinating struct {
	in     *incarnation
	cfg    *Config
	topic  record.TopicPartition
	logger *slog.Logger
	// owner tells whether this member is to coordinate; changed wakes who waits for that.
	owner   func() bool
	changed <-chan struct{}
	// stored looks what there is, publish stores a manifest, clean deletes what is not needed: of the storage, and slow.
	stored  func(ctx context.Context) (checkpointing.Stored, error)
	publish func(ctx context.Context, p checkpointing.Publish) error
	clean   func(ctx context.Context, c checkpointing.Clean) error
}

const (
	termPause    = time.Second
	termPauseMax = 30 * time.Second
)

// errDeposed ends a term whose member does not own the first task any more.
var errDeposed = errors.New("another member coordinates")

// run is the coordinator goroutine.
func (k *coordinating) run(ctx context.Context) {
	pause := termPause
	for ctx.Err() == nil {
		if !k.owner() {
			select {
			case <-k.changed:
			case <-ctx.Done():
			}
			continue
		}
		started := k.in.app.clock.Now()
		err := k.term(ctx)
		if ctx.Err() != nil || errors.Is(err, errDeposed) {
			pause = termPause
			continue
		}
		if k.in.app.clock.Since(started) > termPauseMax {
			pause = termPause
		}
		level := slog.LevelWarn
		if errors.Is(err, eos.ErrFenced) {
			level = slog.LevelInfo // another believes to be it; one of us will learn better
		}
		k.logger.Log(ctx, level, "coordinating checkpoints failed: beginning again; processing goes on",
			slog.Duration("in", pause), slog.Any("error", err))
		select {
		case <-k.in.app.clock.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, termPauseMax)
	}
}

// term is one term of office.
type term struct {
	k         *coordinating
	c         *checkpointing.Coordinator
	writer    *controlWriter
	published chan checkpointing.Published
	cleaned   chan checkpointing.Tidied
	cleaning  bool
	next      *checkpointing.Clean // to follow the one under way
}

// term coordinates until it fails or ctx ends.
func (k *coordinating) term(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	now := k.in.app.clock.NowMs
	writer, err := newControlWriter(k.in.client, k.cfg, coordinatorID(k.cfg.ApplicationID), now)
	if err != nil {
		return err
	}
	defer func() { _ = writer.producer.Close() }()
	if err := writer.producer.Init(ctx); err != nil { // from here on nobody else writes
		return fmt.Errorf("depose the coordinator before: %w", err)
	}
	heard := make(chan controlMessages)
	failed := make(chan error, 1)
	background.Go(func() {
		failed <- tailControl(ctx, k.in.client, k.in.admin, k.topic, true, func(m controlMessages) error {
			select {
			case heard <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	view := checkpointing.NewView()
	for at, end := int64(-1), int64(0); at < end; {
		select {
		case m := <-heard:
			if m.begins {
				at, end = 0, m.next
				continue
			}
			k.fold(view, m)
			at = m.next
		case err := <-failed:
			return err
		}
	}
	stored, err := k.stored(ctx)
	if err != nil {
		return err
	}
	c, todo := checkpointing.NewCoordinator(k.coordinatorConfig(), view, stored, now())
	k.logger.Info("coordinating checkpoints", slog.Duration("interval", c.Config().Interval),
		slog.Int("retained", len(stored.Checkpoints)))
	t := &term{
		k: k, c: c, writer: writer, published: make(chan checkpointing.Published), cleaned: make(chan checkpointing.Tidied),
	}
	if err := t.carryOut(ctx, &background, todo); err != nil {
		return err
	}
	return t.loop(ctx, &background, heard, failed)
}

// loop takes what happens, one by one.
func (t *term) loop(
	ctx context.Context, background *sync.WaitGroup, heard <-chan controlMessages, failed <-chan error,
) error {
	clock := t.k.in.app.clock
	timer := clock.NewTimer(0)
	defer timer.Stop()
	for {
		wait := time.Duration(min(t.c.NextTick()-clock.NowMs(), time.Minute.Milliseconds())) * time.Millisecond
		timer.Reset(max(wait, time.Millisecond))
		var events []checkpointing.Event
		select {
		case m := <-heard:
			for _, message := range m.messages {
				events = append(events, checkpointing.Received{Message: message})
			}
		case p := <-t.published:
			events = append(events, p)
		case done := <-t.cleaned:
			if err := t.afterClean(ctx, background, done.Err); err != nil {
				return err
			}
			events = append(events, done)
		case <-timer.C:
			events = append(events, checkpointing.Tick{})
		case <-t.k.changed:
			if !t.k.owner() {
				return errDeposed
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, e := range events {
			if err := t.carryOut(ctx, background, t.c.Step(clock.NowMs(), e)); err != nil {
				return err
			}
		}
	}
}

// carryOut does what the coordinator says, in order. Only a message that cannot be written ends the term.
func (t *term) carryOut(ctx context.Context, background *sync.WaitGroup, todo []checkpointing.Action) error {
	for _, a := range todo {
		switch a := a.(type) {
		case checkpointing.Write:
			if err := t.writer.write(ctx, a.Messages...); err != nil {
				return fmt.Errorf("write to the control topic: %w", err)
			}
		case checkpointing.Publish:
			timeout := t.c.Config().Timeout
			background.Go(func() {
				bounded, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				p := checkpointing.Published{ID: a.Trigger.ID, Err: t.k.publish(bounded, a)}
				select {
				case t.published <- p:
				case <-ctx.Done():
				}
			})
		case checkpointing.Clean:
			t.clean(ctx, background, a)
		}
	}
	return nil
}

// clean deletes in the background, one after the other. Of those that wait only the last matters: its lists are whole.
func (t *term) clean(ctx context.Context, background *sync.WaitGroup, c checkpointing.Clean) {
	if t.cleaning {
		if t.next != nil {
			c.Folders = append(c.Folders, t.next.Folders...)
		}
		t.next = &c
		return
	}
	t.cleaning = true
	timeout := t.c.Config().Timeout // one that hangs would be the last: what it has not done, the next one does
	background.Go(func() {
		bounded, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		done := checkpointing.Tidied{Folders: c.Folders, Err: t.k.clean(bounded, c)}
		select {
		case t.cleaned <- done:
		case <-ctx.Done():
		}
	})
}

// afterClean goes on with the next. What could not be deleted is an orphan, which a later one finds.
func (t *term) afterClean(ctx context.Context, background *sync.WaitGroup, err error) error {
	if errors.Is(err, checkpointing.ErrNoManifest) {
		return fmt.Errorf("somebody else has deleted a checkpoint: %w", err) // the next term looks what there is
	}
	if err != nil && ctx.Err() == nil {
		t.k.logger.Warn("cannot delete old checkpoints: trying again with the next one", slog.Any("error", err))
	}
	t.cleaning = false
	if next := t.next; next != nil {
		t.next = nil
		t.clean(ctx, background, *next)
	}
	return nil
}

// fold takes messages into a view. One that cannot be read is of a newer version, or damaged: the others still count.
func (k *coordinating) fold(view *checkpointing.View, m controlMessages) {
	for i, message := range m.messages {
		if _, err := view.Apply(message); err != nil {
			k.logger.Warn("a message on the control topic cannot be read", slog.Int64("offset", m.offsets[i]),
				slog.Any("error", err))
		}
	}
}

func (k *coordinating) coordinatorConfig() checkpointing.CoordinatorConfig {
	return checkpointing.CoordinatorConfig{
		ApplicationID: k.cfg.ApplicationID, Fingerprint: k.in.app.plan.Fingerprint(), Tasks: k.in.topics.taskCounts(),
		Config: k.cfg.Checkpointing,
	}
}
