package checkpointing

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/store"
)

// indexBytesMax is what is read of something that should be an index: room for that of a few terabytes.
const indexBytesMax = 1 << 30

// putIndex stores the index of a file and reads it again: unlike that of files, its size is not checked when the
// checkpoint completes. That it cannot is no failure of the checkpoint: the file is then loaded before a task runs.
func (x *export) putIndex(ctx context.Context, target storage.Storage, f File, index *store.FileIndex) bool {
	sum, err := hex.DecodeString(f.SHA256)
	if err == nil {
		index.Bytes = f.Bytes
		copy(index.SHA256[:], sum)
		err = x.writeIndex(ctx, target, indexName(f.Name), index.Append(nil))
	}
	if err == nil {
		_, err = Files{Storage: target, Cipher: x.e.cipher}.index(ctx, f)
	}
	if err != nil && ctx.Err() == nil {
		x.e.config.Logger.Warn("the index of a snapshot was not stored: it cannot be read on demand",
			slog.String("task", x.cut.Task.String()), slog.Int64("checkpoint", x.trigger.ID), slog.String("file", f.Name),
			slog.Any("error", err))
	}
	return err == nil
}

func (x *export) writeIndex(ctx context.Context, target storage.Storage, name string, data []byte) error {
	w, err := newFileWriter(ctx, target, name, x.e.cipher)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.abort(ctx))
	}
	_, err = w.commit(ctx)
	return err
}

// withIndexes adds the indexes of the files, and of those that may be needed later, to what the manifest keeps.
func (x *export) withIndexes(beside []string, files []File) []string {
	if !x.e.config.Config.LazyRestore {
		return beside
	}
	all := slices.Clone(beside)
	for _, name := range beside {
		all = append(all, indexName(name))
	}
	for _, f := range files {
		if f.indexed {
			all = append(all, indexName(f.Name))
		}
	}
	return all
}

// Parts returns the files of a task, the newest first, such that parts of them can be read. Its error says why they
// cannot be: the storage reads whole objects only, or a file has no index, or a damaged one.
func (f Files) Parts(ctx context.Context, m *Manifest, t *TaskSnapshot) ([]store.SnapshotFile, error) {
	parts := make([]store.SnapshotFile, 0, len(t.Files))
	for _, file := range slices.Backward(t.Files) {
		part, err := f.parts(ctx, t, file)
		if err != nil {
			return nil, &SnapshotError{
				Storage: f.Storage.String(), Location: m.Location, File: relative(m.Location, file.Name), Err: classify(err),
			}
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// parts returns one of the files.
func (f Files) parts(ctx context.Context, t *TaskSnapshot, file File) (part store.SnapshotFile, err error) {
	if !storage.ReadsRanges(f.Storage) {
		return part, errors.New("the storage reads whole objects only")
	}
	if !slices.Contains(t.Beside, indexName(file.Name)) {
		return part, errors.New("it has no index: it was made without LazyRestore")
	}
	if file.KeyID != "" && f.Cipher == nil {
		return part, fmt.Errorf("%w: it is encrypted with the key %s", storage.ErrKey, file.KeyID)
	}
	part.Name = file.Name
	if part.Index, err = f.index(ctx, file); err != nil {
		return part, err
	}
	part.ReadRange = func(ctx context.Context, offset int64, p []byte) error {
		err := storage.ReadRange(ctx, f.Storage, file.Name, offset, p)
		if err == nil && f.Read != nil {
			f.Read(len(p))
		}
		return err
	}
	if file.KeyID != "" {
		part.ReadRange = f.Cipher.DecryptRanges(file.Bytes, part.ReadRange).ReadRange
	}
	return part, nil
}

// verifyIndexes returns what is wrong with the indexes of a checkpoint's files. Without them it can be used as well.
func (f Files) verifyIndexes(ctx context.Context, m *Manifest) (errs []error) {
	for i := range m.Tasks {
		for _, file := range m.Tasks[i].Files {
			name := indexName(file.Name)
			if !slices.Contains(m.Tasks[i].Beside, name) || file.KeyID != "" && f.Cipher == nil {
				continue
			}
			if _, err := f.index(ctx, file); err != nil {
				errs = append(errs, &SnapshotError{
					Storage: f.Storage.String(), Location: m.Location, File: relative(m.Location, name), Err: classify(err),
					Hint: "the state is not affected, but it cannot be read on demand",
				})
			}
		}
	}
	return errs
}

// index reads the index of a file.
func (f Files) index(ctx context.Context, file File) (*store.FileIndex, error) {
	data, err := storage.Get(ctx, f.Storage, indexName(file.Name), indexBytesMax)
	if err == nil && file.KeyID != "" {
		data, err = io.ReadAll(f.Cipher.Decrypt(bytes.NewReader(data)))
	}
	if err != nil {
		return nil, err
	}
	index, err := store.DecodeFileIndex(data)
	if err != nil {
		return nil, err
	}
	if index.Bytes != file.Bytes || index.Entries != file.Entries || hex.EncodeToString(index.SHA256[:]) != file.SHA256 {
		return nil, damaged("its index is that of another file")
	}
	return index, nil
}
