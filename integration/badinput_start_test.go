package integration

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// What is wrong at the start: brokers, topics, state directory, credentials.

// soon is what a busy machine may take to end an application whose ConnectTimeout has passed: less than its default,
// RetryTimeout and a session.
const soon = 5 * time.Second

func TestBadBrokerAddress(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, refused.Close())
	for name, addr := range map[string]string{"silent": silent.Addr().String(), "refused": refused.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			s := &scenario{t: t, cluster: broker.Start(t), app: broker.Name(t, "app"), session: 6 * time.Second}
			cfg := s.config()
			cfg.Brokers, cfg.ConnectTimeout = []string{addr}, 500*time.Millisecond
			started := time.Now()
			a := s.run(countTopology("in", "out"), cfg)
			_ = a.awaitError(addr, "do not answer within 500ms", "check Config.Brokers, TLS and SASL")
			require.Less(t, time.Since(started), cfg.ConnectTimeout+soon)

			b := s.run(countTopology("in", "out"), cfg) // the state directory is free again
			_ = b.awaitError("do not answer within 500ms")
		})
	}
}

func TestBadMissingTopic(t *testing.T) {
	for _, missing := range []string{"in", "out"} {
		t.Run(missing, func(t *testing.T) {
			s := onePartition(t, broker.Start(t))
			in, out, role := s.in, s.out, "is written by the topology"
			if missing == "in" {
				in, role = broker.Name(t, "none"), "is read by the topology"
			} else {
				out = broker.Name(t, "none")
			}
			a := s.run(countTopology(in, out), s.config())
			err := a.awaitError(role, "does not exist", "create it first")
			var topic *tidemark.TopicError
			require.ErrorAs(t, err, &topic)
			require.Contains(t, []string{in, out}, topic.Topic)
			require.NotContains(t, s.cluster.Topics(t), topic.Topic, "looking for it must not create it")

			s.cluster.CreateTopic(t, topic.Topic, 1, nil)
			s.cluster.Produce(t, in, broker.Record{Key: []byte("k"), Value: []byte("v")})
			s.run(countTopology(in, out), s.config()).awaitRunning()
			s.awaitOutputs(out, 1)
		})
	}
}

func TestBadInternalTopic(t *testing.T) {
	for name, tc := range map[string]struct {
		topic      string
		partitions int32
		config     map[string]string
		words      []string
	}{
		"changelog partitions": {
			"counts-changelog", 3,
			map[string]string{"cleanup.policy": "compact"},
			[]string{"has 3 partitions, and the topology needs 1", "use a new application id"},
		},
		"changelog policy": {
			"counts-changelog", 1,
			map[string]string{"cleanup.policy": "delete"},
			[]string{"has cleanup.policy=delete, and must have compact", "kafka-configs --alter"},
		},
		"repartition partitions": {
			"by-first-repartition", 3, nil,
			[]string{"has 3 partitions, and the topology needs 1", "use a new application id"},
		},
		"repartition policy": {
			"by-first-repartition", 1,
			map[string]string{"cleanup.policy": "compact"},
			[]string{"has cleanup.policy=compact, and must have delete", "kafka-configs --alter"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := onePartition(t, broker.Start(t))
			name := s.app + "-" + tc.topic
			s.cluster.CreateTopic(t, name, tc.partitions, tc.config)
			err := s.run(repartitionTopology(s.in, s.out), s.config()).awaitError(append(tc.words, name)...)
			var topic *changelog.TopicError
			require.ErrorAs(t, err, &topic)
			require.Equal(t, name, topic.Topic)
		})
	}
}

func TestBadStateDirectoryInUse(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	cfg := s.config()
	first := s.run(countTopology(s.in, s.out), cfg)
	first.awaitRunning()
	err := s.run(countTopology(s.in, s.out), cfg).awaitError(cfg.StateDir, "is in use", "a state directory of its own")
	require.ErrorIs(t, err, store.ErrLocked)
	s.send(100) // the first one is not disturbed
	s.check()
	first.close()

	dir := t.TempDir()
	other := s.start("a", dir)
	other.awaitRunning()
	cfg.StateDir = dir + "/a"
	err = s.run(countTopology(s.in, s.out), cfg).awaitError(cfg.StateDir, "is in use")
	var locked *store.LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, other.cmd.Process.Pid, locked.PID)
	s.send(100)
	s.check()
	other.stop()
}

func TestBadCredentials(t *testing.T) {
	if broker.Start(t).Real() {
		t.Skip("the real broker of the harness has no SASL listener: see the embedded one")
	}
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "out"), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "user", "right"), kfake.Superuser("SCRAM-SHA-256", "user", "right"))
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		t.Run(mechanism, func(t *testing.T) {
			s := &scenario{t: t, cluster: broker.Start(t), app: broker.Name(t, "app"), session: 6 * time.Second}
			cfg := s.config()
			cfg.Brokers = fake.ListenAddrs()
			cfg.SASL = tidemark.SASL{Mechanism: mechanism, User: "user", Password: "right"}
			right := s.run(countTopology("in", "out"), cfg)
			right.awaitRunning()
			right.close()

			cfg.SASL.Password, cfg.ConnectTimeout = "wrong", time.Second
			started := time.Now()
			_ = s.run(countTopology("in", "out"), cfg).awaitError(cfg.Brokers[0], "SASL")
			require.Less(t, time.Since(started), cfg.ConnectTimeout+soon)

			cfg.SASL = tidemark.SASL{}
			started = time.Now()
			_ = s.run(countTopology("in", "out"), cfg).awaitError(cfg.Brokers[0], "SASL")
			require.Less(t, time.Since(started), cfg.ConnectTimeout+soon)
		})
	}
}

func TestBadTLSAgainstPlainText(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	cfg := s.config()
	cfg.TLS, cfg.ConnectTimeout = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost"}, time.Second
	started := time.Now()
	_ = s.run(countTopology(s.in, s.out), cfg).awaitError(cfg.Brokers[0], "TLS")
	require.Less(t, time.Since(started), cfg.ConnectTimeout+soon)
}

// An input gets more partitions while the application runs.
func TestBadPartitionsAdded(t *testing.T) {
	t.Run("stateful", func(t *testing.T) {
		s := onePartition(t, broker.Start(t))
		a := s.run(countTopology(s.in, s.out), s.config())
		a.awaitRunning()
		s.send(10)
		s.check()
		s.cluster.AddPartitions(t, s.in, 3)
		err := a.awaitError("counts-changelog", "has 1 partitions, and the topology needs 3", "use a new application id")
		var topic *changelog.TopicError
		require.ErrorAs(t, err, &topic)
	})
	t.Run("stateless", func(t *testing.T) {
		s := onePartition(t, broker.Start(t))
		cfg := s.config()
		cfg.LeaveGroupOnClose = false
		b := topology.NewBuilder()
		topology.Stream(b, s.in, serde.String, serde.String).To(s.out)
		a := s.run(b, cfg)
		a.awaitTasks(1)
		s.cluster.AddPartitions(t, s.in, 3)
		a.awaitTasks(3)
		s.cluster.Produce(t, s.in,
			broker.Record{Partition: 0, Value: []byte("a")}, broker.Record{Partition: 1, Value: []byte("b")},
			broker.Record{Partition: 2, Value: []byte("c")})
		require.ElementsMatch(t, []string{"a", "b", "c"}, values(s.awaitOutputs(s.out, 3)))
		a.close()

		// The process is down meanwhile: its static membership must not bring the old assignment back.
		s.cluster.AddPartitions(t, s.in, 4)
		c := s.run(b, cfg)
		c.awaitTasks(4)
		c.close()
	})
}
