package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// deadBroker is an address at which nobody listens.
const deadBroker = "127.0.0.1:1"

func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		ApplicationID: "app", Brokers: []string{deadBroker}, StateDir: t.TempDir(), Workers: 1,
		ConnectTimeout: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
}

func copying() *topology.Builder {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("out")
	return b
}

// fields lists the fields of the *ConfigErrors that an error joins.
func fields(err error) []string {
	var out []string
	if err == nil {
		return nil
	}
	if ce, ok := err.(*ConfigError); ok { //nolint:errorlint // the tree of joined errors is walked by hand
		return []string{ce.Field}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, fields(e)...)
		}
	}
	return out
}

// Only a Kafka transaction can decide what a sink prepares.
func TestTwoPhaseSinkWantsExactlyOnce(t *testing.T) {
	b := topology.NewBuilder()
	topology.SinkTo(topology.Stream(b, "in", serde.String, serde.String), "orders-db", tidemarktest.NewSink[string](),
		func(r record.Record[string, string]) (string, error) { return r.Value, nil })
	cfg := testConfig(t)
	_, err := New(b, cfg)
	require.NoError(t, err)
	cfg.ProcessingGuarantee = eos.AtLeastOnce
	_, err = New(b, cfg)
	require.ErrorContains(t, err, `the sink "orders-db" (memory, declared at`)
	_, ok := errors.AsType[*ConfigError](err)
	require.True(t, ok)
}

func TestConfigMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"no id":                {func(c *Config) { c.ApplicationID = "" }, "ApplicationID"},
		"id with a slash":      {func(c *Config) { c.ApplicationID = "a/b" }, "ApplicationID"},
		"no brokers":           {func(c *Config) { c.Brokers = nil }, "Brokers"},
		"workers":              {func(c *Config) { c.Workers = -1 }, "Workers"},
		"commit interval":      {func(c *Config) { c.CommitInterval = -1 }, "CommitInterval"},
		"guarantee":            {func(c *Config) { c.ProcessingGuarantee = 9 }, "ProcessingGuarantee"},
		"cache":                {func(c *Config) { c.CacheBytesMax = -2 }, "CacheBytesMax"},
		"state":                {func(c *Config) { c.StateBytesMax = 1 }, "StateBytesMax"},
		"flush":                {func(c *Config) { c.FlushInterval = -1 }, "FlushInterval"},
		"instance and dynamic": {func(c *Config) { c.GroupInstanceID, c.DynamicMembership = "x", true }, "GroupInstanceID"},
		"instance with a sign": {func(c *Config) { c.GroupInstanceID = "a;b" }, "GroupInstanceID"},
		"heartbeat":            {func(c *Config) { c.HeartbeatInterval = time.Minute }, "HeartbeatInterval"},
		"transaction timeout":  {func(c *Config) { c.CommitInterval = 2 * time.Minute }, "TransactionTimeout"},
		"transaction minimum": {func(c *Config) {
			c.TransactionTimeout, c.CommitInterval = 20*time.Millisecond, time.Millisecond
		}, "TransactionTimeout"},
		"rebalance timeout":    {func(c *Config) { c.RebalanceTimeout = time.Millisecond }, "RebalanceTimeout"},
		"offset reset":         {func(c *Config) { c.AutoOffsetReset = 77 }, "AutoOffsetReset"},
		"request size":         {func(c *Config) { c.MaxRequestBytes = 10 }, "MaxRequestBytes"},
		"compression":          {func(c *Config) { c.Compression = "zip" }, "Compression"},
		"replication":          {func(c *Config) { c.ReplicationFactor = -3 }, "ReplicationFactor"},
		"sasl":                 {func(c *Config) { c.SASL.Mechanism = "MAGIC" }, "SASL"},
		"negative retry":       {func(c *Config) { c.RetryTimeout = -1 }, "RetryTimeout"},
		"negative connect":     {func(c *Config) { c.ConnectTimeout = -1 }, "ConnectTimeout"},
		"negative close":       {func(c *Config) { c.CloseTimeout = -1 }, "CloseTimeout"},
		"negative parallelism": {func(c *Config) { c.RestoreParallel = -1 }, "RestoreParallel"},
		"standbys":             {func(c *Config) { c.StandbyReplicas = -1 }, "StandbyReplicas"},
		"warm-ups":             {func(c *Config) { c.MaxWarmupReplicas = -1 }, "MaxWarmupReplicas"},
		"lag":                  {func(c *Config) { c.AcceptableRecoveryLag = -2 }, "AcceptableRecoveryLag"},
		"tag without a value":  {func(c *Config) { c.ClientTags = map[string]string{"zone": ""} }, "ClientTags"},
		"long tag": {func(c *Config) {
			c.ClientTags = map[string]string{strings.Repeat("z", 21): "a"}
		}, "ClientTags"},
		"many tags": {func(c *Config) {
			c.ClientTags = map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1", "f": "1"}
		}, "ClientTags"},
		"unknown tag":    {func(c *Config) { c.RackAwareTags = []string{"zone"} }, "RackAwareTags"},
		"server":         {func(c *Config) { c.ApplicationServer = "host" }, "ApplicationServer"},
		"server's port":  {func(c *Config) { c.ApplicationServer = "host:http" }, "ApplicationServer"},
		"server's host":  {func(c *Config) { c.ApplicationServer = ":80" }, "ApplicationServer"},
		"server, port 0": {func(c *Config) { c.ApplicationServer = "host:0" }, "ApplicationServer"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			c.change(&cfg)
			_, err := New(copying(), cfg)
			require.Equal(t, []string{c.want}, fields(err), "%v", err)
			require.ErrorContains(t, err, "tidemark: Config."+c.want)
		})
	}
	cfg := testConfig(t)
	cfg.ClientTags, cfg.RackAwareTags = map[string]string{"zone": "a"}, []string{"zone"}
	cfg.ApplicationServer, cfg.AcceptableRecoveryLag = "[::1]:8080", -1
	_, err := New(copying(), cfg)
	require.NoError(t, err)
	require.Zero(t, cfg.recoveryLag())
}

// New reports everything that is wrong, in the topology and the configuration, at once and with the place.
func TestNewReportsEverythingAtOnce(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "", serde.String, serde.String)
	s.Filter(nil)
	_, err := New(b, Config{StateDir: t.TempDir(), Compression: "zip", Workers: -1, Logger: slog.New(slog.DiscardHandler)})
	require.Subset(t, fields(err), []string{"ApplicationID", "Brokers", "Workers", "Compression"})
	places := regexp.MustCompile(`app_test\.go:\d+`).FindAllString(err.Error(), -1)
	slices.Sort(places)
	require.Len(t, slices.Compact(places), 2, "%v", err)
	_, err = New(topology.NewBuilder(), testConfig(t))
	require.ErrorContains(t, err, "nothing was declared")
}

// New lists everything that outlives a deployment under a generated name, unless that is allowed.
func TestNewWantsNames(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.Count(topology.GroupBy(s, func(_, v string) string { return v }, nil))
	_, err := New(b, testConfig(t))
	named, ok := errors.AsType[*NamingError](err)
	require.True(t, ok)
	require.Equal(t, processor.StoreResource, named.Resource)
	require.Regexp(t, `^tidemark: .*app_test\.go:\d+: Count: the store has the generated name `+
		`"KSTREAM-AGGREGATE-STATE-STORE-0000000002", and is lost when an operator is inserted above: `+
		`write topology\.As\("\.\.\."\), or set Config\.AllowGeneratedNames\n`+
		`tidemark: .*: Count: the repartition topic `, err)
	cfg := testConfig(t)
	cfg.AllowGeneratedNames = true
	_, err = New(b, cfg)
	require.NoError(t, err)
}

// A table that starts at the end of its topic cannot be restored from it.
func TestReusedSourceTopicsStartAtTheBeginning(t *testing.T) {
	for name, c := range map[string]struct {
		rules topology.Optimizations
		opts  []topology.TableOption
		want  []string
	}{
		"reused":     {topology.OptimizeAll(), nil, []string{"AutoOffsetReset"}},
		"not reused": {nil, nil, nil},
		"says so": {
			topology.OptimizeAll(), []topology.TableOption{topology.WithOffsetReset(processor.ResetEarliest)}, nil,
		},
	} {
		b := topology.NewBuilder(c.rules)
		topology.Table(b, "in", serde.String, serde.String, append(c.opts, topology.As("rows"))...)
		cfg := testConfig(t)
		cfg.AutoOffsetReset = processor.ResetLatest
		_, err := New(b, cfg)
		require.Equal(t, c.want, fields(err), name)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Config{ApplicationID: "x", StateDir: t.TempDir()}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, 100*time.Millisecond, c.CommitInterval)
	require.Equal(t, 500*time.Millisecond, c.HeartbeatInterval)
	require.Equal(t, [2]int{0, 2}, [2]int{c.StandbyReplicas, c.MaxWarmupReplicas})
	require.Equal(t, int64(10_000), c.recoveryLag())
	require.Equal(t, "x", c.ClientID)
	require.Equal(t, processor.ResetEarliest, c.AutoOffsetReset)
	require.Equal(t, 2*c.Workers, c.RestoreParallel)
	c, err = Config{ProcessingGuarantee: eos.AtLeastOnce, StateDir: t.TempDir()}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, c.CommitInterval)
}

func TestRestartStrategies(t *testing.T) {
	const s = time.Second
	again := func(r RestartStrategy, ranFor ...time.Duration) (delays []time.Duration) {
		for _, d := range ranFor {
			delay, restart := r.Next(d)
			if !restart {
				delay = -1
			}
			delays = append(delays, delay)
		}
		return delays
	}
	require.Equal(t, []time.Duration{-1}, again(RestartNone(), s))
	require.Equal(t, []time.Duration{s, s, -1, -1}, again(RestartFixedDelay(2, s), 0, time.Hour, 0, time.Hour))
	require.Equal(t, []time.Duration{s, s, -1, s, s, -1},
		again(RestartFailureRate(2, time.Minute, s), s, s, s, 2*time.Minute, s, s))
	require.Equal(t, []time.Duration{s, 2 * s, 4 * s, 5 * s, 5 * s, s, 2 * s},
		again(RestartExponentialDelay(s, 5*s, 2, time.Minute), 0, 0, 0, 0, 0, time.Minute, 0))
}

// TestStateDiagram derives the edges from the table: Closed and Failed are final, every state is reachable, and the
// names in the diagram are those of the table.
func TestStateDiagram(t *testing.T) {
	var edges []string
	reached := map[State]bool{Created: true}
	for from := Created; from <= Failed; from++ {
		to, ok := transitions[from]
		require.True(t, ok, "%s is missing in the table", from)
		for _, next := range to {
			require.NotEqual(t, from, next)
			edges = append(edges, fmt.Sprintf("%s→%s", from, next))
			reached[next] = true
		}
	}
	require.Len(t, reached, len(transitions))
	require.Equal(t, strings.Fields(`
		CREATED→REBALANCING CREATED→CLOSING CREATED→FAILED
		REBALANCING→RUNNING REBALANCING→RESTARTING REBALANCING→CLOSING REBALANCING→FAILED
		RUNNING→REBALANCING RUNNING→RESTARTING RUNNING→CLOSING RUNNING→FAILED
		RESTARTING→REBALANCING RESTARTING→CLOSING RESTARTING→FAILED
		CLOSING→CLOSED CLOSING→FAILED`), edges)
	source, err := os.ReadFile("state.go")
	require.NoError(t, err)
	diagram, _, _ := strings.Cut(string(source), "type State int")
	for _, name := range []string{"Created", "Rebalancing", "Running", "Restarting", "Closing", "Closed", "Failed"} {
		require.Contains(t, diagram, name)
	}
	require.Equal(t, "State(12)", State(12).String())
	a := &App{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	require.Panics(t, func() { a.become(Running) }, "an illegal move is a bug")
}

func TestRunTwiceAndCloseBeforeRun(t *testing.T) {
	cfg := testConfig(t)
	cfg.Restart = RestartNone()
	a, err := New(copying(), cfg)
	require.NoError(t, err)
	require.Equal(t, Created, a.State())
	err = a.Run(t.Context())
	require.ErrorContains(t, err, "the restart strategy gives up")
	require.ErrorContains(t, err, deadBroker)
	require.Equal(t, Failed, a.State())
	require.ErrorIs(t, a.Run(t.Context()), ErrAlreadyRun)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())

	a, err = New(copying(), testConfig(t))
	require.NoError(t, err)
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Run(t.Context()), ErrAlreadyRun)
	require.Equal(t, Created, a.State())
	status, err := a.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, Status{}, status)
}

// The context ends, or Close is called, while the App waits for its next try: Run returns without an error.
func TestStopWhileRestarting(t *testing.T) {
	for _, byClose := range []bool{false, true} {
		cfg := testConfig(t)
		cfg.Restart = RestartFixedDelay(100, time.Hour)
		restarting := make(chan struct{})
		var moves []string
		cfg.StateListener = func(from, to State) {
			moves = append(moves, fmt.Sprintf("%s→%s", from, to))
			if to == Restarting {
				close(restarting)
			}
		}
		a, err := New(copying(), cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- a.Run(ctx) }()
		<-restarting
		if byClose {
			require.NoError(t, a.Close())
		}
		cancel()
		require.NoError(t, <-ran)
		require.Equal(t, Closed, a.State())
		want := []string{"CREATED→REBALANCING", "REBALANCING→RESTARTING", "RESTARTING→CLOSING", "CLOSING→CLOSED"}
		require.Equal(t, want, moves)
	}
}

// Two Apps in one process do not notice each other; two with one directory and id are told apart at once.
func TestTwoAppsInOneProcess(t *testing.T) {
	var wait sync.WaitGroup
	for _, id := range []string{"one", "two"} {
		cfg := testConfig(t)
		cfg.ApplicationID, cfg.Restart = id, RestartNone()
		a, err := New(copying(), cfg)
		require.NoError(t, err)
		wait.Go(func() {
			if err := a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), deadBroker) {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	wait.Wait()

	cfg := testConfig(t)
	cfg.Restart = RestartFixedDelay(100, time.Hour)
	started := make(chan struct{})
	var once sync.Once
	cfg.StateListener = func(State, State) { once.Do(func() { close(started) }) }
	first, err := New(copying(), cfg)
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- first.Run(context.Background()) }()
	<-started
	cfg.StateListener = nil
	second, err := New(copying(), cfg)
	require.NoError(t, err)
	require.ErrorContains(t, second.Run(t.Context()), cfg.StateDir)
	require.NoError(t, first.Close())
	require.NoError(t, <-ran)
}

func TestRestartable(t *testing.T) {
	require.True(t, restartable(errors.New("anything")))
	require.True(t, restartable(eos.ErrFenced))
	decoding := &processor.DeserializationError{Err: &serde.UnavailableError{Err: errors.New("refused")}}
	require.True(t, restartable(fmt.Errorf("wrapped: %w", decoding)), "no record is to blame")
	for _, err := range []error{
		eos.ErrFatal, &processor.UserError{}, &processor.DeserializationError{}, &TopicError{}, &eos.RecordTooLargeError{},
		&serde.UnavailableError{Permanent: true, Err: errors.New("unauthorized")},
	} {
		require.False(t, restartable(fmt.Errorf("wrapped: %w", err)), "%T", err)
	}
}
