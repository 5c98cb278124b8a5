package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Topology is what an App runs: a *topology.Builder.
type Topology interface {
	Build() (*processor.Plan, error)
}

// App is one instance of an application. Instances with the same application id share its partitions.
//
// All methods are safe for concurrent use. Two Apps in one process do not notice each other.
type App struct {
	cfg   Config
	plan  *processor.Plan
	clock clock.Clock

	mu struct {
		sync.Mutex
		state  State
		cancel context.CancelFunc // of Run; nil before it
		closed bool
		run    *incarnation // nil while none is up
		// checkpoints counts over all incarnations.
		checkpoints checkpointCounts
	}
	// cluster is what is known of the other instances, and remote asks them, over all incarnations.
	cluster *clusterCache
	remote  *remote
	// spoiled are the snapshots that tasks failed with, over all incarnations.
	spoiled worker.Spoiled
	// workers is how many there are to be; changing is held by who changes that.
	workers struct {
		changing chan struct{}
		n        atomic.Int64
	}
	// pauses are those that were asked for, over all incarnations.
	pauses worker.Pauses
	// first are the inputs that the application started with.
	first firstInputs
	// controlFrom is where the control topic ended when Run began, -1 before that is known. Owned by Run.
	controlFrom int64
	done        chan struct{} // closed when Run has returned
	// transition is held while the state changes and the listener is told, so that it hears of changes in order. The
	// listener may ask for the State, which only takes mu.
	transition sync.Mutex
}

// ErrAlreadyRun says that Run was called twice, or after Close. Make a new App.
var ErrAlreadyRun = errors.New("tidemark: the App has run already: make a new one")

// New checks topology and configuration and returns an App that has not started. It does no I/O. The error joins every
// mistake in both: *topology.BuildError, *ConfigError, *NamingError.
func New(t Topology, cfg Config) (*App, error) {
	plan, planErr := t.Build()
	cfg, defErr := cfg.withDefaults()
	errs := errors.Join(planErr, defErr, cfg.validate())
	if _, err := cfg.security().Sarama(); err != nil {
		errs = errors.Join(errs, &ConfigError{Field: "SASL", Value: cfg.SASL.Mechanism, Hint: err.Error()})
	}
	if errs != nil {
		return nil, errs
	}
	errs = errors.Join(checkResets(plan, cfg.AutoOffsetReset), checkExtractor(plan, cfg.TimestampExtractor),
		checkSinks(plan, cfg.ProcessingGuarantee))
	if !cfg.AllowGeneratedNames {
		errs = errors.Join(errs, checkNames(plan))
	}
	if errs != nil {
		return nil, errs
	}
	if len(plan.Subtopologies) == 0 {
		return nil, errors.New("tidemark: the topology is empty: add a source")
	}
	a := &App{cfg: cfg, plan: plan, clock: clock.System(), done: make(chan struct{}), controlFrom: -1}
	a.workers.n.Store(int64(cfg.Workers))
	a.workers.changing = make(chan struct{}, 1)
	a.cluster = newClusterCache(a.clock, a.lookUpCluster)
	a.remote = newRemote(cfg.QueryTransport, cfg.QueryScheme, a.clock)
	return a, nil
}

// checkSinks refuses sinks whose transactions nothing would decide.
func checkSinks(plan *processor.Plan, guarantee eos.Guarantee) error {
	var errs []error
	for _, n := range plan.Nodes {
		if n.TwoPhase && guarantee != eos.ExactlyOnceV2 {
			errs = append(errs, &ConfigError{Field: "ProcessingGuarantee", Value: guarantee, Hint: fmt.Sprintf(
				"the sink %q (%s, declared at %s) prepares transactions, which only eos.ExactlyOnceV2 decides: use that, or an "+
					"idempotent sink", n.Name, n.External, n.Position)})
		}
	}
	return errors.Join(errs...)
}

// checkResets refuses a table that is restored from its topic and would start at the topic's end: a restore would bring
// back rows that were never read.
func checkResets(plan *processor.Plan, reset processor.OffsetReset) error {
	var errs []error
	for _, n := range plan.Nodes {
		if n.Kind != processor.SourceNode || n.OffsetReset != processor.ResetDefault || reset != processor.ResetLatest {
			continue
		}
		for _, s := range plan.Stores {
			if slices.Contains(n.Topics, s.SourceTopic) {
				errs = append(errs, &ConfigError{
					Field: "AutoOffsetReset", Value: "latest", Hint: fmt.Sprintf("the table %q is restored from the whole of its "+
						"topic (topology.ReuseSourceTopics): declare it with topology.WithOffsetReset (%s)", s.Name, n.Position),
				})
			}
		}
	}
	return errors.Join(errs...)
}

// checkExtractor refuses a table that is restored from its topic while another time than the records' is taken from it:
// the restored rows would have the records' time.
func checkExtractor(plan *processor.Plan, extract processor.TimestampExtractor) error {
	if extract == nil {
		return nil
	}
	for _, s := range plan.Stores {
		if s.SourceTopic != "" {
			return &ConfigError{
				Field: "TimestampExtractor", Value: "set", Hint: fmt.Sprintf("the table %q is restored from its topic "+
					"(topology.ReuseSourceTopics), whose records keep their own time: use one or the other (%s)", s.Name, s.Position),
			}
		}
	}
	return nil
}

func (c *Config) security() kafka.Security {
	return kafka.Security{
		ClientID: c.ClientID, TLS: c.TLS, Mechanism: c.SASL.Mechanism,
		User: c.SASL.User, Password: c.SASL.Password, Token: c.SASL.Token,
	}
}

// Run processes until ctx ends or Close is called, and then returns nil after the last commit; or until an error that
// the restart strategy does not take, which it returns. It can be called once.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if a.mu.cancel != nil || a.mu.closed {
		a.mu.Unlock()
		return ErrAlreadyRun
	}
	a.mu.cancel = cancel
	a.mu.Unlock()
	defer close(a.done)
	defer a.remote.close()
	err := a.runUntilDone(ctx)
	if err != nil {
		a.become(Failed)
		return err
	}
	a.become(Closed)
	return nil
}

// runUntilDone holds the state directory and starts incarnations until one ends well.
func (a *App) runUntilDone(ctx context.Context) error {
	dir, err := store.OpenStateDir(a.cfg.StateDir, a.cfg.ApplicationID)
	if err != nil {
		return fmt.Errorf("tidemark: %w", err)
	}
	defer func() {
		if err := dir.Close(); err != nil {
			a.cfg.Logger.Error("closing the state directory", slog.Any("error", err))
		}
	}()
	for {
		started := a.clock.Now()
		a.become(Rebalancing)
		err := a.runOnce(ctx, dir)
		if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			a.become(Closing)
			return nil
		}
		_, changed := errors.AsType[*inputsChangedError](err)
		if changed && ctx.Err() != nil {
			a.become(Closing)
			return nil
		}
		if ctx.Err() != nil || !restartable(err) {
			return err
		}
		if changed {
			a.cfg.Logger.Warn("starting again with other inputs", slog.Any("reason", err))
			a.become(Restarting)
			continue
		}
		delay, again := a.cfg.Restart.Next(a.clock.Since(started))
		if !again {
			return fmt.Errorf("tidemark: the restart strategy gives up: %w", err)
		}
		a.cfg.Logger.Error("application failed: starting again from the last commit", slog.Duration("in", delay),
			slog.Any("error", err))
		a.become(Restarting)
		select {
		case <-a.clock.After(delay):
		case <-ctx.Done():
			a.become(Closing)
			return nil
		}
	}
}

// restartable tells errors that time may mend from those that need somebody to change something.
func restartable(err error) bool {
	var user *processor.UserError
	var decode *processor.DeserializationError
	var timestamp *processor.TimestampError
	var topic *changelog.TopicError
	var input *TopicError
	var large *eos.RecordTooLargeError
	var mixed *assign.MixedTopologyError
	var full *processor.BufferFullError
	var pattern *processor.PatternError
	var corrupt *store.CorruptError
	var flush *store.FlushError
	var loss *StateLossError
	var unavailable *serde.UnavailableError
	var checkpoints *CheckpointFailuresError
	switch {
	case errors.As(err, &corrupt), errors.As(err, &flush): // they may have passed through user code
		return true
	case errors.As(err, &unavailable): // likewise
		return !unavailable.Permanent
	case errors.As(err, &user), errors.As(err, &decode), errors.As(err, &timestamp), errors.As(err, &topic),
		errors.As(err, &input), errors.As(err, &large), errors.As(err, &mixed), errors.As(err, &loss),
		errors.As(err, &full), errors.As(err, &pattern), errors.As(err, &checkpoints), errors.Is(err, eos.ErrFatal):
		return false
	}
	return true
}

// Close ends Run, waits for it, and is idempotent. An App that never ran is closed at once.
func (a *App) Close() error {
	a.mu.Lock()
	cancel := a.mu.cancel
	a.mu.closed = true
	a.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	<-a.done
	return nil
}

// State returns the current state.
func (a *App) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.state
}

// become changes the state and tells the listener. A state that is there already is not a change. An impossible
// transition is a bug of ours and panics.
func (a *App) become(next State) {
	a.transition.Lock()
	defer a.transition.Unlock()
	from := a.State()
	if from == next {
		return
	}
	if !from.mayBecome(next) {
		panic(fmt.Sprintf("tidemark: state %s cannot become %s", from, next))
	}
	a.changeLocked(from, next)
}

// becomeFrom changes the state only if it is from: tasks come and go while the App may be closing already.
func (a *App) becomeFrom(from, next State) {
	a.transition.Lock()
	defer a.transition.Unlock()
	if a.State() == from {
		a.changeLocked(from, next)
	}
}

func (a *App) changeLocked(from, next State) {
	a.mu.Lock()
	a.mu.state = next
	a.mu.Unlock()
	a.cfg.Logger.Info("state", slog.String("from", from.String()), slog.String("to", next.String()))
	if a.cfg.StateListener != nil {
		a.cfg.StateListener(from, next)
	}
}
