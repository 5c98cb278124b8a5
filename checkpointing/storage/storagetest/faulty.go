package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// Fault is a way to fail.
type Fault string

// The faults. Those of reads and writes count per call of Open and Create: the whole object is spoilt.
const (
	// Refuse fails at once with a transient error.
	Refuse Fault = "refuse"
	// Deny fails at once with an error that will not pass.
	Deny Fault = "deny"
	// Hang does nothing until the context ends.
	Hang Fault = "hang"
	// DiskFull lets half of a write through, then fails with a transient error. For writes.
	DiskFull Fault = "disk full"
	// LostAnswer does what was asked, and says that it failed. For commits and deletes.
	LostAnswer Fault = "lost answer"
	// Partial publishes only the first half of the object, and says that all went well, as a file system may after a
	// loss of power. For commits.
	Partial Fault = "partial write"
	// FlipBit changes a bit in the middle of what is read. For opens and ranges.
	FlipBit Fault = "flipped bit"
	// CutShort ends what is read in the middle, without an error. For opens.
	CutShort Fault = "cut short"
)

// Op is an operation that a fault hits.
type Op string

// The operations.
const (
	OnCreate Op = "create"
	OnWrite  Op = "write"
	OnCommit Op = "commit"
	OnOpen   Op = "open"
	OnRange  Op = "range" // reads of a part
	OnList   Op = "list"
	OnDelete Op = "delete"
)

// ErrInjected is the cause of all errors of a [Faulty].
var ErrInjected = errors.New("injected fault")

// Faulty is a storage that fails when told. Safe for concurrent use.
type Faulty struct {
	storage.Storage
	mu struct {
		sync.Mutex
		draw  func(op Op, name string) Fault
		rules []*rule
		calls map[Op]int
		hits  int
	}
}

type rule struct {
	op    Op
	name  string
	fault Fault
	skip  int
	times int
}

// NewFaulty wraps a storage that works.
func NewFaulty(s storage.Storage) *Faulty {
	f := &Faulty{Storage: s}
	f.mu.calls = make(map[Op]int)
	return f
}

// Arm lets the next calls of op on names that contain part (empty: all) fail: after skip of them that work, times of
// them, or all if times is negative.
func (f *Faulty) Arm(op Op, part string, fault Fault, skip, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules = append(f.mu.rules, &rule{op: op, name: part, fault: fault, skip: skip, times: times})
}

// Draw has draw decide about the calls that no rule of Arm hits: it returns the fault, "" for none, and may take its
// time. It is called by several goroutines.
func (f *Faulty) Draw(draw func(op Op, name string) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.draw = draw
}

// Disarm ends all faults; what hangs goes on hanging.
func (f *Faulty) Disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules, f.mu.draw = nil, nil
}

// Hits counts the faults so far.
func (f *Faulty) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.hits
}

// Calls counts the calls of an operation so far.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.calls[op]
}

// next returns the fault that hits a call; empty if none does.
func (f *Faulty) next(op Op, name string) Fault {
	fault, draw := f.armed(op, name)
	if fault != "" || draw == nil {
		return fault
	}
	if fault = draw(op, name); fault != "" {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.hits++
	}
	return fault
}

// armed returns the fault that a rule has for a call, or who decides else.
func (f *Faulty) armed(op Op, name string) (Fault, func(op Op, name string) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.calls[op]++
	for _, r := range f.mu.rules {
		switch {
		case r.op != op, !strings.Contains(name, r.name), r.times == 0:
		case r.skip > 0:
			r.skip--
		default:
			r.times--
			f.mu.hits++
			return r.fault, nil
		}
	}
	return "", f.mu.draw
}

// fail carries out the faults that every operation may have.
func (f *Faulty) fail(ctx context.Context, fault Fault, op Op, name string) error {
	e := &storage.Error{Storage: f.String(), Op: string(op), Name: name, Transient: true, Err: ErrInjected}
	switch fault {
	case Refuse, DiskFull, LostAnswer:
		return e
	case Deny:
		e.Transient = false
		return e
	case Hang:
		<-ctx.Done()
		e.Transient, e.Err = false, fmt.Errorf("%w: %w", ErrInjected, context.Cause(ctx))
		return e
	case Partial, FlipBit, CutShort:
	}
	return nil
}

// Create begins an object.
func (f *Faulty) Create(ctx context.Context, name string, o storage.CreateOptions) (storage.Writer, error) {
	if err := f.fail(ctx, f.next(OnCreate, name), OnCreate, name); err != nil {
		return nil, err
	}
	w, err := f.Storage.Create(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{
		f: f, below: w, name: name,
		again: func() (storage.Writer, error) { return f.Storage.Create(ctx, name, o) },
		fail:  func(fault Fault, op Op) error { return f.fail(ctx, fault, op, name) },
	}, nil
}

// Open reads an object.
func (f *Faulty) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	fault := f.next(OnOpen, name)
	if err := f.fail(ctx, fault, OnOpen, name); err != nil {
		return nil, err
	}
	if fault != FlipBit && fault != CutShort {
		return f.Storage.Open(ctx, name)
	}
	data, err := storage.Get(ctx, f.Storage, name, 1<<30)
	if err != nil {
		return nil, err
	}
	if fault == FlipBit && len(data) > 0 {
		data[len(data)/2] ^= 4
	}
	if fault == CutShort {
		data = data[:len(data)/2]
	}
	return io.NopCloser(strings.NewReader(string(data))), nil
}

// ReadRange reads a part of an object.
func (f *Faulty) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	fault := f.next(OnRange, name)
	if err := f.fail(ctx, fault, OnRange, name); err != nil {
		return err
	}
	err := storage.ReadRange(ctx, f.Storage, name, offset, p)
	if fault == FlipBit && len(p) > 0 {
		p[len(p)/2] ^= 4
	}
	return err
}

// List yields the objects.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	if err := f.fail(ctx, f.next(OnList, prefix), OnList, prefix); err != nil {
		return func(yield func(storage.Object, error) bool) { yield(storage.Object{}, err) }
	}
	return f.Storage.List(ctx, prefix)
}

// Delete removes objects, each of which a fault may hit.
func (f *Faulty) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		fault := f.next(OnDelete, name)
		if fault == LostAnswer {
			if err := f.Storage.Delete(ctx, name); err != nil {
				return err
			}
		}
		if err := f.fail(ctx, fault, OnDelete, name); err != nil {
			return err
		}
		if err := f.Storage.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Sweep sweeps the storage below.
func (f *Faulty) Sweep(ctx context.Context, prefix string, abandoned func(string) bool) ([]string, error) {
	return storage.Sweep(ctx, f.Storage, prefix, abandoned)
}

type faultyWriter struct {
	f     *Faulty
	below storage.Writer
	name  string
	again func() (storage.Writer, error)
	fail  func(Fault, Op) error
	all   []byte // for Partial
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	fault := w.f.next(OnWrite, w.name)
	if fault == DiskFull {
		n, err := w.below.Write(p[:len(p)/2])
		if err == nil {
			err = w.fail(fault, OnWrite)
		}
		return n, err
	}
	if err := w.fail(fault, OnWrite); err != nil {
		return 0, err
	}
	w.all = append(w.all, p...)
	return w.below.Write(p)
}

func (w *faultyWriter) Commit(ctx context.Context) error {
	fault := w.f.next(OnCommit, w.name)
	switch fault {
	case Partial:
		if err := w.below.Abort(ctx); err != nil {
			return err
		}
		short, err := w.again()
		if err != nil {
			return err
		}
		if _, err := short.Write(w.all[:len(w.all)/2]); err != nil {
			return err
		}
		return short.Commit(ctx)
	case LostAnswer:
		if err := w.below.Commit(ctx); err != nil {
			return err
		}
		return w.fail(fault, OnCommit)
	default:
	}
	if err := w.fail(fault, OnCommit); err != nil {
		return errors.Join(err, w.below.Abort(ctx))
	}
	return w.below.Commit(ctx)
}

func (w *faultyWriter) Abort(ctx context.Context) error { return w.below.Abort(ctx) }
