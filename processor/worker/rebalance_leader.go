package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
)

// Placing is what the leader of the group goes by.
type Placing struct {
	// StandbyReplicas is how many standbys each task with state has (num.standby.replicas), if there are so many members.
	StandbyReplicas int
	// MaxWarmups is how many tasks may be warmed up at a time in the group (max.warmup.replicas).
	MaxWarmups int
	// AcceptableLag is how far behind the state of a member may be that gets a task (acceptable.recovery.lag).
	AcceptableLag int64
	// RackTags are the tags over whose values standbys are spread (rack.aware.assignment.tags).
	RackTags []string
}

// endsTimeout bounds the leader's question for the ends of changelogs: all members wait for it. Without an answer
// nothing counts as caught up, so tasks stay where they are.
const endsTimeout = 3 * time.Second

// Assign implements GroupHandler: it runs on the member that leads the group.
func (m *Manager) Assign(ctx context.Context, members []GroupMember) (map[string]GroupAssignment, error) {
	tasks, err := m.cfg.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	subs := make([]assign.Subscription, len(members))
	as, leader := make([]assign.Member, len(members)), ""
	for i, gm := range members {
		if subs[i], err = assign.DecodeSubscription(gm.UserData); err != nil {
			return nil, fmt.Errorf("worker: member %s is not a Tidemark application of this id: %w", gm.MemberID, err)
		}
		as[i] = subs[i].Member(gm.MemberID, gm.InstanceID, gm.Generation)
		if gm.Leader {
			leader = gm.MemberID
		}
	}
	m.compare(ctx, members, subs)
	if m.cfg.OnMembers != nil {
		workers := make(map[string]int, len(as))
		for i := range as {
			workers[as[i].ProcessID] = max(workers[as[i].ProcessID], as[i].Workers)
		}
		m.cfg.OnMembers(ctx, workers)
	}
	admitted, fingerprint, mixed := assign.Admit(as, leader)
	answer := assign.Assignment{Version: assign.CommonVersion(subs), Fingerprint: fingerprint}
	out := make(map[string]GroupAssignment, len(members))
	if mixed != nil {
		m.cfg.Logger.Error("members of another topology are refused", slog.Any("error", mixed))
		refused := answer
		refused.Refusal = mixed.Error()
		for _, gm := range members {
			out[gm.MemberID] = GroupAssignment{UserData: assign.AppendAssignment(nil, refused)}
		}
	}
	if fingerprint != m.cfg.Fingerprint {
		// It is we who are refused, and the tasks of the others' topology are not ours to name: they keep what they
		// have until we have left.
		target, partitions := make(map[string][]record.TaskID), make(map[string][]record.TopicPartition)
		for i, gm := range members {
			partitions[gm.MemberID] = gm.Owned
			if as[i].Fingerprint == fingerprint {
				target[gm.MemberID] = as[i].Owned
			}
		}
		now, _ := assign.Withhold(target, admitted)
		for id, ids := range now {
			answer.Tasks = ids
			out[id] = GroupAssignment{Partitions: partitions[id], UserData: assign.AppendAssignment(nil, answer)}
		}
		return out, nil
	}
	placed, err := assign.Place(tasks, admitted, m.placing(ctx, tasks, len(admitted)))
	if err != nil {
		return nil, err
	}
	now, waiting := assign.Withhold(placed.Active, admitted)
	m.cfg.Logger.Info("assigned tasks", slog.Int("members", len(admitted)), slog.Int("tasks", len(tasks)),
		slog.Int("waiting_for_hand_over", len(waiting)), slog.Int("warming_up", count(placed.Warmup)),
		slog.Int("waiting_for_warm_up", placed.Waiting), slog.Int("standbys", count(placed.Standby)))
	answer.Total, answer.Pending, answer.Inputs = len(tasks), len(waiting) > 0, digestOf(tasks, m.cfg.Inputs)
	nobodyStays, leaving := assign.NobodyStays(admitted), make(map[string]bool)
	for i := range admitted {
		leaving[admitted[i].ID] = admitted[i].Leaving
	}
	for id, ids := range now {
		answer.Tasks, answer.Standby, answer.Warmup = ids, placed.Standby[id], placed.Warmup[id]
		answer.Leave = leaving[id] && (len(ids) == 0 || nobodyStays)
		a := GroupAssignment{UserData: assign.AppendAssignment(nil, answer)}
		for _, t := range ids {
			a.Partitions = append(a.Partitions, m.cfg.Inputs(t)...)
		}
		out[id] = a
	}
	return out, nil
}

func count(by map[string][]record.TaskID) (n int) {
	for _, ids := range by {
		n += len(ids)
	}
	return n
}

// placing is what the placement of tasks goes by now.
func (m *Manager) placing(ctx context.Context, tasks []record.TaskID, members int) assign.Options {
	p := m.cfg.Placing
	o := assign.Options{
		AcceptableLag: p.AcceptableLag, StandbyReplicas: p.StandbyReplicas, MaxWarmups: p.MaxWarmups, RackTags: p.RackTags,
	}
	if m.cfg.Standbys == nil {
		return o
	}
	r := m.cfg.Restorer
	logs := make(map[record.TaskID][]*changelogOf)
	for _, id := range tasks {
		if of, _, _ := r.logsOf(r.cfg.Task(id)); len(of) > 0 {
			logs[id] = of
		}
	}
	o.Stateful = func(id record.TaskID) bool { return len(logs[id]) > 0 }
	if members < 2 || len(logs) == 0 {
		return o // nothing can move
	}
	ctx, cancel := context.WithTimeout(ctx, endsTimeout)
	defer cancel()
	var err error
	if o.Ends, err = r.endsOf(ctx, logs); err != nil {
		m.cfg.Logger.Warn("the ends of the changelogs are not known: no task counts as caught up anywhere",
			slog.Any("error", err))
	}
	return o
}

// endsOf sums the ends of tasks' changelogs up: as far as they are decided, since a standby reads no farther; and those
// of input topics as far as the tasks have processed them.
func (r *Restorer) endsOf(
	ctx context.Context, tasks map[record.TaskID][]*changelogOf,
) (map[record.TaskID]int64, error) {
	var written, limited []record.TopicPartition
	for _, logs := range tasks {
		for _, l := range logs {
			if l.rows != nil {
				limited = append(limited, l.tp)
			} else {
				written = append(written, l.tp)
			}
		}
	}
	ends, err := r.cfg.Admin.EndOffsets(ctx, written, true)
	if err != nil {
		return nil, err
	}
	var committed map[record.TopicPartition]eos.Offset
	if len(limited) > 0 {
		if committed, err = r.cfg.Admin.PossiblyUnstableOffsets(ctx, r.cfg.GroupID, limited); err != nil {
			return nil, err
		}
	}
	sums := make(map[record.TaskID]int64, len(tasks))
	for id, logs := range tasks {
		for _, l := range logs {
			sums[id] += ends[l.tp]
			if l.rows != nil {
				sums[id] += committed[l.tp].Offset
			}
		}
	}
	return sums, nil
}
