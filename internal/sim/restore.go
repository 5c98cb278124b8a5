package sim

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// taskDir returns the directory of a task on its instance. Now and then it is lost.
func (c *Cluster) taskDir(m *member) string {
	if m.on.dir == "" {
		return ""
	}
	dir := filepath.Join(m.on.dir, m.cfg.ID.String())
	if c.cfg.Rand.IntN(4) == 0 {
		_ = os.RemoveAll(dir) // what is left is as good
	}
	return dir
}

// restore brings the stores of a task to the end of their changelogs, and starts it where its inputs were committed.
func (c *Cluster) restore(m *member) error {
	stores := m.task.Stores()
	cp, ok := stores.Checkpoint()
	if !ok || cp.Changelog == nil {
		cp.Changelog = make(map[string]int64)
	}
	cp.Inputs, cp.StreamTimes, cp.WallTimeMs = nil, nil, c.nowMs
	logged := false
	for _, s := range m.cfg.Subtopology.Stores {
		if s.LoggingDisabled {
			continue
		}
		logged = true
		records, end := c.changelog(m, s)
		from := cp.Changelog[s.PositionKey()]
		if from > end {
			return fmt.Errorf("sim: task %s: store %q is at %d, behind the end %d of its changelog", m.cfg.ID, s.Name, from, end)
		}
		records = records[from:]
		if from == sinceStart && s.SourceTopic == "" {
			records = c.compacted(records)
		}
		if s.FromSource != nil && s.SourceTopic != "" {
			records = s.FromSource()(records)
		}
		if err := stores.Replay(s.Name, records); err != nil {
			return fmt.Errorf("sim: task %s: restore %q: %w", m.cfg.ID, s.Name, err)
		}
		cp.Changelog[s.PositionKey()] = end
		if err := stores.Replayed(cp); err != nil {
			return err
		}
	}
	if logged {
		if err := stores.Replayed(cp); err != nil {
			return err
		}
	}
	return m.task.Init(maps.Clone(m.positions), cp.Changelog, max(m.epoch, cp.Epoch), c.nowMs)
}

// changelog returns the log of a store up to what is committed of it.
func (c *Cluster) changelog(m *member, s *processor.StoreSpec) (records []record.Raw, end int64) {
	tp := record.TopicPartition{Topic: m.cfg.Changelog(s.Name), Partition: m.cfg.ID.Partition}
	if s.SourceTopic != "" {
		tp.Topic = c.physical(s.SourceTopic)
		end = m.positions[tp].Offset
		return c.logs[tp][:end], end
	}
	return c.logs[tp], int64(len(c.logs[tp]))
}

// compacted drops records with a later one of the same key, up to a random point, as the log cleaner does.
func (c *Cluster) compacted(records []record.Raw) []record.Raw {
	to := c.cfg.Rand.IntN(len(records) + 1)
	last := make(map[string]int, to)
	for i := range records {
		if i < to {
			last[string(records[i].Key)] = i
		}
	}
	kept := make([]record.Raw, 0, len(records))
	for i := range records {
		if i >= to || last[string(records[i].Key)] == i {
			kept = append(kept, records[i])
		}
	}
	return kept
}
