package integration

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/integration/schemaregistry"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/avro"
	"github.com/tidemarkio/tidemark/serde/registry"
	"github.com/tidemarkio/tidemark/topology"
)

type registryClick struct {
	Page string `avro:"page"`
	N    int64  `avro:"n"`
}

// clickTopology adds up clicks by page: Avro in the input, a repartition topic, a store, its changelog and the output.
func clickTopology(s *scenario, clicks serde.Serde[registryClick]) *topology.Builder {
	b := topology.NewBuilder()
	byPage := topology.GroupBy(topology.Stream(b, s.in, serde.String, clicks),
		func(_ string, c registryClick) string { return c.Page }, serde.String, topology.Named("by-page"))
	topology.Reduce(byPage, func(sum, c registryClick) registryClick {
		return registryClick{Page: c.Page, N: sum.N + c.N}
	}, topology.As("sums")).ToStream().To(s.out)
	return b
}

// A registry that is away stops the application, and no handler: whatever they let pass, every record is there once it
// is back, exactly once, also after a restart that restores the store.
func TestSchemaRegistryAway(t *testing.T) {
	t.Parallel()
	s := onePartition(t, broker.Start(t))
	door := schemaregistry.Start(t)
	made := func(timeout time.Duration) serde.Serde[registryClick] {
		client, err := registry.New(registry.Config{
			URLs: []string{door.URL}, RequestTimeout: timeout, Timeout: timeout, RetryBackoff: 10 * time.Millisecond,
		})
		require.NoError(t, err)
		return serde.Must(avro.New[registryClick](client, registry.Value(s.in)))
	}
	clicks := made(time.Minute) // a busy machine, and a registry that has just started
	send := func(n int) {
		for range n {
			data, err := clicks.Append(nil, registryClick{Page: "p", N: 1})
			require.NoError(t, err)
			s.cluster.Produce(t, s.in, broker.Record{Key: []byte("k"), Value: data})
		}
	}
	check := func(n int) {
		for i, r := range s.awaitOutputs(s.out, n) {
			got, err := clicks.Decode(r.Value)
			require.NoError(t, err)
			require.Equal(t, registryClick{Page: "p", N: int64(i + 1)}, got, strconv.Itoa(i))
		}
	}
	cfg := s.config()
	cfg.Restart = tidemark.RestartFixedDelay(1000, 50*time.Millisecond)
	asked := func(f processor.Failure) processor.Action {
		t.Errorf("a handler was asked about %v", f.Err)
		return processor.ContinueAction()
	}
	cfg.OnDeserializationError, cfg.OnProcessingError, cfg.OnProductionError = asked, asked, asked

	send(3)
	door.Close()
	a := s.run(clickTopology(s, made(2*time.Second)), cfg)
	eventually(t, "a restart", func() bool { return a.saw(tidemark.Restarting) })
	require.Contains(t, a.log.String(), "is not available")
	require.Empty(t, s.cluster.ReadCommitted(t, s.out))
	door.Open()
	check(3)
	door.Close() // what is known needs no registry
	send(2)
	check(5)
	a.close()

	door.Open()
	cfg.StateDir = t.TempDir() // the store comes from its changelog
	a = s.run(clickTopology(s, made(2*time.Second)), cfg)
	send(1)
	check(6)
	a.close()
}

// A schema that the registry refuses ends Run, with an error that says so, whatever the handlers and the restart
// strategy.
func TestSchemaRegistryRefuses(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	door := schemaregistry.Start(t)
	client, err := registry.New(registry.Config{
		URLs: []string{door.URL}, Registration: registry.Lookup, RequestTimeout: time.Minute, Timeout: time.Minute,
	})
	require.NoError(t, err)
	clicks := serde.Must(avro.New[registryClick](client, registry.Value(s.out)))
	b := topology.NewBuilder()
	topology.MapValues(topology.Stream(b, s.in, serde.String, serde.String),
		func(v string) registryClick { return registryClick{Page: v} }, clicks).To(s.out)
	cfg := s.config()
	cfg.Restart, cfg.OnProcessingError = tidemark.RestartFixedDelay(1000, time.Millisecond), processor.Continue()
	s.produce("a")
	a := s.run(b, cfg)
	_ = a.awaitError("refuses: registry: look up a schema", s.out+"-value", "set Config.Registration to Register")
	require.Empty(t, s.cluster.ReadCommitted(t, s.out))
}
