package registry

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
)

// ByID keeps what a serde builds from a writer's schema, such as a decoder, by the schema's id.
type ByID[D any] struct {
	client *Client
	build  func(s Schema) (D, error)

	// built is replaced as a whole, so that reading it takes no lock.
	built atomic.Pointer[map[int]built[D]]
	mu    sync.Mutex // serializes replacing
}

type built[D any] struct {
	of  D
	err error
}

// NewByID returns an empty ByID. build is called once per id; its error stands for the id from then on.
func NewByID[D any](c *Client, build func(s Schema) (D, error)) *ByID[D] {
	b := &ByID[D]{client: c, build: build}
	b.built.Store(&map[int]built[D]{})
	return b
}

// Get returns what was built for an id. Only the first call for an id asks the registry. A [serde.UnavailableError]
// says that the registry could not be asked; any other error is about the id or its schema.
func (b *ByID[D]) Get(ctx context.Context, id int) (D, error) {
	if e, ok := (*b.built.Load())[id]; ok {
		return e.of, e.err
	}
	s, err := b.client.SchemaByID(ctx, id)
	if err != nil {
		var zero D
		return zero, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.built.Load()
	if e, ok := old[id]; ok { // another task was faster
		return e.of, e.err
	}
	var e built[D]
	if e.of, e.err = b.build(s); e.err != nil {
		e.err = &Error{
			Op: "use the schema that a record was written with", ID: id, Err: e.err,
			Hint: "the writer's type cannot be read as the reader's: mend one of the schemas",
		}
	}
	next := maps.Clone(old)
	next[id] = e
	b.built.Store(&next)
	return e.of, e.err
}
