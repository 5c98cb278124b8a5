package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"os"
	"slices"
)

// InstallSuffix is what follows the name of a task's directory while a snapshot becomes one: [StateDir.Tasks] does not
// list it.
const InstallSuffix = ".install"

// Install makes a task directory out of a snapshot, as [Snapshot.Full] or [MergeFull] gives it, such that [OpenSet]
// finds local state there with this checkpoint. Rows of stores that are kept in memory are left out, and so are their
// positions: those stores are restored from the changelog. Tables are written once, in key order, in little memory.
//
// dir must be empty or not exist. An error, also one of the entries or of ctx, leaves nothing behind: what was written
// counts only when all of it is there. Mark the directory as open before, and as clean behind it. budget and logger may
// be nil.
func Install(
	ctx context.Context, dir string, entries iter.Seq2[Entry, error], checkpoint Checkpoint, budget *Budget,
	logger *slog.Logger,
) (err error) {
	if budget == nil {
		budget = NewBudget(0)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := emptyDir(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("store: install a snapshot in %s: %w", dir, err), os.RemoveAll(dir))
		}
	}()
	pull, stop := iter.Pull2(entries)
	defer stop()
	in := installer{ctx: ctx, pull: pull}
	if err := in.begin(); err != nil {
		return err
	}
	checkpoint = checkpoint.clone()
	for name := range in.left {
		forgetPositions(checkpoint, name)
	}
	return installBadger(dir, in.next, checkpoint, budget, logger)
}

func emptyDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: install a snapshot: %w", err)
	}
	names, err := d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("store: install a snapshot: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("store: install a snapshot: %s is not empty (%s): remove the task's state first", dir, names[0])
	}
	return nil
}

// installer gives the entries of a snapshot to an engine, as far as they belong on disk.
type installer struct {
	ctx  context.Context //nolint:containedctx // of one call
	pull func() (Entry, error, bool)
	// names is the table of names on disk, and known says what each prefix of the snapshot is.
	names []byte
	known map[uint16]prefixKind
	left  map[string]uint16 // stores in memory

	first  Entry // the first row, if there is one
	rows   int
	prefix uint16 // of the last row
	kind   prefixKind
	last   []byte // its key
	state  int
}

// prefixKind is what the rows with a prefix are.
type prefixKind uint8

const (
	prefixUnknown prefixKind = iota
	prefixDisk
	prefixMemory
)

// begin reads the tables of names, which come first.
func (in *installer) begin() error {
	tables, first, err := readNameTables(in.pull)
	if err != nil {
		return err
	}
	in.first, in.left = first, tables.memory
	in.known = make(map[uint16]prefixKind)
	for _, prefix := range tables.disk {
		in.known[prefix] = prefixDisk
	}
	for _, prefix := range tables.memory {
		in.known[prefix] = prefixMemory
	}
	in.names = encodeNames(tables.disk)
	return nil
}

// States of an installer.
const (
	installNames = iota
	installFirst
	installRest
)

// checkRows is after how many rows the context is asked.
const checkRows = 1024

// next is an entrySource.
func (in *installer) next() (at Entry, ok bool, err error) {
	if in.state == installNames {
		in.state = installFirst
		return Entry{Key: []byte(namesKey), Value: in.names}, true, nil
	}
	for {
		if at, ok, err = in.row(); !ok || err != nil {
			return at, false, err
		}
		if len(at.Key) < 2 || bytes.Compare(in.last, at.Key) >= 0 {
			return at, false, fmt.Errorf("the key %x follows %x", at.Key, in.last)
		}
		in.last = append(in.last[:0], at.Key...)
		if prefix := binary.BigEndian.Uint16(at.Key); prefix != in.prefix || in.kind == prefixUnknown {
			in.prefix, in.kind = prefix, in.known[prefix]
		}
		switch {
		case in.kind == prefixUnknown:
			return at, false, fmt.Errorf("the key %x belongs to no store of the snapshot", at.Key)
		case in.kind == prefixDisk && at.Value != nil:
			return at, true, nil
		}
	}
}

// row is next with the rows that are left out.
func (in *installer) row() (at Entry, ok bool, err error) {
	if in.rows++; in.rows%checkRows == 1 {
		if err := in.ctx.Err(); err != nil {
			return at, false, err
		}
	}
	if in.state == installFirst {
		in.state = installRest
		return in.first, in.first.Key != nil, nil
	}
	at, err, ok = in.pull()
	return at, ok, err
}

// nameTables says what the prefixes of a snapshot mean.
type nameTables struct{ disk, memory map[string]uint16 }

// readNameTables reads the tables of names at the beginning of a snapshot, and the first row behind them; without rows
// that has no key.
func readNameTables(pull func() (Entry, error, bool)) (tables nameTables, first Entry, err error) {
	for {
		at, err, ok := pull()
		if err != nil {
			return tables, first, err
		}
		if ok && len(at.Key) == 0 {
			return tables, first, errors.New("an entry has no key")
		}
		if !ok || !ownKey(at.Key) {
			if tables.disk == nil {
				return tables, first, errors.New("the snapshot does not begin with the names of its stores")
			}
			return tables, at, err
		}
		switch string(at.Key) {
		case namesKey:
			tables.disk, err = decodeNames(at.Value)
		case memoryNamesKey:
			tables.memory, err = decodeNames(at.Value)
		default:
			err = fmt.Errorf("the snapshot has an unknown table %x", at.Key)
		}
		if err != nil {
			return tables, first, err
		}
		if err := tables.check(); err != nil {
			return tables, first, err
		}
	}
}

// check refuses a prefix or a name that stands for two stores.
func (t nameTables) check() error {
	prefixes, names := make(map[uint16]bool), make(map[string]bool)
	for _, table := range [2]map[string]uint16{t.disk, t.memory} {
		for _, name := range slices.Sorted(maps.Keys(table)) {
			if prefix := table[name]; prefixes[prefix] || names[name] || prefix == 0 || prefix >= storesMax {
				return fmt.Errorf("the prefix %d of store %q cannot be one", prefix, name)
			}
			prefixes[table[name]], names[name] = true, true
		}
	}
	return nil
}
