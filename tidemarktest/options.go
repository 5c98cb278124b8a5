package tidemarktest

import (
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
)

// Option changes how a [Driver] runs its topology.
type Option func(c *config)

type config struct {
	applicationID string
	caching       bool
	singleTask    bool
	wallClock     time.Time
	handlers      task.Handlers
	logger        *slog.Logger
	extractor     processor.TimestampExtractor
}

func configOf(opts []Option) config {
	c := config{
		applicationID: "test", wallClock: time.UnixMilli(0), logger: slog.New(slog.DiscardHandler),
	}
	for _, o := range opts {
		o(&c)
	}
	return c
}

// WithApplicationID sets the id that processors see and that prefixes internal topics. Defaults to "test".
func WithApplicationID(id string) Option { return func(c *config) { c.applicationID = id } }

// WithCaching turns the record caches on: stores that cache (the default of tables and aggregates) forward only a key's
// last update, at [Driver.Commit]. Defaults to off, so that every update is forwarded at once.
func WithCaching() Option { return func(c *config) { c.caching = true } }

// SingleTask runs all sub-topologies as one task, as Kafka Streams' TopologyTestDriver does: they then share their
// stream time and the choice of the next record. Defaults to one task per sub-topology, as in production.
func SingleTask() Option { return func(c *config) { c.singleTask = true } }

// WithWallClock sets where the wall clock starts, to the millisecond. Defaults to the Unix epoch.
func WithWallClock(start time.Time) Option { return func(c *config) { c.wallClock = start } }

// WithHandlers sets what decides about records that cannot be decoded, and about those on which user code fails
// (Config.OnDeserializationError and Config.OnProcessingError). Dead letters can be read like any output. nil, which is
// the default of both, stops the driver.
func WithHandlers(onDeserializationError, onProcessingError processor.Handler) Option {
	return func(c *config) {
		c.handlers = task.Handlers{Deserialization: onDeserializationError, Processing: onProcessingError}
	}
}

// WithTimestampExtractor sets where the event time of records comes from whose sources do not say it
// (Config.TimestampExtractor). Defaults to processor.FailOnInvalidTimestamp.
func WithTimestampExtractor(extract processor.TimestampExtractor) Option {
	return func(c *config) { c.extractor = extract }
}

// WithLogger sets where the tasks and processors log. Defaults to nowhere.
func WithLogger(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }
