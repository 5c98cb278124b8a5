package tidemark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// ErrNoPlan says that an application has stored no description of its topology: it has never run, or not on this
// cluster.
var ErrNoPlan = errors.New("tidemark: the application has stored no plan: it has not run on this cluster yet")

// StateLossError says that a topology would leave state behind that the application has. Nothing was changed.
type StateLossError struct {
	ApplicationID string
	// Lost has the stores, Changes everything that the deployment would do.
	Lost, Changes topology.PlanChanges
}

func (e *StateLossError) Error() string {
	return fmt.Sprintf("tidemark: application %q has state that this topology would lose; keep the names and kinds of "+
		"its stores, or set Config.AllowStateLoss if that is meant:\n%s", e.ApplicationID, e.Lost)
}

// StoredPlan returns the description of the topology that an application runs, or ran last, from the topic
// <application-id>-plan: [ErrNoPlan] if there is none. Of cfg it needs ApplicationID, Brokers, and what the connection
// needs. It can be called while the application runs.
func StoredPlan(ctx context.Context, cfg Config) (*topology.Description, error) {
	var stored *topology.Description
	err := withCluster(ctx, cfg, func(ctx context.Context, cfg *Config, client *kafka.Client, admin *kafka.Admin) error {
		data, err := readPlan(ctx, cfg.ApplicationID, client, admin)
		if err == nil && data == nil {
			err = ErrNoPlan
		}
		if err == nil {
			stored, err = topology.ParseDescription(data)
		}
		return err
	})
	return stored, err
}

// DiffStored compares a topology with the one that the application runs, or ran last, and says what deploying it would
// keep and lose: see [topology.Diff] and [StoredPlan]. It changes nothing, and can be called while the application
// runs.
func DiffStored(ctx context.Context, t Topology, cfg Config) (topology.PlanChanges, error) {
	plan, err := t.Build()
	if err != nil {
		return nil, err
	}
	var changes topology.PlanChanges
	err = withCluster(ctx, cfg, func(ctx context.Context, cfg *Config, client *kafka.Client, admin *kafka.Admin) error {
		data, err := readPlan(ctx, cfg.ApplicationID, client, admin)
		if err == nil && data == nil {
			err = ErrNoPlan
		}
		if err != nil {
			return err
		}
		before, err := topology.ParseDescription(data)
		if err != nil {
			return err
		}
		after, err := describe(ctx, cfg.ApplicationID, plan, admin)
		if err == nil {
			changes = topology.Diff(before, after)
		}
		return err
	})
	return changes, err
}

// withCluster connects for one question.
func withCluster(
	ctx context.Context, cfg Config,
	ask func(ctx context.Context, cfg *Config, client *kafka.Client, admin *kafka.Admin) error,
) (err error) {
	cfg, err = cfg.withDefaults()
	if err = errors.Join(err, cfg.validate()); err != nil {
		return err
	}
	conf, err := cfg.security().Sarama()
	if err != nil {
		return &ConfigError{Field: "SASL", Value: cfg.SASL.Mechanism, Hint: err.Error()}
	}
	client, err := kafka.NewClient(cfg.Brokers, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	return ask(ctx, &cfg, client, kafka.NewAdmin(client, kafka.AdminConfig{
		TransactionTimeout: cfg.TransactionTimeout, GroupID: cfg.ApplicationID, Logger: cfg.Logger,
	}))
}

// planTopic keeps the description of the topology that runs: one partition, compacted, one key. A topic and not the
// group's offset metadata, which is too small for it.
func planTopic(applicationID string) string { return applicationID + "-plan" }

const planKey = "plan"

// readPlan returns the last description on Kafka, nil if there is none.
func readPlan(ctx context.Context, applicationID string, client *kafka.Client, admin worker.Admin) ([]byte, error) {
	topic := planTopic(applicationID)
	existing, err := admin.Partitions(ctx, []string{topic})
	if err != nil || existing[topic] == 0 {
		return nil, err
	}
	tps := []record.TopicPartition{{Topic: topic}}
	starts, err := admin.StartOffsets(ctx, tps)
	if err != nil {
		return nil, err
	}
	ends, err := admin.EndOffsets(ctx, tps, true)
	if err != nil {
		return nil, err
	}
	var last []byte
	err = kafka.NewReader(client).Read(ctx, tps[0], starts[tps[0]], ends[tps[0]],
		func(records []record.Raw, _ int64) error {
			for _, r := range records {
				if string(r.Key) == planKey {
					last = bytes.Clone(r.Value)
				}
			}
			return nil
		})
	return last, err
}

// describe describes a plan, with the partitions that its topics have.
func describe(
	ctx context.Context, applicationID string, plan *processor.Plan, admin worker.Admin,
) (*topology.Description, error) {
	d := topology.NewDescription(plan)
	physical := func(t topology.TopicDescription) string {
		if t.Repartition {
			return changelog.RepartitionTopicName(applicationID, t.Name)
		}
		return t.Name
	}
	names := make([]string, len(d.Topics))
	for i, t := range d.Topics {
		names[i] = physical(t)
	}
	existing, err := admin.Partitions(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("tidemark: look topics up: %w", err)
	}
	for i := range d.Topics {
		if t := &d.Topics[i]; t.Partitions == 0 {
			t.Partitions = existing[physical(*t)]
		}
	}
	return d, nil
}

// comparePlans tells what this topology does to what the application has, and refuses to lose state. It returns the
// description of what ran last, nil if there is none. A stored plan that cannot be read is no reason not to start: what
// it is there for is rare, and the application may lack the permission.
func (in *incarnation) comparePlans(ctx context.Context) (before *topology.Description, err error) {
	cfg := &in.app.cfg
	data, err := readPlan(ctx, cfg.ApplicationID, in.client, in.admin)
	if data == nil { // of another cluster, perhaps, or before the topic could be written
		var fileErr error
		data, fileErr = in.dir.Plan()
		err = errors.Join(err, fileErr)
	}
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if data != nil {
		var parseErr error
		if before, parseErr = topology.ParseDescription(data); parseErr != nil {
			err = errors.Join(err, parseErr)
		}
	}
	if err != nil {
		cfg.Logger.Warn("cannot tell what this topology keeps of what the application has", slog.Any("error", err))
	}
	if before == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	after, err := describe(ctx, cfg.ApplicationID, in.app.plan, in.admin)
	if err != nil {
		return nil, err
	}
	changes := topology.Diff(before, after)
	for _, c := range changes {
		level := slog.LevelInfo
		switch c.Effect {
		case topology.Keeps:
			continue
		case topology.Loses, topology.Alters:
			level = slog.LevelWarn
		case topology.Moves, topology.Drops, topology.Adds:
		}
		cfg.Logger.Log(ctx, level, "the topology has changed", slog.String("effect", string(c.Effect)),
			slog.String("subject", c.Subject), slog.String("name", c.Name), slog.String("means", c.Text))
	}
	if lost := changes.LostStores(); len(lost) > 0 && !cfg.AllowStateLoss {
		return nil, &StateLossError{ApplicationID: cfg.ApplicationID, Lost: lost, Changes: changes}
	}
	return before, nil
}

// keepPlan stores the topology once it runs. One that was refused, by us or by the group, is never stored.
func (in *incarnation) keepPlan(ctx context.Context) {
	select {
	case <-in.settled:
	case <-ctx.Done():
		return
	}
	if err := in.storePlan(ctx); err != nil && ctx.Err() == nil {
		in.app.cfg.Logger.Warn("cannot store the topology: the next version cannot be compared with it",
			slog.String("topic", planTopic(in.app.cfg.ApplicationID)), slog.Any("error", err))
	}
}

func (in *incarnation) storePlan(ctx context.Context) (err error) {
	cfg := &in.app.cfg
	d, err := describe(ctx, cfg.ApplicationID, in.app.plan, in.admin)
	if err != nil {
		return err
	}
	for i := range d.Topics { // what there is state for, and what it was when we began
		if t := &d.Topics[i]; t.Read && !t.Repartition && in.topics.readable(t.Name) > 0 {
			t.Partitions = in.topics.readable(t.Name)
		}
	}
	data, err := d.JSON()
	if err != nil {
		return err
	}
	fileErr := in.dir.SavePlan(data)
	stored, err := readPlan(ctx, cfg.ApplicationID, in.client, in.admin)
	if err != nil || bytes.Equal(stored, data) {
		return errors.Join(fileErr, err) // another instance was quicker
	}
	topic := planTopic(cfg.ApplicationID)
	err = in.admin.CreateTopic(ctx, topic, 1, cfg.ReplicationFactor, changelog.TopicConfig(0, nil))
	if err != nil {
		return errors.Join(fileErr, err)
	}
	p, err := kafka.NewProducer(in.client, kafka.ProducerConfig{
		MaxRequestBytes: cfg.MaxRequestBytes, RequestTimeout: cfg.ConnectTimeout,
		DeliveryTimeout: cfg.ConnectTimeout, Logger: cfg.Logger,
	})
	if err != nil {
		return errors.Join(fileErr, err)
	}
	defer func() { err = errors.Join(fileErr, err, p.Close()) }()
	if err = p.Init(ctx); err != nil {
		return err
	}
	batch := &record.Batch{TopicPartition: record.TopicPartition{Topic: topic}}
	batch.Append([]byte(planKey), data, in.app.clock.Now().UnixMilli(), nil)
	_, err = p.Send(ctx, []*record.Batch{batch})
	return err
}
