package tidemark

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// query is a reader without its types: what is asked, of whom, and how.
type query struct {
	app    *App         // nil: client is set
	client *QueryClient // nil: app is set
	store  string
	// spec is the store's in the App's topology, or specErr.
	spec    *store.Spec
	specErr error
	// types are those of the stores that the reader reads.
	types []string

	partition   int32 // anyPartition: by the key
	uncommitted bool
	here        bool
	stale       *StaleBound
	atLeast     Position
	patience    time.Duration
	observe     func(QueryInfo)
}

// anyPartition leaves the choice to the key, or means all.
const anyPartition int32 = -1

// Defaults of queries.
const (
	patienceDefault = 30 * time.Second
	// pageRows is how many rows a worker looks up at a time, between two of its steps.
	pageRows = 256
)

func newQuery(a *App, c *QueryClient, storeName string, types ...string) query {
	q := query{
		app: a, client: c, store: storeName, types: types, partition: anyPartition, patience: patienceDefault,
	}
	if a != nil {
		q.spec, q.specErr = a.storeSpec(storeName)
	}
	return q
}

// router says who is asked.
func (q *query) router() router {
	if q.client != nil {
		return q.client.router
	}
	r := router{local: q.app.answer, clock: q.app.clock}
	if q.routed() {
		r.self, r.cluster, r.remote = q.app.cfg.ApplicationServer, q.app.cluster, q.app.remote
	}
	return r
}

// routed reports whether others are asked, too.
func (q *query) routed() bool {
	return q.client != nil || q.app.cfg.ApplicationServer != "" && !q.here
}

// describe returns what is known of the store; it waits until enough is.
func (q *query) describe(ctx context.Context) (StoreMetadata, error) {
	if q.app != nil {
		if q.app.globalStore(q.store) != nil {
			return StoreMetadata{Name: q.store, Global: true}, nil
		}
		in, state := q.app.running()
		if in != nil {
			sub, err := q.app.subtopologyOf(q.store)
			return StoreMetadata{Name: q.store, Subtopology: sub, Partitions: q.app.partitionsOf(sub)}, err
		}
		if !q.routed() {
			return StoreMetadata{}, &NotHereError{Store: q.store, Partition: anyPartition, State: state}
		}
	}
	return q.describeCluster(ctx)
}

// describeCluster is describe for who has to ask others.
func (q *query) describeCluster(ctx context.Context) (StoreMetadata, error) {
	r := q.router()
	bounded, cancel := context.WithTimeoutCause(ctx, q.patience, errPatience)
	defer cancel()
	var wait pauses
	var since time.Time
	for {
		c, err := r.cluster.get(bounded, since)
		if err == nil {
			s, ok := c.stores[q.store]
			if !ok {
				return s, fmt.Errorf("tidemark: the application has no store %q that can be queried", q.store)
			}
			if !slices.Contains(q.types, s.Type) {
				return s, fmt.Errorf("tidemark: store %q is %s, and the query is for a store that is %s: use the reader of its "+
					"kind", q.store, s.Type, q.types[0])
			}
			return s, nil
		}
		since = r.clock.Now()
		if !wait.wait(bounded, r.clock) {
			return StoreMetadata{}, &UnavailableError{
				Store: q.store, Partition: anyPartition, Retriable: true, Err: err, Cause: endOf(ctx),
			}
		}
	}
}

// typeError says that a store is not what the query takes it for.
func typeError(spec *store.Spec, want string) error {
	return fmt.Errorf("tidemark: store %q is %s with %T, and the query is for %s", spec.Name, spec.Type, spec.Serdes, want)
}

// serdesOf returns the serdes of a store of an App.
func serdesOf[K, V any](q *query) (store.Serdes[K, V], error) {
	if q.specErr != nil {
		return store.Serdes[K, V]{}, q.specErr
	}
	serdes, ok := q.spec.Serdes.(store.Serdes[K, V])
	if !ok || !slices.Contains(q.types, q.spec.Type) {
		return serdes, typeError(q.spec, fmt.Sprintf("%s with %s", q.types[0], reflect.TypeFor[store.Serdes[K, V]]()))
	}
	return serdes, nil
}

// partitionOf returns the partition of an encoded key.
func (q *query) partitionOf(s StoreMetadata, key []byte) (int32, error) {
	switch {
	case s.Global:
		return anyPartition, nil
	case q.partition != anyPartition:
		return q.partition, nil
	case q.app != nil:
		return partitionOfKey(q.spec, key, s.Partitions)
	case s.KeyWindowBytes < 0 || len(key) < s.KeyWindowBytes || s.Partitions < 1:
		return 0, fmt.Errorf("tidemark: store %q: the key does not say in which partition it is: choose one with Partition",
			q.store)
	}
	return processor.DefaultPartition(key[:len(key)-s.KeyWindowBytes], s.Partitions), nil
}

// byKey asks about one key and returns all rows.
func (q *query) byKey(ctx context.Context, key []byte, w store.Question) (rows []store.Row, info QueryInfo, err error) {
	s, err := q.describe(ctx)
	if err != nil {
		return nil, info, err
	}
	partition, err := q.partitionOf(s, key)
	if err != nil {
		return nil, info, err
	}
	w.Key, w.Limit = key, queryLimitMax
	err = q.stream(ctx, s, partition, w, func(r reply) bool {
		rows, info = append(rows, r.page.Rows...), r.info
		return true
	})
	return rows, info, err
}

// each asks all partitions, one after the other, until yield returns false.
func (q *query) each(ctx context.Context, w store.Question, yield func(reply) bool) error {
	s, err := q.describe(ctx)
	if err != nil {
		return err
	}
	partitions := []int32{q.partition}
	switch {
	case s.Global:
		partitions[0] = anyPartition
	case q.partition == anyPartition && q.routed():
		partitions = partitions[:0]
		for p := range s.Partitions {
			partitions = append(partitions, p)
		}
	case q.partition == anyPartition:
		if partitions, err = q.app.partitionsHere(q.store); err != nil {
			return err
		}
	}
	if w.Limit == 0 {
		w.Limit = pageRows
	}
	on := true
	for _, p := range partitions {
		if err := q.stream(ctx, s, p, w, func(r reply) bool { on = yield(r); return on }); err != nil || !on {
			return err
		}
	}
	return nil
}

// stream asks about one partition.
func (q *query) stream(
	ctx context.Context, s StoreMetadata, partition int32, w store.Question, yield func(reply) bool,
) error {
	w.Uncommitted = q.uncommitted
	r := q.router()
	err := r.stream(ctx, ask{
		store: q.store, partition: partition, partitions: s.Partitions, question: w, stale: q.stale, atLeast: q.atLeast,
	}, q.patience, func(p reply) bool {
		if q.observe != nil {
			q.observe(p.info)
		}
		return yield(p)
	})
	if no, ok := err.(*refusal); ok { //nolint:errorlint // of a query that is not routed
		return &NotHereError{Store: q.store, Partition: partition, State: no.state}
	}
	return err
}

// rowsOf is each as an iterator over decoded rows.
func rowsOf[E any](
	ctx context.Context, q *query, w store.Question, decode func(store.Row) (E, error),
) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		on := true
		err := q.each(ctx, w, func(r reply) bool {
			for _, row := range r.page.Rows {
				e, err := decode(row)
				if on = yield(e, err) && err == nil; !on {
					return false
				}
			}
			return true
		})
		if err != nil && on {
			yield(none, err)
		}
	}
}

// collect gathers what an iterator yields.
func collect[T any](all iter.Seq2[T, error]) (list []T, err error) {
	for e, err := range all {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// running returns the incarnation that is up, nil if none is.
func (a *App) running() (*incarnation, State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.run, a.mu.state
}

// subtopologyOf finds the sub-topology that has a store.
func (a *App) subtopologyOf(name string) (int32, error) {
	for _, sub := range a.plan.Subtopologies {
		if slices.ContainsFunc(sub.Stores, func(s *processor.StoreSpec) bool { return s.Name == name }) {
			return sub.ID, nil
		}
	}
	return 0, fmt.Errorf("tidemark: the topology has no store %q: a table has one if it is given a name with topology.As",
		name)
}

// partitionsHere lists the partitions of a store whose tasks run on this instance: one at least.
func (a *App) partitionsHere(name string) ([]int32, error) {
	sub, err := a.subtopologyOf(name)
	if err != nil {
		return nil, err
	}
	in, state := a.running()
	var here []int32
	if in != nil {
		for _, t := range in.topics.tasks {
			if _, ok := in.manager.WorkerOf(t.ID); ok && t.ID.Subtopology == sub {
				here = append(here, t.ID.Partition)
			}
		}
	}
	if len(here) == 0 {
		return nil, &NotHereError{Store: name, Partition: anyPartition, State: state}
	}
	slices.Sort(here)
	return here, nil
}

// partitionsOf returns how many tasks a sub-topology has.
func (a *App) partitionsOf(sub int32) (n int32) {
	in, _ := a.running()
	if in == nil {
		return 1
	}
	for _, t := range in.topics.tasks {
		if t.ID.Subtopology == sub {
			n++
		}
	}
	return max(n, 1)
}

// decodeWith decodes with a serde of a store.
func decodeWith[T any](name, op string, data []byte, decode func([]byte) (T, error)) (T, error) {
	v, err := decode(data)
	if err != nil {
		err = &store.CodecError{Store: name, Op: op, Key: data, Err: err}
	}
	return v, err
}

var errNoSerdes = errors.New("tidemark: a query needs a serde for keys and one for values")
