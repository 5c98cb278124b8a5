package tidemark

import (
	"context"
	"log/slog"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// leaveWord notes in the committed offsets of our partitions that we have closed and are not to be waited for, should
// somebody come who has lost our identity. Best effort: without it the session timeout does the same, later.
func (in *incarnation) leaveWord(ctx context.Context, owned []record.TopicPartition) {
	m := in.group.Member()
	if m.InstanceID == "" || m.Generation < 0 || len(owned) == 0 {
		return
	}
	offsets, err := in.admin.CommittedOffsets(ctx, m.GroupID, owned)
	if err == nil {
		for tp, o := range offsets {
			meta, parseErr := eos.ParseMetadata(o.Metadata)
			if parseErr != nil {
				delete(offsets, tp)
				continue
			}
			meta.Departed = m.InstanceID
			offsets[tp] = eos.Offset{Offset: o.Offset, Metadata: meta.Encode()}
		}
		err = in.admin.CommitOffsets(ctx, m, offsets)
	}
	if err != nil {
		in.app.cfg.Logger.Warn("cannot leave word that this member has closed", slog.Any("error", err))
	}
}

// dismissDeparted lets members go that have closed and left word, if nobody knows us: we may be their successor with a
// new identity, and their tasks would wait for their sessions to end. A member with an identity does not do so: it has
// tasks of its own, and theirs wait for their restart.
func (in *incarnation) dismissDeparted(ctx context.Context, instanceID string) error {
	if !in.dir.Fresh() || instanceID == "" {
		return nil
	}
	offsets, err := in.lastCommits(ctx)
	if err != nil {
		return err
	}
	departed := departedIn(offsets, instanceID)
	if len(departed) == 0 {
		return nil
	}
	in.app.cfg.Logger.Info("letting departed members go", slog.Any("instance_ids", departed))
	return in.admin.RemoveMembers(ctx, in.app.cfg.ApplicationID, departed)
}

// departedIn returns the members that have left word in committed offsets, but one.
func departedIn(offsets map[record.TopicPartition]eos.Offset, but string) []string {
	return named(offsets, func(m eos.Metadata) string {
		if m.Departed == but {
			return ""
		}
		return m.Departed
	})
}
