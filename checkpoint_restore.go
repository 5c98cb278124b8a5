package tidemark

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

// snapshots finds what tasks can be restored from: the checkpoints and savepoints of this application.
type snapshots struct {
	loader checkpointing.Loader
}

// newSnapshots returns nil if there is no storage.
func (in *incarnation) newSnapshots() (worker.Snapshots, error) {
	cfg := &in.app.cfg.Checkpointing
	if !cfg.Enabled() {
		return nil, nil //nolint:nilnil // no snapshots, as the port says it
	}
	s := &snapshots{loader: checkpointing.Loader{
		Storages: []storage.Storage{cfg.Storage, cfg.SavepointStorage}, ApplicationID: in.app.cfg.ApplicationID,
		Fits: in.fits, StallMax: stallMax(cfg),
	}}
	var err error
	if s.loader.Cipher, err = cipherOf(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// stallMax is how long a storage may get nowhere when a task or a coordinator begins: the former has its changelogs,
// and the latter begins again.
func stallMax(cfg *checkpointing.Config) time.Duration { return min(cfg.Timeout, 30*time.Second) }

// cipherOf returns what snapshots are encrypted with, nil if they are not.
func cipherOf(cfg *checkpointing.Config) (*storage.Cipher, error) {
	c, err := cfg.Cipher()
	if err != nil {
		return nil, &ConfigError{Field: "Checkpointing.EncryptionKey", Value: "set", Hint: err.Error()}
	}
	return c, nil
}

// Candidates implements worker.Snapshots.
func (s *snapshots) Candidates(ctx context.Context, id record.TaskID) ([]worker.Candidate, error) {
	found, err := s.loader.Candidates(ctx, id)
	candidates := make([]worker.Candidate, len(found))
	for i, c := range found {
		candidates[i] = worker.Candidate{
			ID: c.ID, Location: c.Location, Checkpoint: c.Checkpoint, Bytes: c.Bytes, Entries: c.Entries, Open: c.Open,
			Files: c.Files, Transient: storage.Transient, Err: c.Err,
		}
	}
	if len(candidates) > 0 {
		err = nil // of one storage, perhaps: the other has some
	}
	return candidates, err
}

// fits says why a snapshot of this application is of no use to the topology: a task's number, or a store's name, means
// something else in it.
func (in *incarnation) fits(m *checkpointing.Manifest) error {
	for _, was := range m.Stores {
		for _, sub := range in.app.plan.Subtopologies {
			for _, s := range sub.Stores {
				if s.Name == was.Name && sub.ID != was.Subtopology {
					return fmt.Errorf("the store %q was in sub-topology %d and is in %d", s.Name, was.Subtopology, sub.ID)
				}
			}
		}
	}
	for topic, n := range m.Partitions {
		if now := in.topics.readable(topic); now > 0 && now != n {
			return fmt.Errorf("the topic %q had %d partitions and has %d", topic, n, now)
		}
	}
	return nil
}

// restoreListener is the user's, which we listen to as well.
func (in *incarnation) restoreListener() RestoreListener {
	listener := in.app.cfg.RestoreListener
	tell := listener.OnEnd
	listener.OnEnd = func(e RestoreEnd) {
		if strings.HasPrefix(e.Base, "snapshot") {
			in.app.mu.Lock()
			in.app.mu.checkpoints.restored = &RestoredSnapshot{
				Task: e.Task.String(), Base: e.Base, RestoredMs: in.app.clock.NowMs(), RecordsRead: e.Records,
				Took: e.Took,
			}
			in.app.mu.Unlock()
		}
		if tell != nil {
			tell(e)
		}
	}
	return listener
}
