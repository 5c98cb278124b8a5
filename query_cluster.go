package tidemark

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
)

// cluster is Metadata with what routing looks up.
type cluster struct {
	Metadata

	stores   map[string]StoreMetadata
	active   map[record.TaskID]string   // endpoints
	standbys map[record.TaskID][]string // endpoints
	all      []string                   // endpoints
}

func newCluster(m Metadata) *cluster {
	c := &cluster{
		Metadata: m, stores: make(map[string]StoreMetadata, len(m.Stores)),
		active: make(map[record.TaskID]string), standbys: make(map[record.TaskID][]string),
	}
	for _, s := range m.Stores {
		c.stores[s.Name] = s
	}
	for _, i := range m.Instances {
		if i.Endpoint == "" {
			continue
		}
		c.all = append(c.all, i.Endpoint)
		for _, id := range i.Active {
			c.active[id] = i.Endpoint
		}
		for _, id := range i.Standby {
			c.standbys[id] = append(c.standbys[id], i.Endpoint)
		}
	}
	return c
}

// Ages of what is known of a cluster.
const (
	// clusterAgeMax is after how long it is asked for again without a reason: standbys move, and nothing says so.
	clusterAgeMax = 5 * time.Second
	// clusterAgeMin bounds how often it is asked for with one, whatever number of queries have found it wrong.
	clusterAgeMin = 50 * time.Millisecond
	// clusterTimeout bounds a look, and clusterPeek one that is only due by age.
	clusterTimeout = 3 * time.Second
	clusterPeek    = 250 * time.Millisecond
)

// errRebalancing says that the coordinator cannot tell who has what.
var errRebalancing = errors.New("the group rebalances")

// clusterCache remembers what is known of a cluster. Whoever finds it old looks, on its own goroutine; the others wait
// for that, or go on with what is known if it is only old and not wrong.
type clusterCache struct {
	look  func(ctx context.Context) (*cluster, error)
	clock clock.Clock
	gate  chan struct{} // held by who looks

	mu struct {
		sync.Mutex
		known  *cluster
		looked time.Time // when the last look began
		err    error     // of the last look
	}
}

func newClusterCache(c clock.Clock, look func(ctx context.Context) (*cluster, error)) *clusterCache {
	return &clusterCache{look: look, clock: c, gate: make(chan struct{}, 1)}
}

// get returns what is known. Anything as of before since has proved wrong: it is returned only if the look fails.
func (c *clusterCache) get(ctx context.Context, since time.Time) (*cluster, error) {
	s := c.state(since)
	if s.fresh {
		return s.known, s.err
	}
	if !s.wrong {
		select {
		case c.gate <- struct{}{}:
		default:
			return s.known, nil // somebody looks already
		}
	} else {
		select {
		case c.gate <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() { <-c.gate }()
	if s = c.state(since); s.fresh {
		return s.known, s.err
	}
	began := c.clock.Now()
	timeout := clusterTimeout
	if !s.wrong {
		timeout = clusterPeek
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := c.look(bounded)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && ctx.Err() != nil && c.mu.known == nil {
		return nil, err // it is the asker who had no time: the next one looks at once
	}
	c.mu.looked, c.mu.err = began, err
	if err == nil {
		c.mu.known = found
	}
	if c.mu.known != nil {
		return c.mu.known, nil
	}
	return nil, err
}

// clusterState is what is known, or why nothing is; whether it has proved wrong, and whether no look is due.
type clusterState struct {
	known        *cluster
	err          error
	wrong, fresh bool
}

func (c *clusterCache) state(since time.Time) clusterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := clusterState{known: c.mu.known, wrong: c.mu.known == nil || c.mu.looked.Before(since)}
	if s.known == nil {
		s.err = c.mu.err
	}
	age := c.clock.Since(c.mu.looked)
	s.fresh = !c.mu.looked.IsZero() && (age < clusterAgeMin || !s.wrong && age < clusterAgeMax)
	return s
}

// lookUpCluster asks the group's coordinator, with one request.
func (a *App) lookUpCluster(ctx context.Context) (*cluster, error) {
	in, state := a.running()
	if in == nil {
		return nil, fmt.Errorf("tidemark: the instance does not run (%s)", state)
	}
	m := Metadata{Stores: in.storesOf(), At: a.clock.Now()}
	group, members, err := in.admin.DescribeMembers(ctx, a.cfg.ApplicationID)
	if err != nil {
		return nil, err
	}
	if group != "Stable" {
		return nil, fmt.Errorf("tidemark: group %q is %s: %w", a.cfg.ApplicationID, group, errRebalancing)
	}
	for _, g := range members {
		i := InstanceMetadata{MemberID: g.MemberID, InstanceID: g.InstanceID}
		s, err := assign.DecodeSubscription(g.Subscription)
		if err != nil {
			continue // of another kind of client, which has no tasks of ours
		}
		i.Endpoint, i.ProcessID, i.Workers = s.Endpoint, s.ProcessID, s.Workers
		if got, err := assign.DecodeAssignment(g.Assignment); err == nil {
			i.Active, i.Standby = got.Tasks, slices.Concat(got.Standby, got.Warmup)
			i.WarmUp = got.Warmup
		}
		m.Instances = append(m.Instances, i)
	}
	slices.SortFunc(m.Instances, func(a, b InstanceMetadata) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.MemberID, b.MemberID))
	})
	return newCluster(m), nil
}
