package integration

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/processor/assign"
)

// generations watches from the broker's side who owns what. The requests of members are what it goes by, also of those
// that are refused: whoever commits a partition believes to own it in the generation that it names.
type generations struct {
	group string
	mu    sync.Mutex
	// committed is the member that has committed a partition in a generation.
	committed map[claim]string
	assigned  int // assignments by a leader
	standbys  int // standbys and warm-ups in them
	newest    int32
	wrong     []string
}

type claim struct {
	generation int32
	topic      string
	partition  int32
}

func watchGenerations(c *kfake.Cluster, group string) *generations {
	g := &generations{group: group, committed: make(map[claim]string)}
	c.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if r, ok := req.(*kmsg.TxnOffsetCommitRequest); ok {
			g.commits(r)
		}
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.SyncGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if r, ok := req.(*kmsg.SyncGroupRequest); ok {
			g.assigns(r)
		}
		return nil, nil, false
	})
	return g
}

// commits notes who commits. A static member that comes back is the same member, under another id.
func (g *generations) commits(r *kmsg.TxnOffsetCommitRequest) {
	if r.Group != g.group || r.Generation < 0 {
		return
	}
	member := r.MemberID
	if r.InstanceID != nil {
		member = *r.InstanceID
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.newest = max(g.newest, r.Generation)
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			at := claim{r.Generation, topic.Topic, p.Partition}
			if by, ok := g.committed[at]; ok && by != member {
				g.wrong = append(g.wrong, fmt.Sprintf("%s-%d is committed by %s and by %s in generation %d", topic.Topic,
					p.Partition, by, member, r.Generation))
			}
			g.committed[at] = member
		}
	}
}

// assigns looks at what a leader gives to its members.
func (g *generations) assigns(r *kmsg.SyncGroupRequest) {
	if r.Group != g.group || len(r.GroupAssignment) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.assigned++
	runs := make(map[string]string)
	for _, a := range r.GroupAssignment {
		var protocol kmsg.ConsumerMemberAssignment
		if err := protocol.ReadFrom(a.MemberAssignment); err != nil {
			g.wrong = append(g.wrong, fmt.Sprintf("assignment of %s: %v", a.MemberID, err))
			continue
		}
		decoded, err := assign.DecodeAssignment(protocol.UserData)
		if err != nil {
			g.wrong = append(g.wrong, fmt.Sprintf("assignment of %s: %v", a.MemberID, err))
			continue
		}
		g.standbys += len(decoded.Standby) + len(decoded.Warmup)
		what := make([]string, 0, len(decoded.Tasks))
		for _, id := range decoded.Tasks {
			what = append(what, "task "+id.String())
		}
		for _, topic := range protocol.Topics {
			for _, p := range topic.Partitions {
				what = append(what, fmt.Sprintf("partition %s-%d", topic.Topic, p))
			}
		}
		for _, it := range what {
			if by, twice := runs[it]; twice {
				g.wrong = append(g.wrong, fmt.Sprintf("%s is given to %s and to %s in generation %d", it, by, a.MemberID,
					r.Generation))
			}
			runs[it] = a.MemberID
		}
	}
}

func (g *generations) violations() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wrong
}

func (g *generations) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("%d assignments with %d standbys and warm-ups, up to generation %d", g.assigned, g.standbys,
		g.newest)
}
